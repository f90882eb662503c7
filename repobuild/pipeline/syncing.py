"""Lock -> objects -> tree -> repository."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from repobuild import lock, publish, webserver
from repobuild.durable import Folder
from repobuild.errors import HostileInputError, UsageError
from repobuild.fetch import Request
from repobuild.formats import FORMATS
from repobuild.formats.protocol import ClientFacts, Objects, RepositoryFacts, Signer
from repobuild.model import PACKAGE_KEYS, Job, Lock, Tree
from repobuild.pipeline.locking import lock_job, read_lock, write_lock
from repobuild.pipeline.session import Session
from repobuild.pipeline.sources import requests_of
from repobuild.progress import measured
from repobuild.publish import Repository, make_file
from repobuild.record import parts_of
from repobuild.signing import keep_or_sign
from repobuild.targets import parse_target

_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
_KEY_LIMIT = 1 << 20
"""Bytes of a public key."""
_SIGNATURE_LIMIT = 64 << 20
"""Bytes of a signed root of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a sync did for one target."""

    target: str
    path: Path
    lock: Lock
    is_changed: bool
    """Whether something was published."""
    downloaded: int = 0
    """Bytes."""
    fetched: int = 0
    """Objects that came from a mirror."""
    reused: int = 0
    """Objects that the store had."""
    mirrors: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a sync would do for one target."""

    target: str
    path: Path
    lock: Lock
    added: tuple[str, ...]
    """File names."""
    removed: tuple[str, ...]
    kept: int
    download: int
    """Bytes that are not in the store."""
    downloads: int
    """Files that are not in the store."""
    size: int
    """Bytes of the payload."""
    free: int
    """Bytes free where the store is."""
    notes: tuple[str, ...] = ()


def sync(session: Session, job: Job, path: Path) -> Outcome:
    """Make the repository of a target what its manifest says, and leave it alone when it is.

    Args:
        session: the run.
        job: what the target sees of the manifest.
        path: of the lock file.
    """
    settings = session.settings
    repository = session.repository(job.target.name, job.name)
    served = _served(repository)
    if served is not None and _is_settled(session, job, path, repository, served):
        repository.prune(settings.now)
        repository.write_beside(beside(session, served, published_key(repository, served.name)))
        return Outcome(target=job.target.name, path=repository.path, lock=served, is_changed=False)
    _refuse_to_drop_signature(session, job, repository)
    locked = lock_job(session, job, path, served)
    is_as_locked = served == locked.lock and not settings.force and not _is_to_sign(session, repository, job.name)
    if served is not None and is_as_locked and repository.is_intact(session.progress):
        write_lock(path, locked.text)
        repository.write_beside(beside(session, served, published_key(repository, served.name)))
        return Outcome(target=job.target.name, path=repository.path, lock=served, is_changed=False, notes=locked.notes)
    files = beside(session, locked.lock, _key_files(session, locked.lock.name))
    requests = requests_of(session, job, locked.lock, locked.served)
    if settings.offline:
        _require_stored(session, requests)
    fetched = session.fetcher.fetch(requests, session.store, session.progress)
    _prove_packages(session, job, locked.lock)
    write_lock(path, locked.text)  # not before: a lock of what is refused would have to be moved by hand
    tree = make_tree(session, locked.lock, locked.text, repository, session.store.path)
    repository.publish(tree, session.store, beside=files, now=settings.now, progress=session.progress)
    return Outcome(
        target=job.target.name,
        path=repository.path,
        lock=locked.lock,
        is_changed=True,
        downloaded=fetched.bytes,
        fetched=fetched.downloaded,
        reused=fetched.reused,
        mirrors=fetched.mirrors,
        notes=locked.notes,
    )


def is_pending(session: Session, job: Job, path: Path) -> bool:
    """Say whether `sync` would do anything; nothing is written."""
    repository = session.repository(job.target.name, job.name)
    served = _served(repository)
    if served is not None and _is_settled(session, job, path, repository, served):
        return False
    if not session.settings.update:
        return True
    is_as_locked = served == lock_job(session, job, path, served).lock
    return not (is_as_locked and not _is_to_sign(session, repository, job.name) and repository.is_intact())


