"""bundle as it is typed: what it says that it does not do."""

from pathlib import Path

import pytest

from repobuild.cli.main import run

MANIFEST = """\
repo_upstream:
  - name: base
    module: node
    releases: [12]
    verify: none
    baseurl: { default: 'http://a.example/debian ${distro_codename} main' }
"""


def said(folder: Path, capsys: pytest.CaptureFixture[str], more: str) -> list[str]:
    """Return the warnings of an offline `bundle` with nothing to bundle."""
    manifest = folder / "manifest.yml"
    manifest.write_text(MANIFEST + more)
    run(["bundle", "d12.x86_64", "-c", str(manifest), "--home", str(folder / "www"), "--offline", "-o", str(folder)])
    return [line for line in capsys.readouterr().err.splitlines() if "cache_repo" in line]


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REPOBUILD_STORE", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))


def test_each_further_repository_of_cache_repo_is_said_to_need_a_bundle_of_its_own(tmp_path, capsys):
    assert said(tmp_path, capsys, "cache_repo: 'pigsty, minio, docker'\n") == [
        f"warning: cache_repo names {name}: repobuild writes one bundle for each repository; "
        "bundle it with its own manifest into the same folder"
        for name in ("minio", "docker")
    ]


@pytest.mark.parametrize("more", ["", "cache_repo: pigsty\n", "repo_name: minio\ncache_repo: [minio]\n"])
def test_the_repository_of_the_manifest_needs_no_word(tmp_path, capsys, more):
    assert said(tmp_path, capsys, more) == []
