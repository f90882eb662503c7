"""What signs for us: one key, or for a period two, the older and the one that follows it.

Of two keys each signs everything. A client that knows only one of them finds its signature and passes over the other
(decision 0016 has who does how). Signatures are made once and kept while what they sign is unchanged (G6).
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Self

from pysequoia import ArmorKind, Tsk, armor

from repobuild.durable import disk_errors
from repobuild.errors import RefusedError, UsageError, VerificationError
from repobuild.signing import packets
from repobuild.signing.certificate import armored_secret, generate_rsa4096
from repobuild.signing.cleartext import canonical, make_cleartext, split_cleartext
from repobuild.signing.keyring import Keyring
from repobuild.signing.secret import AgentSecret, FileSecret, Secret

_MAX_KEY_BYTES = 1 << 20
"""Size of a secret key file."""
_MAX_USER_ID = 200
"""Characters in the name of a key."""
_KEY_PACKETS = {
    packets.SECRET_KEY,
    packets.SECRET_SUBKEY,
    packets.USER_ID,
    packets.USER_ATTRIBUTE,
    packets.SIGNATURE,
    packets.TRUST,
}
_NEW = "make a new one with `repobuild key new`, and give its public half to the clients"
_EXPORT = "give a file made by `repobuild key new` or `gpg --export-secret-keys`"


class _Part(NamedTuple):
    """One of the keys, and the keyring that believes it alone."""

    secret: Secret
    ring: Keyring


class SigningKey:
    """Secret keys, unlocked, the older first. Nothing of them, nor a passphrase, shows in its text forms."""

    def __init__(self, secrets: Sequence[Secret]) -> None:
        self.parts = tuple(_Part(each, Keyring.from_bytes([("the signing key", each.public)])) for each in secrets)
        """One for each key, the older first."""
        self.keyring = Keyring.from_bytes([("the signing key", each.public) for each in secrets])
        """Believes these keys and no other."""

    def __repr__(self) -> str:
        return f"SigningKey({', '.join(self.fingerprints)})"

    @classmethod
    def load(cls, source: Path | bytes, passphrase: bytes | None = None) -> Self:
        """Read one secret key, armoured or binary, from a file or from its bytes; a plain one needs no passphrase.

        Raises:
            DiskError: when the file cannot be read.
            UsageError: when it holds no usable signing key, or the passphrase is missing or wrong.
        """
        name = "the signing key" if isinstance(source, bytes) else str(source)
        if isinstance(source, Path):
            with disk_errors(source), source.open("rb") as file:
                source = file.read(_MAX_KEY_BYTES + 1)
        key = _parse(source, name)
        try:
            loaded = cls([_unlocked(key, passphrase)])
            loaded.detach_sign(b"whether this key can sign\n")
        except (RuntimeError, UnicodeDecodeError) as error:
            # The cause stays out of the traceback: whatever the library says there may be about a secret.
            if "No suitable" in str(error):
                raise UsageError(f"no part of this key may sign now: {name}", _NEW) from None
            problem = "needs its passphrase" if passphrase is None else "does not open with this passphrase"
            raise UsageError(f"the signing key {problem}: {name}", "name the passphrase file of this key") from None
        except RefusedError as error:
            raise UsageError(f"the signing key is not fit to sign: {error.message}", error.hint) from error
        return loaded

    @classmethod
    def of_agent(cls, fingerprint: str) -> Self:
        """Return a key that is in the user's GnuPG; whether it can sign shows when it has to.

        Raises:
            UsageError: when there is no gpg, or no such key in it.
        """
        return cls([AgentSecret(fingerprint)])

    @classmethod
    def join(cls, keys: Sequence["SigningKey"]) -> Self:
        """Return the value that signs with all of `keys`, the older first; a key named twice signs once."""
        parts = [part for key in keys for part in key.parts]
        return cls(list({part.ring.fingerprints: part.secret for part in parts}.values()))

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the primary key that stays: the newest. Upper-case hex."""
        return self.fingerprints[-1]

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """Fingerprints of all primary keys, the older first, upper-case hex."""
        return tuple(part.ring.fingerprints[0] for part in self.parts)

    def public_armored(self) -> bytes:
        """Return the public keys in armour, a block each, for `gpgkey=` and people."""
        return self.keyring.armored()

    def public_binary(self) -> bytes:
        """Return the public keys in binary, which gpgv and apt's `signed-by` read."""
        return self.keyring.binary()

    def clear_sign(self, text: bytes) -> bytes:
        """Return `text` cleartext-signed (InRelease), with the signatures of all keys in its one block.

        Args:
            text: lines, each ended by a newline, without blanks at line ends: what a reader gets back, byte for byte.
        """
        return keep_or_sign_inline(text, None, self)

    def detach_sign(self, data: bytes, *, one_block: bool = True) -> bytes:
        """Return the armoured detached signatures of `data` (Release.gpg, SHA256SUMS.asc, repomd.xml.asc).

        Args:
            data: what is signed.
            one_block: all signatures in one block of armour, where sqv looks for them; else a block each, the older
                key's first: the rpm library refuses a block of two, and reads the first of several.
        """
        return keep_or_sign_detached(data, None, self, one_block=one_block)

    def signatures(
        self, existing: Sequence[bytes], sign: Callable[[Secret], bytes], holds: Callable[[Keyring, bytes], bool]
    ) -> list[bytes]:
        """Return one signature packet of each key: the existing one that holds, else a new one."""
        return [
            next((packet for packet in existing if holds(part.ring, packet)), None) or sign(part.secret)
            for part in self.parts
        ]


