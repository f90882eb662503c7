"""The main job for the RPM family: sync from a small signed upstream, both families in one run, and what is refused."""

import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import rpms
from archive_on_disk import ArchiveOnDisk, served
from dnf_client import DnfRoot
from rpm_archive import Rpm, RpmArchive, write_manifest
from sites import FIRST, Runner

pytestmark = pytest.mark.integration

SIGNED = {"sign": rpms.signing_key().secret}
PACKAGES = [
    Rpm("app", "1.0", {"requires": ["lib >= 1.0", "/usr/bin/tool"], **SIGNED}),
    Rpm("lib", "1.0", SIGNED),
    Rpm("tool", "1.0", {"files": ["/usr/bin/tool"], "arch": "noarch", **SIGNED}),
    Rpm("unwanted", "1.0", SIGNED),
]
CLOSURE = {"app-1.0-1.el9.x86_64.rpm", "lib-1.0-1.el9.x86_64.rpm", "tool-1.0-1.el9.noarch.rpm"}


class Site(Runner):
    """A build machine of the test's own, on an RPM upstream."""

    def __init__(self, root: Path, archive: RpmArchive, url: str) -> None:
        super().__init__(root, root / "site/site.yml")
        self.archive = archive
        self.url = url
        self.describe()

    def describe(self, *wants: str, **changes: Any) -> None:
        """Write the manifest anew."""
        upstream = self.archive.upstream(self.url, self.manifest.parent, **changes)
        write_manifest(self.manifest, [upstream], list(wants) or ["app"])

    def repository(self, target: str = "el9.x86_64") -> Path:
        return self.home / target / "pigsty"


@pytest.fixture
def site(tmp_path: Path, tool: Callable[[str], str]) -> Iterator[Site]:
    tool("createrepo_c")
    archive = RpmArchive(tmp_path / "upstream")
    archive.publish(PACKAGES)
    with served(archive.folder) as url:
        yield Site(tmp_path, archive, url)


def names(repository: Path) -> set[str]:
    """Return the packages of the marker; what the former generation had may lie beside them for a while."""
    lines = (repository / "repo_complete").read_text().splitlines()
    return {name for line in lines if (name := line.partition("  ")[2]).endswith(".rpm")}


def whole(repository: Path) -> bool:
    command = ["sha256sum", "-c", "--quiet", "repo_complete"]
    return subprocess.run(command, cwd=repository, capture_output=True, check=False).returncode == 0


def test_a_sync_brings_the_closure_and_leaves_it_alone_then(site: Site) -> None:
    first = site.run("sync", "el9.x86_64")
    root = (site.repository() / "repodata/repomd.xml").stat()
    second = site.run("sync", "el9.x86_64", "--offline")

    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert "unchanged" in second.stdout
    assert names(site.repository()) == CLOSURE
    assert whole(site.repository())
    assert (site.repository() / "repodata/repomd.xml").stat().st_mtime_ns == root.st_mtime_ns
    assert "dnf" in first.stdout


def test_the_three_releases_differ_in_what_their_clients_can_read(site: Site) -> None:
    result = site.run("sync", "el8.x86_64", "el9.x86_64", "el10.x86_64")

    assert result.returncode == 0, result.stderr
    forms = {
        t: {p.suffix for p in site.repository(t).glob("repodata/*primary*")}
        for t in ("el8.x86_64", "el9.x86_64", "el10.x86_64")
    }
    assert forms == {"el8.x86_64": {".gz"}, "el9.x86_64": {".zst"}, "el10.x86_64": {".zst"}}


