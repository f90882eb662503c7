"""Reaching upstreams that want credentials, a certificate or a proxy: who gets a secret, and who never sees it."""

import base64
import contextlib
import hashlib
import os
import select
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from archive_on_disk import ArchiveOnDisk
from faultserver import FaultServer, Seen
from sites import FIRST, Runner

from repobuild.catalog.mirrors import expand
from repobuild.cli.access import reveal, reveal_all
from repobuild.credentials import Access, AccessSource, SecretKind, SecretSource
from repobuild.errors import DeniedError, ManifestError, UnreachableError, UsageError
from repobuild.fetch import Fetcher, Location, Request, Settings
from repobuild.fetch.access import Accesses
from repobuild.manifest import Manifest, load, load_accesses
from repobuild.model import ListKind, Mirror, MirrorList, Upstream
from repobuild.progress import SILENT, Silent
from repobuild.store import Store
from repobuild.targets import parse_target

SECRET = "c4naryPassw0rd"
OTHER_SECRET = "0therCanary"
D12 = parse_target("d12.x86_64")
BODY = bytes(range(256)) * 40
QUICK = Settings(
    jobs=4, connect_seconds=0.5, answer_seconds=0.6, slow_seconds=0.6, total_seconds=4, backoff_seconds=0.01,
    patience_seconds=1,
)  # fmt: skip


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


BASIC = basic("builder", SECRET)
GIVEN = Access(authorization=BASIC)


class Guarded(FaultServer):
    """A server that answers 401 unless it is shown exactly what it wants."""

    wanted = BASIC

    def _answer(self, sock: socket.socket, target: str, headers: dict[str, str]) -> None:
        if headers.get("authorization") == self.wanted:
            super()._answer(sock, target, headers)
            return
        self.seen.append(Seen(target, headers))
        sock.sendall(b'HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm="x"\r\nContent-Length: 2\r\n\r\nno')


class Proxy(FaultServer):
    """A forward proxy: serves `content` for any host by http, and tunnels; wants credentials where `wanted` is set."""

    wanted: str | None = None

    def _answer(self, sock: socket.socket, target: str, headers: dict[str, str]) -> None:
        if self.wanted is not None and headers.get("proxy-authorization") != self.wanted:
            self.seen.append(Seen(target, headers))
            sock.sendall(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n")
        elif target.startswith("http://"):
            super()._answer(sock, "/" + target.split("/", 3)[3], headers)
        else:
            self.seen.append(Seen(target, headers))
            host, _, port = target.partition(":")
            with socket.create_connection((host, int(port))) as far:
                sock.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
                pump(sock, far)


def pump(one: socket.socket, other: socket.socket) -> None:
    """Carry bytes both ways until one side ends."""
    while True:
        for ready in select.select([one, other], [], [], 5)[0]:
            data = ready.recv(65536)
            if not data:
                return
            (other if ready is one else one).sendall(data)


class Notes(Silent):
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def note(self, text: str) -> None:
        self.heard.append(text)

    def debug(self, text: str) -> None:
        self.heard.append(text)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store") as store:
        yield store


def settings(accesses: Mapping[str, Access], base: Settings = QUICK) -> Settings:
    return replace(base, access={url: lambda each=each: each for url, each in accesses.items()})


def get(url: str, accesses: Mapping[str, Access], path: str = "a", base: Settings = QUICK) -> bytes:
    with Fetcher(settings(accesses, base)) as fetcher:
        return fetcher.get(Mirror(url), path, 1 << 20)


def request(path: str, *urls: str, body: bytes = BODY) -> Request:
    digest = hashlib.sha256(body).hexdigest()
    places = tuple(Location(mirror=Mirror(url), path=path) for url in urls)
    return Request(what=path, locations=places, sha256=digest, size=len(body), limit=1 << 24)


def whole(error: BaseException | None) -> str:
    """Return all that an exception and what led to it would say of themselves."""
    text = ""
    while error is not None:
        text += f"{error!r} {error} {getattr(error, 'hint', '')}\n"
        error = error.__cause__ or error.__context__
    return text


# --- which access counts for a URL ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prefix", "url", "fits"),
    [
        ("https://a.example/x", "https://a.example/x/y", True),
        ("https://a.example/x", "https://a.example/x", True),
        ("https://a.example", "https://a.example/x/y?z=1", True),
        ("https://a.example/x", "https://a.example:443/x/y", True),
        ("https://a.example/x", "https://A.EXAMPLE/x/y", True),
        ("https://a.example/x", "https://a.example/xy", False),
        ("https://a.example/x", "https://a.example/", False),
        ("https://a.example/x", "http://a.example/x/y", False),
        ("http://a.example/x", "https://a.example/x/y", False),
        ("https://a.example/x", "https://a.example:8443/x/y", False),
        ("https://a.example/x", "https://a.example.evil.example/x/y", False),
        ("https://a.example/x", "https://evil.example/x/y", False),
        ("https://a.example/x", "https://evil.example/https://a.example/x/y", False),
        ("https://a.example/x", "https://a.example@evil.example/x/y", False),
        ("https://a.example/x", "https://a.example/x/../y", False),
        ("https://a.example/x", "https://a.example/x/%2e%2e/y", False),
        ("https://a.example/x", "https://[broken/x", False),
    ],
)
def test_a_prefix_counts_for_its_own_server_and_what_is_below_it(prefix: str, url: str, fits: bool) -> None:
    assert fits == (Accesses({prefix: lambda: GIVEN}).of(url) is GIVEN)


