"""Packages from .rpm files: what they are, and the proof that an upstream's key signed them (`verify: packages`)."""

import hashlib
import os
import re
from pathlib import Path
from typing import BinaryIO

from repobuild.durable import check_component, disk_errors
from repobuild.errors import HostileInputError, VerificationError
from repobuild.formats.protocol import PackageFile, SignedParts
from repobuild.formats.rpm import header
from repobuild.formats.rpm.header import Header, Headers
from repobuild.model import Package
from repobuild.signing import MAX_PACKAGE_BYTES, Keyring

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,199}")
_PART = re.compile(r"[A-Za-z0-9_.+~^]{1,100}")
"""A version or a release; none holds the dash that joins them (RPM's own rule)."""
_ARCH = re.compile(r"[a-z0-9][a-z0-9_]{0,29}")
_SOURCE_ARCHES = frozenset({"src", "nosrc"})
_MAX_EPOCH = 2**31 - 1
"""What dnf and createrepo_c can hold."""
_STRONG_DIGESTS = {8: "sha256", 9: "sha384", 10: "sha512"}
"""OpenPGP's number of a hash -> its name."""
_CHUNK = 1 << 20
_OLD = "packages of EL 7 and older are like that: take a newer build, or set `verify: none` for this upstream"
_ALTERED = "the file was altered or is half updated: try again later, or use another mirror"


def from_file(path: Path, *, upstream: str, url_path: str) -> Package:
    """Read the .rpm file `path`; its digest and size are those of the file. No signature is looked at.

    Raises:
        DiskError: when the file cannot be read.
        HostileInputError: when it is no RPM, is damaged, or is a source package.
    """
    with disk_errors(path), path.open("rb") as file:
        main = header.read(file, path.name).main
        name, version, arch = _identity(main)
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = os.fstat(file.fileno()).st_size
    return Package(
        name=name,
        version=version,
        arch=arch,
        size=size,
        sha256=digest,
        path=url_path,
        upstream=upstream,
        filename=check_component(f"{name}-{version.rpartition(':')[2]}.{arch}.rpm"),
        metadata="",
    )


def identified(path: Path, file: PackageFile) -> Package:
    """Return the package that the header in `path` names, under the file name, size and digest that are known of it.

    Raises:
        DiskError: when it cannot be read.
        HostileInputError: when it is no RPM, is damaged, or is a source package.
    """
    with disk_errors(path), path.open("rb") as content:
        name, version, arch = _identity(header.read(content, file.name).main)
    return Package(
        name=name,
        version=version,
        arch=arch,
        size=file.size,
        sha256=file.sha256,
        path=file.name,
        upstream="",
        filename=file.name,
        metadata="",
    )


def prove(path: Path, package: Package, keyring: Keyring) -> str:
    """Prove that `path` is `package` as a believed key signed it, and return the signer's fingerprint.

    The signed main header carries a digest of the payload, which binds the rest of the file. A package without such a
    digest has to be signed as a whole. What rpm would refuse on a client for the signature of its header or for one
    of its digests is refused here too, so every header signature there is has to hold. Beside those a signature of
    the whole is not read: it would say nothing more.

    Raises:
        DiskError: when the file cannot be read.
        HostileInputError: when it is no RPM or is damaged.
        VerificationError: naming the file, the key, and what to do.
    """
    what = package.filename
    with disk_errors(path), path.open("rb") as file:
        found = header.read(file, what)
        identity = _identity(found.main)
        if identity != (package.name, package.version, package.arch):
            stated = " ".join(identity)
            raise VerificationError(f"{what}: is another package: {stated}", "use another mirror of this upstream")
        signed = _signed_parts(file, found, what)
    first, *_ = [keyring.verify_package(data, signature, what).signer for data, signature in signed]
    return first


def signed_parts(file: BinaryIO, what: str) -> SignedParts:
    """Read a package to its end, and return what of it is signed, with all the signatures that have to hold.

    Raises:
        HostileInputError: when it is no RPM or is damaged.
        VerificationError: when it is not signed, or does not have the digests that it states.
    """
    return _signed_parts(file, header.read(file, what), what)


