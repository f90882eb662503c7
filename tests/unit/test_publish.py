import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
import stat
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import crashpoints
import pytest
from crashpoints import NOW, PARTS, Objects, beside, payload, tree_of, tree_of_generation

from repobuild.durable import Folder
from repobuild.errors import BusyError, DiskError, HostileInputError, VerificationError
from repobuild.model import Asset, Kind, Tree, TreeFile
from repobuild.publish import Repository, make_tree
from repobuild.record import format_marker, parse_marker

WEEK = 7 * 24 * 3600


class Notes:
    """A progress that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)

    def debug(self, text: str) -> None: ...

    def start(self, what: str, total: int) -> None: ...

    def advance(self, count: int) -> None: ...

    def finish(self) -> None: ...


@pytest.fixture(params=["exchange", "piecewise"])
def piecewise(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "piecewise")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def generation(root: Path, number: int, *, piecewise: bool = False) -> Repository:
    crashpoints.fill(root, number)
    crashpoints.publish(root, number, piecewise=piecewise)
    return Repository(root / "home", PARTS)


def generations(root: Path, *numbers: int, piecewise: bool = False) -> Repository:
    for number in numbers:
        generation(root, number, piecewise=piecewise)
    return Repository(root / "home", PARTS)


def publish(
    root: Path, files: dict[str, bytes], time: int, *, now: int = NOW, extra: tuple[TreeFile, ...] = ()
) -> Repository:
    objects = Objects(root / "objects")
    for data in files.values():
        objects.add(data)
    lock, text = crashpoints.lock_of(files, time), crashpoints.lock_text(files, time)
    tree = make_tree(lock, text, [*crashpoints.metadata(files), *extra])
    repository = Repository(root / "home", PARTS)
    repository.publish(tree, objects, beside={}, now=now)
    return repository


def marker_of(number: int) -> bytes | None:
    return tree_of_generation(number).files[-1].content


def made(path: str, content: bytes, kind: Kind) -> TreeFile:
    digest = hashlib.sha256(content).hexdigest()
    return TreeFile(path=path, kind=kind, size=len(content), sha256=digest, content=content)


def record(root: Path) -> dict[str, dict[str, object]]:
    loaded = json.loads((root / "home/pigsty/.repobuild/generation.json").read_text())
    assert isinstance(loaded, dict)
    return loaded


# The tree


def test_the_marker_lists_every_file_but_itself_sorted_by_bytes_and_comes_last() -> None:
    tree = tree_of_generation(1)

    marker = tree.files[-1]
    assert (marker.path, marker.kind) == ("repo_complete", Kind.MARKER)
    assert marker.content is not None
    lines = marker.content.decode().splitlines()
    assert [line[66:] for line in lines] == sorted((f.path for f in tree.files[:-1]), key=os.fsencode)
    assert [line[:64] for line in lines] == [f.sha256 for f in sorted(tree.files[:-1], key=lambda f: f.path.encode())]


def test_a_tree_is_in_commit_order_and_holds_the_lock() -> None:
    files = tree_of_generation(1).files

    assert [file.kind for file in files] == sorted(file.kind for file in files)
    assert [file.path for file in files if file.kind is Kind.POINTER] == ["Release", "InRelease"]
    assert "repobuild.lock" in {file.path for file in files}


def test_the_same_file_twice_is_one_file() -> None:
    lock = crashpoints.lock_of({"a_1_all.deb": b"a"}, 1)
    twice = dataclasses.replace(lock, choices=lock.choices * 2)

    assert make_tree(twice, b"", []).files == make_tree(lock, b"", []).files


def test_one_name_with_two_digests_is_refused_naming_both_upstreams() -> None:
    lock = crashpoints.lock_of({"a_1_all.deb": b"a"}, 1)
    choice = lock.choices[0]
    other = dataclasses.replace(choice.package, sha256="0" * 64, upstream="elsewhere")
    lock = dataclasses.replace(lock, choices=(choice, dataclasses.replace(choice, package=other)))

    with pytest.raises(HostileInputError, match=r"upstream main and upstream elsewhere: a_1_all.deb"):
        make_tree(lock, b"", [])


@pytest.mark.parametrize(
    "name",
    [
        "repo_complete",
        "repobuild.lock",
        "Packages",
        "../x",
        "/etc/passwd",
        ".repobuild",
        "a\nb",
        "by-hash",
        "a/../b",
        "",
    ],
)
def test_payload_cannot_take_the_place_of_our_own_files_nor_leave_the_repository(name: str) -> None:
    asset = Asset(name=name, url="https://example.org/x", size=1, sha256="0" * 64)
    lock = dataclasses.replace(crashpoints.lock_of({}, 1), assets=(asset,))

    with pytest.raises(HostileInputError):
        make_tree(lock, b"", crashpoints.metadata({}))


def test_a_marker_reads_back_and_nothing_else_is_one() -> None:
    digests = {"b": "1" * 64, "a/c": "2" * 64}

    assert parse_marker(format_marker(digests)) == digests
    for text in (
        b"x",
        b"\n",
        b"0" * 32 + b"  md5\n",
        b"\xff\n",
        b"1" * 64 + b"  ../x\n",
        b"1" * 64 + b"  a",
        b"1" * 64 + b"  .repobuild/x\n",
    ):
        with pytest.raises(HostileInputError):
            parse_marker(text)
    with pytest.raises(HostileInputError):
        parse_marker((b"1" * 64 + b"  a\n") * 2)


# Publishing


def test_what_is_published_is_the_tree_and_passes_sha256sum(tmp_path: Path, piecewise: bool) -> None:
    generation(tmp_path, 0, piecewise=piecewise)
    generation(tmp_path, 1, piecewise=piecewise)

    done = subprocess.run(
        ["sha256sum", "-c", "--strict", "repo_complete"], cwd=tmp_path / "home/pigsty", capture_output=True, check=False
    )
    assert done.returncode == 0
    assert (tmp_path / "home/pigsty/repo_complete").read_bytes() == marker_of(1)
    assert (tmp_path / "home/pigsty.list").read_bytes() == beside(1)["pigsty.list"]


def test_a_repository_below_the_home_has_its_client_files_beside_it(tmp_path: Path, home: Path) -> None:
    objects = crashpoints.fill(tmp_path, 1)

    Repository(home, ("d13.x86_64", "pigsty")).publish(tree_of_generation(1), objects, beside=beside(1), now=NOW)

    assert sorted(os.listdir(home)) == ["d13.x86_64"]
    assert sorted(os.listdir(home / "d13.x86_64")) == [".pigsty.repobuild", "pigsty", "pigsty.list"]


@pytest.mark.parametrize("mask", [0o000, 0o077])
def test_modes_do_not_depend_on_the_umask_and_times_are_the_locks(
    tmp_path: Path, umask: None, mask: int, piecewise: bool
) -> None:
    os.umask(mask)

    generation(tmp_path, 0, piecewise=piecewise)
    generation(tmp_path, 1, piecewise=piecewise)

    repository = tmp_path / "home" / "pigsty"
    for path in (tmp_path / "home", repository, *repository.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o755 if path.is_dir() else 0o644), path
    for name in ("Packages", "Release", "InRelease", "repo_complete", "repobuild.lock"):
        assert (repository / name).stat().st_mtime == NOW + 1


def test_client_files_are_rewritten_only_when_their_bytes_differ(tmp_path: Path, home: Path) -> None:
    repository = generation(tmp_path, 1)
    before = (home / "pigsty.list").stat().st_ino

    repository.write_beside(beside(1))
    assert (home / "pigsty.list").stat().st_ino == before
    repository.write_beside(beside(2))

    assert (home / "pigsty.list").read_bytes() == beside(2)["pigsty.list"]


def test_a_client_file_that_is_a_link_is_replaced_not_followed(tmp_path: Path, home: Path) -> None:
    home.mkdir()
    outside = tmp_path / "outside"
    outside.write_bytes(beside(1)["pigsty.list"])
    (home / "pigsty.list").symlink_to(outside)

    generation(tmp_path, 1)
    generation(tmp_path, 2)

    assert outside.read_bytes() == beside(1)["pigsty.list"]
    assert (home / "pigsty.list").read_bytes() == beside(2)["pigsty.list"]


def test_an_unchanged_payload_file_keeps_its_inode_even_where_the_source_copies(tmp_path: Path, home: Path) -> None:
    crashpoints.fill(tmp_path, 0)
    crashpoints.publish(tmp_path, 0, copy=True)
    before = (home / "pigsty/p8_0_all.deb").stat().st_ino

    crashpoints.fill(tmp_path, 1)
    crashpoints.publish(tmp_path, 1, copy=True)

    assert (home / "pigsty/p8_0_all.deb").stat().st_ino == before


def test_a_file_changed_in_place_is_not_taken_over_from_the_former_generation(tmp_path: Path, home: Path) -> None:
    crashpoints.fill(tmp_path, 0)
    crashpoints.publish(tmp_path, 0, copy=True)
    path = home / "pigsty/p8_0_all.deb"
    status = path.stat()
    path.write_bytes(b"X" * status.st_size)
    os.utime(path, ns=(status.st_mtime_ns, status.st_mtime_ns))

    crashpoints.fill(tmp_path, 1)
    crashpoints.publish(tmp_path, 1, copy=True)

    assert path.read_bytes() == payload(1)["p8_0_all.deb"]


def test_a_source_that_gives_another_size_changes_nothing(tmp_path: Path, home: Path) -> None:
    repository = generation(tmp_path, 0)
    objects = crashpoints.fill(tmp_path, 1)
    digest = hashlib.sha256(payload(1)["p0_1_all.deb"]).hexdigest()
    (tmp_path / "objects" / digest).write_bytes(b"short")

    with pytest.raises(VerificationError, match=r"p0_1_all.deb has 5 bytes"):
        repository.publish(tree_of_generation(1), objects, beside={}, now=NOW)

    assert (home / "pigsty/repo_complete").read_bytes() == marker_of(0)
    assert repository.is_intact()


def test_the_source_hears_of_every_object_whose_links_changed(tmp_path: Path) -> None:
    for number in (0, 1):
        generation(tmp_path, number)
    objects = crashpoints.fill(tmp_path, 2)

    Repository(tmp_path / "home", PARTS).publish(tree_of_generation(2), objects, beside={}, now=NOW)

    changed = {hashlib.sha256(data).hexdigest() for number in (0, 2) for data in payload(number).values()}
    assert changed <= set(objects.resealed)
    assert objects.resealed == sorted(set(objects.resealed))


# What stays for clients that are reading


def test_former_payload_and_indexes_stay_seven_days_and_are_in_no_marker(tmp_path: Path, piecewise: bool) -> None:
    repository = generation(tmp_path, 0, piecewise=piecewise)
    generation(tmp_path, 1, piecewise=piecewise)

    assert (tmp_path / "home/pigsty/p0_0_all.deb").read_bytes() == payload(0)["p0_0_all.deb"]
    assert record(tmp_path)["carried"]["p0_0_all.deb"]["since"] == NOW + 1  # type: ignore[index]
    assert len(os.listdir(tmp_path / "home/pigsty/by-hash/SHA256")) == 2
    assert b"p0_0_all.deb" not in (tmp_path / "home/pigsty/repo_complete").read_bytes()
    repository.prune(NOW + 1 + WEEK - 1)
    assert (tmp_path / "home/pigsty/p0_0_all.deb").exists()
    repository.prune(NOW + 1 + WEEK)
    assert not (tmp_path / "home/pigsty/p0_0_all.deb").exists()
    assert record(tmp_path)["carried"] == {}
    assert len(os.listdir(tmp_path / "home/pigsty/by-hash/SHA256")) == 1
    assert repository.is_intact()


def test_the_time_of_leaving_is_kept_through_later_publications(tmp_path: Path, piecewise: bool) -> None:
    for number in (0, 1, 2):
        generation(tmp_path, number, piecewise=piecewise)

    carried = record(tmp_path)["carried"]
    assert carried["p0_0_all.deb"]["since"] == NOW + 1  # type: ignore[index]
    assert carried["p0_1_all.deb"]["since"] == NOW + 2  # type: ignore[index]


def test_what_was_carried_for_seven_days_is_gone_with_the_next_publication(tmp_path: Path) -> None:
    publish(tmp_path, {"a_1_all.deb": b"a1"}, 1, now=NOW)
    publish(tmp_path, {"a_2_all.deb": b"a2"}, 2, now=NOW)
    publish(tmp_path, {"a_3_all.deb": b"a3"}, 3, now=NOW + WEEK)

    names = os.listdir(tmp_path / "home/pigsty")
    assert "a_1_all.deb" not in names
    assert "a_2_all.deb" in names


def test_a_name_that_comes_back_is_the_new_file_and_no_longer_carried(tmp_path: Path) -> None:
    publish(tmp_path, {"a_1_all.deb": b"first"}, 1)
    publish(tmp_path, {}, 2)
    publish(tmp_path, {"a_1_all.deb": b"second"}, 3)

    assert (tmp_path / "home/pigsty/a_1_all.deb").read_bytes() == b"second"
    assert "a_1_all.deb" not in record(tmp_path)["carried"]


def test_a_pointer_or_an_index_of_a_fixed_name_is_never_carried_over(tmp_path: Path, piecewise: bool) -> None:
    extra = (made("Release.gpg", b"signature", Kind.POINTER), made("Packages.xz", b"packed", Kind.INDEX))
    publish(tmp_path, {"a_1_all.deb": b"a"}, 1, extra=extra)
    generation(tmp_path, 1, piecewise=piecewise)

    names = os.listdir(tmp_path / "home/pigsty")
    assert "a_1_all.deb" in names
    assert "Release.gpg" not in names
    assert "Packages.xz" not in names


def test_a_link_planted_in_the_repository_is_not_carried_over(tmp_path: Path) -> None:
    generation(tmp_path, 0)
    path = tmp_path / "home/pigsty/p0_0_all.deb"
    path.unlink()
    path.symlink_to("/etc/passwd")

    generation(tmp_path, 1)

    assert not os.path.lexists(path)
    assert "p0_0_all.deb" not in record(tmp_path)["carried"]


def test_of_a_repository_unpacked_from_a_bundle_the_payload_stays_reachable(tmp_path: Path) -> None:
    generation(tmp_path, 0)
    shutil.rmtree(tmp_path / "home/pigsty/.repobuild")

    generation(tmp_path, 1)

    carried = record(tmp_path)["carried"]
    assert "p0_0_all.deb" in carried
    assert not {"Packages", "Release", "repobuild.lock"} & carried.keys()


# Generations


def test_the_last_two_generations_are_kept(tmp_path: Path, piecewise: bool) -> None:
    repository = generations(tmp_path, 0, 1, 2, piecewise=piecewise)

    previous = repository.previous()
    assert previous is not None
    assert previous.marker == marker_of(1)
    assert previous.lock_text == crashpoints.lock_text(payload(1), NOW + 1)
    assert sorted(os.listdir(tmp_path / "home/.pigsty.repobuild")) == ["lock", "previous"]


def test_the_first_publication_has_no_previous_generation(tmp_path: Path) -> None:
    assert Repository(tmp_path / "home", PARTS).previous() is None
    assert generation(tmp_path, 0).previous() is None


def test_publishing_the_same_tree_again_keeps_the_previous_generation(tmp_path: Path, piecewise: bool) -> None:
    repository = generations(tmp_path, 0, 1, 1, piecewise=piecewise)

    previous = repository.previous()
    assert previous is not None
    assert previous.marker == marker_of(0)


def test_a_rollback_needs_nothing_but_the_previous_generation(tmp_path: Path, piecewise: bool) -> None:
    generation(tmp_path, 0, piecewise=piecewise)
    repository = generation(tmp_path, 1, piecewise=piecewise)
    shutil.rmtree(tmp_path / "objects")
    previous = repository.previous()
    assert previous is not None

    tree = tree_of(payload(0), NOW + 2)
    repository.publish(tree, previous, beside={}, now=NOW)

    assert repository.is_intact()
    assert (tmp_path / "home/pigsty/p0_0_all.deb").read_bytes() == payload(0)["p0_0_all.deb"]
    again = repository.previous()
    assert again is not None
    assert again.marker == marker_of(1)


def test_a_changed_file_of_the_previous_generation_is_refused(tmp_path: Path, home: Path) -> None:
    crashpoints.fill(tmp_path, 0)
    crashpoints.publish(tmp_path, 0, copy=True)
    crashpoints.fill(tmp_path, 1)
    crashpoints.publish(tmp_path, 1, copy=True)
    (home / ".pigsty.repobuild/previous/p0_0_all.deb").write_bytes(b"X" * len(payload(0)["p0_0_all.deb"]))
    repository = Repository(home, PARTS)
    previous = repository.previous()
    assert previous is not None

    with pytest.raises(VerificationError, match=r"changed since it was published: .*p0_0_all.deb"):
        repository.publish(tree_of(payload(0), NOW + 2), previous, beside={}, now=NOW)

    assert (home / "pigsty/repo_complete").read_bytes() == marker_of(1)


def test_after_a_kill_between_exchange_and_renaming_the_former_generation_is_not_lost(
    tmp_path: Path, home: Path
) -> None:
    repository = generations(tmp_path, 0, 1)
    area = home / ".pigsty.repobuild"
    (area / "previous").rename(area / "next")
    shutil.copytree(area / "next", area / "stage")

    previous = repository.previous()
    assert previous is not None
    assert previous.marker == marker_of(0)
    repository.prune(NOW)

    assert sorted(os.listdir(area)) == ["lock", "previous"]
    assert (area / "previous/repo_complete").read_bytes() == marker_of(0)


def test_after_a_kill_before_the_exchange_the_tree_that_was_built_is_no_generation(tmp_path: Path, home: Path) -> None:
    repository = generations(tmp_path, 0, 1)
    crashpoints.fill(tmp_path, 2)

    def killed(*_: object) -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Repository(home, PARTS, exchange=killed).publish(
            tree_of_generation(2), Objects(tmp_path / "objects"), beside={}, now=NOW
        )

    assert (home / ".pigsty.repobuild/next/repo_complete").read_bytes() == marker_of(2)
    assert (home / "pigsty/repo_complete").read_bytes() == marker_of(1)
    previous = repository.previous()
    assert previous is not None
    assert previous.marker == marker_of(0)
    repository.prune(NOW)
    assert sorted(os.listdir(home / ".pigsty.repobuild")) == ["lock", "previous"]


# What is unchanged


def test_current_is_none_until_there_is_a_marker(tmp_path: Path, home: Path) -> None:
    repository = Repository(home, PARTS)
    assert repository.current() is None
    assert not repository.is_intact()
    (home / "pigsty").mkdir(parents=True)
    assert repository.current() is None

    generation(tmp_path, 1)

    current = repository.current()
    assert current is not None
    assert current.marker == marker_of(1)
    assert current.lock_text == crashpoints.lock_text(payload(1), NOW + 1)
    assert current.generation is not None
    assert current.generation.time == NOW + 1


def test_a_repository_just_published_is_intact_without_hashing(tmp_path: Path, home: Path, piecewise: bool) -> None:
    generation(tmp_path, 0, piecewise=piecewise)
    repository = generation(tmp_path, 1, piecewise=piecewise)
    before = (home / "pigsty/.repobuild/seals.json").stat()

    assert repository.is_intact()

    after = (home / "pigsty/.repobuild/seals.json").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.parametrize("damage", ["changed", "truncated", "removed", "linked", "marker"])
def test_a_damaged_repository_is_not_intact(tmp_path: Path, home: Path, damage: str) -> None:
    repository = generation(tmp_path, 0)
    path = home / "pigsty/p8_0_all.deb"
    data = path.read_bytes()
    path.unlink()
    if damage == "changed":
        path.write_bytes(b"X" + data[1:])
    elif damage == "truncated":
        path.write_bytes(data[:-1])
    elif damage == "linked":
        (tmp_path / "same").write_bytes(data)
        path.symlink_to(tmp_path / "same")
    elif damage == "marker":
        path.write_bytes(data)
        (home / "pigsty/repo_complete").write_bytes(b"")

    assert not repository.is_intact()


def test_a_touched_file_is_hashed_and_sealed_again(tmp_path: Path, home: Path) -> None:
    repository = generation(tmp_path, 0)
    os.utime(home / "pigsty/p8_0_all.deb")
    before = (home / "pigsty/.repobuild/seals.json").stat().st_ino

    assert repository.is_intact()
    healed = (home / "pigsty/.repobuild/seals.json").stat().st_ino
    assert repository.is_intact()

    assert healed != before
    assert (home / "pigsty/.repobuild/seals.json").stat().st_ino == healed


def test_a_repository_without_record_is_hashed_against_its_marker(tmp_path: Path, home: Path) -> None:
    repository = generation(tmp_path, 0)
    shutil.rmtree(home / "pigsty/.repobuild")

    assert repository.is_intact()
    assert (home / "pigsty/.repobuild/seals.json").exists()


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": 1}', "[" * 100_000, '{"format": 1, "files": 3, "marker": 2}']
)
def test_a_damaged_record_is_as_none(tmp_path: Path, home: Path, text: str) -> None:
    repository = generation(tmp_path, 0)
    for name in ("generation.json", "seals.json"):
        (home / "pigsty/.repobuild" / name).write_text(text)

    assert repository.is_intact()
    generation(tmp_path, 1)
    assert repository.is_intact()


def test_a_publication_that_stopped_half_way_file_by_file_is_not_intact(tmp_path: Path, home: Path) -> None:
    repository = generation(tmp_path, 1)
    loaded = json.loads((home / "pigsty/.repobuild/generation.json").read_text())
    (home / "pigsty/.repobuild/generation.json").write_text(json.dumps({**loaded, "marker": "0" * 64}))

    assert not repository.is_intact()


def test_the_marker_of_another_tool_is_replaced_and_its_repository_kept_as_previous(tmp_path: Path, home: Path) -> None:
    (home / "pigsty").mkdir(parents=True)
    (home / "pigsty/x.deb").write_bytes(b"x")
    (home / "pigsty/repo_complete").write_text("9dd4e461268c8034f5c8564e155c67a6  x.deb\n")
    assert not Repository(home, PARTS).is_intact()

    repository = generation(tmp_path, 0)

    assert repository.is_intact()
    assert (home / ".pigsty.repobuild/previous/x.deb").exists()


# Things in the way


def test_a_link_in_the_repositorys_place_is_an_error_with_a_hint(tmp_path: Path, home: Path) -> None:
    home.mkdir()
    (tmp_path / "elsewhere").mkdir()
    (home / "pigsty").symlink_to(tmp_path / "elsewhere")
    repository = Repository(home, PARTS)

    for operation in (lambda: generation(tmp_path, 0), repository.current, repository.is_intact):
        with pytest.raises(DiskError, match="symbolic link") as caught:
            operation()
        assert caught.value.hint

    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_link_above_the_repository_but_below_the_home_is_refused(tmp_path: Path, home: Path) -> None:
    home.mkdir()
    (tmp_path / "elsewhere").mkdir()
    (home / "d13.x86_64").symlink_to(tmp_path / "elsewhere")
    objects = crashpoints.fill(tmp_path, 0)

    with pytest.raises(DiskError):
        Repository(home, ("d13.x86_64", "pigsty")).publish(tree_of_generation(0), objects, beside={}, now=NOW)

    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_home_that_is_a_link_is_the_operators_choice(tmp_path: Path, home: Path) -> None:
    (tmp_path / "data").mkdir()
    home.symlink_to(tmp_path / "data")

    assert generation(tmp_path, 0).is_intact()
    assert (tmp_path / "data/pigsty/repo_complete").exists()


def test_a_folder_with_files_that_was_never_a_repository_is_left_alone(tmp_path: Path, home: Path) -> None:
    (home / "pigsty").mkdir(parents=True)
    (home / "pigsty/precious").write_bytes(b"x")

    with pytest.raises(DiskError, match="no repository") as caught:
        generation(tmp_path, 0)

    assert caught.value.hint
    assert os.listdir(home / "pigsty") == ["precious"]


def test_an_empty_folder_in_the_repositorys_place_is_taken(tmp_path: Path, home: Path) -> None:
    (home / "pigsty").mkdir(parents=True)

    assert generation(tmp_path, 0).is_intact()
    assert os.listdir(home / ".pigsty.repobuild") == ["lock"]


def test_a_file_of_the_operator_in_the_repository_is_named_when_it_goes(tmp_path: Path, home: Path) -> None:
    generation(tmp_path, 0)
    (home / "pigsty/mine.tgz").write_bytes(b"x")
    objects, notes = crashpoints.fill(tmp_path, 1), Notes()

    Repository(home, PARTS).publish(tree_of_generation(1), objects, beside={}, now=NOW, progress=notes)

    assert any("mine.tgz" in line for line in notes.lines)
    assert (home / ".pigsty.repobuild/previous/mine.tgz").exists()


@pytest.mark.parametrize("name", ["repo_complete", "repobuild.lock"])
def test_a_link_planted_as_marker_or_lock_is_healed_by_publishing(tmp_path: Path, home: Path, name: str) -> None:
    repository = generation(tmp_path, 0)
    (home / "pigsty" / name).unlink()
    (home / "pigsty" / name).symlink_to("/etc/passwd")
    assert not repository.is_intact()

    generation(tmp_path, 1)

    assert repository.is_intact()
    assert Path("/etc/passwd").read_bytes() != (home / "pigsty" / name).read_bytes()


class Swapping(Objects):
    """A source at whose first call somebody puts a link in the place of a folder above the repository."""

    def __init__(self, path: Path, folder: Path, trap: Path) -> None:
        super().__init__(path)
        self.folder = folder
        self.trap = trap

    def place(self, sha256: str, folder: Folder, name: str, mtime: int | None = None) -> None:
        if not self.folder.is_symlink():
            self.folder.rename(self.folder.with_name("moved"))
            self.folder.symlink_to(self.trap)
        super().place(sha256, folder, name, mtime)


@pytest.mark.parametrize(
    "swapped", ["d13.x86_64", "d13.x86_64/.pigsty.repobuild", "d13.x86_64/.pigsty.repobuild/stage", "d13.x86_64/pigsty"]
)
def test_a_folder_swapped_for_a_link_while_we_publish_leads_nowhere(tmp_path: Path, home: Path, swapped: str) -> None:
    objects = crashpoints.fill(tmp_path, 0)
    repository = Repository(home, ("d13.x86_64", "pigsty"))
    repository.publish(tree_of_generation(0), objects, beside={}, now=NOW)
    crashpoints.fill(tmp_path, 1)
    trap = tmp_path / "trap"
    trap.mkdir()
    (trap / "canary").write_bytes(b"x")

    source = Swapping(objects.path, home / swapped, trap)
    with contextlib.suppress(DiskError):
        repository.publish(tree_of_generation(1), source, beside=beside(1), now=NOW)

    assert os.listdir(trap) == ["canary"]


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")
def test_a_home_of_another_user_is_named_with_the_way_out(tmp_path: Path) -> None:
    root = Path("/tmp") / f"repobuild-{tmp_path.name}-{os.getpid()}"
    root.mkdir(mode=0o755)
    (root / "home").mkdir(mode=0o755)
    try:
        objects = crashpoints.fill(root, 0)
        os.seteuid(12345)
        try:
            with pytest.raises(DiskError, match="permission denied") as caught:
                Repository(root / "home", PARTS).publish(tree_of_generation(0), objects, beside={}, now=NOW)
        finally:
            os.seteuid(0)
    finally:
        shutil.rmtree(root)

    assert caught.value.hint is not None
    assert "--fix-owner" in caught.value.hint
    assert "belongs to root" in caught.value.hint


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a folder away needs root")
def test_in_another_users_home_root_says_so_and_publishes_its_own_files(tmp_path: Path, home: Path) -> None:
    generation(tmp_path, 0)
    for path in (home, *home.rglob("*")):
        os.chown(path, 12345, 12345)
    objects, notes = crashpoints.fill(tmp_path, 1), Notes()

    Repository(home, PARTS).publish(
        tree_of_generation(1), Objects(objects.path, copy=True), beside=beside(1), now=NOW, progress=notes
    )

    assert any("user 12345" in line and "--fix-owner" in line for line in notes.lines)
    listed = parse_marker((home / "pigsty/repo_complete").read_bytes())
    assert {(home / "pigsty" / path).stat().st_uid for path in listed} == {0}
    assert (home / "pigsty").stat().st_uid == 0


@pytest.fixture
def mounted(home: Path) -> Iterator[Path]:
    """Make the repository's folder a mount point."""
    path = home / "pigsty"
    path.mkdir(parents=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(path)], check=False, capture_output=True)
    if done.returncode != 0:
        pytest.skip("a tmpfs cannot be mounted here")
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)  # lazily: a failed test still holds its folders open


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_repository_that_is_a_mount_point_is_published_file_by_file(
    tmp_path: Path, home: Path, mounted: Path
) -> None:
    repository = Repository(home, PARTS)
    for number in (0, 1, 2):
        generation(tmp_path, number)
        assert repository.is_intact()

    assert os.path.ismount(mounted)
    assert sorted(os.listdir(home)) == ["pigsty", "pigsty.list"]
    previous = repository.previous()
    assert previous is not None
    assert previous.marker == marker_of(1)
    assert sorted(os.listdir(mounted / ".repobuild")) == ["generation.json", "lock", "previous", "seals.json"]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_mounted_folder_that_was_never_a_repository_is_left_alone(tmp_path: Path, mounted: Path) -> None:
    (mounted / "precious").write_bytes(b"x")

    for _ in range(2):
        with pytest.raises(DiskError, match="no repository"):
            generation(tmp_path, 0)

    assert os.listdir(mounted) == ["precious"]


