"""Where a bundle goes: the repository in place, the working area beside it, and what room there is."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from repobuild.durable import Folder, check_component, disk_errors
from repobuild.errors import DiskError, HostileInputError
from repobuild.model import MARKER, PRIVATE
from repobuild.record import located, parse_marker, read_text

INCOMING = "incoming"
_SPARE = 20
"""One part in so many of the space is left free."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallSpec:
    """Where a bundle goes."""

    home: Path
    parts: tuple[str, ...]
    """Of the repository's path below the home: `("pigsty",)`, `("d13.x86_64", "pigsty")`."""

    @property
    def path(self) -> Path:
        """Where the repository is, or will be."""
        return self.home.joinpath(*self.parts)


@contextmanager
def working_area(spec: InstallSpec) -> Iterator[Folder]:
    """Open the working area of a repository: beside it, or inside it where it is a file system of its own."""
    *above, name = (check_component(part) for part in spec.parts)
    with Folder.open(spec.home, create=True) as home, home.descend(above, create=True) as parent:
        if _is_mount(parent, name):
            with parent.folder(name) as repository, repository.folder(PRIVATE, create=True) as area:
                yield area
        else:
            with parent.folder(f".{name}.repobuild", create=True) as area:
                yield area


@contextmanager
def repository_in_place(spec: InstallSpec) -> Iterator[Folder | None]:
    """Open the repository that is there, None when there is none; nothing is made, no link below the home followed."""
    with _parent(spec) as parent:
        name = check_component(spec.parts[-1])
        status = parent.stat(name) if parent is not None else None
        if parent is None or status is None or not stat.S_ISDIR(status.st_mode):
            yield None
            return
        with parent.folder(name) as repository:
            yield repository


def staged_digests(spec: InstallSpec) -> dict[str, int]:
    """Return the size of each file that waits in the staging folder, by the digest it is named for; not hashed."""
    name = check_component(spec.parts[-1])
    with _parent(spec) as parent:
        if parent is None:
            return {}
        above = (name, PRIVATE) if _is_mount(parent, name) else (f".{name}.repobuild",)
        here = parent
        for part in (*above, INCOMING):
            status = here.stat(part)
            if status is None or not stat.S_ISDIR(status.st_mode):
                return {}
            here = here.folder(part)
        found = {each: here.stat(each) for each in here.names()}
        return {each: status.st_size for each, status in found.items() if status and stat.S_ISREG(status.st_mode)}


def listed_in(repository: Folder) -> dict[str, str]:
    """Return the digest of each path in the marker of an open repository; empty when it is none of ours."""
    try:
        return parse_marker(read_text(repository, MARKER) or b"")
    except HostileInputError:
        return {}


def status_of(repository: Folder, path: str) -> os.stat_result | None:
    """Return the status of a regular file in a repository, None when there is none."""
    try:
        with located(repository, path) as (folder, name):
            status = folder.stat(name)
    except DiskError as error:
        if isinstance(error.__cause__, FileNotFoundError | NotADirectoryError):
            return None
        raise
    return status if status is not None and stat.S_ISREG(status.st_mode) else None


def with_spare(count: int) -> int:
    """Return how many bytes have to be free for `count` to be written."""
    return count + count // _SPARE


def free_at(path: Path) -> int:
    """Return the bytes that are free where a folder is, or would be made."""
    present = _present(path)
    with disk_errors(present):
        status = os.statvfs(present)
    return status.f_bavail * status.f_frsize


def device_at(path: Path) -> int:
    """Return the number of the file system where a folder is, or would be made."""
    present = _present(path)
    with disk_errors(present):
        return present.stat().st_dev


def require_room(folder: Folder, need: int, names: int) -> None:
    """Make sure that bytes and names find room where a folder is.

    Raises:
        DiskError: when they do not.
    """
    with disk_errors(folder.path):
        status = os.fstatvfs(folder.fileno())
    free = status.f_bavail * status.f_frsize
    if need > free:
        raise DiskError(
            f"the bundle needs {need} bytes, {free} are free: {folder.path}",
            "free some space or choose another --home, then run the same command again",
        )
    if status.f_files and names > status.f_favail:
        raise DiskError(
            f"the bundle needs {names} inodes, {status.f_favail} are free: {folder.path}",
            "remove some files or choose another --home, then run the same command again",
        )


@contextmanager
def _parent(spec: InstallSpec) -> Iterator[Folder | None]:
    """Open the folder that the repository is in, None when there is none."""
    if not spec.home.is_dir():
        yield None
        return
    with Folder.open(spec.home) as home:
        here = home
        for part in spec.parts[:-1]:
            status = here.stat(check_component(part))
            if status is None or not stat.S_ISDIR(status.st_mode):
                yield None
                return
            here = here.folder(part)
        yield here


def _is_mount(parent: Folder, name: str) -> bool:
    """Whether the repository is a file system of its own, out of and into which nothing can be renamed."""
    status = parent.stat(name)
    return status is not None and stat.S_ISDIR(status.st_mode) and status.st_dev != os.fstat(parent.fileno()).st_dev


def _present(path: Path) -> Path:
    return next(above for above in (path, *path.absolute().parents) if above.is_dir())
