"""Which keys were believed on this machine before: in the state folder, and those of the repositories in place.

`trust.json` holds the public keys themselves, so that a later bundle is proven with what was believed then, not with
what lies beside it. Remove the file to forget them.
"""

import json
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from repobuild.durable import Folder
from repobuild.errors import HostileInputError, RefusedError, UsageError
from repobuild.install.trust import KnownKey, known_keys
from repobuild.model import MARKER

_FILE, _LOCK = "trust.json", "trust.flock"
_FORMAT = 1
_LIMIT = 8 << 20
"""Bytes of the file."""
_KEY_LIMIT = 1 << 20
"""Bytes of a public key."""


def recall(state: Path) -> tuple[KnownKey, ...]:
    """Return the keys that were believed before, each for one repository.

    Raises:
        HostileInputError: when the file is damaged.
    """
    if not state.is_dir():
        return ()
    with Folder.open(state) as folder:
        data = folder.read(_FILE, _LIMIT)
    if data is None:
        return ()
    try:
        record = json.loads(data)
        if record["format"] != _FORMAT:
            raise ValueError(record["format"])
        return tuple(
            KnownKey(str(fingerprint), str(entry["key"]).encode(), str(name))
            for fingerprint, entry in sorted(record["keys"].items())
            for name in entry["repositories"]
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise HostileInputError(
            f"damaged record of believed keys: {state / _FILE}",
            "remove the file; the next install asks for --trust FINGERPRINT",
        ) from error


def remember(state: Path, keys: Iterable[KnownKey], repository: str) -> None:
    """Believe these keys for a repository from now on, on disk when this returns; nothing is written when they are.

    Raises:
        BusyError: when another run writes the file.
    """
    new = {each.fingerprint: each for each in keys}
    if all((each.fingerprint, repository) in _known_pairs(state) for each in new.values()):
        return
    with Folder.open(state, create=True) as folder, folder.lock(_LOCK):
        table: dict[str, dict[str, object]] = {}
        names: dict[str, set[str]] = {}
        for each in (*recall(state), *(KnownKey(key.fingerprint, key.data, repository) for key in new.values())):
            names.setdefault(each.fingerprint, set()).add(each.repository or repository)
            table[each.fingerprint] = {
                "key": each.data.decode(),
                "repositories": sorted(names[each.fingerprint]),
            }
        record = {"format": _FORMAT, "keys": table}
        folder.sweep(_FILE)
        folder.write(_FILE, (json.dumps(record, indent=1, sort_keys=True) + "\n").encode())


def _known_pairs(state: Path) -> set[tuple[str, str | None]]:
    return {(each.fingerprint, each.repository) for each in recall(state)}


def read_key(path: Path) -> bytes:
    """Return the content of a key file that the operator named.

    Raises:
        UsageError: when there is none.
    """
    data = None
    if path.absolute().parent.is_dir():
        with Folder.open(path.absolute().parent) as folder:
            data = folder.read(path.name, _KEY_LIMIT)
    if data is None:
        raise UsageError(f"no such key file: {path}")
    return data


def keys_in_place(home: Path) -> tuple[KnownKey, ...]:
    """Return the keys of the repositories below the home, each for the repository of that name.

    Only those that nobody but this user and root can have put there, from the home on: what lies in a folder of a web
    server's user says nothing, since that user may exchange it.
    """
    if not home.is_dir():
        return ()
    with Folder.open(home) as folder:
        found = list(_keys_below(folder))
        for name in _folders(folder):
            with folder.folder(name) as below:
                found += _keys_below(below)
    return tuple(found)


def _keys_below(folder: Folder) -> Iterator[KnownKey]:
    for name in _folders(folder):
        with folder.folder(name) as repository:
            status = repository.stat(f"{name}.gpg")
            if repository.stat(MARKER) is None or status is None:
                continue
            if _is_safe(os.fstat(repository.fileno())) and _is_safe(status):
                with suppress(RefusedError):
                    data = repository.read(f"{name}.gpg", _KEY_LIMIT)
                    yield from known_keys([(name, data or b"")], name)


def _folders(folder: Folder) -> list[str]:
    """Return the names of the folders in a folder that are not hidden; none where others may exchange them."""
    if not _is_safe(os.fstat(folder.fileno())):
        return []
    found = {name: folder.stat(name) for name in folder.names() if not name.startswith(".")}
    return [name for name, status in found.items() if status is not None and stat.S_ISDIR(status.st_mode)]


def _is_safe(status: os.stat_result) -> bool:
    return status.st_uid in {0, os.geteuid()} and not status.st_mode & 0o022
