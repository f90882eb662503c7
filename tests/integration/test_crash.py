"""Bars A and C: a publication killed, or refused by the disk, at every call that changes something.

A point is `<call>-<N>`: the Nth call of that name since the program began. By default a fixed sample is run;
REPOBUILD_CRASH=full runs every point, and one is replayed with

    REPOBUILD_CRASH=full pytest tests/integration/test_crash.py -k 'killed and exchange-renameat2-1'
"""

import functools
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import crashpoints
import pytest
from injection import CHANGING, FAILING, FULL, SECONDS, STRACE, Point, points_of, run_injected, sampled, scratch

from repobuild.publish import Repository

MODES = ("exchange", "piecewise")
DRIVER = [sys.executable, "-I", "-S", "-B", str(Path(crashpoints.__file__))]


def program(root: Path, mode: str) -> list[str]:
    return [*DRIVER, str(root), "2", *(["--piecewise"] if mode == "piecewise" else [])]


def prepared(root: Path, mode: str = "exchange") -> None:
    """Publish generations 0 and 1, so that there is something to carry over and a previous generation."""
    for generation in (0, 1, 2):
        crashpoints.fill(root, generation)
    for generation in (0, 1):
        crashpoints.publish(root, generation, piecewise=mode == "piecewise")


@functools.cache
def points_in(mode: str, calls: tuple[str, ...]) -> list[Point]:
    """Trace one publication."""
    with tempfile.TemporaryDirectory(dir=scratch()) as folder:
        root = Path(folder)
        prepared(root, mode)
        return points_of(program(root, mode), calls, root / "trace")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "kill_point" in metafunc.fixturenames:
        cases = [(m, *p) for m in MODES for p in sampled(points_in(m, tuple(CHANGING)))] if STRACE else []
        metafunc.parametrize("kill_point", cases, ids=[f"{m}-{c}-{n}" for m, c, n in cases])
    if "fault_point" in metafunc.fixturenames:
        faults = [
            (m, error, *p)
            for m in MODES
            for error, calls in FAILING.items()
            for p in (sampled(points_in(m, tuple(calls))) if STRACE else [])
        ]
        metafunc.parametrize("fault_point", faults, ids=[f"{m}-{e}-{c}-{n}" for m, e, c, n in faults])


@pytest.fixture
def root() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=scratch()) as folder:
        yield Path(folder)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def served(repository: Path) -> int:
    """Return which generation is served, verified to the last byte by its own marker."""
    marker = (repository / "repo_complete").read_bytes()
    for digest, path in (line.split("  ", 1) for line in marker.decode().splitlines()):
        assert sha256(repository / path) == digest, path
    known = {crashpoints.tree_of_generation(number).files[-1].content: number for number in (0, 1, 2)}
    return known[marker]


def follow_indexes(repository: Path) -> None:
    """Read as apt does: the pointer, the index it names by digest, every package that the index names."""
    for pointer in ("InRelease", "Release"):
        digest = (repository / pointer).read_text().strip()
        index = repository / "by-hash" / "SHA256" / digest
        assert sha256(index) == digest
        for line in index.read_text().splitlines():
            name, expected = line.split(" ")
            assert sha256(repository / name) == expected, name


def assert_readable(root: Path, mode: str) -> int | None:
    """Assert that what is served is one generation; file by file, that clients can follow it."""
    repository = root / "home" / "pigsty"
    if mode == "exchange":
        generation = served(repository)
        follow_indexes(repository)
        return generation
    follow_indexes(repository)
    return None


def assert_heals(root: Path, mode: str) -> None:
    """Assert that a plain rerun ends well, with the same result as a run that was never disturbed."""
    assert crashpoints.main([str(root), "2", *(["--piecewise"] if mode == "piecewise" else [])]) == 0
    home = root / "home"
    repository = Repository(home, crashpoints.PARTS)
    assert served(home / "pigsty") == 2
    follow_indexes(home / "pigsty")
    previous = repository.previous()
    assert previous is not None
    assert previous.marker == crashpoints.tree_of_generation(1).files[-1].content
    assert repository.is_intact()
    assert (home / "pigsty.list").read_bytes() == crashpoints.beside(2)["pigsty.list"]
    assert sorted(os.listdir(home)) == [".pigsty.repobuild", "pigsty", "pigsty.list"]
    assert sorted(os.listdir(home / ".pigsty.repobuild")) == ["lock", "previous"]
    assert list(home.rglob("*.tmp")) == []
    current = repository.current()
    assert current is not None
    assert current.generation is not None
    on_disk = {str(p.relative_to(home / "pigsty")) for p in (home / "pigsty").rglob("*") if p.is_file()}
    tree = {file.path for file in crashpoints.tree_of_generation(2).files}
    private = {".repobuild/generation.json", ".repobuild/seals.json"}
    assert on_disk == tree | private | set(current.generation.carried)


