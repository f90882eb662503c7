"""A published repository -> bundle: `<name>-pkg-<version>.<os>.<arch>.tgz` and its `.sha256` beside it.

What goes in is what the marker lists, nothing else that lies on the disk. Every file is hashed while it is copied and
has to be what the marker says; a bundle of anything else never gets its final name. The form is that of `archive`: the
same lock gives the same bytes (G6).
"""

import fcntl
import os
import re
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from repobuild.archive.contents import (
    CONTENTS_NAME,
    DIGESTS_NAME,
    Contents,
    digest_lines,
    encode_contents,
    folders_of,
    in_member_order,
    make_contents,
)
from repobuild.archive.stored import Stored, StoredGzip, stored_size
from repobuild.archive.tar import ending, file_header, folder_header, padding
from repobuild.durable import Folder, disk_errors, seal
from repobuild.errors import DiskError, ProofError
from repobuild.model import LOCK_NAME, MARKER, PRIVATE, Kind, Lock, TreeFile, Verify
from repobuild.progress import SILENT, Progress, measured
from repobuild.record import TEXT_LIMIT, located, parse_marker, sha256_of

PIGSTY_DELETES = 409_600_000
"""Pigsty's bootstrap takes a bundle of so many bytes or fewer for a broken one and deletes it."""
_HEAL = "run: repobuild sync --force"
_READ_AHEAD = 8
"""Files that the kernel is asked to read before they are needed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleSpec:
    """What the bundle stage has to know of the repository."""

    lock: Lock
    lock_sha256: str
    """Of the lock's text that `lock` was read from; the repository must hold just that."""
    pointers: frozenset[str]
    """Paths that the family commits last (`InRelease`); they need not all be there."""
    file_name: str = ""
    """Of the bundle; the default is made of name, version and target."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleResult:
    """What was written."""

    path: Path
    size: int
    sha256: str
    files: int

    @property
    def is_deleted_by_pigsty(self) -> bool:
        """Whether Pigsty's bootstrap would delete it; `truncate -s 410M` helps, and the bundle still unpacks."""
        return self.size <= PIGSTY_DELETES


def write_bundle(repository: Path, out: Path, spec: BundleSpec, progress: Progress = SILENT) -> BundleResult:
    """Write the bundle of the repository in `repository` into the folder `out`; on disk when this returns.

    Raises:
        ProofError: when a file is missing, or is not what marker and lock say; nothing is left behind.
        DiskError: when there is no room, or the disk says so; nothing is left behind.
    """
    with Folder.open(repository) as tree, Folder.open(out, create=True) as folder:
        contents = _contents(tree, spec)
        text = encode_contents(contents)
        name = spec.file_name or f"{contents.name}-pkg-{contents.version}.{contents.target}.tgz"
        _remove_leftovers(folder, name)
        _require_room(folder, stored_size(_archive_size(contents, text)))
        temporary, fd = folder.temporary(name)
        try:
            with disk_errors(folder.path / name), measured(progress, f"bundle {name}", contents.size):
                fcntl.flock(fd, fcntl.LOCK_EX)  # so that another run sees that this one lives
                stored = _write(tree, contents, text, fd, progress)
                _prove(tree, contents, stored)
                seal(fd, mode=0o644, mtime=None, sync=True)
            folder.discard(f"{name}.sha256")  # never a digest beside another bundle
            folder.sync()
            folder.rename(temporary, name)
            folder.sync()
        except BaseException:
            folder.discard(temporary)
            raise
        finally:
            os.close(fd)
        folder.write(f"{name}.sha256", f"{stored.sha256}  {name}\n".encode())
        return BundleResult(path=folder.path / name, size=stored.size, sha256=stored.sha256, files=len(contents.files))


def _contents(tree: Folder, spec: BundleSpec) -> Contents:
    marker = tree.read(MARKER, TEXT_LIMIT)
    if marker is None:
        raise ProofError(f"not a complete repository: {tree.path / MARKER}", "run: repobuild sync")
    digests = parse_marker(marker) | {MARKER: sha256_of(marker)}
    if digests.get(LOCK_NAME) != spec.lock_sha256:
        raise ProofError(f"the marker does not list the lock in use: {tree.path / LOCK_NAME}", "run: repobuild sync")
    known = _payload(spec.lock)
    for path, file in known.items():
        if digests.get(path) != file.sha256:
            raise ProofError(
                f"the marker and the lock disagree about a file: {tree.path / path}", "run: repobuild sync"
            )
    files = [
        known.get(path) or TreeFile(path=path, kind=_kind(path, spec.pointers), size=_size(tree, path), sha256=digest)
        for path, digest in digests.items()
    ]
    return make_contents(
        Contents(
            name=spec.lock.name,
            target=spec.lock.target,
            version=spec.lock.version,
            sequence=spec.lock.time,
            lock=spec.lock_sha256,
            files=in_member_order(files),
        )
    )


