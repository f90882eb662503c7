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
_RELATION = re.compile(
    r"\s*([A-Za-z0-9][A-Za-z0-9+.-]*)(?::([a-z0-9-]+))?\s*"
    r"(?:\(\s*(<<|<=|=|>=|>>|<|>)\s*([^\s()]+)\s*\))?\s*(?:\[[^\]]*\])?\s*(?:<[^>]*>\s*)*\Z"
)
_OLD_OPERATORS = {"<": "<=", ">": ">="}
_MAX_STANZA = 1 << 20
"""Bytes of one stanza."""


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
        HostileInputError: for a line that is neither a field nor a continuation, or a field given twice.
    """
    if len(stanza) > _MAX_STANZA:
        raise HostileInputError(f"stanza larger than {_MAX_STANZA} bytes: {stanza[:60]!r}")
    found: dict[str, str] = {}
    name = ""
    for line in stanza.split("\n"):
        if line[:1] in {" ", "\t"} and name:
            found[name] += "\n" + line
            continue
        if not line:
            continue
        label, colon, value = line.partition(":")
        name = label.lower()
        if not colon or not name or name in found:
            raise HostileInputError(f"malformed or repeated field in control data: {line[:60]!r}")
        found[name] = value.strip()
    return found


@lru_cache(maxsize=1 << 14)
def relations(text: str) -> tuple[Group, ...]:
    """Parse a relation field: groups in their order, each a tuple of alternatives.

    Raises:
        HostileInputError: for text that is no relation.
    """
    return tuple(tuple(_relation(part) for part in group.split("|")) for group in text.split(",") if group.strip())


def _relation(text: str) -> Relation:
    match = _RELATION.match(text)
    if match is None:
        raise HostileInputError(f"not a package relation: {text[:80]!r}")
    name, qualifier, operator, version = match.groups(default="")
    return Relation(name, _OLD_OPERATORS.get(operator, operator), version, qualifier)
