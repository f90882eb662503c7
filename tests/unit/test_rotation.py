"""Rules of a key that is followed by another: no run takes a secret key away from another one."""

from pathlib import Path

import pytest

from repobuild.cli import keys as cli_keys
from repobuild.cli.main import run
from repobuild.durable import Folder
from repobuild.errors import BusyError, UsageError
from repobuild.pipeline import begin_rotation, keep_new
from repobuild.signing import older_path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "signing-key.asc"
    file.write_bytes(b"first")
    return file


def files(folder: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in folder.glob("*.asc")}


def test_the_older_key_is_never_replaced_by_a_second_rotation(path: Path) -> None:
    begin_rotation(path, b"second")

    with pytest.raises(UsageError, match="an older key is there already"):
        begin_rotation(path, b"third")

    assert files(path.parent) == {path.name: b"second", older_path(path).name: b"first"}


def test_a_rotation_cut_short_before_the_new_key_is_begun_again(path: Path) -> None:
    older_path(path).write_bytes(b"first")

    begin_rotation(path, b"second")

    assert files(path.parent) == {path.name: b"second", older_path(path).name: b"first"}


def test_a_rotation_beside_another_run_is_refused_and_changes_nothing(path: Path) -> None:
    with Folder.open(path.parent) as folder, folder.lock(".rotation.lock"), pytest.raises(BusyError):
        begin_rotation(path, b"second")

    assert files(path.parent) == {path.name: b"first"}


def test_a_new_key_never_takes_the_place_of_one_that_came_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two runs that both found no key make one each; the second to finish says that there is one."""
    place = tmp_path / "keys" / "signing-key.asc"

    def overtaken(_: str) -> bytes:
        keep_new(place, b"of the other run")
        return b"of this run"

    monkeypatch.setattr(cli_keys, "generate", overtaken)

    assert run(["key", "new", "-o", str(place)]) == 2
    assert "there is a key already" in capsys.readouterr().err
    assert files(place.parent) == {place.name: b"of the other run"}


def test_a_new_key_beside_another_run_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    with Folder.open(tmp_path) as folder, folder.lock(".rotation.lock"), pytest.raises(BusyError):
        keep_new(tmp_path / "signing-key.asc", b"new")

    assert files(tmp_path) == {}


def test_a_new_key_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    keep_new(tmp_path / "signing-key.asc", b"new")

    assert (tmp_path / "signing-key.asc").stat().st_mode & 0o777 == 0o600
