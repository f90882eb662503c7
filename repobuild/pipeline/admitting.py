"""Which bundles may come in: whose they are, what is asked for, and nothing older than what was here (G8)."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from repobuild import install as installing
from repobuild import lock
from repobuild.archive.contents import Contents
from repobuild.errors import HostileInputError, RollbackError, VerificationError
from repobuild.install import Bundle, InstallPlan, InstallSpec, Judge, Part
from repobuild.measures import readable_time
from repobuild.model import LOCK_NAME
from repobuild.pipeline.session import Session
from repobuild.publish import Repository
from repobuild.state import Seen
from repobuild.targets import parse_target


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
    names: frozenset[str] = frozenset()
    """The only repositories that may be installed, all when empty; of a part that holds others too, these are taken."""
    allow_older: bool = False
    dry_run: bool = False
    on_behalf_of: str = ""
    """Who called sudo."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """The bundle of a repository and where it goes."""

    bundle: Bundle
    spec: InstallSpec
    plan: InstallPlan
    installed: int | None
    """Sequence of what is in place."""

    @property
    def parts(self) -> tuple[Part, ...]:
        """The files that it came in, so far."""
        return self.bundle.parts


_Lying = TypeVar("_Lying", Bundle, Job)


def admit(session: Session, paths: Sequence[Path], request: InstallRequest) -> list[list[Job]]:
    """Prove parts of bundles by the lists beside them, and plan what each repository in them would change.

    Returns them in order, the older first; those that lie in the same files are together.

    Raises:
        RefusedError: when a part, or who signed it, is not what it has to be, or is not what is asked for.
        RollbackError: when a bundle is older than what is installed, or was.
        DiskError: when nothing can be published in a repository's place.
    """
    judge = Judge(_trust(session, request))
    parts = [installing.inspect(path, judge, session.progress) for path in paths]
    bundles = _chosen(session, parts, request)
    for bundle in bundles:
        for part in bundle.parts:
            if part.voucher is not None:
                judge.require(part.voucher, bundle.contents.name)
    together = _by_file(_plan(session, bundles, request))
    shared = Counter(path for jobs in together for path in {part.path for part in jobs[0].parts})
    if max(shared.values(), default=0) > 1:
        for part in parts:  # what lies in two of them must not be visible before both are read
            installing.prove(part, session.progress)
    return together


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


def _chosen(session: Session, parts: Sequence[Part], request: InstallRequest) -> list[Bundle]:
    """Return the bundles that are asked for, the oldest first, those that lie in one file together."""
    for part in parts:
        for contents in part.repositories:
            _refuse_other_target(contents, request)
        names = [contents.name for contents in part.repositories]
        left_out = [name for name in names if request.names and name not in request.names]
        if left_out == names:
            raise VerificationError(
                f"a bundle of another repository than {', '.join(sorted(request.names))}: {', '.join(names)}",
                "bring the right bundle, name its repository with --name, or leave out -c",
            )
        if left_out:
            session.progress.note(f"{part.path}: left out: {', '.join(left_out)}")
    found = [each for each in installing.by_bundle(parts) if not request.names or each.contents.name in request.names]
    return [each for together in _by_file(found) for each in together]


def _plan(session: Session, bundles: Sequence[Bundle], request: InstallRequest) -> list[Job]:
    """Return what each bundle would change, in order; refuse what is not asked for or older than what is there."""
    jobs = []
    earlier: dict[InstallSpec, Contents] = {}
    for bundle in bundles:
        contents = bundle.contents
        spec = InstallSpec(
            home=session.settings.home, parts=session.parts(parse_target(contents.target).name, contents.name)
        )
        before = earlier.get(spec)
        installed = before.sequence if before is not None else sequence_at(session, spec)
        refuse_older(session, contents, installed, request)
        session.repository(contents.target, contents.name).refuse_place()
        numbers = (part.number for part in bundle.parts)
        plan = installing.plan_install(spec, contents, numbers, before)
        jobs.append(Job(bundle=bundle, spec=spec, plan=plan, installed=installed))
        if plan.is_complete:
            earlier[spec] = contents
    return jobs


def _by_file(found: Sequence[_Lying]) -> list[list[_Lying]]:
    """Return bundles, or jobs, in groups of those that lie in the same files; in the order in which they come."""
    groups: dict[tuple[Path, ...], list[_Lying]] = {}
    for each in found:
        groups.setdefault(tuple(part.path for part in each.parts), []).append(each)
    return list(groups.values())


def _refuse_other_target(contents: Contents, request: InstallRequest) -> None:
    if request.targets and parse_target(contents.target).name not in request.targets:
        raise VerificationError(
            f"a bundle for another target than {', '.join(sorted(request.targets))}: {contents.target}",
            "bring the right bundle, or name its target",
        )


def refuse_older(session: Session, contents: Contents, installed: int | None, request: InstallRequest) -> None:
    """Refuse what is older than what is in place, or than what was: the place may have been emptied or damaged."""
    remembered = session.memory.get(_memory_key(contents))
    newest = max(installed or 0, remembered.date if remembered is not None else 0)
    if contents.sequence < newest and not request.allow_older:
        what = "is installed" if newest == installed else "was installed here before"
        raise RollbackError(
            f"the bundle of {contents.name} for {contents.target} is older than what {what}: "
            f"{readable_time(contents.sequence)} before {readable_time(newest)}",
            "to install it nevertheless, give --allow-older; clients of a signed repository ignore indexes that are "
            "older than theirs, so rather roll back where bundles are made, and bring the bundle of that",
        )


def _memory_key(contents: Contents) -> str:
    return f"installed {contents.name} {contents.target}"


def sequence_at(session: Session, spec: InstallSpec) -> int | None:
    """Return the time of the lock in place; None when there is none that can be read: an install heals that."""
    current = Repository(spec.home, spec.parts).current()
    if current is None or current.lock_text is None:
        return None
    try:
        return lock.read(current.lock_text, str(spec.path / LOCK_NAME)).time
    except HostileInputError as error:
        session.progress.note(f"the lock in place is damaged, so nobody knows how old it is: {error.message}")
        return None


def remember_sequence(session: Session, contents: Contents, request: InstallRequest) -> None:
    """Let nothing older in from now on, whatever happens to what is in place (G8)."""
    keep = session.memory.force if request.allow_older else session.memory.put
    keep(_memory_key(contents), Seen(contents.sequence, root="", signature=""))
    session.memory.save()
