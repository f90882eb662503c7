"""Bundle -> staging: what is right comes out whole, what is forged never becomes visible."""

import gzip
import io
import os
import random
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard
from forgeries import assemble, bodies_of, contents_of, header, patched, put_together, take_apart, with_path
from repositories import Fabricated, fabricate, source_of

from repobuild.archive.contents import Contents
from repobuild.bundle import BundleSpec, write_bundle
from repobuild.durable import Folder
from repobuild.errors import BusyError, DiskError, HostileInputError, RefusedError, VerificationError
from repobuild.install import (
    Incoming,
    InstallPlan,
    InstallSpec,
    Judge,
    Part,
    TrustSpec,
    by_bundle,
    inspect,
    plan_install,
    prove,
    receive,
    unpack,
)
from repobuild.model import LOCK_NAME, MARKER, Kind
from repobuild.record import sha256_of

TESTS = Path(__file__).parents[1]
TIME = 1_700_000_000


def make_bundle(repository: Fabricated, out: Path) -> Path:
    return write_bundle(out, BundleSpec(sources=(source_of(repository),))).path


@pytest.fixture(scope="module")
def repository(tmp_path_factory) -> Fabricated:
    return fabricate(tmp_path_factory.mktemp("built"), packages=8)


@pytest.fixture(scope="module")
def good(repository, tmp_path_factory) -> bytes:
    return make_bundle(repository, tmp_path_factory.mktemp("out")).read_bytes()


@pytest.fixture
def far(tmp_path) -> Path:
    """The folder of a bundle on the far side, beside a home and files that are none of our business."""
    (tmp_path / "canary").mkdir()
    (tmp_path / "canary" / "file").write_bytes(b"canary")
    (tmp_path / "www" / "pigsty").mkdir(parents=True)
    (tmp_path / "www" / "pigsty" / MARKER).write_bytes(b"the former repository")
    (tmp_path / "bundle").mkdir()
    return tmp_path


def put(far: Path, data: bytes, *, sidecar: bytes | None = None) -> Path:
    path = far / "bundle" / "pkg.tgz"
    path.write_bytes(data)
    if sidecar is not None:
        path.with_name("pkg.tgz.sha256").write_bytes(sidecar)
    return path


def spec_of(far: Path, *parts: str) -> InstallSpec:
    return InstallSpec(home=far / "www", parts=parts or ("pigsty",))


def look(path: Path) -> Part:
    return inspect(path, Judge(TrustSpec(allow_unsigned=True)))


@contextmanager
def unpacked(path: Path, spec: InstallSpec) -> Iterator[Incoming]:
    [bundle] = by_bundle([look(path)])
    with receive(spec, bundle.contents) as staging:
        staging.require_room()
        for part in bundle.parts:
            unpack(part, [staging])
        yield staging.finish()


def unpack_files(path: Path, spec: InstallSpec) -> dict[str, bytes]:
    """Unpack and return the content of each file of the tree, by path; staging is given up as a publication does."""
    with unpacked(path, spec) as incoming:
        place = spec.home / "placed"
        with Folder.open(place, create=True) as folder:
            for number, file in enumerate(incoming.tree.files):
                if file.content is not None:
                    folder.write(str(number), file.content)
                else:
                    incoming.source.place(file.sha256, folder, str(number), incoming.tree.time)
        found = {file.path: (place / str(number)).read_bytes() for number, file in enumerate(incoming.tree.files)}
        with Folder.open(spec.home) as home:
            home.remove("placed")
        incoming.source.reseal([])
    return found


def everything(folder: Path) -> dict[str, bytes | str]:
    """Return what a client or neighbour can see: every name, with content or link target; no working areas."""
    seen: dict[str, bytes | str] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if ".repobuild" in name or name.startswith("bundle/"):
            continue
        seen[name] = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else "folder"
    return seen


def staged_names(far: Path) -> list[str]:
    area = far / "www" / ".pigsty.repobuild"
    return sorted(os.listdir(area)) if area.exists() else []


