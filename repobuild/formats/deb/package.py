"""Packages: from an index to our words, and from a .deb file (deb(5))."""

import hashlib
import io
import re
import tarfile
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from repobuild.compression import decompress
from repobuild.durable import check_component
from repobuild.errors import HostileInputError
from repobuild.formats.deb import version
from repobuild.formats.deb.control import NAME, fields
from repobuild.formats.deb.universe import Record, check_stanza
from repobuild.model import Package

LOCATION = ("filename", "size", "md5sum", "sha1", "sha256", "sha512")
"""Fields that say where a package lies and what its bytes are: ours are written anew."""
_MAX_CONTROL = 1 << 20
"""Bytes of a control file."""
_MAX_CONTROL_TAR = 64 << 20
"""Bytes of an open control.tar; maintainer scripts and lists of conffiles lie beside the control file."""
_MAX_CONTROL_FILES = 1_000
"""Files in a control.tar; real ones have a dozen."""
_MAX_MEMBERS = 8
"""Members of a .deb; it has three, and whoever signs it adds one."""
_AR_MAGIC = b"!<arch>\n"
_AR_HEADER = re.compile(rb"([!-~]{1,16}) {0,15}[ 0-9]{12}[ 0-9]{6}[ 0-9]{6}[ 0-9]{8}([0-9]{1,10}) {0,9}`\n")
_ARCHITECTURE = re.compile(r"[a-z0-9][a-z0-9-]{0,63}\Z")


def from_record(record: Record) -> Package:
    """Turn a record of an index into a package."""
    return _package(record.stanza, record.field, record.origin.upstream, url_path(record.field.get("filename", "")))


def from_stanza(stanza: str, upstream: str) -> Package:
    """Turn a stanza of an index into a package.

    Raises:
        HostileInputError: when a field cannot be used.
    """
    found = fields(stanza)
    check_stanza(found, upstream)
    return _package(stanza, found, upstream, url_path(found.get("filename", "")))


def control_file(path: Path) -> bytes:
    """Return the control file of the .deb file `path`, of which no more needs to be there than its beginning.

    Raises:
        HostileInputError: when it is no .deb, or its control file cannot be used.
    """
    with path.open("rb") as file:
        return _control(file, path.name)


def from_file(path: Path, *, upstream: str, url_path: str) -> Package:
    """Read the .deb file `path`; its digest and size are those of the file.

    python-debian would inflate whatever a control.tar announces, and needs a program for .zst: the few lines that
    find the control file within bounds are ours.

    Raises:
        HostileInputError: when it is no .deb, or its control file cannot be used.
    """
    with path.open("rb") as file:
        raw = _control(file, path.name)
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    try:
        stanza = raw.decode("utf-8").strip("\n")
    except UnicodeDecodeError as error:
        raise HostileInputError(f"control file of {path.name} is not UTF-8") from error
    found = {**fields(stanza), "sha256": digest, "size": str(path.stat().st_size)}
    return _package(stanza, found, upstream, url_path)


def _control(file: BinaryIO, name: str) -> bytes:
    """Return the control file of a .deb (deb(5)): in the ar archive the first control.tar, in that `control`."""
    members = _ar_members(file, name)
    if next(members, ("", 0))[0] != "debian-binary" or not file.read(4).startswith(b"2."):
        raise HostileInputError(f"not a Debian package of format 2: {name}")
    for member, size in members:
        if not member.startswith("control.tar"):
            continue
        if size > _MAX_CONTROL_TAR:
            break
        kind = member.removeprefix("control.tar").removeprefix(".")
        chunks = decompress(file.read(size), kind, size=_MAX_CONTROL_TAR, what=f"control.tar of {name}", is_exact=False)
        return _from_tar(b"".join(chunks), name)
    raise HostileInputError(f"no usable control.tar in {name}")


def _ar_members(file: BinaryIO, name: str) -> Iterator[tuple[str, int]]:
    """Yield name and size of the members of an ar archive, the file positioned at their content."""
    if file.read(len(_AR_MAGIC)) != _AR_MAGIC:
        raise HostileInputError(f"not a Debian package: {name}")
    for _ in range(_MAX_MEMBERS):
        header = _AR_HEADER.fullmatch(file.read(60))
        if header is None:
            raise HostileInputError(f"not a Debian package: its ar archive is damaged or cut short: {name}")
        start, size = file.tell(), int(header[2])
        yield header[1].decode("ascii").removesuffix("/"), size
        file.seek(start + size + size % 2)


def _from_tar(data: bytes, name: str) -> bytes:
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
            for member in islice(tar, _MAX_CONTROL_FILES):
                if member.name.removeprefix("./") == "control":
                    found = tar.extractfile(member) if member.isreg() and member.size <= _MAX_CONTROL else None
                    return found.read() if found is not None else b""
    except (tarfile.TarError, EOFError, ValueError, OSError, KeyError, IndexError, OverflowError) as error:
        raise HostileInputError(f"damaged control.tar in {name}") from error
    raise HostileInputError(f"no control file in {name}")


def _package(stanza: str, field: Mapping[str, str], upstream: str, path: str) -> Package:
    name, number, arch = field.get("package", ""), field.get("version", ""), field.get("architecture", "")
    if not NAME.match(name) or not _ARCHITECTURE.match(arch):
        raise HostileInputError(f"not a package name and architecture: {name[:60]!r} {arch[:20]!r}")
    version.check(number)
    without_epoch = number.partition(":")[2] or number
    return Package(
        name=name,
        version=number,
        arch=arch,
        size=int(field["size"]),
        sha256=field["sha256"],
        path=path,
        upstream=upstream,
        filename=check_component(f"{name}_{without_epoch}_{arch}.deb"),
        metadata=without_location(stanza),
    )


def check_metadata(package: Package) -> str:
    """Return the stanza of a package that an index of ours may carry.

    Raises:
        HostileInputError: when it describes another package, or says itself where the file lies and what it is. Ours
            come from verified indexes, but a lock may come from anywhere.
    """
    field = fields(package.metadata)
    stated = (field.get("package"), field.get("version"), field.get("architecture"))
    if stated != (package.name, package.version, package.arch) or any(name in field for name in LOCATION):
        raise HostileInputError(
            f"the description of {package.filename} is not its own", "make the lock anew: repobuild lock --update"
        )
    return package.metadata


def url_path(path: str) -> str:
    """Return an index's Filename as a URL path below the mirror.

    Raises:
        HostileInputError: for a path that leaves the mirror or carries control characters.
    """
    parts = path.removeprefix("./").split("/")
    if not path.isprintable() or len(path) > 4096 or path.startswith("/") or any(p in {"", ".", ".."} for p in parts):
        raise HostileInputError(f"not a path below a mirror: {path[:100]!r}")
    return quote("/".join(parts))


def without_location(stanza: str) -> str:
    """Return a stanza without the fields that say where its file lies and what it is."""
    kept: list[str] = []
    skipping = False
    for line in stanza.split("\n"):
        if line[:1] not in {" ", "\t"}:
            skipping = line.partition(":")[0].lower() in LOCATION
        if not skipping:
            kept.append(line)
    return "\n".join(kept)
