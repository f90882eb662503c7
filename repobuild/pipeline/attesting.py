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

    @property
    def form(self) -> Format:
        """The room of its family."""
        return FORMATS[parse_target(self.lock.target).family]


def attest_lock(session: Session, chosen: Lock, lock_sha256: str, indexes: Iterable[TreeFile]) -> Receipt:
    """Prove what a repository of a lock offers by these indexes, given its packages.

    The receipt follows from the lock: who signs, and the marker, which lists the receipt itself, have no part in it.
    """
    packages = [each.package for each in chosen.choices]
    files = {each.path: each.content for each in indexes}
    held = {each.filename: (each.size, each.sha256) for each in packages}
    holding = Holding(files=held, statements={}, unreadable={})
    subject = Subject(kind="lock", lock=chosen, lock_sha256=lock_sha256, read=files.get, holding=holding)
    return attest(session, subject, Signed(""))


def attest(session: Session, subject: Subject, signed: Signed) -> Receipt:
    """Compare metadata, prove the wants, and say all of it."""
    problems = [*subject.problems, *signed.problems]
    proofs: list[Proof] = []
    packages = 0
    try:
        offer = subject.form.read_offer(subject.read, parse_target(subject.lock.target))
    except RefusedError as error:
        problems.append(Problem(Fault.INDEX, "the indexes", error.message))
    else:
        packages = len(offer.packages)
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
