"""One repository for machines that differ: proven from each captured base, and apt and dnf agree on each."""

import json
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import rpms
import yaml
from apt import IsolatedApt
from rpm_archive import Rpm, RpmArchive, write_manifest
from simulator import deb_of, stanzas
from sites import Runner

from repobuild.bases import parse_packages
from repobuild.formats import FORMATS
from repobuild.formats.protocol import RepositoryFacts
from repobuild.targets import parse_target

pytestmark = pytest.mark.integration

D12 = parse_target("d12.x86_64")
ARCHIVE = """
base-files 12  Essential: yes
apt 2.6
libssl3 3.0.9-1
libssl3 3.0.16-1  Priority: important
libc6 2.36-9  Priority: required
held 1  Depends: libssl3 (= 3.0.9-1)
app 1.0  Depends: libssl3 (>= 3.0.9-1), libc6 (>= 2.36)
openssl 3.0.9-1  Depends: libssl3 (= 3.0.9-1)
openssl 3.0.16-1  Depends: libssl3 (= 3.0.16-1)
"""


class DebianSite(Runner):
    """A build machine whose upstream is a folder of stub .debs."""

    def __init__(self, root: Path, bases: str, wants: Sequence[str]) -> None:
        super().__init__(root, root / "site/site.yml")
        archive = root / "archive"
        archive.mkdir()
        packages = []
        for stanza in stanzas(ARCHIVE):
            name = f"{stanza['Package']}_{stanza['Version']}_amd64.deb"
            (archive / name).write_bytes(deb_of(stanza))
            packages.append(replace(FORMATS["deb"].read_package(archive / name, upstream="t", url_path=name)))
        facts = RepositoryFacts(name="test", target=D12, time=1_700_000_000)
        for file in FORMATS["deb"].metadata(packages, facts, None, Path):
            (archive / file.path).parent.mkdir(parents=True, exist_ok=True)
            (archive / file.path).write_bytes(file.content or b"")
        self.manifest.parent.mkdir()
        self.manifest.write_text(
            "version: v1.0.0\nrepo_modules: test\nrepo_upstream:\n"
            "  - {name: test, module: test, releases: [12], arch: [x86_64], verify: none,\n"
            f'     baseurl: {{default: "file://{archive} ./"}}}}\n'
            f"repo_packages: [{', '.join(wants)}]\n{bases}"
        )

    def base(self, name: str, packages: str) -> None:
        lines = [f"{each.replace('=', chr(9))}\tamd64\tinstalled\n" for each in packages.split()]
        (self.manifest.parent / name).write_text("".join(lines))

    def repository(self) -> Path:
        return next(self.home.rglob("repo_complete")).parent

    def receipt(self) -> dict[str, Any]:
        done = self.run("check", str(self.repository()), "--json")
        [found] = json.loads(done.stdout)
        assert isinstance(found, dict)
        return found


OLD = "base-files=12 apt=2.6 libc6=2.36-9 libssl3=3.0.9-1 openssl=3.0.9-1"
NEW = "base-files=12 apt=2.6 libc6=2.36-9 libssl3=3.0.16-1 openssl=3.0.16-1"
BASES = "bases:\n  - {name: d12.0, packages: old.txt}\n  - {name: d12.current, packages: new.txt}\n"


def simulate(site: DebianSite, folder: Path, packages: str, wants: Sequence[str]) -> tuple[set[Any] | None, str]:
    """Ask apt on a machine with these packages, with our repository alone."""
    apt = IsolatedApt(folder, "amd64", f"deb [trusted=yes] file:{site.repository()} ./\n")
    known = {(each["Package"], each["Version"]): each for each in stanzas(ARCHIVE)}
    installed = [known.get((name, version), {"Package": name, "Version": version, "Architecture": "amd64"})
                 for name, version in (each.split("=") for each in packages.split())]  # fmt: skip
    text = "".join(
        "".join(f"{key}: {value}\n" for key, value in each.items())
        + "Status: install ok installed\nMaintainer: x\nDescription: x\n\n"
        for each in installed
    )
    (folder / "var/lib/dpkg/status").write_text(text)
    assert apt.update().returncode == 0
    return apt.simulate(wants)


