"""Which proxy a URL is fetched through."""

import ipaddress
from contextlib import suppress
from urllib.parse import urlsplit

from repobuild.fetch.values import Settings


def proxy_for(url: str, own: str | None, settings: Settings) -> str | None:
    """Return the proxy for `url`, None for a direct connection.

    `own` is the mirror's word: a URL is used, "" means none, None leaves it to the settings. The rules of `no_proxy`
    are curl's: a name stands for itself and all below it.
    """
    if own is not None:
        return own or None
    parts = urlsplit(url)
    proxy = settings.proxies.get(parts.scheme) or settings.proxies.get("all")
    if not proxy or is_direct(parts.hostname or "", parts.port, settings.no_proxy):
        return None
    return proxy


def is_direct(host: str, port: int | None, no_proxy: str) -> bool:
    """Whether `host` is one that `no_proxy` names."""
    rules = [rule.strip().lower() for rule in no_proxy.replace(" ", ",").split(",")]
    return any(_names(rule, host.lower().rstrip("."), port) for rule in rules if rule)


def _names(rule: str, host: str, port: int | None) -> bool:
    if rule == "*":
        return True
    with suppress(ValueError):  # a name, not an address or network
        return ipaddress.ip_address(host) in ipaddress.ip_network(rule.strip("[]"), strict=False)
    name, _, wanted_port = rule.partition(":")
    name = name.removeprefix("*").lstrip(".")
    return (host == name or host.endswith(f".{name}")) and wanted_port in {"", str(port or "")}
