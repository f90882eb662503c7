"""What the rest of the house knows of a package family: the `Format` protocol and the values that cross it."""

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Generic, Protocol, TypeVar

from repobuild.bases import InstalledPackage
from repobuild.formats.values import Advisory, Detail, PackageUrl, Sighting
from repobuild.model import Choice, Options, Package, Target, TreeFile, Upstream

C = TypeVar("C")
NOWHERE = "no upstream has it"
"""`Found.reason` where there is nothing more to say."""
NOBODY_HAS = "which no upstream has"
"""How a family's explanations say that a dependency is nowhere."""
GONE = "gone from every mirror"
"""How they say that a package was taken away (`Universe.exclude`)."""


@dataclass(frozen=True, slots=True)
class RootFile:
    """A name under which an upstream's root may lie, below a mirror."""

    path: str
    signature: str | None
    """The detached signature's path, None when the root is signed inline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One compressed form of an index."""

    path: str
    compression: str
    """`xz`, `gz`, `zst` or "" for none."""
    size: int
    """In bytes; the most it may have where the root does not say."""
    digest: str
    algorithm: str = "sha256"
    """Of the digest: sha256 or stronger."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexFile:
    """An index that a root names."""

    variants: tuple[Variant, ...]
    """Best first, never empty."""
    size: int
    """Of the open text, in bytes; the most it may have where `sha256` is not known."""
    sha256: str
    """Of the open text; "" until it is there, where the root gives another digest or none."""
    kind: str = "packages"
    """What it lists, in the family's own word: `primary`, `modules`, `filelists` …."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Root:
    """What a verified root says."""

    origin: str
    suite: str
    date: int
    """Seconds since the epoch, 0 when it gives none."""
    valid_until: int | None
    aliases: tuple[str, ...]
    """Names by which a want may ask for this upstream: suite, codename."""
    pin: int
    """apt's pin of what it names; higher wins."""
    indexes: tuple[IndexFile, ...]
    """Those that every run needs."""
    later: tuple[IndexFile, ...] = ()
    """Those that only some runs need."""
    lacks: tuple[str, ...] = ()
    """Components that were asked for and that it does not have."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """An upstream with its indexes at hand."""

    upstream: Upstream
    root: Root
    texts: tuple[Path, ...]
    """The open texts of `root.indexes`, in the same order."""
    open: Callable[[IndexFile], Path] | None = None
    """Bring one of `root.later` into the store and return its open text; UnreachableError when that cannot be."""


@dataclass(frozen=True, slots=True)
class Found(Generic[C]):
    """What a want stands for."""

    candidates: tuple[C, ...]
    is_optional: bool = False
    """A glob's matches: reported, not fatal, when they cannot be had."""
    reason: str = ""
    """Why there is no candidate."""
    near: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Solution:
    """A set that installs, or why there is none."""

    choices: tuple[Choice, ...]
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Exact(Generic[C]):
    """One version of a package, and no other."""

    want: str
    """What asks for it."""
    candidate: C


class Universe(Protocol[C]):
    """All packages of a target, and the choice its own tool would make."""

    def find(self, want: str) -> Found[C]:
        """Say what a want stands for."""

    def solve(self, wants: Sequence[C]) -> Solution:
        """Choose the set that installs all `wants` on the base, as the target's own tool would."""

    def fits(self, wants: Sequence[C]) -> tuple[str, ...]:
        """Say why `wants` cannot be installed together on the base; empty when they can."""

    def minimal(self) -> tuple[C, ...]:
        """Return what a minimal install of the target is asked for: what its distribution says of that."""

    def favour(self, packages: Sequence[Package]) -> None:
        """Prefer these packages from now on, where others would do as well."""

    def relies_on(self, solution: Solution) -> tuple[str, ...]:
        """Return what of the base the packages of a solution need, as `name version`, sorted."""

    def held(self, want: str) -> tuple[str, ...]:
        """Return what of the base a want stands for, as `name version`, sorted; empty when the base has none of it."""

    def name_of(self, candidate: C) -> str:
        """Return a candidate's name for people."""

    def taken(self, wants: Sequence[C], solution: Solution) -> tuple[tuple[Package, ...], ...]:
        """Return for each of `wants`, in their order, what `solution` took for it."""

    def versions(self, package: Package, count: int) -> tuple[Exact[C], ...]:
        """Return a chosen package, then the next `count` versions before it; fewer where there are no more.

        They come from upstreams of the same module: elsewhere another package may bear the name. A version whose file
        would have the name of one that is here is passed over.
        """

    def upstreams_of(self, name: str) -> tuple[str, ...]:
        """Return the upstreams that have a package of this name, in manifest order."""

    def exclude(self, digests: AbstractSet[str]) -> None:
        """Do as if packages with these sha256 were not there; candidates found before are void."""

    def sightings(self, name: str) -> tuple[Sighting, ...]:
        """Return every package of a name that an upstream has for this target, the newest version first."""


