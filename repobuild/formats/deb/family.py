"""The Debian family: `DebFormat` joins the rooms of this folder into what the rest of the house knows."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from repobuild.errors import VerificationError
from repobuild.formats.deb import client
from repobuild.formats.protocol import Cache, ClientFacts, Loaded, Objects, RepositoryFacts, Root, RootFile, Signer
from repobuild.model import Options, Package, Target, TreeFile, Upstream

if TYPE_CHECKING:
    from repobuild.formats.deb.resolver import DebUniverse

# Each room is loaded when it is first needed: a run that finds everything as it should be needs none of the parsers
# and solvers, and would spend most of its time on loading them.
# ruff: noqa: PLC0415


class DebFormat:
    """Debian packages: InRelease, Packages, .deb."""

    suffix = ".deb"
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

    def universe(self, loaded: Sequence[Loaded], target: Target, cache: Cache, options: Options) -> "DebUniverse":
        """Open the Packages indexes, from the cache where they were scanned before."""
        from repobuild.formats.deb.resolver import DebUniverse

        return DebUniverse(loaded, target, cache, options)

    def read_package(self, path: Path, *, upstream: str, url_path: str) -> Package:
        """Read a .deb file."""
        from repobuild.formats.deb import package

        return package.from_file(path, upstream=upstream, url_path=url_path)

    def want_for(self, package: Package) -> str:
        """Return `name=version`."""
        return f"{package.name}={package.version}"

    def prove_package(self, path: Path, package: Package, upstream: Upstream) -> None:  # noqa: ARG002 -- see below
        """Refuse: Debian's packages carry no signatures of their own."""
        raise VerificationError(f"a .deb cannot be proven by itself: {package.filename}")

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

    def client_files(self, facts: ClientFacts) -> Mapping[str, bytes]:
        """Return `.list` and `.sources`, over http and from disk."""
        return client.client_files(facts)

    def usage(self, facts: ClientFacts) -> Mapping[str, str]:
        """Return the commands that trust and use a repository."""
        return client.usage(facts)

    def node_usage(self, facts: ClientFacts) -> Mapping[str, str]:
        """Return the commands that fetch the key, where the source does not bring it, and the source."""
        return client.node_usage(facts)
