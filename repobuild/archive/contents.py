"""What is in a bundle, as a typed value, checked: whatever such a value describes is safe to unpack."""

import enum
import re
from collections.abc import Iterable
from dataclasses import dataclass

from repobuild.errors import HostileInputError, VerificationError
from repobuild.model import LOCK_NAME, MARKER, PRIVATE, TIME_LIMIT, Kind, TreeFile, Verify
from repobuild.record import format_marker, parts_of, sha256_of

CONTENTS_NAME = "CONTENTS.json"
DIGESTS_NAME = "CONTENTS.sha256"
INSTALLER_NAME = "install.sh"
CONTENTS_LIMIT = 32 << 20
"""Bytes of CONTENTS.json."""
INSTALLER_LIMIT = 256 << 10
"""Bytes of `install.sh`, which a person is to read."""
PARTS_LIMIT = 999
"""Volumes of a bundle."""
FILES_LIMIT = 100_000
REPOSITORIES_LIMIT = 16
"""Repositories in one file."""
_PATH_LIMIT = 1024
"""Bytes of a path."""
SIZE_LIMIT = 1 << 40
"""Bytes of one file."""
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~-]{0,63}")
_UPSTREAM = re.compile(r"[\x21-\x7e]{0,255}")
_MEMBER_RANK = {Kind.INDEX: 0, Kind.PAYLOAD: 1, Kind.POINTER: 2, Kind.MARKER: 3}
"""Indexes first, so that a reader of the stream knows early what it gets; the marker last, so that no part is whole."""


class PartKind(enum.StrEnum):
    """What a file that travels is of a bundle."""

    WHOLE = "whole"
    VOLUME = "volume"
    DELTA = "delta"


@dataclass(frozen=True, slots=True)
class Older:
    """What a delta was made against."""

    lock: str
    """sha256 of that lock's text, "" when a list of files was all that was known."""
    sequence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What a bundle holds, as one part of it says. Who makes one from outside lets `make_contents` check it."""

    name: str
    """Of the repository, and top folder in the archive."""
    target: str
    version: str
    sequence: int
    """The lock's time: a bundle with a lower one is older."""
    lock: str
    """sha256 of the lock's text."""
    files: tuple[TreeFile, ...]
    """Of the whole tree, whatever the part carries; in the order of the members, the marker last."""
    installer: str = ""
    """sha256 of the `install.sh` inside, "" in format 1."""
    kind: PartKind = PartKind.WHOLE
    part: int = 1
    parts: int = 1
    carriers: tuple[int, ...] = ()
    """For each file the number of the part that carries it, 0 for none; () of a whole bundle, which carries all."""
    older: Older | None = None
    """Of a delta, else None."""
    repositories: tuple[str, ...] = ()
    """Names of all repositories in the file, in its order; () when this is the only one."""

    @property
    def size(self) -> int:
        """Bytes of all files of the tree."""
        return sum(file.size for file in self.files)

    @property
    def carried(self) -> tuple[TreeFile, ...]:
        """The files that this part carries."""
        return self.carried_by(self.part)

    def carried_by(self, part: int) -> tuple[TreeFile, ...]:
        """Return the files that the part of this number carries; of number 0, those that none does."""
        if not self.carriers:
            return self.files if part == 1 else ()
        return tuple(file for file, number in zip(self.files, self.carriers, strict=True) if number == part)


def make_contents(contents: Contents) -> Contents:
    """Return `contents` when they describe a whole repository that is safe to unpack, and a part of it.

    Raises:
        HostileInputError: when a name, path, size, order or part is not as it has to be.
        VerificationError: when marker or lock are not those of the files.
    """
    _check_words(contents)
    _check_part(contents)
    for file in contents.files:
        _check_file(file)
    _check_paths([file.path for file in contents.files])
    _check_order(contents.files)
    marker = contents.files[-1]
    text = marker_of(contents)
    if (marker.size, marker.sha256) != (len(text), sha256_of(text)):
        raise VerificationError(f"the marker does not list exactly the files of the bundle: {MARKER}")
    if contents.lock not in {file.sha256 for file in contents.files if file.path == LOCK_NAME}:
        raise VerificationError(f"the bundle does not hold the lock that it names: {contents.lock}")
    return contents


def marker_of(contents: Contents) -> bytes:
    """Return the marker that the files of a bundle have to have."""
    return format_marker({file.path: file.sha256 for file in contents.files[:-1]})


def in_member_order(files: Iterable[TreeFile]) -> tuple[TreeFile, ...]:
    """Return `files` as they follow each other in a bundle."""
    return tuple(sorted(files, key=_member_key))


def folders_of(contents: Contents) -> tuple[str, ...]:
    """Return the folder members of the archive, each ending in `/`: the top, then what is below, parents first."""
    below = {PRIVATE, *(parent for file in contents.files for parent in _parents(file.path))}
    return (f"{contents.name}/", *(f"{contents.name}/{folder}/" for folder in sorted(below)))


def digest_lines(contents: Contents) -> bytes:
    """Return the text of CONTENTS.sha256: what `sha256sum` prints for all files, to be checked in the top folder."""
    return format_marker({file.path: file.sha256 for file in contents.files})


