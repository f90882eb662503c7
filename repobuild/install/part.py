"""A file of a bundle, as it travelled: proven by the list beside it, then read.

The list and its signature come first, the digest of the file second, and only a file that has the digest is parsed.
It is read once more when it is unpacked, and hashed once more then: a stick may give other bytes the second time.
"""

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from repobuild.archive.contents import Contents
from repobuild.archive.reader import BundleReader
from repobuild.durable import Folder, disk_errors
from repobuild.errors import HostileInputError, VerificationError
from repobuild.install.sums import SUMS_NAME, prove_digest, read_sidecar, read_sums
from repobuild.install.trust import Judge, Voucher
from repobuild.progress import SILENT, Progress, measured
from repobuild.record import TEXT_LIMIT

_TRUNCATED_COPY = "copy the bundle and what lies beside it again; if that does not help, make it again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part whose contents were read; what they promise is proven only when all of it was unpacked."""

    path: Path
    size: int
    """Bytes of the file."""
    digests: frozenset[str]
    """One of which it has to have, by what lies beside it; empty when nothing does."""
    repositories: tuple[Contents, ...]
    """What it says of each repository in it."""
    voucher: Voucher | None
    """Who stands up for it; None when nobody was asked."""

    @property
    def number(self) -> int:
        """Of the part in its bundle; a part with several repositories is whole, and so the first."""
        return self.repositories[0].part


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """Parts of the bundle of one repository: all of them, or some; a part may hold other repositories as well."""

    contents: Contents
    """As all of them say; only the number of the part is each one's own, and 1 here."""
    parts: tuple[Part, ...]


def inspect(path: Path, judge: Judge | None, progress: Progress = SILENT) -> Part:
    """Prove a file by the list beside it and return what it says to hold. Without a judge the signature has no say.

    Raises:
        VerificationError: when the list is not signed by whom we believe, or does not list this file.
        HostileInputError: when it is not a bundle, or its contents are malformed or unsafe.
        DiskError: when it cannot be read.
    """
    with _opened(path) as fd:
        with Folder.open(path.parent) as folder:
            sums = read_sums(folder)
            voucher = judge.vouch(folder, sums) if judge is not None else None
            sidecar = read_sidecar(folder, path.name) if not sums.text else None
        digests = sums.of_part(path.name) if sums.text else frozenset({sidecar} if sidecar else ())
        size = os.fstat(fd).st_size
        if digests:
            with measured(progress, f"verify {path.name}", size):
                listed_in = SUMS_NAME if sums.text else f"{path.name}.sha256"
                prove_digest(fd, digests, (str(path), listed_in), progress)
        repositories = BundleReader(fd, path.name, lambda _: None).repositories
    return Part(path=path, size=size, digests=digests, repositories=repositories, voucher=voucher)


def by_bundle(parts: Iterable[Part]) -> tuple[Bundle, ...]:
    """Return the bundles that some parts are of, the oldest first."""
    groups: dict[Contents, list[Part]] = {}
    for part in parts:
        for contents in part.repositories:
            groups.setdefault(replace(contents, part=1), []).append(part)
    bundles = [Bundle(contents=contents, parts=tuple(group)) for contents, group in groups.items()]
    return tuple(sorted(bundles, key=lambda bundle: bundle.contents.sequence))


@contextmanager
def reading(part: Part, progress: Progress = SILENT) -> Iterator[BundleReader]:
    """Open a part to read it to its end; `finish_reading` proves that this was done and found what was expected.

    Raises:
        VerificationError: when it is not the file any more that was inspected.
    """
    with _opened(part.path) as fd, measured(progress, f"read {part.path.name}", part.size):
        reader = BundleReader(fd, part.path.name, progress.advance)
        if reader.repositories != part.repositories:
            raise VerificationError(f"changed while it was read: {part.path}", _TRUNCATED_COPY)
        yield reader


def finish_reading(part: Part, reader: BundleReader) -> str:
    """Prove the end of a part and its digest; return the sha256 of it, without zeros that lengthened it.

    Raises:
        RefusedError: when something follows, or it is not what lies beside it says.
    """
    archive, whole = reader.finish()
    if part.digests and part.digests.isdisjoint({archive, whole}):
        raise VerificationError(f"not what is listed beside it: {part.path}: {whole}", _TRUNCATED_COPY)
    return archive


def prove(part: Part, progress: Progress = SILENT) -> str:
    """Read a whole part without keeping anything; return its sha256.

    Raises:
        RefusedError: when anything in it is not what it has to be.
    """
    with reading(part, progress) as reader:
        for contents in reader.repositories:
            for _, content in reader.members(contents):
                for _ in content:
                    pass
        return finish_reading(part, reader)


def read_text(part: Part, repository: str, path: str, progress: Progress = SILENT) -> bytes | None:
    """Return an index file of a repository in a part, None where it does not carry it; read no further than to its end.

    Raises:
        RefusedError: when it is not what the contents say.
    """
    carried = (file for each in part.repositories if each.name == repository for file in each.carried)
    if not any(file.path == path and file.size <= TEXT_LIMIT for file in carried):
        return None
    with reading(part, progress) as reader:
        for contents in reader.repositories:
            for file, content in reader.members(contents):
                is_it = file.path == path and contents.name == repository
                text = b"".join(content if is_it else (b"" for _ in content))
                if is_it:
                    return text
    return None


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    """Open a file that the operator named; a link is the operator's own choice."""
    with disk_errors(path):
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise HostileInputError(f"not a regular file: {path}")
        yield fd
    finally:
        os.close(fd)