def test_of_several_prefixes_the_longest_one_counts_alone() -> None:
    inner = Access(proxy="http://p.example:1")
    accesses = Accesses({"https://a.example": lambda: GIVEN, "https://a.example/x/y": lambda: inner})

    assert accesses.of("https://a.example/x/y/z") is inner
    assert accesses.of("https://a.example/x/z") is GIVEN


def test_an_access_is_made_when_it_is_first_needed_and_not_before() -> None:
    def never() -> Access:
        raise AssertionError

    with (
        FaultServer({"a": BODY}) as server,
        Fetcher(replace(QUICK, access={"https://other.example": never})) as fetcher,
    ):
        assert BODY == fetcher.get(Mirror(server.url), "a", 1 << 20)


# --- credentials ------------------------------------------------------------------------------------------------------


def test_credentials_are_shown_to_the_server_that_they_are_for() -> None:
    with Guarded({"a": BODY}) as server:
        assert BODY == get(server.url, {server.url: GIVEN})


def test_without_credentials_the_error_names_server_and_remedy() -> None:
    with Guarded({"a": BODY}) as server, pytest.raises(DeniedError, match="wants credentials, and none are") as caught:
        get(server.url, {})

    assert f"127.0.0.1:{server.port}" in caught.value.message
    assert "access" in (caught.value.hint or "")
    assert caught.value.exit_code == 5


def test_wrong_credentials_are_said_to_be_wrong_and_are_not_repeated() -> None:
    wrong = Access(authorization=basic("builder", OTHER_SECRET))
    with Guarded({"a": BODY}) as server, pytest.raises(DeniedError, match="does not accept the credentials") as caught:
        get(server.url, {server.url: wrong})

    assert len(server.seen) <= 2
    assert OTHER_SECRET not in whole(caught.value)
    assert str(wrong.authorization).split()[1] not in whole(caught.value)


def test_parts_retries_and_resumed_downloads_show_them_too(store: Store) -> None:
    large = os.urandom(600_000)
    with Guarded({"large": large, "small": BODY}) as server:
        server.break_path("small", "truncate", once=True)
        server.break_path("large", "status_503", once=True)
        base = replace(QUICK, split_bytes=50_000)

        with Fetcher(settings({server.url: GIVEN}, base)) as fetcher:
            fetcher.fetch([request("large", server.url, body=large), request("small", server.url)], store, SILENT)

        assert {"range"} <= {name for each in server.seen for name in each.headers}
        assert {BASIC} == {each.headers.get("authorization") for each in server.seen}


def test_a_mirror_that_denies_us_is_left_for_the_next_and_said_once(store: Store) -> None:
    bodies = {f"f{number}": os.urandom(500) for number in range(30)}
    notes = Notes()
    with Guarded(bodies) as closed, FaultServer(bodies) as good, Fetcher(QUICK) as fetcher:
        fetched = fetcher.fetch([request(p, closed.url, good.url, body=b) for p, b in bodies.items()], store, notes)

        assert fetched.mirrors == {good.url: 30}
        assert len(closed.seen) < 30
    assert len([text for text in notes.heard if "asked last" in text]) == 1


