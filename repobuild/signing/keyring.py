"""Who signed this, and do we believe them.

The library decides whether a signature holds. On top of it stands what apt demands as well: a key that has expired or
was revoked by now is not believed, whatever date its signature bears. Every refusal says why, key by key.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import takewhile
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple, Self

from pysequoia import ArmorKind, Cert, Sig, armor, verify
from pysequoia.packet import HashAlgorithm, Packet, PacketPile, SignatureType, Tag

from repobuild.durable import disk_errors
from repobuild.errors import VerificationError
from repobuild.signing import packets, version3
from repobuild.signing.cleartext import MAX_BYTES, canonical, split_cleartext
from repobuild.signing.fingerprint import check_fingerprint

MAX_PACKAGE_BYTES = 256 << 20
"""Size of a package that is signed as a whole, which is held in memory; since EL 8 a signed header binds the rest."""
_MAX_KEY_BYTES = 8 << 20
"""Size of one key file."""
_MAX_SIGNATURE_BYTES = 1 << 20
"""Size of a detached signature file."""
_MAX_SIGNATURES = 32
"""Signatures on one document; Debian's roots bear three."""

_CLOCK_SKEW = timedelta(minutes=30)
"""How far a clock may be behind the signer's; the library allows the same."""

_KEY_PACKETS = {
    packets.PUBLIC_KEY,
    packets.PUBLIC_SUBKEY,
    packets.USER_ID,
    packets.USER_ATTRIBUTE,
    packets.SIGNATURE,
    packets.TRUST,
}
_WEAK = (HashAlgorithm.MD5, HashAlgorithm.SHA1, HashAlgorithm.RipeMD)
_KEY_TAGS = (Tag.PublicKey, Tag.PublicSubkey)
_REVOCATIONS = (SignatureType.KeyRevocation, SignatureType.SubkeyRevocation)

_NEW_KEY = "get the current key from the owner of the repository and name it in signed_by"
_SHA1_HINT = (
    "gpg still takes it, we do not: ask the owner for a renewed key, or set `verify: packages` or `verify: none`"
    " for this upstream"
)
_WEAK_HINT = (
    "ask the owner to sign with SHA-256 or better, or set `verify: packages` or `verify: none` for this upstream"
)
_UNKNOWN_HINT = "name the key in signed_by of this upstream, or check that the mirror serves the right repository"
_BAD_HINT = "the file was altered or is half updated: try again later, or use another mirror"
_PACKAGE_HINTS = {
    _SHA1_HINT: "rpm still takes it, we do not: ask the owner for a new key, or set `verify: none` for this upstream",
    _WEAK_HINT: "old EL packages are signed with SHA-1 only: take a newer one, or set `verify: none` for this upstream",
}
"""Where packages are verified, `verify: packages` is no way out."""


@dataclass(frozen=True, slots=True)
class Verified:
    """A document whose signature holds."""

    content: bytes
    """What was signed, as the verifier emitted it; for an inline document with plain line ends, all lines ended."""
    signer: str
    """Fingerprint of the primary key, upper-case hex."""
    created: int
    """Time of the signature, seconds since the epoch."""


class _Signature(NamedTuple):
    """One signature as it describes itself; nothing of it is proven."""

    issuer: str
    """Fingerprint or key id, upper-case hex, "" when unnamed."""
    created: datetime
    expiration: datetime | None
    is_weak: bool


class _Refusal(NamedTuple):
    """Why one signature is not believed."""

    reason: str
    hint: str


@dataclass(frozen=True)
class _Key:
    """A primary key with its subkeys."""

    cert: Cert
    fingerprint: str
    names: tuple[str, ...]
    """Fingerprints of the keys that the file shows in it; what holds of them is in `parts`."""

    @cached_property
    def parts(self) -> dict[str, tuple[Packet, ...]]:
        """Fingerprint of each key in it -> its packet and those that belong to it, up to the next key.

        The library checks every self-signature for this, which takes 5 ms.
        """
        pile = list(PacketPile.from_bytes(bytes(self.cert)))
        parts = {}
        for index, packet in enumerate(pile):
            if packet.tag in _KEY_TAGS:
                rest = takewhile(lambda following: following.tag not in _KEY_TAGS, pile[index + 1 :])
                parts[(packet.fingerprint or "").upper()] = (packet, *rest)
        return parts

    def signers(self, issuer: str) -> list[str]:
        """Return the fingerprints of the keys in it that end with `issuer`."""
        if not issuer or not any(name.endswith(issuer) for name in self.names):
            return []
        return [part for part in self.parts if part.endswith(issuer)]


