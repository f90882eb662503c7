"""Packages from indexes and from files: names that cannot leave a folder, and .debs that are none."""

import gzip
import hashlib
import lzma
import subprocess
import tarfile
import time
import tracemalloc
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import pytest
from debs import ar, ar_header, make_deb, packed, tar
from hypothesis import given, settings
from hypothesis import strategies as st

from repobuild.errors import HostileInputError
from repobuild.formats.deb.index import Index
from repobuild.formats.deb.package import check_metadata, from_file, from_record, url_path
from repobuild.formats.deb.universe import Origin, Record

CONTROL = "Package: a\nVersion: 1:1.0-1\nArchitecture: amd64\nDepends: b\nDescription: short\n long\n"
PATHS = [
    "../x",
    "../../etc/passwd",
    "/etc/passwd",
    "//host/x",
    "a/../b",
    "a/..",
    "..",
    ".",
    "",
    "./",
    "./../x",
    "a//b",
    "a/./b",
    "a/",
    "a\0b",
    "a\nb",
    "a\rb",
    "a\x1b[2Jb",
    "a\u202eb",
    "a\u2028b",
    "a\x85b",
    "a\x7fb",
    "x" * 4097,
    "pool/" + "../" * 50,
]


def record(**fields: str) -> Record:
    known = {
        "package": "a",
        "version": "1:1.0-1",
        "architecture": "amd64",
        "size": "5",
        "sha256": "0" * 64,
        "filename": "pool/a.deb",
    }
    known |= fields
    stanza = "".join(f"{label.capitalize()}: {value}\n" for label, value in known.items()).rstrip("\n")
    return Record(stanza, known, Origin("base", (), Index(b"", {}, {})))


def test_a_record_becomes_a_package_named_by_its_own_fields() -> None:
    package = from_record(record(filename="./pool/main/a b/odd+name~1.deb"))

    assert (package.filename, package.path) == ("a_1.0-1_amd64.deb", "pool/main/a%20b/odd%2Bname~1.deb")
    assert (package.name, package.version, package.arch, package.size) == ("a", "1:1.0-1", "amd64", 5)
    assert package.metadata == "Package: a\nVersion: 1:1.0-1\nArchitecture: amd64"


@pytest.mark.parametrize("path", PATHS, ids=range(len(PATHS)))
def test_a_path_that_could_leave_the_mirror_is_refused(path: str) -> None:
    with pytest.raises(HostileInputError, match="not a path below a mirror"):
        from_record(record(filename=path))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.text(max_size=40))
def test_any_path_stays_below_the_mirror_or_is_refused(path: str) -> None:
    try:
        found = url_path(path)
    except HostileInputError:
        return
    assert not found.startswith("/")
    assert not {"", ".", ".."} & set(unquote(found).split("/"))
    assert found.isascii()


@pytest.mark.parametrize("path", ["%2e%2e/x", "a/%2e%2e%2fx", "..%2fx", "a%00b"])
def test_what_is_encoded_already_is_encoded_once_more(path: str) -> None:
    found = from_record(record(filename=path)).path

    assert unquote(found) == path
    assert "%25" in found


@pytest.mark.parametrize(
    "fields",
    [
        {"package": "../a"},
        {"package": "a/b"},
        {"package": ".a"},
        {"package": "a" * 200},
        {"package": "a\nb"},
        {"version": "../1"},
        {"version": "1/2"},
        {"version": "1" * 300},
        {"version": ""},
        {"architecture": "../x"},
        {"architecture": "аmd64"},
        {"architecture": ""},
        {"architecture": "x" * 65},
    ],
)
def test_a_name_that_is_no_file_name_is_refused(fields: Mapping[str, str]) -> None:
    with pytest.raises(HostileInputError):
        from_record(record(**fields))


# what our index carries


def test_locations_are_left_out_with_their_continuation_lines() -> None:
    one = record()
    stanza = "Package: a\nSHA1: x\n more\nVersion: 1\nfilename: x\nMD5sum: y\nDescription: d\n SHA256: text\nSHA512: z"

    assert from_record(Record(stanza, one.field, one.origin)).metadata == (
        "Package: a\nVersion: 1\nDescription: d\n SHA256: text"
    )


