"""An object on its way into the store: a file under its digest, locked, which survives a killed run.

Whole:  the file holds the first bytes of the object; its length says how many.
Split:  the file is as long as the object plus a tail: the length of a piece, then for each piece how many of its bytes
        are there, 8 bytes each. So a file longer than its object is a split one, and no second file can disagree.

A power cut may leave a tail or a length that promises more than the disk has; the digest finds out, and it starts over.
"""

import fcntl
import hashlib
import os
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from repobuild.durable import Folder, disk_errors, seal
from repobuild.errors import BusyError, VerificationError

_READ = 1 << 20
"""Bytes hashed at a time."""
_NUMBER = struct.Struct("<Q")
_SMALLEST_PIECE = 1 << 16
"""Bytes; bounds what a damaged tail can ask for."""


class Aim(NamedTuple):
    """What a file has to become."""

    sha256: str | None
    """None when nothing pins it."""
    size: int | None
    limit: int
    """Bytes that are never exceeded; the size where it is known."""


class Piece:
    """A part of a split object that one thread writes."""

    def __init__(self, number: int, start: int, end: int, done: int) -> None:
        self.number = number
        self.start = start
        self.end = end
        """The byte after the last one."""
        self.done = done

    @property
    def left(self) -> int:
        """Bytes that are still to come."""
        return self.end - self.start - self.done


