"""Files in memory, for libraries that take nothing but paths."""

import os
from types import TracebackType
from typing import Self


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
