"""Packages with the names and dependencies that CentOS Stream 9 really has, and nothing in them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import rpms

from repobuild.formats.rpm.createrepo import library

CENTOS = Path(__file__).resolve().parents[2] / "shared/data/cs9"
"""Metadata of CentOS Stream 9, AppStream and BaseOS; too large to be kept with the tests."""
UPSTREAMS = {name: CENTOS / name for name in ("baseos", "appstream")}
needs_centos = pytest.mark.skipif(not CENTOS.exists(), reason="the CentOS metadata is not here")


@dataclass(frozen=True)
class Rebuilt:
    """Packages of one source, as another minor release has them."""

    names: frozenset[str]
    version: str
    release: str
    without: str = ""
    """Provides that hold this text are left out."""
    provides: tuple[str, ...] = ()
    """What each of them provides besides."""


def stubs(folder: Path, nevras: set[str], rebuilt: Sequence[Rebuilt] = ()) -> list[Path]:
    """Build packages that carry the real dependencies of these, and no files: a path is provided instead."""
    known = _known()
    chosen = [known[nevra] for nevra in sorted(nevras)]
    paths = {name for package in chosen for name, *_ in package.requires if name.startswith("/")}
    holders: dict[str, list[str]] = {}
    for package in chosen:
        for _, above, name in package.files:
            if above + name in paths:
                holders.setdefault(package.nevra(), []).append(above + name)
    orphans = paths - {path for held in holders.values() for path in held}
    holders.setdefault(chosen[0].nevra(), []).extend(sorted(orphans))
    changes = {name: each for each in rebuilt for name in each.names}
    return [_stub(folder, each, holders.get(each.nevra(), []), changes.get(each.name)) for each in chosen]


@cache
def _known() -> Mapping[str, Any]:
    found: dict[str, Any] = {}
    for index in sorted(CENTOS.glob("*/repodata/*-primary.xml.gz")):
        library().xml_parse_primary(
            str(index), pkgcb=lambda package: found.setdefault(package.nevra(), package) and None, do_files=1
        )
    return found


def _stub(folder: Path, package: Any, paths: Sequence[str], changed: Rebuilt | None) -> Path:
    provides = [*_relations(package.provides, package, changed), *paths]
    version, release = package.version, package.release
    if changed is not None:
        version, release = changed.version, changed.release
        provides = [each for each in provides if not changed.without or changed.without not in each]
        provides += changed.provides
    return rpms.build(
        folder, package.name, version, release, arch=package.arch, epoch=int(package.epoch), provides=provides,
        requires=[*_relations(package.requires, package, changed)], obsoletes=[*_relations(package.obsoletes, package, changed)],
    )  # fmt: skip


def _relations(entries: Sequence[Any], package: Any, changed: Rebuilt | None) -> Iterator[str]:
    """Yield relations as text; those with the version of the package itself follow when it is another one."""
    own = (package.version, package.release)
    signs = {"EQ": "=", "LT": "<", "LE": "<=", "GT": ">", "GE": ">="}
    for name, flag, epoch, version, release, _ in entries:
        if flag is None:
            yield name
            continue
        is_own = changed is not None and (version, release) == own
        evr = (changed.version, changed.release) if changed is not None and is_own else (version, release)
        yield f"{name} {signs[flag]} {epoch or 0}:{evr[0]}{'-' + evr[1] if evr[1] else ''}"
