"""Rules of the quick-look server, spoken over real sockets on loopback."""

import http.client
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from repobuild import serve
from repobuild.errors import DiskError, UsageError
from repobuild.serve import Server, make_server


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return a home with a repository, hidden files, and links of every kind."""
    home = tmp_path / "www"
    (home / "pigsty/by-hash").mkdir(parents=True)
    (home / "pigsty/.repobuild").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_bytes(b"secret")
    (home / "pigsty/a_1_all.deb").write_bytes(b"0123456789")
    (home / "pigsty/Packages").write_bytes(b"text")
    (home / "pigsty/Packages.gz").write_bytes(b"\x1f\x8b")
    (home / "pigsty/empty").write_bytes(b"")
    (home / "pigsty/.repobuild/secret").write_bytes(b"secret")
    (home / "pigsty/.hidden").write_bytes(b"secret")
    (home / 'pigsty/<b>"&é').write_bytes(b"odd")
    (home / "inside").symlink_to("pigsty")
    (home / "leaves").symlink_to(tmp_path / "outside")
    (home / "leaves-file").symlink_to(tmp_path / "outside/secret")
    (home / "to-hidden").symlink_to("pigsty/.repobuild/secret")
    (home / "loop").symlink_to("loop")
    os.mkfifo(home / "pipe")
    return home


@pytest.fixture
def server(home: Path) -> Iterator[Server]:
    """Run a server over the home until the test ends."""
    server = make_server(home)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


@pytest.fixture
def client(server: Server) -> Iterator[http.client.HTTPConnection]:
    """Return one connection, kept alive."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    yield connection
    connection.close()


def ask(
    client: http.client.HTTPConnection, path: str, method: str = "GET", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    client.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    response = client.getresponse()
    return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()


def talk(server: Server, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=10) as raw:
        raw.sendall(data)
        raw.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: raw.recv(65536), b""))


def test_a_folder_shows_its_page_where_it_has_one(home: Path, client: http.client.HTTPConnection) -> None:
    (home / "pigsty/index.html").write_bytes(b"<p>page")

    status, headers, body = ask(client, "/pigsty/")

    assert (status, body, headers["content-type"]) == (200, b"<p>page", "text/html; charset=utf-8")
    assert headers["cache-control"] == "public, max-age=60, must-revalidate"
    assert ask(client, "/pigsty")[0] == 301
    assert ask(client, "/pigsty/", "HEAD")[2] == b""


@pytest.mark.parametrize("kind", ["folder", "link out of the home", "dangling link", "pipe"])
def test_what_is_no_page_leaves_the_listing(home: Path, client: http.client.HTTPConnection, kind: str) -> None:
    path = home / "pigsty/index.html"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("../../outside/secret" if kind.startswith("link") else "nowhere")

    status, _, body = ask(client, "/pigsty/")

    assert status == 200
    assert b"a_1_all.deb</a>" in body
    assert b"secret" not in body


def test_a_file_comes_whole_with_type_length_and_lifetime(client: http.client.HTTPConnection) -> None:
    status, headers, body = ask(client, "/pigsty/a_1_all.deb")

    assert (status, body) == (200, b"0123456789")
    assert headers["content-type"] == "application/vnd.debian.binary-package"
    assert headers["content-length"] == "10"
    assert "immutable" in headers["cache-control"]
    assert "python" not in headers["server"].lower()


def test_one_connection_serves_many_requests(client: http.client.HTTPConnection) -> None:
    ask(client, "/pigsty/Packages")
    first = client.sock

    for path in ("/pigsty/", "/pigsty/Packages.gz", "/pigsty/empty", "/pigsty/./Packages", "/inside/Packages"):
        assert ask(client, path)[0] == 200
    assert ask(client, "/pigsty/Packages", "HEAD")[2] == b""
    assert client.sock is first


def test_compressed_files_are_not_declared_as_an_encoding(client: http.client.HTTPConnection) -> None:
    headers = ask(client, "/pigsty/Packages.gz", Accept_Encoding="gzip")[1]

    assert headers["content-type"] == "application/gzip"
    assert "content-encoding" not in headers


