"""The staging folder of an install: what came, by digest, until the whole tree is there.

It is `incoming/` in the working area beside the repository. Nothing in it is visible to a client or believed for lying
there: each run hashes what it finds before it uses it. So the parts of a bundle may come in any order and over several
runs, and a killed run is continued. What a refused part brought goes with the refusal; a publication clears the folder.
"""

import json
import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from repobuild.archive.contents import Contents, marker_of
from repobuild.archive.text import encode_contents
from repobuild.durable import Folder, disk_errors, seal
from repobuild.errors import HostileInputError, RefusedError, VerificationError
from repobuild.install.part import Part, finish_reading, reading
from repobuild.install.place import (
    INCOMING,
    InstallSpec,
    listed_in,
    repository_in_place,
    require_room,
    status_of,
    with_spare,
    working_area,
)
from repobuild.model import LOCK_NAME, PROOF_NAME, Kind, Tree, TreeFile
from repobuild.progress import SILENT, Progress, measured
from repobuild.record import TEXT_LIMIT, located, sha256_of

_LOCK = "install.lock"
_ARRIVALS = "parts.json"
_ARRIVALS_LIMIT = 1 << 20
"""Bytes of the list of parts that came."""
_DIGEST = re.compile(r"[0-9a-f]{64}")
_CHUNK = 1 << 20
"""Bytes copied at a time."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A part that came, in this run or an earlier one."""

    file: str
    size: int
    sha256: str
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """A whole tree, every file of it proven; of use until the staging folder is given up."""

    contents: Contents
    tree: Tree
    source: "Staged"
    lock_text: bytes
    proof_text: bytes | None
    """The receipt of the proof that it installs; None where it was published before there were any."""
    arrivals: tuple[Arrival, ...]


