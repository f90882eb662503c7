"""What the files of a bundle are called: a pattern of the manifest's, expanded and checked.

    <stem>.tgz  <stem>.vol1.tgz  <stem>.delta.tgz

A stem that a bundle of other locks has in that folder gets the date of these locks behind its version, then the time
too, so that a bundle is replaced by one of its own locks only. In the same way a delta gets the date of what it was
made against, where there is one against something else.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from repobuild.archive.contents import Contents, PartKind
from repobuild.archive.packing import Packing
from repobuild.archive.reader import BundleReader
from repobuild.bundle.values import Source
from repobuild.durable import Folder
from repobuild.errors import RefusedError, UsageError
from repobuild.model import Lock

PATTERN = "-pkg-${version}.${os}.${arch}.tgz"
"""Of a file's name, behind the name of the repository, where the manifest does not give one (`cache_pkg_name`)."""
_ENDINGS = (".tgz", ".tar.gz", *(packing.value for packing in Packing))
_VARIABLE = re.compile(r"\$(?:\{([^}]*)\}|(.))")
_STEM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~-]{0,179}")
_RESERVED = re.compile(r".*\.(?:vol[0-9]*|delta(?:-[0-9T]*)?)", re.DOTALL)
_DATES = ("", "-%Y%m%d", "-%Y%m%dT%H%M%S")
PART_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._+~-]*(?:{'|'.join(map(re.escape, _ENDINGS))})")
"""Of any part of any bundle."""


def expand(pattern: str, lock: Lock, *, version_suffix: str = "") -> str:
    """Return `pattern` with ${version}, ${os} and ${arch} of the lock's; what stands there is for the caller to check.

    Raises:
        UsageError: for any other variable.
    """
    system, _, arch = lock.target.rpartition(".")
    values = {"version": lock.version + version_suffix, "os": system, "arch": arch}
    return _VARIABLE.sub(lambda match: _value(match, values, pattern), pattern)


def choose_stem(folder: Folder, source: Source, part: Sequence[Contents]) -> str:
    """Return the stem of a bundle's files in `folder`: the first that no bundle of other locks has there.

    A whole bundle of several repositories and the deltas and volumes of one of them share it.

    Args:
        folder: where it is written.
        source: that it is named for.
        part: the first of the bundle that is written.

    Raises:
        UsageError: when the pattern does not give the name of a file.
    """
    time = datetime.fromtimestamp(max(each.sequence for each in part), UTC)
    names = [name for name in folder.names() if PART_NAME.fullmatch(name)]
    stem = ""
    for date in _DATES:
        stem = _stem(source.pattern or source.lock.name + PATTERN, source.lock, time.strftime(date))
        parts = parts_of_stem(stem)
        there = [_contents_in(folder, name) for name in names if parts.fullmatch(name)]
        if all(_go_together(part, each) for each in there if each):
            return stem
    raise UsageError(
        f"two bundles of one time have this name: {folder.path / stem}", "choose another folder: -o FOLDER"
    )


def _go_together(one: Sequence[Contents], other: Sequence[Contents]) -> bool:
    """Whether two parts may have one stem: they are of the same locks, or one is no whole bundle and has fewer."""
    own, there = ({each.lock for each in part} for part in (one, other))
    is_cut = PartKind.WHOLE not in {one[0].kind} & {other[0].kind}
    return own == there or (is_cut and (own < there or there < own))


def parts_of_stem(stem: str) -> re.Pattern[str]:
    """Return what the names of all parts of a stem match."""
    endings = "|".join(re.escape(packing.value) for packing in Packing)
    return re.compile(rf"{re.escape(stem)}(?:\.vol[1-9][0-9]{{0,2}}|\.delta(?:-[0-9T]{{8,15}})?)?(?:{endings})")


def part_name(folder: Folder, stem: str, contents: Contents, packing: Packing) -> str:
    """Return the file name that a part has in `folder`.

    Raises:
        UsageError: when deltas against something else have all that a delta can have.
    """
    if contents.older is None:
        return f"{stem}{f'.vol{contents.part}' if contents.kind is PartKind.VOLUME else ''}{packing.value}"
    time = datetime.fromtimestamp(contents.older.sequence, UTC)
    name = ""
    for date in _DATES:
        name = f"{stem}.delta{time.strftime(date)}{packing.value}"
        there = _contents_in(folder, name)
        if all(replace(each, installer=contents.installer) == contents for each in there):
            return name
    raise UsageError(
        f"two deltas against one time have this name: {folder.path / name}", "choose another folder: -o FOLDER"
    )


def stale_volumes(folder: Folder, stem: str, written: set[str]) -> list[str]:
    """Return the volumes of this stem that are not among those `written`, if any are: they were cut otherwise."""
    volume = re.compile(rf"{re.escape(stem)}\.vol[1-9][0-9]{{0,2}}\.\S+")
    if not any(volume.fullmatch(name) for name in written):
        return []
    parts = parts_of_stem(stem)
    return [name for name in folder.names() if volume.fullmatch(name) and parts.fullmatch(name) and name not in written]


def _value(match: re.Match[str], values: Mapping[str, str], pattern: str) -> str:
    name = match[1] if match[1] is not None else match[2]
    if match[1] is None or name not in values:
        raise UsageError(
            f"a variable that a file's name cannot have: {match[0][:40]!a} in {pattern[:200]!a}",
            "there are ${version}, ${os} and ${arch}",
        )
    return values[name]


def _stem(pattern: str, lock: Lock, date: str) -> str:
    has_version = "${version}" in pattern
    text = expand(pattern, lock, version_suffix=date if has_version else "")
    ending = next((each for each in _ENDINGS if text.endswith(each)), "")
    stem = text.removesuffix(ending) + ("" if has_version else date)
    if not _STEM.fullmatch(stem) or _RESERVED.fullmatch(stem):
        raise UsageError(
            f"not a file name that a bundle can have: {text[:200]!a}",
            "use letters, digits and ._+~- with ${version}, ${os} and ${arch}, and end with .tgz",
        )
    return stem


def _contents_in(folder: Folder, name: str) -> tuple[Contents, ...]:
    """Return what a part says of each repository in it; nothing of what is not there, or no part that can be read."""
    if folder.stat(name) is None:
        return ()
    try:
        with os.fdopen(folder.open_file(name), "rb", buffering=0) as file:
            return BundleReader(file.fileno(), name, lambda _: None).repositories
    except RefusedError:
        return ()
