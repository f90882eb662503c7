"""The parts of an RPM file before its payload: lead, signature header, main header (RPM file format, version 4).

Every offset, count and type of both headers is checked against the store before anything is read from it, as rpm
does and in places more strictly. What we do not need is checked and left; no value is copied but those asked for.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

from repobuild.errors import HostileInputError

NAME = 1000
VERSION = 1001
RELEASE = 1002
EPOCH = 1003
OS = 1021
ARCH = 1022
SOURCE_RPM = 1044
SOURCE_PACKAGE = 1106
PAYLOAD_DIGEST = 5092
PAYLOAD_DIGEST_ALGORITHM = 5093

DSA_HEADER = 267
"""Signature header: OpenPGP signature of the main header by a DSA, ECDSA or EdDSA key."""
RSA_HEADER = 268
"""Signature header: the same by an RSA key."""
SHA1_HEADER = 269
SHA256_HEADER = 273
RSA_WHOLE = 1002
"""Signature header: OpenPGP signature of main header and payload by an RSA key (`PGP`)."""
MD5_WHOLE = 1004
DSA_WHOLE = 1005
"""Signature header: the same by a DSA, ECDSA or EdDSA key (`GPG`)."""

_MAIN_TAGS = frozenset(
    {NAME, VERSION, RELEASE, EPOCH, OS, ARCH, SOURCE_RPM, SOURCE_PACKAGE, PAYLOAD_DIGEST, PAYLOAD_DIGEST_ALGORITHM}
)
_SIGNATURE_TAGS = frozenset({DSA_HEADER, RSA_HEADER, SHA1_HEADER, SHA256_HEADER, RSA_WHOLE, MD5_WHOLE, DSA_WHOLE})
_HEADER_SIGNATURES = 62
_HEADER_IMMUTABLE = 63

_LEAD = struct.Struct(">4sBB72sH16s")
_LEAD_MAGIC = b"\xed\xab\xee\xdb"
_HEADER_SIGNATURE_TYPE = 5
_INTRO = struct.Struct(">8sII")
_MAGIC = b"\x8e\xad\xe8\x01\0\0\0\0"
_ENTRY = struct.Struct(">IIiI")

_INT32, _STRING, _BINARY, _STRING_ARRAY, _I18N_STRING = 4, 6, 7, 8, 9
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, _BINARY: 1}
"""Bytes of one element, of the types that have a size (char, int8, int16, int32, int64, binary)."""
_MAX_ENTRIES = 4_096
"""Tags in a header; real ones have some 120."""
_MAX_SIGNATURE_ENTRIES = 64
_MAX_STORE = 32 << 20
"""Bytes of a main header's store; the largest list some 100,000 files."""
_MAX_SIGNATURE_STORE = 16 << 20
"""Bytes of a signature header's store; a signature for each file may lie there."""


class _Entry(NamedTuple):
    kind: int
    elements: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Header:
    """The tags of one header that we know, each checked to lie in its store."""

    entries: Mapping[int, _Entry]
    what: str
    """The header, for messages."""

    def __contains__(self, tag: int) -> bool:
        return tag in self.entries

    def text(self, tag: int) -> str:
        """Return the one string of a tag, "" where there is none.

        Raises:
            HostileInputError: when it is not one string of printable ASCII.
        """
        entry = self.entries.get(tag)
        if entry is None:
            return ""
        value = entry.data[:-1]
        if entry.kind not in {_STRING, _STRING_ARRAY} or entry.elements != 1 or not _is_printable(value):
            raise HostileInputError(f"{self.what}: tag {tag} is not one plain string: {value[:60]!r}")
        return value.decode("ascii")

    def number(self, tag: int) -> int | None:
        """Return the one 32-bit number of a tag, None where there is none; HostileInputError for anything else."""
        entry = self.entries.get(tag)
        if entry is None:
            return None
        if entry.kind != _INT32 or entry.elements != 1:
            raise HostileInputError(f"{self.what}: tag {tag} is not one 32-bit number")
        return int.from_bytes(entry.data)

    def binary(self, tag: int) -> bytes | None:
        """Return the bytes of a tag, None where there is none; HostileInputError for another type."""
        entry = self.entries.get(tag)
        if entry is None:
            return None
        if entry.kind != _BINARY:
            raise HostileInputError(f"{self.what}: tag {tag} is not binary")
        return entry.data


@dataclass(frozen=True, slots=True, kw_only=True)
class Headers:
    """What an RPM file says before its payload."""

    signature: Header
    main: Header
    signed: bytes
    """The main header as it lies in the file, magic and all: what a header signature signs."""
    start: int
    """Where the main header starts, bytes from the start of the file (`rpm:header-range`)."""

    @property
    def end(self) -> int:
        """Where the main header ends and the payload starts."""
        return self.start + len(self.signed)


