"""The store's garbage, the clients' files, and files that the operator asks for by name."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from repobuild import lock
from repobuild.durable import Folder
from repobuild.errors import UsageError
from repobuild.formats import FORMATS
from repobuild.formats.protocol import ClientFacts
from repobuild.model import LOCK_NAME, Lock, Target
from repobuild.pipeline.locking import read_lock
from repobuild.pipeline.making import client_facts, key_files, key_names, published_key
from repobuild.pipeline.session import Session
from repobuild.publish import Repository
from repobuild.signing import Keyring
from repobuild.store import Store


@dataclass(frozen=True, slots=True)
class Collected:
    """What `collect` removed, or would."""

    objects: int
    bytes: int


@dataclass(frozen=True, slots=True)
class ClientKey:
    """The public key of a repository, for other machines."""

    file: str
    """Its name, below the web root of the repository."""
    fingerprints: tuple[str, ...]
    """Of one key, or of two while one takes over from the other."""
    armored: str
    usage: Mapping[str, str]
    """What to type there, by what it is for."""


def collect(session: Session, paths: Iterable[Path], *, dry_run: bool = False) -> Collected:
    """Remove from the store what none of the locks in `paths`, no repository below the home and no upstream needs.

    Raises:
        BusyError: when another run uses the store.
        HostileInputError: when a lock cannot be read, so that nobody knows what it needs.
    """
    keep = session.memory.objects()
    for path in paths:
        keep |= _objects(read_lock(path))
    for repository in repositories_in(session.settings.home):
        keep |= _objects(published(repository)) | _bases_of_former(repository)
    with Store.open(session.settings.store, exclusive=not dry_run) as store:
        if dry_run:
            sizes = [each.size for each in store.listing() if each.sha256 not in keep]
            return Collected(len(sizes), sum(sizes))
        freed = store.collect(keep)
        return Collected(freed.objects + freed.partials + freed.derived, freed.bytes)


def repositories_in(home: Path) -> Iterator[Repository]:
    """Yield every repository below the home, whatever its name and target: in the home, and in the folders there."""
    for lock_file in sorted((*home.glob(f"*/{LOCK_NAME}"), *home.glob(f"*/*/{LOCK_NAME}"))):
        parts = lock_file.parent.relative_to(home).parts
        is_linked = any(home.joinpath(*parts[:depth]).is_symlink() for depth in range(1, len(parts) + 1))
        if not is_linked and not any(part.startswith(".") for part in parts):
            yield Repository(home, parts)


def client_files(session: Session, target: Target, name: str, endpoint: str, generation: str) -> dict[str, str]:
    """Return the files by which clients find a target's repository, by name.

    Args:
        session: the run.
        target: whose repository it is.
        name: of the repository.
        endpoint: the URL under which the home is served.
        generation: as of the job; what is published says it otherwise.
    """
    facts = _facts(session, target, name, endpoint, generation)
    return {file: text.decode() for file, text in FORMATS[target.family].client_files(facts).items()}


def client_key(session: Session, target: Target, name: str, endpoint: str) -> ClientKey:
    """Return the public key that the clients of a target's repository need, and what to do with it there.

    Raises:
        UsageError: when the repository is not signed.
    """
    facts = _facts(session, target, name, endpoint, "")
    if not facts.is_signed:
        raise UsageError(f"the repository is not signed, its clients need no key: {facts.url}", "repobuild key new")
    keyring = Keyring.from_bytes([(facts.url, facts.public_key)])
    return ClientKey(
        file=key_names(name)[1],
        fingerprints=keyring.fingerprints,
        armored=keyring.armored().decode(),
        usage=FORMATS[target.family].node_usage(facts),
    )


def write_text(path: Path, text: str) -> None:
    """Write a file the operator named."""
    with Folder.open(path.absolute().parent, create=True) as folder:
        folder.write(path.name, text.encode())


def _facts(session: Session, target: Target, name: str, endpoint: str, generation: str) -> ClientFacts:
    repository = session.repository(target.name, name)
    there = published(repository)
    keys = published_key(repository, name) or key_files(session, name)
    generation = generation if there is None else there.generation
    return client_facts(session, (target.name, name), endpoint, there, keys=keys, generation=generation)


def published(repository: Repository) -> Lock | None:
    """Return the lock of what is published, None when nothing is."""
    current = repository.current()
    if current is None or current.lock_text is None:
        return None
    return lock.read(current.lock_text, f"the lock in {repository.path}")


def _bases_of_former(repository: Repository) -> set[str]:
    """Return what the generation before needs to be proven again by a rollback; its packages are in its own folder."""
    former = repository.previous()
    text = former.lock_text if former is not None else None
    return _bases(lock.read(text, f"the lock before that in {repository.path}")) if text is not None else set()


def _bases(chosen: Lock) -> set[str]:
    """Return the descriptions of bases that only the store has."""
    return {each.sha256 for each in chosen.bases if each.sha256 and not each.text}


def _objects(chosen: Lock | None) -> set[str]:
    if chosen is None:
        return set()
    return _bases(chosen) | {each.package.sha256 for each in chosen.choices} | {each.sha256 for each in chosen.assets}
