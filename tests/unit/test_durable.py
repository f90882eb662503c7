import errno
import functools
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from repobuild.durable import Folder, check_component, disk_errors
from repobuild.errors import BusyError, DiskError, HostileInputError


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    with Folder.open(tmp_path) as opened:
        yield opened


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "a/b", "/", "a\0b", "a\nb", "\x1b[2J", "\u202ecod", "\ud800", "x" * 256, "é" * 128],
)
def test_a_name_that_is_no_safe_component_is_refused(folder: Folder, name: str) -> None:
    with pytest.raises(HostileInputError):
        check_component(name)
    with pytest.raises(HostileInputError):
        folder.write(name, b"")
    with pytest.raises(HostileInputError):
        folder.folder(name, create=True)
    assert folder.names() == []


@pytest.mark.parametrize("name", ["..", "a/b", "a\0b", ""])
def test_looking_and_removing_never_leave_the_folder(folder: Folder, name: str) -> None:
    for operation in (folder.stat, folder.remove, folder.folder, folder.open_file):
        with pytest.raises(HostileInputError):
            operation(name)


def test_what_was_left_under_an_impossible_name_can_be_seen_and_removed(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    for name in (b"a\nb", b"latin-\xe9", b"\xe2\x80\xae"):
        Path(os.fsdecode(bytes(tmp_path / "d") + b"/" + name)).write_bytes(b"x")

    assert len(list(folder.walk())) == 3
    folder.remove("d")

    assert folder.names() == []


def test_a_long_name_of_many_bytes_can_be_written(folder: Folder) -> None:
    name = "é" * 127

    folder.write(name, b"x")

    assert folder.names() == [name]


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_modes_do_not_depend_on_the_umask(tmp_path: Path, umask: None, mask: int) -> None:
    os.umask(mask)

    with Folder.open(tmp_path / "a" / "b", create=True) as folder:
        folder.write("file", b"x")
        folder.folder("below", create=True).close()

    assert mode_of(tmp_path / "a") == mode_of(tmp_path / "a" / "b") == mode_of(tmp_path / "a" / "b" / "below") == 0o755
    assert mode_of(tmp_path / "a" / "b" / "file") == 0o644


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(folder: Folder) -> None:
    folder.write("file", b"old")

    def broken() -> Iterator[bytes]:
        yield b"new"
        raise OSError(errno.ENOSPC, "no space")

    with pytest.raises(DiskError, match="no space left"):
        folder.write("file", broken())

    assert folder.names() == ["file"]
    assert folder.read("file", 10) == b"old"


def test_a_write_sets_the_time_it_is_told(folder: Folder, tmp_path: Path) -> None:
    folder.write("file", [b"a", b"b"], mtime=1_700_000_000)

    assert (tmp_path / "file").stat().st_mtime_ns == 1_700_000_000 * 10**9
    assert (tmp_path / "file").read_bytes() == b"ab"


def test_a_write_replaces_a_link_and_does_not_follow_it(folder: Folder, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"untouched")
    (tmp_path / "file").symlink_to(outside)

    folder.write("file", b"new")

    assert outside.read_bytes() == b"untouched"
    assert not (tmp_path / "file").is_symlink()


def test_a_link_or_device_is_never_read(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"x")
    (tmp_path / "link").symlink_to("target")
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))

        for name in ("link", "pipe", "socket"):
            with pytest.raises(HostileInputError, match="not a regular file"):
                folder.sha256(name)


