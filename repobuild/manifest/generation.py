"""Whose rules replace `$releasever`: ours, or those of a generation of Pigsty (their `node_repo` templates)."""

import enum
import re

from repobuild.model import Target

_V3_FULL = re.compile(r"pgdg-common|pgdg1[2-6]")
_FIRST_MINOR = 6
"""From EL 9.6 on, PGDG builds for each minor release."""
_VERSION = re.compile(r"[vV]?([0-9]+)(?:[.-].*)?")


class Generation(enum.StrEnum):
    """A manifest of ours, or Pigsty's variables as version 2 and 3, or 4, understand them."""

    OURS = "none"
    V3 = "v3"
    V4 = "v4"


def of_version(version: str) -> Generation | None:
    """Return the generation that a Pigsty version (`v4.5.0`) belongs to, None when it is not known."""
    found = _VERSION.fullmatch(version)
    if found is None:
        return None
    major = int(found[1])
    return Generation.V3 if major in {2, 3} else Generation.V4 if major >= 4 else None


def releasever(generation: Generation, name: str, target: Target, *, is_minor: bool) -> str:
    """Return what `$releasever` is for the upstream `name`: the major release, the full one, or EPEL's `10z`.

    Args:
        generation: whose rules count.
        name: of the upstream; Pigsty's rules go by it.
        target: gives the release; one without a minor release stands for the newest known.
        is_minor: whether the entry asks for the full release itself.
    """
    major = str(target.major)
    match generation:
        case Generation.OURS:
            return target.release if is_minor else major
        case Generation.V3:
            return target.release if target.major in {8, 9} and _V3_FULL.fullmatch(name) else major
        case Generation.V4:
            return target.release if is_minor or _has_minors(name, target) else _v4_major(name, target)


def _v4_major(name: str, target: Target) -> str:
    return f"{target.major}z" if name.startswith("epel") and target.major >= 10 else str(target.major)


def _has_minors(name: str, target: Target) -> bool:
    minor = target.release.partition(".")[2]
    is_late = target.major >= 10 or (target.major == 9 and minor.isdigit() and int(minor) >= _FIRST_MINOR)
    return name.startswith("pgdg") and is_late