def test_both_families_share_a_run_and_the_failure_of_one_does_not_stop_the_other(site: Site) -> None:
    debs = ArchiveOnDisk(site.root / "debs")
    debs.publish(FIRST)
    with served(debs.folder) as url:
        debs.write_manifest(site.root / "debs.yml", url, ["app"])
        upstreams = [
            site.archive.upstream(site.url, site.manifest.parent),
            {"name": "debs", "module": "node", "releases": [12, 13], "arch": ["x86_64"],
             "signed_by": "../key.gpg", "baseurl": {"default": f"{url} ./"}},
        ]  # fmt: skip
        write_manifest(site.manifest, upstreams, ["app"])
        (site.manifest.parent / "key.gpg").write_bytes((site.root / "key.gpg").read_bytes())
        upstreams[1]["signed_by"] = "key.gpg"
        write_manifest(site.manifest, upstreams, ["app"])
        good = site.run("sync", "el9.x86_64", "d12.x86_64", "--json")
        shutil.rmtree(site.root / "debs/by-hash")
        (site.root / "debs/InRelease").write_text("gone wrong")
        bad = site.run("sync", "d12.x86_64", "el9.x86_64", "--update", "--json")

    document = json.loads(good.stdout)
    assert {each["target"]: each["packages"] for each in document["targets"]} == {"el9.x86_64": 3, "d12.x86_64": 3}
    failed = json.loads(bad.stdout)
    assert bad.returncode == failed["failed"]["d12.x86_64"]["exit"] == 3
    assert [each["target"] for each in failed["targets"]] == ["el9.x86_64"]


def test_an_upstream_that_grew_moves_the_lock_and_its_time(site: Site) -> None:
    assert site.run("sync", "el9.x86_64").returncode == 0
    site.archive.publish([*PACKAGES, Rpm("lib", "2.0", SIGNED)])

    result = site.run("sync", "el9.x86_64", "--update")

    assert result.returncode == 0, result.stderr
    assert "lib-2.0-1.el9.x86_64.rpm" in names(site.repository())
    assert "lib-1.0-1.el9.x86_64.rpm" not in names(site.repository())


def test_a_bundle_of_rpms_installs_and_a_rollback_is_visible(site: Site) -> None:
    assert site.run("sync", "el9.x86_64").returncode == 0
    site.archive.publish([*PACKAGES, Rpm("lib", "2.0", SIGNED)])
    assert site.run("sync", "el9.x86_64", "--update").returncode == 0
    before = (site.repository() / "repodata/repomd.xml").read_text()

    back = site.run("rollback", "el9.x86_64")
    after = (site.repository() / "repodata/repomd.xml").read_text()
    bundled = site.run("bundle", "el9.x86_64", "--offline", "-o", str(site.root))
    [bundle] = site.root.glob("*.tgz")
    installed = site.run("install", str(bundle), "--allow-unsigned", home=site.root / "elsewhere")

    assert (back.returncode, bundled.returncode, installed.returncode) == (0, 0, 0), back.stderr + bundled.stderr
    assert before != after
    assert names(site.repository()) == CLOSURE == names(site.root / "elsewhere/el9.x86_64/pigsty")
    assert whole(site.repository())


def refused(site: Site, code: int, *said: str, words: tuple[str, ...] = ()) -> None:
    result = site.run("sync", "el9.x86_64", *words)

    assert result.returncode == code, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    for text in said:
        assert text in result.stderr, result.stderr
    assert not site.repository().exists()


def test_an_edited_root_is_refused(site: Site) -> None:
    site.archive.root.write_text(site.archive.root.read_text().replace("<revision>1", "<revision>2"))

    refused(site, 3, "rpms")


def test_an_unsigned_root_is_refused_and_can_be_allowed_by_name(site: Site) -> None:
    site.archive.publish(PACKAGES, is_signed=False)

    refused(site, 3, "not signed", "--allow-unverified rpms")

    assert site.run("sync", "el9.x86_64", "--allow-unverified", "rpms").returncode == 0
    assert '"rpms"' in (site.repository() / "repobuild.lock").read_text()


def test_an_edited_index_is_refused(site: Site) -> None:
    path = next(site.archive.folder.glob("repodata/*primary.xml*"))
    path.write_bytes(path.read_bytes()[:-1] + b"x")

    refused(site, 3, "primary")


def test_a_swapped_package_is_refused(site: Site) -> None:
    folder = site.archive.folder / "Packages"
    shutil.copy(folder / "unwanted-1.0-1.el9.x86_64.rpm", folder / "lib-1.0-1.el9.x86_64.rpm")

    refused(site, 3, "lib-1.0-1.el9.x86_64.rpm")


