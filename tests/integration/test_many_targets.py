"""Both families and several architectures in one run, as a user runs it; and what Pigsty's own tools find in the result."""

import json
import os
import stat
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from archive_on_disk import ArchiveOnDisk, served
from rpm_archive import Rpm, RpmArchive, write_manifest
from sites import FIRST, Runner

pytestmark = pytest.mark.integration

TARGETS = ("el9.x86_64", "el10.x86_64", "d12.x86_64", "d12.aarch64")
PACKAGES = [Rpm("app", "1.0", {"requires": ["lib"]}), Rpm("lib")]


class Site(Runner):
    """A build machine of the test's own, on an RPM upstream and a Debian one."""

    def __init__(self, root: Path, rpms: RpmArchive, debs: ArchiveOnDisk, urls: tuple[str, str]) -> None:
        super().__init__(root, root / "site/site.yml")
        self.rpms, self.debs = rpms, debs
        debs.write_manifest(self.manifest, urls[1], ["app"])  # puts the key beside it
        deb = {
            "name": "debs",
            "module": "infra",
            "releases": [12],
            "arch": ["x86_64", "aarch64"],
            "signed_by": "key.gpg",
            "baseurl": {"default": f"{urls[1]} ./"},
        }
        write_manifest(
            self.manifest,
            [rpms.upstream(urls[0], self.manifest.parent), deb],
            ["app"],
            repo_modules="node,infra",
            repo_endpoint="http://10.0.0.9:8080",
        )

    def documents(self, *words: str, code: int = 0) -> Any:
        result = self.run(*words, "--json")
        assert result.returncode == code, result.stdout + result.stderr
        return json.loads(result.stdout)

    def place(self, target: str) -> Path:
        """Return the folder that a target's repository is in."""
        return next(self.home.glob(f"{target}/pigsty"), self.home / "pigsty").parent


@pytest.fixture
def site(tmp_path: Path, tool: Callable[[str], str]) -> Iterator[Site]:
    tool("createrepo_c")
    tool("dpkg-deb")
    rpms, debs = RpmArchive(tmp_path / "rpms"), ArchiveOnDisk(tmp_path / "debs")
    rpms.publish(PACKAGES)
    debs.publish(FIRST)
    with ExitStack() as open_servers:
        first, second = (open_servers.enter_context(served(each.folder)) for each in (rpms, debs))
        yield Site(tmp_path, rpms, debs, (first, second))


def test_all_targets_share_what_they_have_in_common(site: Site) -> None:
    planned = site.run("plan", *TARGETS)
    document = site.documents("sync", *TARGETS)
    again = site.run("sync", *TARGETS, "--offline")

    by_target = {each["target"]: each for each in document["targets"]}
    assert list(by_target) == list(TARGETS)
    assert document["failed"] == {}
    assert {name: (each["packages"], each["fetched"], each["reused"]) for name, each in by_target.items()} == {
        "el9.x86_64": (2, 2, 0), "el10.x86_64": (2, 0, 2), "d12.x86_64": (3, 3, 0), "d12.aarch64": (3, 0, 3),
    }  # fmt: skip
    total = document["total"]
    assert (total["packages"], total["fetched"], total["reused"]) == (5, 5, 5)
    assert total["size"] == total["downloaded"] == by_target["el9.x86_64"]["size"] + by_target["d12.x86_64"]["size"]
    assert f"{total['size'] / 1000:.1f} kB in 5 files" in next(
        line for line in planned.stdout.splitlines() if line.startswith("total ")
    )
    assert again.stdout.count("unchanged") == len(TARGETS)
    assert next(line for line in again.stdout.splitlines() if line.startswith("total ")).split()[1] == "5"


def test_a_failure_is_of_its_own_targets_and_its_code_is_the_first_ones(site: Site) -> None:
    (site.debs.folder / "lib_1.0_all.deb").unlink()

    result = site.run("sync", *TARGETS, "--json")

    document = json.loads(result.stdout)
    assert result.returncode == 5
    assert [each["target"] for each in document["targets"]] == ["el9.x86_64", "el10.x86_64"]
    assert {name: each["exit"] for name, each in document["failed"].items()} == {"d12.x86_64": 5, "d12.aarch64": 5}
    assert result.stderr.count("error: d12.x86_64, d12.aarch64: ") == 1
    assert not (site.place("d12.x86_64") / "pigsty").exists()


def test_a_plan_and_a_lock_go_on_after_a_target_that_fails(site: Site) -> None:
    planned = site.run("plan", "u24.x86_64", "el9.x86_64")
    locked = site.run("lock", "u24.x86_64", "el9.x86_64")

    for result in (planned, locked):
        assert result.returncode != 0
        assert "error: u24.x86_64: " in result.stderr
        assert "el9.x86_64" in result.stdout


def test_a_plan_says_where_each_package_comes_from(site: Site) -> None:
    short = site.run("plan", "d12.x86_64").stdout
    long = site.run("plan", "d12.x86_64", "-v").stdout
    [document] = site.documents("plan", "d12.x86_64")

    assert "d12.x86_64: from debs 3" in short.splitlines()
    assert ".deb" not in short
    assert "d12.x86_64 + app_1.0_all.deb  debs (infra)" in long.splitlines()
    assert document["upstreams"] == {"debs": {"module": "infra", "packages": 3}}
    assert {(each["name"], each["upstream"], each["module"]) for each in document["resolution"]} == {
        (name, "debs", "infra") for name in ("app", "base", "lib")
    }


