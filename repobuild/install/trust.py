"""Whose bundles are believed here: who signed SHA256SUMS, and is that a key of ours.

Believed is, in this order: what the operator says now (`--signer-key`, `--trust`), and nothing else then; the keys
that were believed before, each for the repositories it signed; a key whose fingerprint the operator confirms when
asked. A key that merely lies beside the parts says nothing: whoever can change the parts can change it too.

After a rotation the list bears two signatures. Where a believed key signed it, it vouches for the key files that the
list names, and one of these that signed the list as well is believed from then on.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from repobuild.durable import Folder
from repobuild.errors import RefusedError, VerificationError
from repobuild.install.sums import SIGNATURE_NAME, SUMS_NAME, Sums, candidate_keys
from repobuild.record import sha256_of
from repobuild.signing import Keyring, check_fingerprint

_BRING_KEY = "bring the public key of who made the bundle: --signer-key FILE"
_ALTERED = (
    "one of the two may be half written: copy both again; if that does not help, do not install this, "
    "and ask who made the bundle"
)


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A public key that was believed before."""

    fingerprint: str
    """Of the primary key, upper-case hex."""
    data: bytes
    repository: str | None
    """Name of the repository that it may sign, None for all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustSpec:
    """Whom the operator believes."""

    signer_keys: tuple[tuple[str, bytes], ...] = ()
    """(name for messages, content) of public key files that the operator brought."""
    fingerprints: tuple[str, ...] = ()
    """Of primary keys."""
    known: tuple[KnownKey, ...] = ()
    allow_unsigned: bool = False
    ask: Callable[[str], str] | None = None
    """Shows a fingerprint and returns what was typed; None where nobody can be asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Voucher:
    """What is known of the list beside some parts: it was signed by a key we believe, or may be unsigned."""

    sums: Sums
    signer: KnownKey | None
    """None when it is not signed."""
    successors: tuple[KnownKey, ...] = ()
    """Keys that the signer vouches for."""
    repositories: frozenset[str] | None = None
    """Names of the repositories for which the signer is believed, None for all."""

    def covers(self, repository: str) -> bool:
        """Whether a bundle of this repository is believed."""
        return self.repositories is None or repository in self.repositories