def refuse(far: Path, path: Path, kind: type[RefusedError] = RefusedError) -> RefusedError:
    """Install what has to be refused; nothing may be visible, left over or unprintable afterwards."""
    before = everything(far)

    with pytest.raises(kind) as refused, unpacked(path, spec_of(far)):
        pytest.fail("a forged bundle was unpacked")

    assert refused.value.exit_code == 3
    assert str(refused.value).isprintable()
    assert everything(far) == before
    assert staged_names(far) in ([], ["install.lock"])
    return refused.value


# --- what is right ---------------------------------------------------------------------------------------------------


def test_a_bundle_comes_out_as_the_repository_it_was_made_of(repository, good, far):
    assert unpack_files(put(far, good), spec_of(far)) == repository.files()
    assert staged_names(far) == ["install.lock"]


def test_the_tree_is_in_commit_order_with_the_marker_last(good, far):
    with unpacked(put(far, good), spec_of(far)) as incoming:
        tree = incoming.tree

    kinds = [file.kind for file in tree.files]
    assert kinds == sorted(kinds)
    assert (tree.name, tree.time) == ("pigsty", TIME)
    assert (tree.files[-1].path, kinds.count(Kind.MARKER)) == (MARKER, 1)
    assert sha256_of(tree.files[-1].content) == tree.files[-1].sha256


def test_the_lock_comes_out_as_text_and_the_bundles_digest_with_it(repository, good, far):
    with unpacked(put(far, good), spec_of(far)) as incoming:
        assert incoming.lock_text == (repository.path / LOCK_NAME).read_bytes()
        assert [each.sha256 for each in incoming.arrivals] == [sha256_of(good)]


def test_an_object_that_the_bundle_did_not_bring_is_not_placed(good, far, tmp_path):
    out = Folder.open(tmp_path)

    with unpacked(put(far, good), spec_of(far)) as incoming:  # noqa: SIM117
        with pytest.raises(VerificationError):
            incoming.source.place("0" * 64, out, "x")


def test_giving_up_the_staged_names_leaves_what_was_placed(good, far, tmp_path):
    with unpacked(put(far, good), spec_of(far)) as incoming, Folder.open(tmp_path) as out:
        file = incoming.tree.files[0]
        incoming.source.place(file.sha256, out, "x", 99)
        incoming.source.reseal([])

        assert sha256_of((tmp_path / "x").read_bytes()) == file.sha256
        assert (tmp_path / "x").stat().st_nlink == 1
        assert int((tmp_path / "x").stat().st_mtime) == 99


def test_the_whole_of_a_bundle_can_be_proven_without_writing(good, far):
    before = everything(far)
    assert prove(look(put(far, good))) == sha256_of(good)

    assert everything(far) == before
    assert staged_names(far) == []


