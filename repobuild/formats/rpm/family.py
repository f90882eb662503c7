"""The RPM family: `RpmFormat` joins the rooms of this folder into what the rest of the house knows."""

from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from repobuild.bases import InstalledPackage
from repobuild.formats.protocol import (
    Cache,
    ClientFacts,
    Loaded,
    Objects,
    Offer,
    PackageFile,
    Read,
    RepositoryFacts,
    Root,
    RootFile,
    SignedParts,
    Signer,
    Statement,
)
from repobuild.formats.rpm import client
from repobuild.formats.values import Advisory, Detail, PackageUrl
from repobuild.model import Options, Package, Target, TreeFile, Upstream
from repobuild.signing import Keyring

if TYPE_CHECKING:
    from repobuild.formats.rpm.resolver import RpmUniverse

# Each room is loaded when it is first needed, as in the Debian family.
# ruff: noqa: PLC0415

_RELEASES = frozenset(
    f"{name}-release" for name in ("almalinux", "centos", "centos-stream", "oraclelinux", "redhat", "rocky")
)
_ROOT = "repodata/repomd.xml"
_SIGNATURE = f"{_ROOT}.asc"


@lru_cache(maxsize=64)
def _keyring(keys: tuple[Path, ...], fingerprints: tuple[str, ...]) -> Keyring:
    return Keyring.from_files(keys, fingerprints)


