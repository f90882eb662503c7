"""Older versions for downgrades and packages of one name from two upstreams: from the manifest to real apt and dnf."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from apt import IsolatedApt
from archive_on_disk import ArchiveOnDisk, Deb, served, signing_key
from dnf_client import DNF, DnfRoot
from rpm_archive import Rpm, RpmArchive, write_manifest
from sites import Runner

pytestmark = pytest.mark.integration

MAP = {"node-tools": "tool", "infra-package": "loki keepalived", "pgsql-main": "postgresql-$v"}
LINES = ["node-tools", "infra-package", "pgsql-main"]
COMMON = {"repo_modules": "node,infra,pgsql", "package_map": MAP, "pg_version": ["16", "17"]}
BASE_DEBS = [
    Deb("base", essential=True),
    Deb("tool", "1.0"),
    Deb("tool", "2.0"),
    Deb("loki", "4.0"),
    Deb("keepalived"),
]
INFRA_DEBS = [Deb("loki", "3.0"), Deb("loki", "2.9")]
PGDG_DEBS = [
    *(Deb(f"postgresql-{major}", f"{major}.{minor}", depends=f"postgresql-client-{major} (= {major}.{minor})")
      for major in (16, 17) for minor in (1, 2)),
    *(Deb(f"postgresql-client-{major}", f"{major}.{minor}") for major in (16, 17) for minor in (1, 2)),
]  # fmt: skip
BASE_RPMS = [Rpm("tool", "1.0"), Rpm("tool", "2.0"), Rpm("loki", "4.0"), Rpm("keepalived")]
INFRA_RPMS = [Rpm("loki", "3.0"), Rpm("loki", "2.9")]
PGDG_RPMS = [
    *(Rpm(f"postgresql-{major}", f"{major}.{minor}", {"requires": [f"postgresql{major}-libs = {major}.{minor}"]})
      for major in (16, 17) for minor in (1, 2)),
    *(Rpm(f"postgresql{major}-libs", f"{major}.{minor}") for major in (16, 17) for minor in (1, 2)),
]  # fmt: skip
MODULES = ("node", "infra", "pgsql")


class Site(Runner):
    """A build machine with three upstreams, one a module."""

    def __init__(self, root: Path, target: str, upstreams: Sequence[dict[str, Any]]) -> None:
        super().__init__(root, root / "site/site.yml")
        self.target = target
        self.upstreams = upstreams
        self.describe()

    def describe(self, **more: Any) -> None:
        """Write the manifest anew."""
        write_manifest(self.manifest, self.upstreams, LINES, **{**COMMON, **more})

    def call(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command on the target; it has to work."""
        verb, *options = words
        done = self.run(verb, self.target, *options)
        assert done.returncode == 0, done.stderr
        return done

    @property
    def repository(self) -> Path:
        return next(self.home.rglob("repo_complete")).parent

    @property
    def packages(self) -> set[str]:
        """The packages that the marker lists, without architecture and ending."""
        lines = (self.repository / "repo_complete").read_text().splitlines()
        names = {line.partition("  ")[2] for line in lines}
        endings = ("_all.deb", "-1.el9.x86_64.rpm")
        return {name.removesuffix(ending) for name in names for ending in endings if name.endswith(ending)}

    @property
    def lock(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.repository / "repobuild.lock").read_text())
        return found


@pytest.fixture
def debian(tmp_path: Path, tool: Callable[[str], str]) -> Iterator[Site]:
    tool("dpkg-deb")
    (tmp_path / "site").mkdir()
    (tmp_path / "site/key.gpg").write_bytes(signing_key().public_binary())
    with ExitStack() as stack:
        upstreams = []
        for module, debs in zip(MODULES, (BASE_DEBS, INFRA_DEBS, PGDG_DEBS), strict=True):
            archive = ArchiveOnDisk(tmp_path / module)
            archive.publish(debs)
            url = stack.enter_context(served(archive.folder))
            upstreams.append(
                {"name": f"from-{module}", "module": module, "releases": [12], "arch": ["x86_64"],
                 "signed_by": "key.gpg", "baseurl": {"default": f"{url} ./"}}
            )  # fmt: skip
        yield Site(tmp_path, "d12.x86_64", upstreams)


