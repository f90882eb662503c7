"""Compressed forms of an index: read within bounds, and written the same on any machine."""

import lzma
import re
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import zstandard

from repobuild.errors import HostileInputError

_CHUNK = 1 << 18
"""Bytes decompressed at a time; bounds what a bomb can make of them."""
_INPUT = 1 << 16
"""Bytes given to a decompressor at a time: it copies what it does not take at once."""
_MAX_STREAMS = 1 << 16
"""Streams one after another in a file, as bgzip and pxz write them."""
_PADDING = re.compile(rb"(?:\0{4})*+")
_XZ_MEMORY = 256 << 20
"""Bytes an xz dictionary may need."""
_ZSTD_WINDOW = 128 << 20
"""Bytes of window a zstd frame may ask for."""
_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
"""No name, no time, unknown system."""
_GZIP_BLOCK = 65_535
_LZMA2_CHUNK = 65_536
_ZSTD_HEADER = b"\x28\xb5\x2f\xfd\xc0\x38"
"""A frame that gives its size in 8 bytes and needs a window of 128 KiB, the largest block; no checksum."""
_ZSTD_BLOCK = 1 << 17


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Gzip:
    """zlib's object with the manners of lzma's."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=31)
        self._is_full = False

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail and not self._is_full

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        chunk = self._inner.decompress(self._inner.unconsumed_tail + data, max_length)
        self._is_full = len(chunk) == max_length  # then there may be more, held back inside
        return chunk


def decompress(data: bytes, compression: str, *, size: int, what: str, is_exact: bool = True) -> Iterator[bytes]:
    """Yield the open text of `data` in chunks; streams one after another are one text, as their tools have it.

    Args:
        data: the compressed bytes, already verified.
        compression: `xz`, `gz`, `zst` or "".
        size: the announced size of the open text in bytes; more is refused as soon as it appears.
        what: for messages.
        is_exact: whether less than `size` is refused too.

    Raises:
        HostileInputError: when the data is damaged, truncated, followed by other data, or not of this size.
    """
    count = 0
    try:
        for chunk in _chunks(data, compression):
            count += len(chunk)
            if count > size:
                raise HostileInputError(f"decompresses to more than the announced {size} bytes: {what}")
            yield chunk
    except (lzma.LZMAError, zlib.error, zstandard.ZstdError, EOFError) as error:
        raise HostileInputError(f"damaged {compression} data: {what}") from error
    if is_exact and count < size:
        raise HostileInputError(f"decompresses to {count} bytes instead of the announced {size}: {what}")


def _chunks(data: bytes, compression: str) -> Iterator[bytes]:
    if not compression:
        yield data
    elif compression == "zst":
        reader: Any = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).stream_reader(
            data, read_across_frames=True
        )
        while chunk := reader.read(_CHUNK):
            yield chunk
    elif compression == "gz":
        yield from _drain(_Gzip, data)
    elif compression == "xz":
        yield from _drain(lambda: lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=_XZ_MEMORY), data)
    else:
        raise HostileInputError(f"unknown compression: {compression!r}")


def _drain(make: Callable[[], _Decompressor], data: bytes) -> Iterator[bytes]:
    position = 0
    for _ in range(_MAX_STREAMS):
        decompressor = make()
        while not decompressor.eof:
            is_hungry = decompressor.needs_input
            given = data[position : position + _INPUT] if is_hungry else b""
            position += len(given)
            if is_hungry and not given:
                raise EOFError
            if chunk := decompressor.decompress(given, _CHUNK):
                yield chunk
        position -= len(decompressor.unused_data)
        # xz pads with zeros between streams; nothing else may follow but another stream.
        padding = _PADDING.match(data, position)
        position = padding.end() if padding else position
        if position == len(data):
            return
    raise EOFError


def stored_gzip(data: bytes) -> bytes:
    """Wrap `data` as gzip without compressing it (RFC 1952, RFC 1951 section 3.2.4).

    What a compressor makes depends on its version and on the processor; these bytes are the same on any machine (G6).
    """
    last = max(len(data) - 1, 0) // _GZIP_BLOCK
    body = b"".join(
        bytes([number == last]) + len(block).to_bytes(2, "little") + (len(block) ^ 0xFFFF).to_bytes(2, "little") + block
        for number, block in enumerate(_blocks(data, _GZIP_BLOCK))
    )
    return _GZIP_HEADER + body + zlib.crc32(data).to_bytes(4, "little") + (len(data) & 0xFFFFFFFF).to_bytes(4, "little")


def stored_xz(data: bytes) -> bytes:
    """Wrap `data` as xz of uncompressed LZMA2 chunks (The .xz File Format, 1.2.0); why: see `stored_gzip`."""
    flags = b"\x00\x01"  # CRC32
    header = b"\x02\x00\x21\x01\x00\x00\x00\x00"  # 12 bytes in all, one filter: LZMA2 with the smallest dictionary
    chunks = b"".join(
        (b"\x02" if number else b"\x01") + (len(block) - 1).to_bytes(2, "big") + block
        for number, block in enumerate(_blocks(data, _LZMA2_CHUNK) if data else [])
    )
    block = header + _crc(header) + chunks + b"\x00"
    records = b"\x00\x01" + _variable(len(block) + 4) + _variable(len(data))
    records += bytes(-len(records) % 4)
    backward = (len(records) // 4).to_bytes(4, "little") + flags
    return b"".join(
        (
            b"\xfd7zXZ\x00" + flags + _crc(flags),
            block + bytes(-len(block) % 4) + _crc(data),
            records + _crc(records),
            _crc(backward) + backward + b"YZ",
        )
    )


def stored_zstd(data: bytes) -> bytes:
    """Wrap `data` as a zstd frame of raw blocks (RFC 8878, section 3.1.1); why: see `stored_gzip`."""
    blocks = _blocks(data, _ZSTD_BLOCK)
    body = b"".join(
        (len(block) << 3 | (number == len(blocks))).to_bytes(3, "little") + block
        for number, block in enumerate(blocks, 1)
    )
    return _ZSTD_HEADER + len(data).to_bytes(8, "little") + body


def _blocks(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)] or [b""]


def _crc(data: bytes) -> bytes:
    return zlib.crc32(data).to_bytes(4, "little")


def _variable(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(out) + bytes([number])
