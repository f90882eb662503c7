"""Apt and dnf are the judges of our proof: random subsets of real archives, most of them broken on purpose.

REPOBUILD_ORACLE=200 asks for that many subsets of each family; the seed is fixed.
"""

import hashlib
import json
import os
import random
import re
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from apt import IsolatedApt
from debian_worlds import TARGETS, Judged, debian_worlds
from rpm_universes import FolderCache, index_file, root
from test_dnf_oracle import DATA, DRIVER, REPOSITORIES, SYSTEM_PYTHON, opened

from repobuild.bases import EMPTY_NAME, InstalledPackage
from repobuild.check import Demand, Proof, open_offer, prove
from repobuild.errors import UnresolvableError
from repobuild.formats import FORMATS
from repobuild.formats.deb.package import from_record
from repobuild.formats.protocol import Loaded, RepositoryFacts
from repobuild.formats.rpm.resolver import RpmUniverse
from repobuild.model import Options, Package, Target, Upstream
from repobuild.resolve import resolve
from repobuild.targets import parse_target

pytestmark = pytest.mark.integration

COUNT = int(os.environ.get("REPOBUILD_ORACLE", "10"))
SEED = 20261124
MAX_WANTS = 8
MAX_ALONE = 3
"""Wants of a subset that are asked for by themselves too."""
EL9 = parse_target("el9.x86_64")


@dataclass
class Score:
    """How often we and the judge say the same."""

    installable: int = 0
    broken: int = 0
    wrong: list[str] = field(default_factory=list)

    def note(self, label: str, ours: Sequence[str], judge_says: bool, said: str) -> None:
        if judge_says is bool(ours):
            self.wrong.append(f"{label}: ours {ours or 'installs'}, the judge: {said[-700:]}")
        elif judge_says:
            self.installable += 1
        else:
            self.broken += 1


@dataclass(frozen=True)
class Subset:
    """Some packages of an archive, and what is wanted of them."""

    wants: list[str]
    packages: list[Package]
    removed: list[str]


def subset(chance: random.Random, wants: list[str], chosen: Sequence[Package], others: Sequence[Package]) -> Subset:
    """Return what a resolution chose, with some strangers, and in two of three cases without some of it."""
    there = {package.filename: package for package in (*chosen, *others[: chance.randint(0, 15)])}
    removed = chance.sample(sorted(there), min(chance.choice([0, 1, 2]), len(there)))
    for name in removed:
        del there[name]
    return Subset(wants, list(there.values()), removed)


def prove_folder(folder: Path, target: Target, sets: tuple[tuple[str, ...], ...], base: Loaded | None = None) -> Proof:
    """Prove sets of wants on a repository on disk, as `repobuild check` does."""
    form = FORMATS[target.family]
    demand = Demand(sets=sets)

    def read(path: str) -> bytes | None:
        return (folder / path).read_bytes() if (folder / path).is_file() else None

    roots = form.root_files(Upstream(name="repository", module="", mirrors=(), suite="./"))
    root = next(text for each in roots if (text := read(each.path)) is not None)
    offer = form.read_offer(root, read, target)
    assert offer.problems == ()
    with open_offer(form, offer, target, demand, base) as universe:
        return prove(universe, demand, EMPTY_NAME)


def reasons(proof: Proof) -> list[str]:
    return [str(problem) for problem in proof.problems]


def report(score: Score, capsys: pytest.CaptureFixture[str], judge_name: str) -> None:
    with capsys.disabled():
        total = score.installable + score.broken + len(score.wrong)
        print(
            f"\nproof oracle: {judge_name}: {total} jobs, {score.installable} install, {score.broken} do not, ", end=""
        )
        print(f"{len(score.wrong)} judged otherwise")
    assert [] == score.wrong
    assert score.installable
    assert score.broken


# Debian


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory, tool: Callable[[str], str]) -> Iterator[Callable[[str], Judged]]:
    tool("apt-get")
    with debian_worlds(tmp_path_factory.mktemp("proof")) as found:
        yield found


def debian_subset(chance: random.Random, world: Judged) -> Subset | None:
    universe = world.fresh()
    names = chance.sample(world.names, chance.randint(1, MAX_WANTS))
    wants = [name for name in names if universe._universe.candidate(name)]
    try:
        resolution = resolve(universe, [wants])
    except UnresolvableError:
        return None
    strangers = [found for name in chance.sample(world.names, 30) if (found := universe._universe.candidate(name))]
    chosen = [choice.package for choice in resolution.choices]
    return subset(chance, wants, chosen, [from_record(each) for each in strangers]) if wants else None


