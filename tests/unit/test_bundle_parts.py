"""Bundles in parts: their names, volumes, deltas, and the list beside them."""

import json
import os
import resource
import signal
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard
from forgeries import assemble, bodies_of, contents_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from repositories import Fabricated, fabricate, mark, source_of, write

from repobuild import lock
from repobuild.archive.contents import Contents, Older, PartKind
from repobuild.archive.packing import Packing
from repobuild.archive.reader import BundleReader
from repobuild.bundle import (
    BundleResult,
    BundleSpec,
    Old,
    expand,
    parse_volume_size,
    read_old,
    write_bundle,
)
from repobuild.bundle.older import parse_have
from repobuild.bundle.run import installer_text
from repobuild.errors import DiskError, HostileInputError, ProofError, RefusedError, UsageError
from repobuild.model import LOCK_NAME, MARKER
from repobuild.progress import Silent
from repobuild.record import sha256_of
from repobuild.signing import SigningKey, generate

STEM = "pigsty-pkg-v4.5.0.d12.x86_64"
TESTS = Path(__file__).parents[1]
LATER = 1_702_000_000
SMALL = 150_000
"""Bytes of a volume: room for the largest package of a fabricated repository, contents and installer."""


class Told(Silent):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def spec_of(repository: Fabricated, **words) -> BundleSpec:
    own = {key: words.pop(key) for key in ("old", "pattern") if key in words}
    return BundleSpec(sources=(source_of(repository, **own),), **words)


def bundle(repository: Fabricated, out: Path, **words) -> BundleResult:
    return write_bundle(out, spec_of(repository, **words))


def read(path: Path) -> tuple[Contents, dict[str, bytes]]:
    """Read a part to its end, and return what it says and carries."""
    fd = os.open(path, os.O_RDONLY)
    try:
        reader = BundleReader(fd, path.name, lambda _: None)
        [contents] = reader.repositories
        carried = {file.path: b"".join(content) for file, content in reader.members(contents)}
        digests = reader.finish()
    finally:
        os.close(fd)
    assert digests == (sha256_of(path.read_bytes()),) * 2
    return contents, carried


def sums(folder: Path) -> dict[str, str]:
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    return {line[66:]: line[:64] for line in lines}


@pytest.fixture
def repository(tmp_path) -> Fabricated:
    return fabricate(tmp_path / "www", packages=40)


@pytest.fixture(scope="module")
def key() -> SigningKey:
    return SigningKey.load(generate("Test <test@example.org>"))


# --- packings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("packing", Packing)
def test_every_packing_holds_the_same_archive(repository, tmp_path, packing):
    expected = read(bundle(repository, tmp_path / "gzip").path)

    result = bundle(repository, tmp_path / "out", packing=packing)

    assert result.path.name == STEM + packing.value
    assert read(result.path) == expected
    assert expected[1] == repository.files()


@pytest.mark.parametrize("packing", Packing)
@pytest.mark.parametrize("program", ["tar", "bsdtar"])
def test_programs_of_the_field_unpack_every_packing(repository, tmp_path, packing, program):
    path = bundle(repository, tmp_path / "out", packing=packing).path
    if packing is Packing.ZSTD:
        plain = zstandard.ZstdDecompressor().decompress(path.read_bytes())
        path = tmp_path / "plain.tar"
        path.write_bytes(plain)
    (tmp_path / "far").mkdir()
    if subprocess.run(["which", program], check=False, capture_output=True).returncode != 0:
        pytest.skip(f"no {program} here")

    subprocess.run([program, "-xf", str(path)], cwd=tmp_path / "far", check=True)

    inside = tmp_path / "far" / "pigsty"
    subprocess.run(["sha256sum", "-c", "--strict", "--quiet", ".repobuild/CONTENTS.sha256"], cwd=inside, check=True)
    assert (inside / ".repobuild" / "install.sh").read_bytes() == installer_text()


