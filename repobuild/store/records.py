"""What the store knows of each object since it was last hashed: the file's status, in one compact text file.

A line is `sha256 size uid gid mode inode mtime_ns ctime_ns`. The file is a memory, not a truth: when it is lost or
damaged every object is hashed once more. Each process loads it once and, when it saves, lays its own changes over what
others wrote meanwhile.
"""

import os
import threading
import time
from collections.abc import Callable
from typing import NamedTuple, Self

from repobuild.durable import Folder

_FILE = "records"
_LOCK = "records.lock"
_HEADER = "repobuild records 1"
_LIMIT = 1 << 28
"""Bytes read of the records file; 2 million objects."""
_LOCK_SECONDS = 60.0


class Seal(NamedTuple):
    """The status of an object as it was when its digest was known to hold."""

    size: int
    uid: int
    gid: int
    mode: int
    inode: int
    mtime: int
    """Nanoseconds, as `ctime`."""
    ctime: int

    @classmethod
    def of(cls, status: os.stat_result) -> Self:
        """Return the seal that `status` amounts to."""
        return cls(
            status.st_size,
            status.st_uid,
            status.st_gid,
            status.st_mode,
            status.st_ino,
            status.st_mtime_ns,
            status.st_ctime_ns,
        )

    def differs_only_in_links(self, other: Self) -> bool:
        """Whether making or removing a hard link explains all that differs: that moves ctime alone."""
        return self._replace(ctime=0) == other._replace(ctime=0)


class Records:
    """The seals of all objects. Safe to use from several threads, and beside other processes."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._seals: dict[str, Seal] = {}
        self._changes: dict[str, Seal | None] = {}
        self._version: tuple[int, int] | None = None
        self._reload()

    def get(self, sha256: str) -> Seal | None:
        """Return the seal of an object, None when it is not known."""
        with self._lock:
            return self._seals.get(sha256)

    def set(self, sha256: str, seal: Seal) -> None:
        """Remember a seal."""
        with self._lock:
            if self._seals.get(sha256) != seal:
                self._seals[sha256] = self._changes[sha256] = seal

    def forget(self, sha256: str) -> None:
        """Remember nothing of an object any more."""
        with self._lock:
            self._seals.pop(sha256, None)
            self._changes[sha256] = None

    def refresh(self) -> None:
        """Take in what other processes saved since."""
        with self._lock:
            self._reload()

    def save(self) -> None:
        """Write our changes over what is on disk now.

        Raises:
            BusyError: when other processes hold the file for a minute.
            DiskError: when it cannot be written.
        """
        with self._lock:
            if not self._changes:
                return
            with self._folder.lock(_LOCK, wait=_patience(_LOCK_SECONDS)):
                self._reload()
                lines = [_HEADER]
                lines += [f"{sha256} {' '.join(map(str, seal))}" for sha256, seal in sorted(self._seals.items())]
                self._folder.write(_FILE, ("\n".join(lines) + "\n").encode(), sync=False)
                self._version = self._present()
            self._changes.clear()

    def _present(self) -> tuple[int, int] | None:
        status = self._folder.stat(_FILE)
        return (status.st_ino, status.st_mtime_ns) if status else None

    def _reload(self) -> None:
        version = self._present()
        if version is None or version == self._version:
            return
        self._version = version
        self._seals = _parse(self._folder.read(_FILE, _LIMIT) or b"")
        for sha256, seal in self._changes.items():
            if seal is None:
                self._seals.pop(sha256, None)
            else:
                self._seals[sha256] = seal


def _parse(data: bytes) -> dict[str, Seal]:
    """Read records; a line that is damaged is passed over, for its object is then simply hashed again."""
    lines = data.decode("ascii", "replace").splitlines()
    if not lines or lines[0] != _HEADER:
        return {}
    seals = {}
    for line in lines[1:]:
        sha256, *numbers = line.split(" ")
        if len(numbers) == len(Seal._fields) and all(number.isdecimal() for number in numbers):
            seals[sha256] = Seal(*map(int, numbers))
    return seals


def _patience(seconds: float) -> Callable[[], bool]:
    deadline = time.monotonic() + seconds

    def wait() -> bool:
        time.sleep(0.01)
        return time.monotonic() < deadline

    return wait
