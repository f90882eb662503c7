"""YAML text as a tree that knows its lines.

The tree keeps each scalar as it is written: YAML's own typing is what mangles versions (`1.10` becomes 1.1, `010`
becomes 8, `no` becomes false). Types are asked for by the reader (`reading.py`), who knows what belongs where.
Size, depth and number of values are bounded, aliases included; tags are refused, so nothing is ever constructed.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NoReturn

import yaml

from repobuild.errors import ManifestError

MAX_BYTES = 1 << 20
"""Size of a document, in bytes."""
_MAX_DEPTH = 32
"""Levels of nesting."""
_MAX_NODES = 200_000
"""Values in a document, each counted as often as an alias repeats it."""
_MAX_PROBLEMS = 100
"""Errors reported of one document."""
SHOWN = 80
"""Characters of a wrong value that a message repeats."""
_MAX_PATH = 200
"""Characters of a path that a message repeats."""

_NULL = re.compile(r"(?:~|null|Null|NULL)?")
_NOT_A_KEY = "expected a text as key, got a list or mapping; {{ … }} is no value here, Jinja is not evaluated"
_USERINFO = re.compile(r"://\S*@")
_STRING_TAG = "tag:yaml.org,2002:str"
_LOADER: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Scalar:
    """A single value as written; `is_plain` when it was not quoted."""

    line: int
    text: str
    is_plain: bool

    @property
    def is_null(self) -> bool:
        """Whether nothing is given."""
        return self.is_plain and _NULL.fullmatch(self.text) is not None


@dataclass(frozen=True, slots=True)
class Listing:
    """A YAML sequence."""

    line: int
    items: list["Node"]


@dataclass(frozen=True, slots=True)
class Table:
    """A YAML mapping, its keys as written."""

    line: int
    entries: dict[str, "Node"]
    key_lines: dict[str, int]


Node = Scalar | Listing | Table


@dataclass(frozen=True, slots=True)
class Source:
    """The document being read, and the errors found in it so far."""

    name: str
    _problems: list[tuple[int, str]] = field(default_factory=list)

    def report(self, line: int, path: str, what: str) -> None:
        """Add an error."""
        if len(self._problems) < _MAX_PROBLEMS:
            self._problems.append((line, f"{self.where(line, path)}: {without_credentials(what)}"))

    def where(self, line: int, path: str) -> str:
        """Return how messages name a place in this document."""
        return f"{self.name}:{line}: {without_credentials(path)[:_MAX_PATH]}" if path else f"{self.name}:{line}"

    def check(self) -> None:
        """End the reading when there were errors.

        Raises:
            ManifestError: with all of them, by line.
        """
        if self._problems:
            by_line = sorted(self._problems, key=lambda problem: problem[0])
            raise ManifestError(list(dict.fromkeys(text for _, text in by_line)))

    def refuse(self, line: int, what: str) -> NoReturn:
        """End the reading here, with what was wrong before.

        Raises:
            ManifestError: always.
        """
        before = [text for _, text in self._problems]
        raise ManifestError([*before, f"{self.where(line, '')}: {without_credentials(what)}"])


def without_credentials(text: str) -> str:
    """Return `text` for a message, without what a URL in it may say about user and password (G7)."""
    return _USERINFO.sub("://***@", text)


def parse(data: bytes, source: Source) -> Node | None:
    """Return the document's root, None when it is empty.

    Raises:
        ManifestError: when it is no YAML document within our bounds.
    """
    if len(data) > MAX_BYTES:
        raise ManifestError([f"{source.name}: expected at most {MAX_BYTES} bytes, got {len(data)}"])
    try:
        return _Builder(source).build(yaml.parse(data.decode("utf-8-sig"), Loader=_LOADER))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ManifestError(
            [f"{source.name}:{line}: expected UTF-8 text, got byte {data[error.start]:#04x}"]
        ) from error
    except yaml.MarkedYAMLError as error:
        what = " ".join(part for part in (error.context, error.problem) if part)
        raise ManifestError([f"{source.name}:{_line(error.problem_mark)}: not YAML: {what}"]) from error
    except yaml.YAMLError as error:
        what = " ".join(str(error).split())[:200]
        raise ManifestError([f"{source.name}: not YAML: {what}"]) from error


@dataclass(slots=True)
class _Open:
    """A list or mapping whose end has not been read yet."""

    node: Listing | Table
    anchor: str | None
    before: int
    """Nodes counted before this one."""
    key: str | None = None
    key_line: int = 0


class _Builder:
    """Makes the tree of a stream of YAML events, without recursion."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._stack: list[_Open] = []
        self._anchors: dict[str, tuple[Node, int]] = {}
        self._count = 0
        self._root: Node | None = None

    def build(self, events: Iterator[yaml.Event]) -> Node | None:
        documents = 0
        for event in events:
            line = _line(event.start_mark)
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    self._source.refuse(line, "expected one YAML document, got another one")
            elif isinstance(event, yaml.NodeEvent):
                self._node(event, line)
            elif isinstance(event, yaml.CollectionEndEvent):
                self._close()
        return self._root

    def _node(self, event: yaml.NodeEvent, line: int) -> None:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, line)
        self._add_count(1, line)
        tag = getattr(event, "tag", None)
        if tag is not None and tag != _STRING_TAG:
            self._source.refuse(line, f"expected no YAML tag, got {tag[:SHOWN]!r}")
        if isinstance(event, yaml.ScalarEvent):
            scalar = Scalar(line, event.value, not event.style and tag is None)
            if event.anchor:
                self._anchors[event.anchor] = (scalar, 1)
            return self._put(scalar, line)
        if len(self._stack) >= _MAX_DEPTH:
            self._source.refuse(line, f"expected at most {_MAX_DEPTH} levels of nesting, got more")
        node = Table(line, {}, {}) if isinstance(event, yaml.MappingStartEvent) else Listing(line, [])
        if self._awaits_key():
            self._source.refuse(line, _NOT_A_KEY)
        self._stack.append(_Open(node, event.anchor, self._count - 1))
        return None

    def _alias(self, event: yaml.AliasEvent, line: int) -> None:
        name = event.anchor or ""
        if name not in self._anchors:
            self._source.refuse(line, f"expected an anchor that ends before this alias, got *{name[:SHOWN]}")
        node, size = self._anchors[name]
        self._add_count(size, line)
        self._put(node, line)

    def _close(self) -> None:
        opened = self._stack.pop()
        if opened.anchor:
            self._anchors[opened.anchor] = (opened.node, self._count - opened.before)
        self._put(opened.node, opened.node.line)

    def _put(self, node: Node, line: int) -> None:
        if not self._stack:
            self._root = None if isinstance(node, Scalar) and node.is_null else node
            return
        top = self._stack[-1]
        if isinstance(top.node, Listing):
            top.node.items.append(node)
        elif top.key is None:
            if not isinstance(node, Scalar):
                self._source.refuse(line, _NOT_A_KEY)
            if node.text in top.node.entries:
                first = top.node.key_lines[node.text]
                self._source.report(line, "", f"the key {node.text[:SHOWN]!r} is given already in line {first}")
            top.key, top.key_line = node.text, line
        else:
            top.node.entries.setdefault(top.key, node)
            top.node.key_lines.setdefault(top.key, top.key_line)
            top.key = None

    def _awaits_key(self) -> bool:
        return bool(self._stack) and isinstance(self._stack[-1].node, Table) and self._stack[-1].key is None

    def _add_count(self, nodes: int, line: int) -> None:
        self._count += nodes
        if self._count > _MAX_NODES:
            self._source.refuse(line, f"expected at most {_MAX_NODES} values with all aliases expanded, got more")


def _line(mark: object) -> int:
    """Return the line of one of PyYAML's two kinds of marks, counted from 1; 1 when it is not known."""
    return int(getattr(mark, "line", 0)) + 1
