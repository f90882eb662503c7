"""The entries of a manifest as it writes them, and what they come to for one target."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from repobuild.durable import check_component
from repobuild.errors import HostileInputError
from repobuild.manifest.locations import Location, check_url, locate, substitute
from repobuild.manifest.reading import redacted
from repobuild.manifest.yum_schema import Meta
from repobuild.model import LOCK_NAME, MARKER, Mirror, Target, Upstream, UrlPackage, Verify
from repobuild.targets import family

AUTO = "auto"
"""Region: the host's own mirrors first where they carry the same archive, then the manifest's default."""
HOST = "host"
"""Region: the host's own mirrors and no others."""
DEFAULT = "default"
"""Region that every entry has, and that stands in for one an entry does not have."""
REGIONS = (AUTO, HOST, DEFAULT, "china", "europe")
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
    description: str
    module: str
    releases: tuple[int, ...]
    arches: tuple[str, ...]
    baseurl: Mapping[str, tuple[str, ...]]
    """Lines by region, variables not yet replaced."""
    verify: Verify
    keys: tuple[Key, ...]
    fingerprints: tuple[str, ...]
    origin: str | None
    check_valid_until: bool
    skip_if_unavailable: bool
    skip_if_gone: bool
    is_minor: bool
    """Whether `$releasever` has the minor release."""
    meta: Meta
    where: str

    def fits(self, target: Target) -> bool:
        """Whether the entry is for this target, whatever its module."""
        return target.major in self.releases and target.arch in self.arches

    @property
    def _checks_packages(self) -> bool:
        """Whether packages are proven by their signatures; `verify: none` without keys cannot and does not want to."""
        return self.verify is Verify.PACKAGES or (self.meta.gpgcheck and bool(self.keys))

    def locate(self, region: str, target: Target, values: Mapping[str, str]) -> Location:
        """Return where the entry is in a region; ValueError says what is wrong with its URLs."""
        lines = self.baseurl.get(region) or self.baseurl.get(DEFAULT, ())
        if not lines:
            return Location(urls=())
        return locate([substitute(line, values) for line in lines], has_suites=family(target).has_suites)

    def upstream(
        self, target: Target, values: Mapping[str, str], route: "Route", allow_unverified: frozenset[str]
    ) -> Upstream:
        """Return the entry as this target sees it."""
        location = self.locate(route.region, target, values)
        return Upstream(
            name=self.name,
            module=self.module,
            mirrors=route.mirrors(self, location),
            suite=location.suite,
            components=location.components,
            verify=Verify.NONE if self.name in allow_unverified else self.verify,
            keys=tuple(key.path for key in self.keys),
            fingerprints=self.fingerprints,
            origin=self.origin,
            check_valid_until=self.check_valid_until,
            skip_if_unavailable=self.skip_if_unavailable or self.meta.skip_if_unavailable,
            skip_if_gone=self.skip_if_gone,
            mirror_lists=() if route.name == HOST else self.meta.mirror_lists(values),
            priority=self.meta.priority,
            cost=self.meta.cost,
            exclude=self.meta.exclude,
            include=self.meta.include,
            module_hotfixes=self.meta.module_hotfixes,
            checks_packages=self._checks_packages and self.name not in allow_unverified,
        )

    def written(self, target: Target, values: Mapping[str, str]) -> Mapping[str, object]:
        """Return, for the digest, what of the entry this target sees: every region, but no mirror of the host."""
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
    host: tuple[Mirror, ...] = ()

    @property
    def region(self) -> str:
        """The key of `baseurl` that counts."""
        return DEFAULT if self.name in {AUTO, HOST} else self.name

    def mirrors(self, entry: UpstreamEntry, location: Location) -> tuple[Mirror, ...]:
        """Return an entry's mirrors in the order in which they are tried, each URL once.

        The host's own stand first where the entry states an origin, by which a foreign archive is told apart; of
        these, the ones whose last path component is that of the entry's URL.
        """
        own = tuple(Mirror(url) for url in location.urls)
        if not own:
            return ()
        host = self.host if self.name in {AUTO, HOST} and entry.origin is not None else ()
        last = own[0].url.rpartition("/")[2]
        near = [mirror for mirror in host if mirror.url.rpartition("/")[2] == last]
        far = [mirror for mirror in host if mirror not in near]
        first_of_url: dict[str, Mirror] = {}
        for mirror in (*near, *far, *(() if self.name == HOST else own)):
            first_of_url.setdefault(mirror.url, mirror)
        return tuple(first_of_url.values())


def check_file_name(name: str) -> str:
    """Return `name` when a file of the repository may have it; ValueError says why not."""
    try:
        check_component(name)
    except HostileInputError:
        raise ValueError(f"expected a file name, got {redacted(name)}") from None
    if name.startswith((".", "-")) or name in {MARKER, LOCK_NAME}:
        raise ValueError(f"expected a file name that the repository does not need itself, got {redacted(name)}")
    return name


def without_keys(entries: Iterable[UpstreamEntry], allow_unverified: frozenset[str]) -> list[str]:
    """Return one message for each upstream that is to be verified and names no key (G4)."""
    return [
        f"{entry.where}: expected keys to verify upstream {entry.name!r} by, got none; name them in `signed_by`, "
        f"or accept it unverified with `verify: none` or `--allow-unverified {entry.name}`"
        for entry in entries
        if entry.verify is not Verify.NONE and not entry.keys and entry.name not in allow_unverified
    ]


def without_origin(entries: Iterable[UpstreamEntry]) -> list[str]:
    """Return one message for each upstream that the host's mirrors cannot be told to carry."""
    return [
        f"{entry.where}: expected an `origin` to know the host's mirrors of upstream {entry.name!r} by, got none; "
        f"state it, or use `--region {AUTO}`"
        for entry in entries
        if entry.origin is None
    ]