class Cache(Protocol):
    """Keeps what was derived from an index, by a key that names index and format; child processes may write too."""

    def derived(self, key: str) -> bytes | None:
        """Return what was kept, None when nothing is."""

    def put_derived(self, key: str, data: bytes) -> None:
        """Keep `data`; best effort."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryFacts:
    """What the root of a repository of ours says about itself."""

    name: str
    target: Target
    time: int
    """Seconds since the epoch: the lock's."""
    extras: Mapping[str, bytes] = field(default_factory=dict)
    """What is passed on of the upstreams, by kind."""


Objects = Callable[[str], Path]
"""sha256 to the file with these bytes."""

Read = Callable[[str], bytes | None]
"""Path in a repository to the file's content, None where it is not there."""

Statement = Mapping[str, bytes]
"""What a package file says of itself, by kind, in the words of an index."""


SignedParts = tuple[tuple[bytes, bytes], ...]
"""(what is signed, its signature), for each signature in a package file."""


@dataclass(frozen=True, slots=True)
class PackageFile:
    """A package file whose bytes are proven."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What the indexes of a repository tell its clients."""

    root: Root
    texts: tuple[bytes, ...]
    """Open, of `root.indexes`."""
    later: Mapping[str, bytes]
    """Open texts of `root.later`, by kind."""
    packages: tuple[Package, ...]
    """What is listed, sorted by file name; `path` says where, as a plain path in the repository, not quoted."""
    problems: tuple[tuple[str, str], ...]
    """(path, what is wrong) of index files that are not as the root says, or disagree with each other."""


NODE_MODULE = "local"
"""The module of Pigsty that is our repository, and the stem of the file by which its nodes find it."""


class Signer(Protocol):
    """Signs the root of a repository of ours; what is published and still holds is kept."""

    def inline(self, text: bytes) -> bytes:
        """Return `text` with its signatures around it, in one block."""

    def detached(self, text: bytes, *, one_block: bool = True) -> bytes:
        """Return the armoured signatures of `text`, in one block or in a block each."""


