"""What a repository says about itself: its marker, and in `.repobuild/` the generation and the stat record.

The marker is `sha256sum` output, `<64 hex>␠␠<path>` for every file of the tree but itself, sorted by path bytes. The
generation says which published state this is and what it carries over from the one before. The stat record
("seals") holds what the status of each file was when it was last known to be right. Neither record is part of the
tree; without them, or when they cannot be read, the files are hashed against the marker instead.
"""

import hashlib
import json
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from repobuild.durable import Folder, check_component
from repobuild.errors import HostileInputError, RepobuildError
from repobuild.model import MARKER, PRIVATE
from repobuild.progress import Progress

TEXT_LIMIT = 64 << 20
"""Bytes of a marker, lock or record; a marker of 50,000 packages has some 6 MB."""
GENERATION = "generation.json"
SEALS = "seals.json"

_FORMAT = 1
_DEPTH_LIMIT = 8
"""Levels of folders in a tree."""
_THREADS = 4
"""Files hashed at a time: beyond this the disk is what limits."""
_MARKER_LINE = re.compile(r"([0-9a-f]{64})  (.+)")
_SHA256 = re.compile(r"[0-9a-f]{64}")

T = TypeVar("T")


class Seal(NamedTuple):
    """The status of a file that was known to be right; times in nanoseconds."""

    size: int
    mtime: int
    ctime: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> "Seal":
        """Return the seal of a file with this status."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


@dataclass(frozen=True, slots=True)
class Carried:
    """A file of an earlier generation that stays for clients that are reading."""

    sha256: str
    since: int
    """When it left the tree, seconds since the epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One published state of a repository."""

    serial: int
    """Counts up with each publication here; tells the newer of two generations."""
    time: int
    """`Tree.time`."""
    marker: str
    """sha256 of the marker."""
    metadata: tuple[str, ...]
    """Paths of the tree's files that are no payload, sorted."""
    carried: Mapping[str, Carried] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """Return the record as it is written."""
        return _to_json(
            {
                "serial": self.serial,
                "time": self.time,
                "marker": self.marker,
                "metadata": list(self.metadata),
                "carried": {path: {"sha256": each.sha256, "since": each.since} for path, each in self.carried.items()},
            }
        )


def sha256_of(data: bytes) -> str:
    """Return the sha256 of `data`, in hex."""
    return hashlib.sha256(data).hexdigest()


def parts_of(path: str) -> tuple[str, ...]:
    """Return the checked parts of a path in a tree.

    Raises:
        HostileInputError: when a part is no safe name, or the path is too deep or not the tree's own.
    """
    parts = tuple(check_component(part) for part in path.split("/"))
    if len(parts) > _DEPTH_LIMIT:
        raise HostileInputError(f"more than {_DEPTH_LIMIT} levels of folders: {path[:200]!r}")
    if parts[0] == PRIVATE:
        raise HostileInputError(f"not a path of a tree: {path[:200]!r}")
    return parts


def format_marker(digests: Mapping[str, str]) -> bytes:
    """Return the marker of a tree whose paths have these sha256 digests."""
    paths = sorted(digests, key=os.fsencode)
    return "".join(f"{digests[path]}  {path}\n" for path in paths).encode()


def parse_marker(text: bytes) -> dict[str, str]:
    """Return the sha256 of each path that a marker lists.

    Raises:
        HostileInputError: when it is not a marker of ours, such as the md5sum lines of older tools.
    """
    try:
        lines = text.decode().split("\n")
    except UnicodeDecodeError as error:
        raise HostileInputError(f"the marker is no UTF-8 text: byte {error.start}") from error
    if lines.pop():
        raise HostileInputError("the marker does not end with a newline")
    digests: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        match = _MARKER_LINE.fullmatch(line)
        if match is None:
            raise HostileInputError(f"the marker has no sha256sum line at line {number}: {line[:120]!r}")
        digest, path = match.groups()
        parts_of(path)
        if path in digests or path == MARKER:
            raise HostileInputError(f"the marker lists a path that it may not, at line {number}: {path[:200]!r}")
        digests[path] = digest
    return digests


def read_text(folder: Folder, name: str) -> bytes | None:
    """Return the bytes of a marker or lock; None when it is absent, no regular file, or larger than can be."""
    try:
        return folder.read(name, TEXT_LIMIT)
    except HostileInputError:
        return None


