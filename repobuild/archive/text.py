"""The one text form of contents.

CONTENTS.json has a line a file, so that it can be read bounded, compared and searched with line tools:

    {"files":[
    {"in":1,"kind":"index","path":"Packages","sha256":"…","size":1,"upstream":"","verify":""},
    …
    ],"format":2,"installer":"…","kind":"whole","lock":"…","name":"pigsty","older":null,"part":1,"parts":1,
    "sequence":1700000000,"target":"d12.x86_64","version":"v4.5.0"}

The last two lines are one. In a file with several repositories the format is 3, and `"repositories":["pigsty","minio"]`
names all of them in the contents of each. Keys are sorted, there is no other white space, files stand in the order of
the members. Only this form is accepted: what is read is written again and compared, so that a key twice, an unknown key
or another number format is refused. Format 1, which is read too, knew whole bundles only: it has no `in`, and nothing
of installer, kind, older and parts.
"""

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import repeat

from repobuild.archive.contents import (
    CONTENTS_NAME,
    FILES_LIMIT,
    SIZE_LIMIT,
    Contents,
    Older,
    PartKind,
    make_contents,
)
from repobuild.errors import HostileInputError
from repobuild.model import Kind, TreeFile

_LINE_LIMIT = 4096
"""Bytes of one line of CONTENTS.json."""
_HEAD = b'{"files":[\n'


def encode_contents(contents: Contents) -> bytes:
    """Return the text of CONTENTS.json."""
    lines = map(_encode_file, contents.files, _numbers(contents))
    return _HEAD + b",\n".join(lines) + _encode_tail(contents)


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
    numbers: list[int | None] = []
    more = True
    while more:
        if len(files) == FILES_LIMIT:
            raise HostileInputError(f"more than {FILES_LIMIT} files: {CONTENTS_NAME}")
        line = lines.readline(_LINE_LIMIT)
        more = line.endswith(b",\n")
        file, number = _parse_file(line.removesuffix(b",\n" if more else b"\n"), len(files) + 2)
        files.append(file)
        numbers.append(number)
    contents = _parse_tail(lines.readline(_LINE_LIMIT), tuple(files), numbers)
    if lines.read(1):
        raise HostileInputError(f"goes on after its end: {CONTENTS_NAME}")
    return make_contents(contents)


def _dump(value: Mapping[str, object]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _numbers(contents: Contents) -> Iterable[int | None]:
    """Return what stands after `in` for each file; None where the format has no such word."""
    if not contents.installer:
        return repeat(None, len(contents.files))
    return contents.carriers or repeat(1, len(contents.files))


def _encode_file(file: TreeFile, number: int | None) -> bytes:
    words = {
        "kind": file.kind.name.lower(),
        "path": file.path,
        "sha256": file.sha256,
        "size": file.size,
        "upstream": file.upstream,
        "verify": file.verify,
    }
    return _dump(words if number is None else {"in": number, **words})


def _encode_tail(contents: Contents) -> bytes:
    words: dict[str, object] = {
        "format": 1,
        "lock": contents.lock,
        "name": contents.name,
        "sequence": contents.sequence,
        "target": contents.target,
        "version": contents.version,
    }
    if contents.installer:
        older = contents.older
        words |= {
            "format": 2,
            "installer": contents.installer,
            "kind": contents.kind,
            "older": older and {"lock": older.lock, "sequence": older.sequence},
            "part": contents.part,
            "parts": contents.parts,
        }
    if contents.repositories:
        words |= {"format": 3, "repositories": list(contents.repositories)}
    return b"\n]," + _dump(words)[1:] + b"\n"


def _parse_file(text: bytes, number: int) -> tuple[TreeFile, int | None]:
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
    carrier = _number(row, "in", where) if "in" in row else None
    if _encode_file(file, carrier) != text:
        raise HostileInputError(f"not in canonical form: {where}: {text[:120]!a}")
    return file, carrier


def _parse_tail(line: bytes, files: tuple[TreeFile, ...], numbers: Sequence[int | None]) -> Contents:
    where = f"{CONTENTS_NAME}:{len(files) + 2}"
    words = _parse_object(b"{" + line[2:], where)
    if words.get("format") not in (1, 2, 3):
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
    if words["format"] != 1:
        contents = _parse_part(words, contents, numbers)
    if _encode_tail(contents) != b"\n" + line or list(_numbers(contents)) != numbers:
        raise HostileInputError(f"not in canonical form: {where}: {line[:120]!a}")
    return contents


def _parse_part(words: dict[str, object], contents: Contents, numbers: Sequence[int | None]) -> Contents:
    """Return the contents with what later formats say beyond format 1."""
    where = f"{CONTENTS_NAME}:{len(numbers) + 2}"
    kind = _word(words, "kind", where)
    if kind not in set(PartKind):
        raise HostileInputError(f"not a kind of bundle: {where}: {kind[:20]!a}")
    carriers = tuple(number for number in numbers if number is not None)
    return replace(
        contents,
        installer=_word(words, "installer", where),
        kind=PartKind(kind),
        part=_number(words, "part", where),
        parts=_number(words, "parts", where),
        carriers=() if kind == PartKind.WHOLE and set(carriers) == {1} else carriers,
        older=_parse_older(words.get("older"), f"{where}: older"),
        repositories=_parse_names(words.get("repositories", []), f"{where}: repositories"),
    )


def _parse_older(value: object, where: str) -> Older | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise HostileInputError(f"expected an object: {where}: {str(value)[:80]!a}")
    return Older(_word(value, "lock", where), _number(value, "sequence", where))


def _parse_names(value: object, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise HostileInputError(f"expected a list of names: {where}: {str(value)[:80]!a}")
    return tuple(value)


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
    if type(value) is not int or not 0 <= value <= SIZE_LIMIT:
        raise HostileInputError(f"expected a number from 0 to {SIZE_LIMIT}: {where}: {key}: {str(value)[:80]!a}")
    return value
