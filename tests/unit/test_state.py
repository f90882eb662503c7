"""What is remembered of upstreams, by one run and by several at once."""

import json
import threading
from pathlib import Path

import pytest

from repobuild.errors import HostileInputError
from repobuild.state import Memory, Seen


def seen(date: int, root: str = "r", *indexes: str) -> Seen:
    return Seen(date, f"{root}{date}", "", indexes)


def saved(folder: Path, **entries: Seen) -> Memory:
    memory = Memory(folder)
    for key, each in entries.items():
        memory.put(key, each)
    memory.save()
    return memory


def test_what_was_saved_is_remembered_by_the_next_run(tmp_path: Path) -> None:
    saved(tmp_path / "state", a=Seen(5, "root", "signature", ("i", "j")))

    assert Memory(tmp_path / "state").get("a") == Seen(5, "root", "signature", ("i", "j"))
    assert Memory(tmp_path / "state").get("b") is None


def test_nothing_is_written_until_something_is_known(tmp_path: Path) -> None:
    Memory(tmp_path / "state").save()

    assert not (tmp_path / "state").exists()


def test_what_is_put_is_known_before_it_is_saved(tmp_path: Path) -> None:
    memory = Memory(tmp_path)
    memory.put("a", seen(5))

    assert memory.get("a") == seen(5)
    assert Memory(tmp_path).get("a") is None


def test_the_later_of_two_runs_does_not_forget_the_newer_date(tmp_path: Path) -> None:
    early, late = Memory(tmp_path), Memory(tmp_path)
    early.put("a", seen(9, "x", "i"))
    late.put("a", seen(5, "y", "j"))
    early.save()
    late.save()

    assert Memory(tmp_path).get("a") == seen(9, "x", "i")
    assert late.get("a") == seen(9, "x", "i")


def test_within_a_run_the_newer_date_stays(tmp_path: Path) -> None:
    memory = Memory(tmp_path)
    memory.put("a", seen(9))
    memory.put("a", seen(5))

    assert memory.get("a") == seen(9)


def test_of_one_date_the_last_is_remembered_whole(tmp_path: Path) -> None:
    saved(tmp_path, a=seen(5, "old", "i"))
    saved(tmp_path, a=seen(5, "new", "j"))

    assert Memory(tmp_path).get("a") == seen(5, "new", "j")


def test_what_the_operator_allows_to_be_older_is_older_for_the_next_run_too(tmp_path: Path) -> None:
    saved(tmp_path, a=seen(9), b=seen(9))
    memory = Memory(tmp_path)
    memory.force("a", seen(5))
    memory.put("b", seen(5))
    memory.save()

    assert Memory(tmp_path).get("a") == seen(5)
    assert Memory(tmp_path).get("b") == seen(9)
    memory.put("a", seen(3))
    memory.save()
    assert Memory(tmp_path).get("a") == seen(5)


def test_every_object_of_what_is_remembered_is_kept(tmp_path: Path) -> None:
    memory = saved(tmp_path, a=Seen(1, "root", "signature", ("i",)))
    memory.put("b", Seen(2, "other", "", ("j",)))

    assert memory.objects() == {"root", "signature", "i", "other", "j"}


def test_many_that_save_at_once_lose_nothing(tmp_path: Path) -> None:
    def work(number: int) -> None:
        for step in range(5):
            memory = Memory(tmp_path)
            memory.put("shared", seen(number * 10 + step))
            memory.put(f"own{number}", seen(step))
            memory.save()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    memory = Memory(tmp_path)
    assert memory.get("shared") == seen(74)
    assert [memory.get(f"own{number}") for number in range(8)] == [seen(4)] * 8


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"[]", b"[1]", b"null", b'{"a": 1}', b'{"a": []}', b'{"a": [1]}', b'{"a": ["x", "r", "s"]}', b"\xff",
     b'{"a": [1e999, "r", "s"]}', b'{"a": [NaN, "r", "s"]}', b"[" * 200_000, b'{"a": [' + b"9" * 9_000 + b', "r", "s"]}',
     b'{"a": [null, "r", "s"]}', b'{"a": null}'],
    ids=range(16),
)  # fmt: skip
def test_a_damaged_record_is_refused_and_says_what_to_do(text: bytes, tmp_path: Path) -> None:
    (tmp_path / "upstreams.json").write_bytes(text)

    with pytest.raises(HostileInputError, match="damaged record of upstreams") as caught:
        Memory(tmp_path)

    assert "remove the file" in (caught.value.hint or "")


def test_the_record_is_sorted_text(tmp_path: Path) -> None:
    saved(tmp_path, b=seen(1), a=seen(2))

    assert list(json.loads((tmp_path / "upstreams.json").read_text())) == ["a", "b"]
