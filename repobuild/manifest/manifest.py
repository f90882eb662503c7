"""A manifest as a value, and what one target sees of it."""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

from repobuild.bases import Bases
from repobuild.credentials import AccessSource
from repobuild.errors import ManifestError, UsageError
from repobuild.manifest import bases_schema
from repobuild.manifest.access_schema import accesses_of
from repobuild.manifest.description import Description, described
from repobuild.manifest.entries import (
    AUTO,
    CHINA,
    DEFAULT,
    HOST,
    REGIONS,
    Route,
    UpstreamEntry,
    UrlEntry,
    without_keys,
)
from repobuild.manifest.expand import Choice, Expanded, Install, Lines, choose, expand
from repobuild.manifest.generation import Generation
from repobuild.manifest.locations import variables
from repobuild.manifest.reading import did_you_mean
from repobuild.manifest.slips import slips_of
from repobuild.model import HostMirror, Job, MinorRelease, Options, Target, Upstream, UrlPackage, Verify
from repobuild.portal import Portal
from repobuild.targets import ALL_TARGETS, family, minor_of


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The YAML document: upstreams, package map, wants, options. Made by `load`."""

    path: Path
    upstreams: tuple[UpstreamEntry, ...]
    package_map: Mapping[str, Choice]
    generation: Generation
    lines: tuple[Lines, ...]
    """The items of `repo_packages`, then those of `repo_extra_packages`."""
    installs: tuple[Install, ...]
    """What Pigsty's playbooks install."""
    url_packages: tuple[UrlEntry, ...]
    modules: tuple[str, ...]
    node_modules: tuple[str, ...]
    """Whose upstreams the nodes read; `local` for what is built."""
    home: Path
    name: str
    endpoint: str
    region: str
    admin_ip: str
    pg_version: Choice
    module_streams: Choice
    pass_on: tuple[str, ...]
    version: str
    proxy_env: Mapping[str, str]
    """`http_proxy`, `https_proxy`, `all_proxy`, `no_proxy`; those that are given."""
    recommends: bool | None
    signing_keys: tuple[str, ...]
    """Paths of key files, or `gpg:FINGERPRINT`; the older first."""
    access: Mapping[str, AccessSource]
    """What the document says itself of how servers are reached, by URL."""
    keep: int
    """How many older versions of each want stay."""
    origins: tuple[tuple[str, str], ...]
    """Which upstream alone a package may come from."""
    cache_pkg_name: str
    """Name of a bundle's file with `${version}`, `${os}` and `${arch}`; empty for our own."""
    cache_pkg_dir: str
    """The folder of bundles with the same variables; empty for our own."""
    cache_repo: tuple[str, ...]
    """Names of the repositories that Pigsty puts in one bundle; ours holds `name` alone."""
    bases: bases_schema.Choice
    """What machines have before they install, by selector."""
    subtracted: str
    """The base that the repository relies on, "" for none."""
    portal: Portal
    warnings: tuple[str, ...]

    @cached_property
    def targets(self) -> tuple[Target, ...]:
        """The targets that at least one upstream serves, in the order of the table of targets."""
        return tuple(target for target in ALL_TARGETS if self._serving(target))

    @property
    def acceptable(self) -> frozenset[str]:
        """Names of the upstreams and URL packages that the operator may accept unverified."""
        urls = (
            entry.package(self._values(target), frozenset()).name
            for entry in self.url_packages
            for target in self.targets
        )
        return frozenset((*(entry.name for entry in self.upstreams), *urls))

    @property
    def client_generation(self) -> str:
        """Whose form clients' files have: `Job.generation`."""
        return self.generation.value if self.generation is Generation.V3 else ""

    def doubts(self, target: Target) -> tuple[str, ...]:
        """Return what in the manifest is most likely a slip, as far as a target sees it."""
        slips = (each for entry in self._serving(target) for each in slips_of(entry, target))
        return (*self.warnings, *slips)

    @cached_property
    def accesses(self) -> Mapping[str, AccessSource]:
        """How servers are reached, by URL: what upstreams say, and what the document says.

        Raises:
            ManifestError: when two upstreams disagree about a URL.
        """
        return accesses_of(self.access, self.upstreams, self._values)

    def job(
        self,
        target: Target,
        *,
        region: str | None = None,
        host_mirrors: tuple[HostMirror, ...] | None = None,
        allow_unverified: frozenset[str] = frozenset(),
        recommends: bool | None = None,
        only_repo_packages: bool = False,
    ) -> Job:
        """Return all that `target` sees of the manifest.

        Args:
            target: what to build for.
            region: `auto`, `host` or a key of `baseurl`; None for the manifest's own word.
            host_mirrors: what the build machine's own package manager is configured with; None where nobody asked it,
                as nothing is to be fetched.
            allow_unverified: names of upstreams and URL packages accepted unverified by the operator; those that are
                not there, or whose keys are known, are left as they are (see `acceptable`).
            recommends: whether weak dependencies are followed; None for the manifest's word, else the family's habit.
            only_repo_packages: leave out what the playbooks install.

        Raises:
            UsageError: when the region does not occur in the manifest, or the host has no mirrors to use.
            ManifestError: when no upstream serves the target, something would go unverified, or wants are malformed.
        """
        route = self._route(region, host_mirrors)
        entries = self._entries_for(target, route)
        trusts = [(entry, entry.trust(route.region, target, self._values(target, entry))) for entry in entries]
        keyless = without_keys(trusts, allow_unverified)
        problems = list(keyless.values())
        upstreams = self._upstreams(entries, target, route, allow_unverified)
        wants = self._wants(target)
        installs = () if only_repo_packages else self._installed(target)
        problems += [problem for each in (wants, *installs) for problem in each.problems]
        packages = self._url_packages(target, route.region, allow_unverified, problems)
        minor_releases = self._minor_releases(target, route, allow_unverified, problems)
        if problems:
            raise ManifestError(list(dict.fromkeys(problems)), _accepting(keyless))
        expected: dict[str, str] = {}
        for each in (*installs, wants):
            expected |= each.expected
        wanted = self.recommends if recommends is None else recommends
        job = Job(
            target=target,
            upstreams=upstreams,
            groups=(*wants.groups, *dict.fromkeys(group for each in installs for group in each.groups)),
            url_packages=packages,
            options=Options(
                weak_dependencies=family(target).weak_dependencies if wanted is None else wanted,
                module_streams=choose(self.module_streams, target),
                pass_on=self.pass_on,
                keep=self.keep,
                origins=self.origins,
            ),
            expected=tuple(sorted(expected.items())),
            generation=self.client_generation,
            bases=self.bases_of(target),
            minor_releases=minor_releases,
            name=self.name,
            version=self.version,
            endpoint=self.endpoint,
            digest="",
        )
        written = [entry.written(target, self._values(target, entry)) for entry in entries]
        at_home = self._url_packages(target, DEFAULT, allow_unverified, [])  # regions do not move the digest
        return replace(job, digest=_digest(replace(job, url_packages=at_home), written))

    def bases_of(self, target: Target) -> Bases:
        """Return the bases from which a target's repository has to install."""
        return bases_schema.bases_of(self.bases, self.subtracted, target)

    def _minor_releases(
        self, target: Target, route: Route, allow_unverified: frozenset[str], problems: list[str]
    ) -> tuple[MinorRelease, ...]:
        """Return the minor releases of which bases are minimal installs, with the upstreams that there are for each."""
        found = []
        for release in dict.fromkeys(base.release for base in self.bases_of(target).all if base.release):
            minor = minor_of(target, release)
            entries = () if minor is None else self._entries_for(minor, route)
            apart = tuple(each for each in entries if minor and each.releasever(minor) == release)
            if minor is None:
                problems.append(f"{self.path}: bases: expected a minor release of {target}, got {release}")
            elif not apart:
                problems.append(
                    f"{self.path}: bases: expected an upstream with `minor: true`, whose URL says which release it is "
                    f"of, for a minimal install of {release}, got none for {target}"
                )
            else:
                upstreams = self._upstreams(apart, minor, route, allow_unverified)
                found.append(MinorRelease(release=release, target=minor, upstreams=upstreams))
        return tuple(found)

    def describe(
        self,
        target: Target,
        *,
        region: str | None = None,
        host_mirrors: tuple[HostMirror, ...] | None = None,
        only_repo_packages: bool = False,
    ) -> Description:
        """Return what a person wants to see of a target before a run; keys need not be there for it.

        Raises:
            UsageError: as `job`.
            ManifestError: when no upstream serves the target, or wants are malformed.
        """
        route = self._route(region, host_mirrors)
        entries = self._entries_for(target, route)
        wants = self._wants(target)
        installs = () if only_repo_packages else self._installed(target)
        problems = [problem for each in (wants, *installs) for problem in each.problems]
        if problems:
            raise ManifestError(list(dict.fromkeys(problems)))
        upstreams = self._upstreams(entries, target, route, frozenset())
        return Description(
            target=target.name,
            region=route.name,
            upstreams=tuple(
                described(upstream, entry.spellings(route.region, target, self._values(target, entry)))
                for entry, upstream in zip(entries, upstreams, strict=True)
            ),
            groups=wants.groups,
            installs=tuple(dict.fromkeys(group for each in installs for group in each.groups)),
            node_modules=self.node_modules,
        )

    def _serving(self, target: Target) -> tuple[UpstreamEntry, ...]:
        return tuple(entry for entry in self.upstreams if entry.fits(target) and entry.module in self.modules)

    def _entries_for(self, target: Target, route: Route) -> tuple[UpstreamEntry, ...]:
        entries = tuple(entry for entry in self._serving(target) if entry.is_in(route.region))
        if not entries:
            served = ", ".join(each.name for each in self.targets) or "none"
            modules = ",".join(self.modules)
            raise ManifestError(
                [f"{self.path}: repo_upstream: expected an upstream of modules {modules} for {target}, got none"],
                f"add an upstream for it; targets that this manifest serves: {served}",
            )
        return entries

    def _values(self, target: Target, entry: UpstreamEntry | None = None) -> Mapping[str, str]:
        return variables(target, self.admin_ip, releasever="" if entry is None else entry.releasever(target))

    def _route(self, region: str | None, host_mirrors: tuple[HostMirror, ...] | None) -> Route:
        name = self.region if region is None else region
        known = sorted({*REGIONS, *(key for entry in self.upstreams for key in entry.baseurl)})
        if name not in known:
            raise UsageError(f"no such region: {name!r}{did_you_mean(name, known)}", f"regions: {', '.join(known)}")
        if name == HOST and host_mirrors == ():
            raise UsageError(
                "region 'host' needs a mirror in this machine's own package sources, and there is none",
                f"use `--region {AUTO}`, which falls back to the manifest's mirrors",
            )
        return Route(name, host_mirrors or ())

    def _upstreams(
        self, entries: tuple[UpstreamEntry, ...], target: Target, route: Route, allow_unverified: frozenset[str]
    ) -> tuple[Upstream, ...]:
        return tuple(entry.upstream(target, self._values(target, entry), route, allow_unverified) for entry in entries)

    def _wants(self, target: Target) -> Expanded:
        """Return what the repository is to hold by `repo_packages` and `repo_extra_packages`."""
        lines = [line for each in self.lines for line in choose(each, target)]
        return expand(lines, self.package_map, target, choose(self.pg_version, target), self._module_names)

    def _installed(self, target: Target) -> tuple[Expanded, ...]:
        """Return what the playbooks install; what is expected of their module's upstreams is all of it."""
        found = []
        for each in self.installs:
            is_mapped = each.pg_version is not None
            versions = choose(each.pg_version or {}, target)
            wants = expand(choose(each.lines, target), self.package_map if is_mapped else {}, target, versions)
            expected = {want: each.module for group in wants.groups for want in group}
            found.append(replace(wants, expected=expected if each.module in self._module_names else {}))
        return tuple(found)

    @cached_property
    def _module_names(self) -> frozenset[str]:
        return frozenset(entry.module for entry in self.upstreams)

    def _url_packages(
        self, target: Target, region: str, allow_unverified: frozenset[str], problems: list[str]
    ) -> tuple[UrlPackage, ...]:
        packages: dict[str, UrlPackage] = {}
        for entry in self.url_packages:
            package = entry.package(self._values(target), allow_unverified)
            if region == CHINA and self.generation is not Generation.OURS:
                package = replace(package, url=package.url.replace("pigsty.io", "pigsty.cc"))
            if package.name in packages:
                problems.append(f"{entry.where}: expected a name of its own, got {package.name!r} again")
            if package.sha256 is None and package.verify is not Verify.NONE:
                problems.append(
                    f"{entry.where}: expected `sha256` of {package.name!r}, got none; add it, or accept the file "
                    f"unverified with `verify: none` or `--allow-unverified {package.name}`"
                )
            packages[package.name] = package
        return tuple(packages.values())


