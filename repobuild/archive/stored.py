"""A gzip member of stored blocks (RFC 1951, 3.2.4; RFC 1952), written while its inputs and itself are hashed.

Stored blocks because packages are compressed already; our own writer because zlib's bytes depend on its build. Every
block but the last holds 65,535 bytes wherever the inputs begin and end, the time is 0 and the system unknown (255), so
that the bytes follow from the content alone.

Content is read straight to its place between the block headers, in a ring of buffers: one thread hashes the inputs
and computes the checksum, one hashes the output, one writes, all of which release the GIL.
"""

import hashlib
import os
import struct
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from isal import isal_zlib  # its crc32 is seven times faster than zlib's

from repobuild.archive.direct import DirectWriter

_BLOCK = 65_535
"""Bytes of content in a stored block, the most that its header can say."""
_FRAME = _BLOCK + 5
_FRAMES = 64
"""Blocks in a buffer: some 4 MiB."""
_BUFFERS = 4
_GZIP_HEADER = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
_FINAL_BLOCK = b"\x01\0\0\xff\xff"
_TRAILER = struct.Struct("<II")


@dataclass(frozen=True, slots=True)
class Stored:
    """What was written."""

    size: int
    sha256: str
    """Of the whole file, in hex."""
    copied: tuple[str, ...]
    """sha256 of each input that was copied, in order."""


def stored_size(size: int) -> int:
    """Return the size of the file that `StoredGzip` makes of `size` bytes."""
    return len(_GZIP_HEADER) + size + 5 * (-(-size // _BLOCK)) + len(_FINAL_BLOCK) + _TRAILER.size


@dataclass(slots=True)
class _Piece:
    """A run of content in a buffer."""

    views: list[memoryview]
    is_input: bool
    is_last: bool
    """Whether an input ends here."""


@dataclass(slots=True)
class _Buffer:
    """Frames being filled with content, then hashed and written."""

    memory: memoryview = field(default_factory=lambda: memoryview(bytearray(_FRAMES * _FRAME)))
    filled: int = 0
    """Bytes of content."""
    pieces: list[_Piece] = field(default_factory=list)
    work: list[Future[None]] = field(default_factory=list)

    def is_full(self) -> bool:
        return self.filled == _FRAMES * _BLOCK

    def room(self, count: int) -> list[memoryview]:
        """Return places for up to `count` more bytes of content."""
        views = []
        at, end = self.filled, min(self.filled + count, _FRAMES * _BLOCK)
        while at < end:
            frame, offset = divmod(at, _BLOCK)
            length = min(_BLOCK - offset, end - at)
            start = frame * _FRAME + 5 + offset
            views.append(self.memory[start : start + length])
            at += length
        return views

    def framed(self) -> memoryview:
        """Write the block headers and return all that is to be written."""
        for at in range(0, self.filled, _BLOCK):
            length = min(_BLOCK, self.filled - at)
            struct.pack_into("<BHH", self.memory, at // _BLOCK * _FRAME, 0, length, length ^ 0xFFFF)
        return self.memory[: self.filled + 5 * (-(-self.filled // _BLOCK))]

    def reuse(self) -> None:
        """Wait until nobody needs what is in here, and empty it; an error of the work comes out here."""
        for each in self.work:
            each.result()
        self.work, self.pieces, self.filled = [], [], 0


class StoredGzip:
    """Writes one gzip member to an open, empty file. A context manager; leaving it ends the threads."""

    def __init__(self, fd: int) -> None:
        self._file = DirectWriter(fd)
        self._pools = tuple(ThreadPoolExecutor(1) for _ in range(3))
        self._ring = [_Buffer() for _ in range(_BUFFERS)]
        self._turn = 0
        self._size = 0
        self._checksum = 0
        self._input = hashlib.sha256()
        self._copied: list[str] = []
        self._output = hashlib.sha256(_GZIP_HEADER)
        self._file.write(_GZIP_HEADER)

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
            self._fill(_Piece(views, is_input=False, is_last=False), sum(map(len, views)))

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
            self._fill(_Piece(_first(views, count), is_input=True, is_last=left == 0), count)
            advance(count)
        if size == 0:
            self._fill(_Piece([], is_input=True, is_last=True), 0)
        return True

    def finish(self) -> Stored:
        """End the member and return what was written; flushing the file is the caller's."""
        self._ship()
        for buffer in self._ring:
            buffer.reuse()
        trailer = _FINAL_BLOCK + _TRAILER.pack(self._checksum, self._size & 0xFFFFFFFF)
        self._output.update(trailer)
        self._file.write(trailer)
        return Stored(self._file.finish(), self._output.hexdigest(), tuple(self._copied))

    def _fill(self, piece: _Piece, count: int) -> None:
        buffer = self._ring[self._turn]
        buffer.pieces.append(piece)
        buffer.filled += count
        self._size += count
        if buffer.is_full():
            self._ship()

    def _ship(self) -> None:
        """Hand the buffer to the threads and take the next one, when it is free again."""
        buffer = self._ring[self._turn]
        frames = buffer.framed()
        inputs, outputs, writes = self._pools
        buffer.work = [
            inputs.submit(self._digest, buffer.pieces),
            outputs.submit(self._output.update, frames),
            writes.submit(self._file.write, frames),
        ]
        self._turn = (self._turn + 1) % _BUFFERS
        self._ring[self._turn].reuse()

    def _digest(self, pieces: list[_Piece]) -> None:
        for piece in pieces:
            for view in piece.views:
                self._checksum = isal_zlib.crc32(view, self._checksum)
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
