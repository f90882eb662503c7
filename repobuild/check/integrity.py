"""The proof of integrity: every byte of a repository is what its marker and its lock say."""

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from repobuild.check.problems import Fault, Problem, in_order, printable
from repobuild.durable import Folder
from repobuild.errors import HostileInputError, ProofError, RepobuildError
from repobuild.formats import FORMATS
from repobuild.model import LOCK_NAME, MARKER
from repobuild.progress import SILENT, Progress, measured
from repobuild.record import (
    TEXT_LIMIT,
    Generation,
    hash_files,
    is_digest_named,
    parse_marker,
    read_generation,
    sha256_of,
    survey,
)

ReadLock = Callable[[bytes], Mapping[str, tuple[int, str]]]
"""Lock text to (size, sha256) of each payload file, by path."""

_SHOWN = 5
"""Problems that an error's message holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Integrity:
    """What hashing every file found."""

    path: Path
    marker: str
    """sha256 of the marker, "" when there is none."""
    files: int
    """Files that the marker lists."""
    size: int
    """Bytes that were hashed."""
    problems: tuple[Problem, ...]
    """In order."""
    remarks: tuple[str, ...] = ()
    """What a person should know of it."""
    sound: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    """(size, sha256) of each file that is what the marker lists, by path."""

    @property
    def is_whole(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def prove(self) -> None:
        """Return when nothing is wrong.

        Raises:
            ProofError: naming the first problems.
        """
        if self.is_whole:
            return
        shown = "; ".join(str(problem) for problem in self.problems[:_SHOWN])
        more = f" and {len(self.problems) - _SHOWN} more" if len(self.problems) > _SHOWN else ""
        raise ProofError(f"{self.path} does not hold what it says: {shown}{more}", "repobuild sync --force")


def check_repository(path: Path, progress: Progress = SILENT, *, read_lock: ReadLock | None = None) -> Integrity:
    """Hash every file of the repository at `path` and compare with its marker and with the lock inside.

    Args:
        path: the repository's folder.
        progress: hears of the bytes hashed.
        read_lock: reads the lock inside; without it the lock is compared with the marker only, as any file.

    Raises:
        DiskError: when the folder cannot be read.
    """
    with Folder.open(path) as repository:
        try:
            marker = repository.read(MARKER, TEXT_LIMIT)
            listed = parse_marker(marker) if marker is not None else {}
        except HostileInputError as error:
            return _result(path, "", {}, 0, [Problem(Fault.MARKER, MARKER, error.message)])
        if marker is None:
            return _result(path, "", {}, 0, [Problem(Fault.MISSING, MARKER)])
        digest = sha256_of(marker)
        generation = read_generation(repository)
        problems = list(_marker_problems(digest, generation))
        found = survey(repository)
        carried = _carried(generation, listed, found)
        expected = listed | carried
        problems += _compare_names(expected, listed, found)
        hidden = list(_hidden(repository, found))
        sizes = {name: found[name].st_size for name in expected if name in found and stat.S_ISREG(found[name].st_mode)}
        with measured(progress, f"check {path.name}", sum(sizes.values())):
            problems += _compare_digests(repository, expected, sizes, progress)
        if read_lock is not None:
            problems += _compare_lock(repository, read_lock, listed, sizes, generation)
    found_wrong = {problem.path for problem in problems if problem.fault is not Fault.LOCK}
    sound = {name: (sizes[name], listed[name]) for name in sizes.keys() & listed.keys() - found_wrong}
    whole = _result(path, digest, listed, sum(sizes.values()), [*problems, *hidden])
    return replace(whole, sound=sound, remarks=tuple(_remarks(carried)))


def _result(path: Path, marker: str, listed: Mapping[str, str], size: int, problems: list[Problem]) -> Integrity:
    return Integrity(path=path, marker=marker, files=len(listed), size=size, problems=in_order(problems))


def _marker_problems(digest: str, generation: Generation | None) -> Iterator[Problem]:
    if generation is not None and generation.marker != digest:
        yield Problem(Fault.CHANGED, MARKER, "another one was published, or a publication did not come to its end")


def _carried(
    generation: Generation | None, listed: Mapping[str, str], found: Mapping[str, os.stat_result]
) -> dict[str, str]:
    """Return the digests of the files that are there and said to be carried over for clients that are reading."""
    carried = generation.carried if generation is not None else {}
    return {
        path: each.sha256
        for path, each in carried.items()
        if path in found and path not in listed and _may_be_carried(path, each.sha256)
    }


def _may_be_carried(path: str, sha256: str) -> bool:
    """Whether a publication can have left a file: an index that its digest names, or payload.

    The record that says so is not signed, so nothing may hide behind it that clients or browsers ask for by itself.
    """
    if is_digest_named(path, sha256):
        return True
    is_asked_for = (
        path.startswith(("index.htm", "."))
        or path in {MARKER, LOCK_NAME}
        or any(path in form.pointers for form in FORMATS.values())
    )
    return "/" not in path and not is_asked_for


def _remarks(carried: Mapping[str, str]) -> Iterator[str]:
    """Say what lies there that the marker does not list; what is no index and has no package's ending, by name."""
    if not carried:
        return
    endings = tuple(form.suffix for form in FORMATS.values())
    named = sorted(
        path for path, sha256 in carried.items() if not path.endswith(endings) and not is_digest_named(path, sha256)
    )
    names = f", among them {', '.join(map(printable, named))}" if named else ""
    yield f"{len(carried)} files of earlier generations are carried over for clients that are reading{names}"