def test_a_list_of_mirrors_is_asked_for_with_them() -> None:
    with Guarded({"list": b"https://m.example/x\n"}) as server, Fetcher(settings({server.url: GIVEN})) as fetcher:
        lists = (MirrorList(ListKind.PLAIN, f"{server.url}/list?repo=x"),)
        upstream = Upstream(name="u", module="m", mirrors=(), mirror_lists=lists)

        assert (Mirror("https://m.example/x"),) == expand(upstream, fetcher.get).mirrors


@pytest.mark.parametrize("is_known", [False, True])
def test_a_redirect_to_another_server_never_carries_them(is_known: bool) -> None:
    with Guarded({"a": BODY}) as first, FaultServer({"a": BODY}) as second:
        first.elsewhere = second.url
        first.break_path("a", "redirect_elsewhere", once=False)
        other = {second.url: Access(authorization=basic("builder", OTHER_SECRET))} if is_known else {}

        assert BODY == get(first.url, {first.url: GIVEN, **other})

        assert "authorization" not in second.seen[0].headers


def test_a_redirect_that_comes_back_does_not_get_them_again() -> None:
    with Guarded({"a": BODY, "back/a": BODY}) as first, FaultServer({"a": BODY}) as second:
        first.elsewhere = second.url
        first.break_path("a", "redirect_elsewhere", once=True)
        second.elsewhere = f"{first.url}/back"
        second.break_path("a", "redirect_elsewhere", once=False)

        with pytest.raises(UnreachableError):
            get(first.url, {first.url: GIVEN}, base=replace(QUICK, tries=1))

        assert [BASIC, None] == [each.headers.get("authorization") for each in first.seen]


def test_a_redirect_out_of_the_prefix_on_the_same_server_does_not_carry_them() -> None:
    with FaultServer({"in/a": BODY, "out/in/a": BODY}) as server:
        server.elsewhere = f"{server.url}/out"
        server.break_path("in/a", "redirect_elsewhere", once=False)

        get(f"{server.url}/in", {f"{server.url}/in": GIVEN})

        assert [BASIC, None] == [each.headers.get("authorization") for each in server.seen]


def test_netrc_is_not_read_unless_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret_file(tmp_path / "netrc", f"machine 127.0.0.1 login builder password {SECRET}")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with FaultServer({"a": BODY}) as server:
        get(server.url, {})

        assert "authorization" not in server.seen[0].headers


def test_an_access_never_shows_its_secrets() -> None:
    access = Access(authorization=BASIC, proxy="http://p.example:1", proxy_authorization=basic("p", OTHER_SECRET))
    encoded = [str(each).split()[1] for each in (access.authorization, access.proxy_authorization)]

    for shown in (repr(access), str(access), f"{settings({'https://a.example': access})}"):
        assert not any(secret in shown for secret in (SECRET, OTHER_SECRET, *encoded))


# --- certificates -----------------------------------------------------------------------------------------------------


