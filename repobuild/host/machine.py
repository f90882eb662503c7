"""What this machine is: os-release(5)."""

import os
import re
import shlex
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from repobuild.host.reading import read_file
from repobuild.model import Target
from repobuild.targets import from_os_release

_ROOT = Path("/")
_ASSIGNMENT = re.compile(r"([A-Z][A-Z0-9_]*)=(.*)")


def host_target(root: Path = _ROOT) -> Target | None:
    """Return this machine's target, None when it is none of ours.

    Args:
        root: the file system to look at; the architecture is always the running kernel's.
    """
    for name in ("etc/os-release", "usr/lib/os-release"):
        text = read_file(root / name)
        if text is not None:
            return from_os_release(_os_release(text), os.uname().machine)
    return None


def _os_release(text: str) -> Mapping[str, str]:
    """Return the fields of os-release(5); a line that is no assignment is skipped."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        match = _ASSIGNMENT.fullmatch(line.strip())
        if match:
            with suppress(ValueError):  # an unbalanced quote
                fields[match[1]] = "".join(shlex.split(match[2])[:1])
    return fields
