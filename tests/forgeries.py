"""Takes a bundle apart and puts forged ones together."""

import gzip
import tarfile
from collections.abc import Callable
from dataclasses import replace

from repobuild.archive.contents import (
    CONTENTS_NAME,
    DIGESTS_NAME,
    INSTALLER_NAME,
    Contents,
    digest_lines,
    folders_of,
    in_member_order,
)
from repobuild.archive.tar import RECORD, ending, file_header, folder_header, padding
from repobuild.archive.text import encode_contents, parse_contents
from repobuild.model import PRIVATE
from repobuild.record import format_marker, sha256_of

INSTALLER = f"{PRIVATE}/{INSTALLER_NAME}"
Member = tuple[bytes, bytes]
"""Header and padded content."""


def take_apart(bundle: bytes) -> list[Member]:
    """Return the members of a bundle."""
    data = gzip.decompress(bundle)
    members, at = [], 0
    while data[at] != 0:
        size = int(data[at + 124 : at + 135], 8)
        end = at + RECORD + size + len(padding(size))
        members.append((data[at : at + RECORD], data[at + RECORD : end]))
        at = end
    return members


def put_together(members: list[Member], *, tail: bytes = b"") -> bytes:
    """Return a bundle of these members, `tail` being content after the archive's end."""
    data = b"".join(header + body for header, body in members)
    return gzip.compress(data + ending(len(data)) + tail, 1)


def contents_of(bundle: bytes) -> Contents:
    """Return what a good bundle says."""
    header, body = take_apart(bundle)[0]
    return parse_contents(body[: int(header[124:135], 8)])


def bodies_of(bundle: bytes) -> dict[str, bytes]:
    """Return the content of each file by its path, of the installer too."""
    members = take_apart(bundle)
    files = contents_of(bundle).carried
    bodies = {file.path: body[: file.size] for file, (_, body) in zip(files, members[-len(files) :], strict=True)}
    for head, body in members:
        if INSTALLER.encode() in head[:100]:
            bodies[INSTALLER] = body[: int(head[124:135], 8)]
    return bodies


def assemble(contents: Contents, bodies: dict[str, bytes]) -> bytes:
    """Return the bundle that contents, however wrong, describe."""
    return put_together([*head_members(contents, bodies), *file_members(contents, bodies)])


def join(*parts: tuple[Contents, dict[str, bytes]]) -> bytes:
    """Return the bundle of several repositories that these contents, however wrong, describe."""
    heads = [member for part in parts for member in head_members(*part)]
    return put_together(heads + [member for part in parts for member in file_members(*part)])


def head_members(contents: Contents, bodies: dict[str, bytes]) -> list[Member]:
    members = []
    own = {CONTENTS_NAME: encode_contents(contents), DIGESTS_NAME: digest_lines(contents)}
    if contents.installer:
        own[INSTALLER_NAME] = bodies.get(INSTALLER, b"")
    for name, data in own.items():
        header = file_header(f"{contents.name}/{PRIVATE}/{name}", len(data), contents.sequence)
        members.append((header, data + padding(len(data))))
    return members + [(folder_header(folder, contents.sequence), b"") for folder in folders_of(contents)]


def file_members(contents: Contents, bodies: dict[str, bytes]) -> list[Member]:
    members = []
    for file in contents.carried:
        header = file_header(f"{contents.name}/{file.path}", file.size, contents.sequence)
        body = bodies.get(file.path, b"")
        members.append((header, body + padding(len(body))))
    return members


def with_path(bundle: bytes, path: str) -> bytes:
    """Return a bundle, right in all else, that calls its first package `path`."""
    contents, bodies = contents_of(bundle), bodies_of(bundle)
    old = next(file for file in contents.files if file.path.endswith(".deb") and file.size)
    rest = [file for file in contents.files[:-1] if file is not old]
    files = [*rest, replace(old, path=path)]
    marker = format_marker({file.path: file.sha256 for file in files})
    last = replace(contents.files[-1], size=len(marker), sha256=sha256_of(marker))
    bodies |= {path: bodies[old.path], last.path: marker}
    return assemble(replace(contents, files=in_member_order([*files, last])), bodies)


def header(name: str, *, size: int = 0, mtime: int = 1_700_000_000, form: int = tarfile.USTAR_FORMAT, **words) -> bytes:
    """Return any header that Python can write, like ours in all that is not given."""
    member = tarfile.TarInfo(name)
    member.size, member.mtime, member.mode = size, mtime, 0o644
    for key, value in words.items():
        setattr(member, key, value)
    return member.tobuf(form, "utf-8")


def resum(record: bytes) -> bytes:
    """Return a header with its checksum made right again."""
    blank = record[:148] + b" " * 8 + record[156:]
    return record[:148] + b"%06o\0 " % sum(blank) + record[156:]


def patched(at: int, value: bytes) -> Callable[[bytes], bytes]:
    """Return what puts `value` at a place of a header and makes the checksum right."""
    return lambda record: resum(record[:at] + value + record[at + len(value) :])
