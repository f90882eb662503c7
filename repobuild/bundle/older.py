"""What the far side has already: a lock, a part of an older bundle, or the list that it wrote itself.

Such a list (`repobuild have`, `install.sh --have`) is the marker of what is in place below a line that says what that
is, and above what its writer asks for:

    # repobuild have 1 <name> <target> <sequence> <sha256 of the lock>
    <sha256>  <path>
    +<want>
"""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from repobuild.archive.contents import Contents
from repobuild.archive.reader import BundleReader
from repobuild.durable import Folder, disk_errors
from repobuild.errors import HostileInputError, UsageError
from repobuild.model import Lock
from repobuild.record import TEXT_LIMIT, parse_marker, sha256_of

_HAVE = b"# repobuild have "
_LISTS = re.compile(rb"^(?=# repobuild have )", re.MULTILINE)
_FIRST_LINE = re.compile(
    r"# repobuild have 1 ([A-Za-z0-9][A-Za-z0-9._+~-]{0,63}) ([a-z0-9][a-z0-9._]{0,63}) ([0-9]{1,10}) ([0-9a-f]{64})"
)
_LINE_LIMIT = 512
"""Bytes of the first line."""
_WANT = re.compile(r"\+[A-Za-z0-9/@*?\[][A-Za-z0-9.+~_:=/*?()\[\]^-]{0,254}")
_WANTS_LIMIT = 10_000
_MADE_BY = "give a lock, a bundle, or what `repobuild have` or `install.sh --have` wrote"


@dataclass(frozen=True, slots=True, kw_only=True)
class Old:
    """What the far side has."""

    what: str
    """The file that says so, for messages."""
    name: str
    target: str
    sequence: int
    lock: str
    """sha256 of its lock, "" when only its files are known."""
    digests: frozenset[str]
    """sha256 of each of its files that is known."""
    wants: tuple[str, ...] = ()
    """What it asks for beyond what is wanted here."""


def read_old(path: Path, read_lock: Callable[[bytes, str], Lock]) -> tuple[Old, ...]:
    """Return what the file `path` says of the far side, for each repository that it speaks of.

    `read_lock` parses a lock, the second argument names it.

    Raises:
        UsageError: when there is no such file.
        RefusedError: when it is none of the three, or a malformed one.
    """
    with Folder.open(path.absolute().parent) as folder:
        if folder.stat(path.name) is None:
            raise UsageError(f"no such file: {path}", _MADE_BY)
        with disk_errors(path), os.fdopen(folder.open_file(path.name), "rb", buffering=0) as file:
            head = os.pread(file.fileno(), len(_HAVE), 0)
            if not head.startswith((_HAVE, b"{")):
                return _of_bundle(file.fileno(), str(path))
        text = folder.read(path.name, TEXT_LIMIT) or b""
    if text.startswith(_HAVE):
        return tuple(parse_have(each, str(path)) for each in _LISTS.split(text) if each)
    return (_of_lock(text, read_lock(text, str(path)), path),)


def parse_have(text: bytes, what: str) -> Old:
    """Return what the far side's list says; `what` names it in messages.

    Raises:
        HostileInputError: when it is not exactly of that form.
    """
    first, _, rest = text.partition(b"\n")
    found = _FIRST_LINE.fullmatch(first[:_LINE_LIMIT].decode("utf-8", "replace"))
    if found is None:
        raise HostileInputError(f"not a list that repobuild wrote: {what}: {first[:80]!a}", _MADE_BY)
    lines = rest.split(b"\n")
    listed = b"\n".join(line for line in lines if not line.startswith(b"+"))
    asked = (_want(line, what) for line in lines if line.startswith(b"+"))
    wants = tuple(dict.fromkeys(asked))
    if len(wants) > _WANTS_LIMIT:
        raise HostileInputError(f"more than {_WANTS_LIMIT} wants: {what}: {len(wants)}")
    return Old(
        what=what,
        name=found[1],
        target=found[2],
        sequence=int(found[3]),
        lock="",
        digests=frozenset(parse_marker(listed).values()),
        wants=wants,
    )


def _want(line: bytes, what: str) -> str:
    text = line.decode("utf-8", "replace")
    if not _WANT.fullmatch(text):
        raise HostileInputError(f"not a want: {what}: {text[:80]!a}", "ask for packages by name, a line each: +NAME")
    return text[1:]


def _of_lock(text: bytes, lock: Lock, path: Path) -> Old:
    digests = {choice.package.sha256 for choice in lock.choices} | {asset.sha256 for asset in lock.assets}
    return Old(
        what=str(path),
        name=lock.name,
        target=lock.target,
        sequence=lock.time,
        lock=sha256_of(text),
        digests=frozenset(digests),
    )


def _of_bundle(fd: int, what: str) -> tuple[Old, ...]:
    """Return what is there once this part's bundle is installed; only its contents are read."""
    return tuple(_of_contents(each, what) for each in BundleReader(fd, what, lambda _: None).repositories)


def _of_contents(contents: Contents, what: str) -> Old:
    return Old(
        what=what,
        name=contents.name,
        target=contents.target,
        sequence=contents.sequence,
        lock=contents.lock,
        digests=frozenset(file.sha256 for file in contents.files),
    )