# Two at a time


def test_of_two_publishers_one_is_told_who_holds_the_lock_at_once(tmp_path: Path, home: Path) -> None:
    crashpoints.fill(tmp_path, 0)
    started, go_on = threading.Event(), threading.Event()

    class Slow(Objects):
        def place(self, sha256: str, folder: Folder, name: str, mtime: int | None = None) -> None:
            started.set()
            go_on.wait(30)
            super().place(sha256, folder, name, mtime)

    def slowly() -> None:
        Repository(home, PARTS).publish(tree_of_generation(0), Slow(tmp_path / "objects"), beside={}, now=NOW)

    thread = threading.Thread(target=slowly)
    thread.start()
    try:
        assert started.wait(30)
        with pytest.raises(BusyError, match=f"process {os.getpid()}") as caught:
            Repository(home, PARTS).publish(tree_of_generation(0), Objects(tmp_path / "objects"), beside={}, now=NOW)
        assert caught.value.exit_code == 75
        with pytest.raises(BusyError):
            Repository(home, PARTS).write_beside(beside(0))
    finally:
        go_on.set()
        thread.join()
    assert Repository(home, PARTS).is_intact()


def read_as_a_client(repository: Path) -> None:
    digest = (repository / "InRelease").read_text().strip()
    index = (repository / "by-hash/SHA256" / digest).read_bytes()
    assert hashlib.sha256(index).hexdigest() == digest
    for line in index.decode().splitlines():
        name, expected = line.split(" ")
        assert hashlib.sha256((repository / name).read_bytes()).hexdigest() == expected, name


