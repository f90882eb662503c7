"""Catalog x wants -> Resolution: one joint solve, or install sets where wants exclude each other.

Older versions that stay for downgrades (`keep`) come in install sets of their own. Every want of a set steps back by
one version at once, since packages that need each other in one version only can step back only together; those that
have no older version stay as they were chosen. What does not fit there is tried on the empty base. Each further version
is one more step.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from repobuild.errors import HostileInputError, MissingError, UnresolvableError
from repobuild.formats.protocol import NOWHERE, Exact, Found, Solution, Universe
from repobuild.model import Choice, Missing, Package, Resolution

C = TypeVar("C")
_WEIGHT = {"want": 2, "older": 1}
"""Of reasons: what is asked for counts before what it is needed by."""


@dataclass(frozen=True, slots=True)
class _Want(Generic[C]):
    text: str
    candidate: C
    is_optional: bool


@dataclass(frozen=True, slots=True)
class _Set(Generic[C]):
    """Wants that install together, and what they come to."""

    wants: tuple[_Want[C], ...]
    solution: Solution

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(want.text for want in self.wants))


def resolve(
    universe: Universe[C], groups: Sequence[Sequence[str]], *, skip_missing: bool = False, keep: int = 0
) -> Resolution:
    """Choose everything that `groups` of wants need, on the universe's base.

    Wants are solved together. When they exclude each other, each goes to the first install set that takes it, in
    manifest order, and the resolution is the union of the sets.

    Args:
        universe: what there is.
        groups: wants, in manifest order.
        skip_missing: whether to go on without what cannot be had.
        keep: how many versions before the chosen one of each want join, with what they need.

    Raises:
        MissingError: for names that no upstream has, all of them at once, unless `skip_missing`.
        UnresolvableError: for a want that cannot be installed even alone, unless `skip_missing`.
    """
    wants, missing = _find_all(universe, groups)
    if missing and not skip_missing:
        raise MissingError(
            {each.want: each.near for each in missing},
            "mend the manifest, or go on without them: --skip-missing",
            reasons={each.want: each.reason for each in missing if each.reason != NOWHERE},
        )
    sets, notes, impossible = _solve(universe, wants)
    fatal = [each for each in impossible if not each.is_optional]
    if fatal and not skip_missing:
        lines = [f"{each.want}: {each.reason}" for each in fatal]
        raise UnresolvableError(
            "\n  ".join(("cannot be installed, even alone:", *lines)),
            "mend the manifest, or go on without: --skip-missing",
        )
    older = _OlderSets(universe, [choice.package for each in sets for choice in each.solution.choices])
    taken: dict[tuple[str, Package], None] = {}
    for each in sets:
        by_want = universe.taken([want.candidate for want in each.wants], each.solution)
        older.step_back(each, by_want, keep)
        taken.update(
            ((want.text, package), None)
            for want, packages in zip(each.wants, by_want, strict=True)
            for package in packages
        )
    notes += [note for each in sets for note in each.solution.notes]
    return Resolution(
        choices=_union(each.solution for each in (*sets, *older.sets)),
        missing=(*missing, *(each.missing for each in impossible)),
        sets=tuple(each.texts for each in (*sets, *older.sets)),
        notes=(*notes, *older.notes),
        taken=tuple(taken),
    )


def _solve(universe: Universe[C], wants: Sequence[_Want[C]]) -> tuple[list[_Set[C]], list[str], list["_Impossible"]]:
    """Put wants into as few install sets as they need; return the sets, what to say, and what is in none."""
    joint = universe.solve([want.candidate for want in wants])
    if not joint.problems:
        return [_Set(tuple(wants), joint)], [], []
    groups, impossible = _first_fit(universe, wants)
    sets = [_Set(tuple(each), universe.solve([want.candidate for want in each])) for each in groups]
    notes = [f"the wants exclude each other, so they were put into {len(sets)} install sets: {joint.problems[0]}"]
    notes += [f"left out of a glob: {each.want}: {each.reason}" for each in impossible if each.is_optional]
    return sets, notes, impossible


def _find_all(universe: Universe[C], groups: Sequence[Sequence[str]]) -> tuple[list[_Want[C]], list[Missing]]:
    wants: list[_Want[C]] = []
    missing: list[Missing] = []
    for text in dict.fromkeys(want for group in groups for want in group):
        found: Found[C] = universe.find(text)
        if not found.candidates:
            missing.append(Missing(want=text, reason=found.reason, near=found.near))
        wants += [_Want(text, candidate, found.is_optional) for candidate in found.candidates]
    return wants, missing


@dataclass(frozen=True, slots=True)
class _Impossible:
    want: str
    reason: str
    is_optional: bool

    @property
    def missing(self) -> Missing:
        return Missing(want=self.want, reason=self.reason)


def _first_fit(universe: Universe[C], wants: Sequence[_Want[C]]) -> tuple[list[list[_Want[C]]], list[_Impossible]]:
    """Put each want into the first set that takes it; a glob's match opens no set of its own but the first."""
    sets: list[list[_Want[C]]] = []
    impossible: list[_Impossible] = []
    rest = list(wants)
    while rest:
        members: list[_Want[C]] = []
        rest = _fill(universe, members, rest)
        sets += [members] if members else []
        rest, alone = _that_stand_alone(universe, rest)
        impossible += alone
        while rest and rest[0].is_optional:
            impossible.append(_Impossible(_named(universe, rest.pop(0)), "excluded by another want", is_optional=True))
    return sets, impossible


