"""Packages indexes: what is found in them, and what `dump` keeps of that."""

import random
import resource
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_resolve import loaded

from repobuild.errors import HostileInputError
from repobuild.formats.deb import index
from repobuild.formats.deb.resolver import DebUniverse
from repobuild.formats.deb.universe import Origin, Universe
from repobuild.model import Options
from repobuild.targets import parse_target

PLAIN = b"""Package: a
Version: 1
Architecture: amd64
Depends: c | d (>= 1), e
Provides: v, w (= 2)

Package: b
Version: 1
Architecture: amd64
Suggests: z
Pre-Depends: y
Provides: v
Description: words
 Package: not-me
 Provides: not-me-either

Package: a
Version: 2
Architecture: amd64
"""


def test_names_and_providers_are_found_where_they_are() -> None:
    found = index.scan(PLAIN)

    assert {name: len(places) for name, places in found.offsets.items()} == {"a": 2, "b": 1}
    assert [found.stanza(place).split(b"\n")[:2] for place in found.offsets["a"]] == [
        [b"Package: a", b"Version: 1"],
        [b"Package: a", b"Version: 2"],
    ]
    assert {name: len(places) for name, places in found.providers.items()} == {"v": 2, "w": 1}


def test_names_are_ranked_as_apt_meets_them() -> None:
    ranks = index.scan(PLAIN).ranks

    assert sorted(ranks, key=ranks.__getitem__) == ["a", "c", "d", "e", "v", "w", "b", "y", "z"]


@pytest.mark.parametrize("text", [b"", b"\n", b"\n\n\n\n", b" \n"])
def test_an_empty_index_has_nothing(text: bytes) -> None:
    found = index.scan(text) if text.strip() or not text.strip(b"\n") else None
    if found is None:
        assert index.scan(text).offsets == {}
        return

    assert (dict(found.offsets), dict(found.providers)) == ({}, {})
    assert index.load(text, found.dump()) == index.Index(text, {}, {}, b"")


@pytest.mark.parametrize("ending", [b"", b"\n", b"\n\n", b"\n\n\n\n"])
@pytest.mark.parametrize("beginning", [b"", b"\n", b"\n\n"])
def test_blank_lines_around_and_between_stanzas_do_not_matter(beginning: bytes, ending: bytes) -> None:
    text = beginning + b"Package: a\nVersion: 1\n\n\n\nPackage: b\nProvides: v" + ending

    found = index.scan(text)

    assert found.stanza(found.offsets["a"][0]) == b"Package: a\nVersion: 1"
    assert found.stanza(found.providers["v"][0]) == b"Package: b\nProvides: v"
    assert found.is_verbatim


def test_a_single_line_is_a_stanza() -> None:
    found = index.scan(b"Package: abc")

    assert list(found.offsets) == ["abc"]
    assert list(found.ranks) == ["abc"]


def test_a_stanza_whose_name_does_not_come_first_is_read_and_not_kept() -> None:
    text = b"Version: 1\nPackage: a\nArchitecture: amd64\nProvides: v\n\nPackage: b\nVersion: 2\n"

    found = index.scan(text)

    assert found.stanza(found.offsets["a"][0]) == b"Package: a\nVersion: 1\nArchitecture: amd64\nProvides: v"
    assert found.stanza(found.offsets["b"][0]) == b"Package: b\nVersion: 2"
    assert not found.is_verbatim
    assert found.mentions
    assert not found.has_news


def test_folded_fields_are_read_whole() -> None:
    found = index.scan(b"Package: a\nProvides: v,\n w (= 1),\n\tx\nDepends: q,\n r\n")

    assert list(found.providers) == ["v", "w", "x"]
    assert list(found.ranks) == ["a", "q", "r", "v", "w", "x"]


def test_a_name_provided_twice_by_a_stanza_counts_once() -> None:
    assert index.scan(b"Package: a\nProvides: v, v (= 1), v\n").providers == {"v": (0,)}


@pytest.mark.parametrize(
    "text",
    [
        b"Package: a\nPackage: b\n",
        b"Version: 1\n",
        b"Version: 1\nPackage: a\nPackage: b\n\nPackage: c\n",
        b"Package: a\r\nVersion: 1\r\n\r\nPackage: b\r\n",
        b"Package: a\nVersion: 1\n\nPackage: b\nPackage: c\n\nPackage: d\n",
        b"Version: 1\nPackage: a\n b\n",
        b"\xef\xbb\xbfPackage: a\n",
        b"<html>\n",
        b" Package: a\n",
        b"package: a\n",
    ],
)
def test_a_stanza_without_exactly_one_name_is_refused(text: bytes) -> None:
    with pytest.raises(HostileInputError):
        index.scan(text)


