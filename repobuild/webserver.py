"""The nginx configuration that serves our repositories, written from checked values only.

`nginx_config` is a whole server for conf.d; `nginx_locations` are the locations alone, to include in a server that is
already there (Pigsty's home). Both say the same about every file, see `media`. No value stands in a comment, and none
holds a sign that means something to nginx; `validate` asks nginx itself.
"""

import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from repobuild import media
from repobuild.checked import check_address, check_host, check_path, check_port, check_prefix
from repobuild.durable import Folder, disk_errors
from repobuild.errors import ProofError, UsageError

_NGINX = ("/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/bin/nginx", "/usr/local/nginx/sbin/nginx")
_TEST_SECONDS = 20
"""Time for `nginx -t`."""
_HEADER = "# Written by repobuild; the next run replaces this file."
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
    """IP addresses to listen on; all IPv4 addresses when empty."""
    default_server: bool = False
    """Whether this server also answers to every other name on its port."""


def nginx_config(spec: NginxSpec) -> str:
    """Return a complete `server {}` file for conf.d.

    Raises:
        UsageError: when a value is not of its type, naming the field.
    """
    port = check_port(spec.port, "port")
    flag = " default_server" if spec.default_server is True else ""
    addresses = [_listen_address(each) for each in _values(spec.addresses, "addresses")] or [""]
    names = [_server_name(each) for each in _values(spec.server_names, "server names")]
    lines = [_HEADER, "server {"]
    lines += [f"    listen {address}{port}{flag};" for address in addresses]
    if names:
        lines.append(f"    server_name {' '.join(names)};")
    lines += ["    server_tokens off;", "    absolute_redirect off;", ""]
    lines += [f"    {line}" if line else "" for line in _location("/", check_path(spec.home, "home"))]
    lines += [f"    {line}" if line else "" for line in _repositories(spec)]
    return "\n".join([*lines, "}", ""])


def nginx_locations(spec: NginxSpec) -> str:
    """Return the locations of the repositories alone, to be included in an existing `server {}`.

    Raises:
        UsageError: when a value is not of its type, naming the field.
    """
    return "\n".join([_HEADER, *_repositories(spec), ""])


def validate(text: str, *, locations: bool = False) -> bool:
    """Have nginx read `text`: what `nginx_config` returned or, with `locations`, `nginx_locations`.

    Nothing is served and no file of the system is touched. That nginx may not bind the port here and now (an ordinary
    user, an address of another machine) is no fault of the configuration.

    Returns:
        Whether there is an nginx here to ask.

    Raises:
        ProofError: when nginx refuses it, with its own words.
    """
    nginx = next((path for path in _NGINX if os.access(path, os.X_OK)), None)
    if nginx is None:
        return False
    body = f"server {{\nlisten 127.0.0.1:8080;\n{text}\n}}" if locations else text
    with disk_errors("temporary folder"), tempfile.TemporaryDirectory(prefix="repobuild-nginx-") as place:
        with Folder.open(Path(place)) as folder:
            folder.write("nginx.conf", _stand_alone(place, body).encode(), sync=False)
        command = [nginx, "-t", "-p", place, "-c", f"{place}/nginx.conf"]
        try:
            result = subprocess.run(command, capture_output=True, env={}, timeout=_TEST_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            raise ProofError(f"nginx does not finish reading the configuration in {_TEST_SECONDS} s") from None
    said = result.stderr.decode(errors="replace").replace(f"{place}/", "")
    if result.returncode != 0 and "syntax is ok" not in said:
        complaint = next((line for line in said.splitlines() if "[emerg]" in line), said.strip())
        reason = complaint.rpartition("[emerg] ")[2].partition(": ")[2] or complaint
        raise ProofError(f"nginx refuses the configuration: {reason[:500]}", "report this with the nginx version")
    return True


def _stand_alone(place: str, body: str) -> str:
    """Return a main configuration that keeps every path of its own in the folder `place`."""
    temporary = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "\n".join(f"{each}_temp_path {place}/{each};" for each in temporary)
    return f"error_log stderr;\npid {place}/pid;\nevents {{}}\nhttp {{\naccess_log off;\n{paths}\n{body}\n}}\n"


def _repositories(spec: NginxSpec) -> Iterator[str]:
    home = check_path(spec.home, "home")
    for prefix in sorted({check_prefix(each, "repository") for each in _values(spec.repositories, "repositories")}):
        yield ""
        # ^~: the regular expressions of a server that includes this have no say about our files.
        yield from _location(f"^~ {prefix}", home)


def _location(match: str, home: str) -> Iterator[str]:
    """Yield the location `match`, which serves files below `home` as `media` describes them."""
    yield f"location {match} {{"
    yield f"    root {home};"
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


def _server_name(value: str) -> str:
    host = check_host(value, "server name")
    return f"[{host}]" if ":" in host else host


def _values(values: Sequence[str], field: str) -> list[str]:
    """Return the different values, in order; a lone string is no tuple of values."""
    if isinstance(values, str) or len(values) > _MAX_VALUES:
        raise UsageError(f"{field}: expected a list of at most {_MAX_VALUES} values, got {str(values)[:80]!r}")
    return list(dict.fromkeys(values))
