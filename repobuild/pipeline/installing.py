"""Parts of bundles -> repositories, on the far side of the air gap; and the list of what is there."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from repobuild import install as installing
from repobuild import lock
from repobuild.archive.contents import Contents, PartKind
from repobuild.check import Receipt
from repobuild.errors import HostileInputError, ProofError, RepobuildError, UsageError, VerificationError
from repobuild.install import InstallPlan, Staging
from repobuild.model import PROOF_NAME, Lock
from repobuild.pipeline.admitting import InstallRequest, Job, admit, refuse_older, remember_sequence, sequence_at
from repobuild.pipeline.making import beside, published_key
from repobuild.pipeline.session import Session
from repobuild.publish import Repository

_SHOWN = 3
"""Files that a message names."""
_ASK = (
    "ask for what is missing: repobuild have > have.txt here, then repobuild bundle --since have.txt where bundles "
    "are made; or bring the whole bundle"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """What an install did with the bundle of a repository, or would do."""

    contents: Contents
    path: Path
    lock: Lock | None
    """Of what is published now; None when nothing is, as after a dry run."""
    plan: InstallPlan
    signer: str
    """Fingerprint, or `unsigned`."""
    missing: tuple[str, ...] = ()
    """The parts that have still to come."""
    receipt: str = ""
    """Where it is; "" when nothing was published."""
    proof: Receipt | None = None
    """What was proven of it before it travelled; None where no part at hand says it."""
    problem: RepobuildError | None = None
    """Why nothing was published, or would be."""


def install(session: Session, paths: Sequence[Path], request: InstallRequest) -> Iterator[Installed]:
    """Verify parts of bundles, unpack them beside their places, and publish each bundle that is whole, in one step.

    All parts are proven and all plans made before the first is unpacked; the older bundle goes first. Of a part with
    several repositories all are unpacked and proven before the first is published. Parts of a bundle that is not whole
    yet are kept for a later run.

    Raises:
        RefusedError: when a part, or who signed it, is not what it has to be; nothing of it is visible then.
        RollbackError: when a bundle is older than what is installed, or was.
        DiskError: when all of them together find no room.
    """
    admitted = admit(session, paths, request)
    everything = [(job.spec, job.plan) for together in admitted for job in together]
    if not request.dry_run:
        installing.require_room_for_all(everything)
        for together in admitted:
            yield from _install(session, together, request)
        return
    lack: RepobuildError | None = None
    try:
        installing.require_room_for_all(everything)
    except RepobuildError as error:
        lack = error
    for together in admitted:
        yield from _rehearse(session, together, lack)


def have(path: Path) -> bytes:
    """Return the list of what the repository in `path` holds, for who makes the next delta.

    Raises:
        ProofError: when there is no repository of ours.
    """
    current = Repository(path.parent, (path.name,)).current()
    if current is None or current.lock_text is None:
        raise ProofError(f"no complete repository of repobuild's at {path}", "make it: repobuild install")
    chosen = lock.read(current.lock_text, f"the lock in {path}")
    return installing.have_list(chosen, current.lock_text, current.marker)


def _rehearse(session: Session, jobs: Sequence[Job], lack: RepobuildError | None) -> Iterator[Installed]:
    """Read the files that jobs have in common to their ends, and say what would come of each job.

    `lack` says that all of the run together finds no room.
    """
    for part in jobs[0].parts:
        installing.prove(part, session.progress)
    yield from (_foreseen(job, lack) for job in jobs)


def _foreseen(job: Job, lack: RepobuildError | None) -> Installed:
    name = job.bundle.contents.name
    texts = (installing.read_text(part, name, PROOF_NAME) for part in job.parts)
    text = next(filter(None, texts), None)
    problem = _problem(job, job.plan.missing, job.plan.absent) or lack
    return replace(_result(job), problem=problem, proof=_proof_in(text, job.bundle.contents))


def _proof_in(text: bytes | None, contents: Contents) -> Receipt | None:
    """Return the receipt that travels in a bundle.

    Raises:
        HostileInputError: when it is malformed, or of another lock.
        ProofError: when it says that something does not hold.
    """
    if text is None:
        return None
    receipt = Receipt.from_bytes(text, PROOF_NAME)
    if (receipt.kind, receipt.lock) != ("lock", contents.lock):
        raise HostileInputError(f"the proof in the bundle is of another lock: {receipt.lock}")
    receipt.prove()
    return receipt


def _install(session: Session, jobs: Sequence[Job], request: InstallRequest) -> Iterator[Installed]:
    """Unpack the files that jobs have in common, once; then publish what came, one repository after the other."""
    with ExitStack() as opened:
        stagings = [
            opened.enter_context(installing.receive(job.spec, job.bundle.contents, session.progress)) for job in jobs
        ]
        for job, staging in zip(jobs, stagings, strict=True):
            refuse_older(session, job.bundle.contents, sequence_at(session, job.spec), request)
            staging.require_room()
        for part in jobs[0].parts:
            installing.unpack(part, stagings, session.progress)
        for staging in stagings:
            staging.take_from_place()
        pairs = tuple(zip(jobs, stagings, strict=True))
        # All are proven before the first is visible.
        came = [None if staging.absent() else _received(job, staging) for job, staging in pairs]
        for (job, staging), received in zip(pairs, came, strict=True):
            if received is None:
                yield _incomplete(session, job, staging)
            else:
                yield _publish(session, job, received, request)


@dataclass(frozen=True, slots=True)
class _Received:
    """A repository that came whole, proven and not visible yet."""

    incoming: installing.Incoming
    lock: Lock
    proof: Receipt | None


def _received(job: Job, staging: Staging) -> _Received:
    contents = job.bundle.contents
    incoming = staging.finish()
    chosen, proof = _lock_of(incoming.lock_text, contents), _proof_in(incoming.proof_text, contents)
    if chosen.carries_proof and proof is None:
        raise HostileInputError(f"the bundle lacks the proof that its lock speaks of: {contents.name}: {PROOF_NAME}")
    return _Received(incoming, chosen, proof)


def _publish(session: Session, job: Job, received: _Received, request: InstallRequest) -> Installed:
    contents = job.bundle.contents
    repository = session.repository(contents.target, contents.name)
    installed = job.installed

    def refuse() -> None:
        nonlocal installed  # another run, or install.sh, may have published since the plan was made
        installed = sequence_at(session, job.spec)
        refuse_older(session, contents, installed, request)

    incoming, now, progress = received.incoming, session.settings.now, session.progress
    repository.publish(incoming.tree, incoming.source, beside={}, now=now, progress=progress, admit=refuse)
    remember_sequence(session, contents, request)
    repository.write_beside(beside(session, received.lock, published_key(repository, contents.name)))
    receipt = _receipt(session, job, received.incoming, installed, request)
    _remember(session, job)
    return replace(_result(job), lock=received.lock, receipt=receipt, proof=received.proof)


def _incomplete(session: Session, job: Job, staging: Staging) -> Installed:
    """Keep what came of a bundle that is not whole; a delta for another repository is refused."""
    absent = staging.absent()
    paths = tuple(file.path for file, part in absent if part == 0)
    missing = tuple(sorted({part for _, part in absent if part}))
    problem = _problem(job, missing, paths)
    if problem is not None and paths:
        raise problem
    staging.keep()
    _remember(session, job)
    return replace(_result(job), missing=_names_of(job, missing), problem=problem)


def _problem(job: Job, missing: Sequence[int], absent: Sequence[str]) -> RepobuildError | None:
    contents = job.bundle.contents
    if absent:
        older = contents.older.sequence if contents.older is not None else None
        more = f" and {len(absent) - _SHOWN} more" if len(absent) > _SHOWN else ""
        return VerificationError(
            f"the delta is made against {older}, in place is {job.installed}; neither holds, unchanged: "
            f"{', '.join(absent[:_SHOWN])}{more}",
            _ASK,
        )
    if missing:
        return UsageError(
            f"the bundle for {contents.target} is not whole yet, still missing: {', '.join(_names_of(job, missing))}",
            "bring them, and run repobuild install with them; what came is kept",
        )
    return None


def _names_of(job: Job, numbers: Sequence[int]) -> tuple[str, ...]:
    """Return how to speak of the parts of these numbers; their file names follow from that of one that is here."""
    one, parts = job.parts[0], job.bundle.contents.parts
    mark = f".vol{one.number}."
    return tuple(
        f"vol {number} of {parts}"
        + (f": {one.path.name.replace(mark, f'.vol{number}.')}" if mark in one.path.name else "")
        for number in numbers
    )


def _result(job: Job) -> Installed:
    return Installed(
        contents=job.bundle.contents,
        path=job.spec.path,
        lock=None,
        plan=job.plan,
        signer=_signer(job),
        missing=_names_of(job, job.plan.missing),
    )


def _signer(job: Job) -> str:
    """Return who stands up for all of the parts: a part that is not signed leaves the bundle unsigned."""
    signers = [part.voucher.signer if part.voucher is not None else None for part in job.parts]
    found = sorted({each.fingerprint for each in signers if each is not None})
    return " ".join(found) if found and None not in signers else installing.UNSIGNED


def _receipt(
    session: Session, job: Job, incoming: installing.Incoming, older: int | None, request: InstallRequest
) -> str:
    contents = incoming.contents
    return installing.write_receipt(
        job.spec,
        installing.TransferReceipt(
            target=contents.target,
            name=contents.name,
            version=contents.version,
            sequence=contents.sequence,
            older_sequence=older,
            lock=contents.lock,
            marker=contents.files[-1].sha256,
            kind=str(PartKind(contents.kind)),
            parts=incoming.arrivals,
            signer=_signer(job),
            on_behalf_of=request.on_behalf_of,
            time=session.settings.now,
        ),
    )


def _remember(session: Session, job: Job) -> None:
    """Believe the signer of what came from now on, and whom it vouches for."""
    vouchers = [part.voucher for part in job.parts if part.voucher is not None]
    keys = [key for each in vouchers if each.signer is not None for key in (each.signer, *each.successors)]
    if keys:
        installing.remember(session.settings.state, keys, job.bundle.contents.name)


def _lock_of(text: bytes, contents: Contents) -> Lock:
    chosen = lock.read(text, "the bundle's lock")
    for what, inside, outside in (
        ("target", chosen.target, contents.target),
        ("name", chosen.name, contents.name),
        ("time", chosen.time, contents.sequence),
    ):
        if inside != outside:
            raise HostileInputError(f"the bundle's lock has the {what} {inside!r}, its contents say: {outside!r}")
    return chosen
