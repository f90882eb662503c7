"""Fixtures of the tests that run the command line."""

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from archive_on_disk import ArchiveOnDisk, served
from built import Built
from sites import FIRST, Site

from repobuild import host, lock


@pytest.fixture
def site(tmp_path: Path, tool: Callable[[str], str]) -> Iterator[Site]:
    tool("dpkg-deb")
    archive = ArchiveOnDisk(tmp_path / "archive")
    archive.publish(FIRST)
    with served(archive.folder) as url:
        site = Site(tmp_path, archive, url)
        done = site.sync()
        assert done.returncode == 0, done.stderr
        yield site


@pytest.fixture(scope="session")
def repobuild(places: Mapping[str, str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(*words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "repobuild", *words]
        result = subprocess.run(command, env=dict(places), capture_output=True, text=True, timeout=600, check=False)
        assert result.returncode == code, result.stdout + result.stderr
        return result

    return run


@pytest.fixture(scope="session")
def built(
    repobuild: Callable[..., subprocess.CompletedProcess[str]], tmp_path_factory: pytest.TempPathFactory
) -> Built:
    if not host.apt_mirrors():
        pytest.skip("this machine's apt names no archive")
    home = tmp_path_factory.mktemp("home")
    locks = tmp_path_factory.mktemp("locks")
    repobuild("key", "new", "--name", "test")
    own = host.host_target()
    at_root = ["--home", str(home)]
    repobuild("sync", "d12.x86_64", *at_root, "--lock", str(locks / "d12.lock"))
    if own is None or own.name != "d12.x86_64":  # places: only the host's own target lies directly below the home
        home = home / "d12.x86_64"
    text = (home / "pigsty" / "repobuild.lock").read_bytes()
    chosen = lock.read(text, "test")
    return Built(home, chosen, [each.package.name for each in chosen.choices if each.why == "want"], repobuild)
