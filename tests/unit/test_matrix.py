"""Several targets in one run: what they share is asked for once, and the failure of one is its own. HTTP on loopback."""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pysequoia import Tsk
from repositories import fabricate
from simulator import DAY, NOW, Simulator, serve

from repobuild import fetch, pipeline
from repobuild.catalog.answers import Answers, Proof
from repobuild.errors import DeniedError, DiskError, NotFoundError, PinnedFileGoneError, RepobuildError
from repobuild.model import Job, Mirror, Options, Upstream, UrlPackage, Verify
from repobuild.pipeline import Session, Settings, syncing
from repobuild.pipeline.locking import Locked
from repobuild.targets import parse_target

QUICK = fetch.Settings(backoff_seconds=0.01, tries=2, requests=3, patience_seconds=1, answer_seconds=5)
TARGETS = ("d12.x86_64", "d12.aarch64", "d13.x86_64", "d13.aarch64")
SUITES = {"d12": "bookworm", "d13": "trixie"}
BOTH = """
nginx {v}   Depends: libc6, common
nginx {v}   Depends: libc6, common  Architecture: arm64
libc6 {v}   Essential: yes
libc6 {v}   Essential: yes  Architecture: arm64
common {v}   Architecture: all
"""
INFRA = "loki {v}\nloki {v}   Architecture: arm64\nplugins {v}   Architecture: all"


@pytest.fixture(scope="module")
def key() -> Tsk:
    return Tsk.generate("archive")


class Site:
    """A build machine on two archives: a distribution with a suite for each release, and one suite for all of them."""

    def __init__(self, folder: Path, base: Simulator, infra: Simulator, urls: Sequence[str]) -> None:
        self.folder, self.base, self.infra, self.urls = folder, base, infra, urls
        self.errors: list[tuple[tuple[str, ...], RepobuildError]] = []
        self.keyring = folder / "archive.gpg"
        self.keyring.write_bytes(bytes(base.key.extract_certificate()))

    def job(self, name: str, *wants: str) -> Job:
        target = parse_target(name)
        places = {"base": (self.urls[0], SUITES[target.os]), "infra": (self.urls[1], "generic")}
        upstreams = tuple(
            Upstream(
                name=each,
                module="node" if each == "base" else "infra",
                mirrors=(Mirror(url, ""),),
                suite=suite,
                components=("main",),
                keys=(self.keyring,),
            )
            for each, (url, suite) in places.items()
        )
        return Job(
            target=target,
            upstreams=upstreams,
            groups=(wants or ("nginx", "loki", "plugins"),),
            url_packages=(),
            options=Options(weak_dependencies=False),
            name="pigsty",
            version="v1",
            endpoint="http://10.10.10.10",
            digest="1" * 64,
        )

    def orders(self, targets: Sequence[str], **wants: str) -> list[syncing.Order]:
        """Return orders; `d12_x86_64="nginx"` gives a target other wants."""
        return [
            (self.job(each, *wants.get(each.replace(".", "_"), "").split()), self.folder / f"locks/{each}.lock")
            for each in targets
        ]

    def session(self, **settings: Any) -> Session:
        names = ("home", "store", "state")
        folders = {name: self.folder / name for name in names}
        return Session(Settings(**{**folders, "host": None, "now": NOW, "fetching": QUICK, **settings}))

    def sync(self, targets: Sequence[str] = TARGETS, **settings: Any) -> list[syncing.Outcome]:
        return self.sync_orders(self.orders(targets), **settings)

    def sync_orders(self, orders: Sequence[syncing.Order], **settings: Any) -> list[syncing.Outcome]:
        self.errors.clear()
        self.base.requests.clear()
        self.infra.requests.clear()
        with self.session(**settings) as session:
            return pipeline.sync_all(session, orders, lambda names, error: self.errors.append((tuple(names), error)))

    def served(self, target: str) -> set[str]:
        repository = self.folder / "home" / target / "pigsty"
        return {path.name for path in repository.glob("*.deb")} if repository.is_dir() else set()


@pytest.fixture
def site(key: Tsk, tmp_path: Path) -> Iterator[Site]:
    base = Simulator(key, real=True)
    for suite in SUITES.values():
        base.add(suite, "main", BOTH.format(v=1))
    infra = Simulator(key, real=True, origin="Infra").add("generic", "main", INFRA.format(v=1))
    with serve(base.publish()) as one, serve(infra.publish()) as other:
        yield Site(tmp_path, base, infra, (one, other))


