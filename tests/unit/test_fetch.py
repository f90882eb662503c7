"""Fetch against a server that lies, stalls and breaks (tests/faultserver.py)."""

import hashlib
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from faultserver import FAULTS, FaultServer

from repobuild.errors import (
    BusyError,
    DiskError,
    HostileInputError,
    NotFoundError,
    PinnedFileGoneError,
    RepobuildError,
    UnreachableError,
    VerificationError,
)
from repobuild.fetch import Fetcher, Location, Request, Settings
from repobuild.fetch.proxies import is_direct
from repobuild.fetch.values import shown
from repobuild.model import Mirror
from repobuild.progress import SILENT
from repobuild.store import Store

BODY = bytes(range(256)) * 200
QUICK = Settings(
    jobs=4,
    connect_seconds=0.5,
    answer_seconds=0.4,
    slow_seconds=0.4,
    slow_bytes=2000,
    total_seconds=4,
    backoff_seconds=0.02,
    retry_after_cap_seconds=2,
    patience_seconds=2,
)
PROCESS = """
import hashlib, json, sys
from pathlib import Path
from repobuild.fetch import *
from repobuild.model import Mirror
from repobuild.progress import SILENT
from repobuild.store import Store
root, url, files, split = sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), int(sys.argv[4])
requests = [
    Request(what=name, locations=(Location(mirror=Mirror(url), path=name),), sha256=sha256, size=size, limit=size)
    for name, sha256, size in files
]
with Store.open(Path(root)) as store, Fetcher(Settings(jobs=4, split_bytes=split)) as fetcher:
    fetcher.fetch(requests, store, SILENT)
"""


class Adding:
    """A progress that adds up."""

    def __init__(self) -> None:
        self.total = self.sum = 0

    def note(self, text: str) -> None: ...

    def debug(self, text: str) -> None: ...

    def start(self, what: str, total: int) -> None:
        self.total = total

    def advance(self, count: int) -> None:
        self.sum += count

    def finish(self) -> None: ...


@pytest.fixture
def store(tmp_path):
    with Store.open(tmp_path / "store") as store:
        yield store


def request(path: str, *mirrors: str, body: bytes = BODY) -> Request:
    locations = tuple(Location(mirror=Mirror(url), path=path) for url in mirrors)
    digest = hashlib.sha256(body).hexdigest()
    return Request(what=path, locations=locations, sha256=digest, size=len(body), limit=1 << 20)


def fetch(store: Store, *requests: Request, settings: Settings = QUICK, progress=SILENT):
    with Fetcher(settings) as fetcher:
        return fetcher.fetch(requests, store, progress)


def on_disk(store: Store) -> int:
    return sum(status.st_size for _, status in store._incoming.walk())


# --- every kind of fault -------------------------------------------------------------------------------------------

HARMLESS = {
    "range_ignored",
    "length_missing",
    "length_negative",
    "length_garbage",
    "chunked_honest",
}
"""Kinds that are no obstacle to having the bytes."""
PROVEN_WRONG = {
    "captive_page",
    "captive_page_same_size",
    "corrupt_byte",
    "empty_answer",
    "endless_body",
    "endless_chunks",
    "gzip_added",
    "length_long",
    "length_short",
    "range_garbage",
    "range_missing",
    "range_wrong",
    "redirect_to_file",
    "redirect_to_ftp",
    "redirect_with_credentials",
}
GONE = {"status_404", "status_410"}


def expected_error(name: str) -> type[RepobuildError]:
    if name in GONE:
        return PinnedFileGoneError
    return VerificationError if name in PROVEN_WRONG else UnreachableError


def test_the_server_knows_at_least_forty_faults():
    assert len(FAULTS) - len(HARMLESS) >= 40
    assert set(FAULTS) >= HARMLESS | PROVEN_WRONG | GONE


@pytest.mark.parametrize("name", sorted(set(FAULTS) - {"retry_after_absurd"}))
def test_a_fault_that_happens_once_heals(store, name):
    with FaultServer({"pool/a": BODY, "other": BODY}) as server:
        server.break_path("pool/a", name, once=True)
        progress = Adding()

        fetched = fetch(store, request("pool/a", server.url), progress=progress)

        assert fetched.downloaded == 1
        assert store.read(hashlib.sha256(BODY).hexdigest(), 1 << 20) == BODY
        assert progress.sum == progress.total == len(BODY)
        assert server.hits().total() <= 6