def test_packages_prove_themselves_where_the_root_is_not_signed(site: Site) -> None:
    site.archive.publish(PACKAGES, is_signed=False)
    site.describe(signed_by="packager.asc", meta={"gpgcheck": 1})

    result = site.run("sync", "el9.x86_64")

    assert result.returncode == 0, result.stderr
    assert names(site.repository()) == CLOSURE


@pytest.mark.parametrize(("sign", "said"), [(None, "not signed"), (rpms.signing_key("Somebody Else").secret, "")])
def test_a_package_that_its_upstream_did_not_sign_is_refused(site: Site, sign: str | None, said: str) -> None:
    (site.archive.folder / "Packages/lib-1.0-1.el9.x86_64.rpm").unlink()
    site.archive.publish([*(each for each in PACKAGES if each.name != "lib"), Rpm("lib", "1.0", {"sign": sign})])
    site.describe(signed_by=["root.gpg", "packager.asc"], meta={"gpgcheck": 1, "repo_gpgcheck": 1})

    refused(site, 3, "lib-1.0-1.el9.x86_64.rpm", said)


def test_an_upstream_that_went_back_in_time_is_refused(site: Site) -> None:
    old = {path: path.read_bytes() for path in site.archive.folder.rglob("repodata/*")}
    site.archive.publish([*PACKAGES, Rpm("lib", "2.0", SIGNED)])
    assert site.run("lock", "el9.x86_64", "--lock", str(site.root / "new.lock")).returncode == 0
    for path in site.archive.folder.glob("repodata/*"):
        path.unlink()
    for path, data in old.items():
        path.write_bytes(data)
    shutil.rmtree(site.root / "store")

    refused(site, 3, "older than what was seen before")


def test_a_missing_name_and_an_impossible_one_are_said(site: Site) -> None:
    site.describe("app", "librarian")
    refused(site, 4, "librarian")

    (site.archive.folder / "Packages/tool-1.0-1.el9.noarch.rpm").unlink()
    site.archive.publish([each for each in PACKAGES if each.name != "tool"])
    site.describe("app")
    refused(site, 4, "app", "/usr/bin/tool")


def test_a_folder_of_packages_joins_and_leaves_again(site: Site) -> None:
    rpms.build(site.root / "mine", "extra", "3.0", requires=["lib"])
    rpms.build(site.root / "mine", "lib", "1.5")
    (site.root / "mine/readme.txt").write_text("no package")

    with_it = site.run("sync", "el9.x86_64", "--add", str(site.root / "mine"))
    listed = names(site.repository())
    again = site.run("sync", "el9.x86_64", "--add", str(site.root / "mine"), "--offline")
    without = site.run("sync", "el9.x86_64")

    assert (with_it.returncode, again.returncode, without.returncode) == (0, 0, 0), with_it.stderr + again.stderr
    assert listed == CLOSURE - {"lib-1.0-1.el9.x86_64.rpm"} | {"extra-3.0-1.el9.x86_64.rpm", "lib-1.5-1.el9.x86_64.rpm"}
    assert "unchanged" in again.stdout
    assert "add:extra-3.0-1.el9.x86_64.rpm" in with_it.stderr
    assert names(site.repository()) == CLOSURE


def test_a_metalink_leads_to_the_mirrors_and_vouches_for_the_root(site: Site) -> None:
    digest = hashlib.sha256(site.archive.root.read_bytes()).hexdigest()
    text = f"""<metalink><files><file name="repomd.xml"><verification><hash type="sha256">{{}}</hash></verification>
    <resources><url preference="1">{site.url}/repodata/repomd.xml</url></resources></file></files></metalink>"""
    (site.archive.folder / "metalink").write_text(text.format("0" * 64))
    site.describe(baseurl={}, meta={"metalink": f"{site.url}/metalink"})
    document = site.manifest.read_text().replace("  baseurl: {}\n", "")
    site.manifest.write_text(document)

    refused(site, 3, "metalink")

    (site.archive.folder / "metalink").write_text(text.format(digest))
    assert site.run("sync", "el9.x86_64").returncode == 0
    assert names(site.repository()) == CLOSURE


