"""What a repository of ours offers to dnf, and whether its packages say the same."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote

import solv

from repobuild.compression import decompress
from repobuild.errors import HostileInputError, VerificationError
from repobuild.formats.protocol import IndexFile, Offer, PackageFile, Read, Statement
from repobuild.formats.rpm import repomd, resolver_packages, universe_index
from repobuild.formats.rpm.createrepo import entries
from repobuild.formats.rpm.package import identified
from repobuild.formats.rpm.repository import document
from repobuild.model import Package, Upstream
from repobuild.scratch import MemoryFile

NAME = "repository"
"""The name of the one upstream that a repository is to its clients."""
_KINDS = ("primary", "filelists")
_RELATIONS = {
    "provides": solv.SOLVABLE_PROVIDES,
    "requires": solv.SOLVABLE_REQUIRES,
    "conflicts": solv.SOLVABLE_CONFLICTS,
    "obsoletes": solv.SOLVABLE_OBSOLETES,
    "recommends": solv.SOLVABLE_RECOMMENDS,
    "suggests": solv.SOLVABLE_SUGGESTS,
    "supplements": solv.SOLVABLE_SUPPLEMENTS,
    "enhances": solv.SOLVABLE_ENHANCES,
}


def read_offer(content: bytes, read: Read) -> Offer:
    """Read what a repomd.xml names.

    Raises:
        HostileInputError: when it or an index is malformed.
        VerificationError: when what every client reads is not what it names.
    """
    upstream = Upstream(name=NAME, module="", mirrors=())
    root = repomd.read(content, upstream)
    texts: dict[str, bytes] = {}
    problems: list[tuple[str, str]] = []
    for index in repomd.read_all(content, upstream):
        try:
            texts[index.kind] = _open(read, index)
        except (HostileInputError, VerificationError) as error:
            problems.append((unquote(index.variants[0].path), error.message))
    if not all(index.kind in texts for index in root.indexes):
        raise VerificationError("; ".join(f"{path}: {reason}" for path, reason in problems))
    listing = _Listing(texts["primary"])  # stays while its packages are looked at: they live in its pool
    packages = [_package(each, upstream) for each in listing.solvables()]
    problems += _other_texts(content, texts)
    return Offer(
        root=root,
        texts=tuple(texts[index.kind] for index in root.indexes),
        later={index.kind: texts[index.kind] for index in root.later if index.kind in texts},
        packages=tuple(sorted(packages, key=lambda each: each.path)),
        problems=tuple(problems),
    )


def _package(listed: "solv.XSolvable", upstream: Upstream) -> Package:
    package = resolver_packages.from_solvable(listed, upstream)
    return replace(package, path=unquote(package.path))


def _other_texts(content: bytes, texts: Mapping[str, bytes]) -> Iterator[tuple[str, str]]:
    """Yield the indexes whose open text does not have the digest that repomd.xml gives it; yum verifies that too."""
    for kind, (algorithm, digest) in repomd.open_digests(content, NAME).items():
        if algorithm not in hashlib.algorithms_guaranteed or algorithm.startswith("shake"):
            yield repomd.PATH, f"gives a digest of the open {kind} that is not proven here: {algorithm}"
        elif kind in texts and hashlib.new(algorithm, texts[kind], usedforsecurity=False).hexdigest() != digest:
            yield repomd.PATH, f"gives another digest of the open {kind}"


def _open(read: Read, index: IndexFile) -> bytes:
    variant = index.variants[0]
    data = read(unquote(variant.path))
    if data is None:
        raise VerificationError("repomd.xml lists it, and it is not there")
    if hashlib.new(variant.algorithm, data).hexdigest() != variant.digest or len(data) != variant.size:
        raise VerificationError("not the bytes that repomd.xml lists")
    what = f"{index.kind} of the repository"
    return b"".join(decompress(data, variant.compression, size=index.size, what=what, is_exact=False))


def statement(path: Path, file: PackageFile) -> Statement:
    """Return the entries of a package in primary and filelists.

    Raises:
        HostileInputError: when it is no RPM, or its name is not that of the package in it.
    """
    package = identified(path, file)
    with MemoryFile() as scratch:
        made = entries(path, package, 0, _KINDS, scratch)
    return {kind: text.encode() for kind, text in zip(_KINDS, made, strict=True)}


def differences(offer: Offer, statements: Mapping[str, Statement]) -> dict[str, str]:
    """Name the relations that differ, by file name.

    Raises:
        HostileInputError: when libsolv cannot read what the packages say.
    """
    said = {kind: document(kind, [each[kind].decode() for each in statements.values()]) for kind in _KINDS}
    primary = next(text for index, text in zip(offer.root.indexes, offer.texts, strict=True) if index.kind == "primary")
    pool = solv.Pool()
    listing = _Listing(primary, offer.later.get("filelists"), pool)
    own = dict(_Listing(said["primary"], said["filelists"], pool).facts())
    found = {}
    for path, facts in listing.facts():
        differing = facts.unlike(own[path]) if path in own else ["where it lies"]
        if path in statements and differing:
            found[path] = f"index and package differ in {', '.join(differing)}"
    return found


@dataclass(frozen=True, slots=True)
class _Facts:
    """What a solver goes by."""

    identity: str
    relations: Mapping[str, frozenset[int]]
    files: frozenset[str]

    def unlike(self, other: "_Facts") -> list[str]:
        differing = [kind for kind, ids in self.relations.items() if ids != other.relations[kind]]
        name = ["name, version or architecture"] if self.identity != other.identity else []
        return [*name, *differing, *(["files"] if self.files != other.files else [])]


class _Listing:
    """Index texts as libsolv reads them."""

    def __init__(self, primary: bytes, filelists: bytes | None = None, pool: "solv.Pool | None" = None) -> None:
        self._pool = pool or solv.Pool()
        self._repo = self._pool.add_repo(NAME)
        with ExitStack() as open_files:
            path = _in_memory(open_files, primary)
            universe_index.parse(self._repo, path, NAME)
            if filelists is not None:
                universe_index.parse_files(self._repo, _in_memory(open_files, filelists), NAME)

    def solvables(self) -> "list[solv.XSolvable]":
        return list(self._repo.solvables_iter())

    def facts(self) -> Iterator[tuple[str, _Facts]]:
        """Yield what a solver goes by, with the path of each package."""
        files: dict[int, set[str]] = {}
        flags = solv.Dataiterator.SEARCH_FILES
        for match in self._repo.Dataiterator(solv.SOLVABLE_FILELIST, None, flags):
            files.setdefault(match.solvid, set()).add(match.str)
        for each in self.solvables():
            relations = {kind: frozenset(each.lookup_idarray(key, 0)) for kind, key in _RELATIONS.items()}
            path = unquote((each.lookup_location()[0] or "").removeprefix("./"))
            yield path, _Facts(str(each), relations, frozenset(files.get(each.id, ())))


def _in_memory(open_files: ExitStack, text: bytes) -> Path:
    file = open_files.enter_context(MemoryFile())
    file.fill(text)
    return Path(file.path)