@pytest.mark.parametrize(
    ("wanted", "expected", "body"),
    [
        ("bytes=0-0", "bytes 0-0/10", b"0"),
        ("bytes=3-5", "bytes 3-5/10", b"345"),
        ("bytes=7-", "bytes 7-9/10", b"789"),
        ("bytes=-3", "bytes 7-9/10", b"789"),
        ("bytes=-99", "bytes 0-9/10", b"0123456789"),
        ("bytes=5-99", "bytes 5-9/10", b"56789"),
    ],
)
def test_a_range_is_answered_with_206(
    client: http.client.HTTPConnection, wanted: str, expected: str, body: bytes
) -> None:
    status, headers, content = ask(client, "/pigsty/a_1_all.deb", Range=wanted)

    assert (status, headers["content-range"], content) == (206, expected, body)


@pytest.mark.parametrize("wanted", ["bytes=10-", "bytes=10-11", "bytes=-0", "bytes=999999999999999999-"])
def test_a_range_beyond_the_end_is_answered_with_416(client: http.client.HTTPConnection, wanted: str) -> None:
    status, headers, _ = ask(client, "/pigsty/a_1_all.deb", Range=wanted)

    assert (status, headers["content-range"]) == (416, "bytes */10")


@pytest.mark.parametrize(
    "wanted",
    ["bytes=", "bytes=-", "bytes=5-3", "bytes=a-b", "lines=0-1", "bytes=0-1,3-4", "bytes=" + "9" * 30 + "-", "x"],
)
def test_a_range_that_is_none_is_ignored(client: http.client.HTTPConnection, wanted: str) -> None:
    assert ask(client, "/pigsty/a_1_all.deb", Range=wanted)[::2] == (200, b"0123456789")


def test_a_range_of_another_version_is_not_joined(client: http.client.HTTPConnection) -> None:
    modified = ask(client, "/pigsty/a_1_all.deb")[1]["last-modified"]

    assert ask(client, "/pigsty/a_1_all.deb", Range="bytes=1-2", If_Range=modified)[0] == 206
    assert ask(client, "/pigsty/a_1_all.deb", Range="bytes=1-2", If_Range="Sat, 01 Jan 2000 00:00:00 GMT")[0] == 200


def test_an_unchanged_file_is_not_sent_again(client: http.client.HTTPConnection) -> None:
    modified = ask(client, "/pigsty/Packages")[1]["last-modified"]

    assert ask(client, "/pigsty/Packages", If_Modified_Since=modified)[::2] == (304, b"")
    for old in ("Sat, 01 Jan 2000 00:00:00 GMT", "garbage", "", "Sat, 01 Jan 99999 00:00:00 GMT"):
        assert ask(client, "/pigsty/Packages", If_Modified_Since=old)[0] == 200


@pytest.mark.parametrize(
    "path",
    [
        "/absent", "/pigsty/.repobuild/secret", "/pigsty/.repobuild/", "/pigsty/.hidden", "/pigsty/%2ehidden", "/pigsty/%2Ehidden",
        "/../outside/secret", "/%2e%2e/outside/secret", "/..%2foutside/secret", "/pigsty/../../outside/secret", "/leaves/secret", "/leaves/",
        "/leaves-file", "/to-hidden", "/inside/.hidden", "/inside/.repobuild/secret", "/loop", "/pipe", "/pigsty/Packages/", "/pigsty/Packages/x",
        "/pigsty/Packages%00.deb", "/%ff%fe", "/" + "a/" * 3000, "/" + "a" * 5000, "//outside/secret", "/proc/self/environ",
    ],
)  # fmt: skip
def test_nothing_hidden_and_nothing_outside_is_shown(client: http.client.HTTPConnection, path: str) -> None:
    status, _, body = ask(client, path)

    assert status == 404
    assert b"secret" not in body


def test_a_folder_is_listed_sorted_escaped_and_without_hidden_names(client: http.client.HTTPConnection) -> None:
    status, headers, body = ask(client, "/pigsty/")
    page = body.decode()

    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert page.index("Packages<") < page.index("a_1_all.deb<") < page.index("by-hash/<")
    assert "&lt;b&gt;&quot;&amp;é" in page
    assert "<b>" not in page
    assert "hidden" not in page
    assert ask(client, "/pigsty/%3Cb%3E%22%26%C3%A9")[2] == b"odd"