@pytest.mark.parametrize("name", sorted(set(FAULTS) - HARMLESS))
def test_a_fault_that_stays_ends_in_an_error_that_names_it(store, name):
    with FaultServer({"pool/a": BODY}) as server:
        server.break_path("pool/a", name, once=False)
        begun = time.monotonic()

        with pytest.raises(expected_error(name)) as caught:
            fetch(store, request("pool/a", server.url))

        assert f"{server.url}/pool/a: " in caught.value.message
        assert caught.value.hint
        assert "canary" not in f"{caught.value.message} {caught.value.hint}"
        assert time.monotonic() - begun < 6
        assert list(store.listing()) == []
        assert on_disk(store) <= len(BODY) + 65536
        assert server.hits().total() <= 6


@pytest.mark.parametrize("name", sorted(set(FAULTS) - HARMLESS))
def test_another_mirror_makes_up_for_a_broken_one(store, name):
    with FaultServer({"pool/a": BODY}) as bad, FaultServer({"pool/a": BODY}) as good:
        bad.break_path("pool/a", name, once=False)

        fetched = fetch(store, request("pool/a", bad.url, good.url))

        assert fetched.mirrors == {good.url: 1}
        assert store.has(hashlib.sha256(BODY).hexdigest(), len(BODY))


QUIET = {"length_short", "empty_answer", "captive_page", "captive_page_same_size", "corrupt_byte"}
"""Kinds that only a digest or a size can tell."""
ENDLESS = {"endless_body", "endless_chunks"}


@pytest.mark.parametrize("name", sorted(set(FAULTS) - QUIET - ENDLESS - {"retry_after_absurd"}))
def test_a_small_file_survives_a_fault_that_happens_once(name):
    with FaultServer({"InRelease": BODY, "other": BODY}) as server, Fetcher(QUICK) as fetcher:
        server.break_path("InRelease", name, once=True)

        assert fetcher.get(Mirror(server.url), "InRelease", 1 << 20) == BODY


# --- what faults mean ----------------------------------------------------------------------------------------------


def test_a_small_file_larger_than_its_limit_is_refused():
    with FaultServer({"InRelease": BODY, "endless": BODY}) as server, Fetcher(QUICK) as fetcher:
        server.break_path("endless", "endless_body", once=False)
        for path in ("InRelease", "endless"):
            with pytest.raises(HostileInputError, match="larger than 1000 bytes"):
                fetcher.get(Mirror(server.url), path, 1000)


def test_a_small_file_that_is_not_there_is_told_from_a_mirror_that_is_not_there():
    with FaultServer({}) as server, Fetcher(QUICK) as fetcher, pytest.raises(NotFoundError):
        fetcher.get(Mirror(server.url), "InRelease", 1000)
    with Fetcher(QUICK) as fetcher, pytest.raises(UnreachableError) as caught:
        fetcher.get(Mirror(server.url), "InRelease", 1000)
    assert not isinstance(caught.value, NotFoundError)


def test_a_pinned_file_that_is_gone_everywhere_names_the_command_that_moves_the_lock(store):
    with FaultServer({}) as one, FaultServer({}) as other, pytest.raises(PinnedFileGoneError) as caught:
        fetch(store, request("a", one.url, other.url))

    assert "repobuild lock --update" in (caught.value.hint or "")


def test_gone_on_one_mirror_and_unreachable_on_the_other_is_unreachable(store):
    with FaultServer({}) as one, FaultServer({"a": BODY}) as other:
        other.break_path("a", "status_500", once=False)
        with pytest.raises(UnreachableError) as caught:
            fetch(store, request("a", one.url, other.url))

    assert not isinstance(caught.value, PinnedFileGoneError)


def test_a_login_page_is_called_by_its_name(store):
    with FaultServer({"a": BODY}) as server:
        server.break_path("a", "captive_page", once=False)
        with pytest.raises(VerificationError, match="text/html"):
            fetch(store, request("a", server.url))


