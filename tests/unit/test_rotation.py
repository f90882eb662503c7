"""Rules of a key that is followed by another: no run takes a secret key away from another one."""

from pathlib import Path

import pytest

from repobuild.durable import Folder
from repobuild.errors import BusyError, UsageError
from repobuild.pipeline import begin_rotation
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
