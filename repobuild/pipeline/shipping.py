"""Repository -> bundle -> repository; back to the generation before; proof."""

from dataclasses import dataclass, replace
from pathlib import Path

from repobuild import bundle as bundling
from repobuild import install as installing
from repobuild import lock
from repobuild.check import Receipt, check_repository
from repobuild.errors import HostileInputError, ProofError, UsageError
from repobuild.formats import FORMATS
from repobuild.model import LOCK_NAME, Lock
from repobuild.pipeline.locking import write_lock
from repobuild.pipeline.making import beside, make_tree, published_key
from repobuild.pipeline.session import Session
from repobuild.publish import Repository
from repobuild.record import sha256_of
from repobuild.targets import parse_target


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """What an install did, or would do."""

    target: str
    path: Path
    lock: Lock | None
    """Of what is published now; None after a dry run where nothing is."""
    plan: installing.InstallPlan
    sha256: str
    """Of the bundle, "" in a dry run."""
    is_checked: bool
    """Whether a `.sha256` file beside the bundle had its say."""


def bundle(session: Session, target: str, name: str, out: Path, file_name: str = "") -> bundling.BundleResult:
    """Write the bundle of a target's repository into the folder `out`, from what is published.

    Raises:
        ProofError: when there is no repository of ours, or a file of it is not what it has to be.
    """
    repository = session.repository(target, name)
    text, chosen = _lock_inside(repository)
    spec = bundling.BundleSpec(
        lock=chosen,
        lock_sha256=sha256_of(text),
        pointers=FORMATS[parse_target(chosen.target).family].pointers,
        file_name=file_name,
    )
    return bundling.write_bundle(repository.path, out, spec, session.progress)


def install(session: Session, path: Path, *, allow_older: bool = False, dry_run: bool = False) -> Installed:
    """Verify a bundle, unpack it beside its place, and publish it there in one step.

    Raises:
        RefusedError: when anything in it is not what it has to be; nothing of it is visible then.
        RollbackError: when it is older than what is installed.
    """
    with installing.open_bundle(path, session.progress) as opened:
        contents = opened.contents
        parts = session.parts(parse_target(contents.target).name, contents.name)
        repository = Repository(session.settings.home, parts)
        current = repository.current()
        there = lock.read(current.lock_text, str(repository.path)) if current and current.lock_text else None
        found = installing.plan_install(contents, current.marker if current else b"")
        spec = installing.InstallSpec(
            home=session.settings.home,
            parts=parts,
            installed=there.time if there else None,
            allow_older=allow_older,
        )
        if dry_run:
            sha256, chosen = installing.prove(opened), there
        else:
            with installing.unpack(opened, spec) as incoming:
                chosen = _lock_of(incoming.lock_text, contents.target, contents.name)
                now, progress = session.settings.now, session.progress
                repository.publish(incoming.tree, incoming.source, beside={}, now=now, progress=progress)
                repository.write_beside(beside(session, chosen, published_key(repository, chosen.name)))
                sha256 = incoming.sha256
        return Installed(
            target=contents.target,
            path=repository.path,
            lock=chosen,
            plan=found,
            sha256=sha256,
            is_checked=opened.sidecar is not None,
        )


def rollback(session: Session, target: str, name: str, path: Path | None = None) -> Lock:
    """Publish the generation before this one again, under a new time so that every client takes it.

    Args:
        session: the run.
        target: whose repository.
        name: of the repository.
        path: of a lock file that is to follow, None when there is none.

    Raises:
        UsageError: when there is no generation before this one, or it was signed with a key that is not here.
    """
    repository = session.repository(target, name)
    current = repository.current()
    previous = repository.previous()
    if current is None or previous is None or previous.lock_text is None:
        raise UsageError(f"there is no earlier generation of {repository.path}", "nothing was changed")
    now = lock.read(current.lock_text, str(repository.path)) if current.lock_text else None
    former = lock.read(previous.lock_text, f"the previous generation of {repository.path}")
    chosen = replace(former, time=max(former.time, now.time if now else 0) + 1)
    if session.settings.key is None and published_key(repository, name):
        raise UsageError(
            "the repository is signed, and a rollback has to be signed anew with the same key",
            "name the key: --key FILE",
        )
    text = lock.write(chosen)
    tree = make_tree(session, chosen, text, repository, previous.path)
    repository.publish(tree, previous, beside={}, now=session.settings.now, progress=session.progress)
    repository.write_beside(beside(session, chosen, published_key(repository, name)))
    if path is not None:
        write_lock(path, text)
    return chosen


def check(session: Session, path: Path) -> Receipt:
    """Hash every file of the repository in `path` against its marker and its lock."""
    return check_repository(path, session.progress, read_lock=_read_payload)


def check_bundle(session: Session, path: Path) -> Receipt:
    """Read a bundle to its last byte, and prove each file of it.

    Raises:
        RefusedError: when anything in it is not what it has to be.
    """
    with installing.open_bundle(path.absolute(), session.progress) as opened:
        installing.prove(opened)
        *files, marker = opened.contents.files
        size = sum(file.size for file in files)
        return Receipt(path=path, marker=marker.sha256, files=len(files), size=size, problems=())


def _read_payload(text: bytes) -> dict[str, tuple[int, str]]:
    chosen = lock.read(text, LOCK_NAME)
    packages = {each.package.filename: (each.package.size, each.package.sha256) for each in chosen.choices}
    return packages | {each.name: (each.size, each.sha256) for each in chosen.assets}


def _lock_inside(repository: Repository) -> tuple[bytes, Lock]:
    current = repository.current()
    if current is None or current.lock_text is None:
        raise ProofError(f"no complete repository of repobuild's at {repository.path}", "make it: repobuild sync")
    return current.lock_text, lock.read(current.lock_text, f"the lock in {repository.path}")


def _lock_of(text: bytes, target: str, name: str) -> Lock:
    chosen = lock.read(text, "the bundle's lock")
    if (chosen.target, chosen.name) != (target, name):
        raise HostileInputError(f"the bundle's lock is for {chosen.target}, its contents are for {target}")
    return chosen
