"""`why` as it is typed: its words, and that it needs no mirror."""

import json
from pathlib import Path

import pytest
from locks import lock_of, package

from repobuild import lock
from repobuild.cli.main import run

MANIFEST = """\
region: host
repo_upstream:
  - name: base
    module: node
    releases: [12]
    verify: none
    baseurl: { default: 'http://a.example/debian ${distro_codename} main' }
"""
LOCK = lock_of(
    [package("base-files", depends="awk"), package("mawk", provides="awk"), package("jq", arch="amd64")],
    {"jq:amd64": ["jq"]},
    base=["base-files"],
)


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REPOBUILD_STORE", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    (tmp_path / "m.yml").write_text(MANIFEST)
    (tmp_path / "m.lock").write_bytes(lock.write(LOCK))


@pytest.fixture
def ask(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    def ask(*words: str) -> tuple[int, str, str]:
        common = (
            "d12.x86_64",
            "-c",
            str(tmp_path / "m.yml"),
            "--home",
            str(tmp_path),
            "--lock",
            str(tmp_path / "m.lock"),
        )
        code = run(["why", *words, *common])
        said = capsys.readouterr()
        return code, said.out, said.err

    return ask


@pytest.mark.parametrize("spec", ["jq", "jq:amd64", "jq:any", "jq=1.0", "jq_1.0_amd64.deb", "j*"])
def test_every_word_of_a_want_leads_to_its_package(ask, spec: str) -> None:
    code, out, err = ask(spec)

    assert (code, err) == (0, "")
    assert out.splitlines() == ["jq 1.0 amd64 of main, 10 B", "  want jq:amd64: jq 1.0"]


def test_for_a_virtual_name_those_that_provide_it_are_named(ask) -> None:
    code, out, _ = ask("awk")

    assert code == 0
    assert out.splitlines()[0] == "mawk 1.0 all of main, 10 B, which provides awk"
    assert json.loads(ask("awk", "--json")[1])["present"][0]["provides"] == "awk"


def test_what_is_absent_needs_no_mirror_of_this_machine(ask) -> None:
    code, out, err = ask("apache2:amd64")

    assert (code, err) == (4, "")
    assert "the store" not in out
    assert "what the upstreams have is not known here" in out


def test_a_report_takes_a_path_or_a_lock_of_a_target(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lock_file = str(tmp_path / "m.lock")
    words = ["report", lock_file, "--no-proof", "-c", str(tmp_path / "m.yml"), "--home", str(tmp_path)]

    assert run(words) == 0
    assert capsys.readouterr().out.startswith("<!DOCTYPE html>")
    assert run([*words, "--lock", lock_file]) == 2
    assert "--lock names the lock of a target" in capsys.readouterr().err


def test_a_lock_is_known_by_its_content(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = tmp_path / "copy-of-it"
    copy.write_bytes((tmp_path / "m.lock").read_bytes())

    run(["check", str(copy), "-c", str(tmp_path / "m.yml"), "--home", str(tmp_path)])

    assert f"{copy}: holds (lock, " in capsys.readouterr().out


def test_what_is_shown_needs_no_mirror_of_this_machine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["show", "d12.x86_64", "-c", str(tmp_path / "m.yml"), "--home", str(tmp_path)]) == 0
    assert "base [node]" in capsys.readouterr().out
