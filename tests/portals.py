"""Portals for tests: one with every kind of site, and the demo of the architecture page."""

from pathlib import Path

from repobuild.portal import DnsRecord, Portal, Site, SiteKind
from repobuild.webserver import PortalSpec

DEMO = Path(__file__).resolve().parents[2] / "shared/data/infra_portal-demo.yml"

HOME = Site(name="home", kind=SiteKind.HOME, domain="h.pigsty", domains=("x.pigsty",), log="x.log")
ENDPOINT = Site(
    name="grafana",
    kind=SiteKind.ENDPOINT,
    domain="g.pigsty",
    domains=("x.pigsty",),
    endpoint="127.0.0.1:3000",
    websocket=True,
    log="x.log",
    cert="/x/c.crt",
    key="/x/c.key",
    auth=True,
    realm="x",
    config="set $x 1;",
)
FOLDER = Site(
    name="docs",
    kind=SiteKind.PATH,
    domain="d.pigsty",
    path="/www/docs",
    certbot="x",
    enforce_https=True,
)
PORTAL = Portal(
    sites=(ENDPOINT, HOME, FOLDER),
    records=(DnsRecord("10.10.10.11", ("m.pigsty", "api.pigsty")),),
    address="10.10.10.10",
    is_stated=True,
)
SPEC = PortalSpec(portal=PORTAL, home="/www", repositories=("/pigsty/",))

MANIFEST = """\
admin_ip: 10.10.10.10
infra_portal:
  home: { domain: h.pigsty }
  x:
    domain: g.pigsty
    domains: [x.pigsty]
    endpoint: 127.0.0.1:3000
    scheme: http
    websocket: true
    log: x.log
    cert: /x/c.crt
    key: /x/c.key
    auth: true
    realm: x
    enforce_https: true
    config: set $x 1;
  y: { domain: d.pigsty, path: /www/docs, certbot: x, index: true }
dns_records: ['10.10.10.11 m.pigsty']
nginx_sslmode: enable
nginx_port: 80
nginx_ssl_port: 443
nginx_users: { x: secret }
"""

GOOD_WORDS = [
    "return 404;",
    "# a comment with } and {",
    "location /zh/ {\n  rewrite ^/zh/(.*)$ /$1 permanent;\n}",
    'if ($http_x = "}") { return 403 "a;b{"; }',
    "set $a '}'; set $b \"${a}}\";",
    "set $a ${host};",
    "set $a x\\}; set $b \\{;",
    'location ~ "^/[0-9]{4}$" { return 200 x; }',
    "set $a a#b; set $b b}c; # }",
    "access_log /nowhere/at/all.log; error_log '/nowhere/error.log' warn;",
    "location /api/ { proxy_pass http://[::1]:8; }",
]
"""What an operator may write."""
