"""install.sh on machines that have nothing: a bare Debian without network, one that uses the first over http, and dnf.

Debian 12 always; others where REPOBUILD_ROOTS names their targets ("d11.x86_64 d13.x86_64").
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from archive_on_disk import served, signing_key
from dnf_client import DNF, DnfRoot
from rpm_archive import Rpm, RpmArchive, write_manifest
from shell_bundles import INSTALLER, OS_RELEASE, Out, tree
from sites import Runner
from test_infra import NO_SERVICES, _without_network

from repobuild import host, lock
from repobuild.targets import parse_target

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.geteuid() != 0, reason="building a root needs root"),
]
TARGETS = os.environ.get("REPOBUILD_ROOTS", "d12.x86_64").split()
NGINX = """
events {}
http { server { listen 127.0.0.1:80; root /www; autoindex on; } }
"""

EXCHANGE = """
mkdir /tmp/a /tmp/b && touch /tmp/a/x
! mv --help | grep -q -e --exchange || { mv --exchange -T /tmp/a /tmp/b && test -e /tmp/b/x -a -d /tmp/a && echo exchanged; }
"""
"""Where mv can exchange folders (coreutils 9.5), it understands what install.sh asks of it."""


@dataclass(frozen=True)
class Medium:
    """What an operator carries across the gap, and what is needed to judge it."""

    folder: Path
    fingerprint: str
    repository: Path
    wants: list[str]


@pytest.fixture(scope="module", params=TARGETS)
def medium(
    request: pytest.FixtureRequest, places: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Medium:
    if not host.apt_mirrors():
        pytest.skip("this machine's apt names no archive")
    home, out = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("medium")
    own = {**places, "XDG_CONFIG_HOME": str(home / "config"), "XDG_STATE_HOME": str(home / "state")}

    def repobuild(*words: str) -> None:
        command = [sys.executable, "-m", "repobuild", *words]
        done = subprocess.run(command, env=own, capture_output=True, text=True, timeout=600, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    repobuild("key", "new", "--name", "medium")
    repobuild("bundle", request.param, "--home", str(home), "--lock", str(home / "lock"), "-o", str(out))
    repository = next(home.rglob("repo_complete")).parent
    chosen = lock.read((repository / "repobuild.lock").read_bytes(), "test")
    return Medium(
        out, fingerprint(out), repository, [each.package.name for each in chosen.choices if each.why == "want"]
    )


def fingerprint(out: Path) -> str:
    words = ["sqv", "--keyring", out / "pigsty.gpg", out / "SHA256SUMS.asc", out / "SHA256SUMS"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()[0]


def bare_root(medium: Medium, root: Path, mmdebstrap: str) -> Path:
    """Make a minimal system without network, and without any package source."""
    target = parse_target(
        medium.repository.joinpath("repobuild.lock").read_text().split('"target": "')[1].split('"')[0]
    )
    _without_network(
        mmdebstrap, "--mode=root", "--variant=apt", "--skip=check/empty", "--quiet", "--dpkgopt=force-unsafe-io",
        target.codename, str(root), f"deb [signed-by={medium.folder}/pigsty.gpg] copy:{medium.repository} ./",
    )  # fmt: skip
    (root / "usr/sbin/policy-rc.d").write_text(NO_SERVICES)
    (root / "usr/sbin/policy-rc.d").chmod(0o755)
    (root / "etc/apt/sources.list").write_text("")
    (root / "media/bundle").mkdir(parents=True)
    (root / "www").mkdir()
    return root


def installed_in(root: Path) -> set[str]:
    stanzas = (root / "var/lib/dpkg/status").read_text().split("\n\n")
    good = [stanza for stanza in stanzas if "\nStatus: install ok installed\n" in stanza]
    return {stanza.split("\n", 1)[0].removeprefix("Package: ") for stanza in good}


def test_a_bare_machine_lives_from_the_medium_and_serves_a_second_one(
    medium: Medium, tmp_path: Path, tool: Callable[[str], str]
) -> None:
    first = bare_root(medium, tmp_path / "first", tool("mmdebstrap"))
    second = tmp_path / "second"
    subprocess.run(["cp", "-a", first, second], check=True)
    letter = tmp_path / "letter"  # a node needs no bundle, only what says which key to believe
    letter.mkdir()
    for name in ("install.sh", "SHA256SUMS", "SHA256SUMS.asc", "pigsty.gpg", "pigsty.asc"):
        (letter / name).write_bytes((medium.folder / name).read_bytes())
    (first / "etc/nginx.test").write_text(NGINX)
    few = " ".join(medium.wants[:3])
    script = f"""
        set -e
        ip link set lo up
        export DEBIAN_FRONTEND=noninteractive
        mount --bind -o ro {medium.folder} {first}/media/bundle
        mount --bind {letter} {second}/media/bundle
        for root in {first} {second}; do
            mount -t proc proc $root/proc
            mount -t tmpfs tmpfs $root/tmp
        done
        ! chroot {first} sh /media/bundle/install.sh </dev/null
        chroot {first} sh /media/bundle/install.sh --trust {medium.fingerprint}
        chroot {first} apt-get update -q -o APT::Update::Error-Mode=any
        chroot {first} apt-get install -q -y --no-install-recommends {" ".join(medium.wants)}
        chroot {first} dpkg --audit
        chroot {first} sh -c '{EXCHANGE}'
        chroot {first} nginx -c /etc/nginx.test
        chroot {second} sh /media/bundle/install.sh --http http://127.0.0.1/pigsty --trust {medium.fingerprint}
        chroot {second} apt-get update -q -o APT::Update::Error-Mode=any
        chroot {second} apt-get install -q -y --no-install-recommends {few}
    """

    said = _without_network("sh", "-c", script, mounts=True)

    assert "Get:1 file:/www/pigsty ./ InRelease" in said
    assert "http://127.0.0.1/pigsty ./ InRelease" in said
    assert "exchanged" in said or not (first / "etc/debian_version").read_text().startswith("13")
    assert set(medium.wants) <= installed_in(first)
    assert set(medium.wants[:3]) <= installed_in(second)
    sources = (first / "etc/apt/sources.list.d/pigsty-local.list").read_text()
    assert "deb [signed-by=/etc/apt/keyrings/pigsty.gpg] file:/www/pigsty/ ./\n" == sources


def test_a_repository_that_is_a_mount_of_its_own_is_replaced_file_by_file(
    tmp_path: Path, tool: Callable[[str], str]
) -> None:
    tool("unshare")
    root = tmp_path / "root"
    for folder in ("etc", "www/pigsty"):
        (root / folder).mkdir(parents=True)
    (root / "etc/os-release").write_text(OS_RELEASE)
    outs = [Out(tmp_path / f"out{step}").add(tree(step, key=signing_key())).write() for step in (0, 1)]
    script = f"""
        set -e
        mount -t tmpfs -o mode=755 tmpfs {root}/www/pigsty
        for out in {outs[0]} {outs[1]}; do
            sh {INSTALLER} --root {root} --key {outs[0]}/pigsty.gpg $out
        done
        cd {root}/www/pigsty
        sha256sum -c repo_complete
        ls -A . .repobuild
    """

    said = _without_network("sh", "-c", script, mounts=True)

    assert "lib_1.0_amd64.deb: OK" in said
    assert "lib_0.0_amd64.deb" not in said
    assert "incoming-sh" not in said
    assert "leaving-sh" not in said


@pytest.fixture
def el9(tmp_path: Path, tool: Callable[[str], str]) -> Iterator[tuple[Runner, RpmArchive]]:
    tool("createrepo_c")
    archive = RpmArchive(tmp_path / "upstream")
    with served(archive.folder) as url:
        archive.publish([Rpm("app", "1.0", {"requires": ["lib >= 1.0"]}), Rpm("lib", "1.0")])
        manifest = tmp_path / "site/site.yml"
        write_manifest(manifest, [archive.upstream(url, manifest.parent)], ["app"])
        yield Runner(tmp_path, manifest), archive


@pytest.mark.skipif(not Path(DNF).exists() and not os.environ.get("CI"), reason="dnf is not installed")
def test_dnf_takes_two_bundles_after_each_other_with_the_signature_checked(
    el9: tuple[Runner, RpmArchive], tmp_path: Path
) -> None:
    runner, archive = el9
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc/os-release").write_text('ID="rocky"\nID_LIKE="rhel centos fedora"\nVERSION_ID="9.6"\n')
    assert 0 == runner.run("key", "new", "--name", "test").returncode
    seen = []

    for number, version in enumerate(("1.0", "2.0")):
        archive.publish([Rpm("app", version, {"requires": [f"lib >= {version}"]}), Rpm("lib", version)])
        out = tmp_path / f"out{number}"
        bundled = runner.run("bundle", "el9.x86_64", "--update", "-o", str(out))
        assert bundled.returncode == 0, bundled.stderr
        trust = ["--trust", fingerprint(out)] if not number else []  # afterwards the key in place vouches
        done = subprocess.run(
            ["sh", str(INSTALLER), "--root", str(root), *trust, str(out)],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        client = (root / "etc/yum.repos.d/pigsty-local.repo").read_bytes()
        dnf = DnfRoot(
            tmp_path / f"dnf{number}", {"pigsty.repo": client.replace(b"file:///www", f"file://{root}/www".encode())}
        )
        result = dnf.run("--disablerepo=*", "--enablerepo=pigsty-local", "install", "app")
        assert result.returncode == 0, result.stderr
        seen.append(dnf.installed())

    assert b"repo_gpgcheck=1\n" in client
    assert seen == [{f"{name}-{version}-1.el9.x86_64" for name in ("app", "lib")} for version in ("1.0", "2.0")]
