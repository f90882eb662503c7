"""The portal before real nginx: what it takes and refuses, and what a running one does, on loopback."""

import base64
import json
import random
import re
import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
from nginx_server import CLEAN, NGINX, OPENSSL, fetch, free_port, judged, make_certificate, needs_nginx, running
from nodes import wait_for
from portals import DEMO, GOOD_WORDS, PORTAL, SPEC

from repobuild import media
from repobuild.checked import check_statements
from repobuild.errors import ProofError, UsageError
from repobuild.manifest import load
from repobuild.portal import DnsRecord, Portal, Site, SiteKind, SslMode
from repobuild.webserver import (
    NginxSpec,
    PortalSpec,
    certificates,
    linked_sites,
    nginx_config,
    portal_config,
    users_file,
    validate,
)

needs_demo = pytest.mark.skipif(not DEMO.exists(), reason="no shared data here")
needs_openssl = pytest.mark.skipif(not OPENSSL.exists(), reason="openssl is not installed")
FRAGMENTS = [
    "set $a ",
    '"',
    "'",
    "}",
    "{",
    ";",
    " x",
    "\\",
    "#",
    "\n",
    "${",
    "$",
    "if ($a) ",
    "b",
    "location /q ",
    "return 404",
    " ",
]


def with_config(config: str) -> str:
    endpoint, home, folder = PORTAL.sites
    sites = (replace(endpoint, config=config), replace(home, domains=()), folder)
    portal = replace(PORTAL, sites=sites, ssl_mode=SslMode.DISABLE)
    return portal_config(replace(SPEC, portal=portal))


def demo_spec(place: Path, mode: SslMode) -> PortalSpec:
    portal = replace(load(DEMO).portal, ssl_mode=mode)
    return PortalSpec(
        portal=portal, home="/www", repositories=("/pigsty/",), certificates=f"{place}/cert", logs=str(place)
    )


# ---------------------------------------------------------------------------------------------- nginx -t


@needs_nginx
@needs_demo
@pytest.mark.parametrize("mode", list(SslMode))
def test_nginx_takes_the_demo_portal_without_its_certificates(mode: SslMode, tmp_path: Path) -> None:
    assert validate(portal_config(demo_spec(tmp_path, mode))) == CLEAN


@needs_nginx
@needs_demo
@needs_openssl
@pytest.mark.parametrize("mode", list(SslMode))
def test_nginx_takes_the_demo_portal_as_it_stands_with_real_certificates(mode: SslMode, tmp_path: Path) -> None:
    spec = demo_spec(tmp_path, mode)
    text = portal_config(spec).replace("/etc/letsencrypt/live", str(tmp_path / "live"))
    make_certificate(tmp_path / "cert", ("pigsty.crt", "pigsty.key"), "pigsty", "h.pigsty")
    for name in ("pigsty.demo", "pigsty.cc", "pigsty.doc"):
        make_certificate(tmp_path / "live" / name, ("fullchain.pem", "privkey.pem"), name)

    assert judged(tmp_path, text) == ""
    assert validate(text) == CLEAN
    assert len(certificates(spec)) == (0 if mode is SslMode.DISABLE else 8)


@needs_nginx
@needs_openssl
def test_a_certificate_that_is_here_is_read(tmp_path: Path) -> None:
    make_certificate(tmp_path, ("a.crt", "a.key"), "a")
    make_certificate(tmp_path, ("b.crt", "b.key"), "b")
    site = Site(name="a", kind=SiteKind.PATH, domain="a", path="/x", cert=f"{tmp_path}/a.crt", key=f"{tmp_path}/b.key")
    spec = replace(SPEC, portal=Portal(sites=(site,)))

    with pytest.raises(ProofError, match="nginx refuses"):
        validate(portal_config(spec))


@needs_nginx
@pytest.mark.parametrize("config", GOOD_WORDS)
def test_nginx_takes_the_operators_own_words(config: str) -> None:
    assert validate(with_config(config)) == CLEAN


@needs_nginx
def test_what_passes_for_whole_statements_is_read_within_its_server_by_nginx(tmp_path: Path) -> None:
    chance = random.Random(5)
    tried = 0
    while tried < 150:
        words = "".join(chance.choices(FRAGMENTS, k=chance.randint(3, 12)))
        if not set(words) & set("\"'\\{") or not is_whole(words):
            continue
        tried += 1
        body = f"server {{\nlisten 127.0.0.1:8181;\nset $a 1;\n{words}\n}}\nserver {{ listen 127.0.0.1:8282; }}\n"
        said = judged(tmp_path, body)
        lines = [int(each) for each in re.findall(r"\[emerg\].*nginx\.conf:(\d+)", said)]

        assert "unexpected" not in said, words
        assert all(line <= 6 + words.count("\n") for line in lines), words