def test_real_dnf_installs_what_was_synced_and_verifies_root_and_packages(
    site: Site, tool: Callable[[str], str]
) -> None:
    tool("dnf")
    assert site.run("key", "new", "--name", "ours").returncode == 0
    site.describe(signed_by=["root.gpg", "packager.asc"], meta={"gpgcheck": 1, "repo_gpgcheck": 1})
    synced = site.run("sync", "el9.x86_64")
    file = site.repository().parent / "pigsty-local.repo"
    dnf = DnfRoot(site.root / "dnf", {file.name: file.read_bytes()})

    done = dnf.run("install", "app")

    assert synced.returncode == 0, synced.stderr
    assert "rpm --import" not in synced.stdout, "a key of ours fits rpm, so that dnf imports the packagers' keys itself"
    assert f"file://{site.repository()}/pigsty-packages.asc" in file.read_text()
    assert "repo_gpgcheck=1" in file.read_text()
    assert "gpgcheck=1" in file.read_text().splitlines()
    assert done.returncode == 0, done.stdout + done.stderr
    assert dnf.installed() == {name.removesuffix(".rpm") for name in CLOSURE}


def test_a_repository_of_packages_of_which_not_all_are_signed_claims_no_signatures(site: Site) -> None:
    assert site.run("sync", "el9.x86_64").returncode == 0

    text = (site.repository().parent / "pigsty.repo").read_text()

    assert "gpgcheck = 0" in text
    assert not (site.repository() / "pigsty-packages.asc").exists()


COMPS = """<?xml version="1.0" encoding="UTF-8"?>
<comps><group><id>tools</id><name>Tools</name><default>true</default><uservisible>true</uservisible>
<packagelist><packagereq type="mandatory">tool</packagereq><packagereq type="optional">unwanted</packagereq></packagelist>
</group><group><id>other</id><name>Other</name><packagelist><packagereq type="mandatory">unwanted</packagereq></packagelist>
</group></comps>"""


def test_a_group_is_a_want_and_is_passed_on_as_far_as_it_is_published(site: Site, tool: Callable[[str], str]) -> None:
    tool("dnf")
    (site.root / "comps.xml").write_text(COMPS)
    site.archive.publish(PACKAGES, more=["--groupfile", str(site.root / "comps.xml")])
    upstream = site.archive.upstream(site.url, site.manifest.parent)
    write_manifest(site.manifest, [upstream], ["@tools"], pass_on=["group"])

    result = site.run("sync", "el9.x86_64")
    assert result.returncode == 0, result.stderr
    file = site.repository().parent / "pigsty-local.repo"
    dnf = DnfRoot(site.root / "dnf", {file.name: file.read_bytes()})
    listed = dnf.run("group", "list", "--ids")
    installed = dnf.run("group", "install", "tools")

    assert names(site.repository()) == {"tool-1.0-1.el9.noarch.rpm"}
    assert "tools" in listed.stdout
    assert "other" not in listed.stdout.lower()
    assert installed.returncode == 0, installed.stderr
    assert dnf.installed() == {"tool-1.0-1.el9.noarch"}


def test_what_only_some_runs_need_survives_gc_and_serves_offline(site: Site) -> None:
    site.archive.publish([*PACKAGES, Rpm("words", "1.0", {"files": ["/usr/share/dict/words"]})])
    site.describe("/usr/share/dict/words")

    locked = site.run("lock", "el9.x86_64")
    collected = site.run("gc")
    again = site.run("lock", "el9.x86_64", "--update", "--offline")

    assert (locked.returncode, collected.returncode, again.returncode) == (0, 0, 0), locked.stderr + again.stderr


def test_a_wrong_digest_of_the_open_text_is_overlooked_as_dnf_does(site: Site) -> None:
    text = site.archive.root.read_text()
    wrong = re.sub(r'(<open-checksum type="sha256">)[0-9a-f]{64}', rf"\g<1>{'0' * 64}", text)
    site.archive.root.write_text(wrong)
    site.describe(verify="none")

    assert site.run("sync", "el9.x86_64").returncode == 0
    assert wrong != text


