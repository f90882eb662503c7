"""Machines of a test's own: a Debian system in namespaces of its own, on a network that leads nowhere else.

A node is one process that waits for its standard input to end, in namespaces that nobody else is in. Whatever runs on
the node, every mount and the network are the namespaces' and end with that process: also when the test is killed.
"""

import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TypeVar

_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
    "DEBIAN_FRONTEND": "noninteractive",
}
_HOLD = ["unshare", "--net", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child", "cat"]
Found = TypeVar("Found")
_NO_SERVICES = "#!/bin/sh\nexit 101\n"
_ENOUGH = 6_000_000_000
"""Bytes of memory: two systems take less than half of it."""
_MOUNTS = (("proc", "proc"), ("tmpfs", "dev/shm"), ("tmpfs", "tmp"))
"""Kind and place of what every system needs. /tmp is taken from memory, the root is on disk."""


class Node:
    """A machine that is up."""

    def __init__(self, name: str, address: str, root: Path, pid: int) -> None:
        self.name = name
        self.address = address
        self.root = root
        self.pid = pid
        """Of its first process, as we see it."""
        self._started: list[subprocess.Popen[bytes]] = []

    def run(self, *words: str, user: str = "root", code: int = 0, seconds: int = 180) -> str:
        """Run a program of the node's system; return what it said, both ways."""
        return self._finish(self._system(user, *words), code, seconds)

    def run_ours(self, *words: str) -> str:
        """Run a program of this machine's system in the node's network and mounts."""
        return self._finish(self._enter(*words), 0, 60)

    def start(self, *words: str, user: str = "root") -> None:
        """Start a service of the node's system; `log` has what it says."""
        self._start(self._system(user, *words), Path(words[0]).name)

    def start_ours(self, name: str, *words: str) -> None:
        """Start a program of this machine's system in the node's network."""
        self._start(self._enter(*words), name)

    def write(self, path: str, text: str | bytes) -> None:
        """Write a file of its system; `path` is as the node sees it."""
        place = self.root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(text.encode() if isinstance(text, str) else text)

    def mount(self, folder: Path, path: str) -> None:
        """Show a folder of this machine, for reading, at the node's `path`."""
        place = self.root / path.lstrip("/")
        place.mkdir(parents=True, exist_ok=True)
        self.run_ours("mount", "--bind", "-o", "ro", str(folder), str(place))

    def logs(self) -> str:
        """Return the end of what every service said."""
        parts = (f"== {path.name}\n{path.read_text(errors='replace')[-1500:]}" for path in sorted(self._logs.iterdir()))
        return "\n".join(parts)

    def reap(self) -> None:
        """Wait for the services, which ended with the node's first process."""
        for process in self._started:
            process.wait(timeout=20)

    @property
    def _logs(self) -> Path:
        place = self.root.parent / f"{self.root.name}.logs"
        place.mkdir(exist_ok=True)
        return place

    def _system(self, user: str, *words: str) -> list[str]:
        # The clock is no namespace's: nothing on a node may set this machine's.
        guard = ["setpriv", "--bounding-set=-sys_time", "--inh-caps=-sys_time"]
        return self._enter(*guard, "chroot", f"--userspec={user}", str(self.root), *words)

    def _enter(self, *words: str) -> list[str]:
        return ["nsenter", f"--target={self.pid}", "--net", "--mount", "--pid", "--uts", "--ipc", "--", *words]

    def _finish(self, command: list[str], code: int, seconds: int) -> str:
        result = subprocess.run(
            command, env=_ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            cwd="/", timeout=seconds, check=False,
        )  # fmt: skip
        said = result.stdout.decode(errors="replace")
        assert result.returncode == code, f"{self.name}: {' '.join(command)}\n{said[-4000:]}"
        return said

    def _start(self, command: list[str], name: str) -> None:
        with (self._logs / name).open("wb") as log:
            self._started.append(
                subprocess.Popen(command, env=_ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/")
            )


@contextmanager
def workshop(place: Path) -> Iterator[Path]:
    """Yield `place`, empty, for what nodes are made of: in memory where there is enough, since apt waits for a disk."""
    if _memory() < _ENOUGH:
        yield place
        return
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", str(place)], check=True, timeout=20)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True, timeout=20)


def _memory() -> int:
    """Return how many bytes of memory may be taken, by the machine and by our control group."""
    [line] = [each for each in Path("/proc/meminfo").read_text().splitlines() if each.startswith("MemAvailable:")]
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text().strip() if limit.exists() else "max"
    return min(int(line.split()[1]) * 1024, int(text) if text.isdigit() else sys.maxsize)


@contextmanager
def node(name: str, address: str, root: Path) -> Iterator[Node]:
    """Yield a machine that has `root` as its system, and no network but loopback."""
    quiet = subprocess.DEVNULL  # unshare complains of being ended
    with subprocess.Popen(_HOLD, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet) as holder:
        made = Node(name, address, root, _first_process(holder))
        try:
            for kind, place in _MOUNTS:
                (root / place).mkdir(parents=True, exist_ok=True)
                made.run_ours("mount", "-t", kind, kind, str(root / place))
            made.run_ours("hostname", name)
            made.run_ours("ip", "link", "set", "lo", "up")
            yield made
        finally:
            os.kill(made.pid, signal.SIGKILL)  # the kernel ends all others of its namespace before it is gone
            _close(holder.stdin)
            holder.wait(timeout=20)
            made.reap()


def join(*nodes: Node) -> None:
    """Lay a cable between two nodes, and give each its address; there is no route to anywhere else."""
    first, second = nodes
    first.run_ours("ip", "link", "add", "lan", "type", "veth", "peer", "name", "far")
    subprocess.run(
        ["nsenter", f"--target={first.pid}", "--net", "ip", "link", "set", "far", "netns", str(second.pid)], check=True
    )
    second.run_ours("ip", "link", "set", "far", "name", "lan")
    for each in nodes:
        each.run_ours("ip", "address", "add", f"{each.address}/24", "dev", "lan")
        each.run_ours("ip", "link", "set", "lan", "up")


@contextmanager
def pair(roots: Mapping[str, Path], addresses: tuple[str, str]) -> Iterator[list[Node]]:
    """Yield two machines, of these names and systems, that see each other and nothing else."""
    with ExitStack() as stack:
        both = [
            stack.enter_context(node(name, address, root))
            for (name, root), address in zip(roots.items(), addresses, strict=True)
        ]
        join(*both)
        yield both


def minimal_root(mmdebstrap: str, repository: Path, key: Path, place: Path) -> Path:
    """Make the smallest Debian 12 that has apt, without network, from a repository; it knows no package source."""
    command = [
        "unshare", "--net", mmdebstrap, "--mode=root", "--variant=apt", "--skip=check/empty", "--quiet",
        "--dpkgopt=force-unsafe-io", "bookworm", str(place), f"deb [signed-by={key}] copy:{repository} ./",
    ]  # fmt: skip
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, (result.stdout + result.stderr)[-4000:]
    (place / "usr/sbin/policy-rc.d").write_text(_NO_SERVICES)
    (place / "usr/sbin/policy-rc.d").chmod(0o755)
    for name in ("resolv.conf", "hosts", "apt/sources.list"):
        (place / "etc" / name).unlink(missing_ok=True)
    (place / "etc/hosts").write_text("127.0.0.1 localhost\n")
    return place


def copy_root(root: Path, place: Path) -> Path:
    """Copy a system that is not in use, as it is."""
    subprocess.run(["cp", "-a", "--reflink=auto", str(root), str(place)], check=True, timeout=120)
    return place


def why_not() -> str:
    """Return why this machine cannot have nodes; "" when it can."""
    if os.geteuid() != 0:
        return "namespaces and roots are root's to make"
    if platform.machine() != "x86_64":
        return f"the nodes' system is of x86_64, and this machine is {platform.machine()}"
    absent = [each for each in ("unshare", "nsenter", "setpriv", "ip") if shutil.which(each) is None]
    if absent:
        return f"not installed: {', '.join(absent)}"
    probe = ["unshare", "--net", "--mount", "--pid", "--uts", "--ipc", "--fork", "ip", "link", "add", "type", "veth"]
    result = subprocess.run(probe, capture_output=True, text=True, timeout=20, check=False)
    return f"namespaces are not allowed here: {result.stderr.strip()}" if result.returncode else ""


def wait_for(what: str, look: Callable[[], Found], seconds: float = 30) -> Found:
    """Look again and again until there is something; return it."""
    end = time.monotonic() + seconds
    while True:
        problem: object
        try:
            if found := look():
                return found
            problem = found
        except (AssertionError, ValueError, KeyError) as error:
            problem = error
        assert time.monotonic() < end, f"not within {seconds:.0f} s: {what}: {str(problem)[-3000:]}"
        time.sleep(0.2)


def _first_process(holder: subprocess.Popen[bytes]) -> int:
    children = Path(f"/proc/{holder.pid}/task/{holder.pid}/children")
    return int(wait_for("a node's first process", lambda: children.read_text().split(), 10)[0])


def _close(pipe: IO[bytes] | None) -> None:
    if pipe is not None:
        pipe.close()
