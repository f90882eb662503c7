"""Commands beside the main job, as a user runs them."""

import json
from pathlib import Path

import pytest
from sites import SECOND, Site

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("words", [("d12.x86_64", "d13.x86_64"), ("all",)])
def test_one_lock_file_is_not_for_several_targets(site: Site, tmp_path: Path, words: tuple[str, ...]) -> None:
    result = site.run("lock", *words, "--lock", str(tmp_path / "lock"))

    assert result.returncode == 2
    assert "--lock names one file" in result.stderr
    assert not (tmp_path / "lock").exists()


def test_a_failure_is_said_to_people_and_to_machines(site: Site) -> None:
    result = site.sync("--update", "--locked", "--json")

    assert result.returncode == 2
    assert result.stderr.startswith("error: ")
    document = json.loads(result.stdout)
    assert document["targets"] == []
    assert document["failed"]["d12.x86_64"]["exit"] == 2
    assert document["failed"]["d12.x86_64"]["error"] in result.stderr


def test_a_bundle_of_what_works_is_written_and_the_failure_is_said(site: Site, tmp_path: Path) -> None:
    result = site.run("bundle", "d12.x86_64", "d13.x86_64", "-o", str(tmp_path / "out"), "--json")

    document = json.loads(result.stdout)
    assert [each["target"] for each in document["bundles"]] == ["d12.x86_64"]
    assert list(document["failed"]) == ["d13.x86_64"]
    assert result.returncode == document["failed"]["d13.x86_64"]["exit"] != 0
    assert "error: d13.x86_64: " in result.stderr


def test_a_bundle_is_checked_to_its_last_byte(site: Site, tmp_path: Path) -> None:
    assert site.run("bundle", "d12.x86_64", "-o", str(tmp_path)).returncode == 0
    bundle = next(tmp_path.glob("*.tgz"))
    whole = site.run("check", str(bundle))
    data = bytearray(bundle.read_bytes())
    data[-9] ^= 1
    bundle.write_bytes(data)

    broken = site.run("check", str(bundle))

    assert whole.returncode == 0, whole.stderr
    assert "whole" in whole.stdout
    assert broken.returncode == 3
    assert broken.stderr.startswith("error: ")


def test_gc_removes_nothing_while_a_published_lock_cannot_be_read(site: Site) -> None:
    site.archive.publish(SECOND)
    assert site.sync("--update").returncode == 0
    lock = site.repository / "repobuild.lock"
    lock.write_text("{")
    objects = {path for path in (site.root / "store").rglob("*") if path.is_file()}

    result = site.run("gc")

    assert result.returncode == 3
    assert str(lock.parent) in result.stderr
    assert objects == {path for path in (site.root / "store").rglob("*") if path.is_file()}


def test_what_is_shown_is_words(site: Site) -> None:
    shown = site.run("show", "d12.x86_64").stdout

    assert "signed_by=" in shown
    assert "(" not in shown.split("signed_by=")[1].split()[0]


def test_the_nginx_configuration_comes_as_json_too(site: Site) -> None:
    document = json.loads(site.run("nginx", "d12.x86_64", "--json").stdout)

    assert document["config"].startswith(site.run("nginx", "d12.x86_64").stdout.splitlines()[0])
    assert document["path"] is None
