"""What the bundle stage is told, and what it tells."""

from dataclasses import dataclass
from pathlib import Path

from repobuild.archive.contents import PartKind
from repobuild.archive.packing import Packing
from repobuild.bundle.older import Old
from repobuild.model import Lock
from repobuild.signing import SigningKey

PIGSTY_DELETES = 409_600_000
"""Pigsty's bootstrap takes a bundle of so many bytes or fewer for a broken one and deletes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A published repository that is to travel."""

    path: Path
    lock: Lock
    lock_sha256: str
    """Of the lock's text that `lock` was read from; the repository must hold just that."""
    pointers: frozenset[str]
    """Paths that the family commits last (`InRelease`); they need not all be there."""
    pattern: str = ""
    """Of the file name, with ${version}, ${os} and ${arch} (`cache_pkg_name`); "" for `names.PATTERN`."""
    old: Old | None = None
    """What the far side has; a bundle of the rest is written then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleSpec:
    """What the bundle stage has to know: the repositories of one target, and how they are to travel."""

    sources: tuple[Source, ...]
    """In their order in the file."""
    named_for: int = 0
    """Number of the source whose pattern and lock name a file with all of them."""
    packing: Packing = Packing.GZIP
    volume_size: int | None = None
    """Bytes of a file, the most that it may have; None for one file of any size."""
    key: SigningKey | None = None
    """Signs SHA256SUMS; None for a bundle without signature."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenPart:
    """A file of a bundle that was written."""

    path: Path
    size: int
    sha256: str
    repositories: tuple[str, ...]
    """Names of those in it."""
    kind: PartKind
    part: int
    parts: int
    files: int
    """Files of the trees that it carries."""

    @property
    def is_deleted_by_pigsty(self) -> bool:
        """Whether Pigsty's bootstrap would delete it; `truncate -s 410M` helps, and the bundle still unpacks."""
        is_for_bootstrap = self.kind is PartKind.WHOLE and self.path.name.endswith(Packing.GZIP.value)
        return is_for_bootstrap and self.size <= PIGSTY_DELETES


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleResult:
    """What was written."""

    parts: tuple[WrittenPart, ...]
    files: int
    """Of all trees."""
    sums: Path
    """The list of digests beside the parts."""
    signers: tuple[str, ...]
    """Fingerprints of the keys that signed the list, the older first."""

    @property
    def path(self) -> Path:
        """The first part."""
        return self.parts[0].path

    @property
    def size(self) -> int:
        """Bytes of all parts."""
        return sum(part.size for part in self.parts)

    @property
    def sha256(self) -> str:
        """Of the first part."""
        return self.parts[0].sha256
