"""The store: what it promises to those who put, place and collect."""

import hashlib
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from repobuild.durable import Folder
from repobuild.errors import BusyError, DiskError, HostileInputError, VerificationError
from repobuild.store import Store, require_space

DATA = b"payload" * 1000
DIGEST = hashlib.sha256(DATA).hexdigest()


def object_path(tmp_path: Path) -> Path:
    return tmp_path / "store" / "objects" / DIGEST[:2] / DIGEST


def filled(tmp_path: Path) -> Path:
    with Store.open(tmp_path / "store") as store:
        store.put(DATA)
    return tmp_path / "store"


def tamper(path: Path) -> None:
    """Change a byte so that size, mode and mtime look as before."""
    status = path.stat()
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.write(b"P")
    path.chmod(status.st_mode & 0o7777)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_an_object_is_found_again_by_another_run(tmp_path):
    root = filled(tmp_path)

    with Store.open(root) as store:
        assert store.has(DIGEST, len(DATA))
        assert store.read(DIGEST, 1 << 20) == DATA
        assert store.path(DIGEST).stat().st_mode & 0o7777 == 0o444


def test_an_object_of_another_size_is_not_the_one_asked_for(tmp_path):
    with Store.open(filled(tmp_path)) as store:
        assert not store.has(DIGEST, len(DATA) + 1)


def test_chunks_become_one_object(tmp_path):
    with Store.open(tmp_path / "store") as store:
        digest = store.put(iter((DATA[:10], DATA[10:])), DIGEST, len(DATA))

        assert digest == DIGEST
        assert store.has(DIGEST)


@pytest.mark.parametrize(
    ("sha256", "size"), [("0" * 64, None), (DIGEST, len(DATA) + 1), (DIGEST, len(DATA) - 1), (None, 3)]
)
def test_bytes_that_are_not_what_was_announced_leave_nothing(tmp_path, sha256, size):
    with Store.open(tmp_path / "store") as store:
        with pytest.raises(VerificationError):
            store.put(DATA, sha256, size)

        assert list(store.listing()) == []
        assert os.listdir(tmp_path / "store" / "incoming") == []


def test_the_size_is_enforced_while_writing(tmp_path):
    read = []

    def endless():
        while True:
            read.append(1)
            yield b"x" * 1000

    with Store.open(tmp_path / "store") as store, pytest.raises(VerificationError):
        store.put(endless(), size=5000)

    assert len(read) == 6


def test_a_digest_that_is_none_is_refused_before_it_becomes_a_path(tmp_path):
    with Store.open(tmp_path / "store") as store:
        for bad in ("../../etc/passwd", "", "A" * 64, "0" * 63):
            with pytest.raises(HostileInputError):
                store.has(bad)


def test_a_tampered_object_is_noticed_and_removed_though_size_and_mtime_look_right(tmp_path):
    root = filled(tmp_path)
    tamper(object_path(tmp_path))

    with Store.open(root) as store:
        assert not store.has(DIGEST)
        assert not object_path(tmp_path).exists()
        with pytest.raises(VerificationError):
            store.read(DIGEST, 1 << 20)


def test_a_touched_but_good_object_is_hashed_once_and_trusted_again(tmp_path):
    root = filled(tmp_path)
    object_path(tmp_path).chmod(0o644)

    with Store.open(root) as store:
        assert store.has(DIGEST)
    with Store.open(root) as store:
        store._prove = None  # would be called for an object that is not as recorded
        assert store.has(DIGEST)


