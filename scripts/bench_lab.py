"""What the benchmark runs on: real packages on a loopback mirror, an apt of its own, and a stopwatch.

The .debs and signed indexes come from the archive that this machine's apt is configured with: fetched once, by apt, and
kept under `archive`. Everything measured runs against the WAN model of tests/faultserver.py that serves this folder.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote, urlsplit

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CHECKOUT))

from repobuild import lock, manifest  # noqa: E402
from repobuild.host import apt_mirrors  # noqa: E402
from repobuild.model import Lock  # noqa: E402
from repobuild.targets import parse_target  # noqa: E402

TARGET = "d12.x86_64"
_RUN = CHECKOUT / "build/bench"
"""Apart from the packages: a home has no hidden part."""
LATENCY, RATE = 0.04, 12e6
"""The WAN model: seconds of a round trip, bytes a second of one connection."""
_SUITES = {"base": "bookworm", "updates": "bookworm-updates", "security": "bookworm-security"}
_INDEX = "main/binary-amd64"
_KEYS = CHECKOUT / "manifests/keys/debian-archive-keyring.gpg"
_MORE = (
    "build-essential python3-dev python3-pip python3-venv python3-pandas python3-psycopg2 python3-boto3",
    "nodejs default-jre-headless docker.io ceph-common gdb strace rsyslog",
    "apache2 mariadb-server certbot python3-certbot-nginx",
    "postgresql-15-postgis-3 postgresql-15-cron postgresql-15-pgaudit postgresql-15-partman postgresql-15-hypopg",
    "pgloader pgtop pg-activity pgcli",
)
"""Groups of wants beside the quickstart's own: together some 600 files, 600 MB."""
_FEW = ("nginx dnsmasq chrony", "redis-server keepalived")
_PRINTED = re.compile(r"'([^']+)' (\S+) \d+")
_LISTED = re.compile(r"^ ([0-9a-f]{64}) +\d+ (\S+)$", re.MULTILINE)
_MAIN = "from repobuild.cli import main; main()"


class BenchError(Exception):
    """The benchmark cannot run."""


@dataclass(frozen=True, slots=True)
class Run:
    """One measured run of a program."""

    seconds: float
    peak: int
    """Bytes of resident memory of the largest process."""


@dataclass(frozen=True)
class Lab:
    """The folders of a benchmark, and the programs that run in them."""

    run: Path
    """What one benchmark writes; empty at its start."""
    url: str
    is_quick: bool

    @property
    def manifest(self) -> Path:
        """The document with all the wants."""
        return self.run / "bench.yml"

    @property
    def lock_path(self) -> Path:
        """Where the lock of that document is."""
        return self.run / "bench.lock"

    @cached_property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """The wants, by line of the manifest."""
        if self.is_quick:
            return tuple(tuple(line.split()) for line in _FEW)
        shipped = manifest.load(CHECKOUT / "manifests/quickstart.yml").job(parse_target(TARGET), region="default")
        return (*shipped.groups, *(tuple(line.split()) for line in _MORE))

    @cached_property
    def lock(self) -> Lock:
        """The lock that everything is measured with."""
        return lock.read(self.lock_path.read_bytes(), str(self.lock_path))

    @property
    def size(self) -> int:
        """Bytes of the payload."""
        return sum(each.package.size for each in self.lock.choices)

    # programs

    def repobuild(self, *words: str, house: str = "house", locked: Path | None = None) -> Run:
        """Measure `repobuild` with the store, state and home under `house`."""
        folder = self.run / house
        command, *rest = words
        options = ["-c", str(self.manifest), "--home", str(folder / "www")]
        if command in {"lock", "sync", "bundle"}:
            options += ["--lock", str(locked or self.lock_path)]
        program = [sys.executable, "-c", _MAIN, command, *options, *rest, TARGET]
        return measure(program, self.repobuild_environment(folder), self.run)

    def repobuild_environment(self, folder: Path) -> dict[str, str]:
        """Return the environment of a repobuild that keeps everything in `folder`."""
        places = {
            "REPOBUILD_STORE": folder / "store",
            "XDG_STATE_HOME": folder / "state",
            "XDG_CONFIG_HOME": folder / "config",
            "PYTHONPATH": CHECKOUT,
            "PYTHONPYCACHEPREFIX": self.run / "bytecode",  # an installed package has its own
        }
        return environment({name: str(place) for name, place in places.items()})

    @property
    def apt_environment(self) -> dict[str, str]:
        """The environment of an apt that knows only the mirror."""
        return environment({"APT_CONFIG": str(self.run / "apt/apt.conf"), "LC_ALL": "C"})

    def shell(self, script: str, folder: Path) -> Run:
        """Measure a shell script whose apt sees nothing but the mirror."""
        folder.mkdir(parents=True, exist_ok=True)
        return measure(["bash", "-euo", "pipefail", "-c", script], self.apt_environment, folder)

    def apt(self, *words: str) -> str:
        """Return what an apt program of the lab prints."""
        return _output(words, self.apt_environment)

    def closure(self, group: Iterable[str]) -> str:
        """Return the command that lists what Pigsty downloads for a group: the recursion over all alternatives."""
        ignored = ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")
        options = " ".join(f"--no-{each}" for each in ignored)
        return f"apt-cache depends --recurse {options} {' '.join(group)} | grep '^\\w' | sort -u"


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment without proxies, which loopback has no use for, and Python's settings."""
    strange = re.compile(r".*_proxy|PYTHON.*", re.IGNORECASE)
    kept = {name: value for name, value in os.environ.items() if not strange.fullmatch(name)}
    return kept | dict(more)


