"""The Debian family: `DebFormat` joins the rooms of this folder into what the rest of the house knows."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from repobuild.bases import InstalledPackage
from repobuild.errors import VerificationError
from repobuild.formats.deb import client
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
from repobuild.formats.values import Advisory, Detail, PackageUrl
from repobuild.model import Options, Package, Target, TreeFile, Upstream

if TYPE_CHECKING:
    from repobuild.formats.deb.resolver import DebUniverse

# Each room is loaded when it is first needed: a run that finds everything as it should be needs none of the parsers
# and solvers, and would spend most of its time on loading them.
# ruff: noqa: PLC0415


class DebFormat:
    """Debian packages: InRelease, Packages, .deb."""

    suffix = ".deb"
    capture = (
        r"dpkg-query -W -f '${Package}\t${Version}\t${Architecture}\t${db:Status-Status}\n"
        r"Multi-Arch: ${Multi-Arch}\nPre-Depends: ${Pre-Depends}\nDepends: ${Depends}\n"
        r"Provides: ${Provides}\nConflicts: ${Conflicts}\nBreaks: ${Breaks}\n' > packages.txt"
    )
    index_kind = "packages"
    pointers = frozenset({"Packages", "Packages.gz", "Packages.xz", "Release", "Release.gpg", "InRelease"})

    def path(self, upstream: Upstream) -> str:
        """Return the folder of the suite and its components."""
        from repobuild.formats.deb import release

        return " ".join((release.folder(upstream).rstrip("/") or "./", *upstream.components))

    def root_files(self, upstream: Upstream) -> tuple[RootFile, ...]:
        """Return InRelease, then Release with its detached signature."""
        from repobuild.formats.deb import release

        folder = release.folder(upstream)
        return RootFile(f"{folder}InRelease", None), RootFile(f"{folder}Release", f"{folder}Release.gpg")

    def read_root(self, content: bytes, upstream: Upstream, target: Target) -> Root:
        """Parse a verified Release."""
        from repobuild.formats.deb import release

        return release.read(content, upstream, target)

    def universe(
        self, loaded: Sequence[Loaded], target: Target, cache: Cache, options: Options, base: Loaded | None = None
    ) -> "DebUniverse":
        """Open the Packages indexes, from the cache where they were scanned before."""
        from repobuild.formats.deb.resolver import DebUniverse

        return DebUniverse(loaded, target, cache, options, base)

    def stranger(self, packages: Sequence[InstalledPackage], target: Target) -> str:
        """Ask base-files, whose version is Debian's release; Ubuntu's says that it is Ubuntu."""
        told = [each.version for each in packages if each.name == "base-files"]
        is_ubuntu = target.vendor == "ubuntu"
        wrong = [
            each
            for each in told
            if ("ubuntu" in each) != is_ubuntu or (not is_ubuntu and each.partition(".")[0] != str(target.major))
        ]
        return f"base-files {wrong[0]}" if wrong else ""

    def base_text(self, packages: Sequence[InstalledPackage], loaded: Sequence[Loaded], target: Target) -> bytes:
        """Return stanzas of what is installed."""
        from repobuild.formats.deb import installed

        return installed.base_text(packages, loaded, target)

    def read_package(self, path: Path, *, upstream: str, url_path: str) -> Package:
        """Read a .deb file."""
        from repobuild.formats.deb import package

        return package.from_file(path, upstream=upstream, url_path=url_path)

    def want_for(self, package: Package) -> str:
        """Return `name=version`."""
        return f"{package.name}={package.version}"

    def split_want(self, want: str) -> tuple[str, str]:
        """Return name and version, without architecture and suite."""
        from repobuild.formats.deb import spec

        name, version, _, _ = spec.split(want)
        return name, version

    def is_named(self, package: Package, want: str) -> bool:
        """Compare name, version and architecture; a package does not tell its suite."""
        from repobuild.formats.deb import spec

        return spec.is_named(package, want)

    def prove_package(self, path: Path, package: Package, upstream: Upstream) -> None:  # noqa: ARG002 -- see below
        """Refuse: Debian's packages carry no signatures of their own."""
        raise VerificationError(f"a .deb cannot be proven by itself: {package.filename}")

    def signed_parts(self, content: BinaryIO, what: str) -> SignedParts:  # noqa: ARG002 -- as above
        """Refuse: nothing in a Debian package is signed."""
        raise VerificationError(f"a .deb cannot be proven by itself: {what}")

    def metadata(
        self,
        packages: Sequence[Package],
        facts: RepositoryFacts,
        sign: Signer | None,
        objects: Objects,  # noqa: ARG002 -- stanzas tell all
    ) -> tuple[TreeFile, ...]:
        """Return Packages, Release and their company."""
        from repobuild.formats.deb import repository

        return repository.metadata(packages, facts, sign)

    def existing_signatures(self, read: Callable[[str], bytes | None]) -> tuple[bytes | None, bytes | None]:
        """Return InRelease and Release.gpg."""
        return read("InRelease"), read("Release.gpg")

    def index_text(self, packages: Sequence[Package], objects: Objects) -> bytes:  # noqa: ARG002 -- stanzas tell all
        """Return a Packages text."""
        from repobuild.formats.deb import repository

        return repository.packages_text(packages)

    def extras(
        self,
        loaded: Sequence[Loaded],  # noqa: ARG002 -- nothing is passed on
        packages: Sequence[Package],  # noqa: ARG002
        kinds: Sequence[str],  # noqa: ARG002
    ) -> dict[str, bytes]:
        """Return nothing: an index tells all."""
        return {}

    def read_offer(self, root: bytes, read: Read, target: Target) -> Offer:
        """Read all that a Release names."""
        from repobuild.formats.deb import offer

        return offer.read_offer(root, read, target)

    def statement(self, path: Path, file: PackageFile) -> Statement:  # noqa: ARG002 -- the control file tells all
        """Return a package's control file."""
        from repobuild.formats.deb import offer

        return offer.statement(path)

    def differences(self, offer: Offer, statements: Mapping[str, Statement]) -> Mapping[str, str]:
        """Compare the fields by which apt decides."""
        from repobuild.formats.deb import offer as offers

        return offers.differences(offer, statements)

    def compare(self, one: str, other: str) -> int:
        """Compare two versions (deb-version(7))."""
        from repobuild.formats.deb import details

        return details.compare(one, other)

    def details(
        self,
        packages: Sequence[Package],
        objects: Objects,  # noqa: ARG002 -- stanzas tell all
        target: Target,
        options: Options,
    ) -> tuple[Detail, ...]:
        """Return what the stanzas say; they have no licences."""
        from repobuild.formats.deb import details

        return details.details(packages, target.package_arch, weak=options.weak_dependencies)

    def advisories(
        self,
        extras: Mapping[str, str],  # noqa: ARG002 -- see below
        packages: Sequence[Package],  # noqa: ARG002
    ) -> tuple[Advisory, ...]:
        """Return nothing: Debian's indexes have no advisories."""
        return ()

    def package_url(self, package: Package, target: Target) -> PackageUrl:
        """Return the parts of a purl of type deb."""
        from repobuild.formats.deb import details

        return details.package_url(package, target)

    def client_files(self, facts: ClientFacts) -> Mapping[str, bytes]:
        """Return `.list` and `.sources`, over http and from disk."""
        return client.client_files(facts)

    def usage(self, facts: ClientFacts) -> Mapping[str, str]:
        """Return the commands that trust and use a repository."""
        return client.usage(facts)

    def node_usage(self, facts: ClientFacts) -> Mapping[str, str]:
        """Return the commands that fetch the key, where the source does not bring it, and the source."""
        return client.node_usage(facts)