def test_a_link_in_the_place_of_an_object_is_removed_not_followed(tmp_path):
    root = filled(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(DATA)
    object_path(tmp_path).unlink()
    object_path(tmp_path).symlink_to(elsewhere)

    with Store.open(root) as store:
        assert not store.has(DIGEST)

    assert elsewhere.read_bytes() == DATA


@pytest.mark.parametrize("damage", [b"", b"garbage", b"repobuild records 1\nx y z\n"])
def test_lost_or_damaged_records_cost_a_hash_and_no_more(tmp_path, damage):
    root = filled(tmp_path)
    (root / "records").write_bytes(damage)

    with Store.open(root) as store:
        assert store.has(DIGEST)


def test_a_placed_object_stays_trusted_and_a_tree_has_its_bytes(tmp_path):
    root = filled(tmp_path)
    with Store.open(root) as store, Folder.open(tmp_path / "tree", create=True) as tree:
        store.place(DIGEST, tree, "a.deb")

    with Store.open(root) as store:
        store._prove = None
        assert store.has(DIGEST)
    assert (tmp_path / "tree" / "a.deb").read_bytes() == DATA


def test_reseal_accepts_a_link_that_came_or_went_and_nothing_else(tmp_path):
    root = filled(tmp_path)
    with Store.open(root) as store:
        os.link(object_path(tmp_path), tmp_path / "second")
        store.reseal([DIGEST])
        known = store._records.get(DIGEST)
        assert known is not None
        assert known.ctime == object_path(tmp_path).stat().st_ctime_ns

        tamper(object_path(tmp_path))
        os.utime(object_path(tmp_path))
        store.reseal([DIGEST])
        assert not store.has(DIGEST)


def test_an_absent_object_is_not_placed(tmp_path):
    with (
        Store.open(tmp_path / "store") as store,
        Folder.open(tmp_path, create=True) as tree,
        pytest.raises(VerificationError),
    ):
        store.place(DIGEST, tree, "a.deb")


def test_a_partial_download_is_taken_up_where_it_was_left(tmp_path):
    with Store.open(tmp_path / "store") as store:
        first = store.incoming(DIGEST, len(DATA))
        first.write(DATA[:3000])
        first.close()

        second = store.incoming(DIGEST, len(DATA))
        assert second.received == 3000
        second.write(DATA[3000:])
        second.verify()
        second.accept()

        assert store.has(DIGEST, len(DATA))


def test_parts_are_taken_up_where_they_were_left(tmp_path):
    data = os.urandom(1 << 20)
    digest = hashlib.sha256(data).hexdigest()
    with Store.open(tmp_path / "store") as store:
        first = store.incoming(digest, len(data))
        first.write(data[:70_000])
        pieces = first.split(1 << 18)
        first.write_piece(pieces[2], data[1 << 19 : (1 << 19) + 50_000])
        first.close()

        second = store.incoming(digest, len(data))
        assert second.received == 120_000
        assert [piece.done for piece in second.pieces] == [70_000, 0, 50_000, 0]
        for piece in second.pieces:
            second.write_piece(piece, data[piece.start + piece.done : piece.end])
        second.verify()
        second.accept()

        assert store.read(digest, 1 << 20) == data


@pytest.mark.parametrize("damage", [b"\xff" * 40, b"\0" * 48, b"x"])
def test_a_damaged_tail_of_a_split_file_starts_it_over(tmp_path, damage):
    with Store.open(tmp_path / "store") as store:
        (tmp_path / "store" / "incoming" / DIGEST).write_bytes(DATA + damage)

        incoming = store.incoming(DIGEST, len(DATA))

        assert incoming.received == 0
        incoming.close()


def test_bytes_that_failed_are_not_kept_for_the_next_try(tmp_path):
    with Store.open(tmp_path / "store") as store:
        incoming = store.incoming(DIGEST, len(DATA))
        incoming.write(b"x" * len(DATA))
        with pytest.raises(VerificationError):
            incoming.verify()

        assert incoming.received == 0
        incoming.close()
        assert os.listdir(tmp_path / "store" / "incoming") == []


def test_two_runs_do_not_write_the_same_partial_file(tmp_path):
    with Store.open(tmp_path / "store") as one, Store.open(tmp_path / "store") as other:
        held = one.incoming(DIGEST, len(DATA))
        with pytest.raises(BusyError):
            other.incoming(DIGEST, len(DATA))
        held.close()


def test_a_partial_file_with_a_second_name_is_not_written_to(tmp_path):
    with Store.open(tmp_path / "store") as store:
        precious = tmp_path / "precious"
        precious.write_bytes(b"keep me")
        os.link(precious, tmp_path / "store" / "incoming" / DIGEST)
        incoming = store.incoming(DIGEST, len(DATA))
        incoming.write(DATA)
        incoming.close()

        assert precious.read_bytes() == b"keep me"


def test_garbage_is_collected_only_while_nobody_else_uses_the_store(tmp_path):
    root = filled(tmp_path)

    with Store.open(root), pytest.raises(BusyError):
        Store.open(root, exclusive=True)
    with Store.open(root) as shared, pytest.raises(BusyError):
        shared.collect(set())
    with Store.open(root, exclusive=True), pytest.raises(BusyError):
        Store.open(root)


def test_collect_removes_what_is_not_kept_and_says_how_much(tmp_path):
    root = filled(tmp_path)
    with Store.open(root) as store:
        other = store.put(b"other")
        store.put_derived(f"{DIGEST}.solv", b"kept")
        store.put_derived(f"{other}.solv", b"gone")
        partial = store.incoming("1" * 64, 100)
        partial.write(b"part")
        partial.close()

    with Store.open(root, exclusive=True) as store:
        freed = store.collect({DIGEST})

        assert (freed.objects, freed.partials, freed.derived) == (1, 1, 1)
        assert [each.sha256 for each in store.listing()] == [DIGEST]
        assert store.derived(f"{DIGEST}.solv") == b"kept"
        assert store.derived(f"{other}.solv") is None


def test_a_damaged_derived_file_is_as_good_as_none(tmp_path):
    with Store.open(tmp_path / "store") as store:
        store.put_derived("0.solv", b"data")
        path = tmp_path / "store" / "derived" / "0.solv"
        path.write_bytes(path.read_bytes()[:-1])

        assert store.derived("0.solv") is None
        assert store.derived("absent") is None
        assert store.derived("../records") is None


def test_too_little_space_is_said_before_anything_is_written(tmp_path):
    with pytest.raises(DiskError, match="are needed and"):
        require_space(tmp_path, 1 << 62, 1)
    require_space(tmp_path, 1, 1)


def test_threads_that_put_and_check_the_same_objects_agree(tmp_path):
    blobs = [bytes((number,)) * 10_000 for number in range(40)]
    errors = []
    with Store.open(tmp_path / "store") as store:

        def work():
            try:
                for blob in blobs:
                    assert store.has(store.put(blob))
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert errors == []
        assert len(list(store.listing())) == len(blobs)


_RACER = """
import sys
from pathlib import Path
from repobuild.store import Store
for _ in range(10):
    with Store.open(Path(sys.argv[1])) as store:
        for number in range(20):
            assert store.has(store.put(bytes((number,)) * 5000))
"""


def test_processes_that_fill_one_store_lose_nothing(tmp_path):
    root = tmp_path / "store"
    racers = [subprocess.Popen([sys.executable, "-c", _RACER, str(root)]) for _ in range(8)]

    assert [racer.wait(60) for racer in racers] == [0] * 8
    with Store.open(root) as store:
        assert [store.has(each.sha256) for each in store.listing()] == [True] * 20