def read_generation(repository: Folder) -> Generation | None:
    """Return the generation record of an open repository, None when it has none that can be read."""
    return _read_record(repository, GENERATION, _generation)


def read_seals(repository: Folder, marker: str) -> dict[str, Seal]:
    """Return the stat record of an open repository, empty when there is none for the marker of this sha256."""

    def parse(record: dict[str, Any]) -> dict[str, Seal]:
        if record["marker"] != marker:
            return {}
        return {_expect(path, str): Seal(*(_expect(n, int) for n in seal)) for path, seal in record["files"].items()}

    return _read_record(repository, SEALS, parse) or {}


def write_seals(repository: Folder, marker: str, seals: Mapping[str, Seal]) -> None:
    """Write the stat record of an open repository.

    Raises:
        DiskError: when it cannot be written.
    """
    with repository.folder(PRIVATE, create=True) as private:
        private.sweep(SEALS)
        private.write(SEALS, _to_json({"marker": marker, "files": seals}))


@contextmanager
def located(root: Folder, path: str, *, create: bool = False) -> Iterator[tuple[Folder, str]]:
    """Open the folder of a tree's file and yield it with the file's name; no link is followed.

    Raises:
        DiskError: when a folder on the way is missing (without `create`) or is none.
    """
    *above, name = parts_of(path)
    with root.descend(above, create=create) as folder:
        yield folder, name


def survey(repository: Folder) -> dict[str, os.stat_result]:
    """Return the status of everything in a repository that is not a folder, but for `.repobuild/`."""
    found: dict[str, os.stat_result] = {}
    for name in repository.names():
        status = repository.stat(name)
        if name == PRIVATE or status is None:
            continue
        if stat.S_ISDIR(status.st_mode):
            with repository.folder(name) as below:
                found.update(below.walk(f"{name}/"))
        else:
            found[name] = status
    return found


def hash_files(
    root: Folder, sizes: Mapping[str, int], progress: Progress
) -> Iterator[tuple[str, str | RepobuildError]]:
    """Yield each path with its sha256, or with the error that kept it from being read; in no particular order.

    Args:
        root: the folder the paths are below.
        sizes: bytes of each file; the largest are begun first.
        progress: hears of each file that is done.
    """

    def digest(path: str) -> tuple[str, str | RepobuildError]:
        try:
            with located(root, path) as (folder, name):
                return path, folder.sha256(name)
        except RepobuildError as error:
            return path, error

    with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as pool:
        for path, result in pool.map(digest, sorted(sizes, key=lambda path: (-sizes[path], path))):
            progress.advance(sizes[path])
            yield path, result


def is_digest_named(path: str, sha256: str) -> bool:
    """Whether a file's name holds its own digest, so that it can never mean anything else."""
    return sha256 in path.rpartition("/")[2]


def _to_json(record: dict[str, object]) -> bytes:
    return json.dumps({"format": _FORMAT, **record}, indent=1, sort_keys=True).encode() + b"\n"


def _read_record(repository: Folder, name: str, parse: Callable[[dict[str, Any]], T]) -> T | None:
    """Return a record; one that is absent, damaged or of another format is as none. An I/O error is an error."""
    try:
        if repository.stat(PRIVATE) is None:
            return None
        with repository.folder(PRIVATE) as private:
            text = private.read(name, TEXT_LIMIT)
        record = json.loads(text) if text is not None else None
        return parse(record) if isinstance(record, dict) and record.get("format") == _FORMAT else None
    except (HostileInputError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _generation(record: dict[str, Any]) -> Generation:
    carried = {
        "/".join(parts_of(path)): Carried(_digest(each["sha256"]), _expect(each["since"], int))
        for path, each in record["carried"].items()
    }
    return Generation(
        serial=_expect(record["serial"], int),
        time=_expect(record["time"], int),
        marker=_digest(record["marker"]),
        metadata=tuple(_each(record["metadata"], str)),
        carried=carried,
    )


def _digest(value: object) -> str:
    if not _SHA256.fullmatch(_expect(value, str)):
        raise ValueError(value)
    return str(value)


def _each(values: Iterable[object], kind: type[T]) -> Iterator[T]:
    return (_expect(value, kind) for value in values)


def _expect(value: object, kind: type[T]) -> T:
    if not isinstance(value, kind):
        raise TypeError(value)
    return value