def plan(session: Session, job: Job, path: Path) -> Plan:
    """Say what `sync` would add, drop and download; neither the lock nor the repository is touched."""
    repository = session.repository(job.target.name, job.name)
    served = _served(repository)
    locked = lock_job(session, job, path, served)
    wanted = _payload(locked.lock)
    there = _payload(served) if served is not None else {}
    absent = [(digest, size) for digest, size in wanted.values() if not session.store.has(digest, size)]
    return Plan(
        target=job.target.name,
        path=repository.path,
        lock=locked.lock,
        added=tuple(sorted(name for name in wanted if there.get(name) != wanted[name])),
        removed=tuple(sorted(name for name in there if wanted.get(name) != there[name])),
        kept=sum(there.get(name) == wanted[name] for name in wanted),
        download=sum(size for _, size in absent),
        downloads=len(absent),
        size=sum(size for _, size in wanted.values()),
        free=_free(session.settings.store),
        notes=locked.notes,
    )


def make_tree(session: Session, chosen: Lock, text: bytes, repository: Repository, objects: Objects) -> Tree:
    """Return the tree of a lock, signed when there is a key; signatures that still hold are kept (G6)."""
    target = parse_target(chosen.target)
    extras = {kind: text.encode() for kind, text in chosen.extras}
    package_keys = extras.pop(PACKAGE_KEYS, None)
    facts = RepositoryFacts(name=chosen.name, target=target, time=chosen.time, extras=extras)
    sign = _signer(session, repository, chosen)
    metadata = FORMATS[target.family].metadata([each.package for each in chosen.choices], facts, sign, objects)
    keys = [make_file(name, data) for name, data in _key_files(session, chosen.name).items()]
    if package_keys is not None:
        keys.append(make_file(_package_keys_name(chosen.name), package_keys))
    return publish.make_tree(chosen, text, (*metadata, *keys))


def beside(session: Session, chosen: Lock, keys: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the files that lie beside a repository: for clients, for nginx, and the public key when there is one."""
    facts = _facts_of(session, chosen, is_signed=bool(keys))
    prefix = f"/{'/'.join(session.parts(chosen.target, chosen.name))}/"
    served = webserver.NginxSpec(home=str(session.settings.home.absolute()), repositories=(prefix,))
    nginx = {f"{chosen.name}-nginx.conf": webserver.nginx_locations(served).encode()}
    return {**FORMATS[parse_target(chosen.target).family].client_files(facts), **nginx, **keys}


def published_key(repository: Repository, name: str) -> dict[str, bytes]:
    """Return the public key that travels in a repository, in both forms by file name; empty when it is not signed."""
    if not repository.path.is_dir():
        return {}
    with Folder.open(repository.path) as folder:
        found = {file: folder.read(file, _KEY_LIMIT) for file in _key_names(name)}
    return {file: data for file, data in found.items() if data is not None}


def client_facts(
    session: Session, place: tuple[str, str], endpoint: str, *, is_signed: bool, has_package_keys: bool
) -> ClientFacts:
    """Return what the clients' files of a repository say; `place` is its target and name."""
    target, name = place
    parts = session.parts(target, name)
    return ClientFacts(
        name=name,
        url="/".join((_without_default_port(endpoint), *parts)),
        folder=str(session.settings.home.absolute().joinpath(*parts)),
        is_signed=is_signed,
        target=parse_target(target),
        package_keys=(_package_keys_name(name),) if has_package_keys else (),
    )


def has_package_keys(chosen: Lock | None) -> bool:
    """Whether the repository of a lock holds the keys that signed all of its packages."""
    return chosen is not None and any(kind == PACKAGE_KEYS for kind, _ in chosen.extras)


def usage(session: Session, chosen: Lock) -> Mapping[str, str]:
    """Return what to type on a machine to use the repository of a lock, by what it is for."""
    is_signed = bool(published_key(session.repository(chosen.target, chosen.name), chosen.name))
    facts = _facts_of(session, chosen, is_signed=is_signed)
    return FORMATS[parse_target(chosen.target).family].usage(facts)


def _key_files(session: Session, name: str) -> dict[str, bytes]:
    """Return our public key as it is published: binary for gpgv and apt, armoured for people and rpm."""
    key = session.settings.key
    return dict(zip(_key_names(name), (key.public_binary(), key.public_armored()), strict=True)) if key else {}


def _facts_of(session: Session, chosen: Lock, *, is_signed: bool) -> ClientFacts:
    place, has_keys = (chosen.target, chosen.name), has_package_keys(chosen)
    return client_facts(session, place, chosen.endpoint, is_signed=is_signed, has_package_keys=has_keys)


def _package_keys_name(name: str) -> str:
    return f"{name}-packages.asc"


def _key_names(name: str) -> tuple[str, str]:
    return f"{name}.gpg", f"{name}.asc"


def _without_default_port(url: str) -> str:
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.removesuffix(_DEFAULT_PORTS.get(scheme, ''))}{slash}{path}".rstrip("/")


