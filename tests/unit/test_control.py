"""Stanzas and relations of control data, friendly and not."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repobuild.errors import HostileInputError
from repobuild.formats.deb.control import NAME, Relation, fields, relations


def texts(field: str) -> list[list[str]]:
    return [[str(each) for each in group] for group in relations(field)]


def test_fields_are_known_by_lower_case_name_and_keep_their_continuation_lines() -> None:
    found = fields("Package: a\nDESCRIPTION:  one\n two\n .\n\tthree")

    assert found == {"package": "a", "description": "one\n two\n .\n\tthree"}


def test_a_value_may_hold_colons_and_be_empty() -> None:
    assert fields("Homepage: https://x.test/\nProvides:") == {"homepage": "https://x.test/", "provides": ""}


@pytest.mark.parametrize(
    "stanza",
    [
        "",
        " leading: blank",
        "Package: a\nPackage: b",
        "Package: a\npackage: b",
        "Package: a\nno colon",
        "Package: a\n: no name",
        "Package: a\n\nPackage: b",
        "Package: a\n\nEssential: yes",
        "Package: a\nFilename : evil",
        "Package: a\nFilename\t: evil",
        "Package: a\nFile name: evil",
        "Package: a\n#comment: x",
        "Package: a\n-dash: x",
        "Package: a\n\rFilename: evil",
        "Package: a\n\r\nFilename: evil",
        "Package: a\u0085\nX\u2028: y",
        "Package: a\nX: a\0b",
        "Package: a\nÉ: x",
        "X: " + "a" * (1 << 20),
    ],
)
def test_a_stanza_that_two_readers_could_read_differently_is_refused(stanza: str) -> None:
    with pytest.raises(HostileInputError):
        fields(stanza)


def test_line_ends_of_other_worlds_end_no_line() -> None:
    assert fields("X: a\u0085SHA256: b\x0bSize: 1") == {"x": "a\u0085SHA256: b\x0bSize: 1"}


def test_a_megabyte_of_continuation_lines_takes_no_time() -> None:
    stanza = "Package: a\nDescription: x" + "\n y" * 340_000
    begun = time.process_time()

    assert len(fields(stanza)["description"]) > 1_000_000
    assert time.process_time() - begun < 2


def test_alternatives_keep_their_order() -> None:
    assert texts("c, a | b (>= 1) | d") == [["c"], ["a", "b (>= 1)", "d"]]


def test_a_relation_has_all_its_parts() -> None:
    assert relations("libc6:any(>=2.36) [amd64 !i386] <!nocheck> <x>") == ((Relation("libc6", ">=", "2.36", "any"),),)


@pytest.mark.parametrize(("old", "new"), [("<", "<="), (">", ">="), ("<<", "<<"), ("=", "="), (">>", ">>")])
def test_the_old_operators_mean_or_equal(old: str, new: str) -> None:
    assert relations(f"a ({old} 1)")[0][0].operator == new


def test_folded_fields_and_stray_commas_are_read() -> None:
    assert texts("a,\n b (>=\t1),\n\n c,, ") == [["a"], ["b (>= 1)"], ["c"]]


@pytest.mark.parametrize(
    "text",
    ["a b", "a |", "| a", "a (1)", "a (>= )", "a (>= 1", "a >= 1", "../a", "a (>= 1) x", "é", "a (>= " + "1" * 513 + ")",
     "a" * 300, "a (== 1)", "a (>= 1) (<< 2)", "a:", ",".join("a" * 20_000)],
)  # fmt: skip
def test_what_is_no_relation_is_refused(text: str) -> None:
    with pytest.raises(HostileInputError):
        relations(text)


def test_alternatives_are_bounded_for_the_solver_follows_them_on_its_stack() -> None:
    assert len(relations(" | ".join(["q"] * 1000))[0]) == 1000

    with pytest.raises(HostileInputError, match="more than 1024 alternatives"):
        relations("a, " + " | ".join(["q"] * 2000))


@pytest.mark.parametrize(
    "text",
    ["a" + " " * 500_000 + "!", "a (" + " " * 500_000, "a" + " <x>" * 100_000 + "!", "a" + " [" * 300_000,
     "a (>= 1" + " )" * 300_000, "a" + "<x>" * 200_000 + "<", ("a" * 200 + "-") * 5_000, " \n" * 300_000 + "a !"],
    ids=range(8),
)  # fmt: skip
def test_hostile_relations_are_refused_in_linear_time(text: str) -> None:
    begun = time.process_time()

    with pytest.raises(HostileInputError):
        relations(text)

    assert time.process_time() - begun < 1


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.text(max_size=200))
def test_any_text_is_a_stanza_or_refused(text: str) -> None:
    try:
        found = fields(text)
    except HostileInputError:
        return
    assert all(name == name.lower() and name for name in found)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.text("ab1 ,|()<>=:[]!~\n\t.+-", max_size=60))
def test_any_text_is_relations_or_refused(text: str) -> None:
    try:
        found = relations(text)
    except HostileInputError:
        return
    assert all(NAME.match(relation.name) for group in found for relation in group)
    assert relations(", ".join(" | ".join(map(str, group)) for group in found)) is not None
