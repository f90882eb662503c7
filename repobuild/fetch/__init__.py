"""From URLs to objects in the store: the only room that speaks HTTP.

values     Location, Request, Settings, Fetched
fetcher    Fetcher: small files for the catalog, all objects of a lock in parallel
crew       the threads of one `Fetcher.fetch`
download   one object: whole, resumed, or in parts
rota       which mirror is next, and the error when none is left
line       one thread's connections, and the guard that a watch inspects
faults     what can go wrong with one try
proxies    which proxy a URL is fetched through
"""

from repobuild.fetch.fetcher import Fetcher
from repobuild.fetch.values import Fetched, Location, Pin, Request, Settings

__all__ = ["Fetched", "Fetcher", "Location", "Pin", "Request", "Settings"]
