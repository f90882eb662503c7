"""The working area of a repository: what is being built, the generation before, and the lock on both.

It is `.<name>.repobuild/` beside the repository, or `.repobuild/` inside it where the repository is a mount point:
files have to be renamed from one to the other.

    lock        held while anything here or in the repository changes
    stage/      a tree being built; of no worth after a kill
    next/       a whole tree, flushed; after the exchange the former generation, until it is renamed to
    previous/   the generation before the current one
    trash/      being removed
"""

import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from repobuild.durable import Folder, disk_errors
from repobuild.errors import DiskError, HostileInputError
from repobuild.model import MARKER, PRIVATE
from repobuild.record import GENERATION, parse_marker, read_generation, read_text

LOCK = "lock"
STAGE = "stage"
NEXT = "next"
PREVIOUS = "previous"
_TRASH = "trash"


@dataclass(frozen=True, slots=True)
class Area:
    """An open working area and the place of its repository."""

    parent: Folder
    name: str
    folder: Folder

    @classmethod
    def find(cls, parent: Folder, name: str) -> "Area | None":
        """Open the area of `parent`/`name`, None when there is none."""
        holder, area = _place_of(parent, name)
        return cls(parent, name, holder.folder(area)) if holder.stat(area) is not None else None

    @classmethod
    def make(cls, parent: Folder, name: str) -> "Area":
        """Open the area of `parent`/`name`, made when there is none."""
        holder, area = _place_of(parent, name)
        is_new = holder.stat(area) is None
        folder = holder.folder(area, create=True)
        if is_new:
            holder.sync()
        return cls(parent, name, folder)

    def repository(self) -> Folder | None:
        """Open the repository, None when there is none; see `open_repository`."""
        return open_repository(self.parent, self.name)

    def settle(self) -> set[str]:
        """Bring the area to rest, after a publication or a killed one: only `lock` and `previous` are left.

        Returns:
            The digests of the files that went with a generation older than the previous one.
        """
        self._sweep()
        for leftover in (STAGE, _TRASH):
            self.folder.remove(leftover)
        if self.folder.stat(NEXT) is None:
            return set()
        if self.holds_former(NEXT):
            return self.make_previous(NEXT)
        self.folder.remove(NEXT)
        return set()

    def make_previous(self, name: str) -> set[str]:
        """Let the folder `name` here be the previous generation; the one before it is removed.

        Returns:
            The digests of the files that went with it.
        """
        self.folder.remove(_TRASH)
        dropped: set[str] = set()
        if self.folder.stat(PREVIOUS) is not None:
            self.folder.rename(PREVIOUS, _TRASH)
            with self.folder.folder(_TRASH) as trash:
                dropped.update(listed_in(trash).values())
        self.folder.rename(name, PREVIOUS)
        self.folder.sync()
        self.folder.remove(_TRASH)
        return dropped

    def holds_former(self, name: str) -> bool:
        """Whether the folder `name` here is a former generation, not a tree that was never published.

        What we stage has a record with a higher serial number than the repository's; what other tools made has none.
        One with the repository's own marker is the same generation, published once more.
        """
        repository = self.repository()
        with self.folder.folder(name) as folder:
            marker = read_text(folder, MARKER)
            former = read_generation(folder)
        if marker is None or (repository is not None and read_text(repository, MARKER) == marker):
            return False
        return former is None or former.serial < _serial(repository)

    def former(self) -> Folder | None:
        """Open the generation before the current one, None when there is none; changes nothing."""
        if self.folder.stat(NEXT) is not None and self.holds_former(NEXT):
            return self.folder.folder(NEXT)
        return self.folder.folder(PREVIOUS) if self.folder.stat(PREVIOUS) is not None else None

    def next_serial(self) -> int:
        """Return the serial number of the next generation."""
        return max(_serial(self.repository()), _serial(self.former())) + 1

    def _sweep(self) -> None:
        """Remove temporary files that killed runs left in the repository's own folder."""
        repository = self.repository()
        if repository is not None and repository.stat(PRIVATE) is not None:
            with repository.folder(PRIVATE) as private:
                private.sweep(GENERATION)


def open_repository(parent: Folder, name: str) -> Folder | None:
    """Open the repository `name` in `parent`, None when nothing is there.

    Raises:
        DiskError: when a link or a file stands there, or a folder with files that was never a repository.
    """
    status = parent.stat(name)
    path = parent.path / name
    if status is None:
        return None
    if stat.S_ISLNK(status.st_mode):
        raise DiskError(
            f"a symbolic link stands where the repository has to be: {path}",
            "remove the link; to publish elsewhere, give that folder's parent with --home",
        )
    if not stat.S_ISDIR(status.st_mode):
        raise DiskError(f"a file stands where the repository has to be: {path}", "move it away")
    return parent.folder(name)


def refuse_strange_folder(repository: Folder) -> None:
    """Refuse to take the place of a folder that holds files but was never a repository.

    Raises:
        DiskError: when it has neither marker nor record.
    """
    names = set(repository.names()) - {"lost+found"}
    if names and not names & {MARKER, PRIVATE}:
        raise DiskError(
            f"this folder holds files but no {MARKER}, so it is no repository: {repository.path}",
            "move it away, or publish under another name",
        )


def listed_in(folder: Folder) -> dict[str, str]:
    """Return the digest of each path that the marker in a folder lists, empty when it is none of ours."""
    with suppress(HostileInputError):
        return parse_marker(read_text(folder, MARKER) or b"")
    return {}


def _place_of(parent: Folder, name: str) -> tuple[Folder, str]:
    """Return the folder and the name in it of a repository's working area."""
    return (parent.folder(name), PRIVATE) if _is_mount_point(parent, name) else (parent, f".{name}.repobuild")


def _is_mount_point(parent: Folder, name: str) -> bool:
    """Whether `name` in `parent` is a folder of another mount, out of and into which nothing can be renamed."""
    status = parent.stat(name)
    if status is None or not stat.S_ISDIR(status.st_mode):
        return False
    with parent.folder(name) as folder:
        if os.fstat(folder.fileno()).st_dev != os.fstat(parent.fileno()).st_dev:
            return True
        return _mount_of(folder) != _mount_of(parent)  # a bind mount shares the device


def _mount_of(folder: Folder) -> str | None:
    """Return what tells the mount of an open folder, None where there is no /proc.

    Any other failure is an error: taken for an answer, it would look for the working area in the wrong place.
    """
    path = Path(f"/proc/self/fdinfo/{folder.fileno()}")
    with disk_errors(path):
        try:
            lines = path.read_text("utf-8").splitlines()
        except FileNotFoundError:
            return None
    return next((line for line in lines if line.startswith("mnt_id:")), None)


def _serial(folder: Folder | None) -> int:
    generation = read_generation(folder) if folder is not None else None
    return generation.serial if generation is not None else 0
