"""Typed reading of a document. Every error is collected, none is guessed away: a doubtful spelling is an error."""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from repobuild.manifest.document import SHOWN, Listing, Node, Scalar, Source, Table, concealed, redacted

_TRUE = re.compile(r"(?:true|yes|on)", re.IGNORECASE)
_FALSE = re.compile(r"(?:false|no|off)", re.IGNORECASE)
_FLOAT = re.compile(
    r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|\.[0-9]+(?:[eE][-+]?[0-9]+)?|\.(?:inf|nan))", re.IGNORECASE
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")

_UNSAID = "something else, which is not repeated here"

__all__ = ["Fields", "Place", "did_you_mean", "doubt_of", "redacted"]

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Place:
    """A value in a document and where it stands. A reading that fails is reported and gives None or nothing."""

    source: Source
    path: str
    node: Node
    is_secret: bool = False
    """Whether what stands here and below may be a secret, so that no message repeats any of it."""

    @property
    def where(self) -> str:
        """How messages name this place."""
        return self.source.where(self.node.line, self.path)

    def wrong(self, expected: str, got: str | None = None) -> None:
        """Report that something else is expected here."""
        self._refuse(f"expected {expected}, got {got or self._shown()}")

    def _refuse(self, what: str) -> None:
        if self.is_secret and isinstance(self.node, Scalar):
            what = f"{what.partition(', got ')[0]}, got {_UNSAID}"
        self.source.report(self.node.line, self.path, what)

    def secret(self) -> "Place":
        """Return this place as one where secrets may stand."""
        return replace(self, is_secret=True)

    def text(self, expected: str = "text") -> str | None:
        """Return a non-empty text without control characters, as it is written."""
        if not isinstance(self.node, Scalar) or self.node.is_null or not self.node.text.strip():
            self.wrong(expected)
            return None
        doubt = doubt_of(self.node)
        if doubt:
            self.wrong(expected, doubt)
            return None
        return self.node.text.strip()

    def matching(self, pattern: re.Pattern[str], expected: str) -> str | None:
        """Return a text that matches `pattern` in full."""
        text = self.text(expected)
        if text is None or pattern.fullmatch(text):
            return text
        self.wrong(expected)
        return None

    def one_of(self, known: Iterable[str], expected: str) -> str | None:
        """Return a text that is one of `known`."""
        choices = list(known)
        text = self.text(expected)
        if text is None or text in choices:
            return text
        self.wrong(expected, f"{redacted(text)}{did_you_mean(text, choices)}")
        return None

    def parsed(self, parse: Callable[[str], Value], expected: str = "text") -> Value | None:
        """Return what `parse` makes of the text; its ValueError says `expected X, got Y`."""
        text = self.text(expected)
        if text is None:
            return None
        try:
            return parse(text)
        except ValueError as error:
            self._refuse(str(error))
            return None

    def flag(self) -> bool | None:
        """Return a truth value."""
        if isinstance(self.node, Scalar) and self.node.is_plain:
            if _TRUE.fullmatch(self.node.text):
                return True
            if _FALSE.fullmatch(self.node.text):
                return False
        self.wrong("true or false")
        return None

    def items(self, expected: str) -> list["Place"]:
        """Return the items of a list; a bare text is a list of one. A tolerant source may have empty ones, left out."""
        if isinstance(self.node, Table):
            self.wrong(expected)
            return []
        if isinstance(self.node, Scalar):
            return [] if self.node.is_empty else [self]
        return [
            replace(self, path=f"{self.path}[{index}]", node=item)
            for index, item in enumerate(self.node.items)
            if not (self.source.is_tolerant and isinstance(item, Scalar) and item.is_empty)
        ]

    def every(self, expected: str) -> dict[str, "Place"]:
        """Return the entries of a mapping whose keys are free, with and without a value."""
        if not isinstance(self.node, Table):
            self.wrong(expected)
            return {}
        path = f"{self.path}." if self.path else ""
        return {
            key: replace(self, path=f"{path}{concealed(key)}", node=value) for key, value in self.node.entries.items()
        }

    def entries(self, expected: str) -> dict[str, "Place"]:
        """Return the entries of a mapping whose keys are free; those without a value are left out."""
        return {
            key: place
            for key, place in self.every(expected).items()
            if not (isinstance(place.node, Scalar) and place.node.is_null)
        }

    def doubt(self, what: str) -> None:
        """Report something here that may be a slip: a warning where the source is tolerant."""
        self.source.doubt(self.node.line, self.path, what)

    def fields(self, known: Iterable[str], expected: str) -> "Fields":
        """Return the entries of a mapping whose keys are `known`; any other key may be a slip."""
        names = list(known)
        if isinstance(self.node, Table):
            for key in (key for key in self.node.entries if key not in names):
                shown = (
                    f", which is not repeated here; known: {', '.join(names)}"
                    if self.is_secret
                    else f" {redacted(key)}"
                )
                self.source.doubt(self.node.key_lines[key], self.path, f"unknown key{shown}{did_you_mean(key, names)}")
        return Fields(self, {key: place for key, place in self.entries(expected).items() if key in names})

    def _shown(self) -> str:
        match self.node:
            case Scalar() if self.node.is_null:
                return "nothing"
            case Scalar(text=text):
                return redacted(text)
            case Listing():
                return "a list"
            case Table():
                return "a mapping"


