"""Pigsty's own files, real ones, against the archive at hand: all that Debian has is there, all else is named."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pigsty_rules as rules
import pytest
from pigsty_rules import DATA, needs_data

from repobuild import host

pytestmark = [pytest.mark.integration, needs_data]

TARGETS = ("d12.x86_64", "d13.aarch64")
VIRTUAL = {"valkey"}
"""Wants that are no package's name in Debian, but what a package provides."""
THIRD_PARTY = ("pigsty-infra", "pigsty-pgsql", "docker-ce", "pgdg")


@pytest.fixture(scope="module")
def pigsty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a Pigsty folder as it is after `./configure`."""
    if not host.apt_mirrors():
        pytest.skip("this machine's apt names no archive")
    place = tmp_path_factory.mktemp("pigsty")
    (place / "roles/node_id").mkdir(parents=True)
    (place / "roles/node_id/vars").symlink_to(DATA / "vars")
    (place / "pigsty.yml").write_bytes((DATA / "conf/pigsty.yml").read_bytes())
    return place


def run(places: Mapping[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "repobuild", *words]
    return subprocess.run(command, env=dict(places), capture_output=True, text=True, timeout=600, check=False)


def test_what_only_third_parties_have_is_named_and_the_rest_is_planned(
    places: Mapping[str, str], pigsty: Path, tmp_path: Path
) -> None:
    words = ("--pigsty", str(pigsty), "--region", "host", "--home", str(tmp_path / "www"))

    strict = run(places, "plan", *TARGETS, *words)
    lenient = run(places, "plan", *TARGETS, *words, "--skip-unavailable", "--skip-missing", "--json")

    assert 5 == strict.returncode, strict.stderr
    assert "cannot be reached: no mirror of it is known in this region" in strict.stderr
    assert 0 == lenient.returncode, lenient.stderr
    for planned in json.loads(lenient.stdout):
        said = rules.variables(planned["target"])
        items = said["repo_packages_default"] + said["repo_extra_packages_default"]
        wants = {want for group in rules.groups(items, said["package_map"], 18) for want in group}
        names = {each["name"] for each in planned["resolution"]}

        assert {"base", "updates", "security"} >= {each["upstream"] for each in planned["resolution"]}
        assert {want for want in wants if want not in names and want not in planned["missing"]} <= VIRTUAL
        assert {"nginx", "dnsmasq", "haproxy", "patroni", "chrony"} <= names
        assert {"sow", "grafana", "victoria-logs", "postgresql-18-repack"} <= set(planned["missing"])
    assert all(name in lenient.stderr for name in THIRD_PARTY)
    assert not (tmp_path / "www").exists()


def test_names_that_nobody_has_stop_a_sync_before_anything_is_fetched(
    places: Mapping[str, str], pigsty: Path, tmp_path: Path
) -> None:
    words = ("--pigsty", str(pigsty), "--region", "host", "--home", str(tmp_path / "www"), "--skip-unavailable")

    result = run(places, "sync", "d12.x86_64", *words)

    assert 4 == result.returncode, result.stderr
    assert "grafana" in result.stderr
    assert "--skip-missing" in result.stderr
    assert not (tmp_path / "www/pigsty").exists()