def test_one_bundle_is_proven_on_an_old_and_a_current_debian(tmp_path: Path, tool: Callable[[str], str]) -> None:
    tool("apt-get")
    site = DebianSite(tmp_path, BASES, ["app", "openssl"])
    site.base("old.txt", OLD)
    site.base("new.txt", NEW)

    done = site.run("sync", "d12.x86_64")

    assert done.returncode == 0, done.stderr
    receipt = site.receipt()
    assert [(each["base"], each["sets"]) for each in receipt["bases"]] == [("d12.0", 1), ("d12.current", 1)]
    assert receipt["problems"] == []
    for name, packages in (("old", OLD), ("new", NEW)):
        found, said = simulate(site, tmp_path / name, packages, ["app", "openssl"])
        assert found is not None, said


def test_a_bundle_of_a_subtracted_base_is_proven_where_nobody_locked(tmp_path: Path) -> None:
    site = DebianSite(tmp_path, BASES + "subtract: d12.0\n", ["app"])
    site.base("old.txt", OLD)
    site.base("new.txt", NEW)
    assert site.run("bundle", "d12.x86_64", "-o", str(tmp_path / "out")).returncode == 0
    bundle = next((tmp_path / "out").glob("*.tgz"))
    far = Runner(tmp_path / "far", site.manifest)

    proofs = [each.run("check", str(bundle), "--json").stdout for each in (site, far)]
    installed = far.run("install", str(bundle), "--allow-unsigned", "--json")

    assert proofs[0] == proofs[1]
    [receipt] = json.loads(proofs[1])
    assert [(each["base"], each["wants"]) for each in receipt["bases"]] == [
        ("d12.0", ["app"]),
        ("d12.current", ["app"]),
    ]
    [done] = json.loads(installed.stdout)
    assert done["proof"]["bases"] == receipt["bases"]


def test_what_a_subtracted_base_has_is_left_out_and_the_proof_says_so(tmp_path: Path) -> None:
    site = DebianSite(tmp_path, BASES + "subtract: d12.0\n", ["app"])
    site.base("old.txt", OLD)
    site.base("new.txt", NEW)

    done = site.run("sync", "d12.x86_64")

    assert done.returncode == 0, done.stderr
    assert [path.name for path in site.repository().glob("*.deb")] == ["app_1.0_amd64.deb"]
    bases = {each["base"]: each["relies"] for each in site.receipt()["bases"]}
    assert bases["d12.0"] == ["libc6 2.36-9", "libssl3 3.0.9-1"]
    assert bases["d12.current"] == ["libc6 2.36-9", "libssl3 3.0.16-1"]


def test_wants_that_a_subtracted_base_has_leave_nothing_to_publish(tmp_path: Path) -> None:
    site = DebianSite(tmp_path, "bases:\n  - {name: full, packages: new.txt}\nsubtract: full\n", ["openssl"])
    site.base("new.txt", NEW)

    done = site.run("sync", "d12.x86_64")

    assert done.returncode == 2
    assert "base full has all that is wanted for d12.x86_64" in done.stderr


def test_a_base_is_not_subtracted_where_the_empty_one_is_named_too(tmp_path: Path) -> None:
    site = DebianSite(tmp_path, "bases:\n  - empty\n  - {name: some, packages: old.txt}\nsubtract: some\n", ["app"])
    site.base("old.txt", NEW)

    done = site.run("lock", "d12.x86_64")

    assert done.returncode == 0, done.stderr
    assert "subtract: some takes nothing away" in done.stderr


def test_a_want_that_a_subtracted_base_has_is_relied_on(tmp_path: Path) -> None:
    site = DebianSite(tmp_path, "bases:\n  - {name: some, packages: old.txt}\nsubtract: some\n", ["app", "openssl"])
    site.base("old.txt", NEW)

    done = site.run("sync", "d12.x86_64")

    assert done.returncode == 0, done.stderr
    receipt = site.receipt()
    assert receipt["problems"] == []
    assert receipt["bases"][0]["wants"] == ["app", "openssl"]
    assert "openssl 3.0.16-1" in receipt["bases"][0]["relies"]


