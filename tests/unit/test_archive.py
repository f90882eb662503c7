"""The form of a bundle: headers, gzip, contents."""

import gzip
import io
import json
import os
import subprocess
import tarfile
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from repobuild.archive import text as room
from repobuild.archive.contents import Contents, Older, PartKind, in_member_order, make_contents
from repobuild.archive.direct import DirectWriter
from repobuild.archive.packing import Packing, StoredGzip, stored_size
from repobuild.archive.tar import RECORD, describe, ending, file_header, first_header, folder_header, padding
from repobuild.archive.text import encode_contents, parse_contents
from repobuild.archive.unpacked import GzipStream, ZstdStream, open_stream
from repobuild.errors import HostileInputError, RefusedError, UsageError, VerificationError
from repobuild.model import Kind, TreeFile
from repobuild.record import format_marker, sha256_of

LONG_NAME = "pigsty/" + "n" * 180 + "_1_amd64.deb"


def ignore(_: int) -> None:
    pass


# --- tar -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "pigsty/a.deb",
        "pigsty/" + "a" * 100,
        "pigsty/" + "a" * 93,
        "pigsty/by-hash/SHA256/" + "f" * 64,
        "pigsty/" + "d" * 100 + "/" + "f" * 90,
        "pigsty/größe.txt",
    ],
)
def test_a_header_says_no_more_than_name_size_and_time(name):
    header = file_header(name, 12345, 1_700_000_000)
    member = tarfile.TarInfo.frombuf(header, "utf-8", "strict")

    assert len(header) == RECORD
    assert (member.name, member.size, member.mtime, member.mode) == (name, 12345, 1_700_000_000, 0o644)
    assert (member.type, member.uid, member.gid, member.uname, member.gname) == (tarfile.REGTYPE, 0, 0, "", "")
    assert header[257:265] == b"ustar\x0000"


@pytest.mark.parametrize(("name", "size"), [(LONG_NAME, 3), ("pigsty/big.deb", 9 << 30), (LONG_NAME, 9 << 30)])
def test_what_ustar_cannot_say_is_said_in_a_pax_header(name, size):
    archive = file_header(name, size, 5)
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as tar:
        member = tar.next()

    assert member is not None
    assert (member.name, member.size, member.mtime) == (name, size, 5)
    assert len(archive) > RECORD


def test_a_long_name_unpacks_with_the_systems_tar(tmp_path):
    data = file_header(LONG_NAME, 3, 5) + b"abc" + padding(3)
    (tmp_path / "x.tar").write_bytes(data + ending(len(data)))

    subprocess.run(["tar", "-xf", "x.tar"], cwd=tmp_path, check=True)

    assert (tmp_path / LONG_NAME).read_bytes() == b"abc"


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 9215, 9216, 9217, 10239, 10240])
def test_an_archive_ends_with_two_zero_records_on_a_block_boundary(size):
    size += len(padding(size))

    total = size + len(ending(size))

    assert total % 10240 == 0
    assert total - size >= 1024
    assert total - size - 1024 < 10240


def test_a_folder_has_mode_0755_and_no_size():
    member = tarfile.TarInfo.frombuf(folder_header("pigsty/", 7), "utf-8", "strict")

    assert (member.type, member.mode, member.size, member.mtime) == (tarfile.DIRTYPE, 0o755, 0, 7)
    assert (member.uid, member.gid, member.uname, member.gname) == (0, 0, "", "")


@pytest.mark.parametrize("time", [-1, 1 << 33])
def test_a_time_that_no_header_holds_is_a_usage_error(time):
    with pytest.raises(UsageError):
        file_header("a", 1, time)


def test_the_first_header_is_read_only_in_our_own_form():
    good = file_header("pigsty/.repobuild/CONTENTS.json", 10, 5)

    assert first_header(good) == ("pigsty/.repobuild/CONTENTS.json", 10, 5)


@pytest.mark.parametrize("at", range(0, RECORD, 7))
def test_a_first_header_with_one_byte_changed_is_not_read(at):
    good = bytearray(file_header("pigsty/.repobuild/CONTENTS.json", 10, 5))
    good[at] ^= 0x41

    assert first_header(bytes(good)) is None


def test_a_hostile_header_is_described_without_control_characters():
    record = b"\x1b[31m\xff\n".ljust(156, b"\0") + b"\x07" + bytes(355)

    assert describe(record).isprintable()
    assert describe(record).isascii()


# --- gzip ------------------------------------------------------------------------------------------------------------