@pytest.mark.parametrize("words", [{"packing": Packing.ZSTD}, {"packing": Packing.TAR}, {"volume_size": SMALL}])
def test_the_same_lock_and_options_give_the_same_bytes(repository, tmp_path, words):
    first = bundle(repository, tmp_path / "first", **words)
    second = bundle(repository, tmp_path / "second", **words)

    assert [part.sha256 for part in first.parts] == [part.sha256 for part in second.parts]


# --- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("", f"{STEM}.tgz"),
        ("pigsty-pkg-${version}.${os}.${arch}.tgz", f"{STEM}.tgz"),
        ("x-${arch}-${os}.tar.gz", "x-x86_64-d12.tgz"),
        ("pkg.tgz", "pkg.tgz"),
        ("pkg", "pkg.tgz"),
        ("pkg.tar.zst", "pkg.tgz"),
    ],
)
def test_a_bundle_is_called_as_the_pattern_says(repository, tmp_path, pattern, name):
    assert bundle(repository, tmp_path / "out", pattern=pattern).path.name == name


@pytest.mark.parametrize(
    "pattern",
    [
        "${home}.tgz",
        "$version.tgz",
        "${version",
        "../${version}.tgz",
        "a/b.tgz",
        ".tgz",
        ".hidden.tgz",
        "-x.tgz",
        "a b.tgz",
        "a\n.tgz",
        "a.vol1.tgz",
        "a.delta.tgz",
        "ä.tgz",
        "n" * 200,
        "${version}${version\x00}.tgz",
    ],
    ids=ascii,
)
def test_a_pattern_that_gives_no_file_name_is_refused(repository, tmp_path, pattern):
    with pytest.raises(UsageError) as refused:
        bundle(repository, tmp_path / "out", pattern=pattern)

    assert str(refused.value).isprintable()
    assert os.listdir(tmp_path / "out") == []


def test_a_folder_is_expanded_like_a_name(repository):
    assert expand("dist/${version}", repository.lock) == "dist/v4.5.0"


def test_a_minor_release_stands_in_the_name(repository, tmp_path):
    minor = replace(repository.lock, target="el9.6.aarch64")

    assert expand("${os} ${arch}", minor) == "el9.6 aarch64"


def test_a_second_bundle_of_a_version_gets_the_date_of_its_lock_and_a_third_the_time(tmp_path):
    out = tmp_path / "out"
    made = [fabricate(tmp_path / str(time), time=time) for time in (LATER, LATER + 60, LATER + 120)]

    names = [bundle(each, out).path.name for each in made]

    assert names == [
        f"{STEM}.tgz",
        "pigsty-pkg-v4.5.0-20231208.d12.x86_64.tgz",
        "pigsty-pkg-v4.5.0-20231208T014840.d12.x86_64.tgz",
    ]
    assert [bundle(each, out).path.name for each in made] == names
    assert sorted(sums(out)) == sorted([*names, "install.sh"])
    assert {name: sha256_of((out / name).read_bytes()) for name in sums(out)} == sums(out)


def test_a_name_without_version_gets_the_date_at_its_end(tmp_path):
    out = tmp_path / "out"
    for time in (LATER, LATER + 60):
        bundle(fabricate(tmp_path / str(time), time=time), out, pattern="pkg.tgz")

    assert sorted(sums(out)) == ["install.sh", "pkg-20231208.tgz", "pkg.tgz"]


def test_other_forms_of_one_lock_share_the_stem(repository, tmp_path):
    out = tmp_path / "out"
    old = replace(HAVE, sequence=1)
    for words in ({}, {"packing": Packing.ZSTD}, {"old": old}, {"volume_size": SMALL}):
        bundle(repository, out, **words)

    parts = [name for name in sums(out) if name.startswith(STEM)]
    assert {name.removeprefix(STEM).split(".", 1)[1] for name in parts} >= {"tgz", "tar.zst", "delta.tgz", "vol1.tgz"}
    assert {name.removeprefix(STEM)[0] for name in parts} == {"."}


