"""What an INFRA node serves: configuration for nginx, dnsmasq and chrony, and the page that people see first.

repositories  the locations of our repositories, alone or in a server of their own
sites         the portal: the home, other servers behind it, folders
users         who may enter
page          the landing page
names         the portal's names for others, and the time
statements    nginx's way of reading statements and words
validation    nginx's own word on what was written for it

Everything is written from checked values only; none holds a sign that means something to its reader. What an operator
writes for nginx himself is passed on as it is, and stays in its block.
"""

from repobuild.webserver.names import (
    PRIVATE_NETWORKS,
    chrony_client,
    chrony_server,
    dns_records,
    dnsmasq_config,
    hosts_file,
)
from repobuild.webserver.page import PageRepository, PageSpec, landing_page
from repobuild.webserver.repositories import NginxSpec, nginx_config, nginx_locations
from repobuild.webserver.sites import PortalSpec, certificates, linked_sites, portal_config
from repobuild.webserver.users import users_file
from repobuild.webserver.validation import Judgement, validate

__all__ = [
    "PRIVATE_NETWORKS",
    "Judgement",
    "NginxSpec",
    "PageRepository",
    "PageSpec",
    "PortalSpec",
    "certificates",
    "chrony_client",
    "chrony_server",
    "dns_records",
    "dnsmasq_config",
    "hosts_file",
    "landing_page",
    "linked_sites",
    "nginx_config",
    "nginx_locations",
    "portal_config",
    "users_file",
    "validate",
]