def is_whole(words: str) -> bool:
    with suppress(UsageError):
        return bool(check_statements(words, "config"))
    return False


WRITING = [
    "client_body_temp_path {0}/new;",
    "access_log\n {0}/new;",
    "'access_log' \"{0}/new\" combined buffer=1k;",
    "location /x {{ error_log {0}/new debug; }}",
    "set $a x}}; proxy_temp_path '{0}/new' 1 2; fastcgi_temp_path {0}/new2;",
    'set $a "x\\";"; access_log # {{\n{0}/new;',
    "set $a ${{host}}; uwsgi_temp_path {0}/new2; scgi_temp_path {0}/new 1;",
    "listen unix:{0}/new;",
    "include {0}/more;",
]


@needs_nginx
@pytest.mark.parametrize("words", WRITING)
def test_nginx_writes_nothing_where_the_operators_own_words_say(words: str, tmp_path: Path) -> None:
    (tmp_path / "more").write_text(f"access_log {tmp_path}/new;")

    validate(with_config(words.format(tmp_path)))

    assert [each.name for each in tmp_path.iterdir()] == ["more"]


@needs_nginx
def test_nginx_writes_nothing_wherever_in_whole_statements_a_file_is_named(tmp_path: Path) -> None:
    chance = random.Random(7)
    naming = ["'access_log'", "access_log\n", f" {tmp_path}/a", f"'{tmp_path}/b'", f"error_log {tmp_path}/c;", ";\n"]
    tried = 0
    while tried < 100:
        words = "".join(chance.choices(FRAGMENTS + naming, k=chance.randint(2, 9)))
        if str(tmp_path) not in words or not is_whole(words):
            continue
        tried += 1
        with suppress(ProofError):
            validate(with_config(words))

        assert list(tmp_path.iterdir()) == [], words


@needs_nginx
@pytest.mark.parametrize("scheme", ["", "http://"])
def test_a_backend_in_the_operators_own_words_that_nobody_here_knows_is_no_fault(scheme: str) -> None:
    words = f"location /x {{ {'proxy' if scheme else 'fastcgi'}_pass {scheme}no-such-host.invalid:99; }}"

    assert validate(with_config(words)) == CLEAN


@needs_nginx
def test_what_nginx_does_otherwise_than_it_is_written_is_told() -> None:
    site = Site(name="a", kind=SiteKind.ENDPOINT, domain="d.pigsty", endpoint="a:1")
    portal = Portal(sites=(*PORTAL.sites[1:], site), ssl_mode=SslMode.DISABLE)

    (warning,) = validate(portal_config(replace(SPEC, portal=portal))).warnings

    assert warning.startswith('conflicting server name "d.pigsty" on 0.0.0.0:80, ignored')


@needs_nginx
def test_nginx_says_what_is_wrong_with_the_operators_own_words() -> None:
    with pytest.raises(ProofError, match='unknown directive "nonsense"'):
        validate(with_config("nonsense on;"))


@needs_nginx
def test_a_backend_that_nobody_here_knows_is_no_fault() -> None:
    site = Site(name="a", kind=SiteKind.ENDPOINT, domain="a", endpoint="no-such-host.invalid:8080")

    assert validate(portal_config(replace(SPEC, portal=Portal(sites=(site,), ssl_mode=SslMode.DISABLE)))) == CLEAN


@needs_nginx
@pytest.mark.parametrize("count", [1, 49, 51, 500])
@pytest.mark.parametrize("length", [20, 46, 47, 62, 150, 253])
def test_nginx_has_room_for_names_of_any_length_and_number(length: int, count: int) -> None:
    names = [f"n{number}.{'.'.join(['x' * 61] * 4)}"[: length - 1] + "y" for number in range(count)]
    sites = (
        Site(name=f"s{at}", kind=SiteKind.PATH, domain=names[at], domains=tuple(names[at + 1 : at + 100]), path="/x")
        for at in range(0, count, 100)
    )

    assert validate(portal_config(replace(SPEC, portal=Portal(sites=tuple(sites), ssl_mode=SslMode.DISABLE)))) == CLEAN
    if count == 1:
        assert validate(nginx_config(NginxSpec(home="/www", repositories=(), server_names=(names[0],)))) == CLEAN


def test_usual_names_need_no_word_that_nginx_conf_may_have_too() -> None:
    assert "server_names_hash" not in portal_config(SPEC)