def generate(user_id: str) -> bytes:
    """Return a new armoured secret key: RSA-4096, no expiry, one primary key that certifies and signs.

    Takes some seconds. The key has no passphrase: keep the file at mode 0600.

    Raises:
        UsageError: for a user id that is empty, long or not printable.
    """
    if not user_id.strip() or len(user_id) > _MAX_USER_ID or not user_id.isprintable():
        raise UsageError(f"not a name for a key: {user_id[:80]!r}", 'give one like "Repository <admin@example.org>"')
    return armored_secret(generate_rsa4096(user_id))


def keep_or_sign_inline(text: bytes, existing: bytes | None, key: SigningKey) -> bytes:
    """Return `text` cleartext-signed: the existing document while every key's signature in it holds (G6).

    Args:
        text: as for `SigningKey.clear_sign`.
        existing: the published document, None when there is none.
        key: the only signers that are believed.
    """
    if canonical(text.removesuffix(b"\n")) != text:
        raise ValueError("text to sign is not canonical")

    def holds(ring: Keyring, packet: bytes) -> bool:
        try:
            return ring.verify_inline(make_cleartext(text, [packet]), "the published document").content == text
        except VerificationError:
            return False

    found = _inline_packets(text, existing)
    wanted = key.signatures(found, lambda secret: secret.sign_text(text), holds)
    if existing is not None and found == wanted:
        return existing
    signed = make_cleartext(text, wanted)
    _prove(key, lambda ring: ring.verify_inline(signed, "our own signature"))
    return signed


def keep_or_sign_detached(data: bytes, existing: bytes | None, key: SigningKey, *, one_block: bool = True) -> bytes:
    """Return the detached signatures of `data`: the existing file while every key's signature in it holds (G6).

    Args:
        data: what is signed.
        existing: the published file, None when there is none.
        key: the only signers that are believed.
        one_block: as for `SigningKey.detach_sign`.
    """

    def holds(ring: Keyring, packet: bytes) -> bool:
        try:
            ring.verify_detached(data, packet, "the published signature")
        except VerificationError:
            return False
        return True

    found = _packets(existing)
    wanted = key.signatures(found, lambda secret: secret.sign_bytes(data), holds)
    blocks = [b"".join(wanted)] if one_block else wanted
    if existing is not None and found == wanted and existing.count(b"-----BEGIN") == len(blocks):
        return existing
    signed = "".join(armor(block, ArmorKind.Signature) for block in blocks).encode()
    _prove(key, lambda ring: ring.verify_detached(data, signed, "our own signature"))
    return signed


def _prove(key: SigningKey, verify: Callable[[Keyring], object]) -> None:
    """Have each key's own ring verify what was signed: nothing that a client would refuse is published."""
    for part in key.parts:
        verify(part.ring)


def _inline_packets(text: bytes, existing: bytes | None) -> list[bytes]:
    """Return the signature packets of a cleartext-signed document of exactly `text`, else none."""
    if existing is None:
        return []
    try:
        document = split_cleartext(existing, "the published document")
    except VerificationError:
        return []
    return _packets(document.signature) if document.content == text else []


def _packets(signatures: bytes | None) -> list[bytes]:
    if not signatures:
        return []
    try:
        found = packets.read_packets(signatures, b"SIGNATURE", {packets.SIGNATURE}, "the published signature")
    except VerificationError:
        return []
    return [each.raw for each in found]


def _unlocked(key: Tsk, passphrase: bytes | None) -> FileSecret:
    try:
        return FileSecret(key, key.signer())
    except RuntimeError:
        if passphrase is None:
            raise
        return FileSecret(key, key.signer(passphrase.decode()))


def _parse(data: bytes, name: str) -> Tsk:
    if len(data) > _MAX_KEY_BYTES:
        raise UsageError(f"key file larger than {_MAX_KEY_BYTES} bytes: {name}", _EXPORT)
    try:
        found = [packet.tag for packet in packets.read_packets(data, b"PRIVATE KEY BLOCK", _KEY_PACKETS, name)]
        if found[:1] != [packets.SECRET_KEY] or found.count(packets.SECRET_KEY) != 1:
            raise UsageError(f"not a file with one secret key: {name}", _EXPORT)
        return Tsk.from_bytes(data)
    except (RefusedError, RuntimeError) as error:
        raise UsageError(f"not a secret key: {name}", _EXPORT) from error
