"""Packages as a primary index describes them: every field checked before it names a file or a URL."""

import re
from urllib.parse import quote, unquote

import solv

from repobuild.durable import check_component
from repobuild.errors import HostileInputError, VerificationError
from repobuild.formats.rpm.universe_match import evr
from repobuild.model import Package, Upstream

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,199}")
_PART = re.compile(r"[A-Za-z0-9_.+~^]{1,100}")
"""A version or a release; none holds the dash that joins them (RPM's own rule)."""
_ARCH = re.compile(r"[a-z0-9][a-z0-9_]{0,29}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MAX_EPOCH = 2**31 - 1
_MAX_SIZE = 1 << 40
"""Bytes of one package."""
_MAX_PATH = 4096
_KEPT = "/%"
"""Signs of a location that dnf sends as they are; `%` because a location may be quoted already."""


def from_solvable(package: "solv.XSolvable", upstream: Upstream) -> Package:
    """Turn a package of an index into ours.

    Raises:
        HostileInputError: when a field cannot be used.
        VerificationError: when the index gives a digest other than sha256.
    """
    name, arch = package.name, package.arch
    epoch, version, release = evr(package)
    where = f"package {str(package)[:80]!r} of upstream {upstream.name}"
    if not _NAME.fullmatch(name) or not _ARCH.fullmatch(arch):
        raise HostileInputError(f"not a package name and architecture: {where}")
    is_number = epoch.isascii() and epoch.isdigit() and int(epoch[:12]) <= _MAX_EPOCH
    if not is_number or not _PART.fullmatch(version) or not _PART.fullmatch(release):
        raise HostileInputError(f"not a version: {where}")
    size = package.lookup_num(solv.SOLVABLE_DOWNLOADSIZE)
    if not 0 < size <= _MAX_SIZE:
        raise HostileInputError(f"no usable size in the index: {where}")
    full = f"{version}-{release}"
    return Package(
        name=name,
        version=f"{int(epoch)}:{full}" if int(epoch) else full,
        arch=arch,
        size=size,
        sha256=sha256_of(package, where),
        path=_path(package, upstream, where),
        upstream=upstream.name,
        filename=check_component(f"{name}-{full}.{arch}.rpm"),
        metadata="",
    )


def sha256_of(package: "solv.XSolvable", where: str) -> str:
    """Return the sha256 of a package's file.

    Raises:
        VerificationError: when the index gives another digest or none.
    """
    checksum = package.lookup_checksum(solv.SOLVABLE_CHECKSUM)
    kind = checksum.typestr() if checksum is not None else "missing"
    if checksum is None or checksum.type != solv.REPOKEY_TYPE_SHA256 or not _SHA256.fullmatch(checksum.hex()):
        raise VerificationError(
            f"the index gives no sha256 ({kind[:20]}): {where}",
            "packages are known by their sha256: use an upstream whose primary index has it, or a mirror made with it",
        )
    return str(checksum.hex())


def _path(package: "solv.XSolvable", upstream: Upstream, where: str) -> str:
    """Return the location as a URL path below the mirror."""
    base = package.lookup_str(solv.SOLVABLE_MEDIABASE)
    if base and base.rstrip("/") not in {mirror.url.rstrip("/") for mirror in upstream.mirrors}:
        raise HostileInputError(
            f"lies outside its upstream (xml:base): {where}: {base[:100]!r}",
            "name that place as an upstream of its own",
        )
    path = (package.lookup_location()[0] or "").removeprefix("./")
    parts = [*path.split("/"), *unquote(path).split("/")]
    if (
        not path.isprintable()
        or len(path) > _MAX_PATH
        or "\\" in path
        or any(each in {"", ".", ".."} for each in parts)
        or not unquote(path).isprintable()
    ):
        raise HostileInputError(f"not a path below a mirror: {where}: {path[:100]!r}")
    return quote(path, safe=_KEPT)
