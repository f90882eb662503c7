"""Repository, bundle or lock -> receipt: integrity, metadata, installability."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from repobuild import install as installing
from repobuild import lock
from repobuild.archive.contents import Contents, PartKind
from repobuild.archive.reader import BundleReader
from repobuild.check import (
    Fault,
    Holding,
    Problem,
    Receipt,
    Signed,
    check_repository,
    check_signatures,
    in_order,
)
from repobuild.durable import Folder
from repobuild.errors import HostileInputError, RepobuildError, UsageError
from repobuild.formats import FORMATS
from repobuild.formats.protocol import Format, PackageFile, Read, Statement
from repobuild.model import LOCK_NAME, PROOF_NAME, Kind, Lock, TreeFile
from repobuild.pipeline.attesting import Subject, attest, attest_lock
from repobuild.pipeline.making import index_files, own_roots
from repobuild.pipeline.package_signatures import KEYS_ENDING, Passing, in_folder, prove_packages
from repobuild.pipeline.session import Session
from repobuild.record import TEXT_LIMIT, parts_of, sha256_of
from repobuild.scratch import MemoryFile
from repobuild.targets import parse_target

_TEXTS_LIMIT = 512 << 20
"""Bytes of all indexes in a bundle, which are in memory while it is checked."""
_HEAD_LIMIT = 96 << 20
"""Bytes of a package in which its description has to end."""


def check(session: Session, path: Path, key: Path | None = None) -> Receipt:
    """Check the repository in the folder `path`.

    Args:
        session: the run.
        path: of the repository.
        key: a key file that has to have signed it; None for the key published with it, when it is signed.

    Raises:
        DiskError: when it cannot be read.
    """
    hashed = check_repository(path, session.progress, read_lock=_read_payload)
    with Folder.open(path) as repository:
        read = _reader(repository)
        text = read(LOCK_NAME)
        chosen = _lock_of(text)
        if text is None or chosen is None or not hashed.marker:
            return _without_lock(hashed.marker, hashed.files, hashed.size, hashed.problems)
        form = FORMATS[parse_target(chosen.target).family]
        holding = _held(path, form, hashed.sound)
        subject = Subject(
            kind="repository",
            lock=chosen,
            lock_sha256=sha256_of(text),
            read=read,
            holding=holding,
            signed=in_folder(path, form, holding.files),
            remarks=hashed.remarks,
            marker=hashed.marker,
            files=hashed.files,
            size=hashed.size,
            problems=hashed.problems,
        )
        return _receipt(session, subject, key)


def check_bundle(session: Session, path: Path, key: Path | None = None) -> tuple[Receipt, ...]:
    """Read a bundle to its last byte, prove each file of it, and check the repositories inside; a receipt for each.

    Raises:
        RefusedError: when anything in it is not what it has to be; where a key is given, the list beside it too.
    """
    trust = installing.TrustSpec(signer_keys=((str(key), installing.read_key(key)),)) if key is not None else None
    judge = installing.Judge(trust) if trust is not None else None
    part = installing.inspect(path.absolute(), judge, session.progress)
    if judge is not None and part.voucher is not None:
        for contents in part.repositories:
            judge.require(part.voucher, contents.name)
    texts = sum(each.size for contents in part.repositories for each in contents.carried if _is_text(each))
    if texts > _TEXTS_LIMIT:
        raise HostileInputError(f"indexes of more than {_TEXTS_LIMIT} bytes: {path}: {texts}")
    found = []
    with installing.reading(part, session.progress) as reader:
        for contents in reader.repositories:
            gathered = _Gathered(FORMATS[parse_target(contents.target).family])
            has_keys = any(each.path.endswith(KEYS_ENDING) for each in contents.files)
            passing = Passing(gathered.form, len(part.repositories)) if has_keys else None
            found.append((contents, gathered, _take(reader, contents, gathered, passing), passing))
        installing.finish_reading(part, reader)
    return tuple(
        _receipt(session, _bundled(*each), key) if each[0].kind is PartKind.WHOLE else _of_part(each[0])
        for each in found
    )


def _bundled(contents: Contents, gathered: "_Gathered", texts: Mapping[str, bytes], passing: Passing | None) -> Subject:
    *files, marker = contents.files
    text = texts.get(LOCK_NAME, b"")
    return Subject(
        kind="bundle",
        lock=lock.read(text, "the bundle's lock"),
        lock_sha256=sha256_of(text),
        read=texts.get,
        holding=gathered.holding(),
        marker=marker.sha256,
        files=len(files),
        size=sum(file.size for file in files),
        signed=passing.found if passing is not None else (),
    )


def _of_part(contents: Contents) -> Receipt:
    """Return what a volume or a delta shows alone: that its files are what they have to be."""
    return Receipt(
        kind=contents.kind.value,
        name=contents.name,
        target=contents.target,
        version=contents.version,
        time=contents.sequence,
        lock=contents.lock,
        marker=contents.files[-1].sha256,
        files=len(contents.carried),
        size=sum(file.size for file in contents.carried),
        packages=0,
        signer="",
        proofs=(),
    )


def check_lock(session: Session, path: Path) -> Receipt:
    """Check that the wants of a lock install from what it pins, described by it or by the packages in the store.

    Raises:
        UsageError: when the store lacks packages that this takes.
    """
    with Folder.open(path.absolute().parent) as folder:
        text = folder.read(path.name, lock.LIMIT)
    if text is None:
        raise UsageError(f"no such lock: {path}")
    chosen = lock.read(text, str(path))
    return attest_lock(session, chosen, sha256_of(text), index_files(chosen, None, _Stored(session)))


class _Stored:
    """Objects of the store; an error says what to do when one is not there."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def __call__(self, sha256: str) -> Path:
        if not self._session.store.has(sha256):
            raise UsageError(
                f"the lock alone does not describe its packages, and the store lacks one: {sha256}",
                "check the repository or bundle instead, or fetch the packages: repobuild sync",
            )
        return self._session.store.path(sha256)


