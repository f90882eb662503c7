"""createrepo_c on our terms: untouched by the host's settings, and given a package's header instead of its file.

createrepo_c reads packages with librpm, and takes nothing but paths. So it gets the first bytes of a package, lead and
headers, in a file in memory: the payload's digest is known and need not be computed again, and the header can first be
relieved of what would make the answer depend on the machine.
"""

import functools
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from repobuild.durable import disk_errors
from repobuild.errors import HostileInputError
from repobuild.formats.rpm import header
from repobuild.model import Package
from repobuild.scratch import MemoryFile

__all__ = ["MemoryFile", "entries", "library"]

_ENTRY = struct.Struct(">IIII")
"""Tag, type, offset, count: an entry of a header's index."""
_INTRO = 16
"""Bytes before the index."""
_LOCALES = 100
"""HEADERI18NTABLE: the locales of the header's translated texts."""


@functools.cache
def library() -> Any:
    """Return the module createrepo_c.

    On import it has librpm read the host's rpmrc, and complain where rpm is not installed; it is shown ours instead.
    """
    os.putenv("RPM_CONFIGDIR", os.path.dirname(__file__))
    try:
        import createrepo_c  # noqa: PLC0415 -- not before librpm knows where to look
    finally:
        os.unsetenv("RPM_CONFIGDIR")
    return createrepo_c


def entries(path: Path, package: Package, time: int, kinds: Sequence[str], scratch: MemoryFile) -> list[str]:
    """Return a package's entries in the indexes of these kinds (`primary`, `filelists`, `other`).

    Args:
        path: the package file, its bytes verified before.
        package: what the file has to be; gives digest, size and place.
        time: its modification time for the index, seconds since the epoch.
        kinds: of the entries to return, in this order.
        scratch: is overwritten.

    Raises:
        HostileInputError: when it is no RPM, or the header is another package's.
        DiskError: when it cannot be read.
    """
    scratch.fill(_before_payload(path, package.filename))
    cr = library()
    try:
        found = cr.package_from_rpm(scratch.path)
        _check_identity(found.nevra(), found.nvra(), package)
        found.pkgId, found.checksum_type = package.sha256, "sha256"
        found.size_package, found.time_file = package.size, time
        found.location_href = package.filename
        return [getattr(cr, f"xml_dump_{kind}")(found) for kind in kinds]
    except (cr.CreaterepoCError, OSError, ValueError) as error:
        raise HostileInputError(f"not an RPM that can be indexed: {package.filename}") from error


def _check_identity(nevra: str, nvra: str, package: Package) -> None:
    epoch, _, version = package.version.rpartition(":")
    named = f"{package.name}-{epoch or 0}:{version}.{package.arch}"
    if nevra != named or package.filename != f"{nvra}.rpm":
        raise HostileInputError(
            f"the header says {nevra[:200]!r}, the lock {named!r}: {package.filename}",
            "resolve again: repobuild lock --update",
        )


def _before_payload(path: Path, name: str) -> bytes:
    """Return an RPM up to its payload, every offset in it checked, its texts in one language whatever the locale."""
    with disk_errors(path), path.open("rb") as file:
        headers = header.read(file, name)
        file.seek(0)
        return file.read(headers.start) + _without_locales(headers.signed)


def _without_locales(signed: bytes) -> bytes:
    """Blank the names of locales: librpm then finds none it knows and takes the first text of each, the original."""
    store = _INTRO + int.from_bytes(signed[8:12]) * _ENTRY.size
    for tag, _, offset, count in _ENTRY.iter_unpack(signed[_INTRO:store]):
        if tag == _LOCALES:
            start = store + offset
            *names, rest = signed[start:].split(b"\0", count)
            return signed[:start] + b"\0".join([*(b"-" * len(each) for each in names), rest])
    return signed
