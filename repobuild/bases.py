"""Bases: what is taken as installed before a solve, and the lists of packages that machines print of themselves."""

import re
from dataclasses import dataclass, field, replace

from repobuild.errors import HostileInputError

EMPTY_NAME = "empty"
LIMIT = 32 << 20
"""Bytes of a package list; one of 500 packages has some 700 kB."""
TEXTS_LIMIT = 16 << 20
"""Bytes of all descriptions in a lock; that of 5,000 packages has some 2 MB."""
_MAX_PACKAGES = 50_000
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,199}")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+~^:_-]{0,255}")
_ARCH = re.compile(r"[a-z0-9][a-z0-9_-]{0,29}")
_SAID = re.compile(r"([A-Z][A-Za-z-]{1,29}): ?([\x20-\x7e]{0,65536})")
_NO_EPOCH = "0:"
_NO_ARCH = "(none)"
_INSTALLED = "installed"


@dataclass(frozen=True, slots=True, order=True)
class InstalledPackage:
    """A package of a base."""

    name: str
    version: str
    """As in `model.Package`: `[epoch:]version[-release]`, without an epoch of 0."""
    arch: str
    says: tuple[tuple[str, str], ...] = ()
    """What it said on its machine of what it provides and needs, as the family's `capture` names it: (field, text);
    () where the list has names and versions only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """What is taken as installed before a solve."""

    name: str
    packages: tuple[InstalledPackage, ...] = ()
    """Sorted; none for `empty`, where a system's own needs are part of what is installed."""
    is_minimal: bool = False
    """Whether it is what a minimal install of the target would have, by its upstreams."""
    release: str = ""
    """Of a minimal install: the minor release (`9.4`), "" for that of the target."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing is there."""
        return not self.packages and not self.is_minimal


EMPTY = Base(name=EMPTY_NAME)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bases:
    """The bases from which a repository has to install."""

    all: tuple[Base, ...] = ()
    """In manifest order; none for `empty` alone."""
    subtracted: str = ""
    """The base whose packages the repository does without; "" where it stands for itself."""

    @property
    def to_resolve(self) -> tuple[Base, ...]:
        """Those from which wants are resolved: the empty one leads, unless the repository relies on another."""
        named = tuple(each for each in self.all if not each.is_empty)
        is_empty_named = len(named) < len(self.all)
        return named if self.subtracted and not is_empty_named else (EMPTY, *named)

    @property
    def to_prove(self) -> tuple[Base, ...]:
        """Those from which the wants have to install."""
        return self.all or (EMPTY,)


def parse_packages(text: bytes, what: str) -> tuple[InstalledPackage, ...]:
    """Return the packages of a list as `Format.capture` makes it, sorted; without keys and what is not installed.

    Raises:
        HostileInputError: for a line of another form, naming it; or a list that is empty or exceeds a bound.
    """
    if len(text) > LIMIT:
        raise HostileInputError(f"package list larger than {LIMIT} bytes: {what}")
    try:
        lines = text.decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise HostileInputError(f"package list is not plain text: {what}: byte {error.start}") from error
    found: dict[InstalledPackage, list[tuple[str, str]]] = {}
    says: list[tuple[str, str]] | None = None
    """Of the package that the next lines are about; None before the first."""
    for number, line in enumerate(lines, 1):
        said = _SAID.fullmatch(line)
        if said and says is not None:
            says += [(said[1], said[2].strip())] if said[2].strip() else []
            continue
        fields = line.split("\t")
        if not line:
            continue
        if len(fields) not in {3, 4} or not _is_package(*fields[:3]):
            raise HostileInputError(
                f"not a line of a package list: {what}:{number}: {line[:80]!r}",
                "make the list with what this prints: repobuild base capture",
            )
        says = []
        if fields[2] != _NO_ARCH and fields[3:] in ([], [_INSTALLED]):
            says = found.setdefault(InstalledPackage(fields[0], fields[1].removeprefix(_NO_EPOCH), fields[2]), says)
        if len(found) > _MAX_PACKAGES:
            raise HostileInputError(f"package list of more than {_MAX_PACKAGES} packages: {what}")
    if not found:
        raise HostileInputError(f"package list without packages: {what}", "repobuild base capture says how to make one")
    return tuple(sorted(replace(each, says=tuple(dict.fromkeys(said))) for each, said in found.items()))


def _is_package(name: str, version: str, arch: str) -> bool:
    is_known = arch == _NO_ARCH or _ARCH.fullmatch(arch)
    return bool(_NAME.fullmatch(name) and _VERSION.fullmatch(version) and is_known)


@dataclass(frozen=True, slots=True)
class BasePin:
    """A base as a lock pins it."""

    name: str
    sha256: str
    """Of the index text that describes its packages; "" for the empty one."""
    is_resolved: bool
    """Whether wants were resolved from it; else they only have to install from it."""
    text: str = field(default="", repr=False)
    """That text; "" for the empty base, and in locks that do not hold it."""
