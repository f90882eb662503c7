"""YAML text as a tree that knows its lines.

The tree keeps each scalar as it is written: YAML's own typing is what mangles versions (`1.10` becomes 1.1, `010`
becomes 8, `no` becomes false). Types are asked for by the reader (`reading.py`), who knows what belongs where.
Size, depth and number of values are bounded, aliases included. Merge keys (`<<`) are applied. Tags construct nothing:
documents of ours must not have any, those of others keep them as words.
"""

import enum
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import NoReturn

import yaml

from repobuild.errors import ManifestError

MAX_BYTES = 1 << 20
"""Size of a document, in bytes."""
_MAX_DEPTH = 32
"""Levels of nesting of a document of ours."""
_MAX_FOREIGN_DEPTH = 200
"""Levels of nesting of a document that others read too; what we read of it lies far above."""
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
_WORD = re.compile(r"[^\s'\"]+")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/+")
_CORE = "tag:yaml.org,2002:"
_TAGS_OF_TEXT = {f"{_CORE}str", "!unsafe"}
_TAGS_OF_PLAIN = {f"{_CORE}int", f"{_CORE}bool"}
"""Tags that say what the text is, as if it were quoted, or not."""
_MERGE = "<<"
_LOADER: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Scalar:
    """A single value as written; `is_plain` when it was not quoted."""

    line: int
    text: str
    is_plain: bool
    tag: str = ""
    """A YAML tag that we do not know, which only a tolerant source may have (`!vault`)."""

    @property
    def is_null(self) -> bool:
        """Whether nothing is given."""
        return self.is_plain and _NULL.fullmatch(self.text) is not None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is given, or a text without letters."""
        return self.is_null or not self.text.strip()


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


class Grade(enum.Enum):
    """How wrong something is."""

    FOREIGN = "foreign"
    """An error in a document of ours, nothing in others'."""
    DOUBT = "doubt"
    """An error in a document of ours, a warning in others'."""
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Source:
    """The document being read, and what was found in it so far.

    A tolerant one is a document that others read too, as Pigsty's are: what we have no use for is no error there, and
    what only looks like a slip is a warning.
    """

    name: str
    is_tolerant: bool = False
    _found: dict[Grade, list[tuple[int, str]]] = field(default_factory=lambda: {grade: [] for grade in Grade})

    def report(self, line: int, path: str, what: str, grade: Grade = Grade.ERROR) -> None:
        """Add an error, or what is one by its grade."""
        if len(self._found[grade]) < _MAX_PROBLEMS:
            self._found[grade].append((line, f"{self.where(line, path)}: {without_credentials(what)}"))

    def doubt(self, line: int, path: str, what: str) -> None:
        """Add an error, or a warning where the source is tolerant."""
        self.report(line, path, what, Grade.DOUBT)

    def warn(self, what: str) -> None:
        """Add a warning that has no place in the document."""
        self._found[Grade.DOUBT].append((0, what))

    def copy(self) -> "Source":
        """Return the source for another reading, with what was found so far."""
        return replace(self, _found={grade: list(found) for grade, found in self._found.items()})

    def as_ours(self) -> "Source":
        """Return the source of a tolerant reading as a document of ours.

        Raises:
            ManifestError: when there is something in it that only documents of others may have.
        """
        ours = replace(self, is_tolerant=False)
        if self._found[Grade.FOREIGN]:
            raise ManifestError(ours.problems)
        return ours

    def check(self) -> None:
        """End the reading when there were errors.

        Raises:
            ManifestError: with all of them, by line.
        """
        check(self)

    def where(self, line: int, path: str) -> str:
        """Return how messages name a place in this document."""
        return f"{self.name}:{line}: {without_credentials(path)[:_MAX_PATH]}" if path else f"{self.name}:{line}"

    @property
    def problems(self) -> tuple[str, ...]:
        """The errors by line, each once."""
        return self._of(*((Grade.ERROR,) if self.is_tolerant else Grade))

    @property
    def warnings(self) -> tuple[str, ...]:
        """The warnings by line, each once."""
        return self._of(Grade.DOUBT) if self.is_tolerant else ()

    def _of(self, *grades: Grade) -> tuple[str, ...]:
        found = sorted((each for grade in grades for each in self._found[grade]), key=lambda each: each[0])
        return tuple(dict.fromkeys(text for _, text in found))

    def refuse(self, line: int, what: str) -> NoReturn:
        """End the reading here, with what was wrong before.

        Raises:
            ManifestError: always.
        """
        raise ManifestError([*self.problems, f"{self.where(line, '')}: {without_credentials(what)}"])


def check(*sources: Source) -> None:
    """End the reading when there were errors.

    Raises:
        ManifestError: with all of them.
    """
    problems = [text for source in sources for text in source.problems]
    if problems:
        raise ManifestError(list(dict.fromkeys(problems)))


