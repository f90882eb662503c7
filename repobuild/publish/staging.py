"""A tree becomes a folder beside the repository: everything in it that clients will see, flushed."""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass

from repobuild.durable import Folder
from repobuild.errors import DiskError, VerificationError
from repobuild.model import MARKER, PRIVATE, Kind, Tree, TreeFile
from repobuild.progress import Progress, measured
from repobuild.publish.area import NEXT, STAGE, Area, listed_in
from repobuild.publish.sources import Source
from repobuild.record import (
    GENERATION,
    Carried,
    Generation,
    Seal,
    is_digest_named,
    located,
    read_generation,
    read_seals,
    read_text,
    sha256_of,
)

CARRY_SECONDS = 7 * 24 * 3600
"""How long a file that left the tree stays for clients that are reading."""


@dataclass(frozen=True, slots=True)
class Former:
    """The repository as it is before a publication."""

    folder: Folder
    marker: bytes | None
    listed: Mapping[str, str]
    """sha256 of each path in the marker; empty where another tool made it."""
    generation: Generation | None
    seals: Mapping[str, Seal]

    @classmethod
    def read(cls, folder: Folder) -> "Former":
        """Read what an open repository says about itself."""
        marker = read_text(folder, MARKER)
        seals = read_seals(folder, sha256_of(marker)) if marker is not None else {}
        return cls(folder, marker, listed_in(folder), read_generation(folder), seals)

    @property
    def is_whole(self) -> bool:
        """Whether its publication came to its end; a killed one that went file by file did not."""
        if self.marker is None:
            return False
        return self.generation is None or self.generation.marker == sha256_of(self.marker)

    @property
    def carried(self) -> Mapping[str, Carried]:
        """What it carries over itself."""
        return self.generation.carried if self.generation is not None else {}


def stage(area: Area, tree: Tree, source: Source, former: Former | None, now: int, progress: Progress) -> Generation:
    """Build `next`: the whole tree, what is carried over, and the generation's record, flushed to disk.

    Raises:
        DiskError: when there is no space, or no permission.
        VerificationError: when the source gives a file of another size.
    """
    with area.folder.folder(STAGE, create=True) as root:
        with measured(progress, f"publish {tree.name}", sum(file.size for file in tree.files)):
            for file in tree.files:
                with located(root, file.path, create=True) as (folder, name):
                    _place(file, (folder, name), tree.time, source, former)
                progress.advance(file.size)
        wanted = _carried_over(former, tree, now) if former is not None else {}
        generation = Generation(
            serial=area.next_serial(),
            time=tree.time,
            marker=tree.files[-1].sha256,
            metadata=tuple(sorted(file.path for file in tree.files if file.kind is not Kind.PAYLOAD)),
            carried={path: each for path, each in wanted.items() if former and _carry(former.folder, root, path)},
        )
        with root.folder(PRIVATE, create=True) as private:
            private.write(GENERATION, generation.to_bytes(), sync=False)
        root.sync_tree(files=True)
    area.folder.rename(STAGE, NEXT)
    area.folder.sync()
    return generation


def _place(file: TreeFile, into: tuple[Folder, str], mtime: int, source: Source, former: Former | None) -> None:
    folder, name = into
    if file.content is not None:
        folder.write(name, file.content, mtime=mtime, sync=False)
    elif former is None or not _reuse(former, file, into):
        source.place(file.sha256, folder, name, mtime)
    status = folder.stat(name)
    if status is None or not stat.S_ISREG(status.st_mode) or status.st_size != file.size:
        size = status.st_size if status is not None else 0
        raise VerificationError(f"the object of {file.path} has {size} bytes, not {file.size}: {file.sha256}")


def _reuse(former: Former, file: TreeFile, into: tuple[Folder, str]) -> bool:
    """Link a payload file from the current generation when it is ours and unchanged; return whether that was done."""
    seal = former.seals.get(file.path)
    if seal is None or former.listed.get(file.path) != file.sha256:
        return False
    folder, new = into
    with located(former.folder, file.path) as (within, name):
        before = within.stat(name)
        if before is None or Seal.of(before) != seal or before.st_uid != os.geteuid():
            return False
        within.link(name, folder, new)
    placed = folder.stat(new)
    if placed is not None and placed.st_ino == seal.inode and placed.st_mtime_ns == seal.mtime:
        return True
    folder.remove(new)
    return False


def _carried_over(former: Former, tree: Tree, now: int) -> dict[str, Carried]:
    """Return what of the former generation has to stay reachable and is not in the tree.

    Payload and files named by their digest stay; a pointer or an index under a fixed name never does: an `InRelease`
    that stays where the new tree has none would lead clients back.
    """
    keep = {path: each for path, each in former.carried.items() if each.since + CARRY_SECONDS > now}
    payload = _payload_of(former, tree)
    for path, digest in former.listed.items():
        if path in payload or is_digest_named(path, digest):
            keep[path] = Carried(digest, now)
    files = {file.path for file in tree.files}
    folders = {above for path in files for above in _above(path)}
    return {path: keep[path] for path in sorted(keep) if path not in files | folders and files.isdisjoint(_above(path))}


def _payload_of(former: Former, tree: Tree) -> set[str]:
    """Return which former paths were payload; where no record says so, those that end as the new payload does."""
    if former.generation is not None:
        return former.listed.keys() - set(former.generation.metadata)
    suffixes = {os.path.splitext(file.path)[1] for file in tree.files if file.kind is Kind.PAYLOAD} - {""}
    return {path for path in former.listed if os.path.splitext(path)[1] in suffixes}


def _above(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def _carry(former: Folder, root: Folder, path: str) -> bool:
    """Link a former file into the new tree; False when it is gone or no regular file."""
    try:
        with located(former, path) as (within, name):
            status = within.stat(name)
            if status is None or not stat.S_ISREG(status.st_mode):
                return False
            with located(root, path, create=True) as (folder, new):
                within.link(name, folder, new)
    except DiskError as error:
        if isinstance(error.__cause__, FileNotFoundError | NotADirectoryError):
            return False
        raise
    return True