def _check_words(contents: Contents) -> None:
    for key, value in (("name", contents.name), ("target", contents.target), ("version", contents.version)):
        if not _NAME.fullmatch(value):
            raise HostileInputError(f"not a {key} that a bundle can have: {value[:80]!a}")
    if not 0 <= contents.sequence <= TIME_LIMIT:
        raise HostileInputError(f"not a time that a bundle can have: {contents.sequence}")
    if not _SHA256.fullmatch(contents.lock):
        raise HostileInputError(f"not a sha256: lock: {contents.lock[:80]!a}")
    if contents.installer and not _SHA256.fullmatch(contents.installer):
        raise HostileInputError(f"not a sha256: installer: {contents.installer[:80]!a}")


def _check_part(contents: Contents) -> None:
    """Refuse a part that is not of its kind, and parts that together are not a bundle."""
    kind, carriers, older = contents.kind, contents.carriers, contents.older
    numbers = f"{contents.part} of {contents.parts}"
    if not contents.installer and kind is not PartKind.WHOLE:
        raise HostileInputError(f"a part that format 1 does not have: {kind}")
    if contents.parts > (PARTS_LIMIT if kind is PartKind.VOLUME else 1) or not 1 <= contents.part <= contents.parts:
        raise HostileInputError(f"not a part that a bundle of this kind can have: {kind}: {numbers}")
    if (older is not None) != (kind is PartKind.DELTA):
        raise HostileInputError(f"only a delta has an older bundle, and each has: {kind}")
    if older is not None and (older.sequence > TIME_LIMIT or not _SHA256.fullmatch(older.lock or contents.lock)):
        raise HostileInputError(f"not an older bundle: {older.lock[:80]!a}: {older.sequence}")
    if contents.repositories:
        _check_repositories(contents)
    if kind is not PartKind.WHOLE:
        _check_carriers(contents)
    elif carriers:
        raise HostileInputError(f"a whole bundle that does not carry everything: {CONTENTS_NAME}")


def _check_repositories(contents: Contents) -> None:
    """Refuse a list of repositories that no file can have, and one on which this repository does not stand."""
    names = contents.repositories
    if contents.kind is not PartKind.WHOLE or not contents.installer:
        raise HostileInputError(f"only a whole bundle holds several repositories: {contents.kind}")
    if not 2 <= len(names) <= REPOSITORIES_LIMIT or len(set(names)) != len(names) or contents.name not in names:
        said = ", ".join(names[: REPOSITORIES_LIMIT + 1])
        raise HostileInputError(f"not the repositories of a bundle with {contents.name}: {said[:200]!a}")
    for name in names:
        if not _NAME.fullmatch(name):
            raise HostileInputError(f"not a name that a bundle can have: {name[:80]!a}")


def _check_carriers(contents: Contents) -> None:
    """Refuse an unknown part, one that carries nothing, and a marker or an index where it cannot be."""
    carriers = contents.carriers
    if len(carriers) != len(contents.files) or carriers[-1:] != (0,):
        raise HostileInputError(f"a {contents.kind} that carries the marker: {MARKER}")
    allowed = set(range(contents.kind is PartKind.VOLUME, contents.parts + 1))
    for file, number in zip(contents.files[:-1], carriers, strict=False):
        if number not in (allowed if file.kind is Kind.PAYLOAD else {1}):
            raise HostileInputError(f"in a part where it cannot be: {file.path[:80]!a}: {number}")
    if not set(carriers) >= set(range(1, contents.parts + 1)):
        raise HostileInputError(f"a part that carries nothing: {CONTENTS_NAME}")


def _check_file(file: TreeFile) -> None:
    if not _SHA256.fullmatch(file.sha256):
        raise HostileInputError(f"not a sha256: {file.path[:80]!a}: {file.sha256[:80]!a}")
    if not _UPSTREAM.fullmatch(file.upstream) or file.verify not in {"", *Verify}:
        raise HostileInputError(
            f"not an upstream and how it was verified: {file.upstream[:80]!a}: {file.verify[:20]!a}"
        )


def _check_order(files: tuple[TreeFile, ...]) -> None:
    if not files or [file.path for file in files if file.kind is Kind.MARKER or file.path == MARKER] != [MARKER]:
        raise HostileInputError(f"expected exactly one marker: {MARKER}")
    if files[-1].kind is not Kind.MARKER:
        raise HostileInputError(f"expected the marker as the last file: {files[-1].path!a}")
    if in_member_order(files) != files:
        raise HostileInputError(f"the files are not in the order of a bundle: {CONTENTS_NAME}")


def _check_paths(paths: list[str]) -> None:
    """Refuse a path that leaves the tree, is private, is there twice, or is both file and folder."""
    seen: set[str] = set()
    for path in paths:
        parts_of(path)
        if path in seen:
            raise HostileInputError(f"listed twice: {path[:80]!a}")
        if "\\" in path or len(path.encode()) > _PATH_LIMIT:
            raise HostileInputError(f"not a safe path: {path[:80]!a}")
        seen.add(path)
    for path in paths:
        if not seen.isdisjoint(_parents(path)):
            raise HostileInputError(f"a path below a file: {path[:80]!a}")


def _parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def _member_key(file: TreeFile) -> tuple[int, bytes]:
    return _MEMBER_RANK[file.kind], file.path.encode()