def _fill(universe: Universe[C], members: list[_Want[C]], wants: list[_Want[C]]) -> list[_Want[C]]:
    """Add to `members`, in order, every want that still fits; return the others.

    What fits together fits one by one, so wants are tried in bulk and halved where they do not: one conflict among
    5,000 matches of a glob costs some 25 solves instead of 5,000.
    """
    refused: list[_Want[C]] = []
    todo = [wants]
    while todo:
        batch = todo.pop()
        if not universe.fits([each.candidate for each in (*members, *batch)]):
            members += batch
        elif len(batch) == 1:
            refused += batch
        else:
            half = len(batch) // 2
            todo += [batch[half:], batch[:half]]
    return refused


def _that_stand_alone(universe: Universe[C], wants: Iterable[_Want[C]]) -> tuple[list[_Want[C]], list[_Impossible]]:
    possible: list[_Want[C]] = []
    impossible: list[_Impossible] = []
    for want in wants:
        problems = universe.fits([want.candidate])
        if problems:
            impossible.append(_Impossible(_named(universe, want), "; ".join(problems), want.is_optional))
        else:
            possible.append(want)
    return possible, impossible


class _OlderSets(Generic[C]):
    """Install sets of the versions before the chosen ones."""

    def __init__(self, universe: Universe[C], chosen: Iterable[Package]) -> None:
        self.sets: list[_Set[C]] = []
        self._universe = universe
        self._chosen = {package.filename for package in chosen}
        self._files = {package.filename: package.sha256 for package in chosen}
        self._notes: dict[str, None] = {}

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know."""
        return tuple(self._notes)

    def step_back(self, base: _Set[C], taken: Sequence[Sequence[Package]], count: int) -> None:
        """Add sets in which the wants of `base` are 1 to `count` versions older than what they took."""
        if not count:
            return
        ladders = [[self._universe.versions(package, count) for package in packages] for packages in taken]
        for step in range(1, count + 1):
            back: dict[str, _Want[C]] = {}
            rest: list[_Want[C]] = []
            for want, versions in zip(base.wants, ladders, strict=True):
                rest += [replace(want, candidate=each[0].candidate) for each in versions if len(each) <= step]
                rest += [] if versions else [want]
                back |= {each[step].want: _exactly(each[step]) for each in versions if len(each) > step}
            if not back:
                return
            self._add(rest, list(back.values()), base.solution.notes)

    def _add(self, rest: list[_Want[C]], back: list[_Want[C]], known_notes: Sequence[str]) -> None:
        """Add the set of `rest` with all of `back` that fits, and sets of their own for the others."""
        members = list(rest)
        refused = _fill(self._universe, members, back)
        sets, impossible = _first_fit(self._universe, refused)
        self._keep(rest, members[len(rest) :], known_notes)
        for each in sets:
            self._keep([], each, known_notes)
        self._notes.update((f"older version left out: {each.want}: {each.reason}", None) for each in impossible)

    def _keep(self, rest: Sequence[_Want[C]], back: Sequence[_Want[C]], known_notes: Sequence[str]) -> None:
        """Add one set, unless a file of it would have the name of another one: then what of it does without."""
        if not back:
            return
        wants = (*rest, *back)
        solution = self._universe.solve([want.candidate for want in wants])
        files = {choice.package.filename: choice.package.sha256 for choice in solution.choices}
        clash = next((name for name in files if self._files.get(name, files[name]) != files[name]), "")
        if clash and len(back) > 1:
            half = len(back) // 2
            self._keep(rest, back[:half], known_notes)
            self._keep(rest, back[half:], known_notes)
            return
        if clash:
            reason = f"it needs another file of the name {clash}"
            self._notes[f"older version left out: {_named(self._universe, back[0])}: {reason}"] = None
            return
        self._files |= files
        self._notes.update((f"older versions: {each}", None) for each in solution.notes if each not in known_notes)
        self.sets.append(_Set(wants, replace(solution, choices=tuple(map(self._labelled, solution.choices)))))

    def _labelled(self, choice: Choice) -> Choice:
        is_older = choice.why == "want" and choice.package.filename not in self._chosen
        return replace(choice, why="older") if is_older else choice


def _exactly(version: Exact[C]) -> _Want[C]:
    return _Want(version.want, version.candidate, is_optional=False)


def _named(universe: Universe[C], want: _Want[C]) -> str:
    return f"{want.text} ({universe.name_of(want.candidate)})"


def refuse_rivals(packages: Iterable[Package]) -> None:
    """Refuse two files of one name, which a repository cannot hold.

    Raises:
        HostileInputError: naming their upstreams.
    """
    known: dict[str, Package] = {}
    for package in packages:
        other = known.setdefault(package.filename, package)
        if other.sha256 != package.sha256:
            raise HostileInputError(
                f"two files of one name, from upstreams {other.upstream} and {package.upstream}: {package.filename}",
                "leave one of them out of the manifest, or pin the package to one upstream",
            )


def _union(solutions: Iterable[Solution]) -> tuple[Choice, ...]:
    """Return the choices of all sets, each once.

    Raises:
        HostileInputError: when two sets take different files of one name.
    """
    chosen: dict[tuple[str, str, str], Choice] = {}
    for solution in solutions:
        for choice in solution.choices:
            package = choice.package
            known = chosen.setdefault((package.name, package.version, package.arch), choice)
            if known.package.sha256 != package.sha256:
                raise HostileInputError(
                    f"two files of one name, from upstreams {known.package.upstream} and {package.upstream}: "
                    f"{package.filename}",
                    "leave one of them out of the manifest, or pin the package to one upstream",
                )
            if _WEIGHT.get(choice.why, 0) > _WEIGHT.get(known.why, 0):
                chosen[package.name, package.version, package.arch] = replace(known, why=choice.why)
    return tuple(chosen[key] for key in sorted(chosen))
