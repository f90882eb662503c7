"""The entries of a manifest as it writes them, and what they come to for one target."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from repobuild.credentials import AccessSource
from repobuild.durable import check_component
from repobuild.errors import HostileInputError
from repobuild.manifest import known
from repobuild.manifest.generation import Generation, releasever
from repobuild.manifest.known import Trust
from repobuild.manifest.locations import Location, check_url, locate, substitute
from repobuild.manifest.matching import carrying, lists_of
from repobuild.manifest.reading import redacted
from repobuild.manifest.yum_schema import Meta
from repobuild.model import (
    LOCK_NAME,
    MARKER,
    HostMirror,
    Mirror,
    MirrorList,
    Target,
    Upstream,
    UrlPackage,
    Verify,
)
from repobuild.targets import family

AUTO = "auto"
"""Region: the host's own mirrors first where they carry the same archive, then the manifest's default."""
HOST = "host"
"""Region: the host's own mirrors and no others."""
DEFAULT = "default"
"""Region that stands in for one an entry does not have."""
CHINA = "china"
REGIONS = (AUTO, HOST, DEFAULT, CHINA, "europe")
"""Regions that may always be asked for; a manifest's `baseurl` may have more."""


@dataclass(frozen=True, slots=True)
class Key:
    """A file of public keys and the digest of its bytes."""

    path: Path
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamEntry:
    """An item of `repo_upstream`. Its name is not unique: another one may carry it for other releases."""

    name: str
    """Of its own for each target."""
    written_name: str
    """As the document has it; Pigsty's rules go by it."""
    module: str
    releases: tuple[int, ...]
    arches: tuple[str, ...]
    baseurl: Mapping[str, tuple[str, ...]]
    """Lines by region, variables not yet replaced."""
    verify: Verify
    is_verify_stated: bool
    keys: tuple[Key, ...]
    fingerprints: tuple[str, ...]
    origin: str | None
    check_valid_until: bool
    skip_if_unavailable: bool
    skip_if_gone: bool
    may_lack: bool
    """Whether components may be named that the root does not have."""
    generation: Generation
    is_minor: bool
    """Whether `$releasever` has the minor release."""
    meta: Meta
    where: str
    access: AccessSource | None = None

    def fits(self, target: Target) -> bool:
        """Whether the entry is for this target, whatever its module."""
        return target.major in self.releases and target.arch in self.arches

    def is_in(self, region: str) -> bool:
        """Whether it has a place in a region; all of our own documents have."""
        return region in self.baseurl or DEFAULT in self.baseurl or bool(self.meta.lists)

    def releasever(self, target: Target) -> str:
        """Return what `$releasever` is in its URLs."""
        return releasever(self.generation, self.written_name, target, is_minor=self.is_minor)

    def _has_hotfixes(self, target: Target) -> bool:
        """Say whether modules never hide its packages; Pigsty's third generation wants that of all from EL 8 on."""
        is_any = self.generation is Generation.V3 and not family(target).has_suites and target.major >= 8
        return self.meta.module_hotfixes or is_any

    def trust(self, region: str, target: Target, values: Mapping[str, str]) -> Trust:
        """Return how it is verified: as it says itself, else as the archive that its URLs are known to serve."""
        archive = self._archive(region, target, values)
        if archive is not None:
            return replace(archive, origin=self.origin or archive.origin)
        keys = tuple(key.path for key in self.keys)
        return Trust(verify=self.verify, origin=self.origin, keys=keys, fingerprints=self.fingerprints)

    def _archive(self, region: str, target: Target, values: Mapping[str, str]) -> Trust | None:
        if self.is_verify_stated or self.keys or self.fingerprints:
            return None
        return known.find(self.locate(region, target, values), target)

    def locate(self, region: str, target: Target, values: Mapping[str, str]) -> Location:
        """Return where the entry is in a region; ValueError says what is wrong with its URLs."""
        lines = self.baseurl.get(region) or self.baseurl.get(DEFAULT, ())
        if not lines:
            return Location(urls=())
        return locate([substitute(line, values) for line in lines], has_suites=family(target).has_suites)

    def spellings(self, region: str, target: Target, values: Mapping[str, str]) -> Mapping[str, str]:
        """Return how the manifest spells the URLs of a region, variables replaced, by how we do."""
        lines = [substitute(line, values).split() for line in self.baseurl.get(region) or self.baseurl.get(DEFAULT, ())]
        words = [word for line in lines for word in (line[:1] if family(target).has_suites else line)]
        return {check_url(word): word for word in words}

    def upstream(
        self, target: Target, values: Mapping[str, str], route: "Route", allow_unverified: frozenset[str]
    ) -> Upstream:
        """Return the entry as this target sees it."""
        location = self.locate(route.region, target, values)
        trust = self.trust(route.region, target, values)
        is_accepted = self.name in allow_unverified and not (trust.is_known and trust.has_keys)
        # `verify: none` without keys cannot prove packages and does not want to.
        checks_packages = trust.verify is Verify.PACKAGES or (self.meta.gpgcheck and trust.has_keys)
        return Upstream(
            name=self.name,
            module=self.module,
            mirrors=route.mirrors(location, values, has_origin=trust.origin is not None),
            suite=location.suite,
            components=location.components,
            verify=Verify.NONE if is_accepted else trust.verify,
            keys=trust.keys,
            key_urls=trust.key_urls,
            fingerprints=trust.fingerprints,
            origin=trust.origin,
            check_valid_until=self.check_valid_until,
            skip_if_unavailable=self.skip_if_unavailable or self.meta.skip_if_unavailable,
            skip_if_gone=self.skip_if_gone or trust.skip_if_gone,
            may_lack=self.may_lack,
            mirror_lists=route.lists(self, location, values),
            priority=self.meta.priority,
            cost=self.meta.cost,
            exclude=self.meta.exclude,
            include=self.meta.include,
            module_hotfixes=self._has_hotfixes(target),
            checks_packages=checks_packages and not is_accepted,
        )

    def written(self, target: Target, values: Mapping[str, str]) -> Mapping[str, object]:
        """Return, for the digest, what of the entry this target sees: every region, but no mirror of the host."""
        archives = {region: self._archive(region, target, values) for region in self.baseurl}
        trusts = {region: each.written() for region, each in archives.items() if each is not None and each.has_keys}
        return {
            "name": self.name,
            "module": self.module,
            "baseurl": {region: self.locate(region, target, values).lines() for region in self.baseurl},
            "keys": [key.sha256 for key in self.keys],
            "fingerprints": self.fingerprints,
            "origin": self.origin,
            "check_valid_until": self.check_valid_until,
            "skip_if_unavailable": self.skip_if_unavailable,
            "skip_if_gone": self.skip_if_gone,
            **self.meta.written(values),
            **({"known": trusts} if trusts else {}),
            **({"generation": self.generation} if self.generation is Generation.V3 else {}),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class UrlEntry:
    """An item of `repo_url_packages`."""

    url: str
    """Variables not yet replaced."""
    name: str | None
    sha256: str | None
    verify: Verify
    where: str

    def package(self, values: Mapping[str, str], allow_unverified: frozenset[str]) -> UrlPackage:
        """Return the entry as a target sees it; ValueError says what is wrong with it."""
        url = check_url(substitute(self.url, values), query=True)
        name = check_file_name(
            substitute(self.name, values) if self.name else unquote(urlsplit(url).path).rpartition("/")[2]
        )
        is_accepted = self.verify is Verify.NONE or name in allow_unverified
        verify = Verify.NONE if is_accepted and self.sha256 is None else Verify.ROOT
        return UrlPackage(name=name, url=url, sha256=self.sha256, verify=verify)


@dataclass(frozen=True, slots=True)
class Route:
    """How a region becomes mirrors: the region asked for, and the host's own mirrors."""

    name: str
    host: tuple[HostMirror, ...] = ()

    @property
    def region(self) -> str:
        """The key of `baseurl` that counts."""
        return DEFAULT if self.name in {AUTO, HOST} else self.name

    def mirrors(self, location: Location, values: Mapping[str, str], *, has_origin: bool) -> tuple[Mirror, ...]:
        """Return an entry's mirrors in the order in which they are tried, each URL once: the host's own first."""
        if not location.urls:
            return ()
        is_host = self.name in {AUTO, HOST}
        host = carrying(self.host, location, values, has_origin=has_origin) if is_host else []
        own = () if self.name == HOST else (Mirror(url) for url in location.urls)
        first_of_url: dict[str, Mirror] = {}
        for mirror in (*host, *own):
            first_of_url.setdefault(mirror.url, mirror)
        return tuple(first_of_url.values())

    def lists(self, entry: UpstreamEntry, location: Location, values: Mapping[str, str]) -> tuple[MirrorList, ...]:
        """Return the lists of mirrors that are asked: the entry's own, or the host's where they alone count."""
        if self.name == HOST:
            return lists_of(self.host, entry.name, location, values)
        return entry.meta.mirror_lists(values)


def check_file_name(name: str) -> str:
    """Return `name` when a file of the repository may have it; ValueError says why not."""
    try:
        check_component(name)
    except HostileInputError:
        raise ValueError(f"expected a file name, got {redacted(name)}") from None
    if name.startswith((".", "-")) or name in {MARKER, LOCK_NAME}:
        raise ValueError(f"expected a file name that the repository does not need itself, got {redacted(name)}")
    return name


def without_keys(entries: Iterable[tuple[UpstreamEntry, Trust]], allow_unverified: frozenset[str]) -> Mapping[str, str]:
    """Return one message for each upstream that is to be verified and for which there is no key (G4), by its name."""
    return {
        entry.name: f"{entry.where}: expected keys to verify upstream {entry.name!r} by, got none"
        f"{f' ({trust.problem})' if trust.problem else ''}"
        for entry, trust in entries
        if trust.verify is not Verify.NONE and not trust.has_keys and entry.name not in allow_unverified
    }
