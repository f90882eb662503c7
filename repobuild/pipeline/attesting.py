"""Lock and the indexes of a repository -> receipt: what clients will read, and that the wants install from it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from repobuild.bases import EMPTY_NAME, BasePin
from repobuild.check import (
    Fault,
    Holding,
    Problem,
    Proof,
    Receipt,
    Signed,
    SignedPackage,
    check_signatures,
    compare,
    demand_of,
    in_order,
    open_offer,
    prove,
)
from repobuild.check.metadata import absent
from repobuild.errors import RefusedError, RepobuildError
from repobuild.formats import FORMATS
from repobuild.formats.protocol import Format, Offer, Read
from repobuild.model import Lock, TreeFile
from repobuild.pipeline.basing import open_base
from repobuild.pipeline.making import own_roots
from repobuild.pipeline.session import Session
from repobuild.targets import parse_target

_UNKNOWN = "neither its lock nor this machine's store says what is installed there"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is checked, with all that a proof looks at."""

    kind: str
    """As of the receipt."""
    lock: Lock
    lock_sha256: str
    read: Read
    """Reads index files and keys."""
    holding: Holding
    marker: str = ""
    files: int = 0
    size: int = 0
    problems: tuple[Problem, ...] = ()
    """Those found before."""
    remarks: tuple[str, ...] = ()
    """What a person should know, found before."""
    signed: Iterable[SignedPackage] | None = None
    """What of each package is signed, to be asked once; None where the payload is not at hand."""

    @property
    def form(self) -> Format:
        """The room of its family."""
        return FORMATS[parse_target(self.lock.target).family]


def attest_lock(session: Session, chosen: Lock, lock_sha256: str, indexes: Iterable[TreeFile]) -> Receipt:
    """Prove what a repository of a lock offers by these indexes, given its packages.

    The receipt follows from the lock: who signs, and the marker, which lists the receipt itself, have no part in it.
    """
    roots = own_roots(FORMATS[parse_target(chosen.target).family])
    signatures = {each.signature or each.path for each in roots}
    files = {each.path: each.content for each in indexes if each.path not in signatures}
    held = {each.package.filename: (each.package.size, each.package.sha256) for each in chosen.choices}
    holding = Holding(files=held, statements=None, unreadable={})
    subject = Subject(kind="lock", lock=chosen, lock_sha256=lock_sha256, read=files.get, holding=holding)
    return attest(session, subject, check_signatures(roots, files.get, ()))


def attest(session: Session, subject: Subject, signed: Signed) -> Receipt:
    """Compare metadata, prove the wants, and say all of it."""
    problems = [*subject.problems, *signed.problems]
    proofs: list[Proof] = []
    packages = 0
    offer: Offer | None = None
    try:
        if signed.root is not None:
            offer = subject.form.read_offer(signed.root, subject.read, parse_target(subject.lock.target))
    except RefusedError as error:
        problems.append(Problem(Fault.INDEX, "the indexes", error.message))
    if offer is not None:
        packages = len({each.path for each in offer.packages})
        problems += compare(subject.form, offer, subject.holding)
        proofs += _proofs(session, subject, offer)
    problems += [problem for proof in proofs for problem in proof.problems]
    return Receipt(
        kind=subject.kind,
        name=subject.lock.name,
        target=subject.lock.target,
        version=subject.lock.version,
        time=subject.lock.time,
        lock=subject.lock_sha256,
        marker=subject.marker,
        files=subject.files,
        size=subject.size,
        packages=packages,
        signer=signed.signer,
        proofs=tuple(proofs),
        missing=tuple(each.want for each in subject.lock.missing),
        problems=in_order(problems),
        remarks=subject.remarks,
    )


def _proofs(session: Session, subject: Subject, offer: Offer) -> Iterator[Proof]:
    """Prove the wants from each base of the lock."""
    gone = absent(offer, subject.holding)
    demand = demand_of(subject.form, subject.lock)
    target = parse_target(subject.lock.target)
    for pin in subject.lock.bases or (BasePin(EMPTY_NAME, "", is_resolved=True),):
        with open_base(session, target.family, pin) as base:
            if pin.sha256 and base is None:
                problem = Problem(Fault.UNPROVEN, f"base {pin.name}", _UNKNOWN)
                yield Proof(base=pin.name, wants=(), sets=0, problems=(problem,))
                continue
            wanted = replace(demand, base=()) if pin.sha256 else demand
            try:
                with open_offer(subject.form, offer, target, wanted, base) as universe:
                    if gone:
                        universe.exclude(gone)
                    yield prove(universe, wanted, pin.name)
            except RepobuildError as error:
                problem = Problem(Fault.INDEX, "the indexes", error.message)
                yield Proof(base=pin.name, wants=(), sets=0, problems=(problem,))