def check_accepted(names: Collection[str], manifests: Iterable[Manifest]) -> None:
    """Prove that each name to accept unverified occurs in one of the manifests of a run.

    Raises:
        UsageError: for one that does not.
    """
    known = sorted({name for each in manifests for name in each.acceptable})
    for name in sorted(set(names).difference(known)):
        raise UsageError(
            f"no such upstream or URL package to accept unverified: {name!r}{did_you_mean(name, known)}",
            "`repobuild show TARGET` lists the upstreams of a target",
        )


def _accepting(names: Iterable[str]) -> str | None:
    """Return what to do about upstreams without keys."""
    words = " ".join(f"--allow-unverified {name}" for name in names)
    return f"name their keys in `signed_by`, or accept them with `verify: none` or {words}" if words else None


def _written(bases: Bases) -> Mapping[str, object]:
    """Return bases as values; what a base, or a package of it, does not say has no key."""
    fields = asdict(bases)
    for base in fields["all"]:
        if not base["release"]:
            del base["release"]
        for package in base["packages"]:
            if not package["says"]:
                del package["says"]
    return fields


def _digest(job: Job, written: Sequence[Mapping[str, object]]) -> str:
    """Return the sha256 of the canonical JSON of what a job's target sees; mirrors are no part of it."""
    seen = {
        "target": job.target.name,
        "upstreams": [
            {**entry, "verify": upstream.verify} for entry, upstream in zip(written, job.upstreams, strict=True)
        ],
        "groups": job.groups,
        "url_packages": [(each.name, each.url, each.sha256, each.verify) for each in job.url_packages],
        "weak_dependencies": job.options.weak_dependencies,
        **({"module_streams": job.options.module_streams} if job.options.module_streams else {}),
        **({"pass_on": job.options.pass_on} if job.options.pass_on else {}),
        **({"keep": job.options.keep} if job.options.keep else {}),
        **({"bases": _written(job.bases)} if job.bases.all else {}),
        **({"origins": job.options.origins} if job.options.origins else {}),
        "name": job.name,
        "version": job.version,
        "endpoint": job.endpoint,
    }
    text = json.dumps(seen, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()
