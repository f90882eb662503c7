"""Archives that are known, and the keys believed of them where a manifest says nothing (`known-upstreams.yml`).

A table of ours, read as strictly as a manifest. What is found by it is a `Trust`: the same value that an entry's own
`signed_by`, `fingerprints` and `verify` come to.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from repobuild.manifest.document import Source, check, parse
from repobuild.manifest.locations import Location, check_url, substitute, variables
from repobuild.manifest.reading import Fields, Place, did_you_mean
from repobuild.manifest.shipped import shipped_folder
from repobuild.model import Target, Verify
from repobuild.targets import is_selector, known_selectors, selectors

TABLE = "known-upstreams.yml"
"""Name of the table in the folder of shipped manifests."""
_TRUST_KEYS = ("verify", "origin", "keys", "key_urls", "fingerprints", "loses_files")
_KEYS = ("name", "for", "urls", "suites", *_TRUST_KEYS, "unknown")
_PATTERN = re.compile(r"(?:\*|[a-z0-9][a-z0-9.-]*)(?:/[A-Za-z0-9._:+~-]+)*(?:/\*)?")
_FINGERPRINT = re.compile(r"[0-9A-F]{40}")
_SLASHES = re.compile(r"/{2,}")
_PORTS = {"http": 80, "https": 443}
_ADMIN_IP = "127.0.0.1"
"""No suite has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """How an upstream is verified, and by which keys."""

    verify: Verify
    origin: str | None = None
    keys: tuple[Path, ...] = ()
    key_urls: tuple[str, ...] = ()
    """Where keys are fetched that are believed by `fingerprints` alone."""
    fingerprints: tuple[str, ...] = ()
    skip_if_gone: bool = False
    """Whether the archive lists files that it has lost."""
    problem: str = ""
    """Why no key of a known archive is believed."""
    is_known: bool = False
    """Whether the table says it: the operator's word accepts such an archive unverified only where it has no key."""

    @property
    def has_keys(self) -> bool:
        """Whether there is anything to verify by."""
        return bool(self.keys or self.key_urls)

    def written(self) -> Mapping[str, object]:
        """Return, for the digest, what is believed: not where the keys come from."""
        return {"verify": self.verify, "origin": self.origin, "fingerprints": sorted(self.fingerprints)}


