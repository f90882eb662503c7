"""The proof of signatures: on roots by a key that the operator names or that lies beside them, and on packages."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from repobuild.check.problems import Fault, Problem
from repobuild.errors import RefusedError
from repobuild.formats.protocol import Read, RootFile, SignedParts
from repobuild.signing import Keyring, Verified

SignedPackage = tuple[str, Callable[[], SignedParts]]
"""Path of a package, and what reads which of its bytes are signed, or raises RefusedError."""
_THREADS = 4


@dataclass(frozen=True, slots=True)
class Signed:
    """Who signed the roots of a repository, and what clients read of them."""

    signer: str
    """Fingerprint of the primary key, "" when nothing is signed."""
    problems: tuple[Problem, ...] = ()
    root: bytes | None = None
    """What clients read first: the very bytes that are signed, all of it where nothing is; None when they refuse it."""


@dataclass(frozen=True, slots=True)
class _Found:
    """A root that is there."""

    path: str
    text: bytes
    signed_in: str
    """Path of the signature; the root's own where it is signed inline."""
    signature: bytes | None
    """Detached; None where it is signed inline, or not at all."""
    is_signed: bool


def check_signatures(roots: Sequence[RootFile], read: Read, keys: Sequence[tuple[str, bytes]]) -> Signed:
    """Verify every signature on the roots of a repository; all roots have to be the text that clients read first.

    Args:
        roots: where roots and signatures may lie, in the order in which clients look for them.
        read: reads the repository.
        keys: (name, content) of the key files that are believed; none for a repository that need not be signed.
    """
    found = tuple(_found(roots, read))
    if not found:
        return Signed("", (Problem(Fault.MISSING, roots[-1].path, "without it clients find no index"),))
    signed = [each for each in found if each.is_signed]
    if not signed and not keys:
        return Signed("", (), found[0].text)
    if not signed:
        return Signed("", (Problem(Fault.SIGNATURE, found[0].path, "not signed, and a key is given"),))
    if not keys:
        return Signed(
            "", tuple(Problem(Fault.SIGNATURE, each.signed_in, "no key is published with it") for each in signed)
        )
    try:
        keyring = Keyring.from_bytes(keys)
    except RefusedError as error:
        return Signed("", (Problem(Fault.SIGNATURE, keys[0][0], error.message),))
    return _verified(found, keyring)


def _found(roots: Sequence[RootFile], read: Read) -> Iterator[_Found]:
    for root in roots:
        text = read(root.path)
        if text is None:
            continue
        if root.signature is None:
            yield _Found(root.path, text, root.path, None, is_signed=True)
            continue
        signature = read(root.signature)
        yield _Found(root.path, text, root.signature, signature, is_signed=signature is not None)


def _verified(found: Sequence[_Found], keyring: Keyring) -> Signed:
    """Return what of the roots holds; those that are not signed have to be what the first one is."""
    believed: dict[str, Verified] = {}
    problems = []
    for each in found:
        try:
            if each.is_signed:
                believed[each.path] = _verify(each, keyring)
        except RefusedError as error:
            problems.append(Problem(Fault.SIGNATURE, each.signed_in, error.message))
    first, *others = found
    if first.path not in believed:
        return Signed("", tuple(problems))
    root = believed[first.path].content
    problems += [
        Problem(Fault.SIGNATURE, each.path, f"another text than {first.path}, which clients read first")
        for each in others
        if each.text != root
    ]
    return Signed(believed[first.path].signer, tuple(problems), root)


def _verify(found: _Found, keyring: Keyring) -> Verified:
    if found.signature is None:
        return keyring.verify_inline(found.text, found.path)
    return keyring.verify_detached(found.text, found.signature, found.path)


def check_packages(packages: Iterable[SignedPackage], keys: Sequence[tuple[str, bytes]]) -> Iterator[Problem]:
    """Verify every signature in packages, as clients do that are told `gpgcheck=1`; several at a time.

    Args:
        packages: each is read when it is its turn.
        keys: (name, content) of the published files with the keys of the packages.
    """
    try:
        keyring = Keyring.from_bytes(keys)
    except RefusedError as error:
        yield Problem(Fault.SIGNATURE, keys[0][0], error.message)
        return

    def problem_of(package: SignedPackage) -> Problem | None:
        path, read = package
        try:
            for data, signature in read():
                keyring.verify_package(data, signature, path)
        except RefusedError as error:
            return Problem(Fault.SIGNATURE, path, error.message.removeprefix(f"{path}: "))
        return None

    with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as pool:
        yield from filter(None, pool.map(problem_of, packages))