IP6 = Portal(sites=PORTAL.sites[1:], records=PORTAL.records, ssl_mode=SslMode.DISABLE, address="fd00::1")


@pytest.mark.parametrize(
    ("portal", "is_there"),
    [
        (replace(IP6, address="10.1.1.1"), False),
        (IP6, True),
        (replace(IP6, address="", sites=(replace(IP6.sites[0], domains=("fd00::2",)),)), True),
        (replace(IP6, address="", records=(DnsRecord("fd00::2", ("h.pigsty",)),)), True),
        (replace(IP6, address="", records=(DnsRecord("fd00::2", ("other.pigsty",)),)), False),
    ],
)
def test_the_portal_listens_on_ipv6_where_its_names_lead_there(portal: Portal, is_there: bool) -> None:
    text = portal_config(replace(SPEC, portal=portal))

    assert ("listen [::]:80;" in text) is is_there
    assert text.count("listen 80;") == text.count("server {")


def has_ipv6() -> bool:
    with suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
        return True
    return False


@needs_nginx
@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")
def test_a_home_with_an_ipv6_address_is_reached_by_it(tmp_path: Path) -> None:
    lay_out(tmp_path / "www")
    port = free_port()
    text = nginx_config(NginxSpec(home=f"{tmp_path}/www", repositories=(), port=port, server_names=("fd00::1",)))
    text = text.replace("listen [::]:", "listen [::1]:").replace(f"listen {port}", f"listen 127.0.0.1:{port}")

    with running(tmp_path, text, port), socket.create_connection(("::1", port), timeout=10) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\nHost: [fd00::1]\r\n\r\n")
        assert connection.recv(12) == b"HTTP/1.1 200"


def test_only_sites_with_a_domain_are_served_the_home_first() -> None:
    idle = Site(name="loki", kind=SiteKind.ENDPOINT, domain="", endpoint="127.0.0.1:3100")
    text = portal_config(replace(SPEC, portal=replace(PORTAL, sites=(idle, *PORTAL.sites))))

    names = [line.split()[1].rstrip(";") for line in text.splitlines() if line.strip().startswith("server_name")]
    assert names == ["h.pigsty", "g.pigsty", "d.pigsty", "d.pigsty"]
    assert "loki" not in text


def test_links_are_those_by_which_people_come_in() -> None:
    secured = replace(PORTAL, ssl_mode=SslMode.ENFORCE, ssl_port=8443)

    assert linked_sites(PORTAL) == [("grafana", "http://g.pigsty/"), ("docs", "https://d.pigsty/")]
    assert linked_sites(secured) == [("grafana", "https://g.pigsty:8443/"), ("docs", "https://d.pigsty:8443/")]
    assert linked_sites(replace(PORTAL, ssl_mode=SslMode.DISABLE))[1] == ("docs", "http://d.pigsty/")


# ------------------------------------------------------------------------------------------- a running one


class Backend(socketserver.BaseRequestHandler):
    """Answers with the head of the request; where it asks to, speaks the echo of a websocket's bytes."""

    def handle(self) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            more = self.request.recv(4096)
            if not more:
                return
            head += more
        first, *lines = head.decode().split("\r\n\r\n", 1)[0].split("\r\n")
        fields = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        if "upgrade" in fields:
            self.request.sendall(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
            )
            self.request.sendall(self.request.recv(100)[::-1])
            return
        body = json.dumps({"request": first, "fields": fields}).encode()
        self.request.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


class Served(NamedTuple):
    port: int
    ssl_port: int
    secure: ssl.SSLContext
    home: Path


def lay_out(home: Path) -> None:
    files = {
        "index.html": b"<p>home", "pigsty/Packages": b"text", "pigsty/a_1_all.deb": b"0123456789", "pigsty/.hidden": b"secret",
        "docs/page.html": b"<p>docs", "docs/app.js": b"1", "docs/.git/config": b"secret", "files/a.txt": b"a",
        "acme/.well-known/acme-challenge/token": b"answer",
        **{f"pigsty.{kind}": b"x" for kind in ("list", "sources", "gpg", "asc")}, "local.list": b"x", "local.repo": b"x",
    }  # fmt: skip
    for name, content in files.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_bytes(content)