def _signed_parts(file: BinaryIO, found: Headers, what: str) -> SignedParts:
    _check_header_digests(found, what)
    of_header = _signatures(found.signature, header.RSA_HEADER, header.DSA_HEADER)
    of_whole = _signatures(found.signature, header.RSA_WHOLE, header.DSA_WHOLE)
    if not of_header and not of_whole:
        raise VerificationError(f"{what}: not signed", "set `verify: root` or `verify: none` for this upstream")
    expected = _payload_digest(found.main)
    parts = tuple((found.signed, signature) for signature in of_header)
    if of_header and expected is not None:
        _check_payload(file, found, expected, what)
        return parts
    if not of_whole:
        raise VerificationError(f"{what}: nothing signed binds its payload by SHA-256 or stronger", _OLD)
    data = _read_whole(file, found, what)
    return (*parts, *((data, signature) for signature in of_whole))


def _identity(main: Header) -> tuple[str, str, str]:
    """Return name, [epoch:]version-release and architecture; refuse what is no binary package."""
    name, arch = main.text(header.NAME), main.text(header.ARCH)
    version, release = main.text(header.VERSION), main.text(header.RELEASE)
    epoch = main.number(header.EPOCH) or 0
    if not _NAME.fullmatch(name) or not _ARCH.fullmatch(arch):
        raise HostileInputError(f"{main.what}: not a package name and architecture: {name[:60]!r} {arch[:20]!r}")
    if not _PART.fullmatch(version) or not _PART.fullmatch(release) or epoch > _MAX_EPOCH:
        raise HostileInputError(f"{main.what}: not a version: {epoch}:{version[:60]!r}-{release[:60]!r}")
    # As rpm tells them apart: what was not built from a source package is one.
    if header.SOURCE_PACKAGE in main or header.SOURCE_RPM not in main or arch in _SOURCE_ARCHES:
        raise HostileInputError(f"{main.what}: a source package: {name}-{version}-{release}")
    return name, f"{epoch}:{version}-{release}" if epoch else f"{version}-{release}", arch


def _signatures(signature: Header, *tags: int) -> list[bytes]:
    return [found for found in map(signature.binary, tags) if found is not None]


def _check_header_digests(found: Headers, what: str) -> None:
    """Check the digests of the main header that the signature header carries; they prove nothing, but rpm asks."""
    for tag, name in ((header.SHA256_HEADER, "sha256"), (header.SHA1_HEADER, "sha1")):
        stated = found.signature.text(tag)
        if tag not in found.signature:
            continue
        if stated.lower() != hashlib.new(name, found.signed, usedforsecurity=False).hexdigest():
            raise VerificationError(f"{what}: its header does not have the {name} that it states", _ALTERED)


def _payload_digest(main: Header) -> tuple[str, str] | None:
    """Return name and hexadecimal text of the payload's digest, None when there is none that is strong."""
    text = main.text(header.PAYLOAD_DIGEST).lower()
    # Without a number rpm reads the digest as SHA-256.
    name = _STRONG_DIGESTS.get(main.number(header.PAYLOAD_DIGEST_ALGORITHM) or 8)
    return (name, text) if text and name is not None else None


def _check_payload(file: BinaryIO, found: Headers, expected: tuple[str, str], what: str) -> None:
    """Read the payload, once, and compare its digest, and the MD5 of it all where one is stated, as rpm does."""
    name, text = expected
    digest = hashlib.new(name)
    stated = found.signature.binary(header.MD5_WHOLE)
    md5 = hashlib.md5(found.signed, usedforsecurity=False)
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
        if stated is not None:
            md5.update(chunk)
    if digest.hexdigest() != text:
        raise VerificationError(f"{what}: its payload does not have the {name} that its header states", _ALTERED)
    if stated is not None and md5.digest() != stated:
        raise VerificationError(f"{what}: does not have the md5 that it states", _ALTERED)


def _read_whole(file: BinaryIO, found: Headers, what: str) -> bytes:
    """Return main header and payload, within the bound of what may be signed as a whole."""
    data = found.signed + file.read(MAX_PACKAGE_BYTES)
    if len(data) > MAX_PACKAGE_BYTES:
        raise VerificationError(f"{what}: signed as a whole, and larger than {MAX_PACKAGE_BYTES} bytes", _OLD)
    stated = found.signature.binary(header.MD5_WHOLE)
    if stated is not None and hashlib.md5(data, usedforsecurity=False).digest() != stated:
        raise VerificationError(f"{what}: does not have the md5 that it states", _ALTERED)
    return data
