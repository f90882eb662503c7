"""Several repositories in one bundle: its form, its names, what is refused, and what an install makes of it."""

import fcntl
import gzip
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from forgeries import bodies_of, contents_of, file_members, head_members, join, put_together
from hypothesis import given, settings
from hypothesis import strategies as st
from repositories import Fabricated, source_of
from transfers import TIME, build, delta, everything, make_key, payload_of, receive, session, tree

from repobuild import lock
from repobuild.archive.contents import Contents, PartKind
from repobuild.archive.tar import file_header, folder_header, padding
from repobuild.bundle import BundleResult, BundleSpec, read_old, write_bundle
from repobuild.cli.main import run
from repobuild.errors import DiskError, RefusedError, RollbackError, UsageError, VerificationError
from repobuild.host import host_target
from repobuild.install import inspect, prove
from repobuild.pipeline import check_bundle, open_place
from repobuild.signing import SigningKey

NAME = "pigsty-pkg-v4.5.0.d12.x86_64.tgz"
Part = tuple[Contents, dict[str, bytes]]


@pytest.fixture(scope="module")
def key() -> SigningKey:
    return make_key()


@pytest.fixture(scope="module")
def pigsty(tmp_path_factory: pytest.TempPathFactory, key: SigningKey) -> Fabricated:
    return build(tmp_path_factory.mktemp("near"), payload_of(1), TIME, key=key)


@pytest.fixture(scope="module")
def minio(tmp_path_factory: pytest.TempPathFactory, key: SigningKey) -> Fabricated:
    return build(tmp_path_factory.mktemp("near"), payload_of(2), TIME + 50, name="minio", key=key)


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory, key: SigningKey) -> Fabricated:
    """Return the second repository as it was before."""
    return build(tmp_path_factory.mktemp("near"), payload_of(3), TIME - 50, name="minio", key=key)


@pytest.fixture
def far(tmp_path: Path) -> Path:
    root = tmp_path / "far"
    (root / "www").mkdir(parents=True)
    (root / "canary").write_bytes(b"canary")
    return root


def bundle(out: Path, *repositories: Fabricated, **words: Any) -> BundleResult:
    olds = words.pop("olds", [None] * len(repositories))
    sources = tuple(source_of(each, old=old) for each, old in zip(repositories, olds, strict=True))
    return write_bundle(out, BundleSpec(sources=sources, **words))


def names_in(path: Path) -> list[str]:
    with tarfile.open(path) as tar:
        return [member.name for member in tar.getmembers()]


# --- the form --------------------------------------------------------------------------------------------------------


def test_the_heads_of_all_come_first_then_the_files_of_each_with_its_marker_last(tmp_path, pigsty, minio):
    names = names_in(bundle(tmp_path, pigsty, minio).path)

    private = [name for name in names if "/.repobuild/" in name]
    own = ("CONTENTS.json", "CONTENTS.sha256", "install.sh")
    assert names[:2] == ["pigsty/.repobuild/CONTENTS.json", "pigsty/.repobuild/CONTENTS.sha256"]
    assert private == [f"{top}/.repobuild/{name}" for top in ("pigsty", "minio") for name in own]
    heads = names.index("minio/by-hash/SHA256") + 1
    files = names[heads:]
    count = len(pigsty.files())
    assert set(files[:count]) == {f"pigsty/{path}" for path in pigsty.files()}
    assert set(files[count:]) == {f"minio/{path}" for path in minio.files()}
    assert (files[count - 1], files[-1]) == ("pigsty/repo_complete", "minio/repo_complete")


def test_contents_of_each_list_all_in_order(tmp_path, pigsty, minio):
    with tarfile.open(bundle(tmp_path, minio, pigsty).path) as tar:
        said = [json.load(tar.extractfile(f"{name}/.repobuild/CONTENTS.json")) for name in ("minio", "pigsty")]

    assert [(each["format"], each["repositories"], each["name"]) for each in said] == [
        (3, ["minio", "pigsty"], "minio"),
        (3, ["minio", "pigsty"], "pigsty"),
    ]


def test_a_bundle_of_one_repository_keeps_its_form(tmp_path, pigsty):
    with tarfile.open(bundle(tmp_path, pigsty).path) as tar:
        said = json.load(tar.extractfile("pigsty/.repobuild/CONTENTS.json"))

    assert (said["format"], "repositories" in said) == (2, False)