class Staged:
    """The staging folder as a source of payload (`publish.Source`)."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def place(self, sha256: str, folder: Folder, name: str, mtime: int | None = None) -> None:
        """Put the object `sha256` under the free `name` in `folder`: a hard link, else a copy; not flushed.

        Raises:
            VerificationError: when no part brought it.
        """
        status = self._folder.stat(sha256)
        if status is None:
            raise VerificationError(f"the bundle did not bring this object: {sha256}")
        self._folder.link(sha256, folder, name)
        if mtime is not None and status.st_nlink == 1:  # another name is one in the repository in place
            _seal(folder, name, mtime)

    def reseal(self, digests: Iterable[str]) -> None:  # noqa: ARG002 - indexes were staged too
        """Give up all staged names: removing them later would move the ctime of what was published and sealed."""
        for name in self._folder.names():
            self._folder.remove(name)


class Staging:
    """An open staging folder that fills up with what one bundle's contents list."""

    def __init__(self, folder: Folder, place: Folder | None, contents: Contents, progress: Progress) -> None:
        self._folder = folder
        self._place = place
        self._contents = contents
        self._progress = progress
        self._wanted = {file.sha256: file.size for file in needed(contents)}
        self._here = self._usable_leftovers()
        self._written: list[str] = []
        """What this run wrote."""
        self._arrivals = _read_arrivals(folder, contents)

    def require_room(self) -> None:
        """Make sure that all that has still to come finds room; what is linked from the repository in place needs none.

        Raises:
            DiskError: when it does not.
        """
        linked = {digest for digest, path in self._to_take().items() if self._is_ours(path)}
        absent = {digest: size for digest, size in self._wanted.items() if digest not in self._here | linked}
        require_room(self._folder, with_spare(sum(absent.values())), 2 * len(self._contents.files))

    @property
    def repository(self) -> str:
        """Name of the repository that this is for."""
        return self._contents.name

    def take(self, file: TreeFile, content: Iterator[bytes]) -> None:
        """Write a file of a part, or pass over what is here already."""
        if file.sha256 in self._here or file.sha256 not in self._wanted:
            for _ in content:
                pass
            return
        self._written.append(file.sha256)
        self._folder.write(file.sha256, content, mtime=self._contents.sequence, sync=False)
        self._here.add(file.sha256)

    def note(self, arrival: Arrival) -> None:
        """Note that a part came whole."""
        self._arrivals[arrival.number] = arrival

    def take_from_place(self) -> None:
        """Take from the repository in place what no part carries: found by its marker, and hashed."""
        found = self._to_take()
        with measured(self._progress, "check what is in place", sum(self._wanted[digest] for digest in found)):
            for digest, path in found.items():
                if self._take_one(path, digest):
                    self._here.add(digest)
                self._progress.advance(self._wanted[digest])

    def absent(self) -> tuple[tuple[TreeFile, int], ...]:
        """Return the files that are not there yet, each with the number of the part that carries it, 0 for none."""
        carriers = self._contents.carriers or (1,) * len(self._contents.files)
        pairs = zip(needed(self._contents), carriers, strict=False)  # the marker, last of all, need not come
        return tuple((file, part) for file, part in pairs if file.sha256 not in self._here)

    def finish(self) -> Incoming:
        """Return what can be published: every file of it is there.

        Raises:
            VerificationError: when one is not.
        """
        for file, _ in self.absent():
            raise VerificationError(f"no part brought this file: {file.path}")
        lock_text = self._folder.read(self._contents.lock, TEXT_LIMIT)
        if lock_text is None:
            raise VerificationError(f"the bundle did not bring its lock: {LOCK_NAME}")
        proof = next((file.sha256 for file in self._contents.files if file.path == PROOF_NAME), "")
        return Incoming(
            contents=self._contents,
            tree=_tree(self._contents),
            source=Staged(self._folder),
            lock_text=lock_text,
            proof_text=self._folder.read(proof, TEXT_LIMIT) if proof else None,
            arrivals=self.arrivals,
        )

    @property
    def arrivals(self) -> tuple[Arrival, ...]:
        """The parts that came, by number."""
        return tuple(each for _, each in sorted(self._arrivals.items()))

    def keep(self) -> None:
        """Put on disk what came, for a later run."""
        rows = [[each.file, each.size, each.sha256, each.number] for each in self.arrivals]
        record = {"bundle": identity(self._contents), "parts": rows}
        self._folder.write(_ARRIVALS, (json.dumps(record, indent=1) + "\n").encode(), mode=0o600, sync=False)
        self._folder.sync_tree(files=True)

    def forget(self) -> None:
        """Remove what this run brought."""
        for name in self._written:
            self._folder.remove(name)

    def _usable_leftovers(self) -> set[str]:
        """Return which wanted objects earlier runs left whole; what is damaged or none of ours is removed."""
        found = []
        for name in self._folder.names():
            status = self._folder.stat(name)
            is_ours = status is not None and stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()
            if status is None or not is_ours or not (_DIGEST.fullmatch(name) or name == _ARRIVALS):
                self._folder.remove(name)
            elif name in self._wanted:
                found.append((name, status))
        usable = set()
        with measured(self._progress, "check what waits", sum(status.st_size for _, status in found)):
            for name, status in found:
                if self._is_whole(name, status):
                    usable.add(name)
                else:
                    self._folder.remove(name)
                self._progress.advance(status.st_size)
        return usable

    def _is_whole(self, name: str, status: os.stat_result) -> bool:
        if status.st_size != self._wanted[name] or self._folder.sha256(name) != name:
            return False
        if status.st_nlink == 1:  # else it is a file of the repository in place as well
            _seal(self._folder, name, self._contents.sequence)
        return True

    def _to_take(self) -> dict[str, str]:
        """Return what is to be had from the repository in place and nowhere else: path by digest."""
        if self._place is None:
            return {}
        wanted = {file.sha256 for file in self._contents.carried_by(0) if file.kind is not Kind.MARKER} - self._here
        return {digest: path for path, digest in sorted(listed_in(self._place).items()) if digest in wanted}

    def _is_ours(self, path: str) -> bool:
        status = status_of(self._place, path) if self._place is not None else None
        return status is not None and status.st_uid == os.geteuid()

    def _take_one(self, path: str, digest: str) -> bool:
        """Take a file of the repository in place: a hard link when it is ours, else a copy; False when it is not it."""
        place = self._place
        status = status_of(place, path) if place is not None else None
        if place is None or status is None or status.st_size != self._wanted[digest]:
            return False
        with located(place, path) as (within, name):
            if status.st_uid == os.geteuid():
                within.link(name, self._folder, digest)
            else:
                with os.fdopen(within.open_file(name), "rb") as file:
                    pieces = iter(lambda: file.read(_CHUNK), b"")
                    self._folder.write(digest, pieces, mtime=self._contents.sequence, sync=False)
        self._written.append(digest)
        if self._folder.sha256(digest) == digest:
            return True
        self._folder.remove(digest)
        return False


