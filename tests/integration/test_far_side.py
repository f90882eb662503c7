"""Both sides of the air gap by the command line: deltas by request, and a rollback that every client takes."""

from pathlib import Path

import pysequoia
from sites import SECOND, Site


def bundle(site: Site, out: Path, *words: str) -> Path:
    done = site.run("bundle", "d12.x86_64", "-o", str(out), *words)
    assert done.returncode == 0, done.stderr
    [path] = out.glob("*-pkg-*")
    return path


def install(site: Site, path: Path, *words: str) -> None:
    done = site.run("install", str(path), *words, home=site.root / "far")
    assert done.returncode == 0, done.stderr


def names(site: Site) -> set[str]:
    return {path.name for path in (site.root / "far").rglob("*.deb") if ".repobuild" not in str(path)}


def test_a_rollback_where_the_key_is_reaches_the_far_side_as_a_newer_bundle(site: Site) -> None:
    secret = site.root / "key.asc"
    secret.write_text(str(pysequoia.Tsk.generate("site")))
    secret.chmod(0o600)
    key = ("--key", str(secret))
    assert site.sync("--force", *key).returncode == 0
    first = bundle(site, site.root / "1", "--offline", *key)
    site.archive.publish(SECOND)
    assert site.sync("--update", *key).returncode == 0
    second = bundle(site, site.root / "2", "--offline", *key)
    fingerprint = pysequoia.Cert.from_bytes(secret.read_bytes()).fingerprint
    install(site, first, "--trust", fingerprint)
    install(site, second)
    far = next((site.root / "far").rglob("repo_complete")).parent
    assert "app_2.0_all.deb" in {path.name for path in far.glob("*.deb")}

    there = site.run("rollback", "d12.x86_64", home=site.root / "far")
    assert there.returncode == 2
    assert "repobuild bundle --published" in there.stderr
    assert site.run("rollback", "d12.x86_64", *key).returncode == 0
    install(site, bundle(site, site.root / "3", "--published", "--offline", *key))

    marker = (far / "repo_complete").read_text()
    assert "app_1.0_all.deb" in marker
    assert "app_2.0_all.deb" not in marker


def test_a_delta_by_the_list_of_the_far_side_brings_what_is_new(site: Site) -> None:
    install(site, bundle(site, site.root / "1", "--offline"), "--allow-unsigned")
    far = next((site.root / "far").rglob("repo_complete")).parent
    have = site.run("have", "d12.x86_64", home=site.root / "far")
    (site.root / "have.txt").write_text(have.stdout)
    site.archive.publish(SECOND)
    assert site.sync("--update").returncode == 0

    path = bundle(site, site.root / "2", "--offline", "--since", str(site.root / "have.txt"))
    install(site, path, "--allow-unsigned")

    assert path.name.endswith(".delta.tgz")
    assert (far / "repo_complete").read_bytes() == (site.repository / "repo_complete").read_bytes()
