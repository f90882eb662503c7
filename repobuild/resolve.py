"""Catalog x wants -> Resolution: one joint solve, or install sets where wants exclude each other."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from repobuild.errors import HostileInputError, MissingError, UnresolvableError
from repobuild.formats.protocol import Found, Solution, Universe
from repobuild.model import Choice, Missing, Resolution

C = TypeVar("C")


@dataclass(frozen=True, slots=True)
class _Want(Generic[C]):
    text: str
    candidate: C
    is_optional: bool


def resolve(universe: Universe[C], groups: Sequence[Sequence[str]], *, skip_missing: bool = False) -> Resolution:
    """Choose everything that `groups` of wants need, on the universe's base.

    Wants are solved together. When they exclude each other, each goes to the first install set that takes it, in
    manifest order, and the resolution is the union of the sets.

    Raises:
        MissingError: for names that no upstream has, all of them at once, unless `skip_missing`.
        UnresolvableError: for a want that cannot be installed even alone, unless `skip_missing`.
    """
    wants, missing = _find_all(universe, groups)
    if missing and not skip_missing:
        raise MissingError(
            {each.want: each.near for each in missing},
            "mend the manifest, or go on without them: --skip-missing",
        )
    joint = universe.solve([want.candidate for want in wants])
    if not joint.problems:
        return Resolution(
            choices=joint.choices,
            missing=tuple(missing),
            sets=(tuple(dict.fromkeys(want.text for want in wants)),),
            notes=joint.notes,
        )
    sets, impossible = _first_fit(universe, wants)
    fatal = [each for each in impossible if not each.is_optional]
    if fatal and not skip_missing:
        lines = [f"{each.want}: {each.reason}" for each in fatal]
        raise UnresolvableError(
            "\n  ".join(("cannot be installed, even alone:", *lines)),
            "mend the manifest, or go on without: --skip-missing",
        )
    solutions = [universe.solve([want.candidate for want in each]) for each in sets]
    notes = [f"the wants exclude each other, so they were put into {len(sets)} install sets: {joint.problems[0]}"]
    notes += [f"left out of a glob: {each.want}: {each.reason}" for each in impossible if each.is_optional]
    return Resolution(
        choices=_union(solutions),
        missing=(*missing, *(each.missing for each in impossible)),
        sets=tuple(tuple(dict.fromkeys(want.text for want in each)) for each in sets),
        notes=(*notes, *(note for solution in solutions for note in solution.notes)),
    )


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


def _named(universe: Universe[C], want: _Want[C]) -> str:
    return f"{want.text} ({universe.name_of(want.candidate)})"


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
            if known.why != choice.why and choice.why == "want":
                chosen[package.name, package.version, package.arch] = replace(known, why="want")
    return tuple(chosen[key] for key in sorted(chosen))
