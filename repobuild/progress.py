"""What a stage may say while it works. Silent by default; the command line brings a voice."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Progress(Protocol):
    """Hears what a stage does. Methods may be called from any thread."""

    def note(self, text: str) -> None:
        """Say one line that a person following the run wants to read."""

    def debug(self, text: str) -> None:
        """Say one line for `-v`."""

    def start(self, what: str, total: int) -> None:
        """Begin a measured piece of work of `total` bytes."""

    def advance(self, count: int) -> None:
        """Report `count` more bytes of the work begun; negative when a piece starts over."""

    def finish(self) -> None:
        """End the work begun by `start`."""


class Silent:
    """Says nothing."""

    def note(self, text: str) -> None:
        """Discard the line."""

    def debug(self, text: str) -> None:
        """Discard the line."""

    def start(self, what: str, total: int) -> None:
        """Discard the beginning."""

    def advance(self, count: int) -> None:
        """Discard the count."""

    def finish(self) -> None:
        """Discard the end."""


SILENT: Progress = Silent()


@contextmanager
def measured(progress: Progress, what: str, total: int) -> Iterator[None]:
    """Frame a measured piece of work; `finish` is called whatever happens."""
    progress.start(what, total)
    try:
        yield
    finally:
        progress.finish()
