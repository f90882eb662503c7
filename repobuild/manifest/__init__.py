"""The manifest: YAML text -> Manifest -> what one target sees of it (`model.Job`).

Read in this order: `schema` (which keys there are), `manifest` (what a target sees), then what they use.
"""

from pathlib import Path

from repobuild.errors import ManifestError, UsageError
from repobuild.manifest.document import MAX_BYTES, Source, parse
from repobuild.manifest.manifest import Description, Manifest, UpstreamDescription
from repobuild.manifest.reading import Place
from repobuild.manifest.schema import read_manifest
from repobuild.manifest.shipped import default_manifest, shipped_folder

__all__ = ["Description", "Manifest", "UpstreamDescription", "default_manifest", "load", "shipped_folder"]


def load(path: Path, *, text: bytes | None = None) -> Manifest:
    """Read a manifest.

    Args:
        path: the document; messages name it, and files it names are looked for beside it.
        text: its content where it was read already.

    Raises:
        UsageError: when the file cannot be read.
        ManifestError: with every error in the document.
    """
    data = _read(path) if text is None else text
    source = Source(str(path))
    root = parse(data, source)
    if root is None:
        raise ManifestError([f"{path}: expected a mapping of settings (repo_upstream, repo_packages …), got nothing"])
    return read_manifest(Place(source, "", root), path)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise UsageError(f"no such manifest: {path}", "name another with -c FILE") from error
    except OSError as error:
        raise UsageError(f"cannot read the manifest ({(error.strerror or '').lower()}): {path}") from error
