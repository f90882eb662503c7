"""Contents -> parts: everything in one, what the far side lacks, or volumes of a size that is never exceeded."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from repobuild.archive.contents import (
    CONTENTS_NAME,
    DIGESTS_NAME,
    INSTALLER_NAME,
    PARTS_LIMIT,
    REPOSITORIES_LIMIT,
    Contents,
    Older,
    PartKind,
    digest_lines,
    folders_of,
    make_contents,
)
from repobuild.archive.packing import Packing
from repobuild.archive.tar import ending, file_header, folder_header, padding
from repobuild.archive.text import encode_contents
from repobuild.bundle.older import Old
from repobuild.errors import UsageError
from repobuild.model import PRIVATE, Kind, TreeFile

VOLUME_SIZES = {"fat32": 4_294_967_295, "dvd": 4_690_000_000}
"""Bytes of a volume for media: the largest file of FAT32; a DVD of one layer (4,700,372,992), less what lies beside."""
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_SIZE = re.compile(r"([0-9]{1,15})([KMG]?)", re.ASCII)


def parse_volume_size(text: str) -> int:
    """Return the bytes of a volume: a number, one with K, M or G (powers of 1024), `fat32` or `dvd`.

    Raises:
        UsageError: for anything else.
    """
    found = _SIZE.fullmatch(text.upper())
    size = VOLUME_SIZES.get(text.lower()) or (int(found[1]) * _UNITS[found[2]] if found else 0)
    if not size:
        raise UsageError(f"not the size of a volume: {text[:40]!a}", "give bytes, or like 700M, 4G, fat32, dvd")
    return size


def head_of(part: Sequence[Contents], installer: bytes) -> bytes:
    """Return what stands in the archive of a part before its first file: the heads of all its repositories."""
    return b"".join(_head_of(contents, installer) for contents in part)


def _head_of(contents: Contents, installer: bytes) -> bytes:
    time = contents.sequence
    own = {CONTENTS_NAME: encode_contents(contents), DIGESTS_NAME: digest_lines(contents), INSTALLER_NAME: installer}
    members = [
        file_header(f"{contents.name}/{PRIVATE}/{name}", len(data), time) + data + padding(len(data))
        for name, data in own.items()
    ]
    return b"".join((*members, *(folder_header(folder, time) for folder in folders_of(contents))))


def archive_size(part: Sequence[Contents], head: int) -> int:
    """Return the exact size of a part's tar, of which `head` bytes come before the first file."""
    total = head + sum(_weight(contents, file) for contents in part for file in contents.carried)
    return total + len(ending(total))


def put_together(wholes: Sequence[Contents]) -> tuple[Contents, ...]:
    """Return whole bundles as they stand in one file; of one alone, that one.

    Raises:
        UsageError: when there are too many.
    """
    if len(wholes) > REPOSITORIES_LIMIT:
        raise UsageError(
            f"a bundle holds {REPOSITORIES_LIMIT} repositories at most, asked for: {len(wholes)}",
            "name fewer in cache_repo",
        )
    names = tuple(each.name for each in wholes) if len(wholes) > 1 else ()
    return tuple(make_contents(replace(each, repositories=names)) for each in wholes)


def cut_delta(contents: Contents, old: Old) -> Contents:
    """Return the part that carries what `old` does not have, and every index and pointer.

    Raises:
        UsageError: when `old` is of another repository, or newer.
    """
    if (old.name, old.target) != (contents.name, contents.target):
        raise UsageError(
            f"made of another repository: {old.what}: {old.name} for {old.target}, "
            f"not {contents.name} for {contents.target}",
            "name the target that it was made of",
        )
    if old.sequence > contents.sequence:
        raise UsageError(
            f"newer than what is to be bundled: {old.what}: {old.sequence} after {contents.sequence}",
            "bring the lock up to date: repobuild sync --update",
        )
    carriers = tuple(
        int(file.kind is not Kind.MARKER and (file.kind is not Kind.PAYLOAD or file.sha256 not in old.digests))
        for file in contents.files
    )
    return replace(contents, kind=PartKind.DELTA, carriers=carriers, older=Older(old.lock, old.sequence))


def cut_volumes(contents: Contents, installer: bytes, limit: int, packing: Packing) -> tuple[Contents, ...]:
    """Return the parts of a bundle none of which is larger than `limit` bytes; the whole bundle where it fits in one.

    Raises:
        UsageError: when a file, or what every bundle has to have, does not fit, or too many volumes are needed.
    """
    if packing.size(archive_size([contents], len(_head_of(contents, installer)))) <= limit:
        return (contents,)
    room = _most(lambda size: packing.size(size + len(ending(size))) <= limit, limit)
    digits, carriers = 0, tuple[int, ...]((1,))
    while len(str(max(carriers))) > digits:  # the number of volumes is known only when their heads are, and the reverse
        digits += 1
        carriers = _first_fit(contents, len(_largest_head(contents, installer, digits)), room)
    count = max(carriers)
    shared = replace(contents, kind=PartKind.VOLUME, parts=count, carriers=carriers)
    return tuple(replace(shared, part=number) for number in range(1, count + 1))


def _weight(contents: Contents, file: TreeFile) -> int:
    """Return how many bytes a file is in the archive."""
    header = file_header(f"{contents.name}/{file.path}", file.size, contents.sequence)
    return len(header) + file.size + len(padding(file.size))


def _largest_head(contents: Contents, installer: bytes, digits: int) -> bytes:
    """Return a head as large as that of any volume when their numbers have so many digits."""
    number = 10**digits - 1
    carriers = (*(number for _ in contents.files[:-1]), 0)
    largest = replace(contents, kind=PartKind.VOLUME, part=number, parts=number, carriers=carriers)
    return _head_of(largest, installer)


def _first_fit(contents: Contents, head: int, room: int) -> tuple[int, ...]:
    """Return for each file the volume that carries it, the marker none: the first with room, in member order."""
    payload = [file for file in contents.files if file.kind is Kind.PAYLOAD]
    fixed = [file for file in contents.files if file.kind not in {Kind.PAYLOAD, Kind.MARKER}]
    used = [head + sum(_weight(contents, file) for file in fixed)]
    if used[0] > room:
        raise UsageError(
            f"a volume cannot hold contents and indexes: {used[0]} bytes, with room for {room}",
            "choose a larger --volume-size",
        )
    places = {file.path: 1 for file in fixed}
    for file in payload:
        weight = _weight(contents, file)
        if head + weight > room:
            raise UsageError(
                f"larger than a volume has room for: {file.path}: {file.size} bytes, with room for {room - head}",
                "choose a larger --volume-size",
            )
        places[file.path] = _place(used, weight, room, head)
    return tuple(places.get(file.path, 0) for file in contents.files)


def _place(used: list[int], weight: int, room: int, head: int) -> int:
    """Put so many bytes into the first volume that has room for them, a new one if none has; return its number."""
    for number, size in enumerate(used):
        if size + weight <= room:
            used[number] += weight
            return number + 1
    if len(used) == PARTS_LIMIT:
        raise UsageError(f"more than {PARTS_LIMIT} volumes would be needed", "choose a larger --volume-size")
    used.append(head + weight)
    return len(used)


def _most(fits: Callable[[int], bool], limit: int) -> int:
    """Return the largest size up to `limit` that fits, 0 when none does; what is smaller fits too."""
    low, high = 0, limit
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


def total_size(parts: Iterable[Sequence[Contents]], installer: bytes, packing: Packing) -> int:
    """Return how many bytes the files of the parts have, the most that it can be."""
    return sum(packing.size(archive_size(part, len(head_of(part, installer)))) for part in parts)
