"""Targets of Debian's own archive as our catalog sees them and as apt does; read once for all tests of a module."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from apt import IsolatedApt

from repobuild import catalog, fetch, host
from repobuild.errors import UnreachableError
from repobuild.formats.deb.resolver import DebUniverse
from repobuild.model import Job, Mirror, Options, Upstream
from repobuild.progress import SILENT
from repobuild.state import Memory
from repobuild.store import Store
from repobuild.targets import parse_target

KEYRING = Path(__file__).resolve().parents[1] / "manifests/keys/debian-archive-keyring.gpg"
TARGETS = ("d11.x86_64", "d11.aarch64", "d12.x86_64", "d12.aarch64", "d13.x86_64", "d13.aarch64")


@dataclass(frozen=True)
class Limits:
    offline: bool = False
    allow_older: bool = False
    skip_unavailable: bool = False
    now: int = field(default_factory=lambda: int(time.time()))


@dataclass(frozen=True)
class Judged:
    """One target as we see it and as apt does."""

    loaded: catalog.Catalog
    apt: IsolatedApt
    names: list[str]

    @property
    def base(self) -> tuple[str, ...]:
        return tuple(self.fresh()._universe.essential)

    def fresh(self) -> DebUniverse:
        universe = self.loaded.universe
        assert isinstance(universe, DebUniverse)
        return universe


@contextmanager
def debian_worlds(folder: Path) -> Iterator[Callable[[str], Judged]]:
    """Yield what reads a target when it is asked for the first time; skips where apt has no archive."""
    mirrors = host.apt_mirrors()
    if not mirrors:
        pytest.skip("this machine's apt has no archive that we can read")
    known: dict[str, Judged] = {}
    with Store.open(folder / "store") as store, fetch.Fetcher() as fetcher:
        means = catalog.Means(fetcher.get, store, Memory(folder / "state"), Limits(), SILENT)

        def get(name: str) -> Judged:
            if name not in known:
                known[name] = judge(job_of(name, mirrors), means, mirrors, folder / name)
            return known[name]

        yield get


def job_of(name: str, mirrors: tuple[Mirror, ...]) -> Job:
    target = parse_target(name)
    suites = {"base": "", "updates": "-updates", "security": "-security"}
    upstreams = tuple(
        Upstream(
            name=each,
            module="node",
            mirrors=mirrors,
            suite=target.codename + suffix,
            components=("main",),
            keys=(KEYRING,),
            origin="Debian",
            check_valid_until=False,
        )
        for each, suffix in suites.items()
    )
    return Job(
        target=target,
        upstreams=upstreams,
        groups=(),
        url_packages=(),
        options=Options(weak_dependencies=False),
        name="oracle",
        version="v0",
        endpoint="http://127.0.0.1",
        digest="0" * 64,
    )


def judge(job: Job, means: catalog.Means, mirrors: tuple[Mirror, ...], folder: Path) -> Judged:
    try:
        loaded = catalog.load(job, means)
    except UnreachableError as error:
        pytest.skip(f"the archive cannot be reached: {error.message}")
    lines = [
        f"deb [signed-by={KEYRING} check-valid-until=no] {loaded.served[each.name]} {each.suite} main\n"
        for each in job.upstreams
    ]
    apt = IsolatedApt(folder, job.target.package_arch, "".join(lines))
    proxies = [mirror.proxy for mirror in mirrors if mirror.proxy]
    if proxies:
        config = folder / "apt.conf"
        config.write_text(config.read_text() + f'Acquire::http::Proxy "{proxies[0]}";\n')
    updated = apt.update()
    assert updated.returncode == 0, updated.stderr
    universe = loaded.universe._universe  # type: ignore[attr-defined]
    return Judged(loaded, apt, sorted(name for name in universe.names()))
