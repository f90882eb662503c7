"""A Packages index, read lazily: which names it has and where, which it provides, and in which order it names them.

The text of a release is 50 MB and 63,000 stanzas, of which a run reads some thousand. So the text stays where it is
(mapped), and what is kept in memory is one offset a stanza. Finding them takes 0.3 s; `dump` keeps the finding for the
next run, which then needs some 30 ms.
"""

import mmap
import re
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from operator import itemgetter
from pathlib import Path

from repobuild.errors import HostileInputError

FORMAT = "deb-index-3"
"""Names the layout of `dump`; a new one for every change."""

_MAX_STANZAS = 1_000_000
_FIELD = re.compile(
    rb"\n(Package|Pre-Depends|Depends|Conflicts|Breaks|Recommends|Suggests|Replaces|Enhances|Provides):"
    rb"([^\n]*(?:\n[ \t][^\n]*)*+)"
)
_NAME = re.compile(rb"[,|][ \t\n]*([A-Za-z0-9][A-Za-z0-9+.-]*)")
_IDENTITY = re.compile(rb"\n(Package|Provides):([^\n]*(?:\n[ \t][^\n]*)*+)")
_PACKAGE_NAME = re.compile(rb"[A-Za-z0-9][A-Za-z0-9+.-]{0,127}")
_NO_LINE_END = re.compile(rb"[^\n]")
_PACKAGE = b"Package"
_IMPORTANT = re.compile(rb"\nPriority:[ \t]*(?:required|important)[ \t]*(?=\n|\Z)")
_ESSENTIAL = b"\nEssential:"
_READING_ORDER = (
    _PACKAGE,
    b"Pre-Depends",
    b"Depends",
    b"Conflicts",
    b"Breaks",
    b"Recommends",
    b"Suggests",
    b"Replaces",
    b"Enhances",
    b"Provides",
)
"""In which order apt reads the fields of a stanza, wherever they stand in it."""


@dataclass(frozen=True)
class Index:
    """The stanzas of one Packages file by name."""

    text: mmap.mmap | bytes
    offsets: Mapping[str, tuple[int, ...]]
    """Where the stanzas of a name begin."""
    providers: Mapping[str, tuple[int, ...]]
    """Where the stanzas begin that provide a name."""
    dumped_mentions: bytes = b""
    """Every name in the order in which apt meets it, one a line; empty when not known yet."""
    is_verbatim: bool = True
    """Whether `text` is the file as it is: only then `dump` speaks of the file's own offsets."""
    essential: tuple[str, ...] = ()
    """The names whose stanzas say `Essential: yes`, of whatever architecture, sorted."""

    def stanza(self, offset: int) -> bytes:
        """Return the stanza that begins at `offset`."""
        end = self.text.find(b"\n\n", offset)
        return self.text[offset:end] if end >= 0 else self.text[offset:].rstrip(b"\n")

    @cached_property
    def mentions(self) -> bytes:
        """Every name in the order in which apt meets it, one a line. Finding out costs 0.3 s."""
        if self.dumped_mentions:
            return self.dumped_mentions
        place = {label: position for position, label in enumerate(_READING_ORDER)}
        found: list[tuple[int, bytes]] = []
        stanza = 0
        for label, value in chain(_first(self.text), _FIELD.findall(self.text)):
            stanza += label == _PACKAGE
            found.append((stanza << 4 | place[label], value))
        found.sort(key=itemgetter(0))
        return b"\n".join(dict.fromkeys(_NAME.findall(b"," + b",".join(map(itemgetter(1), found)))))

    @cached_property
    def ranks(self) -> Mapping[str, int]:
        """For every name, when apt meets it first: it breaks ties by that."""
        names = self.mentions.decode("ascii", "replace").split("\n")
        return dict(zip(names, range(len(names)), strict=True))

    @property
    def has_news(self) -> bool:
        """Whether `dump` would write more than was loaded."""
        return self.is_verbatim and not self.dumped_mentions and "mentions" in self.__dict__

    def dump(self) -> bytes:
        """Write what was found in the text, for `load`."""
        mentions = self.mentions if self.has_news else self.dumped_mentions
        names = ["\n".join(each).encode() for each in (self.essential, self.offsets, self.providers)]
        numbers = array("Q")
        for table in (self.offsets, self.providers):
            numbers.extend(places[0] for places in table.values())
            several = [(position, places) for position, places in enumerate(table.values()) if len(places) > 1]
            numbers.append(len(several))
            for position, places in several:
                numbers.extend((position, len(places), *places))
        return b"\0".join([FORMAT.encode(), mentions, *names, numbers.tobytes()])


def open_text(path: Path) -> mmap.mmap | bytes:
    """Map the text of an index; an empty file as empty bytes."""
    with path.open("rb") as file:
        if path.stat().st_size == 0:
            return b""
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def load(text: mmap.mmap | bytes, dumped: bytes) -> Index | None:
    """Read what `dump` wrote for this very text; None when it is of another format or damaged."""
    head = dumped.split(b"\0", 5)
    if len(head) != 6 or head[0] != FORMAT.encode() or len(head[5]) % 8:
        return None
    numbers = array("Q", head[5]).tolist()
    try:
        essential, names, provided = (part.decode("ascii").split("\n") if part else [] for part in head[2:5])
        offsets, end = _places(names, numbers, 0)
        providers, end = _places(provided, numbers, end)
    except (UnicodeDecodeError, ValueError, IndexError):
        return None
    if end != len(numbers) or max(numbers, default=0) > len(text):
        return None
    return Index(text, offsets, providers, head[1], essential=tuple(essential))