def _served(repository: Repository) -> Lock | None:
    """Return the lock of what is published; None when there is nothing, or nothing of ours."""
    current = repository.current()
    if current is None or current.lock_text is None:
        return None
    try:
        return lock.read(current.lock_text, f"the lock in {repository.path}")
    except HostileInputError:
        return None


def _is_settled(session: Session, job: Job, path: Path, repository: Repository, served: Lock) -> bool:
    """Say whether a repository is to be left alone: it fits the manifest and the lock, and no file has changed."""
    settings = session.settings
    if settings.update or settings.force or served.manifest != job.digest or served.target != job.target.name:
        return False
    written = read_lock(path)
    is_superseded = written is not None and written.manifest == job.digest and written != served
    if is_superseded or _is_to_sign(session, repository, job.name):
        return False
    return repository.is_intact(session.progress)


def _is_to_sign(session: Session, repository: Repository, name: str) -> bool:
    """Say whether there is a key and what is published is not signed with it."""
    return session.settings.key is not None and published_key(repository, name) != _key_files(session, name)


def _refuse_to_drop_signature(session: Session, job: Job, repository: Repository) -> None:
    """Refuse to publish without a signature what clients know as signed, unless the operator forces it."""
    settings = session.settings
    if settings.key is None and not settings.force and published_key(repository, job.name):
        raise UsageError(
            f"the repository is signed, and the key that signs it is not here: {repository.path}",
            "name the key: --key FILE; or publish without a signature from now on: --force",
        )


def _prove_packages(session: Session, job: Job, chosen: Lock) -> None:
    """Prove the packages of those upstreams that sign them, each by its own signature.

    Raises:
        VerificationError: when one is not signed by its upstream's keys.
    """
    form = FORMATS[job.target.family]
    signing = {each.name: each for each in job.upstreams if each.checks_packages}
    packages = [each.package for each in chosen.choices if each.package.upstream in signing]
    with measured(session.progress, "verify signatures", sum(each.size for each in packages)):
        for each in packages:
            form.prove_package(session.store.path(each.sha256), each, signing[each.upstream])
            session.progress.advance(each.size)


def _require_stored(session: Session, requests: list[Request]) -> None:
    absent = [each.what for each in requests if not session.store.has(each.sha256 or "", each.size)]
    if absent:
        raise UsageError(
            f"{len(absent)} files are not in the store, and --offline forbids fetching them: {', '.join(absent[:3])}",
            "run the same command without --offline",
        )


def _payload(chosen: Lock) -> dict[str, tuple[str, int]]:
    packages = {each.package.filename: (each.package.sha256, each.package.size) for each in chosen.choices}
    return packages | {each.name: (each.sha256, each.size) for each in chosen.assets}


def _free(folder: Path) -> int:
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize


def _signer(session: Session, repository: Repository, chosen: Lock) -> Signer | None:
    key = session.settings.key
    if key is None:
        return None
    inline, detached = _existing_signatures(repository, chosen)
    return lambda text: keep_or_sign(text, inline, detached, key)


def _existing_signatures(repository: Repository, chosen: Lock) -> tuple[bytes | None, bytes | None]:
    if not repository.path.is_dir():
        return None, None
    with Folder.open(repository.path) as folder:
        form = FORMATS[parse_target(chosen.target).family]
        return form.existing_signatures(lambda path: _read_within(folder, path))


def _read_within(root: Folder, path: str) -> bytes | None:
    """Return a file of a repository, None when it is not there."""
    *above, name = parts_of(path)
    if not all(root.stat(part) is not None for part in above[:1]):
        return None
    with root.descend(above) as folder:
        return folder.read(name, _SIGNATURE_LIMIT)
