"""Bars A and C on the far side: an install killed, or refused by the disk, at every call that changes something.

Points are as in `test_crash`, in three ways to install over an older repository: a whole bundle, volumes, a delta.
REPOBUILD_CRASH=full runs every point.
"""

import functools
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import installpoints
import pytest
from injection import CHANGING, FAILING, SECONDS, STRACE, Point, points_of, run_injected, sampled, scratch
from transfers import TIME, build, bundle, delta, make_key, payload_of, receive, tree

from repobuild.model import MARKER
from repobuild.publish import Repository
from repobuild.record import sha256_of

MODES = ("whole", "volumes", "delta")
VOLUME = 250_000
SPARSE = 4
"""Of the points that `test_crash` would sample, one in so many: a run costs half a second here."""
PROGRAM = [sys.executable, "-B", str(Path(installpoints.__file__))]


@functools.cache
def near() -> Path:
    """The bundles, and a far side that has the older one: made once, removed at the end of the process."""
    folder = tempfile.TemporaryDirectory(dir=scratch())
    near.folder = folder  # type: ignore[attr-defined]
    root, key = Path(folder.name), make_key()
    old = payload_of(1)
    chance = random.Random(2)
    new = {**dict(list(old.items())[1:]), **{f"large{n}_1-1_all.deb": chance.randbytes(125_000) for n in range(2)}}
    first, second = build(root / "old", old, TIME, key=key), build(root / "new", new, TIME + 1, key=key)
    [older] = bundle(first, root / "out-old", key=key)
    bundle(second, root / "whole", key=key)
    bundle(second, root / "volumes", key=key, volume_size=VOLUME)
    delta(second, older, root / "delta", key=key)
    receive(root / "far", older, fingerprints=(key.fingerprint,))
    return root


def program(root: Path, mode: str) -> list[str]:
    return [*PROGRAM, str(root), *(str(path) for path in sorted((near() / mode).glob("*-pkg-*")))]


@functools.cache
def points_in(mode: str, calls: tuple[str, ...]) -> list[Point]:
    """Trace one install."""
    with tempfile.TemporaryDirectory(dir=scratch()) as folder:
        root = Path(folder) / "far"
        shutil.copytree(near() / "far", root, symlinks=True)
        return points_of(program(root, mode), calls, Path(folder) / "trace")


def some(points: list[Point]) -> list[Point]:
    chosen = sampled(points)
    return chosen if len(chosen) == len(points) else chosen[::SPARSE]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "kill_point" in metafunc.fixturenames:
        cases = [(m, *p) for m in MODES for p in some(points_in(m, tuple(CHANGING)))] if STRACE else []
        metafunc.parametrize("kill_point", cases, ids=[f"{m}-{c}-{n}" for m, c, n in cases])
    if "fault_point" in metafunc.fixturenames:
        faults = [
            (m, error, *p)
            for m in MODES
            for error, calls in FAILING.items()
            for p in (some(points_in(m, tuple(call for call in calls if call != "close"))) if STRACE else [])
        ]
        metafunc.parametrize("fault_point", faults, ids=[f"{m}-{e}-{c}-{n}" for m, e, c, n in faults])


@pytest.fixture
def root() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=scratch()) as folder:
        shutil.copytree(near() / "far", Path(folder) / "far", symlinks=True)
        yield Path(folder) / "far"


def assert_old_or_new(root: Path) -> str:
    """Assert that what is served is one repository, verified to the last byte by its own marker; return its name."""
    place = root / "www" / "pigsty"
    for line in (place / MARKER).read_text().splitlines():
        assert sha256_of((place / line[66:]).read_bytes()) == line[:64], line[66:]
    known = {(near() / name / "pigsty" / MARKER).read_bytes(): name for name in ("old", "new")}
    return known[(place / MARKER).read_bytes()]


def assert_heals(root: Path, mode: str) -> None:
    """Assert that a plain rerun ends well, with the same result as an install that was never disturbed."""
    done = subprocess.run(program(root, mode), check=False, timeout=SECONDS, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert tree(root / "www" / "pigsty") == tree(near() / "new" / "pigsty")
    area = root / "www" / ".pigsty.repobuild"
    assert sorted(os.listdir(area)) == ["install.lock", "lock", "previous", "receipts"]
    assert (area / "previous" / MARKER).read_bytes() == (near() / "old" / "pigsty" / MARKER).read_bytes()
    assert any(name.startswith(f"{TIME + 1}-") for name in os.listdir(area / "receipts"))
    assert list(root.rglob("*.tmp")) == []
    assert Repository(root / "www", ("pigsty",)).is_intact()


@pytest.mark.skipif(STRACE is None, reason="strace is not installed")
def test_killed_at_any_call_old_or_new_is_served_and_a_rerun_heals(
    root: Path, kill_point: tuple[str, str, int]
) -> None:
    mode, call, number = kill_point

    done = run_injected(program(root, mode), f"{call}:signal=SIGKILL:when={number}")

    served = assert_old_or_new(root)
    # Python opens fewer files where it has compiled a module meanwhile: then the last points are never reached.
    assert done.returncode in {-9, 137} or (done.returncode, served) == (0, "new"), done.stderr
    assert_heals(root, mode)


@pytest.mark.skipif(STRACE is None, reason="strace is not installed")
def test_an_error_of_the_disk_is_never_a_silent_success(root: Path, fault_point: tuple[str, str, str, int]) -> None:
    mode, error, call, number = fault_point

    done = run_injected(program(root, mode), f"{call}:error={error}:when={number}")

    assert done.returncode == 7, done.stderr
    assert_old_or_new(root)
    assert_heals(root, mode)
