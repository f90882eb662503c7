"""Repository and lock -> contents of the whole tree."""

import os

from repobuild.archive.contents import Contents, in_member_order, make_contents
from repobuild.bundle.values import Source
from repobuild.durable import Folder, disk_errors
from repobuild.errors import DiskError, ProofError
from repobuild.model import LOCK_NAME, MARKER, Kind, Lock, TreeFile, Verify
from repobuild.record import TEXT_LIMIT, located, parse_marker, sha256_of

HEAL = "run: repobuild sync --force"


def read_contents(tree: Folder, source: Source, installer: str) -> Contents:
    """Return the contents of the repository in `tree`; `installer` is the sha256 of what installs the bundle.

    Raises:
        ProofError: when a file is missing, or marker and lock disagree.
    """
    marker = tree.read(MARKER, TEXT_LIMIT)
    if marker is None:
        raise ProofError(f"not a complete repository: {tree.path / MARKER}", "run: repobuild sync")
    digests = parse_marker(marker) | {MARKER: sha256_of(marker)}
    if digests.get(LOCK_NAME) != source.lock_sha256:
        raise ProofError(f"the marker does not list the lock in use: {tree.path / LOCK_NAME}", "run: repobuild sync")
    known = _payload(source.lock)
    for path, file in known.items():
        if digests.get(path) != file.sha256:
            raise ProofError(
                f"the marker and the lock disagree about a file: {tree.path / path}", "run: repobuild sync"
            )
    files = [
        known.get(path) or TreeFile(path=path, kind=_kind(path, source.pointers), size=_size(tree, path), sha256=digest)
        for path, digest in digests.items()
    ]
    return make_contents(
        Contents(
            name=source.lock.name,
            target=source.lock.target,
            version=source.lock.version,
            sequence=source.lock.time,
            lock=source.lock_sha256,
            files=in_member_order(files),
            installer=installer,
        )
    )


def open_listed(tree: Folder, path: str) -> int:
    """Open a file that the marker lists, and return the descriptor, which the caller closes.

    Raises:
        ProofError: when it is missing.
    """
    try:
        with located(tree, path) as (folder, name):
            return folder.open_file(name)
    except DiskError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise ProofError(f"the marker lists a file that is missing: {tree.path / path}", HEAL) from error
        raise


def _payload(lock: Lock) -> dict[str, TreeFile]:
    """Return what the lock brings into the repository, by path."""
    verified = {pin.name: pin.verify for pin in lock.upstreams}

    def payload(path: str, size: int, sha256: str, upstream: str) -> TreeFile:
        accepted = upstream in lock.unverified or path in lock.unverified
        verify = Verify.NONE if accepted else verified.get(upstream, Verify.ROOT)
        return TreeFile(path=path, kind=Kind.PAYLOAD, size=size, sha256=sha256, upstream=upstream, verify=verify)

    packages = (choice.package for choice in lock.choices)
    files = [payload(each.filename, each.size, each.sha256, each.upstream) for each in packages]
    files += [payload(each.name, each.size, each.sha256, "") for each in lock.assets]
    return {file.path: file for file in files}


def _kind(path: str, pointers: frozenset[str]) -> Kind:
    if path == MARKER:
        return Kind.MARKER
    return Kind.POINTER if path in pointers else Kind.INDEX


def _size(tree: Folder, path: str) -> int:
    with disk_errors(tree.path / path):
        fd = open_listed(tree, path)
        try:
            return os.fstat(fd).st_size
        finally:
            os.close(fd)