@dataclass(frozen=True, slots=True)
class Fields:
    """A mapping whose keys are known. What is not given reads as None or nothing, without an error."""

    place: Place
    given: Mapping[str, Place]

    def require(self, *keys: str) -> None:
        """Report each of `keys` that is not given."""
        for key in keys:
            if key not in self.given and isinstance(self.place.node, Table):
                self.place.wrong(f"the key {key!r}", "none")

    def text(self, key: str, expected: str = "text") -> str | None:
        """Return the text under `key`."""
        return self.given[key].text(expected) if key in self.given else None

    def filled(self) -> "Fields":
        """Return them without empty texts, by which inventories say nothing."""
        empty = {key for key, place in self.given.items() if isinstance(place.node, Scalar) and place.node.is_empty}
        return Fields(self.place, {key: place for key, place in self.given.items() if key not in empty})

    def matching(self, key: str, pattern: re.Pattern[str], expected: str) -> str | None:
        """Return the text under `key`, which has to match `pattern` in full."""
        return self.given[key].matching(pattern, expected) if key in self.given else None

    def one_of(self, key: str, known: Iterable[str], expected: str) -> str | None:
        """Return the text under `key`, which has to be one of `known`."""
        return self.given[key].one_of(known, expected) if key in self.given else None

    def parsed(self, key: str, parse: Callable[[str], Value], expected: str) -> Value | None:
        """Return what `parse` makes of the text under `key`."""
        return self.given[key].parsed(parse, expected) if key in self.given else None

    def flag(self, key: str) -> bool | None:
        """Return the truth value under `key`."""
        return self.given[key].flag() if key in self.given else None

    def items(self, key: str, expected: str) -> list[Place]:
        """Return the items under `key`; a bare text is a list of one."""
        return self.given[key].items(expected) if key in self.given else []

    def entries(self, key: str, expected: str) -> Mapping[str, Place]:
        """Return the entries under `key`, whose keys are free."""
        return self.given[key].entries(expected) if key in self.given else {}


def did_you_mean(text: str, known: Iterable[str]) -> str:
    """Return `; did you mean X?`, or the empty text when nothing is near."""
    near = difflib.get_close_matches(text[:SHOWN], list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""


def doubt_of(node: Scalar) -> str | None:
    """Return why a scalar is not safely the text it seems to be, with the remedy; None when it is."""
    text = node.text
    if "{{" in text or "{%" in text:
        return f"{redacted(text)}: Jinja is not evaluated, write the value itself"
    if node.tag:
        return f"a value with the YAML tag {node.tag!r}, which is not evaluated; write the value itself"
    if node.is_plain and _FLOAT.fullmatch(text):
        return f"the number {text[:SHOWN]}; quote it: '{text[:SHOWN]}'"
    if node.is_plain and (_TRUE.fullmatch(text) or _FALSE.fullmatch(text)):
        return f"the truth value {text}; quote it if it is a name: '{text}'"
    if _CONTROL.search(text):
        return f"control characters in {redacted(text)}"
    return None
