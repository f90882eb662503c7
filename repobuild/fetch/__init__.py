"""From URLs to objects in the store: the only room that speaks HTTP.

values     Location, Request, Settings, Fetched
fetcher    Fetcher: small files for the catalog, all objects of a lock in parallel
crew       the threads of one `Fetcher.fetch`
download   one object: whole, resumed, or in parts
rota       which mirror is next, and the error when none is left
line       one thread's connections, and the guard that a watch inspects
faults     what can go wrong with one try
proxies    which proxy a URL is fetched through
access     which credentials, certificates and authorities count for a URL
"""

from typing import TYPE_CHECKING, Any

from repobuild.fetch.values import Arrival, Fetched, Location, Pin, Request, Settings

if TYPE_CHECKING:
    from repobuild.fetch.fetcher import Fetcher

__all__ = ["Arrival", "Fetched", "Fetcher", "Location", "Pin", "Request", "Settings"]


def __getattr__(name: str) -> Any:
    """Load the fetcher when it is first asked for: a run that stays offline does not wait for the HTTP libraries."""
    if name != "Fetcher":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from repobuild.fetch.fetcher import Fetcher  # noqa: PLC0415 -- see above

    return Fetcher
