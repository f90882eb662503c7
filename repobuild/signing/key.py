"""Our own signatures: RSA-4096, without expiry, readable by every gpgv and sqv in the field (design.md, rulings)."""

from pathlib import Path
from typing import Self

from pysequoia import CipherSuite, PySigner, SignatureMode, Tsk, sign
from pysequoia.packet import Packet, PacketPile, Tag

from repobuild.durable import disk_errors
from repobuild.errors import RefusedError, UsageError, VerificationError
from repobuild.signing import packets
from repobuild.signing.cleartext import canonical
from repobuild.signing.keyring import Keyring

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


class SigningKey:
    """A secret key, unlocked. Nothing of it, nor its passphrase, shows in its text forms."""

    def __init__(self, key: Tsk, signer: PySigner) -> None:
        self._cert = key.extract_certificate()
        self._signer = signer
        self.keyring = Keyring.from_bytes([("the signing key", bytes(self._cert))])
        """Believes this key and no other."""

    def __repr__(self) -> str:
        return f"SigningKey({self.fingerprint})"

    @classmethod
    def load(cls, source: Path | bytes, passphrase: bytes | None = None) -> Self:
        """Read one secret key, armoured or binary, from a file or from its bytes.

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
            loaded = cls(key, key.signer(None if passphrase is None else passphrase.decode()))
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

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the primary key, upper-case hex."""
        return self._cert.fingerprint.upper()

    def public_armored(self) -> bytes:
        """Return the public key in armour, for `gpgkey=` and people."""
        return str(self._cert).encode()

    def public_binary(self) -> bytes:
        """Return the public key in binary, which gpgv and apt's `signed-by` read."""
        return bytes(self._cert)

    def clear_sign(self, text: bytes) -> bytes:
        """Return `text` cleartext-signed (InRelease).

        Args:
            text: lines, each ended by a newline, without blanks at line ends: what a reader gets back, byte for byte.
        """
        if canonical(text.removesuffix(b"\n")) != text:
            raise ValueError("text to sign is not canonical")
        # The last line end belongs to the signature's delimiter (RFC 9580, section 7.1).
        signed = sign(self._signer, text[:-1], mode=SignatureMode.CLEAR)
        self.keyring.verify_inline(signed, "our own InRelease")
        return signed

    def detach_sign(self, data: bytes) -> bytes:
        """Return an armoured detached signature of `data` (Release.gpg, repomd.xml.asc)."""
        signature = sign(self._signer, data, mode=SignatureMode.DETACHED)
        self.keyring.verify_detached(data, signature, "our own signature")
        return signature


def generate(user_id: str) -> bytes:
    """Return a new armoured secret key: RSA-4096, no expiry, a primary key that certifies and a subkey that signs.

    Takes some seconds. The key has no passphrase: keep the file at mode 0600.

    Raises:
        UsageError: for a user id that is empty, long or not printable.
    """
    if not user_id.strip() or len(user_id) > _MAX_USER_ID or not user_id.isprintable():
        raise UsageError(f"not a name for a key: {user_id[:80]!r}", 'give one like "Repository <admin@example.org>"')
    key = Tsk.generate(user_id, cipher_suite=CipherSuite.RSA4k, validity_seconds=None)
    return str(Tsk.from_packets(_without_encryption(bytes(key)))).encode()


def _without_encryption(key: bytes) -> list[Packet]:
    """Return the packets of a key but for its subkeys that do not sign, which stand in no fixed order."""
    groups: list[list[Packet]] = [[]]
    for packet in PacketPile.from_bytes(key):
        if packet.tag == Tag.SecretSubkey:
            groups.append([])
        groups[-1].append(packet)
    primary, *subkeys = groups
    signing = [group for group in subkeys if any(each.key_flags and each.key_flags.signing for each in group)]
    return [packet for group in (primary, *signing) for packet in group]


def keep_or_sign(
    release: bytes, inrelease: bytes | None, detached: bytes | None, key: SigningKey
) -> tuple[bytes, bytes]:
    """Return (InRelease, Release.gpg) for `release`: each existing one while it holds, else a new one (G6).

    Args:
        release: the content of Release, as for `SigningKey.clear_sign`.
        inrelease: the published InRelease, None when there is none.
        detached: the published Release.gpg, None when there is none.
        key: the only signer that is believed.
    """
    if inrelease is None or not _signs(release, inrelease, key):
        inrelease = key.clear_sign(release)
    return inrelease, keep_or_sign_detached(release, detached, key)


def keep_or_sign_detached(data: bytes, existing: bytes | None, key: SigningKey) -> bytes:
    """Return the existing detached signature of `data` while it holds, else a new one (G6)."""
    if existing is not None:
        try:
            key.keyring.verify_detached(data, existing, "the published signature")
        except VerificationError:
            pass
        else:
            return existing
    return key.detach_sign(data)


def _signs(release: bytes, inrelease: bytes, key: SigningKey) -> bool:
    try:
        return key.keyring.verify_inline(inrelease, "the published InRelease").content == release
    except VerificationError:
        return False


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
