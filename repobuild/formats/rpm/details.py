"""What RPM packages say of themselves, and which of a set meet the needs of the others: from their own headers."""

from collections.abc import Iterator, Sequence
from functools import cache, cmp_to_key
from pathlib import Path

import solv

from repobuild.formats.protocol import Objects
from repobuild.formats.rpm.createrepo import MemoryFile
from repobuild.formats.rpm.repository import primary_text
from repobuild.formats.rpm.universe_index import parse_packages
from repobuild.formats.values import Detail, PackageUrl
from repobuild.graph import Need
from repobuild.model import Package, Target

_STRONG = (solv.SOLVABLE_REQUIRES, "needs", False)
_WEAK = (solv.SOLVABLE_RECOMMENDS, "recommends", True)
_MAX_TEXT = 300
"""Characters of a text for people."""


@cache
def _pair() -> "tuple[solv.Pool, solv.XSolvable, solv.XSolvable]":
    pool = solv.Pool()
    repo = pool.add_repo("pair")
    return pool, repo.add_solvable(), repo.add_solvable()


def compare(one: str, other: str) -> int:
    """Compare two versions, with epoch and release."""
    _, left, right = _pair()
    left.evr, right.evr = one, other
    return int(left.evrcmp(right))


def details(packages: Sequence[Package], objects: Objects, target: Target, *, weak: bool) -> tuple[Detail, ...]:
    """Return what packages say, in their order.

    A path that only a full list of files would show meets nothing here, so a need for it is left out.

    Raises:
        HostileInputError: when a file is not the RPM that its package says.
        DiskError: when a file cannot be read.
    """
    pool = solv.Pool()
    pool.setarch(target.package_arch)
    repo = pool.add_repo("set")
    with MemoryFile() as scratch:
        scratch.fill(primary_text(packages, objects))
        parse_packages(repo, Path(scratch.path), "of this set")
    pool.addfileprovides_queue()
    pool.createwhatprovides()
    return _Set(pool, repo, packages).details(weak=weak)


def package_url(package: Package, target: Target) -> PackageUrl:
    """Return the parts of a purl of type rpm."""
    epoch, _, version = package.version.rpartition(":")
    place = (("arch", package.arch), ("distro", f"{target.vendor}-{target.release}"))
    qualifiers = (*place, ("epoch", epoch)) if epoch else place
    return PackageUrl(type="rpm", namespace=target.vendor, version=version, qualifiers=qualifiers)


class _Set:
    """Packages in libsolv, by their places in the caller's list."""

    def __init__(self, pool: "solv.Pool", repo: "solv.Repo", packages: Sequence[Package]) -> None:
        self._pool = pool
        places = {package.sha256: number for number, package in enumerate(packages)}
        found = {places[each.lookup_checksum(solv.SOLVABLE_CHECKSUM).hex()]: each for each in repo.solvables_iter()}
        self._solvables = [found[number] for number in range(len(packages))]
        self._numbers = {each.id: number for number, each in found.items()}
        self._files: dict[int, set[str]] = {}
        for match in repo.Dataiterator(solv.SOLVABLE_FILELIST, None, solv.Dataiterator.SEARCH_FILES):
            self._files.setdefault(match.solvid, set()).add(match.str)

    def details(self, *, weak: bool) -> tuple[Detail, ...]:
        needs: list[list[Need]] = [[] for _ in self._solvables]
        for need in self._needs(weak=weak):
            needs[need.package].append(need)
        return tuple(
            Detail(
                summary=_text(each, solv.SOLVABLE_SUMMARY),
                licence=_text(each, solv.SOLVABLE_LICENSE),
                homepage=_text(each, solv.SOLVABLE_URL),
                needs=tuple(needs[number]),
                provides=self._provides(each),
            )
            for number, each in enumerate(self._solvables)
        )

    def _provides(self, package: "solv.XSolvable") -> tuple[str, ...]:
        """Return what a package provides, without versions, and those of its files that an index lists."""
        given = (self._pool.dep2str(each) for each in package.lookup_idarray(solv.SOLVABLE_PROVIDES, 0))
        names = {each.partition(" ")[0] for each in given} | self._files.get(package.id, set())
        return tuple(sorted(names - {package.name}))

    def _needs(self, *, weak: bool) -> Iterator[Need]:
        for number, each in enumerate(self._solvables):
            for key, verb, is_weak in (_STRONG, _WEAK) if weak else (_STRONG,):
                for identifier in each.lookup_idarray(key, 0):
                    met = self._that_provide(identifier)
                    if met and number not in met:
                        text = self._pool.dep2str(identifier)
                        yield Need(package=number, verb=verb, text=text, met_by=met, is_weak=is_weak)
            for identifier in each.lookup_idarray(solv.SOLVABLE_SUPPLEMENTS, 0) if weak else ():
                for other in self._that_provide(identifier):
                    if other != number:
                        text = self._pool.dep2str(identifier)
                        yield Need(package=other, verb="is supplemented, as", text=text, met_by=(number,), is_weak=True)

    def _that_provide(self, identifier: int) -> tuple[int, ...]:
        if identifier == solv.SOLVABLE_PREREQMARKER:
            return ()
        found = sorted(self._pool.whatprovides(identifier), key=cmp_to_key(_by_name_then_newest))
        return tuple(self._numbers[each.id] for each in found)


def _by_name_then_newest(one: "solv.XSolvable", other: "solv.XSolvable") -> int:
    if one.name != other.name:
        return -1 if one.name < other.name else 1
    return int(other.evrcmp(one))


def _text(package: "solv.XSolvable", key: int) -> str:
    return str(package.lookup_str(key) or "")[:_MAX_TEXT]
