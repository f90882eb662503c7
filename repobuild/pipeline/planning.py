"""What a sync would do: job -> plan, and the sum of several."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from repobuild.model import Job, Lock
from repobuild.pipeline.locking import lock_job
from repobuild.pipeline.session import Session
from repobuild.pipeline.syncing import payload_of, served_by


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a sync would do for one target."""

    target: str
    path: Path
    lock: Lock
    modules: Mapping[str, str]
    """Module of each upstream that packages come from, "" for what is named by URL or added; sorted by name."""
    added: tuple[str, ...]
    """File names."""
    removed: tuple[str, ...]
    kept: int
    download: int
    """Bytes that are not in the store."""
    downloads: int
    """Files that are not in the store."""
    size: int
    """Bytes of the payload."""
    free: int
    """Bytes free where the store is."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sum:
    """What several targets come to; an object that they share is counted once."""

    packages: int
    size: int
    """Bytes of the payload."""
    download: int = 0
    """Bytes that are not in the store."""
    downloads: int = 0
    """Files that are not in the store."""


def plan(session: Session, job: Job, path: Path) -> Plan:
    """Say what `sync` would add, drop and download; neither the lock nor the repository is touched."""
    repository = session.repository(job.target.name, job.name)
    served = served_by(repository)
    locked = lock_job(session, job, path, served)
    wanted = payload_of(locked.lock)
    there = payload_of(served) if served is not None else {}
    absent = _absent(session, wanted.values())
    modules = {each.name: each.module for each in job.upstreams}
    used = sorted({choice.package.upstream for choice in locked.lock.choices})
    return Plan(
        target=job.target.name,
        path=repository.path,
        lock=locked.lock,
        modules={name: modules.get(name, "") for name in used},
        added=tuple(sorted(name for name in wanted if there.get(name) != wanted[name])),
        removed=tuple(sorted(name for name in there if wanted.get(name) != there[name])),
        kept=sum(there.get(name) == wanted[name] for name in wanted),
        download=sum(absent.values()),
        downloads=len(absent),
        size=sum(size for _, size in wanted.values()),
        free=_free(session.settings.store),
        notes=locked.notes,
    )


def sum_of(locks: Iterable[Lock], session: Session | None = None) -> Sum:
    """Return what the repositories of several locks come to; with a session, also what its store lacks."""
    chosen = list(locks)
    packages = {choice.package.sha256 for each in chosen for choice in each.choices}
    objects = {pair for each in chosen for pair in payload_of(each).values()}
    absent = _absent(session, objects) if session is not None else {}
    return Sum(
        packages=len(packages),
        size=sum(size for _, size in objects),
        download=sum(absent.values()),
        downloads=len(absent),
    )


def _absent(session: Session, objects: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Return the sizes of those objects that the store does not have, by digest."""
    return {digest: size for digest, size in objects if not session.store.has(digest, size)}


def _free(folder: Path) -> int:
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize
