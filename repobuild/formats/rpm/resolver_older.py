"""Versions beside the one that was chosen: those before it, to downgrade to, and all, to say why they were not."""

from functools import cmp_to_key
from itertools import islice

import solv

from repobuild.formats.protocol import Exact
from repobuild.formats.rpm.resolver_stock import Candidate, Kind, Stock
from repobuild.formats.rpm.universe_match import evr
from repobuild.formats.values import Sighting
from repobuild.model import Package

_NO_ARCH = "noarch"


def find(stock: Stock, package: Package, count: int) -> tuple[Exact[Candidate], ...]:
    """Return a chosen package and the next `count` versions before it, the newest first.

    They are of its name and architecture (or made for none), are not hidden, and come from upstreams of its module.
    """
    universe = stock.universe
    there = [universe.solvable(number) for number in stock.named(package.name)]
    chosen = next((each for each in there if str(each) == nevra(package)), None)
    if chosen is None:
        return ()
    arches = {package.arch, _NO_ARCH} | ({stock.target.package_arch} if package.arch == _NO_ARCH else set())
    modules = {source.upstream.module for source in universe.sources if source.upstream.name == package.upstream}
    before: dict[tuple[str, str], solv.XSolvable] = {}
    for each in sorted(there, key=cmp_to_key(_newer_first)):
        is_kin = each.arch in arches and universe.source(each.id).upstream.module in modules
        if is_kin and each.evrcmp(chosen) < 0 and evr(each)[1:] != evr(chosen)[1:]:
            before.setdefault(evr(each)[1:], each)
    return tuple(map(_exactly, (chosen, *islice(before.values(), count))))


def sightings(stock: Stock, name: str) -> tuple[Sighting, ...]:
    """Return every package of a name, and why it would not be taken, the newest first."""
    universe = stock.universe
    there = sorted(universe.named(name), key=cmp_to_key(_newer_first))
    to_be_had = [universe.source(each.id).upstream for each in there if each.id not in universe.hidden]
    best = min(to_be_had, key=lambda each: each.priority, default=None)
    found = []
    for each in there:
        upstream = universe.source(each.id).upstream
        reason = universe.hidden.get(each.id, "")
        if not reason and best is not None and upstream.priority > best.priority:
            reason = f"its priority {upstream.priority} comes after {best.priority} of {best.name}"
        checksum = each.lookup_checksum(solv.SOLVABLE_CHECKSUM)
        epoch, version, release = evr(each)
        full = f"{version}-{release}"
        found.append(
            Sighting(
                version=f"{epoch}:{full}" if epoch != "0" else full,
                arch=each.arch,
                upstream=upstream.name,
                sha256=checksum.hex() if checksum is not None else "",
                reason=reason,
            )
        )
    return tuple(found)


def nevra(package: Package) -> str:
    """Return the name of a package as libsolv writes it."""
    return f"{package.name}-{package.version}.{package.arch}"


def _newer_first(one: "solv.XSolvable", other: "solv.XSolvable") -> int:
    return int(other.evrcmp(one))


def _exactly(package: "solv.XSolvable") -> Exact[Candidate]:
    want = str(package)
    epoch, version, release = evr(package)
    return Exact(want, Candidate(Kind.VERSION, want, package.name, f"{epoch}:{version}-{release}", package.arch))
