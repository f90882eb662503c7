"""A repository of ours on disk, of RPMs at hand: metadata() written down, the packages linked beside it."""

import os
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import pysequoia
from signers import FreshSigner

from repobuild.formats.protocol import RepositoryFacts
from repobuild.formats.rpm.package import from_file
from repobuild.formats.rpm.repository import metadata
from repobuild.model import Package, TreeFile
from repobuild.signing import SigningKey
from repobuild.targets import parse_target

TIME = 1_795_248_000


@cache
def repository_key() -> SigningKey:
    """Return the key that signs repositories; once for all tests."""
    key = pysequoia.Tsk.generate("Test repository <test@example.org>", cipher_suite=pysequoia.CipherSuite.RSA2k)
    return SigningKey.load(str(key).encode())


def facts(target: str = "el9.x86_64", time: int = TIME) -> RepositoryFacts:
    return RepositoryFacts(name="pigsty", target=parse_target(target), time=time)


def described(paths: Sequence[Path]) -> tuple[list[Package], Mapping[str, Path]]:
    """Return the packages in files, and where their bytes are by digest."""
    packages = [from_file(path, upstream="test", url_path=path.name) for path in paths]
    return packages, {package.sha256: path for package, path in zip(packages, paths, strict=True)}


def publish(
    folder: Path,
    paths: Sequence[Path],
    *,
    target: str = "el9.x86_64",
    key: SigningKey | None = None,
    extras: Mapping[str, bytes] | None = None,
) -> tuple[TreeFile, ...]:
    """Make the repository in `folder`, and our public key in it when it is signed."""
    packages, places = described(paths)
    files = metadata(packages, facts(target), FreshSigner(key) if key is not None else None, places.__getitem__, extras)
    folder.mkdir(parents=True)
    for path in paths:
        os.link(path, folder / path.name)
    for file in files:
        place = folder / file.path
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(file.content or b"")
    if key is not None:
        (folder / "pigsty.asc").write_bytes(key.public_armored())
    return files