def test_a_library_that_another_architecture_has_too_is_not_moved_alone(
    tmp_path: Path, tool: Callable[[str], str]
) -> None:
    tool("apt-get")
    site = DebianSite(tmp_path, "bases:\n  - {name: both, packages: old.txt}\n", ["openssl"])
    site.base("old.txt", OLD)
    with (site.manifest.parent / "old.txt").open("a") as file:
        file.write("libssl3\t3.0.9-1\ti386\tinstalled\nMulti-Arch: same\n")

    done = site.run("sync", "d12.x86_64")

    assert done.returncode == 4
    assert "from base both" in done.stderr
    assert "libssl3" in done.stderr


def test_a_base_that_holds_back_what_apt_would_take_is_refused(tmp_path: Path) -> None:
    site = DebianSite(tmp_path, "bases:\n  - {name: held, packages: old.txt}\n  - empty\n", ["app", "openssl"])
    site.base("old.txt", "held=1 base-files=12 apt=2.6 libc6=2.36-9 libssl3=3.0.9-1")

    done = site.run("sync", "d12.x86_64")

    assert done.returncode == 4
    assert "from base held" in done.stderr
    assert "held 1 depends on libssl3 (= 3.0.9-1)" in done.stderr


def test_what_an_installed_package_needs_counts_where_no_upstream_has_it(
    tmp_path: Path, tool: Callable[[str], str]
) -> None:
    tool("apt-get")
    site = DebianSite(tmp_path, "bases:\n  - {name: held, packages: old.txt}\nsubtract: held\n", ["openssl"])
    site.base("old.txt", "base-files=12 apt=2.6 libc6=2.36-9 libssl3=3.0.9-1 foreign=1")
    names_alone = site.run("sync", "d12.x86_64")
    with (site.manifest.parent / "old.txt").open("a") as file:
        file.write("Depends: libssl3 (= 3.0.9-1)\n")

    done = site.run("sync", "d12.x86_64")

    assert names_alone.returncode == 0, names_alone.stderr
    assert "base held: its list has names alone" in names_alone.stderr
    assert done.returncode == 4
    assert "foreign 1 depends on libssl3 (= 3.0.9-1)" in done.stderr
    assert "names alone" not in done.stderr


def test_the_list_that_dpkg_prints_is_a_base(tmp_path: Path, tool: Callable[[str], str]) -> None:
    tool("dpkg-query")
    site = DebianSite(tmp_path, "", ["app"])
    captured = site.run("base", "capture", "deb").stdout.strip().partition(" > ")[0]

    printed = subprocess.run(["sh", "-c", captured], capture_output=True, check=True).stdout

    packages = {each.name: each for each in parse_packages(printed, "here")}
    text = FORMATS["deb"].base_text(list(packages.values()), [], D12).decode()
    assert "tar" in dict(packages["dpkg"].says)["Pre-Depends"] + dict(packages["dpkg"].says).get("Depends", "")
    assert re.search(r"^Package: apt\n(?:.+\n)+Depends: .*libapt-pkg", text, re.MULTILINE)


def test_a_base_from_which_a_want_does_not_install_is_refused_by_its_name(tmp_path: Path) -> None:
    site = DebianSite(tmp_path, BASES, ["openssl=3.0.9-1"])
    site.base("old.txt", OLD)
    site.base("new.txt", NEW)

    done = site.run("sync", "d12.x86_64")

    assert done.returncode == 4
    assert "from base d12.current" in done.stderr
    assert "libssl3" in done.stderr


def test_a_minimal_install_is_what_the_archive_calls_required_and_important(tmp_path: Path) -> None:
    site = DebianSite(tmp_path, "bases:\n  - {name: fresh, minimal: true}\nsubtract: fresh\n", ["app"])

    done = site.run("sync", "d12.x86_64")

    assert done.returncode == 0, done.stderr
    assert [path.name for path in site.repository().glob("*.deb")] == ["app_1.0_amd64.deb"]
    assert site.receipt()["bases"][0]["relies"] == ["libc6 2.36-9", "libssl3 3.0.16-1"]


# RPM


class RpmSite(Runner):
    def __init__(self, root: Path, packages: Sequence[Rpm], wants: Sequence[str], **more: Any) -> None:
        super().__init__(root, root / "site/site.yml")
        archive = RpmArchive(root / "archive")
        archive.publish(packages)
        entry = archive.upstream(f"file://{archive.folder}", root / "site")
        write_manifest(self.manifest, [entry], wants, **more)