def test_a_folder_without_its_slash_is_redirected_within_this_host(client: http.client.HTTPConnection) -> None:
    for path in ("/pigsty", "//pigsty", "/./pigsty?x"):
        status, headers, _ = ask(client, path)
        assert (status, headers["location"]) == (301, "/pigsty/")


def test_only_get_and_head_are_answered(server: Server) -> None:
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "CONNECT"):
        assert talk(server, f"{method} / HTTP/1.1\r\nHost: x\r\n\r\n".encode()).startswith(b"HTTP/1.1 501 ")


def test_a_body_is_not_taken_for_the_next_request(server: Server) -> None:
    hidden = b"GET /pigsty/Packages HTTP/1.1\r\nHost: x\r\n\r\n"
    for head in (b"Content-Length: %d" % len(hidden), b"Transfer-Encoding: chunked"):
        answer = talk(server, b"GET /absent HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n\r\n" + hidden)
        assert answer.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /" + b"a" * 70000 + b" HTTP/1.1\r\n\r\n", b"414"),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 70000 + b"\r\n\r\n", b"431"),
        (b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 200 + b"\r\n", b"431"),
        (b"GET http://x/pigsty/Packages HTTP/1.1\r\n\r\n", b"404"),
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", b"400"),
        (b"GET / HTTP/9.9\r\n\r\n", b"505"),
    ],
    ids=["long line", "long header", "many headers", "absolute target", "TLS", "version"],
)
def test_a_head_that_is_too_large_or_none_is_refused(server: Server, request_bytes: bytes, status: bytes) -> None:
    assert status in talk(server, request_bytes)[:200]


def test_a_head_that_trickles_in_is_cut_off(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "_HEAD_SECONDS", 0.2)
    began = time.monotonic()

    with socket.create_connection(("127.0.0.1", server.server_port), timeout=10) as raw:
        raw.sendall(b"GET / HTTP/1.1\r\n")
        while time.monotonic() - began < 8:
            try:
                raw.sendall(b"X: a\r\n")
            except OSError:
                break
            time.sleep(0.05)

    assert time.monotonic() - began < 5


def test_too_many_connections_are_turned_away_and_the_rest_served(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "_MAX_CONNECTIONS", 2)
    server = make_server(home)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        held = [http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10) for _ in range(2)]
        for connection in held:
            assert ask(connection, "/pigsty/Packages")[0] == 200
        with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
            ask(http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10), "/pigsty/Packages")
        assert ask(held[0], "/pigsty/Packages")[0] == 200
        for connection in held:
            connection.close()
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


def test_a_swapped_home_folder_is_followed_but_a_link_out_is_not(
    home: Path, client: http.client.HTTPConnection
) -> None:
    (home / "pigsty").rename(home / "older")
    (home / "pigsty").symlink_to(home.parent / "outside")

    assert ask(client, "/pigsty/secret")[0] == 404
    assert ask(client, "/older/Packages")[0] == 200


def test_a_home_that_is_a_link_is_the_operators_choice(home: Path) -> None:
    (home.parent / "alias").symlink_to(home)
    server = make_server(home.parent / "alias")

    assert server.home == str(home)
    server.server_close()


def test_it_listens_on_loopback_by_default(home: Path) -> None:
    server = make_server(home)

    assert server.url == f"http://127.0.0.1:{server.server_port}/"
    server.server_close()


def test_what_it_cannot_bind_or_read_is_said(home: Path, server: Server, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"address already in use: 127.0.0.1 port {server.server_port}"):
        make_server(home, "127.0.0.1", server.server_port)
    for address, port in (("example.org", 0), ("", 0), ("127.0.0.1", -1), ("127.0.0.1", 65536)):
        with pytest.raises(UsageError):
            make_server(home, address, port)
    for wrong in (tmp_path / "absent", home / "pigsty/Packages"):
        with pytest.raises(DiskError):
            make_server(wrong)
