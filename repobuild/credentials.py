"""How we show ourselves to servers, and where the secrets for it are kept; never a secret in a repr (G7)."""

import enum
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How we show ourselves to servers, and how we know them. What is secret is in no repr."""

    authorization: str | None = field(default=None, repr=False)
    """Value of the Authorization header (RFC 9110, 11.6.2)."""
    ca: Path | None = None
    """PEM file of the only certificate authorities believed, None for the usual ones."""
    client_cert: Path | None = None
    """PEM file of our own certificate, with its key unless `client_key` has it."""
    client_key: Path | None = None
    proxy: str | None = None
    """URL of the proxy to use, "" for none whatever the settings say, None for the settings' own."""
    proxy_authorization: str | None = field(default=None, repr=False)
    """Value of the Proxy-Authorization header; sent to `proxy` alone."""


class SecretKind(enum.StrEnum):
    """A kind of place where a secret is kept."""

    NETRC = "netrc"
    ENV = "env"
    FILE = "file"


@dataclass(frozen=True, slots=True)
class SecretSource:
    """Where a secret is kept, never the secret itself."""

    kind: SecretKind
    name: str
    """Of the variable, or the path of the file; netrc: empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessSource:
    """What a manifest says of an access; the command line makes an `Access` of it."""

    where: str
    """Its place in the document, for messages."""
    credentials: SecretSource | None = None
    ca: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = None
    proxy: str | None = None
    proxy_credentials: SecretSource | None = None
