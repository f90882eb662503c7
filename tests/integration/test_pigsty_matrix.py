"""Several targets of one Pigsty folder in one run: each has variables of its own, and the command line serves them all."""

import base64
import json
import subprocess
from collections.abc import Callable, Iterator, Mapping
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml
from archive_on_disk import ArchiveOnDisk, signing_key
from sites import FIRST, Runner

pytestmark = pytest.mark.integration

SECRET = "builder:c4naryPassw0rd"
INVENTORY = {
    "version": "v4.5.0",
    "admin_ip": "10.0.0.9",
    "repo_modules": "infra",
    "repo_packages": ["app"],
    "repo_extra_packages": [],
    "node_packages": [],
    "pg_packages": [],
}
SYSTEMS = {"el7": 7, "el9": 9, "d12": 12, "d13": 13, "u20": 20}


class _Closed(SimpleHTTPRequestHandler):
    """Gives files below `open` to everybody, and those below a name to who has its secret."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        place = self.path.split("/")[1]
        wanted = "Basic " + base64.b64encode(f"{place}-{SECRET}".encode()).decode()
        self.path = self.path.removeprefix(f"/{place}")
        if place != "open" and self.headers.get("Authorization") != wanted:
            self.send_error(401)
        else:
            super().do_GET()


class Site(Runner):
    """A Pigsty folder whose targets read one archive, each as an upstream of another name."""

    def __init__(self, root: Path, url: str) -> None:
        super().__init__(root, root / "pigsty/pigsty.yml")
        self.url = url
        self.manifest.parent.mkdir()
        (self.manifest.parent / "key.gpg").write_bytes(signing_key().public_binary())
        self.variables: dict[str, str] = {}
        self.describe()
        for system in SYSTEMS:
            self.define(system)

    @property
    def environment(self) -> Mapping[str, str]:
        return {**super().environment, **self.variables}

    def describe(self, **more: object) -> None:
        self.manifest.write_text(yaml.safe_dump({"all": {"vars": {**INVENTORY, **more}}}))

    def define(self, system: str, place: str = "open", **more: object) -> None:
        """Write what is defined for a system; its upstream has the system's name."""
        ending = "" if system.startswith("el") else " ./"
        upstream = {
            "name": f"of-{system}",
            "module": "infra",
            "releases": [SYSTEMS[system]],
            "arch": ["x86_64"],
            "baseurl": {"default": f"{self.url}/{place}{ending}"},
            **({} if more.get("verify") else {"signed_by": "key.gpg"}),
            **more,
        }
        upstream = {key: value for key, value in upstream.items() if value != "root"}
        path = self.manifest.parent / f"roles/node_id/vars/{system}.x86_64.yml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            yaml.safe_dump(
                {"repo_upstream_default": [upstream], "package_map": {"x": "y"}, "node_packages_default": []}
            )
        )

    def plan(self, *words: str) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
        done = self.run("plan", *words, "--json")
        return done, {each["target"]: each for each in json.loads(done.stdout or "[]")}


@pytest.fixture
def site(tmp_path: Path, tool: Callable[[str], str]) -> Iterator[Site]:
    tool("dpkg-deb")
    archive = ArchiveOnDisk(tmp_path / "archive")
    archive.publish(FIRST)

    def handler(*arguments: Any, **options: Any) -> _Closed:
        return _Closed(*arguments, directory=str(archive.folder), **options)

    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield Site(tmp_path, f"http://127.0.0.1:{server.server_port}")
        finally:
            server.shutdown()
            thread.join()


def test_an_exception_counts_where_its_name_occurs_and_is_looked_for_in_all_targets(site: Site) -> None:
    site.define("d12", verify="root")

    refused, _ = site.plan("d12.x86_64", "d13.x86_64")
    accepted, planned = site.plan("d12.x86_64", "d13.x86_64", "--allow-unverified", "of-d12")
    mistaken, _ = site.plan("d12.x86_64", "d13.x86_64", "--allow-unverified", "of-d12x")

    assert (refused.returncode, accepted.returncode, mistaken.returncode) == (2, 0, 2), accepted.stderr
    assert {name: each["unverified"] for name, each in planned.items()} == {"d12.x86_64": ["of-d12"], "d13.x86_64": []}
    assert "'of-d12x'; did you mean 'of-d12'" in mistaken.stderr
    assert mistaken.stderr.count("error:") == 1


def test_what_helps_several_targets_is_said_once(site: Site) -> None:
    for system in ("d12", "d13"):
        site.define(system, verify="root", name="debs")

    done = site.run("plan", "d12.x86_64", "d13.x86_64")

    assert done.returncode == 2
    assert done.stderr.count("expected keys to verify upstream 'debs' by, got none") == 2
    assert done.stderr.count("--allow-unverified debs") == 1