class Judge:
    """Decides about the lists of one run; what the operator confirmed once is not asked again."""

    def __init__(self, spec: TrustSpec) -> None:
        self._spec = spec
        self._confirmed: set[str] = set()

    def vouch(self, folder: Folder, sums: Sums) -> Voucher:
        """Verify the list beside some parts.

        Raises:
            VerificationError: when it is not signed and need not be allowed, or not by a key that is believed.
            HostileInputError: when key or signature are malformed.
        """
        where = str(folder.path / SUMS_NAME)
        if sums.signature is None:
            return self._unsigned(sums, where)
        beside = candidate_keys(folder, sums)
        if self._spec.signer_keys or self._spec.fingerprints:
            signer = _signer_among(sums, self._named(beside), where)
            return Voucher(sums=sums, signer=signer, successors=_successors(sums, beside, signer, where))
        try:
            signer = _signer_among(sums, self._spec.known, where)
        except VerificationError:
            strangers = known_keys(beside.items(), None)
            if not strangers and self._spec.known:
                raise
            signer = self._confirm(_signer_among(sums, strangers, where))
            return Voucher(sums=sums, signer=signer, successors=_successors(sums, beside, signer, where))
        mine = {each.repository for each in self._spec.known if each.fingerprint == signer.fingerprint}
        return Voucher(
            sums=sums,
            signer=signer,
            successors=_successors(sums, beside, signer, where),
            repositories=None if None in mine else frozenset(name for name in mine if name is not None),
        )

    def require(self, voucher: Voucher, repository: str) -> None:
        """Make sure that the signer of a list is believed for the repository that a part of it turned out to hold.

        Raises:
            VerificationError: when it is known for others only, and not confirmed.
        """
        if voucher.signer is not None and not voucher.covers(repository):
            self._confirm(voucher.signer, f"for another repository, not for {repository}")

    def _unsigned(self, sums: Sums, where: str) -> Voucher:
        if self._spec.signer_keys or self._spec.fingerprints:
            raise VerificationError(f"not signed, and a signer is asked for: {where}", f"bring its {SIGNATURE_NAME}")
        if not self._spec.allow_unsigned:
            what = f"not signed: {where}" if sums.text else f"neither a list of digests nor its signature: {where}"
            raise VerificationError(
                what, f"bring {SUMS_NAME} and {SIGNATURE_NAME}, or accept it without proof: --allow-unsigned"
            )
        return Voucher(sums=sums, signer=None)

    def _named(self, beside: dict[str, bytes]) -> list[KnownKey]:
        """Return the keys that the operator names now: brought as a file, or found and of a given fingerprint."""
        if self._spec.signer_keys:
            return _split(self._spec.signer_keys, self._spec.fingerprints)
        wanted = {check_fingerprint(each) for each in self._spec.fingerprints}
        here = (*self._spec.known, *known_keys(beside.items(), None))
        found = [each for each in here if each.fingerprint in wanted]
        if not found:
            others = ", ".join(sorted({each.fingerprint for each in known_keys(beside.items(), None)})) or "none"
            raise VerificationError(
                f"no key of this fingerprint is here: {', '.join(sorted(wanted))}; beside the bundle lies: {others}",
                _BRING_KEY,
            )
        return found

    def _confirm(self, signer: KnownKey, known: str = "") -> KnownKey:
        """Return the signer when the operator confirms its fingerprint.

        Raises:
            VerificationError: when nobody can be asked, or the answer is another one.
        """
        fingerprint = signer.fingerprint
        if fingerprint in self._confirmed:
            return signer
        hint = f"compare it with what `repobuild bundle` printed there; if it is the same: --trust {fingerprint}"
        if self._spec.ask is None:
            what = f"signed by a key that is known here {known}" if known else "signed by a key that is not known here"
            raise VerificationError(f"{what}: {fingerprint}", hint)
        if "".join(self._spec.ask(fingerprint).split()).upper() != fingerprint[-8:]:
            raise VerificationError(f"the fingerprint was not confirmed: {fingerprint}", hint)
        self._confirmed.add(fingerprint)
        return signer


def known_keys(sources: Iterable[tuple[str, bytes]], repository: str | None) -> tuple[KnownKey, ...]:
    """Return each key of some (name, content) key files, to be believed for a repository; damaged files are skipped."""
    found: list[KnownKey] = []
    for source in sources:
        try:
            found += _split([source], (), repository)
        except RefusedError:
            continue
    return tuple(dict.fromkeys(found))


def _split(
    sources: Sequence[tuple[str, bytes]], fingerprints: Sequence[str], repository: str | None = None
) -> list[KnownKey]:
    """Return the keys of some files one by one."""
    ring = Keyring.from_bytes(sources, fingerprints)
    return [
        KnownKey(fingerprint, Keyring.from_bytes(sources, [fingerprint]).armored(), repository)
        for fingerprint in ring.fingerprints
    ]


def _signer_among(sums: Sums, keys: Sequence[KnownKey], where: str) -> KnownKey:
    """Return which of the keys signed the list.

    Raises:
        VerificationError: when none did, or a signature does not hold.
    """
    if not keys:
        raise VerificationError(f"signed by a key that is not here: {where}", _BRING_KEY)
    ring = Keyring.from_bytes([(each.fingerprint, each.data) for each in keys], [each.fingerprint for each in keys])
    try:
        verified = ring.verify_detached(sums.text, sums.signature or b"", where)
    except VerificationError as error:
        raise VerificationError(error.message, _ALTERED) from error
    return next(each for each in keys if each.fingerprint == verified.signer)


def _successors(sums: Sums, beside: dict[str, bytes], signer: KnownKey, where: str) -> tuple[KnownKey, ...]:
    """Return the keys that signed the list too, out of files whose digest it states: the signer vouches for them."""
    stated = [(name, data) for name, data in beside.items() if sha256_of(data) == sums.digests[name]]
    found: list[KnownKey] = []
    for key in known_keys(stated, None):
        if key.fingerprint not in {signer.fingerprint, *(each.fingerprint for each in found)}:
            try:
                found.append(_signer_among(sums, [key], where))
            except VerificationError:
                continue
    return tuple(found)
