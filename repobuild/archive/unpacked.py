"""An archive read as a stream out of gzip (RFC 1952), zstd (RFC 8878) or nothing: bounded memory, only zeros after it.

Zeros are let through because Pigsty's bootstrap deletes a bundle of 409,600,000 bytes or less, and `truncate -s 410M`
is the remedy. A second member or frame, which most programs would silently append, is refused.
"""

import hashlib
import os
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable

import zstandard

from repobuild.durable import disk_errors
from repobuild.errors import HostileInputError, VerificationError

_INPUT = 1 << 20
"""Bytes read at a time."""
_OUTPUT = 1 << 20
"""Bytes decompressed at a time."""
_GZIP_MAGIC = b"\x1f\x8b"
_GZIP_WINDOW = 16 + zlib.MAX_WBITS
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_ZSTD_WINDOW = 8 << 20
"""Bytes of window that a frame may ask for, the least that a decoder should take (RFC 8878, section 3.1.1.1.2)."""
_ZSTD_BLOCK = 128 << 10
"""Bytes of a block, packed or open (section 3.1.1.2.4)."""
_RLE = 1
_CUT_SHORT = "copy the bundle again; its transfer was cut short"


class Stream(ABC):
    """Reads the archive in the file open at `fd`, hashing the file on its way.

    Args:
        fd: descriptor, at the beginning; stays the caller's.
        where: the file's name, for messages.
        advance: hears how many bytes of the file were read.
    """

    def __init__(self, fd: int, where: str, advance: Callable[[int], None]) -> None:
        self._fd = fd
        self._where = where
        self._advance = advance
        self._file = hashlib.sha256()
        self._ready = b""
        self._used = 0
        """Bytes of `_ready` that were handed out."""

    def read(self, limit: int) -> bytes:
        """Return up to `limit` bytes, at least one; b"" at the end.

        Raises:
            VerificationError: when the file ends early or its checksum is wrong.
        """
        if self._used == len(self._ready):
            self._ready, self._used = self._unpack(), 0
        piece = self._ready[self._used : self._used + limit]
        self._used += len(piece)
        return piece

    def exactly(self, count: int) -> bytes:
        """Return the next `count` bytes.

        Raises:
            VerificationError: when there are fewer.
        """
        pieces = []
        while count:
            piece = self.read(count)
            if not piece:
                raise VerificationError(f"ends early: {self._where}", _CUT_SHORT)
            pieces.append(piece)
            count -= len(piece)
        return b"".join(pieces)

    def finish(self) -> tuple[str, str]:
        """Read to the end of the file; return the sha256 of the archive and of the whole file with its trailing zeros.

        Raises:
            HostileInputError: when there is content left, or anything but zeros after the archive.
        """
        rest = self._rest() or self._input()
        archive = self._file.copy()
        while rest:
            if rest.count(0) != len(rest):
                raise HostileInputError(f"something follows the archive: {self._where}")
            self._file.update(rest)
            rest = self._input()
        return archive.hexdigest(), self._file.hexdigest()

    @abstractmethod
    def _unpack(self) -> bytes:
        """Return the next bytes of the archive, b"" at its end; what of the file they came from is hashed."""

    @abstractmethod
    def _rest(self) -> bytes:
        """Return what was read of the file and is not hashed yet, all of the archive having been handed out."""

    def _expect_end(self) -> None:
        if self.read(1):
            raise HostileInputError(f"more in the archive than its contents say: {self._where}")

    def _input(self) -> bytes:
        with disk_errors(self._where):
            data = os.read(self._fd, _INPUT)
        self._advance(len(data))
        return data


class PlainStream(Stream):
    """An archive as it is: it ends where its reader says."""

    def read(self, limit: int) -> bytes:
        """Return up to `limit` bytes, at least one; b"" at the end."""
        piece = super().read(limit)
        self._file.update(piece)
        return piece

    def _unpack(self) -> bytes:
        return self._input()

    def _rest(self) -> bytes:
        return self._ready[self._used :]