@dataclass(frozen=True, slots=True)
class Pattern:
    """URLs of an archive, whatever their scheme."""

    host: str
    """`*` for any."""
    path: str
    """Begins with a slash, or is empty."""
    is_prefix: bool

    @classmethod
    def read(cls, text: str) -> "Pattern":
        """Return the pattern that `HOST/PATH` or `HOST/PATH/*` stands for; ValueError when it is none."""
        if not _PATTERN.fullmatch(text) or {".", ".."} & set(text.split("/")):
            raise ValueError(f"expected HOST/PATH, `*` as host, `/*` at the end, got {text!r}")
        host, slash, path = text.removesuffix("/*").partition("/")
        if host == "*" and not path:
            raise ValueError(f"expected a path where the host is any, got {text!r}")
        return cls(host, slash + path, text.endswith("/*"))

    @property
    def rank(self) -> tuple[bool, int]:
        """Of two patterns that fit, the greater counts: the named host, then the longer path."""
        return self.host != "*", len(self.path)

    def fits(self, url: str) -> bool:
        """Whether `url` is one of them; of a named host only on the usual port."""
        parts = urlsplit(url)
        path = _SLASHES.sub("/", parts.path).rstrip("/")
        if parts.scheme not in _PORTS:
            return False
        if self.host != "*" and (parts.hostname != self.host or parts.port not in {None, _PORTS[parts.scheme]}):
            return False
        return path == self.path or (self.is_prefix and path.startswith(f"{self.path}/"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """An item of the table."""

    name: str
    selectors: tuple[str, ...]
    patterns: tuple[Pattern, ...]
    suites: tuple[str, ...]
    """Variables not yet replaced; empty for any."""
    trust: Trust

    def fits(self, target: Target, suite: str) -> bool:
        """Whether it is an archive for this target, and the suite one of its own."""
        values = variables(target, _ADMIN_IP)
        own = {substitute(each, values) for each in self.suites}
        return not set(self.selectors).isdisjoint(selectors(target)) and (not own or suite in own)


def find(location: Location, target: Target) -> Trust | None:
    """Return how the archive is verified that all URLs of `location` serve; None when it is not known."""
    archives = [each for each in table() if each.fits(target, location.suite)]
    found = {_archive_at(url, archives) for url in location.urls}
    archive = found.pop() if len(found) == 1 else None
    return None if archive is None else replace(archive.trust, is_known=True)


def _archive_at(url: str, archives: Sequence[Archive]) -> Archive | None:
    fitting = [(pattern.rank, each) for each in archives for pattern in each.patterns if pattern.fits(url)]
    return max(fitting, key=lambda ranked: ranked[0])[1] if fitting else None


@cache
def table() -> tuple[Archive, ...]:
    """Return the shipped table.

    Raises:
        ManifestError: with every error in it.
    """
    path = shipped_folder() / TABLE
    return read(path.read_bytes(), path)


def read(data: bytes, path: Path) -> tuple[Archive, ...]:
    """Return the table in `data`; `path` is its own, for messages and for the key files that it names.

    Raises:
        ManifestError: with every error in it.
    """
    source = Source(str(path))
    root = parse(data, source)
    archives: list[Archive] = []
    if root is not None:
        fields = Place(source, "", root).fields(("archives",), "a mapping with archives")
        archives = [_archive(item, path.parent) for item in fields.items("archives", "a list of archives")]
    check(source)
    return tuple(archives)


def _archive(item: Place, folder: Path) -> Archive:
    fields = item.fields(_KEYS, "an archive: a mapping with name, for, urls")
    fields.require("name", "for", "urls")
    patterns = (each.parsed(Pattern.read) for each in fields.items("urls", "a list of HOST/PATH"))
    return Archive(
        name=fields.text("name") or "",
        selectors=tuple(_selector(each) for each in fields.items("for", "a list of selectors")),
        patterns=tuple(each for each in patterns if each is not None),
        suites=tuple(each.text("a suite") or "" for each in fields.items("suites", "a list of suites")),
        trust=_trust(fields, folder),
    )


def _selector(place: Place) -> str:
    text = place.text("a selector") or ""
    if text and not is_selector(text):
        place.wrong("a selector such as deb, d12 or el9.aarch64", f"{text!r}{did_you_mean(text, known_selectors())}")
    return text


def _trust(fields: Fields, folder: Path) -> Trust:
    if "unknown" in fields.given:
        for key in _TRUST_KEYS:
            if key in fields.given:
                fields.given[key].wrong("nothing beside `unknown`")
        return Trust(verify=Verify.ROOT, problem=fields.text("unknown", "why no key is believed") or "")
    fields.require("verify", "fingerprints")
    trust = Trust(
        verify=Verify(fields.one_of("verify", (Verify.ROOT, Verify.PACKAGES), "root or packages") or Verify.ROOT),
        origin=fields.text("origin"),
        skip_if_gone=fields.flag("loses_files") is True,
        keys=tuple(_key_file(each, folder) for each in fields.items("keys", "key files beside the table")),
        key_urls=tuple(_key_url(each) for each in fields.items("key_urls", "a list of URLs")),
        fingerprints=tuple(
            each.matching(_FINGERPRINT, "a fingerprint of 40 hexadecimal digits in capitals") or ""
            for each in fields.items("fingerprints", "a list of fingerprints")
        ),
    )
    if not trust.has_keys:
        fields.place.wrong("keys or key_urls", "neither")
    return trust


def _key_file(place: Place, folder: Path) -> Path:
    path = folder / (place.text("a key file beside the table") or "")
    if not path.is_file():
        place.wrong("a key file beside the table")
    return path


def _key_url(place: Place) -> str:
    return place.parsed(lambda text: check_url(text, ("https",))) or ""
