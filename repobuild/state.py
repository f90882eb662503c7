"""What is remembered between runs: how new each upstream was, and which root was believed last (G8).

A bundle that was installed is remembered in the same way, by repository and target: its sequence as the date, no root.

One JSON file in the state folder. It is read once, changed in memory, and saved under a short lock, merging with what
other runs saved meanwhile: the newest Date of each upstream wins.
"""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from repobuild.durable import Folder
from repobuild.errors import HostileInputError

_FILE, _LOCK = "upstreams.json", "upstreams.flock"
_LIMIT = 16 << 20
"""Bytes of the file."""
_PATIENCE = 10.0
"""Seconds to wait for another run that is saving."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What an upstream showed last."""

    date: int
    """Seconds since the epoch."""
    root: str
    """sha256 of the root as fetched, an object in the store."""
    signature: str
    """sha256 of its detached signature, "" when signed inline or not at all."""
    indexes: tuple[str, ...] = ()
    """Digests of its indexes: sha256 of the open texts, objects in the store; where the root does not give it, also as
    they are transported."""


class Memory:
    """The remembered upstreams, by a key of origin, suite and signer (or of name and path, for the last root)."""

    def __init__(self, folder: Path) -> None:
        self._path = folder
        self._seen = self._read() if folder.is_dir() else {}
        self._news: dict[str, Seen] = {}
        self._forced: set[str] = set()
        self._changing = threading.Lock()

    def get(self, key: str) -> Seen | None:
        """Return what is remembered under `key`."""
        with self._changing:
            return self._news.get(key) or self._seen.get(key)

    def put(self, key: str, seen: Seen) -> None:
        """Remember `seen` from the next `save` on, unless something newer was put before."""
        with self._changing:
            self._news[key] = _newer(seen, self._news.get(key))

    def save(self) -> None:
        """Put what is new on disk; a newer Date that another run saved meanwhile stays."""
        if not self._news:
            return
        with Folder.open(self._path, create=True) as folder, folder.lock(_LOCK, wait=_patience(_PATIENCE)):
            merged = self._read()
            for key, seen in self._news.items():
                merged[key] = seen if key in self._forced else _newer(seen, merged.get(key))
            table = {key: [each.date, each.root, each.signature, *each.indexes] for key, each in sorted(merged.items())}
            folder.write(_FILE, (json.dumps(table, indent=0) + "\n").encode())
        self._seen, self._news = merged, {}
        self._forced.clear()

    def force(self, key: str, seen: Seen) -> None:
        """Remember `seen` although something newer was seen: the operator's `--allow-older`."""
        with self._changing:
            self._news[key] = seen
            self._forced.add(key)

    def objects(self) -> set[str]:
        """Return the digests of all objects that the remembered roots need."""
        kept = {**self._seen, **self._news}.values()
        return {digest for seen in kept for digest in (seen.root, seen.signature, *seen.indexes) if digest}

    def _read(self) -> dict[str, Seen]:
        with Folder.open(self._path) as folder:
            data = folder.read(_FILE, _LIMIT)
        if data is None:
            return {}
        try:
            table = json.loads(data)
            return {
                str(key): Seen(int(date), str(root), str(signature), tuple(map(str, indexes)))
                for key, (date, root, signature, *indexes) in table.items()
            }
        except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise HostileInputError(
                f"damaged record of upstreams: {self._path / _FILE}",
                "remove the file; upstreams are then believed anew",
            ) from error


def _newer(one: Seen, other: Seen | None) -> Seen:
    """Return the later of two; of the same date `one`. Date, root and indexes always stay together."""
    return other if other is not None and other.date > one.date else one


def _patience(seconds: float) -> Callable[[], bool]:
    deadline = time.monotonic() + seconds

    def wait() -> bool:
        time.sleep(0.02)
        return time.monotonic() < deadline

    return wait
