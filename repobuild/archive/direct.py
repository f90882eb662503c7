"""A new file written past the page cache, so that `fsync` has nothing left to wait for.

Copying through the page cache costs a page allocation per 4 KiB and leaves all of the writing to the final `fsync`.
Where a file system refuses O_DIRECT, each chunk is handed to the device as soon as it is written.
"""

import errno
import fcntl
import mmap
import os

_CHUNK = 4 << 20
"""Bytes written at a time; a multiple of every device's block size."""


class DirectWriter:
    """Appends to an open, empty file. `finish` writes the rest and returns the size; flushing is the caller's."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._chunk = memoryview(mmap.mmap(-1, _CHUNK))  # page-aligned, as O_DIRECT demands
        self._filled = 0
        self._written = 0
        self._is_direct = True
        try:
            self._switch(direct=True)
        except OSError:
            self._is_direct = False

    def write(self, data: bytes | memoryview) -> None:
        """Append `data`.

        Raises:
            OSError: as the file system says.
        """
        left = memoryview(data)
        while left:
            count = min(len(left), _CHUNK - self._filled)
            self._chunk[self._filled : self._filled + count] = left[:count]
            self._filled += count
            left = left[count:]
            if self._filled == _CHUNK:
                self._flush()

    def finish(self) -> int:
        """Write what is left and return the number of bytes written in all."""
        if self._is_direct:
            self._switch(direct=False)  # the tail is no multiple of a block
            self._is_direct = False
        self._flush()
        return self._written

    def _flush(self) -> None:
        left = self._chunk[: self._filled]
        while left:
            try:
                count = os.write(self._fd, left)
            except OSError as error:
                if error.errno != errno.EINVAL or not self._is_direct:
                    raise
                self._switch(direct=False)
                self._is_direct = False
                continue
            if not self._is_direct:  # on Linux this advice begins to write the range back at once
                os.posix_fadvise(self._fd, self._written, count, os.POSIX_FADV_DONTNEED)
            self._written += count
            left = left[count:]
        self._filled = 0

    def _switch(self, *, direct: bool) -> None:
        flags = fcntl.fcntl(self._fd, fcntl.F_GETFL)
        fcntl.fcntl(self._fd, fcntl.F_SETFL, flags | os.O_DIRECT if direct else flags & ~os.O_DIRECT)
