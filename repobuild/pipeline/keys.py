"""The files of the signing key: made, followed by another, exported."""

from pathlib import Path

from repobuild.durable import Folder
from repobuild.errors import UsageError
from repobuild.pipeline.making import key_names, published_key
from repobuild.pipeline.session import Session
from repobuild.signing import Keyring, SigningKey, older_path, retired_path
from repobuild.targets import ALL_TARGETS

_LIMIT = 1 << 20
"""Bytes of a key file."""
_LOCK = ".rotation.lock"
_FINISH = "end it when every client has the new key: repobuild key rotate --finish"


def write_secret(path: Path, data: bytes) -> None:
    """Write a file that only its owner and its group may read."""
    with Folder.open(path.absolute().parent, create=True) as folder:
        folder.write(path.name, data, mode=0o640)


def keep_new(path: Path, data: bytes) -> None:
    """Write a new secret key, which nobody else may read; one that is there is never replaced.

    Raises:
        BusyError: when another run changes the keys in this folder.
        UsageError: when there is a key already.
    """
    with Folder.open(path.absolute().parent, create=True) as folder, folder.lock(_LOCK):
        if folder.stat(path.name) is not None:
            raise UsageError(
                f"there is a key already: {path}", "repobuild key show; to replace it: repobuild key rotate"
            )
        folder.write(path.name, data, mode=0o600)


def check_rotation(path: Path, key: SigningKey) -> None:
    """Refuse to begin a rotation of the key in `path` while one is under way.

    Raises:
        UsageError: when there is an older key already.
    """
    if len(key.fingerprints) > 1:
        raise UsageError(f"two keys sign already, the older one is {older_path(path)}", _FINISH)


def begin_rotation(path: Path, new: bytes) -> None:
    """Put a new secret key into `path`, and the one that is there beside it: from now on both sign.

    The older key is on disk at its new place before the new one takes the old place, so that a run cut short between
    the two leaves one key under two names, which signs once. An older key that is there is never replaced.

    Raises:
        BusyError: when another run changes the keys in this folder.
        UsageError: when there is no key, or an older one that takes the place.
    """
    older = older_path(path)
    with Folder.open(path.absolute().parent) as folder, folder.lock(_LOCK):
        former = folder.read(path.name, _LIMIT)
        if former is None:
            raise UsageError(f"there is no signing key: {path}", "make one: repobuild key new")
        if folder.read(older.name, _LIMIT) not in {None, former}:
            raise UsageError(f"an older key is there already: {older}", _FINISH)
        folder.write(older.name, former, mode=0o600)
        folder.write(path.name, new, mode=0o600)


def finish_rotation(path: Path, key: SigningKey) -> Path:
    """Let the older key of the two sign no more; return where its file is now.

    Raises:
        BusyError: when another run changes the keys in this folder.
        UsageError: when no rotation is under way.
    """
    older = older_path(path)
    with Folder.open(path.absolute().parent) as folder, folder.lock(_LOCK):
        if folder.stat(older.name) is None:
            raise UsageError(f"no rotation is under way: there is no {older}", "begin one: repobuild key rotate")
        retired = retired_path(path, key.fingerprints[0])
        folder.rename(older.name, retired.name)
        folder.sync()
    return retired


def not_signed_with(session: Session, name: str, fingerprint: str) -> list[Path]:
    """Return the published repositories of this name that are signed, but not with this key."""
    found = []
    for target in ALL_TARGETS:
        repository = session.repository(target.name, name)
        public = published_key(repository, name).get(key_names(name)[0])
        if public and fingerprint not in Keyring.from_bytes([(str(repository.path), public)]).fingerprints:
            found.append(repository.path)
    return sorted(set(found))


def export_key(key: SigningKey, name: str, folder: Path) -> list[Path]:
    """Write the public key in both forms, binary and armoured, into a folder; return the paths."""
    files = dict(zip(key_names(name), (key.public_binary(), key.public_armored()), strict=True))
    with Folder.open(folder.absolute(), create=True) as place:
        for file, data in files.items():
            place.write(file, data)
    return [folder / file for file in files]
