"""The store's garbage, the clients' files, and files that the operator asks for by name."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from repobuild import lock
from repobuild.durable import Folder
from repobuild.formats import FORMATS
from repobuild.model import Lock, Target
from repobuild.pipeline.locking import read_lock
from repobuild.pipeline.session import Session
from repobuild.pipeline.syncing import client_facts, has_package_keys, published_key
from repobuild.publish import Repository
from repobuild.store import Store
from repobuild.targets import ALL_TARGETS


@dataclass(frozen=True, slots=True)
class Collected:
    """What `collect` removed, or would."""

    objects: int
    bytes: int


def collect(session: Session, name: str, paths: Iterable[Path], *, dry_run: bool = False) -> Collected:
    """Remove from the store what none of the locks in `paths`, no published repository and no upstream needs.

    Raises:
        BusyError: when another run uses the store.
        HostileInputError: when a lock cannot be read, so that nobody knows what it needs.
    """
    keep = session.memory.objects()
    for path in paths:
        keep |= _objects(read_lock(path))
    for target in ALL_TARGETS:
        for repository in (session.repository(target.name, name), Repository(session.settings.home, (name,))):
            keep |= _objects(_published(repository))
    with Store.open(session.settings.store, exclusive=not dry_run) as store:
        if dry_run:
            sizes = [each.size for each in store.listing() if each.sha256 not in keep]
            return Collected(len(sizes), sum(sizes))
        freed = store.collect(keep)
        return Collected(freed.objects + freed.partials + freed.derived, freed.bytes)


def client_files(session: Session, target: Target, name: str, endpoint: str) -> dict[str, str]:
    """Return the files by which clients find a target's repository, by name."""
    repository = session.repository(target.name, name)
    is_signed = session.settings.key is not None or bool(published_key(repository, name))
    has_keys = has_package_keys(_published(repository))
    facts = client_facts(session, (target.name, name), endpoint, is_signed=is_signed, has_package_keys=has_keys)
    return {file: text.decode() for file, text in FORMATS[target.family].client_files(facts).items()}


def write_text(path: Path, text: str) -> None:
    """Write a file the operator named."""
    with Folder.open(path.absolute().parent, create=True) as folder:
        folder.write(path.name, text.encode())


def write_secret(path: Path, data: bytes) -> None:
    """Write a file that only its owner may read."""
    with Folder.open(path.absolute().parent, create=True) as folder:
        folder.write(path.name, data, mode=0o600)


def _published(repository: Repository) -> Lock | None:
    current = repository.current()
    if current is None or current.lock_text is None:
        return None
    return lock.read(current.lock_text, f"the lock in {repository.path}")


def _objects(chosen: Lock | None) -> set[str]:
    if chosen is None:
        return set()
    return {each.package.sha256 for each in chosen.choices} | {each.sha256 for each in chosen.assets}
