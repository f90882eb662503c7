"""Where an upstream is: URLs, `URL suite components`, and the variables in them.

Everything here is a function of text and raises ValueError saying `expected X, got Y`; who calls it knows the line.
"""

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from repobuild.manifest.reading import redacted
from repobuild.model import Target

_URL = re.compile(r"[A-Za-z0-9:/?#\[\]@!&()*+,;=%._~-]+")
_SUITE = re.compile(r"(?:\./|/|[A-Za-z0-9][A-Za-z0-9.+~_/-]*)")
_COMPONENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+~_/-]*")
_VARIABLE = re.compile(r"\$\{(\w{1,40})\}|\$(releasever|basearch|arch)\b")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?")
_BUNDLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,200}")
_OF_BUNDLE = ("version", "os", "arch")
_SCHEMES = ("http", "https", "file")
_PROXY_SCHEMES = ("http", "https", "socks5", "socks5h")


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """An upstream's place for one target and region."""

    urls: tuple[str, ...]
    """Mirrors, in the order in which they are written."""
    suite: str = ""
    components: tuple[str, ...] = ()

    def lines(self, urls: Iterable[str] | None = None) -> tuple[str, ...]:
        """Return it as a manifest writes it: one line a mirror; of other `urls` when given."""
        tail = "".join(f" {word}" for word in (self.suite, *self.components) if word)
        return tuple(f"{url}{tail}" for url in (self.urls if urls is None else urls))


def check_url(text: str, schemes: tuple[str, ...] = _SCHEMES, *, query: bool = False) -> str:
    """Return the URL without trailing slashes, `file:` in its long form; a query only where it is welcome."""
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError(f"expected a URL, got {redacted(text)}") from None
    if "@" in parts.netloc:
        raise ValueError(
            f"expected a URL without user name or password, got one for {host}; credentials do not belong in a manifest"
        )
    if parts.scheme not in schemes or not _URL.fullmatch(text):
        raise ValueError(f"expected a URL of {', '.join(schemes)}, got {redacted(text)}")
    if "#" in text or ("?" in text and not query):
        raise ValueError(f"expected a URL without {'fragment' if query else 'query or fragment'}, got {redacted(text)}")
    if {".", ".."} & set(parts.path.split("/")):
        raise ValueError(f"expected a URL without `.` or `..` in its path, got {redacted(text)}")
    if parts.scheme == "file":
        if host not in {None, "localhost"} or not parts.path.startswith("/"):
            raise ValueError(f"expected a file URL of this machine, got {redacted(text)}")
        return f"file:///{parts.path.strip('/')}"
    if not host:
        raise ValueError(f"expected a URL with a host, got {redacted(text)}")
    return text.rstrip("/")


def check_proxy(text: str) -> str:
    """Return the URL of a proxy."""
    return check_url(text, _PROXY_SCHEMES)


def check_address(text: str) -> str:
    """Return an IP address or host name."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        if _HOST.fullmatch(text):
            return text
    raise ValueError(f"expected an IP address or host name, got {redacted(text)}")


def check_bundle_name(text: str) -> str:
    """Return the name of a bundle's file, in which `${version}`, `${os}` and `${arch}` stand for a target's."""
    if not _BUNDLE.fullmatch(substitute(text, dict.fromkeys(_OF_BUNDLE, "x"))):
        raise ValueError(f"expected a file name of letters, digits and ._+-, got {redacted(text)}")
    return text


def check_bundle_folder(text: str) -> str:
    """Return the folder of bundles, with the same variables."""
    if {".", ".."} & set(substitute(text, dict.fromkeys(_OF_BUNDLE, "x")).split("/")):
        raise ValueError(f"expected a folder without `.` or `..`, got {redacted(text)}")
    return text


def variables(target: Target, admin_ip: str, *, releasever: str = "") -> Mapping[str, str]:
    """Return what stands for the variables of a URL, by their names without `$`; `releasever` if not the major one."""
    return {
        "admin_ip": f"[{admin_ip}]" if ":" in admin_ip else admin_ip,
        "distro_codename": target.codename,
        "distro_name": target.vendor,
        "releasever": releasever or str(target.major),
        "arch": target.arch,
        "basearch": target.arch,
    }


def substitute(text: str, values: Mapping[str, str]) -> str:
    """Replace `${name}`, `$releasever`, `$basearch` and `$arch`; an unknown name is an error."""

    def value(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if name not in values:
            known = ", ".join(f"${{{each}}}" for each in values)
            raise ValueError(f"expected one of the variables {known}, got ${{{name}}}")
        return values[name]

    return _VARIABLE.sub(value, text)


def locate(lines: Iterable[str], *, has_suites: bool) -> Location:
    """Read what a region's `baseurl` says, variables replaced: one text a mirror, or mirrors separated by spaces.

    With `has_suites` a text is `URL suite component…`, or `URL path/` for a flat repository.
    """
    read = [_with_suite(line) if has_suites else _plain(line) for line in lines]
    if not read:
        raise ValueError("expected at least one URL, got none")
    first = read[0]
    for other in read[1:]:
        if (other.suite, other.components) != (first.suite, first.components):
            got = " ".join((other.suite, *other.components))
            raise ValueError(f"expected mirrors of one suite and the same components, got also {got!r}")
    urls = dict.fromkeys(url for location in read for url in location.urls)
    return Location(urls=tuple(urls), suite=first.suite, components=first.components)


def _plain(line: str) -> Location:
    return Location(urls=tuple(check_url(url) for url in line.split()))


def _with_suite(line: str) -> Location:
    words = line.split()
    if len(words) < 2:
        raise ValueError(f"expected 'URL suite component…', got {redacted(line)}")
    url, suite, *components = words
    location = Location(urls=(check_url(url),), suite=suite, components=tuple(components))
    if not _SUITE.fullmatch(suite) or ".." in suite.split("/"):
        raise ValueError(f"expected a suite, got {redacted(suite)}")
    for component in components:
        if not _COMPONENT.fullmatch(component) or ".." in component.split("/"):
            raise ValueError(f"expected a component, got {redacted(component)}")
    if suite.endswith("/") == bool(components):
        what = "no components after a flat path" if components else "components after the suite"
        raise ValueError(f"expected {what}, got {redacted(line)}")
    return location