def test_retry_after_is_waited_for_and_beyond_the_cap_the_next_mirror_is_asked(store):
    with FaultServer({"a": BODY, "b": BODY + b"b"}) as server, FaultServer({"b": BODY + b"b"}) as other:
        server.break_path("a", "retry_after_seconds", once=True)
        server.break_path("b", "retry_after_absurd", once=False)
        begun = time.monotonic()
        fetch(store, request("a", server.url))
        assert time.monotonic() - begun >= 1

        fetched = fetch(store, request("b", server.url, other.url, body=BODY + b"b"))
        assert fetched.mirrors == {other.url: 1}
        assert server.hits()["b"] == 1


def test_a_broken_transfer_goes_on_where_it_stopped(store):
    with FaultServer({"a": BODY}) as server:
        server.break_path("a", "truncate", once=True)

        fetched = fetch(store, request("a", server.url))

        assert server.seen[1].headers["range"] == f"bytes={len(BODY) // 2}-{len(BODY) - 1}"
        assert fetched.bytes == len(BODY)


@pytest.mark.parametrize("answer", ["range_ignored", "range_wrong", "range_garbage", "range_missing", "status_416"])
def test_a_resume_that_is_not_honoured_starts_over_and_never_appends(store, answer):
    with FaultServer({"a": BODY}) as server:
        server.break_path("a", "truncate", once=True)
        server.break_path("a", answer, once=True)

        fetch(store, request("a", server.url))

        assert store.has(hashlib.sha256(BODY).hexdigest())


def test_a_good_mirror_is_not_blamed_for_bytes_that_another_left(store):
    lie = b"\xff" * len(BODY)
    with FaultServer({"a": lie}) as liar, FaultServer({"a": BODY}) as good:
        liar.break_path("a", "truncate", once=False)
        settings = replace(QUICK, tries=2)

        fetched = fetch(store, request("a", liar.url, good.url), settings=settings)

        assert fetched.mirrors == {good.url: 1}


def test_a_host_that_does_not_answer_is_asked_last_from_then_on(store):
    bodies = {f"f{number}": os.urandom(1000) for number in range(60)}
    with (
        socket.create_server(("127.0.0.1", 0), backlog=0) as deaf,
        socket.create_connection(deaf.getsockname()),
        FaultServer(bodies) as good,
    ):
        dead = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        begun = time.monotonic()

        fetched = fetch(store, *(request(path, dead, good.url, body=body) for path, body in bodies.items()))

        assert fetched.mirrors == {good.url: 60}
        assert time.monotonic() - begun < 3


def test_no_name_and_nobody_listening_are_said_as_such(store):
    with pytest.raises(UnreachableError, match="has no address"):
        fetch(store, request("a", "http://nowhere.invalid"))
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(UnreachableError, match="connection refused"):
        fetch(store, request("a", f"http://127.0.0.1:{port}"))


# --- groups --------------------------------------------------------------------------------------------------------


def fetch_all(store: Store, *groups: list[Request], settings: Settings = QUICK):
    with Fetcher(settings) as fetcher:
        return fetcher.fetch_all(groups, store, SILENT)


def test_an_object_that_fails_ends_only_the_groups_that_need_it(store):
    bodies = {name: name.encode() * 500 for name in "abcdef"}
    with FaultServer({name: body for name, body in bodies.items() if name != "c"}) as server:
        made = {name: request(name, server.url, body=body) for name, body in bodies.items()}
        fetched = fetch_all(store, *([made[name] for name in names] for names in ("ab", "bcd", "ef", "c")))

    assert list(fetched.failed) == [1, 3]
    assert fetched.failed[1] is fetched.failed[3]
    assert isinstance(fetched.failed[1], PinnedFileGoneError)
    for name in "abef":
        digest = made[name].sha256
        assert store.has(digest)
        assert fetched.arrivals[digest].bytes == 500
        assert fetched.arrivals[digest].mirror == server.url


def test_what_only_a_failed_group_needs_is_dropped(store):
    bodies = {f"f{number:02}": os.urandom(2000 - number) for number in range(40)}
    with FaultServer(bodies) as server:
        bad = request("gone", server.url, body=b"x" * 3000)
        requests = [request(path, server.url, body=body) for path, body in bodies.items()]
        fetched = fetch_all(store, [bad, *requests[1:]], requests[:1], settings=replace(QUICK, jobs=1))

        assert list(fetched.failed) == [0]
        assert server.hits()["f00"] == 1
        assert server.hits().total() < 10


