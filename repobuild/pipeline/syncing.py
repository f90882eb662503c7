"""Job -> lock -> objects -> tree -> repository, for one target or many.

All targets are prepared first: those that are settled are left alone, the others get their locks. Then all that they
need is fetched at once, each object once. Then one target after the other is verified and published. A failure ends
the target that it concerns.
"""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from repobuild import lock, origins
from repobuild.durable import disk_errors
from repobuild.errors import DiskError, HostileInputError, RepobuildError, UsageError
from repobuild.fetch import Arrival, Request
from repobuild.formats import FORMATS
from repobuild.model import Job, Lock
from repobuild.pipeline.locking import Locked, lock_job, read_lock, write_lock
from repobuild.pipeline.making import beside, key_files, make_tree, published_key
from repobuild.pipeline.session import Session
from repobuild.pipeline.sources import requests_of
from repobuild.progress import measured
from repobuild.publish import Repository
from repobuild.store import require_space

Order = tuple[Job, Path]
"""What a target sees of the manifest, and where its lock is."""

Failed = Callable[[Sequence[str], RepobuildError], None]
"""Hears which targets an error ends, as soon as it does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a sync did for one target."""

    target: str
    path: Path
    lock: Lock
    is_changed: bool
    """Whether something was published."""
    downloaded: int = 0
    """Bytes; of an object that several targets need, for the first of them."""
    fetched: int = 0
    """Objects that came from a mirror, for this target first."""
    reused: int = 0
    """Objects that the store had, or got for another target."""
    mirrors: Mapping[str, int] = field(default_factory=dict)
    """Fetched objects by the URL of the mirror that served them, sorted."""
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    """What the target took, with the whole of the download that it shared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prepared:
    """A target whose lock is made and whose repository is to be published."""

    job: Job
    path: Path
    repository: Repository
    served: Lock | None
    locked: Locked
    beside: Mapping[str, bytes]
    requests: tuple[Request, ...]
    seconds: float = 0.0
    arrivals: Mapping[str, Arrival] = field(default_factory=dict)
    """What came for this target first, by sha256."""

    @property
    def target(self) -> str:
        return self.job.target.name


def sync(session: Session, job: Job, path: Path) -> Outcome:
    """Make the repository of a target what its manifest says, and leave it alone when it is.

    Args:
        session: the run.
        job: what the target sees of the manifest.
        path: of the lock file.
    """
    errors: list[RepobuildError] = []
    outcomes = sync_all(session, [(job, path)], lambda _, error: errors.append(error))
    for error in errors:
        raise error
    return outcomes[0]


def sync_all(session: Session, orders: Sequence[Order], failed: Failed) -> list[Outcome]:
    """Make the repositories of several targets what their manifest says; return what was done, in their order.

    An error that ends a target is handed to `failed`; the other targets go on.
    """
    done: dict[str, Outcome] = {}
    waiting: list[_Prepared] = []
    for job, path in orders:
        begun = time.monotonic()
        try:
            found = _prepare(session, job, path)
        except RepobuildError as error:
            failed((job.target.name,), error)
            continue
        found = replace(found, seconds=time.monotonic() - begun)
        if isinstance(found, Outcome):
            done[found.target] = found
        else:
            waiting.append(found)
    for each in _fetch(session, waiting, failed):
        begun = time.monotonic()
        try:
            outcome = _publish(session, each)
        except RepobuildError as error:
            failed((each.target,), error)
        else:
            done[each.target] = replace(outcome, seconds=each.seconds + time.monotonic() - begun)
    return [done[job.target.name] for job, _ in orders if job.target.name in done]


def is_pending(session: Session, job: Job, path: Path) -> bool:
    """Say whether `sync` would do anything; nothing is written."""
    repository = session.repository(job.target.name, job.name)
    served = served_by(repository)
    if served is not None and _is_settled(session, job, path, repository, served):
        return False
    if not session.settings.update:
        return True
    is_as_locked = served == lock_job(session, job, path, served).lock
    return not (is_as_locked and not _is_to_sign(session, repository, job.name) and repository.is_intact())


def served_by(repository: Repository) -> Lock | None:
    """Return the lock of what is published; None when there is nothing, or nothing of ours."""
    current = repository.current()
    if current is None or current.lock_text is None:
        return None
    try:
        return lock.read(current.lock_text, f"the lock in {repository.path}")
    except HostileInputError:
        return None


def payload_of(chosen: Lock) -> dict[str, tuple[str, int]]:
    """Return digest and size of each payload file of a lock, by name."""
    packages = {each.package.filename: (each.package.sha256, each.package.size) for each in chosen.choices}
    return packages | {each.name: (each.sha256, each.size) for each in chosen.assets}


def _prepare(session: Session, job: Job, path: Path) -> _Prepared | Outcome:
    """Find out what is to be done for a target; an outcome when nothing is to be published."""
    settings = session.settings
    repository = session.repository(job.target.name, job.name)
    served = served_by(repository)
    if served is not None and _is_settled(session, job, path, repository, served):
        repository.prune(settings.now)
        repository.write_beside(beside(session, served, published_key(repository, served.name)))
        said = origins.summary(served.foreign)
        return Outcome(target=job.target.name, path=repository.path, lock=served, is_changed=False, notes=said)
    _refuse_to_drop_signature(session, job, repository)
    locked = lock_job(session, job, path, served)
    is_as_locked = served == locked.lock and not settings.force and not _is_to_sign(session, repository, job.name)
    if served is not None and is_as_locked and repository.is_intact(session.progress):
        write_lock(path, locked.text)
        repository.write_beside(beside(session, served, published_key(repository, served.name)))
        return Outcome(target=job.target.name, path=repository.path, lock=served, is_changed=False, notes=locked.notes)
    requests = requests_of(session, job, locked.lock, locked.served)
    if settings.offline:
        _require_stored(session, requests)
    return _Prepared(
        job=job,
        path=path,
        repository=repository,
        served=served,
        locked=locked,
        beside=beside(session, locked.lock, key_files(session, locked.lock.name)),
        requests=tuple(requests),
    )


def _fetch(session: Session, waiting: Sequence[_Prepared], failed: Failed) -> list[_Prepared]:
    """Bring what the targets need into the store; return those that have it all, with what came for them."""
    if not waiting:
        return []
    begun = time.monotonic()
    try:
        _require_room(session, waiting)
        groups = [each.requests for each in waiting]
        fetched = session.fetcher.fetch_all(groups, session.store, session.progress)
    except RepobuildError as error:
        failed([each.target for each in waiting], error)
        return []
    for each in dict.fromkeys(fetched.failed.values()):
        failed([waiting[number].target for number, met in fetched.failed.items() if met is each], each)
    whole = [one for number, one in enumerate(waiting) if number not in fetched.failed]
    return list(_shared_out(whole, fetched.arrivals, time.monotonic() - begun))


def _shared_out(whole: Sequence[_Prepared], arrivals: Mapping[str, Arrival], seconds: float) -> Iterator[_Prepared]:
    """Say of each object that came for which target it did: the first that needs it."""
    left = dict(arrivals)
    for each in whole:
        own = {digest: left.pop(digest) for request in each.requests if (digest := request.sha256 or "") in left}
        yield replace(each, arrivals=own, seconds=each.seconds + seconds)


def _publish(session: Session, prepared: _Prepared) -> Outcome:
    """Verify what a target needs, make its tree, prove that it installs, and publish it."""
    settings, repository, locked = session.settings, prepared.repository, prepared.locked
    _prove_packages(session, prepared.job, locked.lock)
    tree = make_tree(session, locked.lock, locked.text, repository, session.store.path)
    write_lock(prepared.path, locked.text)  # not before: a lock of what is refused would have to be moved by hand
    repository.publish(tree, session.store, beside=prepared.beside, now=settings.now, progress=session.progress)
    came = prepared.arrivals.values()
    return Outcome(
        target=prepared.target,
        path=repository.path,
        lock=locked.lock,
        is_changed=True,
        downloaded=sum(each.bytes for each in came),
        fetched=len(came),
        reused=len(prepared.requests) - len(came),
        mirrors=dict(sorted(Counter(each.mirror for each in came).items())),
        notes=locked.notes,
    )


def _require_room(session: Session, waiting: Sequence[_Prepared]) -> None:
    """Prove that what is new in the repositories fits where the home is, unless it shares its space with the store.

    Where they share it, files get there as links, or at least the fetcher's own check has counted them once.

    Raises:
        DiskError: naming what is needed and what is free.
    """
    home, store = session.settings.home.absolute(), session.store.root
    place = next(each for each in (home, *home.parents) if each.is_dir())
    with disk_errors(place):
        if place.stat().st_dev == store.stat().st_dev or _pool(place) == _pool(store):
            return
    new = [size for each in waiting for size in _new_sizes(each)]
    try:
        require_space(place, sum(new), len(new))
    except DiskError as error:
        raise DiskError(f"no space left for the repositories: {error.message}", error.hint) from error


def _new_sizes(prepared: _Prepared) -> Iterator[int]:
    there = payload_of(prepared.served) if prepared.served is not None else {}
    for name, each in payload_of(prepared.locked.lock).items():
        if there.get(name) != each:
            yield each[1]


def _pool(folder: Path) -> tuple[int, int, int]:
    """Tell where space comes from: subvolumes have one place for it, although each is a device of its own."""
    status = os.statvfs(folder)
    return status.f_frsize, status.f_blocks, status.f_bfree


def _is_settled(session: Session, job: Job, path: Path, repository: Repository, served: Lock) -> bool:
    """Say whether a repository is to be left alone: it fits the manifest and the lock, and no file has changed."""
    settings = session.settings
    if settings.update or settings.force or served.manifest != job.digest or served.target != job.target.name:
        return False
    written = read_lock(path)
    is_superseded = written is not None and written.manifest == job.digest and written != served
    if is_superseded or _is_to_sign(session, repository, job.name):
        return False
    return repository.is_intact(session.progress)


def _is_to_sign(session: Session, repository: Repository, name: str) -> bool:
    """Say whether there is a key and what is published is not signed with it."""
    return session.settings.key is not None and published_key(repository, name) != key_files(session, name)


def _refuse_to_drop_signature(session: Session, job: Job, repository: Repository) -> None:
    """Refuse to publish without a signature what clients know as signed, unless the operator forces it."""
    settings = session.settings
    if settings.key is None and not settings.force and published_key(repository, job.name):
        raise UsageError(
            f"the repository is signed, and the key that signs it is not here: {repository.path}",
            "name the key: --key FILE; or publish without a signature from now on: --force",
        )


def _prove_packages(session: Session, job: Job, chosen: Lock) -> None:
    """Prove the packages of those upstreams that sign them, each by its own signature.

    Raises:
        VerificationError: when one is not signed by its upstream's keys.
    """
    form = FORMATS[job.target.family]
    signing = {each.name: each for each in job.upstreams if each.checks_packages}
    packages = [each.package for each in chosen.choices if each.package.upstream in signing]
    if any(signing[each.upstream].key_urls for each in packages):
        from repobuild.pipeline.resolving import with_keys  # noqa: PLC0415 -- its libraries are for those who need them

        used = {each.upstream for each in packages}
        signing = {each.name: each for each in with_keys(session, [signing[name] for name in sorted(used)])}
    with measured(session.progress, "verify signatures", sum(each.size for each in packages)):
        for each in packages:
            form.prove_package(session.store.path(each.sha256), each, signing[each.upstream])
            session.progress.advance(each.size)


def _require_stored(session: Session, requests: Sequence[Request]) -> None:
    absent = [each.what for each in requests if not session.store.has(each.sha256 or "", each.size)]
    if absent:
        raise UsageError(
            f"{len(absent)} files are not in the store, and --offline forbids fetching them: {', '.join(absent[:3])}",
            "run the same command without --offline",
        )