def concealed(text: str) -> str:
    """Return a value without what may be credentials: all before an `@`, and of what is like a URL all after a `?`."""
    head, at, tail = text.rpartition("@")
    if head:
        scheme = _SCHEME.match(head)
        text = f"{scheme[0] if scheme else ''}***{at}{tail}"
    before, mark, behind = text.partition("?")
    return f"{before}?***" if mark and (":/" in before or "=" in behind) else text


def redacted(text: str) -> str:
    """Return a value quoted for a message: bounded, and without what may be credentials (G7)."""
    return repr(concealed(text)[:SHOWN])


def without_credentials(message: str) -> str:
    """Return a message without what may be credentials in a URL or its like, should a value stand there as it is."""
    return _WORD.sub(lambda word: concealed(word[0]) if ":" in word[0] else word[0], message)


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
    merged: list[Table] = field(default_factory=list)
    """Mappings whose entries it has too, a later one's before an earlier one's."""
    key: str | None = None
    key_line: int = 0
    is_merge: bool = False
    """Whether the key asks for a merge."""


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
        tag = getattr(event, "tag", None) or ""
        if tag not in {"", f"{_CORE}str"}:
            self._foreign(line, f"expected no YAML tag, got {tag[:SHOWN]!r}")
        if isinstance(event, yaml.ScalarEvent):
            is_plain = tag in _TAGS_OF_PLAIN or (not event.style and not tag)
            foreign = "" if tag in _TAGS_OF_TEXT | _TAGS_OF_PLAIN else tag[:SHOWN]
            scalar = Scalar(line, event.value, is_plain, foreign)
            if event.anchor:
                self._anchors[event.anchor] = (scalar, 1)
            return self._put(scalar, line)
        if len(self._stack) == _MAX_DEPTH:
            self._foreign(line, f"expected at most {_MAX_DEPTH} levels of nesting, got more")
        if len(self._stack) >= _MAX_FOREIGN_DEPTH:
            self._source.refuse(line, f"expected at most {_MAX_FOREIGN_DEPTH} levels of nesting, got more")
        node = Table(line, {}, {}) if isinstance(event, yaml.MappingStartEvent) else Listing(line, [])
        if self._awaits_key():
            self._source.refuse(line, _NOT_A_KEY)
        self._stack.append(_Open(node, event.anchor, self._count - 1))
        return None

    def _foreign(self, line: int, what: str) -> None:
        """Note what only documents of others may have; end the reading where it is known to be ours."""
        if not self._source.is_tolerant:
            self._source.refuse(line, what)
        self._source.report(line, "", what, Grade.FOREIGN)

    def _alias(self, event: yaml.AliasEvent, line: int) -> None:
        name = event.anchor or ""
        if name not in self._anchors:
            self._source.refuse(line, f"expected an anchor that ends before this alias, got *{name[:SHOWN]}")
        node, size = self._anchors[name]
        self._add_count(size, line)
        self._put(node, line)

    def _close(self) -> None:
        opened = self._stack.pop()
        if isinstance(opened.node, Table) and opened.merged:
            _merge(opened.node, opened.merged)
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
                self._source.doubt(line, "", f"the key {redacted(node.text)} is given already in line {first}")
            top.key, top.key_line = node.text, line
            top.is_merge = node.is_plain and node.text == _MERGE
        elif top.is_merge:
            top.merged += self._merged(node, top.key_line)
            top.key = None
        else:  # of a key given twice the last one counts, as for everybody else who reads a tolerated document
            top.node.entries[top.key] = node
            top.node.key_lines[top.key] = top.key_line
            top.key = None

    def _merged(self, node: Node, line: int) -> list[Table]:
        """Return the mappings to merge, of which the first one of a list counts most."""
        nodes = node.items if isinstance(node, Listing) else [node]
        tables = [each for each in reversed(nodes) if isinstance(each, Table)]
        if len(tables) < len(nodes):
            self._source.refuse(line, f"expected a mapping or a list of mappings to merge under {_MERGE!r}, got less")
        return tables

    def _awaits_key(self) -> bool:
        return bool(self._stack) and isinstance(self._stack[-1].node, Table) and self._stack[-1].key is None

    def _add_count(self, nodes: int, line: int) -> None:
        self._count += nodes
        if self._count > _MAX_NODES:
            self._source.refuse(line, f"expected at most {_MAX_NODES} values with all aliases expanded, got more")


def _merge(node: Table, tables: list[Table]) -> None:
    """Give a mapping the entries of others that it does not have itself."""
    for each in (*tables, Table(node.line, dict(node.entries), dict(node.key_lines))):
        node.entries.update(each.entries)
        node.key_lines.update(each.key_lines)


def _line(mark: object) -> int:
    """Return the line of one of PyYAML's two kinds of marks, counted from 1; 1 when it is not known."""
    return int(getattr(mark, "line", 0)) + 1
