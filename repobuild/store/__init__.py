"""The store: objects known by their sha256, shared by all targets and runs.

objects/<2 hex>/<64 hex>   mode 0444, appears only verified and flushed
incoming/<64 hex>          partial downloads, each locked by the run that writes it
derived/<digest>.<what>    caches computed from an index; lost without harm
records                    the status of each object when its digest was last known to hold
lock                       shared by every run, exclusive for `collect`
"""

import hashlib
import os
import threading
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from repobuild.durable import Folder, disk_errors
from repobuild.errors import BusyError, DiskError, HostileInputError, VerificationError
from repobuild.store.incoming import Aim, Incoming, Piece
from repobuild.store.records import Records, Seal

__all__ = ["Freed", "Incoming", "Object", "Piece", "Store", "require_space"]

_HEX = frozenset("0123456789abcdef")
_DERIVED_LIMIT = 1 << 30
"""Bytes of one derived file."""
_PUT_LIMIT = 1 << 40
"""Bytes of an object whose size nobody states."""
_BLOCK = 4096
"""Bytes by which a file system gives out space, for estimates."""


@dataclass(frozen=True, slots=True)
class Freed:
    """What `Store.collect` removed."""

    objects: int
    partials: int
    derived: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Object:
    """One entry of `Store.listing`."""

    sha256: str
    size: int


