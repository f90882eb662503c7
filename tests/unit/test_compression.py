"""Compressed indexes: bombs, damage, and forms that every tool reads and no machine makes differently."""

import bz2
import gzip
import io
import lzma
import random
import subprocess
import time
import tracemalloc
import zlib
from collections.abc import Callable

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from repobuild.compression import decompress, stored_gzip, stored_xz
from repobuild.errors import HostileInputError

TEXT = b"".join(b"Package: p%d\nVersion: %d\n\n" % (n, n * n) for n in range(20_000))


def packed(text: bytes, kind: str) -> bytes:
    if kind == "gz":
        return gzip.compress(text, mtime=0)
    if kind == "xz":
        return lzma.compress(text)
    return zstandard.ZstdCompressor().compress(text) if kind else text


def opened(data: bytes, kind: str, size: int, **words: bool) -> bytes:
    return b"".join(decompress(data, kind, size=size, what="an index", **words))


KINDS = pytest.mark.parametrize("kind", ["gz", "xz", "zst"])


@pytest.mark.parametrize("kind", ["gz", "xz", "zst", ""])
@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 1 << 18, (1 << 18) + 1, len(TEXT)])
def test_what_was_compressed_comes_back(kind: str, size: int) -> None:
    assert opened(packed(TEXT[:size], kind), kind, size) == TEXT[:size]


@KINDS
def test_random_bytes_that_do_not_shrink_come_back(kind: str) -> None:
    text = random.Random(1).randbytes(700_000)

    assert opened(packed(text, kind), kind, len(text)) == text


@KINDS
def test_streams_one_after_another_are_one_text(kind: str) -> None:
    data = b"".join(packed(TEXT[start : start + 100_000], kind) for start in range(0, len(TEXT), 100_000))

    assert opened(data, kind, len(TEXT)) == TEXT


def test_xz_pads_between_streams() -> None:
    assert opened(packed(b"one", "xz") + bytes(8) + packed(b"two", "xz") + bytes(4), "xz", 6) == b"onetwo"


@KINDS
@pytest.mark.parametrize("keep", [0, 1, 5, 0.5, -1, -5])
def test_truncated_data_is_refused(kind: str, keep: float) -> None:
    data = packed(TEXT, kind)
    cut = data[: int(len(data) * keep)] if keep == 0.5 else data[: int(keep)]

    with pytest.raises(HostileInputError):
        opened(cut, kind, len(TEXT))


@KINDS
@pytest.mark.parametrize("garbage", [b"x", b"garbage " * 20, b"\x1f\x8b", b"\xfd7zXZ", TEXT[:100]])
def test_data_followed_by_something_else_is_refused(kind: str, garbage: bytes) -> None:
    with pytest.raises(HostileInputError):
        opened(packed(TEXT, kind) + garbage, kind, len(TEXT))


@KINDS
def test_damage_is_refused_or_harmless(kind: str) -> None:
    data, chance = packed(TEXT, kind), random.Random(2)
    for _ in range(60):
        place = chance.randrange(len(data))
        damaged = data[:place] + bytes([data[place] ^ (1 << chance.randrange(8))]) + data[place + 1 :]
        try:
            opened(damaged, kind, len(TEXT))
        except HostileInputError:
            continue


@KINDS
@pytest.mark.parametrize("other", ["gz", "xz", "zst", ""])
def test_data_of_another_form_is_refused(kind: str, other: str) -> None:
    if kind != other:
        with pytest.raises(HostileInputError):
            opened(packed(TEXT, other), kind, len(TEXT))


@pytest.mark.parametrize("kind", ["bz2", "lzma", "zip", "XZ"])
def test_a_form_that_is_unknown_is_refused(kind: str) -> None:
    with pytest.raises(HostileInputError):
        opened(bz2.compress(TEXT), kind, len(TEXT))


@pytest.mark.parametrize("kind", ["gz", "xz", "zst", ""])
def test_another_size_than_announced_is_refused(kind: str) -> None:
    with pytest.raises(HostileInputError, match="more than the announced"):
        opened(packed(TEXT, kind), kind, len(TEXT) - 1)
    with pytest.raises(HostileInputError, match="instead of the announced"):
        opened(packed(TEXT, kind), kind, len(TEXT) + 1)
    assert opened(packed(TEXT, kind), kind, len(TEXT) + 1, is_exact=False) == TEXT


def zeros(kind: str, size: int) -> bytes:
    """Compress a lot of nothing without having it in memory."""
    out = io.BytesIO()
    writer: Callable[[io.BytesIO], object] = {
        "gz": lambda raw: gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=9, mtime=0),
        "xz": lambda raw: lzma.LZMAFile(raw, "wb", preset=0),  # noqa: SIM115 - closed by the caller
        "zst": lambda raw: zstandard.ZstdCompressor(level=3).stream_writer(raw, closefd=False),
    }[kind]
    with writer(out) as file:  # type: ignore[attr-defined]
        for _ in range(size >> 20):
            file.write(bytes(1 << 20))
    return out.getvalue()


