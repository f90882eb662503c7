"""Loading upstreams that lie in every way we know of."""

import gzip
import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from email.utils import formatdate
from pathlib import Path

import pytest
from pysequoia import Tsk
from simulator import DAY, NOW, Mirrors, Simulator, flips, missing, once, replaced, tampered, truncated

from repobuild import catalog
from repobuild.errors import (
    HostileInputError,
    RefusedError,
    RepobuildError,
    RollbackError,
    UnreachableError,
    VerificationError,
)
from repobuild.model import Job, Mirror, Options, Upstream, Verify
from repobuild.resolve import resolve
from repobuild.state import Memory
from repobuild.store import Store
from repobuild.targets import parse_target

INDEX = "main/binary-amd64/Packages"
ROOT = "dists/bookworm/InRelease"


@dataclass(frozen=True)
class Limits:
    offline: bool = False
    allow_older: bool = False
    skip_unavailable: bool = False
    now: int = NOW


class Notes:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)

    debug = note

    def start(self, what: str, total: int) -> None: ...

    def advance(self, count: int) -> None: ...

    def finish(self) -> None: ...


@pytest.fixture(scope="module")
def key() -> Tsk:
    return Tsk.generate("archive")


@pytest.fixture(scope="module")
def other_key() -> Tsk:
    return Tsk.generate("somebody else")