class Format(Protocol):
    """A package family."""

    suffix: str
    """Of its package files: `.deb`."""
    capture: str
    """What to run on a machine whose packages are to be a base.

    It prints a line of name, version and architecture for each, by tabs, and below it `Field: text` lines of what the
    package provides and needs, which may be missing."""
    index_kind: str
    """Of the index that lists packages: what `index_text` makes."""
    pointers: frozenset[str]
    """Paths of the files that are committed last, whether or not a repository has them."""

    def path(self, upstream: Upstream) -> str:
        """Say where below a mirror an upstream lies, for the lock."""

    def root_files(self, upstream: Upstream) -> tuple[RootFile, ...]:
        """Return where a root may lie, in the order to try."""

    def read_root(self, content: bytes, upstream: Upstream, target: Target) -> Root:
        """Parse a verified root; HostileInputError when it is malformed or lacks what the target needs."""

    def universe(
        self, loaded: Sequence[Loaded], target: Target, cache: Cache, options: Options, base: Loaded | None = None
    ) -> Universe[Any]:
        """Open the indexes of all upstreams of a target, in manifest order; `base` is what is installed already."""

    def stranger(self, packages: Sequence[InstalledPackage], target: Target) -> str:
        """Return the package, as `name version`, that tells that a machine has another release than `target`, or ""."""

    def base_text(self, packages: Sequence[InstalledPackage], loaded: Sequence[Loaded], target: Target) -> bytes:
        """Return an index of what is installed, for `universe`.

        Packages that an upstream has in this version are described as it does, others by their name and version.
        """

    def read_package(self, path: Path, *, upstream: str, url_path: str) -> Package:
        """Read a package file; HostileInputError when it is none."""

    def want_for(self, package: Package) -> str:
        """Return the want that stands for exactly this package."""

    def split_want(self, want: str) -> tuple[str, str]:
        """Return the name that a want is for, and the version, "" for any."""

    def is_named(self, package: Package, want: str) -> bool:
        """Say whether a want names this package itself: by name or glob, with version or architecture or without."""

    def prove_package(self, path: Path, package: Package, upstream: Upstream) -> None:
        """Prove a package by its own signature, as `verify: packages` asks; VerificationError when that fails."""

    def signed_parts(self, content: BinaryIO, what: str) -> SignedParts:
        """Read a package to its end, and return what of it is signed; every signature in it has to hold.

        Raises:
            RefusedError: when it is not signed, or not what it says of itself; `what` names it.
        """

    def metadata(
        self, packages: Sequence[Package], facts: RepositoryFacts, sign: Signer | None, objects: Objects
    ) -> tuple[TreeFile, ...]:
        """Return the index files of a repository that holds `packages`, pointers last; signed when `sign` is given."""

    def existing_signatures(self, read: Callable[[str], bytes | None]) -> tuple[bytes | None, bytes | None]:
        """Return the (inline, detached) signatures of a published repository, read by path."""

    def index_text(self, packages: Sequence[Package], objects: Objects) -> bytes:
        """Return an index of packages read from files, for `universe` to open beside those of upstreams."""

    def extras(self, loaded: Sequence[Loaded], packages: Sequence[Package], kinds: Sequence[str]) -> dict[str, bytes]:
        """Return what the upstreams say beside their packages, restricted to these; only of `kinds`."""

    def read_offer(self, root: bytes, read: Read, target: Target) -> Offer:
        """Read what a repository of ours offers, from the text that clients read first; RefusedError when it cannot."""

    def statement(self, path: Path, file: PackageFile) -> Statement:
        """Read what a package says of itself; `path` needs to hold no more than its beginning.

        Raises:
            HostileInputError: when it is no package, or not enough of one.
        """

    def differences(self, offer: Offer, statements: Mapping[str, Statement]) -> Mapping[str, str]:
        """Say of packages, by file name, where the index tells a client something else than they say themselves."""

    def compare(self, one: str, other: str) -> int:
        """Return a number below, equal to or above 0 as version `one` comes before, with or after `other`."""

    def details(
        self, packages: Sequence[Package], objects: Objects, target: Target, options: Options
    ) -> tuple[Detail, ...]:
        """Return what packages say, in their order; weak needs only where `options` follow them.

        Raises:
            HostileInputError: when what a package says is malformed or another package's.
            DiskError: when a file that has to be read for it cannot be.
        """

    def advisories(self, extras: Mapping[str, str], packages: Sequence[Package]) -> tuple[Advisory, ...]:
        """Return what is said in `extras` (of a lock) that these packages mend, sorted by id."""

    def package_url(self, package: Package, target: Target) -> PackageUrl:
        """Return the parts of a package's purl."""

    def client_files(self, facts: "ClientFacts") -> Mapping[str, bytes]:
        """Return the files by which clients find a repository, by name."""

    def usage(self, facts: "ClientFacts") -> Mapping[str, str]:
        """Return what to type on a machine to use a repository, by a word or two of what for."""

    def node_usage(self, facts: "ClientFacts") -> Mapping[str, str]:
        """Return what to type on another machine to trust and use a signed repository over http."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientFacts:
    """What a client file says."""

    name: str
    url: str
    """Of the repository, over http."""
    folder: str
    """Of the repository, on this machine."""
    is_signed: bool
    target: Target
    public_key: bytes = b""
    """The keys that sign the repository, binary or armoured; empty where it is not signed, or they are not at hand."""
    package_keys: tuple[str, ...] = ()
    """Files in the repository with the keys that signed its packages; only where every package is signed."""
    stated_url: str = ""
    """`url` with its port as the manifest writes it, for the one form that repeats it; "" when that is the same."""
    generation: str = "v4"
    """Which Pigsty renders the node form: `v3` or `v4`."""

    @property
    def node_header(self) -> str:
        """The first lines of the node form: what it is for, as Pigsty puts it, and where it comes from."""
        target = self.target
        machine = f"{target.vendor}{target.major} {target.arch}: {target.codename} {target.family}"
        return f"#=========# [{NODE_MODULE}] on {machine} repo\n# written by repobuild for {self.name}\n"
