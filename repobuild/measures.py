"""Measures as people read them."""

from datetime import UTC, datetime

_UNITS = ("B", "kB", "MB", "GB", "TB")


def readable_size(count: int) -> str:
    """Return a number of bytes in the unit that suits it (powers of 1000)."""
    number = float(count)
    for unit in _UNITS:
        if number < 999.95 or unit == _UNITS[-1]:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    raise AssertionError


def readable_time(seconds: int) -> str:
    """Return seconds since the epoch as a time of UTC; those after the year 9999 as they are."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return str(seconds)