def openssl(*words: str | Path) -> None:
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make two authorities; each issues a server's certificate for 127.0.0.1 and a client's."""
    folder = tmp_path_factory.mktemp("pki")
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    for name in ("ours", "foreign"):
        ca = folder / f"{name}-ca"
        openssl("req", "-x509", *key, "-days", "2", "-subj", f"/CN={name}", "-keyout", f"{ca}.key", "-out", f"{ca}.pem")
        for role, extension in (("server", "subjectAltName=IP:127.0.0.1"), ("client", "extendedKeyUsage=clientAuth")):
            stem = folder / f"{name}-{role}"
            (folder / "extensions").write_text(extension)
            openssl("req", *key, "-subj", f"/CN={role}", "-keyout", f"{stem}.key", "-out", f"{stem}.csr")
            openssl(
                "x509", "-req", "-in", f"{stem}.csr", "-CA", f"{ca}.pem", "-CAkey", f"{ca}.key", "-CAcreateserial",
                "-days", "2", "-extfile", folder / "extensions", "-out", f"{stem}.pem",
            )  # fmt: skip
    for path in folder.glob("*.key"):
        path.chmod(0o600)
    return folder


def tls(pki: Path, name: str = "ours", *, wants_client: bool = False) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki / f"{name}-server.pem", pki / f"{name}-server.key")
    if wants_client:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(pki / "ours-ca.pem")
    return context


def trusting(pki: Path, client: str | None = None) -> Access:
    if client is None:
        return Access(ca=pki / "ours-ca.pem")
    cert, key = pki / f"{client}-client.pem", pki / f"{client}-client.key"
    return Access(ca=pki / "ours-ca.pem", client_cert=cert, client_key=key)


def test_a_private_authority_is_believed_for_its_own_prefix_only(pki: Path) -> None:
    with FaultServer({"in/a": BODY, "out/a": BODY}, tls=tls(pki)) as server:
        accesses = {f"{server.url}/in": trusting(pki)}

        with Fetcher(settings(accesses)) as fetcher:
            assert BODY == fetcher.get(Mirror(f"{server.url}/in"), "a", 1 << 20)
            with pytest.raises(UnreachableError, match="certificate does not hold"):
                fetcher.get(Mirror(f"{server.url}/out"), "a", 1 << 20)


def test_where_a_private_authority_is_named_no_other_one_is_believed(pki: Path) -> None:
    with FaultServer({"a": BODY}, tls=tls(pki, "foreign")) as server:
        base = replace(QUICK, ca_file=pki / "foreign-ca.pem")
        assert BODY == get(server.url, {}, base=base)

        with pytest.raises(UnreachableError, match="certificate does not hold"):
            get(server.url, {server.url: trusting(pki)}, base=base)


def test_a_server_that_wants_a_certificate_of_ours_gets_it(pki: Path) -> None:
    with FaultServer({"a": BODY}, tls=tls(pki, wants_client=True)) as server:
        assert BODY == get(server.url, {server.url: trusting(pki, "ours")})


@pytest.mark.parametrize("client", [None, "foreign"])
def test_a_server_that_wants_another_certificate_of_ours_is_not_reached(pki: Path, client: str | None) -> None:
    with FaultServer({"a": BODY}, tls=tls(pki, wants_client=True)) as server, pytest.raises(UnreachableError) as caught:
        get(server.url, {server.url: trusting(pki, client)})

    if client is None:
        assert isinstance(caught.value, DeniedError)
        assert "client certificate" in caught.value.message


def test_a_server_that_hangs_up_while_we_send_is_heard_to_its_last_word(pki: Path) -> None:
    with FaultServer({"a": BODY}, tls=tls(pki, wants_client=True)) as server:
        for _ in range(20):  # whether it hangs up before we have sent all is a matter of luck
            with pytest.raises(DeniedError, match="client certificate"):
                get(server.url, {server.url: trusting(pki)})


def test_a_connection_made_with_our_certificate_is_not_used_for_another_prefix(pki: Path) -> None:
    context = tls(pki, wants_client=True)
    context.verify_mode = ssl.CERT_OPTIONAL
    with FaultServer({"in/a": BODY, "out/a": BODY}, tls=context) as server:
        accesses = {f"{server.url}/in": trusting(pki, "ours"), f"{server.url}/out": trusting(pki)}

        with Fetcher(settings(accesses)) as fetcher:
            for place in ("in", "out", "in", "out"):
                fetcher.get(Mirror(f"{server.url}/{place}"), "a", 1 << 20)

        assert server.connections == 2


# --- proxies ----------------------------------------------------------------------------------------------------------


def test_a_proxy_of_its_own_is_used_for_its_prefix_and_no_other() -> None:
    with Proxy({"x/a": BODY}) as proxy, FaultServer({"y/a": BODY}) as server:
        accesses = {"http://far.example/x": Access(proxy=proxy.url)}

        assert BODY == get("http://far.example/x", accesses)
        assert BODY == get(f"{server.url}/y", accesses)

        assert ["x/a"] == [each.path for each in proxy.seen]


def test_a_direct_connection_can_be_asked_for_against_the_settings() -> None:
    with FaultServer({"a": BODY}) as server:
        base = replace(QUICK, proxies={"http": "http://127.0.0.1:1"})

        assert BODY == get(server.url, {server.url: Access(proxy="")}, base=base)


@pytest.mark.parametrize("is_tls", [False, True])
def test_a_proxy_gets_its_own_credentials_and_the_server_does_not(pki: Path, is_tls: bool) -> None:
    with Proxy({"a": BODY}) as proxy, Guarded({"a": BODY}, tls=tls(pki) if is_tls else None) as server:
        proxy.wanted = basic("p", OTHER_SECRET)
        access = replace(
            GIVEN, ca=pki / "ours-ca.pem" if is_tls else None, proxy=proxy.url, proxy_authorization=proxy.wanted
        )

        assert BODY == get(server.url, {server.url: access})

        assert proxy.wanted == proxy.seen[0].headers["proxy-authorization"]
        assert all("proxy-authorization" not in each.headers for each in server.seen)
        if is_tls:
            assert "authorization" not in proxy.seen[0].headers
            assert BASIC == server.seen[0].headers["authorization"]


@pytest.mark.parametrize("is_tls", [False, True])
def test_a_proxy_that_denies_us_is_named_as_the_one_that_does(pki: Path, is_tls: bool) -> None:
    with Proxy({"a": BODY}) as proxy, FaultServer({"a": BODY}, tls=tls(pki) if is_tls else None) as server:
        proxy.wanted = basic("p", SECRET)
        access = Access(ca=pki / "ours-ca.pem", proxy=proxy.url, proxy_authorization=basic("p", OTHER_SECRET))

        with pytest.raises(DeniedError, match="proxy") as caught:
            get(server.url, {server.url: access})

        assert str(access.proxy_authorization).split()[1] not in whole(caught.value)


# --- what a manifest says of it ---------------------------------------------------------------------------------------

MANIFEST = """\
admin_ip: 10.10.10.10
repo_upstream:
  - name: base
    module: node
    releases: [12, 13]
    verify: none
    baseurl: {{ default: 'https://art.example/debian/${{distro_codename}} ./' }}
{}
access:
  https://art.example:
    ca: art.pem