def test_a_large_file_of_a_failed_group_is_not_waited_for(store):
    body = os.urandom(8_000_000)
    with FaultServer({"large": body, "small": b"s"}) as server:
        server.rate = 1_000_000
        large, bad = request("large", server.url, body=body), request("gone", server.url, body=b"x")
        begun = time.monotonic()

        fetched = fetch_all(store, [large, bad], [request("small", server.url, body=b"s")])

        assert list(fetched.failed) == [0]
        assert time.monotonic() - begun < 3
        assert store.has(hashlib.sha256(b"s").hexdigest())


def test_an_object_of_several_groups_is_looked_for_where_any_of_them_has_it(store):
    with FaultServer({}) as empty, FaultServer({"there/a": BODY}) as good:
        fetched = fetch_all(store, [request("a", empty.url)], [request("there/a", good.url)])

    assert fetched.failed == {}
    assert fetched.downloaded == 1
    assert fetched.arrivals[hashlib.sha256(BODY).hexdigest()].mirror == good.url


def test_a_disk_that_is_full_ends_all_groups(store):
    digest = hashlib.sha256(BODY).hexdigest()
    huge = Request(what="huge", locations=(), sha256=digest, size=1 << 60, limit=1 << 60)

    with pytest.raises(DiskError), FaultServer({"b": b"b"}) as server:
        fetch_all(store, [request("b", server.url, body=b"b")], [huge])


# --- redirects, proxies, secrets -----------------------------------------------------------------------------------


def test_a_redirect_to_another_host_takes_no_cookie_along(store):
    with FaultServer({"a": BODY}) as first, FaultServer({"a": BODY}) as second:
        first.elsewhere = second.url
        first.break_path("a", "redirect_elsewhere", once=False)

        fetch(store, request("a", first.url))

        assert {"cookie", "authorization", "referer"}.isdisjoint(second.seen[0].headers)
        assert second.seen[0].headers["accept-encoding"] == "identity"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", folder / "key", "-out", folder / "pem"],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return folder


def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "pem", certificate / "key")
    return context


def test_https_works_with_the_authority_that_the_settings_name_and_no_other(store, certificate):
    with FaultServer({"a": BODY}, tls=tls(certificate)) as server:
        with pytest.raises(UnreachableError, match="certificate does not hold"):
            fetch(store, request("a", server.url))

        fetched = fetch(store, request("a", server.url), settings=replace(QUICK, ca_file=certificate / "pem"))
        assert fetched.downloaded == 1


def test_https_never_becomes_http(store, certificate):
    with FaultServer({"a": BODY}, tls=tls(certificate)) as safe, FaultServer({"a": BODY}) as plain:
        safe.elsewhere = plain.url
        safe.break_path("a", "redirect_elsewhere", once=False)

        with pytest.raises(VerificationError, match="from https to http"):
            fetch(store, request("a", safe.url), settings=replace(QUICK, ca_file=certificate / "pem"))

        assert plain.seen == []


@pytest.mark.parametrize("name", ["stall_body", "stall_headers", "drip_body", "drip_headers", "rst_body"])
def test_a_tls_server_that_stalls_is_left_in_time(store, certificate, name):
    with FaultServer({"a": BODY}, tls=tls(certificate)) as server:
        server.break_path("a", name, once=False)
        begun = time.monotonic()

        with pytest.raises(UnreachableError):
            fetch(store, request("a", server.url), settings=replace(QUICK, ca_file=certificate / "pem"))

        assert time.monotonic() - begun < 6


