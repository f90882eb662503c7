"""What a want stands for in a target's Debian upstreams, and what apt would choose: the protocol's `Universe`."""

import difflib
import fnmatch
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import cached_property
from itertools import islice
from pathlib import Path

from repobuild.formats.deb import index, installed, package, spec
from repobuild.formats.deb import version as order
from repobuild.formats.deb.choose import choose
from repobuild.formats.deb.solving import Pool, needed, reachable
from repobuild.formats.deb.universe import INSTALLER, Origin, Record, Universe
from repobuild.formats.origin_pins import OriginPins
from repobuild.formats.protocol import NOWHERE, Cache, Exact, Found, Loaded, Solution
from repobuild.formats.values import Sighting
from repobuild.model import Choice, Options, Package, Target

_IMPORTANT = 2
"""The priority up to which a package is part of a minimal install."""
_NEAR = 3
"""Near matches named for a want that nothing has."""


class DebUniverse:
    """The packages of a target's Debian upstreams, and what apt would choose among them."""

    def __init__(
        self, loaded: Sequence[Loaded], target: Target, cache: Cache, options: Options, base: Loaded | None = None
    ) -> None:
        self._cache = cache
        self._weak = options.weak_dependencies
        self._indexes: dict[str, index.Index] = {}
        origins = [
            Origin(
                each.upstream.name,
                each.root.aliases,
                self._open(file.sha256, text),
                each.root.pin,
                each.upstream.module,
            )
            for each in loaded
            for file, text in zip(each.root.indexes, each.texts, strict=True)
        ]
        self._universe = Universe(origins, target.package_arch, OriginPins.of(options, loaded))
        self._pools: dict[tuple[Record, ...], Pool] = {}
        self._exact: set[Record] = set()
        machine = installed.read(base, target.package_arch)
        self._installed = machine.own
        self._hold_back(machine.foreign)
        self._favoured: frozenset[str] = frozenset()

    def _hold_back(self, foreign: Mapping[str, str]) -> None:
        """Leave out what would not stand beside the package of its name that another architecture has in a version."""
        others = (
            record for name in foreign for record in self._universe.records(name) if record.version != foreign[name]
        )
        digests = frozenset(each.field["sha256"] for each in others)
        if digests:
            self._universe.exclude(digests)

    def _open(self, sha256: str, path: Path) -> index.Index:
        if sha256 not in self._indexes:
            text = index.open_text(path)
            known = self._cache.derived(self._key(sha256))
            found = index.load(text, known) if known is not None else None
            if found is None:
                found = index.scan(text)
                if found.is_verbatim:
                    self._cache.put_derived(self._key(sha256), found.dump())
            self._indexes[sha256] = found
        return self._indexes[sha256]

    def _key(self, sha256: str) -> str:
        return f"{sha256}.{index.FORMAT}"

    @cached_property
    def _base(self) -> tuple[Record, ...]:
        if self._installed:
            return ()
        found = (self._universe.candidate(name) for name in self._universe.essential)
        return tuple(record for record in found if record is not None)

    def name_of(self, candidate: Record) -> str:
        """Return name and version."""
        return str(candidate)

    def exclude(self, digests: AbstractSet[str]) -> None:
        """Do as if packages with these sha256 were not there."""
        self._universe.exclude(digests)
        self._exact.clear()
        self._pools.clear()
        self.__dict__.pop("_base", None)

    def find(self, want: str) -> Found[Record]:
        """Say what `name`, a glob, `name=version`, `name:arch` or `name/suite` stands for."""
        name, version, suite, arch = spec.split(want)
        if arch not in {*spec.ANY_ARCHITECTURE, self._universe.architecture}:
            return Found((), reason=f"architecture {arch} is not what this target has")
        if spec.is_glob(name):
            names = sorted(fnmatch.filter(self._universe.names(), name))
            matches = tuple(found for each in names if (found := self._pick(each, version, suite)) is not None)
            withheld = (self._universe.why_withheld(each) for each in names)
            reason = "" if matches else next(filter(None, withheld), "nothing matches")
            return Found(matches, is_optional=True, reason=reason)
        records = self._universe.records(name)
        if not records:
            return self._find_virtual(name)
        picked = self._pick(name, version, suite)
        if picked is None:
            had = dict.fromkeys(f"{each.version} in {each.origin.suites[0]}" for each in records)
            near = tuple(dict.fromkeys(f"{name}={each.version}" for each in records))[:_NEAR]
            return Found((), reason=f"{name} is there, but only as {', '.join(had)}", near=near)
        return Found((picked,))

    def _pick(self, name: str, version: str, suite: str) -> Record | None:
        """Return the record that apt would take of those with this version and suite, where given."""
        records = self._universe.records(name)
        for record in records:
            if (not version or record.version == version) and (not suite or suite in record.origin.suites):
                # One file that several suites list is one candidate: two wants for it do not exclude each other.
                picked = next(each for each in records if _is_same_file(each, record))
                if version or suite:
                    self._exact.add(picked)
                return picked
        return None

    def _find_virtual(self, name: str) -> Found[Record]:
        """Take the one package that provides a virtual name, as apt does; several are the operator's choice."""
        owners = sorted(
            {
                record.name
                for record, _ in self._universe.providers(name)
                if self._universe.candidate(record.name) is record
            }
        )
        if len(owners) == 1 and (only := self._universe.candidate(owners[0])) is not None:
            return Found((only,))
        if owners:
            return Found((), reason="a virtual package: name one that provides it", near=tuple(owners[:_NEAR]))
        if withheld := self._universe.why_withheld(name):
            return Found((), reason=withheld)
        near = difflib.get_close_matches(name, _worth_comparing(name, self._universe.names()), n=_NEAR, cutoff=0.75)
        return Found((), reason=NOWHERE, near=tuple(near))

    def solve(self, wants: Sequence[Record]) -> Solution:
        """Choose as apt does; where that does not hold together, as libsolv does with apt's picks favoured."""
        jobs = self._jobs(wants)
        if self._installed:
            return self._solve_on_base(jobs)
        picked = choose(self._universe, jobs, weak=self._weak)
        self._keep_news()
        picks = tuple(picked.records.values())
        is_complete = not picked.failed and set(jobs) <= set(picks)
        if is_complete and not Pool(self._universe, picks, weak=False).solve([[each] for each in picks])[1]:
            return Solution(self._choices(picks, picked.why, wants), notes=self._rivals(picks))
        chosen, problems = self._pool(jobs).solve(self._versions(jobs), picks)
        if problems:
            return Solution((), tuple(problems))
        note = "apt's own rule found no set that holds together here; the solver's nearest to it was taken"
        return Solution(self._choices(chosen, picked.why, wants), notes=(note, *self._rivals(chosen)))

    def _solve_on_base(self, jobs: Sequence[Record]) -> Solution:
        """Choose what has to join what is installed, with apt's choice for an empty system where there is one."""
        picked = choose(self._universe, jobs, weak=self._weak)
        self._keep_news()
        chosen, problems = self._pool(tuple(jobs)).solve(
            self._versions(jobs), [*self._preferred(), *picked.records.values()]
        )
        return Solution((), tuple(problems)) if problems else Solution(self._choices(chosen, picked.why, jobs))

    def minimal(self) -> tuple[Record, ...]:
        """Return the packages of priority `required` and `important`, and apt, as debootstrap does."""
        named = dict.fromkeys(name for each in self._indexes.values() for name in index.important(each.text))
        found = (self._universe.candidate(name) for name in sorted({*named, INSTALLER}))
        return tuple(each for each in found if each is not None and each.priority <= _IMPORTANT)

    def favour(self, packages: Sequence[Package]) -> None:
        """Prefer these packages from now on."""
        self._favoured = frozenset(package.sha256 for package in packages)

    def _preferred(self) -> list[Record]:
        names = self._universe.names() if self._favoured else ()
        records = (record for name in names for record in self._universe.records(name))
        return [record for record in records if record.field["sha256"] in self._favoured]

    def relies_on(self, solution: Solution) -> tuple[str, ...]:
        """Return what of the base satisfies a dependency that nothing chosen does."""
        chosen = {choice.package.sha256 for choice in solution.choices}
        names = {choice.package.name for choice in solution.choices}
        records = [each for name in names for each in self._universe.records(name) if each.field["sha256"] in chosen]
        return tuple(sorted(set(map(str, needed(records, self._installed, self._universe.architecture)))))

    def held(self, want: str) -> tuple[str, ...]:
        """Return what of the base has the name that is wanted, or provides it."""
        name, version, _, arch = spec.split(want)
        if arch not in {*spec.ANY_ARCHITECTURE, self._universe.architecture}:
            return ()
        named = [each for each in self._installed if fnmatch.fnmatchcase(each.name, name)]
        if not named and not version:
            named = [each for each in self._installed if any(hit.name == name for hit in each.provides)]
        return tuple(sorted(str(each) for each in named if version in {"", each.version}))

    def fits(self, wants: Sequence[Record]) -> tuple[str, ...]:
        """Say why `wants` and the base do not install together."""
        jobs = self._jobs(wants)
        return tuple(self._pool(jobs).solve(self._versions(jobs))[1])

    def taken(self, wants: Sequence[Record], solution: Solution) -> tuple[tuple[Package, ...], ...]:
        """Return for each of `wants` what `solution` took: what has its name."""
        chosen = {choice.package.name: (choice.package,) for choice in solution.choices}
        return tuple(chosen.get(want.name, ()) for want in wants)

    def versions(self, package: Package, count: int) -> tuple[Exact[Record], ...]:
        """Return a chosen package and the next versions before it, in upstreams of its module."""
        records = self._universe.records(package.name)
        chosen = next((each for each in records if each.field["sha256"] == package.sha256), None)
        if chosen is None:
            return ()
        modules = {each.origin.module for each in records if each.origin.upstream == package.upstream}
        found = {_without_epoch(chosen.version): chosen}
        for record in sorted(records, key=lambda each: order.key(each.version), reverse=True):
            if record.origin.module in modules and order.key(record.version) < order.key(chosen.version):
                found.setdefault(_without_epoch(record.version), record)
        ladder = list(islice(found.values(), count + 1))
        self._exact.update(ladder)
        return tuple(Exact(f"{each.name}={each.version}", each) for each in ladder)

    def upstreams_of(self, name: str) -> tuple[str, ...]:
        """Return the upstreams that have a package of this name."""
        had = {record.origin.upstream for record in self._universe.records(name)}
        return tuple(dict.fromkeys(each.upstream for each in self._universe.origins if each.upstream in had))

    def sightings(self, name: str) -> tuple[Sighting, ...]:
        """Return every package of a name, withheld ones and those of lower pins with why; the newest version first."""
        records = self._universe.records(name)
        best = records[0].origin if records else None
        found = []
        for record, withheld in self._universe.all_records(name):
            origin = record.origin
            is_lower = best is not None and origin.pin < best.pin
            lower = f"its pin {origin.pin} is below {best.pin} of {best.upstream}" if best and is_lower else ""
            found.append(
                Sighting(
                    version=record.version,
                    arch=record.field["architecture"],
                    upstream=origin.upstream,
                    sha256=record.field["sha256"],
                    reason=withheld or lower,
                )
            )
        return tuple(sorted(found, key=lambda each: order.key(each.version), reverse=True))

    def _jobs(self, wants: Sequence[Record]) -> tuple[Record, ...]:
        """Return the wants and the base; a want for a version of something in the base stands for it.

        What is installed and is not older than what is wanted is there already; apt never goes back.
        """
        newest = {each.name: order.key(each.version) for each in self._installed}
        wants = [
            each
            for each in wants
            if each in self._exact or each.name not in newest or newest[each.name] < order.key(each.version)
        ]
        wanted = {record.name for record in wants}
        return tuple(dict.fromkeys((*wants, *(record for record in self._base if record.name not in wanted))))

    def _rivals(self, records: Sequence[Record]) -> tuple[str, ...]:
        """Return a note for every chosen package of which another upstream has a different file under its version."""
        notes = []
        for record in sorted(records, key=lambda each: each.name):
            for other in self._universe.records(record.name):
                if other.version == record.version and not _is_same_file(other, record):
                    one, two = record.origin.upstream, other.origin.upstream
                    notes.append(f"{record} is one file in {one} and another in {two}; the one of {one} was taken")
        return tuple(dict.fromkeys(notes))

    def _versions(self, wants: Sequence[Record]) -> list[Sequence[Record]]:
        """Return the versions that will do for each want: all of the name, unless it asked for one.

        Apt takes a candidate or nothing; but what it takes for the candidate is the highest version that the
        repository holds, and that is ours to choose. On a machine that has packages it is not: another base may want
        the higher one there, and apt then takes that on every machine.
        """
        if self._installed:
            return [[each] for each in wants]
        return [[each] if each in self._exact else self._universe.records(each.name) for each in wants]

    def _pool(self, wants: tuple[Record, ...]) -> Pool:
        """Return a pool with all that `wants` could need; the largest one made so far where it has them."""
        for loaded, pool in self._pools.items():
            if set(wants) <= set(loaded):
                return pool
        versions = (record for records in self._versions(wants) for record in records)
        newer = (record for each in self._installed for record in self._universe.records(each.name))
        records = reachable(self._universe, [*versions, *newer], weak=self._weak)
        if self._installed:
            records = [each for each in records if each in self._exact or self._universe.candidate(each.name) is each]
        pool = Pool(self._universe, records, weak=self._weak, installed=self._installed)
        self._pools[wants] = pool
        return pool

    def _choices(
        self, records: Sequence[Record], why: Mapping[str, str], wants: Sequence[Record]
    ) -> tuple[Choice, ...]:
        wanted = {record.name for record in wants}
        choices = []
        for record in sorted(records, key=lambda each: each.name):
            reason = why.get(record.name, "needed by the set")
            if reason == "want" and record.name not in wanted:
                reason = "base"
            choices.append(Choice(package.from_record(record), reason))
        return tuple(choices)

    def _keep_news(self) -> None:
        for sha256, known in self._indexes.items():
            if known.has_news:
                self._cache.put_derived(self._key(sha256), known.dump())


def _is_same_file(one: Record, other: Record) -> bool:
    return one.version == other.version and one.field["sha256"] == other.field["sha256"]


def _without_epoch(version: str) -> str:
    """Return a version as it stands in a file's name."""
    return version.partition(":")[2] or version


def _worth_comparing(name: str, names: object) -> list[str]:
    """Cut 60,000 names down to those that could come near, so that a typo does not cost seconds."""
    letters = set(name)
    return [
        each
        for each in names  # type: ignore[attr-defined]
        if abs(len(each) - len(name)) <= 4 and (each[0] == name[0] or len(letters ^ set(each)) <= 2)
    ]
