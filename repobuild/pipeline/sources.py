"""Which files are fetched from where: the manifest's mirrors, the lock's packages, and what is named by URL."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from repobuild.errors import HostileInputError, UsageError
from repobuild.fetch import Location, Request
from repobuild.model import Job, Lock, Mirror, Package, UrlPackage
from repobuild.pipeline.session import Session

URL = "url:"
"""Begins the name of the upstream that a package named by its URL has."""
ADDED = "add:"
"""Begins the name of the upstream that an added file has."""
_URL_LIMIT = 4 << 30
"""Bytes of one file named by its URL."""


def mirrors_of(session: Session, job: Job, served: Mapping[str, str]) -> dict[str, tuple[Mirror, ...]]:
    """Return the mirrors of every upstream, the one that served its root first; added files have none."""
    found = {each.name: _mirrors(session.mirrors(each), served.get(each.name)) for each in job.upstreams}
    found |= {URL + each.name: (url_mirror(each),) for each in job.url_packages}
    return found | {ADDED + each.name: () for each in job.added}


def _mirrors(mirrors: Sequence[Mirror], served: str | None) -> tuple[Mirror, ...]:
    first = [Mirror(served)] if served is not None and served.startswith("http") else []
    known = [each for each in mirrors if each.url == served]
    return (*(known or first), *(each for each in mirrors if each.url != served))


def requests_of(session: Session, job: Job, chosen: Lock, served: Mapping[str, str]) -> list[Request]:
    """Return what to ask the fetcher for everything in a lock; the mirrors that `served` names come first."""
    mirrors = mirrors_of(session, job, served)
    found = []
    for choice in chosen.choices:
        package = choice.package
        if package.upstream not in mirrors:
            raise UsageError(
                f"the lock takes {package.filename} from an upstream that the manifest lacks: {package.upstream}",
                "move the lock: repobuild lock --update",
            )
        request = package_request(package, mirrors[package.upstream])
        found.append(replace(request, is_by_url=package.upstream.startswith(URL)))
    for asset in chosen.assets:
        folder, _, name = asset.url.rpartition("/")
        place = Location(mirror=mirrors[URL + asset.name][0], path=name) if folder else None
        found.append(
            Request(
                what=asset.name,
                locations=(place,) if place else (),
                sha256=asset.sha256,
                size=asset.size,
                limit=asset.size,
                is_by_url=True,
            )
        )
    return list({each.sha256: each for each in found}.values())


def package_request(package: Package, mirrors: Sequence[Mirror]) -> Request:
    """Return what to ask the fetcher for a package."""
    return Request(
        what=package.filename,
        locations=tuple(Location(mirror=mirror, path=package.path) for mirror in mirrors),
        sha256=package.sha256,
        size=package.size,
        limit=package.size,
    )


def url_request(package: UrlPackage) -> Request:
    """Return what to ask the fetcher for something named by its URL."""
    location = Location(mirror=url_mirror(package), path=url_path(package))
    return Request(what=package.name, locations=(location,), sha256=package.sha256, size=None, limit=_URL_LIMIT)


def url_mirror(package: UrlPackage) -> Mirror:
    """Return the folder of a URL as a mirror."""
    return Mirror(package.url.rpartition("/")[0])


def url_path(package: UrlPackage) -> str:
    """Return the file of a URL: its path on `url_mirror`."""
    path = package.url.rpartition("/")[2]
    if not path:
        raise HostileInputError(f"a URL that names no file: {package.url[:200]!r}", "name the file, not its folder")
    return path