def _places(names: list[str], numbers: list[int], start: int) -> tuple[dict[str, tuple[int, ...]], int]:
    """Read one table from `start` on: the first place of every name, then those that have several; and its end."""
    end = start + len(names)
    table: dict[str, tuple[int, ...]] = dict(zip(names, zip(numbers[start:end], strict=True), strict=True))
    count = numbers[end]
    end += 1
    for _ in range(count):
        position, size = numbers[end], numbers[end + 1]
        end += 2 + size
        table[names[position]] = tuple(numbers[end - size : end])
    return table, end


def scan(text: mmap.mmap | bytes) -> Index:
    """Find names and providers in the text of an index; a stanza whose name is none is left out.

    Raises:
        HostileInputError: when there are too many stanzas, or one has not exactly one Package field.
    """
    given = text
    text, starts = _stanzas(text)
    offsets: dict[bytes, list[int]] = {}
    providers: dict[bytes, list[int]] = {}
    stanza = -1
    for label, value in chain(_first(text), _IDENTITY.findall(text)):
        if label == _PACKAGE:
            stanza += 1
            if stanza == len(starts):
                break
            if _PACKAGE_NAME.fullmatch(name := value.strip(b" \t")):
                offsets.setdefault(name, []).append(starts[stanza])
        else:
            for name in dict.fromkeys(_NAME.findall(b"," + value)):
                providers.setdefault(name, []).append(starts[stanza])
    if stanza + 1 != len(starts):
        raise HostileInputError("a stanza with more than one Package field in an index")
    essential = tuple(sorted(set(_essential_names(text))))
    return Index(text, _text_keys(offsets), _text_keys(providers), is_verbatim=text is given, essential=essential)


def important(text: mmap.mmap | bytes) -> Iterator[str]:
    """Yield the name of each stanza of priority `required` or `important`."""
    for match in _IMPORTANT.finditer(text):
        start = text.find(b"Package:", text.rfind(b"\n\n", 0, match.start()) + 1) + len(b"Package:")
        name = text[start : text.find(b"\n", start)].strip()
        if _PACKAGE_NAME.fullmatch(name):
            yield name.decode("ascii")


def _essential_names(text: mmap.mmap | bytes) -> Iterator[str]:
    """Yield the name of each stanza that says `Essential: yes`."""
    position = text.find(_ESSENTIAL)
    while position >= 0:
        end = text.find(b"\n", position + 1)
        value = text[position + len(_ESSENTIAL) : end if end >= 0 else len(text)]
        if value.strip() == b"yes":
            start = text.find(b"Package:", text.rfind(b"\n\n", 0, position) + 1) + len(b"Package:")
            name = text[start : text.find(b"\n", start)].strip()
            if _PACKAGE_NAME.fullmatch(name):
                yield name.decode("ascii")
        position = text.find(_ESSENTIAL, position + 1)


def _first(text: mmap.mmap | bytes) -> list[tuple[bytes, bytes]]:
    """Return the first field of a text that begins with a name: no line end stands before it."""
    if text[: len(_PACKAGE) + 1] != _PACKAGE + b":":
        return []
    end = text.find(b"\n")
    return [(_PACKAGE, text[len(_PACKAGE) + 1 : end if end >= 0 else len(text)])]


def _stanzas(text: mmap.mmap | bytes) -> tuple[mmap.mmap | bytes, list[int]]:
    """Return the text with each stanza led by its name, and where the stanzas begin."""
    starts = _starts(text)
    if len(starts) > _MAX_STANZAS:
        raise HostileInputError(f"more than {_MAX_STANZAS} stanzas in an index")
    if all(text[start : start + 8] == b"Package:" for start in starts):
        return text, starts
    stanzas = [_led_by_name(stanza) for stanza in bytes(text).split(b"\n\n") if stanza.strip()]
    text = b"\n\n".join(stanzas) + b"\n"
    return text, _starts(text)


def _starts(text: mmap.mmap | bytes) -> list[int]:
    starts: list[int] = []
    position = 0
    while position < len(text):
        if text[position : position + 1] == b"\n":
            following = _NO_LINE_END.search(text, position)
            position = following.start() if following else len(text)
            continue
        starts.append(position)
        end = text.find(b"\n\n", position)
        position = end + 2 if end >= 0 else len(text)
    return starts


def _led_by_name(stanza: bytes) -> bytes:
    lines = stanza.strip(b"\n").split(b"\n")
    named = [number for number, line in enumerate(lines) if line.startswith(b"Package:")]
    if len(named) != 1 or (lines[named[0] + 1 : named[0] + 2] and lines[named[0] + 1][:1] in {b" ", b"\t"}):
        raise HostileInputError(f"a stanza without exactly one Package field of one line: {stanza[:60]!r}")
    return b"\n".join([lines.pop(named[0]), *lines])


def _text_keys(table: dict[bytes, list[int]]) -> dict[str, tuple[int, ...]]:
    return {name.decode("ascii"): tuple(places) for name, places in table.items()}