def test_a_run_asks_for_every_root_index_and_object_once(site: Site) -> None:
    outcomes = site.sync()

    assert [] == site.errors
    assert [each.target for each in outcomes] == list(TARGETS)
    asked = {**site.base.requests, **site.infra.requests}
    assert {path: count for path, count in asked.items() if count > 1} == {}
    assert {path for path in asked if path.endswith("InRelease")} == {
        "dists/bookworm/InRelease", "dists/trixie/InRelease", "dists/generic/InRelease",
    }  # fmt: skip
    assert sum(each.fetched for each in outcomes) == sum(path.endswith(".deb") for path in asked) == 8
    assert site.served("d13.aarch64") == {
        "common_1_all.deb", "libc6_1_arm64.deb", "loki_1_arm64.deb", "nginx_1_arm64.deb", "plugins_1_all.deb",
    }  # fmt: skip


def test_what_was_downloaded_is_counted_for_the_first_target_that_needs_it(site: Site) -> None:
    outcomes = site.sync()

    assert [each.fetched for each in outcomes] == [5, 3, 0, 0]
    assert [each.reused for each in outcomes] == [0, 2, 5, 5]
    assert [each.downloaded > 0 for each in outcomes] == [True, True, False, False]
    assert [sum(each.mirrors.values()) for each in outcomes] == [5, 3, 0, 0]


def test_settled_targets_are_left_alone_without_network_beside_one_that_is_not(site: Site) -> None:
    site.sync(TARGETS[:3])
    site.base.is_down = site.infra.is_down = True

    settled = site.sync(TARGETS[:3])
    silent = site.base.requests.total() + site.infra.requests.total()
    site.base.is_down = site.infra.is_down = False
    mixed = site.sync()

    assert silent == 0
    assert [each.is_changed for each in settled] == [False] * 3
    assert [each.is_changed for each in mixed] == [False, False, False, True]


def test_a_target_that_cannot_be_resolved_does_not_stop_the_others(site: Site) -> None:
    outcomes = site.sync_orders(site.orders(TARGETS, d12_aarch64="nginx nosuch"))

    assert [each.target for each in outcomes] == ["d12.x86_64", "d13.x86_64", "d13.aarch64"]
    assert [(names, error.exit_code) for names, error in site.errors] == [(("d12.aarch64",), 4)]
    assert not (site.folder / "locks/d12.aarch64.lock").exists()


def test_an_object_that_is_gone_ends_only_the_targets_that_need_it(site: Site) -> None:
    site.base.faults["libc6_1_arm64.deb"] = lambda _: None

    outcomes = site.sync()

    assert [each.target for each in outcomes] == ["d12.x86_64", "d13.x86_64"]
    [(names, error)] = site.errors
    assert names == ("d12.aarch64", "d13.aarch64")
    assert isinstance(error, PinnedFileGoneError)
    assert site.served("d12.aarch64") == set()
    assert not (site.folder / "locks/d12.aarch64.lock").exists()
    site.base.faults.clear()
    assert [each.is_changed for each in site.sync()] == [False, True, False, True]


def test_a_file_named_by_url_that_its_owner_has_changed_is_had_with_an_update(site: Site) -> None:
    [(job, path)] = site.orders(["d12.x86_64"])
    asset = UrlPackage(name="x.html", url=f"{site.urls[0]}/x.html", verify=Verify.NONE)
    orders = [(replace(job, url_packages=(asset,)), path)]
    site.base.files["x.html"] = b"one"
    site.sync_orders(orders)
    site.base.files["x.html"] = b"two"

    assert site.sync_orders(orders, store=site.folder / "empty", force=True) == []
    [(_, error)] = site.errors
    assert (error.exit_code, "repobuild lock --update" in (error.hint or "")) == (3, True)
    [outcome] = site.sync_orders(orders, update=True)
    assert (outcome.path / "x.html").read_bytes() == b"two"


def test_one_target_alone_raises_what_ends_it(site: Site) -> None:
    site.base.faults[".deb"] = lambda _: None

    with site.session() as session, pytest.raises(PinnedFileGoneError):
        pipeline.sync(session, *site.orders(["d12.x86_64"])[0])


