"""What a want stands for in a target's RPM upstreams, and what dnf would choose: the protocol's `Universe`.

The solver is dnf's own, libsolv; this gives it the jobs and settings that dnf 4.14 gives it (base.py, libdnf's
Goal.cpp), so that it chooses the same packages.
"""

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import solv

from repobuild.formats.protocol import Cache, Exact, Found, Loaded, Solution
from repobuild.formats.rpm import resolver_older, resolver_packages, resolver_problems, resolver_wants
from repobuild.formats.rpm.resolver_reasons import Reasons
from repobuild.formats.rpm.resolver_stock import Candidate, Kind, Stock
from repobuild.formats.rpm.universe import is_beyond_primary
from repobuild.formats.values import Sighting
from repobuild.model import Choice, Options, Package, Target

INSTALL_ONLY = (
    "kernel",
    "kernel-PAE",
    "installonlypkg(kernel)",
    "installonlypkg(kernel-module)",
    "installonlypkg(vm)",
    "multiversion(kernel)",
)
"""Capabilities of packages of which several versions may be installed (dnf's installonlypkgs)."""
_FLAGS = (
    solv.Solver.SOLVER_FLAG_ALLOW_VENDORCHANGE,
    solv.Solver.SOLVER_FLAG_BEST_OBEY_POLICY,
    solv.Solver.SOLVER_FLAG_YUM_OBSOLETES,
)
"""Those of dnf's flags that can matter where nothing is installed, or would once there is a base."""
_INSTALL = solv.Job.SOLVER_INSTALL | solv.Job.SOLVER_FORCEBEST
_ONE_OF = _INSTALL | solv.Job.SOLVER_SOLVABLE_ONE_OF | solv.Job.SOLVER_SETARCH | solv.Job.SOLVER_SETEVR
_MINIMAL_GROUPS = ("@minimal-environment", "@core")
_MINIMAL = (
    "audit",
    "basesystem",
    "bash",
    "coreutils",
    "dnf",
    "e2fsprogs",
    "filesystem",
    "firewalld",
    "glibc",
    "hostname",
    "iproute",
    "iputils",
    "kbd",
    "kernel",
    "less",
    "NetworkManager",
    "openssh-clients",
    "openssh-server",
    "passwd",
    "procps-ng",
    "rootfiles",
    "rpm",
    "selinux-policy-targeted",
    "setup",
    "shadow-utils",
    "sssd-common",
    "sudo",
    "systemd",
    "util-linux",
    "vim-minimal",
    "yum",
)
"""The mandatory packages of the group core of EL 8 to 10."""
_LESSER = frozenset({"i386", "i486", "i586", "i686"})
_MAX_NOTED = 10
"""Packages named in one note."""


@dataclass(frozen=True, slots=True)
class _Answer:
    chosen: tuple[int, ...]
    problems: tuple[str, ...] = ()
    missing_paths: tuple[str, ...] = ()


