"""What a flat repository of ours offers to apt, and whether its packages say the same."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

from repobuild.compression import decompress
from repobuild.errors import HostileInputError, VerificationError
from repobuild.formats.deb import package, release
from repobuild.formats.deb.control import fields
from repobuild.formats.protocol import IndexFile, Offer, Read, Statement
from repobuild.model import Package, Target, Upstream

NAME = "repository"
"""The name of the one upstream that a repository is to its clients."""
_INDEX = "Packages"
_CONTROL = "control"
_UNVERIFIED = ("md5sum", "sha1", "sha512")
"""Digests that apt verifies where a stanza has them; ours have sha256 alone."""
_COMPARED = (
    "package",
    "version",
    "architecture",
    "multi-arch",
    "essential",
    "important",
    "protected",
    "pre-depends",
    "depends",
    "recommends",
    "suggests",
    "enhances",
    "provides",
    "conflicts",
    "breaks",
    "replaces",
)
"""The fields by which apt decides; section, priority and description are an archive's own to override."""


def read_offer(content: bytes, read: Read, target: Target) -> Offer:
    """Read the indexes that a Release, or what an InRelease signs, names.

    Raises:
        HostileInputError: when it or Packages are malformed.
        VerificationError: when it names no Packages, or that is another text.
    """
    upstream = Upstream(name=NAME, module="", mirrors=(), suite="./")
    root = release.read(content, upstream, target)
    index = root.indexes[0]
    text = read(_INDEX)
    if text is None or hashlib.sha256(text).hexdigest() != index.sha256:
        raise VerificationError("the Packages that Release names is not there")
    stanzas = [stanza for each in _decoded(text).split("\n\n") if (stanza := each.strip("\n"))]
    packages = [_package(stanza) for stanza in stanzas]
    return Offer(
        root=root,
        texts=(text,),
        later={},
        packages=tuple(sorted(packages, key=lambda each: each.path)),
        problems=(*_problems(read, content, index, text), *_unverified(stanzas, packages)),
    )


def _package(stanza: str) -> Package:
    listed = package.from_stanza(stanza, NAME)
    return replace(listed, path=unquote(listed.path))


def _unverified(stanzas: Sequence[str], packages: Sequence[Package]) -> Iterator[tuple[str, str]]:
    """Yield the digests of packages that nobody compares."""
    for stanza, listed in zip(stanzas, packages, strict=True):
        if said := [name for name in _UNVERIFIED if name in fields(stanza)]:
            yield listed.path, f"the index gives a digest that is not proven here, sha256 alone is: {', '.join(said)}"


def _decoded(text: bytes) -> str:
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise HostileInputError(f"Packages is not UTF-8 at byte {error.start}") from error


def _problems(read: Read, content: bytes, index: IndexFile, text: bytes) -> Iterator[tuple[str, str]]:
    """Yield what of the files that Release lists is not as it says, and compressed forms of another text."""
    for field in release.strange(content, "Release"):
        yield "Release", f"apt goes by a field that ours never has: {field}"
    for name, (size, digest) in release.listed(content, "Release").items():
        for path in (name, f"by-hash/SHA256/{digest}"):
            data = read(path)
            if data is None:
                yield path, "Release lists it, and it is not there"
            elif len(data) != size or hashlib.sha256(data).hexdigest() != digest:
                yield path, "not the bytes that Release lists"
    for variant in index.variants:
        data = read(variant.path) if variant.compression else None
        if data is not None and not _is_form_of(text, data, variant.compression):
            yield variant.path, "not a compressed form of Packages"


def _is_form_of(text: bytes, data: bytes, compression: str) -> bool:
    try:
        return b"".join(decompress(data, compression, size=len(text), what=_INDEX)) == text
    except HostileInputError:
        return False


def statement(path: Path) -> Statement:
    """Return the control file of a package.

    Raises:
        HostileInputError: when it is no .deb.
    """
    return {_CONTROL: package.control_file(path)}


def differences(offer: Offer, statements: Mapping[str, Statement]) -> dict[str, str]:
    """Name the fields that differ, by file name."""
    found: dict[str, str] = {}
    for each in offer.packages:
        said = statements.get(each.path)
        if said is not None and (difference := _difference(each, said[_CONTROL])):
            found[each.path] = difference
    return found


def _difference(listed: Package, control: bytes) -> str:
    try:
        own = fields(control.decode("utf-8").strip("\n"))
    except (UnicodeDecodeError, HostileInputError):
        return "its control file cannot be read"
    there = fields(listed.metadata)
    differing = [name for name in _COMPARED if _value(there, name) != _value(own, name)]
    if not differing:
        return ""
    name = differing[0]
    more = f", and {', '.join(differing[1:])}" if differing[1:] else ""
    return f"the index says {name}: {_shown(there, name)}, the package {_shown(own, name)}{more}"


def _value(found: Mapping[str, str], name: str) -> str:
    return " ".join(found.get(name, "").split())


def _shown(found: Mapping[str, str], name: str) -> str:
    value = _value(found, name)
    return repr(f"{value[:77]}..." if len(value) > 80 else value) if value else "nothing"