@pytest.mark.skipif(STRACE is None, reason="strace is not installed")
def test_killed_at_any_call_old_or_new_is_served_and_a_rerun_heals(
    root: Path, kill_point: tuple[str, str, int]
) -> None:
    mode, call, number = kill_point
    prepared(root, mode)

    done = run_injected(program(root, mode), f"{call}:signal=SIGKILL:when={number}")

    assert done.returncode in {-9, 137}, done.stderr
    assert assert_readable(root, mode) in {1, 2, None}
    assert_heals(root, mode)


@pytest.mark.skipif(STRACE is None, reason="strace is not installed")
def test_an_error_of_the_disk_is_never_a_silent_success(root: Path, fault_point: tuple[str, str, str, int]) -> None:
    mode, error, call, number = fault_point
    prepared(root, mode)

    done = run_injected(program(root, mode), f"{call}:error={error}:when={number}")

    generation = assert_readable(root, mode)
    if call == "close" and done.returncode == 0:  # of a descriptor that was only read: nothing can be lost
        assert generation in {2, None}
    else:
        assert done.returncode == 7, done.stderr
        assert generation in {1, 2, None}
    assert_heals(root, mode)


@pytest.mark.skipif(STRACE is None, reason="strace is not installed")
@pytest.mark.parametrize("error", ["EXDEV", "EBUSY", "EINVAL", "ENOSYS"])
def test_where_the_kernel_cannot_exchange_folders_the_files_are_replaced_one_by_one(root: Path, error: str) -> None:
    prepared(root)

    done = run_injected(program(root, "exchange"), f"renameat2:error={error}")

    assert done.returncode == 0, done.stderr
    assert_heals(root, "exchange")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a tmpfs of 1 MiB."""
    mount = tmp_path / "disk"
    mount.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(mount)], check=False, capture_output=True
    )
    if done.returncode != 0:
        pytest.skip("a tmpfs cannot be mounted here")
    yield mount
    subprocess.run(["umount", "-l", str(mount)], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a sized tmpfs needs root")
@pytest.mark.parametrize("mode", MODES)
def test_a_full_disk_leaves_the_former_repository_whatever_is_free(small_disk: Path, root: Path, mode: str) -> None:
    (small_disk / "home").mkdir()
    (root / "home").symlink_to(small_disk / "home")
    results: Counter[int] = Counter()
    for pages in range(0, 150, 1 if FULL else 6):
        shutil.rmtree(small_disk / "home")
        (small_disk / "home").mkdir()
        prepared(root, mode)
        status = os.statvfs(small_disk)
        ballast = max(status.f_bavail - pages, 0) * status.f_frsize
        (small_disk / "ballast").write_bytes(b"\0" * ballast)

        code = crashpoints.main([str(root), "2", "--copy", *(["--piecewise"] if mode == "piecewise" else [])])

        assert code in {0, 7}
        if mode == "exchange":
            assert served(small_disk / "home" / "pigsty") in ({2} if code == 0 else {1, 2})
        follow_indexes(small_disk / "home" / "pigsty")
        (small_disk / "ballast").unlink()
        assert_heals(root, mode)
        results[code] += 1

    assert results[0] > 0
    assert results[7] > 0


def test_few_open_files_are_enough(root: Path) -> None:
    prepared(root)

    done = subprocess.run(
        ["sh", "-c", 'ulimit -n 64; exec "$@"', "sh", *program(root, "exchange")], check=False, timeout=SECONDS
    )

    assert done.returncode == 0
    assert served(root / "home" / "pigsty") == 2