def _receipt(session: Session, subject: Subject, key: Path | None) -> Receipt:
    """Prove a repository, and compare that with the receipt inside."""
    found = attest(session, subject, _signed(subject, key))
    signed = prove_packages(session, subject.lock, subject.read, subject.signed)
    problems = (*found.problems, *signed, *_compare_receipts(subject, found))
    return replace(found, problems=in_order(problems))


def _compare_receipts(subject: Subject, found: Receipt) -> Iterator[Problem]:
    """Say where the receipt that travels in a repository is not what was found.

    Where wants do not install, that is said already.
    """
    text = subject.read(PROOF_NAME)
    if text is None:
        if subject.lock.carries_proof:
            yield Problem(Fault.MISSING, PROOF_NAME)
        return
    try:
        stated = Receipt.from_bytes(text, PROOF_NAME)
    except HostileInputError as error:
        yield Problem(Fault.RECEIPT, PROOF_NAME, error.message)
        return
    if stated.lock != found.lock:
        yield Problem(Fault.RECEIPT, PROOF_NAME, "it is of another lock")
    elif found.proofs and not any(proof.problems for proof in found.proofs):
        differing = stated.unlike(found.of_lock())
        if differing:
            yield Problem(Fault.RECEIPT, PROOF_NAME, f"it differs from what was found in {', '.join(differing)}")


def _signed(subject: Subject, key: Path | None) -> Signed:
    if key is not None:
        keys = [(str(key), installing.read_key(key))]
    else:
        names = (f"{subject.lock.name}.gpg", f"{subject.lock.name}.asc")
        keys = [(name, content) for name in names if (content := subject.read(name)) is not None]
    return check_signatures(own_roots(subject.form), subject.read, keys)


def _without_lock(marker: str, files: int, size: int, problems: tuple[Problem, ...]) -> Receipt:
    """Return what can be said of a repository whose wants nobody knows."""
    return Receipt(
        kind="repository",
        name="",
        target="",
        version="",
        time=0,
        lock="",
        marker=marker,
        files=files,
        size=size,
        packages=0,
        signer="",
        proofs=(),
        problems=problems or (Problem(Fault.MISSING, LOCK_NAME),),
    )


