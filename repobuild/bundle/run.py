"""The stage itself: everything is planned and its room found, then written, then named, and listed last."""

import errno
import fcntl
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from repobuild.archive.contents import INSTALLER_NAME, Contents
from repobuild.archive.packer import Packed
from repobuild.bundle.beside import SIGNATURE, SUMS, key_files, own_names, write_beside
from repobuild.bundle.contents import read_contents
from repobuild.bundle.cutting import cut_delta, cut_volumes, put_together, total_size
from repobuild.bundle.names import PART_NAME, choose_stem, part_name, stale_volumes
from repobuild.bundle.older import Old
from repobuild.bundle.values import BundleResult, BundleSpec, Source, WrittenPart
from repobuild.bundle.writing import Draft, write_draft
from repobuild.durable import Folder, disk_errors
from repobuild.errors import DiskError, UsageError
from repobuild.progress import SILENT, Progress
from repobuild.record import sha256_of

_TEMPORARY = re.compile(r"\.(.+)\.[0-9a-f]{12}\.tmp")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """Parts that share one stem."""

    source: Source
    """That they are named for."""
    trees: tuple[Folder, ...]
    wholes: tuple[Contents, ...]
    parts: tuple[tuple[Contents, ...], ...]
    """Of each file, what it holds of each repository."""


def write_bundle(out: Path, spec: BundleSpec, progress: Progress = SILENT) -> BundleResult:
    """Write the bundle of some repositories into the folder `out`; on disk when this returns.

    Whole ones stand in one file. Volumes and deltas are of one repository each.

    Parts get their names when all of them were written and proven; SHA256SUMS follows. A run that is killed leaves
    whole files only, and temporary ones, which the next run removes. Another run that writes here is waited for.

    Raises:
        UsageError: when name, volume size or older bundle do not go with a repository.
        ProofError: when a file is missing, or is not what marker and lock say; nothing is left behind.
        DiskError: when there is no room, or the disk says so; nothing is left behind.
    """
    installer = installer_text()
    names = [source.lock.name for source in spec.sources]
    with ExitStack() as opened:
        trees = [opened.enter_context(Folder.open(source.path)) for source in spec.sources]
        folder = opened.enter_context(Folder.open(out, create=True))
        opened.enter_context(_alone(folder, progress))
        groups = _cut(trees, installer, spec)
        stems = [choose_stem(folder, group.source, group.parts[0]) for group in groups]
        drafts = [
            Draft(part_name(folder, stem, part[0], spec.packing), group.trees, part, installer)
            for stem, group in zip(stems, groups, strict=True)
            for part in group.parts
        ]
        _refuse_same_names(drafts)
        files = {INSTALLER_NAME: installer}
        for name in names:
            files |= key_files(name, spec.key)
        _remove_leftovers(folder, names)
        beside = sum(map(len, files.values()))
        _require_room(folder, total_size([draft.part for draft in drafts], installer, spec.packing) + beside)
        written = _write_all(folder, drafts, spec, progress)
        for stem in stems:
            for name in stale_volumes(folder, stem, {each.name for each in drafts}):
                folder.remove(name)
        digests = {each.path.name: each.sha256 for each in written}
        write_beside(folder, files, digests, spec.key, progress)
        _remove_leftovers(folder, names, with_signatures=True)
        return BundleResult(
            parts=written,
            files=sum(len(whole.files) for group in groups for whole in group.wholes),
            sums=folder.path / SUMS,
            signers=spec.key.fingerprints if spec.key else (),
        )


def installer_text() -> bytes:
    """Return the shell script that installs a bundle."""
    return (resources.files("repobuild") / "data" / INSTALLER_NAME).read_bytes()