"""


def read(tmp_path: Path, entry: str) -> Manifest:
    text = MANIFEST.format("\n".join(f"    {line}" for line in entry.splitlines()))
    return load(tmp_path / "m.yml", text=text.encode())


def test_an_upstream_says_how_its_own_urls_are_reached(tmp_path: Path) -> None:
    manifest = read(tmp_path, "access: { credentials: 'env:ART', ca: own.pem, proxy: 'http://p.example:3128' }")

    found = manifest.accesses

    expected = {"https://art.example", "https://art.example/debian/bookworm", "https://art.example/debian/trixie"}
    assert expected == set(found)
    own = found["https://art.example/debian/bookworm"]
    assert SecretSource(SecretKind.ENV, "ART") == own.credentials
    assert tmp_path / "own.pem" == own.ca
    assert own.proxy == "http://p.example:3128"
    assert tmp_path / "art.pem" == found["https://art.example"].ca


def test_an_access_moves_neither_digest_nor_job_nor_description(tmp_path: Path) -> None:
    plain = read(tmp_path, "")
    reached = read(tmp_path, "access: { credentials: 'env:ART', client_cert: a.pem, proxy: 'http://p.example:1' }")

    assert plain.job(D12) == reached.job(D12)
    assert plain.describe(D12) == reached.describe(D12)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"access: {{ credentials: 'builder:{SECRET}' }}", "a credential itself does not belong"),
        (f"access: {{ credentials: '{SECRET}' }}", "a credential itself does not belong"),
        (f"access: {{ credentials: {{ user: builder, password: {SECRET} }} }}", "a credential itself"),
        (f"access: {{ credentials: 'env:{SECRET}-x' }}", "env:NAME"),
        ("access: { credentials: 'file:' }", "file:PATH"),
        (f"access: {{ password: {SECRET} }}", "unknown key, which is not repeated here; known: credentials, ca,"),
        (f"access: {{ proxy: 'http://u:{SECRET}@p.example:1' }}", "without user name or password"),
        (f"access: {{ proxy: 'u:{SECRET}@p.example:1' }}", "without user name or password"),
        ("access: { proxy: 'ftp://p.example' }", "expected a URL of http"),
        ("access: { proxy_credentials: 'env:X' }", "a `proxy` of http or https beside"),
        ("access: { proxy: 'http://p.example:1', proxy_credentials: netrc }", "env:NAME or file:PATH"),
        ("access: { client_key: x }", "`client_cert` beside"),
        ("access: nonsense", "expected a mapping of credentials"),
    ],
)
def test_what_is_wrong_with_an_access_is_said_without_repeating_a_secret(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(ManifestError) as caught:
        read(tmp_path, text)

    assert message in caught.value.message
    assert "m.yml:8" in caught.value.message
    assert SECRET not in whole(caught.value)


def test_credentials_are_not_spread_over_the_servers_of_an_entry(tmp_path: Path) -> None:
    text = MANIFEST.format("    access: { credentials: 'env:ART' }").replace(
        "./' }", "./', china: 'https://other.example/debian ./' }"
    )

    with pytest.raises(ManifestError, match=r"one server .* got art.example, other.example"):
        load(tmp_path / "m.yml", text=text.encode())

    accesses = load(tmp_path / "m.yml", text=text.replace("'env:ART'", "netrc").encode()).accesses
    assert "https://other.example/debian" in accesses


def test_two_upstreams_may_not_disagree_about_a_url(tmp_path: Path) -> None:
    entry = MANIFEST.format("    access: { ca: one.pem }").split("access:\n")[0]
    second = entry.split("repo_upstream:\n")[1].replace("name: base", "name: more")
    same = load(tmp_path / "m.yml", text=(entry + second).encode())
    other = load(tmp_path / "m.yml", text=(entry + second.replace("one.pem", "two.pem")).encode())

    assert len(same.accesses) == 2
    with pytest.raises(ManifestError, match=r"expected one access for https://art\.example/debian/bookworm"):
        _ = other.accesses


def test_a_file_of_accesses_is_read_strictly(tmp_path: Path) -> None:
    path = tmp_path / "access.yml"
    path.write_text("https://art.example/pigsty/: { credentials: netrc, proxy: direct }\n")

    (url,) = load_accesses(path)

    assert url == "https://art.example/pigsty"
    assert load_accesses(path)[url].proxy == ""
    for text in (
        f"https://u:{SECRET}@art.example: {{ ca: x }}\n",
        f"u:{SECRET}@art.example: {{ ca: x }}\n",
        "ftp://art.example: { ca: x }\n",
        "https://art.example: { cca: x }\n",
        "https://art.example: { ca: x }\nhttps://art.example/: { ca: y }\n",
        "[1]\n",
    ):
        path.write_text(text)
        with pytest.raises(ManifestError) as caught:
            load_accesses(path)
        assert SECRET not in whole(caught.value)


# --- where secrets are ------------------------------------------------------------------------------------------------


def secret_file(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def source(kind: SecretKind, name: str = "") -> AccessSource:
    return AccessSource(where="m.yml:8: access", credentials=SecretSource(kind, name))


def header(each: AccessSource, environment: Mapping[str, str] | None = None, url: str = "https://art.example/x") -> str:
    return reveal(url, each, environment or {}).authorization or ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"builder:{SECRET}", BASIC),
        (f"builder:{SECRET}\n", BASIC),
        ("builder:a:b c ", basic("builder", "a:b c ")),
        ("bürger:grün", basic("bürger", "grün")),
        ("builder:", basic("builder", "")),
        ("bearer abc.DEF-_~+/==", "Bearer abc.DEF-_~+/=="),
        ("Bearer  abc", "Bearer abc"),
    ],
)
def test_a_credential_in_variable_or_file_is_a_login_or_a_token(tmp_path: Path, text: str, expected: str) -> None:
    path = secret_file(tmp_path / "secret", text)

    assert expected == header(source(SecretKind.ENV, "ART"), {"ART": text})
    assert expected == header(source(SecretKind.FILE, str(path)))


@pytest.mark.parametrize(
    "text", [SECRET, f":{SECRET}", f"a:{SECRET}\r\nX: y", f"bearer {SECRET} x", f"a:{SECRET}\nb:c"]
)
def test_what_is_no_credential_is_refused_unrepeated(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match="not repeated") as caught:
        header(source(SecretKind.FILE, str(secret_file(tmp_path / "secret", text))))

    assert SECRET not in whole(caught.value)


def test_a_variable_that_is_not_set_is_named() -> None:
    with pytest.raises(UsageError, match=r"m\.yml:8: access: expected a credential in the environment variable ART"):
        header(source(SecretKind.ENV, "ART"))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620])
def test_a_secret_file_that_others_can_read_is_refused_with_the_remedy(tmp_path: Path, mode: int) -> None:
    path = secret_file(tmp_path / "secret", f"builder:{SECRET}", mode)

    with pytest.raises(UsageError, match=f"mode {mode:04o}") as caught:
        header(source(SecretKind.FILE, str(path)))

    assert f"chmod 600 {path}" == caught.value.hint


def test_a_secret_file_is_bounded_regular_and_there(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    (tmp_path / "folder").mkdir(0o700)
    secret_file(tmp_path / "huge", "x" * (1 << 20) + "yy")

    for name in ("pipe", "folder", "huge", "absent"):
        with pytest.raises(UsageError, match=name):
            header(source(SecretKind.FILE, str(tmp_path / name)))


NETRC = f"""\
# machine art.example login nobody password commented
machine other.example login x password y
macdef init
machine art.example login macro password macro