def portal_of(home: Path, port: int, ssl_port: int, backend: int) -> Portal:
    endpoint = f"127.0.0.1:{backend}"
    snippet = "location /zh/ { rewrite ^/zh/(.*)$ /$1 permanent; }"
    sites = (
        Site(name="app", kind=SiteKind.ENDPOINT, domain="g.pigsty", endpoint=endpoint, websocket=True),
        Site(name="plain", kind=SiteKind.ENDPOINT, domain="p.pigsty", domains=("q.pigsty",), endpoint=endpoint),
        Site(
            name="closed", kind=SiteKind.ENDPOINT, domain="c.pigsty", endpoint=endpoint, auth=True, realm="Staff only"
        ),
        Site(name="docs", kind=SiteKind.PATH, domain="d.pigsty", path=f"{home}/docs", config=snippet),
        Site(name="files", kind=SiteKind.PATH, domain="f.pigsty", path=f"{home}/files", index=True, log="files.log"),
        Site(name="safe", kind=SiteKind.PATH, domain="s.pigsty", path=f"{home}/docs", enforce_https=True),
        Site(name="home", kind=SiteKind.HOME, domain="h.pigsty", auth=True),
    )
    users = (("admin", "se cret:ü"),)
    return Portal(sites=sites, port=port, ssl_port=ssl_port, users=users, address="10.10.10.10", is_stated=True)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Run nginx with a portal before a backend."""
    if not NGINX.exists() or not OPENSSL.exists():
        pytest.skip("nginx and openssl are needed")
    place = tmp_path_factory.mktemp("portal")
    home = place / "www"
    lay_out(home)
    names = [f"{letter}.pigsty" for letter in "hgpqcdfs"]
    make_certificate(place / "cert", ("pigsty.crt", "pigsty.key"), *names)
    port, ssl_port = free_port(), free_port()
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Backend) as backend:
        backend.daemon_threads = True
        threading.Thread(target=backend.serve_forever, daemon=True).start()
        spec = PortalSpec(
            portal=portal_of(home, port, ssl_port, backend.server_address[1]),
            home=str(home),
            repositories=("/pigsty/",),
            certificates=str(place / "cert"),
            users=str(place),
            acme=str(home / "acme"),
            logs=str(place),
        )
        (place / ".htpasswd").write_text(users_file(spec.portal))
        text = portal_config(spec)
        assert judged(place, text) == ""
        context = ssl.create_default_context(cafile=str(place / "cert/pigsty.crt"))
        context.check_hostname = False
        with running(place, text.replace("listen ", "listen 127.0.0.1:"), port):
            yield Served(port, ssl_port, context, home)
        backend.shutdown()


def password(text: str) -> str:
    return f"Basic {base64.b64encode(text.encode()).decode()}"


ADMIN = password("admin:se cret:ü")


@pytest.mark.parametrize("host", ["h.pigsty", "localhost", "10.10.10.10", "127.0.0.1", "unknown.example"])
def test_the_home_answers_to_its_names_and_to_names_of_nobody(served: Served, host: str) -> None:
    status, headers, body = fetch(served.port, "/", Host=host, Authorization=ADMIN)

    assert (status, headers["content-type"], body) == (200, "text/html; charset=utf-8", b"<p>home")
    assert headers["server"] == "nginx"


def test_the_home_serves_repositories_as_the_lone_server_does(served: Served) -> None:
    for name, cache in (("a_1_all.deb", media.IMMUTABLE_CACHE), ("Packages", media.POINTER_CACHE)):
        status, headers, _ = fetch(served.port, f"/pigsty/{name}", Host="h.pigsty")
        assert (status, headers["cache-control"]) == (200, cache)
    assert fetch(served.port, "/pigsty/a_1_all.deb", Host="h.pigsty", Range="bytes=3-5")[::2] == (206, b"345")
    assert b"a_1_all.deb" in fetch(served.port, "/pigsty/", Host="h.pigsty")[2]
    assert fetch(served.port, "/pigsty/.hidden", Host="h.pigsty")[0] == 404


def test_a_home_with_auth_asks_for_a_password_but_not_package_managers(served: Served) -> None:
    def status(path: str) -> int:
        return fetch(served.port, path, Host="h.pigsty")[0]

    closed = (
        "/",
        "/index.html",
        "/pigsty-report.html",
        "/pigsty.gpg.txt",
        "/docs/pigsty.list",
        "/other.list",
        "/pigstyxgpg",
    )
    opened = (
        "pigsty.list",
        "pigsty.sources",
        "pigsty.gpg",
        "pigsty.asc",
        "local.list",
        "local.repo",
        "pigsty/Packages",
    )

    assert [path for path in closed if status(path) != 401] == []
    assert [path for path in opened if status(f"/{path}") != 200] == []


def test_an_endpoint_is_reached_by_its_names_with_who_asks(served: Served) -> None:
    for name in ("p.pigsty", "q.pigsty"):
        status, _, body = fetch(served.port, "/a%2Fb/../c?d=%20", Host=name)
        said = json.loads(body)
        assert (status, said["request"]) == (200, "GET /a%2Fb/../c?d=%20 HTTP/1.0")
        assert said["fields"]["host"] == name
        assert said["fields"]["x-real-ip"] == said["fields"]["x-forwarded-for"] == "127.0.0.1"
        assert said["fields"]["x-real-scheme"] == "http"


def test_the_endpoint_is_behind_https_too(served: Served) -> None:
    status, _, body = fetch(served.ssl_port, "/", secure=served.secure, Host="p.pigsty")

    assert (status, json.loads(body)["fields"]["x-real-scheme"]) == (200, "https")


def test_a_websocket_goes_through(served: Served) -> None:
    head = b"GET /live HTTP/1.1\r\nHost: g.pigsty\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    with socket.create_connection(("127.0.0.1", served.port), timeout=10) as connection:
        connection.sendall(head)
        answer = connection.recv(4096)
        assert answer.startswith(b"HTTP/1.1 101 ")
        connection.sendall(b"drawkcab")
        while not answer.endswith(b"backward"):
            more = connection.recv(4096)
            assert more
            answer += more


def test_a_site_without_websocket_upgrades_nothing(served: Served) -> None:
    status, _, body = fetch(served.port, "/", Host="p.pigsty", Upgrade="websocket", Connection="Upgrade")

    assert status == 200
    assert "upgrade" not in json.loads(body)["fields"]


def test_a_closed_site_lets_in_who_has_the_password_and_keeps_it_from_the_backend(served: Served) -> None:
    status, headers, _ = fetch(served.port, "/", Host="c.pigsty")
    assert (status, headers["www-authenticate"]) == (401, 'Basic realm="Staff only"')
    for wrong in ("admin:", "admin:se cret", "other:se cret:ü", "admin:{SSHA}x"):
        assert fetch(served.port, "/", Host="c.pigsty", Authorization=password(wrong))[0] == 401

    status, _, body = fetch(served.port, "/", Host="c.pigsty", Authorization=ADMIN)

    assert status == 200
    assert "authorization" not in json.loads(body)["fields"]


def test_https_is_enforced_where_it_is_asked_for(served: Served) -> None:
    status, headers, _ = fetch(served.port, "/page.html?a=b", Host="s.pigsty")
    assert (status, headers["location"]) == (301, f"https://s.pigsty:{served.ssl_port}/page.html?a=b")

    status, _, body = fetch(served.ssl_port, "/page.html", secure=served.secure, Host="s.pigsty")

    assert (status, body) == (200, b"<p>docs")


@pytest.mark.parametrize("host", ["h.pigsty", "g.pigsty", "c.pigsty", "d.pigsty", "s.pigsty"])
def test_every_site_answers_the_acme_challenge_by_http_and_without_a_password(served: Served, host: str) -> None:
    status, _, body = fetch(served.port, "/.well-known/acme-challenge/token", Host=host)

    assert (status, body) == (200, b"answer")


def test_a_folder_is_listed_where_it_is_asked_for_alone(served: Served) -> None:
    listed = fetch(served.port, "/", Host="f.pigsty")

    assert fetch(served.port, "/", Host="d.pigsty")[0] == 403
    assert listed[0] == 200
    assert b"a.txt" in listed[2]


def test_a_folder_is_served_with_types_and_without_hidden_files(served: Served) -> None:
    assert fetch(served.port, "/app.js", Host="d.pigsty")[1]["content-type"] == "text/javascript"
    assert fetch(served.port, "/.git/config", Host="d.pigsty")[0] == 404


def test_the_operators_own_words_count(served: Served) -> None:
    status, headers, _ = fetch(served.port, "/zh/page.html", Host="d.pigsty")

    assert (status, headers["location"]) == (301, "/page.html")


def test_nginx_tells_its_state_to_its_own_machine_alone(served: Served) -> None:
    status, _, body = fetch(served.port, "/nginx", Host="127.0.0.1")
    assert status == 200
    assert body.startswith(b"Active connections:")
    assert fetch(served.port, "/nginx", source="127.0.0.2")[0] == 403


def test_a_log_has_its_file(served: Served) -> None:
    fetch(served.port, "/a.txt", Host="f.pigsty")

    # nginx answers first and writes its log then.
    wait_for("the line in the log", lambda: "GET /a.txt" in (served.home.parent / "files.log").read_text())
    assert (served.home.parent / "plain.log").exists()
