"""What is in a bundle: a typed value, its one text form, and its `sha256sum` lines.

CONTENTS.json has a line a file, so that it can be read bounded, compared and searched with line tools:

    {"files":[
    {"kind":"index","path":"Packages","sha256":"…","size":1,"upstream":"","verify":""},
    …
    ],"format":1,"lock":"…","name":"pigsty","sequence":1700000000,"target":"d12.x86_64","version":"v4.5.0"}

Keys are sorted, there is no other white space, files stand in the order of the members. Only this form is accepted:
what is read is written again and compared, so that a key twice, an unknown key or another number format is refused.
"""

import io
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

from repobuild.errors import HostileInputError, VerificationError
from repobuild.model import LOCK_NAME, MARKER, PRIVATE, Kind, TreeFile, Verify
from repobuild.record import format_marker, parts_of, sha256_of

CONTENTS_NAME = "CONTENTS.json"
DIGESTS_NAME = "CONTENTS.sha256"
CONTENTS_LIMIT = 32 << 20
"""Bytes of CONTENTS.json."""
_FORMAT = 1
_FILES_LIMIT = 100_000
_LINE_LIMIT = 4096
"""Bytes of one line of CONTENTS.json."""
_PATH_LIMIT = 1024
"""Bytes of a path."""
_SIZE_LIMIT = 1 << 40
"""Bytes of one file."""
_TIME_LIMIT = (1 << 33) - 1
"""Seconds since the epoch, the most that an archive can hold."""
_HEAD = b'{"files":[\n'
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~-]{0,63}")
_UPSTREAM = re.compile(r"[\x21-\x7e]{0,255}")
_MEMBER_RANK = {Kind.INDEX: 0, Kind.PAYLOAD: 1, Kind.POINTER: 2, Kind.MARKER: 3}
"""Indexes first, so that a reader of the stream knows early what it gets; the marker last, so that no part is whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What a bundle holds. Make one with `make_contents` or `parse_contents`: both check it."""

    name: str
    """Of the repository, and top folder in the archive."""
    target: str
    version: str
    sequence: int
    """The lock's time: a bundle with a lower one is older."""
    lock: str
    """sha256 of the lock's text."""
    files: tuple[TreeFile, ...]
    """In the order of the members, the marker last."""

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)


def make_contents(contents: Contents) -> Contents:
    """Return `contents` when they describe a whole repository that is safe to unpack.

    Raises:
        HostileInputError: when a name, path, size or order is not as it has to be.
        VerificationError: when marker or lock are not those of the files.
    """
    _check_words(contents)
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


def encode_contents(contents: Contents) -> bytes:
    """Return the text of CONTENTS.json."""
    return _HEAD + b",\n".join(map(_encode_file, contents.files)) + _encode_tail(contents)


def parse_contents(data: bytes) -> Contents:
    """Return what CONTENTS.json says.

    Raises:
        HostileInputError: when it is not exactly of our form, or describes what is not safe to unpack.
        VerificationError: when marker or lock are not those of the files.
    """
    lines = io.BytesIO(data)
    if lines.readline(_LINE_LIMIT) != _HEAD:
        raise HostileInputError(f"does not begin as contents do: {CONTENTS_NAME}: {data[:40]!a}")
    files: list[TreeFile] = []
    more = True
    while more:
        if len(files) == _FILES_LIMIT:
            raise HostileInputError(f"more than {_FILES_LIMIT} files: {CONTENTS_NAME}")
        line = lines.readline(_LINE_LIMIT)
        more = line.endswith(b",\n")
        files.append(_parse_file(line.removesuffix(b",\n" if more else b"\n"), len(files) + 2))
    contents = _parse_tail(lines.readline(_LINE_LIMIT), tuple(files))
    if lines.read(1):
        raise HostileInputError(f"goes on after its end: {CONTENTS_NAME}")
    return make_contents(contents)


def _dump(value: dict[str, str | int]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _encode_file(file: TreeFile) -> bytes:
    return _dump(
        {
            "kind": file.kind.name.lower(),
            "path": file.path,
            "sha256": file.sha256,
            "size": file.size,
            "upstream": file.upstream,
            "verify": file.verify,
        }
    )


def _encode_tail(contents: Contents) -> bytes:
    words: dict[str, str | int] = {
        "format": _FORMAT,
        "lock": contents.lock,
        "name": contents.name,
        "sequence": contents.sequence,
        "target": contents.target,
        "version": contents.version,
    }
    return b"\n]," + _dump(words)[1:] + b"\n"


def _parse_file(text: bytes, number: int) -> TreeFile:
    where = f"{CONTENTS_NAME}:{number}"
    row = _parse_object(text, where)
    kind = str(row.get("kind")).upper()
    if kind not in Kind.__members__:
        raise HostileInputError(f"not a kind of file: {where}: {kind[:20]!a}")
    file = TreeFile(
        path=_word(row, "path", where),
        kind=Kind[kind],
        size=_number(row, "size", where),
        sha256=_word(row, "sha256", where),
        upstream=_word(row, "upstream", where),
        verify=_word(row, "verify", where),
    )
    if _encode_file(file) != text:
        raise HostileInputError(f"not in canonical form: {where}: {text[:120]!a}")
    return file


def _parse_tail(line: bytes, files: tuple[TreeFile, ...]) -> Contents:
    where = f"{CONTENTS_NAME}:{len(files) + 2}"
    words = _parse_object(b"{" + line[2:], where)
    if words.get("format") != _FORMAT:
        raise HostileInputError(
            f"a bundle format that this version does not know: {str(words.get('format'))[:20]!a}",
            "use the repobuild that wrote the bundle, or a newer one",
        )
    contents = Contents(
        name=_word(words, "name", where),
        target=_word(words, "target", where),
        version=_word(words, "version", where),
        sequence=_number(words, "sequence", where),
        lock=_word(words, "lock", where),
        files=files,
    )
    if _encode_tail(contents) != b"\n" + line:
        raise HostileInputError(f"not in canonical form: {where}: {line[:120]!a}")
    return contents


def _parse_object(text: bytes, where: str) -> dict[str, object]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise HostileInputError(f"not JSON: {where}: {text[:120]!a}") from error
    if not isinstance(value, dict):
        raise HostileInputError(f"expected an object: {where}: {text[:120]!a}")
    return value


def _word(values: dict[str, object], key: str, where: str) -> str:
    value = values.get(key)
    if not isinstance(value, str) or not (value.isprintable() or not value):
        raise HostileInputError(f"expected printable text: {where}: {key}: {str(value)[:80]!a}")
    return value


def _number(values: dict[str, object], key: str, where: str) -> int:
    value = values.get(key)
    if type(value) is not int or not 0 <= value <= _SIZE_LIMIT:
        raise HostileInputError(f"expected a number from 0 to {_SIZE_LIMIT}: {where}: {key}: {str(value)[:80]!a}")
    return value


def _check_words(contents: Contents) -> None:
    for key, value in (("name", contents.name), ("target", contents.target), ("version", contents.version)):
        if not _NAME.fullmatch(value):
            raise HostileInputError(f"not a {key} that a bundle can have: {value[:80]!a}")
    if not 0 <= contents.sequence <= _TIME_LIMIT:
        raise HostileInputError(f"not a time that a bundle can have: {contents.sequence}")
    if not _SHA256.fullmatch(contents.lock):
        raise HostileInputError(f"not a sha256: lock: {contents.lock[:80]!a}")


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
