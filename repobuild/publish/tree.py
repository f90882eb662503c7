"""What a repository will contain, in commit order."""

from collections.abc import Iterator, Sequence

from repobuild.errors import HostileInputError
from repobuild.model import LOCK_NAME, MARKER, Kind, Lock, Tree, TreeFile, Verify
from repobuild.record import format_marker, parts_of, sha256_of


def make_tree(lock: Lock, lock_text: bytes, metadata: Sequence[TreeFile]) -> Tree:
    """Return the tree of a lock: payload, the given metadata, the lock itself, and the marker last.

    Metadata keeps its order within its kind; payload is sorted by path bytes.

    Args:
        lock: what is chosen.
        lock_text: the lock as a file, which travels in the repository.
        metadata: what the format room made of the lock, with content.

    Raises:
        HostileInputError: when one path would hold two different files, or is no path of a tree.
    """
    files: dict[str, TreeFile] = {}
    for file in (
        *sorted(_payload(lock), key=lambda file: file.path.encode()),
        *metadata,
        make_file(LOCK_NAME, lock_text),
    ):
        parts_of(file.path)
        known = files.setdefault(file.path, file)
        if file.path == MARKER or known.sha256 != file.sha256 or known.kind != file.kind:
            raise HostileInputError(
                f"two files of one name, from {_origin(known)} and {_origin(file)}: {file.path}",
                "leave one of them out of the manifest, or pin the package to one upstream",
            )
    _refuse_files_as_folders(files)
    marker = format_marker({path: file.sha256 for path, file in files.items()})
    ordered = sorted(files.values(), key=lambda file: file.kind)
    return Tree(lock.name, lock.time, (*ordered, make_file(MARKER, marker, Kind.MARKER)))


def _payload(lock: Lock) -> Iterator[TreeFile]:
    verified = {pin.name: pin.verify for pin in lock.upstreams}
    for choice in lock.choices:
        package = choice.package
        yield TreeFile(
            path=package.filename,
            kind=Kind.PAYLOAD,
            size=package.size,
            sha256=package.sha256,
            upstream=package.upstream,
            verify=verified.get(package.upstream, ""),
        )
    for asset in lock.assets:
        verify = Verify.NONE if asset.name in lock.unverified else Verify.ROOT
        yield TreeFile(path=asset.name, kind=Kind.PAYLOAD, size=asset.size, sha256=asset.sha256, verify=verify)


def make_file(path: str, content: bytes, kind: Kind = Kind.INDEX) -> TreeFile:
    """Return a file of a tree that is made here, with its content."""
    return TreeFile(path=path, kind=kind, size=len(content), sha256=sha256_of(content), content=content)


def _origin(file: TreeFile) -> str:
    if file.content is not None or file.kind is not Kind.PAYLOAD:
        return "our own metadata"
    return f"upstream {file.upstream}" if file.upstream else "repo_url_packages"


def _refuse_files_as_folders(files: dict[str, TreeFile]) -> None:
    for path in files:
        above = path
        while "/" in above:
            above = above.rpartition("/")[0]
            if above in files:
                raise HostileInputError(
                    f"a file stands where a folder has to be, from {_origin(files[above])}: {above}",
                    "leave it out of the manifest, or give it another name",
                )
