"""An Ansible inventory: the variables that its groups and hosts come to have.

As Ansible does it: a group has its own variables over those of the groups above it, of which the deepest counts, and
of equally deep ones the last by name. A host has those of all its groups, and its own over them. A group may occur in
several places and is one. All groups are below `all`, wherever they stand.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter

from repobuild.manifest.document import Node, Scalar, Table
from repobuild.manifest.reading import Place

TOP = "all"
"""The group above all others; an inventory is told by it."""
_GROUP = "a mapping of hosts, children and vars"
_MAPPING = "a mapping"

Variables = Mapping[str, Place]
_Rank = tuple[int, str]
_Ranked = Mapping[str, tuple[_Rank, Place]]
"""Variables, and how deep and by which name the group is that says them."""


def is_inventory(root: Node) -> bool:
    """Say whether a document is an Ansible inventory rather than a manifest of ours."""
    return isinstance(root, Table) and TOP in root.entries


@dataclass(frozen=True, slots=True)
class Inventory:
    """The variables of groups and hosts by name, those of `all` included."""

    groups: Mapping[str, Variables]
    hosts: Mapping[str, Variables]


@dataclass(frozen=True, slots=True)
class _Member:
    """A group or host, gathered from all places where it occurs."""

    place: Place
    """The first one."""
    variables: dict[str, Place] = field(default_factory=dict)
    """Its own."""
    above: dict[str, None] = field(default_factory=dict)
    """Names of the groups that it is directly in."""


def read_inventory(root: Place) -> Inventory:
    """Return what an inventory comes to; what is wrong with its form is reported."""
    groups = {TOP: _Member(root)}
    hosts: dict[str, _Member] = {}
    top = root.every(_MAPPING)
    waiting = [(name, place, "" if name == TOP else TOP) for name, place in top.items()]
    while waiting:  # no recursion: groups may be as deep as they like
        name, place, above = waiting.pop()
        group = groups.setdefault(name, _Member(place))
        if above:
            group.above[above] = None
        parts = _entries(place, _GROUP)
        group.variables.update(_part(parts, "vars"))
        for host, each in _part(parts, "hosts").items():
            member = hosts.setdefault(host, _Member(each))
            member.above[name] = None
            member.variables.update(_entries(each))
        waiting += [(child, each, name) for child, each in _part(parts, "children").items()]
    ranked = _ranked(groups)
    return Inventory(
        groups={name: _plain(ranked[name]) for name in ranked},
        hosts={name: {**_plain(_strongest(ranked, each.above)), **each.variables} for name, each in hosts.items()},
    )


def _entries(place: Place, expected: str = _MAPPING) -> dict[str, Place]:
    """Return the entries of a mapping that may be left empty."""
    is_null = isinstance(place.node, Scalar) and place.node.is_null
    return {} if is_null else place.every(expected)


def _part(parts: Mapping[str, Place], name: str) -> dict[str, Place]:
    return _entries(parts[name]) if name in parts else {}


def _ranked(groups: Mapping[str, _Member]) -> dict[str, _Ranked]:
    """Return the variables of groups, inherited ones included."""
    try:
        order = list(TopologicalSorter({name: group.above for name, group in groups.items()}).static_order())
    except CycleError as error:
        name = error.args[1][0]
        groups[name].place.wrong("groups of which none is below itself", f"{name!r} in a circle")
        return {}
    depths: dict[str, int] = {}
    found: dict[str, _Ranked] = {}
    for name in order:
        group = groups[name]
        depths[name] = 1 + max((depths[each] for each in group.above), default=-1)
        own = {key: ((depths[name], name), place) for key, place in group.variables.items()}
        found[name] = {**_strongest(found, group.above), **own}
    return found


def _strongest(ranked: Mapping[str, _Ranked], names: Iterable[str]) -> _Ranked:
    """Return the variables of several groups, of which the highest rank counts."""
    found: dict[str, tuple[_Rank, Place]] = {}
    for name in names:
        for key, said in ranked.get(name, {}).items():
            if key not in found or found[key][0] < said[0]:
                found[key] = said
    return found


def _plain(ranked: _Ranked) -> Variables:
    return {key: place for key, (_, place) in ranked.items()}
