"""The indexes of our own repository, as bytes."""

import gzip
import hashlib
import lzma
import random
from dataclasses import replace

import pytest
from signers import PretendingSigner
from simulator import packages_text, stanzas

from repobuild.errors import HostileInputError
from repobuild.formats import FORMATS
from repobuild.formats.deb.repository import metadata
from repobuild.formats.deb.repository import packages_text as our_text
from repobuild.formats.protocol import RepositoryFacts
from repobuild.model import Kind, Package, TreeFile
from repobuild.targets import parse_target

FACTS = RepositoryFacts(name="pigsty", target=parse_target("d12.x86_64"), time=1_795_248_000)
GOLDEN = """\
Package: a
Version: 1.9
Architecture: amd64
Depends: b
Filename: a_1.9_amd64.deb
Size: 5
SHA256: 1111111111111111111111111111111111111111111111111111111111111111

Package: a
Version: 1.10
Architecture: amd64
Filename: a_1.10_amd64.deb
Size: 5
SHA256: 2222222222222222222222222222222222222222222222222222222222222222

Package: b
Version: 1:0~1
Architecture: all
Filename: b_0~1_all.deb
Size: 5
SHA256: 3333333333333333333333333333333333333333333333333333333333333333

"""
RELEASE = """\
Origin: pigsty
Label: pigsty
Suite: bookworm
Codename: bookworm
Date: Sat, 21 Nov 2026 08:00:00 UTC
Architectures: amd64
Acquire-By-Hash: yes
Description: pigsty repository for d12.x86_64, built by repobuild
SHA256:
 {} {:16d} Packages
 {} {:16d} Packages.gz
 {} {:16d} Packages.xz
"""


def package(name: str, version: str, arch: str, digit: str, extra: str = "") -> Package:
    return Package(
        name=name,
        version=version,
        arch=arch,
        size=5,
        sha256=digit * 64,
        path=f"pool/{name}.deb",
        upstream="base",
        filename=f"{name}_{version.partition(':')[2] or version}_{arch}.deb",
        metadata=f"Package: {name}\nVersion: {version}\nArchitecture: {arch}{extra}",
    )


PACKAGES = [
    package("b", "1:0~1", "all", "3"),
    package("a", "1.10", "amd64", "2"),
    package("a", "1.9", "amd64", "1", "\nDepends: b"),
]


def by_path(files: tuple[TreeFile, ...]) -> dict[str, bytes]:
    return {file.path: file.content or b"" for file in files}


def test_packages_are_these_bytes_sorted_by_name_and_version() -> None:
    assert our_text(PACKAGES).decode() == GOLDEN


def test_the_order_they_come_in_does_not_matter() -> None:
    for seed in range(5):
        assert our_text(random.Random(seed).sample(PACKAGES, len(PACKAGES))).decode() == GOLDEN


def test_the_root_is_these_bytes_and_names_all_forms() -> None:
    files = by_path(metadata(PACKAGES, FACTS, None))

    figures = [
        figure
        for name in ("Packages", "Packages.gz", "Packages.xz")
        for figure in (hashlib.sha256(files[name]).hexdigest(), len(files[name]))
    ]
    assert files["Release"].decode() == RELEASE.format(*figures)


def test_every_form_opens_to_the_same_text() -> None:
    files = by_path(metadata(PACKAGES, FACTS, None))

    assert files["Packages"].decode() == GOLDEN
    assert gzip.decompress(files["Packages.gz"]) == files["Packages"]
    assert lzma.decompress(files["Packages.xz"]) == files["Packages"]


def test_copies_by_hash_come_before_the_pointers_that_lead_to_them() -> None:
    files = metadata(PACKAGES, FACTS, PretendingSigner())

    assert [file.kind for file in files] == [Kind.INDEX] * 3 + [Kind.POINTER] * 6
    assert [file.path for file in files[3:]] == [
        "Packages", "Packages.gz", "Packages.xz", "Release", "Release.gpg", "InRelease",
    ]  # fmt: skip
    for file in files[:3]:
        assert file.path == f"by-hash/SHA256/{hashlib.sha256(file.content or b'').hexdigest()}"
    assert all(file.sha256 == hashlib.sha256(file.content or b"").hexdigest() for file in files)
    assert all(file.size == len(file.content or b"") for file in files)
    assert {file.path for file in files[3:]} == FORMATS["deb"].pointers


def test_what_is_signed_is_the_root() -> None:
    signer = PretendingSigner()

    files = by_path(metadata(PACKAGES, FACTS, signer))

    assert sorted(signer.asked) == [("detached", files["Release"]), ("inline", files["Release"])]
    assert (files["InRelease"], files["Release.gpg"]) == (b"inline", b"detached")


def test_an_empty_repository_has_an_index() -> None:
    files = by_path(metadata([], FACTS, None))

    assert files["Packages"] == b""
    assert gzip.decompress(files["Packages.gz"]) == lzma.decompress(files["Packages.xz"]) == b""


def test_a_description_from_a_forged_lock_is_refused() -> None:
    forged = replace(PACKAGES[0], metadata=PACKAGES[0].metadata + "\nFilename: ../../evil")

    with pytest.raises(HostileInputError):
        metadata([forged], FACTS, None)


def test_the_simulator_and_we_agree_on_what_an_index_is() -> None:
    assert packages_text(stanzas("a 1   Depends: b")).startswith("Package: a\nVersion: 1\nArchitecture: amd64\n")
