"""The INFRA node's portal as values: which names its web server answers to, and what its DNS server knows."""

import enum
from dataclasses import dataclass, field

LOCAL_NAMES = ("localhost", "127.0.0.1")
"""Under which the node's own exporter asks the home for nginx's state: the home's, like the node's address."""


class SslMode(enum.StrEnum):
    """Whether the portal's servers speak https (`nginx_sslmode`)."""

    DISABLE = "disable"
    ENABLE = "enable"
    ENFORCE = "enforce"
    """And http leads there, but for the home."""


class SiteKind(enum.StrEnum):
    """What a server of the portal serves."""

    HOME = "home"
    """The web root with the repositories."""
    PATH = "path"
    """A folder."""
    ENDPOINT = "endpoint"
    """Another server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """An item of `infra_portal`."""

    name: str
    kind: SiteKind
    domain: str
    """"" for an item that other services look up and nginx does not serve."""
    domains: tuple[str, ...] = ()
    """More names of the same server."""
    endpoint: str = ""
    """`host:port`, IPv6 in brackets."""
    scheme: str = "http"
    """Of the endpoint."""
    websocket: bool = False
    path: str = ""
    index: bool | None = None
    """Whether folders are listed; None for what its kind does."""
    log: str = ""
    """File name of the access log; "" for what its kind does: `<name>.log` of an endpoint, else the common one."""
    certbot: str = ""
    """Name of the certificate that certbot keeps."""
    cert: str = ""
    key: str = ""
    """Paths of a certificate of its own and of its key."""
    enforce_https: bool = False
    auth: bool = False
    realm: str = ""
    config: str = ""
    """The operator's own words to nginx, passed on as they are."""


@dataclass(frozen=True, slots=True)
class DnsRecord:
    """An item of `dns_records`: an address and its names."""

    address: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Portal:
    """All that the manifest says of it."""

    sites: tuple[Site, ...]
    ssl_mode: SslMode = SslMode.ENABLE
    port: int = 80
    ssl_port: int = 443
    users: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """Names and passwords for `auth`; never printed."""
    records: tuple[DnsRecord, ...] = ()
    address: str = ""
    """Of the INFRA node (`admin_ip`): an IP address, or its name."""
    is_stated: bool = False
    """Whether the manifest has an `infra_portal`; else `sites` is the home alone."""