def test_a_damaged_file_under_our_name_is_replaced(repository, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / f"{STEM}.tgz").write_bytes(b"damaged")

    assert bundle(repository, out).path.name == f"{STEM}.tgz"
    assert read(out / f"{STEM}.tgz")[1] == repository.files()


# --- volumes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("packing", Packing)
@pytest.mark.parametrize("limit", [SMALL, 200_000, 300_000])
def test_volumes_together_hold_everything_once_and_none_is_too_large(repository, tmp_path, packing, limit):
    result = bundle(repository, tmp_path / "out", volume_size=limit, packing=packing)

    found: dict[str, bytes] = {}
    heads = set()
    for number, part in enumerate(result.parts, 1):
        contents, carried = read(part.path)
        assert (contents.kind, contents.part, contents.parts) == (PartKind.VOLUME, number, len(result.parts))
        assert part.path.name == f"{STEM}.vol{number}{packing.value}"
        assert not set(carried) & set(found)
        assert part.path.stat().st_size == part.size <= limit
        assert set(carried) == {file.path for file in contents.carried}
        heads.add(replace(contents, part=1))
        found |= carried
    files = repository.files()
    del files[MARKER]
    assert found == files
    assert len(heads) == 1
    assert len(result.parts) > 1


def test_indexes_and_pointers_are_in_the_first_volume(repository, tmp_path):
    first = bundle(repository, tmp_path / "out", volume_size=SMALL).parts[0]

    carried = read(first.path)[1]
    assert {"Packages", "Packages.gz", "Release", "InRelease", LOCK_NAME} <= set(carried)
    assert MARKER not in carried


def test_the_limit_is_used_to_the_last_byte_and_never_exceeded(repository, tmp_path):
    whole = bundle(repository, tmp_path / "whole")
    exact = bundle(repository, tmp_path / "exact", volume_size=whole.size)
    less = bundle(repository, tmp_path / "less", volume_size=whole.size - 1)

    assert exact.path.name == f"{STEM}.tgz"
    assert exact.sha256 == whole.sha256
    assert less.path.name == f"{STEM}.vol1.tgz"
    assert all(part.size < whole.size for part in less.parts)
    first = less.parts[0].size
    again = bundle(repository, tmp_path / "again", volume_size=first)
    assert all(part.size <= first for part in again.parts)


@given(sizes=st.lists(st.integers(0, 40_000), min_size=1, max_size=30), limit=st.integers(80_000, 300_000))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_sizes_and_limit_give_volumes_within_the_limit(tmp_path_factory, sizes, limit):
    folder = tmp_path_factory.mktemp("any")
    made = of_sizes(folder, sizes)
    try:
        result = bundle(made, folder / "out", volume_size=limit)
    except UsageError:
        assert limit < SMALL
        return

    found = [path for part in result.parts for path in read(part.path)[1]]
    assert all(part.size <= limit for part in result.parts)
    assert sorted(found) == sorted(set(made.files()) - ({MARKER} if result.parts[0].kind == "volume" else set()))


def of_sizes(folder: Path, sizes: list[int], *, changed: int = 0) -> Fabricated:
    """A repository whose packages have these sizes, the first `changed` of them with other content."""
    made = fabricate(folder, packages=1)
    files = made.files()
    del files[MARKER]
    package = made.lock.choices[0].package
    choices = []
    for number, size in enumerate(sizes):
        content = number.to_bytes(2, "big").ljust(size, b"y" if number < changed else b"x")[:size]
        name = f"p{number}_1_amd64.deb"
        files[name] = content
        write(made.path / name, content)
        wanted = replace(package, filename=name, size=size, sha256=sha256_of(content))
        choices.append(replace(made.lock.choices[0], package=wanted))
    mark(made.path, files)
    return replace(made, lock=replace(made.lock, choices=(*made.lock.choices, *choices)))


def test_a_file_that_no_volume_has_room_for_is_named(repository, tmp_path):
    with pytest.raises(UsageError, match=r"pkg004_1\.4-1_amd64\.deb: 70000 bytes"):
        bundle(repository, tmp_path / "out", volume_size=75_000)

    assert os.listdir(tmp_path / "out") == []


