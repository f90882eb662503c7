"""Resolving, as data: every universe under tests/cases says what has to come out. Then universes at random."""

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from simulator import packages_text, stanzas

from repobuild import errors
from repobuild.errors import HostileInputError, MissingError, UnresolvableError
from repobuild.formats.deb.choose import choose, meets, provides
from repobuild.formats.deb.resolver import DebUniverse
from repobuild.formats.deb.universe import Record
from repobuild.formats.protocol import IndexFile, Loaded, Root, Variant
from repobuild.model import Mirror, Options, Resolution, Upstream
from repobuild.resolve import resolve
from repobuild.targets import parse_target

CASES = Path(__file__).resolve().parent.parent / "cases"


class NoCache:
    def derived(self, key: str) -> bytes | None:
        return None

    def put_derived(self, key: str, data: bytes) -> None:
        pass


def loaded(folder: Path, name: str, text: str, *, suite: str = "", pin: int = 500, module: str = "") -> Loaded:
    path = folder / name
    path.write_text(text)
    variant = Variant(path="", compression="", size=len(text), digest=name)
    root = Root(
        origin="",
        suite=suite,
        date=0,
        valid_until=None,
        aliases=(suite or f"{name}-suite", name),
        pin=pin,
        indexes=(IndexFile(variants=(variant,), size=len(text), sha256=f"{folder}/{name}"),),
    )
    return Loaded(Upstream(name=name, module=module, mirrors=(Mirror("http://a.test"),)), root, (path,))


def universe_of(
    folder: Path,
    upstreams: Sequence[dict[str, Any]],
    *,
    arch: str = "amd64",
    weak: bool = False,
    origins: Mapping[str, str] | None = None,
) -> DebUniverse:
    options = Options(weak_dependencies=weak, origins=tuple((origins or {}).items()))
    target = parse_target("d12.x86_64" if arch == "amd64" else "d12.aarch64")
    sources = [
        loaded(
            folder,
            each["name"],
            packages_text(stanzas(each["universe"])),
            suite=each.get("suite", ""),
            pin=each.get("pin", 500),
            module=each.get("module", ""),
        )
        for each in upstreams
    ]
    return DebUniverse(sources, target, NoCache(), options)


def simple(folder: Path, text: str, **words: Any) -> DebUniverse:
    return universe_of(folder, [{"name": "base", "universe": text}], **words)


def cases() -> Iterator[Any]:
    for path in sorted(CASES.glob("*.yml")):
        for case in yaml.safe_load(path.read_text()):
            yield pytest.param(case, id=f"{path.stem}: {case['rule']}")


def run(folder: Path, case: dict[str, Any]) -> Resolution:
    upstreams = case.get("upstreams") or [{"name": "base", "universe": case["universe"]}]
    universe = universe_of(
        folder,
        upstreams,
        arch=case.get("arch", "amd64"),
        weak=case.get("weak", False),
        origins=case.get("origins"),
    )
    wants = [[want] for want in case["wants"]]
    return resolve(universe, wants, skip_missing=case.get("skip_missing", False), keep=case.get("keep", 0))


@pytest.mark.parametrize("case", list(cases()))
def test_the_case_comes_out_as_it_says(case: dict[str, Any], tmp_path: Path) -> None:
    known = {"rule", "universe", "upstreams", "wants", "arch", "weak", "skip_missing", "expect", "error", "message"}
    known |= {"keep", "origins", "reasons", "whys"}
    assert set(case) <= known | {"missing", "sets", "notes", "why", "from"}
    if "error" in case:
        with pytest.raises(getattr(errors, case["error"])) as caught:
            run(tmp_path, case)
        assert type(caught.value).__name__ == case["error"]
        assert case.get("message", "") in caught.value.message
        return

    resolution = run(tmp_path, case)

    packages = [choice.package for choice in resolution.choices]
    named = {each.split("=")[0] for each in case["expect"] if "=" in each}
    found = [f"{each.name}={each.version}" if each.name in named else each.name for each in packages]
    assert sorted(case["expect"]) == sorted(found)
    assert case.get("missing", []) == [each.want for each in resolution.missing]
    sets = [list(each) for each in resolution.sets]
    assert case.get("sets", [list(dict.fromkeys(case["wants"]))] if not case.get("missing") else sets) == sets
    assert all(any(part in note for note in resolution.notes) for part in case.get("notes", []))
    assert case.get("reasons", reasons := [each.reason for each in resolution.missing]) == reasons
    assert bool(case.get("notes")) == bool(resolution.notes) or len(sets) > 1 or case.get("missing")
    why = {choice.package.name: choice.why for choice in resolution.choices}
    assert case.get("why", {}).items() <= why.items()
    versions = {f"{each.package.name}={each.package.version}": each.why for each in resolution.choices}
    assert case.get("whys", {}).items() <= versions.items()
    origin = {each.name: each.upstream for each in packages}
    assert case.get("from", {}).items() <= origin.items()


