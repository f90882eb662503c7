"""The words of a want: `name`, a glob, `name=version`, `name:arch`, `name/suite`, and what goes together of these."""

import fnmatch

from repobuild.errors import HostileInputError
from repobuild.model import Package

ANY_ARCHITECTURE = frozenset({"", "any", "all", "native"})
"""Architectures of a want that any package of a target has."""
_GLOB = frozenset("*?[")
_MAX_WANT = 512
"""Characters of a want."""


def split(want: str) -> tuple[str, str, str, str]:
    """Return name, version, suite and architecture of a want, "" for what it does not say.

    Raises:
        HostileInputError: for a text that cannot be a want.
    """
    name, _, version = want.partition("=")
    name, _, suite = name.partition("/")
    name, _, arch = name.partition(":")
    if not name or len(want) > _MAX_WANT or not want.isprintable():
        raise HostileInputError(f"not a package name, glob or spec: {want[:80]!r}")
    return name, version, suite, arch


def is_glob(name: str) -> bool:
    """Say whether a name may stand for several."""
    return bool(_GLOB & set(name))


def is_named(package: Package, want: str) -> bool:
    """Say whether a want names a package, from whatever suite: a package does not tell that."""
    name, version, _, arch = split(want)
    has_name = fnmatch.fnmatchcase(package.name, name) if is_glob(name) else package.name == name
    has_arch = arch in ANY_ARCHITECTURE or arch == package.arch
    return has_name and has_arch and version in {"", package.version}
