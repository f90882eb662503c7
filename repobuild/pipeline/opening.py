"""Lock, repository or bundle -> what is in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from repobuild import install as installing
from repobuild import lock
from repobuild.durable import Folder, disk_errors
from repobuild.errors import UsageError, VerificationError
from repobuild.formats import FORMATS
from repobuild.formats.protocol import Format, Objects
from repobuild.formats.values import Detail
from repobuild.graph import Graph
from repobuild.model import LOCK_NAME, Lock, Package, Target
from repobuild.pipeline.locking import read_lock
from repobuild.pipeline.session import Session
from repobuild.targets import parse_target


@dataclass(frozen=True, slots=True)
class Opened:
    """A lock, and where its packages may lie beside the store."""

    lock: Lock
    text: bytes
    path: Path
    """Of what was opened: a repository's folder, a bundle or a lock."""
    folder: Path | None = None
    """Of a repository that may hold its packages."""

    @property
    def is_bundle(self) -> bool:
        """Whether it is neither a folder nor the lock itself."""
        return not self.path.is_dir() and not is_lock(self.path)

    @property
    def target(self) -> Target:
        """What it is for."""
        return parse_target(self.lock.target)

    @property
    def form(self) -> Format:
        """The room of its family."""
        return FORMATS[self.target.family]

    @property
    def packages(self) -> Sequence[Package]:
        """The packages of its choices, in their order."""
        return [choice.package for choice in self.lock.choices]

    def details(self, objects: Objects) -> tuple[Detail, ...]:
        """Return what its packages say of themselves, given their files."""
        return self.form.details(self.packages, objects, self.target, self.lock.options)


def open_place(session: Session, path: Path, name: str = "") -> Opened:
    """Open what lies at `path`: a repository's folder, a bundle, or a lock.

    Of a bundle with several repositories it is the one of this name, "" for the first, which is said.

    Raises:
        UsageError: when nothing is there, or a folder that is no repository of ours.
        RefusedError: when a bundle or lock is not what it has to be.
    """
    if path.is_dir():
        with Folder.open(path.absolute()) as folder:
            text = folder.read(LOCK_NAME, lock.LIMIT)
        if text is None:
            raise UsageError(f"no repository of repobuild's: {path}", "name one that holds a repobuild.lock")
        return Opened(lock.read(text, f"the lock in {path}"), text, path, path)
    if not path.is_file():
        raise UsageError(f"there is no such lock, repository or bundle: {path}")
    text = _content(path) if is_lock(path) else _text_in_bundle(session, path.absolute(), name)
    return Opened(lock.read(text, str(path)), text, path)


def open_target(session: Session, target: Target, name: str, path: Path) -> Opened:
    """Open a target's lock at `path`; where there is none, that of the repository which is published.

    Raises:
        UsageError: when there is neither.
    """
    repository = session.repository(target.name, name).path
    there = open_place(session, repository) if (repository / LOCK_NAME).is_file() else None
    chosen = read_lock(path)
    if chosen is not None and chosen.target == target.name and (there is None or chosen != there.lock):
        return Opened(chosen, lock.write(chosen), path, there.path if there is not None else None)
    if there is None:
        raise UsageError(f"there is neither a lock nor a repository of {target}: {path}", "repobuild lock, or sync")
    return there


def details_of(session: Session, opened: Opened) -> tuple[Detail, ...]:
    """Return what the packages of a lock say of themselves.

    Raises:
        UsageError: when that takes a package file which is neither in the store nor in the repository.
    """
    here = {each.sha256: each for each in opened.packages}

    def find(sha256: str) -> Path:
        package = here[sha256]
        if session.store.has(sha256, package.size):
            return session.store.path(sha256)
        place = opened.folder / package.filename if opened.folder is not None else None
        if place is not None and place.is_file():
            return place
        raise UsageError(
            f"what packages say stands in their files, and the store lacks one: {package.filename}",
            "bring them: repobuild sync",
        )

    return opened.details(find)


def graph_of(details: Sequence[Detail]) -> Graph:
    """Return who needs whom, and whom the empty base asks for."""
    base = (number for number, each in enumerate(details) if each.is_base)
    return Graph(len(details), (need for each in details for need in each.needs), base)


def is_lock(path: Path) -> bool:
    """Say whether a file begins as a lock does, whatever its name; a bundle never does."""
    with disk_errors(path), path.open("rb") as file:
        return file.read(1) == b"{"


def _content(path: Path) -> bytes:
    with disk_errors(path), path.open("rb") as file:
        return file.read(lock.LIMIT + 1)


def _text_in_bundle(session: Session, path: Path, name: str) -> bytes:
    """Read a bundle up to the lock of a repository, whose digest its contents state."""
    part = installing.inspect(path.absolute(), None, session.progress)
    names = [each.name for each in part.repositories]
    if name not in ("", *names):
        raise UsageError(f"the bundle holds no repository {name}: {path}: it holds {', '.join(names)}")
    wanted = name or names[0]
    if not name and len(names) > 1:
        session.progress.note(f"{path} holds {', '.join(names)}; taken: {wanted} (choose with --name)")
    text = installing.read_text(part, wanted, LOCK_NAME, session.progress)
    if text is None:
        raise VerificationError(f"the bundle holds no lock: {path}")
    return text
