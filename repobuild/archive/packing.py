"""The forms in which an archive travels: a gzip member, a zstd frame, or as it is."""

import enum
import struct
from concurrent.futures import Future
from typing import ClassVar

import zstandard
from isal import isal_zlib  # its crc32 is seven times faster than zlib's

from repobuild.archive.packer import BLOCK, Buffer, Packer

_GZIP_HEADER = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
_BLOCK_HEADER = struct.Struct("<BHH")
_FINAL_BLOCK = b"\x01\0\0\xff\xff"
_TRAILER = struct.Struct("<II")
_ZSTD_LEVEL = 1
_ZSTD_HEADER = 18
"""Bytes of a frame header, the most that it can have (RFC 8878, section 3.1.1.1)."""
_ZSTD_CHECKSUM = 4


class Packing(enum.Enum):
    """A form, by the ending of its files' names."""

    GZIP = ".tgz"
    ZSTD = ".tar.zst"
    TAR = ".tar"

    def open(self, fd: int, size: int) -> Packer:
        """Return what writes an archive of `size` bytes to the open, empty file `fd`."""
        if self is Packing.GZIP:
            return StoredGzip(fd)
        return ZstdFrame(fd, size) if self is Packing.ZSTD else Packer(fd)

    def size(self, size: int) -> int:
        """Return the size of the file that `size` bytes become: exactly, but of zstd the most that it can be."""
        if self is Packing.GZIP:
            return stored_size(size)
        return zstd_bound(size) if self is Packing.ZSTD else size


class StoredGzip(Packer):
    """A gzip member of stored blocks (RFC 1951, 3.2.4; RFC 1952).

    Stored blocks because packages are compressed already; our own writer because zlib's bytes depend on its build.
    Every block but the last holds 65,535 bytes wherever the inputs begin and end, the time is 0 and the system unknown
    (255), so that the bytes follow from the content alone.
    """

    gap: ClassVar[int] = _BLOCK_HEADER.size

    def __init__(self, fd: int) -> None:
        super().__init__(fd)
        self._checksum = 0
        self._put(_GZIP_HEADER)

    def _see(self, view: memoryview) -> None:
        self._checksum = isal_zlib.crc32(view, self._checksum)

    def _emit(self, buffer: Buffer) -> list[Future[None]]:
        for at in range(0, buffer.filled, BLOCK):
            length = min(BLOCK, buffer.filled - at)
            _BLOCK_HEADER.pack_into(buffer.memory, at // BLOCK * (self.gap + BLOCK), 0, length, length ^ 0xFFFF)
        return super()._emit(buffer)

    def _tail(self) -> bytes:
        return _FINAL_BLOCK + _TRAILER.pack(self._checksum, self._size & 0xFFFFFFFF)


class ZstdFrame(Packer):
    """A zstd frame with its size and a checksum. Its bytes depend on the library's version, and on nothing else."""

    def __init__(self, fd: int, size: int) -> None:
        super().__init__(fd)
        self._encoder = zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_checksum=True).compressobj(size=size)

    def _emit(self, buffer: Buffer) -> list[Future[None]]:
        return [self._pools[1].submit(self._compress, buffer.output())]

    def _compress(self, data: memoryview) -> None:
        self._put(self._encoder.compress(data))

    def _tail(self) -> bytes:
        return self._encoder.flush()


def stored_size(size: int) -> int:
    """Return the size of the file that `StoredGzip` makes of `size` bytes."""
    blocks = -(-size // BLOCK)
    return len(_GZIP_HEADER) + size + _BLOCK_HEADER.size * blocks + len(_FINAL_BLOCK) + _TRAILER.size


def zstd_bound(size: int) -> int:
    """Return what the library promises never to exceed (`ZSTD_COMPRESSBOUND`), with the frame's own bytes."""
    small = 128 << 10
    return size + (size >> 8) + (max(small - size, 0) >> 11) + _ZSTD_HEADER + _ZSTD_CHECKSUM