class RpmFormat:
    """RPM packages: repomd.xml, primary, .rpm."""

    suffix = ".rpm"
    capture = (
        r"rpm -qa --qf '%{NAME}\t%{EPOCHNUM}:%{VERSION}-%{RELEASE}\t%{ARCH}\n"
        r"[Provides: %{PROVIDENEVRS}\n][Requires: %{REQUIRENEVRS}\n][Conflicts: %{CONFLICTNEVRS}\n]"
        r"[Obsoletes: %{OBSOLETENEVRS}\n][File: %{FILENAMES}\n]'"
        r" | sed '/^File: /{/bin\//!{/: \/etc\//!d}}' > packages.txt"  # the files that a primary index lists
    )
    index_kind = "primary"
    pointers = frozenset({_ROOT, _SIGNATURE})

    def path(self, upstream: Upstream) -> str:  # noqa: ARG002 -- an RPM upstream is where its mirror is
        """Return where an upstream lies below its mirror: there itself."""
        return "./"

    def root_files(self, upstream: Upstream) -> tuple[RootFile, ...]:  # noqa: ARG002 -- the name is fixed
        """Return repomd.xml with its detached signature."""
        return (RootFile(_ROOT, _SIGNATURE),)

    def read_root(self, content: bytes, upstream: Upstream, target: Target) -> Root:  # noqa: ARG002 -- none is named
        """Parse a verified repomd.xml."""
        from repobuild.formats.rpm import repomd

        return repomd.read(content, upstream)

    def universe(
        self, loaded: Sequence[Loaded], target: Target, cache: Cache, options: Options, base: Loaded | None = None
    ) -> "RpmUniverse":
        """Open the primary indexes and modules, from the cache where they were read before."""
        from repobuild.formats.rpm.resolver import RpmUniverse

        return RpmUniverse(loaded, target, cache, options, base)

    def stranger(self, packages: Sequence[InstalledPackage], target: Target) -> str:
        """Ask the package of the distribution's release."""
        told = [each for each in packages if each.name in _RELEASES]
        wrong = [each for each in told if each.version.partition(".")[0].partition("-")[0] != str(target.major)]
        return f"{wrong[0].name} {wrong[0].version}" if wrong else ""

    def base_text(self, packages: Sequence[InstalledPackage], loaded: Sequence[Loaded], target: Target) -> bytes:  # noqa: ARG002 -- an entry says it
        """Return a primary.xml of what is installed."""
        from repobuild.formats.rpm import installed

        return installed.base_text(packages, loaded)

    def read_package(self, path: Path, *, upstream: str, url_path: str) -> Package:
        """Read an .rpm file."""
        from repobuild.formats.rpm import package

        return package.from_file(path, upstream=upstream, url_path=url_path)

    def want_for(self, package: Package) -> str:
        """Return the NEVRA."""
        return f"{package.name}-{package.version}.{package.arch}"

    def split_want(self, want: str) -> tuple[str, str]:
        """Return what stands before and behind `=`: other forms cannot be told from a name."""
        name, _, version = want.partition("=")
        return name, version

    def is_named(self, package: Package, want: str) -> bool:
        """Compare with the spellings of a NEVRA, as globs too, and with `name=version`, with or without release."""
        name, _, wanted = want.partition("=")
        full = (package.version, package.version.rpartition(":")[2])
        versions = {*full, *(each.rpartition("-")[0] for each in full)}
        if wanted:
            return name in {package.name, f"{package.name}.{package.arch}"} and wanted in versions
        stems = {package.name, *(f"{package.name}-{each}" for each in versions)}
        return any(fnmatchcase(each, name) for stem in stems for each in (stem, f"{stem}.{package.arch}"))

    def prove_package(self, path: Path, package: Package, upstream: Upstream) -> None:
        """Verify the signature of an .rpm file."""
        from repobuild.formats.rpm.package import prove

        prove(path, package, _keyring(upstream.keys, upstream.fingerprints))

    def signed_parts(self, content: BinaryIO, what: str) -> SignedParts:
        """Return the header with its signatures, of old packages header and payload."""
        from repobuild.formats.rpm.package import signed_parts

        return signed_parts(content, what)

    def metadata(
        self, packages: Sequence[Package], facts: RepositoryFacts, sign: Signer | None, objects: Objects
    ) -> tuple[TreeFile, ...]:
        """Return the files of repodata/, made from the packages' own headers."""
        from repobuild.formats.rpm import repository

        return repository.metadata(packages, facts, sign, objects, facts.extras)

    def existing_signatures(self, read: Callable[[str], bytes | None]) -> tuple[bytes | None, bytes | None]:
        """Return repomd.xml.asc; there is no inline one."""
        return None, read(_SIGNATURE)

    def index_text(self, packages: Sequence[Package], objects: Objects) -> bytes:
        """Return a primary.xml."""
        from repobuild.formats.rpm import repository

        return repository.primary_text(packages, objects)

    def extras(self, loaded: Sequence[Loaded], packages: Sequence[Package], kinds: Sequence[str]) -> dict[str, bytes]:
        """Return modules.yaml, comps and updateinfo of the upstreams as far as they speak of these packages."""
        from repobuild.formats.rpm import passing

        texts: dict[str, list[bytes]] = {}
        for each in loaded:
            here = dict(zip(each.root.indexes, each.texts, strict=True))
            for index in (*each.root.indexes, *each.root.later):
                if index.kind in kinds:
                    path = here.get(index) or (each.open(index) if each.open is not None else None)
                    texts.setdefault(index.kind, []).extend([path.read_bytes()] if path is not None else [])
        return passing.restricted(texts, packages)

    def read_offer(self, root: bytes, read: Read, target: Target) -> Offer:  # noqa: ARG002 -- none is named
        """Read all that a repomd.xml names."""
        from repobuild.formats.rpm import offer

        return offer.read_offer(root, read)

    def statement(self, path: Path, file: PackageFile) -> Statement:
        """Return the entries that createrepo_c makes of a package's header."""
        from repobuild.formats.rpm import offer

        return offer.statement(path, file)

    def differences(self, offer: Offer, statements: Mapping[str, Statement]) -> Mapping[str, str]:
        """Compare relations and files."""
        from repobuild.formats.rpm import offer as offers

        return offers.differences(offer, statements)

    def compare(self, one: str, other: str) -> int:
        """Compare two versions, with epoch and release, as rpm does."""
        from repobuild.formats.rpm import details

        return details.compare(one, other)

    def details(
        self, packages: Sequence[Package], objects: Objects, target: Target, options: Options
    ) -> tuple[Detail, ...]:
        """Return what the packages' own headers say."""
        from repobuild.formats.rpm import details

        return details.details(packages, objects, target, weak=options.weak_dependencies)

    def advisories(self, extras: Mapping[str, str], packages: Sequence[Package]) -> tuple[Advisory, ...]:
        """Return the updates of updateinfo.xml."""
        from repobuild.formats.rpm import passing

        return passing.advisories(extras.get("updateinfo", ""), packages)

    def package_url(self, package: Package, target: Target) -> PackageUrl:
        """Return the parts of a purl of type rpm."""
        from repobuild.formats.rpm import details

        return details.package_url(package, target)

    def client_files(self, facts: ClientFacts) -> Mapping[str, bytes]:
        """Return `.repo` files, over http and from disk."""
        return client.client_files(facts, package_keys=facts.package_keys)

    def usage(self, facts: ClientFacts) -> Mapping[str, str]:
        """Return the commands that use a repository."""
        return client.usage(facts, package_keys=facts.package_keys)

    def node_usage(self, facts: ClientFacts) -> Mapping[str, str]:
        """Return the commands that fetch the `.repo` file, and what to compare."""
        return client.node_usage(facts)
