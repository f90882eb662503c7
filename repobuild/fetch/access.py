"""Which access counts for a URL: that of the longest prefix, and never for another server.

A prefix and a URL belong together when scheme, host and port are equal and the prefix's path is the URL's or a folder
above it. What shows who we are (credentials, client certificate) is given to the server that was asked first, and to
no other one that it redirects to, whether or not there is an access for that one.
"""

from collections.abc import Callable, Mapping
from urllib.parse import unquote, urlsplit

from repobuild.credentials import Access

NO_ACCESS = Access()
_DEFAULT_PORTS = {"http": 80, "https": 443}

Origin = tuple[str, str, int]
"""Scheme, host and port (RFC 6454)."""


class Accesses:
    """The accesses of a run, by URL prefix."""

    def __init__(self, given: Mapping[str, Callable[[], Access]]) -> None:
        places = ((_place(prefix), reveal) for prefix, reveal in given.items())
        known = [(*place, reveal) for place, reveal in places if place is not None]
        self._known = sorted(known, key=lambda each: -len(each[1]))

    def of(self, url: str) -> Access:
        """Return the access for `url`; one that says nothing where none is given."""
        place = _place(url)
        if place is None:
            return NO_ACCESS
        origin, parts = place
        found = (reveal for known, above, reveal in self._known if known == origin and parts[: len(above)] == above)
        reveal = next(found, None)
        return NO_ACCESS if reveal is None else reveal()


def origin_of(url: str) -> Origin | None:
    """Return the origin of `url`, None when it cannot be read."""
    place = _place(url)
    return None if place is None else place[0]


def _place(url: str) -> tuple[Origin, tuple[str, ...]] | None:
    """Return origin and path components, None for what cannot be read or has `.` or `..` in its path."""
    try:
        parts = urlsplit(url)
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)
    except ValueError:
        return None
    path = tuple(unquote(part) for part in parts.path.split("/") if part)
    if not parts.hostname or {".", ".."} & set(path):
        return None
    return (parts.scheme, parts.hostname.lower().rstrip("."), port), path
