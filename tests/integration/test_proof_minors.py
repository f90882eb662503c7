"""One bundle for three minor releases: machines with the names and dependencies of CentOS Stream 9, judged by dnf."""

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from centos import UPSTREAMS, Rebuilt, needs_centos, stubs
from dnf_client import DnfRoot, closures
from rpm_archive import write_manifest
from sites import Runner

from repobuild.formats import FORMATS

pytestmark = [
    pytest.mark.integration,
    needs_centos,
    pytest.mark.skipif(os.geteuid() != 0, reason="dnf installs as root only"),
]
WANTS = ["nginx", "haproxy", "keepalived", "mariadb-server"]
SYSTEM = ["bash", "coreutils", "systemd", "openssl", "curl", "openssh-server", "rpm"]
OPENSSL = frozenset({"openssl", "openssl-libs"})
MINORS = {
    "el9.4": [Rebuilt(OPENSSL, "3.0.0", "1.el9", without="OPENSSL_3.0.0")],
    "el9.5": [],
    "el9.6": [Rebuilt(OPENSSL, "3.2.2", "6.el9", provides=("libcrypto.so.3(OPENSSL_3.2.0)(64bit)",))],
}
"""What each has otherwise than the upstreams: openssl before it had the symbols of 3.0.0, and one newer than theirs."""


class Machines:
    """Three installed systems, the upstream that has them all but for openssl, and where their bundle is made."""

    def __init__(self, root: Path) -> None:
        installed, wanted = closures(UPSTREAMS, [SYSTEM, WANTS])
        assert installed is not None
        assert wanted is not None
        self.roots = {name: root / name / "root" for name in MINORS}
        for name, place in self.roots.items():
            packages = stubs(root / name / "stubs", installed, MINORS[name])
            place.mkdir(parents=True)
            words = ["rpm", "--root", place, "-i", "--nodeps", "--justdb", "--nosignature", *packages]
            subprocess.run(words, check=True, capture_output=True)
        self.archive = root / "archive"
        stubs(self.archive, installed | wanted)
        subprocess.run(["createrepo_c", "--quiet", self.archive], check=True)
        self.site = Runner(root / "build", root / "build/site/site.yml")
        self.lists = {name: self._capture(place) for name, place in self.roots.items()}

    def _capture(self, place: Path) -> bytes:
        """Run what `base capture` prints on a machine."""
        command = FORMATS["rpm"].capture.partition(" > ")[0].replace("rpm -qa", f"rpm --root {place} -qa")
        return subprocess.run(["sh", "-c", command], check=True, capture_output=True).stdout

    def base(self, name: str, *, by_name_alone: bool = False) -> dict[str, str]:
        """Return a machine as the manifest names it, and put its list there."""
        lines = [line for line in self.lists[name].splitlines(keepends=True) if not by_name_alone or b"\t" in line]
        file = self.site.manifest.with_name(f"{name}.txt")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"".join(lines))
        return {"name": name, "packages": file.name}

    def sync(self, bases: list[dict[str, str]], **more: str) -> subprocess.CompletedProcess[str]:
        entry = {"name": "centos", "module": "node", "releases": [9], "verify": "none",
                 "baseurl": {"default": f"file://{self.archive}"}}  # fmt: skip
        write_manifest(self.site.manifest, [entry], WANTS, bases=bases, recommends=True, **more)
        return self.site.run("sync", "el9.x86_64")

    @property
    def repository(self) -> Path:
        return next(self.site.home.rglob("repo_complete")).parent


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory, tool: Callable[[str], str]) -> Machines:
    tool("createrepo_c")
    tool("dnf")
    return Machines(tmp_path_factory.mktemp("machines"))


def test_one_repository_is_proven_on_three_minor_releases_and_dnf_installs_on_each(machines: Machines) -> None:
    done = machines.sync([machines.base(name) for name in MINORS])

    assert done.returncode == 0, done.stderr
    [receipt] = json.loads(machines.site.run("check", str(machines.repository), "--json").stdout)
    assert receipt["problems"] == []
    assert [(each["base"], len(each["wants"])) for each in receipt["bases"]] == [(name, len(WANTS)) for name in MINORS]
    held = [path.name for path in machines.repository.glob("openssl-libs-*.rpm")]
    assert held == ["openssl-libs-3.0.1-5.el9.x86_64.rpm"]
    versions = {}
    for name, place in machines.roots.items():
        client = f"[pigsty]\nname=pigsty\nbaseurl=file://{machines.repository}\nmodule_hotfixes=1\n"
        dnf = DnfRoot(place.parent, {"pigsty.repo": client.encode()})
        installed = dnf.run("install", *WANTS)
        assert installed.returncode == 0, installed.stdout + installed.stderr
        (versions[name],) = (each for each in dnf.installed() if each.startswith("openssl-libs-"))
        assert {each.rpartition("-")[0].rpartition("-")[0] for each in dnf.installed()} >= set(WANTS)
    assert versions == {
        "el9.4": "openssl-libs-3.0.1-5.el9.x86_64",
        "el9.5": "openssl-libs-3.0.1-5.el9.x86_64",
        "el9.6": "openssl-libs-3.2.2-6.el9.x86_64",
    }


def test_a_list_of_names_alone_does_not_show_what_a_newer_library_provides(machines: Machines) -> None:
    done = machines.sync([machines.base("el9.6", by_name_alone=True)], subtract="el9.6")

    assert done.returncode == 4
    assert "libcrypto.so.3" in done.stderr or "openssl-libs" in done.stderr
    assert "el9.6" in done.stderr


def test_what_three_minor_releases_have_is_left_out_of_a_small_bundle(machines: Machines) -> None:
    done = machines.sync([machines.base(name) for name in MINORS], subtract="el9.4")

    assert done.returncode == 0, done.stderr
    files = re.findall(r"(\S+)\.rpm$", (machines.repository / "repo_complete").read_text(), re.MULTILINE)
    names = {file.rpartition("-")[0].rpartition("-")[0] for file in files}
    assert names >= {*WANTS, "openssl-libs"}
    assert not names & {"bash", "glibc", "systemd"}
    [receipt] = json.loads(machines.site.run("check", str(machines.repository), "--json").stdout)
    assert receipt["problems"] == []
    assert all(each["relies"] for each in receipt["bases"])
