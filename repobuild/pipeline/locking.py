"""Job -> lock: use the one that is there, or resolve a new one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from repobuild import catalog, lock, resolve
from repobuild.durable import Folder
from repobuild.errors import HostileInputError, UnreachableError, UsageError
from repobuild.fetch import Location, Request
from repobuild.formats import FORMATS
from repobuild.formats.protocol import IndexFile, Loaded, Root, Variant
from repobuild.model import Asset, Choice, Job, Lock, Mirror, Package, Resolution, Upstream, UrlPackage, Verify
from repobuild.pipeline.session import Session, Settings

_URL_LIMIT = 4 << 30
"""Bytes of one file named by its URL."""
_URL_PIN = 990
"""Packages named by their URL win over those of upstreams."""
_URL = "url:"
_ROUNDS = 20
"""How often a resolution is made anew because files are gone upstream."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Locked:
    """A lock, and how it came about."""

    lock: Lock
    text: bytes
    is_new: bool
    """Whether it was resolved just now and differs from the one before."""
    served: Mapping[str, str] = field(default_factory=dict)
    """Which mirror served each upstream's root; empty when the lock was there."""
    notes: tuple[str, ...] = ()


def lock_job(session: Session, job: Job, path: Path, served: Lock | None = None) -> Locked:
    """Return the lock of `job`: the one at `path` while it fits the manifest, else a new one; nothing is written.

    Args:
        session: the run.
        job: what a target sees of the manifest.
        path: of the lock file.
        served: the lock of what is published now, which a new one must not be older than.

    Raises:
        UsageError: when the lock would have to move and must not (`--locked`).
    """
    settings = session.settings
    former = _former(path, settings)
    fits = former is not None and former.manifest == job.digest and former.target == job.target.name
    if former is not None and fits and not settings.update:
        return _keep(former, path, served, settings)
    if settings.locked:
        reason = "--update asks to move it" if fits else "the manifest has changed" if former else "there is none"
        raise UsageError(
            f"the lock is to stay, but {reason}: {path}", "run without --locked, or: repobuild lock --update"
        )
    made, loaded, notes = _resolve(session, job)
    if former is not None and fits and lock.same_content(made, former):
        return replace(_keep(former, path, served, settings), served=loaded.served, notes=notes)
    for other in (former, served):
        made = lock.succeed(made, other)
    return Locked(lock=made, text=lock.write(made), is_new=True, served=loaded.served, notes=notes)


def _former(path: Path, settings: Settings) -> Lock | None:
    """Return the lock to be replaced or kept; one that cannot be read does not hinder `--update` from replacing it."""
    try:
        return read_lock(path)
    except HostileInputError:
        if settings.update and not settings.locked:
            return None
        raise


def read_lock(path: Path) -> Lock | None:
    """Return the lock at `path`, None when there is none."""
    if not path.is_file():
        return None
    with Folder.open(path.parent) as folder:
        text = folder.read(path.name, lock.LIMIT)
    return lock.read(text, str(path)) if text is not None else None


def write_lock(path: Path, text: bytes) -> None:
    """Put a lock in its place unless it is there already."""
    with Folder.open(path.parent, create=True) as folder:
        if folder.read(path.name, lock.LIMIT) != text:
            folder.write(path.name, text)


def _keep(former: Lock, path: Path, served: Lock | None, settings: Settings) -> Locked:
    """Return the lock that is there, with a later time when something newer is served (a lock taken back by hand)."""
    kept = former
    if served is not None and former.time <= served.time and not lock.same_content(former, served):
        if settings.locked:
            raise UsageError(
                f"the lock is to stay, but what is published is not older, and clients would keep that: {path}",
                "run without --locked: the lock then gets a later time",
            )
        kept = lock.succeed(former, served)
    return Locked(lock=kept, text=lock.write(kept), is_new=False)


def mirrors_of(job: Job, served: Mapping[str, str]) -> dict[str, tuple[Mirror, ...]]:
    """Return the mirrors of every upstream, the one that served its root first."""
    found = {
        each.name: tuple(sorted(each.mirrors, key=lambda mirror: mirror.url != served.get(each.name)))
        for each in job.upstreams
    }
    return found | {_URL + each.name: (_mirror(each),) for each in job.url_packages}


def _resolve(session: Session, job: Job) -> tuple[Lock, catalog.Catalog, tuple[str, ...]]:
    extra, packages, assets = _url_packages(session, job)
    means = catalog.Means(
        get=_refuse if session.settings.offline else session.fetcher.get,
        store=session.store,
        memory=session.memory,
        limits=session.settings,
        progress=session.progress,
    )
    loaded = catalog.load(job, means, extra)
    groups = (*job.groups, tuple(f"{each.name}={each.version}" for each in packages))
    resolution, gone = _resolve_what_is_there(session, job, loaded, groups)
    unverified = [*loaded.unverified, *(each.name for each in job.url_packages if each.verify is Verify.NONE)]
    made = Lock(
        target=job.target.name,
        time=loaded.newest or session.settings.now,
        manifest=job.digest,
        name=job.name,
        version=job.version,
        endpoint=job.endpoint,
        upstreams=loaded.pins,
        choices=tuple(_at_its_url(choice, packages) for choice in resolution.choices),
        missing=resolution.missing,
        sets=resolution.sets,
        options=job.options,
        assets=assets,
        unverified=tuple(sorted(unverified)),
        gone=gone,
    )
    return made, loaded, resolution.notes