def test_a_signed_repository_is_signed_again_and_rolled_back_with_its_key_only(site: Site) -> None:
    assert site.run("key", "new", "--name", "ours").returncode == 0
    assert site.run("sync", "el9.x86_64").returncode == 0
    site.archive.publish([*PACKAGES, Rpm("lib", "2.0", SIGNED)])

    updated = site.run("sync", "el9.x86_64", "--update")
    signature = (site.repository() / "repodata/repomd.xml.asc").read_bytes()
    (site.root / "config/repobuild/signing-key.asc").rename(site.root / "key.asc")
    without = site.run("rollback", "el9.x86_64")
    kept = (site.repository() / "repodata/repomd.xml.asc").read_bytes()
    back = site.run("rollback", "el9.x86_64", "--key", str(site.root / "key.asc"))

    assert updated.returncode == 0, updated.stderr
    assert without.returncode == 2
    assert kept == signature
    assert back.returncode == 0, back.stderr
    assert names(site.repository()) == CLOSURE
    assert (site.repository() / "repodata/repomd.xml.asc").read_bytes() != signature


def test_upstreams_of_one_key_are_each_remembered_for_themselves(site: Site) -> None:
    older = RpmArchive(site.root / "older")
    older.time -= 10_000
    older.publish([Rpm("extra", "1.0", {"sign": SIGNED["sign"]})])
    with served(older.folder) as url:
        upstreams = [site.archive.upstream(site.url, site.manifest.parent)]
        upstreams.append({**older.upstream(url, site.manifest.parent), "name": "older"})
        write_manifest(site.manifest, upstreams, ["app", "extra"])
        first = site.run("sync", "el9.x86_64")
        older.publish([Rpm("extra", "2.0", {"sign": SIGNED["sign"]})])
        second = site.run("sync", "el9.x86_64", "el8.x86_64", "--update")

    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert "older than" not in first.stderr + second.stderr
    assert "extra-2.0-1.el9.x86_64.rpm" in names(site.repository())


def metalink(url: str, root: Path) -> str:
    return f"""<metalink><files><file name="repomd.xml"><verification>
    <hash type="sha256">{hashlib.sha256(root.read_bytes()).hexdigest()}</hash></verification>
    <resources><url preference="1">{url}/repodata/repomd.xml</url></resources></file></files></metalink>"""


def without_baseurl(manifest: Path) -> None:
    manifest.write_text(manifest.read_text().replace("  baseurl: {}\n", ""))


def test_each_target_has_the_mirrors_of_its_own_list(site: Site) -> None:
    other = RpmArchive(site.root / "other")
    other.publish([Rpm("app", "5.0", SIGNED)])
    with served(other.folder) as url:
        (site.archive.folder / "list-9").write_text(metalink(site.url, site.archive.root))
        (site.archive.folder / "list-8").write_text(metalink(url, other.root))
        site.describe(baseurl={}, meta={"metalink": f"{site.url}/list-$releasever"})
        without_baseurl(site.manifest)
        result = site.run("sync", "el9.x86_64", "el8.x86_64")

    assert result.returncode == 0, result.stderr
    assert names(site.repository("el8.x86_64")) == {"app-5.0-1.el9.x86_64.rpm"}


def test_a_dead_list_of_mirrors_is_skipped_where_that_is_allowed_and_never_asked_in_vain(site: Site) -> None:
    dead = {**site.archive.upstream("", site.manifest.parent), "name": "dead", "skip_if_unavailable": True}
    dead |= {"baseurl": {}, "meta": {"mirrorlist": f"{site.url}/nothing-here"}}
    write_manifest(site.manifest, [site.archive.upstream(site.url, site.manifest.parent), dead], ["app"])
    without_baseurl(site.manifest)

    result = site.run("sync", "el9.x86_64")

    assert result.returncode == 0, result.stderr
    assert "dead: skipped" in result.stderr


