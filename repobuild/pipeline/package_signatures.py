"""The signatures in package files: read from a repository, or while a bundle goes by, and proven."""

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from repobuild.check import Fault, Problem, SignedPackage, check_packages
from repobuild.durable import disk_errors
from repobuild.errors import RefusedError, VerificationError
from repobuild.formats.protocol import Format, Read, SignedParts
from repobuild.model import Lock
from repobuild.pipeline.making import client_facts
from repobuild.pipeline.session import Session
from repobuild.record import parts_of
from repobuild.scratch import PieceReader

KEYS_ENDING = "-packages.asc"
"""How the file in a repository ends that has the keys of its packages."""
_RETAINED = 1 << 30
"""Bytes kept of a bundle until its keys are known: headers, or whole packages of EL 7 and older."""


def in_folder(path: Path, form: Format, names: Iterable[str]) -> Iterator[SignedPackage]:
    """Yield packages of a repository."""
    for name in sorted(names):
        yield name, partial(_read, path.joinpath(*parts_of(name)), form, name)


def _read(path: Path, form: Format, name: str) -> SignedParts:
    with disk_errors(path), path.open("rb") as file:
        return form.signed_parts(file, name)


class Passing:
    """Packages of a bundle, which go by before the keys that are in it too."""

    def __init__(self, form: Format, share: int = 1) -> None:
        """Keep nothing yet, and never more than one of `share` shares of what may be kept of a file."""
        self._room = _RETAINED // share
        self.found: list[SignedPackage] = []
        self._form = form
        self._kept = 0

    def take(self, name: str, content: Iterator[bytes]) -> None:
        """Use up the content of a package; what that raises is raised."""
        pieces = PieceReader(content)
        found: SignedParts | RefusedError
        try:
            found = self._form.signed_parts(pieces.buffered(), name)
        except RefusedError as error:
            found = error
        for _ in content:
            pass
        if pieces.failure is not None:
            raise pieces.failure
        if not isinstance(found, RefusedError):
            self._kept += sum({id(data): len(data) for data, _ in found}.values())
        if self._kept > self._room:
            found = VerificationError(
                "its signature is proven once it is installed: what is signed is too much to keep"
            )
        self.found.append((name, partial(_told, found)))


def _told(found: SignedParts | RefusedError) -> SignedParts:
    if isinstance(found, RefusedError):
        raise found
    return found


def prove_packages(
    session: Session, chosen: Lock, read: Read, signed: Iterable[SignedPackage] | None
) -> Iterator[Problem]:
    """Verify the packages' own signatures where clients are told to.

    Args:
        session: the run.
        chosen: the lock, from which the clients' files follow.
        read: reads the repository.
        signed: what of the packages is signed; None where the payload is not at hand.
    """
    if signed is None:
        return
    place = (chosen.target, chosen.name)
    for name in client_facts(session, place, chosen.endpoint, chosen, keys={}, generation="").package_keys:
        keys = read(name)
        if keys is None:
            yield Problem(Fault.MISSING, name, "clients are told to verify the packages by it")
        else:
            yield from check_packages(signed, [(name, keys)])
