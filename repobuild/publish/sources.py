"""Where payload comes from."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Protocol

from repobuild.durable import Folder, disk_errors
from repobuild.errors import VerificationError
from repobuild.model import LOCK_NAME, MARKER
from repobuild.record import located, parse_marker, read_text

_CHUNK = 1 << 20
"""Bytes copied at a time."""


class Source(Protocol):
    """Has payload by digest: the store, a previous generation, the staging folder of an install."""

    def place(self, sha256: str, folder: Folder, name: str, mtime: int | None = None) -> None:
        """Put the object `sha256`, known to be right, under the free `name` in `folder`; not flushed."""

    def reseal(self, digests: Iterable[str]) -> None:
        """Hear that links to these objects were made or removed, which moves their ctime."""


class PreviousGeneration:
    """The generation before the current one, as a source. Holds its folder open, so a later publication is no harm."""

    def __init__(self, folder: Folder) -> None:
        """Read what the generation says about itself.

        Raises:
            HostileInputError: when its marker is not one of ours.
        """
        self._folder = folder
        self.marker: bytes = read_text(folder, MARKER) or b""
        self.lock_text: bytes | None = read_text(folder, LOCK_NAME)
        """None when it was made by another tool."""
        self._paths = {digest: path for path, digest in sorted(parse_marker(self.marker).items())}

    def place(self, sha256: str, folder: Folder, name: str, mtime: int | None = None) -> None:
        """Put a file of this generation, hashed again, under the free `name`: a link when it is ours, else a copy.

        Raises:
            VerificationError: when the generation lacks it or it has changed.
        """
        with located(self._folder, self._path(sha256)) as (within, old):
            place_verified(within, old, sha256, (folder, name), mtime)

    def path(self, sha256: str) -> Path:
        """Return where a file of this generation is.

        Raises:
            VerificationError: when the generation lacks it.
        """
        return self._folder.path / self._path(sha256)

    def _path(self, sha256: str) -> str:
        path = self._paths.get(sha256)
        if path is None:
            raise VerificationError(f"the previous generation has no file with this sha256: {sha256}")
        return path

    def reseal(self, digests: Iterable[str]) -> None:
        """Do nothing: a former generation is hashed whenever it is used."""


def place_verified(folder: Folder, name: str, sha256: str, into: tuple[Folder, str], mtime: int | None) -> None:
    """Put a file under another, free name after hashing it: a hard link when we own it, else a copy; not flushed.

    Raises:
        VerificationError: when it does not have this sha256; nothing is placed then.
    """
    target, new = into
    with disk_errors(folder.path / name), os.fdopen(folder.open_file(name), "rb") as file:
        status = os.fstat(file.fileno())
        if status.st_uid == os.geteuid():
            seen = hashlib.file_digest(file, "sha256")
            if seen.hexdigest() == sha256:
                folder.link(name, target, new)
        else:
            seen = hashlib.sha256()
            target.write(new, _hashed(file, seen), mtime=mtime, sync=False)
    if seen.hexdigest() != sha256 or not _is_same(target, new, sha256, status):
        target.discard(new)
        raise VerificationError(
            f"changed since it was published: {folder.path / name}",
            "build the repository again instead: repobuild sync --update",
        )


def _is_same(target: Folder, new: str, sha256: str, hashed: os.stat_result) -> bool:
    """Whether the file placed is the inode that was hashed, or equals it: a name can be replaced in between."""
    placed = target.stat(new)
    if placed is not None and (placed.st_dev, placed.st_ino) == (hashed.st_dev, hashed.st_ino):
        return True
    return target.sha256(new) == sha256


def _hashed(file: IO[bytes], seen: "hashlib._Hash") -> Iterator[bytes]:
    while chunk := file.read(_CHUNK):
        seen.update(chunk)
        yield chunk
