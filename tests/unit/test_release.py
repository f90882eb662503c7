"""Release files: what an upstream's may say, and what ours says."""

import hashlib
import time
from contextlib import suppress
from dataclasses import replace
from email.utils import formatdate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repobuild.errors import HostileInputError, RefusedError, VerificationError
from repobuild.formats.deb import release
from repobuild.formats.protocol import RepositoryFacts
from repobuild.model import Mirror, Upstream
from repobuild.targets import parse_target

TARGET = parse_target("d12.x86_64")
DIGEST = "0123456789abcdef" * 4
INDEX = "main/binary-amd64/Packages"
PLAIN = f"""Origin: Debian
Suite: stable
Codename: bookworm
Date: Sat, 21 Nov 2026 08:00:00 UTC
Valid-Until: Sat, 28 Nov 2026 08:00:00 UTC
Acquire-By-Hash: yes
Architectures: all amd64 arm64
SHA256:
 {DIGEST} 1000 {INDEX}
 {DIGEST[::-1]} 100 {INDEX}.gz
 {DIGEST[::-1]} 90 {INDEX}.xz
"""


def upstream(suite: str = "bookworm", *components: str) -> Upstream:
    return Upstream(
        name="base",
        module="node",
        mirrors=(Mirror("http://a.test"),),
        suite=suite,
        components=components or (() if suite.endswith("/") else ("main",)),
    )


def read(text: str | bytes = PLAIN, of: Upstream | None = None):
    data = text.encode() if isinstance(text, str) else text
    return release.read(data, of or upstream(), TARGET)


def test_a_release_says_who_it_is_and_what_it_has() -> None:
    root = read()

    assert (root.origin, root.suite, root.aliases, root.pin) == (
        "Debian", "bookworm", ("bookworm", "stable", "base"), 500
    )  # fmt: skip
    assert (root.date, root.valid_until) == (1795248000, 1795248000 + 7 * 86_400)
    assert [(each.size, each.sha256) for each in root.indexes] == [(1000, DIGEST)]


def test_variants_come_best_first_and_by_hash_before_their_plain_name() -> None:
    folder = "dists/bookworm/main/binary-amd64"

    assert [(each.path, each.compression, each.size) for each in read().indexes[0].variants] == [
        (f"{folder}/by-hash/SHA256/{DIGEST[::-1]}", "xz", 90),
        (f"{folder}/Packages.xz", "xz", 90),
        (f"{folder}/by-hash/SHA256/{DIGEST[::-1]}", "gz", 100),
        (f"{folder}/Packages.gz", "gz", 100),
        (f"{folder}/by-hash/SHA256/{DIGEST}", "", 1000),
        (f"{folder}/Packages", "", 1000),
    ]


def test_without_by_hash_the_plain_names_are_all_there_is() -> None:
    variants = read(PLAIN.replace("By-Hash: yes", "By-Hash: no")).indexes[0].variants

    assert [each.path.rpartition("/")[2] for each in variants] == ["Packages.xz", "Packages.gz", "Packages"]


def test_packages_for_all_architectures_may_have_an_index_of_their_own() -> None:
    line = f" {DIGEST} 7 main/binary-all/Packages\n"

    assert [each.size for each in read(PLAIN + line).indexes] == [1000, 7]
    unsupported = PLAIN.replace("SHA256:", "No-Support-for-Architecture-all: Packages\nSHA256:") + line
    assert [each.size for each in read(unsupported).indexes] == [1000]


@pytest.mark.parametrize(
    ("suite", "folder"), [("./", ""), ("/", ""), ("stable/", "stable/"), ("a b/", "a%20b/"), ("bookworm", "dists/bookworm/")]
)  # fmt: skip
def test_a_suite_has_its_folder(suite: str, folder: str) -> None:
    assert folder == release.folder(upstream(suite))


def test_a_flat_repository_needs_no_suite_and_no_component() -> None:
    text = f"Date: Sat, 21 Nov 2026 08:00:00 UTC\nSHA256:\n {DIGEST} 5 Packages\n"

    assert [each.path for each in read(text, upstream("./")).indexes[0].variants] == ["Packages"]


@pytest.mark.parametrize(
    ("fields", "pin"),
    [
        ("", 500),
        ("NotAutomatic: yes\n", 1),
        ("NotAutomatic: yes\nButAutomaticUpgrades: yes\n", 100),
        ("ButAutomaticUpgrades: yes\n", 500),
        ("NotAutomatic: no\n", 500),
        ("notautomatic: Yes\n", 1),
    ],
)
def test_pins_are_apts(fields: str, pin: int) -> None:
    assert pin == read(fields + PLAIN).pin


@pytest.mark.parametrize(
    "date", ["Sat, 21 Nov 2026 08:00:00 UTC", "Sat, 21 Nov 2026 08:00:00 GMT", "Sat, 21 Nov 2026 08:00:00 +0000",
             "Sat, 21 Nov 2026 08:00:00 -0000", "Sat, 21 Nov 2026 08:00:00", "Sat, 21 Nov 2026 10:00:00 +0200"]
)  # fmt: skip
def test_a_date_is_the_same_in_every_zone_of_the_reader(date: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    time.tzset()
    try:
        assert read(PLAIN.replace("Sat, 21 Nov 2026 08:00:00 UTC", date)).date == 1795248000
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_release_without_dates_has_none() -> None:
    lines = [line for line in PLAIN.splitlines(keepends=True) if not line.startswith(("Date", "Valid"))]

    assert (read("".join(lines)).date, read("".join(lines)).valid_until) == (0, None)


@pytest.mark.parametrize(
    "date", ["", " ", "yesterday", "2026-11-21", "Sat, 21 Nov 99999999999 08:00:00 UTC", "Sat, 99 Nov 2026 08:00:00 UTC",
             "Thu, 01 Jan 1901 00:00:00 UTC", "9" * 5000, "Sat, 21 Nov 2026 08:00:00 +99999999999999", "\x00", ",", "1 2 3 4 5"]
)  # fmt: skip
@pytest.mark.parametrize("field", ["Date", "Valid-Until"])
def test_a_date_that_is_none_is_refused(field: str, date: str) -> None:
    lines = [f"{field}: {date}" if line.startswith(f"{field}:") else line for line in PLAIN.splitlines()]
    with pytest.raises(HostileInputError, match="date"):
        read("\n".join(lines))


@pytest.mark.parametrize("suite", ["bullseye", "oldstable", "bookworm-updates", "Bookworm", "book"])
def test_the_release_of_another_suite_is_refused(suite: str) -> None:
    with pytest.raises(VerificationError, match="for another suite: bookworm stable"):
        read(of=upstream(suite))


@pytest.mark.parametrize("component", ["contrib", "main/x", "non-free-firmware"])
def test_a_component_that_is_not_there_is_refused(component: str) -> None:
    with pytest.raises(VerificationError, match=f"no index '{component}/binary-amd64/Packages'"):
        read(of=upstream("bookworm", "main", component))


@pytest.mark.parametrize("component", ["contrib", "main/x", "non-free-firmware"])
def test_a_component_that_may_be_lacking_is_said(component: str) -> None:
    root = read(of=replace(upstream("bookworm", "main", component), may_lack=True))

    assert (component,) == root.lacks
    assert read().indexes == root.indexes


@pytest.mark.parametrize("component", ["contrib", "main/x", "non-free-firmware"])
def test_a_suite_without_any_of_the_components_is_refused(component: str) -> None:
    with pytest.raises(VerificationError, match=f"no index '{component}/binary-amd64/Packages'"):
        read(of=replace(upstream("bookworm", component), may_lack=True))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "garbage",
        "<html>",
        PLAIN.partition("SHA256:")[0],
        PLAIN.replace("SHA256:", "SHA1:"),
        PLAIN.replace("SHA256:", "MD5Sum:"),
        PLAIN + " short\n",
        PLAIN + " a b\n",
        PLAIN + f" {DIGEST} -1 x\n",
        PLAIN + f" {DIGEST} ² x\n",
        PLAIN + f" {DIGEST} {'9' * 5000} x\n",
        PLAIN + f" {DIGEST.upper()} 1 x\n",
        PLAIN + f" {DIGEST[1:]} 1 x\n",
        PLAIN + f" {DIGEST} 1\n",
        PLAIN + f" {DIGEST} 1001 {INDEX}\n",
        PLAIN.replace(f"{DIGEST} 1000", f"{DIGEST} {1 << 31}"),
        PLAIN.replace(f"{DIGEST[::-1]} 90", f"{DIGEST[::-1]} {1 << 39}"),
        PLAIN.encode().replace(b"Debian", b"\xff"),
    ],
    ids=range(19),
)
def test_a_malformed_release_is_refused(text: str | bytes) -> None:
    with pytest.raises(RefusedError):
        read(text)


def test_only_line_ends_that_apt_knows_end_a_line() -> None:
    text = PLAIN.replace("Origin: Debian", "Origin: Other\u2028Origin: Debian\x0bSuite: x")

    assert read(text).origin == "Other\u2028Origin: Debian\x0bSuite: x"


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.binary(max_size=300), st.integers(0, len(PLAIN)))
def test_any_bytes_are_a_release_or_refused(noise: bytes, place: int) -> None:
    with suppress(RefusedError):
        read(PLAIN.encode()[:place] + noise + PLAIN.encode()[place:])


# ours


def test_our_release_reads_as_it_has_to() -> None:
    facts = RepositoryFacts(name="pigsty", target=TARGET, time=1795248000)

    text = release.write(facts, {"Packages": b"x", "Packages.gz": b"yy"}).decode()

    assert text.splitlines() == [
        "Origin: pigsty",
        "Label: pigsty",
        "Suite: bookworm",
        "Codename: bookworm",
        "Date: Sat, 21 Nov 2026 08:00:00 UTC",
        "Architectures: amd64",
        "Acquire-By-Hash: yes",
        "Description: pigsty repository for d12.x86_64, built by repobuild",
        "SHA256:",
        f" {hashlib.sha256(b'x').hexdigest()}                1 Packages",
        f" {hashlib.sha256(b'yy').hexdigest()}                2 Packages.gz",
    ]


def test_our_own_release_is_one_we_read() -> None:
    facts = RepositoryFacts(name="pigsty", target=TARGET, time=1795248000)
    root = read(release.write(facts, {"Packages": b"x"}), upstream("./"))

    assert (root.date, root.origin, root.indexes[0].size) == (1795248000, "pigsty", 1)
    assert formatdate(root.date, usegmt=True).endswith("GMT")
