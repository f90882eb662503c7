"""What fetch is asked for, how it goes about it, and what it answers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from repobuild import __version__
from repobuild.credentials import Access
from repobuild.errors import HostileInputError, RepobuildError
from repobuild.model import Mirror

_SAFE = "/%?=&:+~,;@!$'()*"
"""Characters of an upstream's path that reach the wire as they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """A file on one mirror."""

    mirror: Mirror
    path: str

    @property
    def url(self) -> str:
        """The URL to ask for, with what a URL cannot hold escaped.

        Raises:
            HostileInputError: when the path climbs out of the mirror or holds control characters.
        """
        parts = self.path.partition("?")[0].split("/")
        if not self.path.isprintable() or self.path.startswith("/") or ".." in map(unquote, parts):
            raise HostileInputError(f"not a path below {shown(self.mirror.url)}: {self.path[:200]!r}")
        return f"{self.mirror.url}/{quote(self.path, safe=_SAFE)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One object to have, and where it may be found."""

    what: str
    """For messages: the package or file in the operator's words."""
    locations: tuple[Location, ...]
    """In the order in which they are tried."""
    sha256: str | None
    size: int | None
    limit: int
    """Bytes that are never exceeded where `size` is not known."""
    is_by_url: bool = False
    """Whether nothing but a lock says what the bytes have to be: their owner may have changed them."""


@dataclass(frozen=True, slots=True)
class Pin:
    """What an object turned out to be."""

    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Arrival:
    """An object that came from a mirror."""

    mirror: str
    """Base URL of the mirror that served it (its last part)."""
    bytes: int
    """Received for it, repeated ones included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What `Fetcher.fetch` did."""

    bytes: int
    """Received over the network or read from `file:` mirrors, repeated ones included."""
    downloaded: int
    """Objects that came from a mirror."""
    reused: int
    """Objects that the store had."""
    mirrors: Mapping[str, int]
    """Objects by the URL of the mirror that served them, sorted."""
    pins: Mapping[Request, Pin]
    """For each request whose digest or size was not known; those that failed are left out."""
    arrivals: Mapping[str, Arrival] = field(default_factory=dict)
    """What came, by sha256."""
    failed: Mapping[int, RepobuildError] = field(default_factory=dict)
    """Of `Fetcher.fetch_all`: the groups that are not complete, by number, and what each of them met first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How fetch behaves; the defaults suit a WAN and let every lying or silent server go within a minute."""

    jobs: int = 16
    """Connections at a time."""
    connect_seconds: float = 10.0
    answer_seconds: float = 20.0
    """From a request sent to the end of the answer's headers."""
    slow_seconds: float = 20.0
    slow_bytes: int = 20_000
    """A body that brings fewer bytes than this in `slow_seconds` is given up."""
    total_seconds: float = 3600.0
    """For one request, headers and body."""
    tries: int = 5
    """Requests for an object to one mirror that may fail; no kind of fault is tried more often."""
    requests: int = 6
    """Requests for an object to one mirror, redirects included; parts of a split file that succeed are not counted."""
    backoff_seconds: float = 0.5
    """Before the second try at the same mirror; doubled each time."""
    backoff_cap_seconds: float = 8.0
    retry_after_cap_seconds: float = 20.0
    """A mirror that asks for a longer pause is left."""
    patience_seconds: float = 40.0
    """All pauses of one object together."""
    redirects: int = 5
    proxies: Mapping[str, str] = field(default_factory=dict)
    """Scheme (`http`, `https`, `all`) to the proxy's URL."""
    no_proxy: str = ""
    """Hosts reached directly: names, `.suffixes`, addresses, networks, `*`; separated by commas."""
    access: Mapping[str, Callable[[], Access]] = field(default_factory=dict, repr=False)
    """How to reach what is below a URL, by that URL; called when such a file is first asked for."""
    ca_file: Path | None = None
    """PEM file of certificate authorities, None for the system's."""
    user_agent: str = f"repobuild/{__version__}"
    split_bytes: int = 8 << 20
    """Parts of a file that is fetched over several connections are at least this large."""


def shown(url: str) -> str:
    """Return `url` for a message: without credentials, query and fragment, and nothing unprintable."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an unreadable URL"
    host = parts.netloc.rpartition("@")[2]
    text = f"{parts.scheme}://{host}{parts.path}"[:500]
    return text if text.isprintable() else repr(text)