def _cut(trees: Sequence[Folder], installer: bytes, spec: BundleSpec) -> tuple[_Group, ...]:
    sha256 = sha256_of(installer)
    wholes = [read_contents(tree, source, sha256) for tree, source in zip(trees, spec.sources, strict=True)]
    if spec.volume_size is None and all(source.old is None for source in spec.sources):
        together = put_together(wholes)
        named_for = spec.sources[spec.named_for]
        return (_Group(source=named_for, trees=tuple(trees), wholes=together, parts=(together,)),)
    return tuple(
        _Group(
            source=source,
            trees=(tree,),
            wholes=(whole,),
            parts=tuple((part,) for part in _cut_one(whole, source.old, installer, spec)),
        )
        for source, tree, whole in zip(spec.sources, trees, wholes, strict=True)
    )


def _cut_one(whole: Contents, old: Old | None, installer: bytes, spec: BundleSpec) -> tuple[Contents, ...]:
    if old is not None and spec.volume_size is not None:
        raise UsageError("a delta is one file, and --volume-size asks for several", "leave one of the two out")
    if old is not None:
        return (cut_delta(whole, old),)
    if spec.volume_size is not None:
        return cut_volumes(whole, installer, spec.volume_size, spec.packing)
    return (whole,)


def _refuse_same_names(drafts: Sequence[Draft]) -> None:
    names = [draft.name for draft in drafts]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"two repositories have one file name: {name}", "name the own one in cache_pkg_name")


@contextmanager
def _alone(folder: Folder, progress: Progress) -> Iterator[None]:
    """Keep other runs out of `folder`, by a lock on the folder itself, which leaves nothing behind.

    Where the file system cannot lock a folder (NFS), nobody is kept out.
    """
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        progress.note(f"waiting for another run that writes to {folder.path}")
        fcntl.flock(folder, fcntl.LOCK_EX)
    except OSError as error:
        progress.debug(f"cannot be locked: {folder.path}: {error.strerror}")
    try:
        yield
    finally:
        with suppress(OSError):
            fcntl.flock(folder, fcntl.LOCK_UN)


def _require_room(folder: Folder, size: int) -> None:
    with disk_errors(folder.path):
        status = os.fstatvfs(folder.fileno())
    free = status.f_bavail * status.f_frsize
    if size > free:
        raise DiskError(
            f"the bundle needs {size} bytes, {free} are free: {folder.path}", "free some space or choose another folder"
        )


def _write_all(
    folder: Folder, drafts: Sequence[Draft], spec: BundleSpec, progress: Progress
) -> tuple[WrittenPart, ...]:
    """Write all parts, then name them."""
    done: list[tuple[Draft, str, Packed]] = []
    try:
        for draft in drafts:
            done.append((draft, *write_draft(folder, draft, spec.packing, progress)))  # noqa: PERF401 -- see except
        folder.sync()
        for draft, temporary, _ in done:
            folder.rename(temporary, draft.name)
        folder.sync()
    except BaseException as error:
        for _, temporary, _ in done:
            folder.discard(temporary)
        if (
            isinstance(error.__cause__, OSError)
            and error.__cause__.errno == errno.EFBIG
            and isinstance(error, DiskError)
        ):
            hint = "this file system takes smaller files only: --volume-size fat32"
            raise DiskError(error.message, hint) from error
        raise
    return tuple(_written(folder, draft, packed) for draft, _, packed in done)


def _written(folder: Folder, draft: Draft, packed: Packed) -> WrittenPart:
    first = draft.part[0]
    return WrittenPart(
        path=folder.path / draft.name,
        size=packed.size,
        sha256=packed.sha256,
        repositories=tuple(each.name for each in draft.part),
        kind=first.kind,
        part=first.part,
        parts=first.parts,
        files=sum(len(each.carried) for each in draft.part),
    )


def _remove_leftovers(folder: Folder, repositories: Iterable[str], *, with_signatures: bool = False) -> None:
    """Remove what killed runs left under a temporary name; a signature may be of use until the list has its own."""
    own = {name for each in repositories for name in own_names(each)} - (set() if with_signatures else {SIGNATURE})
    for name in folder.names():
        found = _TEMPORARY.fullmatch(name)
        if found and (PART_NAME.fullmatch(found[1]) or found[1] in own):
            folder.discard(name)