machine ART.example
  login builder
  password "{SECRET}"
machine art.example login second password second
machine quoted.example login u password "with \\"quotes\\" and blanks"
machine lonely.example password only
default login anonymous password guest
"""


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://art.example/x", BASIC),
        ("https://quoted.example", basic("u", 'with "quotes" and blanks')),
        ("https://unknown.example", basic("anonymous", "guest")),
    ],
)
def test_netrc_is_read_where_the_environment_or_the_home_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, expected: str
) -> None:
    path = secret_file(tmp_path / ".netrc", NETRC)
    monkeypatch.setenv("HOME", str(tmp_path))

    assert expected == header(source(SecretKind.NETRC), {"NETRC": str(path)}, url)
    assert expected == header(source(SecretKind.NETRC), {}, url)


def test_a_netrc_without_the_host_is_an_error_with_the_remedy(tmp_path: Path) -> None:
    path = secret_file(tmp_path / "netrc", f"machine other.example login x password {SECRET}")

    for url in ("https://art.example/x", "https://r.example"):
        with pytest.raises(UsageError, match="expected a login for") as caught:
            header(source(SecretKind.NETRC), {"NETRC": str(path)}, url)
        assert "machine" in (caught.value.hint or "")
        assert SECRET not in whole(caught.value)


def test_certificates_and_keys_are_proven_before_they_are_used(pki: Path, tmp_path: Path) -> None:
    secret_file(tmp_path / "no.pem", "nonsense")
    encrypted = tmp_path / "encrypted.key"
    openssl("pkey", "-in", pki / "ours-client.key", "-aes256", "-passout", "pass:x", "-out", encrypted)
    encrypted.chmod(0o600)
    cert, key = pki / "ours-client.pem", pki / "ours-client.key"
    good = AccessSource(where="m.yml:8", ca=pki / "ours-ca.pem", client_cert=cert, client_key=key)

    assert cert == reveal("https://art.example", good, {}).client_cert
    for wrong in (
        replace(good, ca=tmp_path / "no.pem"),
        replace(good, ca=tmp_path / "absent.pem"),
        replace(good, client_cert=tmp_path / "no.pem"),
        replace(good, client_key=pki / "foreign-client.key"),
        replace(good, client_key=encrypted),
        replace(good, client_key=None),
    ):
        with pytest.raises(UsageError, match=r"m\.yml:8"):
            reveal("https://art.example", wrong, {})


class Heard(Silent):
    """A progress that keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)


