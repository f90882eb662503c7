"""Lock and upstreams' indexes -> why a package is there, or why not."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from repobuild import catalog, why
from repobuild.errors import RepobuildError, UsageError
from repobuild.formats import FORMATS
from repobuild.formats.protocol import NOWHERE
from repobuild.formats.values import Sighting
from repobuild.graph import base_of, wants_of
from repobuild.model import Choice, Job, Upstream
from repobuild.pipeline.opening import Opened, details_of, graph_of
from repobuild.pipeline.resolving import means_of
from repobuild.pipeline.session import Session

_NOBODY = "no upstream that this target reads has a package of that name"
_STANDS = "no package has that name: it stands for others, which are not in the lock"
_MAX_NAMES = 12
"""Packages that a want stands for, of which so many are named."""


@dataclass(frozen=True, slots=True)
class Present:
    """A package that a lock has, and why."""

    choice: Choice
    chains: tuple[why.Chain, ...]
    """The shortest first."""
    provides: str = ""
    """What was asked for, where that is not the package itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """The answer to `why`: what a lock has of a name, or why it has nothing of it."""

    target: str
    spec: str
    present: tuple[Present, ...]
    absent: tuple[str, ...]
    """Why it is not there; of another version than those that are there, why they were taken."""
    near: tuple[str, ...] = ()


def explain(session: Session, opened: Opened, spec: str, job: Job | None, unread: Sequence[Upstream]) -> Why:
    """Say why a package is in a lock, or why not.

    Args:
        session: the run; one that stays offline.
        opened: the lock.
        spec: what a want may say, `name.arch`, file name, or what a package provides.
        job: what the target sees of the manifest, for the upstreams' indexes; None where there is no manifest for it.
        unread: upstreams that the manifest knows for this target and that it does not read.

    Raises:
        UsageError: when needs stand in package files that are not here.
    """
    chosen = opened.lock
    if found := _present(session, opened, spec):
        return Why(target=chosen.target, spec=spec, present=found, absent=())
    name, version = opened.form.split_want(spec)
    known = _seen(session, job, spec)
    seen = known.sightings
    elsewhere = {upstream.name: _seen(session, job, spec, upstream).sightings for upstream in unread}
    question = why.Question(
        name=name,
        version=version,
        lock=chosen,
        sightings=seen or (),
        elsewhere=[each for found_there in elsewhere.values() for each in found_there or ()],
        unread=[each for each, found_there in elsewhere.items() if found_there is None],
    )
    reasons = why.why_not(question, opened.form.compare)
    if seen is None:
        reasons += ("what the upstreams have is not known here: sync once, then ask again",)
    elif not seen:
        reasons += (known.reason,)
    return Why(target=chosen.target, spec=spec, present=(), absent=reasons, near=known.near)


def _present(session: Session, opened: Opened, spec: str) -> tuple[Present, ...]:
    """Return what a lock has under a name; where nothing has it, what provides it."""
    chosen = opened.lock
    numbers = why.named(chosen, spec, opened.form.is_named)
    try:
        details = details_of(session, opened)
    except UsageError as error:
        if numbers:
            raise
        session.progress.debug(f"what packages provide is not known here: {error.message}")
        return ()
    provides = "" if numbers else spec
    places = numbers or [number for number, each in enumerate(details) if spec in each.provides]
    graph = graph_of(details)
    origins = why.Origins(wants_of(chosen, opened.form.want_for), base_of(chosen, graph))
    return tuple(
        Present(chosen.choices[number], why.chains(chosen, graph, origins, number), provides) for number in places
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What upstreams have under a name."""

    sightings: tuple[Sighting, ...] | None = None
    """None when their indexes are not here."""
    near: tuple[str, ...] = ()
    reason: str = _NOBODY
    """Why there are none."""


def _seen(session: Session, job: Job | None, spec: str, only: Upstream | None = None) -> _Seen:
    if job is None:
        return _Seen()
    try:
        asked = job if only is None else replace(job, upstreams=(only,))
        universe = catalog.load(asked, means_of(session)).universe
        if seen := universe.sightings(FORMATS[job.target.family].split_want(spec)[0]):
            return _Seen(sightings=seen)
        found = universe.find(spec)
        names = tuple(universe.name_of(each) for each in found.candidates[:_MAX_NAMES])
        reason = _NOBODY if found.reason in {"", NOWHERE} else found.reason
        return _Seen(sightings=(), near=found.near or names, reason=_STANDS if names else reason)
    except RepobuildError as error:
        session.progress.debug(f"{only.name if only else job.target}: {error.message}")
        return _Seen()
