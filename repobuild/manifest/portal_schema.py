"""How `infra_portal`, `dns_records` and `nginx_…` are read. Every value is checked in full before nginx may see it."""

import re
from collections.abc import Callable, Iterable, Mapping

from repobuild.checked import (
    check_address,
    check_dns_name,
    check_endpoint,
    check_name,
    check_path,
    check_port,
    check_realm,
    check_statements,
    check_user,
)
from repobuild.errors import UsageError
from repobuild.manifest.document import Scalar
from repobuild.manifest.generation import Generation
from repobuild.manifest.reading import Fields, Place, doubt_of, redacted
from repobuild.portal import LOCAL_NAMES, DnsRecord, Portal, Site, SiteKind, SslMode

KEYS = ("infra_portal", "dns_records", "nginx_sslmode", "nginx_port", "nginx_ssl_port", "nginx_users")
"""Keys of the document that this module reads."""
_SITE_KEYS = (
    "domain",
    "domains",
    "endpoint",
    "path",
    "scheme",
    "websocket",
    "certbot",
    "cert",
    "key",
    "enforce_https",
    "auth",
    "realm",
    "index",
    "log",
    "config",
)
_HOME = "home"
_BESIDE = ("admin_ip", "generation", "repo_endpoint", "repo_home", "repo_name", "version")
"""Keys that say something of a portal too."""
_MAX_SITES = 500
_MAX_NAME = 64
"""Characters of a site's name, which may become a realm, the file of a log and a backend's name."""
_MAX_DOMAINS = 100
_MAX_PASSWORD = 128
_UNSAID = "one that is not repeated here"
_PORT = re.compile(r"[0-9]{1,5}")
_DOMAINS = {Generation.V4: "i.pigsty"}
_DOMAIN = "h.pigsty"
"""Of the home, where nothing is said."""


def is_alone(keys: Iterable[str]) -> bool:
    """Whether a document describes a portal and nothing else, so that it needs no upstreams."""
    given = set(keys)
    return "infra_portal" in given and given <= {*KEYS, *_BESIDE}


def read_portal(fields: Fields, admin_ip: str, generation: Generation) -> Portal:
    """Return the portal that a document describes; of one that says nothing, the home alone."""
    port = fields.parsed("nginx_port", _port, "a port") or 80
    ssl_port = fields.parsed("nginx_ssl_port", _port, "a port") or 443
    mode = SslMode(fields.one_of("nginx_sslmode", list(SslMode), "disable, enable or enforce") or SslMode.ENABLE)
    if port == ssl_port and mode is not SslMode.DISABLE:
        place = fields.given.get("nginx_ssl_port") or fields.given["nginx_port"]
        place.wrong("another port for https than for http", str(port))
    given = fields.entries("infra_portal", "a mapping from name to server")
    sites = _sites(given, admin_ip, mode)
    default = Site(name=_HOME, kind=SiteKind.HOME, domain=_DOMAINS.get(generation, _DOMAIN))
    return Portal(
        sites=sites or (default,),
        ssl_mode=mode,
        port=port,
        ssl_port=ssl_port,
        users=_users(fields),
        records=_records(fields, admin_ip),
        address=admin_ip,
        is_stated=bool(sites),
    )


def _sites(items: Mapping[str, Place], admin_ip: str, mode: SslMode) -> tuple[Site, ...]:
    if len(items) > _MAX_SITES:
        next(iter(items.values())).wrong(f"at most {_MAX_SITES} servers", str(len(items)))
        return ()
    found = tuple(_site(name, place, admin_ip) for name, place in items.items())
    names: dict[str, str] = {}
    domains = _of_the_home(found, admin_ip)
    for site in found:
        place = items[site.name]
        if names.setdefault(site.name.lower(), site.name) != site.name:
            place.wrong(f"another name than {names[site.name.lower()]!r}, in more than its case", redacted(site.name))
        for domain in (each for each in (site.domain, *site.domains) if each):
            holder = domains.setdefault(domain.lower(), site.name)
            if holder != site.name:
                place.wrong(f"a domain of its own, not one of {holder!r} too", redacted(domain))
        if site.enforce_https and mode is SslMode.DISABLE:
            place.doubt("enforce_https has no effect while nginx_sslmode is disable")
    return found


def _of_the_home(sites: Iterable[Site], admin_ip: str) -> dict[str, str]:
    """Return the names that the home has without saying so, where there is one."""
    if not any(each.kind is SiteKind.HOME and each.domain for each in sites):
        return {}
    address = admin_ip if _refusal(check_address, admin_ip) else check_address(admin_ip, "admin_ip")
    return {each.lower(): _HOME for each in (*LOCAL_NAMES, address) if each}