def test_a_plan_of_what_is_there_says_that_it_stays(site: Site) -> None:
    site.documents("sync", "d12.x86_64")

    assert "d12.x86_64 = app_1.0_all.deb  debs (infra)" in site.run("plan", "d12.x86_64", "-v").stdout


# --- what Pigsty's own tools find ----------------------------------------------------------------------------------


def bootstrapped(repository: Path, suffix: str) -> list[str]:
    """Look at a repository as Pigsty's bootstrap and `repo` role do; return its packages.

    Both take the marker's being there for a whole repository; packages and metadata lie flat in its folder, for a web
    server that runs as another user.
    """
    assert stat.S_ISREG((repository / "repo_complete").stat().st_mode)
    for folder, _, files in os.walk(repository):
        if ".repobuild" in Path(folder).parts:
            continue
        assert stat.S_IMODE(os.lstat(folder).st_mode) == 0o755, folder
        for name in files:
            status = os.lstat(Path(folder, name))
            assert stat.S_ISREG(status.st_mode), name
            assert stat.S_IMODE(status.st_mode) & 0o444 == 0o444, name
            assert not stat.S_IMODE(status.st_mode) & 0o133, name
    listed = [line.split("  ")[1] for line in (repository / "repo_complete").read_text().splitlines()]
    packages = sorted(name for name in listed if name.endswith(suffix))
    assert all("/" not in name for name in packages)
    assert packages == sorted(path.name for path in repository.glob(f"*{suffix}"))
    return packages


@pytest.mark.parametrize(
    ("target", "suffix", "index", "count"),
    [("el9.x86_64", ".rpm", "repodata/repomd.xml", 2), ("d12.aarch64", ".deb", "Packages.gz", 3)],
)
def test_bootstrap_accepts_what_is_published_and_what_a_bundle_unpacks_to(
    site: Site, target: str, suffix: str, index: str, count: int
) -> None:
    os.umask(0o077)  # of whoever runs it; what is published is for all to read
    try:
        written = site.run("bundle", target, "-o", str(site.root))
    finally:
        os.umask(0o022)
    assert written.returncode == 0, written.stderr
    [bundle] = site.root.glob("pigsty-pkg-v1.0.0.*.tgz")
    with tarfile.open(bundle) as archive:
        assert {name.partition("/")[0] for name in archive.getnames()} == {"pigsty"}
        assert {member.mode for member in archive.getmembers()} <= {0o644, 0o755}
    (site.root / "far").mkdir()
    subprocess.run(["tar", "-xf", bundle, "-C", site.root / "far"], check=True)  # as bootstrap does

    here = site.place(target) / "pigsty"

    assert len(bootstrapped(here, suffix)) == count
    assert bootstrapped(here, suffix) == bootstrapped(site.root / "far/pigsty", suffix)
    assert (here / index).is_file()
    assert (site.root / "far/pigsty" / index).read_bytes() == (here / index).read_bytes()


def test_the_files_of_pigstys_forms_lie_beside_the_repository_and_respect_the_endpoint(site: Site) -> None:
    site.documents("sync", "el9.x86_64", "d12.x86_64")
    el9, d12 = site.place("el9.x86_64"), site.place("d12.x86_64")
    below = {each: "" if each == site.home else f"/{each.name}" for each in (el9, d12)}
    printed = site.documents("client", "el9.x86_64", "d12.x86_64")

    assert f"baseurl=http://10.0.0.9:8080{below[el9]}/pigsty\n" in (el9 / "pigsty.repo").read_text()
    assert f"baseurl = http://10.0.0.9:8080{below[el9]}/pigsty\n" in (el9 / "local.repo").read_text()
    assert f"baseurl=file://{el9}/pigsty/\n" in (el9 / "pigsty-local.repo").read_text()
    assert f"deb [trusted=yes] http://10.0.0.9:8080{below[d12]}/pigsty ./\n" in (d12 / "local.list").read_text()
    assert f"deb [trusted=yes] file:{d12}/pigsty/ ./\n" == (d12 / "pigsty-local.list").read_text()
    assert sorted(printed["el9.x86_64"]) == ["local.repo", "pigsty-local.repo", "pigsty.repo"]
    for target, place in (("el9.x86_64", el9), ("d12.x86_64", d12)):
        for name, text in printed[target].items():
            assert (place / name).read_text() == text
            assert stat.S_IMODE((place / name).stat().st_mode) == 0o644


def test_the_usual_port_is_left_out_where_pigsty_leaves_it_out(site: Site) -> None:
    site.manifest.write_text(site.manifest.read_text().replace(":8080", ":80"))
    files = site.documents("client", "el9.x86_64")["el9.x86_64"]

    assert "\nbaseurl=http://10.0.0.9:80/" in files["pigsty.repo"]
    assert "\nbaseurl = http://10.0.0.9/" in files["local.repo"]