class Keyring:
    """The keys that are believed for one purpose. Immutable; use it from any thread."""

    def __init__(self, keys: Sequence[_Key]) -> None:
        self._keys = tuple(keys)

    @classmethod
    def from_files(cls, paths: Sequence[Path], fingerprints: Sequence[str] = ()) -> Self:
        """Read key files, armoured or binary, each with any number of keys.

        Args:
            paths: of the files.
            fingerprints: when given, only these primary keys are believed (hex; case and blanks do not matter).

        Raises:
            DiskError: when a file cannot be read.
            VerificationError: when a file is no keyring, or no key remains.
            UsageError: for a fingerprint that is none.
        """
        sources = []
        for path in paths:
            with disk_errors(path), path.open("rb") as file:
                sources.append((str(path), file.read(_MAX_KEY_BYTES + 1)))
        return cls.from_bytes(sources, fingerprints)

    @classmethod
    def from_bytes(cls, sources: Sequence[tuple[str, bytes]], fingerprints: Sequence[str] = ()) -> Self:
        """Read keys from (name for messages, content) pairs, as `from_files` does."""
        wanted = {check_fingerprint(each) for each in fingerprints}
        found = [key for name, data in sources for key in _read_keys(data, name)]
        believed = [key for key in found if not wanted or key.fingerprint in wanted]
        if not believed:
            where = ", ".join(name for name, _ in sources) or "no key file"
            if found:
                raise VerificationError(
                    f"{where}: holds none of the keys {', '.join(sorted(wanted))}",
                    "correct the fingerprints or the key file of this upstream",
                )
            raise VerificationError(f"no key to verify with: {where}", _NEW_KEY)
        return cls(believed)

    def armored(self) -> bytes:
        """Return the keys in armour, one block after the other, as rpm takes them."""
        return "".join(f"{each.cert}\n" for each in self._keys).encode()

    def binary(self) -> bytes:
        """Return the keys in binary, one after the other, as gpgv and sqv take them."""
        return b"".join(bytes(each.cert) for each in self._keys)

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """Fingerprints of the believed primary keys, upper-case hex, sorted."""
        return tuple(sorted({key.fingerprint for key in self._keys}))

    def verify_inline(self, data: bytes, what: str) -> Verified:
        """Verify a cleartext-signed document (InRelease) and return what was signed.

        There has to be exactly one signed block and nothing around it; one believed signature is enough.

        Raises:
            VerificationError: naming `what`, the reason for each signature, and what to do.
        """
        document = split_cleartext(data, what)

        def check(signature: bytes, key: _Key) -> bytes | None:
            message = document.head + armor(signature, ArmorKind.Signature).encode()
            return _verified(key, bytes=message)

        verified = self._first_believed(document.signature, check, what)
        content = canonical(verified.content)
        if content != document.content:
            raise VerificationError(f"{what}: the signed text can be read in two ways", _BAD_HINT)
        return Verified(content, verified.signer, verified.created)

    def verify_detached(self, data: bytes, signature: bytes, what: str) -> Verified:
        """Verify `data` (Release, repomd.xml) with a signature file, armoured or binary, and return it.

        The file may hold several signatures; one believed signature is enough.

        Raises:
            VerificationError: naming `what`, the reason for each signature, and what to do.
        """
        if len(data) > MAX_BYTES or len(signature) > _MAX_SIGNATURE_BYTES:
            raise VerificationError(f"{what}: larger than {MAX_BYTES} bytes, or its signature than 1 MiB")

        def check(one: bytes, key: _Key) -> bytes | None:
            return _verified(key, bytes=data, signature=Sig.from_bytes(one))

        return self._first_believed(signature, check, what)

    def verify_package(self, data: bytes, signature: bytes, what: str) -> Verified:
        """Verify the signed bytes of an RPM with the signature inside it: one binary packet, of version 3 too.

        Args:
            data: the main header, or main header and payload.
            signature: content of the signature header's tag.
            what: the package, for messages.

        Raises:
            VerificationError: naming `what`, the reason, and what to do.
        """
        if len(data) > MAX_PACKAGE_BYTES or len(signature) > _MAX_SIGNATURE_BYTES:
            raise VerificationError(f"{what}: signed as a whole and larger than {MAX_PACKAGE_BYTES} bytes")
        framed = packets.read_packets(signature, b"", {packets.SIGNATURE}, what) if signature[:1] > b"\x7f" else []
        if len(framed) != 1:
            raise VerificationError(f"{what}: its signature is not one OpenPGP packet", _BAD_HINT)
        is_version3 = framed[0].body[:1] == bytes([version3.VERSION])
        if framed[0].body[1 + is_version3 : 2 + is_version3] != bytes([version3.BINARY]):
            raise VerificationError(f"{what}: its signature is of another kind than those of packages", _BAD_HINT)

        def check(one: bytes, key: _Key) -> bytes | None:
            if is_version3:
                return data if _holds_version3(one, data, key) else None
            return _verified(key, bytes=data, signature=Sig.from_bytes(one))

        try:
            return self._first_believed(signature, check, what)
        except VerificationError as error:
            hint = _PACKAGE_HINTS.get(error.hint, error.hint) if error.hint else None
            raise VerificationError(error.message, hint) from error

    def _first_believed(self, signatures: bytes, check: Callable[[bytes, _Key], bytes | None], what: str) -> Verified:
        """Return the outcome of the first signature that holds and whose key is believed now."""
        framed = packets.read_packets(signatures, b"SIGNATURE", {packets.SIGNATURE}, what)
        if not framed or len(framed) > _MAX_SIGNATURES:
            raise VerificationError(f"{what}: {len(framed)} signatures, expected 1 to {_MAX_SIGNATURES}")
        refusals = []
        now = datetime.fromtimestamp(time.time(), UTC)
        for packet in framed:
            signature = _read_signature(packet.raw)
            if signature is None:
                refusals.append(_Refusal("a signature of an unknown kind", _BAD_HINT))
                continue
            candidates = self._candidates(signature.issuer)
            if not candidates:
                refusals.append(_Refusal(f"signed by the unknown key {signature.issuer or '(unnamed)'}", _UNKNOWN_HINT))
            for key, part in candidates:
                refusal = _signature_fault(signature, now) or _key_fault(key, part, now)
                content = check(packet.raw, key) if refusal is None else None
                if content is not None:
                    return Verified(content, key.fingerprint, int(signature.created.timestamp()))
                refusals.append(refusal or _Refusal(f"bad signature by {part}", _BAD_HINT))
        raise _refused(refusals, what)

    def _candidates(self, issuer: str) -> list[tuple[_Key, str]]:
        """Return the keys that a signature names, each with the part that signs; copies of a key are all tried."""
        return [(key, part) for key in self._keys for part in key.signers(issuer)]


