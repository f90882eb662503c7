"""The manifests and keys that come with repobuild, in a checkout and in an installed package."""

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent.parent
_KEYS = "keys"


def shipped_folder() -> Path:
    """Return the folder of shipped manifests: inside the installed package, else that of the checkout."""
    installed = _PACKAGE / "manifests"
    return installed if installed.is_dir() else _PACKAGE.parent / "manifests"


def default_manifest() -> Path:
    """Return the manifest that is used when none is named."""
    return shipped_folder() / "quickstart.yml"


def find_file(folder: Path, name: str) -> Path | None:
    """Return the file that a manifest in `folder` calls `name`: beside it, else a shipped `keys/…`; else None."""
    beside = folder / name
    if os.path.isfile(beside):  # unlike Path.is_file, quiet about names that are too long
        return beside
    parts = Path(name).parts
    shipped = shipped_folder() / name
    is_shipped = len(parts) == 2 and parts[0] == _KEYS and ".." not in parts and os.path.isfile(shipped)
    return shipped if is_shipped else None
