"""The proof of the roots' signatures: by a key that the operator names, else by the key published beside them."""

from collections.abc import Sequence
from dataclasses import dataclass

from repobuild.check.problems import Fault, Problem
from repobuild.errors import RefusedError
from repobuild.formats.protocol import Read, RootFile
from repobuild.signing import Keyring


@dataclass(frozen=True, slots=True)
class Signed:
    """Who signed the roots of a repository."""

    signer: str
    """Fingerprint of the primary key, "" when nothing is signed."""
    problems: tuple[Problem, ...] = ()


def check_signatures(roots: Sequence[RootFile], read: Read, keys: Sequence[tuple[str, bytes]]) -> Signed:
    """Verify every signature on the roots of a repository; all have to sign the same text.

    Args:
        roots: where roots and signatures may lie.
        read: reads the repository.
        keys: (name, content) of the key files that are believed; none for a repository that need not be signed.
    """
    signatures = {root.signature or root.path: root for root in roots}
    there = {path: data for path in signatures if (data := read(path)) is not None}
    if not there:
        absent = [Problem(Fault.SIGNATURE, root.path, "not signed, and a key is given") for root in roots[-1:] if keys]
        return Signed("", tuple(absent))
    if not keys:
        return Signed("", tuple(Problem(Fault.SIGNATURE, path, "no key is published with it") for path in there))
    try:
        keyring = Keyring.from_bytes(keys)
    except RefusedError as error:
        return Signed("", (Problem(Fault.SIGNATURE, keys[0][0], error.message),))
    signers: dict[str, None] = {}
    texts: set[bytes] = set()
    problems = []
    for path, data in there.items():
        root = signatures[path]
        try:
            if root.signature is None:
                verified = keyring.verify_inline(data, path)
            else:
                verified = keyring.verify_detached(read(root.path) or b"", data, root.path)
        except RefusedError as error:
            problems.append(Problem(Fault.SIGNATURE, path, error.message))
            continue
        signers[verified.signer] = None
        texts.add(verified.content)
        if len(texts) > 1:
            problems.append(Problem(Fault.SIGNATURE, path, "signs another text than the signature before it"))
    return Signed(next(iter(signers), ""), tuple(problems))
