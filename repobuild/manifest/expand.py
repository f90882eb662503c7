"""From what a manifest asks for to wants, as Pigsty expands it.

An item is one line of words separated by commas or spaces, and becomes one group. A word that is an alias of
`package_map` is replaced by the alias's words, one level deep and before variables are replaced; then `$v` and
`${pg_version}` become the PostgreSQL version. An alias that says nothing for a target gives nothing.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from repobuild.manifest.reading import redacted
from repobuild.model import Target
from repobuild.targets import selectors

Choice = Mapping[str, tuple[str, ...]]
"""Words by selector; `targets.DEFAULT_SELECTOR` for what holds everywhere."""

Value = TypeVar("Value")

SEPARATOR = re.compile(r"[\s,]+")
_WANT = re.compile(r"[A-Za-z0-9/@*?\[][A-Za-z0-9.+~_:=/*?()\[\]^-]{0,254}")
_PG_ALIAS = re.compile(r"pg[0-9]{2}")
_MAX_WANTS = 50_000
"""Words of one target, all groups together."""


@dataclass(frozen=True, slots=True)
class Line:
    """One item of a package list and where it stands."""

    text: str
    where: str


Lines = Mapping[str, tuple[Line, ...]]
"""Items of a package list by selector."""


@dataclass(frozen=True, slots=True)
class Install:
    """What Pigsty's playbooks install on machines of one kind."""

    lines: Lines
    module: str
    """Of the upstreams that it is expected from."""
    pg_version: Choice | None = None
    """Where aliases stand for packages: the PostgreSQL versions; None where names are packages' own."""


def words(text: str) -> tuple[str, ...]:
    """Split at commas and white space."""
    return tuple(word for word in SEPARATOR.split(text) if word)


def choose(choice: Mapping[str, tuple[Value, ...]], target: Target) -> tuple[Value, ...]:
    """Return what the most specific selector that fits says, nothing when none does."""
    for selector in reversed(selectors(target)):
        if selector in choice:
            return choice[selector]
    return ()


@dataclass(frozen=True, slots=True)
class Expanded:
    """Wants of several lines."""

    groups: tuple[tuple[str, ...], ...]
    """One a line."""
    problems: tuple[str, ...]
    """What is wrong with them, one message each."""
    expected: Mapping[str, str]
    """The module that a want's alias promises, by want."""


def expand(
    lines: Sequence[Line],
    package_map: Mapping[str, Choice],
    target: Target,
    pg_versions: tuple[str, ...],
    modules: Collection[str] = (),
) -> Expanded:
    """Return the wants of `lines`; a want with `$v` once for each PostgreSQL version.

    Args:
        lines: one for each group.
        package_map: the aliases; none where names are packages' own.
        target: whom it is for.
        pg_versions: what stands for `$v`.
        modules: names of modules that the names of aliases may begin with.
    """
    groups: list[tuple[str, ...]] = []
    problems: dict[str, None] = {}
    expected: dict[str, str] = {}
    room = _MAX_WANTS
    for line in lines:
        group: list[str] = []
        for word in words(line.text):
            named = choose(package_map[word], target) if word in package_map else (word,)
            wants = [each for want in named for each in _with_versions(want, pg_versions)]
            group += wants
            module = _module_of(word, modules) if word in package_map else None
            if module is not None:
                expected |= {want: module for want in wants if want not in expected}
            if len(group) > room:
                problems[f"{line.where}: expected at most {_MAX_WANTS} wants in all, got more"] = None
                return Expanded(tuple(groups), tuple(problems), expected)
        room -= len(group)
        problems.update(
            dict.fromkeys(f"{line.where}: {_fault(want, target)}" for want in group if _fault(want, target))
        )
        groups.append(tuple(group))
    return Expanded(tuple(groups), tuple(problems), expected)


def _with_versions(want: str, pg_versions: tuple[str, ...]) -> tuple[str, ...]:
    if not pg_versions or ("$v" not in want and "${pg_version}" not in want):
        return (want,)
    return tuple(want.replace("${pg_version}", each).replace("$v", each) for each in pg_versions)


def _module_of(alias: str, modules: Collection[str]) -> str | None:
    """Return the module whose name an alias begins with: `infra-addons` is of infra, `pg17-gis` of pgsql."""
    first = alias.partition("-")[0]
    if _PG_ALIAS.fullmatch(first):
        first = "pgsql"
    return first if first in modules else None


def _fault(want: str, target: Target) -> str:
    """Return what is wrong with a want, empty when nothing is."""
    if _WANT.fullmatch(want):
        return ""
    if "$v" in want or "${pg_version}" in want:
        return f"expected `pg_version` to say a version for {target}, got none; {redacted(want)} asks for it"
    forms = "a package name, glob, name=version, name:arch, name/suite, name.arch or @group"
    return f"expected {forms}, got {redacted(want)}"
