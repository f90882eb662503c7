"""Keys that are fetched: believed by their pinned fingerprints alone, remembered, and kept."""

from collections.abc import Callable
from pathlib import Path

import pytest
from pysequoia import Tsk
from simulator import Simulator
from test_catalog import House, Limits, Notes

from repobuild import catalog
from repobuild.errors import NotFoundError, RepobuildError, UnreachableError, VerificationError
from repobuild.model import Mirror, Upstream, Verify
from repobuild.state import Memory
from repobuild.store import Store

URL = "https://keys.test/pub/key"
OTHER = "https://mirror.test/pub/key"
ASKED = ("https://keys.test/pub", "key")


@pytest.fixture(scope="module")
def key() -> Tsk:
    return Tsk.generate("archive")


@pytest.fixture(scope="module")
def other_key() -> Tsk:
    return Tsk.generate("somebody else")


@pytest.fixture
def archive(key: Tsk) -> Simulator:
    return Simulator(key).add("bookworm", "main", "nginx 1").publish()


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path, Path("/nowhere/key.gpg"))


def public(key: Tsk) -> bytes:
    return str(key.extract_certificate()).encode()


def fingerprint(key: Tsk) -> str:
    return key.extract_certificate().fingerprint.upper()


class Net:
    """An archive, and servers of keys: what each URL gives, an error among it."""

    def __init__(self, archive: Simulator, **keys: bytes | RepobuildError) -> None:
        self.archive = archive
        self.keys = {f"https://{host}.test/pub": answer for host, answer in keys.items()}
        self.asked: list[tuple[str, str]] = []

    def get(self, mirror: Mirror, path: str, limit: int) -> bytes:
        if path != "key":
            return self.archive.get(mirror, path, limit)
        self.asked.append((mirror.url, path))
        answer = self.keys.get(mirror.url, NotFoundError(f"not found: {mirror.url}/{path}"))
        if isinstance(answer, RepobuildError):
            raise answer
        return Simulator(self.archive.key, files={"key": answer}).get(mirror, path, limit)


def upstream(house: House, *keys: Tsk, **words: object) -> Upstream:
    pinned = tuple(map(fingerprint, keys))
    return house.upstream(**{"keys": (), "key_urls": (URL,), "fingerprints": pinned, **words})


def refusal(call: Callable[[], object]) -> VerificationError:
    with pytest.raises(VerificationError) as caught:
        call()
    return caught.value


# what goes well


def test_a_key_is_fetched_and_believed_by_its_fingerprint(house: House, archive: Simulator, key: Tsk) -> None:
    net = Net(archive, keys=public(key))

    loaded = house.load(net.get, upstream(house, key))

    assert loaded.pins[0].signer == fingerprint(key)
    assert [path.read_bytes() for path in loaded.loaded[0].upstream.keys] == [public(key)]
    assert net.asked == [ASKED]


def test_a_run_without_network_finds_the_key_in_the_store(house: House, archive: Simulator, key: Tsk) -> None:
    net = Net(archive, keys=public(key))
    house.load(net.get, upstream(house, key))

    loaded = house.load(net.get, upstream(house, key), offline=True)

    assert loaded.pins[0].signer == fingerprint(key)
    assert net.asked == [ASKED]


def test_the_store_keeps_a_remembered_key_when_it_is_cleaned(house: House, archive: Simulator, key: Tsk) -> None:
    net = Net(archive, keys=public(key))
    house.load(net.get, upstream(house, key))

    with Store.open(house.folder / "store", exclusive=True) as store:
        store.collect(Memory(house.folder / "state").objects())

    assert house.load(net.get, upstream(house, key), offline=True).pins[0].signer == fingerprint(key)


def test_the_next_url_is_tried_and_the_failure_said(house: House, archive: Simulator, key: Tsk, other_key: Tsk) -> None:
    net = Net(archive, keys=public(other_key), mirror=public(key))

    loaded = house.load(net.get, upstream(house, key, key_urls=(URL, OTHER)))

    assert loaded.pins[0].signer == fingerprint(key)
    assert any("holds none of the keys" in line and URL in line for line in house.notes)


def test_the_remembered_key_stands_in_for_a_silent_owner(house: House, archive: Simulator, key: Tsk) -> None:
    house.load(Net(archive, keys=public(key)).get, upstream(house, key))

    loaded = house.load(Net(archive, keys=UnreachableError("no route to host")).get, upstream(house, key))

    assert loaded.pins[0].signer == fingerprint(key)
    assert "base: its key: no route to host" in house.notes


def test_the_remembered_key_stands_in_for_another_one(
    house: House, archive: Simulator, key: Tsk, other_key: Tsk
) -> None:
    house.load(Net(archive, keys=public(key)).get, upstream(house, key))

    loaded = house.load(Net(archive, keys=public(other_key)).get, upstream(house, key))

    assert loaded.pins[0].signer == fingerprint(key)


def test_upstreams_of_one_owner_ask_for_their_key_once(house: House, archive: Simulator, key: Tsk) -> None:
    archive.add("bookworm-updates", "main", "nginx 2").publish()
    net = Net(archive, keys=public(key))

    house.load(net.get, upstream(house, key), upstream(house, key, name="updates", suite="bookworm-updates"))

    assert net.asked == [ASKED]