@pytest.fixture
def centos(tmp_path: Path, tool: Callable[[str], str]) -> Iterator[Site]:
    tool("createrepo_c")
    with ExitStack() as stack:
        upstreams = []
        for module, packages in zip(MODULES, (BASE_RPMS, INFRA_RPMS, PGDG_RPMS), strict=True):
            archive = RpmArchive(tmp_path / module)
            archive.publish(packages)
            url = stack.enter_context(served(archive.folder))
            upstreams.append(archive.upstream(url, tmp_path / "site", name=f"from-{module}", module=module))
        yield Site(tmp_path, "el9.x86_64", upstreams)


@pytest.fixture(params=["debian", "centos"])
def site(request: pytest.FixtureRequest) -> Site:
    found: Site = request.getfixturevalue(request.param)
    return found


def names(*packages: str, site: Site) -> set[str]:
    """Return packages written `name version` as their files begin."""
    sign = "_" if site.target == "d12.x86_64" else "-"
    return {each.replace(" ", sign) for each in packages}


def test_the_distributions_package_of_a_name_is_warned_of_until_a_pin_says_which_is_meant(site: Site) -> None:
    planned = site.call("plan")
    site.call("sync")
    mixed, recorded = site.packages, site.lock["foreign"]
    again = site.call("sync", "--json")
    site.describe(origin={"loki": "from-infra"})
    pinned = site.call("sync")

    warning = "warning: taken from from-node, although from-infra of the module expected has it too"
    assert warning in planned.stderr
    assert "loki" in next(line for line in planned.stderr.splitlines() if warning in line)
    assert "from another module than their group's: keepalived (from-node)" in planned.stderr
    assert recorded == [["loki", "from-node"], ["keepalived", "from-node"]]
    assert names("loki 4.0", site=site) <= mixed
    outcome = json.loads(again.stdout)["targets"][0]
    assert outcome["foreign"] == recorded
    assert outcome["notes"] == ["from another module than their group's: loki, keepalived (from-node)"]
    assert "warning" not in pinned.stderr
    assert "from another module than their group's: keepalived (from-node)" in pinned.stderr
    assert names("loki 3.0", site=site) <= site.packages
    assert not names("loki 4.0", site=site) & site.packages
    assert site.lock["options"]["origins"] == {"loki": "from-infra"}


def test_a_file_that_is_added_counts_before_a_pin_of_its_name(debian: Site) -> None:
    own = ArchiveOnDisk(debian.root / "own")
    own.publish([Deb("loki", "0.1")])
    debian.describe(origin={"loki": "from-infra"}, keep=1)

    debian.call("sync", "--add", str(own.folder))

    assert {each for each in debian.packages if each.startswith("loki")} == {"loki_0.1"}


def test_a_pin_to_an_upstream_that_is_not_read_says_why_the_package_is_missing(site: Site) -> None:
    site.describe(origin={"loki": "from-infra"}, repo_modules="node,pgsql")

    refused = site.run("sync", site.target)

    assert refused.returncode == 4
    assert "loki" in refused.stderr
    assert "comes only from from-infra, which is none of the upstreams read for this target" in refused.stderr


