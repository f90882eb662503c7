"""An open directory, and everything that is done in it."""

import errno
import fcntl
import hashlib
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from repobuild.durable.kernel import (
    CANNOT_LINK,
    DIRECTORY,
    check_component,
    check_depth,
    check_single,
    clone,
    disk_errors,
    exchange,
    make_parents,
    seal,
    temporary_stem,
    try_lock,
)
from repobuild.errors import BusyError, HostileInputError

_COPY_CHUNK = 1 << 20
"""Bytes copied at a time."""


class Folder:
    """An open directory. A context manager; closing is also done on collection."""

    def __init__(self, fd: int, path: Path) -> None:
        self._fd = fd
        self._reflinks = True
        self.path = path
        """For messages, and for handing read-only files to others; never for writing."""

    @classmethod
    def open(cls, path: Path, *, create: bool = False) -> Self:
        """Open `path`, following links in it; with `create`, make it and its parents (mode 0755).

        Raises:
            DiskError: when it cannot be opened or made.
        """
        with disk_errors(path):
            if create:
                make_parents(path)
            return cls(os.open(path, DIRECTORY), path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Give the descriptor back; safe to repeat."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            with suppress(OSError):  # nothing was written through it, so nothing can be lost
                os.close(fd)

    def fileno(self) -> int:
        """Return the descriptor, for `os.fstatvfs` and the like."""
        return self._fd

    def folder(self, name: str, *, create: bool = False) -> "Folder":
        """Open the folder `name` in this one, never through a link; with `create`, make it when absent."""
        path = self.path / (check_component(name) if create else check_single(name))
        with disk_errors(path):
            made = create and self.stat(name) is None
            if made:
                with suppress(FileExistsError):
                    os.mkdir(name, 0o755, dir_fd=self._fd)
            below = Folder(os.open(name, DIRECTORY | os.O_NOFOLLOW, dir_fd=self._fd), path)
            if made:
                os.fchmod(below.fileno(), 0o755)  # whatever the umask says
            return below

    def descend(self, parts: Iterable[str], *, create: bool = False) -> "Folder":
        """Open a folder some levels below this one; each level as `folder` does."""
        with disk_errors(self.path):
            here = Folder(os.dup(self._fd), self.path)
        for part in parts:
            with here:
                here = here.folder(part, create=create)
        return here

    def names(self) -> list[str]:
        """Return the names in this folder, sorted."""
        with disk_errors(self.path):
            return sorted(os.listdir(self._fd))

    def stat(self, name: str) -> os.stat_result | None:
        """Return the status of `name` itself (a link is not followed), None when absent."""
        with disk_errors(self.path / name):
            try:
                return os.stat(check_single(name), dir_fd=self._fd, follow_symlinks=False)
            except FileNotFoundError:
                return None

    def open_file(self, name: str) -> int:
        """Open the regular file `name` for reading and return the descriptor, which the caller closes.

        Raises:
            HostileInputError: when it is a link, device or pipe.
            DiskError: when it cannot be opened.
        """
        with disk_errors(self.path / name):
            try:
                flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
                fd = os.open(check_single(name), flags, dir_fd=self._fd)
            except OSError as error:
                if error.errno in {errno.ELOOP, errno.ENXIO}:  # a link; a socket
                    raise HostileInputError(f"not a regular file: {self.path / name}") from error
                raise
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise HostileInputError(f"not a regular file: {self.path / name}")
        return fd

    def read(self, name: str, limit: int) -> bytes | None:
        """Return the content of the regular file `name`, None when absent.

        Raises:
            HostileInputError: when it is larger than `limit` bytes, or no regular file.
        """
        if self.stat(name) is None:
            return None
        fd = self.open_file(name)
        with disk_errors(self.path / name), os.fdopen(fd, "rb") as file:
            data = file.read(min(limit, os.fstat(fd).st_size) + 1)  # read() reserves what it is asked for
            data += file.read(limit + 1 - len(data)) if file.peek(1) else b""
        if len(data) > limit:
            raise HostileInputError(f"larger than {limit} bytes: {self.path / name}")
        return data

    def sha256(self, name: str) -> str:
        """Return the sha256 of the regular file `name`, in hex."""
        fd = self.open_file(name)
        with disk_errors(self.path / name), os.fdopen(fd, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def write(
        self,
        name: str,
        data: bytes | Iterable[bytes],
        *,
        mode: int = 0o644,
        mtime: int | None = None,
        sync: bool = True,
    ) -> None:
        """Put `data` under `name`: whole or not at all, replacing what was there.

        With `sync` (the default) the file is on disk when this returns. Nothing is left behind on failure.
        """
        temporary, fd = self.temporary(name)
        try:
            with disk_errors(self.path / name), os.fdopen(fd, "wb") as file:
                for chunk in (data,) if isinstance(data, bytes) else data:
                    file.write(chunk)
                file.flush()
                seal(file.fileno(), mode=mode, mtime=mtime, sync=sync)
            self.rename(temporary, name)
        except BaseException:
            self.discard(temporary)
            raise
        if sync:
            self.sync()

    def temporary(self, name: str) -> tuple[str, int]:
        """Make an empty temporary file meant to become `name`; return its name and a descriptor open for writing.

        The caller fills it, calls `seal`, then `rename`s it; on failure it calls `discard`.
        """
        check_component(name)
        temporary = f"{temporary_stem(name)}{secrets.token_hex(6)}.tmp"
        with disk_errors(self.path / name):
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            return temporary, os.open(temporary, flags, 0o600, dir_fd=self._fd)

    def sweep(self, name: str) -> None:
        """Remove the temporary files of `name` that killed runs left; only for who holds the lock on this place."""
        pattern = re.compile(re.escape(temporary_stem(name)) + r"[0-9a-f]{12}\.tmp")
        for leftover in filter(pattern.fullmatch, self.names()):
            self.remove(leftover)

    def partial(self, name: str) -> int:
        """Open the regular file `name` for reading and writing, made when absent (mode 0600), never through a link.

        For what grows over several runs and is renamed when it is whole; the caller locks and closes it.

        Raises:
            HostileInputError: when it is a device or pipe.
            DiskError: when it cannot be opened.
        """
        with disk_errors(self.path / name):
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
            fd = os.open(check_component(name), flags, 0o600, dir_fd=self._fd)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise HostileInputError(f"not a regular file: {self.path / name}")
        return fd

    def rename(self, old: str, new: str, into: "Folder | None" = None) -> None:
        """Rename within this folder or into another, replacing a file of that name; not flushed."""
        other = into or self
        with disk_errors(other.path / new):
            os.rename(check_single(old), check_component(new), src_dir_fd=self._fd, dst_dir_fd=other.fileno())

    def exchange(self, name: str, other: "Folder", other_name: str) -> bool:
        """Swap two names in one step, flushed. False where this file system or place cannot do it."""
        with disk_errors(self.path / name):
            if not exchange(check_component(name), self._fd, check_component(other_name), other.fileno()):
                return False
        self.sync()
        other.sync()
        return True

    def place(self, source: Path, name: str, *, mtime: int | None = None, copy: bool = False) -> None:
        """Put the read-only file `source` under the free `name`: reflink, else hard link, else copy; not flushed.

        A hard link shares the inode, so it is made only when we own the file, and `mtime` does not apply to it;
        `copy` forbids it.
        """
        check_component(name)
        with disk_errors(self.path / name), source.open("rb") as file:
            if self._reflink(file.fileno(), name, mtime):
                return
            if not copy and os.fstat(file.fileno()).st_uid == os.geteuid():
                try:
                    os.link(source, name, dst_dir_fd=self._fd, follow_symlinks=False)
                except OSError as error:
                    if error.errno not in CANNOT_LINK:
                        raise
                else:
                    return
            self.write(name, iter(lambda: file.read(_COPY_CHUNK), b""), mtime=mtime, sync=False)

    def _reflink(self, source: int, name: str, mtime: int | None) -> bool:
        if not self._reflinks:
            return False
        temporary, fd = self.temporary(name)
        try:
            with os.fdopen(fd, "wb"):
                self._reflinks = clone(fd, source)
                if self._reflinks:
                    seal(fd, mode=0o644, mtime=mtime, sync=False)
                    self.rename(temporary, name)
                    return True
        except OSError:
            pass  # as where it cannot be done: the caller links or copies
        except BaseException:
            self.discard(temporary)
            raise
        self.remove(temporary)
        return False

    def link(self, name: str, into: "Folder", new: str) -> None:
        """Give the file `name` a second name in another folder of the same file system, else copy it; not flushed."""
        with disk_errors(into.path / new):
            try:
                os.link(
                    check_single(name),
                    check_component(new),
                    src_dir_fd=self._fd,
                    dst_dir_fd=into.fileno(),
                    follow_symlinks=False,
                )
            except OSError as error:
                if error.errno not in CANNOT_LINK:
                    raise
                with os.fdopen(self.open_file(name), "rb") as file:
                    mtime = int(os.fstat(file.fileno()).st_mtime)
                    into.write(new, iter(lambda: file.read(_COPY_CHUNK), b""), mtime=mtime, sync=False)

    def discard(self, name: str) -> None:
        """Remove the file `name` if it is there; never fails."""
        with suppress(OSError):
            os.unlink(name, dir_fd=self._fd)

    def remove(self, name: str) -> None:
        """Remove a file, link, or folder with all in it; absent is fine. No link is followed."""
        self._remove(name, 0)

    def _remove(self, name: str, depth: int) -> None:
        status = self.stat(name)
        if status is None:
            return
        if stat.S_ISDIR(status.st_mode):
            with self.folder(name) as folder:
                check_depth(depth, folder.path)
                for inner in folder.names():
                    folder._remove(inner, depth + 1)  # noqa: SLF001
            with disk_errors(self.path / name):
                os.rmdir(name, dir_fd=self._fd)
        else:
            with disk_errors(self.path / name), suppress(FileNotFoundError):
                os.unlink(name, dir_fd=self._fd)

    def take_over(self, depth: int = 0) -> None:
        """Make this folder and all below it ours (user and group); links themselves, never what they point at."""
        check_depth(depth, self.path)
        with disk_errors(self.path):
            os.fchown(self._fd, os.geteuid(), os.getegid())
        for name in self.names():
            status = self.stat(name)
            if status is not None and stat.S_ISDIR(status.st_mode):
                with self.folder(name) as folder:
                    folder.take_over(depth + 1)
            elif status is not None and status.st_uid != os.geteuid():
                with disk_errors(self.path / name):
                    os.chown(name, os.geteuid(), os.getegid(), dir_fd=self._fd, follow_symlinks=False)

    def walk(self, prefix: str = "") -> Iterator[tuple[str, os.stat_result]]:
        """Yield each file below this folder as (relative path, status), sorted; links and devices are yielded too."""
        for name in self.names():
            status = self.stat(name)
            if status is None:
                continue
            if stat.S_ISDIR(status.st_mode):
                with self.folder(name) as folder:
                    check_depth(prefix.count("/"), folder.path)
                    yield from folder.walk(f"{prefix}{name}/")
            else:
                yield prefix + name, status

    def sync(self) -> None:
        """Flush this directory: its names are on disk when this returns."""
        with disk_errors(self.path):
            os.fsync(self._fd)

    def sync_tree(self, *, files: bool = False) -> None:
        """Flush this directory and all folders below it, children first, with `files` the regular files in them too."""
        for name in self.names():
            status = self.stat(name)
            if status is None:
                continue
            if stat.S_ISDIR(status.st_mode):
                with self.folder(name) as folder:
                    folder.sync_tree(files=files)
            elif files and stat.S_ISREG(status.st_mode):
                with disk_errors(self.path / name), os.fdopen(self.open_file(name), "rb") as file:
                    os.fsync(file.fileno())
        self.sync()

    @contextmanager
    def lock(self, name: str, *, shared: bool = False, wait: Callable[[], bool] | None = None) -> Iterator[None]:
        """Hold a `flock` on the file `name` here; the kernel drops it when the process ends, however it ends.

        Args:
            name: of the lock file, which stays.
            shared: whether other shared holders are welcome.
            wait: asked before each further try; False gives up. None gives up at once.

        Raises:
            BusyError: when another run holds it.
        """
        path = self.path / name
        with disk_errors(path):
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(check_component(name), flags, 0o644, dir_fd=self._fd)
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:  # it is truncated below
                raise HostileInputError(f"not a lock file of ours: {path}", "remove it")
            while not try_lock(fd, path, fcntl.LOCK_SH if shared else fcntl.LOCK_EX):
                if wait is None or not wait():
                    holder = os.pread(fd, 20, 0).decode("ascii", "replace").strip()
                    raise BusyError(
                        f"another run{f' (process {holder})' if holder.isdigit() else ''} holds {path}",
                        "wait for it to end, then run the same command again",
                    )
            if not shared:
                with disk_errors(path):
                    os.ftruncate(fd, 0)
                    os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
            yield
        finally:
            with suppress(OSError):  # the lock is dropped all the same
                os.close(fd)