def test_a_volume_that_has_no_room_for_the_indexes_is_refused(repository, tmp_path):
    with pytest.raises(UsageError, match="contents and indexes"):
        bundle(repository, tmp_path / "out", volume_size=15_000)


def test_more_volumes_than_there_can_be_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("repobuild.bundle.cutting.PARTS_LIMIT", 2)
    with pytest.raises(UsageError, match="more than 2 volumes"):
        bundle(of_sizes(tmp_path, [60_000] * 8), tmp_path / "out", volume_size=SMALL)


def test_ten_volumes_and_more_are_counted_right(tmp_path):
    result = bundle(of_sizes(tmp_path, [80_000] * 12), tmp_path / "out", volume_size=SMALL)

    assert [read(part.path)[0].part for part in result.parts] == list(range(1, len(result.parts) + 1))
    assert len(result.parts) > 10


def test_volumes_that_were_cut_otherwise_go_away(repository, tmp_path):
    out = tmp_path / "out"
    many = bundle(repository, out, volume_size=SMALL)
    few = bundle(repository, out, volume_size=250_000)

    assert len(few.parts) < len(many.parts)
    assert sorted(sums(out)) == ["install.sh", *(part.path.name for part in few.parts)]
    assert sorted(os.listdir(out)) == sorted([*sums(out), "SHA256SUMS"])


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("fat32", 4_294_967_295),
        ("FAT32", 4_294_967_295),
        ("dvd", 4_690_000_000),
        ("123456", 123_456),
        ("700M", 700 << 20),
        ("4g", 4 << 30),
        ("1K", 1024),
    ],
)
def test_a_volume_size_is_bytes_or_a_medium(text, size):
    assert parse_volume_size(text) == size


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5G", "1T", "G", "١", "9" * 40, "fat", "0x10", "1 G"])
def test_what_is_no_volume_size_is_refused(text):
    with pytest.raises(UsageError):
        parse_volume_size(text)


# --- deltas ----------------------------------------------------------------------------------------------------------

HAVE = Old(what="have.txt", name="pigsty", target="d12.x86_64", sequence=1, lock="", digests=frozenset())


def updated(old: Fabricated, home: Path, *, changed: int, time: int) -> Fabricated:
    """The same repository later, with so many other packages."""
    new = fabricate(home, packages=len(old.lock.choices), time=time, seed=1)
    files = new.files()
    del files[MARKER]
    choices = list(new.lock.choices)
    for number in range(changed):
        package = choices[-1 - number].package
        content = os.urandom(package.size)
        write(new.path / package.filename, content)
        files[package.filename] = content
        choices[-1 - number] = replace(choices[-1 - number], package=replace(package, sha256=sha256_of(content)))
    mark(new.path, files)
    return replace(new, lock=replace(new.lock, choices=tuple(choices)))


def test_a_delta_carries_what_the_older_bundle_lacks_and_all_metadata(tmp_path):
    old = fabricate(tmp_path / "old", packages=12)
    new = updated(old, tmp_path / "new", changed=2, time=LATER)
    [older] = read_old(bundle(old, tmp_path / "old-out").path, lock.read)

    result = bundle(new, tmp_path / "out", old=older)

    contents, carried = read(result.path)
    before = set(map(sha256_of, old.files().values()))
    assert result.path.name == f"{STEM}.delta.tgz"
    assert (contents.kind, contents.older) == (PartKind.DELTA, Older(old.lock_sha256, old.lock.time))
    assert {"Packages", "Packages.gz", "Release", "InRelease", LOCK_NAME} <= set(carried)
    assert sum(path.endswith(".deb") for path in carried) == 2
    rest = {path: data for path, data in new.files().items() if path not in carried}
    assert {sha256_of(data) for path, data in rest.items() if path != MARKER} <= before
    assert carried | rest == new.files()
    assert rest[MARKER]
    assert [file.path for file in contents.files] == [
        file.path for file in read(bundle(new, tmp_path / "w").path)[0].files
    ]


