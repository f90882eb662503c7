"""Slips known from Pigsty's own files, which work there more or less: they are said, and taken as they are."""

from repobuild.manifest.entries import UpstreamEntry
from repobuild.manifest.locations import Location, substitute, variables
from repobuild.manifest.reading import redacted
from repobuild.model import Target
from repobuild.targets import ALL_TARGETS

_POCKETS = ("updates", "backports", "security")
"""Names of upstreams that are also the ends of their suites' names."""
_FOREIGN = {"debian": frozenset({"restricted", "universe", "multiverse"}), "ubuntu": frozenset({"contrib", "non-free"})}
"""Components of the other one of the two distributions."""
_NOWHERE = "127.0.0.1"


def slips_of(entry: UpstreamEntry, target: Target) -> list[str]:
    """Return what in an upstream is most likely not what was meant, one message each."""
    found = [f"region {region}: {each}" for region in entry.baseurl for each in _of_region(entry, region, target)]
    return [f"{entry.where}: upstream {entry.name!r}: {each}" for each in found]


def _of_region(entry: UpstreamEntry, region: str, target: Target) -> list[str]:
    location = entry.locate(region, target, variables(target, _NOWHERE))
    found = [*_of_suite(entry, location, target), *_of_machine(entry, region, target)]
    if any("//" in url.partition("://")[2] for url in location.urls):
        found.append("a URL with an empty part (//)")
    return found


def _of_suite(entry: UpstreamEntry, location: Location, target: Target) -> list[str]:
    pocket = location.suite.rpartition("-")[2]
    found = []
    if entry.name in _POCKETS and pocket in _POCKETS and pocket != entry.name:
        found.append(f"the suite of {pocket} under this name")
    foreign = sorted(_FOREIGN.get(target.vendor, frozenset()).intersection(location.components))
    if foreign:
        found.append(f"components that {target.vendor} does not have: {' '.join(foreign)}")
    return found


def _of_machine(entry: UpstreamEntry, region: str, target: Target) -> list[str]:
    """Return a word where the URL names another architecture than the one that it is for."""
    blanks = dict.fromkeys(variables(target, _NOWHERE), " ")
    plain = " ".join(substitute(each, blanks) for each in entry.baseurl[region])
    others = sorted({each.arch for each in ALL_TARGETS} - {target.arch})
    return [f"{redacted(other)} in the URL for {target.arch}" for other in others if other in plain]
