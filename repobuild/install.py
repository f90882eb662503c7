"""Bundle -> what can be published: verified, unpacked into a staging folder, typed.

Nothing is visible to a client before all of the bundle was read to its last byte and proven: files go to
`.<name>.repobuild/incoming/` beside the repository, named by their digest, and whoever publishes takes them from there.
A killed install leaves that folder; the next one uses what is right in it and removes the rest (G3).
"""

import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from repobuild.archive.contents import Contents, marker_of
from repobuild.archive.reader import BundleReader
from repobuild.durable import Folder, check_component, disk_errors, seal
from repobuild.errors import DiskError, HostileInputError, RollbackError, VerificationError
from repobuild.model import LOCK_NAME, PRIVATE, Kind, Tree, TreeFile
from repobuild.progress import SILENT, Progress, measured
from repobuild.record import TEXT_LIMIT, parse_marker

_INCOMING = "incoming"
_LOCK = "install.lock"
_SIDECAR_LIMIT = 4096
"""Bytes of a `.sha256` file."""
_SIDECAR = re.compile(r"([0-9a-f]{64})(?:[ ][ *].{1,255})?\n?")
_SPARE = 20
"""One part in so many of the space is left free."""
_TRUNCATED_COPY = "copy the bundle and its .sha256 again; if that does not help, make it again"


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallSpec:
    """Where a bundle goes, and what is there."""

    home: Path
    parts: tuple[str, ...]
    """Of the repository's path below the home: `("pigsty",)`, `("d13.x86_64", "pigsty")`."""
    installed: int | None = None
    """Time of the lock in place, None when there is none."""
    allow_older: bool = False


@dataclass(frozen=True, slots=True)
class Bundle:
    """An open bundle whose contents were read; what they promise is proven only when all of it was read."""

    path: Path
    size: int
    """Bytes of the file."""
    contents: Contents
    sidecar: str | None
    """sha256 that the `.sha256` file beside it demands, None when there is none."""
    reader: BundleReader
    progress: Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """A proven bundle, unpacked into staging; of use until the staging folder is given up."""

    contents: Contents
    tree: Tree
    source: "Staged"
    lock_text: bytes
    sha256: str
    """Of the bundle, without zeros that lengthened it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallPlan:
    """What an install would change; by path, each with its bytes in the bundle."""

    added: dict[str, int]
    changed: dict[str, int]
    kept: dict[str, int]
    removed: tuple[str, ...]
    """Files of the repository in place that the bundle does not have."""


class Staged:
    """The staging folder as a source of payload (`publish.Source`)."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def place(self, sha256: str, folder: Folder, name: str, mtime: int | None = None) -> None:
        """Put the object `sha256` under the free `name` in `folder`: a hard link, else a copy; not flushed.

        Raises:
            VerificationError: when the bundle did not bring it.
        """
        if self._folder.stat(sha256) is None:
            raise VerificationError(f"the bundle did not bring this object: {sha256}")
        self._folder.link(sha256, folder, name)
        if mtime is not None:
            _seal(folder, name, mtime)

    def reseal(self, digests: Iterable[str]) -> None:  # noqa: ARG002 - indexes were staged too
        """Give up all staged names: removing them later would move the ctime of what was published and sealed."""
        for name in self._folder.names():
            self._folder.remove(name)


@contextmanager
def open_bundle(path: Path, progress: Progress = SILENT) -> Iterator[Bundle]:
    """Open a bundle and read its contents; the rest is read, once, by `unpack` or `prove`.

    Raises:
        HostileInputError: when it is not a bundle, or its contents are malformed or unsafe.
        VerificationError: when it ends early, its checksum is wrong, or its `.sha256` file is no such file.
        DiskError: when it cannot be read.
    """
    with Folder.open(path.parent) as folder:
        sidecar = _read_sidecar(folder, path.name)
        with disk_errors(path):
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise HostileInputError(f"not a regular file: {path}")
        with measured(progress, f"read {path.name}", status.st_size):
            reader = BundleReader(fd, path.name, progress.advance)
            yield Bundle(path, status.st_size, reader.contents, sidecar, reader, progress)
    finally:
        os.close(fd)


def prove(bundle: Bundle) -> str:
    """Read the whole bundle without keeping anything; return its sha256.

    Raises:
        RefusedError: when anything in it is not what it has to be.
    """
    for _, content in bundle.reader.members():
        for _ in content:
            pass
    return _finish(bundle)


@contextmanager
def unpack(bundle: Bundle, spec: InstallSpec) -> Iterator[Incoming]:
    """Unpack into the staging folder and yield what can be published; staging is removed on leaving.

    Raises:
        RollbackError: when the bundle is older than what is installed.
        RefusedError: when anything in it is not what it has to be; nothing of it is visible then.
        DiskError: when space or inodes do not suffice, or the disk says so.
        BusyError: when another run installs here.
    """
    _refuse_older(bundle.contents, spec)
    with _working_area(spec) as area, area.lock(_LOCK):
        try:
            with area.folder(_INCOMING, create=True) as incoming:
                yield _unpack(bundle, incoming)
        finally:
            area.remove(_INCOMING)