class Incoming:
    """A partial file, exclusively ours until it is closed. One thread writes it, or one thread a piece of it."""

    def __init__(self, folder: Folder, name: str, aim: Aim, accept: Callable[["Incoming"], None]) -> None:
        self.name = name
        self.aim = aim
        self.sha256 = aim.sha256 or ""
        """The digest; of an object that nothing pins, known after `verify`."""
        self.pieces: tuple[Piece, ...] = ()
        self.received = 0
        """Bytes of the object that are in the file."""
        self._folder = folder
        self._accept = accept
        self._accepted = False
        self._hash = hashlib.sha256()
        self._counting = threading.Lock()
        self._fd = _open_locked(folder, name)
        try:
            with disk_errors(self.path):
                self._take_up()
        except BaseException:
            self.close()
            raise

    @property
    def path(self) -> Path:
        """The file, for messages."""
        return self._folder.path / self.name

    @property
    def missing(self) -> int:
        """Bytes to come at most."""
        return self.aim.limit - self.received

    def write(self, chunk: bytes) -> None:
        """Append `chunk`.

        Raises:
            VerificationError: when it would exceed the size; nothing of it is written.
            DiskError: when it cannot be written.
        """
        if len(chunk) > self.missing:
            raise VerificationError(f"more than {self.aim.limit} bytes came for {self.sha256 or self.name}")
        self._hash.update(chunk)
        self._pwrite(chunk, self.received)
        self.received += len(chunk)

    def split(self, length: int) -> tuple[Piece, ...]:
        """Divide the rest of the object into pieces of `length` bytes, keeping what is here; return all pieces."""
        size = self.aim.size or 0
        starts = range(0, size, max(length, _SMALLEST_PIECE))
        self.pieces = tuple(
            Piece(number, start, min(start + starts.step, size), min(max(self.received - start, 0), starts.step))
            for number, start in enumerate(starts)
        )
        counters = b"".join(_NUMBER.pack(min(piece.done, piece.end - piece.start)) for piece in self.pieces)
        self._pwrite(_NUMBER.pack(starts.step) + counters, size)
        self._take_up()
        return self.pieces

    def write_piece(self, piece: Piece, chunk: bytes) -> None:
        """Append `chunk` to what is here of `piece`; errors as `write`."""
        if len(chunk) > piece.left:
            raise VerificationError(f"more than {piece.end - piece.start} bytes came for a part of {self.sha256}")
        self._pwrite(chunk, piece.start + piece.done)
        piece.done += len(chunk)
        self._pwrite(_NUMBER.pack(piece.done), (self.aim.size or 0) + _NUMBER.size * (1 + piece.number))
        with self._counting:
            self.received += len(chunk)

    def restart(self) -> int:
        """Forget every byte; return how many there were."""
        had, self.received = self.received, 0
        self.pieces = ()
        self._hash = hashlib.sha256()
        with disk_errors(self.path):
            os.ftruncate(self._fd, 0)
        return had

    def verify(self) -> None:
        """Prove size and digest; afterwards nothing can be written.

        Raises:
            VerificationError: when they do not hold; the bytes are forgotten then.
        """
        with disk_errors(self.path):
            if self.pieces:
                self.pieces = ()
                os.ftruncate(self._fd, self.aim.size or 0)
                self._rehash(self.aim.size or 0)
        got, size = self._hash.hexdigest(), self.received
        if self.aim.size not in {None, size}:
            self.restart()
            raise VerificationError(f"expected {self.aim.size} bytes, got {size}")
        if self.aim.sha256 not in {None, got}:
            self.restart()
            raise VerificationError(f"expected sha256 {self.aim.sha256}, got {got}")
        self.sha256 = got

    def accept(self) -> None:
        """Flush the verified file and make it an object; its name is on disk after `Store.flush`.

        Raises:
            DiskError: when the disk is full or reports an error.
        """
        with disk_errors(self.path):
            seal(self._fd, mode=0o444, mtime=None, sync=True)
        self._accept(self)
        self._accepted = True
        self.close()

    def discard(self) -> None:
        """Remove the file and close it."""
        self._folder.discard(self.name)
        self.close()

    def close(self) -> None:
        """Let the file go; what is in it stays for another run, an empty one is removed. Safe to repeat."""
        fd, self._fd = self._fd, -1
        if fd < 0:
            return
        if self.received == 0 and not self._accepted:
            self._folder.discard(self.name)
        os.close(fd)

    def _pwrite(self, data: bytes, offset: int) -> None:
        with disk_errors(self.path):
            written = os.pwrite(self._fd, data, offset)
            while written < len(data):
                written += os.pwrite(self._fd, data[written:], offset + written)

    def _take_up(self) -> None:
        """Read from the file itself how far it is."""
        length = os.fstat(self._fd).st_size
        if self.aim.size is not None and length > self.aim.size:
            self.pieces = self._read_tail(self.aim.size, length)
            self.received = sum(piece.done for piece in self.pieces)
            length = 0 if not self.pieces else length
        elif length <= self.aim.limit:
            self._rehash(length)
        if length == 0 or (length > self.aim.limit and not self.pieces):
            self.restart()

    def _read_tail(self, size: int, length: int) -> tuple[Piece, ...]:
        """Return the pieces that the tail of the file describes, none when it is damaged."""
        tail = os.pread(self._fd, length - size, size) if length - size <= size else b""
        numbers = [number for (number,) in _NUMBER.iter_unpack(tail)] if len(tail) % _NUMBER.size == 0 else []
        if not numbers or numbers[0] < _SMALLEST_PIECE:
            return ()
        starts = range(0, size, numbers[0])
        pieces = [
            Piece(number, start, min(start + starts.step, size), done)
            for number, (start, done) in enumerate(zip(starts, numbers[1:], strict=False))
        ]
        whole = len(numbers) == len(starts) + 1 and all(piece.left >= 0 for piece in pieces)
        return tuple(pieces) if whole else ()

    def _rehash(self, length: int) -> None:
        self._hash = hashlib.sha256()
        self.received = 0
        while self.received < length:
            chunk = os.pread(self._fd, min(_READ, length - self.received), self.received)
            if not chunk:
                break
            self._hash.update(chunk)
            self.received += len(chunk)


def _open_locked(folder: Folder, name: str) -> int:
    """Open and lock the partial file `name`; a file that became an object between the two is not it."""
    while True:
        fd = folder.partial(name)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(fd)
            raise BusyError(
                f"another run is writing {folder.path / name}", "wait for it to end, then run the same command again"
            ) from error
        present = folder.stat(name)
        if present is not None and present.st_ino == os.fstat(fd).st_ino:
            if present.st_nlink == 1:
                return fd
            folder.discard(name)  # its other name is not ours to write to
        os.close(fd)