def test_a_root_whose_set_changed_during_the_run_is_asked_for_again(site: Site) -> None:
    """Between two targets the mirror moves on; it keeps no older index."""
    with site.session() as session:
        first = pipeline.lock_job(session, *site.orders(["d12.x86_64"])[0])
        site.infra.files.clear()
        site.infra.add("generic", "main", "loki 2   Architecture: arm64").publish(date=site.infra.date + 60)
        second = pipeline.lock_job(session, *site.orders(["d12.aarch64"])[0])

    assert site.infra.requests["dists/generic/InRelease"] == 2
    assert site.base.requests["dists/bookworm/InRelease"] == 1
    assert {each.package.version for each in first.lock.choices if each.package.name == "loki"} == {"1"}
    assert {each.package.version for each in second.lock.choices if each.package.name == "loki"} == {"2"}


class Notes:
    """A progress that keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)

    def debug(self, text: str) -> None: ...

    def start(self, what: str, total: int) -> None: ...

    def advance(self, count: int) -> None: ...

    def finish(self) -> None: ...


def test_a_mirror_that_does_not_answer_one_target_is_asked_last_for_the_next(site: Site) -> None:
    dead = Mirror("http://nowhere.invalid", "")
    notes = Notes()
    with Session(site.session().settings, notes) as session:
        for job, path in site.orders(TARGETS):
            upstreams = tuple(replace(each, mirrors=(dead, *each.mirrors)) for each in job.upstreams)
            pipeline.lock_job(session, replace(job, upstreams=upstreams), path)

    assert 1 <= sum("nowhere.invalid" in line for line in notes.lines) <= 2  # both upstreams ask it, maybe at once


def test_an_index_that_came_broken_is_asked_for_with_its_root_again(site: Site) -> None:
    """The root of the first target is at hand; a retry asks for the root as well."""
    with site.session() as session:
        pipeline.lock_job(session, *site.orders(["d12.x86_64"])[0])
        answers = iter([b"broken"])
        for path in [each for each in site.infra.files if "binary-arm64" in each or "by-hash" in each]:
            site.infra.faults[path] = lambda honest: next(answers, honest)
        second = pipeline.lock_job(session, *site.orders(["d12.aarch64"])[0])

    assert site.infra.requests["dists/generic/InRelease"] == 2
    assert len(second.lock.choices) == 5


def test_each_target_remembers_the_root_it_shares(site: Site) -> None:
    """What is remembered of a shared root serves every target offline, also after its indexes are all that is kept."""
    site.sync()
    with site.session() as session:
        pipeline.collect(session, sorted((site.folder / "locks").glob("*.lock")))
    site.base.is_down = site.infra.is_down = True

    again = site.sync(update=True, offline=True)

    assert [] == site.errors
    assert [each.is_changed for each in again] == [False] * 4
    assert site.base.requests.total() == 0


def test_what_is_published_under_any_name_for_any_target_stays_in_the_store(site: Site) -> None:
    """Minor releases are in no table, and another manifest's repository has another name."""
    [outcome] = site.sync(["d12.x86_64"])
    needed = {choice.package.sha256 for choice in outcome.lock.choices}
    (site.folder / "locks/d12.x86_64.lock").unlink()
    outcome.path.rename(outcome.path.with_name("other"))
    (site.folder / "home/d12.x86_64").rename(site.folder / "home/el9.6.x86_64")

    with site.session() as session:
        pipeline.collect(session, [])
        held = {digest for digest in needed if session.store.has(digest)}

    assert held == needed


@pytest.mark.parametrize("place", ["link", ".hidden"])
def test_what_is_no_repository_below_the_home_does_not_hinder_the_cleaning(site: Site, place: str) -> None:
    far = site.folder / "far"
    (site.folder / "home").mkdir()
    hidden = site.folder / "home/.hidden"
    for folder in (far, hidden):
        folder.mkdir()
        (folder / "repobuild.lock").write_text("{")
    (site.folder / "home/link").symlink_to(far)
    (site.folder / "home/plain").mkdir()

    with site.session() as session:
        assert pipeline.collect(session, []).objects == 0


def test_a_repository_is_never_replaced_by_an_empty_one(site: Site) -> None:
    orders = site.orders(["d12.x86_64"])
    [first] = site.sync_orders(orders)
    lock_file = orders[0][1]
    before = (site.served("d12.x86_64"), lock_file.read_bytes())

    def moved(**settings: Any) -> int:
        [(job, path)] = orders
        groups = settings.pop("groups", job.groups)
        changed = replace(job, groups=groups, digest="2" * 64)
        assert site.sync_orders([(changed, path)], **settings) == []
        [(_, error)] = site.errors
        return error.exit_code

    assert moved(groups=()) == 2
    assert moved(groups=(("nosuch", "nor-this"),), skip_missing=True) == 4
    site.base.is_down = site.infra.is_down = True
    assert moved(skip_unavailable=True, skip_missing=True) == 5
    assert before == (site.served("d12.x86_64"), lock_file.read_bytes())
    assert first.path.is_dir()


