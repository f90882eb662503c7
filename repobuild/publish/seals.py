"""Is a published repository still what its marker says? By status where that is known, else by hashing."""

import stat
from contextlib import suppress

from repobuild.durable import Folder
from repobuild.errors import DiskError, HostileInputError
from repobuild.model import MARKER, Tree
from repobuild.progress import Progress, measured
from repobuild.record import (
    Seal,
    hash_files,
    parse_marker,
    read_generation,
    read_seals,
    sha256_of,
    survey,
    write_seals,
)


def seal_all(repository: Folder | None, tree: Tree) -> None:
    """Write the stat record of a repository that was just published; links made or removed later void it.

    Raises:
        DiskError: when a file is missing, or the record cannot be written.
    """
    if repository is None:
        raise DiskError(f"the repository was taken away while it was published: {tree.name}")
    found = survey(repository)
    missing = [file.path for file in tree.files if file.path not in found]
    if missing:
        raise DiskError(f"taken away while it was published: {repository.path / missing[0]}")
    seals = {file.path: Seal.of(found[file.path]) for file in tree.files if file.path != MARKER}
    write_seals(repository, tree.files[-1].sha256, seals)


def is_intact(repository: Folder, marker: bytes, progress: Progress) -> bool:
    """Whether every file of this marker is unchanged; what its status does not prove is hashed, and sealed again."""
    try:
        listed = parse_marker(marker)
    except HostileInputError as error:
        progress.debug(error.message)
        return False
    digest = sha256_of(marker)
    generation = read_generation(repository)
    if not listed or (generation is not None and generation.marker != digest):
        return False
    found = survey(repository)
    if any(path not in found or not stat.S_ISREG(found[path].st_mode) for path in listed):
        return False
    seals = {path: Seal.of(found[path]) for path in listed}
    known = read_seals(repository, digest)
    suspects = {path: seal.size for path, seal in seals.items() if known.get(path) != seal}
    if not suspects:
        return True
    with measured(progress, f"check {repository.path.name}", sum(suspects.values())):
        if any(result != listed[path] for path, result in hash_files(repository, suspects, progress)):
            return False
    with suppress(DiskError):  # not ours to write: it is hashed again next time
        write_seals(repository, digest, seals)
    return True