@pytest.mark.parametrize(
    ("url", "is_open"),
    [
        ("http://art.example/x", True),
        ("http://10.0.0.9:8080", True),
        ("http://[2001:db8::1]/x", True),
        ("http://localhost.example", True),
        ("https://art.example/x", False),
        ("http://127.8.0.1:8080/x", False),
        ("http://[::1]/x", False),
        ("http://localhost/x", False),
    ],
)
def test_a_credential_that_others_can_read_on_its_way_is_warned_of_when_it_is_used(url: str, is_open: bool) -> None:
    heard = Heard()
    (later,) = reveal_all({url: source(SecretKind.ENV, "ART")}, {"ART": f"builder:{SECRET}"}, heard).values()

    assert [] == heard.lines
    later()
    later()

    assert is_open == (len(heard.lines) == 1)
    assert all(f"warning: credentials for {url} go over plain http" in each for each in heard.lines)
    assert not any(SECRET in each for each in heard.lines)


def test_what_is_no_credential_may_go_over_plain_http() -> None:
    heard = Heard()
    (later,) = reveal_all({"http://art.example": AccessSource(where="m.yml:8", proxy="")}, {}, heard).values()

    assert later().proxy == ""
    assert [] == heard.lines


def test_what_is_revealed_is_read_once(tmp_path: Path) -> None:
    path = secret_file(tmp_path / "secret", f"builder:{SECRET}")
    (later,) = reveal_all({"https://art.example": source(SecretKind.FILE, str(path))}, {}).values()

    first = later()
    path.unlink()

    assert first is later()


# --- from the command line to the disk --------------------------------------------------------------------------------


