"""Parts of bundles -> repository, on the far side of the air gap; and the list of what is there."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from repobuild import install as installing
from repobuild import lock
from repobuild.archive.contents import Contents, PartKind
from repobuild.check import Receipt
from repobuild.errors import HostileInputError, ProofError, RepobuildError, RollbackError, UsageError, VerificationError
from repobuild.install import Bundle, InstallPlan, InstallSpec, Judge, Staging
from repobuild.model import LOCK_NAME, PROOF_NAME, Lock
from repobuild.pipeline.making import beside, published_key
from repobuild.pipeline.session import Session
from repobuild.publish import Repository
from repobuild.state import Seen
from repobuild.targets import parse_target

_SHOWN = 3
"""Files that a message names."""
_ASK = (
    "ask for what is missing: repobuild have > have.txt here, then repobuild bundle --since have.txt where bundles "
    "are made; or bring the whole bundle"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallRequest:
    """What the operator says about an install."""

    signer_keys: tuple[Path, ...] = ()
    """Public keys of who may have signed."""
    fingerprints: tuple[str, ...] = ()
    allow_unsigned: bool = False
    ask: Callable[[str], str] | None = None
    """Shows a fingerprint and returns what was typed; None where nobody can be asked."""
    targets: frozenset[str] = frozenset()
    """The only ones that may be installed, all when empty."""
    name: str = ""
    """The only repository that may be installed, any when empty."""
    allow_older: bool = False
    dry_run: bool = False
    on_behalf_of: str = ""
    """Who called sudo."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """What an install did with a bundle, or would do."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """A bundle and where it goes."""

    bundle: Bundle
    spec: InstallSpec
    plan: InstallPlan
    installed: int | None
    """Sequence of what is in place."""


def install(session: Session, paths: Sequence[Path], request: InstallRequest) -> Iterator[Installed]:
    """Verify parts of bundles, unpack them beside their places, and publish each bundle that is whole, in one step.

    All parts are proven and all plans made before the first is unpacked; the older bundle goes first. Parts of a bundle
    that is not whole yet are kept for a later run.

    Raises:
        RefusedError: when a part, or who signed it, is not what it has to be; nothing of it is visible then.
        RollbackError: when a bundle is older than what is installed, or was.
        DiskError: when all of them together find no room.
    """
    judge = Judge(_trust(session, request))
    parts = [installing.inspect(path, judge, session.progress) for path in paths]
    jobs = _plan(session, installing.by_bundle(parts), request)
    if not request.dry_run:
        installing.require_room_for_all((job.spec, job.plan) for job in jobs)
    for job in jobs:
        yield _rehearse(session, job) if request.dry_run else _install(session, job, request)


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


def _trust(session: Session, request: InstallRequest) -> installing.TrustSpec:
    own = session.settings.key
    mine = installing.known_keys([("the signing key", own.public_binary())], None) if own is not None else ()
    known = (*mine, *installing.recall(session.settings.state), *installing.keys_in_place(session.settings.home))
    return installing.TrustSpec(
        signer_keys=tuple((str(path), installing.read_key(path)) for path in request.signer_keys),
        fingerprints=request.fingerprints,
        known=known,
        allow_unsigned=request.allow_unsigned,
        ask=request.ask,
    )


def _plan(session: Session, bundles: Sequence[Bundle], request: InstallRequest) -> list[_Job]:
    """Return what each bundle would change, in order; refuse what is not asked for or older than what is there."""
    jobs = []
    earlier: dict[InstallSpec, Contents] = {}
    for bundle in bundles:
        contents = bundle.contents
        _refuse_other(contents, request)
        spec = InstallSpec(
            home=session.settings.home, parts=session.parts(parse_target(contents.target).name, contents.name)
        )
        before = earlier.get(spec)
        installed = before.sequence if before is not None else _sequence_at(session, spec)
        _refuse_older(session, contents, installed, request)
        numbers = (part.contents.part for part in bundle.parts)
        plan = installing.plan_install(spec, contents, numbers, before)
        jobs.append(_Job(bundle=bundle, spec=spec, plan=plan, installed=installed))
        if plan.is_complete:
            earlier[spec] = contents
    return jobs


def _refuse_other(contents: Contents, request: InstallRequest) -> None:
    if request.targets and parse_target(contents.target).name not in request.targets:
        raise VerificationError(
            f"a bundle for another target than {', '.join(sorted(request.targets))}: {contents.target}",
            "bring the right bundle, or name its target",
        )
    if request.name and contents.name != request.name:
        raise VerificationError(
            f"a bundle of another repository than the manifest's {request.name}: {contents.name}",
            "bring the right bundle, or leave out -c",
        )


def _refuse_older(session: Session, contents: Contents, installed: int | None, request: InstallRequest) -> None:
    """Refuse what is older than what is in place, or than what was: the place may have been emptied or damaged."""
    remembered = session.memory.get(_memory_key(contents))
    newest = max(installed or 0, remembered.date if remembered is not None else 0)
    if contents.sequence < newest and not request.allow_older:
        what = "is installed" if newest == installed else "was installed here before"
        raise RollbackError(
            f"the bundle is older than what {what}: {contents.sequence} before {newest}",
            "to install it nevertheless, give --allow-older; clients of a signed repository ignore indexes that are "
            "older than theirs, so rather roll back where bundles are made, and bring the bundle of that",
        )


def _memory_key(contents: Contents) -> str:
    return f"installed {contents.name} {contents.target}"


def _sequence_at(session: Session, spec: InstallSpec) -> int | None:
    """Return the time of the lock in place; None when there is none that can be read: an install heals that."""
    current = Repository(spec.home, spec.parts).current()
    if current is None or current.lock_text is None:
        return None
    try:
        return lock.read(current.lock_text, str(spec.path / LOCK_NAME)).time
    except HostileInputError as error:
        session.progress.note(f"the lock in place is damaged, so nobody knows how old it is: {error.message}")
        return None


def _rehearse(session: Session, job: _Job) -> Installed:
    """Read the parts to their ends, and say what would come of it."""
    text = None
    for part in job.bundle.parts:
        installing.prove(part, session.progress)
        text = text or installing.read_text(part, PROOF_NAME)
    problem = _problem(job, job.plan.missing, job.plan.absent)
    if problem is None:
        try:
            installing.require_room_for_all([(job.spec, job.plan)])
        except RepobuildError as error:
            problem = error
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


def _install(session: Session, job: _Job, request: InstallRequest) -> Installed:
    contents = job.bundle.contents
    repository = session.repository(contents.target, contents.name)
    installed = job.installed

    def admit() -> None:
        nonlocal installed  # another run, or install.sh, may have published since the plan was made
        installed = _sequence_at(session, job.spec)
        _refuse_older(session, contents, installed, request)

    with installing.receive(job.spec, contents, session.progress) as staging:
        admit()
        staging.require_room()
        for part in job.bundle.parts:
            staging.take(part)
        staging.take_from_place()
        if staging.absent():
            waiting = _incomplete(job, staging)
            _remember(session, job)
            return waiting
        incoming = staging.finish()
        chosen = _lock_of(incoming.lock_text, contents)
        proof = _proof_in(incoming.proof_text, contents)
        now, progress = session.settings.now, session.progress
        repository.publish(incoming.tree, incoming.source, beside={}, now=now, progress=progress, admit=admit)
        _remember_sequence(session, contents, request)
        repository.write_beside(beside(session, chosen, published_key(repository, chosen.name)))
        receipt = _receipt(session, job, incoming, installed, request)
    _remember(session, job)
    return replace(_result(job), lock=chosen, receipt=receipt, proof=proof)


def _incomplete(job: _Job, staging: Staging) -> Installed:
    """Keep what came of a bundle that is not whole; a delta for another repository is refused."""
    absent = staging.absent()
    paths = tuple(file.path for file, part in absent if part == 0)
    missing = tuple(sorted({part for _, part in absent if part}))
    problem = _problem(job, missing, paths)
    if problem is not None and paths:
        raise problem
    staging.keep()
    return replace(_result(job), missing=_names_of(job, missing), problem=problem)


def _problem(job: _Job, missing: Sequence[int], absent: Sequence[str]) -> RepobuildError | None:
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


def _names_of(job: _Job, numbers: Sequence[int]) -> tuple[str, ...]:
    """Return how to speak of the parts of these numbers; their file names follow from that of one that is here."""
    one, parts = job.bundle.parts[0], job.bundle.contents.parts
    mark = f".vol{one.contents.part}."
    return tuple(
        f"vol {number} of {parts}"
        + (f": {one.path.name.replace(mark, f'.vol{number}.')}" if mark in one.path.name else "")
        for number in numbers
    )


def _result(job: _Job) -> Installed:
    return Installed(
        contents=job.bundle.contents,
        path=job.spec.path,
        lock=None,
        plan=job.plan,
        signer=_signer(job),
        missing=_names_of(job, job.plan.missing),
    )


def _signer(job: _Job) -> str:
    """Return who stands up for all of the parts: a part that is not signed leaves the bundle unsigned."""
    signers = [part.voucher.signer if part.voucher is not None else None for part in job.bundle.parts]
    found = sorted({each.fingerprint for each in signers if each is not None})
    return " ".join(found) if found and None not in signers else installing.UNSIGNED


def _receipt(
    session: Session, job: _Job, incoming: installing.Incoming, older: int | None, request: InstallRequest
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


def _remember_sequence(session: Session, contents: Contents, request: InstallRequest) -> None:
    """Let nothing older in from now on, whatever happens to what is in place (G8)."""
    keep = session.memory.force if request.allow_older else session.memory.put
    keep(_memory_key(contents), Seen(contents.sequence, root="", signature=""))
    session.memory.save()


def _remember(session: Session, job: _Job) -> None:
    """Believe the signer of what came from now on, and whom it vouches for."""
    vouchers = [part.voucher for part in job.bundle.parts if part.voucher is not None]
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
