"""Headers of POSIX.1-1988 ustar members, with a pax header (POSIX.1-2001) only where ustar cannot say it.

Owners are 0 without names, modes 0644 for files and 0755 for folders: nothing of the machine at hand enters an archive.
"""

from repobuild.errors import UsageError

RECORD = 512
"""Bytes of a header; contents are padded to a multiple of it."""
_BLOCKING = 20 * RECORD
"""Archives end on a multiple of this, as tar programs write them."""
_NAME_LIMIT = 100
_PREFIX_LIMIT = 155
_OCTAL_LIMIT = 0o77777777777
"""Largest size and time that a ustar field holds."""
_FILE, _FOLDER, _PAX = b"0", b"5", b"x"
_PAX_NAME = b"PaxHeader"


def file_header(name: str, size: int, mtime: int) -> bytes:
    """Return the header of a regular file of `size` bytes.

    Raises:
        UsageError: when the time does not fit.
    """
    return _header(name.encode(), size, mtime, _FILE)


def folder_header(name: str, mtime: int) -> bytes:
    """Return the header of the folder `name`, which ends in `/`."""
    return _header(name.encode(), 0, mtime, _FOLDER)


def padding(size: int) -> bytes:
    """Return the zeros that follow contents of `size` bytes."""
    return bytes(-size % RECORD)


def ending(size: int) -> bytes:
    """Return the zeros that end an archive of `size` bytes so far: two records, then up to a full block."""
    return bytes(2 * RECORD + -(size + 2 * RECORD) % _BLOCKING)


def first_header(record: bytes) -> tuple[str, int, int] | None:
    """Return (name, size, mtime) when `record` is exactly what `file_header` makes of them, else None."""
    try:
        name = record[:_NAME_LIMIT].rstrip(b"\0").decode()
        size, mtime = (int(record[start : start + 11], 8) for start in (124, 136))
    except ValueError:
        return None
    if min(size, mtime) < 0 or file_header(name, size, mtime) != record:
        return None
    return name, size, mtime


def describe(record: bytes) -> str:
    """Return name and type of a header as it stands, safe to print."""
    name = record[:_NAME_LIMIT].split(b"\0", 1)[0].decode("utf-8", "replace")
    kind = record[156:157].decode("ascii", "replace")
    return f"{name!a} of type {kind!a}"


def _header(name: bytes, size: int, mtime: int, kind: bytes) -> bytes:
    if not 0 <= mtime <= _OCTAL_LIMIT:
        raise UsageError(f"not a time that an archive can hold: {mtime}")
    prefix, short = _split(name)
    records = b""
    if len(short) > _NAME_LIMIT:
        records += _pax_record(b"path", name)
        short = short[:_NAME_LIMIT]
    if size > _OCTAL_LIMIT:
        records += _pax_record(b"size", b"%d" % size)
        size = 0
    extended = b""
    if records:
        extended = _record(b"", _PAX_NAME, len(records), mtime, _PAX) + records + padding(len(records))
    return extended + _record(prefix, short, size, mtime, kind)


def _split(name: bytes) -> tuple[bytes, bytes]:
    """Return prefix and name, with the shortest prefix that lets the name fit; no prefix when none does."""
    at = 0
    while len(name) - at > _NAME_LIMIT:
        slash = name.find(b"/", at + 1, len(name) - 1)
        if not 0 < slash <= _PREFIX_LIMIT:
            return b"", name
        at = slash + 1
    return name[: max(at - 1, 0)], name[at:]


def _pax_record(key: bytes, value: bytes) -> bytes:
    """Return a record: its length in digits, which count, then key and value, and a line feed."""
    rest = b" " + key + b"=" + value + b"\n"
    length = len(rest)
    while len(b"%d" % length) + len(rest) != length:
        length = len(b"%d" % length) + len(rest)
    return b"%d" % length + rest


def _record(prefix: bytes, name: bytes, size: int, mtime: int, kind: bytes) -> bytes:
    mode = b"0000755\0" if kind == _FOLDER else b"0000644\0"
    owner = b"0000000\0"
    head = b"".join((name.ljust(100, b"\0"), mode, owner, owner, b"%011o\0" % size, b"%011o\0" % mtime))
    tail = b"".join((kind, bytes(100), b"ustar\x0000", bytes(64), owner, owner, prefix.ljust(167, b"\0")))
    checksum = sum(head) + 8 * ord(" ") + sum(tail)
    return head + b"%06o\0 " % checksum + tail
