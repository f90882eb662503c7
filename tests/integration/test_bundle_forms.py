"""Bundles as a user asks for them: in volumes, as deltas, and always the same."""

import hashlib
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sites import SECOND, Site

pytestmark = pytest.mark.integration


def bundle(site: Site, out: Path, *words: str) -> dict[str, object]:
    done = site.run("bundle", "d12.x86_64", "-o", str(out), "--json", *words)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["bundles"]
    return row


def debs(path: Path) -> set[str]:
    with tarfile.open(path) as tar:
        return {name.rpartition("/")[2] for name in tar.getnames() if name.endswith(".deb")}


def variations(site: Site, out: Path) -> Iterator[tuple[str, dict[str, str], tuple[str, ...]]]:
    """Yield (name, environment, words before the command) of runs that differ in nothing that matters."""
    yield "as it is", {}, ()
    yield "time zone", {"TZ": "Pacific/Kiritimati"}, ()
    yield "locale", {"LC_ALL": "C"}, ()
    yield "no UTF-8", {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, ()
    yield "umask", {}, ("sh", "-c", 'umask 077; exec "$@"', "sh")
    yield "current folder", {}, ("sh", "-c", 'cd /; exec "$@"', "sh")
    yield "one connection", {"JOBS": "1"}, ()
    yield "sixteen connections", {"JOBS": "16"}, ()
    yield "hash seed", {"PYTHONHASHSEED": "7"}, ()
    shutil.rmtree(site.root / "www")
    yield "built again", {}, ()
    shutil.rmtree(site.root / "www")
    shutil.rmtree(site.root / "store")
    yield "cold store", {}, ()
    killed = subprocess.run(
        ["timeout", "-s", "KILL", "0.4", *site.command("bundle", "d12.x86_64", "-o", str(out))],
        env=dict(site.environment), check=False, capture_output=True,
    )  # fmt: skip
    assert killed.returncode in {137, -9, 0}
    yield "resumed after a kill", {}, ()


def test_twelve_variations_give_one_bundle(site: Site, tmp_path: Path) -> None:
    found: dict[str, str] = {}
    out = tmp_path / "out"
    lock = next(path for path in site.root.rglob("*.lock") if path.name.endswith("x86_64.lock"))
    for name, environment, wrapper in variations(site, out):
        jobs = environment.get("JOBS", "4")
        command = site.command("bundle", "d12.x86_64", "-o", str(out), "-j", jobs, "--lock", str(lock), "--locked")
        env = {**site.environment, "PYTHONPATH": os.environ.get("PYTHONPATH", ""), **environment}
        done = subprocess.run([*wrapper, *command], env=env, check=False, capture_output=True, text=True)
        assert done.returncode == 0, (name, done.stderr)
        (path,) = out.glob("*.tgz")
        found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        path.unlink()

    assert len(found) == 12
    assert len(set(found.values())) == 1, found


def test_volumes_are_named_and_listed(site: Site, tmp_path: Path) -> None:
    whole = bundle(site, tmp_path / "whole")
    size = int(str(whole["size"]))

    row = bundle(site, tmp_path / "out", "--volume-size", str(size - 100))

    names = [Path(part["path"]).name for part in row["parts"]]
    assert names == [f"pigsty-pkg-v1.0.0.d12.x86_64.vol{n}.tgz" for n in range(1, len(names) + 1)]
    subprocess.run(["sha256sum", "-c", "--strict", "--quiet", "SHA256SUMS"], cwd=tmp_path / "out", check=True)


@pytest.mark.parametrize("words", [("--volume-size", "much"), ("--since", "nowhere"), ("--volume-size", "1")])
def test_what_cannot_be_is_a_usage_error(site: Site, tmp_path: Path, words: tuple[str, ...]) -> None:
    done = site.run("bundle", "d12.x86_64", "-o", str(tmp_path / "out"), *words)

    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "hint: " in done.stderr


def test_a_delta_since_a_bundle_carries_what_is_new(site: Site, tmp_path: Path) -> None:
    old = Path(str(bundle(site, tmp_path / "old")["path"]))
    site.archive.publish(SECOND)

    done = site.run("bundle", "--update", "-o", str(tmp_path), "--json", "--since", str(old))

    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["bundles"]
    assert str(row["path"]).endswith(".delta.tgz")
    assert debs(Path(row["path"])) == {"app_2.0_all.deb", "lib_2.0_all.deb"}


def test_what_the_far_side_asks_for_joins_the_delta(site: Site, tmp_path: Path) -> None:
    site.manifest.write_text(site.manifest.read_text().replace("[app, tool]", "[app]").replace("app, tool", "app"))
    first = bundle(site, tmp_path / "old")
    assert "tool_1.0_all.deb" not in debs(Path(str(first["path"])))
    lock = hashlib.sha256((site.repository / "repobuild.lock").read_bytes()).hexdigest()
    time = json.loads((site.repository / "repobuild.lock").read_text())["time"]
    marker = (site.repository / "repo_complete").read_text()
    have = tmp_path / "have.txt"
    have.write_text(f"# repobuild have 1 pigsty d12.x86_64 {time} {lock}\n{marker}+tool\n")

    done = site.run("bundle", "-o", str(tmp_path), "--json", "--since", str(have))

    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["bundles"]
    assert debs(Path(row["path"])) == {"tool_1.0_all.deb"}


def test_what_is_published_can_be_bundled_without_a_sync(site: Site, tmp_path: Path) -> None:
    site.archive.publish(SECOND)

    row = bundle(site, tmp_path, "--update", "--published")

    assert "app_1.0_all.deb" in debs(Path(str(row["path"])))


def test_people_are_told_of_digests_signature_and_pigsty(site: Site, tmp_path: Path) -> None:
    done = site.run("bundle", "d12.x86_64", "-o", str(tmp_path))
    path = next(tmp_path.glob("*.tgz"))

    assert hashlib.sha256(path.read_bytes()).hexdigest() in done.stdout
    assert "not signed" in done.stdout
    assert f"truncate -s 410M {path}" in done.stderr
    assert "install.sh wants the original" in done.stderr
