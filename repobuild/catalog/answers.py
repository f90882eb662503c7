"""What mirrors answered in a run: targets that read the same root ask for it, and verify it, once."""

import hashlib
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from repobuild.errors import DeniedError, NotFoundError
from repobuild.model import Mirror, Upstream

Get = Callable[[Mirror, str, int], bytes]
"""A small file from one mirror: (mirror, path, limit in bytes) -> content. UnreachableError when it cannot be had."""

_No = NotFoundError | DeniedError
"""Answers that another try would not change."""


@dataclass(frozen=True, slots=True)
class Proof:
    """A root whose signature holds."""

    content: bytes
    """The verified bytes."""
    signer: str
    keys: tuple[str, ...]
    """Fingerprints of the keys that were believed."""


class Answers:
    """Small files by mirror and path, and roots that were verified. Threads may share it.

    Whoever finds that an answer does not fit the rest of its set forgets it, and asks again.
    """

    def __init__(self) -> None:
        self._changing = threading.Lock()
        self._turns: dict[tuple[Mirror, str], threading.Lock] = {}
        self._kept: dict[tuple[Mirror, str], bytes | _No] = {}
        self._proofs: dict[object, Proof] = {}
        self._silent: set[Mirror] = set()

    def get(self, ask: Get, mirror: Mirror, path: str, limit: int) -> bytes:
        """Return what the mirror answered before, else what it answers now.

        Raises:
            NotFoundError, DeniedError: when that was the answer, or is now.
            RepobuildError: as `ask` does; that is not kept.
        """
        key = (mirror, path)
        with self._changing:
            turn = self._turns.setdefault(key, threading.Lock())
        with turn:
            kept = self._kept.get(key)
            if kept is None:
                try:
                    kept = ask(mirror, path, limit)
                except (NotFoundError, DeniedError) as error:
                    kept = error
                self._kept[key] = kept
        if not isinstance(kept, bytes):
            raise type(kept)(kept.message, kept.hint) from kept
        return kept

    def holds(self, mirror: Mirror, paths: Iterable[str]) -> bool:
        """Whether the mirror gave any of these files before."""
        return any(isinstance(self._kept.get((mirror, path)), bytes) for path in paths)

    def forget(self, mirror: Mirror, paths: Iterable[str]) -> None:
        """Have the mirror asked anew for these files."""
        with self._changing:
            for path in paths:
                self._kept.pop((mirror, path), None)

    def proof(self, upstream: Upstream, content: bytes, signature: bytes | None, prove: Callable[[], Proof]) -> Proof:
        """Return what `prove` found before for these bytes and the keys of this upstream, else what it finds now.

        Raises:
            RepobuildError: as `prove` does; that is not kept.
        """
        digests = [hashlib.sha256(each).digest() if each is not None else None for each in (content, signature)]
        key = (*digests, upstream.keys, upstream.fingerprints)
        proof = self._proofs.get(key)
        if proof is None:
            proof = self._proofs[key] = prove()
        return proof

    def mark_silent(self, mirror: Mirror) -> None:
        """Remember that the mirror did not answer."""
        with self._changing:
            self._silent.add(mirror)

    def is_silent(self, mirror: Mirror) -> bool:
        """Whether the mirror did not answer before: it is asked last."""
        return mirror in self._silent
