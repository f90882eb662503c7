"""Repositories -> bundle, whole, in volumes, or what the far side lacks."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from repobuild import bundle as bundling
from repobuild import lock
from repobuild.archive.packing import Packing
from repobuild.bundle import BundleResult, Old, parse_volume_size
from repobuild.errors import ProofError, UsageError
from repobuild.formats import FORMATS
from repobuild.model import Job, Lock
from repobuild.pipeline.session import Session
from repobuild.publish import Repository
from repobuild.record import parts_of, sha256_of
from repobuild.targets import parse_target

__all__ = [
    "BundleOrder",
    "BundleResult",
    "Old",
    "Packing",
    "add_wants",
    "bundle",
    "parse_volume_size",
    "read_old",
    "require_others",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleOrder:
    """What the operator says about a bundle."""

    own: str
    """Name of the repository that the manifest makes."""
    names: tuple[str, ...]
    """Of all repositories that are bundled, in their order (`cache_repo`), the own one among them."""
    out: Path
    """The folder that it is written to."""
    below: str = ""
    """A path below `out` with ${version}, ${os} and ${arch} (`cache_pkg_dir`), "" for `out` itself."""
    pattern: str = ""
    """Of the file name (`cache_pkg_name`), "" for the default, which files of the other repositories alone have too."""
    packing: Packing = Packing.GZIP
    volume_size: int | None = None
    """Bytes of a file, the most that it may have."""
    olds: tuple[Old, ...] = ()
    """What the far side has; only the rest of these repositories is bundled."""


def bundle(session: Session, target: str, order: BundleOrder) -> BundleResult:
    """Write the bundle of a target's repositories, from what is published.

    Raises:
        ProofError: when there is no repository of ours, or a file of it is not what it has to be.
        UsageError: when the order does not go with the repositories.
    """
    olds = _by_name(order)
    names = [name for name in order.names if name in olds or not olds]
    sources = [_source(session, target, name, order, olds.get(name)) for name in names]
    _, chosen = lock_inside(session.repository(target, order.own))
    below = parts_of(bundling.expand(order.below, chosen)) if order.below else ()
    spec = bundling.BundleSpec(
        sources=tuple(sources),
        named_for=names.index(order.own) if order.own in names else 0,
        packing=order.packing,
        volume_size=order.volume_size,
        key=session.settings.key,
    )
    return bundling.write_bundle(order.out.joinpath(*below), spec, session.progress)


def require_others(session: Session, target: str, order: BundleOrder) -> None:
    """Make sure that what a bundle takes as it is published is there, before the own repository is synced.

    Raises:
        ProofError: when a repository is not.
    """
    for name in sorted({*order.names} - {order.own}):
        _source(session, target, name, order, None)


def _source(session: Session, target: str, name: str, order: BundleOrder, old: Old | None) -> bundling.Source:
    repository = session.repository(target, name)
    try:
        text, chosen = lock_inside(repository)
        if (chosen.name, parse_target(chosen.target).name) != (name, target):
            raise ProofError(f"not {name} for {target}: {repository.path}: {chosen.name} for {chosen.target}")
    except ProofError as error:
        if name == order.own:
            raise
        hint = f"cache_repo names {name}, whose own manifest makes it: repobuild sync {target} -c MANIFEST"
        raise ProofError(error.message, hint) from error
    return bundling.Source(
        path=repository.path,
        lock=chosen,
        lock_sha256=sha256_of(text),
        pointers=FORMATS[parse_target(chosen.target).family].pointers,
        pattern=order.pattern if name == order.own else "",
        old=old,
    )


def _by_name(order: BundleOrder) -> dict[str, Old]:
    """Return what the far side has, by the repository that it is of."""
    found: dict[str, Old] = {}
    for each in order.olds:
        if each.name not in order.names:
            raise UsageError(
                f"made of another repository: {each.what}: {each.name}, not {', '.join(order.names)}",
                "name what was made of the repositories that are to be bundled",
            )
        if each.name in found:
            raise UsageError(
                f"both say what the far side has of {each.name}: {found[each.name].what}, {each.what}",
                "run them one by one",
            )
        found[each.name] = each
    return found


def read_old(path: Path) -> tuple[Old, ...]:
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
