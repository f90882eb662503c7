"""What is to be had of a target's RPM upstreams at the moment: after excludes, modules and what was taken away."""

import enum
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cached_property

from repobuild.errors import UnresolvableError
from repobuild.formats.origin_pins import OriginPins
from repobuild.formats.protocol import GONE, Cache, Loaded
from repobuild.formats.rpm import groups, modules, modules_index
from repobuild.formats.rpm.universe import Universe
from repobuild.formats.rpm.universe_match import Match, Matcher
from repobuild.model import Options, Target


class Kind(enum.Enum):
    """How a candidate names its packages."""

    SPEC = enum.auto()
    """As dnf's install does."""
    VERSION = enum.auto()
    """By name and version."""
    MEMBER = enum.auto()
    """By name, for a group."""
    CONDITION = enum.auto()
    """`(name if other)`, for a group."""
    PROFILE = enum.auto()
    """By name, among the packages of an active stream first."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One thing to install. Which packages would do is asked anew whenever it is solved: modules may have moved."""

    kind: Kind
    spec: str
    name: str = ""
    """SPEC: only packages of this name. VERSION, MEMBER, PROFILE: the name. Else the text for people."""
    version: str = ""
    arch: str = ""


class Stock:
    """The universe, and which of its packages are hidden."""

    def __init__(
        self, loaded: Sequence[Loaded], target: Target, cache: Cache, options: Options, base: Loaded | None = None
    ) -> None:
        self._loaded = loaded
        self._base = base
        self._cache = cache
        self._taken: frozenset[str] = frozenset()
        self._pins = OriginPins.of(options, loaded)
        self.target = target
        self.universe = Universe(loaded, target.package_arch, cache, base=base)
        self.modules = modules.ModuleCatalog.of(
            (
                modules_index.load(text, cache, source.upstream.name)
                for source in self.universe.sources
                for text in source.modules
            ),
            f"el{target.major}",
            target.package_arch,
        )
        self.enabled = dict(map(self._known_stream, options.module_streams))
        self._refresh()

    def _known_stream(self, spec: str) -> tuple[str, str]:
        name, _, stream = spec.partition(":")
        streams = self.modules.streams_of(name)
        if stream not in streams:
            had = f"{name} has the streams {', '.join(streams)}" if streams else f"no upstream has a module {name}"
            raise UnresolvableError(f"cannot be enabled: module stream {spec[:80]!r}: {had}", "mend module_streams")
        return name, stream

    def enable(self, name: str, stream: str) -> None:
        """Enable a stream of a module."""
        if self.enabled.get(name) != stream:
            self.enabled[name] = stream
            self._refresh()

    def take_away(self, digests: AbstractSet[str]) -> None:
        """Do as if packages with these sha256 were not there."""
        self._taken |= digests
        self._refresh()

    @property
    def has_more_files(self) -> bool:
        """Whether `open_files` would bring what is not here yet."""
        return not self.universe.with_files and any(
            each.open is not None and any(file.kind == "filelists" for file in each.root.later) for each in self._loaded
        )

    def open_files(self) -> None:
        """Bring the lists of all files."""
        arch = self.target.package_arch
        self.universe = Universe(self._loaded, arch, self._cache, with_files=True, base=self._base)
        self.__dict__.pop("_filtered", None)
        self._refresh()

    @cached_property
    def groups(self) -> groups.Groups:
        """The groups of all upstreams."""
        texts = (
            (source.open(file), source.upstream.name) for source in self.universe.sources for file in source.groups
        )
        return groups.load(texts, self.target.package_arch)

    def match(self, spec: str) -> Match:
        """Return what dnf would take `spec` for, of what is to be had."""
        if spec not in self._matches:
            hidden = self.universe.hidden
            self._matches[spec] = Matcher(self.universe, lambda number: number not in hidden).match(spec)
        return self._matches[spec]

    def exactly(self, name: str, version: str, arch: str) -> tuple[int, ...]:
        """Return the packages of a name with a version, of what is to be had."""
        hidden = self.universe.hidden
        return Matcher(self.universe, lambda number: number not in hidden).exactly(name, version, arch).numbers

    def installed(self, want: str) -> tuple[int, ...]:
        """Return what of the base dnf would take `want` for."""
        name, _, version = want.partition("=")
        matcher = Matcher(self.universe, self.universe.installed.__contains__)
        return matcher.exactly(name, version, "").numbers if version else matcher.match(want).numbers

    def match_hidden(self, spec: str) -> Match:
        """Return what `spec` would stand for among the packages that are not to be had."""
        return Matcher(self.universe, self.universe.hidden.__contains__).match(spec)

    def named(self, name: str) -> tuple[int, ...]:
        """Return the packages of a name, of what is to be had."""
        hidden = self.universe.hidden
        return tuple(each.id for each in self.universe.named(name) if each.id not in hidden)

    def numbers(self, candidate: Candidate) -> tuple[int, ...]:
        """Return the packages that will do for a candidate, in libsolv's order."""
        if candidate not in self._numbers:
            self._numbers[candidate] = tuple(sorted(set(self._find(candidate))))
        return self._numbers[candidate]

    def _find(self, candidate: Candidate) -> tuple[int, ...]:
        if candidate.kind is Kind.VERSION:
            return self.exactly(candidate.name, candidate.version, candidate.arch)
        if candidate.kind is Kind.PROFILE:
            named = self.named(candidate.name)
            return tuple(each for each in named if self._is_of_profile(each, candidate)) or named
        if candidate.kind is Kind.MEMBER:
            found = self.named(candidate.name)
            solvables = [self.universe.solvable(each) for each in found]
            kept = [each for each in solvables if not candidate.arch or each.arch == candidate.arch]
            return (*(each.id for each in kept), *self.universe.obsoleting(kept))
        match = self.match(candidate.spec)
        packages = [self.universe.solvable(each) for each in match.numbers]
        if candidate.name:
            packages = [each for each in packages if each.name == candidate.name]
        obsoleting = self.universe.obsoleting(packages) if match.by_name else ()
        return (*(each.id for each in packages), *obsoleting)

    def _is_of_profile(self, number: int, candidate: Candidate) -> bool:
        source = self.universe.source(number)
        return source.upstream.module_hotfixes or (
            str(self.universe.solvable(number)) in self._artifacts.get(candidate.spec, frozenset())
        )

    @cached_property
    def _filtered(self) -> dict[int, str]:
        """The packages that `excludepkgs` and `includepkgs` of their upstreams hide, and those pinned elsewhere."""
        matcher = Matcher(self.universe, lambda _: True)
        found: dict[int, str] = {}
        for name in self._pins.by_name:
            named = {each.id: self.universe.source(each.id).upstream.name for each in self.universe.named(name)}
            foreign = [number for number, upstream in named.items() if not self._pins.allow(name, upstream)]
            is_nowhere = len(foreign) == len(named)
            reason = self._pins.reason(name) if is_nowhere else self._pins.rule(name)
            found.update(dict.fromkeys(foreign, reason))
        for source in self.universe.sources:
            upstream = source.upstream
            if upstream.include:
                kept = {number for glob in upstream.include for number in matcher.by_nevra(glob).numbers}
                reason = f"not among what includepkgs of {upstream.name} lists"
                found.update((number, reason) for number in source.numbers if number not in kept)
            for glob in upstream.exclude:
                reason = f"left out by excludepkgs of {upstream.name}: {glob}"
                found.update((each, reason) for each in matcher.by_nevra(glob).numbers if each in source.numbers)
        return found

    def why_withheld(self, name: str) -> str:
        """Say why nothing of this name is to be had although it is pinned to an upstream; empty for none."""
        return self._pins.reason(name) if not self.named(name) else ""

    def _refresh(self) -> None:
        """Say anew what is hidden."""
        self._matches: dict[str, Match] = {}
        self._numbers: dict[Candidate, tuple[int, ...]] = {}
        self.active = self.modules.activate(self.enabled)
        self._artifacts = {
            spec: frozenset(
                artifact for each in self.active.streams if each.spec == spec for artifact in each.artifacts
            )
            for spec in {each.spec for each in self.active.streams}
        }
        hidden = modules.hidden(self.universe, self.modules, self.active)
        hidden.update(self._filtered)
        for number in self.universe.with_digests(self._taken):
            hidden[number] = GONE
        self.universe.hide(hidden)
