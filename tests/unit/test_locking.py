"""When a lock is kept, moved, refused; and packages that are named by their URL. Over HTTP on loopback."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from debs import make_deb
from pysequoia import Tsk
from simulator import DAY, NOW, Simulator, serve

from repobuild import fetch, lock
from repobuild.errors import HostileInputError, MissingError, RefusedError, RollbackError, UsageError
from repobuild.model import Job, Lock, Mirror, Options, Upstream, UrlPackage, Verify
from repobuild.pipeline.locking import Locked, lock_job, read_lock, write_lock
from repobuild.pipeline.session import Session, Settings
from repobuild.pipeline.sources import mirrors_of
from repobuild.targets import parse_target

QUICK = fetch.Settings(backoff_seconds=0.01, tries=2, requests=3, patience_seconds=1, answer_seconds=5)
IDLE = Session(Settings(home=Path("/nowhere"), store=Path("/nowhere"), state=Path("/nowhere"), host=None, now=0))
"""A run that asks nobody."""
UNIVERSE = """
nginx {version}   Depends: libc6
libc6 1   Essential: yes
nginx {version}   Depends: libc6  Architecture: arm64
libc6 1   Essential: yes  Architecture: arm64
"""


@pytest.fixture(scope="module")
def key() -> Tsk:
    return Tsk.generate("archive")


@pytest.fixture
def archive(key: Tsk) -> Simulator:
    return Simulator(key, real=True).add("bookworm", "main", UNIVERSE.format(version=1)).publish()


class House:
    """A session of its own for every run, on one store, state and lock."""

    def __init__(self, folder: Path, archive: Simulator, url: str) -> None:
        self.folder = folder
        self.archive = archive
        self.url = url
        self.path = folder / "locks/quickstart.d12.x86_64.lock"
        keyring = folder / "archive.gpg"
        keyring.write_bytes(bytes(archive.key.extract_certificate()))
        self.job = Job(
            target=parse_target("d12.x86_64"),
            upstreams=(
                Upstream(
                    name="base",
                    module="node",
                    mirrors=(Mirror(url, ""),),
                    suite="bookworm",
                    components=("main",),
                    keys=(keyring,),
                ),
            ),
            groups=(("nginx",),),
            url_packages=(),
            options=Options(weak_dependencies=False),
            name="pigsty",
            version="v1",
            endpoint="http://10.10.10.10",
            digest="1" * 64,
        )

    def run(self, job: Job | None = None, served: Lock | None = None, *, write: bool = True, **settings: Any) -> Locked:
        known = {
            "home": self.folder / "www",
            "store": self.folder / "store",
            "state": self.folder / "state",
            "host": None,
            "now": NOW,
            "fetching": QUICK,
        }
        with Session(Settings(**{**known, **settings})) as session:
            locked = lock_job(session, job or self.job, self.path, served)
        if write:
            write_lock(self.path, locked.text)
        return locked

    def with_url(self, content: bytes, path: str, name: str = "x.deb", **words: Any) -> Job:
        self.archive.files[path] = content
        package = UrlPackage(
            name=name,
            url=f"{self.url}/{path}",
            sha256=words.pop("sha256", hashlib.sha256(content).hexdigest()),
            **words,
        )
        return replace(self.job, url_packages=(package,), digest="2" * 64)

    def upgrade(self, version: int = 2, days: int = 1) -> None:
        later = Simulator(self.archive.key, real=True).add("bookworm", "main", UNIVERSE.format(version=version))
        self.archive.files |= later.publish(date=self.archive.date + days * DAY).files


@pytest.fixture
def house(tmp_path: Path, archive: Simulator) -> Iterator[House]:
    with serve(archive) as url:
        yield House(tmp_path, archive, url)


def versions(locked: Locked) -> dict[str, str]:
    return {choice.package.name: choice.package.version for choice in locked.lock.choices}


def test_without_a_lock_one_is_made(house: House) -> None:
    locked = house.run()

    assert (locked.is_new, versions(locked)) == (True, {"libc6": "1", "nginx": "1"})
    assert (locked.lock.time, locked.lock.manifest, locked.lock.target) == (
        house.archive.date, "1" * 64, "d12.x86_64"
    )  # fmt: skip
    assert locked.served == {"base": house.url}
    assert read_lock(house.path) == locked.lock


def test_no_mirror_is_named_in_a_lock(house: House) -> None:
    assert house.url.rpartition("/")[2].encode() not in house.run().text


def test_making_a_lock_writes_none(house: House) -> None:
    house.run(write=False)

    assert not house.path.exists()


def test_a_lock_that_fits_is_kept_without_looking_upstream(house: House) -> None:
    first = house.run()
    house.upgrade()
    house.archive.requests.clear()

    again = house.run()

    assert (again.is_new, again.lock, again.text) == (False, first.lock, first.text)
    assert house.archive.requests.total() == 0


def test_update_moves_a_lock_when_upstream_has_moved(house: House) -> None:
    first = house.run()
    house.upgrade()

    moved = house.run(update=True)

    assert (moved.is_new, versions(moved)["nginx"]) == (True, "2")
    assert moved.lock.time == first.lock.time + DAY


def test_update_keeps_a_lock_byte_for_byte_when_nothing_has_moved(house: House) -> None:
    first = house.run()

    again = house.run(update=True, now=NOW + DAY)

    assert (again.is_new, again.text) == (False, first.text)


@pytest.mark.parametrize("change", [{"digest": "3" * 64}, {"target": parse_target("d12.aarch64")}])
def test_a_lock_of_another_manifest_or_target_is_replaced_by_a_later_one(change: dict[str, Any], house: House) -> None:
    first = house.run()

    made = house.run(replace(house.job, **change))

    assert made.is_new
    assert made.lock.time == first.lock.time + 1


def test_a_new_lock_is_later_than_what_is_published(house: House) -> None:
    served = replace(house.run(write=False).lock, time=NOW + 10, version="v0")

    assert house.run(served=served).lock.time == NOW + 11


def test_a_lock_taken_back_by_hand_gets_a_later_time(house: House) -> None:
    first = house.run()
    served = replace(first.lock, time=first.lock.time + 50, version="v2")

    kept = house.run(served=served)

    assert (kept.is_new, kept.lock) == (False, replace(first.lock, time=served.time + 1))


def test_what_is_published_already_needs_no_later_time(house: House) -> None:
    first = house.run()

    assert house.run(served=first.lock).text == first.text


@pytest.mark.parametrize(
    ("change", "settings", "reason"),
    [
        ({"digest": "3" * 64}, {}, "the manifest has changed"),
        ({}, {"update": True}, "--update asks to move it"),
    ],
)
def test_a_lock_that_is_to_stay_stays(
    change: dict[str, Any], settings: dict[str, Any], reason: str, house: House
) -> None:
    first = house.run()
    house.archive.requests.clear()

    with pytest.raises(UsageError, match=reason):
        house.run(replace(house.job, **change), locked=True, **settings)

    assert house.path.read_bytes() == first.text
    assert house.archive.requests.total() == 0


def test_a_lock_that_is_to_stay_has_to_be_there(house: House) -> None:
    with pytest.raises(UsageError, match="there is none"):
        house.run(locked=True)


def test_a_lock_that_is_to_stay_and_fits_is_used(house: House) -> None:
    first = house.run()

    assert house.run(locked=True).text == first.text


def test_a_lock_that_is_to_stay_gets_no_later_time(house: House) -> None:
    first = house.run()
    served = replace(first.lock, time=first.lock.time + 50, version="v2")

    with pytest.raises(UsageError, match="clients would keep that"):
        house.run(served=served, locked=True)


@pytest.mark.parametrize("text", [b"", b"{", b'{"format": 99}', b"\0" * 100])
def test_a_damaged_lock_is_refused_and_update_heals_it(text: bytes, house: House) -> None:
    house.path.parent.mkdir()
    house.path.write_bytes(text)

    with pytest.raises(HostileInputError) as caught:
        house.run()
    assert "lock --update" in (caught.value.hint or "")
    with pytest.raises(HostileInputError):
        house.run(locked=True, update=True)
    assert versions(house.run(update=True))["nginx"] == "1"
    assert versions(house.run())["nginx"] == "1"


def test_two_houses_make_one_lock(tmp_path: Path, archive: Simulator) -> None:
    texts = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        with serve(archive) as url:
            texts.append(House(tmp_path / name, archive, url).run().text)

    assert texts[0] == texts[1]


def test_what_is_missing_stops_or_is_recorded(house: House) -> None:
    job = replace(house.job, groups=(("nginx", "ngimx"),), digest="4" * 64)

    with pytest.raises(MissingError, match="ngimx"):
        house.run(job)
    assert [each.want for each in house.run(job, skip_missing=True).lock.missing] == ["ngimx"]


def test_a_mirror_that_is_behind_does_not_move_the_lock_back(house: House) -> None:
    old = dict(house.archive.files)
    house.upgrade()
    first = house.run()
    house.archive.files = old

    assert house.run(update=True).text == first.text
    (house.folder / "state/upstreams.json").write_text(
        (house.folder / "state/upstreams.json").read_text().replace('"last ', '"lost ')
    )
    with pytest.raises(RollbackError):
        house.run(update=True)


def test_skipping_an_upstream_is_recorded(house: House) -> None:
    gone = replace(house.job.upstreams[0], name="gone", suite="gone")
    job = replace(house.job, upstreams=(*house.job.upstreams, gone))

    pins = house.run(job, skip_unavailable=True).lock.upstreams

    assert [(pin.name, bool(pin.sha256)) for pin in pins] == [("base", True), ("gone", False)]


def test_a_lost_file_is_left_out_where_that_is_allowed(house: House) -> None:
    house.archive.add("bookworm", "main", "nginx 3   Depends: libc6").publish()
    del house.archive.files["pool/main/nginx_3_amd64.deb"]

    locked = house.run(skip_gone=True)

    assert (versions(locked)["nginx"], locked.lock.gone) == ("1", ("nginx_3_amd64.deb",))


# packages by URL

CONTROL = "Package: tool\nVersion: 1:2.0+x-1\nArchitecture: amd64\nDepends: libc6\nDescription: x\n"


def test_a_package_by_url_is_locked_with_its_dependencies(house: House) -> None:
    job = house.with_url(make_deb(CONTROL), "files/tool.deb")

    locked = house.run(job)

    assert versions(locked) == {"libc6": "1", "nginx": "1", "tool": "1:2.0+x-1"}
    tool = next(choice for choice in locked.lock.choices if choice.package.name == "tool")
    assert (tool.why, tool.package.upstream, tool.package.filename) == ("want", "url:x.deb", "tool_2.0+x-1_amd64.deb")
    assert tool.package.path == "tool.deb"
    assert lock.read(locked.text, "a lock") == locked.lock


@pytest.mark.parametrize("path", ["a/tool+1~x.deb", "a/tool%2Bx.deb", "a/tool%20x.deb", "a/tool.deb?version=1&x=%2F"])
def test_the_path_in_a_lock_leads_to_the_file_again(path: str, house: House) -> None:
    content = make_deb(CONTROL)
    job = house.with_url(content, path)
    house.archive.files[unquote(path)] = content
    locked = house.run(job)
    package = next(choice.package for choice in locked.lock.choices if choice.package.name == "tool")
    mirror = mirrors_of(IDLE, job, {})[package.upstream][0]

    with fetch.Fetcher(QUICK) as fetcher:
        assert fetcher.get(mirror, package.path, 1 << 20) == content


def test_a_package_by_url_wins_over_what_upstreams_have(house: House) -> None:
    job = house.with_url(make_deb(CONTROL.replace("tool", "nginx").replace("1:2.0+x-1", "0.5")), "nginx.deb")

    assert versions(house.run(job))["nginx"] == "0.5"


def test_a_file_by_url_that_is_no_package_is_an_asset(house: House) -> None:
    job = house.with_url(b"archive", "x/tool.tar.gz", name="tool.tar.gz")

    asset = house.run(job).lock.assets[0]

    assert (asset.name, asset.size, asset.sha256) == ("tool.tar.gz", 7, hashlib.sha256(b"archive").hexdigest())


def test_a_file_that_is_not_what_its_digest_says_is_refused(house: House) -> None:
    with pytest.raises(RefusedError):
        house.run(house.with_url(b"archive", "tool.tar.gz", name="tool.tar.gz", sha256="0" * 64))


def test_a_file_without_digest_is_named_as_unverified(house: House) -> None:
    job = house.with_url(make_deb(CONTROL), "tool.deb", sha256=None, verify=Verify.NONE)

    assert house.run(job).lock.unverified == ("x.deb",)


def test_a_package_by_url_that_is_none_is_refused(house: House) -> None:
    with pytest.raises(HostileInputError, match="not a Debian package"):
        house.run(house.with_url(b"<html>", "tool.deb"))


def test_a_url_that_names_no_file_is_refused(house: House) -> None:
    package = UrlPackage(name="x.deb", url=f"{house.url}/", sha256="0" * 64)

    with pytest.raises(HostileInputError, match="names no file"):
        house.run(replace(house.job, url_packages=(package,)))


def test_offline_needs_every_file_in_the_store(house: House) -> None:
    job = house.with_url(make_deb(CONTROL), "tool.deb")
    house.run()

    with pytest.raises(UsageError, match="--offline forbids"):
        house.run(job, offline=True)
    first = house.run(job)
    house.path.unlink()
    house.archive.is_down = True
    assert lock.same_content(house.run(job, offline=True).lock, first.lock)


def test_the_mirror_that_served_the_root_comes_first() -> None:
    mirrors = tuple(Mirror(f"http://{name}.test") for name in "abc")
    upstream = Upstream(name="base", module="", mirrors=mirrors)
    job = Job(
        target=parse_target("d12.x86_64"), upstreams=(upstream,), groups=(), url_packages=(),
        options=Options(weak_dependencies=False), name="x", version="v", endpoint="", digest="",
    )  # fmt: skip

    assert [each.url[7] for each in mirrors_of(IDLE, job, {"base": "http://b.test"})["base"]] == ["b", "a", "c"]
    assert mirrors_of(IDLE, job, {})["base"] == mirrors