def plan_install(contents: Contents, marker: bytes) -> InstallPlan:
    """Return what installing `contents` over a repository with this marker (b"" for none) would change.

    Raises:
        HostileInputError: when the marker is none of ours.
    """
    there = parse_marker(marker)
    files = {file.path: file for file in contents.files[:-1]}
    added = {path: file.size for path, file in files.items() if path not in there}
    kept = {path: file.size for path, file in files.items() if there.get(path) == file.sha256}
    return InstallPlan(
        added=added,
        kept=kept,
        changed={path: file.size for path, file in files.items() if path not in added and path not in kept},
        removed=tuple(path for path in there if path not in files),
    )


def _read_sidecar(folder: Folder, name: str) -> str | None:
    text = folder.read(f"{name}.sha256", _SIDECAR_LIMIT)
    if text is None:
        return None
    line = _SIDECAR.fullmatch(text.decode("utf-8", "replace"))
    if line is None:
        raise VerificationError(f"not one sha256sum line: {folder.path / name}.sha256", _TRUNCATED_COPY)
    return line[1]


def _refuse_older(contents: Contents, spec: InstallSpec) -> None:
    if spec.installed is not None and contents.sequence < spec.installed and not spec.allow_older:
        raise RollbackError(
            f"the bundle is older than what is installed: {contents.sequence} before {spec.installed}",
            "to install it nevertheless, give --allow-older",
        )


@contextmanager
def _working_area(spec: InstallSpec) -> Iterator[Folder]:
    """Open the working area of a repository: beside it, or inside it where it is a file system of its own."""
    *above, name = (check_component(part) for part in spec.parts)
    with Folder.open(spec.home, create=True) as home, home.descend(above, create=True) as parent:
        status = parent.stat(name)
        is_mount = (
            status is not None and stat.S_ISDIR(status.st_mode) and status.st_dev != os.fstat(parent.fileno()).st_dev
        )
        if is_mount:
            with parent.folder(name) as repository, repository.folder(PRIVATE, create=True) as area:
                yield area
        else:
            with parent.folder(f".{name}.repobuild", create=True) as area:
                yield area


def _unpack(bundle: Bundle, incoming: Folder) -> Incoming:
    contents = bundle.contents
    here = _usable_leftovers(incoming, contents)
    _require_room(incoming, contents, here)
    for file, content in bundle.reader.members():
        if file.sha256 in here:
            for _ in content:
                pass
        else:
            incoming.write(file.sha256, content, mtime=contents.sequence, sync=False)
            here.add(file.sha256)
    sha256 = _finish(bundle)
    lock_text = incoming.read(contents.lock, TEXT_LIMIT)
    if lock_text is None:
        raise VerificationError(f"the bundle did not bring its lock: {LOCK_NAME}")
    return Incoming(
        contents=contents, tree=_tree(contents), source=Staged(incoming), lock_text=lock_text, sha256=sha256
    )


def _usable_leftovers(incoming: Folder, contents: Contents) -> set[str]:
    """Return which objects an earlier, killed install left whole; everything else in the folder is removed."""
    wanted = {file.sha256: file.size for file in contents.files}
    usable = set()
    for name in incoming.names():
        status = incoming.stat(name)
        is_whole = (
            status is not None
            and stat.S_ISREG(status.st_mode)
            and status.st_nlink == 1
            and status.st_uid == os.geteuid()
            and status.st_size == wanted.get(name)
            and incoming.sha256(name) == name
        )
        if is_whole:
            _seal(incoming, name, contents.sequence)
            usable.add(name)
        else:
            incoming.remove(name)
    return usable


def _require_room(folder: Folder, contents: Contents, here: set[str]) -> None:
    missing = {file.sha256: file.size for file in contents.files if file.sha256 not in here}
    need = sum(missing.values())
    need += need // _SPARE
    with disk_errors(folder.path):
        status = os.fstatvfs(folder.fileno())
    free = status.f_bavail * status.f_frsize
    if need > free:
        raise DiskError(
            f"the bundle needs {need} bytes, {free} are free: {folder.path}",
            "free some space or choose another --home, then run the same command again",
        )
    names = 2 * len(contents.files)
    if status.f_files and names > status.f_favail:
        raise DiskError(
            f"the bundle needs {names} inodes, {status.f_favail} are free: {folder.path}",
            "remove some files or choose another --home, then run the same command again",
        )


def _finish(bundle: Bundle) -> str:
    """Prove the end of the bundle and the digest beside it; return the bundle's sha256."""
    archive, whole = bundle.reader.finish()
    if bundle.sidecar is not None and bundle.sidecar not in {archive, whole}:
        raise VerificationError(f"not what {bundle.path.name}.sha256 says: {bundle.path}: {whole}", _TRUNCATED_COPY)
    return archive


def _tree(contents: Contents) -> Tree:
    """Return the files in commit order; all but the marker come from staging."""
    marker: TreeFile = contents.files[-1]
    content = marker_of(contents)
    files = sorted(contents.files[:-1], key=lambda file: (file.kind, file.path.encode()))
    last = TreeFile(path=marker.path, kind=Kind.MARKER, size=marker.size, sha256=marker.sha256, content=content)
    return Tree(contents.name, contents.sequence, (*files, last))


def _seal(folder: Folder, name: str, mtime: int) -> None:
    with disk_errors(folder.path / name), os.fdopen(folder.open_file(name), "rb") as file:
        seal(file.fileno(), mode=0o644, mtime=mtime, sync=False)
