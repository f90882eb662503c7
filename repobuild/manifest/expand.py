"""From what a manifest asks for to wants, as Pigsty expands it.

An item is one line of words separated by commas or spaces, and becomes one group. A word that is an alias of
`package_map` is replaced by the alias's words, one level deep and before variables are replaced; then `$v` and
`${pg_version}` become the PostgreSQL version. An alias that says nothing for a target gives nothing.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from repobuild.manifest.reading import redacted
from repobuild.model import Target
from repobuild.targets import selectors

Choice = Mapping[str, tuple[str, ...]]
"""Words by selector; `targets.DEFAULT_SELECTOR` for what holds everywhere."""

SEPARATOR = re.compile(r"[\s,]+")
_WANT = re.compile(r"[A-Za-z0-9/@*?\[][A-Za-z0-9.+~_:=/*?()\[\]^-]{0,254}")
_MAX_WANTS = 50_000
"""Words of one target, all groups together."""


@dataclass(frozen=True, slots=True)
class Line:
    """One item of a package list and where it stands."""

    text: str
    where: str


def words(text: str) -> tuple[str, ...]:
    """Split at commas and white space."""
    return tuple(word for word in SEPARATOR.split(text) if word)


def choose(choice: Choice, target: Target) -> tuple[str, ...]:
    """Return the words of the most specific selector that fits, none when none does."""
    for selector in reversed(selectors(target)):
        if selector in choice:
            return choice[selector]
    return ()


def expand(
    lines: tuple[Line, ...], package_map: Mapping[str, Choice], target: Target, pg_version: str | None
) -> tuple[tuple[tuple[str, ...], ...], list[str]]:
    """Return one group a line, and what is wrong with them (one message each)."""
    groups: list[tuple[str, ...]] = []
    problems: dict[str, None] = {}
    room = _MAX_WANTS
    for line in lines:
        group: list[str] = []
        for word in words(line.text):
            group.extend(choose(package_map[word], target) if word in package_map else (word,))
            if len(group) > room:
                problems[f"{line.where}: expected at most {_MAX_WANTS} wants in all, got more"] = None
                return tuple(groups), list(problems)
        room -= len(group)
        named = [_with_version(want, pg_version) for want in group]
        problems.update(
            dict.fromkeys(f"{line.where}: {_fault(want, target)}" for want in named if _fault(want, target))
        )
        groups.append(tuple(named))
    return tuple(groups), list(problems)


def _with_version(want: str, pg_version: str | None) -> str:
    if pg_version is None:
        return want
    return want.replace("${pg_version}", pg_version).replace("$v", pg_version)


def _fault(want: str, target: Target) -> str:
    """Return what is wrong with a want, empty when nothing is."""
    if _WANT.fullmatch(want):
        return ""
    if "$v" in want or "${pg_version}" in want:
        return f"expected `pg_version` to say a version for {target}, got none; {want[:80]} asks for it"
    forms = "a package name, glob, name=version, name:arch, name/suite, name.arch or @group"
    return f"expected {forms}, got {redacted(want)}"
