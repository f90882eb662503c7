import hashlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import crashpoints
import pytest
from crashpoints import NOW, payload

from repobuild.check import Fault, Problem, check_repository
from repobuild.errors import DiskError, HostileInputError, ProofError
from repobuild.publish import Repository


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    for number in (0, 1):
        crashpoints.fill(tmp_path, number)
        crashpoints.publish(tmp_path, number, copy=True)
    return tmp_path / "home" / "pigsty"


def read_lock(text: bytes) -> Mapping[str, tuple[int, str]]:
    lines = [line.split(" ") for line in text.decode().splitlines()]
    return {line[0]: (int(line[1]), line[2]) for line in lines if len(line) == 3}


def faults(repository: Path) -> list[tuple[Fault, str]]:
    return [(problem.fault, problem.path) for problem in check_repository(repository, read_lock=read_lock).problems]


def mark(repository: Path, path: str) -> None:
    """Let the marker list a file as it is now, as who forges a repository would."""
    lines = (repository / "repo_complete").read_text().splitlines()
    kept = [line for line in lines if line[66:] != path]
    digest = hashlib.sha256((repository / path).read_bytes()).hexdigest()
    ordered = sorted([*kept, f"{digest}  {path}"], key=lambda line: line[66:].encode())
    (repository / "repo_complete").write_text("\n".join(ordered) + "\n")
    shutil.rmtree(repository / ".repobuild")


def test_a_whole_repository_passes_with_its_figures(repository: Path) -> None:
    receipt = check_repository(repository, read_lock=read_lock)

    listed = (repository / "repo_complete").read_text().splitlines()
    assert receipt.problems == ()
    assert receipt.is_whole
    assert receipt.files == len(listed)
    assert receipt.marker == hashlib.sha256((repository / "repo_complete").read_bytes()).hexdigest()
    assert receipt.size > sum(len(data) for data in payload(1).values())
    receipt.prove()


def test_a_repository_unpacked_from_a_bundle_passes(repository: Path) -> None:
    Repository(repository.parent, crashpoints.PARTS).prune(NOW + 10**9)
    shutil.rmtree(repository / ".repobuild")

    assert faults(repository) == []


def test_a_changed_byte_is_found_even_when_size_and_time_are_as_before(repository: Path) -> None:
    path = repository / "p8_0_all.deb"
    status = path.stat()
    path.write_bytes(b"X" + path.read_bytes()[1:])
    os.utime(path, ns=(status.st_mtime_ns, status.st_mtime_ns))

    assert faults(repository) == [(Fault.CHANGED, "p8_0_all.deb")]


def test_a_missing_file_and_a_foreign_file_are_found(repository: Path) -> None:
    (repository / "p8_0_all.deb").unlink()
    (repository / "by-hash/extra").write_bytes(b"x")
    (repository / "extra\n.deb").write_bytes(b"x")

    assert faults(repository) == [
        (Fault.FOREIGN, "by-hash/extra"),
        (Fault.FOREIGN, "extra\n.deb"),
        (Fault.MISSING, "p8_0_all.deb"),
    ]


def test_a_link_to_the_right_bytes_is_not_the_file(repository: Path, tmp_path: Path) -> None:
    (repository / "p8_0_all.deb").rename(tmp_path / "same")
    (repository / "p8_0_all.deb").symlink_to(tmp_path / "same")

    assert faults(repository) == [(Fault.CHANGED, "p8_0_all.deb")]


def test_a_folder_that_is_a_link_is_not_followed(repository: Path, tmp_path: Path) -> None:
    (repository / "by-hash").rename(tmp_path / "by-hash")
    (repository / "by-hash").symlink_to(tmp_path / "by-hash")

    found = faults(repository)

    assert (Fault.FOREIGN, "by-hash") in found
    assert any(fault is Fault.MISSING and path.startswith("by-hash/") for fault, path in found)


