"""Packages: from an index to our words, and from a .deb file (deb(5))."""

import hashlib
import tarfile
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from debian.debfile import DebError, DebFile

from repobuild.errors import HostileInputError
from repobuild.formats.deb import version
from repobuild.formats.deb.control import NAME, fields
from repobuild.formats.deb.universe import Record
from repobuild.model import Package

LOCATION = ("filename", "size", "md5sum", "sha1", "sha256", "sha512")
"""Fields that say where a package lies and what its bytes are: ours are written anew."""
_MAX_CONTROL = 1 << 20
"""Bytes of a control file."""


def from_record(record: Record) -> Package:
    """Turn a record of an index into a package."""
    return _package(record.stanza, record.field, record.origin.upstream, record.field.get("filename", ""))


def from_file(path: Path, *, upstream: str, url_path: str) -> Package:
    """Read the .deb file `path`; its digest and size are those of the file.

    Raises:
        HostileInputError: when it is no .deb, or its control file cannot be used.
    """
    try:
        with DebFile(str(path)) as deb:
            raw = deb.control.get_content("control")
    except (DebError, tarfile.TarError, OSError, EOFError, ValueError, KeyError) as error:
        raise HostileInputError(f"not a Debian package: {path.name}") from error
    if not isinstance(raw, bytes) or len(raw) > _MAX_CONTROL:
        raise HostileInputError(f"no usable control file in {path.name}")
    try:
        stanza = raw.decode("utf-8").strip("\n")
    except UnicodeDecodeError as error:
        raise HostileInputError(f"control file of {path.name} is not UTF-8") from error
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    found = {**fields(stanza), "sha256": digest, "size": str(path.stat().st_size)}
    return _package(stanza, found, upstream, url_path)


def _package(stanza: str, field: Mapping[str, str], upstream: str, path: str) -> Package:
    name, number, arch = field.get("package", ""), field.get("version", ""), field.get("architecture", "")
    if not NAME.match(name) or not arch.replace("-", "").isalnum():
        raise HostileInputError(f"not a package name and architecture: {name[:60]!r} {arch[:20]!r}")
    version.check(number)
    without_epoch = number.partition(":")[2] or number
    return Package(
        name=name,
        version=number,
        arch=arch,
        size=int(field["size"]),
        sha256=field["sha256"],
        path=url_path(path),
        upstream=upstream,
        filename=f"{name}_{without_epoch}_{arch}.deb",
        metadata=_without_location(stanza),
    )


def url_path(path: str) -> str:
    """Return an index's Filename as a URL path below the mirror.

    Raises:
        HostileInputError: for a path that leaves the mirror or carries control characters.
    """
    parts = path.removeprefix("./").split("/")
    if not path.isprintable() or len(path) > 4096 or path.startswith("/") or any(p in {"", ".", ".."} for p in parts):
        raise HostileInputError(f"not a path below a mirror: {path[:100]!r}")
    return quote("/".join(parts))


def _without_location(stanza: str) -> str:
    kept: list[str] = []
    skipping = False
    for line in stanza.split("\n"):
        if line[:1] not in {" ", "\t"}:
            skipping = line.partition(":")[0].lower() in LOCATION
        if not skipping:
            kept.append(line)
    return "\n".join(kept)
