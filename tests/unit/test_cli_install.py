"""install and have as they are typed: exit codes, text, JSON, the question."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from transfers import TIME, build, bundle, make_key, payload_of, tree

from repobuild.cli.main import run
from repobuild.signing import SigningKey

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def key() -> SigningKey:
    return make_key()


@pytest.fixture(scope="module")
def near(tmp_path_factory: pytest.TempPathFactory, key: SigningKey) -> Path:
    root = tmp_path_factory.mktemp("near")
    big = {f"big{n}_1-1_all.deb": bytes([n]) * 125_000 for n in range(2)}
    bundle(build(root / "old", payload_of(1), TIME, key=key), root / "out-old", key=key)
    bundle(
        build(root / "new", {**payload_of(1), **big}, TIME + 1, key=key), root / "out-new", key=key, volume_size=250_000
    )
    return root


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    for name in ("REPOBUILD_STORE", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    monkeypatch.setenv("SUDO_USER", "alice")
    umask = os.umask(0o022)
    os.umask(umask)

    def call(*words: object) -> tuple[int, str, str]:
        code = run([*map(str, words), "--home", str(tmp_path / "www")])
        os.umask(umask)
        return code, *capsys.readouterr()

    return call


def part(near: Path, folder: str, number: int = 0) -> Path:
    return sorted((near / folder).glob("*-pkg-*"))[number]


def place(tmp_path: Path) -> Path:
    return next((tmp_path / "www").rglob("repo_complete")).parent


def test_an_unknown_signer_is_exit_3_with_the_option_to_give(near, call, key):
    code, said, error = call("install", part(near, "out-old"))

    assert (code, said) == (3, "")
    assert (
        f"hint: compare it with what `repobuild bundle` printed there; if it is the same: --trust {key.fingerprint}"
        in error
    )


def test_an_install_prints_what_it_did_by_whose_word_and_where_the_receipt_is(near, call, key, tmp_path):
    code, said, _ = call("install", "d12.x86_64", part(near, "out-old"), "--trust", key.fingerprint)

    assert code == 0
    assert tree(place(tmp_path)) == tree(near / "old" / "pigsty")
    assert "14 new" in said
    assert f"signed by {key.fingerprint[:4]} {key.fingerprint[4:8]}" in said
    receipt = Path(said.split("receipt ")[1].splitlines()[0])
    assert json.loads(receipt.read_text())["on_behalf_of"] == "alice"


def test_a_missing_volume_is_exit_2_and_named_and_the_next_run_goes_on(near, call, key, tmp_path):
    code, said, error = call("install", part(near, "out-new"), "--trust", key.fingerprint)

    assert code == 2
    assert "still missing: vol 2 of 2: pigsty-pkg-v4.5.0.d12.x86_64.vol2.tgz" in said
    assert "vol 2 of 2" in error
    assert call("install", part(near, "out-new", 1))[0] == 0
    assert tree(place(tmp_path)) == tree(near / "new" / "pigsty")


def test_a_dry_run_for_machines_holds_the_whole_plan(near, call, key, tmp_path):
    call("install", part(near, "out-old"), "--trust", key.fingerprint)

    code, said, _ = call("install", part(near, "out-new"), "--dry-run", "--json")

    [plan] = json.loads(said)
    assert code == 2
    assert plan["added"]["big0_1-1_all.deb"] == 125_000
    assert set(plan["changed"]) >= {"Packages", "repobuild.lock"}
    assert plan["kept"] == 8
    assert plan["sizes"]["added"] == sum(plan["added"].values())
    assert 250_000 < plan["need"] < plan["free"]
    assert plan["missing"] == ["vol 2 of 2: pigsty-pkg-v4.5.0.d12.x86_64.vol2.tgz"]
    assert (plan["installed"], plan["signer"], plan["receipt"]) == (False, key.fingerprint, "")
    assert tree(place(tmp_path)) == tree(near / "old" / "pigsty")


def test_a_dry_run_for_people_lists_files_when_asked_to(near, call, key):
    _, said, _ = call("install", *(near / "out-new").glob("*-pkg-*"), "--trust", key.fingerprint, "--dry-run", "-v")

    assert "would install" in said
    assert "needs " in said
    assert "  + big0_1-1_all.deb (125.0 kB)" in said


def test_another_target_than_the_one_that_is_asked_for_is_exit_3(near, call, key):
    assert call("install", "el9.x86_64", part(near, "out-old"), "--trust", key.fingerprint)[0] == 3


def test_another_repository_than_the_manifests_is_exit_3(near, call, key, tmp_path):
    (tmp_path / "other.yml").write_text("repo_name: other\nrepo_upstream: []\n")
    words = ("install", part(near, "out-old"), "--trust", key.fingerprint)

    assert call(*words, "-c", tmp_path / "other.yml")[0] == 3
    (tmp_path / "other.yml").write_text("repo_upstream: []\n")
    assert call(*words, "-c", tmp_path / "other.yml")[0] == 0


def test_targets_alone_and_files_that_are_not_there_are_errors_that_say_so(call):
    assert call("install", "d12.x86_64")[0] == 2
    code, _, error = call("install", "absent.tgz")
    assert code == 7
    assert "absent.tgz" in error


def test_a_signing_key_that_does_not_open_keeps_nobody_from_installing(near, call, key, tmp_path):
    place_of_key = tmp_path / "xdg_config_home" / "repobuild" / "signing-key.asc"
    place_of_key.parent.mkdir(parents=True)
    place_of_key.write_bytes(b"no key")

    assert call("install", part(near, "out-old"), "--trust", key.fingerprint)[0] == 0
    assert call("have", "d12.x86_64")[0] == 0


def test_the_list_of_what_is_here_is_printed_by_target_or_path(near, call, key, tmp_path):
    call("install", part(near, "out-old"), "--trust", key.fingerprint)

    by_target, by_path = call("have", "d12.x86_64"), call("have", place(tmp_path))

    assert by_target == by_path
    assert by_target[1].splitlines(keepends=True)[1:] == (place(tmp_path) / "repo_complete").read_text().splitlines(
        True
    )
    [entry] = json.loads(call("have", "d12.x86_64", "--json")[1])
    assert entry["list"] == by_target[1]
    assert call("have", tmp_path / "nothing")[0] == 6


@pytest.mark.parametrize(("answer", "code"), [("right", 0), ("12345678", 3), ("", 3)])
def test_on_a_terminal_the_fingerprint_is_shown_and_its_end_asked_for(near, tmp_path, key, answer, code):
    env = {**os.environ, **{name: str(tmp_path / name) for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME")}}
    command = [
        sys.executable,
        "-m",
        "repobuild",
        "install",
        str(part(near, "out-old")),
        "--home",
        str(tmp_path / "www"),
    ]
    master, slave = pty.openpty()
    with subprocess.Popen(command, env=env, stdin=slave, stdout=slave, stderr=slave) as process:
        os.close(slave)
        os.write(master, (key.fingerprint[-8:] if answer == "right" else answer).encode() + b"\n")
        said = b""
        while True:
            try:
                piece = os.read(master, 4096)
            except OSError:
                break
            said += piece
    os.close(master)

    assert process.returncode == code
    assert f"{key.fingerprint[:4]} {key.fingerprint[4:8]}".encode() in said