def test_an_update_of_all_targets_takes_an_older_root_of_none(site: Site) -> None:
    site.sync()
    site.infra.publish(date=site.infra.date - DAY)

    outcomes = site.sync(update=True)

    assert [each.is_changed for each in outcomes] == [False] * 4  # the pinned set stays
    assert [] == site.errors


def test_a_plan_of_several_targets_counts_what_they_share_once(site: Site) -> None:
    with site.session() as session:
        plans = [pipeline.plan(session, *order) for order in site.orders(TARGETS)]
        total = pipeline.sum_of([each.lock for each in plans], session)

    assert [each.downloads for each in plans] == [5] * 4
    assert (total.packages, total.downloads) == (8, 8)
    assert total.size == total.download < sum(each.size for each in plans)
    assert plans[0].modules == {"base": "node", "infra": "infra"}
    assert max(site.infra.requests.values()) == 1
    assert not (site.folder / "home").exists()
    assert not (site.folder / "locks").exists()


def test_room_is_proven_for_all_targets_before_the_first_byte(site: Site, tmp_path: Path) -> None:
    other = Path("/dev/shm")
    if not other.is_dir() or other.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system here")
    lock = fabricate(tmp_path / "made").lock
    huge = replace(lock.choices[0], package=replace(lock.choices[0].package, size=1 << 50))
    with site.session(home=other / "repobuild-nothing-is-written") as session:
        prepared = syncing._Prepared(
            job=site.job("d12.x86_64"),
            path=tmp_path / "lock",
            repository=session.repository("d12.x86_64", "pigsty"),
            served=None,
            locked=Locked(lock=replace(lock, choices=(huge,)), text=b"", is_new=True),
            beside={},
            requests=(),
        )

        with pytest.raises(DiskError, match=f"are needed and .* are free: {other}"):
            syncing._require_room(session, [prepared])
        syncing._require_room(session, [dataclasses.replace(prepared, served=prepared.locked.lock)])


# --- what mirrors answered -----------------------------------------------------------------------------------------

MIRROR = Mirror("http://one.test")


class Asked:
    """Answers from a dictionary, and counts."""

    def __init__(self, **files: bytes | RepobuildError) -> None:
        self.files = files
        self.count = 0

    def get(self, mirror: Mirror, path: str, limit: int) -> bytes:
        self.count += 1
        found = self.files[path]
        if isinstance(found, RepobuildError):
            raise found
        return found


def test_an_answer_is_kept_until_it_is_forgotten() -> None:
    answers, asked = Answers(), Asked(root=b"1")

    found = [answers.get(asked.get, MIRROR, "root", 9) for _ in range(3)]
    held = answers.holds(MIRROR, ["root"])
    answers.forget(MIRROR, ["root"])

    assert (found, held, asked.count) == ([b"1"] * 3, True, 1)
    assert not answers.holds(MIRROR, ["root"])
    answers.get(asked.get, MIRROR, "root", 9)
    assert asked.count == 2


@pytest.mark.parametrize("error", [NotFoundError("gone"), DeniedError("who are you")])
def test_a_plain_no_is_kept_too_so_that_no_account_is_locked(error: RepobuildError) -> None:
    answers, asked = Answers(), Asked(root=error)

    for _ in range(3):
        with pytest.raises(type(error), match=error.message):
            answers.get(asked.get, MIRROR, "root", 9)

    assert asked.count == 1
    assert not answers.holds(MIRROR, ["root"])


def test_a_root_is_verified_once_for_the_same_bytes_and_keys() -> None:
    answers, calls = Answers(), []
    upstream = Upstream(name="base", module="node", mirrors=(MIRROR,), keys=(Path("one.gpg"),))

    def prove() -> Proof:
        calls.append(1)
        return Proof(b"text", "A" * 40, ())

    for each in (upstream, replace(upstream, name="other target's"), replace(upstream, keys=(Path("two.gpg"),))):
        for content, signature in ((b"root", None), (b"root", b"signature"), (b"other", None)):
            answers.proof(each, content, signature, prove)

    assert len(calls) == 6
