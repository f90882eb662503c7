"""The main job on the real archive: sync, bundle, install, and a bare Debian that lives from the result.

Everything here runs the command as a user would, with real apt as the judge. One repository (Debian 12, x86_64) is
downloaded; the other five targets are resolved, and apt judges their indexes.
"""

import json
import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from apt import IsolatedApt
from built import Built

from repobuild import lock, manifest
from repobuild.formats import FORMATS
from repobuild.formats.protocol import RepositoryFacts
from repobuild.model import Lock
from repobuild.targets import parse_target

pytestmark = pytest.mark.integration

OTHERS = ("d11.x86_64", "d11.aarch64", "d12.aarch64", "d13.x86_64", "d13.aarch64")
NO_SERVICES = "#!/bin/sh\nexit 101\n"


def test_an_unchanged_sync_touches_neither_network_nor_repository(built: Built) -> None:
    before = {path: path.stat().st_mtime_ns for path in built.repository.rglob("*")}

    result = built.run("sync", "d12.x86_64", "--home", str(built.web_root), "--json", "--offline")

    [outcome] = json.loads(result.stdout)["targets"]
    assert not outcome["is_changed"]
    assert before == {path: path.stat().st_mtime_ns for path in built.repository.rglob("*")}


def test_the_marker_is_what_sha256sum_checks(built: Built) -> None:
    result = subprocess.run(
        ["sha256sum", "-c", "--quiet", "repo_complete"],
        cwd=built.repository,
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 0, result.stdout + result.stderr


def test_apt_takes_all_wants_and_each_alone_from_our_repository(built: Built, tmp_path: Path) -> None:
    source = f"deb [signed-by={built.key}] file:{built.repository}/ ./\n"
    apt = IsolatedApt(tmp_path, "amd64", source)
    updated = apt.update()

    refused = [want for want in built.wants if apt.simulate([want])[0] is None]
    together, said = apt.simulate([*built.wants, *_base(built.lock)])

    assert updated.returncode == 0, updated.stderr
    assert [] == refused
    assert {(each.package.name, each.package.version) for each in built.lock.choices} == together, said


@pytest.mark.parametrize("name", OTHERS)
def test_apt_of_another_target_takes_all_wants(built: Built, tmp_path: Path, name: str) -> None:
    path = tmp_path / "lock"
    built.run("lock", name, "--lock", str(path))
    chosen = lock.read(path.read_bytes(), "test")
    target = parse_target(name)
    facts = RepositoryFacts(name="pigsty", target=target, time=chosen.time)
    for file in FORMATS[target.family].metadata([each.package for each in chosen.choices], facts, None, Path):
        place = tmp_path / "repository" / file.path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(file.content or b"")
    apt = IsolatedApt(tmp_path / "apt", target.package_arch, f"deb [trusted=yes] file:{tmp_path}/repository/ ./\n")
    assert apt.update().returncode == 0
    wants = [each.package.name for each in chosen.choices if each.why == "want"]

    together, said = apt.simulate([*wants, *_base(chosen)])

    assert {(each.package.name, each.package.version) for each in chosen.choices} == together, said


@pytest.mark.skipif(os.geteuid() != 0, reason="building a root needs root")
def test_a_bare_machine_without_network_installs_every_want_from_the_bundle(
    built: Built, tmp_path: Path, tool: Callable[[str], str]
) -> None:
    built.run("bundle", "--offline", "d12.x86_64", "--home", str(built.web_root), "--out", str(tmp_path))
    [bundle] = tmp_path.glob("*.tgz")
    www = tmp_path / "www"
    built.run("install", str(bundle), "--home", str(www))
    repository = next(www.rglob("repo_complete")).parent
    key = repository.parent / "pigsty.gpg"
    root = tmp_path / "root"
    _without_network(
        tool("mmdebstrap"), "--mode=root", "--variant=apt", "--skip=check/empty", "--quiet",
        "--dpkgopt=force-unsafe-io", "bookworm", str(root),
        f"deb [signed-by={key}] copy:{repository} ./",
    )  # fmt: skip
    (root / "usr/sbin/policy-rc.d").write_text(NO_SERVICES)
    (root / "usr/sbin/policy-rc.d").chmod(0o755)
    (root / "etc/apt/keyrings").mkdir(exist_ok=True)
    (root / "etc/apt/keyrings/pigsty.gpg").write_bytes(key.read_bytes())
    (root / "etc/apt/sources.list").write_text("")
    (root / "etc/apt/sources.list.d/pigsty.list").write_text(
        "deb [signed-by=/etc/apt/keyrings/pigsty.gpg] file:/www/pigsty/ ./\n"
    )
    script = f"""
        set -e
        mkdir -p {root}/www/pigsty
        mount --bind {repository} {root}/www/pigsty
        mount -t proc proc {root}/proc
        mount -t tmpfs tmpfs {root}/tmp
        export DEBIAN_FRONTEND=noninteractive
        chroot {root} apt-get update -q
        chroot {root} apt-get install -q -y --no-install-recommends {" ".join(built.wants)}
        chroot {root} nginx -t
        chroot {root} sh -c 'dpkg --audit'
        chroot {root} psql --version
        chroot {root} patroni --version
        chroot {root} prometheus --version
    """

    said = _without_network("sh", "-c", script, mounts=True)

    assert "(PostgreSQL)" in said
    status = (root / "var/lib/dpkg/status").read_text()
    installed = {
        stanza.split("\n", 1)[0].removeprefix("Package: ")
        for stanza in status.split("\n\n")
        if "\nStatus: install ok installed\n" in stanza
    }
    assert set(built.wants) <= installed


def _without_network(*words: str, mounts: bool = False) -> str:
    """Run a command in a network namespace that has nothing, not even loopback; return what it said."""
    options = ["-n", "-m", "-p", "-f"] if mounts else ["-n"]
    result = subprocess.run(["unshare", *options, *words], capture_output=True, text=True, timeout=600, check=False)
    assert result.returncode == 0, (result.stdout + result.stderr)[-4000:]
    return result.stdout


def _base(chosen: Lock) -> Sequence[str]:
    """Return what is there because every system needs it."""
    return [each.package.name for each in chosen.choices if each.why == "base"]


def test_the_shipped_manifest_serves_the_six_debian_targets() -> None:
    shipped = manifest.load(manifest.default_manifest())

    assert {*OTHERS, "d12.x86_64"} == {target.name for target in shipped.targets}
