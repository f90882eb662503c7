"""The repository that a session of integration tests builds once from the archive at hand."""

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from repobuild.model import Lock


@dataclass(frozen=True)
class Built:
    """What the session built once."""

    home: Path
    """Folder of the repository: on another machine than Debian 12, that of its target below the web root."""
    lock: Lock
    wants: list[str]
    run: Callable[..., subprocess.CompletedProcess[str]]

    @property
    def repository(self) -> Path:
        return self.home / "pigsty"

    @property
    def key(self) -> Path:
        return self.home / "pigsty.gpg"

    @property
    def web_root(self) -> Path:
        return self.home.parent if self.home.name == "d12.x86_64" else self.home
