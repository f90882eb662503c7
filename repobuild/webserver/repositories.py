"""The nginx configuration that serves our repositories, written from checked values only.

`nginx_config` is a whole server for conf.d; `nginx_locations` are the locations alone, to include in a server that is
already there (Pigsty's home). Both say the same about every file, see `media`. No value stands in a comment, and none
holds a sign that means something to nginx; `validate` asks nginx itself.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from repobuild import media
from repobuild.checked import check_address, check_host, check_path, check_port, check_prefix
from repobuild.errors import UsageError
from repobuild.formats.protocol import NODE_MODULE

HEADER = "# Written by repobuild; the next run replaces this file."
_BUCKET = 64
"""Bytes of a bucket of nginx's table of server names, where nobody says more: a line of the processor's cache."""
_MANY_NAMES = 50
"""Names above which the usual table, of 512 buckets, may have no room."""
_CROWD = 8
"""Names for which there is room in a bucket then."""
_MAX_VALUES = 100
"""Server names, addresses and repositories, each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NginxSpec:
    """What is served, and where."""

    home: str
    """Absolute path of the web root: `/www`."""
    repositories: tuple[str, ...]
    """URL paths of the repositories below it, each with both slashes: `/pigsty/`, `/d12.aarch64/pigsty/`."""
    port: int = 80
    server_names: tuple[str, ...] = ()
    """Host names and addresses that clients use; nginx compares them with the Host header."""
    addresses: tuple[str, ...] = ()
    """IP addresses to listen on; when empty all IPv4 addresses, and all of IPv6 where a server name is one."""
    default_server: bool = False
    """Whether this server also answers to every other name on its port."""


def nginx_config(spec: NginxSpec) -> str:
    """Return a complete `server {}` file for conf.d.

    Raises:
        UsageError: when a value is not of its type, naming the field.
    """
    port = check_port(spec.port, "port")
    flag = " default_server" if spec.default_server is True else ""
    names = [server_name(each) for each in _values(spec.server_names, "server names")]
    addresses = [_listen_address(each) for each in _values(spec.addresses, "addresses")] or everywhere(names)
    lines = [HEADER, *names_hash(names), "server {"]
    lines += [f"    listen {address}{port}{flag};" for address in addresses]
    if names:
        lines.append(f"    server_name {' '.join(names)};")
    lines += ["    server_tokens off;", "    absolute_redirect off;", ""]
    lines += indented([*location("/", check_path(spec.home, "home")), *repositories(spec.home, spec.repositories)])
    return "\n".join([*lines, "}", ""])


def nginx_locations(spec: NginxSpec) -> str:
    """Return the locations of the repositories alone, to be included in an existing `server {}`.

    Raises:
        UsageError: when a value is not of its type, naming the field.
    """
    return "\n".join([HEADER, *repositories(spec.home, spec.repositories), ""])


def everywhere(names: Iterable[str]) -> Sequence[str]:
    """Return where servers of these names listen: on IPv4, and on IPv6 where a name is an address of it.

    Nowhere else, since nginx does not start where the system has no IPv6.
    """
    return ("", "[::]:") if any(":" in name for name in names) else ("",)


def names_hash(names: Sequence[str]) -> Sequence[str]:
    """Return what gives nginx's table of server names room, where they do not fit into the usual one.

    An entry is a pointer and the name with its length, and a bucket ends with a pointer (ngx_hash_init).
    """
    longest = max((len(name) for name in names), default=0)
    entry = 8 + (longest + 2 + 7) // 8 * 8
    is_crowded = len(names) > _MANY_NAMES
    bucket = max(_BUCKET, _power_of_two(entry * (_CROWD if is_crowded else 1) + 8))
    return (
        *([f"server_names_hash_max_size {_power_of_two(len(names))};"] if is_crowded else ()),
        *([f"server_names_hash_bucket_size {bucket};"] if bucket > _BUCKET else ()),
    )


def _power_of_two(least: int) -> int:
    return 1 << (least - 1).bit_length()


def repositories(home: str, prefixes: Sequence[str], *, is_open: bool = False) -> Iterator[str]:
    """Yield the locations of repositories, whose URL paths have both slashes, below `home`.

    With `is_open` they ask for no password where the rest of the server does, nor do the client files and keys beside
    them: package managers have none.
    """
    folder = check_path(home, "home")
    for prefix in sorted({check_prefix(each, "repository") for each in _values(prefixes, "repositories")}):
        yield ""
        # ^~: the regular expressions of a server that includes this have no say about our files.
        yield from location(f"^~ {prefix}", folder, *(["auth_basic off;"] if is_open else []))
        if is_open:
            yield ""
            yield from location(f'~ "{_beside(prefix)}"', folder, "auth_basic off;", is_listed=False)


def _beside(prefix: str) -> str:
    """Return what the client files and keys of a repository match, which lie beside it."""
    above, _, name = prefix.rstrip("/").rpartition("/")
    files = rf"(?:{re.escape(name)}|{NODE_MODULE})\.(?:list|sources|repo)|{re.escape(name)}(?:-packages)?\.(?:gpg|asc)"
    return f"^{re.escape(above)}/(?:{files})$"


def indented(lines: Iterable[str], depth: int = 1) -> Iterator[str]:
    """Yield lines as they stand in a block."""
    return (f"{'    ' * depth}{line}" if line else "" for line in lines)


def location(match: str, home: str, *more: str, is_listed: bool = True) -> Iterator[str]:
    """Yield the location `match`, which serves files below `home` as `media` describes them; `more` are statements."""
    yield f"location {match} {{"
    yield f"    root {home};"
    yield from indented(more)
    yield "    index index.html;"
    if is_listed:
        yield "    autoindex on;"
        yield "    autoindex_exact_size off;"
    yield "    charset utf-8;"
    yield "    gzip off;"
    yield f"    default_type {media.DEFAULT_TYPE};"
    yield "    types {"
    for kind, suffixes in sorted(media.TYPES.items()):
        yield f"        {kind} {' '.join(suffixes)};"
    yield "    }"
    yield f'    add_header Cache-Control "{media.POINTER_CACHE}";'
    yield r'    location ~ "/\." {'
    yield "        return 404;"
    yield "    }"
    yield f'    location ~ "{media.IMMUTABLE}" {{'
    yield f'        add_header Cache-Control "{media.IMMUTABLE_CACHE}";'
    yield "    }"
    yield f'    location ~ "/(?:{"|".join(media.TEXT_NAMES)})$" {{'
    yield "        default_type text/plain;"
    yield "    }"
    yield "}"


def _listen_address(value: str) -> str:
    address = check_address(value, "address")
    return f"[{address}]:" if ":" in address else f"{address}:"


def server_name(value: str) -> str:
    """Return a host name or address as nginx writes it."""
    host = check_host(value, "server name")
    return f"[{host}]" if ":" in host else host


def _values(values: Sequence[str], field: str) -> list[str]:
    """Return the different values, in order; a lone string is no tuple of values."""
    if isinstance(values, str) or len(values) > _MAX_VALUES:
        raise UsageError(f"{field}: expected a list of at most {_MAX_VALUES} values, got {str(values)[:80]!r}")
    return list(dict.fromkeys(values))
