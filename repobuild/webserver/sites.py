"""The portal: one nginx file with a server for the home and for every other site of `infra_portal` that has a domain.

The form is that of Pigsty's templates (pigsty.md, 3.6), with what our home says of the repositories. A site's `config`
is the operator's own and stands as it is, between two comments; it has to begin and end within its server.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from repobuild.checked import (
    check_endpoint,
    check_host,
    check_name,
    check_path,
    check_port,
    check_realm,
    check_statements,
)
from repobuild.errors import UsageError
from repobuild.portal import LOCAL_NAMES, Portal, Site, SiteKind, SslMode
from repobuild.webserver.repositories import (
    HEADER,
    everywhere,
    indented,
    location,
    names_hash,
    repositories,
    server_name,
)

OWN_WORDS = "# The operator's own words (config), passed on as they are:"
_SCHEMES = ("http", "https")
_LIVE = "/etc/letsencrypt/live"
_PROXY = (
    "proxy_set_header Host $host;",
    "proxy_set_header X-Real-IP $remote_addr;",
    "proxy_set_header X-Real-Scheme $scheme;",
    "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;",
    "proxy_connect_timeout 5s;",
    "proxy_read_timeout 120s;",
    "proxy_next_upstream error;",
    "proxy_buffering off;",
    "proxy_request_buffering off;",
)
_WEBSOCKET = (
    "proxy_http_version 1.1;",
    "proxy_set_header Upgrade $http_upgrade;",
    "proxy_set_header Connection $repobuild_connection;",
)
_MAP = ("map $http_upgrade $repobuild_connection {", "    default upgrade;", "    '' '';", "}")
_STATUS = (
    "location = /nginx {",
    "    stub_status;",
    "    auth_basic off;",
    "    access_log off;",
    "    allow 127.0.0.1;",
    "    allow ::1;",
    "    deny all;",
    "}",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PortalSpec:
    """What is served, and where its files are on the node."""

    portal: Portal
    home: str
    """Absolute path of the web root."""
    repositories: tuple[str, ...]
    """URL paths of the repositories below it, each with both slashes."""
    certificates: str = "/etc/nginx/conf.d/cert"
    """Folder of `pigsty.crt` and `pigsty.key`, for sites without a certificate of their own."""
    users: str = "/etc/nginx"
    """Folder of `.htpasswd`, which `users_file` makes: who may enter sites with `auth`."""
    acme: str = "/www/acme"
    """Web root of certbot's challenges."""
    logs: str = "/var/log/nginx"


def portal_config(spec: PortalSpec) -> str:
    """Return the configuration of all sites, for conf.d, the home first.

    Raises:
        UsageError: when a value is not of its type, naming the field.
    """
    sites = sorted((each for each in spec.portal.sites if each.domain), key=_is_no_home)
    names = [name for each in sites for name in _server_names(spec, each)]
    lines = [HEADER, *names_hash(names), *(_MAP if any(each.websocket for each in sites) else ())]
    for site in sites:
        if site.kind is SiteKind.ENDPOINT:
            lines += ["", *_upstream(site)]
        lines += ["", *_server(spec, site)]
    return "\n".join([*lines, ""])


def certificates(spec: PortalSpec) -> tuple[str, ...]:
    """Return the paths of the certificates and keys without which nginx does not start."""
    if spec.portal.ssl_mode is SslMode.DISABLE:
        return ()
    pairs = (_certificate(spec, site) for site in spec.portal.sites if site.domain)
    return tuple(sorted({path for pair in pairs for path in pair}))


def linked_sites(portal: Portal) -> Sequence[tuple[str, str]]:
    """Return name and URL of every site that has a server, but the home."""
    found = []
    for site in portal.sites:
        if not site.domain or site.kind is SiteKind.HOME:
            continue
        is_secured = _leads_to_https(portal, site)
        scheme, port, usual = ("https", portal.ssl_port, 443) if is_secured else ("http", portal.port, 80)
        found.append((site.name, f"{scheme}://{server_name(site.domain)}{'' if port == usual else f':{port}'}/"))
    return found


def _is_no_home(site: Site) -> bool:
    return site.kind is not SiteKind.HOME


def _leads_to_https(portal: Portal, site: Site) -> bool:
    """Whether a site answers http by leading to https; the home never does, since package managers read it by http."""
    is_enforced = site.enforce_https or portal.ssl_mode is SslMode.ENFORCE
    return is_enforced and portal.ssl_mode is not SslMode.DISABLE and site.kind is not SiteKind.HOME


def _upstream(site: Site) -> Iterator[str]:
    yield f"upstream {_backend(site)} {{"
    yield f"    server {check_endpoint(site.endpoint, _field(site, 'endpoint'))} max_fails=0;"
    yield "}"


def _server(spec: PortalSpec, site: Site) -> Iterator[str]:
    is_secured = spec.portal.ssl_mode is not SslMode.DISABLE
    leads_to_https = _leads_to_https(spec.portal, site)
    if leads_to_https:
        yield from _redirect(spec, site)
        yield ""
    yield "server {"
    if not leads_to_https:
        yield from indented(_listens(spec, check_port(spec.portal.port, "nginx_port")))
    if is_secured:
        yield from indented(_listens(spec, check_port(spec.portal.ssl_port, "nginx_ssl_port"), " ssl"))
    yield from indented(_names(spec, site))
    yield from indented(_secured(spec, site) if is_secured else ())
    yield from indented(_common(spec, site))
    yield from indented(_content(spec, site))
    yield from _own_words(site)
    yield "}"


