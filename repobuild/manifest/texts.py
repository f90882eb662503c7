"""A document on disk -> its tree."""

from pathlib import Path

from repobuild.errors import UsageError
from repobuild.manifest.document import MAX_BYTES, Node, Source, parse


def read_tree(path: Path, *, text: bytes | None = None, is_tolerant: bool = False) -> tuple[Source, Node]:
    """Read a document.

    Args:
        path: of the document; messages name it.
        text: its content where it was read already.
        is_tolerant: whether others read it too, so that what we have no use for is no error.

    Raises:
        UsageError: when the file cannot be read.
        ManifestError: when it is no YAML, or empty.
    """
    source = Source(str(path), is_tolerant)
    root = parse(read_text(path) if text is None else text, source)
    if root is None:
        source.refuse(1, "expected a mapping of settings (repo_upstream, repo_packages …), got nothing")
    return source, root


def read_text(path: Path) -> bytes:
    """Return the bytes of a document, at most one more than it may have.

    Raises:
        UsageError: when the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise UsageError(f"no such manifest: {path}", "name another with -c FILE") from error
    except OSError as error:
        raise UsageError(f"cannot read the manifest ({(error.strerror or '').lower()}): {path}") from error
