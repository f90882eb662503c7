"""Measures as people read them."""

_UNITS = ("B", "kB", "MB", "GB", "TB")


def readable_size(count: int) -> str:
    """Return a number of bytes in the unit that suits it (powers of 1000)."""
    number = float(count)
    for unit in _UNITS:
        if number < 999.95 or unit == _UNITS[-1]:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    raise AssertionError
