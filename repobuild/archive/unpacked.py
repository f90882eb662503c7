"""One gzip member (RFC 1952) read as a stream: bounded memory, nothing after it but zeros.

Zeros are let through because Pigsty's bootstrap deletes a bundle of 409,600,000 bytes or less, and `truncate -s 410M`
is the remedy. A second member, which most programs would silently append, is refused.
"""

import hashlib
import os
import zlib
from collections.abc import Callable

from repobuild.durable import disk_errors
from repobuild.errors import HostileInputError, VerificationError

_INPUT = 1 << 20
"""Bytes read at a time."""
_OUTPUT = 1 << 20
"""Bytes decompressed at a time."""
_GZIP_WINDOW = 16 + zlib.MAX_WBITS


class GzipStream:
    """Reads the content of the gzip file open at `fd`, hashing the file on its way.

    Args:
        fd: descriptor, at the beginning; stays the caller's.
        where: the file's name, for messages.
        advance: hears how many bytes of the file were read.
    """

    def __init__(self, fd: int, where: str, advance: Callable[[int], None]) -> None:
        self._fd = fd
        self._where = where
        self._advance = advance
        self._decoder = zlib.decompressobj(_GZIP_WINDOW)
        self._file = hashlib.sha256()
        self._ready = b""
        self._used = 0
        """Bytes of `_ready` that were handed out."""

    def read(self, limit: int) -> bytes:
        """Return up to `limit` bytes, at least one; b"" at the end of the member.

        Raises:
            VerificationError: when the file ends early or its checksum is wrong.
        """
        if self._used == len(self._ready):
            self._ready, self._used = self._decompress(), 0
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
                raise VerificationError(f"ends early: {self._where}")
            pieces.append(piece)
            count -= len(piece)
        return b"".join(pieces)

    def finish(self) -> tuple[str, str]:
        """Read to the end of the file; return the sha256 of the member and of the whole file with its trailing zeros.

        Raises:
            HostileInputError: when there is content left, or anything but zeros after the member.
        """
        if self.read(1):
            raise HostileInputError(f"more in the archive than its contents say: {self._where}")
        rest = self._decoder.unused_data
        member = self._file.copy()
        while rest:
            if rest.count(0) != len(rest):
                raise HostileInputError(f"something follows the archive: {self._where}")
            self._file.update(rest)
            rest = self._input()
        return member.hexdigest(), self._file.hexdigest()

    def _decompress(self) -> bytes:
        while not self._decoder.eof:
            data = self._decoder.unconsumed_tail or self._input()
            if not data:
                raise VerificationError(
                    f"ends early: {self._where}", "copy the bundle again; its transfer was cut short"
                )
            try:
                output = self._decoder.decompress(data, _OUTPUT)
            except zlib.error as error:
                raise VerificationError(f"not a sound gzip file: {self._where}: {error}") from error
            consumed = len(data) - len(self._decoder.unconsumed_tail) - len(self._decoder.unused_data)
            self._file.update(memoryview(data)[:consumed])
            if output:
                return output
        return b""

    def _input(self) -> bytes:
        with disk_errors(self._where):
            data = os.read(self._fd, _INPUT)
        self._advance(len(data))
        return data
