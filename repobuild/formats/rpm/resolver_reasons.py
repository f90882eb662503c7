"""Why each chosen package is there: wanted, or needed by whom."""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet

import solv

from repobuild.formats.rpm.universe import Universe

_STRONG = (solv.SOLVABLE_REQUIRES, "needed by")
_WEAK = (solv.SOLVABLE_RECOMMENDS, "recommended by")


class Reasons:
    """Follows requirements from the wanted packages on."""

    def __init__(self, universe: Universe, chosen: AbstractSet[int]) -> None:
        self._universe = universe
        self._chosen = chosen
        self._providers: dict[int, tuple[int, ...]] = {}
        self.touches_files = False
        """Whether a package that waits for a list of all files would be a choice for something that is needed."""

    def of(self, wanted: AbstractSet[int]) -> dict[int, str]:
        """Return why each chosen package is there, by number."""
        why = dict.fromkeys(sorted(wanted), "want")
        self._follow(list(why), _STRONG, why)
        while True:
            weak = list(why)
            self._follow_once(weak, _WEAK, why)
            added = list(why)[len(weak) :]
            if not added:
                break
            self._follow(added, _STRONG, why)
        for number in sorted(self._chosen - why.keys()):
            supplements = self._universe.solvable(number).lookup_idarray(solv.SOLVABLE_SUPPLEMENTS)
            why[number] = "supplements the set" if supplements else "needed by the set"
        return why

    def _follow(self, numbers: list[int], relation: tuple[int, str], why: dict[int, str]) -> None:
        while numbers:
            before = len(why)
            self._follow_once(numbers, relation, why)
            numbers = list(why)[before:]

    def _follow_once(self, numbers: list[int], relation: tuple[int, str], why: dict[int, str]) -> None:
        key, words = relation
        for number in numbers:
            package = self._universe.solvable(number)
            for identifier in package.lookup_idarray(key, 0):
                for provider in self._choices(identifier):
                    if provider not in why:
                        why[provider] = f"{words} {package.name}"

    def _choices(self, identifier: int) -> tuple[int, ...]:
        known = self._providers.get(identifier)
        if known is None:
            found = tuple(self._provide(identifier))
            self.touches_files |= not self._universe.waiting_for_files.isdisjoint(found)
            known = self._providers[identifier] = tuple(each for each in found if each in self._chosen)
        return known

    def _provide(self, identifier: int) -> Iterator[int]:
        if identifier != solv.SOLVABLE_PREREQMARKER:
            yield from (each.id for each in self._universe.providing(identifier))
