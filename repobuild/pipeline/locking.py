"""Job -> lock: use the one that is there, or resolve a new one."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from repobuild import lock, origins
from repobuild.durable import Folder
from repobuild.errors import HostileInputError, UsageError
from repobuild.model import Job, Lock
from repobuild.pipeline.session import Session, Settings


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
    from repobuild.pipeline.resolving import resolve_job  # noqa: PLC0415 -- its libraries are for those who resolve

    made, loaded, notes = resolve_job(session, job)
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
    return Locked(lock=kept, text=lock.write(kept), is_new=False, notes=origins.summary(kept.foreign))