def test_apt_installs_what_we_prove_and_nothing_else(
    worlds: Callable[[str], Judged], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chance = random.Random(SEED)
    score = Score()
    number = 0
    while number < COUNT:
        world = worlds(TARGETS[number % 4])
        if (found := debian_subset(chance, world)) is None:
            continue
        number += 1
        folder = tmp_path / str(number)
        target = world.loaded.target
        write_debian(folder, target, found.packages)
        apt = IsolatedApt(folder / "apt", target.package_arch, f"deb [trusted=yes] file:{folder} ./\n")
        assert apt.update().returncode == 0
        base = essential(found.packages)
        sets = (tuple(found.wants), *((want,) for want in found.wants[:MAX_ALONE]))
        for wants in sets:
            proof = prove_folder(folder, target, (wants,))
            expected, said = apt.simulate(list(dict.fromkeys((*wants, *base))))
            label = f"{number} {target} {' '.join(wants)} without {' '.join(found.removed)}"
            score.note(label, reasons(proof), expected is not None, said)
    report(score, capsys, "apt")


def write_debian(folder: Path, target: Target, packages: Sequence[Package]) -> None:
    facts = RepositoryFacts(name="subset", target=target, time=1_700_000_000)
    for file in FORMATS["deb"].metadata(packages, facts, None, Path):
        place = folder / file.path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(file.content or b"")


def essential(packages: Sequence[Package]) -> list[str]:
    return [
        each.name
        for each in packages
        if re.search(r"^Essential: yes", each.metadata, re.MULTILINE) or each.name == "apt"
    ]


# CentOS


@dataclass(frozen=True)
class Centos:
    universe: RpmUniverse
    names: list[str]
    primary: dict[str, str]
    """Entry by sha256."""
    filelists: dict[str, str]

    def packages(self, names: Sequence[str]) -> list[Package]:
        found = (self.universe.solve(self.universe.find(name).candidates) for name in names)
        return [choice.package for each in found for choice in each.choices if choice.why == "want"]


@pytest.fixture(scope="module")
def centos(tmp_path_factory: pytest.TempPathFactory) -> Centos:
    if not DATA.is_dir():
        pytest.skip(f"no CentOS metadata: {DATA}")
    folder = tmp_path_factory.mktemp("centos")
    loaded = tuple(opened(DATA / name / "repodata", folder / name, name) for name in REPOSITORIES)
    universe = RpmUniverse(loaded, EL9, FolderCache(), Options(weak_dependencies=False))
    hidden = universe._stock.universe.hidden
    solvables = universe._stock.universe.pool.solvables_iter()
    names = sorted({each.name for each in solvables if each.arch != "src" and each.id not in hidden})
    return Centos(universe, names, entries(loaded, "primary", "package type"), entries(loaded, "filelists", "package"))


def entries(loaded: Sequence[Loaded], kind: str, tag: str) -> dict[str, str]:
    found = {}
    for each in loaded:
        assert each.open is not None
        index = next(index for index in (*each.root.indexes, *each.root.later) if index.kind == kind)
        text = each.open(index).read_text()
        for entry in re.findall(rf"<{tag}.*?</package>", text, re.DOTALL):
            digest = re.search(r'pkgid="YES">([0-9a-f]{64})<|pkgid="([0-9a-f]{64})"', entry)
            assert digest
            found[digest[1] or digest[2]] = entry
    return found


def write_centos(folder: Path, centos: Centos, packages: Sequence[Package]) -> None:
    (folder / "repodata").mkdir(parents=True)
    namespaces = 'xmlns="http://linux.duke.edu/metadata/{}" xmlns:rpm="http://linux.duke.edu/metadata/rpm"'
    records = []
    for kind, top, space, texts in (
        ("primary", "metadata", "common", centos.primary),
        ("filelists", "filelists", "filelists", centos.filelists),
    ):
        body = "\n".join(texts[package.sha256] for package in packages if package.sha256 in texts)
        head = f'<?xml version="1.0" encoding="UTF-8"?>\n<{top} {namespaces.format(space)} packages="{len(packages)}">'
        data = f"{head}\n{body}\n</{top}>\n".encode()
        name = f"repodata/{kind}.xml"
        (folder / name).write_bytes(data)
        records.append(
            f'<data type="{kind}"><checksum type="sha256">{hashlib.sha256(data).hexdigest()}</checksum>'
            f'<location href="{name}"/><timestamp>1700000000</timestamp><size>{len(data)}</size></data>'
        )
    text = f'<repomd xmlns="http://linux.duke.edu/metadata/repo"><revision>1</revision>{"".join(records)}</repomd>'
    (folder / "repodata/repomd.xml").write_text(text)


def ask_dnf(folder: Path, jobs: Sequence[Sequence[str]]) -> list[Any]:
    request = {
        "arch": "x86_64", "releasever": "9", "platform": "platform:el9", "weak": False, "streams": [],
        "repositories": [{"id": "subset", "url": f"file://{folder}"}], "jobs": jobs,
    }  # fmt: skip
    done = subprocess.run(
        [SYSTEM_PYTHON, DRIVER], input=json.dumps(request), capture_output=True, text=True, check=True
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def centos_subset(chance: random.Random, centos: Centos) -> Subset | None:
    names = chance.sample(centos.names, chance.randint(1, MAX_WANTS))
    wants = [
        name for name in names if (there := centos.universe.find(name).candidates) and not centos.universe.fits(there)
    ]
    try:
        resolution = resolve(centos.universe, [wants])
    except UnresolvableError:
        return None
    strangers = centos.packages(chance.sample(centos.names, 15))
    chosen = [choice.package for choice in resolution.choices]
    return subset(chance, wants, chosen, strangers) if wants else None


def test_dnf_installs_what_we_prove_and_nothing_else(
    centos: Centos, tool: Callable[[str], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tool("dnf")
    chance = random.Random(SEED)
    score = Score()
    number = 0
    while number < COUNT:
        if (found := centos_subset(chance, centos)) is None:
            continue
        number += 1
        folder = tmp_path / str(number)
        write_centos(folder, centos, found.packages)
        jobs = [found.wants, *([want] for want in found.wants[:MAX_ALONE])]
        answers = ask_dnf(folder, jobs)
        for wants, answer in zip(jobs, answers, strict=True):
            proof = prove_folder(folder, EL9, (tuple(wants),))
            label = f"{number} {' '.join(wants)} without {' '.join(found.removed)}"
            score.note(label, reasons(proof), answer is not None, str(answer))
    report(score, capsys, "dnf")


# a captured base


def test_apt_agrees_on_a_machine_that_has_packages(
    worlds: Callable[[str], Judged], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The base is random packages of the archive, installed; what is asked for may be there, newer, or in its way."""
    chance = random.Random(SEED + 1)
    score = Score()
    number = 0
    while number < COUNT:
        world = worlds(TARGETS[number % 4])
        found, installed = debian_subset(chance, world), machine(chance, world)
        if found is None or installed is None:
            continue
        number += 1
        folder = tmp_path / str(number)
        target = world.loaded.target
        kept = [each for each in found.packages if chance.random() < 0.9]
        write_debian(folder, target, kept)
        apt = IsolatedApt(folder / "apt", target.package_arch, f"deb [trusted=yes] file:{folder} ./\n")
        (folder / "apt/var/lib/dpkg/status").write_text("".join(map(status, installed)))
        assert apt.update().returncode == 0
        base = base_of(folder / "base", world, installed)
        for wants in (found.wants, *([want] for want in found.wants[:MAX_ALONE])):
            proof = prove_folder(folder, target, (tuple(wants),), base)
            expected, said = apt.simulate(wants)
            if "The following packages will be REMOVED" in said:
                continue  # apt would take something off the machine; that is no proof
            label = f"{number} {target} {' '.join(wants)} without {' '.join(found.removed)}"
            score.note(label, reasons(proof), expected is not None, said)
    report(score, capsys, "apt on a base")


def machine(chance: random.Random, world: Judged) -> list[Package] | None:
    universe = world.fresh()
    names = [name for name in chance.sample(world.names, 5) if universe._universe.candidate(name)]
    try:
        return [choice.package for choice in resolve(universe, [names]).choices]
    except UnresolvableError:
        return None


def status(package: Package) -> str:
    return f"{package.metadata.strip()}\nStatus: install ok installed\n\n"


def base_of(path: Path, world: Judged, installed: Sequence[Package]) -> Loaded:
    listed = [InstalledPackage(each.name, each.version, each.arch) for each in installed]
    path.write_bytes(FORMATS["deb"].base_text(sorted(listed), world.loaded.loaded, world.loaded.target))
    index = index_file(path, "packages")
    return Loaded(Upstream(name="base", module="", mirrors=()), root((index,)), (path,))
