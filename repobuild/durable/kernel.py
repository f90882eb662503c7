"""What the kernel offers that Python does not name, and its errors as ours."""

import ctypes
import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from repobuild.errors import DiskError, HostileInputError

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FICLONE = 0x40049409
_RENAME_EXCHANGE = 2
CANNOT_LINK = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EACCES}
_CANNOT_EXCHANGE = {errno.EBUSY, errno.EXDEV, errno.EINVAL, errno.ENOSYS}
_CANNOT_REFLINK = {errno.EXDEV, errno.EOPNOTSUPP, errno.ENOTTY, errno.ENOSYS, errno.EINVAL}
_DEPTH_LIMIT = 64
"""Levels of folders that are followed downwards."""

_HINTS = {
    errno.ENOSPC: "free some space or choose another --home or store, then run the same command again",
    errno.EDQUOT: "the quota of this user is used up: free some space, then run the same command again",
    errno.EACCES: "run as the owner of this folder, or choose another with --home",
    errno.EPERM: "run as the owner of this folder, or choose another with --home",
    errno.EROFS: "the file system is mounted read-only: choose another place with --home",
    errno.ELOOP: "a symbolic link stands where a folder or file of ours has to be: remove it",
    errno.ENOTDIR: "a file or link stands where a folder of ours has to be: remove it",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
}


@contextmanager
def disk_errors(what: Path | str) -> Iterator[None]:
    """Turn an OSError about `what` into a DiskError that names it and says what to do."""
    try:
        yield
    except OSError as error:
        reason = (os.strerror(error.errno) if error.errno else str(error)).lower()
        raise DiskError(f"{reason}: {what}", _HINTS.get(error.errno or 0)) from error


def check_component(name: str) -> str:
    """Return `name` when it is one safe path component.

    Raises:
        HostileInputError: for an empty name, `.`, `..`, a separator, a control character or more than 255 bytes.
    """
    if not name.isprintable() or len(os.fsencode(check_single(name))) > 255:
        raise HostileInputError(f"not a safe file name: {name[:80]!r}")
    return name


def check_single(name: str) -> str:
    """Return `name` when it names something in its folder and nowhere else."""
    if name in {"", ".", ".."} or "/" in name or "\0" in name:
        raise HostileInputError(f"not a safe file name: {name[:80]!r}")
    return name


def seal(fd: int, *, mode: int, mtime: int | None, sync: bool) -> None:
    """Set the mode and, when given, the modification time (seconds) of an open file; flush it when asked."""
    os.fchmod(fd, mode)
    if mtime is not None:
        os.utime(fd, (mtime, mtime))
    if sync:
        os.fsync(fd)


def make_parents(path: Path) -> None:
    """Make `path` and what is missing above it, each new name flushed."""
    if path.is_dir():
        return
    make_parents(path.parent)
    with suppress(FileExistsError):
        path.mkdir(mode=0o755)
        path.chmod(0o755)
    parent = os.open(path.parent, DIRECTORY)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)


def temporary_stem(name: str) -> str:
    """Return how the temporary names of `name` begin; short enough that they fit in 255 bytes."""
    return f".{os.fsencode(name)[:200].decode('utf-8', 'ignore')}."


def check_depth(depth: int, path: Path) -> None:
    """Refuse to follow folders without end."""
    if depth >= _DEPTH_LIMIT:
        raise HostileInputError(f"folders nested deeper than {_DEPTH_LIMIT}: {path}", "remove that folder")


def try_lock(fd: int, path: Path, operation: int) -> bool:
    """Take a `flock` without waiting; False when another holds it."""
    with disk_errors(path):
        try:
            fcntl.flock(fd, operation | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def clone(target: int, source: int) -> bool:
    """Make the empty file `target` share the extents of `source`; False where these places never can.

    Raises:
        OSError: for any other reason.
    """
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError as error:
        if error.errno in _CANNOT_REFLINK:
            return False
        raise
    return True


def exchange(name: str, folder: int, other_name: str, other_folder: int) -> bool:
    """Swap two names of two open folders in one step; False where this file system or place cannot do it.

    Raises:
        OSError: for any other reason.
    """
    old, new = os.fsencode(name), os.fsencode(other_name)
    if _renameat2(folder, old, other_folder, new, _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _CANNOT_EXCHANGE:
        return False
    raise OSError(number, os.strerror(number))


def _load_renameat2() -> Callable[..., int]:
    libc = ctypes.CDLL(None, use_errno=True)
    function: Callable[..., int] | None = getattr(libc, "renameat2", None)
    if function is None:  # a C library older than glibc 2.28
        return lambda *_: ctypes.set_errno(errno.ENOSYS) or -1
    return function


_renameat2 = _load_renameat2()