def nested(kind: str) -> bytes:
    return packed(zeros(kind, 64 << 20), kind)


BOMBS: dict[str, Callable[[], tuple[bytes, str]]] = {
    "gz: zeros": lambda: (zeros("gz", 256 << 20), "gz"),
    "xz: zeros": lambda: (zeros("xz", 256 << 20), "xz"),
    "zst: zeros": lambda: (zeros("zst", 256 << 20), "zst"),
    "gz: many small streams": lambda: (gzip.compress(b"", mtime=0) * 100_000, "gz"),
    "xz: many small streams": lambda: (lzma.compress(b"") * 70_000, "xz"),
    "zst: many small streams": lambda: (zstandard.ZstdCompressor().compress(b"") * 100_000, "zst"),
    "gz: many full streams": lambda: (gzip.compress(bytes(1 << 20), mtime=0) * 2_000, "gz"),
    "zst: many full streams": lambda: (zstandard.ZstdCompressor().compress(bytes(1 << 20)) * 2_000, "zst"),
    "xz: a dictionary of four gigabytes": lambda: (_wide_xz(), "xz"),
    "zst: a window of two gigabytes": lambda: (_wide_zst(), "zst"),
    "xz: nothing but padding": lambda: (lzma.compress(b"") + bytes(50 << 20), "xz"),
    "zst: skippable frames": lambda: ((b"\x50\x2a\x4d\x18\x00\x00\x00\x00") * 500_000, "zst"),
}


def _wide_xz() -> bytes:
    """Return an xz whose block header asks for the largest dictionary."""
    data = bytearray(lzma.compress(TEXT[:1000], check=lzma.CHECK_CRC32))
    header = data[12 : 12 + (data[12] + 1) * 4]
    place = header.index(b"\x21\x01") + 2
    header[place] = 40
    header[-4:] = zlib.crc32(bytes(header[:-4])).to_bytes(4, "little")
    data[12 : 12 + len(header)] = header
    return bytes(data)


def _wide_zst() -> bytes:
    # magic, descriptor (no single segment, no size), window: exponent 21 -> 2 GiB, then an RLE block
    return b"\x28\xb5\x2f\xfd\x00" + bytes([21 << 3]) + b"\x03\x00\x10" + b"\0"


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_costs_little_memory_and_time(name: str) -> None:
    data, kind = BOMBS[name]()
    tracemalloc.start()
    begun = time.process_time()

    try:
        with pytest.raises(HostileInputError):
            for _ in decompress(data, kind, size=1 << 20, what="a bomb"):
                pass
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert time.process_time() - begun < 5
    assert peak < 16 << 20


@KINDS
def test_a_bomb_in_a_bomb_stays_closed(kind: str) -> None:
    data = nested(kind)

    inner = opened(data, kind, 1 << 20, is_exact=False)

    assert len(inner) < 1 << 20


# ours


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.binary(max_size=300))
def test_stored_forms_are_read_back(data: bytes) -> None:
    assert gzip.decompress(stored_gzip(data)) == data
    assert lzma.decompress(stored_xz(data)) == data


@pytest.mark.parametrize("size", [0, 1, 65_534, 65_535, 65_536, 65_537, 131_070, 131_071, 131_072, 131_073, 500_000])
def test_stored_forms_are_read_by_every_tool(size: int, tool: Callable[[str], str]) -> None:
    data = random.Random(size).randbytes(size)

    for program, stored in (("gzip", stored_gzip(data)), ("xz", stored_xz(data))):
        run = subprocess.run([tool(program), "-dc"], input=stored, capture_output=True, check=True)
        assert (run.stdout, run.stderr) == (data, b"")
    assert opened(stored_gzip(data), "gz", size) == data
    assert opened(stored_xz(data), "xz", size) == data


def test_xz_itself_finds_nothing_wrong(tool: Callable[[str], str], tmp_path) -> None:
    path = tmp_path / "Packages.xz"
    path.write_bytes(stored_xz(TEXT))

    assert subprocess.run([tool("xz"), "-t", str(path)], check=True, capture_output=True).stderr == b""
    listed = subprocess.run([tool("xz"), "--robot", "-l", str(path)], check=True, capture_output=True, text=True).stdout
    assert f"\t{len(TEXT)}\t" in listed


def test_stored_forms_are_these_bytes() -> None:
    assert stored_gzip(b"ab").hex() == "1f8b08000000000000ff" + "010200fdff6162" + "6d48839e" + "02000000"
    assert stored_xz(b"ab").hex() == (
        "fd377a585a0000016922de36" + "0200210100000000372797d6" + "010001616200" + "0000" + "6d48839e"
        + "00011602d06110d2" + "9042990d" + "010000000001595a"
    )  # fmt: skip