def _site(name: str, place: Place, admin_ip: str) -> Site:
    fields = _without_empty(place.fields(_SITE_KEYS, f"a mapping of {', '.join(_SITE_KEYS)}"))
    if _refusal(check_name, name) or len(name) > _MAX_NAME:
        place.wrong(
            f"a name of at most {_MAX_NAME} letters, digits, dots, dashes and underscores as key", redacted(name)
        )
    kind = SiteKind.HOME if name == _HOME else SiteKind.PATH if "path" in fields.given else SiteKind.ENDPOINT
    _check_keys(fields, kind)
    return Site(
        name=name,
        kind=kind,
        domain=fields.parsed("domain", _domain, "a host name") or "",
        domains=_domains(fields),
        endpoint=fields.parsed("endpoint", lambda text: _endpoint(text, admin_ip), "host:port") or "",
        scheme=fields.one_of("scheme", ("http", "https"), "http or https") or "http",
        websocket=fields.flag("websocket") is True,
        path=fields.parsed("path", _by(check_path), "an absolute path") or "",
        index=fields.flag("index"),
        log=fields.parsed("log", _by(check_name), "a file name") or "",
        certbot=fields.parsed("certbot", _by(check_name), "the name of a certificate") or "",
        cert=fields.parsed("cert", _by(check_path), "an absolute path") or "",
        key=fields.parsed("key", _by(check_path), "an absolute path") or "",
        enforce_https=fields.flag("enforce_https") is True,
        auth=fields.flag("auth") is True,
        realm=fields.parsed("realm", _by(check_realm), "letters, digits, blanks, dots and dashes") or "",
        config=fields.parsed("config", _by(check_statements), "words to nginx") or "",
    )


def _without_empty(fields: Fields) -> Fields:
    """Return fields without empty texts, by which Pigsty's inventories say nothing."""
    given = {
        key: place
        for key, place in fields.given.items()
        if not (isinstance(place.node, Scalar) and not place.node.text.strip())
    }
    return Fields(fields.place, given)


def _check_keys(fields: Fields, kind: SiteKind) -> None:
    """Report keys that are missing, and those that a site of this kind has no use for."""
    if kind is SiteKind.ENDPOINT:
        fields.require("endpoint")
    elif "endpoint" in fields.given:
        reason = "the home serves the web root" if kind is SiteKind.HOME else "`path` counts before it"
        fields.given["endpoint"].doubt(f"an endpoint has no effect here: {reason}")
    if kind is SiteKind.HOME and "enforce_https" in fields.given:
        fields.given["enforce_https"].doubt("the home keeps http, by which package managers read it")
    if ("cert" in fields.given) != ("key" in fields.given):
        fields.place.wrong("`cert` and `key` together", "one of them")


def _domains(fields: Fields) -> tuple[str, ...]:
    items = fields.items("domains", "a list of host names")
    if len(items) > _MAX_DOMAINS:
        fields.given["domains"].wrong(f"at most {_MAX_DOMAINS} host names", str(len(items)))
    found = [item.parsed(_domain, "a host name") for item in items[:_MAX_DOMAINS]]
    return tuple(dict.fromkeys(each for each in found if each is not None))


def _domain(text: str) -> str:
    """Return an address, or a name that DNS can have a record of."""
    return _by(check_dns_name if _refusal(check_address, text) else check_address)(text)


def _users(fields: Fields) -> tuple[tuple[str, str], ...]:
    found = {}
    for name, place in fields.entries("nginx_users", "a mapping from user to password").items():
        if reason := _refusal(check_user, name):
            place.source.report(place.node.line, place.path, reason)
        found[name] = _password(place)
    return tuple(sorted(found.items()))


def _password(place: Place) -> str:
    """Return a password; one that is refused is not repeated."""
    node = place.node
    text = node.text if isinstance(node, Scalar) and not node.tag else ""
    if not (0 < len(text) <= _MAX_PASSWORD and text.isprintable()) or "{{" in text:
        place.wrong(f"a password of 1 to {_MAX_PASSWORD} printable signs, the value itself", _UNSAID)
    elif isinstance(node, Scalar) and doubt_of(node):
        place.wrong("a password in quotes, since YAML may read another value here", _UNSAID)
    return text


def _records(fields: Fields, admin_ip: str) -> tuple[DnsRecord, ...]:
    expected = "an address and its names, as /etc/hosts has them"
    items = fields.items("dns_records", expected)
    if len(items) > _MAX_SITES:
        fields.given["dns_records"].wrong(f"at most {_MAX_SITES} records", str(len(items)))
    found = [item.parsed(lambda text: _record(text, admin_ip), expected) for item in items[:_MAX_SITES]]
    return tuple(each for each in found if each is not None)


def _record(text: str, admin_ip: str) -> DnsRecord:
    address, *names = text.partition("#")[0].replace("${admin_ip}", admin_ip).split() or [""]
    if not names or len(names) > _MAX_DOMAINS:
        raise ValueError(f"expected an address and 1 to {_MAX_DOMAINS} names, got {redacted(text)}")
    return DnsRecord(_by(check_address)(address), tuple(_by(check_dns_name)(each) for each in names))


def _endpoint(text: str, admin_ip: str) -> str:
    ip = f"[{admin_ip}]" if ":" in admin_ip else admin_ip
    return _by(check_endpoint)(text.replace("${admin_ip}", ip))


def _port(text: str) -> int:
    try:
        return check_port(int(text) if _PORT.fullmatch(text) else 0, "port")
    except UsageError:
        raise ValueError(f"expected a port from 1 to 65535, got {redacted(text)}") from None


def _by(check: Callable[[str, str], str]) -> Callable[[str], str]:
    """Return a reading of a text that raises ValueError with what `check` expects."""

    def parse(text: str) -> str:
        if reason := _refusal(check, text):
            raise ValueError(reason)
        return check(text, "")

    return parse


def _refusal(check: Callable[[str, str], str], text: str) -> str:
    """Return why `check` refuses a text, "" when it does not."""
    try:
        check(text, "")
    except UsageError as error:
        return error.message.removeprefix(": ")
    return ""