def test_older_versions_of_every_want_stay_and_the_repository_proves_whole(site: Site) -> None:
    site.describe(keep=1, origin={"loki": "from-infra"})
    site.call("sync")
    checked = site.run("check", site.target)
    unchanged = site.call("sync", "--offline")

    older = names("tool 1.0", "loki 2.9", "postgresql-16 16.1", "postgresql-17 17.1", site=site)
    chosen = names("tool 2.0", "loki 3.0", "postgresql-16 16.2", "postgresql-17 17.2", site=site)
    assert older | chosen <= site.packages
    assert not names("loki 4.0", site=site) & site.packages
    assert checked.returncode == 0, checked.stderr
    assert "unchanged" in unchanged.stdout
    whys = {f"{each['name']} {each['version'].partition('-')[0]}": each["why"] for each in site.lock["packages"]}
    assert {name for name, why in whys.items() if why == "older"} == {
        "tool 1.0", "loki 2.9", "postgresql-16 16.1", "postgresql-17 17.1",
    }  # fmt: skip
    assert whys["tool 2.0"] == "want"
    assert len(site.lock["sets"]) == 2
    assert site.lock["options"]["keep"] == 1


def test_apt_installs_an_older_version_and_downgrades_to_it(debian: Site, tmp_path: Path) -> None:
    debian.describe(keep=1)
    debian.call("sync")
    apt = IsolatedApt(tmp_path / "apt", "amd64", f"deb [trusted=yes] file:{debian.repository}/ ./\n")
    assert apt.update().returncode == 0
    older = ["tool=1.0", "postgresql-16=16.1", "postgresql-client-16=16.1"]

    newest, _ = apt.simulate(["tool", "postgresql-16"])
    picked, said = apt.simulate(older)
    fetched = apt.run("-y", "--download-only", "install", "tool=1.0")
    stanzas = (
        (debian.repository / "Packages").read_text().replace("\nVersion:", "\nStatus: install ok installed\nVersion:")
    )
    status = [each for each in stanzas.split("\n\n") if "Version: 16.2" in each or "Version: 2.0" in each]
    (tmp_path / "apt/var/lib/dpkg/status").write_text("\n\n".join([*status, ""]))
    downgraded = apt.run("-s", "-y", "--allow-downgrades", "install", *older)

    assert newest == {("tool", "2.0"), ("postgresql-16", "16.2"), ("postgresql-client-16", "16.2")}
    assert picked == {("tool", "1.0"), ("postgresql-16", "16.1"), ("postgresql-client-16", "16.1")}, said
    assert fetched.returncode == 0, fetched.stderr
    assert "Inst tool [2.0] (1.0" in downgraded.stdout, downgraded.stderr
    assert "Inst postgresql-16 [16.2] (16.1" in downgraded.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="dnf installs as root only")
def test_dnf_installs_an_older_version_and_downgrades_to_it(
    centos: Site, tmp_path: Path, tool: Callable[[str], str]
) -> None:
    tool(Path(DNF).name)
    centos.describe(keep=1)
    centos.call("sync")
    file = centos.repository.parent / "pigsty-local.repo"
    fresh = DnfRoot(tmp_path / "fresh", {file.name: file.read_bytes()})
    used = DnfRoot(tmp_path / "used", {file.name: file.read_bytes()})

    older = fresh.run("install", "tool-1.0", "postgresql-16-16.1")
    newest = used.run("install", "tool", "postgresql-16", "postgresql-17")
    before = used.installed()
    downgraded = used.run("downgrade", "tool", "postgresql-16", "postgresql16-libs")

    assert older.returncode == 0, older.stdout + older.stderr
    assert {f"{name}-1.el9.x86_64" for name in ("tool-1.0", "postgresql-16-16.1", "postgresql16-libs-16.1")} == (
        fresh.installed()
    )
    assert newest.returncode == 0, newest.stdout + newest.stderr
    assert {"tool-2.0-1.el9.x86_64", "postgresql-17-17.2-1.el9.x86_64"} <= before
    assert downgraded.returncode == 0, downgraded.stdout + downgraded.stderr
    assert {"tool-1.0-1.el9.x86_64", "postgresql16-libs-16.1-1.el9.x86_64", "postgresql-17-17.2-1.el9.x86_64"} <= (
        used.installed()
    )
