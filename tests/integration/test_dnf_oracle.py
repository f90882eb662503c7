"""Dnf is the judge of what we choose: on CentOS Stream's own metadata, and in our own cases.

REPOBUILD_ORACLE set runs every job; without it a sample, the seed is fixed.
"""

import gzip
import json
import lzma
import os
import random
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from rpm_cases import CASES
from rpm_universes import Case, FolderCache, chosen, index_file, root, upstream, write

from repobuild.formats.protocol import IndexFile, Loaded
from repobuild.formats.rpm.resolver import RpmUniverse
from repobuild.model import Options
from repobuild.targets import parse_target

pytestmark = pytest.mark.integration

DRIVER = Path(__file__).resolve().parents[1] / "dnf_oracle.py"
DATA = Path(__file__).resolve().parents[3] / "shared/data/cs9"
REPOSITORIES = ("appstream", "baseos")
SYSTEM_PYTHON = "/usr/bin/python3"
IS_COMPLETE = bool(os.environ.get("REPOBUILD_ORACLE"))
SEED = 20261123
STREAMS = ("postgresql:16", "nodejs:20", "nginx:1.24", "php:8.2", "ruby:3.3")


@dataclass(frozen=True)
class Plan:
    """How many jobs of which size."""

    singles: int
    twelves: int
    hundreds: int


EVERYTHING = Plan(1 << 20, 300, 30)
PLANS = {
    (False, ()): EVERYTHING if IS_COMPLETE else Plan(300, 30, 4),
    (True, ()): EVERYTHING if IS_COMPLETE else Plan(300, 30, 4),
    (False, STREAMS): EVERYTHING if IS_COMPLETE else Plan(150, 10, 2),
    (True, STREAMS): EVERYTHING if IS_COMPLETE else Plan(50, 5, 1),
}


@pytest.fixture(scope="module")
def dnf(tool: Callable[[str], str]) -> Callable[..., list[Any]]:
    tool("dnf")

    def ask(**request: Any) -> list[Any]:
        text = json.dumps({"arch": "x86_64", "releasever": "9", "platform": "platform:el9", **request})
        done = subprocess.run([SYSTEM_PYTHON, DRIVER], input=text, capture_output=True, text=True, check=True)
        return [json.loads(line) for line in done.stdout.splitlines()]

    return ask


@pytest.fixture(scope="module")
def centos(tmp_path_factory: pytest.TempPathFactory) -> tuple[Loaded, ...]:
    """Open CentOS Stream's AppStream and BaseOS."""
    if not DATA.is_dir():
        pytest.skip(f"no CentOS metadata: {DATA}")
    folder = tmp_path_factory.mktemp("centos")
    return tuple(opened(DATA / name / "repodata", folder / name, name) for name in REPOSITORIES)


def opened(source: Path, folder: Path, name: str) -> Loaded:
    folder.mkdir()
    texts: dict[str, Path] = {}
    for kind, pattern in {
        "primary": "*primary.xml.*",
        "modules": "*modules.yaml.*",
        "filelists": "*filelists.xml.*",
    }.items():
        for compressed in source.glob(pattern):
            texts[kind] = folder / kind
            reader = lzma.open if compressed.suffix == ".xz" else gzip.open
            with reader(compressed) as text, texts[kind].open("wb") as file:
                shutil.copyfileobj(text, file)
    index: dict[str, IndexFile] = {kind: index_file(path, kind) for kind, path in texts.items()}
    now = [kind for kind in ("primary", "modules") if kind in texts]
    return Loaded(
        upstream(name, {}),
        root(tuple(index[kind] for kind in now), (index["filelists"],)),
        tuple(texts[kind] for kind in now),
        lambda file: texts[file.kind],
    )


@pytest.mark.parametrize(("weak", "streams"), PLANS)
def test_centos_jobs_come_out_as_in_dnf(
    dnf: Callable[..., list[Any]], centos: tuple[Loaded, ...], weak: bool, streams: Sequence[str]
) -> None:
    options = Options(weak_dependencies=weak, module_streams=tuple(streams))
    found = RpmUniverse(centos, parse_target("el9.x86_64"), FolderCache(), options)
    jobs = plan(found, PLANS[weak, tuple(streams)])
    repositories = [{"id": name, "url": f"file://{DATA / name}"} for name in REPOSITORIES]

    answers = dnf(repositories=repositories, weak=weak, streams=streams, jobs=jobs)

    assert len(jobs) == len(answers)
    ours = [chosen(found, job) for job in jobs]
    wrong = [job for job, one, other in zip(jobs, ours, map(spelled, answers), strict=True) if one != other]
    print(f"oracle: {len(jobs)} jobs, {len(jobs) - len(wrong)} equal")
    assert [] == wrong


def plan(found: RpmUniverse, sizes: Plan) -> list[list[str]]:
    """Return the jobs: single names, then random names of those that can be installed alone."""
    chance = random.Random(SEED)
    names = sorted({each.name for each in found._stock.universe.pool.solvables_iter() if each.arch != "src"})
    singles = names if sizes.singles >= len(names) else chance.sample(names, sizes.singles)
    pool = chance.sample(names, 1_500)
    possible = [name for name in pool if (there := found.find(name).candidates) and not found.fits(there)]
    several = [chance.sample(possible, 12) for _ in range(sizes.twelves)]
    return [*([name] for name in singles), *several, *(chance.sample(possible, 100) for _ in range(sizes.hundreds))]


def spelled(answer: list[str] | None) -> list[str] | None:
    """Return dnf's answer as `name-[E:]V-R.arch`."""
    if answer is None:
        return None
    packages = (each.split("|") for each in answer)
    return sorted(f"{name}-{'' if epoch == '0' else epoch + ':'}{v}-{r}.{arch}" for name, epoch, v, r, arch in packages)


def test_centos_modules_hide_what_they_hide_in_dnf(dnf: Callable[..., list[Any]], centos: tuple[Loaded, ...]) -> None:
    repositories = [{"id": name, "url": f"file://{DATA / name}"} for name in REPOSITORIES]
    for streams in ((), STREAMS):
        options = Options(weak_dependencies=False, module_streams=streams)
        found = RpmUniverse(centos, parse_target("el9.x86_64"), FolderCache(), options)._stock.universe

        [hidden] = dnf(repositories=repositories, weak=False, streams=streams, jobs=["hidden"])

        assert hidden == sorted({str(found.solvable(number)) for number in found.hidden})


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_dnf_says_the_same_of_our_cases(dnf: Callable[..., list[Any]], tmp_path: Path, case: Case) -> None:
    for name, repo in case.repos.items():
        write(tmp_path / name, repo)
    repositories = [{"id": name, "url": f"file://{tmp_path / name}", **case.options(name)} for name in case.repos]

    [answer] = dnf(repositories=repositories, weak=case.weak, streams=case.streams, jobs=[case.wants])

    assert (None if case.chosen is None else sorted(case.chosen)) == spelled(answer)


def test_names_in_the_cases_are_rules_of_their_own() -> None:
    assert len(CASES) == len({case.rule for case in CASES})
