"""A part -> a temporary file, on disk and proven; the caller gives it its name."""

import os
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from repobuild.archive.contents import Contents
from repobuild.archive.packer import Packed, Packer
from repobuild.archive.packing import Packing
from repobuild.archive.tar import ending, file_header, padding
from repobuild.bundle.contents import HEAL, open_listed
from repobuild.bundle.cutting import archive_size, head_of
from repobuild.durable import Folder, disk_errors, seal
from repobuild.errors import ProofError
from repobuild.model import TreeFile
from repobuild.progress import Progress, measured

_READ_AHEAD = 8
"""Files that the kernel is asked to read before they are needed."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A part that is to be written."""

    name: str
    """Of its file."""
    trees: tuple[Folder, ...]
    """The repositories in it, in order."""
    part: tuple[Contents, ...]
    """What it holds of each."""
    installer: bytes
    """The text of `install.sh`."""


def write_draft(folder: Folder, draft: Draft, packing: Packing, progress: Progress) -> tuple[str, Packed]:
    """Write a part under a temporary name into `folder`; return that name, and what was written.

    Raises:
        ProofError: when a file of a tree is missing, or is not what the contents say; nothing is left behind.
        DiskError: when the disk says so; nothing is left behind.
    """
    size = sum(file.size for contents in draft.part for file in contents.carried)
    temporary, fd = folder.temporary(draft.name)
    try:
        with disk_errors(folder.path / draft.name), measured(progress, f"bundle {draft.name}", size):
            packed = _write(draft, packing, fd, progress)
            _prove(draft, packed)
            seal(fd, mode=0o644, mtime=None, sync=True)
    except BaseException:
        folder.discard(temporary)
        raise
    finally:
        os.close(fd)
    return temporary, packed


def _write(draft: Draft, packing: Packing, fd: int, progress: Progress) -> Packed:
    head = head_of(draft.part, draft.installer)
    size = archive_size(draft.part, len(head))
    with packing.open(fd, size) as packer:
        packer.write(head)
        written = len(head) + sum(
            _write_files(packer, tree, contents, progress)
            for tree, contents in zip(draft.trees, draft.part, strict=True)
        )
        packer.write(ending(written))
        return packer.finish()


def _write_files(packer: Packer, tree: Folder, contents: Contents, progress: Progress) -> int:
    """Write the files of a repository that the part carries; return how many bytes they are in the archive."""
    written = 0
    for file, source in _opened(tree, contents.carried):
        try:
            header = file_header(f"{contents.name}/{file.path}", file.size, contents.sequence)
            packer.write(header)
            if not packer.copy(source, file.size, progress.advance):
                raise ProofError(f"shorter than it has to be: {tree.path / file.path}", HEAL)
            packer.write(padding(file.size))
            written += len(header) + file.size + len(padding(file.size))
        finally:
            os.close(source)
    return written


def _opened(tree: Folder, files: tuple[TreeFile, ...]) -> Iterator[tuple[TreeFile, int]]:
    """Yield each file with a descriptor that the receiver closes; the kernel reads some files ahead meanwhile."""
    ahead: deque[tuple[TreeFile, int]] = deque()
    try:
        for file in files:
            fd = open_listed(tree, file.path)
            ahead.append((file, fd))
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_WILLNEED)
            if len(ahead) > _READ_AHEAD:
                yield ahead.popleft()
        while ahead:
            yield ahead.popleft()
    finally:
        for _, fd in ahead:
            os.close(fd)


def _prove(draft: Draft, packed: Packed) -> None:
    """Raise ProofError naming each file whose bytes were not those that the contents promise."""
    held = zip(draft.trees, draft.part, strict=True)
    files = [(tree, file) for tree, contents in held for file in contents.carried]
    pairs = zip(files, packed.copied, strict=True)
    wrong = [str(tree.path / file.path) for (tree, file), sha256 in pairs if file.sha256 != sha256]
    if wrong:
        raise ProofError(f"not what the marker says: {', '.join(wrong[:20])}", HEAL)