def test_a_folder_is_never_entered_through_a_link(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")

    for create in (False, True):
        with pytest.raises(DiskError, match=r"link"):
            folder.folder("link", create=create)
    with pytest.raises(DiskError):
        folder.descend(("link", "x"), create=True)
    assert not (tmp_path / "real" / "x").exists()


def test_an_open_folder_stays_itself_when_its_path_becomes_a_link(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "trap").mkdir()

    with Folder.open(tmp_path / "home") as folder:
        (tmp_path / "home").rename(tmp_path / "moved")
        (tmp_path / "home").symlink_to("trap")
        folder.write("file", b"x")

    assert (tmp_path / "moved" / "file").exists()
    assert list((tmp_path / "trap").iterdir()) == []


def test_a_file_larger_than_its_limit_is_refused(folder: Folder) -> None:
    folder.write("file", b"12345")

    assert folder.read("file", 5) == b"12345"
    assert folder.read("absent", 5) is None
    with pytest.raises(HostileInputError, match="larger than 4 bytes"):
        folder.read("file", 4)


def test_an_exchange_swaps_two_folders(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "a" / "was-a").touch()

    assert folder.exchange("a", folder, "b")

    assert (tmp_path / "b" / "was-a").exists()


def test_an_exchange_with_nothing_is_an_error(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()

    with pytest.raises(DiskError):
        folder.exchange("a", folder, "absent")


def test_an_exchange_between_file_systems_says_that_it_cannot_be(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()

    with Folder.open(Path("/proc/self")) as other:
        assert not folder.exchange("a", other, "task")


@pytest.mark.parametrize("copy", [False, True])
def test_a_placed_file_has_the_bytes_and_leaves_the_source_alone(folder: Folder, tmp_path: Path, copy: bool) -> None:
    source = tmp_path / "object"
    source.write_bytes(b"payload")

    folder.place(source, "placed", copy=copy)

    assert (tmp_path / "placed").read_bytes() == b"payload"
    assert folder.names() == ["object", "placed"]
    assert (source.stat().st_ino != (tmp_path / "placed").stat().st_ino) or not copy


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a file away needs root")
def test_a_file_of_another_owner_is_copied_not_linked(folder: Folder, tmp_path: Path) -> None:
    source = tmp_path / "object"
    source.write_bytes(b"payload")
    os.chown(source, 12345, 12345)

    folder.place(source, "placed", mtime=1_700_000_000)

    placed = (tmp_path / "placed").stat()
    assert (placed.st_uid, placed.st_nlink, placed.st_mtime) == (0, 1, 1_700_000_000)


def test_a_link_gives_a_second_name_and_refuses_to_replace(folder: Folder, tmp_path: Path) -> None:
    folder.write("a", b"x")
    folder.link("a", folder, "b")

    assert (tmp_path / "a").stat().st_ino == (tmp_path / "b").stat().st_ino
    with pytest.raises(DiskError):
        folder.link("a", folder, "b")


def test_removing_follows_no_link(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "keep").mkdir()
    (tmp_path / "keep" / "file").touch()
    (tmp_path / "gone").mkdir()
    (tmp_path / "gone" / "link").symlink_to(tmp_path / "keep")

    folder.remove("gone")
    folder.remove("absent")

    assert folder.names() == ["keep"]
    assert (tmp_path / "keep" / "file").exists()


def test_folders_without_end_are_refused_not_followed(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "/".join(["d"] * 100)).mkdir(parents=True)
    (tmp_path / "/".join(["d"] * 100) / "file").touch()

    with pytest.raises(HostileInputError, match="nested deeper"):
        list(folder.walk())
    with pytest.raises(HostileInputError, match="nested deeper"):
        folder.remove("d")


def test_a_walk_is_sorted_and_shows_links_as_links(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "x").touch()
    (tmp_path / "a").symlink_to("b")

    found = list(folder.walk())

    assert [path for path, _ in found] == ["a", "b/x"]
    assert stat.S_ISLNK(found[0][1].st_mode)


def test_temporary_files_of_a_killed_write_are_swept_and_no_others(folder: Folder) -> None:
    _, fd = folder.temporary("file")
    os.close(fd)
    other, fd = folder.temporary("other")
    os.close(fd)
    folder.write(".file.tmp", b"")

    folder.sweep("file")

    assert folder.names() == sorted([".file.tmp", other])


def test_a_lock_is_held_once_and_names_its_holder(folder: Folder) -> None:
    with folder.lock("lock"), pytest.raises(BusyError, match=f"process {os.getpid()}"), folder.lock("lock"):
        pass

    with folder.lock("lock"):
        pass


def test_shared_locks_are_held_together_and_keep_the_exclusive_one_out(folder: Folder) -> None:
    shared = functools.partial(folder.lock, "lock", shared=True)

    with shared(), shared(), pytest.raises(BusyError), folder.lock("lock"):
        pass


def test_waiting_for_a_lock_ends_when_the_caller_says_so(folder: Folder) -> None:
    answers = iter([True, True, False])

    with folder.lock("lock"), pytest.raises(BusyError), folder.lock("lock", wait=lambda: next(answers)):
        pass

    assert list(answers) == []


def test_a_lock_file_that_is_another_file_too_is_not_truncated(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"keep")
    os.link(tmp_path / "precious", tmp_path / "lock")

    with pytest.raises(HostileInputError), folder.lock("lock"):
        pass

    assert (tmp_path / "precious").read_bytes() == b"keep"


def test_a_tree_with_links_and_pipes_can_be_flushed(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "file").write_bytes(b"x")
    (tmp_path / "d" / "link").symlink_to("/nowhere")
    os.mkfifo(tmp_path / "d" / "pipe")

    folder.sync_tree(files=True)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EMFILE])
def test_an_error_of_the_disk_names_the_place_and_the_next_step(number: int) -> None:
    with pytest.raises(DiskError, match="/somewhere") as caught, disk_errors("/somewhere"):
        raise OSError(number, os.strerror(number))

    assert caught.value.hint
    assert caught.value.exit_code == 7


def test_closing_twice_is_fine(tmp_path: Path) -> None:
    folder = Folder.open(tmp_path)
    folder.close()
    folder.close()