@pytest.mark.parametrize(
    "name", [b"../../etc/passwd", b"a/b", b"a b", b"", b"\xff", b"a\0b", b"-a", b"a" * 200, "é".encode()]
)
def test_a_stanza_whose_name_is_none_is_left_out(name: bytes) -> None:
    found = index.scan(b"Package: " + name + b"\nProvides: v\n\nPackage: good\n")

    assert list(found.offsets) == ["good"]


def test_more_stanzas_than_any_archive_has_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "_MAX_STANZAS", 3)
    assert index.scan(b"Package: a\n\n" * 3).offsets
    with pytest.raises(HostileInputError, match="more than 3 stanzas"):
        index.scan(b"Package: a\n\n" * 4)


def test_a_gap_of_a_million_lines_takes_no_time() -> None:
    begun = time.process_time()

    found = index.scan(b"Package: a\n" + b"\n" * 5_000_000 + b"Package: b\n")

    assert list(found.offsets) == ["a", "b"]
    assert time.process_time() - begun < 1


def test_a_field_of_a_million_lines_takes_little_memory_and_time() -> None:
    begun, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    found = index.scan(b"Package: a\nProvides: v" + b"\n ." * 3_000_000 + b"\n\nPackage: b\n")

    assert list(found.offsets) == ["a", "b"]
    assert time.process_time() - begun < 3
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


# dump and load


def test_what_was_dumped_is_loaded_as_it_was() -> None:
    found = index.scan(PLAIN)
    early = index.load(PLAIN, found.dump())
    assert found.ranks
    late = index.load(PLAIN, found.dump())

    assert early is not None
    assert late is not None
    assert (early.offsets, early.providers, early.essential) == (found.offsets, found.providers, found.essential)
    assert early.dumped_mentions == b""
    assert late.ranks == found.ranks
    assert (found.has_news, late.has_news) == (True, False)
    assert late.dump() == found.dump()


NAMES = st.from_regex(r"[a-z0-9][a-z0-9+.-]{0,8}", fullmatch=True)
STANZAS = st.lists(st.tuples(NAMES, st.lists(NAMES, max_size=4)), max_size=12)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(STANZAS, st.booleans())
def test_any_index_survives_dump_and_load(content: list[tuple[str, list[str]]], mentions: bool) -> None:
    text = "\n".join(f"Package: {name}\nProvides: {', '.join(given)}\n" for name, given in content).encode()
    found = index.scan(text)
    if mentions:
        assert isinstance(found.ranks, dict)

    again = index.load(text, found.dump())

    assert again is not None
    assert (again.offsets, again.providers, again.ranks) == (found.offsets, found.providers, found.ranks)
    assert sorted(found.offsets) == sorted({name for name, _ in content})


def test_damaged_dumps_are_none_or_an_index_and_never_break_down() -> None:
    found = index.scan(PLAIN)
    assert found.ranks
    good = found.dump()
    chance = random.Random(1)
    refused = 0
    for _ in range(500):
        place = chance.randrange(len(good))
        damaged = chance.choice(
            (
                good[:place],
                good[:place] + bytes([chance.randrange(256)]) + good[place + 1 :],
                good + good[place:],
                good[place:],
            )
        )
        refused += index.load(PLAIN, damaged) is None
    assert refused > 300


@pytest.mark.parametrize(
    "dumped", [b"", b"\0\0\0\0", b"deb-index-1\0\0\0\0", b"deb-index-2\0\0\0\0", b"deb-index-3\0\0\0\xff\0\0"]
)
def test_a_dump_of_another_kind_is_none(dumped: bytes) -> None:
    assert index.load(PLAIN, dumped) is None


@pytest.mark.parametrize(
    "numbers",
    [[], [0], [0, 0], [2**63, 0, 0], [0, 2**63, 0], [0, 1, 0, 2**63, 0], [0, 1, 1, 1, 0, 0], [0, 0, 0, 0]],
)
def test_numbers_that_do_not_fit_the_names_are_none(numbers: list[int]) -> None:
    head = [index.FORMAT.encode(), b"", b"", b"a", b""]

    def load(values: list[int]) -> index.Index | None:
        return index.load(PLAIN, b"\0".join([*head, b"".join(each.to_bytes(8, "little") for each in values)]))

    assert load([0, 0, 0]) is not None
    assert load(numbers) is None


