"""why, diff, costs and report on a repository, as a user runs them."""

import json
from pathlib import Path

import pytest
import yaml
from sites import SECOND, Site

pytestmark = pytest.mark.integration


def test_why_names_the_chain_from_a_want(site: Site) -> None:
    result = site.run("why", "lib", "d12.x86_64")
    document = json.loads(site.run("why", "lib", "d12.x86_64", "--json").stdout)

    assert result.returncode == 0, result.stderr
    assert "want app" in result.stdout
    assert "app depends on lib (>= 1.0), met by lib 1.0" in result.stdout
    (present,) = document["present"]
    (chain,) = present["chains"]
    assert chain["want"] == "app"
    assert [step["met_by"]["name"] for step in chain["steps"]] == ["lib"]


def test_why_not_is_answered_from_what_the_upstreams_had(site: Site) -> None:
    nowhere = site.run("why", "nothing-like-it", "d12.x86_64")
    version = site.run("why", "lib=7", "d12.x86_64")

    assert nowhere.returncode == version.returncode == 4
    assert "no upstream that this target reads has a package of that name" in nowhere.stdout, nowhere.stderr
    assert "no upstream has that version; there is 1.0 in" in version.stdout


def test_why_not_needs_no_network(site: Site, tmp_path: Path) -> None:
    site.archive.folder.rename(tmp_path / "away")

    result = site.run("why", "nothing-like-it", "d12.x86_64")

    assert "no upstream that this target reads" in result.stdout


def test_why_not_names_the_upstreams_that_the_target_does_not_read(site: Site) -> None:
    document = yaml.safe_load(site.manifest.read_text())
    document["repo_upstream"].append({**document["repo_upstream"][0], "name": "extra", "module": "extra"})
    site.manifest.write_text(yaml.safe_dump(document))

    result = site.run("why", "nothing-like-it", "d12.x86_64")

    assert "it may be in an upstream that this target does not read: extra" in result.stdout, result.stderr


def test_locks_repositories_and_bundles_are_compared_in_any_mix(site: Site, tmp_path: Path) -> None:
    assert site.run("bundle", "d12.x86_64", "-o", str(tmp_path / "out")).returncode == 0
    bundle = next((tmp_path / "out").glob("*.tgz"))
    (tmp_path / "old.lock").write_bytes((site.repository / "repobuild.lock").read_bytes())
    site.archive.publish(SECOND)
    assert site.sync("--update").returncode == 0
    places = [str(tmp_path / "old.lock"), str(bundle)]

    for place in places:
        result = site.run("diff", place, str(site.repository), "--exit-code")
        assert result.returncode == 6, result.stderr
        assert "upgraded    app all 1.0 -> 2.0" in result.stdout
    document = json.loads(site.run("diff", places[1], "d12.x86_64", "--json").stdout)
    same = site.run("diff", *places, "--exit-code")

    assert {each["sign"] for each in document["changes"]} == {"upgraded"}
    assert document["download"] > 0
    assert same.returncode == 0
    assert "the same" in same.stdout


def test_what_is_not_there_or_no_repository_is_an_error_that_says_so(site: Site, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("{}")

    assert site.run("diff", str(tmp_path / "nothing"), "d12.x86_64").returncode == 2
    assert site.run("diff", str(tmp_path), "d12.x86_64").returncode == 2
    assert site.run("diff", str(tmp_path / "text"), "d12.x86_64").returncode == 3


def test_costs_are_shown_for_each_want(site: Site) -> None:
    shown = site.run("show", "d12.x86_64", "--costs")
    document = json.loads(site.run("show", "d12.x86_64", "--costs", "--json").stdout)["d12.x86_64"]

    assert shown.stdout.splitlines()[1].split() == ["want", "alone", "in", "addition", "frees"]
    assert [(each["want"], each["alone"]["packages"]) for each in document["wants"]] == [("app", 2), ("tool", 1)]


def test_a_sync_writes_a_page_beside_the_repository_and_report_one_with_the_proof(site: Site, tmp_path: Path) -> None:
    beside = site.repository.parent / "pigsty-report.html"

    result = site.run("report", "d12.x86_64", "-o", str(tmp_path / "report.html"))

    assert result.returncode == 0, result.stderr
    page = (tmp_path / "report.html").read_text()
    assert "Every check holds" in page
    assert "without a proof" in beside.read_text()
    assert '<th scope="row">tool' in page


def test_an_sbom_is_written_and_is_the_same_each_time(site: Site, tmp_path: Path) -> None:
    pytest.importorskip("cyclonedx")
    texts = []
    for name in ("one.json", "two.json"):
        assert site.run("report", "d12.x86_64", "--sbom", "-o", str(tmp_path / name)).returncode == 0
        texts.append((tmp_path / name).read_text())

    assert texts[0] == texts[1]
    purls = [each["purl"] for each in json.loads(texts[0])["components"]]
    assert "pkg:deb/debian/lib@1.0?arch=all&distro=debian-12" in purls
