"""Files in memory, for libraries that take nothing but paths, and pieces of bytes as a file."""

import io
import os
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

_BUFFER = 1 << 16
"""Bytes asked for at a time where fewer are wanted."""


class MemoryFile:
    """A file in memory, with a path. A context manager."""

    def __init__(self) -> None:
        self._fd = os.memfd_create("repobuild")
        self.path = f"/proc/self/fd/{self._fd}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        os.close(self._fd)

    def fill(self, data: bytes) -> None:
        """Replace the content."""
        os.ftruncate(self._fd, 0)
        self.append(data, 0)

    def append(self, data: bytes, offset: int) -> None:
        """Write `data` at `offset`, bytes from the start."""
        view = memoryview(data)
        while view:
            view = view[os.pwrite(self._fd, view, offset + len(data) - len(view)) :]


class PieceReader(io.RawIOBase):
    """Pieces of bytes as a file to read once, for what wants to ask for so many at a time."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        super().__init__()
        self._pieces = pieces
        self._rest = memoryview(b"")
        self.failure: Exception | None = None
        """What the pieces raised, for who cannot tell it from errors of the one that reads."""

    def buffered(self) -> io.BufferedReader:
        """Return it as a file that gives all that is asked for."""
        return io.BufferedReader(self, _BUFFER)

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill as much of the buffer as the next piece does; 0 at the end."""
        while not self._rest:
            piece = self._next()
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def _next(self) -> bytes | None:
        try:
            return next(self._pieces, None)
        except Exception as error:
            self.failure = error
            raise