def test_tar_alone_puts_all_of_them_side_by_side(tmp_path, pigsty, minio):
    path = bundle(tmp_path / "out", pigsty, minio).path
    (tmp_path / "www").mkdir()

    subprocess.run(["tar", "-xf", str(path), "-C", str(tmp_path / "www")], check=True)

    for made in (pigsty, minio):
        place = tmp_path / "www" / made.path.name
        subprocess.run(["sha256sum", "-c", "--quiet", "repo_complete"], cwd=place, check=True)
        assert tree(place) == made.files()


def test_the_same_locks_give_the_same_bytes(tmp_path, pigsty, minio):
    one, two = bundle(tmp_path / "1", pigsty, minio), bundle(tmp_path / "2", pigsty, minio)

    assert one.path.read_bytes() == two.path.read_bytes()
    assert one.sha256 != bundle(tmp_path / "3", minio, pigsty).sha256


PROGRAM = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from repositories import fabricate, source_of
from repobuild.bundle import BundleSpec, write_bundle
made = [fabricate(Path({home!r}), name=name, seed=len(name)) for name in ("pigsty", "minio")]
print(write_bundle(Path({out!r}), BundleSpec(sources=tuple(map(source_of, made)))).sha256)
"""


def test_the_bytes_do_not_depend_on_the_machine(tmp_path):
    found = set()
    for number, (words, more) in enumerate(
        [((), {}), (("PYTHONHASHSEED", "7"), {"umask": 0o077}), (("TZ", "Pacific/Kiritimati"), {"cwd": "/"})]
    ):
        home, out = tmp_path / f"home{number}", tmp_path / f"out{number}"
        program = PROGRAM.format(tests=str(Path(__file__).parents[1]), home=str(home), out=str(out))
        env = {**os.environ, **dict([words] if words else [])}
        done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, env=env, **more)
        found.add(done.stdout)

    assert len(found) == 1


def test_what_was_written_says_what_is_in_it(tmp_path, pigsty, minio):
    result = bundle(tmp_path, pigsty, minio)

    [part] = result.parts
    assert (part.repositories, part.kind) == (("pigsty", "minio"), PartKind.WHOLE)
    assert part.files == result.files == len(pigsty.files()) + len(minio.files())


def test_key_files_of_all_lie_beside_and_are_listed(tmp_path, pigsty, minio, key):
    bundle(tmp_path, pigsty, minio, key=key)

    listed = {line[66:] for line in (tmp_path / "SHA256SUMS").read_text().splitlines()}
    assert listed == {NAME, "install.sh", *(f"{name}.{end}" for name in ("pigsty", "minio") for end in ("gpg", "asc"))}
    subprocess.run(["sha256sum", "-c", "--strict", "--quiet", "SHA256SUMS"], cwd=tmp_path, check=True)


def test_more_repositories_than_a_file_may_hold_are_refused_before_anything_is_written(tmp_path):
    made = [build(tmp_path / "near", {}, TIME, name=f"n{number}") for number in range(17)]

    with pytest.raises(UsageError, match="16 repositories at most"):
        bundle(tmp_path / "out", *made)

    assert list((tmp_path / "out").iterdir()) == []


# --- names -----------------------------------------------------------------------------------------------------------


def test_a_file_is_named_for_the_repository_of_the_manifest_whatever_its_order(tmp_path, pigsty, minio):
    assert bundle(tmp_path, minio, pigsty, named_for=1).path.name == NAME


def test_another_set_of_locks_is_another_bundle(tmp_path, pigsty, minio, older):
    first = bundle(tmp_path, pigsty, older)
    again = bundle(tmp_path, pigsty, older)
    second = bundle(tmp_path, pigsty, minio)
    alone = bundle(tmp_path, pigsty)

    assert first.path == again.path
    assert len({first.path, second.path, alone.path}) == 3
    assert all(path.exists() for path in (first.path, second.path, alone.path))


def test_volumes_are_of_one_repository_each(tmp_path, key, pigsty):
    large = {f"large{n}_1-1_all.deb": bytes([n]) * 125_000 for n in range(2)}
    minio = build(tmp_path / "near", {**payload_of(2), **large}, TIME, name="minio", key=key)

    result = bundle(tmp_path / "out", pigsty, minio, volume_size=250_000)

    stem = "minio-pkg-v4.5.0.d12.x86_64"
    assert [(part.path.name, part.repositories) for part in result.parts] == [
        (NAME, ("pigsty",)),
        (f"{stem}.vol1.tgz", ("minio",)),
        (f"{stem}.vol2.tgz", ("minio",)),
    ]


def test_a_delta_since_a_bundle_of_several_is_one_for_each(tmp_path, far, key, pigsty, minio, older):
    before = bundle(tmp_path / "old", pigsty, older, key=key)
    olds = read_old(before.path, lock.read)

    result = bundle(tmp_path / "out", pigsty, minio, olds=olds, key=key)

    assert [each.name for each in olds] == ["pigsty", "minio"]
    assert [part.path.name.partition("-")[0] for part in result.parts] == ["pigsty", "minio"]
    assert {part.kind for part in result.parts} == {PartKind.DELTA}
    receive(far, before.path, fingerprints=(key.fingerprint,))
    receive(far, *(part.path for part in result.parts))
    assert tree(far / "www/minio") == minio.files()


def test_two_repositories_of_one_file_name_are_refused(tmp_path, pigsty, minio):
    sources = (replace(source_of(pigsty), pattern="minio-pkg-${version}.${os}.${arch}.tgz"), source_of(minio))

    with pytest.raises(UsageError, match="one file name"):
        write_bundle(tmp_path, BundleSpec(sources=sources, volume_size=10**9))


def test_a_delta_does_not_take_the_place_of_one_against_something_else(tmp_path, minio, older):
    oldest = build(tmp_path / "oldest", payload_of(4), TIME - 90_000, name="minio")
    paths = [
        delta(minio, bundle(tmp_path / str(n), each).path, tmp_path / "out") for n, each in enumerate([older, oldest])
    ]
    again = delta(minio, tmp_path / "0" / paths[0].name.replace(".delta", ""), tmp_path / "out")

    stem = "minio-pkg-v4.5.0.d12.x86_64.delta"
    assert [path.name for path in paths] == [f"{stem}.tgz", f"{stem}-20231113.tgz"]
    assert again == paths[0]
    assert all(inspect(path, None).repositories[0].kind is PartKind.DELTA for path in paths)


def test_a_whole_bundle_and_deltas_of_what_is_in_it_have_one_stem(tmp_path, pigsty, minio, older):
    out = tmp_path / "out"
    first = bundle(out, pigsty, minio).path
    olds = read_old(bundle(tmp_path / "before", pigsty, older).path, lock.read)
    parts = bundle(out, pigsty, minio, olds=olds).parts

    again = bundle(out, pigsty, minio).path

    assert [part.path.name for part in parts] == [
        "pigsty-pkg-v4.5.0.d12.x86_64.delta.tgz",
        "minio-pkg-v4.5.0.d12.x86_64.delta.tgz",
    ]
    assert again == first


# --- what is refused -------------------------------------------------------------------------------------------------


def part_of(made: Fabricated, folder: Path) -> Part:
    """Return contents and bodies of a repository, as they are when it is alone in a bundle."""
    data = bundle(folder, made).path.read_bytes()
    return contents_of(data), bodies_of(data)


def listing(names: tuple[str, ...], *parts: Part) -> list[Part]:
    return [(replace(contents, repositories=names), bodies) for contents, bodies in parts]


BOTH = ("pigsty", "minio")


def second(change: Callable[[Contents], Contents]) -> Callable[[Part, Part], bytes]:
    def forge(one: Part, two: Part) -> bytes:
        first, (contents, bodies) = listing(BOTH, one, two)
        return join(first, (change(contents), bodies))

    return forge


def members(change: Callable[[list[Any], list[Any]], list[Any]]) -> Callable[[Part, Part], bytes]:
    """Return what puts heads and files of both together otherwise."""

    def forge(one: Part, two: Part) -> bytes:
        parts = listing(BOTH, one, two)
        return put_together(change([head_members(*each) for each in parts], [file_members(*each) for each in parts]))

    return forge


def exchanged(one: Part, two: Part) -> bytes:
    """Exchange the bodies of the markers, which are of one size."""
    parts = listing(BOTH, one, two)
    (_, first), (_, last) = parts
    path = next(path for path in first if path.startswith("by-hash"))
    other = next(path for path in last if path.startswith("by-hash"))
    first[path], last[other] = last[other], first[path]
    return join(*parts)


FORGERIES: dict[str, Callable[[Part, Part], bytes]] = {
    "the second head is missing": members(lambda heads, files: [*heads[0], *files[0], *files[1]]),
    "the second repository is listed and absent": members(lambda heads, files: [*heads[0], *files[0]]),
    "the files of the second are missing": members(lambda heads, files: [*heads[0], *heads[1], *files[0]]),
    "the first repository is missing": members(lambda heads, files: [*heads[1], *files[1]]),
    "the second stands first": members(lambda heads, files: [*heads[1], *heads[0], *files[1], *files[0]]),
    "files in another order than heads": members(lambda heads, files: [*heads[0], *heads[1], *files[1], *files[0]]),
    "a head after the files of the first": members(lambda heads, files: [*heads[0], *files[0], *heads[1], *files[1]]),
    "a head twice": members(lambda heads, files: [*heads[0], *heads[0], *files[0], *files[0]]),
    "a member outside of both": members(
        lambda heads, files: [*heads[0], *heads[1], *files[0], *files[1], (file_header("evil/x", 1, TIME), b"x" + padding(1))]
    ),
    "a folder outside of both": members(
        lambda heads, files: [*heads[0], *heads[1], (folder_header("evil/", TIME), b""), *files[0], *files[1]]
    ),
    "a third repository is listed and absent": lambda one, two: join(*listing((*BOTH, "more"), one, two)),
    "a second that is not listed": join,
    "two repositories of one name": lambda one, _: join(*listing(("pigsty", "pigsty"), one, one)),
    "a list of one": lambda one, _: join(*listing(("pigsty",), one)),
    "a list without the first": lambda one, two: join(*listing(("more", "minio"), one, two)),
    "a name that climbs out": lambda one, two: join(*listing(("pigsty", "../minio"), one, two)),
    "more names than a file holds": lambda one, two: join(*listing((*BOTH, *(f"n{n}" for n in range(15))), one, two)),
    "lists in another order": second(lambda contents: replace(contents, repositories=("minio", "pigsty"))),
    "a second that lists nothing": second(lambda contents: replace(contents, repositories=())),
    "a second for another target": second(lambda contents: replace(contents, target="d13.x86_64")),
    "a second of another name": second(lambda contents: replace(contents, name="other")),
    "a second that is a volume": second(
        lambda contents: replace(contents, kind=PartKind.VOLUME, carriers=(*(1 for _ in contents.files[:-1]), 0))
    ),
    "a second of another time than its members": second(lambda contents: replace(contents, lock="0" * 64)),
    "bodies of one size exchanged": exchanged,
}  # fmt: skip


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory, pigsty: Fabricated, minio: Fabricated) -> tuple[Part, Part]:
    folder = tmp_path_factory.mktemp("parts")
    return part_of(pigsty, folder / "1"), part_of(minio, folder / "2")


def test_what_the_forgeries_are_made_from_is_what_is_written(tmp_path, parts, pigsty, minio):
    written = gzip.decompress(bundle(tmp_path, pigsty, minio).path.read_bytes())

    assert gzip.decompress(join(*listing(BOTH, *parts))) == written


@pytest.mark.parametrize("case", FORGERIES)
def test_a_forgery_is_refused_before_any_of_them_is_visible(far, parts, case):
    copies = [(contents, dict(bodies)) for contents, bodies in parts]
    path = far / "pkg.tgz"
    path.write_bytes(FORGERIES[case](*copies))
    before = everything(far)

    with pytest.raises(RefusedError) as refused:
        receive(far, path, allow_unsigned=True)

    assert everything(far) == before
    assert str(refused.value).isprintable()


@settings(max_examples=300, deadline=None)
@given(at=st.integers(0, 1 << 32), bits=st.integers(1, 255))
def test_a_flipped_byte_is_refused_or_is_in_a_word_that_only_the_signed_list_vouches_for(
    tmp_path_factory, parts, at, bits
):
    plain = bytearray(gzip.decompress(join(*listing(BOTH, *parts))))
    plain[at % len(plain)] ^= bits
    path = tmp_path_factory.mktemp("flip") / "pkg.tar"
    path.write_bytes(plain)

    try:
        found = inspect(path, None)
        prove(found)
    except RefusedError:
        return
    words = {"version": "", "files": (), "carriers": (), "repositories": BOTH}
    for one, (other, _) in zip(found.repositories, parts, strict=True):
        assert replace(one, **words) == replace(other, **words)
        assert [(file.path, file.size, file.sha256) for file in one.files] == [
            (file.path, file.size, file.sha256) for file in other.files
        ]


# --- an install ------------------------------------------------------------------------------------------------------


def test_all_of_them_are_installed_each_with_its_receipt(tmp_path, far, key, pigsty, minio):
    path = bundle(tmp_path / "out", pigsty, minio, key=key).path

    done = receive(far, path, fingerprints=(key.fingerprint,))

    assert [(each.contents.name, each.lock is not None, bool(each.receipt)) for each in done] == [
        ("pigsty", True, True),
        ("minio", True, True),
    ]
    assert (tree(far / "www/pigsty"), tree(far / "www/minio")) == (pigsty.files(), minio.files())
    again = receive(far, path)
    assert [len(each.plan.kept) for each in again] == [len(each.files()) - 1 for each in (pigsty, minio)]


def test_the_file_is_unpacked_once_for_all_of_them(tmp_path, far, monkeypatch, pigsty, minio):
    path = bundle(tmp_path / "out", pigsty, minio).path
    read: list[int] = []
    original = inspect.__globals__["BundleReader"]

    class Counting(original):
        def members(self, contents: Contents) -> Any:
            read.append(contents.sequence)
            return super().members(contents)

    monkeypatch.setitem(inspect.__globals__, "BundleReader", Counting)
    receive(far, path, allow_unsigned=True)

    assert read == [TIME, TIME + 50]


@pytest.mark.parametrize("name", BOTH)
def test_one_of_them_is_installed_when_it_is_named(tmp_path, far, pigsty, minio, name):
    path = bundle(tmp_path / "out", pigsty, minio).path

    [done] = receive(far, path, allow_unsigned=True, names=frozenset({name}))

    assert done.contents.name == name
    assert [each.name for each in (far / "www").iterdir() if each.name in BOTH] == [name]


def test_a_name_that_the_file_does_not_hold_is_refused(tmp_path, far, pigsty, minio):
    path = bundle(tmp_path / "out", pigsty, minio).path

    with pytest.raises(VerificationError, match="more: pigsty, minio"):
        receive(far, path, allow_unsigned=True, names=frozenset({"more"}))


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize("harm", ["a folder of somebody", "a link in the area"])
def test_where_one_of_them_has_no_place_none_is_installed(tmp_path, far, pigsty, minio, harm, dry_run):
    if harm == "a folder of somebody":
        (far / "www/minio").mkdir()
        (far / "www/minio/photo.jpg").write_bytes(b"")
    else:
        receive(far, bundle(tmp_path / "1", minio).path, allow_unsigned=True)
        (far / "www/.minio.repobuild/next").symlink_to(tmp_path)
    path = bundle(tmp_path / "2", pigsty, minio).path
    before = everything(far)

    with pytest.raises(DiskError):
        receive(far, path, allow_unsigned=True, dry_run=dry_run)

    assert everything(far) == before


def test_files_that_share_a_repository_are_proven_before_any_of_it_is_visible(tmp_path, far, pigsty, minio, older):
    one, other = (bundle(tmp_path / name, pigsty, each).path for name, each in (("1", older), ("2", minio)))
    plain = bytearray(gzip.decompress(other.read_bytes()))
    plain[plain.rindex(b"repo_complete") - 2000] ^= 1
    bad = tmp_path / "bad.tar"
    bad.write_bytes(plain)

    with pytest.raises(RefusedError):
        receive(far, one, bad, allow_unsigned=True)

    assert not [each for each in (far / "www").iterdir() if each.name in BOTH]


@pytest.mark.parametrize("dry_run", [False, True])
def test_where_one_of_them_is_older_than_what_is_here_none_is_installed(tmp_path, far, pigsty, minio, older, dry_run):
    receive(far, bundle(tmp_path / "1", minio).path, allow_unsigned=True)
    before = everything(far)
    path = bundle(tmp_path / "2", pigsty, older).path

    with pytest.raises(RollbackError):
        receive(far, path, allow_unsigned=True, dry_run=dry_run)
    assert everything(far) == before

    receive(far, path, allow_unsigned=True, allow_older=True)
    assert (tree(far / "www/pigsty"), tree(far / "www/minio")) == (pigsty.files(), older.files())


def test_a_dry_run_says_what_comes_of_each_and_writes_nothing(tmp_path, far, pigsty, minio):
    before = everything(far)

    done = receive(far, bundle(tmp_path / "out", pigsty, minio).path, allow_unsigned=True, dry_run=True)

    assert [(each.contents.name, each.problem) for each in done] == [("pigsty", None), ("minio", None)]
    assert everything(far) == before


def test_a_key_that_is_believed_for_one_is_not_believed_for_the_other(tmp_path, far, key, pigsty, minio):
    receive(far, bundle(tmp_path / "1", pigsty, key=key).path, fingerprints=(key.fingerprint,))
    shutil.rmtree(far / "www/pigsty")
    path = bundle(tmp_path / "2", pigsty, minio, key=key).path

    with pytest.raises(VerificationError, match="for another repository, not for minio"):
        receive(far, path)
    assert not (far / "www/minio").exists()

    [done] = receive(far, path, names=frozenset({"pigsty"}))
    assert done.lock is not None


# --- what is asked of it ---------------------------------------------------------------------------------------------


def test_a_check_gives_a_receipt_for_each(tmp_path, pigsty, minio):
    path = bundle(tmp_path / "out", pigsty, minio).path

    with session(tmp_path) as run_:
        found = check_bundle(run_, path)

    assert [(each.name, each.kind, each.files) for each in found] == [
        (made.path.name, "bundle", len(made.files()) - 1) for made in (pigsty, minio)
    ]


def test_a_check_says_of_which_repository_it_speaks(tmp_path, call, pigsty, minio):
    path = bundle(tmp_path / "out", pigsty, minio).path

    _, said, error = call("check", path)

    assert [line.partition(" (")[0] for line in said.splitlines() if line.startswith(str(path))] == [
        f"{path}: pigsty: does not hold",
        f"{path}: minio: does not hold",
    ]
    assert f"not proven: {path}: pigsty: " in error


@pytest.mark.parametrize(("name", "taken"), [("", "pigsty"), ("minio", "minio"), ("pigsty", "pigsty")])
def test_a_bundle_is_opened_at_the_repository_that_is_named_else_at_the_first(tmp_path, pigsty, minio, name, taken):
    path = bundle(tmp_path / "out", pigsty, minio).path

    with session(tmp_path) as run_:
        assert open_place(run_, path, name).lock.name == taken
        with pytest.raises(UsageError, match="no repository more"):
            open_place(run_, path, "more")


# --- the command line ------------------------------------------------------------------------------------------------

MANIFEST = """\
version: v4.5.0
repo_upstream:
  - name: base
    module: node
    releases: [12]
    verify: none
    baseurl: { default: 'http://a.example/debian ${distro_codename} main' }