def measure(command: Sequence[str], env: Mapping[str, str], folder: Path) -> Run:
    """Run a program to its end; return its wall time and memory."""
    with (folder / "stderr").open("w+b") as errors:
        begun = time.perf_counter()
        process = subprocess.Popen(
            command, env=dict(env), cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            text = errors.read()[-2000:].decode(errors="replace")
            raise BenchError(f"exit {process.returncode}: {' '.join(command)[:300]}\n{text}")
    (folder / "stderr").unlink()
    return Run(seconds, usage.ru_maxrss * 1024)


def _output(command: Sequence[str], env: Mapping[str, str] | None = None, folder: Path | None = None) -> str:
    done = subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"exit {done.returncode}: {' '.join(command)[:300]}\n{done.stderr[-2000:]}")
    return done.stdout


def empty(folder: Path) -> Path:
    """Return `folder`, empty, with nothing waiting to be written to disk: what is measured next starts quiet."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    os.sync()
    return folder


@contextmanager
def open_lab(work: Path, *, is_quick: bool) -> Iterator[Lab]:
    """Serve the archive as a distant mirror and give the lab, its mirror complete and its lock written.

    Args:
        work: where the packages stay.
        is_quick: whether a hundred files will do.
    """
    upstream = _Upstream(work)
    upstream.fetch_indexes()
    with _serve(work / "archive") as url:
        lab = Lab(empty(_RUN), url, is_quick)
        try:
            _write_manifest(lab)
            _write_apt(lab)
            lab.repobuild("lock")
            upstream.fetch_packages(lab)
            yield lab
        finally:
            shutil.rmtree(lab.run)


@contextmanager
def _serve(root: Path) -> Iterator[str]:
    program = [sys.executable, str(CHECKOUT / "tests/faultserver.py"), "--root", str(root)]
    program += ["--latency", str(LATENCY), "--rate", str(RATE)]
    server = subprocess.Popen(program, stdout=subprocess.PIPE, text=True)
    try:
        yield (server.stdout.readline() if server.stdout else "").strip()
    finally:
        server.terminate()
        server.wait()
        if server.stdout:
            server.stdout.close()


def _write_manifest(lab: Lab) -> None:
    upstreams = [
        {
            "name": name,
            "module": "node",
            "releases": [12],
            "arch": ["x86_64"],
            "origin": "Debian",
            "signed_by": str(_KEYS),
            "check_valid_until": False,
            "baseurl": {"default": f"{lab.url} {suite} main"},
        }
        for name, suite in _SUITES.items()
    ]
    text = {
        "version": "v1.0.0",
        "region": "default",
        "repo_modules": "node",
        "repo_upstream": upstreams,
        "repo_packages": [" ".join(group) for group in lab.groups],
        "repo_extra_packages": [],
        "package_map": {},
    }
    lab.manifest.write_text(json.dumps(text))


def _write_apt(lab: Lab) -> None:
    """Configure an apt that knows only the mirror, and has nothing installed."""
    root = lab.run / "apt"
    for name in ("etc/apt.conf.d", "etc/preferences.d", "etc/sources.list.d", "etc/trusted.gpg.d"):
        (root / name).mkdir(parents=True)
    for name in ("state/lists/partial", "cache/archives/partial"):
        (root / name).mkdir(parents=True)
    (root / "state/status").touch()
    sources = [f"deb [signed-by={_KEYS}] {lab.url} {suite} main\n" for suite in _SUITES.values()]
    (root / "etc/sources.list").write_text("".join(sources))
    settings = {
        "Dir": root,
        "Dir::State": root / "state",
        "Dir::State::status": root / "state/status",
        "Dir::Cache": root / "cache",
        "Dir::Etc": root / "etc",
        "Dir::Bin::methods": "/usr/lib/apt/methods",
        "APT::Architecture": "amd64",
        "APT::Sandbox::User": "root",
        "APT::Install-Recommends": "false",
        "Acquire::Languages": "none",
        "Acquire::Check-Valid-Until": "false",
    }
    lines = [f'{name} "{value}";\n' for name, value in settings.items()]
    (root / "apt.conf").write_text("".join(lines) + 'APT::Architectures { "amd64"; };\n')
    lab.apt("apt-get", "update")


class _Upstream:
    """The archive that this machine's apt is configured with, asked through apt for what is not here yet."""

    def __init__(self, work: Path) -> None:
        self._archive = work / "archive"
        self._staging = work / "staging"

    @cached_property
    def _mirrors(self) -> tuple[str, ...]:
        return tuple(mirror.url for mirror in apt_mirrors())

    def fetch_indexes(self) -> None:
        """Get the signed roots and the index of each suite, unless they are here."""
        self._staging.mkdir(parents=True, exist_ok=True)
        for suite in _SUITES.values():
            folder = self._archive / "dists" / suite
            if not (folder / "InRelease").is_file():
                self._fetch_suite(suite, folder)

    def _fetch_suite(self, suite: str, folder: Path) -> None:
        base = next((url for url in self._mirrors if self._has(f"{url}/dists/{suite}/InRelease")), None)
        if base is None:
            raise BenchError(f"no mirror of this machine's apt has {suite}")
        root = self._staging / "file"
        listed = {name: digest for digest, name in _LISTED.findall(root.read_text())}
        text = root.read_bytes()
        digest = listed[f"{_INDEX}/Packages.xz"]
        hashed = f"{_INDEX}/by-hash/SHA256/{digest}"
        self._download(f"{base}/dists/{suite}/{hashed}", f"SHA256:{digest}")
        (folder / hashed).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(self._staging / "file", folder / hashed)
        os.replace(self._staging / "file", folder / _INDEX / "Packages.xz")
        (folder / "mirror").write_text(base)
        (folder / "InRelease").write_bytes(text)

    def _has(self, url: str) -> bool:
        try:
            self._download(url)
        except BenchError:
            return False
        return True

    def _download(self, url: str, *digest: str) -> None:
        (self._staging / "file").unlink(missing_ok=True)
        _output(["/usr/lib/apt/apt-helper", "download-file", url, str(self._staging / "file"), *digest])

    def fetch_packages(self, lab: Lab) -> None:
        """Get what the lock names, and what Pigsty's recursion names, unless it is here."""
        names = {f"{each.package.name}={each.package.version}" for each in lab.lock.choices}
        for group in lab.groups:
            listed = _output(["bash", "-c", lab.closure(group)], lab.apt_environment).split()
            names.update(listed)
        absent: dict[str, Path] = {}
        for url, name in _PRINTED.findall(lab.apt("apt-get", "download", "--print-uris", *sorted(names))):
            path = self._archive / unquote(urlsplit(url).path).lstrip("/")
            if not path.is_file():
                absent[name] = path
        if absent:
            print(f"fetching {len(absent)} packages through apt, once: they stay in {self._archive}", flush=True)
            self._fetch_absent(absent)

    def _fetch_absent(self, absent: Mapping[str, Path]) -> None:
        """Let apt download packages, each a file name like `name_1%3a2.0_amd64.deb`, and put them in their place."""
        apt = self._host_apt()
        _output([*apt, "update"])
        wanted = ["=".join(map(unquote, name.split("_")[:2])) for name in absent]
        try:
            _output([*apt, "download", *wanted], folder=self._staging)
        except BenchError as error:
            raise BenchError(f"{error}\nhas the archive moved on? start afresh: remove {self._archive}") from error
        for name, path in absent.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            os.replace(self._staging / name, path)

    def _host_apt(self) -> list[str]:
        """Return apt-get with this machine's own settings, but its sources and state in the staging folder."""
        lists = self._staging / "apt"
        for name in ("lists/partial", "archives/partial"):
            (lists / name).mkdir(parents=True, exist_ok=True)
        places = {suite: (self._archive / "dists" / suite / "mirror").read_text() for suite in _SUITES.values()}
        sources = [f"deb [signed-by={_KEYS} arch=amd64] {url} {suite} main\n" for suite, url in places.items()]
        (lists / "sources.list").write_text("".join(sources))
        (lists / "status").touch()
        settings = {
            "Dir::State": lists,
            "Dir::State::status": lists / "status",
            "Dir::Cache": lists,
            "Dir::Etc::sourcelist": lists / "sources.list",
            "Dir::Etc::sourceparts": "-",
            "APT::Architecture": "amd64",
            "APT::Sandbox::User": "root",
            "Acquire::Languages": "none",
        }
        return ["apt-get", *(word for name, value in settings.items() for word in ("-o", f"{name}={value}"))]
