"""Who needs whom in a set of packages. Packages are numbers: their places in a list that the caller keeps.

A need may be met by several packages of the set. What follows from some packages is then not one set but a choice; here
it is the one that `Graph.grow` describes, always the same and fast: 120 closures of 800 packages take some 0.2 s. It is
what a package manager would choose wherever needs have one answer, and near it elsewhere; a solver has the last word.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from repobuild.model import Lock, Package

_WANTED = frozenset({"want", "older"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What one package of a set asks of the others."""

    package: int
    verb: str
    """`depends on`, `recommends`: in the family's own words."""
    text: str
    """The relation as it is written: `libpq5 (>= 15~)`."""
    met_by: tuple[int, ...]
    """The packages that meet it, never empty; the one that would be taken comes first."""
    is_weak: bool = False
    """Whether a set without any of them installs."""


@dataclass(frozen=True, slots=True)
class Step:
    """A need, and the package by which it is met."""

    need: Need
    answer: int


class Graph:
    """The needs of a set of packages."""

    def __init__(self, size: int, needs: Iterable[Need], base: Iterable[int] = ()) -> None:
        """Take the needs of `size` packages; `base` are those that the empty base asks for."""
        self.base = frozenset(base)
        self._needs: list[list[Need]] = [[] for _ in range(size)]
        self._needed: list[list[Need]] = [[] for _ in range(size)]
        for need in needs:
            self._needs[need.package].append(need)
            for each in need.met_by:
                self._needed[each].append(need)

    def grow(self, found: set[int], roots: Iterable[int]) -> list[int]:
        """Add to `found` what `roots` are and need, and return what is new.

        What has one answer is followed first. What is still not met then takes its first answer, one after the other.
        """
        new = [each for each in dict.fromkeys(roots) if each not in found]
        found.update(new)
        todo, open_needs = deque(new), deque[Need]()
        while todo or open_needs:
            if todo:
                needs: Sequence[Need] = self._needs[todo.popleft()]
                open_needs.extend(each for each in needs if len(each.met_by) > 1)
                taken = [each.met_by[0] for each in needs if len(each.met_by) == 1]
            else:
                need = open_needs.popleft()
                taken = [need.met_by[0]] if found.isdisjoint(need.met_by) else []
            for each in taken:
                if each not in found:
                    found.add(each)
                    new.append(each)
                    todo.append(each)
        return new

    def ways_to(self, package: int) -> dict[int, Step]:
        """Return for each package from which `package` is reached the first step of a shortest way there.

        Of ways of one length one that begins with a strong need is taken, then the one of the lower number.
        """
        ways: dict[int, Step] = {}
        reached = [package]
        while reached:
            found: dict[int, Step] = {}
            for number in sorted(reached):
                for need in self._needed[number]:
                    if need.package == package or need.package in ways:
                        continue
                    known = found.get(need.package)
                    if known is None or (known.need.is_weak and not need.is_weak):
                        found[need.package] = Step(need, number)
            ways |= found
            reached = list(found)
        return ways


def way(start: int, ways: dict[int, Step]) -> tuple[Step, ...]:
    """Return the steps from a package to that for which `ways` were found; none when it is that one."""
    steps = []
    while start in ways:
        steps.append(ways[start])
        start = ways[start].answer
    return tuple(steps)


def wants_of(lock: Lock, name_exactly: Callable[[Package], str]) -> dict[str, tuple[int, ...]]:
    """Return the wants of a lock in manifest order, each with the places of its packages among the lock's choices.

    Locks say themselves what was taken for each want. For those that do not, names and globs are compared; what then
    still is wanted by nobody's word stands under its own name.
    """
    numbers = {choice.package.filename: number for number, choice in enumerate(lock.choices)}
    found: dict[str, list[int]] = {want: [] for each in lock.sets for want in each}
    for want, filename in lock.taken:
        if filename in numbers:
            found.setdefault(want, []).append(numbers[filename])
    known = {number for each in found.values() for number in each}
    empty = [want for want, each in found.items() if not each]
    for number, choice in enumerate(lock.choices):
        if choice.why not in _WANTED or number in known:
            continue
        names = (choice.package.name, f"{choice.package.name}.{choice.package.arch}", name_exactly(choice.package))
        asking = [want for want in empty if want in names or any(fnmatchcase(each, want) for each in names)]
        for want in asking or [choice.package.name]:
            found.setdefault(want, []).append(number)
    return {want: tuple(dict.fromkeys(each)) for want, each in found.items() if each}


def base_of(lock: Lock, graph: Graph) -> tuple[int, ...]:
    """Return the places of the base's packages among the lock's choices: what would be there without any want.

    What is wanted and would be there anyhow is among them; in a lock that was made for the empty base alone or too.
    """
    is_from_empty = not lock.bases or any(each.is_resolved and not each.sha256 for each in lock.bases)
    anyhow = graph.base if is_from_empty else frozenset()
    return tuple(number for number, choice in enumerate(lock.choices) if choice.why == "base" or number in anyhow)