def test_contents_are_known_before_anything_else_is_read(good, far):
    assert look(put(far, good[: len(good) // 3])).repositories[0].version == "v4.5.0"


def test_a_repository_of_another_target_goes_below_its_target(good, far):
    spec = spec_of(far, "d13.x86_64", "pigsty")
    with unpacked(put(far, good), spec):
        assert (far / "www" / "d13.x86_64" / ".pigsty.repobuild" / "incoming").is_dir()


def test_files_are_staged_readable_whatever_the_umask(good, far):
    former = os.umask(0o077)
    try:
        with unpacked(put(far, good), spec_of(far)):
            incoming = far / "www" / ".pigsty.repobuild" / "incoming"
            modes = {path.stat().st_mode & 0o7777 for path in incoming.iterdir()}
    finally:
        os.umask(former)

    assert modes == {0o644}


@pytest.mark.parametrize("level", [0, 1, 9])
def test_a_bundle_compressed_by_another_program_is_as_good(repository, good, far, level):
    path = put(far, gzip.compress(gzip.decompress(good), level))

    assert unpack_files(path, spec_of(far)) == repository.files()


# --- the digest beside it, and zeros behind it -----------------------------------------------------------------------


@pytest.mark.parametrize("mark", [b"  ", b" *"])
def test_the_digest_beside_a_bundle_is_checked(repository, good, far, mark):
    path = put(far, good, sidecar=sha256_of(good).encode() + mark + b"other-name.tgz\n")

    assert unpack_files(path, spec_of(far)) == repository.files()


@pytest.mark.parametrize("zeros", [1, 511, 5_000_000])
def test_a_bundle_lengthened_with_zeros_still_installs_with_its_digest(repository, good, far, zeros):
    path = put(far, good, sidecar=f"{sha256_of(good)}  pkg.tgz\n".encode())
    os.truncate(path, len(good) + zeros)

    assert unpack_files(path, spec_of(far)) == repository.files()


def test_the_digest_may_be_that_of_the_lengthened_bundle(repository, good, far):
    longer = good + bytes(1000)

    assert unpack_files(put(far, longer, sidecar=sha256_of(longer).encode()), spec_of(far)) == repository.files()


SIDECARS = {
    "another digest": b"0" * 64 + b"  pkg.tgz\n",
    "empty": b"",
    "no digest": b"hello\n",
    "md5": b"0" * 32 + b"  pkg.tgz\n",
    "two lines": b"0" * 64 + b"  pkg.tgz\n" + b"1" * 64 + b"  pkg.tgz\n",
    "binary": bytes(range(256)),
    "endless": b"0" * 10_000,
}


@pytest.mark.parametrize("case", SIDECARS)
def test_a_wrong_digest_beside_a_bundle_is_refused(good, far, case):
    refuse(far, put(far, good, sidecar=SIDECARS[case]))


# --- forgeries -------------------------------------------------------------------------------------------------------

DEB = "pigsty/pkg004_1.4-1_amd64.deb"


def index_of(members: list[tuple[bytes, bytes]], name: str) -> int:
    return next(n for n, (head, _) in enumerate(members) if head[:100].rstrip(b"\0").decode() == name)


def instead(*headers: bytes, keep_body: bool = False) -> Callable[[bytes], bytes]:
    """Put other headers in the place of one package's."""

    def forge(good: bytes) -> bytes:
        members = take_apart(good)
        at = index_of(members, DEB)
        body = members[at][1]
        new = [(head, b"") for head in headers]
        if keep_body:
            new[-1] = (new[-1][0], body)
        return put_together([*members[:at], *new, *members[at + 1 :]])

    return forge


def edited(edit: Callable[[bytes], bytes], name: str = DEB) -> Callable[[bytes], bytes]:
    """Change one header."""

    def forge(good: bytes) -> bytes:
        members = take_apart(good)
        at = index_of(members, name)
        members[at] = (edit(members[at][0]), members[at][1])
        return put_together(members)

    return forge


def rearranged(change: Callable[[list[tuple[bytes, bytes]]], object]) -> Callable[[bytes], bytes]:
    """Change the list of members in place."""

    def forge(good: bytes) -> bytes:
        members = take_apart(good)
        change(members)
        return put_together(members)

    return forge


def with_body(name: str, change: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    def forge(good: bytes) -> bytes:
        members = take_apart(good)
        at = index_of(members, name)
        members[at] = (members[at][0], change(members[at][1]))
        return put_together(members)

    return forge


def swap(one: int, other: int) -> Callable[[list[tuple[bytes, bytes]]], None]:
    def change(members: list[tuple[bytes, bytes]]) -> None:
        members[one], members[other] = members[other], members[one]

    return change


def swap_bodies(members: list[tuple[bytes, bytes]]) -> None:
    """Exchange the content of two indexes of one size."""
    one, other = (index_of(members, f"pigsty/{name}") for name in ("InRelease", "Release"))
    members[one], members[other] = (members[one][0], members[other][1]), (members[other][0], members[one][1])


def contents_changed(**words: object) -> Callable[[bytes], bytes]:
    def forge(good: bytes) -> bytes:
        return assemble(replace(contents_of(good), **words), bodies_of(good))

    return forge


def file_changed(**words: object) -> Callable[[bytes], bytes]:
    """Let the contents lie about one package, all headers following the lie."""

    def forge(good: bytes) -> bytes:
        contents = contents_of(good)
        files = tuple(replace(file, **words) if f"pigsty/{file.path}" == DEB else file for file in contents.files)
        return assemble(replace(contents, files=files), bodies_of(good))

    return forge


def extended_by(key: str, value: str) -> Callable[[bytes], bytes]:
    """Let a pax header go before one package."""
    member = tarfile.TarInfo(DEB)
    member.size, member.mtime, member.pax_headers = 70_000, TIME, {key: value}
    return instead(member.tobuf(tarfile.PAX_FORMAT, "utf-8"), keep_body=True)


def repacked(good: bytes) -> bytes:
    """Return what another tar program would make of an unpacked bundle."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for path, body in bodies_of(good).items():
            member = tarfile.TarInfo(f"pigsty/{path}")
            member.size = len(body)
            tar.addfile(member, io.BytesIO(body))
    return out.getvalue()


EVIL = header("pigsty/evil.deb", size=4), b"evil" + bytes(508)
FORGERIES: dict[str, Callable[[bytes], bytes]] = {
    "a path upwards": instead(header("pigsty/../../canary/evil", size=70_000), keep_body=True),
    "an absolute path": instead(header("/tmp/evil", size=70_000), keep_body=True),
    "a path outside the top folder": instead(header("other/evil", size=70_000), keep_body=True),
    "a path into the private folder": instead(header("pigsty/.repobuild/evil", size=70_000), keep_body=True),
    "a path with a control character": instead(header("pigsty/\x1b[31mevil", size=70_000), keep_body=True),
    "a path in another case": edited(patched(0, DEB.upper().encode())),
    "a path with a dot before": edited(patched(0, b"./" + DEB.encode())),
    "a symbolic link": instead(header(DEB, type=tarfile.SYMTYPE, linkname="/etc/passwd")),
    "a symbolic link that has the content": edited(patched(156, b"2")),
    "a hard link": instead(header(DEB, type=tarfile.LNKTYPE, linkname="/etc/passwd")),
    "a hard link inside": instead(header(DEB, type=tarfile.LNKTYPE, linkname="pigsty/Packages")),
    "a character device": instead(header(DEB, type=tarfile.CHRTYPE, devmajor=1, devminor=3)),
    "a block device": instead(header(DEB, type=tarfile.BLKTYPE, devmajor=8, devminor=0)),
    "a pipe": instead(header(DEB, type=tarfile.FIFOTYPE)),
    "a contiguous file": edited(patched(156, b"7")),
    "an old file type": edited(patched(156, b"\0")),
    "a sparse file": edited(patched(156, b"S")),
    "a folder in the place of a file": edited(patched(156, b"5")),
    "a GNU long name": instead(header(DEB[:90] + "x" * 200, size=70_000, form=tarfile.GNU_FORMAT), keep_body=True),
    "a GNU long link": instead(header(DEB, type=tarfile.SYMTYPE, linkname="/" + "x" * 200, form=tarfile.GNU_FORMAT)),
    "a GNU incremental folder": edited(patched(156, b"D")),
    "a GNU continuation": edited(patched(156, b"M")),
    "a volume label": instead(header("label", type=b"V"), header(DEB, size=70_000), keep_body=True),
    "a global pax header": instead(header("g", type=tarfile.XGLTYPE), header(DEB, size=70_000), keep_body=True),
    "a pax path": extended_by("path", "pigsty/../../canary/evil"),
    "a pax size": extended_by("size", "1"),
    "a pax link": extended_by("linkpath", "/etc/passwd"),
    "a pax comment": extended_by("comment", "hello"),
    "a pax attribute": extended_by("SCHILY.xattr.user.evil", "1"),
    "a size too large": edited(patched(124, b"%011o\0" % 80_000)),
    "a size too small": edited(patched(124, b"%011o\0" % 1)),
    "a negative size": edited(patched(124, b"-0000000001\0")),
    "a size in base 256": edited(patched(124, b"\x80" + bytes(7) + (70_000).to_bytes(4, "big"))),
    "a setuid mode": edited(patched(100, b"0004755\0")),
    "a mode for all to write": edited(patched(100, b"0000666\0")),
    "another owner": edited(patched(108, b"0001750\0")),
    "an owner by name": edited(patched(265, b"nginx")),
    "another time": edited(patched(136, b"%011o\0" % (TIME + 1))),
    "a device number on a file": edited(patched(329, b"0000001\0")),
    "a link target on a file": edited(patched(157, b"/etc/passwd")),
    "something behind the header": edited(patched(505, b"x")),
    "a wrong checksum": edited(lambda record: record[:148] + b"000000\0 " + record[156:]),
    "a folder too many": rearranged(
        lambda members: members.insert(6, (header("pigsty/x/", type=b"5", mode=0o755), b""))
    ),
    "a folder missing": rearranged(lambda members: members.pop(4)),
    "a folder that is a link": edited(patched(156, b"2"), "pigsty/by-hash/"),
    "a folder for all to write": edited(patched(100, b"0000777\0"), "pigsty/"),
    "an extra member": rearranged(lambda members: members.insert(-3, EVIL)),
    "an extra member after the marker": rearranged(lambda members: members.append(EVIL)),
    "an extra member before the contents": rearranged(lambda members: members.insert(0, EVIL)),
    "an extra member after the end": lambda good: put_together(take_apart(good), tail=b"".join(EVIL) + bytes(1024)),
    "an archive after the end": lambda good: put_together(take_apart(good), tail=gzip.decompress(good)),
    "a member twice": rearranged(lambda members: members.insert(-3, members[-4])),
    "the contents twice": rearranged(lambda members: members.insert(1, members[0])),
    "a member missing": rearranged(lambda members: members.pop(-4)),
    "the marker missing": rearranged(lambda members: members.pop()),
    "the contents missing": rearranged(lambda members: members.pop(0)),
    "the digests missing": rearranged(lambda members: members.pop(1)),
    "only contents": rearranged(lambda members: members.__delitem__(slice(2, None))),
    "members in another order": rearranged(swap(-4, -5)),
    "the contents second": rearranged(swap(0, 1)),
    "the marker first": rearranged(lambda members: members.insert(6, members.pop())),
    "changed content": with_body(DEB, lambda body: b"\xff" + body[1:] if body[0] != 255 else b"\0" + body[1:]),
    "zeroed content": with_body(DEB, lambda body: bytes(len(body))),
    "exchanged content": rearranged(swap_bodies),
    "something in the padding": with_body(DEB, lambda body: body[:-1] + b"x"),
    "something in the contents' padding": with_body(
        "pigsty/.repobuild/CONTENTS.json", lambda body: body.rstrip(b"\0").ljust(len(body), b"\0")[:-1] + b"x"
    ),
    "digests that lie": with_body("pigsty/.repobuild/CONTENTS.sha256", lambda body: b"0" * 64 + body[64:]),
    "a marker that lies": with_body(f"pigsty/{MARKER}", lambda body: b"0" * 64 + body[64:]),
    "another lock": with_body(f"pigsty/{LOCK_NAME}", lambda body: b"[" + body[1:]),
    "contents that name a smaller size": file_changed(size=1),
    "contents that name a larger size": file_changed(size=80_000),
    "contents that name another digest": file_changed(sha256="0" * 64),
    "contents that name another kind": file_changed(kind=Kind.INDEX),
    "contents with a path upwards": lambda good: with_path(good, "../evil"),
    "contents with an absolute path": lambda good: with_path(good, "/evil"),
    "contents with a path into the private folder": lambda good: with_path(good, ".repobuild/generation.json"),
    "contents with a path below a file": lambda good: with_path(good, "Packages/evil"),
    "contents with a terminal escape": lambda good: with_path(good, "\x1b]0;evil\x07.deb"),
    "contents with a hidden direction": lambda good: with_path(good, "evil\u202ebed.deb"),
    "contents with a backslash": lambda good: with_path(good, "..\\evil"),
    "contents with a name upwards": contents_changed(name=".."),
    "contents with another lock": contents_changed(lock="0" * 64),
    "contents of another time": rearranged(
        lambda members: members.__setitem__(0, (patched(136, b"%011o\0" % 1)(members[0][0]), members[0][1]))
    ),
    "contents under another top": edited(
        patched(0, b"evilly/.repobuild/CONTENTS.json"), "pigsty/.repobuild/CONTENTS.json"
    ),
    "contents said to be enormous": edited(patched(124, b"%011o\0" % (1 << 32)), "pigsty/.repobuild/CONTENTS.json"),
    "no end": lambda good: gzip.compress(b"".join(head + body for head, body in take_apart(good))),
    "half an end": lambda good: gzip.compress(gzip.decompress(good)[:-512]),
    "too long an end": lambda good: put_together(take_apart(good), tail=bytes(10240)),
    "a second gzip member": lambda good: good + gzip.compress(bytes(10)),
    "an empty second gzip member": lambda good: good + gzip.compress(b""),
    "two gzip members for one": lambda good: (
        gzip.compress(gzip.decompress(good)[:5000]) + gzip.compress(gzip.decompress(good)[5000:])
    ),
    "something behind the archive": lambda good: good + b"evil",
    "something behind zeros": lambda good: good + bytes(2_000_000) + b"evil",
    "zeros before the archive": lambda good: bytes(512) + good,
    "a bundle in a bundle": gzip.compress,
    "an empty file": lambda _: b"",
    "an empty archive": lambda _: gzip.compress(bytes(10240)),
    "a text": lambda _: b"<html>not found</html>\n" * 100,
    "a compressed text": lambda _: gzip.compress(b"<html>not found</html>\n" * 100),
    "random bytes": lambda _: random.Random(1).randbytes(100_000),
    "a plain tar of the same files": repacked,
}


@pytest.mark.parametrize("case", FORGERIES)
def test_a_forged_bundle_is_refused_before_anything_is_visible(good, far, case):
    forged = FORGERIES[case](good)
    assert forged != good

    refuse(far, put(far, forged))


def test_taking_apart_and_putting_together_forges_nothing(repository, good, far):
    """The forgeries are refused for what was forged, not for how the forger works."""
    for same in (
        put_together(take_apart(good)),
        assemble(contents_of(good), bodies_of(good)),
        with_path(good, "z.deb"),
    ):
        prove(look(put(far, same)))


def test_a_truncated_bundle_is_refused_wherever_it_ends(good, far):
    chance = random.Random(2)
    for keep in [
        *range(40),
        *sorted(chance.randrange(len(good)) for _ in range(80)),
        *range(len(good) - 20, len(good)),
    ]:
        refuse(far, put(far, good[:keep]))


def test_each_of_300_flipped_bytes_is_refused_with_the_digest_beside_it(good, far):
    chance = random.Random(3)
    sidecar = f"{sha256_of(good)}  pkg.tgz\n".encode()
    for _ in range(300):
        forged = bytearray(good)
        forged[chance.randrange(len(good))] ^= chance.randrange(1, 256)
        refuse(far, put(far, bytes(forged), sidecar=sidecar))


def test_each_of_300_flipped_bytes_is_refused_or_changes_nothing_without_it(good, far):
    """gzip has some bits without meaning: its own time and the padding of block headers."""
    chance = random.Random(4)
    for _ in range(300):
        forged = bytearray(good)
        forged[chance.randrange(len(good))] ^= chance.randrange(1, 256)
        try:
            prove(look(put(far, bytes(forged))))
        except RefusedError:
            continue
        assert gzip.decompress(forged) == gzip.decompress(good)


ENDLESS_ZSTD = b"\x28\xb5\x2f\xfd\x00\x38" + (b"\x02\x00\x10\x00") * 100_000
"""RLE blocks (RFC 8878, section 3.1.1.2.2) of 128 KiB each, in four bytes, none of them the last."""
BOMBS: dict[str, Callable[[bytes], bytes]] = {
    "zeros behind the archive's end": lambda good: put_together(take_apart(good), tail=bytes(300 << 20)),
    "zeros in zstd behind the archive's end": lambda good: zstandard.compress(
        gzip.decompress(good) + bytes(300 << 20), 1
    ),
    "zeros in zstd alone": lambda _: zstandard.compress(bytes(300 << 20), 1),
    "zstd blocks of one byte without end": lambda _: ENDLESS_ZSTD,
    "contents of line feeds": lambda _: one_member(b'{"files":[\n' + b"\n" * (31 << 20)),
    "contents of brackets": lambda _: one_member(b'{"files":[\n' + b"[" * (31 << 20)),
    "contents of very many files": lambda _: one_member(
        b'{"files":[\n'
        + b"".join(
            b'{"kind":"index","path":"%06d","sha256":"%s","size":1,"upstream":"","verify":""},\n' % (n, b"0" * 64)
            for n in range(230_000)
        )
    ),
    "contents larger than their limit": lambda _: one_member(bytes(33 << 20)),
    "a gzip header without end": lambda _: b"\x1f\x8b\x08\x08\0\0\0\0\0\xff" + b"n" * (64 << 20),
}

READ = """
import resource, sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from repobuild.errors import RefusedError
from repobuild.install import inspect, prove
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    prove(inspect(Path({path!r}), None))
except RefusedError:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def one_member(text: bytes) -> bytes:
    return put_together([(header("pigsty/.repobuild/CONTENTS.json", size=len(text)), text)])


def run(program: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(TESTS.parent)}
    return subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("case", BOMBS)
def test_a_bomb_is_refused_in_little_memory_and_time(good, far, case):
    path = put(far, BOMBS[case](good))
    begun = time.monotonic()

    done = run(READ.format(tests=str(TESTS), path=str(path)))

    assert done.stderr == ""
    assert int(done.stdout) < 200 << 10  # KiB
    assert time.monotonic() - begun < 10


def test_a_bundle_of_more_than_the_disk_holds_is_turned_away_before_the_first_file(good, far):
    huge = file_changed(size=1 << 40)(good)
    with (
        pytest.raises(DiskError, match=r"needs \d+ bytes, \d+ are free"),
        unpacked(put(far, huge), spec_of(far)),
    ):
        pytest.fail("unpacked")

    assert staged_names(far) == ["install.lock"]


def test_what_is_no_regular_file_is_no_bundle(far):
    os.mkfifo(far / "bundle" / "pipe")

    for path in (far / "bundle" / "pipe", far / "bundle", Path("/dev/zero")):
        with pytest.raises(HostileInputError):
            look(path)


def test_a_bundle_that_is_not_there_is_a_disk_error(far):
    with pytest.raises(DiskError):
        look(far / "bundle" / "absent.tgz")


def test_a_link_in_the_place_of_the_working_area_is_not_followed(good, far):
    (far / "www" / ".pigsty.repobuild").symlink_to(far / "canary")

    with pytest.raises(DiskError), unpacked(put(far, good), spec_of(far)):
        pytest.fail("unpacked")

    assert os.listdir(far / "canary") == ["file"]


def test_a_link_in_the_place_of_staging_is_not_followed(good, far):
    (far / "www" / ".pigsty.repobuild").mkdir()
    (far / "www" / ".pigsty.repobuild" / "incoming").symlink_to(far / "canary")

    with pytest.raises(DiskError), unpacked(put(far, good), spec_of(far)):
        pytest.fail("unpacked")

    assert (far / "canary" / "file").read_bytes() == b"canary"


# --- at the same time, killed ----------------------------------------------------------------------------------------


def test_two_installs_at_once_are_one_too_many(good, far):
    path = put(far, good)
    with unpacked(path, spec_of(far)) as incoming:
        with pytest.raises(BusyError), unpacked(path, spec_of(far)):
            pytest.fail("unpacked")

        with Folder.open(far / "canary") as folder:  # the first is not disturbed
            incoming.source.place(incoming.contents.lock, folder, "placed")


def test_a_refusal_while_publishing_leaves_no_staging(good, far):
    with pytest.raises(HostileInputError), unpacked(put(far, good), spec_of(far)):
        raise HostileInputError("the lock inside is for another target")

    assert staged_names(far) == ["install.lock"]


def test_after_any_other_error_what_came_stays_for_the_next_run(repository, good, far):
    path = put(far, good)
    with pytest.raises(ZeroDivisionError), unpacked(path, spec_of(far)):
        raise ZeroDivisionError

    assert staged_names(far) == ["incoming", "install.lock"]
    assert unpack_files(path, spec_of(far)) == repository.files()
    assert staged_names(far) == ["install.lock"]


KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from repobuild.install import InstallSpec, inspect, receive, unpack
from repobuild import durable
rename = durable.Folder.rename
left = {after}
def killing(*words):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    rename(*words)
durable.Folder.rename = killing
part = inspect(Path({path!r}), None)
with receive(InstallSpec(home=Path({home!r}), parts=("pigsty",)), part.repositories[0]) as staging:
    unpack(part, [staging])
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("after", [0, 1, 5, 9, 1000])
def test_a_plain_rerun_heals_a_killed_install(repository, good, far, after):
    path = put(far, good)
    before = everything(far)
    killed = run(KILLED.format(tests=str(TESTS), path=str(path), home=str(far / "www"), after=after))
    assert killed.returncode == -signal.SIGKILL
    assert everything(far) == before

    assert unpack_files(path, spec_of(far)) == repository.files()
    assert staged_names(far) == ["install.lock"]


def test_a_rerun_takes_what_is_whole_and_only_that(repository, good, far):
    path = put(far, good)
    run(KILLED.format(tests=str(TESTS), path=str(path), home=str(far / "www"), after=1000))
    incoming = far / "www" / ".pigsty.repobuild" / "incoming"
    kept, damaged, short, linked = [name for name in sorted(os.listdir(incoming)) if (incoming / name).stat().st_size][
        :4
    ]
    inode = (incoming / kept).stat().st_ino
    (incoming / damaged).write_bytes(bytes((incoming / damaged).stat().st_size))
    (incoming / short).write_bytes(b"")
    (incoming / linked).unlink()
    (incoming / linked).symlink_to("/etc/passwd")
    (incoming / "foreign").write_bytes(b"x")
    (incoming / "folder").mkdir()

    with unpacked(path, spec_of(far)) as whole:
        names = set(os.listdir(incoming))
        assert names == {file.sha256 for file in whole.contents.files[:-1]}
        assert all(sha256_of((incoming / name).read_bytes()) == name for name in names)
        assert (incoming / kept).stat().st_ino == inode


# --- the plan --------------------------------------------------------------------------------------------------------


def plan_over(far: Path, good: bytes, marker: bytes) -> tuple[InstallPlan, Contents]:
    contents = look(put(far, good)).repositories[0]
    (far / "www" / "pigsty" / MARKER).write_bytes(marker)
    return plan_install(spec_of(far), contents, [1]), contents


def test_the_plan_over_nothing_adds_everything(repository, good, far):
    plan, _ = plan_over(far, good, b"")

    sizes = {path: len(body) for path, body in repository.files().items() if path != MARKER}
    assert plan.added == sizes
    assert (plan.changed, plan.kept, plan.removed) == ({}, {}, {})
    assert plan.is_complete
    assert sum(sizes.values()) * 0.9 < plan.need < plan.free


def test_the_plan_over_a_repository_of_another_tool_adds_everything(repository, good, far):
    plan, _ = plan_over(far, good, b"d41d8cd98f00b204e9800998ecf8427e  a.deb\n")

    assert plan.added.keys() == repository.files().keys() - {MARKER}


def test_the_plan_tells_added_changed_kept_and_removed_apart(good, far):
    by_path = {file.path: file for file in look(put(far, good)).repositories[0].files}
    (far / "www" / "pigsty" / "old.deb").write_bytes(b"old")
    kept = by_path["pkg004_1.4-1_amd64.deb"].sha256
    marker = f"{kept}  pkg004_1.4-1_amd64.deb\n{'0' * 64}  Packages\n{'1' * 64}  old.deb\n{'2' * 64}  x/gone.deb\n"

    plan, contents = plan_over(far, good, marker.encode())

    assert plan.kept == {"pkg004_1.4-1_amd64.deb": 70_000}
    assert plan.changed == {"Packages": by_path["Packages"].size}
    assert plan.removed == {"old.deb": 3, "x/gone.deb": 0}
    assert plan.added.keys() == {file.path for file in contents.files} - {"pkg004_1.4-1_amd64.deb", "Packages", MARKER}


def test_what_an_earlier_run_left_needs_no_room_again(good, far):
    path = put(far, good)
    before = plan_install(spec_of(far), look(path).repositories[0], [1]).need
    with pytest.raises(ZeroDivisionError), unpacked(path, spec_of(far)):
        raise ZeroDivisionError

    assert plan_install(spec_of(far), look(path).repositories[0], [1]).need == 0 < before
