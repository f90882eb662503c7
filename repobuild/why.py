"""Why a package is in a lock: the chains of needs from wants to it. Why it is not: what upstreams have of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from repobuild.formats.values import Sighting
from repobuild.graph import Graph, way
from repobuild.model import Lock, Package

_MAX_SIGHTINGS = 12
"""Packages of upstreams that are spoken of."""
BASE = ""
"""Stands for a want where the base is meant."""


@dataclass(frozen=True, slots=True)
class Link:
    """One package needs another."""

    package: Package
    verb: str
    text: str
    """The relation as it is written."""
    answer: Package


@dataclass(frozen=True, slots=True)
class Chain:
    """From a want, or from the base, to a package."""

    want: str
    """`BASE` where nothing but the base asks for it."""
    start: Package
    links: tuple[Link, ...]


@dataclass(frozen=True, slots=True)
class Origins:
    """Where chains begin: packages by want, and those of the base, as places among a lock's choices."""

    wants: Mapping[str, Sequence[int]]
    base: Sequence[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A package that is not in a lock as it was asked for."""

    name: str
    version: str
    """"" for any."""
    lock: Lock
    sightings: Sequence[Sighting]
    """What the upstreams have under this name, the newest first."""
    elsewhere: Sequence[Sighting] = ()
    """What upstreams have that the manifest knows and this target does not read."""
    unread: Sequence[str] = ()
    """Upstreams that the manifest knows, that this target does not read, and of which nothing is known here."""


def named(lock: Lock, spec: str, is_named: Callable[[Package, str], bool]) -> tuple[int, ...]:
    """Return the choices that a file name, `name.arch` or want stands for, as places.

    What a lock took for a want of these very words is among them, whatever it is called.
    """
    taken = {filename for want, filename in lock.taken if want == spec}
    return tuple(
        number
        for number, package in enumerate(choice.package for choice in lock.choices)
        if package.filename in {spec, *taken} or spec == f"{package.name}.{package.arch}" or is_named(package, spec)
    )


def chains(lock: Lock, graph: Graph, origins: Origins, package: int) -> tuple[Chain, ...]:
    """Return the shortest chain from each want, and one from the base, that leads to a package; the shortest first.

    Of chains of one length that of the earlier want comes first, the base's last.
    """
    ways = graph.ways_to(package)
    found = []
    for want, numbers in (*origins.wants.items(), (BASE, origins.base)):
        reaching = [way(each, ways) for each in numbers if each == package or each in ways]
        starts = [each for each in numbers if each == package or each in ways]
        if not starts:
            continue
        steps, start = min(zip(reaching, starts, strict=True), key=lambda each: len(each[0]))
        links = tuple(
            Link(_package(lock, step.need.package), step.need.verb, step.need.text, _package(lock, step.answer))
            for step in steps
        )
        found.append(Chain(want, _package(lock, start), links))
    return tuple(sorted(found, key=lambda each: (len(each.links), each.want == BASE)))


def why_not(question: Question, compare: Callable[[str, str], int]) -> tuple[str, ...]:
    """Return why a package is not in the lock, the most telling reason first; empty when nobody has it."""
    lock = question.lock
    reasons = [f"it is wanted and missing: {each.reason}" for each in lock.missing if each.want == question.name]
    gone = [each for each in lock.gone if each.startswith((f"{question.name}_", f"{question.name}-"))]
    reasons += [f"upstream lists it, and no mirror has it any more: {each}" for each in gone]
    chosen = [choice.package for choice in lock.choices if choice.package.name == question.name]
    sha256 = {each.sha256 for each in chosen}
    seen = [each for each in question.sightings if each.version == question.version or not question.version]
    seen = [each for each in seen if each.sha256 not in sha256]
    reasons += [_judge(each, chosen, compare) for each in seen[:_MAX_SIGHTINGS]]
    if question.version and not seen:
        had = dict.fromkeys(f"{each.version} in {each.upstream}" for each in question.sightings)
        reasons += [f"no upstream has that version; there is {', '.join(list(had)[:_MAX_SIGHTINGS])}"] if had else []
    reasons += [
        f"{each.upstream} has {each.version} for {each.arch}, and this target does not read that upstream"
        for each in question.elsewhere
    ]
    if not seen and not question.elsewhere:
        skipped = [pin.name for pin in lock.upstreams if not pin.sha256]
        reasons += [f"the lock was made without these upstreams: {', '.join(skipped)}"] if skipped else []
        unread = ", ".join(question.unread)
        reasons += [f"it may be in an upstream that this target does not read: {unread}"] if unread else []
    return tuple(dict.fromkeys(reasons))


def _judge(seen: Sighting, chosen: Sequence[Package], compare: Callable[[str, str], int]) -> str:
    """Say why one package of an upstream was not taken."""
    what = f"{seen.upstream} has {seen.version} for {seen.arch}"
    if seen.reason:
        return f"{what}: {seen.reason}"
    if not chosen:
        return f"{what}: no want asks for it, and nothing that was chosen needs it"
    rival = next((each for each in chosen if each.arch == seen.arch), chosen[0])
    order = compare(seen.version, rival.version)
    taken = f"{rival.version} of {rival.upstream}"
    if rival.arch != seen.arch:
        return f"{what}: {taken} for {rival.arch} was chosen"
    if order < 0:
        return f"{what}: older than {taken}, which was chosen"
    if order > 0:
        return f"{what}: newer than {taken}, which was chosen: it came after the lock, or does not go with the rest"
    return f"{what}: the same version of {rival.upstream} was chosen"


def _package(lock: Lock, number: int) -> Package:
    return lock.choices[number].package