def test_an_update_of_a_twentieth_of_the_packages_travels_in_6_percent(tmp_path):
    old = of_sizes(tmp_path / "old", [400_000] * 100)
    new = of_sizes(tmp_path / "new", [400_000] * 100, changed=5)
    [older] = read_old(bundle(old, tmp_path / "old-out").path, lock.read)

    full = bundle(new, tmp_path / "out")
    delta = bundle(new, tmp_path / "out", old=older)

    assert sum(path.endswith(".deb") for path in read(delta.path)[1]) == 5
    assert delta.size <= 0.06 * full.size


def test_lock_bundle_and_list_of_the_same_state_give_the_same_payload(tmp_path):
    old = fabricate(tmp_path / "old", packages=12)
    new = updated(old, tmp_path / "new", changed=2, time=LATER)
    whole = bundle(old, tmp_path / "old-out").path
    volume = bundle(old, tmp_path / "old-out", volume_size=SMALL).parts[1].path
    (tmp_path / "have.txt").write_bytes(have_of(old))
    (tmp_path / "old.lock").write_bytes(lock.write(old.lock))

    sources = [whole, volume, tmp_path / "have.txt", tmp_path / "old.lock"]
    found = [
        set(read(bundle(new, tmp_path / f"out{n}", old=read_old(each, lock.read)[0]).path)[1])
        for n, each in enumerate(sources)
    ]

    assert found[1:] == found[:-1]
    assert sum(path.endswith(".deb") for path in found[0]) == 2


def have_of(repository: Fabricated) -> bytes:
    chosen = repository.lock
    first = f"# repobuild have 1 {chosen.name} {chosen.target} {chosen.time} {repository.lock_sha256}\n"
    return first.encode() + (repository.path / MARKER).read_bytes()


def test_a_delta_made_from_a_list_says_that_it_knows_no_lock(repository, tmp_path):
    (tmp_path / "have.txt").write_bytes(have_of(repository))

    result = bundle(repository, tmp_path / "out", old=read_old(tmp_path / "have.txt", lock.read)[0])

    contents, carried = read(result.path)
    assert contents.older == Older("", repository.lock.time)
    assert not any(path.endswith(".deb") for path in carried)


def test_a_list_may_ask_for_more(repository):
    old = parse_have(have_of(repository) + b"+htop\n+pg_*\n+htop\n", "have.txt")

    assert old.wants == ("htop", "pg_*")
    assert old.digests == {sha256_of(data) for path, data in repository.files().items() if path != MARKER}
    assert (old.name, old.target, old.sequence) == ("pigsty", "d12.x86_64", repository.lock.time)


def test_lists_of_several_repositories_may_stand_in_one_file(repository, tmp_path):
    other = have_of(repository).replace(b" have 1 pigsty ", b" have 1 minio ", 1)
    (tmp_path / "have.txt").write_bytes(have_of(repository) + b"+htop\n" + other)

    found = read_old(tmp_path / "have.txt", lock.read)

    assert [(each.name, each.wants) for each in found] == [("pigsty", ("htop",)), ("minio", ())]
    assert found[0].digests == found[1].digests


HEAD = b"# repobuild have 1 pigsty d12.x86_64 5 " + b"a" * 64 + b"\n"
LISTED = b"b" * 64 + b"  a.deb\n"
BAD_LISTS = {
    "empty": b"",
    "another format": HEAD.replace(b"have 1", b"have 2"),
    "no name": HEAD.replace(b"pigsty ", b""),
    "a name with a slash": HEAD.replace(b"pigsty", b"../x"),
    "a first line without end": HEAD[:-1] + b"a" * 100_000,
    "no digest": HEAD.replace(b"a" * 64, b"a" * 63),
    "a time that is none": HEAD.replace(b" 5 ", b" five "),
    "a path that leaves": HEAD + LISTED.replace(b"a.deb", b"../a.deb"),
    "a path twice": HEAD + LISTED + LISTED,
    "md5 lines": HEAD + b"b" * 32 + b"  a.deb\n",
    "no line end": HEAD + LISTED[:-1],
    "carriage returns": (HEAD + LISTED).replace(b"\n", b"\r\n"),
    "not UTF-8": HEAD + LISTED.replace(b"a.deb", b"\xff.deb"),
    "a want with a blank": HEAD + LISTED + b"+ht op\n",
    "an empty want": HEAD + LISTED + b"+\n",
    "a want with a control character": HEAD + LISTED + b"+ht\x1bop\n",
    "an option for a want": HEAD + LISTED + b"+--force\n",
    "a want without end": HEAD + LISTED + b"+" + b"a" * 300 + b"\n",
}