class GzipStream(Stream):
    """An archive in one gzip member."""

    def __init__(self, fd: int, where: str, advance: Callable[[int], None]) -> None:
        super().__init__(fd, where, advance)
        self._decoder = zlib.decompressobj(_GZIP_WINDOW)

    def _unpack(self) -> bytes:
        while not self._decoder.eof:
            data = self._decoder.unconsumed_tail or self._input()
            if not data:
                raise VerificationError(f"ends early: {self._where}", _CUT_SHORT)
            try:
                output = self._decoder.decompress(data, _OUTPUT)
            except zlib.error as error:
                raise VerificationError(f"not a sound gzip file: {self._where}: {error}") from error
            consumed = len(data) - len(self._decoder.unconsumed_tail) - len(self._decoder.unused_data)
            self._file.update(memoryview(data)[:consumed])
            if output:
                return output
        return b""

    def _rest(self) -> bytes:
        self._expect_end()
        return self._decoder.unused_data


class ZstdStream(Stream):
    """An archive in one zstd frame. Blocks are cut here and given one by one, so that none becomes more than it may."""

    def __init__(self, fd: int, where: str, advance: Callable[[int], None]) -> None:
        super().__init__(fd, where, advance)
        self._decoder = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).decompressobj()
        self._data = b""
        self._taken = 0
        """Bytes of `_data` that were given to the decoder."""
        self._is_begun = False
        self._has_checksum = False
        self._is_over = False

    def _unpack(self) -> bytes:
        while not self._is_over:
            piece = self._block() if self._is_begun else self._header()
            try:
                output = self._decoder.decompress(piece)
            except zstandard.ZstdError as error:
                raise VerificationError(f"not a sound zstd file: {self._where}: {error}") from error
            if output:
                return output
        return b""

    def _rest(self) -> bytes:
        self._expect_end()
        return self._data[self._taken :]

    def _header(self) -> bytes:
        """Take the frame header (section 3.1.1.1); the decoder checks what is in it."""
        start = self._take(5)
        descriptor = start[4]
        is_single = bool(descriptor & 0x20)
        size_bytes = (int(is_single), 2, 4, 8)[descriptor >> 6]
        if descriptor & 0x03:
            raise HostileInputError(f"a zstd frame that needs a dictionary: {self._where}")
        self._is_begun, self._has_checksum = True, bool(descriptor & 0x04)
        return start + self._take(size_bytes + (not is_single))

    def _block(self) -> bytes:
        """Take a block (section 3.1.1.2), with the last one the checksum."""
        header = self._take(3)
        word = int.from_bytes(header, "little")
        size = word >> 3
        if size > _ZSTD_BLOCK:
            raise HostileInputError(f"a zstd block of more than {_ZSTD_BLOCK} bytes: {self._where}: {size}")
        self._is_over = bool(word & 1)
        is_repeated = word >> 1 & 3 == _RLE
        checksum = 4 if self._is_over and self._has_checksum else 0
        return header + self._take((1 if is_repeated else size) + checksum)

    def _take(self, count: int) -> bytes:
        while len(self._data) - self._taken < count:
            more = self._input()
            if not more:
                raise VerificationError(f"ends early: {self._where}", _CUT_SHORT)
            self._data, self._taken = self._data[self._taken :] + more, 0
        taken = self._data[self._taken : self._taken + count]
        self._taken += count
        self._file.update(taken)
        return taken


def open_stream(fd: int, where: str, advance: Callable[[int], None]) -> Stream:
    """Return what reads the archive in the regular file open at `fd`, by how the file begins; arguments as `Stream`."""
    with disk_errors(where):
        head = os.pread(fd, len(_ZSTD_MAGIC), 0)
    if head.startswith(_GZIP_MAGIC):
        return GzipStream(fd, where, advance)
    return ZstdStream(fd, where, advance) if head == _ZSTD_MAGIC else PlainStream(fd, where, advance)
