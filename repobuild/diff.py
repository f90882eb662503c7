"""Two locks -> what differs: packages added, removed, upgraded, downgraded or replaced, bytes, and what that mends."""

import enum
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cmp_to_key

from repobuild.formats.values import Advisory
from repobuild.model import Lock, Package

Compare = Callable[[str, str], int]
"""Versions to below, equal to or above 0; the family's own order."""
Advisories = Callable[[Sequence[Package]], Sequence[Advisory]]
"""What packages of the later lock mend."""


class Sign(enum.StrEnum):
    """What became of a package or file."""

    ADDED = "added"
    REMOVED = "removed"
    UPGRADED = "upgraded"
    DOWNGRADED = "downgraded"
    REPLACED = "replaced"
    """The same version, other bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file of one side: a package, or what the manifest names by URL."""

    name: str
    version: str
    """"" of what is no package."""
    arch: str
    filename: str
    sha256: str
    size: int
    upstream: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One thing that differs; one side at least is there."""

    sign: Sign
    before: File | None
    after: File | None

    @property
    def name(self) -> str:
        """The name that both sides have."""
        return (self.after or self.before or _NONE).name


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What leads from one lock to another."""

    changes: tuple[Change, ...]
    """By sign, then by name."""
    same: int
    """Files that both have."""
    size_before: int
    """Bytes of all files, each object once."""
    size_after: int
    download: int
    """Bytes of the objects that are new."""
    downloads: int
    advisories: tuple[Advisory, ...]
    """Of what is added, upgraded or replaced."""

    def signed(self, sign: Sign) -> tuple[Change, ...]:
        """Return the changes of one kind."""
        return tuple(each for each in self.changes if each.sign is sign)


_NONE = File(name="", version="", arch="", filename="", sha256="", size=0, upstream="")
_NEW = frozenset({Sign.ADDED, Sign.UPGRADED, Sign.REPLACED})


def compare(before: Lock, after: Lock, order: Compare, advisories: Advisories) -> Difference:
    """Return what leads from `before` to `after`.

    Packages are matched by name and architecture, what is left by name alone, so that a package which became noarch is
    upgraded. Where a name has several versions, those that both have stand; of the others the newest are matched first.
    """
    one, other = list(_files(before)), list(_files(after))
    pairs = list(_matched(one, other, order))
    changes = [change for change in (_change(*pair, order) for pair in pairs) if change is not None]
    ranks = {sign: rank for rank, sign in enumerate(Sign)}
    changes.sort(key=lambda each: (ranks[each.sign], each.name, (each.after or each.before or _NONE).filename))
    there = {each.sha256: each.size for each in one}
    wanted = {each.sha256: each.size for each in other}
    new = {change.after.sha256 for change in changes if change.after is not None and change.sign in _NEW}
    packages = {choice.package.sha256: choice.package for choice in after.choices if choice.package.sha256 in new}
    return Difference(
        changes=tuple(changes),
        same=len(pairs) - len(changes),
        size_before=sum(there.values()),
        size_after=sum(wanted.values()),
        download=sum(size for digest, size in wanted.items() if digest not in there),
        downloads=len(wanted.keys() - there.keys()),
        advisories=tuple(advisories(list(packages.values()))),
    )


def _files(lock: Lock) -> Iterator[File]:
    for package in (choice.package for choice in lock.choices):
        yield File(
            name=package.name,
            version=package.version,
            arch=package.arch,
            filename=package.filename,
            sha256=package.sha256,
            size=package.size,
            upstream=package.upstream,
        )
    for each in lock.assets:
        yield File(
            name=each.name, version="", arch="", filename=each.name, sha256=each.sha256, size=each.size, upstream=""
        )


def _matched(one: Sequence[File], other: Sequence[File], order: Compare) -> Iterator[tuple[File | None, File | None]]:
    """Pair the files of both sides; each file is in exactly one pair."""
    keys: tuple[Callable[[File], tuple[str, ...]], ...] = (
        lambda each: (each.name, each.arch, each.version),
        lambda each: (each.name, each.arch),
        lambda each: (each.name,),
    )
    left, right = list(one), list(other)
    for key in keys:
        here, there = _by_key(left, key, order), _by_key(right, key, order)
        for value in sorted(here.keys() & there.keys()):
            pairs = list(zip(here[value], there[value], strict=False))
            here[value], there[value] = here[value][len(pairs) :], there[value][len(pairs) :]
            yield from pairs
        left, right = ([each for group in groups.values() for each in group] for groups in (here, there))
    yield from ((each, None) for each in left)
    yield from ((None, each) for each in right)


def _by_key(
    files: Sequence[File], key: Callable[[File], tuple[str, ...]], order: Compare
) -> dict[tuple[str, ...], list[File]]:
    """Return the files under each key, the newest first."""
    groups: dict[tuple[str, ...], list[File]] = {}
    for each in files:
        groups.setdefault(key(each), []).append(each)

    def newer_first(one: File, other: File) -> int:
        return order(other.version, one.version)

    return {
        key: sorted(found, key=cmp_to_key(newer_first)) if len(found) > 1 else found for key, found in groups.items()
    }


def _change(before: File | None, after: File | None, order: Compare) -> Change | None:
    if before is None or after is None:
        sign = Sign.ADDED if before is None else Sign.REMOVED
        return Change(sign=sign, before=before, after=after)
    if before.sha256 == after.sha256 and before.filename == after.filename:
        return None
    way = order(before.version, after.version) if before.version != after.version else 0
    return Change(
        sign=Sign.UPGRADED if way < 0 else Sign.DOWNGRADED if way > 0 else Sign.REPLACED, before=before, after=after
    )
