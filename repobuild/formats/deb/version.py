"""Debian versions: their order, and an encoding that RPM's comparison orders the same way.

The order is that of deb-version(7). A version is cut into pairs of a non-digit run and a number; every run is closed
by an end-of-run sign that sorts above `~` and below everything else, and the whole is closed by one more. That makes
the order plain: tuples of such pairs compare element by element, and so do their encodings as RPM versions, since
both sides always have a run facing a run and a number facing a number.
"""

import re
from functools import lru_cache

from repobuild.errors import HostileInputError

Key = tuple[str | int, ...]
"""Runs and numbers by turns; compare with `<`, `==`, `>`."""

_MAX_LENGTH = 512
"""Characters; dpkg has no limit, real versions stay below 100."""
_VALID = re.compile(r"(?:[0-9]{1,10}:[A-Za-z0-9.+~:-]+|[A-Za-z0-9.+~-]+)\Z")
_PAIR = re.compile(r"([^0-9]*)([0-9]*)")
_MAX_EPOCH_DIGITS = 10
_END = "b"
_ORDER = "~\0" + "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz" + "+-.:"
# One character per rank, so that strings of them compare as ranks do: `~`, end of run, letters, the rest by ASCII.
_RANK = {sign: chr(ord("a") + rank) for rank, sign in enumerate(_ORDER)}
_CODE = {sign: chr(ord("a") + rank // 26) + chr(ord("a") + rank % 26) for rank, sign in enumerate(_ORDER)}


def check(version: str) -> str:
    """Return `version` when it is a Debian version.

    Raises:
        HostileInputError: when it is not.
    """
    if len(version) > _MAX_LENGTH or not _VALID.match(version):
        raise HostileInputError(f"not a Debian version: {version[:80]!r}")
    return version


def split(version: str) -> tuple[str, str, str]:
    """Return epoch, upstream version and revision; absent ones as `0`."""
    epoch, colon, rest = version.partition(":")
    if not colon:
        epoch, rest = "0", version
    upstream, dash, revision = rest.rpartition("-")
    return (epoch or "0", upstream, revision or "0") if dash else (epoch or "0", rest, "0")


@lru_cache(maxsize=1 << 16)
def key(version: str) -> Key:
    """Return the sort key of `version`."""
    epoch, upstream, revision = split(version)
    parts: list[str | int] = [_number(epoch)]
    for text in (upstream, revision):
        for run, digits in _pairs(text):
            parts.append("".join(_RANK.get(sign, _RANK[":"]) for sign in run) + _END)
            parts.append(int(digits))
        parts.append(_END)
        parts.append(0)
    return tuple(parts)


@lru_cache(maxsize=1 << 16)
def encode(version: str) -> str:
    """Return `version` as an RPM version of letters and digits that sorts the same way."""
    end = _CODE["\0"]
    epoch, upstream, revision = split(version)
    parts = [str(_number(epoch))]
    for text in (upstream, revision):
        for run, digits in _pairs(text):
            parts.append("".join(_CODE.get(sign, _CODE[":"]) for sign in run) + end + digits)
        parts.append(end + "0")
    return "".join(parts)


def _number(epoch: str) -> int:
    """Return an epoch; what is none (in a relation, where nobody checks) counts as 0."""
    is_number = epoch.isascii() and epoch.isdigit() and len(epoch) <= _MAX_EPOCH_DIGITS
    return int(epoch) if is_number else 0


def _pairs(text: str) -> list[tuple[str, str]]:
    return [(run, digits or "0") for run, digits in _PAIR.findall(text) if run or digits]


def satisfies(version: str, operator: str, wanted: str) -> bool:
    """Say whether `version` stands in the relation `operator` (`<<`, `<=`, `=`, `>=`, `>>`, or "" for any)."""
    if not operator:
        return True
    left, right = key(version), key(wanted)
    if operator == ">=":
        return left >= right
    if operator == "=":
        return left == right
    if operator == "<<":
        return left < right
    if operator == "<=":
        return left <= right
    return left > right