@contextmanager
def receive(spec: InstallSpec, contents: Contents, progress: Progress = SILENT) -> Iterator[Staging]:
    """Open the staging folder for a bundle; on leaving it is gone, but for what was kept or came whole before an error.

    Raises:
        BusyError: when another run installs here.
        DiskError: as the disk says.
    """
    with working_area(spec) as area, area.lock(_LOCK):
        try:
            with area.folder(INCOMING, create=True) as incoming, repository_in_place(spec) as place:
                staging = Staging(incoming, place, contents, progress)
                try:
                    yield staging
                except RefusedError:
                    staging.forget()
                    raise
        finally:
            _remove_empty(area)


def unpack(part: Part, stagings: Sequence[Staging], progress: Progress = SILENT) -> None:
    """Read a part once, from its first byte to its last, and give each repository in it to the staging that wants it.

    Raises:
        RefusedError: when anything in it is not what it has to be.
        DiskError: as the disk says.
    """
    wanted = {staging.repository: staging for staging in stagings}
    with reading(part, progress) as reader:
        for contents in reader.repositories:
            staging = wanted.get(contents.name)
            for file, content in reader.members(contents):
                if staging is not None:
                    staging.take(file, content)
                else:
                    for _ in content:
                        pass
        sha256 = finish_reading(part, reader)
    for staging in stagings:
        staging.note(Arrival(part.path.name, part.size, sha256, part.number))


def needed(contents: Contents) -> tuple[TreeFile, ...]:
    """Return the files of a tree that have to come: all but the marker, which follows from them."""
    return contents.files[:-1]


def identity(contents: Contents) -> str:
    """Return what all parts of one bundle have in common, as a digest."""
    return sha256_of(encode_contents(replace(contents, part=1)))


def _read_arrivals(folder: Folder, contents: Contents) -> dict[int, Arrival]:
    """Return the parts that came in earlier runs, for the receipt; a damaged list is as none."""
    try:
        text = folder.read(_ARRIVALS, _ARRIVALS_LIMIT)
        record = json.loads(text) if text is not None else {}
        if not record or record["bundle"] != identity(contents):
            return {}
        found = [
            Arrival(str(file), int(size), str(sha256), int(number)) for file, size, sha256, number in record["parts"]
        ]
    except (HostileInputError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}
    return {each.number: each for each in found}


def _remove_empty(area: Folder) -> None:
    """Remove the staging folder when nothing waits in it."""
    status = area.stat(INCOMING)
    if status is not None and stat.S_ISDIR(status.st_mode):
        with area.folder(INCOMING) as incoming:
            is_empty = not incoming.names()
        if is_empty:
            area.remove(INCOMING)


def _tree(contents: Contents) -> Tree:
    """Return the files in commit order; all but the marker come from staging."""
    marker: TreeFile = contents.files[-1]
    content = marker_of(contents)
    files = sorted(needed(contents), key=lambda file: (file.kind, file.path.encode()))
    last = TreeFile(path=marker.path, kind=Kind.MARKER, size=marker.size, sha256=marker.sha256, content=content)
    return Tree(contents.name, contents.sequence, (*files, last))


def _seal(folder: Folder, name: str, mtime: int) -> None:
    with disk_errors(folder.path / name), os.fdopen(folder.open_file(name), "rb") as file:
        seal(file.fileno(), mode=0o644, mtime=mtime, sync=False)