class Store:
    """The open store. A context manager; leaving it saves what was learned and lets other runs collect garbage."""

    def __init__(self, root: Folder, lock: AbstractContextManager[None]) -> None:
        self.root = root.path
        """Where the store is, for messages and free space."""
        self._root = root
        self._lock = lock
        self._objects = root.folder("objects", create=True)
        self._incoming = root.folder("incoming", create=True)
        self._derived = root.folder("derived", create=True)
        self._records = Records(root)
        self._touched: set[str] = set()
        self._touching = threading.Lock()
        self._exclusive = False

    @classmethod
    def open(cls, path: Path, *, exclusive: bool = False) -> Self:
        """Open the store at `path`, making it when absent; hold its lock until it is closed.

        Raises:
            BusyError: when another run collects garbage, or with `exclusive` when any other run uses it.
            DiskError: when it cannot be opened or made.
        """
        root = Folder.open(path, create=True)
        lock = root.lock("lock", shared=not exclusive)
        try:
            lock.__enter__()
        except BaseException:
            root.close()
            raise
        store = cls(root, lock)
        store._exclusive = exclusive
        return store

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.flush()
        except (DiskError, BusyError):
            if error is None:
                raise  # otherwise the first error is the one to tell
        finally:
            self.close()

    def close(self) -> None:
        """Let the store go without saving; safe to repeat."""
        self._lock.__exit__(None, None, None)
        for folder in (self._objects, self._incoming, self._derived, self._root):
            folder.close()

    def flush(self) -> None:
        """Put the names of all objects added so far on disk and save the records.

        The files themselves are flushed one by one before they get their name; doing the directories together costs
        600 small objects one flush for each of 256 directories at most.

        Raises:
            DiskError: when the disk reports an error.
            BusyError: when another process keeps the records locked.
        """
        with self._touching:
            touched, self._touched = self._touched, set()
        for prefix in sorted(touched):
            with self._objects.folder(prefix) as folder:
                folder.sync()
        if touched:
            self._objects.sync()
        self._records.save()

    def has(self, sha256: str, size: int | None = None) -> bool:
        """Whether the object is here and trusted.

        An object whose file is not exactly as it was recorded is hashed again: when the digest holds the record is
        healed, otherwise the object is removed.
        """
        status = self._stat(sha256)
        if status is None:
            return False
        if self._records.get(sha256) != Seal.of(status):
            self._records.refresh()
        if self._records.get(sha256) != Seal.of(status) and not self._prove(sha256, status):
            return False
        return size is None or size == status.st_size

    def path(self, sha256: str) -> Path:
        """Return where a present object is, for reading only."""
        return self._objects.path / _checked(sha256)[:2] / sha256

    def read(self, sha256: str, limit: int) -> bytes:
        """Return the bytes of an object.

        Raises:
            VerificationError: when it is not here, or no longer what it was.
            HostileInputError: when it is larger than `limit` bytes.
        """
        self._require(sha256)
        with self._objects.folder(sha256[:2]) as folder:
            data = folder.read(sha256, limit)
        if data is None or hashlib.sha256(data).hexdigest() != sha256:
            raise _lost(sha256)
        return data

    def put(self, chunks: bytes | Iterable[bytes], sha256: str | None = None, size: int | None = None) -> str:
        """Add an object, hashing as it is written, and return its sha256. Its name is on disk after `flush`.

        Raises:
            VerificationError: when digest or size differ; writing stops where the size is exceeded.
            DiskError: when it cannot be written.
        """
        with_digest = None if sha256 is None else _checked(sha256)
        incoming = self._nameless(Aim(with_digest, size, _PUT_LIMIT if size is None else size))
        try:
            for chunk in (chunks,) if isinstance(chunks, bytes) else chunks:
                incoming.write(chunk)
            incoming.verify()
            incoming.accept()
        except BaseException:
            incoming.discard()
            raise
        return incoming.sha256

    def incoming(self, sha256: str | None, size: int | None, limit: int = _PUT_LIMIT) -> Incoming:
        """Open the partial download of an object, with what earlier runs left of it; without a digest, a new one.

        Raises:
            BusyError: when another process is writing it.
            DiskError: when it cannot be opened.
        """
        aim = Aim(sha256, size, limit if size is None else size)
        if sha256 is None:
            return self._nameless(aim)
        return Incoming(self._incoming, _checked(sha256), aim, self._take_in)

    def partial_size(self, sha256: str) -> int:
        """Return how many bytes on disk a partial download of the object has."""
        status = self._incoming.stat(_checked(sha256))
        return status.st_blocks * 512 if status else 0

    def place(self, sha256: str, folder: Folder, name: str, mtime: int | None = None) -> None:
        """Put an object under the free `name` in `folder`: reflink, hard link or copy; not flushed.

        Raises:
            VerificationError: when it is not here, or no longer what it was.
            DiskError: when it cannot be placed.
        """
        self._require(sha256)
        folder.place(self.path(sha256), name, mtime=mtime)
        self.reseal((sha256,))

    def reseal(self, digests: Iterable[str]) -> None:
        """Record the present status of objects of which links were made or removed, which moves their ctime.

        An object that differs in more than that is not blessed: the next `has` hashes it.
        """
        for sha256 in digests:
            status, known = self._stat(sha256), self._records.get(sha256)
            if status is None or known is None:
                continue
            seal = Seal.of(status)
            if seal.differs_only_in_links(known):
                self._records.set(sha256, seal)

    def derived(self, key: str) -> bytes | None:
        """Return what was computed before under `key`, None when it is absent or damaged."""
        try:
            data = self._derived.read(key, _DERIVED_LIMIT)
        except (DiskError, HostileInputError):
            return None
        if data is None or hashlib.sha256(data[32:]).digest() != data[:32]:
            return None
        return data[32:]

    def put_derived(self, key: str, data: bytes) -> None:
        """Keep `data` under `key`, which begins with the digest it was computed from; best effort, never fails."""
        with suppress(DiskError):
            self._derived.write(key, (hashlib.sha256(data).digest(), data), sync=False)

    def listing(self) -> Iterator[Object]:
        """Yield every object, sorted by digest."""
        for prefix in self._objects.names():
            with self._objects.folder(prefix) as folder:
                for name in folder.names():
                    status = folder.stat(name)
                    if status is not None and _is_digest(name):
                        yield Object(name, status.st_size)

    def collect(self, keep: AbstractSet[str]) -> Freed:
        """Remove every object, partial download and derived file whose digest is not in `keep`.

        Raises:
            BusyError: when the store was not opened exclusively.
            DiskError: when something cannot be removed.
        """
        if not self._exclusive:
            raise BusyError(f"the store is shared with other runs: {self.root}")
        objects, freed = 0, 0
        for prefix in self._objects.names():
            with self._objects.folder(prefix) as folder:
                gone = _sweep(folder, keep)
            for name in gone:
                self._records.forget(name)
            objects, freed = objects + len(gone), freed + sum(gone.values())
        partials, derived = _sweep(self._incoming, keep), _sweep(self._derived, keep)
        self._records.save()
        return Freed(objects, len(partials), len(derived), freed + sum(partials.values()) + sum(derived.values()))

    def _nameless(self, aim: Aim) -> Incoming:
        name, fd = self._incoming.temporary("object")
        os.close(fd)
        return Incoming(self._incoming, name, aim, self._take_in)

    def _take_in(self, incoming: Incoming) -> None:
        """Give a verified, flushed file its name among the objects."""
        sha256 = incoming.sha256
        if self.has(sha256):  # another process was faster, and links may point at its file
            self._incoming.discard(incoming.name)
            return
        with self._objects.folder(sha256[:2], create=True) as folder:
            self._incoming.rename(incoming.name, sha256, into=folder)
            status = folder.stat(sha256)
        if status is not None:
            self._records.set(sha256, Seal.of(status))
        with self._touching:
            self._touched.add(sha256[:2])

    def _stat(self, sha256: str) -> os.stat_result | None:
        with disk_errors(self._objects.path / _checked(sha256)):
            try:
                return os.stat(f"{sha256[:2]}/{sha256}", dir_fd=self._objects.fileno(), follow_symlinks=False)
            except FileNotFoundError:
                return None

    def _prove(self, sha256: str, before: os.stat_result) -> bool:
        """Hash an object; record it when the digest holds, remove it when not."""
        with self._objects.folder(sha256[:2]) as folder:
            try:
                holds = folder.sha256(sha256) == sha256
            except HostileInputError:  # a link or device put there
                holds = False
            except DiskError:
                if folder.stat(sha256) is None:  # another process removed it
                    return False
                raise
            if holds:
                self._records.set(sha256, Seal.of(before))
                return True
            return self._remove(folder, sha256, before)

    def _remove(self, folder: Folder, sha256: str, before: os.stat_result) -> bool:
        """Take a bad object away, unless another process replaced it meanwhile; return whether one is here."""
        aside = f".bad.{sha256}.{os.getpid()}.{threading.get_ident()}"
        self._records.forget(sha256)
        with suppress(DiskError):
            folder.rename(sha256, aside)
        moved = folder.stat(aside)
        if moved is None:
            return False
        if moved.st_ino == before.st_ino:
            folder.remove(aside)
            return False
        folder.rename(aside, sha256)
        return self.has(sha256)

    def _require(self, sha256: str) -> None:
        if not self.has(sha256):
            raise _lost(sha256)