def _verified(key: _Key, **arguments: Any) -> bytes | None:
    """Return the bytes that the library emits when the one signature holds under `key`, None when it does not."""
    try:
        result = verify(store=lambda _: [key.cert], **arguments)
    except RuntimeError:
        return None
    signers = [str(valid.certificate).upper() for valid in result.valid_sigs]
    return result.bytes if signers == [key.fingerprint] else None


def _holds_version3(signature: bytes, data: bytes, key: _Key) -> bool:
    """Say whether a signature of version 3 holds under the primary key, and that key may sign."""
    packet, *others = key.parts[key.fingerprint]
    own = [each for each in others if each.tag == Tag.Signature and _is_by(each, key.fingerprint)]
    flags = [
        (each.signature_created, each.key_flags.signing)
        for each in own
        if each.signature_created and each.key_flags and each.hash_algorithm not in _WEAK
    ]
    if flags and not max(flags, key=itemgetter(0))[1]:
        return False
    return version3.holds(signature, data, bytes(packet), key.fingerprint)


def _refused(refusals: Sequence[_Refusal], what: str) -> VerificationError:
    """Return the error for a document none of whose signatures is believed."""
    # The most telling reason leads: one about a key we hold says more than a key we do not know.
    ordered = sorted(refusals, key=lambda refusal: refusal.hint == _UNKNOWN_HINT)
    reasons = dict.fromkeys(refusal.reason for refusal in ordered)
    return VerificationError(f"{what}: {'; '.join(reasons)}", ordered[0].hint)