def test_readers_never_miss_a_file_nor_see_a_mix_through_a_hundred_publications(
    tmp_path: Path, home: Path, piecewise: bool
) -> None:
    generation(tmp_path, 0)
    done = threading.Event()
    problems: list[BaseException] = []
    reads = [0, 0]

    def poll(reader: int) -> None:
        while not done.wait(0.001):
            try:
                read_as_a_client(home / "pigsty")
                reads[reader] += 1
            except (OSError, AssertionError) as problem:
                problems.append(problem)

    readers = [threading.Thread(target=poll, args=(reader,)) for reader in range(2)]
    for reader in readers:
        reader.start()
    try:
        exchange = crashpoints.cannot_exchange if piecewise else Folder.exchange
        repository = Repository(home, PARTS, exchange=exchange)
        for number in range(1, 101):
            objects, day = crashpoints.fill(tmp_path, number), number * 24 * 3600
            repository.publish(tree_of_generation(number), objects, beside={}, now=NOW + day)
    finally:
        done.set()
        for reader in readers:
            reader.join()

    assert problems == []
    assert min(reads) > 0


def test_a_tree_without_payload_can_be_published(tmp_path: Path) -> None:
    tree: Tree = tree_of({}, NOW)

    Repository(tmp_path / "home", PARTS).publish(tree, Objects(tmp_path), beside={}, now=NOW)

    assert Repository(tmp_path / "home", PARTS).is_intact()