def require_space(folder: Path, size: int, files: int) -> None:
    """Prove that `files` new files of `size` bytes together fit where `folder` is.

    Raises:
        DiskError: naming what is needed and what is free.
    """
    with disk_errors(folder):
        status = os.statvfs(folder)
    need, free = size + files * _BLOCK, status.f_bavail * status.f_frsize
    hint = "free some space or choose another place, then run the same command again"
    if need > free:
        raise DiskError(f"{need} bytes are needed and {free} are free: {folder}", hint)
    if status.f_files and files > status.f_favail:  # 0: a file system that has no fixed number
        raise DiskError(f"{files} inodes are needed and {status.f_favail} are free: {folder}", hint)


def _sweep(folder: Folder, keep: AbstractSet[str]) -> dict[str, int]:
    """Remove what is in `folder` and not kept; return names and sizes."""
    gone = {}
    for name in folder.names():
        status = folder.stat(name)
        if status is not None and name.partition(".")[0] not in keep:
            folder.remove(name)
            gone[name] = status.st_size
    return gone


def _is_digest(text: str) -> bool:
    return len(text) == 64 and _HEX.issuperset(text)


def _checked(sha256: str) -> str:
    if not _is_digest(sha256):
        raise HostileInputError(f"not a sha256: {sha256[:80]!r}")
    return sha256


def _lost(sha256: str) -> VerificationError:
    return VerificationError(
        f"the store does not hold the object {sha256}", "run `repobuild sync`, which fetches it again"
    )
