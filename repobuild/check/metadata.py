"""The proof of the metadata: what clients will read equals the packages, file by file and both ways."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from repobuild.check.problems import Fault, Problem
from repobuild.errors import RefusedError
from repobuild.formats.protocol import Format, Offer, Statement
from repobuild.model import Package


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """The packages that are there, and are what marker or contents say."""

    files: Mapping[str, tuple[int, str]]
    """(size, sha256) of each package file, by path."""
    statements: Mapping[str, Statement] | None
    """What each says of itself, but for files that cannot be read; None where the payload is not at hand."""
    unreadable: Mapping[str, str]
    """Why a file says nothing of itself."""


def compare(form: Format, offer: Offer, holding: Holding) -> tuple[Problem, ...]:
    """Say where an offer and what is there differ."""
    found = [Problem(Fault.INDEX, path, reason) for path, reason in offer.problems]
    found += [Problem(Fault.UNREADABLE, path, reason) for path, reason in holding.unreadable.items()]
    # One package may be listed twice, which apt takes; each entry is compared for itself.
    for package in offer.packages:
        found += _compare_file(package, holding)
    listed = {package.path for package in offer.packages}
    found += [Problem(Fault.UNLISTED, path, "no client can see it") for path in holding.files.keys() - listed]
    if holding.statements is None:
        return tuple(found)
    silent = (holding.files.keys() & listed) - holding.statements.keys() - holding.unreadable.keys()
    found += [Problem(Fault.INDEX, path, "nobody compared it with the package") for path in silent]
    try:
        differing = form.differences(offer, holding.statements)
    except RefusedError as error:
        return (*found, Problem(Fault.INDEX, "packages", error.message))
    return (*found, *(Problem(Fault.INDEX, path, difference) for path, difference in differing.items()))


def absent(offer: Offer, holding: Holding) -> frozenset[str]:
    """Return the sha256 of packages that are listed and are not there as they are listed."""
    there = {digest for _, digest in holding.files.values()}
    return frozenset(package.sha256 for package in offer.packages if package.sha256 not in there)


def _compare_file(package: Package, holding: Holding) -> Iterator[Problem]:
    path = package.path
    if path != package.filename:
        yield Problem(Fault.INDEX, path, f"its name should be {package.filename}")
    there = holding.files.get(path)
    if there is None:
        yield Problem(Fault.INDEX, path, "the index lists it, and it is not there or not what it has to be")
    elif there != (package.size, package.sha256):
        yield Problem(Fault.INDEX, path, "the index gives another size or sha256")