def chain(length: int) -> str:
    return "\n".join(f"p{n} 1   Depends: p{n + 1}" for n in range(length)) + f"\np{length} 1"


@pytest.mark.parametrize("length", [100, 240, 260, 400, 1_000, 10_000])
def test_a_chain_of_any_length_is_installed_whole(length: int, tmp_path: Path) -> None:
    begun = time.process_time()

    resolution = resolve(simple(tmp_path, chain(length)), [["p0"]])

    assert len(resolution.choices) == length + 1
    assert bool(resolution.notes) == (length > 250)
    assert time.process_time() - begun < 10


def test_a_chain_that_breaks_at_its_end_is_a_typed_error(tmp_path: Path) -> None:
    with pytest.raises(UnresolvableError, match="p3000 1 depends on gone, which no upstream has"):
        resolve(simple(tmp_path, chain(3_000) + "   Depends: gone"), [["p0"]])


def test_a_glob_of_a_thousand_with_one_conflict_takes_no_time(tmp_path: Path) -> None:
    lines = [f"g{n} 1" for n in range(1_000)]
    lines[700] += "   Conflicts: g3"
    begun = time.process_time()

    resolution = resolve(simple(tmp_path, "\n".join(lines)), [["g*"]])

    assert len(resolution.choices) == 999
    assert [each.want for each in resolution.missing] == ["g* (g700 1)"]
    assert time.process_time() - begun < 10


def test_a_package_that_provides_one_name_a_thousand_times_takes_no_time(tmp_path: Path) -> None:
    names = ", ".join(["v"] * 5_000)
    begun = time.process_time()

    resolution = resolve(simple(tmp_path, f"a 1   Depends: v\nb 1   Provides: {names}"), [["a"]])

    assert [each.package.name for each in resolution.choices] == ["a", "b"]
    assert time.process_time() - begun < 5


@pytest.mark.parametrize("want", ["", "=1", "/x", ":amd64", "a\nb", "a" * 600, "a\x1b[2J"])
def test_a_want_that_is_none_is_refused(want: str, tmp_path: Path) -> None:
    with pytest.raises(HostileInputError):
        resolve(simple(tmp_path, "a 1"), [[want]])


@pytest.mark.parametrize(
    "stanza", ["a 1   SHA256: x", "a 1   Size: -1", "a 1   Size: ²", "a 1   SHA256: " + "A" * 64, "a 1_2", "a 1   Size: 9999999999999",
               "a 1   Filename: ../../etc/passwd", "a 1   Filename: /etc/passwd", "a 1   Filename: x/%2e%2e/..", "a " + "9" * 300]
)  # fmt: skip
def test_a_malformed_package_that_is_wanted_is_refused(stanza: str, tmp_path: Path) -> None:
    with pytest.raises(HostileInputError):
        resolve(simple(tmp_path, stanza), [["a"]])


def test_excluded_packages_are_as_if_they_were_not_there(tmp_path: Path) -> None:
    universe = simple(tmp_path, "a 1   Depends: b\na 2   Depends: b\nb 1\nb 2")
    newest = resolve(universe, [["a"]]).choices

    universe.exclude({newest[0].package.sha256})

    assert [str(each.package.version) for each in resolve(universe, [["a"]]).choices] == ["1", "2"]
    universe.exclude({choice.package.sha256 for choice in newest})
    assert [str(each.package.version) for each in resolve(universe, [["a"]]).choices] == ["1", "1"]


def test_two_sets_that_take_different_files_of_one_name_are_refused(tmp_path: Path) -> None:
    universe = universe_of(
        tmp_path,
        [{"name": "base", "universe": "a 1\nx 1   Depends: a (= 1)"},
         {"name": "rival", "universe": "a 1   Section: other"}],
    )  # fmt: skip
    with pytest.raises(HostileInputError, match=r"upstreams base and rival: a_1_amd64\.deb"):
        resolve(universe, [["a/base-suite", "a/rival"]])


def test_the_order_of_groups_is_the_order_of_wants(tmp_path: Path) -> None:
    universe = simple(tmp_path, "a 1\nb 1")

    assert resolve(universe, [["b"], ["a", "b"]]).sets == (("b", "a"),)


def test_an_essential_package_missing_its_dependency_makes_everything_impossible(tmp_path: Path) -> None:
    with pytest.raises(UnresolvableError, match="core 1 depends on gone"):
        resolve(simple(tmp_path, "core 1   Essential: yes   Depends: gone\na 1"), [["a"]])


# at random

NAMES = [f"p{n}" for n in range(8)]


