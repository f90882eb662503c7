"""How a run speaks: results on stdout, everything else on stderr, nothing raw from outside on either."""

import json
import re
import sys
import threading
import traceback
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from repobuild.errors import RepobuildError

if TYPE_CHECKING:
    from tqdm import tqdm

_UNSAFE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
_speaking = threading.Lock()
"""Held for a line, so that lines of several threads stay whole."""


def safe(text: str) -> str:
    """Return `text` with control and direction characters escaped: a terminal does nothing with it but show it."""
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text.encode("utf-8", "replace").decode())


def out(text: str = "") -> None:
    """Print a line of the result."""
    print(safe(text))


def err(text: str) -> None:
    """Print a line for the operator, around a progress bar if one is shown."""
    with _speaking:
        if "tqdm" in sys.modules:
            sys.modules["tqdm"].tqdm.write(safe(text), file=sys.stderr)
        else:
            print(safe(text), file=sys.stderr)


def report_error(error: RepobuildError, *, debug: bool, of: str = "", with_hint: bool = True) -> None:
    """Print what went wrong and what to do; with `debug`, where it comes from."""
    if debug:
        err("".join(traceback.format_exception(error)).rstrip())
    err(f"error: {of}{error.message}")
    if error.hint and with_hint:
        err(f"hint: {error.hint}")


def out_json(value: object) -> None:
    """Print a result for machines."""
    print(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=True))


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under a header; numbers to the right."""
    cells = [[*header], *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    for row in cells:
        aligned = [
            cell.rjust(width) if cell[:1].isdigit() and number else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        out("  ".join(aligned).rstrip())


def steps(commands: Mapping[str, str]) -> None:
    """Print what to type next, each line with what it is for."""
    for purpose, command in commands.items():
        out(f"  {purpose + ':':12}  {command}")


class Voice:
    """Progress on stderr: notes as lines, measured work as a tqdm bar when stderr is a terminal."""

    def __init__(self, *, verbose: bool, is_terminal: bool) -> None:
        self._verbose = verbose
        self._is_terminal = is_terminal
        self._bar: tqdm[Any] | None = None
        self._lock = threading.Lock()
        self._said: set[str] = set()

    def note(self, text: str) -> None:
        """Say one line, once: several targets may come upon the same."""
        with self._lock:
            is_news = text not in self._said
            self._said.add(text)
        if is_news:
            err(text)

    def debug(self, text: str) -> None:
        """Say one line with `-v`."""
        if self._verbose:
            err(text)

    def start(self, what: str, total: int) -> None:
        """Show a bar of `total` bytes; without a terminal, nothing."""
        if self._is_terminal and total:
            from tqdm import tqdm  # noqa: PLC0415 -- most runs show no bar

            self._bar = tqdm(
                total=total,
                desc=safe(what)[:40],
                unit="B",
                unit_scale=True,
                unit_divisor=1000,
                file=sys.stderr,
                leave=False,
                dynamic_ncols=True,
                mininterval=0.2,
            )

    def advance(self, count: int) -> None:
        """Move the bar."""
        if self._bar is not None:
            with self._lock:
                self._bar.update(count)

    def finish(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def fields(value: object, names: Iterable[str]) -> Mapping[str, object]:
    """Return attributes of a value for JSON; paths as text."""
    return {name: _plain(getattr(value, name)) for name in names}


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(each) for each in value]
    return value if isinstance(value, (str, int, float, bool)) or value is None else str(value)
