"""An archive written to disk while its inputs and the file itself are hashed.

Content is read straight to its place in a ring of buffers: one thread hashes the inputs, one hashes the output, one
writes, all of which release the GIL. What a packed form puts before each block has its gap there.
"""

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import ClassVar, Self

from repobuild.archive.direct import DirectWriter

BLOCK = 65_535
"""Bytes of content in a block, the most that the header of a stored block can say."""
_BLOCKS = 64
"""Blocks in a buffer: some 4 MiB."""
_BUFFERS = 4


@dataclass(frozen=True, slots=True)
class Packed:
    """What was written."""

    size: int
    sha256: str
    """Of the whole file, in hex."""
    copied: tuple[str, ...]
    """sha256 of each input that was copied, in order."""


@dataclass(slots=True)
class Piece:
    """A run of content in a buffer."""

    views: list[memoryview]
    is_input: bool
    is_last: bool
    """Whether an input ends here."""


@dataclass(slots=True)
class Buffer:
    """Blocks being filled with content, then hashed and written."""

    gap: int
    """Bytes before each block."""
    memory: memoryview = field(init=False)
    filled: int = 0
    """Bytes of content."""
    pieces: list[Piece] = field(default_factory=list)
    work: list[Future[None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.memory = memoryview(bytearray(_BLOCKS * (self.gap + BLOCK)))

    def is_full(self) -> bool:
        """Whether there is no room."""
        return self.filled == _BLOCKS * BLOCK

    def room(self, count: int) -> list[memoryview]:
        """Return places for up to `count` more bytes of content."""
        views = []
        at, end = self.filled, min(self.filled + count, _BLOCKS * BLOCK)
        while at < end:
            block, offset = divmod(at, BLOCK)
            length = min(BLOCK - offset, end - at)
            start = block * (self.gap + BLOCK) + self.gap + offset
            views.append(self.memory[start : start + length])
            at += length
        return views

    def output(self) -> memoryview:
        """Return all that is to be written, gaps included."""
        return self.memory[: self.filled + self.gap * (-(-self.filled // BLOCK))]

    def reuse(self) -> None:
        """Wait until nobody needs what is in here, and empty it; an error of the work comes out here."""
        for each in self.work:
            each.result()
        self.work, self.pieces, self.filled = [], [], 0


class Packer:
    """Writes an archive, as it is, to an open, empty file. A context manager; leaving it ends the threads."""

    gap: ClassVar[int] = 0

    def __init__(self, fd: int) -> None:
        self._file = DirectWriter(fd)
        self._pools = tuple(ThreadPoolExecutor(1) for _ in range(3))
        self._ring = [Buffer(self.gap) for _ in range(_BUFFERS)]
        self._turn = 0
        self._size = 0
        """Bytes of content."""
        self._input = hashlib.sha256()
        self._copied: list[str] = []
        self._output = hashlib.sha256()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pool in self._pools:
            pool.shutdown(cancel_futures=True)

    def write(self, data: bytes) -> None:
        """Append `data`.

        Raises:
            OSError: as the file system says, perhaps of something written before.
        """
        left = memoryview(data)
        while left:
            buffer = self._ring[self._turn]
            views = buffer.room(len(left))
            for view in views:
                view[:] = left[: len(view)]
                left = left[len(view) :]
            self._fill(Piece(views, is_input=False, is_last=False), sum(map(len, views)))

    def copy(self, fd: int, size: int, advance: Callable[[int], None]) -> bool:
        """Append the next `size` bytes of the file open at `fd`; False when it has fewer. `advance` hears of each part.

        Raises:
            OSError: as the file system says, perhaps of something written before.
        """
        left = size
        while left:
            views = self._ring[self._turn].room(left)
            count = os.readv(fd, views)
            if count == 0:
                return False
            left -= count
            self._fill(Piece(_first(views, count), is_input=True, is_last=left == 0), count)
            advance(count)
        if size == 0:
            self._fill(Piece([], is_input=True, is_last=True), 0)
        return True

    def finish(self) -> Packed:
        """End the archive and return what was written; flushing the file is the caller's."""
        self._ship()
        for buffer in self._ring:
            buffer.reuse()
        self._put(self._tail())
        return Packed(self._file.finish(), self._output.hexdigest(), tuple(self._copied))

    def _see(self, view: memoryview) -> None:
        """Look at content on its way, in order; in the thread that hashes inputs."""

    def _emit(self, buffer: Buffer) -> list[Future[None]]:
        """Let the threads hash and write what is in the buffer."""
        _, outputs, writes = self._pools
        data = buffer.output()
        return [outputs.submit(self._output.update, data), writes.submit(self._file.write, data)]

    def _tail(self) -> bytes:
        """Return what ends the file."""
        return b""

    def _put(self, data: bytes) -> None:
        """Hash and write `data` at once."""
        self._output.update(data)
        self._file.write(data)

    def _fill(self, piece: Piece, count: int) -> None:
        buffer = self._ring[self._turn]
        buffer.pieces.append(piece)
        buffer.filled += count
        self._size += count
        if buffer.is_full():
            self._ship()

    def _ship(self) -> None:
        """Hand the buffer to the threads and take the next one, when it is free again."""
        buffer = self._ring[self._turn]
        buffer.work = [self._pools[0].submit(self._digest, buffer.pieces), *self._emit(buffer)]
        self._turn = (self._turn + 1) % _BUFFERS
        self._ring[self._turn].reuse()

    def _digest(self, pieces: list[Piece]) -> None:
        for piece in pieces:
            for view in piece.views:
                self._see(view)
                if piece.is_input:
                    self._input.update(view)
            if piece.is_last:
                self._copied.append(self._input.hexdigest())
                self._input = hashlib.sha256()


def _first(views: list[memoryview], count: int) -> list[memoryview]:
    """Return the first `count` bytes of `views`."""
    kept = []
    for view in views:
        if count <= 0:
            break
        kept.append(view[:count])
        count -= len(view)
    return kept