def test_one_bundle_is_proven_on_a_base_with_newer_openssl(tmp_path: Path, tool: Callable[[str], str]) -> None:
    tool("createrepo_c")
    libs = [Rpm("openssl-libs", version, {"provides": [f"libssl.so.3 = {version}"]}) for version in ("3.0.1", "3.2.2")]
    tools = [
        Rpm("openssl", version, {"requires": [f"openssl-libs = {version}-1.el9"]}) for version in ("3.0.1", "3.2.2")
    ]
    app = Rpm("app", "1.0", {"requires": ["libssl.so.3"]})
    bases = [{"name": "el9.old", "packages": "old.txt"}, {"name": "el9.new", "packages": "new.txt"}]
    site = RpmSite(tmp_path, [*libs, *tools, app], ["app", "openssl"], bases=bases)
    for name, version in (("old.txt", "3.0.1"), ("new.txt", "3.2.2")):
        (tmp_path / "site" / name).write_text(f"openssl-libs\t0:{version}-1.el9\tx86_64\nfoo\t0:1-1\tnoarch\n")

    done = site.run("sync", "el9.x86_64")

    assert done.returncode == 0, done.stderr
    repository = next(site.home.rglob("repo_complete")).parent
    checked = site.run("check", str(repository), "--json")
    [receipt] = json.loads(checked.stdout)
    assert receipt["problems"] == []
    assert [(each["base"], each["sets"]) for each in receipt["bases"]] == [("el9.old", 1), ("el9.new", 1)]
    for version in ("3.0.1", "3.2.2"):
        root = tmp_path / f"root-{version}"
        root.mkdir()
        stub = next((tmp_path / "archive/Packages").glob(f"openssl-libs-{version}-*.rpm"))
        command = ["rpm", "--root", str(root), "-i", "--nodeps", "--justdb", "--nosignature", str(stub)]
        subprocess.run(command, check=True, capture_output=True)
        said = dnf(root, repository, ["app", "openssl"])
        assert re.search(r"Operation aborted|Complete!|Nothing to do", said), said
        assert "Problem" not in said


def minor_site(root: Path, base: Mapping[str, Any], requires: str) -> RpmSite:
    """Return a site whose upstream is one for 9.4, with an older library, and one for the newest minor release."""
    site = RpmSite(root, [Rpm("app", options={"requires": [requires]})], ["app"], bases=[base], subtract=base["name"])
    document = yaml.safe_load(site.manifest.read_text())
    for release, version in (("9.4", "3.0.7"), (parse_target("el9.x86_64").release, "3.2.2")):
        archive = RpmArchive(root / "minor" / release)
        provides = ["libssl.so.3"] + (["libssl.so.3(3.2)"] if version > "3.1" else [])
        archive.publish(
            [Rpm("openssl-libs", version, {"provides": provides}), Rpm("bash", options={"requires": ["openssl-libs"]})]
        )
        url = f"file://{root}/minor/$releasever"
        document["repo_upstream"].append(archive.upstream(url, root / "site", name="baseos", minor=True))
        if release != "9.4":
            del document["repo_upstream"][1]
    site.manifest.write_text(yaml.safe_dump(document))
    return site


def test_a_minimal_install_of_an_older_minor_release_is_computed_from_its_own_upstreams(
    tmp_path: Path, tool: Callable[[str], str]
) -> None:
    tool("createrepo_c")
    minimal = {"name": "fresh", "minimal": True}
    held, relied = {}, {}
    for name, base, requires in (
        ("now", minimal, "libssl.so.3(3.2)"),
        ("older", {**minimal, "release": "9.4"}, "libssl.so.3(3.2)"),
        ("will-do", {**minimal, "release": "9.4"}, "libssl.so.3"),
    ):
        site = minor_site(tmp_path / name, base, requires)
        done = site.run("sync", "el9.x86_64")
        assert done.returncode == 0, done.stderr
        repository = next(site.home.rglob("repo_complete")).parent
        held[name] = sorted(path.name.partition("-1.el9")[0] for path in repository.glob("*.rpm"))
        relied[name] = json.loads(site.run("check", str(repository), "--json").stdout)[0]["bases"][0]["relies"]

    assert held == {"now": ["app-1.0"], "older": ["app-1.0", "openssl-libs-3.2.2"], "will-do": ["app-1.0"]}
    assert relied["now"] == ["openssl-libs-3.2.2-1.el9.x86_64"]
    assert relied["will-do"] == ["openssl-libs-3.0.7-1.el9.x86_64"]


