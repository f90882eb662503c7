"""The stage itself: everything is planned and its room found, then written, then named, and listed last."""

import errno
import fcntl
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import resources
from pathlib import Path

from repobuild.archive.contents import INSTALLER_NAME, Contents
from repobuild.archive.packer import Packed
from repobuild.bundle.beside import SIGNATURE, SUMS, key_files, own_names, write_beside
from repobuild.bundle.contents import read_contents
from repobuild.bundle.cutting import cut_delta, cut_volumes, total_size
from repobuild.bundle.names import PART_NAME, choose_stem, part_name, stale_volumes
from repobuild.bundle.values import BundleResult, BundleSpec, WrittenPart
from repobuild.bundle.writing import Draft, write_draft
from repobuild.durable import Folder, disk_errors
from repobuild.errors import DiskError, UsageError
from repobuild.progress import SILENT, Progress
from repobuild.record import sha256_of

_TEMPORARY = re.compile(r"\.(.+)\.[0-9a-f]{12}\.tmp")


def write_bundle(repository: Path, out: Path, spec: BundleSpec, progress: Progress = SILENT) -> BundleResult:
    """Write the bundle of the repository in `repository` into the folder `out`; on disk when this returns.

    Parts get their names when all of them were written and proven; SHA256SUMS follows. A run that is killed leaves
    whole files only, and temporary ones, which the next run removes. Another run that writes here is waited for.

    Raises:
        UsageError: when name, volume size or older bundle do not go with the repository.
        ProofError: when a file is missing, or is not what marker and lock say; nothing is left behind.
        DiskError: when there is no room, or the disk says so; nothing is left behind.
    """
    installer = installer_text()
    with Folder.open(repository) as tree, Folder.open(out, create=True) as folder, _alone(folder, progress):
        whole = read_contents(tree, spec, sha256_of(installer))
        parts = _cut(whole, installer, spec)
        stem = choose_stem(folder, spec.pattern, spec.lock, spec.lock_sha256)
        drafts = [Draft(part_name(stem, part, spec.packing), part, installer) for part in parts]
        files = {INSTALLER_NAME: installer, **key_files(whole.name, spec.key)}
        _remove_leftovers(folder, whole.name)
        beside = sum(map(len, files.values()))
        _require_room(folder, total_size(parts, installer, spec.packing) + beside)
        written = _write_all(tree, folder, drafts, spec, progress)
        for name in stale_volumes(folder, stem, {each.name for each in drafts}):
            folder.remove(name)
        digests = {each.path.name: each.sha256 for each in written}
        write_beside(folder, files, digests, spec.key, progress)
        _remove_leftovers(folder, whole.name, with_signatures=True)
        return BundleResult(
            parts=written,
            files=len(whole.files),
            sums=folder.path / SUMS,
            signers=spec.key.fingerprints if spec.key else (),
        )


def installer_text() -> bytes:
    """Return the shell script that installs a bundle."""
    return (resources.files("repobuild") / "data" / INSTALLER_NAME).read_bytes()


def _cut(whole: Contents, installer: bytes, spec: BundleSpec) -> tuple[Contents, ...]:
    if spec.old is not None and spec.volume_size is not None:
        raise UsageError("a delta is one file, and --volume-size asks for several", "leave one of the two out")
    if spec.old is not None:
        return (cut_delta(whole, spec.old),)
    if spec.volume_size is not None:
        return cut_volumes(whole, installer, spec.volume_size, spec.packing)
    return (whole,)


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
    tree: Folder, folder: Folder, drafts: Sequence[Draft], spec: BundleSpec, progress: Progress
) -> tuple[WrittenPart, ...]:
    """Write all parts, then name them."""
    done: list[tuple[Draft, str, Packed]] = []
    try:
        for draft in drafts:
            done.append((draft, *write_draft(tree, folder, draft, spec.packing, progress)))  # noqa: PERF401 -- see except
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
    contents = draft.contents
    return WrittenPart(
        path=folder.path / draft.name,
        size=packed.size,
        sha256=packed.sha256,
        kind=contents.kind,
        part=contents.part,
        parts=contents.parts,
        files=len(contents.carried),
    )


def _remove_leftovers(folder: Folder, repository: str, *, with_signatures: bool = False) -> None:
    """Remove what killed runs left under a temporary name; a signature may be of use until the list has its own."""
    own = set(own_names(repository)) - (set() if with_signatures else {SIGNATURE})
    for name in folder.names():
        found = _TEMPORARY.fullmatch(name)
        if found and (PART_NAME.fullmatch(found[1]) or found[1] in own):
            folder.discard(name)