@pytest.mark.parametrize("case", BAD_LISTS)
def test_a_list_in_any_other_form_is_refused(case):
    with pytest.raises(RefusedError) as refused:
        parse_have(BAD_LISTS[case], "have.txt")

    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 400


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_list_is_read_or_refused(text):
    try:
        parse_have(HEAD + text, "have.txt")
    except RefusedError:
        return


@pytest.mark.parametrize(
    "data", [b"", b"noise", b"{}", b"{" * 10_000, b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", bytes(5000)]
)
def test_a_file_that_says_nothing_of_the_far_side_is_refused(tmp_path, data):
    (tmp_path / "old").write_bytes(data)

    with pytest.raises(RefusedError):
        read_old(tmp_path / "old", lock.read)


def test_an_old_file_that_is_not_there_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="no such file"):
        read_old(tmp_path / "old", lock.read)


WRONG_OLD = {
    "another name": {"name": "minio"},
    "another target": {"target": "el9.x86_64"},
    "newer": {"sequence": 1_700_000_001},
}


@pytest.mark.parametrize("case", WRONG_OLD)
def test_a_delta_of_something_else_or_newer_is_refused(repository, tmp_path, case):
    with pytest.raises(UsageError):
        bundle(repository, tmp_path / "out", old=replace(HAVE, **WRONG_OLD[case]))

    assert os.listdir(tmp_path / "out") == []


def test_a_delta_is_not_cut_into_volumes(repository, tmp_path):
    with pytest.raises(UsageError, match="--volume-size"):
        bundle(repository, tmp_path / "out", old=HAVE, volume_size=SMALL)


# --- beside ----------------------------------------------------------------------------------------------------------


def test_with_a_key_the_list_is_signed_and_the_key_lies_beside(repository, tmp_path, key):
    out = tmp_path / "out"

    result = bundle(repository, out, key=key)

    text = (out / "SHA256SUMS").read_bytes()
    assert result.signers == (key.fingerprint,)
    assert sorted(os.listdir(out)) == sorted([*sums(out), "SHA256SUMS", "SHA256SUMS.asc"])
    assert sorted(sums(out)) == sorted([f"{STEM}.tgz", "install.sh", "pigsty.asc", "pigsty.gpg"])
    assert list(sums(out)) == sorted(sums(out), key=str.encode)
    subprocess.run(["sha256sum", "-c", "--strict", "--quiet", "SHA256SUMS"], cwd=out, check=True)
    key.keyring.verify_detached(text, (out / "SHA256SUMS.asc").read_bytes(), "the list")
    assert (out / "pigsty.gpg").read_bytes() == key.public_binary()


def test_a_signature_that_still_fits_is_kept(repository, tmp_path, key):
    out = tmp_path / "out"
    bundle(repository, out, key=key)
    before = (out / "SHA256SUMS.asc").read_bytes()

    bundle(repository, out, key=key)

    assert (out / "SHA256SUMS.asc").read_bytes() == before


def test_all_parts_in_a_folder_are_in_one_signed_list(repository, tmp_path, key):
    out = tmp_path / "out"
    bundle(repository, out, key=key)
    bundle(repository, out, key=key, volume_size=SMALL)
    bundle(repository, out, key=key, old=HAVE)

    subprocess.run(["sha256sum", "-c", "--strict", "--quiet", "SHA256SUMS"], cwd=out, check=True)
    assert {f"{STEM}.tgz", f"{STEM}.vol1.tgz", f"{STEM}.vol2.tgz", f"{STEM}.delta.tgz"} <= set(sums(out))
    key.keyring.verify_detached((out / "SHA256SUMS").read_bytes(), (out / "SHA256SUMS.asc").read_bytes(), "the list")


