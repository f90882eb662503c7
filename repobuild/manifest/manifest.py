"""A manifest as a value, and what one target sees of it."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from repobuild.errors import ManifestError, UsageError
from repobuild.manifest.entries import (
    AUTO,
    HOST,
    REGIONS,
    Route,
    UpstreamEntry,
    UrlEntry,
    without_keys,
    without_origin,
)
from repobuild.manifest.expand import Choice, Line, choose, expand
from repobuild.manifest.locations import variables
from repobuild.manifest.reading import did_you_mean
from repobuild.model import Job, Mirror, Options, Target, Upstream, UrlPackage, Verify
from repobuild.targets import ALL_TARGETS, family


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamDescription:
    """An upstream for the eyes: where it is read from and with which options."""

    name: str
    module: str
    baseurl: tuple[str, ...]
    options: Mapping[str, str | bool | tuple[str, ...]]
    """Only what is stated, and `verify` always."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What `repobuild show` prints: a target's upstreams in a region, and its groups of wants."""

    target: str
    region: str
    upstreams: tuple[UpstreamDescription, ...]
    groups: tuple[tuple[str, ...], ...]

    def to_json(self) -> Mapping[str, object]:
        """Return it as values that `json.dumps` takes."""
        upstreams = [
            {"name": each.name, "module": each.module, "baseurl": list(each.baseurl), "options": dict(each.options)}
            for each in self.upstreams
        ]
        groups = [list(group) for group in self.groups]
        return {"target": self.target, "region": self.region, "upstreams": upstreams, "groups": groups}


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The YAML document: upstreams, package map, wants, options. Made by `load`."""

    path: Path
    upstreams: tuple[UpstreamEntry, ...]
    package_map: Mapping[str, Choice]
    lines: tuple[Line, ...]
    """The items of `repo_packages`, then those of `repo_extra_packages`."""
    url_packages: tuple[UrlEntry, ...]
    modules: tuple[str, ...]
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
    signing_key: Path | None

    @cached_property
    def targets(self) -> tuple[Target, ...]:
        """The targets that at least one upstream serves, in the order of the table of targets."""
        return tuple(target for target in ALL_TARGETS if self._serving(target))

    def job(
        self,
        target: Target,
        *,
        region: str | None = None,
        host_mirrors: tuple[Mirror, ...] = (),
        allow_unverified: frozenset[str] = frozenset(),
        recommends: bool | None = None,
    ) -> Job:
        """Return all that `target` sees of the manifest.

        Args:
            target: what to build for.
            region: `auto`, `host` or a key of `baseurl`; None for the manifest's own word.
            host_mirrors: base URLs that the build machine's own package manager is configured with.
            allow_unverified: names of upstreams and URL packages accepted unverified by the operator.
            recommends: whether weak dependencies are followed; None for the manifest's word, else the family's habit.

        Raises:
            UsageError: when a name or region does not occur in the manifest, or the host has no mirrors to use.
            ManifestError: when no upstream serves the target, something would go unverified, or wants are malformed.
        """
        self._check_names(allow_unverified)
        route = self._route(region, host_mirrors)
        entries = self._entries_for(target)
        problems = without_keys(entries, allow_unverified)
        problems += without_origin(entries) if route.name == HOST else []
        groups = self._groups(target, problems)
        packages = self._url_packages(target, allow_unverified, problems)
        if problems:
            raise ManifestError(problems)
        wanted = self.recommends if recommends is None else recommends
        job = Job(
            target=target,
            upstreams=self._upstreams(entries, target, route, allow_unverified),
            groups=groups,
            url_packages=packages,
            options=Options(
                weak_dependencies=family(target).weak_dependencies if wanted is None else wanted,
                module_streams=choose(self.module_streams, target),
                pass_on=self.pass_on,
            ),
            name=self.name,
            version=self.version,
            endpoint=self.endpoint,
            digest="",
        )
        written = [entry.written(target, self._values(target, entry)) for entry in entries]
        return replace(job, digest=_digest(job, written))

    def describe(
        self, target: Target, *, region: str | None = None, host_mirrors: tuple[Mirror, ...] = ()
    ) -> Description:
        """Return what a person wants to see of a target before a run; keys need not be there for it.

        Raises:
            UsageError: as `job`.
            ManifestError: when no upstream serves the target, or wants are malformed.
        """
        route = self._route(region, host_mirrors)
        entries = self._entries_for(target)
        problems: list[str] = []
        groups = self._groups(target, problems)
        if problems:
            raise ManifestError(problems)
        upstreams = self._upstreams(entries, target, route, frozenset())
        return Description(
            target=target.name,
            region=route.name,
            upstreams=tuple(_described(upstream) for upstream in upstreams),
            groups=groups,
        )

    def _serving(self, target: Target) -> tuple[UpstreamEntry, ...]:
        return tuple(entry for entry in self.upstreams if entry.fits(target) and entry.module in self.modules)

    def _entries_for(self, target: Target) -> tuple[UpstreamEntry, ...]:
        entries = self._serving(target)
        if not entries:
            served = ", ".join(each.name for each in self.targets) or "none"
            modules = ",".join(self.modules)
            raise ManifestError(
                [f"{self.path}: repo_upstream: expected an upstream of modules {modules} for {target}, got none"],
                f"add an upstream for it; targets that this manifest serves: {served}",
            )
        return entries

    def _values(self, target: Target, entry: UpstreamEntry | None = None) -> Mapping[str, str]:
        return variables(target, self.admin_ip, is_minor=entry is not None and entry.is_minor)

    def _route(self, region: str | None, host_mirrors: tuple[Mirror, ...]) -> Route:
        name = self.region if region is None else region
        known = sorted({*REGIONS, *(key for entry in self.upstreams for key in entry.baseurl)})
        if name not in known:
            raise UsageError(f"no such region: {name!r}{did_you_mean(name, known)}", f"regions: {', '.join(known)}")
        if name == HOST and not host_mirrors:
            raise UsageError(
                "region 'host' needs a mirror in this machine's own package sources, and there is none",
                f"use `--region {AUTO}`, which falls back to the manifest's mirrors",
            )
        return Route(name, host_mirrors)

    def _upstreams(
        self, entries: tuple[UpstreamEntry, ...], target: Target, route: Route, allow_unverified: frozenset[str]
    ) -> tuple[Upstream, ...]:
        return tuple(entry.upstream(target, self._values(target, entry), route, allow_unverified) for entry in entries)

    def _groups(self, target: Target, problems: list[str]) -> tuple[tuple[str, ...], ...]:
        version = choose(self.pg_version, target)
        groups, wrong = expand(self.lines, self.package_map, target, version[0] if version else None)
        problems += wrong
        return groups

    def _url_packages(
        self, target: Target, allow_unverified: frozenset[str], problems: list[str]
    ) -> tuple[UrlPackage, ...]:
        packages: dict[str, UrlPackage] = {}
        for entry in self.url_packages:
            package = entry.package(self._values(target), allow_unverified)
            if package.name in packages:
                problems.append(f"{entry.where}: expected a name of its own, got {package.name!r} again")
            if package.sha256 is None and package.verify is not Verify.NONE:
                problems.append(
                    f"{entry.where}: expected `sha256` of {package.name!r}, got none; add it, or accept the file "
                    f"unverified with `verify: none` or `--allow-unverified {package.name}`"
                )
            packages[package.name] = package
        return tuple(packages.values())

    def _check_names(self, names: frozenset[str]) -> None:
        known = {entry.name for entry in self.upstreams}
        for entry in self.url_packages:
            known |= {entry.package(self._values(target), names).name for target in self.targets}
        for name in sorted(names - known):
            raise UsageError(
                f"no such upstream or URL package to accept unverified: {name!r}{did_you_mean(name, known)}",
                f"`repobuild show TARGET` lists the upstreams of {self.path}",
            )


def _described(upstream: Upstream) -> UpstreamDescription:
    tail = "".join(f" {word}" for word in (upstream.suite, *upstream.components) if word)
    options: dict[str, str | bool | tuple[str, ...]] = {"verify": upstream.verify.value}
    if upstream.keys:
        options["signed_by"] = tuple(key.name for key in upstream.keys)
    if upstream.fingerprints:
        options["fingerprints"] = upstream.fingerprints
    if upstream.origin is not None:
        options["origin"] = upstream.origin
    if not upstream.check_valid_until:
        options["check_valid_until"] = False
    if upstream.skip_if_unavailable:
        options["skip_if_unavailable"] = True
    if upstream.skip_if_gone:
        options["skip_if_gone"] = True
    return UpstreamDescription(
        name=upstream.name,
        module=upstream.module,
        baseurl=tuple(f"{mirror.url}{tail}" for mirror in upstream.mirrors),
        options=options,
    )


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
        "name": job.name,
        "version": job.version,
        "endpoint": job.endpoint,
    }
    text = json.dumps(seen, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()