def _hidden(repository: Folder, found: Mapping[str, os.stat_result]) -> Iterator[Problem]:
    """Yield files that others cannot read and folders that they cannot search: a web server is another user."""
    for path, status in found.items():
        if stat.S_ISREG(status.st_mode) and not status.st_mode & stat.S_IROTH:
            yield Problem(Fault.HIDDEN, path, f"mode {stat.S_IMODE(status.st_mode):04o}")
    folders: set[tuple[str, ...]] = {()}
    for path in found:
        above = tuple(path.split("/")[:-1])
        folders |= {above[:count] for count in range(1, len(above) + 1)}
    for parts in folders:
        with repository.descend(parts) as folder:
            mode = os.fstat(folder.fileno()).st_mode
        if not mode & stat.S_IXOTH:
            yield Problem(Fault.HIDDEN, "/".join(parts) or ".", f"a folder of mode {stat.S_IMODE(mode):04o}")


def _compare_names(
    expected: Mapping[str, str], listed: Mapping[str, str], found: Mapping[str, os.stat_result]
) -> Iterator[Problem]:
    yield from (Problem(Fault.MISSING, path) for path in listed.keys() - found.keys())
    yield from (Problem(Fault.FOREIGN, path) for path in found.keys() - expected.keys() - {MARKER})
    for path in found.keys() & expected.keys():
        if not stat.S_ISREG(found[path].st_mode):
            yield Problem(Fault.CHANGED, path, "no regular file")


def _compare_digests(
    repository: Folder, expected: Mapping[str, str], sizes: Mapping[str, int], progress: Progress
) -> Iterator[Problem]:
    for path, result in hash_files(repository, sizes, progress):
        if isinstance(result, RepobuildError):
            yield Problem(Fault.UNREADABLE, path, result.message)
        elif result != expected[path]:
            yield Problem(Fault.CHANGED, path)


def _compare_lock(
    repository: Folder,
    read_lock: ReadLock,
    listed: Mapping[str, str],
    sizes: Mapping[str, int],
    generation: Generation | None,
) -> Iterator[Problem]:
    text = repository.read(LOCK_NAME, TEXT_LIMIT) if LOCK_NAME in sizes else None
    if text is None:
        yield Problem(Fault.MISSING, LOCK_NAME)
        return
    try:
        pinned = read_lock(text)
    except RepobuildError as error:
        yield Problem(Fault.LOCK, LOCK_NAME, error.message)
        return
    for path, (size, sha256) in pinned.items():
        if listed.get(path) != sha256:
            yield Problem(Fault.LOCK, path, "the marker does not list what the lock pins")
        elif path in sizes and sizes[path] != size:
            yield Problem(Fault.LOCK, path, f"{sizes[path]} bytes, the lock says {size}")
    if generation is not None:
        unpinned = listed.keys() - set(generation.metadata) - pinned.keys()
        yield from (Problem(Fault.LOCK, path, "the lock does not pin it") for path in unpinned)