def test_nobody_elses_list_gets_our_signature(repository, tmp_path, key):
    out = tmp_path / "out"
    bundle(repository, out, key=key)
    (out / "other.tgz").write_bytes(b"theirs")
    with (out / "SHA256SUMS").open("a") as file:
        file.write(f"{'0' * 64}  other.tgz\n")

    bundle(repository, out, key=key)

    assert "other.tgz" not in sums(out)


def test_an_unsigned_list_keeps_what_it_listed_and_is_still_there(repository, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "other.tgz").write_bytes(b"theirs")
    lines = [
        f"{'0' * 64}  other.tgz",
        f"{'0' * 64}  gone.tgz",
        "noise",
        f"{'0' * 64}  ../up",
        f"{'0' * 64}  SHA256SUMS",
    ]
    (out / "SHA256SUMS").write_text("\n".join(lines))

    bundle(repository, out)

    assert sorted(sums(out)) == ["install.sh", "other.tgz", f"{STEM}.tgz"]


@pytest.mark.parametrize("name", ["with space.tgz", "-rf", ".hidden", "b\u00fcndel.tgz", "a" * 201])
def test_a_name_that_install_sh_refuses_is_not_listed_again_and_named(repository, tmp_path, key, name):
    out = tmp_path / "out"
    out.mkdir()
    (out / name).write_bytes(b"theirs")
    text = f"{'0' * 64}  {name}\n".encode()
    (out / "SHA256SUMS").write_bytes(text)
    (out / "SHA256SUMS.asc").write_bytes(key.detach_sign(text))
    told = Told()

    write_bundle(out, spec_of(repository, key=key), told)

    assert name not in sums(out)
    assert any("not what install.sh takes" in each for each in told.notes)


def test_a_list_that_is_not_signed_any_more_has_no_signature_beside_it(tmp_path, key):
    out = tmp_path / "out"
    bundle(fabricate(tmp_path / "a", time=LATER), out, key=key)
    bundle(fabricate(tmp_path / "b", time=LATER + 60), out)

    assert not (out / "SHA256SUMS.asc").exists()


def test_a_run_killed_between_list_and_signature_is_healed_by_the_next(tmp_path, key, monkeypatch):
    out = tmp_path / "out"
    first, second = (fabricate(tmp_path / str(time), time=time) for time in (LATER, LATER + 60))
    bundle(first, out, key=key)
    former = (out / "SHA256SUMS.asc").read_bytes()
    bundle(second, out, key=key)
    (out / "SHA256SUMS.asc").rename(out / ".SHA256SUMS.asc.0123456789ab.tmp")
    (out / "SHA256SUMS.asc").write_bytes(former)

    bundle(second, out, key=key)

    key.keyring.verify_detached((out / "SHA256SUMS").read_bytes(), (out / "SHA256SUMS.asc").read_bytes(), "the list")
    assert len(sums(out)) == 5
    assert not [name for name in os.listdir(out) if name.endswith(".tmp")]


def test_links_in_the_places_of_our_files_are_replaced_and_not_followed(repository, tmp_path, key):
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / "canary").write_bytes(b"canary")
    for name in ("SHA256SUMS", "SHA256SUMS.asc", "install.sh", "pigsty.gpg", f"{STEM}.tgz"):
        (out / name).symlink_to(tmp_path / "canary")

    bundle(repository, out, key=key)

    assert (tmp_path / "canary").read_bytes() == b"canary"
    assert not [name for name in os.listdir(out) if (out / name).is_symlink()]


# --- failure ---------------------------------------------------------------------------------------------------------