class Closed(Runner):
    """A build machine whose archive wants credentials."""

    def __init__(self, root: Path, manifest: Path, variable: str) -> None:
        super().__init__(root, manifest)
        self.variable = variable

    @property
    def environment(self) -> Mapping[str, str]:
        return {**super().environment, "ART": self.variable}


@pytest.fixture
def closed(tmp_path: Path, tool: Callable[[str], str]) -> Iterator[Callable[[str, str], Closed]]:
    tool("dpkg-deb")
    archive = ArchiveOnDisk(tmp_path / "archive")
    archive.publish(FIRST)
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(Guarded(root=archive.folder))

        def make(variable: str, extra: str) -> Closed:
            path = archive.write_manifest(tmp_path / "site" / "site.yml", server.url, ["app", "tool"])
            path.write_text(path.read_text() + extra.format(url=server.url))
            return Closed(tmp_path, path, variable)

        yield make


DOCUMENT = "access: {{ '{url}': {{ credentials: 'env:ART' }} }}\n"


def traces(site: Closed, *secrets: str) -> list[Path]:
    """Return the files of a build machine in which a secret is, plain or as it goes over the wire."""
    encoded = [base64.b64encode(each.encode()).decode() for each in secrets]
    return [
        path
        for path in sorted(site.root.rglob("*"))
        if path.is_file() and any(each.encode() in path.read_bytes() for each in (*secrets, *encoded))
    ]


def test_a_closed_archive_is_built_from_and_its_secret_is_nowhere(closed: Callable[[str, str], Closed]) -> None:
    site = closed(f"builder:{SECRET}", DOCUMENT)

    runs = [
        site.run("sync", "d12.x86_64", "-v", "--debug"),
        site.run("show", "d12.x86_64", "--json"),
        site.run("plan", "d12.x86_64", "--json", "-v"),
        site.run("bundle", "d12.x86_64", "--offline", "-o", str(site.root)),
    ]

    assert [0, 0, 0, 0] == [each.returncode for each in runs], [each.stderr for each in runs]
    assert not any(SECRET in each.stdout + each.stderr for each in runs)
    assert not any(BASIC.split()[1] in each.stdout + each.stderr for each in runs)
    assert [] == traces(site, SECRET, f"builder:{SECRET}")


def test_a_file_of_accesses_serves_a_manifest_that_says_nothing(closed: Callable[[str, str], Closed]) -> None:
    site = closed(f"builder:{SECRET}", "# {url}\n")
    url = site.manifest.read_text().rpartition("# ")[2].strip()
    path = site.root / "access.yml"
    path.write_text(f"{url}: {{ credentials: 'env:ART' }}\n")

    assert site.run("sync", "d12.x86_64").returncode == 5
    assert site.run("sync", "d12.x86_64", "--access", str(path)).returncode == 0


@pytest.mark.parametrize(
    ("variable", "extra", "code", "words"),
    [
        (f"builder:{OTHER_SECRET}", DOCUMENT, 5, ("does not accept the credentials", "127.0.0.1", "hint: give cred")),
        (f"builder:{OTHER_SECRET}", "# {url}\n", 5, ("wants credentials, and none are given", "127.0.0.1", "--access")),
        (OTHER_SECRET, DOCUMENT, 2, ("site.yml:12", "environment variable ART", "user:password")),
        ("", DOCUMENT, 2, ("site.yml:12", "environment variable ART, got none")),
    ],
)
def test_credentials_that_are_wrong_or_missing_end_in_a_clear_error(
    closed: Callable[[str, str], Closed], variable: str, extra: str, code: int, words: tuple[str, ...]
) -> None:
    site = closed(variable, extra)

    done = site.run("sync", "d12.x86_64", "-v", "--debug")

    assert code == done.returncode, done.stderr
    assert [] == [word for word in words if word not in done.stderr], done.stderr
    assert OTHER_SECRET not in done.stdout + done.stderr
    assert basic("builder", OTHER_SECRET).split()[1] not in done.stdout + done.stderr
    assert [] == traces(site, OTHER_SECRET, f"builder:{OTHER_SECRET}")


def test_what_needs_no_network_needs_no_credentials(closed: Callable[[str, str], Closed]) -> None:
    site = closed(f"builder:{SECRET}", DOCUMENT)
    assert site.run("sync", "d12.x86_64").returncode == 0
    site.variable = ""

    for words in (("show", "d12.x86_64"), ("sync", "d12.x86_64"), ("check",), ("gc",)):
        done = site.run(*words)
        assert done.returncode == 0, done.stderr
