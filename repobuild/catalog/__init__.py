"""Target -> Catalog: fetch, verify and open the indexes of every upstream.

All files of one root come from one mirror (design decision 3): a mirror whose files do not fit its root is asked once
more for the whole set, then the next one is. What is verified stays in the store, decompressed, so that the next run
fetches only the roots.

values    what a catalog is made with, and what it is
answers   what mirrors answered in a run, for the targets that share them
keys      keys that are fetched, and believed by their pinned fingerprints alone
loader    one upstream on its way in
mirrors   lists of mirrors that an upstream publishes
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from repobuild.catalog.answers import Answers, Get
from repobuild.catalog.keys import with_keys
from repobuild.catalog.loader import Loader, pin_of
from repobuild.catalog.mirrors import expand
from repobuild.catalog.values import Catalog, Means
from repobuild.formats import FORMATS
from repobuild.formats.protocol import Loaded
from repobuild.model import Job, Verify

__all__ = ["Answers", "Catalog", "Get", "Means", "expand", "load", "with_keys"]


def load(job: Job, means: Means, extra: Sequence[Loaded] = ()) -> Catalog:
    """Fetch, verify and open every upstream of `job`; `extra` joins them, already open.

    Raises:
        VerificationError, HostileInputError: when no mirror serves an upstream that verifies.
        RollbackError: when all mirrors of one are older than what was seen, and nothing is left to fall back on.
        UnreachableError: when no mirror of one answers, unless it may be skipped.
    """
    form = FORMATS[job.target.family]
    with ThreadPoolExecutor(max_workers=max(1, min(4, len(job.upstreams)))) as pool:
        outcomes = list(pool.map(lambda upstream: Loader(upstream, job.target, form, means).load(), job.upstreams))
    loaded, pins, served, skipped = [], [], {}, []
    for upstream, outcome in zip(job.upstreams, outcomes, strict=True):
        if outcome is None:
            skipped.append(upstream.name)
            pins.append(pin_of(upstream, form))
            continue
        loaded.append(outcome[0])
        if outcome[0].root.lacks:
            means.progress.note(f"{upstream.name}: has no component {', '.join(outcome[0].root.lacks)}")
        pins.append(outcome[1])
        served[upstream.name] = outcome[2]
    means.memory.save()
    return Catalog(
        target=job.target,
        universe=form.universe([*loaded, *extra], job.target, means.store, job.options),
        pins=tuple(pins),
        loaded=tuple(loaded),
        served=served,
        skipped=tuple(skipped),
        unverified=tuple(each.upstream.name for each in loaded if each.upstream.verify is Verify.NONE),
    )
