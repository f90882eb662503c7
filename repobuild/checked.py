"""Values that go into other programs' configuration, each checked by full match before anyone writes it.

nginx, apt and dnf give a meaning to almost every sign: `;`, `{`, `$`, `#`, `[`, a blank, a newline. The alphabets here
hold none of them, so a value that passes needs no quoting and cannot end its own line (reliability.md, config
injection). Every function returns the value or raises UsageError naming the field.
"""

import ipaddress
import re

from repobuild.errors import UsageError

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?"
_HOST = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)
_SEGMENT = r"[A-Za-z0-9_+@~-][A-Za-z0-9._+@~-]{0,254}"
_PATH = re.compile(rf"(?=.{{1,1000}}\Z)(?:/{_SEGMENT})+", re.ASCII)
_PREFIX = re.compile(rf"(?=.{{1,1000}}\Z)/(?:{_SEGMENT}/)+", re.ASCII)
_BASE_URL = re.compile(rf"(https?)://([^/:\[\]]+|\[[^/\]]+\])(?::([1-9][0-9]{{0,4}}))?((?:/{_SEGMENT})*)", re.ASCII)


def check_name(value: str, field: str) -> str:
    """Return a name that serves as file stem and section name: `pigsty`, `d12.x86_64`."""
    return _match(_NAME, value, field, "a name of letters, digits, dot, dash and underscore")


def check_path(value: str, field: str) -> str:
    """Return an absolute path without trailing slash, `.` or `..`, of a safe alphabet: `/www`."""
    return _match(_PATH, value, field, "an absolute path of letters, digits and ._+@~- with no hidden part")


def check_prefix(value: str, field: str) -> str:
    """Return a URL path that starts and ends with a slash: `/pigsty/`."""
    return _match(_PREFIX, value, field, "a URL path like /pigsty/")


def check_port(value: int, field: str) -> int:
    """Return a TCP port."""
    if type(value) is not int or not 1 <= value <= 65535:
        raise UsageError(f"{field}: expected a port from 1 to 65535, got {str(value)[:80]!r}")
    return value


def check_address(value: str, field: str) -> str:
    """Return an IP address in its usual form; IPv6 without brackets or zone."""
    try:
        return str(ipaddress.ip_address(value if type(value) is str and "%" not in value else ""))
    except ValueError:
        raise UsageError(f"{field}: expected an IP address, got {str(value)[:80]!r}") from None


def check_host(value: str, field: str) -> str:
    """Return a host name or an IP address; IPv6 without brackets."""
    if type(value) is str and ":" in value:
        return check_address(value, field)
    return _match(_HOST, value, field, "a host name or IP address")


def check_base_url(value: str, field: str) -> str:
    """Return an http or https URL of host, port and path; without credentials, query or trailing slash."""
    found = _BASE_URL.fullmatch(value) if type(value) is str else None
    if found is None:
        raise UsageError(f"{field}: expected a URL like http://10.10.10.10/pigsty, got {str(value)[:80]!r}")
    scheme, host, port, path = found.groups()
    if host.startswith("["):
        host = f"[{check_address(host[1:-1], field)}]"
    else:
        check_host(host, field)
    if port is not None:
        check_port(int(port), field)
    return f"{scheme}://{host}{':' + port if port else ''}{path}"


def _match(pattern: re.Pattern[str], value: str, field: str, expected: str) -> str:
    if type(value) is not str or not pattern.fullmatch(value):
        raise UsageError(f"{field}: expected {expected}, got {str(value)[:80]!r}")
    return value
