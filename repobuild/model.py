"""The words of repobuild as frozen values. No I/O, and nothing here knows a family.

manifest    the YAML document: upstreams, package map, wants, options
target      one OS release and architecture to build for: `d12.x86_64`
family      `rpm` or `deb`; the format room that knows it
upstream    a repository we read from, with its mirrors, keys and options
root, index the signed top file of an upstream, and the files it names by digest
catalog     all packages of a target's upstreams, verified
want        a package name, glob or spec that the manifest asks for; a group is one line of wants
resolution  the chosen packages, each with why it is there
lock        the resolution as a file: pins every byte
object      a file in the store, known by its sha256
store       the cache of objects, shared by all targets
tree        what the published repository will contain, in commit order
marker      `repo_complete`, written last
contents    the list of everything in a bundle, with digests
base        what is taken as installed before a solve
generation  one published state of a repository; the last two are kept
bundle      the offline package, a tarball
"""

import enum
from dataclasses import dataclass, field
from pathlib import Path

from repobuild.bases import BasePin, Bases

DEFAULT_NAME = "pigsty"
"""Of a repository: what Pigsty looks for."""
MARKER = "repo_complete"
LOCK_NAME = "repobuild.lock"
"""Name of the lock inside a repository: a file of the tree, listed in the marker."""
PROOF_NAME = "repobuild.proof.json"
"""Name of the receipt that says from which bases the wants of the lock install; a file of the tree too."""
PAGE_NAME = "index.html"
"""Name of the report, which browsers show first; a file of the tree too."""
PACKAGE_KEYS = "keys"
"""Kind of the extra with the keys that signed the packages, where every package was proven by its signature."""
TIME_LIMIT = (1 << 33) - 1
"""Seconds since the epoch, the most that an archive can hold: in the year 2242."""
PRIVATE = ".repobuild"
"""Folder inside a repository that is no part of the tree (generation record, bundle contents)."""


class Verify(enum.StrEnum):
    """How an upstream is verified (design.md, rulings)."""

    ROOT = "root"
    PACKAGES = "packages"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One OS release and architecture to build for."""

    name: str
    """`<os>.<arch>`, the canonical name: `d12.x86_64`."""
    os: str
    """`d12`, `u24`, `el9`, or with a minor release `el9.6`."""
    family: str
    major: int
    release: str
    """The full release: `12`, `24.04`, `9.6`."""
    codename: str
    """`bookworm`; `el9` where the distribution has none."""
    vendor: str
    """ID of os-release: `debian`, `ubuntu`, `rocky`."""
    arch: str
    """As `uname -m` says it: `x86_64` or `aarch64`."""
    package_arch: str
    """The family's name of it: `amd64`, `arm64`, `x86_64`, `aarch64`."""

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Mirror:
    """One place that serves an upstream."""

    url: str
    """Base URL without trailing slash, query or credentials; http, https or file."""
    proxy: str | None = None
    """URL of the proxy to use, "" for none whatever the settings say, None for the settings' own."""


class ListKind(enum.StrEnum):
    """How a list of mirrors is written."""

    PLAIN = "mirrorlist"
    METALINK = "metalink"


