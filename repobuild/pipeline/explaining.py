"""Lock and upstreams' indexes -> why a package is there, or why not."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from repobuild import catalog, why
from repobuild.errors import RepobuildError
from repobuild.formats.values import Sighting
from repobuild.graph import base_of, wants_of
from repobuild.model import Choice, Job, Upstream
from repobuild.pipeline.opening import Opened, details_of, graph_of
from repobuild.pipeline.resolving import means_of
from repobuild.pipeline.session import Session


@dataclass(frozen=True, slots=True)
class Present:
    """A package that a lock has, and why."""

    choice: Choice
    chains: tuple[why.Chain, ...]
    """The shortest first."""


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
        spec: name, `name=version`, `name.arch`, file name.
        job: what the target sees of the manifest, for the upstreams' indexes; None where there is no manifest for it.
        unread: upstreams that the manifest knows for this target and that it does not read.

    Raises:
        UsageError: when needs stand in package files that are not here.
    """
    chosen = opened.lock
    numbers = why.named(chosen, spec, opened.form.want_for)
    if numbers:
        graph = graph_of(details_of(session, opened))
        origins = why.Origins(wants_of(chosen, opened.form.want_for), base_of(chosen))
        found = tuple(Present(chosen.choices[number], why.chains(chosen, graph, origins, number)) for number in numbers)
        return Why(target=chosen.target, spec=spec, present=found, absent=())
    name, _, version = spec.partition("=")
    seen, near = _seen(session, job, name)
    elsewhere = {upstream.name: _seen(session, job, name, upstream)[0] for upstream in unread}
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
        reasons += ("no upstream that this target reads has a package of that name",)
    return Why(target=chosen.target, spec=spec, present=(), absent=reasons, near=near)


def _seen(
    session: Session, job: Job | None, name: str, only: Upstream | None = None
) -> tuple[tuple[Sighting, ...] | None, tuple[str, ...]]:
    """Return what upstreams have under a name, None when their indexes are not here; and names that come near."""
    if job is None:
        return None, ()
    try:
        asked = job if only is None else replace(job, upstreams=(only,))
        universe = catalog.load(asked, means_of(session)).universe
        seen = universe.sightings(name)
        return seen, () if seen else universe.find(name).near
    except RepobuildError as error:
        session.progress.debug(f"{only.name if only else job.target}: {error.message}")
        return None, ()
