"""Why a package is in a lock, and why it is not."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import rpm_universes
from locks import graph_of, lock_of, package
from rpm_universes import Case, FolderCache, Repo
from simulator import packages_text, stanzas

from repobuild import why
from repobuild.formats import FORMATS
from repobuild.formats.protocol import IndexFile, Loaded, Root, Variant
from repobuild.formats.values import Sighting
from repobuild.graph import base_of, wants_of
from repobuild.model import Lock, Missing, Options, RootPin, Upstream, Verify
from repobuild.targets import parse_target

WANT_FOR, IS_NAMED = FORMATS["deb"].want_for, FORMATS["deb"].is_named
LOCK = lock_of(
    [
        package("libc"),
        package("app", depends="lib (>= 1)"),
        package("lib", depends="deep"),
        package("deep", depends="libc"),
        package("tool", depends="deep | nothing"),
        package("alone"),
    ],
    {"app-*": ["app"], "tool": ["tool"]},
    base=["libc"],
)


def chains(lock: Lock, name: str) -> list[list[str]]:
    (number,) = why.named(lock, name, IS_NAMED)
    graph = graph_of(lock)
    origins = why.Origins(wants_of(lock, WANT_FOR), base_of(lock, graph))
    found = why.chains(lock, graph, origins, number)
    return [[each.want or "base", each.start.name, *(link.answer.name for link in each.links)] for each in found]


def test_the_shortest_chain_comes_first_and_each_want_has_one() -> None:
    assert chains(LOCK, "deep") == [["tool", "tool", "deep"], ["app-*", "app", "lib", "deep"]]


def test_a_step_says_its_relation_as_it_is_written() -> None:
    (number,) = why.named(LOCK, "lib", IS_NAMED)

    (chain,) = why.chains(LOCK, graph_of(LOCK), why.Origins(wants_of(LOCK, WANT_FOR), ()), number)

    (link,) = chain.links
    assert (link.package.name, link.verb, link.text, link.answer.version) == ("app", "depends on", "lib (>= 1)", "1.0")


def test_what_is_wanted_has_a_chain_without_steps() -> None:
    assert chains(LOCK, "tool") == [["tool", "tool"]]


def test_the_base_is_the_last_reason() -> None:
    assert chains(LOCK, "libc")[-1] == ["base", "libc"] or chains(LOCK, "libc")[0] == ["base", "libc"]
    assert len(chains(LOCK, "libc")) == 3


def test_what_nothing_leads_to_has_no_chain() -> None:
    assert chains(LOCK, "alone") == []


NAMES_OF_LIB = ("lib", "lib=1.0", "lib.all", "lib_1.0_all.deb", "lib:all", "lib/bookworm", "lib:any/x=1.0", "li?")


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        *((spec, ["lib"]) for spec in NAMES_OF_LIB),
        ("app-*", ["app"]),
        *((spec, []) for spec in ("lib=2", "lib:arm64", "virtual")),
    ],
)
def test_a_package_is_named_as_a_want_names_it(spec: str, expected: list[str]) -> None:
    assert [LOCK.choices[number].package.name for number in why.named(LOCK, spec, IS_NAMED)] == expected


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        *(
            (spec, True)
            for spec in ("x", "x.noarch", "x-2", "x-2-3", "x-1:2-3.noarch", "x=2", "x=1:2", "x.noarch=2-3", "x-*")
        ),
        *((spec, False) for spec in ("y", "x.x86_64", "x=3", "x-3", "@x", "/usr/bin/x")),
    ],
)
def test_an_rpm_is_named_as_a_want_names_it(spec: str, expected: bool) -> None:
    assert FORMATS["rpm"].is_named(replace(package("x", "1:2-3"), arch="noarch"), spec) is expected


def test_a_strong_need_is_preferred_to_a_weak_one_of_the_same_length() -> None:
    lock = lock_of(
        [package("a", recommends="b"), package("c", depends="b"), package("b")],
        {"a": ["a"], "c": ["c"]},
        options=Options(weak_dependencies=True),
    )

    assert chains(lock, "b") == [["a", "a", "b"], ["c", "c", "b"]]


def ask(name: str, lock: Lock = LOCK, version: str = "", **more: Any) -> tuple[str, ...]:
    question = why.Question(name=name, version=version, lock=lock, **{"sightings": (), **more})
    return why.why_not(question, FORMATS["deb"].compare)


def seen(version: str = "1.0", reason: str = "", upstream: str = "main") -> Sighting:
    return Sighting(version=version, arch="all", upstream=upstream, sha256="c" * 64, reason=reason)


def test_what_nobody_wants_is_said_with_where_it_is() -> None:
    assert ask("x", sightings=(seen(),)) == (
        "main has 1.0 for all: no want asks for it, and nothing that was chosen needs it",
    )


def test_a_missing_want_is_said_with_its_reason() -> None:
    lock = lock_of([], missing=(Missing(want="x", reason="no upstream has it"),))

    assert ask("x", lock) == ("it is wanted and missing: no upstream has it",)


@pytest.mark.parametrize(
    ("version", "word"), [("0.9", "older than 1.0 of main"), ("1.1", "newer than 1.0 of main"), ("1.0", "the same")]
)
def test_another_version_than_the_chosen_one_is_judged(version: str, word: str) -> None:
    (reason,) = ask("lib", version=version, sightings=(seen(version),))

    assert word in reason


def test_a_version_that_nobody_has_is_said_with_those_there_are() -> None:
    (reason,) = ask("lib", version="7", sightings=(seen("1.1"),))

    assert reason == "no upstream has that version; there is 1.1 in main"


def test_what_keeps_a_package_away_is_repeated() -> None:
    (reason,) = ask("x", sightings=(seen(reason="left out by excludepkgs of main: x*"),))

    assert reason == "main has 1.0 for all: left out by excludepkgs of main: x*"


def test_an_upstream_that_is_not_read_is_named() -> None:
    elsewhere = ask("x", elsewhere=(seen(upstream="extra"),))
    unknown = ask("x", unread=("extra", "more"))

    assert elsewhere == ("extra has 1.0 for all, and this target does not read that upstream",)
    assert unknown == ("it may be in an upstream that this target does not read: extra, more",)


def test_upstreams_that_were_skipped_are_named() -> None:
    pin = RootPin(name="pgdg", path="x", sha256="", date=0, signer="", verify=Verify.ROOT)

    assert ask("x", lock_of([], upstreams=(pin,))) == ("the lock was made without these upstreams: pgdg",)


def test_what_is_gone_upstream_is_named() -> None:
    assert ask("x", lock_of([], gone=("x_1_all.deb",))) == (
        "upstream lists it, and no mirror has it any more: x_1_all.deb",
    )


def deb(folder: Path, name: str, universe: str, pin: int = 500) -> Loaded:
    path = folder / name
    path.write_text(packages_text(stanzas(universe)))
    variant = Variant(path="", compression="", size=path.stat().st_size, digest=name)
    index = IndexFile(variants=(variant,), size=path.stat().st_size, sha256=name)
    root = Root(origin="", suite="", date=0, valid_until=None, aliases=(name,), pin=pin, indexes=(index,))
    return Loaded(Upstream(name=name, module="", mirrors=()), root, (path,))


class TestSightings:
    def test_apt_sees_every_version_with_pins_and_origins(self, tmp_path: Path) -> None:
        opened = [deb(tmp_path, "main", "x 1.0\ny 1.0"), deb(tmp_path, "backports", "x 3.0\ny 2.0", pin=100)]
        options = Options(weak_dependencies=False, origins=(("x", "main"),))
        universe = FORMATS["deb"].universe(opened, parse_target("d12.x86_64"), FolderCache(), options)

        pinned = [(each.version, each.upstream, each.reason) for each in universe.sightings("x")]
        lower = [(each.version, each.reason) for each in universe.sightings("y")]

        assert pinned == [
            ("3.0", "backports", "withheld by origin: x comes only from main"),
            ("1.0", "main", ""),
        ]
        assert lower == [("2.0", "its pin 100 is below 500 of main"), ("1.0", "")]
        assert universe.sightings("z") == ()

    def test_dnf_sees_what_is_hidden_and_what_has_lesser_priority(self, tmp_path: Path) -> None:
        case = Case(
            "",
            {
                "main": Repo("x 1-1 x86_64", options={"priority": 10}),
                "low": Repo("x 3-1 x86_64"),
                "hidden": Repo("x 2-1 x86_64", options={"excludepkgs": ["x*"]}),
            },
            [],
            None,
        )

        found = {
            each.upstream: (each.version, each.reason) for each in rpm_universes.universe(tmp_path, case).sightings("x")
        }

        assert found["main"] == ("1-1", "")
        assert found["low"] == ("3-1", "its priority 99 comes after 10 of main")
        assert found["hidden"] == ("2-1", "left out by excludepkgs of hidden: x*")
