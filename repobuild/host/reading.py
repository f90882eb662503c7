"""Reading files of a machine that we do not know."""

import os
from pathlib import Path

MAX_BYTES = 1 << 20
"""Size of one file, in bytes."""


def read_file(path: Path) -> str | None:
    """Return the text of a regular file, None when it is absent, too large or cannot be read."""
    if not os.path.isfile(path):
        return None
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError:
        return None
    return data.decode("utf-8", "replace") if len(data) <= MAX_BYTES else None
