"""What a report says, as values that are ready to be written: nothing here is computed from a lock any more."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A package."""

    name: str
    version: str
    arch: str
    size: int
    filename: str
    sha256: str
    upstream: str
    module: str
    """Of the want that it is there for; "" for the base."""
    want: str
    """The first want that needs it; "" for the base and for what no want leads to."""
    why: str
    licence: str
    summary: str
    homepage: str
    needs: tuple[int, ...] = ()
    """Places of the packages that it cannot do without."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A want and what it costs; packages and bytes."""

    want: str
    module: str
    taken: tuple[str, ...]
    """`name version` of what was chosen for it."""
    alone: tuple[int, int]
    added: tuple[int, int]
    freed: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """An upstream, and how it was verified."""

    name: str
    module: str
    path: str
    verify: str
    signer: str
    date: int
    """Seconds since the epoch, 0 when its root has none."""
    is_skipped: bool
    packages: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Proven:
    """What was proven from one base."""

    base: str
    wants: int
    sets: int
    relies: int = 0
    """Packages of the base that the proof relies on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofSummary:
    """The receipt of a check."""

    files: int
    """That were hashed; 0 where only what is to be published was looked at."""
    packages: int
    signer: str
    bases: tuple[Proven, ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportSpec:
    """All that a report says."""

    name: str
    target: str
    version: str
    time: int
    """Seconds since the epoch: the lock's."""
    lock: str
    """sha256 of the lock's text."""
    items: tuple[Item, ...]
    wants: tuple[Wanted, ...]
    """In manifest order."""
    base: tuple[int, int]
    """Packages and bytes."""
    sources: tuple[Source, ...]
    assets: tuple[tuple[str, int, str], ...]
    """Name, bytes and sha256 of files that are no packages."""
    missing: tuple[tuple[str, str], ...]
    """Wants and why they are missing."""
    unverified: tuple[str, ...]
    gone: tuple[str, ...]
    foreign: tuple[tuple[str, str], ...]
    sets: int
    advisories: tuple[tuple[str, str, str], ...] = ()
    """Id, kind with severity, title."""
    proof: ProofSummary | None = None
    files: tuple[str, ...] = ()
    """Paths beside packages and assets, where the page is the index of a repository; none where it stands alone."""

    @property
    def has_licences(self) -> bool:
        """Whether the metadata has any licence."""
        return any(each.licence for each in self.items)