def _redirect(spec: PortalSpec, site: Site) -> Iterator[str]:
    ssl_port = check_port(spec.portal.ssl_port, "nginx_ssl_port")
    yield "server {"
    yield from indented(_listens(spec, check_port(spec.portal.port, "nginx_port")))
    yield from indented(_names(spec, site))
    yield from indented(_challenge(spec))
    yield "    location / {"
    yield f"        return 301 https://$host{'' if ssl_port == 443 else f':{ssl_port}'}$request_uri;"
    yield "    }"
    yield "}"


def _listens(spec: PortalSpec, port: int, flag: str = "") -> Iterator[str]:
    """Yield where all servers listen; they share their sockets, so that the first is the one for unknown names."""
    portal = spec.portal
    domains = {name for site in portal.sites if site.domain for name in (site.domain, *site.domains)}
    told = (record.address for record in portal.records if domains.intersection(record.names))
    return (f"listen {each}{port}{flag};" for each in everywhere((portal.address, *domains, *told)))


def _names(spec: PortalSpec, site: Site) -> Iterator[str]:
    yield f"server_name {' '.join(_server_names(spec, site))};"
    yield "server_tokens off;"


def _server_names(spec: PortalSpec, site: Site) -> Sequence[str]:
    """Return the names of a site as nginx compares them, each once."""
    own = [check_host(each, _field(site, "domain")) for each in (site.domain, *site.domains)]
    if site.kind is SiteKind.HOME:
        own += [*LOCAL_NAMES, *([check_host(spec.portal.address, "admin_ip")] if spec.portal.address else [])]
    return tuple(dict.fromkeys(server_name(each).lower() for each in own))


def _secured(spec: PortalSpec, site: Site) -> Iterator[str]:
    certificate, key = _certificate(spec, site)
    yield f"ssl_certificate {certificate};"
    yield f"ssl_certificate_key {key};"
    yield "ssl_protocols TLSv1.2 TLSv1.3;"
    yield "ssl_session_timeout 10m;"


def _certificate(spec: PortalSpec, site: Site) -> tuple[str, str]:
    """Return the certificate and its key: the site's own, else certbot's, else those that all sites share."""
    if site.cert or site.key:
        return check_path(site.cert, _field(site, "cert")), check_path(site.key, _field(site, "key"))
    if site.certbot:
        folder = f"{_LIVE}/{check_name(site.certbot, _field(site, 'certbot'))}"
        return f"{folder}/fullchain.pem", f"{folder}/privkey.pem"
    folder = check_path(spec.certificates, "certificates")
    return f"{folder}/pigsty.crt", f"{folder}/pigsty.key"


def _common(spec: PortalSpec, site: Site) -> Iterator[str]:
    log = site.log or (f"{site.name}.log" if site.kind is SiteKind.ENDPOINT else "")
    if log:
        yield f"access_log {check_path(spec.logs, 'logs')}/{check_name(log, _field(site, 'log'))};"
    if site.auth:
        yield f'auth_basic "{check_realm(site.realm or site.name, _field(site, "realm"))}";'
        yield f"auth_basic_user_file {check_path(spec.users, 'users')}/.htpasswd;"
    yield from _challenge(spec)


def _challenge(spec: PortalSpec) -> Iterator[str]:
    yield "location ^~ /.well-known/acme-challenge/ {"
    yield "    auth_basic off;"
    yield f"    root {check_path(spec.acme, 'acme')};"
    yield "    default_type text/plain;"
    yield "}"


def _content(spec: PortalSpec, site: Site) -> Iterator[str]:
    match site.kind:
        case SiteKind.HOME:
            home = check_path(site.path or spec.home, _field(site, "path"))
            yield "absolute_redirect off;"
            yield from location("/", home, is_listed=site.index is not False)
            yield from repositories(spec.home, spec.repositories, is_open=site.auth)
            yield ""
            yield from _STATUS
        case SiteKind.PATH:
            folder = check_path(site.path, _field(site, "path"))
            yield "absolute_redirect off;"
            yield from location("/", folder, is_listed=site.index is True)
        case SiteKind.ENDPOINT:
            if site.scheme not in _SCHEMES:
                raise UsageError(f"{_field(site, 'scheme')}: expected http or https, got {str(site.scheme)[:80]!r}")
            yield "location / {"
            # Without a path behind the name, so that the backend gets the URL as the client wrote it (%2F stays).
            yield f"    proxy_pass {site.scheme}://{_backend(site)};"
            yield from indented(_PROXY)
            yield from indented(_WEBSOCKET if site.websocket else ())
            # The password is for the portal, not for what is behind it.
            yield from indented(('proxy_set_header Authorization "";',) if site.auth else ())
            yield "}"


def _own_words(site: Site) -> Iterator[str]:
    if site.config:
        yield ""
        yield f"    {OWN_WORDS}"
        yield check_statements(site.config, _field(site, "config"))
        yield "    # Here they end."


def _backend(site: Site) -> str:
    return f"portal_{check_name(site.name, 'name')}"


def _field(site: Site, key: str) -> str:
    return f"infra_portal.{check_name(site.name, 'name')}.{key}"