@dataclass(frozen=True, slots=True)
class MirrorList:
    """A list of mirrors that an upstream publishes."""

    kind: ListKind
    url: str
    proxy: str | None = None
    """As of a `Mirror`, for the list and the mirrors that it names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRepository:
    """An RPM repository that the build machine itself is configured with."""

    name: str
    """Its id: `baseos`."""
    urls: tuple[str, ...]
    """Base URLs; `${releasever}`, `${basearch}` and their like stand in them."""
    lists: tuple[tuple[ListKind, str], ...]
    """URLs of lists of mirrors, of the same form."""
    proxy: str | None
    """As of a `Mirror`."""


HostMirror = Mirror | HostRepository
"""What the build machine's own package manager reads from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """A repository we read from, as one target sees it."""

    name: str
    module: str
    mirrors: tuple[Mirror, ...]
    """In the order in which they are tried."""
    mirror_lists: tuple[MirrorList, ...] = ()
    """Asked for more of them."""
    suite: str = ""
    """deb: the suite (`bookworm`), ending in `/` for a flat repository. rpm: empty."""
    components: tuple[str, ...] = ()
    verify: Verify = Verify.ROOT
    keys: tuple[Path, ...] = ()
    """Key files (armoured or binary) that may sign the root."""
    fingerprints: tuple[str, ...] = ()
    """When not empty, only these primary keys are believed (upper-case hex)."""
    key_urls: tuple[str, ...] = ()
    """Where keys can be fetched that are believed only by `fingerprints`; tried in this order."""
    origin: str | None = None
    """Origin that the root must state, None for any."""
    check_valid_until: bool = True
    skip_if_unavailable: bool = False
    skip_if_gone: bool = False
    """Whether packages that every mirror says are gone are left out, for the next best version."""
    may_lack: bool = False
    """deb: whether components that the root does not have are left out, as long as it has one."""
    priority: int = 99
    """rpm: the smaller wins, whatever the versions (dnf.conf(5))."""
    cost: int = 1000
    """rpm: of two upstreams that have the same package, the cheaper one is asked."""
    exclude: tuple[str, ...] = ()
    """rpm: globs of packages that are not there (`excludepkgs`)."""
    include: tuple[str, ...] = ()
    """rpm: globs of the only packages that are there, "" for all (`includepkgs`)."""
    module_hotfixes: bool = False
    """rpm: whether modules never hide packages of this upstream."""
    checks_packages: bool = False
    """rpm: whether each package is proven by its own signature too (`gpgcheck`, `verify: packages`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UrlPackage:
    """A file named by its URL, `repo_url_packages`."""

    name: str
    """File name in the repository."""
    url: str
    sha256: str | None = None
    verify: Verify = Verify.ROOT
    """`none` where the operator accepts a file without a digest."""


@dataclass(frozen=True, slots=True)
class AddedFile:
    """A package file that the operator lays beside the upstreams (`--add`)."""

    name: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the manifest says about resolving."""

    weak_dependencies: bool
    """Whether Recommends are followed; the manifest's word, else the family's habit."""
    module_streams: tuple[str, ...] = ()
    """rpm: `name:stream` of the module streams that are enabled beside the default ones."""
    pass_on: tuple[str, ...] = ()
    """rpm: what of the upstreams' own words is passed on: `modules`, `group`, `updateinfo`."""
    keep: int = 0
    """How many older versions of each want stay for downgrades."""
    origins: tuple[tuple[str, str], ...] = ()
    """Package name and the only upstream that it may come from, sorted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MinorRelease:
    """A minor release of a target's system, of which a base is a minimal install."""

    release: str
    """As its bases have it."""
    target: Target
    upstreams: tuple[Upstream, ...]
    """Those that there are for each minor release."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """All that one target sees of a manifest: the input of a run."""

    target: Target
    upstreams: tuple[Upstream, ...]
    groups: tuple[tuple[str, ...], ...]
    """Wants, expanded; one inner tuple a line of the manifest, in manifest order."""
    url_packages: tuple[UrlPackage, ...]
    options: Options
    name: str
    """`repo_name`: the folder under the home."""
    version: str
    """Of the manifest, for the bundle's name: `v4.5.0`."""
    endpoint: str
    """`repo_endpoint` expanded: the URL under which the home is served, without trailing slash."""
    digest: str
    """sha256 of what this target sees of the manifest, and of `added`; regions and mirrors do not move it."""
    added: tuple[AddedFile, ...] = ()
    """Objects of the store, by name."""
    expected: tuple[tuple[str, str], ...] = ()
    """Which module a want's group expects it from, by want."""
    generation: str = ""
    """`v3` where clients' files are to follow Pigsty's third generation."""
    bases: Bases = Bases()  # noqa: RUF009 -- frozen
    """From what the repository has to install."""
    minor_releases: tuple[MinorRelease, ...] = ()
    """Those of the bases."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A package as its upstream's verified index describes it."""

    name: str
    version: str
    arch: str
    size: int
    sha256: str
    path: str
    """Below the mirror's base URL; never used as a path on disk."""
    upstream: str
    filename: str
    """In our repository; made by the format room from checked fields, never from `path`."""
    metadata: str
    """The family's own description (deb: the stanza without location and digests)."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A chosen package and why it is there."""

    package: Package
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """A want that nothing satisfies."""

    want: str
    reason: str
    near: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """What a target's wants come to."""

    choices: tuple[Choice, ...]
    """Sorted by name, version and architecture."""
    missing: tuple[Missing, ...]
    sets: tuple[tuple[str, ...], ...]
    """Install sets: wants that install together; one unless wants exclude each other or older versions are kept."""
    notes: tuple[str, ...] = ()
    """What a person should know: conflicts, backed-out choices."""
    taken: tuple[tuple[str, Package], ...] = ()
    """Wants and what was chosen for each; a glob has several lines. Without older versions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RootPin:
    """An upstream as a lock pins it; no mirror's host."""

    name: str
    path: str
    """Where below a mirror: `dists/bookworm` and components."""
    sha256: str
    """Of the root as fetched, "" where an upstream was skipped."""
    date: int
    """Seconds since the epoch, 0 when the root has none."""
    signer: str
    """Fingerprint of the primary key, "" when not verified."""
    verify: Verify
    module: str = ""
    """As the manifest says it; "" in locks that do not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """A resolution with everything that pins it."""

    target: str
    time: int
    """max(newest upstream Date, time of the replaced lock + 1 s), seconds since the epoch."""
    manifest: str
    """`Job.digest`."""
    name: str
    """Of the repository: `repo_name`."""
    version: str
    endpoint: str
    """The URL under which the home is served, for the clients' files."""
    upstreams: tuple[RootPin, ...]
    choices: tuple[Choice, ...]
    missing: tuple[Missing, ...]
    sets: tuple[tuple[str, ...], ...]
    options: Options
    assets: tuple["Asset", ...] = ()
    unverified: tuple[str, ...] = ()
    """Names of upstreams and URL packages that were not verified, by the operator's word."""
    gone: tuple[str, ...] = ()
    """File names that an upstream lists and no mirror has any more; left out by the operator's word."""
    extras: tuple[tuple[str, str], ...] = ()
    """(kind, text), sorted: what is passed on of the upstreams (`Options.pass_on`), and `PACKAGE_KEYS`."""
    foreign: tuple[tuple[str, str], ...] = ()
    """Wants that another module's upstream satisfied than their group expects, each with that upstream."""
    generation: str = ""
    """As of the job."""
    bases: tuple[BasePin, ...] = ()
    """From what the wants have to install, in order; none for `empty` alone."""
    taken: tuple[tuple[str, str], ...] = ()
    """Wants and the file name of what was chosen for each, as of the resolution; empty in locks that do not say it."""
    carries_proof: bool = False
    """Whether a repository without `PROOF_NAME` is not whole; older locks have published such ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """A plain file in the repository that is no package (`repo_url_packages`)."""

    name: str
    url: str
    size: int
    sha256: str


class Kind(enum.IntEnum):
    """The place of a file in the commit order: lower first."""

    PAYLOAD = 0
    INDEX = 1
    POINTER = 2
    MARKER = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeFile:
    """One file of a tree."""

    path: str
    """Relative, `/`-separated, of checked parts: `by-hash/SHA256/…`."""
    kind: Kind
    size: int
    sha256: str
    content: bytes | None = field(default=None, repr=False)
    """The bytes, or None when the store holds them under `sha256`."""
    upstream: str = ""
    verify: str = ""


@dataclass(frozen=True, slots=True)
class Tree:
    """What a published repository will contain, in commit order, the marker last."""

    name: str
    time: int
    files: tuple[TreeFile, ...]
