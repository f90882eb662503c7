"""Stanzas of Debian control data, and the relations in them (deb822(5), Debian Policy chapter 7).

Only the few fields that a resolution reads are parsed, straight from the text: an archive has 70,000 stanzas, and
a run touches some thousand of them.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from repobuild.errors import HostileInputError

NAME = re.compile(r"[a-z0-9][a-z0-9+.-]{0,127}\Z", re.IGNORECASE)
"""A package name. Policy wants lower case and two characters; real archives are laxer in case."""
_LABEL = re.compile(r"[!\"$-,.-9;-~][!-9;-~]*\Z")
"""A field name (deb822(5)). apt drops blanks before the colon, so that `Size :` would be a second `Size` to it."""
# For text in which every run of whitespace is one blank: nothing here can match in two ways, so that time is linear.
_RELATION = re.compile(
    r"([A-Za-z0-9][A-Za-z0-9+.-]{0,255})(?::([a-z0-9-]{1,64}))? ?"
    r"(?:\( ?(<<|<=|=|>=|>>|<|>) ?([!-'*-;?-~][!-'*-~]{0,511}) ?\))? ?(?:\[[^\]]*\])? ?(?:<[^>]*> ?)*\Z"
)
_OLD_OPERATORS = {"<": "<=", ">": ">="}
_MAX_STANZA = 1 << 20
"""Characters of one stanza."""
_MAX_GROUPS = 16_384
"""Groups in one field; the largest in Debian 11 to 13 has 1,603."""
_MAX_ALTERNATIVES = 1024
"""Bars in one group; libsolv's recursion over them has the stack as its only bound."""


@dataclass(frozen=True, slots=True)
class Relation:
    """One alternative: a name, and the versions of it that will do."""

    name: str
    operator: str
    version: str
    qualifier: str
    """Architecture after the colon: "", `any`, `native`, or a name."""

    def __str__(self) -> str:
        return f"{self.name} ({self.operator} {self.version})" if self.operator else self.name


Group = tuple[Relation, ...]
"""Alternatives in their order: `a | b`."""


def fields(stanza: str) -> dict[str, str]:
    """Return the fields of a stanza by lower-case name; continuation lines keep their leading space.

    Raises:
        HostileInputError: for a line that is neither a field nor a continuation, a field given twice, or an empty line.
    """
    if len(stanza) > _MAX_STANZA or "\0" in stanza:
        raise HostileInputError(f"stanza larger than {_MAX_STANZA} characters, or with a NUL: {stanza[:60]!r}")
    found: dict[str, list[str]] = {}
    current: list[str] = []
    for line in stanza.split("\n"):
        if line[:1] in {" ", "\t"} and current:
            current.append(line)
            continue
        label, colon, value = line.partition(":")
        name = label.lower()
        if not colon or not _LABEL.match(label) or name in found:
            raise HostileInputError(f"malformed or repeated field in control data: {line[:60]!r}")
        current = found[name] = [value.strip(" \t\r")]
    return {name: "\n".join(lines) for name, lines in found.items()}


@lru_cache(maxsize=1 << 14)
def relations(text: str) -> tuple[Group, ...]:
    """Parse a relation field: groups in their order, each a tuple of alternatives.

    Raises:
        HostileInputError: for text that is no relation, or too many.
    """
    if text.count(",") > _MAX_GROUPS:
        raise HostileInputError(f"more than {_MAX_GROUPS} relations in a field: {text[:60]!r}")
    if any(group.count("|") > _MAX_ALTERNATIVES for group in text.split(",")):
        raise HostileInputError(f"more than {_MAX_ALTERNATIVES} alternatives of a relation: {text[:60]!r}")
    return tuple(tuple(_relation(part) for part in group.split("|")) for group in text.split(",") if group.strip())


def _relation(text: str) -> Relation:
    match = _RELATION.match(" ".join(text.split()))
    if match is None:
        raise HostileInputError(f"not a package relation: {text[:80]!r}")
    name, qualifier, operator, version = match.groups(default="")
    return Relation(name, _OLD_OPERATORS.get(operator, operator), version, qualifier)
