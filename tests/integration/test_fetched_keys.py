"""RPMs proven by a key that is fetched: when a lock moves, when one is kept, and without network."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import rpms
from archive_on_disk import served
from rpm_archive import Rpm, RpmArchive

from repobuild.errors import UnreachableError, VerificationError
from repobuild.model import PACKAGE_KEYS, Job, Mirror, Options, Upstream, Verify
from repobuild.pipeline import Session, Settings, sync
from repobuild.signing import Keyring
from repobuild.targets import parse_target

pytestmark = pytest.mark.integration

PUBLIC = rpms.signing_key().public.encode()
(FINGERPRINT,) = Keyring.from_bytes([("packager", PUBLIC)]).fingerprints
NOBODY = "0" * 40


class House:
    """A build machine of the test's own, a session for every run."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url

    def job(self, *fingerprints: str) -> Job:
        upstream = Upstream(
            name="rpms",
            module="node",
            mirrors=(Mirror(self.url, ""),),
            verify=Verify.PACKAGES,
            checks_packages=True,
            key_urls=(f"{self.url}/packager.asc",),
            fingerprints=fingerprints,
        )
        return Job(
            target=parse_target("el9.x86_64"),
            upstreams=(upstream,),
            groups=(("app",),),
            url_packages=(),
            options=Options(weak_dependencies=False),
            name="pigsty",
            version="v1",
            endpoint="http://192.0.2.10",
            digest="1" * 64,
        )

    def sync(self, *fingerprints: str, **settings: Any) -> Any:
        known = {name: self.folder / name for name in ("home", "store", "state")}
        with Session(Settings(**known, host=None, now=1_790_000_000, **settings)) as session:
            return sync(session, self.job(*(fingerprints or (FINGERPRINT,))), self.folder / "lock")

    @property
    def repository(self) -> Path:
        return self.folder / "home/el9.x86_64/pigsty"


@pytest.fixture
def house(tmp_path: Path, tool: Callable[[str], str]) -> Iterator[House]:
    tool("createrepo_c")
    archive = RpmArchive(tmp_path / "upstream")
    archive.publish([Rpm("app", "1.0", {"sign": rpms.signing_key().secret})], is_signed=False)
    (archive.folder / "packager.asc").write_bytes(PUBLIC)
    with served(archive.folder) as url:
        yield House(tmp_path, url)


def test_packages_are_proven_by_the_key_that_was_fetched(house: House) -> None:
    made = house.sync()

    assert (house.repository / "app-1.0-1.el9.x86_64.rpm").is_file()
    assert (
        FINGERPRINT in Keyring.from_bytes([("passed on", dict(made.lock.extras)[PACKAGE_KEYS].encode())]).fingerprints
    )


def test_a_kept_lock_is_built_again_without_network(house: House) -> None:
    house.sync()
    shutil.rmtree(house.folder / "home")

    house.sync(offline=True)

    assert (house.repository / "app-1.0-1.el9.x86_64.rpm").is_file()


def test_a_kept_lock_needs_the_key_for_its_packages(house: House) -> None:
    house.sync()
    shutil.rmtree(house.folder / "home")
    shutil.rmtree(house.folder / "state")

    with pytest.raises(UnreachableError, match=FINGERPRINT):
        house.sync(offline=True)
    house.sync()

    assert (house.repository / "app-1.0-1.el9.x86_64.rpm").is_file()


def test_nothing_is_published_by_another_key(house: House) -> None:
    with pytest.raises(VerificationError, match=NOBODY):
        house.sync(NOBODY)

    assert not house.repository.exists()
    assert not (house.folder / "lock").exists()