def test_a_minor_release_that_cannot_be_had_ends_the_run(tmp_path: Path, tool: Callable[[str], str]) -> None:
    tool("createrepo_c")
    site = minor_site(tmp_path, {"name": "old", "minimal": True, "release": "9.2"}, "libssl.so.3")

    done = site.run("sync", "el9.x86_64", "--skip-unavailable")

    assert done.returncode == 5
    assert "no minimal install of el9.2.x86_64 can be computed without baseos" in done.stderr


def test_a_package_is_held_in_two_versions_where_the_bases_force_it(tmp_path: Path, tool: Callable[[str], str]) -> None:
    tool("dnf")
    packages = [
        Rpm("lib", "1.0"),
        Rpm("lib", "2.0"),
        Rpm("held", options={"requires": ["lib = 1.0-1.el9"]}),
        Rpm("plugin", "1.0", {"requires": ["lib = 1.0-1.el9"]}),
        Rpm("plugin", "2.0", {"requires": ["lib = 2.0-1.el9"]}),
        Rpm("app", options={"requires": ["plugin"]}),
    ]
    site = RpmSite(tmp_path, packages, ["app"], bases=["empty", {"name": "el9.held", "packages": "held.txt"}])
    (tmp_path / "site/held.txt").write_text("lib\t0:1.0-1.el9\tx86_64\nheld\t0:1.0-1.el9\tx86_64\n")

    done = site.run("sync", "el9.x86_64")

    assert done.returncode == 0, done.stderr
    repository = next(site.home.rglob("repo_complete")).parent
    names = sorted(path.name for path in repository.glob("*.rpm"))
    assert names == [
        "app-1.0-1.el9.x86_64.rpm",
        "lib-2.0-1.el9.x86_64.rpm",
        "plugin-1.0-1.el9.x86_64.rpm",
        "plugin-2.0-1.el9.x86_64.rpm",
    ]
    checked = site.run("check", str(repository))
    assert checked.returncode == 0, checked.stdout
    root = tmp_path / "root"
    root.mkdir()
    stubs = [str(next((tmp_path / "archive/Packages").glob(each))) for each in ("lib-1.0-*.rpm", "held-*.rpm")]
    command = ["rpm", "--root", str(root), "-i", "--nodeps", "--justdb", "--nosignature", *stubs]
    subprocess.run(command, check=True, capture_output=True)
    said = dnf(root, repository, ["app"])
    assert re.search(r"plugin +x86_64 +1.0-1.el9", said), said
    assert "Problem" not in said


def dnf(root: Path, repository: Path, wants: Sequence[str]) -> str:
    config = root / "dnf.conf"
    config.write_text("[main]\ngpgcheck=0\nbest=True\nskip_if_unavailable=False\n")
    words = [
        "dnf", "--assumeno", f"--config={config}", "--setopt=reposdir=/dev/null", "--setopt=varsdir=/dev/null",
        "--disableplugin=local,versionlock", "--setopt=module_platform_id=platform:el9", "--releasever=9",
        "--forcearch=x86_64", f"--installroot={root}", f"--repofrompath=x,file://{repository}", "--repo=x", "install", *wants,
    ]  # fmt: skip
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def test_the_list_that_rpm_prints_is_a_base(tmp_path: Path, tool: Callable[[str], str]) -> None:
    tool("rpm")
    stub = rpms.build(tmp_path, "stub", "1.0", epoch=2)
    subprocess.run(
        ["rpm", "--root", str(tmp_path / "root"), "-i", "--nodeps", "--justdb", "--nosignature", str(stub)], check=True
    )
    site = RpmSite(
        tmp_path, [Rpm("stub", "1.0", {"epoch": 2}), Rpm("app", options={"requires": ["stub = 2:1.0"]})], ["app"]
    )
    captured = site.run("base", "capture", "rpm").stdout.strip().partition(" > ")[0]

    done = subprocess.run(
        ["sh", "-c", captured.replace("rpm -qa", f"rpm --root {tmp_path}/root -qa")], capture_output=True, check=True
    )

    lines = done.stdout.splitlines()
    assert lines[0] == b"stub\t2:1.0-1.el9\tx86_64"
    assert b"Provides: stub = 2:1.0-1.el9" in lines
