"""Locks -> what people ask of them: what differs, what wants cost."""

from functools import partial
from pathlib import Path

from repobuild import costs, diff
from repobuild.errors import UsageError
from repobuild.graph import Graph, base_of, wants_of
from repobuild.pipeline.opening import Opened, details_of, graph_of, open_place
from repobuild.pipeline.session import Session


def compare(session: Session, one: Path, other: Path, name: str = "") -> tuple[Opened, Opened, diff.Difference]:
    """Return two locks, repositories or bundles, and what leads from one to the other.

    Of a bundle with several repositories it is the one of this name, "" for the first.

    Raises:
        UsageError: when they are of different families, whose packages nobody can compare.
    """
    before, after = open_place(session, one, name), open_place(session, other, name)
    if before.form is not after.form:
        raise UsageError(f"packages of {before.lock.target} and {after.lock.target} cannot be compared")
    said = dict(after.lock.extras)
    return (
        before,
        after,
        diff.compare(before.lock, after.lock, before.form.compare, partial(before.form.advisories, said)),
    )


def cost(session: Session, opened: Opened) -> costs.Costs:
    """Return what the wants of a lock cost.

    Raises:
        UsageError: when needs stand in package files that are not here.
    """
    return costs_in(opened, graph_of(details_of(session, opened)))


def costs_in(opened: Opened, graph: Graph) -> costs.Costs:
    """Return what the wants of a lock cost, given its needs."""
    chosen = opened.lock
    sizes = [each.size for each in opened.packages]
    return costs.count(graph, sizes, base_of(chosen, graph), wants_of(chosen, opened.form.want_for))