def test_a_proxy_is_taken_from_the_settings_or_the_mirror_and_never_from_the_environment(store, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with FaultServer({"http://upstream.invalid/a": BODY, "b": BODY + b"b"}) as server:
        settings = replace(QUICK, proxies={"http": server.url})
        assert fetch(store, request("a", "http://upstream.invalid"), settings=settings).downloaded == 1

        direct = Location(mirror=Mirror(server.url, proxy=""), path="b")
        own = replace(request("b", body=BODY + b"b"), locations=(direct,))
        assert fetch(store, own, settings=settings).downloaded == 1
        assert fetch(store, request("b", server.url, body=BODY + b"b")).reused == 1


def test_a_proxys_password_is_not_in_an_error(store):
    settings = replace(QUICK, proxies={"all": "http://user:canary@127.0.0.1:1"})
    for url in ("http://upstream.invalid", "https://upstream.invalid"):
        with pytest.raises(UnreachableError, match="proxy") as caught:
            fetch(store, request("a", url), settings=settings)
        assert "canary" not in str(caught.value)


def test_a_proxy_that_declines_is_named(store):
    with FaultServer({}) as proxy, pytest.raises(UnreachableError, match="proxy does not connect us: status 404"):
        fetch(store, request("a", "https://upstream.invalid"), settings=replace(QUICK, proxies={"https": proxy.url}))


@pytest.mark.parametrize(
    ("host", "rules", "expected"),
    [
        ("a.example", "a.example", True),
        ("b.a.example", "a.example", True),
        ("b.a.example", ".a.example, other", True),
        ("ba.example", "a.example", False),
        ("a.example", "*", True),
        ("10.1.2.3", "10.0.0.0/8", True),
        ("11.1.2.3", "10.0.0.0/8", False),
        ("a.example", "a.example:81", False),
        ("a.example", "a.example:80", True),
        ("a.example", "", False),
        ("::1", "::1", True),
    ],
)
def test_no_proxy_names_hosts_domains_addresses_and_networks(host, rules, expected):
    assert is_direct(host, 80, rules) is expected


def test_a_shown_url_has_no_secret_and_no_control_character():
    assert shown("https://user:canary@host/p?token=canary#x") == "https://host/p"
    assert shown("http://host/\x1b[31m").isprintable()


def test_a_path_that_leaves_its_mirror_is_never_asked_for(store):
    with FaultServer({"a": BODY}) as server:
        for path in ("../a", "x/../../a", "/a", "x/%2e%2e/a", "a\nb"):
            with pytest.raises(VerificationError, match="not a path below"):
                fetch(store, request(path, f"{server.url}/base"))

        assert server.seen == []


def test_a_name_with_plus_tilde_hash_and_space_is_asked_for_as_it_is(store):
    path = "pool/g++_1.0~rc1+b1 x#y.deb"
    with FaultServer({path: BODY}) as server:
        assert fetch(store, request(path, server.url)).downloaded == 1


# --- file mirrors --------------------------------------------------------------------------------------------------


def test_a_file_mirror_is_read_from_disk(store, tmp_path):
    (tmp_path / "mirror with space").mkdir()
    (tmp_path / "mirror with space" / "a").write_bytes(BODY)
    url = f"file://{tmp_path}/mirror%20with%20space"

    fetched = fetch(store, request("a", url))

    assert fetched.mirrors == {url: 1}
    with Fetcher(QUICK) as fetcher:
        assert fetcher.get(Mirror(url), "a", 1 << 20) == BODY
        with pytest.raises(NotFoundError):
            fetcher.get(Mirror(url), "b", 1 << 20)
        with pytest.raises(HostileInputError):
            fetcher.get(Mirror(url), "a", 10)


def test_a_path_that_is_escaped_is_found_on_a_file_mirror(store, tmp_path):
    (tmp_path / "pool").mkdir()
    (tmp_path / "pool" / "g++_1.0~rc1+b1 x#y.deb").write_bytes(BODY)

    assert fetch(store, request("pool/g%2B%2B_1.0~rc1%2Bb1%20x%23y.deb", f"file://{tmp_path}")).downloaded == 1


@pytest.mark.parametrize("path", ["a%2F..%2F..%2Fsecret", "a%00"])
def test_an_escaped_path_does_not_leave_a_file_mirror(store, tmp_path, path):
    (tmp_path / "secret").write_bytes(BODY)
    (tmp_path / "mirror" / "a").mkdir(parents=True)

    with pytest.raises(UnreachableError, match="not a path below the mirror"):
        fetch(store, request(path, f"file://{tmp_path}/mirror"))


def test_a_device_in_a_file_mirror_is_not_read(store, tmp_path):
    os.mkfifo(tmp_path / "a")
    with pytest.raises(UnreachableError, match="no regular file"):
        fetch(store, request("a", f"file://{tmp_path}"))


# --- many, large, interrupted --------------------------------------------------------------------------------------


def test_what_the_store_has_is_not_fetched_and_a_tampered_object_is(store):
    with FaultServer({"a": BODY}) as server:
        assert fetch(store, request("a", server.url)).downloaded == 1
        assert fetch(store, request("a", server.url)).reused == 1
        path = store.path(hashlib.sha256(BODY).hexdigest())
        path.chmod(0o600)
        path.write_bytes(BODY[:-1] + b"X")

        assert fetch(store, request("a", server.url)).downloaded == 1
        assert path.read_bytes() == BODY


def test_a_digest_or_size_that_nobody_pinned_is_reported(store):
    with FaultServer({"a": BODY, "b": b"b" * 5000, "c": b"c" * 5000}) as server:
        loose = replace(request("a", server.url), sha256=None, size=None)
        sized = replace(request("b", server.url, body=b"b" * 5000), sha256=None)
        hashed = replace(request("c", server.url, body=b"c" * 5000), size=None)

        pins = fetch(store, loose, sized, hashed).pins

        assert pins[loose].sha256 == hashlib.sha256(BODY).hexdigest()
        assert [pins[each].size for each in (loose, sized, hashed)] == [len(BODY), 5000, 5000]


def test_an_object_that_nobody_pinned_is_bounded_by_its_limit(store):
    with FaultServer({"a": BODY, "endless": BODY}) as server:
        server.break_path("endless", "endless_body", once=False)
        for path in ("a", "endless"):
            with pytest.raises(VerificationError):
                fetch(store, replace(request(path, server.url), sha256=None, size=None, limit=1000))
        assert on_disk(store) <= 1000 + 65536


def test_connections_stay_open_and_the_largest_file_is_first(store):
    bodies = {f"f{number}": os.urandom(1000 + number) for number in range(100)}
    with FaultServer(bodies) as server:
        fetch(store, *(request(path, server.url, body=body) for path, body in bodies.items()))

        assert server.connections <= QUICK.jobs
        assert server.seen[0].path in {"f99", "f98", "f97", "f96"}
        assert server.hits().total() == 100


LARGE = os.urandom(3 << 20)
SPLITTING = replace(QUICK, split_bytes=1 << 18)


def test_a_large_file_is_fetched_in_parts_and_proven_as_a_whole(store):
    with FaultServer({"a": LARGE}) as server:
        progress = Adding()
        fetched = fetch(store, request("a", server.url, body=LARGE), settings=SPLITTING, progress=progress)

        assert fetched.bytes == progress.sum == len(LARGE)
        assert len(server.seen) > 4
        assert store.read(hashlib.sha256(LARGE).hexdigest(), 1 << 30) == LARGE


def test_a_server_without_range_gives_a_large_file_whole_with_one_request(store):
    with FaultServer({"a": LARGE}) as server:
        server.break_path("a", "range_ignored", once=False)

        fetch(store, request("a", server.url, body=LARGE), settings=SPLITTING)

        assert len(server.seen) == 1


@pytest.mark.parametrize("name", ["truncate", "range_ignored", "rst_body", "range_wrong", "status_503", "corrupt_byte"])
def test_a_part_that_fails_once_heals(store, name):
    with FaultServer({"a": LARGE}) as server:
        server.break_path("a", name, once=True, after=2)

        fetch(store, request("a", server.url, body=LARGE), settings=SPLITTING)

        assert store.read(hashlib.sha256(LARGE).hexdigest(), 1 << 30) == LARGE


def test_an_outage_that_breaks_all_parts_at_once_counts_as_one_fault(store):
    with FaultServer({"a": LARGE}, rate=2_000_000) as server:
        timer = threading.Timer(0.05, server.drop_connections)
        timer.start()

        fetch(store, request("a", server.url, body=LARGE), settings=replace(SPLITTING, jobs=12, tries=2))

        timer.join()
        assert store.has(hashlib.sha256(LARGE).hexdigest())


@pytest.mark.parametrize("name", ["truncate", "range_wrong", "status_404", "corrupt_byte", "stall_body"])
def test_parts_that_keep_failing_end_in_an_error(store, name):
    with FaultServer({"a": LARGE}) as server:
        server.break_path("a", name, once=False, after=2)

        with pytest.raises(RepobuildError, match=server.url):
            fetch(store, request("a", server.url, body=LARGE), settings=SPLITTING)

        assert list(store.listing()) == []
        assert on_disk(store) <= len(LARGE) + 65536


def test_a_failure_stops_the_other_downloads_at_once(store):
    with FaultServer({"slow": LARGE}, rate=500_000) as server:
        begun = time.monotonic()
        with pytest.raises(PinnedFileGoneError):
            fetch(store, request("slow", server.url, body=LARGE), request("absent", server.url))

        assert time.monotonic() - begun < 1.5


@pytest.fixture
def interruptible():
    """Let SIGINT interrupt; it is ignored in what a shell without job control has put into the background."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, former)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_ends_a_run_that_waits_for_a_silent_server(store):
    main = threading.main_thread().ident or 0
    with FaultServer({"a": BODY}) as server:
        server.break_path("a", "stall_body", once=False)
        timer = threading.Timer(0.3, signal.pthread_kill, (main, signal.SIGINT))
        timer.start()
        begun = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            fetch(store, request("a", server.url), settings=Settings())

        assert time.monotonic() - begun < 2
        timer.join()


def test_a_disk_that_is_too_small_is_told_before_the_first_byte(store):
    with FaultServer({"a": BODY}) as server, pytest.raises(DiskError):
        fetch(store, replace(request("a", server.url), size=1 << 60))
    assert server.seen == []


def listed(bodies: dict[str, bytes]) -> str:
    rows = (f'["{name}", "{hashlib.sha256(body).hexdigest()}", {len(body)}]' for name, body in bodies.items())
    return f"[{', '.join(rows)}]"


@pytest.mark.parametrize("split", [1 << 30, 1 << 18])
def test_a_killed_run_is_taken_up_with_at_least_nine_tenths_of_its_bytes(tmp_path, split):
    with FaultServer({"a": LARGE}, rate=600_000) as server:
        command = [sys.executable, "-c", PROCESS, str(tmp_path / "store"), server.url, listed({"a": LARGE}), str(split)]
        run = subprocess.Popen(command)
        deadline = time.monotonic() + 30
        while server.sent < 1_500_000:
            assert run.poll() is None, "the run ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.02)
        run.kill()
        run.wait()
        with Store.open(tmp_path / "store") as store:
            partial = store.incoming(hashlib.sha256(LARGE).hexdigest(), len(LARGE))
            received = partial.received
            partial.close()
            server.rate = 0

            fetched = fetch(store, request("a", server.url, body=LARGE), settings=replace(QUICK, split_bytes=split))

            assert received > 0.8 * 1_500_000  # what the server sent was partly in buffers of the kernel
            assert fetched.bytes <= len(LARGE) - 0.9 * received
            assert store.has(hashlib.sha256(LARGE).hexdigest())


def test_processes_that_fetch_the_same_files_into_one_store_ask_once_for_each(tmp_path):
    bodies = {f"f{number}": os.urandom(20_000) for number in range(30)}
    with FaultServer(bodies, latency=0.005) as server:
        command = [sys.executable, "-c", PROCESS, str(tmp_path / "store"), server.url, listed(bodies), str(1 << 23)]
        runs = [subprocess.Popen(command) for _ in range(8)]

        assert [run.wait(60) for run in runs] == [0] * 8
        assert server.hits() == dict.fromkeys(bodies, 1)
    with Store.open(tmp_path / "store") as store:
        assert len(list(store.listing())) == 30


def test_threads_may_share_a_fetcher_and_a_store(store):
    bodies = {f"f{number}": os.urandom(5000) for number in range(20)}
    errors = []
    with FaultServer(bodies) as server, Fetcher(QUICK) as fetcher:

        def work():
            try:
                fetcher.fetch([request(path, server.url, body=body) for path, body in bodies.items()], store, SILENT)
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert errors == []
    assert len(list(store.listing())) == 20


def test_an_object_that_another_process_writes_for_ever_is_reported_as_busy(tmp_path):
    with (
        Store.open(tmp_path / "store") as one,
        Store.open(tmp_path / "store") as other,
        FaultServer({"a": BODY}) as server,
    ):
        held = other.incoming(hashlib.sha256(BODY).hexdigest(), len(BODY))
        with pytest.raises(BusyError):
            fetch(one, request("a", server.url), settings=replace(QUICK, total_seconds=0.5))
        held.close()
