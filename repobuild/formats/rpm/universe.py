"""All packages of a target's RPM upstreams in libsolv, set up as dnf sets it up (libdnf's dnf-sack.cpp)."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cached_property

import solv

from repobuild.formats.protocol import Cache, IndexFile, Loaded
from repobuild.formats.rpm.universe_index import Kept, Text, add_files, add_packages, text_of
from repobuild.model import Upstream

SOURCE = frozenset({"src", "nosrc"})
_FLAGS = (
    solv.Pool.POOL_FLAG_OBSOLETEUSESCOLORS,
    solv.Pool.POOL_FLAG_IMPLICITOBSOLETEUSESCOLORS,
    solv.Pool.POOL_FLAG_WHATPROVIDESWITHDISABLED,
)
"""libdnf sets the last two; the first is how EL's libsolv is built (Debian's is not, so its dnf differs there)."""


@dataclass(frozen=True, slots=True)
class Source:
    """One upstream and the numbers of its packages in libsolv: `first` to before `end`."""

    upstream: Upstream
    first: int
    end: int
    modules: tuple[Text, ...]
    groups: tuple[IndexFile, ...]
    open: Callable[[IndexFile], "Text"]

    @property
    def numbers(self) -> range:
        """The numbers of its packages."""
        return range(self.first, self.end)


class Universe:
    """Packages by number, and which of them are hidden."""

    def __init__(
        self,
        loaded: Sequence[Loaded],
        arch: str,
        cache: Cache,
        *,
        with_files: bool = False,
        base: Loaded | None = None,
    ) -> None:
        self.pool = solv.Pool()
        self.pool.setarch(arch)
        for flag in _FLAGS:
            self.pool.set_flag(flag, 1)
        self.arch = arch
        self.hidden: dict[int, str] = {}
        """Why a package is not to be had, by its number."""
        self.with_files = with_files
        self._kept = Kept(cache)
        self.sources = tuple(self._add(each) for each in (*loaded, *([base] if base is not None else [])))
        self.installed = self.sources[-1].numbers if base is not None else range(0)
        """The numbers of what is installed already."""
        if base is not None:
            self.pool.installed = self.pool.id2solvable(self.installed[0]).repo
        self._file_ids = tuple(self.pool.addfileprovides_queue())
        self.pool.createwhatprovides()

    def _add(self, loaded: Loaded) -> Source:
        upstream, root = loaded.upstream, loaded.root
        repo = self.pool.add_repo(upstream.name)
        repo.priority = -upstream.priority
        repo.subpriority = -upstream.cost
        texts = [(file.kind, text_of(path, file.sha256)) for file, path in zip(root.indexes, loaded.texts, strict=True)]
        filelists = [file for file in root.later if file.kind == "filelists"]
        for text in (text for kind, text in texts if kind == "primary"):
            if self.with_files and filelists and loaded.open is not None:
                add_files(repo, text, _open(loaded, filelists[0]), self._kept, upstream.name)
            else:
                add_packages(repo, text, self._kept, upstream.name)
        first = next((each.id for each in repo.solvables_iter()), 0)
        return Source(
            upstream=upstream,
            first=first,
            end=first + repo.nsolvables,
            modules=tuple(text for kind, text in texts if kind == "modules"),
            groups=tuple(file for file in root.later if file.kind == "group") if loaded.open is not None else (),
            open=lambda file: _open(loaded, file),
        )

    def hide(self, reasons: dict[int, str]) -> None:
        """Do as if these packages, and no others, were not there; nothing hides what is installed."""
        reasons = {number: reason for number, reason in reasons.items() if number not in self.installed}
        self.hidden = reasons
        self.pool.set_disabled_list(sorted(reasons))

    def solvable(self, number: int) -> "solv.XSolvable":
        """Return a package by its number."""
        return self.pool.id2solvable(number)

    def source(self, number: int) -> Source:
        """Return where a package comes from."""
        return next(each for each in self.sources if number in each.numbers)

    def named(self, name: str) -> "list[solv.XSolvable]":
        """Return every installable package of a name, hidden ones included."""
        identifier = self.pool.str2id(name, False)
        return [each for each in self.pool.whatprovides(identifier) if each.nameid == identifier] if identifier else []

    def providing(self, identifier: int) -> "list[solv.XSolvable]":
        """Return every installable package that provides a relation, hidden ones included."""
        return list(self.pool.whatprovides(identifier))

    def matching(self, key: int, pattern: str, flags: int) -> Iterator[tuple[int, str]]:
        """Yield number and value of what a key of a package says that matches a pattern."""
        for match in self.pool.Dataiterator(key, pattern, flags):
            yield match.solvid, match.str

    def with_digests(self, digests: AbstractSet[str]) -> Iterator[int]:
        """Yield the packages whose files have one of these digests."""
        flags = solv.Dataiterator.SEARCH_STRING | solv.Dataiterator.SEARCH_CHECKSUMS
        for digest in sorted(digests):
            yield from (number for number, _ in self.matching(solv.SOLVABLE_CHECKSUM, digest, flags))

    def names(self) -> Iterable[str]:
        """Return the name of every installable package that is not hidden, each once."""
        hidden = self.hidden
        return dict.fromkeys(
            each.name for each in self.pool.solvables_iter() if each.id not in hidden and each.arch not in SOURCE
        )

    def obsoleting(self, packages: "Iterable[solv.XSolvable]") -> Iterator[int]:
        """Yield the packages that are not hidden and obsolete one of `packages`, by name and version as dnf asks."""
        for package in packages:
            for number, identifier in self._obsoletes.get(package.name, ()):
                if number not in self.hidden and package.matchesdep(solv.SOLVABLE_NAME, identifier):
                    yield number

    @cached_property
    def _obsoletes(self) -> dict[str, list[tuple[int, int]]]:
        """Who obsoletes a name, and by which relation."""
        found: dict[str, list[tuple[int, int]]] = {}
        for match in self.pool.Dataiterator(solv.SOLVABLE_OBSOLETES):
            found.setdefault(self.pool.id2str(match.id), []).append((match.solvid, match.id))
        return found

    @cached_property
    def missing_paths(self) -> tuple[int, ...]:
        """The paths that packages require, that nobody has, and that only a list of all files could show."""
        paths = (each for each in self._file_ids if not self.pool.whatprovides(each))
        return () if self.with_files else tuple(each for each in paths if is_beyond_primary(self.pool.id2str(each)))

    @cached_property
    def waiting_for_files(self) -> frozenset[int]:
        """The packages that require or recommend one of `missing_paths`."""
        keys = (solv.SOLVABLE_REQUIRES, solv.SOLVABLE_RECOMMENDS)
        return frozenset(
            each.id for path in self.missing_paths for key in keys for each in self.pool.whatmatchesdep(key, path)
        )


def is_beyond_primary(path: str) -> bool:
    """Whether a primary index does not list this path, so that only filelists could (createrepo_c's rule)."""
    is_listed = path.startswith("/etc/") or "bin/" in path or path == "/usr/lib/sendmail"
    return path.startswith("/") and not is_listed


def _open(loaded: Loaded, file: IndexFile) -> Text:
    if loaded.open is None:
        raise LookupError(file.kind)
    return text_of(loaded.open(file), file.sha256)
