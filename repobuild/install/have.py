"""The list of what is in place, for who makes the next delta."""

from repobuild.model import Lock
from repobuild.record import sha256_of

_FORMAT = 1


def have_list(lock: Lock, lock_text: bytes, marker: bytes) -> bytes:
    """Return the list: a line that says whose it is, then the marker's `sha256sum` lines as they are."""
    words = ("# repobuild have", _FORMAT, lock.name, lock.target, lock.time, sha256_of(lock_text))
    return " ".join(map(str, words)).encode() + b"\n" + marker
