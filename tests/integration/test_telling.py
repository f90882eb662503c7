"""why, diff, costs and report on a repository, as a user runs them."""

import json
import subprocess
import sys
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


def test_a_sync_publishes_a_page_with_the_proof_and_report_one_to_be_mailed(site: Site, tmp_path: Path) -> None:
    index = site.repository / "index.html"

    result = site.run("report", "d12.x86_64", "-o", str(tmp_path / "report.html"))

    assert result.returncode == 0, result.stderr
    for page in (index.read_text(), (tmp_path / "report.html").read_text()):
        assert "Every check holds" in page
        assert "From base empty: 2 wants install alone" in page
    assert '<th scope="row">tool' in (tmp_path / "report.html").read_text()
    assert '<th scope="row"><a href="./tool_1.0_all.deb">tool</a>' in index.read_text()
    assert not list(site.repository.parent.glob("*-report.html"))


def test_what_a_lock_lacks_is_named_before_anything_is_published(site: Site) -> None:
    before = (site.repository / "repo_complete").read_bytes()
    path = next(site.manifest.parent.glob("*.lock"))
    document = json.loads(path.read_text())
    document["packages"] = [each for each in document["packages"] if each["name"] != "lib"]
    document["time"] += 1
    path.write_text(json.dumps(document))
    text = path.read_text()

    result = site.run("sync", "d12.x86_64")

    assert result.returncode == 6
    assert "nothing is published, for the proof fails: cannot be installed: app (" in result.stderr
    assert "app 1.0 depends on lib (>= 1.0), which is not there" in result.stderr
    assert (site.repository / "repo_complete").read_bytes() == before
    assert path.read_text() == text
    assert site.run("check", str(site.repository)).returncode == 0


def test_nothing_is_proven_anew_where_nothing_changed(site: Site) -> None:
    """The solver and the report are not even loaded."""
    code = (
        "import sys; from repobuild.cli.main import run; code = run(sys.argv[1:]); "
        "print(code, sorted(each for each in sys.modules if each in {'solv', 'repobuild.report', 'repobuild.check'}))"
    )

    _, _, _, *words = site.command("sync", "d12.x86_64")

    result = subprocess.run(
        [sys.executable, "-c", code, *words], env=dict(site.environment), capture_output=True, text=True, check=False
    )

    assert result.stdout.splitlines()[-1] == "0 []", result.stderr


def test_an_sbom_is_written_and_is_the_same_each_time(site: Site, tmp_path: Path) -> None:
    pytest.importorskip("cyclonedx")
    texts = []
    for name in ("one.json", "two.json"):
        assert site.run("report", "d12.x86_64", "--sbom", "-o", str(tmp_path / name)).returncode == 0
        texts.append((tmp_path / name).read_text())

    assert texts[0] == texts[1]
    purls = [each["purl"] for each in json.loads(texts[0])["components"]]
    assert "pkg:deb/debian/lib@1.0?arch=all&distro=debian-12" in purls
