"""Release files: read an upstream's, write ours (https://wiki.debian.org/DebianRepository/Format)."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC
from email.utils import formatdate, parsedate_to_datetime
from urllib.parse import quote

from debian.deb822 import Deb822

from repobuild.errors import HostileInputError, VerificationError
from repobuild.formats.protocol import IndexFile, RepositoryFacts, Root, Variant
from repobuild.model import Target, Upstream

_COMPRESSIONS = ((".xz", "xz"), (".zst", "zst"), (".gz", "gz"), ("", ""))
_MAX_INDEX = 1 << 30
"""Bytes of one open Packages text; Debian's largest is 65 MB."""
_MAX_DATE = 100
"""Characters of a date."""
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
_SIZE = re.compile(r"[0-9]{1,13}\Z")
_NEVER_OURS = ("Valid-Until", "NotAutomatic", "Signed-By", "MD5Sum", "SHA1", "SHA512")
"""Fields by which apt refuses, holds back or verifies, and which `write` leaves out."""
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
    fields = _fields(content, what)
    aliases = tuple(dict.fromkeys(fields[key] for key in ("Codename", "Suite") if fields.get(key)))
    if not upstream.suite.endswith("/") and upstream.suite not in aliases:
        raise VerificationError(f"{what} is for another suite: {' '.join(aliases) or 'none named'}")
    files = _files(fields, what)
    lacks = _lacks(files, upstream, target)
    return Root(
        origin=fields.get("Origin", ""),
        suite=upstream.suite,
        date=_time(fields.get("Date"), what) or 0,
        valid_until=_time(fields.get("Valid-Until"), what),
        aliases=(*aliases, upstream.name),
        pin=_pin(fields),
        indexes=tuple(
            _indexes(fields, files, replace(upstream, components=_others(upstream.components, lacks)), target)
        ),
        lacks=lacks,
    )


def listed(content: bytes, what: str) -> dict[str, tuple[int, str]]:
    """Return size and sha256 of each file that a Release lists, by its path; HostileInputError as `read`."""
    return _files(_fields(content, what), what)


def strange(content: bytes, what: str) -> tuple[str, ...]:
    """Return the fields that apt goes by and that a Release of ours never has; HostileInputError as `read`."""
    fields = _fields(content, what)
    return tuple(name for name in _NEVER_OURS if name in fields)


def _fields(content: bytes, what: str) -> Deb822:
    # Lines end where apt ends them; str.splitlines knows ten other ends.
    try:
        # `Release` would make an object of each of some 5,000 lines of digests, for a tenth of a second.
        return Deb822(content.decode("utf-8").replace("\r\n", "\n").split("\n"))
    except (ValueError, TypeError, EOFError, AttributeError) as error:
        raise HostileInputError(f"malformed {what}") from error


def _files(fields: Mapping[str, str], what: str) -> dict[str, tuple[int, str]]:
    listed = fields.get("SHA256")
    if listed is None:
        raise HostileInputError(f"no SHA256 list in {what}", "repobuild takes nothing weaker than sha256")
    found: dict[str, tuple[int, str]] = {}
    for line in filter(str.strip, listed.split("\n")):
        digest, size, name = (*line.split(), "", "")[:3]
        if not _DIGEST.match(digest) or not _SIZE.match(size) or not name:
            raise HostileInputError(f"malformed SHA256 entry in {what}: {name[:80]!r}")
        known = found.setdefault(name, (int(size), digest))
        if known != (int(size), digest):
            raise HostileInputError(f"two SHA256 entries for one file in {what}: {name[:80]!r}")
    return found


def _time(text: str | None, what: str) -> int | None:
    if text is None:
        return None
    try:
        parsed = parsedate_to_datetime(text[:_MAX_DATE])
        # A date without a zone is UTC, whatever zone this machine is in.
        seconds = int((parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp())
    except (ValueError, TypeError, OverflowError, IndexError) as error:
        raise HostileInputError(f"malformed date in {what}: {text[:40]!r}") from error
    if seconds < 0:
        raise HostileInputError(f"date before 1970 in {what}: {text[:40]!r}")
    return seconds


def _pin(fields: Mapping[str, str]) -> int:
    if fields.get("NotAutomatic", "no").lower() != "yes":
        return _PIN
    is_upgrading = fields.get("ButAutomaticUpgrades", "no").lower() == "yes"
    return _PIN_AUTOMATIC_UPGRADES if is_upgrading else _PIN_NOT_AUTOMATIC


def _lacks(files: Mapping[str, tuple[int, str]], upstream: Upstream, target: Target) -> tuple[str, ...]:
    """Return the components that are left out since the root does not have them; not all of them, which is an error.

    apt goes on without them too, and Pigsty has one entry for several releases, not all of which have all components.
    """
    if not upstream.may_lack:
        return ()
    absent = [each for each in upstream.components if f"{each}/binary-{target.package_arch}/Packages" not in files]
    return tuple(absent) if len(absent) < len(upstream.components) else ()


def _others(components: tuple[str, ...], absent: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(each for each in components if each not in absent)


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
            if size > _MAX_INDEX:
                raise HostileInputError(f"index {name + ending!r} announces {size} bytes, more than {_MAX_INDEX}")
            parent = name.rpartition("/")[0]
            hashed = f"{parent}/by-hash/SHA256/{digest}".lstrip("/")
            # A mirror may lack the by-hash folders that the root promises; then the plain name has to do.
            places = (hashed, name + ending) if by_hash else (name + ending,)
            variants += [
                Variant(path=below + quote(place), compression=compression, size=size, digest=digest)
                for place in places
            ]
    if name not in files or not variants:
        raise VerificationError(
            f"no index {name!r} in the Release under {below or './'!r}",
            "check the components and architectures of this upstream in the manifest",
        )
    size, digest = files[name]
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