def read(file: BinaryIO, what: str) -> Headers:
    """Read lead and headers from the start of `file`, and leave it positioned at the payload.

    Args:
        file: opened at its start.
        what: the package, for messages.

    Raises:
        HostileInputError: when it is no RPM of version 3 or 4, is cut short or damaged, or exceeds a bound.
    """
    lead = file.read(_LEAD.size)
    if len(lead) < _LEAD.size or not lead.startswith(_LEAD_MAGIC):
        raise HostileInputError(f"not an RPM package: {what}")
    _, major, _, _, signature_type, _ = _LEAD.unpack(lead)
    if major not in {3, 4} or signature_type != _HEADER_SIGNATURE_TYPE:
        raise HostileInputError(f"not an RPM package of a version that is read here: {what}")
    in_signature = f"signature header of {what}"
    raw = _read_raw(file, _MAX_SIGNATURE_ENTRIES, _MAX_SIGNATURE_STORE, in_signature)
    padding = -len(raw) % 8
    if len(file.read(padding)) != padding:
        raise HostileInputError(f"{in_signature}: cut short")
    signature = _parse(raw, _HEADER_SIGNATURES, _SIGNATURE_TAGS, in_signature)
    in_header = f"header of {what}"
    signed = _read_raw(file, _MAX_ENTRIES, _MAX_STORE, in_header)
    main = _parse(signed, _HEADER_IMMUTABLE, _MAIN_TAGS, in_header)
    return Headers(signature=signature, main=main, signed=signed, start=_LEAD.size + len(raw) + padding)


def _read_raw(file: BinaryIO, max_entries: int, max_store: int, what: str) -> bytes:
    """Return the bytes of the header that starts here."""
    intro = file.read(_INTRO.size)
    if len(intro) < _INTRO.size:
        raise HostileInputError(f"{what}: cut short")
    magic, count, size = _INTRO.unpack(intro)
    if magic != _MAGIC:
        raise HostileInputError(f"{what}: does not start as a header")
    if not 1 <= count <= max_entries or size > max_store:
        raise HostileInputError(f"{what}: {count} tags in {size} bytes, more than {max_entries} in {max_store}")
    length = count * _ENTRY.size + size
    rest = file.read(length)
    if len(rest) != length:
        raise HostileInputError(f"{what}: cut short")
    return intro + rest


def _parse(raw: bytes, region: int, wanted: frozenset[int], what: str) -> Header:
    """Check the whole header and return its wanted tags.

    As rpm's own check: entries lie in the order of their data, none overlaps the next, all fit their store.
    """
    count = _INTRO.unpack_from(raw)[1]
    start = _INTRO.size + count * _ENTRY.size
    index = list(_ENTRY.iter_unpack(raw[_INTRO.size : start]))
    _check_region(raw, start, index, region, what)
    found: dict[int, _Entry] = {}
    size = len(raw) - start
    for number, (tag, kind, offset, elements) in enumerate(index[1:], start=2):
        limit = index[number][2] if number < count else size
        if not 0 <= offset < limit <= size:
            raise HostileInputError(f"{what}: tag {tag} lies at {offset}, outside its place in {size} bytes")
        end = _end(raw, kind, elements, start + offset, start + limit)
        if end is None or (kind in {3, 4, 5} and offset % _SIZES[kind]):
            raise HostileInputError(f"{what}: tag {tag} of type {kind} and count {elements} does not fit at {offset}")
        if tag not in wanted:
            continue
        if tag in found:
            raise HostileInputError(f"{what}: tag {tag} is there twice")
        found[tag] = _Entry(kind, elements, raw[start + offset : end])
    return Header(found, what)


def _end(raw: bytes, kind: int, elements: int, start: int, limit: int) -> int | None:
    """Return where a value ends, None when it is of no known type, empty, or goes beyond `limit`.

    Several strings are only counted: no caller wants them apart.
    """
    if kind in _SIZES:
        end = start + elements * _SIZES[kind]
        return end if start < end <= limit else None
    if kind == _STRING or (kind in {_STRING_ARRAY, _I18N_STRING} and elements == 1):
        end = raw.find(b"\0", start, limit) + 1
        return end if end and elements == 1 else None
    if kind in {_STRING_ARRAY, _I18N_STRING}:
        return limit if 1 <= elements <= raw.count(b"\0", start, limit) else None
    return None


def _check_region(raw: bytes, start: int, index: list[tuple[int, int, int, int]], region: int, what: str) -> None:
    """Check that the header is one region: its first tag points to a trailer that says how many tags belong to it.

    Tags after the region are in no signature: rpm refuses them in a main header and bears them in a signature header.
    """
    tag, kind, offset, length = index[0]
    size = len(raw) - start
    if (tag, kind, length) != (region, _BINARY, _ENTRY.size) or not 0 <= offset <= size - _ENTRY.size:
        raise HostileInputError(f"{what}: does not start with its region tag {region}")
    trailer_tag, trailer_kind, back, trailer_length = _ENTRY.unpack_from(raw, start + offset)
    entries, rest = divmod(-back, _ENTRY.size)
    if (trailer_tag, trailer_kind, trailer_length, rest) != (region, _BINARY, _ENTRY.size, 0):
        raise HostileInputError(f"{what}: the trailer of its region is damaged")
    is_whole = entries == len(index) and offset + _ENTRY.size == size
    if not is_whole and (region == _HEADER_IMMUTABLE or not 1 <= entries <= len(index)):
        raise HostileInputError(f"{what}: its region holds {entries} of {len(index)} tags")


def _is_printable(value: bytes) -> bool:
    return value.isascii() and value.decode("ascii").isprintable()
