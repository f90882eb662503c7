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
_REALM = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9 ._-]{0,62}[A-Za-z0-9._-])?", re.ASCII)
_ENDPOINT = re.compile(r"(?P<host>[^:\[\]]+|\[[0-9A-Fa-f:.]+\]):(?P<port>[1-9][0-9]{0,4})", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_USER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}", re.ASCII)
_BETWEEN, _WORD, _CLOSED = "between", "word", "closed"
"""Where nginx is in a statement: before a word, in a bare one, just behind a quoted one."""
_QUOTES = "\"'"
_BLANKS = " \t\r\n"
_MAX_STATEMENTS = 16_384
"""Characters of an operator's own statements."""
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


def check_dns_name(value: str, field: str) -> str:
    """Return a host name that DNS can have a record of: no address, and no number at its end (RFC 3696, 2)."""
    host = _match(_HOST, value, field, "a host name")
    if host.rpartition(".")[2].isdigit():
        raise UsageError(f"{field}: expected a host name that does not end with a number, got {host[:80]!r}")
    return host


def check_network(value: str, field: str) -> str:
    """Return a network like 10.0.0.0/8, or a single address."""
    try:
        network = ipaddress.ip_network(value if type(value) is str and "%" not in value else "")
    except ValueError:
        raise UsageError(f"{field}: expected a network like 10.0.0.0/8, got {str(value)[:80]!r}") from None
    return str(network)


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


def check_endpoint(value: str, field: str) -> str:
    """Return `host:port`, IPv6 in brackets."""
    found = _ENDPOINT.fullmatch(value) if type(value) is str else None
    if found is None:
        raise UsageError(f"{field}: expected host:port, got {str(value)[:80]!r}")
    host = check_host(found["host"].strip("[]"), field)
    return f"{f'[{host}]' if ':' in host else host}:{check_port(int(found['port']), field)}"


def check_realm(value: str, field: str) -> str:
    """Return the words with which a server asks for a password."""
    return _match(_REALM, value, field, "letters, digits, blanks, dots and dashes")


def check_user(value: str, field: str) -> str:
    """Return the name of somebody who may enter, without what ends it in a password file."""
    return _match(_USER, value, field, "a user name of letters, digits and ._@+-")


def check_statements(value: str, field: str) -> str:
    """Return an operator's own words to nginx: whole statements whose braces match, as nginx itself reads them.

    They mean what they mean; but they begin and end within the block that they are put into.
    """
    if type(value) is not str or len(value) > _MAX_STATEMENTS or _CONTROL.search(value):
        raise UsageError(f"{field}: expected at most {_MAX_STATEMENTS} printable characters, got {str(value)[:80]!r}")
    reader = _Statements()
    if not (all(reader.takes(sign) for sign in value) and reader.is_at_end):
        raise UsageError(f"{field}: expected whole statements with matching braces, got {value.strip()[-80:]!r}")
    return value


class _Statements:
    """Follows nginx's reading of its configuration (ngx_conf_read_token), sign by sign."""

    def __init__(self) -> None:
        self._depth = 0
        self._words = 0
        self._state = _BETWEEN
        self._is_escaped = False
        self._is_variable = False
        """Whether the sign before was `$`, so that a brace belongs to the word."""

    @property
    def is_at_end(self) -> bool:
        """Whether every statement and block has ended; a comment may end with the text."""
        return not self._depth and not self._words and not self._is_escaped and self._state in {_BETWEEN, "#"}

    def takes(self, sign: str) -> bool:
        """Go on by one sign; False when nginx would refuse it or leave the block."""
        if self._state == "#":
            self._state = _BETWEEN if sign == "\n" else "#"
        elif self._is_escaped:
            self._is_escaped = False
        elif self._state in {_BETWEEN, _CLOSED}:
            return self._between(sign)
        else:
            return self._within(sign)
        return True

    def _between(self, sign: str) -> bool:
        if sign in _BLANKS:
            self._state = _BETWEEN
            return True
        if sign in ";{":
            return self._end(sign)
        if self._state == _CLOSED and sign != ")":
            return False
        if sign == "}":
            self._depth -= 1
            return self._depth >= 0 and not self._words
        if sign == "#":
            self._state = "#"
            return True
        self._words += 1
        self._state = sign if sign in _QUOTES else _WORD
        self._is_escaped, self._is_variable = sign == "\\", sign == "$"
        return True

    def _within(self, sign: str) -> bool:
        if sign == "{" and self._is_variable:
            return True
        self._is_escaped, self._is_variable = sign == "\\", sign == "$"
        if self._state == sign:
            self._state = _CLOSED
        elif self._state == _WORD and sign in _BLANKS:
            self._state = _BETWEEN
        elif self._state == _WORD and sign in ";{":
            return self._end(sign)
        return True

    def _end(self, sign: str) -> bool:
        is_statement = self._words > 0
        self._depth += sign == "{"
        self._words = 0
        self._state = _BETWEEN
        return is_statement


def _match(pattern: re.Pattern[str], value: str, field: str, expected: str) -> str:
    if type(value) is not str or not pattern.fullmatch(value):
        raise UsageError(f"{field}: expected {expected}, got {str(value)[:80]!r}")
    return value