@st.composite
def universes(draw: st.DrawFn, *, is_kind: bool = False) -> str:
    """Return packages; a kind universe has more versions of each, and less that goes wrong."""
    chance = draw(st.randoms(use_true_random=False))
    lines = []
    for name in NAMES:
        for number in chance.sample(["1", "2~", "2", "1:0"], chance.choice([2, 3] if is_kind else [0, 1, 1, 1, 2])):
            fields = [f"{name} {number}"]
            for label, odds in (("Depends", 0.7), ("Pre-Depends", 0.1), ("Conflicts", 0.25), ("Breaks", 0.1)):
                if chance.random() < (odds / 3 if is_kind else odds):
                    fields.append(f"{label}: {', '.join(group(chance, label) for _ in range(chance.randint(1, 2)))}")
            if chance.random() < 0.3:
                fields.append(f"Provides: {chance.choice(['v', 'w', 'v (= 1)', 'w (= 2)', chance.choice(NAMES)])}")
            if chance.random() < 0.1:
                fields.append("Essential: yes")
            lines.append("   ".join(fields))
    return "\n".join(lines)


def group(chance: random.Random, label: str) -> str:
    def relation() -> str:
        name = chance.choice([*NAMES, "v", "w"])
        return name + chance.choice(["", "", "", " (>= 2)", " (<< 2)", " (= 1)", ":any"])

    return " | ".join(relation() for _ in range(chance.choice([1, 1, 2]) if "epends" in label else 1))


def faults(records: Sequence[Record]) -> list[str]:
    """Say, from the definition and nothing else, why records cannot stand together."""
    found = []
    for record in records:
        for kind in ("depends", "pre-depends"):
            for alternatives in record.groups(kind):
                if not any(_satisfies(other, each) for other in records for each in alternatives):
                    found.append(f"{record}: {kind} {alternatives}")
        for kind in ("conflicts", "breaks"):
            for alternatives in record.groups(kind):
                found += [
                    f"{record} {kind} {other}"
                    for other in records
                    if other is not record and any(_satisfies(other, each) for each in alternatives)
                ]
    names = [record.name for record in records]
    return found + [f"{name} twice" for name in set(names) if names.count(name) > 1]


def _satisfies(record: Record, relation: Any) -> bool:
    if record.name == relation.name and meets(record, relation, "amd64"):
        return True
    return any(given.name == relation.name and provides(record, given, relation, "amd64") for given in record.provides)


@settings(max_examples=250, deadline=None, derandomize=True)
@given(text=universes(), wants=st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True))
def test_every_answer_holds_together_and_every_refusal_is_typed(
    text: str, wants: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    universe = simple(tmp_path_factory.mktemp("random"), text or "x 1")
    try:
        resolution = resolve(universe, [wants], skip_missing=True)
    except (UnresolvableError, MissingError):
        return

    for members in resolution.sets:
        found = [universe.find(want).candidates[0] for want in members]
        solution = universe.solve(found)
        assert not solution.problems
        chosen = [
            record
            for choice in solution.choices
            for record in universe._universe.records(choice.package.name)
            if record.version == choice.package.version
        ]
        assert faults(chosen) == []
        assert {record.name for record in found} <= {record.name for record in chosen}


@settings(max_examples=250, deadline=None, derandomize=True)
@given(text=universes(is_kind=True), wants=st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True))
def test_every_set_of_older_versions_installs_from_what_was_chosen(
    text: str, wants: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("random")
    text = text.replace("   Essential: yes", "")  # what every system has may hang on which versions there are
    try:
        resolution = resolve(simple(folder, text), [wants], skip_missing=True, keep=2)
    except (UnresolvableError, MissingError):
        return

    files = {choice.package.filename: choice.package.sha256 for choice in resolution.choices}
    assert len(files) == len(resolution.choices)
    universe = simple(folder, text)
    offered = {choice.package.sha256 for choice in resolution.choices}
    everything = {
        record.field["sha256"] for name in universe._universe.names() for record in universe._universe.records(name)
    }
    universe.exclude(everything - offered)
    for members in resolution.sets:
        found = [universe.find(want).candidates[0] for want in members]
        assert not universe.fits(found)
    older = {f"{each.package.name}={each.package.version}" for each in resolution.choices if each.why == "older"}
    assert older <= {want for members in resolution.sets for want in members}


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    text=universes(), wants=st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True), weak=st.booleans()
)
def test_apts_rule_never_breaks_down(
    text: str, wants: list[str], weak: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    universe = simple(tmp_path_factory.mktemp("random"), text or "x 1", weak=weak)._universe
    records = [record for want in wants if (record := universe.candidate(want))]

    choice = choose(universe, records, weak=weak)

    assert set(choice.why) == set(choice.records)
    assert {record.name for record in records} - set(choice.records) <= set(choice.failed)


def test_a_resolution_does_not_depend_on_hash_seeds(tmp_path: Path) -> None:
    text = "app 1   Depends: v\n" + "\n".join(f"p{n} 1   Provides: v   Depends: q{n % 3}" for n in range(9))
    text += "\nq0 1\nq1 1\nq2 1   Conflicts: q1"
    first = resolve(simple(tmp_path, text), [["app", "p1", "p2"]])

    assert first == resolve(simple(tmp_path, text), [["app", "p1", "p2"]])
