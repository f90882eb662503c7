"""`infra_portal` and its like: what is read, what is refused with file and line, and what nothing may slip through."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hostile import HOSTILE, directives
from portals import DEMO, GOOD_WORDS, MANIFEST, PORTAL, SPEC

from repobuild.errors import ManifestError, UsageError
from repobuild.manifest import Manifest, load, load_all
from repobuild.manifest.portal_schema import _SITE_KEYS
from repobuild.portal import DnsRecord, Portal, Site, SiteKind, SslMode
from repobuild.webserver import PortalSpec, dnsmasq_config, hosts_file, portal_config, users_file

HERE = Path("folder/m.yml")
NO_FIELD = {"", " "}
"""Texts that say nothing."""


def read(text: str) -> Manifest:
    return load(HERE, text=text.encode())


def portal(text: str) -> Portal:
    return read(text).portal


def problems(text: str) -> tuple[str, ...]:
    with pytest.raises(ManifestError) as caught:
        read(text)
    return caught.value.problems


def inventory(tmp_path: Path, variables: str) -> Manifest:
    """Return what an inventory of Pigsty says in general."""
    lines = "".join(f"    {line}\n" for line in variables.splitlines())
    path = tmp_path / "pigsty.yml"
    path.write_text(f"all:\n  vars:\n    version: v4.5.0\n{lines}")
    return load_all(path).general


# ------------------------------------------------------------------------------------------------ reading


def test_a_document_with_nothing_but_a_portal_needs_no_upstreams() -> None:
    found = read("infra_portal: { home: { domain: h.pigsty } }\n")

    assert found.portal.is_stated
    assert found.targets == ()
    assert problems("infra_portal: { home: { domain: h.pigsty } }\nrepo_packages: [a]\n") == (
        "folder/m.yml:1: expected the key 'repo_upstream', got none",
    )


def test_a_document_that_says_nothing_has_the_home_alone() -> None:
    found = portal("repo_upstream: []\n")

    assert found.sites == (Site(name="home", kind=SiteKind.HOME, domain="h.pigsty"),)
    assert (found.is_stated, found.ssl_mode, found.port, found.ssl_port) == (False, SslMode.ENABLE, 80, 443)


def test_the_home_of_pigsty_4_has_another_name(tmp_path: Path) -> None:
    assert inventory(tmp_path, "").portal.sites[0].domain == "i.pigsty"
    assert inventory(tmp_path, "version: v3.4.0").portal.sites[0].domain == "h.pigsty"


@pytest.mark.skipif(not DEMO.exists(), reason="no shared data here")
def test_the_portal_of_the_architecture_page_is_read_in_full() -> None:
    sites = {each.name: each for each in portal(DEMO.read_text()).sites}

    assert len(sites) == 21
    assert sites["grafana"] == Site(
        name="grafana",
        kind=SiteKind.ENDPOINT,
        domain="demo.pigsty.cc",
        endpoint="10.10.10.10:3000",
        websocket=True,
        certbot="pigsty.demo",
    )
    assert (sites["loki"].domain, sites["loki"].endpoint) == ("", "10.10.10.10:3100")
    assert (sites["web.io"].kind, sites["web.io"].enforce_https) == (SiteKind.PATH, True)
    assert sites["web.cc"].domains == ("zh.pigsty.cc",)
    assert "rewrite ^/zh/(.*)$ /$1 permanent;" in sites["web.cc"].config
    assert sites["repo"].index is True
    assert [name for name, site in sites.items() if site.kind is SiteKind.HOME] == ["home"]


def test_every_key_of_a_site_is_read() -> None:
    assert {key for key in _SITE_KEYS if f"{key}:" in MANIFEST} == set(_SITE_KEYS)
    found = portal(MANIFEST)

    home, endpoint, folder = found.sites
    assert endpoint == Site(
        name="x",
        kind=SiteKind.ENDPOINT,
        domain="g.pigsty",
        domains=("x.pigsty",),
        endpoint="127.0.0.1:3000",
        websocket=True,
        log="x.log",
        cert="/x/c.crt",
        key="/x/c.key",
        enforce_https=True,
        auth=True,
        realm="x",
        config="set $x 1;",
    )
    assert (folder.path, folder.certbot, folder.index, home.domain) == ("/www/docs", "x", True, "h.pigsty")
    assert found.users == (("x", "secret"),)
    assert found.records == (DnsRecord("10.10.10.11", ("m.pigsty",)),)


def test_the_nodes_address_stands_in_endpoints_and_records_in_brackets_where_needed() -> None:
    text = "admin_ip: '2001:db8::1'\ninfra_portal: { a: { endpoint: '${admin_ip}:3000' } }\ndns_records: ['${admin_ip} m']\n"

    assert portal(text).sites[0].endpoint == "[2001:db8::1]:3000"
    assert portal(text).records[0].address == "2001:db8::1"


def test_an_empty_text_says_nothing_as_in_pigstys_inventories(tmp_path: Path) -> None:
    found = inventory(tmp_path, "infra_portal: { a: { domain: '', path: '', endpoint: '127.0.0.1:1' } }")

    assert found.portal.sites == (Site(name="a", kind=SiteKind.ENDPOINT, domain="", endpoint="127.0.0.1:1"),)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("a: { domain: a.b }", "infra_portal.a: expected the key 'endpoint', got none"),
        ("a: { endpoint: 'a:1', cert: /x }", "infra_portal.a: expected `cert` and `key` together, got one of them"),
        ("a: { endpoint: 'a:1', tls: true }", "infra_portal.a: unknown key 'tls'"),
        ("a: { endpoint: 'a:1', path: /x }", "infra_portal.a.endpoint: an endpoint has no effect here: `path` counts before it"),
        ("home: { domain: a, enforce_https: true }", "infra_portal.home.enforce_https: the home keeps http"),
        ("a: { endpoint: 'a:1', domain: x }\n  b: { endpoint: 'a:2', domain: X }", "expected a domain of its own, not one of 'a' too"),
        ("home: { domain: h }\n  a: { endpoint: 'a:1', domain: Localhost }", "expected a domain of its own, not one of 'home' too"),
        ("home: { domain: h }\n  a: { endpoint: 'a:1', domain: b, domains: [127.0.0.1] }", "not one of 'home' too, got '127.0.0.1'"),
        (f"{'a' * 65}: {{ endpoint: 'a:1' }}", "expected a name of at most 64 letters"),
        ("a: { endpoint: 'a:1' }\n  A: { endpoint: 'a:2' }", "expected another name than 'a', in more than its case"),
        ("a: { endpoint: 'a:0' }", "infra_portal.a.endpoint: expected host:port"),
        ("a: { endpoint: a }", "infra_portal.a.endpoint: expected host:port, got 'a'"),
        ("a: { endpoint: '{{ x }}:1' }", "Jinja is not evaluated"),
        ("a: { endpoint: 'a:1', config: 'return 404' }", "infra_portal.a.config: expected whole statements with matching braces"),
        ("a b: { endpoint: 'a:1' }", "expected a name of at most 64 letters, digits, dots, dashes and underscores as key"),
        ("a: x", "infra_portal.a: expected a mapping of domain"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_site_is_said_with_its_line(said: str, expected: str) -> None:
    found = problems(f"infra_portal:\n  {said}\n")

    assert any(expected in each for each in found)
    assert all(re.match(r"folder/m\.yml:[23]: ", each) for each in found)


@pytest.mark.parametrize("address", ["10.10.10.10", "FD00::1", "node.example"])
def test_the_nodes_address_is_the_homes(address: str) -> None:
    site = f"a: {{ endpoint: 'a:1', domain: '{address.lower()}' }}"
    (found,) = problems(f"admin_ip: {address}\ninfra_portal:\n  home: {{ domain: h }}\n  {site}\n")

    assert found.startswith("folder/m.yml:4: infra_portal.a: expected a domain of its own, not one of 'home' too")
    assert portal(f"admin_ip: {address}\ninfra_portal:\n  {site}\n").sites[0].domain == address.lower()


@pytest.mark.parametrize("more", ["auth: true", "websocket: true", "auth: true, path: /x"])
def test_the_longest_name_of_a_site_is_written(more: str) -> None:
    name = "a" * 64
    found = portal(
        f"infra_portal: {{ {name}: {{ domain: d, endpoint: 'a:1', {more} }} }}\n".replace(
            "endpoint: 'a:1', auth: true, path", "auth: true, path"
        )
    )

    assert portal_config(replace(SPEC, portal=found))


def test_what_has_no_effect_in_pigstys_inventory_is_a_warning(tmp_path: Path) -> None:
    text = "nginx_sslmode: disable\ninfra_portal: { a: { endpoint: 'a:1', enforce_https: true, https: true } }"

    warnings = inventory(tmp_path, text).warnings

    assert any("enforce_https has no effect while nginx_sslmode is disable" in each for each in warnings)
    assert any("unknown key 'https'" in each for each in warnings)


def test_http_and_https_have_ports_of_their_own() -> None:
    text = "infra_portal: { home: { domain: h } }\nnginx_port: 443\n"

    assert problems(text) == ("folder/m.yml:2: nginx_port: expected another port for https than for http, got 443",)
    assert portal(f"{text}nginx_sslmode: disable\n").port == 443


@pytest.mark.parametrize(
    "said", ["1.50", "'{{ secret50 }}'", "yes", '"se\\tcret50"', "[secret50]", "'" + "50" * 65 + "'"]
)
def test_a_password_that_is_refused_is_not_repeated(said: str) -> None:
    found = problems(f"infra_portal: {{ home: {{ domain: h }} }}\nnginx_users: {{ admin: {said} }}\n")

    assert len(found) == 1
    assert found[0].startswith("folder/m.yml:2: nginx_users.admin: expected a password ")
    assert "50" not in found[0]
    assert "yes" not in found[0]


def test_passwords_are_neither_shown_nor_digested() -> None:
    found = portal("infra_portal: { home: { domain: h } }\nnginx_users: { admin: 'se cret:1' }\n")

    assert found.users == (("admin", "se cret:1"),)
    assert "se cret" not in repr(found)


# ------------------------------------------------------------------------------------- hostile, in a manifest

FIELDS = {
    "infra_portal.x.domain": "domain: g.pigsty",
    "infra_portal.x.domains[0]": "[x.pigsty]",
    "infra_portal.x.endpoint": "endpoint: 127.0.0.1:3000",
    "infra_portal.x.scheme": "scheme: http",
    "infra_portal.x.websocket": "websocket: true",
    "infra_portal.x.log": "log: x.log",
    "infra_portal.x.cert": "cert: /x/c.crt",
    "infra_portal.x.key": "key: /x/c.key",
    "infra_portal.x.auth": "auth: true",
    "infra_portal.x.realm": "realm: x",
    "infra_portal.x.enforce_https": "enforce_https: true",
    "infra_portal.y.path": "path: /www/docs",
    "infra_portal.y.certbot": "certbot: x",
    "infra_portal.y.index": "index: true",
    "dns_records[0]": "'10.10.10.11 m.pigsty'",
    "nginx_sslmode": "nginx_sslmode: enable",
    "nginx_port": "nginx_port: 80",
    "nginx_ssl_port": "nginx_ssl_port: 443",
    "nginx_users": "{ x: secret }",
    "infra_portal": "  x:\n",
}
"""What of `MANIFEST` is replaced, by the path that the error has to name."""


KEYS = {"infra_portal", "nginx_users"}
"""Where the value is a key."""


def with_value(path: str, value: str) -> str:
    """Return the manifest with one value changed."""
    old, said = FIELDS[path], json.dumps(value)
    head, colon, _ = old.partition(": ")
    if path == "nginx_users":
        new = f"{{ {said}: secret }}"
    elif path == "infra_portal":
        new = f"  {said}:\n"
    else:
        new = f"[{said}]" if old.startswith("[") else f"{head}: {said}" if colon else said
    return MANIFEST.replace(old, new, 1)


def spec_or_problems(text: str) -> tuple[PortalSpec | None, tuple[str, ...]]:
    try:
        return PortalSpec(portal=portal(text), home="/www", repositories=("/pigsty/",)), ()
    except ManifestError as error:
        return None, error.problems


@pytest.mark.parametrize("path", sorted(FIELDS))
def test_a_hostile_value_in_a_manifest_is_refused_at_its_line_or_adds_nothing(path: str) -> None:
    whole, _ = spec_or_problems(MANIFEST)
    assert whole is not None
    line = MANIFEST[: MANIFEST.index(FIELDS[path])].count("\n") + 1
    lines = {line, line + (path == "infra_portal")}
    refused = 0
    for value in HOSTILE:
        if len(value) > 1000 and path in KEYS:
            continue  # no YAML
        text = with_value(path, value)
        spec, said = spec_or_problems(text)
        refused += bool(said)
        assert text != MANIFEST
        if not value.strip():
            continue  # not given, which other keys may miss
        assert all(re.match(r"folder/m\.yml:([0-9]+): ", each)[1] in map(str, lines) for each in said)  # type: ignore[index]
        assert all(path.partition("[")[0] in each for each in said)
        assert path in KEYS or all(each.isprintable() for each in said)
        if spec is None:
            continue
        if path not in {"nginx_port", "nginx_ssl_port"}:
            assert directives(portal_config(spec)) == directives(portal_config(whole))
        assert len(users_file(spec.portal).splitlines()) == 1
        assert len(dnsmasq_config(spec.portal).splitlines()) >= 4
    assert refused > len(HOSTILE) - 14


# --------------------------------------------------------------------------------------- hostile, in a value


def written(field: str, value: Any) -> str:
    """Write the portal with one field changed, of the endpoint, of the folder, of the portal or of where files are."""
    endpoint, home, folder = SPEC.portal.sites
    spec, site = SPEC, field.partition(".")[2]
    changed = {site: (value,) if site in {"domains", "repositories"} else value}
    if field.startswith("endpoint."):
        spec = replace(SPEC, portal=replace(PORTAL, sites=(replace(endpoint, **changed), home, folder)))
    elif field.startswith("home."):
        spec = replace(SPEC, portal=replace(PORTAL, sites=(endpoint, replace(home, **changed), folder)))
    elif field.startswith("folder."):
        spec = replace(SPEC, portal=replace(PORTAL, sites=(endpoint, home, replace(folder, **changed))))
    elif field.startswith("portal."):
        spec = replace(SPEC, portal=replace(PORTAL, **changed))
    else:
        spec = replace(SPEC, **changed)
    return portal_config(spec)


HARMLESS: dict[str, Any] = {
    **{f"endpoint.{key}": "x" for key in ("name", "domain", "domains", "log", "realm")},
    "endpoint.endpoint": "x:1",
    "endpoint.scheme": "https",
    "endpoint.cert": "/x",
    "endpoint.key": "/x",
    "home.name": "x",
    "home.domain": "x",
    "home.path": "/x",
    "folder.name": "x",
    "folder.certbot": "x",
    "folder.path": "/x",
    "portal.address": "x",
    "spec.home": "/x",
    "spec.repositories": "/x/",
    "spec.certificates": "/x",
    "spec.users": "/x",
    "spec.acme": "/x",
    "spec.logs": "/x",
}
OPTIONAL = {
    "endpoint.log",
    "endpoint.realm",
    "endpoint.cert",
    "endpoint.key",
    "home.path",
    "folder.certbot",
    "portal.address",
}
"""Where "" means that nothing is said."""


def refusal(field: str, value: Any) -> str | None:
    try:
        written(field, value)
    except UsageError as error:
        return error.message
    return None


@pytest.mark.parametrize("field", sorted(HARMLESS))
def test_a_hostile_value_is_refused_or_adds_no_directive(field: str) -> None:
    harmless = directives(written(field, HARMLESS[field]))
    passed = []
    for value in HOSTILE:
        if value == "" and (field in OPTIONAL or field.endswith(".domain")):
            continue
        message = refusal(field, value)
        if message is None:
            passed.append(value)
            assert harmless == directives(written(field, value))
        else:
            assert message.isprintable()

    assert set(passed) <= {"0", "65536", "999.1.1.1", "1.2.3", "x..y", "x-", "a b", "80 default_server"}


@pytest.mark.parametrize("port", [0, 65536, -1, True, 80.0, "80", None])
@pytest.mark.parametrize("field", ["portal.port", "portal.ssl_port"])
def test_only_a_port_is_a_port(field: str, port: object) -> None:
    assert "port" in (refusal(field, port) or "")


@pytest.mark.parametrize("value", HOSTILE)
def test_a_hostile_record_is_refused(value: str) -> None:
    for record in (DnsRecord(value, ("m",)), DnsRecord("10.0.0.1", (value,))):
        changed = replace(PORTAL, records=(record,))
        for write in (dnsmasq_config, hosts_file):
            with pytest.raises(UsageError, match=r"^dns_records: expected") as caught:
                write(changed)
            assert caught.value.message.isprintable()


@pytest.mark.parametrize(
    "value", [each for each in HOSTILE if each not in {"0", "65536", "999.1.1.1", "1.2.3", "x..y", "x-"}]
)
def test_a_hostile_user_name_is_refused(value: str) -> None:
    with pytest.raises(UsageError, match="nginx_users"):
        users_file(replace(PORTAL, users=((value, "secret"),)))


# ------------------------------------------------------------------------------- the operator's own words

BAD = [
    "}", "{", "return 404", "return 404; }", "} server { listen 81;", "location / {", "location / { return 404; } }",
    'set $a "b;', "set $a 'b;", "set $a b\\", "set $a b;\\", 'set $a "b"c;', "a }", ";", "{}", "\\", "$", '"a"}', "# a\n}",
    "# a\u2028}\n}", "set $a b;\x00", "set $a \x85b;", "set $a b;\r}", "a;" * 9000, 'set $a "${b;\nreturn 1;',
]  # fmt: skip


@pytest.mark.parametrize("value", [*GOOD_WORDS, ""])
def test_whole_statements_pass_as_they_are(value: str) -> None:
    text = written("endpoint.config", value)

    assert value in text
    assert ("# The operator's own words (config), passed on as they are:" in text) is bool(value)


@pytest.mark.parametrize("value", BAD)
def test_words_that_leave_their_server_are_refused(value: str) -> None:
    assert "infra_portal.grafana.config: expected " in (refusal("endpoint.config", value) or "")
    assert problems(f"infra_portal:\n  a: {{ endpoint: 'a:1', config: {json.dumps(value)} }}\n")


def test_a_sign_that_only_python_takes_for_the_end_of_a_line_does_not_end_a_comment() -> None:
    text = written("endpoint.config", "set $a b; # c\u2028}")

    assert text.count("\n") == written("endpoint.config", "set $a b; # c").count("\n")