def test_keys_of_a_file_stand_beside_those_that_are_fetched(
    house: House, archive: Simulator, key: Tsk, other_key: Tsk, tmp_path: Path
) -> None:
    (tmp_path / "old.gpg").write_bytes(public(other_key))
    both = upstream(house, key, other_key, keys=(tmp_path / "old.gpg",))

    loaded = house.load(Net(archive, keys=public(key)).get, both)

    assert loaded.loaded[0].upstream.keys[0] == tmp_path / "old.gpg"
    assert loaded.pins[0].signer == fingerprint(key)


def test_nothing_is_fetched_for_an_upstream_that_is_accepted_unverified(
    house: House, archive: Simulator, key: Tsk
) -> None:
    net = Net(archive)

    house.load(net.get, upstream(house, key, verify=Verify.NONE))

    assert net.asked == []


# what is refused


def test_another_key_is_refused_with_its_url_and_the_fingerprint(
    house: House, archive: Simulator, key: Tsk, other_key: Tsk
) -> None:
    net = Net(archive, keys=public(other_key))

    error = refusal(lambda: house.load(net.get, upstream(house, key)))

    assert URL in error.message
    assert fingerprint(key) in error.message
    assert "signed_by" in (error.hint or "")


def test_a_key_of_the_same_file_that_is_not_pinned_is_not_believed(
    house: House, archive: Simulator, key: Tsk, other_key: Tsk
) -> None:
    net = Net(archive, keys=public(key) + public(other_key))

    error = refusal(lambda: house.load(net.get, upstream(house, other_key)))

    assert "unknown key" in error.message


def test_a_private_key_is_refused(house: House, archive: Simulator, key: Tsk) -> None:
    for secret in (str(key).encode(), bytes(key)):
        error = refusal(lambda secret=secret: house.load(Net(archive, keys=secret).get, upstream(house, key)))

        assert URL in error.message


@pytest.mark.parametrize("answer", [b"", b"<html>Please log in</html>", b"x" * ((1 << 20) + 1)])
def test_what_is_no_key_file_is_refused(house: House, archive: Simulator, key: Tsk, answer: bytes) -> None:
    error = refusal(lambda: house.load(Net(archive, keys=answer).get, upstream(house, key)))

    assert URL in error.message
    assert fingerprint(key) in error.message


def test_a_url_without_a_pinned_fingerprint_is_refused(house: House, archive: Simulator, key: Tsk) -> None:
    net = Net(archive, keys=public(key))

    error = refusal(lambda: house.load(net.get, upstream(house)))

    assert "no fingerprint is pinned" in error.message
    assert net.asked == []


def test_a_key_remembered_for_other_fingerprints_is_not_taken(
    house: House, archive: Simulator, key: Tsk, other_key: Tsk
) -> None:
    house.load(Net(archive, keys=public(key)).get, upstream(house, key))

    with pytest.raises(UnreachableError, match="--offline forbids"):
        house.load(Net(archive).get, upstream(house, other_key), offline=True)


# what cannot be had


def test_without_network_a_key_that_was_never_fetched_is_an_error(house: House, archive: Simulator, key: Tsk) -> None:
    net = Net(archive, keys=public(key))

    with pytest.raises(UnreachableError) as caught:
        house.load(net.get, upstream(house, key), offline=True)

    assert fingerprint(key) in caught.value.message
    assert "without --offline" in (caught.value.hint or "")
    assert net.asked == []


def test_a_key_that_cannot_be_had_is_an_error_that_names_it(house: House, archive: Simulator, key: Tsk) -> None:
    with pytest.raises(UnreachableError) as caught:
        house.load(Net(archive).get, upstream(house, key, key_urls=(URL, OTHER)))

    assert all(each in caught.value.message for each in (URL, OTHER, fingerprint(key)))


def test_an_upstream_whose_key_cannot_be_had_may_be_skipped(
    house: House, archive: Simulator, key: Tsk, other_key: Tsk
) -> None:
    known = upstream(house, other_key, name="updates", skip_if_unavailable=True, key_urls=(OTHER,))

    loaded = house.load(Net(archive, keys=public(key)).get, upstream(house, key), known)

    assert loaded.skipped == ("updates",)


def test_what_is_not_the_key_never_lets_an_upstream_be_skipped(
    house: House, archive: Simulator, key: Tsk, other_key: Tsk
) -> None:
    net = Net(archive, keys=public(other_key))

    refusal(lambda: house.load(net.get, upstream(house, key, skip_if_unavailable=True), skip_unavailable=True))


def test_a_run_of_its_own_asks_for_keys_by_name(house: House, archive: Simulator, key: Tsk) -> None:
    """What proves packages after a lock was kept: no catalog is loaded then."""
    net = Net(archive, keys=public(key))
    proving = upstream(house, key, verify=Verify.PACKAGES, checks_packages=True)
    with Store.open(house.folder / "store") as store:
        means = catalog.Means(net.get, store, Memory(house.folder / "state"), Limits(), Notes())

        found = catalog.with_keys(proving, means)

        assert [path.read_bytes() for path in found.keys] == [public(key)]
