"""Release files: read an upstream's, write ours (https://wiki.debian.org/DebianRepository/Format)."""

import hashlib
from collections.abc import Mapping, Sequence
from email.utils import formatdate, parsedate_to_datetime
from urllib.parse import quote

from debian.deb822 import Release

from repobuild.errors import HostileInputError, VerificationError
from repobuild.formats.protocol import IndexFile, RepositoryFacts, Root, Variant
from repobuild.model import Target, Upstream

_COMPRESSIONS = ((".xz", "xz"), (".zst", "zst"), (".gz", "gz"), ("", ""))
_MAX_INDEX = 1 << 30
"""Bytes of one open Packages text; Debian's largest is 65 MB."""
_PIN, _PIN_AUTOMATIC_UPGRADES, _PIN_NOT_AUTOMATIC = 500, 100, 1


def folder(upstream: Upstream) -> str:
    """Return the folder of a suite below a mirror, with a trailing slash; "" for the mirror itself."""
    if upstream.suite.endswith("/"):
        return "" if upstream.suite in {"/", "./"} else quote(upstream.suite.removeprefix("./"))
    return f"dists/{quote(upstream.suite)}/"


def read(content: bytes, upstream: Upstream, target: Target) -> Root:
    """Parse a Release.

    Raises:
        HostileInputError: when it is malformed.
        VerificationError: when it is another suite's, or has no index for the target.
    """
    what = f"Release of upstream {upstream.name} ({upstream.suite})"
    try:
        fields = Release(content.decode("utf-8").splitlines())
    except (ValueError, UnicodeDecodeError) as error:
        raise HostileInputError(f"malformed {what}") from error
    aliases = tuple(dict.fromkeys(fields[key] for key in ("Codename", "Suite") if fields.get(key)))
    if not upstream.suite.endswith("/") and upstream.suite not in aliases:
        raise VerificationError(f"{what} is for another suite: {' '.join(aliases) or 'none named'}")
    files = _files(fields, what)
    return Root(
        origin=fields.get("Origin", ""),
        suite=upstream.suite,
        date=_time(fields.get("Date"), what) or 0,
        valid_until=_time(fields.get("Valid-Until"), what),
        aliases=(*aliases, upstream.name),
        pin=_pin(fields),
        indexes=tuple(_indexes(fields, files, upstream, target)),
    )


def _files(fields: Mapping[str, object], what: str) -> dict[str, tuple[int, str]]:
    listed = fields.get("SHA256")
    if not isinstance(listed, Sequence) or isinstance(listed, str):
        raise HostileInputError(f"no SHA256 list in {what}", "repobuild takes nothing weaker than sha256")
    found: dict[str, tuple[int, str]] = {}
    for entry in listed:
        digest, size, name = entry["sha256"], entry["size"], entry["name"]
        if len(digest) != 64 or set(digest) - set("0123456789abcdef") or not size.isdigit() or int(size) > 1 << 40:
            raise HostileInputError(f"malformed SHA256 entry in {what}: {name[:80]!r}")
        found[name] = (int(size), digest)
    return found


def _time(text: str | None, what: str) -> int | None:
    if text is None:
        return None
    try:
        return int(parsedate_to_datetime(text).timestamp())
    except (ValueError, TypeError, OverflowError) as error:
        raise HostileInputError(f"malformed date in {what}: {text[:40]!r}") from error


def _pin(fields: Mapping[str, str]) -> int:
    if fields.get("NotAutomatic", "no").lower() != "yes":
        return _PIN
    is_upgrading = fields.get("ButAutomaticUpgrades", "no").lower() == "yes"
    return _PIN_AUTOMATIC_UPGRADES if is_upgrading else _PIN_NOT_AUTOMATIC


def _indexes(
    fields: Mapping[str, str], files: Mapping[str, tuple[int, str]], upstream: Upstream, target: Target
) -> list[IndexFile]:
    is_by_hash = fields.get("Acquire-By-Hash", "no").lower() == "yes"
    architectures = [target.package_arch]
    if "all" in fields.get("Architectures", "").split() and "Packages" not in fields.get(
        "No-Support-for-Architecture-all", ""
    ):
        architectures.append("all")
    if upstream.suite.endswith("/"):
        return [_index(files, "Packages", folder(upstream), by_hash=is_by_hash)]
    found = []
    for component in upstream.components:
        name = f"{component}/binary-{target.package_arch}/Packages"
        found.append(_index(files, name, folder(upstream), by_hash=is_by_hash))
        found += [
            _index(files, f"{component}/binary-{each}/Packages", folder(upstream), by_hash=is_by_hash)
            for each in architectures[1:]
            if f"{component}/binary-{each}/Packages" in files
        ]
    return found


def _index(files: Mapping[str, tuple[int, str]], name: str, below: str, *, by_hash: bool) -> IndexFile:
    variants = []
    for ending, compression in _COMPRESSIONS:
        if name + ending in files:
            size, digest = files[name + ending]
            parent = name.rpartition("/")[0]
            at = f"{parent}/by-hash/SHA256/{digest}".lstrip("/") if by_hash else name + ending
            variants.append(Variant(path=below + quote(at), compression=compression, size=size, sha256=digest))
    if name not in files or not variants:
        raise VerificationError(
            f"no index {name!r} in the Release under {below or './'!r}",
            "check the components and architectures of this upstream in the manifest",
        )
    size, digest = files[name]
    if size > _MAX_INDEX:
        raise HostileInputError(f"index {name!r} announces {size} bytes, more than the {_MAX_INDEX} we read")
    return IndexFile(variants=tuple(variants), size=size, sha256=digest)


def write(facts: RepositoryFacts, files: Mapping[str, bytes]) -> bytes:
    """Write the Release of a flat repository of ours.

    Origin, Label, Suite and Codename never change for a repository (apt asks the operator about changes); it lists
    SHA256 alone, since apt asks by-hash for the strongest digest listed, and has neither Valid-Until nor NotAutomatic.
    """
    lines = [
        f"Origin: {facts.name}",
        f"Label: {facts.name}",
        f"Suite: {facts.target.codename}",
        f"Codename: {facts.target.codename}",
        f"Date: {formatdate(facts.time, usegmt=True).replace('GMT', 'UTC')}",
        f"Architectures: {facts.target.package_arch}",
        "Acquire-By-Hash: yes",
        f"Description: {facts.name} repository for {facts.target.name}, built by repobuild",
        "SHA256:",
    ]
    lines += [f" {hashlib.sha256(data).hexdigest()} {len(data):16d} {name}" for name, data in sorted(files.items())]
    return ("\n".join(lines) + "\n").encode()