"""
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    for name in ("REPOBUILD_STORE", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))

    def call(*words: object, more: str = "cache_repo: 'pigsty,minio'\n") -> tuple[int, str, str]:
        manifest = tmp_path / "manifest.yml"
        manifest.write_text(MANIFEST + more)
        code = run([*map(str, words), "-c", str(manifest), "--home", str(tmp_path / "www")])
        return code, *capsys.readouterr()

    return call


def publish(tmp_path: Path, *made: Fabricated) -> None:
    """Put repositories where those of d12.x86_64 are on this machine."""
    host = host_target()
    home = tmp_path / "www" if host is not None and host.name == "d12.x86_64" else tmp_path / "www/d12.x86_64"
    for each in made:
        shutil.copytree(each.path, home / each.path.name)


def test_what_cache_repo_names_is_in_the_bundle(tmp_path, call, pigsty, minio):
    publish(tmp_path, pigsty, minio)

    code, said, _ = call("bundle", "d12.x86_64", "--published", "-o", tmp_path / "out", "--json")

    assert code == 0
    [row] = json.loads(said)["bundles"]
    assert [part["repositories"] for part in row["parts"]] == [["pigsty", "minio"]]
    assert Path(row["path"]).name == NAME


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("", ("pigsty",)),
        ("cache_repo: minio\n", ("pigsty", "minio")),
        ("cache_repo: 'minio, pigsty'\n", ("minio", "pigsty")),
    ],
)
def test_the_own_repository_is_always_in_it(tmp_path, call, pigsty, minio, more, expected):
    publish(tmp_path, pigsty, minio)

    code, said, error = call("bundle", "d12.x86_64", "--published", "-o", tmp_path / "out", more=more)

    [path] = (tmp_path / "out").glob("*.tgz")
    assert (code, path.name) == (0, NAME), error
    assert tuple(each.name for each in inspect(path, None).repositories) == expected
    assert (": " + ", ".join(expected) in said) == (len(expected) > 1)


def test_a_repository_of_cache_repo_that_is_not_there_is_named_before_anything_is_done(tmp_path, call, pigsty):
    publish(tmp_path, pigsty)

    code, _, error = call("bundle", "d12.x86_64", "--published", "-o", tmp_path / "out")

    assert code == 6
    assert "minio" in error.splitlines()[0]
    assert "hint: cache_repo names minio, whose own manifest makes it" in error
    assert not (tmp_path / "out").exists()


def test_a_target_that_lacks_one_of_them_ends_no_other(tmp_path, call, pigsty, minio):
    publish(tmp_path, pigsty, minio)

    code, said, error = call("bundle", "d12.x86_64", "d12.aarch64", "--published", "-o", tmp_path / "out", "--json")

    found = json.loads(said)
    assert (code, [each["target"] for each in found["bundles"]]) == (6, ["d12.x86_64"]), error
    assert list(found["failed"]) == ["d12.aarch64"]


def test_what_was_published_before_a_failure_is_told_to_machines_too(tmp_path, call, pigsty, minio):
    path = bundle(tmp_path / "out", pigsty, minio).path
    call("install", path, "--allow-unsigned", "--name", "minio")
    [area] = (tmp_path / "www").rglob(".minio.repobuild")

    with (area / "lock").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        code, said, error = call("install", path, "--allow-unsigned", "--json")

    done, failure = json.loads(said)
    assert (code, done["name"], failure["exit"]) == (75, "pigsty", 75)
    assert "another run" in error


def test_since_may_be_given_for_each_repository(tmp_path, call, pigsty, minio, older):
    publish(tmp_path, pigsty, minio)
    olds = [bundle(tmp_path / name, made).path for name, made in (("1", pigsty), ("2", older))]

    code, said, _ = call(
        "bundle", "--published", "-o", tmp_path / "out", "--json", "--since", olds[0], "--since", olds[1]
    )
    only, _, _ = call("bundle", "--published", "-o", tmp_path / "only", "--since", olds[1])
    twice, _, error = call("bundle", "--published", "-o", tmp_path / "x", "--since", olds[1], "--since", olds[1])

    assert (code, only, twice) == (0, 0, 2)
    [row] = json.loads(said)["bundles"]
    assert [part["repositories"] for part in row["parts"]] == [["pigsty"], ["minio"]]
    assert [path.name.partition("-")[0] for path in (tmp_path / "only").glob("*.tgz")] == ["minio"]
    assert "both say what the far side has of minio" in error


def test_an_install_with_the_manifest_takes_what_it_names(tmp_path, call, pigsty, minio):
    path = bundle(tmp_path / "out", pigsty, minio).path

    code, _, error = call("install", path, "--allow-unsigned", more="")
    both, said, _ = call("install", path, "--allow-unsigned", "--json")

    assert (code, both) == (0, 0)
    assert "left out: minio" in error
    assert [row["name"] for row in json.loads(said)] == ["pigsty", "minio"]


def test_a_difference_is_told_of_the_repository_that_is_named(tmp_path, call, pigsty, minio, older):
    one, two = bundle(tmp_path / "1", pigsty, older).path, bundle(tmp_path / "2", pigsty, minio).path

    first, _, error = call("diff", one, two, "--exit-code")
    named, _, _ = call("diff", one, two, "--exit-code", "--name", "minio")

    assert (first, named) == (0, 6)
    assert "holds pigsty, minio; taken: pigsty (choose with --name)" in error