@pytest.mark.parametrize(
    "metadata",
    [
        "",
        "Package: b\nVersion: 1:1.0-1\nArchitecture: amd64",
        "Package: a\nVersion: 2\nArchitecture: amd64",
        "Package: a\nVersion: 1:1.0-1\nArchitecture: all",
        "Package: a\nVersion: 1:1.0-1\nArchitecture: amd64\nFilename: ../evil",
        "Package: a\nVersion: 1:1.0-1\nArchitecture: amd64\nSHA256: 0",
        "Package: a\nVersion: 1:1.0-1\nArchitecture: amd64\nsize : 1",
        "Package: a\nVersion: 1:1.0-1\nArchitecture: amd64\n\nPackage: evil",
        "Package: a\nVersion: 1:1.0-1\nArchitecture: amd64\n\n",
    ],
)
def test_a_description_that_is_not_the_packages_own_is_refused(metadata: str) -> None:
    with pytest.raises(HostileInputError):
        check_metadata(replace(from_record(record()), metadata=metadata))


# files


def read(data: bytes, folder: Path, url: str = "a%2Bb.deb"):
    path = folder / "x.deb"
    path.write_bytes(data)
    return from_file(path, upstream="url:x", url_path=url)


@pytest.mark.parametrize("ending", [".gz", ".xz", ".zst", ""])
def test_a_deb_is_read(ending: str, tmp_path: Path) -> None:
    data = make_deb(CONTROL, ending=ending)

    package = read(data, tmp_path)

    assert (package.name, package.version, package.arch, package.filename) == (
        "a", "1:1.0-1", "amd64", "a_1.0-1_amd64.deb"
    )  # fmt: skip
    assert (package.size, package.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert (package.metadata, package.path, package.upstream) == (CONTROL.rstrip("\n"), "a%2Bb.deb", "url:x")


@pytest.mark.parametrize("kind", ["gzip", "xz", "zstd", "none"])
def test_what_dpkg_builds_is_read_as_dpkg_reads_it(kind: str, tmp_path: Path, tool: Callable[[str], str]) -> None:
    root = tmp_path / "root"
    (root / "DEBIAN").mkdir(parents=True)
    (root / "DEBIAN/control").write_text("Package: a\nVersion: 2-1\nArchitecture: all\nMaintainer: x <x@x.test>\nDescription: d\n")  # fmt: skip
    (root / "file").write_bytes(b"content")
    command = [tool("dpkg-deb"), "--root-owner-group", "--uniform-compression", f"-Z{kind}", "-b", str(root)]
    if subprocess.run([*command, str(tmp_path / "a.deb")], capture_output=True, check=False).returncode:
        pytest.skip(f"this dpkg-deb does not write {kind}")

    package = from_file(tmp_path / "a.deb", upstream="x", url_path="a.deb")

    shown = subprocess.run(
        [tool("dpkg-deb"), "-f", str(tmp_path / "a.deb")], capture_output=True, text=True, check=True
    )
    assert package.metadata == shown.stdout.rstrip("\n")


def test_members_between_are_passed_over(tmp_path: Path) -> None:
    control = gzip.compress(tar({"./postinst": b"x", "control": CONTROL.encode()}))

    assert read(ar(("debian-binary", b"2.0\n"), ("_odd", b"x"), ("control.tar.gz", control)), tmp_path).name == "a"


def control_deb(control: bytes, ending: str = ".gz") -> bytes:
    return ar(("debian-binary", b"2.0\n"), (f"control.tar{ending}", control), ("data.tar", tar({})))


GOOD = make_deb(CONTROL)
FORGED: dict[str, bytes] = {
    "empty": b"",
    "text": b"<html>not found</html>",
    "magic alone": b"!<arch>\n",
    "cut in the header": GOOD[:30],
    "cut in the control": GOOD[:150],
    "no debian-binary": ar(("control.tar.gz", gzip.compress(tar({"control": CONTROL.encode()})))),
    "format 3": ar(("debian-binary", b"3.0\n")),
    "no control": ar(("debian-binary", b"2.0\n"), ("data.tar", tar({}))),
    "negative size": b"!<arch>\n" + ar_header("debian-binary", -60) + b"2.0\n",
    "size with letters": b"!<arch>\n" + ar_header("debian-binary", "0x4") + b"2.0\n",
    "size beyond the file": b"!<arch>\n" + ar_header("debian-binary", 4) + b"2.0\n" + ar_header("control.tar.gz", 9**9),
    "many members": ar(("debian-binary", b"2.0\n"), *[(f"m{n}", b"") for n in range(1000)]),
    "control is not gzip": control_deb(b"plain"),
    "control of a kind unknown": control_deb(b"x", ".lz4"),
    "control is bz2": control_deb(b"BZh9", ".bz2"),
    "no control in control.tar": control_deb(gzip.compress(tar({"./postinst": b"x"}))),
    "control is a link": control_deb(gzip.compress(tar({"./control": b""}, type=b"2", linkname="/etc/passwd"))),
    "control is a folder": control_deb(gzip.compress(tar({"./control": b""}, type=b"5"))),
    "control is a device": control_deb(gzip.compress(tar({"./control": b""}, type=b"3"))),
    "control is elsewhere": control_deb(gzip.compress(tar({"../control": CONTROL.encode()}))),
    "control is empty": make_deb(""),
    "control is too large": make_deb(CONTROL + "X: " + "y" * (1 << 20) + "\n"),
    "control is no UTF-8": make_deb(b"Package: \xff\n"),
    "control has two stanzas": make_deb(CONTROL + "\n" + CONTROL),
    "control hides a stanza": make_deb(CONTROL + "\nFilename: ../evil\n"),
    "control has a name that climbs": make_deb(CONTROL.replace("Package: a", "Package: ../../etc/cron.d/a")),
    "control has a version that climbs": make_deb(CONTROL.replace("1:1.0-1", "1/../../x")),
    "control has an architecture that climbs": make_deb(CONTROL.replace("amd64", "../x")),
    "control has no name": make_deb(CONTROL.replace("Package: a\n", "")),
    "control has no version": make_deb(CONTROL.replace("Version: 1:1.0-1\n", "")),
    "tar is damaged": control_deb(gzip.compress(b"x" * 600)),
    "tar has a damaged number": control_deb(
        gzip.compress(tar({"./a": b""}).replace(b"00000000000", b"zzzzzzzzzzz", 1))
    ),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_deb_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(HostileInputError):
        read(FORGED[name], tmp_path)


def pax(keyword: bytes, size: int) -> bytes:
    """Return a tar whose first header announces an extended header of this size."""
    member = tarfile.TarInfo("x")
    member.type, member.size = keyword, size
    return member.tobuf(tarfile.GNU_FORMAT)


BOMBS: dict[str, Callable[[], bytes]] = {
    "a control of a gigabyte": lambda: control_deb(_gzip_of(tar_head("./control", 1 << 30), 1 << 30)),
    "a file of a gigabyte before it": lambda: control_deb(_gzip_of(tar_head("./x", 1 << 30), 1 << 30)),
    "xz": lambda: control_deb(lzma.compress(bytes(200 << 20), preset=0), ".xz"),
    "zst": lambda: control_deb(packed(bytes(200 << 20), ".zst"), ".zst"),
    "a long name of a gigabyte": lambda: control_deb(gzip.compress(pax(b"L", 1 << 30) + bytes(30 << 20))),
    "a pax header of a gigabyte": lambda: control_deb(gzip.compress(pax(b"x", 1 << 30) + bytes(30 << 20))),
    "endless empty members": lambda: control_deb(gzip.compress(tar_head("./x", 0) * 100_000)),
}


def tar_head(name: str, size: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.size = size
    return member.tobuf(tarfile.GNU_FORMAT)


def _gzip_of(head: bytes, zeros: int) -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    parts = [packer.compress(head)]
    parts += [packer.compress(bytes(1 << 20)) for _ in range(zeros >> 22)]
    return b"".join((*parts, packer.flush()))


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_of_a_deb_costs_little(name: str, tmp_path: Path) -> None:
    data = BOMBS[name]()
    tracemalloc.start()
    begun = time.process_time()

    try:
        with pytest.raises(HostileInputError):
            read(data, tmp_path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 256 << 20
    assert time.process_time() - begun < 10


@settings(max_examples=200, deadline=None, derandomize=True)
@given(place=st.integers(0, len(GOOD) - 1), noise=st.binary(min_size=1, max_size=8))
def test_a_damaged_deb_is_read_or_refused(place: int, noise: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    with suppress(HostileInputError):
        read(GOOD[:place] + noise + GOOD[place + len(noise) :], tmp_path_factory.getbasetemp())
