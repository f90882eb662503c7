"""The index files of an RPM repository of ours, made by createrepo_c from the packages' own headers."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from repobuild.compression import stored_gzip, stored_zstd
from repobuild.formats.protocol import Objects, RepositoryFacts, Signer
from repobuild.formats.rpm.createrepo import MemoryFile, entries, library
from repobuild.model import Kind, Package, TreeFile

_FOLDER = "repodata"
_KINDS = ("primary", "filelists", "other")
_START = '<?xml version="1.0" encoding="UTF-8"?>\n'
_OPEN = {
    "primary": '<metadata xmlns="http://linux.duke.edu/metadata/common" xmlns:rpm="http://linux.duke.edu/metadata/rpm"'
    ' packages="%d">\n',
    "filelists": '<filelists xmlns="http://linux.duke.edu/metadata/filelists" packages="%d">\n',
    "other": '<otherdata xmlns="http://linux.duke.edu/metadata/other" packages="%d">\n',
}
_CLOSE = {"primary": "</metadata>", "filelists": "</filelists>", "other": "</otherdata>"}
_GZIP_ONLY = 8
"""Enterprise Linux up to this release reads gzip; zstd came to the clients with 8.4."""
_NAMES = {
    "primary": "primary.xml",
    "filelists": "filelists.xml",
    "other": "other.xml",
    "group": "comps.xml",
    "modules": "modules.yaml",
    "updateinfo": "updateinfo.xml",
}
"""Type in repomd.xml -> file name, without the digest before it."""
_PLAIN = frozenset({"group"})
"""Types that are never compressed: a compressed `group` is another type to older clients."""


def metadata(
    packages: Sequence[Package],
    facts: RepositoryFacts,
    sign: Signer | None,
    objects: Objects,
    extras: Mapping[str, bytes] | None = None,
) -> tuple[TreeFile, ...]:
    """Return the indexes, each named by its digest, then repomd.xml and its detached signature.

    A client asks for repomd.xml and then for its signature. Where the two cannot change at once, repomd.xml goes first:
    that fails only those who ask for both between the two renames, or for one before the first and the other after the
    second. The other order fails these too, and everyone else with one of the two renames between their questions.

    Args:
        packages: in any order.
        facts: about the repository; revision and all times are its time.
        sign: None leaves the repository unsigned.
        objects: where the packages lie.
        extras: `group`, `modules`, `updateinfo` -> open text to offer beside the packages.

    Raises:
        HostileInputError: when a file is not the RPM that its package says.
    """
    texts = dict(zip(_KINDS, _texts(packages, objects, facts.time, _KINDS), strict=True))
    root = library().Repomd()
    root.set_revision(str(facts.time))
    files = []
    for kind, text in (*texts.items(), *sorted((extras or {}).items())):
        ending, data = ("", text) if kind in _PLAIN else _packed(text, facts.target.major)
        file = _file(f"{_FOLDER}/{hashlib.sha256(data).hexdigest()}-{_NAMES[kind]}{ending}", data, Kind.INDEX)
        root.set_record(_record(kind, file, text, facts.time))
        files.append(file)
    repomd = root.xml_dump().encode()
    pointers = {f"{_FOLDER}/repomd.xml": repomd}
    if sign is not None:
        # Of several keys a block each: the rpm library, which EL 10 verifies with, refuses two signatures in one.
        pointers[f"{_FOLDER}/repomd.xml.asc"] = sign.detached(repomd, one_block=False)
    return (
        *sorted(files, key=lambda file: file.path),
        *(_file(path, data, Kind.POINTER) for path, data in pointers.items()),
    )


def primary_text(packages: Sequence[Package], objects: Objects) -> bytes:
    """Return a primary.xml of these packages, without times.

    Raises:
        HostileInputError: when a file is not the RPM that its package says.
    """
    return _texts(packages, objects, 0, ("primary",))[0]


def document(kind: str, packages: Sequence[str]) -> bytes:
    """Return the open index of a kind that holds these entries."""
    return "".join((_START, _OPEN[kind] % len(packages), *packages, _CLOSE[kind])).encode()


def _texts(packages: Sequence[Package], objects: Objects, time: int, kinds: Sequence[str]) -> list[bytes]:
    """Return the open indexes of these kinds, their packages sorted by file name."""
    parts: list[list[str]] = [[] for _ in kinds]
    with MemoryFile() as scratch:
        for package in sorted(packages, key=lambda each: each.filename.encode()):
            found = entries(objects(package.sha256), package, time, kinds, scratch)
            for entry, part in zip(found, parts, strict=True):
                part.append(entry)
    return [document(kind, part) for kind, part in zip(kinds, parts, strict=True)]


def _packed(text: bytes, major: int) -> tuple[str, bytes]:
    """Return the file name's ending and the wrapped text; uncompressed inside, as decision 0004 has it."""
    return (".gz", stored_gzip(text)) if major <= _GZIP_ONLY else (".zst", stored_zstd(text))


def _record(kind: str, file: TreeFile, text: bytes, time: int) -> Any:
    record = library().RepomdRecord(kind)
    record.location_href = file.path
    record.checksum_type, record.checksum, record.size = "sha256", file.sha256, file.size
    record.timestamp = time
    if kind not in _PLAIN:
        record.checksum_open_type, record.checksum_open = "sha256", hashlib.sha256(text).hexdigest()
        record.size_open = len(text)
    return record


def _file(path: str, data: bytes, kind: Kind) -> TreeFile:
    return TreeFile(path=path, kind=kind, size=len(data), sha256=hashlib.sha256(data).hexdigest(), content=data)
