"""Apt is the judge of what we choose: random manifests on the archive this machine's apt uses, and our own cases.

REPOBUILD_ORACLE=200 asks for that many manifests; the seed is fixed.
"""

import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from apt import IsolatedApt
from debian_worlds import TARGETS, Judged, debian_worlds
from simulator import packages_text, stanzas

from repobuild.errors import UnresolvableError
from repobuild.model import Resolution
from repobuild.resolve import resolve

pytestmark = pytest.mark.integration

COUNT = int(os.environ.get("REPOBUILD_ORACLE", "24"))
SEED = 20261123
REQUIRED = 0.95
MAX_WANTS = 30


@dataclass
class Score:
    equal: int = 0
    refused_alike: int = 0
    other: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        return self.equal + self.refused_alike + len(self.other) + len(self.wrong)


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory, tool: Callable[[str], str]) -> Iterator[Callable[[str], Judged]]:
    tool("apt-get")
    with debian_worlds(tmp_path_factory.mktemp("oracle")) as found:
        yield found


def manifests() -> Iterator[tuple[str, list[float]]]:
    chance = random.Random(SEED)
    for number in range(COUNT):
        yield TARGETS[number % len(TARGETS)], [chance.random() for _ in range(chance.randint(1, MAX_WANTS))]


def pairs(resolution: Resolution) -> set[tuple[str, str]]:
    return {(choice.package.name, choice.package.version) for choice in resolution.choices}


def test_we_choose_what_apt_chooses(judged: Callable[[str], Judged], capsys: pytest.CaptureFixture[str]) -> None:
    score = Score()
    for number, (target, picks) in enumerate(manifests()):
        world = judged(target)
        universe = world.fresh()
        names = dict.fromkeys(world.names[int(pick * len(world.names))] for pick in picks)
        wants = [name for name in names if universe._universe.candidate(name)]
        compare(f"{number} {target} {' '.join(wants)}", world, wants, score)

    with capsys.disabled():
        print(
            f"\noracle: {score.total} manifests, {score.equal} equal, {score.refused_alike} refused by both, "
            f"{len(score.other)} other"
        )
        print("".join(f"  other: {line}\n" for line in score.other), end="")
    assert score.wrong == []
    assert score.equal + score.refused_alike >= REQUIRED * score.total


def compare(label: str, world: Judged, wants: list[str], score: Score) -> None:
    expected, said = world.apt.simulate(list(dict.fromkeys((*wants, "apt", *world.base))))
    try:
        resolution = resolve(world.fresh(), [wants])
    except UnresolvableError as error:
        kind = score.wrong if expected is not None else None
        if kind is None:
            score.refused_alike += 1
        else:
            kind.append(f"{label}: we refuse and apt does not: {error.message}")
        return
    if len(resolution.sets) > 1 and expected is None:
        score.refused_alike += 1
        return
    found = pairs(resolution)
    if found == expected:
        score.equal += 1
        return
    if len(resolution.sets) > 1 or not resolution.notes:
        score.wrong.append(f"{label}: differs without a note: {found ^ (expected or set())} {said[-500:]}")
        return
    proven, said = world.apt.simulate([f"{name}={version}" for name, version in sorted(found)])
    if proven == found:
        score.other.append(f"{label}: {sorted(name for name, _ in found ^ (expected or set()))}")
    else:
        score.wrong.append(f"{label}: apt does not install our set: {said[-500:]}")


# our own cases


def comparable() -> Iterator[Any]:
    for path in sorted(Path(__file__).resolve().parents[1].joinpath("cases").glob("*.yml")):
        for case in yaml.safe_load(path.read_text()):
            is_plain = "universe" in case and not case.get("skip_missing") and case.get("arch", "amd64") == "amd64"
            if is_plain and not case.get("keep") and case["wants"] and not any("*" in want for want in case["wants"]):
                yield pytest.param(case, id=f"{path.stem}: {case['rule']}")


@pytest.mark.parametrize("case", list(comparable()))
def test_apt_says_the_same_of_our_cases(case: dict[str, Any], tool: Callable[[str], str], tmp_path: Path) -> None:
    tool("apt-get")
    apt = IsolatedApt(tmp_path, "amd64", f"deb [trusted=yes] file:{tmp_path}/repository ./\n")
    universe = stanzas(case["universe"])
    text = packages_text(universe).replace("\nVersion:", "\nMaintainer: x\nDescription: x\nVersion:")
    if "[amd64]" in text:
        pytest.skip("apt takes no architecture restrictions in an index")
    (tmp_path / "repository").mkdir()
    (tmp_path / "repository/Packages").write_text(text)
    assert apt.update().returncode == 0
    wanted = {want.partition("=")[0] for want in case["wants"]}
    base = [each["Package"] for each in universe if each.get("Essential") or each["Package"] == "apt"]
    essential = [name for name in base if name not in wanted]
    weak = ["-o", "APT::Install-Recommends=true"] if case.get("weak") else []

    expected, said = apt.simulate([*weak, *dict.fromkeys((*case["wants"], *essential))])

    if case["rule"] in BEYOND_APT:
        return
    if "error" in case or len(case.get("sets", [])) > 1:
        assert expected is None, said
        return
    assert expected is not None, said
    named = {each.split("=")[0]: each.split("=")[1] for each in case["expect"] if "=" in each}
    assert sorted({each.split("=")[0] for each in case["expect"]}) == sorted(name for name, _ in expected), said
    assert named.items() <= dict(expected).items()


BEYOND_APT = {
    "the candidate is taken, and an older version where only that will do",
    "a name and a version of it are satisfied by that version",
    "two versions of one name that are asked for go to install sets",
    "what is essential in an older version only is not in the base",
}
"""Where the base is ours to know, where apt gives up, or forgets one of two wants; what our repository holds is ours to choose."""