def _lock_of(text: bytes | None) -> Lock | None:
    """Return the lock inside a repository; None when there is none that can be read, which integrity says."""
    with suppress(HostileInputError):
        return lock.read(text, LOCK_NAME) if text is not None else None
    return None


def _reader(repository: Folder) -> Read:
    def read(path: str) -> bytes | None:
        *above, name = parts_of(path)
        try:
            with repository.descend(above) as folder:
                return folder.read(name, TEXT_LIMIT)
        except RepobuildError:
            return None

    return read


def _read_payload(text: bytes) -> dict[str, tuple[int, str]]:
    chosen = lock.read(text, LOCK_NAME)
    packages = {each.package.filename: (each.package.size, each.package.sha256) for each in chosen.choices}
    return packages | {each.name: (each.size, each.sha256) for each in chosen.assets}


def _held(path: Path, form: Format, sound: Mapping[str, tuple[int, str]]) -> Holding:
    """Return the packages of a repository whose bytes are as the marker lists them."""
    gathered = _Gathered(form)
    for name, (size, sha256) in sorted(sound.items()):
        if name.endswith(form.suffix):
            gathered.read(path.joinpath(*parts_of(name)), PackageFile(name, size, sha256))
    return gathered.holding()


class _Gathered:
    """Packages and what they say of themselves."""

    def __init__(self, form: Format) -> None:
        self.form = form
        self._files: dict[str, tuple[int, str]] = {}
        self._statements: dict[str, Statement] = {}
        self._unreadable: dict[str, str] = {}

    def is_package(self, path: str) -> bool:
        """Whether a path is that of a package."""
        return path.endswith(self.form.suffix)

    def read(self, path: Path, file: PackageFile) -> None:
        """Read a package from `path`, which holds its beginning."""
        self._files[file.name] = (file.size, file.sha256)
        try:
            self._statements[file.name] = self.form.statement(path, file)
        except HostileInputError as error:
            self._unreadable[file.name] = error.message
        else:
            self._unreadable.pop(file.name, None)

    def is_read(self, file: PackageFile) -> bool:
        """Whether a package could be read."""
        return file.name in self._statements

    def holding(self) -> Holding:
        return Holding(files=self._files, statements=self._statements, unreadable=self._unreadable)


def _take(reader: BundleReader, contents: Contents, gathered: _Gathered, passing: Passing | None) -> dict[str, bytes]:
    """Read a repository in a bundle: packages as far as they describe themselves, the rest whole. Return the rest."""
    texts: dict[str, bytes] = {}
    with MemoryFile() as scratch:
        for file, content in reader.members(contents):
            if not gathered.is_package(file.path):
                texts |= _text(file, content)
                continue
            found = PackageFile(file.path, file.size, file.sha256)
            pieces = _described(gathered, found, content, scratch)
            if passing is not None:
                passing.take(file.path, pieces)
            for _ in pieces:
                pass
    return texts


def _described(
    gathered: _Gathered, found: PackageFile, content: Iterable[bytes], scratch: MemoryFile
) -> Iterator[bytes]:
    """Let a package go by, and read from its beginning what it says of itself."""
    offset = 0
    scratch.fill(b"")
    for piece in content:
        if not gathered.is_read(found) and offset <= _HEAD_LIMIT:
            scratch.append(piece, offset)
            offset += len(piece)
            # Nearly every description ends in the first piece; where it does not, all that may matter is read.
            if offset == len(piece) or offset >= min(found.size, _HEAD_LIMIT):
                gathered.read(Path(scratch.path), found)
        yield piece
    if not found.size:
        gathered.read(Path(scratch.path), found)


def _text(file: TreeFile, content: Iterable[bytes]) -> dict[str, bytes]:
    """Return an index, key or lock by its path; what the operator laid beside them is passed over."""
    if _is_text(file):
        return {file.path: b"".join(content)}
    for _ in content:
        pass
    return {}


def _is_text(file: TreeFile) -> bool:
    return file.kind is not Kind.PAYLOAD and file.size <= TEXT_LIMIT
