"""What wants cost, counted on the graph of needs."""

import random
import time

import pytest
from locks import graph_of, lock_of, package

from repobuild import costs
from repobuild.bases import BasePin
from repobuild.costs import Amount, Costs
from repobuild.formats import FORMATS
from repobuild.graph import Graph, Need, base_of, wants_of
from repobuild.model import Lock


def count(lock: Lock) -> Costs:
    sizes, graph = [choice.package.size for choice in lock.choices], graph_of(lock)
    return costs.count(graph, sizes, base_of(lock, graph), wants_of(lock, FORMATS["deb"].want_for))


LOCK = lock_of(
    [
        package("libc", size=1000),
        package("app", depends="libc, shared, own", size=1),
        package("own", size=20),
        package("shared", depends="libc", size=300),
        package("tool", depends="shared | other", size=4),
        package("other", size=5000),
    ],
    {"app": ["app"], "tool": ["tool"], "other": ["other"]},
    base=["libc"],
)


def test_alone_is_what_a_want_needs_beyond_the_base() -> None:
    found = {each.want: each.alone for each in count(LOCK).wants}

    assert found == {"app": Amount(3, 321), "tool": Amount(2, 304), "other": Amount(1, 5000)}
    assert count(LOCK).base == Amount(1, 1000)


def test_in_addition_is_what_no_want_before_needs() -> None:
    found = {each.want: each.added for each in count(LOCK).wants}

    assert found == {"app": Amount(3, 321), "tool": Amount(1, 4), "other": Amount(1, 5000)}


def test_dropping_a_want_frees_what_nobody_else_needs() -> None:
    found = {each.want: each.freed for each in count(LOCK).wants}

    assert found["app"] == Amount(3, 321), "tool is content with other then"
    assert found["tool"] == Amount(1, 4)
    assert found["other"] == Amount(1, 5000)


def test_a_want_that_another_needs_costs_nothing_in_addition_and_frees_nothing() -> None:
    lock = lock_of([package("a", depends="b"), package("b")], {"a": ["a"], "b": ["b"]})

    _, second = count(lock).wants

    assert (second.alone, second.added, second.freed) == (Amount(1, 10), Amount(0, 0), Amount(0, 0))


ESSENTIAL = [
    package("apt", depends="libc"),
    package("bash", depends="libc", essential="yes", size=500),
    package("bash", "2.0", depends="libc, new", essential="yes", size=600),
    package("libc", size=1000),
    package("new", size=7),
    package("app", depends="bash", size=1),
]


@pytest.mark.parametrize(
    ("wanted", "names", "base", "freed"),
    [
        ("bash", ["apt", "bash", "libc"], Amount(3, 1510), Amount(0, 0)),
        ("apt", ["apt", "bash", "libc"], Amount(3, 1510), Amount(0, 0)),
        ("libc", ["apt", "bash", "libc"], Amount(3, 1510), Amount(0, 0)),
        ("app", ["apt", "bash", "libc", "app"], Amount(3, 1510), Amount(1, 1)),
    ],
)
def test_a_want_that_every_base_has_costs_nothing_whoever_wants_it(
    wanted: str, names: list[str], base: Amount, freed: Amount
) -> None:
    packages = [each for each in ESSENTIAL if each.name in names and each.version == "1.0"]
    found = count(lock_of(packages, {wanted: [wanted]}, base=[each for each in ("apt", "bash") if each != wanted]))

    assert (found.base, found.wants[0].alone, found.wants[0].added, found.wants[0].freed) == (base, freed, freed, freed)


def test_of_several_versions_of_what_the_base_has_the_older_ones_are_the_wants() -> None:
    lock = lock_of(ESSENTIAL[:-1], {"bash=1.0": ["bash"]}, base=["apt"], taken=(("bash=1.0", "bash_1.0_all.deb"),))

    assert count(lock).wants[0].freed == Amount(1, 500)


@pytest.mark.parametrize(("is_resolved", "size"), [(False, 500), (True, 0)])
def test_on_a_machine_that_has_packages_what_every_system_has_is_a_want_like_others(
    is_resolved: bool, size: int
) -> None:
    pins = (BasePin("node", "a" * 64, is_resolved=True), BasePin("empty", "", is_resolved))
    lock = lock_of([ESSENTIAL[1]], {"bash": ["bash"]}, bases=pins)

    assert count(lock).wants[0].freed.size == size


def test_each_package_is_borne_by_the_first_want_that_needs_it() -> None:
    names = [choice.package.name for choice in LOCK.choices]

    assert dict(zip(names, count(LOCK).bearers, strict=True)) == {
        "app": "app", "libc": "", "other": "other", "own": "app", "shared": "app", "tool": "tool",
    }  # fmt: skip


def test_amounts_in_addition_sum_up_to_the_whole() -> None:
    found = count(LOCK)

    assert sum(each.added.size for each in found.wants) + found.base.size == sum(c.package.size for c in LOCK.choices)


def test_needs_that_go_in_circles_come_to_an_end() -> None:
    lock = lock_of([package("a", depends="b"), package("b", depends="a")], {"a": ["a"]})

    assert count(lock).wants[0].alone == Amount(2, 20)


def test_wants_of_a_lock_that_does_not_say_what_was_taken_are_matched_by_name() -> None:
    packages = [package("app"), package("lib-a"), package("lib-b"), package("server")]
    lock = lock_of(packages, {"lib-*": ["lib-a", "lib-b"], "app": ["app"], "mail": ["server"]}, taken=())

    found = wants_of(lock, FORMATS["deb"].want_for)

    assert found == {"lib-*": (1, 2), "app": (0,), "server": (3,)}


def test_120_wants_of_800_packages_are_counted_within_a_second() -> None:
    chance = random.Random(1)
    needs = [
        Need(package=number, verb="needs", text="x", met_by=tuple(chance.sample(range(number), min(number, size))))
        for number in range(1, 800)
        for size in (1, 1, 1, 2, 3)
    ]
    wants = {f"w{number}": [chance.randrange(800)] for number in range(120)}
    begun = time.process_time()

    found = costs.count(Graph(800, needs), [1] * 800, [0], wants)

    assert time.process_time() - begun < 1
    assert len(found.wants) == 120