def _refuse(mirror: Mirror, path: str, limit: int) -> bytes:  # noqa: ARG001 -- the form of `Fetcher.get`
    """Stand in for the fetcher, and for loading the libraries it needs, in a run that stays offline."""
    raise UnreachableError(f"--offline forbids fetching: {path}", "run the same command without --offline")


def _resolve_what_is_there(
    session: Session, job: Job, loaded: catalog.Catalog, groups: Sequence[Sequence[str]]
) -> tuple[Resolution, tuple[str, ...]]:
    """Resolve; where an upstream may lose files, leave out what no mirror has, and resolve again with what is left."""
    settings = session.settings
    losing = {each.name for each in job.upstreams if each.skip_if_gone or settings.skip_gone}
    mirrors = mirrors_of(job, loaded.served)
    gone: dict[str, str] = {}
    asked: set[str] = set()
    for _ in range(_ROUNDS):
        resolution = resolve.resolve(loaded.universe, groups, skip_missing=settings.skip_missing)
        doubtful = [
            request(choice.package, mirrors[choice.package.upstream])
            for choice in resolution.choices
            if choice.package.upstream in losing
            and choice.package.sha256 not in asked
            and not session.store.has(choice.package.sha256, choice.package.size)
        ]
        absent = [] if settings.offline else session.fetcher.gone(doubtful)
        asked |= {each.sha256 or "" for each in doubtful}
        if not absent:
            return resolution, tuple(sorted(gone.values()))
        gone |= {each.sha256 or "": each.what for each in absent}
        loaded.universe.exclude(gone.keys())
    raise UnreachableError(
        f"upstream loses files faster than they can be left out: {len(gone)} are gone after {_ROUNDS} rounds",
        "try another mirror",
    )


def request(package: Package, mirrors: Sequence[Mirror]) -> Request:
    """Return what to ask the fetcher for a package."""
    return Request(
        what=package.filename,
        locations=tuple(Location(mirror=mirror, path=package.path) for mirror in mirrors),
        sha256=package.sha256,
        size=package.size,
        limit=package.size,
    )


def _url_packages(session: Session, job: Job) -> tuple[list[Loaded], list[Package], tuple[Asset, ...]]:
    """Fetch what the manifest names by URL; packages become upstreams of their own, the rest assets."""
    form = FORMATS[job.target.family]
    extra: list[Loaded] = []
    packages: list[Package] = []
    assets: list[Asset] = []
    requests = {each: _request(each) for each in job.url_packages}
    if not requests:
        return extra, packages, ()
    if session.settings.offline:
        _require_stored(session, job)
    fetched = session.fetcher.fetch(list(requests.values()), session.store, session.progress)
    for each, request in requests.items():
        pin = fetched.pins.get(request)
        digest = pin.sha256 if pin is not None else each.sha256 or ""
        path = session.store.path(digest)
        if not each.name.endswith(form.suffix):
            assets.append(Asset(name=each.name, url=each.url, size=path.stat().st_size, sha256=digest))
            continue
        package = form.read_package(path, upstream=_URL + each.name, url_path=_url_path(each))
        packages.append(package)
        extra.append(_loaded(session, job, each, package))
    return extra, packages, tuple(sorted(assets, key=lambda asset: asset.name))


def _at_its_url(choice: Choice, packages: Sequence[Package]) -> Choice:
    """Return a choice; one that the manifest names by URL lies exactly there, whatever signs the URL has."""
    for each in packages:
        if each.upstream == choice.package.upstream:
            return replace(choice, package=replace(choice.package, path=each.path))
    return choice


def _loaded(session: Session, job: Job, source: UrlPackage, package: Package) -> Loaded:
    text = FORMATS[job.target.family].index_text([package])
    digest = session.store.put(text)
    variant = Variant(path="", compression="", size=len(text), sha256=digest)
    index = IndexFile(variants=(variant,), size=len(text), sha256=digest)
    root = Root(origin="", suite="", date=0, valid_until=None, aliases=("url",), pin=_URL_PIN, indexes=(index,))
    upstream = Upstream(name=package.upstream, module="", mirrors=(_mirror(source),), verify=source.verify)
    return Loaded(upstream, root, (session.store.path(digest),))


def _require_stored(session: Session, job: Job) -> None:
    for each in job.url_packages:
        if each.sha256 is None or not session.store.has(each.sha256):
            raise UsageError(
                f"not in the store, and --offline forbids fetching it: {each.name}", "run without --offline"
            )


def _request(package: UrlPackage) -> Request:
    location = Location(mirror=_mirror(package), path=_url_path(package))
    return Request(what=package.name, locations=(location,), sha256=package.sha256, size=None, limit=_URL_LIMIT)


def _mirror(package: UrlPackage) -> Mirror:
    return Mirror(package.url.rpartition("/")[0])


def _url_path(package: UrlPackage) -> str:
    path = package.url.rpartition("/")[2]
    if not path:
        raise HostileInputError(f"a URL that names no file: {package.url[:200]!r}", "name the file, not its folder")
    return path