def test_volumes_of_a_repository_that_is_damaged_leave_nothing_behind(repository, tmp_path):
    (repository.path / "tool.tar.gz").write_bytes(bytes(777))

    with pytest.raises(ProofError, match="tool"):
        bundle(repository, tmp_path / "out", volume_size=SMALL)

    assert os.listdir(tmp_path / "out") == []


def test_room_is_asked_for_all_volumes_at_once(repository, tmp_path):
    out = tmp_path / "small"
    out.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=240k", "tmpfs", str(out)]
    if subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("cannot mount here")
    try:
        with pytest.raises(DiskError, match=r"needs \d+ bytes, \d+ are free"):
            bundle(repository, out, volume_size=SMALL)
        assert os.listdir(out) == []
    finally:
        subprocess.run(["umount", str(out)], check=True)


PROGRAM = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from repositories import fabricate, source_of
from repobuild.bundle import BundleSpec, write_bundle
from repobuild.durable import Folder
left = {after}
rename = Folder.rename
def dying(*words, **more):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return rename(*words, **more)
Folder.rename = dying
made = fabricate(Path({home!r}), packages=40)
write_bundle(Path({out!r}), BundleSpec(sources=(source_of(made),), volume_size={size}))
"""


@pytest.mark.parametrize("after", range(5))
def test_a_run_killed_at_any_name_leaves_whole_files_only_and_the_next_one_finishes(tmp_path, after):
    out = tmp_path / "out"
    program = PROGRAM.format(tests=str(TESTS), after=after, home=str(tmp_path / "www"), out=str(out), size=SMALL)
    env = {**os.environ, "PYTHONPATH": str(TESTS.parent)}
    killed = subprocess.run([sys.executable, "-c", program], env=env, check=False)
    assert killed.returncode == -signal.SIGKILL
    for path in out.glob("pigsty*"):
        read(path)

    made = fabricate(tmp_path / "www", packages=40)
    result = bundle(made, out, volume_size=SMALL)

    assert sorted(os.listdir(out)) == sorted(["SHA256SUMS", "install.sh", *(part.path.name for part in result.parts)])
    assert {name: sha256_of((out / name).read_bytes()) for name in sums(out)} == sums(out)


def test_a_file_system_that_takes_small_files_only_is_recognised(repository, tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limits[1]))
    try:
        with pytest.raises(DiskError, match="file too large") as refused:
            bundle(repository, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert refused.value.hint is not None
    assert "--volume-size fat32" in refused.value.hint
    assert os.listdir(tmp_path / "out") == []


def test_the_contents_name_the_installer_inside(repository, tmp_path):
    path = bundle(repository, tmp_path / "out").path
    with tarfile.open(path) as tar:
        script = tar.extractfile("pigsty/.repobuild/install.sh").read()
        document = json.load(tar.extractfile("pigsty/.repobuild/CONTENTS.json"))

    assert script == installer_text() == (tmp_path / "out" / "install.sh").read_bytes()
    assert document["installer"] == sha256_of(script)


def test_a_flip_in_the_installer_of_an_archive_is_refused(repository, tmp_path):
    path = bundle(repository, tmp_path / "out", packing=Packing.TAR).path
    data = bytearray(path.read_bytes())
    data[data.index(installer_text()) + 5] ^= 1
    path.write_bytes(data)

    with pytest.raises(RefusedError, match=r"install\.sh"):
        read(path)


def test_a_bundle_of_format_1_is_read(repository, tmp_path):
    good = bundle(repository, tmp_path / "out").path.read_bytes()
    old = replace(contents_of(good), installer="")
    (tmp_path / "old.tgz").write_bytes(assemble(old, bodies_of(good)))

    contents, carried = read(tmp_path / "old.tgz")

    assert contents == old
    assert contents.installer == ""
    assert carried == repository.files()


def test_what_is_no_bundle_at_all_is_refused(tmp_path):
    (tmp_path / "x.tgz").write_bytes(b"PK\x03\x04" + bytes(2000))

    with pytest.raises(HostileInputError):
        read(tmp_path / "x.tgz")
