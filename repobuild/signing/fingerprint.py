"""How people read and compare the fingerprint of a key."""

from repobuild.errors import UsageError

_SHORT = 16


def check_fingerprint(text: str) -> str:
    """Return a fingerprint as upper-case hex; blanks between its digits do not matter.

    Raises:
        UsageError: when it has not 40 or 64 hex digits.
    """
    fingerprint = "".join(text.split()).upper()
    if len(fingerprint) not in {40, 64} or not set(fingerprint) <= set("0123456789ABCDEF"):
        raise UsageError(f"not an OpenPGP fingerprint: {text[:80]!r}", "give all 40 hex digits; a key id is no proof")
    return fingerprint


def spaced(fingerprint: str) -> str:
    """Return a fingerprint in groups of four, to be read aloud and compared."""
    return " ".join(fingerprint[start : start + 4] for start in range(0, len(fingerprint), 4))


def short(fingerprint: str, digits: int = _SHORT) -> str:
    """Return the last digits of a fingerprint: a name for a key already known, never a proof."""
    return fingerprint[-digits:]
