"""Repository -> bundle, whole, in volumes, or what the far side lacks."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from repobuild import bundle as bundling
from repobuild import lock
from repobuild.archive.packing import Packing
from repobuild.bundle import BundleResult, Old, parse_volume_size
from repobuild.errors import ProofError
from repobuild.formats import FORMATS
from repobuild.model import Job, Lock
from repobuild.pipeline.session import Session
from repobuild.publish import Repository
from repobuild.record import parts_of, sha256_of
from repobuild.targets import parse_target

__all__ = ["BundleOrder", "BundleResult", "Packing", "add_wants", "bundle", "parse_volume_size", "read_old"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleOrder:
    """What the operator says about a bundle."""

    out: Path
    """The folder that it is written to."""
    below: str = ""
    """A path below `out` with ${version}, ${os} and ${arch} (`cache_pkg_dir`), "" for `out` itself."""
    pattern: str = ""
    """Of the file name (`cache_pkg_name`), "" for the default."""
    packing: Packing = Packing.GZIP
    volume_size: int | None = None
    """Bytes of a file, the most that it may have."""
    old: Old | None = None
    """What the far side has; only the rest is bundled."""


def bundle(session: Session, target: str, name: str, order: BundleOrder) -> BundleResult:
    """Write the bundle of a target's repository, from what is published.

    Raises:
        ProofError: when there is no repository of ours, or a file of it is not what it has to be.
        UsageError: when the order does not go with the repository.
    """
    repository = session.repository(target, name)
    text, chosen = lock_inside(repository)
    below = parts_of(bundling.expand(order.below, chosen)) if order.below else ()
    spec = bundling.BundleSpec(
        lock=chosen,
        lock_sha256=sha256_of(text),
        pointers=FORMATS[parse_target(chosen.target).family].pointers,
        pattern=order.pattern,
        packing=order.packing,
        volume_size=order.volume_size,
        old=order.old,
        key=session.settings.key,
    )
    return bundling.write_bundle(repository.path, order.out.joinpath(*below), spec, session.progress)


def read_old(path: Path) -> Old:
    """Return what a lock, a part of a bundle, or the far side's own list says that the far side has.

    Raises:
        UsageError: when there is no such file.
        RefusedError: when it is none of the three.
    """
    return bundling.read_old(path, lock.read)


def add_wants(job: Job, wants: Sequence[str]) -> Job:
    """Return `job` with more wants; it has another digest then, so that the lock follows.

    A later run without them leaves them out again.
    """
    known = {want for group in job.groups for want in group}
    more = sorted(set(wants) - known)
    if not more:
        return job
    said = "".join(f"+{want}\n" for want in more)
    digest = hashlib.sha256(f"{job.digest}\n{said}".encode()).hexdigest()
    return replace(job, groups=(*job.groups, *((want,) for want in more)), digest=digest)


def lock_inside(repository: Repository) -> tuple[bytes, Lock]:
    """Return the lock that a repository holds, as text and as value.

    Raises:
        ProofError: when there is no complete repository of ours.
    """
    current = repository.current()
    if current is None or current.lock_text is None:
        raise ProofError(f"no complete repository of repobuild's at {repository.path}", "make it: repobuild sync")
    return current.lock_text, lock.read(current.lock_text, f"the lock in {repository.path}")