# records


def universe(text: bytes, arch: str = "amd64") -> Universe:
    return Universe([Origin("base", ("suite",), index.scan(text))], arch)


def entry(name: str, version: str = "1", arch: str = "amd64", extra: str = "") -> bytes:
    return f"Package: {name}\nVersion: {version}\nArchitecture: {arch}\nSize: 1\nSHA256: {'0' * 64}\nFilename: {name}.deb\n{extra}\n".encode()


def test_two_stanzas_of_one_version_are_two_records_the_first_of_which_is_the_candidate() -> None:
    found = universe(entry("a", extra="Section: one\n") + entry("a", extra="Section: two\n"))

    assert [record.field["section"] for record in found.records("a")] == ["one", "two"]
    assert found.candidate("a") is found.records("a")[0]


@pytest.mark.parametrize("line", ["Essential: yes", "Essential:yes", "Essential:  yes "])
@pytest.mark.parametrize("after", ["\nSection: x\n", "\n", ""])
def test_essential_is_seen_wherever_it_stands(line: str, after: str) -> None:
    text = entry("core").rstrip(b"\n") + f"\n{line}{after}".encode()

    assert universe(entry("a") + text).essential == ("core",)
    assert universe(text + b"\n\n" + entry("a")).essential == ("core",)


def test_essential_in_a_description_or_another_architecture_is_not() -> None:
    text = entry("a", extra="Description: x\n Essential: yes\n") + entry("b", arch="arm64", extra="Essential: yes\n")

    assert universe(text).essential == ()


@pytest.mark.parametrize(
    "stanza",
    [b"Package: a\nArchitecture: arm64\n\xff\n", b"Package: a\nArchitecture: arm64\nbroken\n", b"Package: a\n",
     b"Package: a\nArchitecture: arm64\nPackage-X: 1\nArchitecture: amd64\n"],
)  # fmt: skip
def test_what_is_wrong_with_another_architecture_does_not_matter(stanza: bytes) -> None:
    assert universe(stanza + b"\n" + entry("b")).records("a") == ()


def test_a_stanza_that_is_no_utf8_is_refused_when_it_is_asked_for() -> None:
    found = universe(entry("a") + entry("b", extra="Maintainer: \udcff\n".encode("utf-8", "surrogateescape").decode("latin-1")).replace(b"\xc3\xbf", b"\xff"))  # fmt: skip

    assert found.candidate("a")
    with pytest.raises(HostileInputError, match="not UTF-8"):
        found.records("b")


def test_a_name_in_several_origins_ranks_where_it_is_met_first() -> None:
    one, two = (index.scan(text) for text in (entry("a") + entry("b"), entry("b") + entry("c")))
    found = Universe([Origin("one", (), one), Origin("two", (), two)], "amd64")

    assert [found.rank(name) for name in "abc"] == [0, 1, 3]


def test_a_file_is_mapped_and_an_empty_one_is_empty(tmp_path: Path) -> None:
    full, empty = tmp_path / "full", tmp_path / "empty"
    full.write_bytes(PLAIN)
    empty.write_bytes(b"")

    assert index.scan(index.open_text(full)).offsets == index.scan(PLAIN).offsets
    assert index.scan(index.open_text(empty)).offsets == {}


class Kept(dict[str, bytes]):
    """A cache that lasts."""

    def derived(self, key: str) -> bytes | None:
        return self.get(key)

    def put_derived(self, key: str, data: bytes) -> None:
        self[key] = data


@pytest.mark.parametrize("head", ["", "Priority: optional\n"])
def test_a_run_with_a_cache_finds_what_the_run_before_found(head: str, tmp_path: Path) -> None:
    cache = Kept()
    text = head + entry("a", extra="Provides: v\n").decode() + entry("b").decode()
    sources = [loaded(tmp_path, "late", text)]
    found = []
    for _ in range(3):
        universe = DebUniverse(sources, parse_target("d12.x86_64"), cache, Options(weak_dependencies=False))
        found.append([str(record) for want in ("a", "b", "v") for record in universe.find(want).candidates])
        assert universe.solve(universe.find("v").candidates).choices

    assert found == [["a 1", "b 1", "a 1"]] * 3
    assert bool(cache) == (not head)
