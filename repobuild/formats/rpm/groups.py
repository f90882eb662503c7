"""comps.xml: package groups and environments, as dnf installs them (libcomps)."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import TypeVar
from xml.etree.ElementTree import Element

from repobuild.errors import HostileInputError
from repobuild.formats.rpm.universe_index import Text
from repobuild.markup import read_xml

TYPES = ("mandatory", "default", "conditional", "optional")
INSTALLED = frozenset(TYPES[:3])
"""The types that are installed when none is named (dnf's group_package_types)."""
_MAX_TEXT = 64 << 20
"""Bytes of an open comps.xml; the largest known has 3 MB."""
_DOCTYPE = re.compile(
    rb"""<!DOCTYPE \s+ comps \s+ PUBLIC \s+ (?:"[^"<>\[\]]{0,200}"|'[^'<>\[\]]{0,200}')
         \s+ (?:"[^"<>\[\]]{0,200}"|'[^'<>\[\]]{0,200}') \s* >""",
    re.VERBOSE,
)
"""What comps.xml has always started with: a name for its grammar, and no definitions."""


@dataclass(frozen=True, slots=True)
class Member:
    """A package of a group."""

    name: str
    type: str
    requires: str = ""
    """conditional: only where this package is installed, too."""
    is_of_base_arch: bool = False
    """Whether only the build for the target's own architecture is meant."""


@dataclass(frozen=True, slots=True)
class Group:
    """A package group."""

    id: str
    name: str
    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class Environment:
    """A group of groups."""

    id: str
    name: str
    groups: tuple[str, ...]
    """Ids of those that belong to it without being chosen."""


T = TypeVar("T", Group, Environment)


@dataclass(frozen=True, slots=True)
class Groups:
    """What the comps.xml of all upstreams say."""

    groups: Mapping[str, Group]
    environments: Mapping[str, Environment]

    def find(self, pattern: str, types: frozenset[str] = INSTALLED) -> tuple[Member, ...] | None:
        """Return the members of every group and environment of an id or name, None when there is none."""
        environments = _named(pattern, self.environments.values())
        groups = _named(pattern, self.groups.values())
        if not environments and not groups:
            return None
        ids = [each for environment in environments for each in environment.groups if each in self.groups]
        chosen = dict.fromkeys((*(self.groups[each] for each in ids), *groups))
        return tuple(dict.fromkeys(member for group in chosen for member in group.members if member.type in types))

    def names(self) -> tuple[str, ...]:
        """Return all ids, sorted."""
        return tuple(sorted({*self.groups, *self.environments}))


def load(texts: Iterable[tuple[Text, str]], arch: str) -> Groups:
    """Read the comps.xml of upstreams, given with their names; groups of one id are joined.

    Raises:
        HostileInputError: when one is malformed or exceeds a bound.
    """
    groups: dict[str, Group] = {}
    environments: dict[str, Environment] = {}
    for text, upstream in texts:
        what = f"groups of upstream {upstream}"
        size = text.path.stat().st_size
        if size > _MAX_TEXT:
            raise HostileInputError(f"{what} have more than {_MAX_TEXT} bytes: {size}")
        root = read_xml(_DOCTYPE.sub(b"", text.path.read_bytes(), count=1), what)
        for group in (_group(element, arch) for element in root.iter("group")):
            known = groups.get(group.id)
            members = dict.fromkeys((*(known.members if known else ()), *group.members))
            groups[group.id] = Group(group.id, group.name, tuple(members))
        for environment in map(_environment, root.iter("environment")):
            before = environments.get(environment.id)
            ids = dict.fromkeys((*(before.groups if before else ()), *environment.groups))
            environments[environment.id] = Environment(environment.id, environment.name, tuple(ids))
    return Groups(groups, environments)


def _group(element: Element, arch: str) -> Group:
    members = (
        Member(
            name=(each.text or "").strip(),
            type=kind if (kind := each.get("type", "")) in TYPES else "mandatory",
            requires=each.get("requires", ""),
            is_of_base_arch=each.get("basearchonly", "") == "true",
        )
        for each in element.iter("packagereq")
        if arch in re.split(r"[\s,]+", each.get("arch", arch))
    )
    return Group(_text(element, "id"), _text(element, "name"), tuple(each for each in members if each.name))


def _environment(element: Element) -> Environment:
    listing = element.find("grouplist")
    ids = (each.text or "" for each in (listing.iter("groupid") if listing is not None else ()))
    return Environment(_text(element, "id"), _text(element, "name"), tuple(each.strip() for each in ids))


def _text(element: Element, tag: str) -> str:
    """Return the text of the first child of a tag: the one without a language."""
    return (element.findtext(tag) or "").strip()


def _named(pattern: str, known: Iterable[T]) -> list[T]:
    items = list(known)
    exact = [each for each in items if pattern in {each.id, each.name}]
    return exact or [each for each in items if fnmatch(each.id, pattern) or fnmatch(each.name, pattern)]
