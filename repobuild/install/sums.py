"""SHA256SUMS, the list beside the parts: which digest each of them has to have.

The list is what is signed, so nothing of a part is looked at before the list and its signature were. A part whose name
is not in the list (Pigsty's bootstrap calls every bundle `/tmp/pkg.tgz`) is one of the list when its digest is.
"""

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

from repobuild.durable import Folder, check_component, disk_errors
from repobuild.errors import HostileInputError, RepobuildError, VerificationError
from repobuild.progress import Progress

SUMS_NAME = "SHA256SUMS"
SIGNATURE_NAME = "SHA256SUMS.asc"
_LIMIT = 1 << 20
"""Bytes of the list, and of its signature."""
_LINE = re.compile(r"([0-9a-f]{64}) [ *]([^\\/]{1,255})")
_SIDECAR = re.compile(r"([0-9a-f]{64})(?:[ ][ *].{1,255})?\n?")
_SIDECAR_LIMIT = 4096
"""Bytes of a `.sha256` file, which bundles of format 1 have beside them."""
_CHUNK = 1 << 20
"""Bytes hashed at a time."""
_LONGEST_TAIL = 16
"""Zeros that a compressed part can end with: a checksum and a size."""
_BLOCKING = 10_240
"""A plain tar ends on a multiple of this, with at least two records of zeros."""
_KEY_FILES = 16
"""Key files beside the parts that are looked at."""
_AGAIN = "copy it again, together with SHA256SUMS; if that does not help, make the bundle again"


@dataclass(frozen=True, slots=True)
class Sums:
    """What lies beside the parts of one folder."""

    text: bytes
    """Of SHA256SUMS; b"" when there is none."""
    digests: dict[str, str]
    """sha256 by file name."""
    signature: bytes | None
    """Of SHA256SUMS.asc."""

    def of_part(self, name: str) -> frozenset[str]:
        """Return the digests that the part of this name may have: its own, else any, for a part that was renamed."""
        return frozenset({self.digests[name]} if name in self.digests else self.digests.values())


def read_sums(folder: Folder) -> Sums:
    """Return what SHA256SUMS and SHA256SUMS.asc in a folder say; nothing of it is proven.

    Raises:
        HostileInputError: when one is too large or no regular file, or the list holds anything but lines as
            `sha256sum` writes them, each for another file in the same folder.
        VerificationError: when there is a signature without a list.
    """
    text = folder.read(SUMS_NAME, _LIMIT)
    signature = folder.read(SIGNATURE_NAME, _LIMIT)
    if text is None and signature is not None:
        raise VerificationError(
            f"the list is missing that this file signs: {folder.path / SIGNATURE_NAME}",
            f"copy {SUMS_NAME} too",
        )
    return Sums(text or b"", parse_sums(text, str(folder.path / SUMS_NAME)) if text is not None else {}, signature)


def parse_sums(text: bytes, where: str) -> dict[str, str]:
    """Return sha256 by file name.

    Raises:
        HostileInputError: when it holds anything but lines as `sha256sum` writes them, each for another file.
    """
    try:
        lines = text.decode().split("\n")
    except UnicodeDecodeError as error:
        raise HostileInputError(f"not UTF-8 text: {where}: byte {error.start}") from error
    if lines.pop() or not lines:
        raise HostileInputError(f"does not end with a whole line: {where}", _AGAIN)
    digests: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        match = _LINE.fullmatch(line)
        if match is None:
            raise HostileInputError(f"not a sha256sum line for a file beside it: {where}:{number}: {line[:120]!a}")
        digest, name = match.groups()
        check_component(name)
        if name in digests or name in {SUMS_NAME, SIGNATURE_NAME}:
            raise HostileInputError(f"a file that it may not list: {where}:{number}: {name[:80]!a}")
        digests[name] = digest
    return digests


def read_sidecar(folder: Folder, name: str) -> str | None:
    """Return the digest in the `.sha256` file of a part, None when there is none.

    Raises:
        VerificationError: when it is no such file.
    """
    text = folder.read(f"{name}.sha256", _SIDECAR_LIMIT)
    if text is None:
        return None
    line = _SIDECAR.fullmatch(text.decode("utf-8", "replace"))
    if line is None:
        raise VerificationError(f"not one sha256sum line: {folder.path / name}.sha256", _AGAIN)
    return line[1]


def prove_digest(fd: int, wanted: frozenset[str], names: tuple[str, str], progress: Progress) -> str:
    """Hash the open file and return which of the digests it has.

    A part may have been lengthened with zeros (`truncate -s 410M`, see the manual): the digest may be that of the file
    as it is, or as it was.

    Args:
        fd: of the file, which is not moved.
        wanted: sha256 in hex, any of them.
        names: of the file and of what lists it, for messages.
        progress: hears of what is hashed.

    Raises:
        VerificationError: when it has none of them.
    """
    where, listed_in = names
    digest = hashlib.sha256()
    at = 0
    for length in _lengths(fd, where):
        for piece in _pieces(fd, at, length, where):
            digest.update(piece)
            progress.advance(len(piece))
        at = length
        if digest.hexdigest() in wanted:
            return digest.hexdigest()
    raise VerificationError(f"not what {listed_in} says: {where}: {digest.hexdigest()}", _AGAIN)


def candidate_keys(folder: Folder, sums: Sums) -> dict[str, bytes]:
    """Return the key files that the list names, by name; none of them is believed for lying there."""
    names = [name for name in sums.digests if name.endswith((".gpg", ".asc"))]
    found = {}
    for name in sorted(names)[:_KEY_FILES]:
        try:
            data = folder.read(name, _LIMIT)
        except RepobuildError:
            continue
        if data is not None:
            found[name] = data
    return found


def _lengths(fd: int, where: str) -> list[int]:
    """Return the lengths that an open file may have had before zeros were appended, and the one it has."""
    with disk_errors(where):
        size = os.fstat(fd).st_size
    last = _end_of_content(fd, size, where)
    padded = -(-(last + 1024) // _BLOCKING) * _BLOCKING
    lengths = {*range(last, last + _LONGEST_TAIL), padded, padded + _BLOCKING}
    return sorted({length for length in lengths if length < size} | {size})


def _end_of_content(fd: int, size: int, where: str) -> int:
    """Return where the zeros begin that an open file ends with."""
    end = size
    while end:
        start = max(end - _CHUNK, 0)
        with disk_errors(where):
            content = os.pread(fd, end - start, start).rstrip(b"\0")
        if content:
            return start + len(content)
        end = start
    return 0


def _pieces(fd: int, start: int, end: int, where: str) -> Iterator[bytes]:
    while start < end:
        with disk_errors(where):
            piece = os.pread(fd, min(end - start, _CHUNK), start)
        if not piece:
            return
        start += len(piece)
        yield piece
