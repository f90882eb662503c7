"""The proof of the metadata: what clients will read equals the packages, file by file and both ways."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import unquote

from repobuild.check.problems import Fault, Problem
from repobuild.errors import RefusedError
from repobuild.formats.protocol import Format, Offer, Statement
from repobuild.model import Package


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """The packages that are there, and are what marker or contents say."""

    files: Mapping[str, tuple[int, str]]
    """(size, sha256) of each package file, by path."""
    statements: Mapping[str, Statement]
    """What each says of itself; not of files that cannot be read, nor where the payload is not at hand."""
    unreadable: Mapping[str, str]
    """Why a file says nothing of itself."""


def compare(form: Format, offer: Offer, holding: Holding) -> tuple[Problem, ...]:
    """Say where an offer and what is there differ."""
    found = [Problem(Fault.INDEX, path, reason) for path, reason in offer.problems]
    found += [Problem(Fault.UNREADABLE, path, reason) for path, reason in holding.unreadable.items()]
    listed = {unquote(package.path): package for package in offer.packages}
    found += _listed_twice(offer)
    for path, package in listed.items():
        found += _compare_file(path, package, holding)
    found += [Problem(Fault.UNLISTED, path, "no client can see it") for path in holding.files.keys() - listed.keys()]
    try:
        differing = form.differences(offer, holding.statements)
    except RefusedError as error:
        return (*found, Problem(Fault.INDEX, "packages", error.message))
    return (*found, *(Problem(Fault.INDEX, path, difference) for path, difference in differing.items()))


def absent(offer: Offer, holding: Holding) -> frozenset[str]:
    """Return the sha256 of packages that are listed and are not there as they are listed."""
    there = {digest for _, digest in holding.files.values()}
    return frozenset(package.sha256 for package in offer.packages if package.sha256 not in there)


def _listed_twice(offer: Offer) -> Iterator[Problem]:
    seen: set[str] = set()
    for package in offer.packages:
        if package.path in seen:
            yield Problem(Fault.INDEX, package.path, "the index lists it twice")
        seen.add(package.path)


def _compare_file(path: str, package: Package, holding: Holding) -> Iterator[Problem]:
    if path != package.filename:
        yield Problem(Fault.INDEX, path, f"its name should be {package.filename}")
    there = holding.files.get(path)
    if there is None:
        yield Problem(Fault.INDEX, path, "the index lists it, and it is not there or not what it has to be")
    elif there != (package.size, package.sha256):
        yield Problem(Fault.INDEX, path, "the index gives another size or sha256")
