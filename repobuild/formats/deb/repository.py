"""The index files of a flat repository of ours."""

import hashlib
from collections.abc import Sequence

from repobuild.compression import stored_gzip, stored_xz
from repobuild.formats.deb import release, version
from repobuild.formats.deb.package import check_metadata
from repobuild.formats.protocol import RepositoryFacts, Signer
from repobuild.model import Kind, Package, TreeFile


def packages_text(packages: Sequence[Package]) -> bytes:
    """Return the Packages file: one stanza a package, sorted by name, version and architecture.

    `Filename:` is the bare name: it then serves `deb URL ./`, `deb URL /` and object storage alike.
    """
    ordered = sorted(packages, key=lambda each: (each.name, version.key(each.version), each.arch))
    return "".join(
        f"{check_metadata(each)}\nFilename: {each.filename}\nSize: {each.size}\nSHA256: {each.sha256}\n\n"
        for each in ordered
    ).encode()


def metadata(packages: Sequence[Package], facts: RepositoryFacts, sign: Signer | None) -> tuple[TreeFile, ...]:
    """Return by-hash copies, then the pointers: Packages in three forms, Release and its signatures."""
    text = packages_text(packages)
    indexes = {"Packages": text, "Packages.gz": stored_gzip(text), "Packages.xz": stored_xz(text)}
    root = release.write(facts, indexes)
    pointers = {**indexes, "Release": root}
    if sign is not None:
        pointers |= {"Release.gpg": sign.detached(root), "InRelease": sign.inline(root)}
    hashed = [
        _file(f"by-hash/SHA256/{hashlib.sha256(data).hexdigest()}", data, Kind.INDEX) for data in indexes.values()
    ]
    return (
        *sorted(hashed, key=lambda file: file.path),
        *(_file(name, data, Kind.POINTER) for name, data in pointers.items()),
    )


def _file(path: str, data: bytes, kind: Kind) -> TreeFile:
    return TreeFile(path=path, kind=kind, size=len(data), sha256=hashlib.sha256(data).hexdigest(), content=data)
