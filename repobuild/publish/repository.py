"""One published repository: publish into it, ask what it holds, go back to what it held before."""

import dataclasses
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from repobuild.durable import Folder, check_component, disk_errors
from repobuild.errors import DiskError
from repobuild.model import LOCK_NAME, MARKER, PRIVATE, Kind, Tree
from repobuild.progress import SILENT, Progress
from repobuild.publish.area import LOCK, NEXT, Area, open_repository, refuse_strange_folder
from repobuild.publish.notices import permission_hint, tell_of_owner, tell_of_strangers
from repobuild.publish.piecewise import remove_file, replace_files
from repobuild.publish.seals import is_intact, seal_all
from repobuild.publish.sources import PreviousGeneration, Source
from repobuild.publish.staging import CARRY_SECONDS, Former, stage
from repobuild.record import GENERATION, Generation, read_generation, read_text

Exchange = Callable[[Folder, str, Folder, str], bool]


def _admit_all() -> None:
    """Set no condition."""


@dataclass(frozen=True, slots=True)
class Current:
    """What is published now."""

    marker: bytes
    lock_text: bytes | None
    """The lock inside, None when another tool made the repository."""
    generation: Generation | None
    """None when it was not published here: unpacked from a bundle, or made by another tool."""


class Repository:
    """The repository at `<home>/<parts…>`, its working area beside it.

    Links in `home` are followed, the operator's own choice; none below it is.
    """

    def __init__(self, home: Path, parts: tuple[str, ...], *, exchange: Exchange = Folder.exchange) -> None:
        """Name the place; nothing is opened.

        Args:
            home: the web root.
            parts: of the path below it: `("pigsty",)`, `("d13.x86_64", "pigsty")`.
            exchange: swaps two folders, or says that it cannot.
        """
        self._home = home
        self._above = tuple(check_component(part) for part in parts[:-1])
        self._name = check_component(parts[-1])
        self._exchange = exchange

    @property
    def path(self) -> Path:
        """Where the repository is."""
        return self._home.joinpath(*self._above, self._name)

    def publish(
        self,
        tree: Tree,
        source: Source,
        *,
        beside: Mapping[str, bytes],
        now: int,
        progress: Progress = SILENT,
        admit: Callable[[], None] = _admit_all,
    ) -> None:
        """Make `tree` what this repository serves: until then the former one is served, and on failure still.

        Args:
            tree: what to publish.
            source: has the payload.
            beside: files that lie next to the repository's folder, by name.
            now: seconds since the epoch, for what is carried over.
            progress: hears what is done.
            admit: called when no other run can publish here any more; what it raises leaves everything as it is.

        Raises:
            BusyError: when another run publishes here.
            DiskError: when it cannot be written, or something else stands in its place.
            VerificationError: when the source gives other payload than the tree names.
        """
        with self._locked(progress) as area:
            area.settle()
            admit()
            repository = area.repository()
            former = Former.read(repository) if repository is not None else None
            if former is not None:
                tell_of_strangers(former, progress)
            generation = stage(area, tree, source, former, now, progress)
            dropped = self._commit(area, tree, former, generation)
            dropped |= area.settle()
            source.reseal(sorted({file.sha256 for file in tree.files if file.kind is Kind.PAYLOAD} | dropped))
            _write_beside(area.parent, beside)
            seal_all(area.repository(), tree)

    def take_over(self) -> None:
        """Make the folders down to the repository, and everything in it, ours: `--fix-owner`.

        Raises:
            DiskError: when that is not for this user to do, or a link stands in the way.
        """
        with self._parent() as parent:
            if parent is None:
                return
            for name in (self._name, f".{self._name}.repobuild"):
                folder = open_repository(parent, name)
                if folder is not None:
                    folder.take_over()
            with disk_errors(parent.path):
                os.fchown(parent.fileno(), os.geteuid(), os.getegid())

    def write_beside(self, beside: Mapping[str, bytes]) -> None:
        """Write those of the files next to the repository's folder whose bytes differ, as `publish` does.

        Raises:
            DiskError: when they cannot be written.
        """
        with self._parent() as parent:
            if parent is not None and not _differing(parent, beside):
                return
        with self._locked(SILENT) as area:
            _write_beside(area.parent, beside)

    def current(self) -> Current | None:
        """Return what is published, None when there is no marker.

        Raises:
            DiskError: when a link or a file stands in the repository's place.
        """
        with self._opened() as repository:
            marker = read_text(repository, MARKER) if repository is not None else None
            if repository is None or marker is None:
                return None
            return Current(marker, read_text(repository, LOCK_NAME), read_generation(repository))

    def is_intact(self, progress: Progress = SILENT) -> bool:
        """Whether every file that the marker lists is unchanged.

        What differs from the stat record is hashed, and the record brought up to date where that is possible; a
        repository that was not published here is hashed once.
        """
        with self._opened() as repository:
            marker = read_text(repository, MARKER) if repository is not None else None
            if repository is None or marker is None:
                return False
            return is_intact(repository, marker, progress)

    def refuse_place(self) -> None:
        """Return when something may be published here, as far as that can be told without changing anything.

        Raises:
            DiskError: when a link or a file stands where a folder has to be, or a folder that is no repository.
        """
        with self._parent() as parent:
            repository = open_repository(parent, self._name) if parent is not None else None
            if repository is not None:
                refuse_strange_folder(repository)
            area = Area.find(parent, self._name) if parent is not None else None
            if area is not None:
                area.former()

    def previous(self) -> PreviousGeneration | None:
        """Return the generation before this one, as the source of a rollback; None when there is none.

        Raises:
            RefusedError: when it says about itself what cannot be.
        """
        with self._parent() as parent:
            area = Area.find(parent, self._name) if parent is not None else None
            former = area.former() if area is not None else None
            return PreviousGeneration(former) if former is not None else None

    def prune(self, now: int) -> None:
        """Remove what was carried over for longer than seven days.

        Raises:
            BusyError: when another run publishes here.
        """
        if self.current() is None:
            return
        with self._locked(SILENT) as area:
            area.settle()
            repository = area.repository()
            generation = read_generation(repository) if repository is not None else None
            if repository is None or generation is None:
                return
            expired = [path for path, each in generation.carried.items() if each.since + CARRY_SECONDS <= now]
            for path in expired:
                remove_file(repository, path)
            if expired:
                kept = {path: each for path, each in generation.carried.items() if path not in expired}
                with repository.folder(PRIVATE) as private:
                    private.write(GENERATION, dataclasses.replace(generation, carried=kept).to_bytes())

    def _commit(self, area: Area, tree: Tree, former: Former | None, generation: Generation) -> set[str]:
        """Put `next` in the repository's place; return the digests of what is gone."""
        if former is None:
            area.folder.rename(NEXT, area.name, area.parent)
            area.parent.sync()
            area.folder.sync()
            return set()
        if self._exchange(area.folder, NEXT, area.parent, area.name):
            return set()
        return replace_files(area, tree, former, generation)

    @contextmanager
    def _locked(self, progress: Progress) -> Iterator[Area]:
        """Open the working area and hold its lock; a missing permission is said with the owner's name."""
        try:
            with Folder.open(self._home, create=True) as home, home.descend(self._above, create=True) as parent:
                tell_of_owner(parent, progress)
                repository = open_repository(parent, self._name)
                if repository is not None:
                    refuse_strange_folder(repository)
                area = Area.make(parent, self._name)
                with area.folder, area.folder.lock(LOCK):
                    yield area
        except DiskError as error:
            if isinstance(error.__cause__, PermissionError):
                raise DiskError(error.message, permission_hint(self.path) or error.hint) from error
            raise

    @contextmanager
    def _parent(self) -> Iterator[Folder | None]:
        """Open the folder that the repository is in; None when it is not there."""
        if not self._home.is_dir():
            yield None
            return
        with Folder.open(self._home) as home:
            here: Folder | None = home
            for part in self._above:
                here = open_repository(here, part) if here is not None else None
            yield here

    @contextmanager
    def _opened(self) -> Iterator[Folder | None]:
        """Open the repository; None when it is not there."""
        with self._parent() as parent:
            yield open_repository(parent, self._name) if parent is not None else None


def _write_beside(parent: Folder, beside: Mapping[str, bytes]) -> None:
    for name in _differing(parent, beside):
        parent.sweep(name)
        parent.write(name, beside[name])


def _differing(parent: Folder, beside: Mapping[str, bytes]) -> list[str]:
    """Return the names whose file is not there with these bytes; a link in its place differs, and will be replaced."""
    differing = []
    for name, content in sorted(beside.items()):
        status = parent.stat(name)
        is_file = status is not None and stat.S_ISREG(status.st_mode) and status.st_size == len(content)
        if not is_file or parent.read(name, len(content)) != content:
            differing.append(name)
    return differing