def test_each_targets_variables_and_the_inventory_say_how_servers_are_reached(site: Site) -> None:
    site.define("d12", "own", access={"credentials": "env:OWN"})
    site.define("d13", "common")
    site.describe(access={f"{site.url}/common": {"credentials": "env:COMMON"}})
    without, _ = site.plan("d12.x86_64", "d13.x86_64")
    site.variables = {"OWN": f"own-{SECRET}", "COMMON": f"common-{SECRET}"}

    done, planned = site.plan("d12.x86_64", "d13.x86_64")

    assert without.returncode == 2
    assert "environment variable OWN, got none" in without.stderr
    assert done.returncode == 0, done.stderr
    assert [each["packages"] for each in planned.values()] == [3, 3]
    assert "warning" not in done.stderr  # loopback is nobody else's wire


def test_what_is_not_asked_for_reveals_no_secret(site: Site) -> None:
    site.define("d12", "own", access={"credentials": "env:OWN"})

    done, planned = site.plan("d13.x86_64")

    assert done.returncode == 0, done.stderr
    assert list(planned) == ["d13.x86_64"]


def test_settings_of_ours_count_in_an_inventory_too(site: Site) -> None:
    site.describe(keep=1, origin={"app": "of-d12"}, recommends=True, signing_key="key.asc")
    site.run("key", "new", "-o", str(site.manifest.parent / "key.asc"))

    done = site.run("sync", "d12.x86_64", "--json")

    assert done.returncode == 0, done.stderr
    assert (site.home / "d12.x86_64/pigsty/pigsty.asc").exists() or (site.home / "pigsty/pigsty.asc").exists()
    options = json.loads(next(site.home.rglob("repobuild.lock")).read_text())["options"]
    assert (options["keep"], options["weak_dependencies"]) == (1, True)


def test_the_files_for_clients_are_of_the_inventorys_generation_before_anything_is_published(site: Site) -> None:
    fourth = json.loads(site.run("client", "el9.x86_64", "--json").stdout)["el9.x86_64"]["local.repo"]
    site.describe(version="v3.4.0")
    third = json.loads(site.run("client", "el9.x86_64", "--json").stdout)["el9.x86_64"]["local.repo"]

    assert third != fourth


def test_all_are_the_targets_that_are_promised(site: Site) -> None:
    shown = {each["target"] for each in json.loads(site.run("show", "all", "--json").stdout)}
    by_name = json.loads(site.run("show", "u20.x86_64", "--json").stdout)

    assert shown == {"el9.x86_64", "d12.x86_64", "d13.x86_64"}
    assert by_name["target"] == "u20.x86_64"


def test_all_of_nothing_promised_is_an_error_that_names_what_there_is(site: Site) -> None:
    for system in ("el9", "d12", "d13"):
        (site.manifest.parent / f"roles/node_id/vars/{system}.x86_64.yml").unlink()

    done = site.run("sync", "all")

    assert done.returncode == 2
    assert "u20.x86_64, el7.x86_64" in done.stderr or "el7.x86_64, u20.x86_64" in done.stderr


def test_a_target_that_cannot_be_read_does_not_hide_the_others(site: Site) -> None:
    (site.manifest.parent / "roles/node_id/vars/d12.x86_64.yml").write_text("repo_upstream_default: {}\n")
    words = ("d12.x86_64", "d13.x86_64", "--json")

    runs = {name: site.run(name, *words) for name in ("show", "plan", "lock")}
    checked = site.run("sync", "--check", *words)

    for name, done in runs.items():
        bad, good = json.loads(done.stdout)
        assert done.returncode == 2, name
        assert (bad["target"], bad["exit"], good["target"]) == ("d12.x86_64", 2, "d13.x86_64"), name
        assert {"error", "hint"} < set(bad)
        assert done.stderr.count("error: d12.x86_64: ") == 1
    document = json.loads(checked.stdout)
    assert (checked.returncode, document["pending"], list(document["failed"])) == (2, ["d13.x86_64"], ["d12.x86_64"])


def test_the_playbooks_packages_can_be_left_out_of_what_is_shown(site: Site) -> None:
    site.describe(node_packages=["chrony"])

    whole = json.loads(site.run("show", "d12.x86_64", "--json").stdout)
    short = json.loads(site.run("show", "d12.x86_64", "--json", "--only-repo-packages").stdout)

    assert ["chrony"] in whole["installs"]
    assert "installs" not in short
    assert whole["groups"] == short["groups"]