def _payload(lock: Lock) -> dict[str, TreeFile]:
    """Return what the lock brings into the repository, by path."""
    verified = {pin.name: pin.verify for pin in lock.upstreams}

    def payload(path: str, size: int, sha256: str, upstream: str) -> TreeFile:
        accepted = upstream in lock.unverified or path in lock.unverified
        verify = Verify.NONE if accepted else verified.get(upstream, Verify.ROOT)
        return TreeFile(path=path, kind=Kind.PAYLOAD, size=size, sha256=sha256, upstream=upstream, verify=verify)

    packages = (choice.package for choice in lock.choices)
    files = [payload(each.filename, each.size, each.sha256, each.upstream) for each in packages]
    files += [payload(each.name, each.size, each.sha256, "") for each in lock.assets]
    return {file.path: file for file in files}


def _kind(path: str, pointers: frozenset[str]) -> Kind:
    if path == MARKER:
        return Kind.MARKER
    return Kind.POINTER if path in pointers else Kind.INDEX


def _size(tree: Folder, path: str) -> int:
    with disk_errors(tree.path / path):
        fd = _open(tree, path)
        try:
            return os.fstat(fd).st_size
        finally:
            os.close(fd)


def _open(tree: Folder, path: str) -> int:
    try:
        with located(tree, path) as (folder, name):
            return folder.open_file(name)
    except DiskError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise ProofError(f"the marker lists a file that is missing: {tree.path / path}", _HEAL) from error
        raise


def _archive_size(contents: Contents, text: bytes) -> int:
    """Return the exact size of the tar."""
    time = contents.sequence
    sizes = [len(text), len(digest_lines(contents)), *(file.size for file in contents.files)]
    private = (f"{PRIVATE}/{CONTENTS_NAME}", f"{PRIVATE}/{DIGESTS_NAME}")
    paths = [*private, *(file.path for file in contents.files)]
    total = sum(len(folder_header(folder, time)) for folder in folders_of(contents))
    for path, size in zip(paths, sizes, strict=True):
        total += len(file_header(f"{contents.name}/{path}", size, time)) + size + len(padding(size))
    return total + len(ending(total))


def _require_room(folder: Folder, size: int) -> None:
    with disk_errors(folder.path):
        status = os.fstatvfs(folder.fileno())
    free = status.f_bavail * status.f_frsize
    if size > free:
        raise DiskError(
            f"the bundle needs {size} bytes, {free} are free: {folder.path}", "free some space or choose another folder"
        )


def _write(tree: Folder, contents: Contents, text: bytes, fd: int, progress: Progress) -> Stored:
    time = contents.sequence
    written = 0
    with StoredGzip(fd) as gzip:

        def write(data: bytes) -> None:
            nonlocal written
            gzip.write(data)
            written += len(data)

        for name, data in ((CONTENTS_NAME, text), (DIGESTS_NAME, digest_lines(contents))):
            write(file_header(f"{contents.name}/{PRIVATE}/{name}", len(data), time) + data + padding(len(data)))
        for folder in folders_of(contents):
            write(folder_header(folder, time))
        for file, source in _opened(tree, contents.files):
            try:
                write(file_header(f"{contents.name}/{file.path}", file.size, time))
                if not gzip.copy(source, file.size, progress.advance):
                    raise ProofError(f"shorter than it has to be: {tree.path / file.path}", _HEAL)
                written += file.size
                write(padding(file.size))
            finally:
                os.close(source)
        write(ending(written))
        return gzip.finish()


def _opened(tree: Folder, files: tuple[TreeFile, ...]) -> Iterator[tuple[TreeFile, int]]:
    """Yield each file with a descriptor that the receiver closes; the kernel reads some files ahead meanwhile."""
    ahead: deque[tuple[TreeFile, int]] = deque()
    try:
        for file in files:
            fd = _open(tree, file.path)
            ahead.append((file, fd))
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_WILLNEED)
            if len(ahead) > _READ_AHEAD:
                yield ahead.popleft()
        while ahead:
            yield ahead.popleft()
    finally:
        for _, fd in ahead:
            os.close(fd)


def _prove(tree: Folder, contents: Contents, stored: Stored) -> None:
    """Raise ProofError naming each file whose bytes were not those that the contents promise."""
    pairs = zip(contents.files, stored.copied, strict=True)
    wrong = [str(tree.path / file.path) for file, sha256 in pairs if file.sha256 != sha256]
    if wrong:
        raise ProofError(f"not what the marker says: {', '.join(wrong[:20])}", _HEAL)


def _remove_leftovers(folder: Folder, name: str) -> None:
    """Remove temporary files of runs that were killed, of the digest too; the bundle of a living run is locked."""
    pattern = re.compile(rf"\.{re.escape(name)}(\.sha256)?\.[0-9a-f]{{12}}\.tmp")
    for leftover in filter(pattern.fullmatch, folder.names()):
        with suppress(DiskError, BlockingIOError), os.fdopen(folder.open_file(leftover), "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            folder.discard(leftover)
