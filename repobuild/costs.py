"""What each want costs: alone, in addition to the wants before it, and what dropping it frees.

Closures of the lock's own packages are counted, not solved anew: a solver could choose other packages for a want alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from repobuild.graph import Graph


@dataclass(frozen=True, slots=True)
class Amount:
    """Some packages."""

    packages: int
    size: int
    """Bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one want costs."""

    want: str
    alone: Amount
    """What it needs beyond the base."""
    added: Amount
    """What it needs that neither the base nor a want before it does."""
    freed: Amount
    """What nobody else needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What a lock's wants cost, and who bears what."""

    base: Amount
    wants: tuple[Cost, ...]
    """In manifest order."""
    bearers: tuple[str, ...]
    """For each package the first want that needs it; "" for the base and for what no want leads to."""


def count(graph: Graph, sizes: Sequence[int], base: Sequence[int], wants: Mapping[str, Sequence[int]]) -> Costs:
    """Return the costs of wants, given as packages by want, in manifest order.

    Args:
        graph: the needs of a lock's packages.
        sizes: of the packages, in bytes.
        base: packages that are there anyhow.
        wants: the packages of each want.
    """
    ground: set[int] = set()
    graph.grow(ground, base)
    whole, bearers, added = set(ground), [""] * len(sizes), {}
    for want, packages in wants.items():
        new = graph.grow(whole, packages)
        added[want] = _amount(sizes, new)
        for each in new:
            bearers[each] = want
    found = [
        Cost(
            want=want,
            alone=_amount(sizes, graph.grow(set(ground), packages)),
            added=added[want],
            freed=_amount(sizes, sorted(whole - _without(graph, ground, wants, want))),
        )
        for want, packages in wants.items()
    ]
    return Costs(base=_amount(sizes, sorted(ground)), wants=tuple(found), bearers=tuple(bearers))


def _without(graph: Graph, ground: set[int], wants: Mapping[str, Sequence[int]], dropped: str) -> set[int]:
    found = set(ground)
    graph.grow(found, (each for want, packages in wants.items() if want != dropped for each in packages))
    return found


def _amount(sizes: Sequence[int], packages: Sequence[int]) -> Amount:
    return Amount(len(packages), sum(sizes[each] for each in packages))