def _store(tmp_path: Path, parts: list[bytes], *, copied: bool) -> tuple[bytes, object]:
    target = tmp_path / "out.gz"
    source = tmp_path / "in"
    fd = os.open(target, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    try:
        with StoredGzip(fd) as writer:
            for part in parts:
                if copied:
                    source.write_bytes(part)
                    with source.open("rb") as file:
                        assert writer.copy(file.fileno(), len(part), ignore)
                else:
                    writer.write(part)
            stored = writer.finish()
    finally:
        os.close(fd)
    return target.read_bytes(), stored


@pytest.mark.parametrize(
    "size", [0, 1, 65534, 65535, 65536, 131070, 64 * 65535 - 1, 64 * 65535, 64 * 65535 + 1, 20_000_000]
)
@pytest.mark.parametrize("copied", [True, False])
def test_stored_gzip_is_exact_in_content_size_and_digests(tmp_path, size, copied):
    content = (bytes(range(251)) * (size // 251 + 1))[:size]

    data, stored = _store(tmp_path, [content], copied=copied)

    assert gzip.decompress(data) == content
    assert (stored.size, stored.sha256) == (len(data), sha256_of(data))
    assert stored_size(size) == len(data)
    assert stored.copied == ((sha256_of(content),) if copied else ())


def test_block_borders_do_not_depend_on_how_the_content_came(tmp_path):
    content = os.urandom(300_000)
    pieces = [content[:1], content[1:70_000], b"", content[70_000:]]

    assert _store(tmp_path, [content], copied=False)[0] == _store(tmp_path, pieces, copied=True)[0]


def test_each_copied_file_has_its_own_digest(tmp_path):
    parts = [b"", b"a" * 65535, b"", b"b", os.urandom(5_000_000), b""]

    _, stored = _store(tmp_path, parts, copied=True)

    assert stored.copied == tuple(map(sha256_of, parts))


def test_a_file_that_is_shorter_than_promised_is_noticed(tmp_path):
    (tmp_path / "in").write_bytes(b"12345")
    fd = os.open(tmp_path / "out", os.O_RDWR | os.O_CREAT)
    with StoredGzip(fd) as writer, (tmp_path / "in").open("rb") as file:
        assert not writer.copy(file.fileno(), 6, ignore)
    os.close(fd)


def test_an_error_of_the_disk_comes_out(tmp_path):
    with pytest.raises(OSError, match="No space left"):
        _write_full()


def _write_full() -> None:
    fd = os.open("/dev/full", os.O_RDWR)
    try:
        with StoredGzip(fd) as writer:
            for _ in range(10):
                writer.write(bytes(4 << 20))
            writer.finish()
    finally:
        os.close(fd)


@pytest.mark.parametrize("folder", ["/dev/shm", "/tmp"])
@pytest.mark.parametrize("size", [0, 1, 4096, (4 << 20) - 1, 4 << 20, (9 << 20) + 5])
def test_a_direct_writer_writes_all_on_any_file_system(folder, size):
    path = Path(folder) / f"repobuild-direct-{os.getpid()}"
    content = os.urandom(size)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    try:
        writer = DirectWriter(fd)
        writer.write(content[:1000])
        writer.write(memoryview(content)[1000:])

        assert writer.finish() == size
        assert path.read_bytes() == content
    finally:
        os.close(fd)
        path.unlink()


def _stream(tmp_path: Path, data: bytes) -> GzipStream:
    (tmp_path / "in.gz").write_bytes(data)
    fd = os.open(tmp_path / "in.gz", os.O_RDONLY)
    os.set_inheritable(fd, False)
    return GzipStream(fd, "in.gz", ignore)


@pytest.mark.parametrize("level", [0, 1, 9])
def test_a_gzip_stream_reads_any_level(tmp_path, level):
    content = os.urandom(3_000_000) + bytes(3_000_000)
    data = gzip.compress(content, level)
    stream = _stream(tmp_path, data)

    assert stream.exactly(len(content)) == content
    assert stream.finish() == (sha256_of(data), sha256_of(data))


def test_trailing_zeros_are_let_through_and_told_apart(tmp_path):
    data = gzip.compress(b"abc")
    stream = _stream(tmp_path, data + bytes(3_000_000))
    stream.exactly(3)

    assert stream.finish() == (sha256_of(data), sha256_of(data + bytes(3_000_000)))


@pytest.mark.parametrize(
    "tail",
    [
        b"\x01",
        bytes(2_000_000) + b"\x01",
        gzip.compress(b"more", mtime=0),
        bytes(512) + gzip.compress(b"more", mtime=0),
    ],
)
def test_anything_else_after_the_member_is_refused(tmp_path, tail):
    stream = _stream(tmp_path, gzip.compress(b"abc") + tail)
    stream.exactly(3)

    with pytest.raises(HostileInputError):
        stream.finish()


def test_content_beyond_what_is_asked_for_is_refused(tmp_path):
    stream = _stream(tmp_path, gzip.compress(b"abcd"))
    stream.exactly(3)

    with pytest.raises(HostileInputError):
        stream.finish()


@pytest.mark.parametrize("keep", [0, 1, 9, 10, 11, 15, -9, -8, -5, -4, -1])
def test_a_truncated_gzip_is_refused(tmp_path, keep):
    stream = _stream(tmp_path, gzip.compress(os.urandom(1000))[:keep])

    with pytest.raises(VerificationError):
        stream.exactly(1000) and stream.finish()


@pytest.mark.parametrize("at", [-1, -5, -8])
def test_a_wrong_trailer_is_refused(tmp_path, at):
    data = bytearray(gzip.compress(os.urandom(1000)))
    data[at] ^= 1
    stream = _stream(tmp_path, bytes(data))

    with pytest.raises(VerificationError):
        stream.exactly(1000) and stream.finish()


@pytest.mark.parametrize("data", [b"not gzip at all", zlib.compress(b"abc"), b"\x1f\x8b\x07" + bytes(20)])
def test_what_is_no_gzip_is_refused(tmp_path, data):
    with pytest.raises(VerificationError):
        _stream(tmp_path, data).read(1)


@pytest.mark.parametrize("extra", [b"\x01", bytes(100) + b"\x01"])
def test_what_follows_a_member_that_ends_where_a_read_ends_is_seen(tmp_path, extra):
    spare = len(gzip.compress(os.urandom(1 << 20), 0)) - (1 << 20)
    member = gzip.compress(os.urandom((1 << 20) - spare), 0)
    assert len(member) == 1 << 20
    stream = _stream(tmp_path, member + extra)
    stream.exactly((1 << 20) - spare)

    with pytest.raises(HostileInputError, match="something follows"):
        stream.finish()


# --- the three packings ----------------------------------------------------------------------------------------------


def _pack(tmp_path: Path, packing: Packing, content: bytes) -> bytes:
    target = tmp_path / "packed"
    fd = os.open(target, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    try:
        with packing.open(fd, len(content)) as packer:
            packer.write(content)
            packed = packer.finish()
    finally:
        os.close(fd)
    data = target.read_bytes()
    assert (packed.size, packed.sha256) == (len(data), sha256_of(data))
    return data


def _open(tmp_path: Path, data: bytes):
    (tmp_path / "in").write_bytes(data)
    return open_stream(os.open(tmp_path / "in", os.O_RDONLY), "in", ignore)


CONTENT = {
    "nothing": b"",
    "text": b"Package: x\n" * 300_000,
    "noise": os.urandom(9_000_001),
    "zeros": bytes(20_000_000),
    "a record": b"x" * 512,
}


@pytest.mark.parametrize("packing", Packing)
@pytest.mark.parametrize("what", CONTENT)
def test_what_was_packed_is_told_apart_and_read_again(tmp_path, packing, what):
    content = CONTENT[what]
    data = _pack(tmp_path, packing, content)
    stream = _open(tmp_path, data)

    assert stream.exactly(len(content)) == content
    assert stream.finish() == (sha256_of(data), sha256_of(data))
    assert len(data) <= packing.size(len(content))
    assert packing is Packing.ZSTD or len(data) == packing.size(len(content))


@pytest.mark.parametrize("packing", Packing)
def test_trailing_zeros_of_any_packing_are_let_through_and_told_apart(tmp_path, packing):
    data = _pack(tmp_path, packing, b"abc" * 1000)
    stream = _open(tmp_path, data + bytes(2_000_000))
    stream.exactly(3000)

    assert stream.finish() == (sha256_of(data), sha256_of(data + bytes(2_000_000)))


@pytest.mark.parametrize("packing", Packing)
@pytest.mark.parametrize("tail", ["1", "the same again"])
def test_anything_else_after_any_packing_is_refused(tmp_path, packing, tail):
    data = _pack(tmp_path, packing, b"abc" * 1000)
    stream = _open(tmp_path, data + (b"\x01" if tail == "1" else data))
    stream.exactly(3000)

    with pytest.raises(HostileInputError):
        stream.finish()


def test_a_zstd_frame_says_its_size_and_has_a_checksum(tmp_path):
    data = _pack(tmp_path, Packing.ZSTD, CONTENT["text"])
    facts = zstandard.get_frame_parameters(data)

    assert (facts.content_size, facts.has_checksum, facts.dict_id) == (len(CONTENT["text"]), True, 0)
    assert facts.window_size <= 8 << 20
    assert zstandard.ZstdDecompressor().decompress(data) == CONTENT["text"]


def test_a_zstd_bomb_costs_no_more_than_what_is_asked_of_it(tmp_path):
    data = zstandard.ZstdCompressor(level=19).compress(bytes(1 << 30))
    assert len(data) < 200_000
    stream = _open(tmp_path, data)

    assert isinstance(stream, ZstdStream)
    assert len(stream.read(1 << 30)) <= 128 << 10
    assert stream._taken < len(data)


HOSTILE_FRAMES = {
    "a window of 16 MiB": b"\x28\xb5\x2f\xfd\x00\x70" + b"\x01\x00\x00",
    "a dictionary": b"\x28\xb5\x2f\xfd\x01\x00\x07" + b"\x01\x00\x00",
    "a block larger than blocks are": b"\x28\xb5\x2f\xfd\x00\x58"
    + (1 | 200_000 << 3).to_bytes(3, "little")
    + bytes(200_000),
    "a run longer than blocks are": b"\x28\xb5\x2f\xfd\x00\x58"
    + (1 | 1 << 1 | 200_000 << 3).to_bytes(3, "little")
    + b"x",
    "a block of a reserved type": b"\x28\xb5\x2f\xfd\x00\x58" + (1 | 3 << 1 | 5 << 3).to_bytes(3, "little") + b"12345",
    "a reserved bit": b"\x28\xb5\x2f\xfd\x08\x58" + b"\x01\x00\x00",
    "cut in the header": b"\x28\xb5\x2f\xfd",
    "cut in a block": b"\x28\xb5\x2f\xfd\x00\x58" + (1 | 100 << 3).to_bytes(3, "little") + b"x",
    "no last block": b"\x28\xb5\x2f\xfd\x00\x58" + (1 << 3).to_bytes(3, "little") + b"x",
    "a wrong checksum": zstandard.ZstdCompressor(write_checksum=True).compress(b"abc")[:-1] + b"\0",
    "a checksum cut off": zstandard.ZstdCompressor(write_checksum=True).compress(b"abc")[:-2],
    "a skippable frame first": b"\x50\x2a\x4d\x18\x01\0\0\0x",
}


@pytest.mark.parametrize("case", HOSTILE_FRAMES)
def test_a_hostile_zstd_frame_is_refused(tmp_path, case):
    (tmp_path / "in").write_bytes(HOSTILE_FRAMES[case])
    stream = ZstdStream(os.open(tmp_path / "in", os.O_RDONLY), "in", ignore)

    with pytest.raises(RefusedError):
        _read_all(stream)


def _read_all(stream) -> None:
    while stream.read(1 << 20):
        pass
    stream.finish()


# --- contents --------------------------------------------------------------------------------------------------------


def _file(path: str, kind: Kind = Kind.PAYLOAD, *, size: int = 3, sha256: str = sha256_of(b"abc"), **words) -> TreeFile:
    return TreeFile(path=path, kind=kind, size=size, sha256=sha256, **words)


def _contents(*files: TreeFile, **words) -> Contents:
    """Contents of these files, a lock and the right marker."""
    every = [*files, _file("repobuild.lock", Kind.INDEX)]
    marker = format_marker({file.path: file.sha256 for file in every})
    last = _file("repo_complete", Kind.MARKER, size=len(marker), sha256=sha256_of(marker))
    known = {"name": "pigsty", "target": "d12.x86_64", "version": "v1", "sequence": 5, "lock": sha256_of(b"abc")}
    return Contents(files=in_member_order([*every, last]), **{**known, **words})


GOOD = _contents(
    _file("a.deb", upstream="node", verify="root"), _file("Packages", Kind.INDEX), _file("InRelease", Kind.POINTER)
)


def test_contents_survive_their_text():
    assert parse_contents(encode_contents(GOOD)) == GOOD


def test_the_text_of_contents_is_sorted_json_with_a_line_a_file():
    text = encode_contents(GOOD)
    document = json.loads(text)

    assert text.count(b"\n") == len(GOOD.files) + 2
    assert [file["path"] for file in document["files"]] == [
        "Packages", "repobuild.lock", "a.deb", "InRelease", "repo_complete",
    ]  # fmt: skip
    assert document["format"] == 1
    assert document["files"][2] == {
        "kind": "payload", "path": "a.deb", "sha256": sha256_of(b"abc"), "size": 3, "upstream": "node", "verify": "root",
    }  # fmt: skip


UNSAFE_PATHS = [
    "",
    ".",
    "..",
    "/etc/passwd",
    "../up",
    "a/../../up",
    "a/./b",
    "a//b",
    "a/",
    "/",
    "a\0b",
    "a\nb",
    "a\rb",
    "a\tb",
    "a\x1bb",
    "a\x7fb",
    "a\u202eb",
    "a\u200bb",
    "a\u2028b",
    "a\\b",
    "..\\up",
    "n" * 256,
    "/".join("abcdefghi"),
    "/".join(["d" * 200] * 6),
    ".repobuild/x",
    ".repobuild",
    ".repobuild/CONTENTS.json",
]


@pytest.mark.parametrize("path", UNSAFE_PATHS, ids=ascii)
def test_contents_with_an_unsafe_path_are_refused(path):
    with pytest.raises(HostileInputError, match=r"not a (safe|path)|levels of folders"):
        make_contents(_contents(_file(path)))


REFUSED_CONTENTS = {
    "no files": replace(GOOD, files=()),
    "no marker": replace(GOOD, files=GOOD.files[:-1]),
    "marker first": replace(GOOD, files=(GOOD.files[-1], *GOOD.files[:-1])),
    "two markers": replace(GOOD, files=(*GOOD.files, GOOD.files[-1])),
    "marker of another name": replace(GOOD, files=(*GOOD.files[:-1], replace(GOOD.files[-1], path="complete"))),
    "marker as payload": replace(GOOD, files=(*GOOD.files[:-1], replace(GOOD.files[-1], kind=Kind.PAYLOAD))),
    "marker of other files": replace(GOOD, files=(*GOOD.files[:-1], replace(GOOD.files[-1], sha256="0" * 64))),
    "marker of other size": replace(GOOD, files=(*GOOD.files[:-1], replace(GOOD.files[-1], size=1))),
    "a file twice": replace(GOOD, files=(GOOD.files[0], *GOOD.files)),
    "wrong order": replace(GOOD, files=(GOOD.files[1], GOOD.files[0], *GOOD.files[2:])),
    "file and folder": _contents(_file("a"), _file("a/b")),
    "no lock": replace(GOOD, lock="1" * 64),
    "lock no digest": replace(GOOD, lock="xyz"),
    "digest in capitals": _contents(_file("a.deb", sha256="A" * 64)),
    "digest too short": _contents(_file("a.deb", sha256="a" * 63)),
    "unknown way of verifying": _contents(_file("a.deb", verify="yes")),
    "control characters in an upstream": _contents(_file("a.deb", upstream="a\x1b[0m")),
    "name with a slash": replace(GOOD, name="../x"),
    "name of dots": replace(GOOD, name=".."),
    "hidden name": replace(GOOD, name=".repobuild"),
    "empty name": replace(GOOD, name=""),
    "name too long": replace(GOOD, name="n" * 65),
    "target with a slash": replace(GOOD, target="a/b"),
    "version with a newline": replace(GOOD, version="v1\n"),
    "negative time": replace(GOOD, sequence=-1),
    "time beyond all archives": replace(GOOD, sequence=1 << 33),
}


@pytest.mark.parametrize("case", REFUSED_CONTENTS)
def test_contents_that_do_not_describe_a_repository_are_refused(case):
    with pytest.raises(RefusedError):
        make_contents(REFUSED_CONTENTS[case])
    with pytest.raises(RefusedError):
        parse_contents(encode_contents(REFUSED_CONTENTS[case]))


TEXT = encode_contents(GOOD)
REFUSED_TEXTS = {
    "empty": b"",
    "only the head": b'{"files":[\n',
    "another document": b"[]\n",
    "not JSON": TEXT.replace(b'{"kind":"index"', b'{"kind":index', 1),
    "not UTF-8": TEXT.replace(b"a.deb", b"a\xff.deb"),
    "a key twice": TEXT.replace(b'"size":3', b'"size":3,"size":3', 1),
    "an unknown key": TEXT.replace(b'"size":3', b'"size":3,"zzz":1', 1),
    "a key missing": TEXT.replace(b'"upstream":"",', b"", 1),
    "white space": TEXT.replace(b'"size":3', b'"size": 3', 1),
    "other key order": TEXT.replace(b'"size":3,"upstream":""', b'"upstream":"","size":3', 1),
    "a float": TEXT.replace(b'"size":3', b'"size":3.0', 1),
    "an exponent": TEXT.replace(b'"size":3', b'"size":3e0', 1),
    "a boolean as a number": TEXT.replace(b'"size":3', b'"size":true', 1),
    "a text as a number": TEXT.replace(b'"size":3', b'"size":"3"', 1),
    "a negative size": TEXT.replace(b'"size":3', b'"size":-3', 1),
    "an enormous size": TEXT.replace(b'"size":3', b'"size":' + b"9" * 30, 1),
    "a number of 3,000 digits": TEXT.replace(b'"size":3', b'"size":' + b"9" * 3000, 1),
    "NaN": TEXT.replace(b'"size":3', b'"size":NaN', 1),
    "an escape where none is needed": TEXT.replace(b"a.deb", b"\\u0061.deb"),
    "a lone surrogate": TEXT.replace(b"a.deb", b"\\ud800.deb"),
    "an unknown kind": TEXT.replace(b'"kind":"payload"', b'"kind":"link"'),
    "a kind in capitals": TEXT.replace(b'"kind":"payload"', b'"kind":"PAYLOAD"'),
    "a list for a kind": TEXT.replace(b'"kind":"payload"', b'"kind":["payload"]'),
    "a list for a file": TEXT.replace(b'{"kind":"payload"', b'[{"kind":"payload"', 1),
    "nested deeply": b'{"files":[\n' + b"[" * 4000 + b"\n",
    "a line too long": TEXT.replace(b"a.deb", b"a" * 5000),
    "lines without end": b'{"files":[\n' + b"\n" * 100_000,
    "another format": TEXT.replace(b'"format":1', b'"format":3'),
    "the next format": TEXT.replace(b'"format":1', b'"format":2'),
    "no format": TEXT.replace(b'"format":1,', b""),
    "a comma too many": TEXT.replace(b"}\n],", b"},\n],"),
    "a comma too few": TEXT.replace(b"},\n{", b"}\n{", 1),
    "cut in the middle": TEXT[: len(TEXT) // 2],
    "cut at the end": TEXT[:-1],
    "something after the end": TEXT + b"x",
    "a blank line after the end": TEXT + b"\n",
    "twice": TEXT + TEXT,
    "carriage returns": TEXT.replace(b"\n", b"\r\n"),
    "a byte order mark": b"\xef\xbb\xbf" + TEXT,
}


@pytest.mark.parametrize("case", REFUSED_TEXTS)
def test_contents_in_any_other_form_are_refused(case):
    assert REFUSED_TEXTS[case] != TEXT

    with pytest.raises(RefusedError) as refused:
        parse_contents(REFUSED_TEXTS[case])

    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 600


def test_more_files_than_a_bundle_may_have_are_refused(monkeypatch):
    monkeypatch.setattr(room, "FILES_LIMIT", len(GOOD.files) - 1)

    with pytest.raises(HostileInputError):
        parse_contents(TEXT)


# --- contents of format 2 --------------------------------------------------------------------------------------------

SCRIPT = sha256_of(b"#!/bin/sh\n")
OTHER = sha256_of(b"other")
TREE = _contents(
    _file("a.deb", upstream="node", verify="root"),
    _file("b.deb", sha256=OTHER),
    _file("c.deb"),
    _file("Packages", Kind.INDEX),
    _file("InRelease", Kind.POINTER),
    installer=SCRIPT,
)
"""Packages, lock, a.deb, b.deb, c.deb, InRelease, marker."""
VOLUMES = tuple(
    replace(TREE, kind=PartKind.VOLUME, part=part, parts=3, carriers=(1, 1, 1, 3, 2, 1, 0)) for part in (1, 2, 3)
)
DELTA = replace(TREE, kind=PartKind.DELTA, carriers=(1, 1, 0, 1, 0, 1, 0), older=Older("e" * 64, 4))
BLIND_DELTA = replace(DELTA, older=Older("", 0))


@pytest.mark.parametrize("contents", [TREE, *VOLUMES, DELTA, BLIND_DELTA], ids=range(6))
def test_contents_of_every_kind_survive_their_text(contents):
    assert make_contents(contents) == contents
    assert parse_contents(encode_contents(contents)) == contents


def test_every_file_says_in_which_part_it_is():
    lines = [json.loads(line.strip(b",\n")) for line in encode_contents(VOLUMES[1]).splitlines()[1:-1]]
    tail = json.loads(b"{" + encode_contents(DELTA).splitlines()[-1][2:])

    assert [line["in"] for line in lines] == [1, 1, 1, 3, 2, 1, 0]
    assert [file.path for file in VOLUMES[1].carried] == ["c.deb"]
    assert [file.path for file in DELTA.carried] == ["Packages", "repobuild.lock", "b.deb", "InRelease"]
    assert [file.path for file in DELTA.carried_by(0)] == ["a.deb", "c.deb", "repo_complete"]
    assert (TREE.carried, TREE.carried_by(0)) == (TREE.files, ())
    assert tail == {
        "format": 2, "installer": SCRIPT, "kind": "delta", "lock": sha256_of(b"abc"), "name": "pigsty",
        "older": {"lock": "e" * 64, "sequence": 4}, "part": 1, "parts": 1, "sequence": 5, "target": "d12.x86_64",
        "version": "v1",
    }  # fmt: skip


def test_volumes_of_one_bundle_differ_in_their_number_alone():
    assert len({replace(volume, part=1) for volume in VOLUMES}) == 1


REFUSED_PARTS = {
    "a volume of format 1": replace(VOLUMES[0], installer=""),
    "a delta of format 1": replace(DELTA, installer=""),
    "an installer that is no digest": replace(TREE, installer="x"),
    "part 0": replace(VOLUMES[0], part=0),
    "part 4 of 3": replace(VOLUMES[0], part=4),
    "too many parts": replace(VOLUMES[0], parts=1000),
    "a whole bundle of two parts": replace(TREE, parts=2),
    "a second whole bundle": replace(TREE, part=2, parts=2),
    "a whole bundle that carries some": replace(TREE, carriers=(1, 1, 1, 0, 1, 1, 1)),
    "a whole bundle that says so twice": replace(TREE, carriers=(1,) * 7),
    "a whole bundle with an older one": replace(TREE, older=Older("e" * 64, 4)),
    "a volume with an older one": replace(VOLUMES[0], older=Older("e" * 64, 4)),
    "a delta without": replace(DELTA, older=None),
    "a delta of two parts": replace(DELTA, parts=2),
    "a delta of no lock": replace(DELTA, older=Older("x", 4)),
    "a delta from beyond all time": replace(DELTA, older=Older("e" * 64, 1 << 33)),
    "a file of no part": replace(VOLUMES[0], carriers=(1, 1, 1, 0, 2, 3, 0)),
    "a file of a part that is not": replace(VOLUMES[0], carriers=(1, 1, 4, 3, 2, 1, 0)),
    "a part that carries nothing": replace(VOLUMES[0], carriers=(1, 1, 1, 3, 3, 1, 0)),
    "an index in another part": replace(VOLUMES[0], carriers=(2, 1, 1, 3, 2, 1, 0)),
    "a lock in another part": replace(VOLUMES[0], carriers=(1, 2, 1, 3, 2, 1, 0)),
    "a pointer in another part": replace(VOLUMES[0], carriers=(1, 1, 1, 3, 2, 2, 0)),
    "a volume with the marker": replace(VOLUMES[0], carriers=(1, 1, 1, 3, 2, 1, 3)),
    "a delta with the marker": replace(DELTA, carriers=(1, 1, 0, 1, 0, 1, 1)),
    "a delta without an index": replace(DELTA, carriers=(0, 1, 0, 1, 0, 1, 0)),
    "a delta without the lock": replace(DELTA, carriers=(1, 0, 0, 1, 0, 1, 0)),
    "a delta with a second part": replace(DELTA, carriers=(1, 1, 0, 2, 0, 1, 0)),
}


@pytest.mark.parametrize("case", REFUSED_PARTS)
def test_parts_that_make_no_bundle_are_refused(case):
    with pytest.raises(RefusedError):
        make_contents(REFUSED_PARTS[case])


@pytest.mark.parametrize("case", [case for case in REFUSED_PARTS if "twice" not in case and "format 1" not in case])
def test_parts_that_make_no_bundle_are_refused_as_text(case):
    with pytest.raises(RefusedError):
        parse_contents(encode_contents(REFUSED_PARTS[case]))


NEW = encode_contents(DELTA)
REFUSED_NEW_TEXTS = {
    "another format": NEW.replace(b'"format":2', b'"format":3'),
    "format 1": NEW.replace(b'"format":2', b'"format":1'),
    "a format of words": NEW.replace(b'"format":2', b'"format":[2]'),
    "a format with a point": NEW.replace(b'"format":2', b'"format":2.0'),
    "no installer": NEW.replace(b'"installer":"' + SCRIPT.encode(), b'"installer":"'),
    "an unknown kind": NEW.replace(b'"kind":"delta"', b'"kind":"patch"'),
    "a kind in capitals": NEW.replace(b'"kind":"delta"', b'"kind":"DELTA"'),
    "a list for a kind": NEW.replace(b'"kind":"delta"', b'"kind":["delta"]'),
    "older as text": NEW.replace(b'"older":{', b'"older":"{').replace(b',"part"', b'","part"'),
    "older with more": NEW.replace(b'"sequence":4}', b'"sequence":4,"x":1}'),
    "older as a list": NEW.replace(b'"older":{"lock":"' + b"e" * 64 + b'","sequence":4}', b'"older":[]'),
    "older as an empty object": NEW.replace(b'"older":{"lock":"' + b"e" * 64 + b'","sequence":4}', b'"older":{}'),
    "part as text": NEW.replace(b'"part":1', b'"part":"1"'),
    "part as a truth": NEW.replace(b'"part":1', b'"part":true'),
    "a file without a part": NEW.replace(b'{"in":1,', b"{", 1),
    "no file with a part": NEW.replace(b'{"in":1,', b"{").replace(b'{"in":0,', b"{"),
    "a negative part": NEW.replace(b'{"in":1,', b'{"in":-1,', 1),
    "a part with a point": NEW.replace(b'{"in":1,', b'{"in":1.0,', 1),
    "null for a part": NEW.replace(b'{"in":1,', b'{"in":null,', 1),
    "parts in format 1": TEXT.replace(b'{"kind"', b'{"in":1,"kind"'),
    "a kind in format 1": TEXT.replace(b'"format":1,', b'"format":1,"kind":"whole",'),
}


@pytest.mark.parametrize("case", REFUSED_NEW_TEXTS)
def test_contents_of_format_2_in_any_other_form_are_refused(case):
    assert REFUSED_NEW_TEXTS[case] not in {NEW, TEXT}

    with pytest.raises(RefusedError) as refused:
        parse_contents(REFUSED_NEW_TEXTS[case])

    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 600


@given(data=st.data(), text=st.sampled_from([TEXT, encode_contents(TREE), encode_contents(VOLUMES[2]), NEW]))
@settings(max_examples=300, deadline=None)
def test_text_that_was_tampered_with_is_refused_or_says_something_else_that_is_sound(data, text):
    at = data.draw(st.integers(0, len(text) - 1))
    cut = data.draw(st.integers(0, 8))
    put = data.draw(st.binary(max_size=8))
    tampered = text[:at] + put + text[at + cut :]

    try:
        contents = parse_contents(tampered)
    except RefusedError:
        return

    assert encode_contents(contents) == tampered
    assert make_contents(contents) == contents


@given(text=st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_noise_is_no_contents(text):
    with pytest.raises(RefusedError):
        parse_contents(text)
    with pytest.raises(RefusedError):
        parse_contents(b'{"files":[\n' + text)


NAMES = st.from_regex(r"[a-z][a-z0-9._+-]{0,20}\.deb", fullmatch=True)


@given(names=st.sets(NAMES, min_size=1, max_size=8), parts=st.integers(2, 4), data=st.data())
@settings(max_examples=100, deadline=None)
def test_any_way_to_spread_payload_over_volumes_survives_its_text(names, parts, data):
    tree = _contents(*(_file(name) for name in sorted(names)), installer=SCRIPT)
    payload = [data.draw(st.integers(1, parts)) for _ in names]
    shape = {"kind": PartKind.VOLUME, "parts": max(payload), "carriers": (1, *payload, 0)}
    volumes = [replace(tree, part=part, **shape) for part in range(1, max(payload) + 1)]

    if set(range(2, max(payload) + 1)) <= set(payload):
        assert [parse_contents(encode_contents(volume)) for volume in volumes] == volumes
        assert sorted(f.path for v in volumes for f in v.carried) == sorted(f.path for f in tree.files[:-1])
    else:
        with pytest.raises(HostileInputError, match="carries nothing"):
            make_contents(volumes[0])
