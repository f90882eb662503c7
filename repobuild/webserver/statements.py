"""Where nginx's statements begin and end, and their words (as ngx_conf_read_token reads them).

For texts that nginx would read to their end: of others some statements are found, and it refuses them itself.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""
    (?P<passed> [ \t\r\n]+ | \#[^\n]* )
    | (?P<end> [;{}] )
    | (?P<word> "(?:\\.|[^"\\])*" | '(?:\\.|[^'\\])*' | (?:\\.|\$\{|[^ \t\r\n;{\\])+ )
    | .
    """,
    re.VERBOSE | re.DOTALL,
)
_QUOTES = "\"'"


@dataclass(frozen=True, slots=True)
class Word:
    """A word and its place in the text."""

    start: int
    stop: int
    text: str
    """Without quotes."""


@dataclass(frozen=True, slots=True)
class Statement:
    """Words up to `;`, or to `{` where a block begins."""

    words: tuple[Word, ...]
    stop: int
    """Behind what ends it."""
    is_block: bool

    @property
    def name(self) -> str:
        """Its first word."""
        return self.words[0].text

    @property
    def values(self) -> tuple[Word, ...]:
        """The words behind the first."""
        return self.words[1:]


@dataclass(frozen=True, slots=True)
class Edit:
    """What stands in a text in the place of what is there."""

    start: int
    stop: int
    text: str


def statements(text: str) -> Iterator[Statement]:
    """Yield the statements of a configuration in order, those of a block behind the one that begins it."""
    words: list[Word] = []
    for found in _TOKEN.finditer(text):
        if word := found["word"]:
            is_quoted = word[0] in _QUOTES
            words.append(Word(*found.span(), word[1:-1] if is_quoted else word))
        elif found["end"]:
            if words:
                yield Statement(tuple(words), found.end(), found["end"] == "{")
            words = []


def edited(text: str, edits: Iterable[Edit]) -> str:
    """Return a text with its edits made, which come in order and do not overlap."""
    parts, place = [], 0
    for each in edits:
        parts += [text[place : each.start], each.text]
        place = each.stop
    return "".join((*parts, text[place:]))