def test_a_carried_over_file_is_not_foreign_but_has_to_be_right(repository: Path) -> None:
    (repository / "p0_0_all.deb").write_bytes(b"changed")

    assert faults(repository) == [(Fault.CHANGED, "p0_0_all.deb")]


def test_a_repository_without_marker_is_no_repository(repository: Path) -> None:
    (repository / "repo_complete").unlink()

    assert faults(repository) == [(Fault.MISSING, "repo_complete")]


@pytest.mark.parametrize(
    "text", [b"9dd4e461268c8034f5c8564e155c67a6  x.deb\n", b"\xff\n", b"0" * 64 + b"  ../../etc/passwd\n"]
)
def test_a_marker_that_is_none_of_ours_is_said_to_be_none(repository: Path, text: bytes) -> None:
    (repository / "repo_complete").write_bytes(text)

    assert faults(repository) == [(Fault.MARKER, "repo_complete")]


def test_another_marker_than_the_one_published_is_found(repository: Path) -> None:
    lines = (repository / "repo_complete").read_text().splitlines(keepends=True)
    kept = [line for line in lines if "p8_0" not in line]
    (repository / "repo_complete").write_text("".join(kept))

    assert (Fault.CHANGED, "repo_complete") in faults(repository)


def test_payload_that_the_lock_does_not_pin_so_is_found_though_the_marker_agrees(repository: Path) -> None:
    (repository / "p8_0_all.deb").write_bytes(b"forged")
    mark(repository, "p8_0_all.deb")

    found = faults(repository)

    assert (Fault.LOCK, "p8_0_all.deb") in found
    assert (Fault.CHANGED, "p8_0_all.deb") not in found


def test_a_size_that_differs_from_the_locks_is_found(repository: Path) -> None:
    text = (repository / "repobuild.lock").read_text()
    size = len(payload(1)["p8_0_all.deb"])
    (repository / "repobuild.lock").write_text(text.replace(f"p8_0_all.deb {size}", f"p8_0_all.deb {size + 1}"))

    assert (Fault.LOCK, "p8_0_all.deb") in faults(repository)


def test_payload_that_no_lock_pins_is_found(repository: Path) -> None:
    text = (repository / "repobuild.lock").read_text().splitlines(keepends=True)
    (repository / "repobuild.lock").write_text("".join(line for line in text if not line.startswith("p8_0")))

    assert (Fault.LOCK, "p8_0_all.deb") in faults(repository)


def test_a_lock_that_cannot_be_read_is_a_problem_not_a_crash(repository: Path) -> None:
    def refuse(text: bytes) -> Mapping[str, tuple[int, str]]:
        raise HostileInputError("not a lock")

    receipt = check_repository(repository, read_lock=refuse)

    assert receipt.problems == (Problem(Fault.LOCK, "repobuild.lock", "not a lock"),)


def test_a_repository_without_lock_fails_only_when_the_lock_is_asked_for(repository: Path) -> None:
    (repository / "repobuild.lock").unlink()

    assert faults(repository) == [(Fault.MISSING, "repobuild.lock")]


def test_a_failed_proof_names_what_breaks_it_and_no_control_character(repository: Path) -> None:
    (repository / "p8_0_all.deb").unlink()
    (repository / "a\x1b[2Jb").write_bytes(b"x")
    receipt = check_repository(repository)

    with pytest.raises(ProofError, match=r"missing: p8_0_all.deb") as caught:
        receipt.prove()

    assert caught.value.exit_code == 6
    assert "\x1b" not in caught.value.message


def test_a_long_list_of_problems_is_counted(repository: Path) -> None:
    for number in range(20):
        (repository / f"extra{number:02}").write_bytes(b"x")

    with pytest.raises(ProofError, match="and 15 more"):
        check_repository(repository).prove()


def test_a_folder_that_is_not_there_is_an_error_of_the_disk(tmp_path: Path) -> None:
    with pytest.raises(DiskError):
        check_repository(tmp_path / "absent")
