"""What an INFRA node tells others: the portal's names, for dnsmasq or as /etc/hosts has them, and the time (chrony).

Names come from `dns_records`, which say an address each, and from the domains of `infra_portal`, which are the node's
own. A name that a record gives an address is not given the node's too.
"""

import ipaddress
from collections.abc import Iterable, Sequence

from repobuild.checked import check_address, check_dns_name, check_host, check_network
from repobuild.errors import UsageError
from repobuild.portal import Portal
from repobuild.webserver.repositories import HEADER

_LOCAL = "localhost"
PRIVATE_NETWORKS = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
"""Who may ask for the time where nothing else is said."""


def dns_records(portal: Portal) -> tuple[tuple[str, str], ...]:
    """Return (name, address), in the order of the manifest, each pair once.

    Raises:
        UsageError: when a value is not of its type, or the node's address is needed and is none.
    """
    stated = [
        (check_dns_name(name, "dns_records").lower(), check_address(record.address, "dns_records"))
        for record in portal.records
        for name in record.names
    ]
    known = {name for name, _ in stated}
    domains = (domain for site in portal.sites if site.domain for domain in (site.domain, *site.domains))
    own = [name for domain in domains if (name := _name(domain)) not in {*known, "", _LOCAL}]
    address = check_address(portal.address, "admin_ip") if own else ""
    return tuple(dict.fromkeys([*stated, *((name, address) for name in own)]))


def dnsmasq_config(portal: Portal) -> str:
    """Return the records for a file of dnsmasq's conf-dir."""
    return _lines(f"host-record={name},{address}" for name, address in dns_records(portal))


def hosts_file(portal: Portal) -> str:
    """Return the records as lines of /etc/hosts, or for a file of dnsmasq's hostsdir."""
    return _lines(f"{address} {name}" for name, address in dns_records(portal))


def chrony_server(networks: Sequence[str] = PRIVATE_NETWORKS) -> str:
    """Return what makes chronyd a server for `networks`, which also answers while it has no source of its own.

    Raises:
        UsageError: when one is no network.
    """
    if isinstance(networks, str) or not networks:
        raise UsageError(f"networks: expected a list of networks, got {str(networks)[:80]!r}")
    allowed = dict.fromkeys(check_network(each, "network") for each in networks)
    return _lines([*(f"allow {each}" for each in allowed), "local stratum 10"])


def chrony_client(portal: Portal) -> str:
    """Return what makes chronyd follow the node: a line for chrony.conf, or a file of its sourcedir."""
    return _lines([f"server {check_host(portal.address, 'admin_ip')} iburst"])


def _name(domain: str) -> str:
    """Return a site's domain as DNS has it, "" for an address."""
    try:
        ipaddress.ip_address(domain)
    except ValueError:
        return check_dns_name(domain, "infra_portal").lower()
    return ""


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in (HEADER, *lines))
