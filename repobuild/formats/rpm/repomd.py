"""repomd.xml of an upstream: what it names, and by which digests (createrepo_c's schema, rpm-md)."""

import re
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import quote
from xml.etree.ElementTree import Element

from repobuild.errors import HostileInputError, RefusedError, VerificationError
from repobuild.formats.protocol import IndexFile, Root, Variant
from repobuild.markup import read_xml
from repobuild.model import Upstream

PATH = "repodata/repomd.xml"
NOW = ("primary", "modules")
"""What every run needs; modules.yaml decides which packages are there at all."""
LATER = ("filelists", "group", "updateinfo")
_ALGORITHMS = {"sha256": 64, "sha384": 96, "sha512": 128}
"""Hexadecimal digits of the digests that are strong enough."""
_COMPRESSIONS = {".gz": "gz", ".xz": "xz", ".zst": "zst", ".xml": "", ".yaml": ""}
_MAX_FILE = 1 << 29
"""Bytes of an index as it is transported."""
_MAX_OPEN = 1 << 31
"""Bytes of an open index; Fedora's filelists have 0.8 GB."""
_MAX_TIME = 1 << 40
_HREF = re.compile(r"[A-Za-z0-9._+~^=@%:,-][A-Za-z0-9._+~^=@%:,/-]{0,1023}")
_PIN = 500


def read(content: bytes, upstream: Upstream) -> Root:
    """Parse a repomd.xml.

    Raises:
        HostileInputError: when it is malformed, or names a file outside its repository.
        VerificationError: when it lacks what a run needs, or gives digests weaker than sha256.
    """
    what = f"repomd.xml of upstream {upstream.name}"
    root = read_xml(content, what)
    if root.tag != "repomd":
        raise HostileInputError(f"not a repomd.xml: {what} begins with <{root.tag[:40]}>")
    records: dict[str, Element] = {}
    for record in root.iter("data"):
        kind = record.get("type", "")
        if records.setdefault(kind, record) is not record:
            raise HostileInputError(f"two entries of type {kind[:40]!r} in {what}")
    if "primary" not in records:
        raise VerificationError(f"no primary index in {what}", "check the URL of this upstream in the manifest")
    return Root(
        origin="",
        suite="",
        date=max((_number(record, "timestamp", what, _MAX_TIME) or 0 for record in records.values()), default=0),
        valid_until=None,
        aliases=(upstream.name,),
        pin=_PIN,
        indexes=tuple(_indexes(records, NOW, what)),
        later=tuple(_usable(records, LATER, what)),
    )


def read_all(content: bytes, upstream: Upstream) -> tuple[IndexFile, ...]:
    """Return everything that a repomd.xml names, of whatever kind; it raises what `read` raises."""
    what = f"repomd.xml of upstream {upstream.name}"
    records = read_xml(content, what).iter("data")
    return tuple(_index(record, record.get("type", ""), what) for record in records)


def open_digests(content: bytes, what: str) -> dict[str, tuple[str, str]]:
    """Return algorithm and hexadecimal digest of the open texts, by kind, as far as a repomd.xml gives them.

    Raises:
        HostileInputError: when it is malformed.
    """
    found = {record.get("type", ""): record.find("open-checksum") for record in read_xml(content, what).iter("data")}
    return {
        kind: (element.get("type", "").lower(), (element.text or "").strip().lower())
        for kind, element in found.items()
        if element is not None
    }


def _indexes(records: dict[str, Element], kinds: tuple[str, ...], what: str) -> Iterator[IndexFile]:
    for kind in kinds:
        if kind in records:
            yield _index(records[kind], kind, what)


def _usable(records: dict[str, Element], kinds: tuple[str, ...], what: str) -> Iterator[IndexFile]:
    """Yield indexes that only some runs need; one that could not be taken is no reason to refuse the rest."""
    for kind in kinds:
        with suppress(RefusedError):
            yield from _indexes(records, (kind,), what)


def _index(record: Element, kind: str, what: str) -> IndexFile:
    what = f"{kind} in {what}"
    algorithm, digest = _digest(record, "checksum", what)
    href, compression = _location(record, what)
    size = _number(record, "size", what, _MAX_FILE) or _MAX_FILE
    # The digest of the open text is left alone: the other one proves the file, dnf looks at no more, and there are
    # upstreams that give a wrong one.
    limit = _number(record, "open-size" if compression else "size", what, _MAX_OPEN)
    return IndexFile(
        variants=(Variant(path=quote(href), compression=compression, size=size, digest=digest, algorithm=algorithm),),
        size=_MAX_OPEN if limit is None else limit,
        sha256=digest if not compression and algorithm == "sha256" and limit is not None else "",
        kind=kind,
    )


def _digest(record: Element, tag: str, what: str) -> tuple[str, str]:
    element = record.find(tag)
    algorithm = element.get("type", "").lower() if element is not None else ""
    text = (element.text or "").strip().lower() if element is not None else ""
    if algorithm not in _ALGORITHMS:
        raise VerificationError(
            f"{tag} of {what} is {algorithm[:20] or 'missing'}, weaker than sha256",
            "repobuild takes nothing weaker than sha256: use an upstream that publishes it",
        )
    if not re.fullmatch(rf"[0-9a-f]{{{_ALGORITHMS[algorithm]}}}", text):
        raise HostileInputError(f"malformed {tag} of {what}: {text[:80]!r}")
    return algorithm, text


def _location(record: Element, what: str) -> tuple[str, str]:
    element = record.find("location")
    href = (element.get("href", "") if element is not None else "").removeprefix("./")
    if element is None or element.get("base") is not None:
        raise HostileInputError(f"no location of its own: {what}", "xml:base is not taken: name that upstream itself")
    if not _HREF.fullmatch(href) or {"", ".", ".."} & set(href.split("/")):
        raise HostileInputError(f"not a path below the upstream: {what}: {href[:100]!r}")
    for ending, compression in _COMPRESSIONS.items():
        if href.endswith(ending):
            return href, compression
    raise HostileInputError(f"compressed in a way that is not supported: {what}: {href[-40:]!r}", "gz, xz and zst are")


def _number(record: Element, tag: str, what: str, limit: int) -> int | None:
    """Return the number in an element, None when there is no such element; a fraction of a second is cut off."""
    text = record.findtext(tag)
    if text is None:
        return None
    whole = text.strip().partition(".")[0]
    if not re.fullmatch(r"[0-9]{1,15}", whole) or int(whole) > limit:
        raise HostileInputError(f"{tag} of {what} is not a number up to {limit}: {text[:40]!r}")
    return int(whole)