class RpmUniverse:
    """The packages of a target's RPM upstreams, and what dnf would choose among them."""

    def __init__(
        self, loaded: Sequence[Loaded], target: Target, cache: Cache, options: Options, base: Loaded | None = None
    ) -> None:
        self._weak = options.weak_dependencies
        self._stock = Stock(loaded, target, cache, options, base)
        self._favoured: frozenset[str] = frozenset()

    def name_of(self, candidate: Candidate) -> str:
        """Return name, version and architecture of the package that would be taken first."""
        numbers = self._stock.numbers(candidate) if candidate.kind is not Kind.CONDITION else ()
        if not numbers:
            return candidate.name or candidate.spec
        universe = self._stock.universe
        best = universe.pool.best_solvables([universe.solvable(each) for each in numbers])
        return str(best[0]) if best else candidate.spec

    def exclude(self, digests: AbstractSet[str]) -> None:
        """Do as if packages with these sha256 were not there."""
        self._stock.take_away(digests)

    def find(self, want: str) -> Found[Candidate]:
        """Say what a name, glob, `name.arch`, NEVRA, `name=version`, capability, path, `@group` or `@module` is.

        A module stream is enabled from then on, for all wants.
        """
        return resolver_wants.find(self._stock, want)

    def solve(self, wants: Sequence[Candidate]) -> Solution:
        """Choose as dnf does.

        Raises:
            HostileInputError: when a chosen package cannot be described safely.
            VerificationError: when the index gives no sha256 of a chosen package.
        """
        answer = self._solve(wants)
        if answer.problems:
            return Solution((), answer.problems)
        wanted, reasons = self._wanted(wants, answer), self._reasons(answer)
        why = reasons.of(wanted)
        if reasons.touches_files and self._stock.has_more_files:
            self._stock.open_files()
            return self.solve(wants)
        return Solution(self._choices(answer, why), notes=tuple(self._notes(wants, answer, why)))

    def minimal(self) -> tuple[Candidate, ...]:
        """Return the distribution's minimal group, or what it holds for certain where no upstream has groups."""
        for group in _MINIMAL_GROUPS:
            if found := self.find(group).candidates:
                return found
        return tuple(each for name in _MINIMAL for each in self.find(name).candidates)

    def favour(self, packages: Sequence[Package]) -> None:
        """Prefer these packages from now on."""
        self._favoured = frozenset(package.sha256 for package in packages)

    def relies_on(self, solution: Solution) -> tuple[str, ...]:
        """Return what of the base satisfies a requirement that nothing chosen does."""
        universe = self._stock.universe
        chosen = {each for package in solution.choices for each in self._numbers_of(package.package)}
        found: set[str] = set()
        for number in chosen:
            for identifier in universe.solvable(number).lookup_idarray(solv.SOLVABLE_REQUIRES, 0):
                if identifier == solv.SOLVABLE_PREREQMARKER:
                    continue
                providing = universe.providing(identifier)
                if not any(each.id in chosen for each in providing):
                    found.update(str(each) for each in providing if each.id in universe.installed)
        return tuple(sorted(found))

    def held(self, want: str) -> tuple[str, ...]:
        """Return what of the base dnf would take the want for."""
        return tuple(sorted(str(self._stock.universe.solvable(each)) for each in self._stock.installed(want)))

    def _numbers_of(self, package: Package) -> Iterable[int]:
        named = (self._stock.universe.solvable(each) for each in self._stock.named(package.name))
        nevra = resolver_older.nevra(package)
        return (each.id for each in named if str(each) == nevra and each.id not in self._stock.universe.installed)

    def fits(self, wants: Sequence[Candidate]) -> tuple[str, ...]:
        """Say why `wants` do not install together."""
        return self._solve(wants).problems

    def taken(self, wants: Sequence[Candidate], solution: Solution) -> tuple[tuple[Package, ...], ...]:
        """Return for each of `wants` the packages of `solution` that will do for it; none for a group's condition."""
        chosen = {resolver_older.nevra(choice.package): choice.package for choice in solution.choices}
        named = [() if want.kind is Kind.CONDITION else self._stock.numbers(want) for want in wants]
        names = [map(str, map(self._stock.universe.solvable, numbers)) for numbers in named]
        return tuple(tuple(chosen[each] for each in dict.fromkeys(texts) if each in chosen) for texts in names)

    def versions(self, package: Package, count: int) -> tuple[Exact[Candidate], ...]:
        """Return a chosen package and the next versions before it, for its architecture."""
        return resolver_older.find(self._stock, package, count)

    def upstreams_of(self, name: str) -> tuple[str, ...]:
        """Return the upstreams that have a package of this name which is not hidden."""
        universe = self._stock.universe
        had = {universe.source(each).upstream.name for each in self._stock.named(name)}
        return tuple(each.upstream.name for each in universe.sources if each.upstream.name in had)

    def sightings(self, name: str) -> tuple[Sighting, ...]:
        """Return every package of a name, hidden ones and those of lesser priority with why; the newest first."""
        return resolver_older.sightings(self._stock, name)

    def _solve(self, wants: Sequence[Candidate]) -> _Answer:
        answer = self._attempt(wants)
        if self._stock.has_more_files and any(map(is_beyond_primary, answer.missing_paths)):
            self._stock.open_files()
            answer = self._attempt(wants)
        return answer

    def _attempt(self, wants: Sequence[Candidate]) -> _Answer:
        jobs: list[solv.Job] = []
        for want in dict.fromkeys(wants):
            job = self._job(want)
            if job is None:
                return _Answer((), (f"{want.name or want.spec} is not to be had any more",))
            jobs.append(job)
        universe, pool = self._stock.universe, self._stock.universe.pool
        several = solv.Job.SOLVER_MULTIVERSION | solv.Job.SOLVER_SOLVABLE_PROVIDES
        jobs += [pool.Job(several, pool.str2id(each)) for each in INSTALL_ONLY]
        favoured = sorted(universe.with_digests(self._favoured)) if self._favoured else []
        jobs += [pool.Job(solv.Job.SOLVER_FAVOR | solv.Job.SOLVER_SOLVABLE, each) for each in favoured]
        solver = pool.Solver()
        for flag in _FLAGS:
            solver.set_flag(flag, 1)
        solver.set_flag(solv.Solver.SOLVER_FLAG_IGNORE_RECOMMENDED, int(not self._weak))
        problems = solver.solve(jobs)
        if problems:
            texts = resolver_problems.explain(universe, problems)
            return _Answer((), texts, resolver_problems.missing_paths(problems))
        return _Answer(tuple(each.id for each in solver.transaction().newsolvables()))

    def _job(self, want: Candidate) -> "solv.Job | None":
        pool = self._stock.universe.pool
        if want.kind is Kind.CONDITION:
            return pool.Job(_INSTALL | solv.Job.SOLVER_SOLVABLE_PROVIDES, pool.parserpmrichdep(want.spec).id)
        numbers = self._stock.numbers(want)
        return pool.Job(_ONE_OF, pool.towhatprovides(list(numbers))) if numbers else None

    def _wanted(self, wants: Iterable[Candidate], answer: _Answer) -> set[int]:
        chosen = set(answer.chosen)
        named = (want for want in wants if want.kind is not Kind.CONDITION)
        return {number for want in named for number in self._stock.numbers(want) if number in chosen}

    def _reasons(self, answer: _Answer) -> Reasons:
        return Reasons(self._stock.universe, frozenset(answer.chosen))

    def _choices(self, answer: _Answer, why: dict[int, str]) -> tuple[Choice, ...]:
        universe = self._stock.universe
        choices = [
            Choice(resolver_packages.from_solvable(universe.solvable(each), universe.source(each).upstream), why[each])
            for each in answer.chosen
        ]
        return tuple(sorted(choices, key=lambda each: (each.package.name, each.package.version, each.package.arch)))

    def _notes(self, wants: Iterable[Candidate], answer: _Answer, why: dict[int, str]) -> Iterable[str]:
        yield from self._stock.active.problems
        universe = self._stock.universe
        packages = sorted((universe.solvable(each) for each in answer.chosen), key=str)
        asked = {
            number for want in wants if want.arch or self._names_arch(want) for number in self._stock.numbers(want)
        }
        lesser = [each for each in packages if each.arch in _LESSER and each.id not in asked]
        for package in lesser[:_MAX_NOTED]:
            yield f"{package} is a 32-bit package: {why[package.id]}"
        if len(lesser) > _MAX_NOTED:
            yield f"{len(lesser) - _MAX_NOTED} more 32-bit packages came with the set"
        for package in packages:
            yield from self._rivals(package)

    def _names_arch(self, want: Candidate) -> bool:
        return want.kind is Kind.SPEC and self._stock.match(want.spec).by_arch

    def _rivals(self, package: "solv.XSolvable") -> Iterable[str]:
        """Yield a note for every upstream that has a different file under the name of a chosen package."""
        universe, hidden = self._stock.universe, self._stock.universe.hidden
        for other in universe.named(package.name):
            is_rival = other.evrid == package.evrid and other.archid == package.archid and other.id != package.id
            if is_rival and other.id not in hidden and not _is_same_file(package, other):
                one = universe.source(package.id).upstream.name
                two = universe.source(other.id).upstream.name
                yield f"{package} is one file in {one} and another in {two}; the one of {one} was taken"


def _is_same_file(one: "solv.XSolvable", other: "solv.XSolvable") -> bool:
    checksums = [each.lookup_checksum(solv.SOLVABLE_CHECKSUM) for each in (one, other)]
    return len({str(each) for each in checksums}) == 1