def test_hearsay_is_not_passed_on(site: Site) -> None:
    (site.root / "comps.xml").write_text(COMPS)
    site.archive.publish(PACKAGES, is_signed=False, more=["--groupfile", str(site.root / "comps.xml")])
    upstream = site.archive.upstream(site.url, site.manifest.parent, signed_by="packager.asc", verify="packages")
    write_manifest(site.manifest, [upstream], ["app"], pass_on=["group"])

    result = site.run("sync", "el9.x86_64")

    assert result.returncode == 0, result.stderr
    assert "group" not in (site.repository() / "repodata/repomd.xml").read_text()


@pytest.mark.parametrize("words", [(), ("--allow-unverified", "rpms")])
def test_who_accepts_an_upstream_unverified_is_taken_at_his_word(site: Site, words: tuple[str, ...]) -> None:
    site.archive.publish(PACKAGES, is_signed=False)
    site.describe(signed_by=[], verify="root" if words else "none", meta={"gpgcheck": 1, "repo_gpgcheck": 1})

    result = site.run("sync", "el9.x86_64", *words)

    assert result.returncode == 0, result.stderr
    assert "gpgcheck = 0" in (site.repository().parent / "pigsty.repo").read_text()


def test_a_refused_update_leaves_the_lock_where_it_was(site: Site) -> None:
    site.describe(signed_by=["root.gpg", "packager.asc"], meta={"gpgcheck": 1, "repo_gpgcheck": 1})
    assert site.run("sync", "el9.x86_64").returncode == 0
    site.archive.publish([*PACKAGES, Rpm("lib", "3.0")])

    refusal = site.run("sync", "el9.x86_64", "--update")
    plain = site.run("sync", "el9.x86_64")

    assert refusal.returncode == 3
    assert "lib-3.0" in refusal.stderr
    assert plain.returncode == 0, plain.stderr
    assert names(site.repository()) == CLOSURE


def test_added_files_of_another_architecture_or_family_are_left_out(site: Site) -> None:
    folder = site.root / "mine"
    rpms.build(folder, "extra", "3.0", arch="aarch64")
    none = site.run("sync", "el9.x86_64", "--add", str(folder))
    rpms.build(folder, "extra", "3.0", arch="x86_64")
    rpms.build(folder, "extra", "3.0", arch="i686")
    both = site.run("sync", "el9.x86_64", "--add", str(folder), "--json")
    Path(os.fsdecode(bytes(folder) + b"/\xff.rpm")).write_bytes(b"")
    odd = site.run("sync", "el9.x86_64", "--add", str(folder))

    assert none.returncode == 0, none.stderr
    assert "nothing to add" in none.stderr
    assert both.returncode == 0, both.stderr
    [target] = json.loads(both.stdout)["targets"]
    assert target["unverified"] == ["add:extra-3.0-1.el9.i686.rpm", "add:extra-3.0-1.el9.x86_64.rpm"]
    assert names(site.repository()) == CLOSURE | {"extra-3.0-1.el9.i686.rpm", "extra-3.0-1.el9.x86_64.rpm"}
    assert odd.returncode == 3
    assert "a bug" not in odd.stderr


def test_a_package_named_by_its_url_joins_the_solve_and_any_other_file_is_laid_beside(site: Site) -> None:
    rpms.build(site.archive.folder / "elsewhere", "direct", "7.0", requires=["lib"])
    path = site.archive.folder / "elsewhere/direct-7.0-1.el9.x86_64.rpm"
    (site.archive.folder / "elsewhere/page.html").write_text("a page")
    urls = [
        {"url": f"{site.url}/elsewhere/{name}", "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
        for name in (path.name, "page.html")
        if (file := path.with_name(name))
    ]
    upstream = site.archive.upstream(site.url, site.manifest.parent)
    write_manifest(site.manifest, [upstream], ["app"], repo_url_packages=urls)

    result = site.run("sync", "el9.x86_64")

    assert result.returncode == 0, result.stderr
    assert names(site.repository()) == CLOSURE | {path.name}
    assert (site.repository() / "page.html").read_text() == "a page"
    assert whole(site.repository())
