"""A program killed, or refused by the disk, at the Nth call of a name: strace counts them, and strikes."""

import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

STRACE = shutil.which("strace")
CHANGING = [
    "openat",
    "mkdir",
    "mkdirat",
    "rmdir",
    "write",
    "pwrite64",
    "copy_file_range",
    "sendfile",
    "ftruncate",
    "fallocate",
    "fchmod",
    "utimensat",
    "ioctl",
    "link",
    "linkat",
    "symlinkat",
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
    "fsync",
    "fdatasync",
    "flock",
]
FAILING = {
    "ENOSPC": ["openat", "mkdirat", "write", "pwrite64", "ftruncate", "linkat", "renameat", "renameat2", "fsync"],
    "EIO": [
        "openat",
        "mkdirat",
        "write",
        "pwrite64",
        "ftruncate",
        "fchmod",
        "linkat",
        "renameat",
        "renameat2",
        "unlinkat",
        "fsync",
        "close",
    ],
    "EDQUOT": ["write", "linkat"],
    "EMFILE": ["openat"],
}
FULL = os.environ.get("REPOBUILD_CRASH") == "full"
SAMPLE = 30
"""One point in so many is run by default, and the first of each call."""
SECONDS = 60

Point = tuple[str, int]
"""A call and its number since the program began."""


def points_of(program: Sequence[str], calls: Sequence[str], trace: Path) -> list[Point]:
    """Run a program to its end and return these calls of it, from its first chdir on; `trace` is a file to use."""
    names = ",".join(f"?{call}" for call in calls)
    command = [str(STRACE), "-f", "-qq", "-o", str(trace), "-e", f"trace=chdir,{names}"]
    subprocess.run([*command, *program], check=True, timeout=SECONDS)
    seen: Counter[str] = Counter()
    points = []
    for line in trace.read_text(errors="replace").splitlines():
        match = re.match(r"\d+ +(\w+)\(", line)
        if match:
            seen[match[1]] += 1
            if seen["chdir"] == 1 and match[1] != "chdir":
                points.append((match[1], seen[match[1]]))
    return points


def run_injected(program: Sequence[str], injection: str) -> subprocess.CompletedProcess[str]:
    """Run a program with an injection as strace writes it, `call:error=EIO:when=3`."""
    call = injection.partition(":")[0]
    command = [str(STRACE), "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={injection}"]
    return subprocess.run([*command, *program], check=False, timeout=SECONDS, capture_output=True, text=True)


def scratch() -> str | None:
    """Return a folder in memory, None where there is none."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def sampled(points: list[Point]) -> list[Point]:
    """Return the points to run."""
    if FULL:
        return points
    firsts = dict(reversed(points))
    return [point for place, point in enumerate(points) if place % SAMPLE == 0 or firsts[point[0]] == point[1]]