def _read_signature(raw: bytes) -> _Signature | None:
    """Return what a signature packet says of itself, None when the library cannot read it."""
    try:
        signature = Sig.from_bytes(raw)
        issuer = (signature.issuer_fingerprint or signature.issuer_key_id or "").upper()
        if signature.created is None:
            return None
        return _Signature(issuer, signature.created, signature.expiration, signature.hash_algorithm in _WEAK)
    except (RuntimeError, ValueError, OverflowError):  # an unknown algorithm, a time beyond the calendar
        return None


def _signature_fault(signature: _Signature, now: datetime) -> _Refusal | None:
    """Return why a signature is not to be believed, whoever made it."""
    name = f"the signature by {signature.issuer}"
    if signature.is_weak:
        return _Refusal(f"{name} uses a broken hash (SHA-1 or older)", _WEAK_HINT)
    if signature.created > now + _CLOCK_SKEW:
        return _Refusal(f"{name} is from the future: {signature.created}", "set the clock right")
    if signature.expiration is not None and signature.expiration <= now:
        return _Refusal(f"{name} expired on {signature.expiration}", _BAD_HINT)
    return None


def _key_fault(key: _Key, part: str, now: datetime) -> _Refusal | None:
    """Return why `part` of `key`, or the primary key above it, is not to be believed now."""
    for fingerprint in dict.fromkeys((key.fingerprint, part)):
        signatures = [packet for packet in key.parts[fingerprint] if packet.tag == Tag.Signature]
        if any(packet.signature_type in _REVOCATIONS for packet in signatures):
            return _Refusal(f"the key {fingerprint} is revoked", _NEW_KEY)
        own = [packet for packet in signatures if _is_by(packet, key.fingerprint)]
        strong = [packet for packet in own if packet.hash_algorithm not in _WEAK]
        if own and not strong:
            return _Refusal(f"the key {fingerprint} has only SHA-1 self-signatures", _SHA1_HINT)
        expiration = _subkey_expiration(key.parts[fingerprint][0], strong) if fingerprint != key.fingerprint else None
        if fingerprint == key.fingerprint:
            try:
                expiration = key.cert.expiration
            except RuntimeError:
                return _Refusal(f"the key {fingerprint} has no valid self-signature", _NEW_KEY)
        if expiration is not None and expiration <= now:
            return _Refusal(f"the key {fingerprint} expired on {expiration}", _NEW_KEY)
    return None


def _subkey_expiration(subkey: Packet, bindings: Sequence[Packet]) -> datetime | None:
    """Return when a subkey expires by its newest binding, None for never."""
    dated = [(packet.signature_created, packet.key_validity_period) for packet in bindings if packet.signature_created]
    period = max(dated, key=itemgetter(0))[1] if dated else None
    return subkey.key_created + period if subkey.key_created and period else None


def _is_by(packet: Packet, fingerprint: str) -> bool:
    issuer = (packet.issuer_fingerprint or packet.issuer_key_id or "").upper()
    return bool(issuer) and fingerprint.endswith(issuer)


def _read_keys(data: bytes, name: str) -> list[_Key]:
    """Return the keys of a file; one that the library cannot read at all (version 3) is passed over, as apt does."""
    if len(data) > _MAX_KEY_BYTES:
        raise VerificationError(f"key file larger than {_MAX_KEY_BYTES} bytes: {name}")
    if b"-----BEGIN PGP PRIVATE KEY" in data:
        raise VerificationError(f"a secret key where a public key belongs: {name}", "export the public key only")
    groups: list[list[bytes]] = []
    for packet in packets.read_packets(data, b"PUBLIC KEY BLOCK", _KEY_PACKETS, name):
        if packet.tag == packets.PUBLIC_KEY:
            groups.append([])
        if not groups:
            raise VerificationError(f"not a keyring: {name}", "give a file made by `gpg --export`")
        groups[-1].append(packet.raw)
    keys = []
    for group in groups:
        try:
            keys.append(_read_key(b"".join(group)))
        except RuntimeError:
            continue
    return keys


def _read_key(data: bytes) -> _Key:
    cert = Cert.from_bytes(data)
    bytes(cert)  # some damaged keys are read and cannot be written again: then the library says so here
    names = [(packet.fingerprint or "").upper() for packet in PacketPile.from_bytes(data) if packet.tag in _KEY_TAGS]
    return _Key(cert, cert.fingerprint.upper(), tuple(names))
