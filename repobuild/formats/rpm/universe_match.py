"""What dnf takes a specification for: name, name.arch, all spellings of NEVRA, capability, path (libdnf's Subject)."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

import solv

from repobuild.formats.rpm.universe import SOURCE, Universe

_GLOB = frozenset("*?[")
_NAME = r"(?P<name>[^:(/=<> ]+)"
_EPOCH = r"(?:(?P<epoch>[0-9]+):)?"
_VERSION = r"(?P<version>[^-:(/=<> ]+)"
_RELEASE = r"(?P<release>[^-:(/=<> ]+)"
_ARCH = r"(?P<arch>[^-:.(/=<> ]+)"
_FORMS = tuple(
    re.compile(form)
    for form in (
        rf"{_NAME}-{_EPOCH}{_VERSION}-{_RELEASE}\.{_ARCH}",
        rf"{_NAME}\.{_ARCH}",
        _NAME,
        rf"{_NAME}-{_EPOCH}{_VERSION}-{_RELEASE}",
        rf"{_NAME}-{_EPOCH}{_VERSION}",
    )
)
"""In dnf's order, the most specific first."""
_BY_NAME = 2
_RELATION = re.compile(r"(?P<name>[^\s<>=]+)\s*(?P<operator><=|>=|<|>|=)\s*(?P<version>[^\s<>=]+)")
_OPERATORS = {
    "<": solv.REL_LT,
    "<=": solv.REL_LT | solv.REL_EQ,
    "=": solv.REL_EQ,
    ">=": solv.REL_GT | solv.REL_EQ,
    ">": solv.REL_GT,
}


@dataclass(frozen=True, slots=True)
class Match:
    """The packages that a specification names."""

    numbers: tuple[int, ...] = ()
    """In libsolv's order."""
    by_name: bool = False
    """Whether it was a name and nothing else, so that what obsoletes them serves as well."""
    by_arch: bool = False
    """Whether it named the architecture."""


def is_glob(text: str) -> bool:
    """Whether a text is a pattern."""
    return bool(_GLOB & set(text))


class Matcher:
    """Finds what specifications name among packages that pass a test."""

    def __init__(self, universe: Universe, is_there: Callable[[int], bool]) -> None:
        self._universe = universe
        self._is_there = is_there

    def match(self, spec: str) -> Match:
        """Return what dnf's install would take `spec` for: the first reading that is not empty."""
        found = self.by_nevra(spec)
        if found.numbers:
            return found
        for read in (self._providing, self._having):
            numbers = read(spec)
            if numbers:
                return Match(numbers)
        return Match()

    def by_nevra(self, spec: str) -> Match:
        """Return what a specification names without capabilities and paths, as in excludepkgs."""
        for position, form in enumerate(_FORMS):
            parts = form.fullmatch(spec)
            if parts is not None and (numbers := self._with(parts.groupdict())):
                return Match(numbers, position == _BY_NAME, "arch" in parts.groupdict())
        if is_glob(spec) and not spec.startswith(("/", "*/")):
            return Match(self._kept(each for each in self._universe.pool.solvables_iter() if _fits(each, spec)))
        return Match()

    def exactly(self, name: str, version: str, arch: str) -> Match:
        """Return the packages of this very name with a version `[E:]V[-R]`."""
        form = re.fullmatch(rf"{_EPOCH}{_VERSION}(?:-{_RELEASE})?", version)
        if form is None:
            return Match()
        return Match(self._with({"name": name, **form.groupdict(), "arch": arch or None}), by_arch=bool(arch))

    def _with(self, parts: dict[str, str | None]) -> tuple[int, ...]:
        name = parts["name"] or ""
        wanted = {key: value for key, value in parts.items() if value is not None and key != "name"}
        packages = self._named(name)
        return self._kept(each for each in packages if not wanted or _has(each, wanted))

    def _named(self, name: str) -> "Iterator[solv.XSolvable]":
        if not is_glob(name):
            yield from self._universe.named(name)
            return
        flags = solv.Dataiterator.SEARCH_GLOB
        for number, _ in self._universe.matching(solv.SOLVABLE_NAME, name, flags):
            yield self._universe.solvable(number)

    def _providing(self, spec: str) -> tuple[int, ...]:
        universe, pool = self._universe, self._universe.pool
        if is_glob(spec):
            flags = solv.Dataiterator.SEARCH_GLOB
            numbers = {number for number, _ in universe.matching(solv.SOLVABLE_PROVIDES, spec, flags)}
            return self._kept(universe.solvable(number) for number in numbers)
        relation = _RELATION.fullmatch(spec)
        name = relation["name"] if relation else spec
        identifier = pool.str2id(name, False)
        if not identifier:
            return ()
        if relation:
            identifier = pool.rel2id(identifier, pool.str2id(relation["version"]), _OPERATORS[relation["operator"]])
        return self._kept(universe.providing(identifier))

    def _having(self, spec: str) -> tuple[int, ...]:
        if not spec.startswith(("/", "*/")):
            return ()
        kind = solv.Dataiterator.SEARCH_GLOB if is_glob(spec) else solv.Dataiterator.SEARCH_STRING
        flags = kind | solv.Dataiterator.SEARCH_FILES | solv.Dataiterator.SEARCH_COMPLETE_FILELIST
        found = {number for number, _ in self._universe.matching(solv.SOLVABLE_FILELIST, spec, flags)}
        return self._kept(self._universe.solvable(number) for number in found)

    def _kept(self, packages: "Iterable[solv.XSolvable]") -> tuple[int, ...]:
        return tuple(sorted(each.id for each in packages if each.arch not in SOURCE and self._is_there(each.id)))


def evr(package: "solv.XSolvable") -> tuple[str, str, str]:
    """Return epoch, version and release of a package; epoch "0" where it has none."""
    text = package.evr
    epoch, colon, rest = text.partition(":")
    version, _, release = (rest if colon else text).rpartition("-")
    return (epoch if colon else "0"), version, release


def _has(package: "solv.XSolvable", wanted: dict[str, str]) -> bool:
    epoch, version, release = evr(package)
    given = {"epoch": epoch, "version": version, "release": release, "arch": package.arch}
    return all(
        given[key].lstrip("0") == value.lstrip("0") if key == "epoch" else fnmatchcase(given[key], value)
        for key, value in wanted.items()
    )


def _fits(package: "solv.XSolvable", pattern: str) -> bool:
    """Whether a pattern over name, epoch, version, release and architecture fits, with or without epoch 0."""
    if fnmatchcase(str(package), pattern):
        return True
    epoch, version, release = evr(package)
    return ":" in pattern and fnmatchcase(f"{package.name}-{epoch}:{version}-{release}.{package.arch}", pattern)