@pytest.fixture(scope="module")
def keyring(key: Tsk, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "archive.gpg"
    path.write_bytes(bytes(key.extract_certificate()))
    return path


class House:
    """A store, a memory and what is loaded with them; each `load` is a run."""

    def __init__(self, folder: Path, keyring: Path) -> None:
        self.folder = folder
        self.keyring = keyring
        self.notes: list[str] = []

    def upstream(self, **words: object) -> Upstream:
        plain = Upstream(
            name="base",
            module="node",
            mirrors=(Mirror("http://one.test/debian"),),
            suite="bookworm",
            components=("main",),
            keys=(self.keyring,),
            origin="Debian",
        )
        return replace(plain, **words)  # type: ignore[arg-type]

    def load(
        self, get: catalog.Get, *upstreams: Upstream, target: str = "d12.x86_64", **limits: bool | int
    ) -> catalog.Catalog:
        job = Job(
            target=parse_target(target),
            upstreams=upstreams or (self.upstream(),),
            groups=(),
            url_packages=(),
            options=Options(weak_dependencies=False),
            name="pigsty",
            version="v1",
            endpoint="http://a.test",
            digest="0" * 64,
        )
        progress = Notes()
        with Store.open(self.folder / "store") as store:
            means = catalog.Means(get, store, Memory(self.folder / "state"), Limits(**limits), progress)  # type: ignore[arg-type]
            try:
                loaded = catalog.load(job, means)
                # The universe reads its indexes while the store is open.
                assert loaded.universe.find("nginx") is not None
            finally:
                self.notes = progress.lines
        return loaded

    def versions(self, loaded: catalog.Catalog, name: str = "nginx") -> list[str]:
        return [each.version for each in loaded.universe.find(name).candidates]


@pytest.fixture
def house(tmp_path: Path, keyring: Path) -> House:
    return House(tmp_path, keyring)


@pytest.fixture
def archive(key: Tsk) -> Simulator:
    return Simulator(key).add("bookworm", "main", UNIVERSE.format(version=1)).publish()


UNIVERSE = "nginx {version}   Depends: libc6\nlibc6 1   Essential: yes\nonly-arm 1   Architecture: arm64"


def newer(archive: Simulator, *, days: int = 0, version: int = 2) -> Simulator:
    """Return the archive some days later, with the older indexes still by-hash."""
    later = Simulator(archive.key, files=dict(archive.files)).add("bookworm", "main", UNIVERSE.format(version=version))
    return later.publish(date=archive.date + days * DAY)


# what goes well


def test_an_honest_upstream_is_loaded_verified_and_pinned(house: House, archive: Simulator, key: Tsk) -> None:
    loaded = house.load(archive.get)

    pin = loaded.pins[0]
    assert house.versions(loaded) == ["1"]
    assert (pin.name, pin.path, pin.date, pin.verify) == ("base", "dists/bookworm main", archive.date, Verify.ROOT)
    assert pin.sha256 == hashlib.sha256(archive.files[ROOT]).hexdigest()
    assert pin.signer == key.extract_certificate().fingerprint.upper()
    assert (loaded.newest, loaded.served) == (archive.date, {"base": "http://one.test/debian"})
    assert (loaded.skipped, loaded.unverified) == ((), ())


def test_the_best_form_is_fetched_by_its_hash_and_nothing_else(house: House, archive: Simulator) -> None:
    house.load(archive.get)

    digest = hashlib.sha256(archive.files[f"dists/bookworm/{INDEX}.xz"]).hexdigest()
    assert dict(archive.requests) == {ROOT: 1, f"dists/bookworm/main/binary-amd64/by-hash/SHA256/{digest}": 1}


def test_the_next_run_fetches_the_root_alone(house: House, archive: Simulator) -> None:
    house.load(archive.get)
    archive.requests.clear()

    house.load(archive.get)

    assert dict(archive.requests) == {ROOT: 1}


def test_each_target_has_its_own_index(house: House, archive: Simulator) -> None:
    assert house.versions(house.load(archive.get, target="d12.aarch64"), "only-arm") == ["1"]
    assert house.versions(house.load(archive.get), "only-arm") == []


def test_several_suites_and_components_are_one_catalog(house: House, archive: Simulator) -> None:
    archive.add("bookworm", "contrib", "extra 1   Depends: nginx")
    archive.add("bookworm-updates", "main", "nginx 3").publish()

    loaded = house.load(
        archive.get,
        house.upstream(components=("main", "contrib")),
        house.upstream(name="updates", suite="bookworm-updates"),
    )

    chosen = resolve(loaded.universe, [["extra"]]).choices
    assert [(each.package.name, each.package.version, each.package.upstream) for each in chosen] == [
        ("extra", "1", "base"),
        ("libc6", "1", "base"),
        ("nginx", "3", "updates"),
    ]


def test_backports_are_pinned_as_their_root_says(house: House, archive: Simulator, key: Tsk) -> None:
    backports = Simulator(key, release={"NotAutomatic": "yes", "ButAutomaticUpgrades": "yes"})
    backports.add("bookworm-backports", "main", "nginx 9").publish()
    archive.files |= backports.files

    loaded = house.load(archive.get, house.upstream(), house.upstream(name="bpo", suite="bookworm-backports"))

    assert house.versions(loaded) == ["1"]
    assert house.versions(loaded, "nginx/bookworm-backports") == house.versions(loaded, "nginx/bpo") == ["9"]


def test_a_flat_repository_is_loaded(house: House, key: Tsk) -> None:
    flat = Simulator(key, is_flat=True).add("./", "", "nginx 1\nnginx 2   Architecture: arm64").publish()

    assert house.versions(house.load(flat.get, house.upstream(suite="./", components=()))) == ["1"]


@pytest.mark.parametrize("endings", [("", ".gz"), ("", ".xz"), ("", ".zst"), ("", ".bz2"), ("",)])
def test_an_index_comes_in_whatever_form_there_is(endings: tuple[str, ...], house: House, key: Tsk) -> None:
    archive = Simulator(key, endings=endings).add("bookworm", "main", UNIVERSE.format(version=1)).publish()

    assert house.versions(house.load(archive.get)) == ["1"]


def test_without_an_inline_root_the_detached_signature_does(house: House, archive: Simulator) -> None:
    archive.faults["InRelease"] = missing

    loaded = house.load(archive.get)

    assert loaded.pins[0].sha256 == hashlib.sha256(archive.files["dists/bookworm/Release"]).hexdigest()
    assert house.versions(house.load(archive.get, offline=True)) == ["1"]


def test_a_mirror_without_by_hash_folders_serves_by_name(house: House, archive: Simulator) -> None:
    for path in list(archive.files):
        if "by-hash" in path:
            del archive.files[path]

    assert house.versions(house.load(archive.get)) == ["1"]


def test_a_mirror_without_the_best_form_serves_another(house: House, archive: Simulator) -> None:
    xz = hashlib.sha256(archive.files[f"dists/bookworm/{INDEX}.xz"]).hexdigest()
    archive.faults |= {xz: missing, ".xz": missing}

    assert house.versions(house.load(archive.get)) == ["1"]


# lies, once and for all

REFUSALS = (RefusedError, UnreachableError)
LIES: dict[str, tuple[Callable[[Simulator, Tsk], object], type[RepobuildError]]] = {
    "a changed root": (lambda archive, _: archive.faults.update({ROOT: tampered}), VerificationError),
    "half a root": (lambda archive, _: archive.faults.update({ROOT: truncated}), VerificationError),
    "no signature around the root": (
        lambda archive, _: archive.faults.update({ROOT: replaced(archive.files["dists/bookworm/Release"])}),
        VerificationError,
    ),
    "unsigned text before the root": (
        lambda archive, _: archive.faults.update({ROOT: lambda data: b"Origin: Evil\n" + (data or b"")}),
        VerificationError,
    ),
    "unsigned text after the root": (
        lambda archive, _: archive.faults.update({ROOT: lambda data: (data or b"") + b"\nOrigin: Evil\n"}),
        VerificationError,
    ),
    "two roots in one": (lambda archive, _: archive.faults.update({ROOT: lambda data: (data or b"") * 2}), VerificationError),
    "an empty root": (lambda archive, _: archive.faults.update({ROOT: replaced(b"")}), VerificationError),
    "a login page": (lambda archive, _: archive.faults.update({ROOT: replaced(b"<html>pay</html>")}), VerificationError),
    "a signature by somebody else": (
        lambda archive, other: (setattr(archive, "signers", (other,)), archive.publish()), VerificationError
    ),
    "a root of sixteen megabytes": (
        lambda archive, _: archive.faults.update({ROOT: replaced(b"x" * ((16 << 20) + 1))}), HostileInputError
    ),
    "no root at all": (lambda archive, _: archive.files.clear(), UnreachableError),
    "a mirror that is down": (lambda archive, _: setattr(archive, "is_down", True), UnreachableError),
    "no signature of a plain root": (
        lambda archive, _: archive.faults.update({"InRelease": missing, "Release.gpg": missing}), VerificationError
    ),
    "a changed plain root": (
        lambda archive, _: archive.faults.update({"InRelease": missing, "Release": tampered}), VerificationError
    ),
    "a changed detached signature": (
        lambda archive, _: archive.faults.update({"InRelease": missing, "Release.gpg": tampered}), VerificationError
    ),
    "another suite": (
        lambda archive, _: (archive.release.update(Suite="trixie", Codename="trixie"), archive.publish()), VerificationError
    ),
    "another origin": (lambda archive, _: (setattr(archive, "origin", "Evil"), archive.publish()), VerificationError),
    "no origin": (lambda archive, _: (setattr(archive, "origin", ""), archive.publish()), VerificationError),
    "a root that has expired": (
        lambda archive, _: (archive.release.update({"Valid-Until": stamp(NOW - 60)}), archive.publish()), VerificationError
    ),
    "a root from the future": (lambda archive, _: archive.publish(date=NOW + 2 * DAY), VerificationError),
    "a date that is none": (lambda archive, _: (archive.release.update(Date="soon"), archive.publish()), HostileInputError),
    "a changed index": (lambda archive, _: archive.faults.update({"/Packages.xz": tampered, **hashed(archive, tampered)}), VerificationError),
    "half an index": (lambda archive, _: archive.faults.update(hashed(archive, truncated)), VerificationError),
    "an empty index": (lambda archive, _: archive.faults.update(hashed(archive, replaced(b""))), VerificationError),
    "an index that does not end": (
        lambda archive, _: archive.faults.update(hashed(archive, lambda data: (data or b"") * 2)), HostileInputError
    ),
    "no index": (lambda archive, _: [archive.files.pop(path) for path in list(archive.files) if "/main/" in path], UnreachableError),
    "a component that is not there": (lambda archive, _: resigned(archive, b"main/binary-amd64", b"mean/binary-amd64"), VerificationError),
    "sha1 alone": (lambda archive, _: resigned(archive, b"SHA256:", b"SHA1:"), HostileInputError),
    "an index larger than any": (
        lambda archive, _: resigned(archive, f" {len(archive.files['dists/bookworm/' + INDEX])} {INDEX}\n".encode(), f" {1 << 40} {INDEX}\n".encode()),
        HostileInputError,
    ),
}  # fmt: skip


def stamp(seconds: int) -> str:
    return formatdate(seconds, usegmt=True)


def hashed(
    archive: Simulator, fault: Callable[[bytes | None], bytes | None]
) -> dict[str, Callable[[bytes | None], bytes | None]]:
    return {path: fault for path in archive.files if "binary-amd64" in path}


def resigned(archive: Simulator, old: bytes, new: bytes) -> None:
    text = archive.files["dists/bookworm/Release"]
    assert old in text
    archive.sign("bookworm", text.replace(old, new))


@pytest.mark.parametrize("name", LIES)
def test_a_lie_is_refused_and_nothing_of_it_remembered(
    name: str, house: House, archive: Simulator, other_key: Tsk
) -> None:
    lie, error = LIES[name]
    lie(archive, other_key)

    with pytest.raises(error) as caught:
        house.load(archive.get)

    assert caught.value.exit_code == error.exit_code
    assert Memory(house.folder / "state").objects() == set()


@pytest.mark.parametrize("name", LIES)
def test_after_a_lie_the_next_mirror_serves(
    name: str, house: House, archive: Simulator, key: Tsk, other_key: Tsk
) -> None:
    honest = Simulator(key, files=dict(archive.files))
    LIES[name][0](archive, other_key)
    both = Mirrors(liar=archive, honest=honest)

    loaded = house.load(both.get, house.upstream(mirrors=both.mirrors))

    assert loaded.served == {"base": "http://honest.test/debian"}
    assert house.versions(loaded) == ["1"]
    assert len(house.notes) == 1
    assert "liar.test" in house.notes[0]


@pytest.mark.parametrize("fault", [tampered, truncated, replaced(b"")])
def test_a_mirror_that_lies_once_is_asked_again(
    fault: Callable[[bytes | None], bytes | None], house: House, archive: Simulator
) -> None:
    archive.faults = {
        "by-hash/SHA256/" + hashlib.sha256(archive.files[f"dists/bookworm/{INDEX}.xz"]).hexdigest(): once(fault)
    }

    assert house.versions(house.load(archive.get)) == ["1"]
    assert archive.requests[ROOT] == 2


def test_an_index_that_opens_to_more_than_announced_is_refused(house: House, key: Tsk) -> None:
    archive = Simulator(key, endings=("", ".gz"), by_hash=False).add("bookworm", "main", "nginx 1").publish()
    bomb = gzip.compress(bytes(50 << 20), mtime=0)
    good = archive.files[f"dists/bookworm/{INDEX}.gz"]
    archive.files[f"dists/bookworm/{INDEX}.gz"] = bomb
    line = f" {hashlib.sha256(good).hexdigest()} {len(good)} {INDEX}.gz".encode()
    resigned(archive, line, f" {hashlib.sha256(bomb).hexdigest()} {len(bomb)} {INDEX}.gz".encode())

    with pytest.raises(HostileInputError, match="more than the announced"):
        house.load(archive.get)


def test_an_index_that_opens_to_something_else_is_refused(house: House, key: Tsk) -> None:
    archive = Simulator(key, endings=("", ".gz"), by_hash=False).add("bookworm", "main", "nginx 1").publish()
    text = archive.files[f"dists/bookworm/{INDEX}"]
    evil = gzip.compress(text.replace(b"nginx", b"evilx"), mtime=0)
    good = archive.files[f"dists/bookworm/{INDEX}.gz"]
    archive.files[f"dists/bookworm/{INDEX}.gz"] = evil
    line = f" {hashlib.sha256(good).hexdigest()} {len(good)} {INDEX}.gz".encode()
    resigned(archive, line, f" {hashlib.sha256(evil).hexdigest()} {len(evil)} {INDEX}.gz".encode())

    with pytest.raises(VerificationError):
        house.load(archive.get)


def test_only_what_was_signed_is_parsed(house: House, archive: Simulator) -> None:
    archive.files["dists/bookworm/Release"] = archive.files["dists/bookworm/Release"].replace(b"Debian", b"Evil")

    assert house.versions(house.load(archive.get)) == ["1"]
    assert "dists/bookworm/Release" not in archive.requests


# one set from one mirror


@pytest.mark.parametrize("by_hash", [True, False])
def test_two_states_are_never_mixed(by_hash: bool, house: House, key: Tsk) -> None:
    old = Simulator(key, by_hash=by_hash).add("bookworm", "main", UNIVERSE.format(version=1)).publish()
    new = Simulator(key, by_hash=by_hash).add("bookworm", "main", UNIVERSE.format(version=2)).publish(date=NOW - 60)
    flips(old)(new)

    try:
        loaded = house.load(new.get)
    except REFUSALS:
        return

    state = {old.date: "1", NOW - 60: "2"}[loaded.pins[0].date]
    assert house.versions(loaded) == [state]


def test_root_and_indexes_come_from_one_mirror(house: House, archive: Simulator, key: Tsk) -> None:
    archive.add("bookworm", "contrib", "extra 1").publish()
    honest = Simulator(key, files=dict(archive.files))
    archive.faults = hashed_of(archive, "contrib")
    both = Mirrors(half=archive, whole=honest)

    house.load(both.get, house.upstream(mirrors=both.mirrors, components=("main", "contrib")))

    served = [name for name, path in both.asked if path.endswith("InRelease")]
    assert served[-1] == "whole"
    assert both.asked.index(("whole", ROOT)) > max(n for n, (name, _) in enumerate(both.asked) if name == "half")


def hashed_of(archive: Simulator, component: str) -> dict[str, Callable[[bytes | None], bytes | None]]:
    return {path: tampered for path in archive.files if f"/{component}/" in path}


def test_an_unreachable_mirror_fails_over_at_once(house: House, archive: Simulator, key: Tsk) -> None:
    both = Mirrors(down=Simulator(key, is_down=True), up=archive)

    loaded = house.load(both.get, house.upstream(mirrors=both.mirrors))

    assert [path for name, path in both.asked if name == "down"] == [ROOT] or len(both.asked) <= 4
    assert loaded.served["base"] == "http://up.test/debian"


# rollback memory (G8)


def test_a_replayed_older_root_is_refused(house: House, archive: Simulator) -> None:
    house.load(newer(archive, days=1, version=2).get, now=NOW + DAY)
    both = Memory(house.folder / "state").objects()
    for digest in both:
        (house.folder / f"store/objects/{digest[:2]}/{digest}").chmod(0o644)
        (house.folder / f"store/objects/{digest[:2]}/{digest}").unlink()

    with pytest.raises(RollbackError, match="older than what was seen before"):
        house.load(archive.get)


def test_when_all_mirrors_are_behind_what_was_seen_stays(house: House, archive: Simulator) -> None:
    later = newer(archive, days=1)
    house.load(later.get, now=NOW + DAY)

    loaded = house.load(archive.get, now=NOW + DAY)

    assert (house.versions(loaded), loaded.served) == (["2"], {"base": "the store"})
    assert "older than what was seen" in house.notes[0]


def test_a_mirror_that_is_behind_and_one_that_is_down_are_no_way_back(
    house: House, archive: Simulator, key: Tsk
) -> None:
    house.load(newer(archive, days=1).get, now=NOW + DAY)
    both = Mirrors(behind=archive, down=Simulator(key, is_down=True))

    loaded = house.load(both.get, house.upstream(mirrors=both.mirrors), now=NOW + DAY)

    assert house.versions(loaded) == ["2"]


def test_a_mirror_that_is_behind_is_skipped(house: House, archive: Simulator) -> None:
    later = newer(archive, days=1)
    house.load(later.get, now=NOW + DAY)
    both = Mirrors(behind=archive, current=later)

    loaded = house.load(both.get, house.upstream(mirrors=both.mirrors), now=NOW + DAY)

    assert loaded.served["base"] == "http://current.test/debian"


def test_the_operator_may_allow_older_and_that_is_remembered(house: House, archive: Simulator) -> None:
    later = newer(archive, days=1)
    house.load(later.get, now=NOW + DAY)

    assert house.versions(house.load(archive.get, allow_older=True, now=NOW + DAY)) == ["1"]
    assert house.versions(house.load(archive.get, now=NOW + DAY)) == ["1"]
    assert house.versions(house.load(later.get, now=NOW + DAY)) == ["2"]


@pytest.mark.parametrize("keep", [0, 1])
def test_dropping_one_of_several_signatures_is_no_way_back(
    keep: int, house: House, archive: Simulator, other_key: Tsk
) -> None:
    both = house.folder / "both.gpg"
    both.write_bytes(house.keyring.read_bytes() + bytes(other_key.extract_certificate()))
    upstream = house.upstream(keys=(both,))
    signers = (archive.key, other_key)
    old = Simulator(archive.key, signers=(signers[keep],)).add("bookworm", "main", UNIVERSE.format(version=1)).publish()
    new = (
        Simulator(archive.key, signers=signers)
        .add("bookworm", "main", UNIVERSE.format(version=2))
        .publish(date=NOW - 60)
    )
    house.load(new.get, upstream)

    assert house.versions(house.load(old.get, upstream)) == ["2"]
    old.faults["InRelease"] = missing
    assert house.versions(house.load(old.get, upstream)) == ["2"]


def test_another_mirror_or_name_is_no_way_back(house: House, archive: Simulator) -> None:
    house.load(newer(archive, days=1).get, now=NOW + DAY)

    with pytest.raises(RollbackError):
        house.load(archive.get, house.upstream(name="renamed", mirrors=(Mirror("http://two.test/x"),)), now=NOW + DAY)


def test_another_target_is_no_way_back(house: House, archive: Simulator) -> None:
    house.load(newer(archive, days=1).get, now=NOW + DAY)

    with pytest.raises(RollbackError):
        house.load(archive.get, target="d12.aarch64", now=NOW + DAY)


def test_suites_do_not_age_each_other(house: House, archive: Simulator) -> None:
    archive.add("bookworm-updates", "main", "x 1").publish(date=NOW - DAY)
    older = Simulator(archive.key).add("bookworm", "main", "nginx 1").publish(date=NOW - 5 * DAY)
    archive.files |= {path: data for path, data in older.files.items() if path.startswith("dists/bookworm/")}

    loaded = house.load(archive.get, house.upstream(), house.upstream(name="updates", suite="bookworm-updates"))

    assert [pin.date for pin in loaded.pins] == [NOW - 5 * DAY, NOW - DAY]


def test_the_same_date_is_not_older(house: House, archive: Simulator) -> None:
    house.load(archive.get)

    assert house.versions(house.load(newer(archive, days=0, version=2).get)) == ["2"]


def test_an_unverified_upstream_has_a_memory_of_its_own(house: House, archive: Simulator) -> None:
    upstream = house.upstream(verify=Verify.NONE, keys=())
    house.load(newer(archive, days=1).get, upstream, now=NOW + DAY)

    assert house.versions(house.load(archive.get)) == ["1"]
    assert house.versions(house.load(archive.get, upstream, now=NOW + DAY)) == ["2"]


# options


def test_offline_takes_what_was_seen_last_without_asking(house: House, archive: Simulator) -> None:
    house.load(archive.get)
    archive.requests.clear()

    loaded = house.load(archive.get, offline=True)

    assert (house.versions(loaded), loaded.served["base"]) == (["1"], "the store")
    assert archive.requests.total() == 0


def test_offline_needs_no_mirror(house: House, archive: Simulator) -> None:
    house.load(archive.get)

    assert house.versions(house.load(archive.get, house.upstream(mirrors=()), offline=True)) == ["1"]


def test_offline_has_each_targets_own_indexes(house: House, archive: Simulator) -> None:
    house.load(archive.get)
    house.load(archive.get, target="d12.aarch64")

    assert house.versions(house.load(archive.get, offline=True)) == ["1"]
    assert house.versions(house.load(archive.get, target="d12.aarch64", offline=True), "only-arm") == ["1"]
    kept = Memory(house.folder / "state").objects()
    assert {hashlib.sha256(archive.files[f"dists/bookworm/main/binary-{arch}/Packages"]).hexdigest() for arch in ("amd64", "arm64")} <= kept  # fmt: skip


def test_offline_takes_an_expired_root_that_was_believed(house: House, archive: Simulator) -> None:
    archive.release["Valid-Until"] = stamp(NOW + 60)
    archive.publish()
    house.load(archive.get)

    assert house.versions(house.load(archive.get, offline=True, now=NOW + DAY)) == ["1"]


def test_offline_without_a_store_says_so(house: House, archive: Simulator) -> None:
    with pytest.raises(UnreachableError, match="the store does not hold upstream base, and --offline"):
        house.load(archive.get, offline=True)


def test_offline_believes_no_key_that_is_gone(house: House, archive: Simulator, other_key: Tsk) -> None:
    house.load(archive.get)
    other = house.folder / "other.gpg"
    other.write_bytes(bytes(other_key.extract_certificate()))

    with pytest.raises(VerificationError):
        house.load(archive.get, house.upstream(keys=(other,)), offline=True)


@pytest.mark.parametrize("by_option", [True, False])
def test_an_unavailable_upstream_may_be_skipped_and_is_said(by_option: bool, house: House, archive: Simulator) -> None:
    gone = house.upstream(name="gone", suite="gone", skip_if_unavailable=not by_option)

    loaded = house.load(archive.get, house.upstream(), gone, skip_unavailable=by_option)

    assert loaded.skipped == ("gone",)
    assert [(pin.name, pin.sha256, pin.date, pin.signer) for pin in loaded.pins[1:]] == [("gone", "", 0, "")]
    assert any("skipped" in line for line in house.notes)
    with pytest.raises(UnreachableError):
        house.load(archive.get, house.upstream(), replace(gone, skip_if_unavailable=False))


def test_a_lie_is_never_skipped(house: House, archive: Simulator) -> None:
    archive.faults[ROOT] = tampered

    with pytest.raises(VerificationError):
        house.load(archive.get, house.upstream(skip_if_unavailable=True), skip_unavailable=True)


def test_an_expired_root_is_taken_where_the_operator_says_so(house: House, archive: Simulator) -> None:
    archive.release["Valid-Until"] = stamp(NOW - 60)
    archive.publish()

    assert house.versions(house.load(archive.get, house.upstream(check_valid_until=False))) == ["1"]


@pytest.mark.parametrize("skew", [0, 3600, DAY - 1])
def test_a_root_a_little_ahead_of_our_clock_is_taken(skew: int, house: House, archive: Simulator) -> None:
    assert house.versions(house.load(archive.publish(date=NOW + skew).get)) == ["1"]


def test_without_proof_everything_is_taken_and_named(house: House, archive: Simulator, other_key: Tsk) -> None:
    archive.signers = (other_key,)
    archive.publish()

    loaded = house.load(archive.get, house.upstream(verify=Verify.NONE, keys=()))

    assert (loaded.unverified, loaded.pins[0].signer, house.versions(loaded)) == (("base",), "", ["1"])


def test_without_proof_the_digests_still_hold(house: House, archive: Simulator) -> None:
    archive.faults = hashed(archive, tampered)

    with pytest.raises(VerificationError):
        house.load(archive.get, house.upstream(verify=Verify.NONE, keys=()))


def test_only_the_named_keys_are_believed(house: House, archive: Simulator, key: Tsk, other_key: Tsk) -> None:
    own, other = (each.extract_certificate().fingerprint.upper() for each in (key, other_key))

    assert house.versions(house.load(archive.get, house.upstream(fingerprints=(own,)))) == ["1"]
    with pytest.raises(VerificationError):
        house.load(archive.get, house.upstream(fingerprints=(other,)))


def test_upstreams_are_loaded_side_by_side_in_their_order(house: House, archive: Simulator) -> None:
    suites = [f"s{number}" for number in range(4)]
    for suite in suites:
        archive.add(suite, "main", f"nginx 1\n{suite} 1")
    archive.publish()
    barrier = threading.Barrier(4, timeout=10)
    roots: Iterator[int] = iter(range(4))

    def get(mirror: Mirror, path: str, limit: int) -> bytes:
        if path.endswith("InRelease") and next(roots, None) is not None:
            barrier.wait()
        return archive.get(mirror, path, limit)

    loaded = house.load(get, *(house.upstream(name=suite, suite=suite) for suite in suites))

    assert [pin.name for pin in loaded.pins] == suites
    assert resolve(loaded.universe, [["nginx"]]).choices[0].package.upstream == "s0"


def test_what_was_loaded_in_two_houses_is_equal(tmp_path: Path, keyring: Path, archive: Simulator) -> None:
    one, two = (House(tmp_path / name, keyring) for name in ("one", "two"))
    first, second = one.load(archive.get), two.load(archive.get)

    assert first.pins == second.pins
    assert resolve(first.universe, [["nginx"]]) == resolve(second.universe, [["nginx"]])
