"""Debian's order of versions, and that RPM's comparison of our encoding is the same."""

import random
import re
import subprocess
from collections.abc import Callable
from itertools import combinations, pairwise

import pytest
import solv
from hypothesis import given, settings
from hypothesis import strategies as st

from repobuild.errors import HostileInputError
from repobuild.formats.deb import version

ALPHABET = "0129aAzZ.+~-"
UPSTREAM = st.text("0123456789abzAZ.+~", min_size=1, max_size=12).map(lambda text: "0" + text)
VERSIONS = st.builds(
    lambda epoch, upstream, revision: epoch + upstream + revision,
    st.sampled_from(["", "0:", "1:", "10:"]),
    UPSTREAM,
    st.one_of(st.just(""), UPSTREAM.map(lambda text: f"-{text}")),
)
POOL = solv.Pool()  # has to outlive what it holds
REPO = POOL.add_repo("versions")
LADDER = [
    "0~~",
    "0~~a",
    "0~",
    "0",
    "0+b1",
    "0.0",
    "1.0~rc1-1",
    "1.0-0.1",
    "1.0-1~bpo12+1",
    "1.0-1",
    "1.0-1+b1",
    "1.0-1+deb12u2",
    "1.0-1+deb12u10",
    "1.0-1.1",
    "1.0a-1",
    "1.0+dfsg-1",
    "1.0.1-1",
    "1.2",
    "1.10",
    "1:0",
    "1:0.1~",
    "1:0.1",
    "2:0",
    "10:0",
]


def sign(one: object, other: object) -> int:
    return (one > other) - (one < other)  # type: ignore[operator]


def rpm_order(one: str, other: str) -> int:
    left, right = REPO.add_solvable(), REPO.add_solvable()
    left.evr, right.evr = version.encode(one), version.encode(other)
    return int(left.evrcmp(right))


def rpmvercmp(one: str, other: str) -> int:
    """Compare two strings of letters and digits as rpm does, written from its description."""
    left, right = (re.findall(r"[0-9]+|[a-zA-Z]+", text) for text in (one, other))
    for a, b in zip(left, right, strict=False):
        if a.isdigit() != b.isdigit():
            return 1 if a.isdigit() else -1
        order = sign(int(a), int(b)) if a.isdigit() else sign(a, b)
        if order:
            return order
    return sign(len(left), len(right))


@pytest.mark.parametrize(("lower", "higher"), list(pairwise(LADDER)))
def test_the_ladder_of_known_versions_rises(lower: str, higher: str) -> None:
    assert version.key(lower) < version.key(higher)
    assert rpm_order(lower, higher) < 0


@pytest.mark.parametrize(
    ("one", "other"), [("1.0", "1.00"), ("0:1", "1"), ("1-0", "1"), ("1.a", "1.a0"), ("1.", "1.0"), ("001", "1")]
)
def test_what_dpkg_calls_equal_is_equal(one: str, other: str) -> None:
    assert version.key(one) == version.key(other)
    assert rpm_order(one, other) == 0


def test_the_order_is_dpkgs(tool: Callable[[str], str]) -> None:
    chance = random.Random(20261123)
    made = ["".join(chance.choices(ALPHABET, k=chance.randint(1, 8))) for _ in range(40)]
    versions = [f"{chance.choice(['', '', '1:'])}{chance.randint(0, 2)}{text.strip('-')}" for text in made] + LADDER
    pairs = chance.sample(list(combinations(versions, 2)), 400)
    script = "\n".join(
        f'dpkg --compare-versions "{a}" lt "{b}" && echo -1 || {{ dpkg --compare-versions "{a}" eq "{b}" && echo 0'
        " || echo 1; }"
        for a, b in pairs
    )
    tool("dpkg")

    judged = subprocess.run(["sh"], input=script, capture_output=True, text=True, check=True).stdout.split()

    assert [int(word) for word in judged] == [sign(version.key(a), version.key(b)) for a, b in pairs]


@settings(max_examples=400, deadline=None, derandomize=True)
@given(VERSIONS, VERSIONS)
def test_rpm_orders_the_encodings_as_debian_orders_the_versions(one: str, other: str) -> None:
    expected = sign(version.key(one), version.key(other))

    assert expected == rpm_order(one, other)
    assert expected == rpmvercmp(version.encode(one), version.encode(other))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(VERSIONS, min_size=3, max_size=3))
def test_the_order_is_total(three: list[str]) -> None:
    a, b, c = (version.key(each) for each in three)

    assert (a < b) + (a == b) + (a > b) == 1
    assert not (a <= b <= c) or a <= c


@settings(max_examples=200, deadline=None, derandomize=True)
@given(VERSIONS)
def test_a_tilde_sorts_before_the_end_and_a_suffix_after(one: str) -> None:
    assert version.key(f"{one}~") < version.key(one) < version.key(f"{one}+b1")


@settings(max_examples=100, deadline=None, derandomize=True)
@given(VERSIONS)
def test_an_encoding_holds_only_lower_case_letters_and_digits(one: str) -> None:
    assert set(version.encode(one)) <= set("abcdefghijklmnopqrstuvwxyz0123456789")


@pytest.mark.parametrize("operator", ["<<", "<=", "=", ">=", ">>", ""])
def test_a_relation_holds_as_its_operator_says(operator: str) -> None:
    wanted = {"<<": [1, 0, 0], "<=": [1, 1, 0], "=": [0, 1, 0], ">=": [0, 1, 1], ">>": [0, 0, 1], "": [1, 1, 1]}

    assert [bool(each) for each in wanted[operator]] == [
        version.satisfies(each, operator, "1.0-1") for each in ("1.0-1~", "1.0-1", "1.0-1+b1")
    ]


@pytest.mark.parametrize("text", ["1.0", "1:2:3-4", "0", "2024.05.06~git-1+deb12u1", "1:0-1", "9" * 512])
def test_versions_are_taken_as_they_are(text: str) -> None:
    assert text == version.check(text)


@pytest.mark.parametrize(
    "text",
    ["", "1/2", "../1", "1 2", "1\n", "1_2", "a:1", "٣:1", "1:", ":1", "1\0", "9" * 513, f"{'9' * 11}:1", "1é", "1%2f"],
)
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(HostileInputError):
        version.check(text)


@pytest.mark.parametrize("text", ["9" * 5000 + ":1", "x:1", "²:1", "٣:1", ":", "-", "é", "1:2:3", "$" * 512])
def test_a_relation_may_say_anything_and_still_has_an_order(text: str) -> None:
    assert version.key(text[:512]) == version.key(text[:512])
    assert isinstance(version.satisfies("1.0", ">=", text[:512]), bool)
    assert rpm_order(text[:512], text[:512]) == 0
