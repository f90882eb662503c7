"""Resolution x expectation -> what came from another module: a name may belong to two packages that differ.

Debian's `loki` is a genetics program, the one of Pigsty's infra group keeps logs. Which module a want belongs to is
said by the group it stands in; but many groups take some of their packages from the distribution, and rightly so.
So only what looks like a mix-up is a warning, and the rest is one line.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from repobuild.model import Package, Upstream

Having = Callable[[str], Sequence[str]]
"""Name of a package to the upstreams that have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What is known of a target's modules."""

    expected: tuple[tuple[str, str], ...]
    """Want and a module that it may come from; a want may have several."""
    upstreams: tuple[Upstream, ...]
    skipped: tuple[str, ...]
    """Names of the upstreams that could not be had."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """What came from another module than expected."""

    pairs: tuple[tuple[str, str], ...]
    """(want, upstream), each once, in manifest order."""
    notes: tuple[str, ...]
    """Warnings, then the rest in one line."""


def compare(expectation: Expectation, taken: Iterable[tuple[str, Package]], having: Having) -> Foreign:
    """Say which wants were satisfied by an upstream of another module than their group expects.

    A warning is due where an upstream of the expected module has the package too, unless the manifest's priorities
    rank it lower, or could not be asked. What did not come from an upstream of the manifest (a file named by its URL,
    or added) is the operator's own word.
    """
    modules: dict[str, set[str]] = {}
    for want, module in expectation.expected:
        modules.setdefault(want, set()).add(module)
    module_of = {each.name: each.module for each in expectation.upstreams}
    rank = {each.name: each.priority for each in expectation.upstreams}
    pairs: dict[tuple[str, str], None] = {}
    quiet: dict[tuple[str, str], None] = {}
    warnings: dict[str, dict[str, None]] = {}
    for want, package in taken:
        allowed = modules.get(want)
        if not allowed or module_of.get(package.upstream) in {None, *allowed}:
            continue
        pair = (want, package.upstream)
        pairs[pair] = None
        rivals = [each for each in having(package.name) if module_of.get(each) in allowed]
        rivals = [each for each in rivals if rank[each] <= rank[package.upstream]]
        silent = [each for each in expectation.skipped if module_of.get(each) in allowed]
        if rivals:
            warnings.setdefault(_rivalled(package.upstream, rivals), {})[package.name] = None
        elif silent:
            warnings.setdefault(_unasked(package.upstream, silent), {})[want] = None
        else:
            quiet[pair] = None
    lines = [f"warning: {text}: {', '.join(names)}" for text, names in warnings.items()]
    return Foreign(tuple(pairs), (*lines, *summary(quiet)))


def summary(pairs: Collection[tuple[str, str]]) -> tuple[str, ...]:
    """Return one line that names wants by the upstream that satisfied them; none when there are none."""
    by_upstream: dict[str, list[str]] = {}
    for want, upstream in pairs:
        by_upstream.setdefault(upstream, []).append(want)
    return (f"from another module than their group's: {_grouped(by_upstream)}",) if by_upstream else ()


def _grouped(by_upstream: Mapping[str, Sequence[str]]) -> str:
    return "; ".join(f"{', '.join(wants)} ({upstream})" for upstream, wants in by_upstream.items())


def _rivalled(upstream: str, rivals: Sequence[str]) -> str:
    owners = f"{' and '.join(rivals)} of the module expected {'has' if len(rivals) == 1 else 'have'} it too"
    return f"taken from {upstream}, although {owners}; `origin` says which is meant"


def _unasked(upstream: str, silent: Sequence[str]) -> str:
    verb = "was" if len(silent) == 1 else "were"
    return f"taken from {upstream}, while {' and '.join(silent)} of the module expected {verb} skipped"
