"""Make the certificate of a key of ours, so that every client in the field can import it.

The library marks much of what it signs about a key as critical. rpm up to 4.18.0 refuses a certificate with a critical
subpacket that it does not handle (`rpm --import`: "key 1 import failed"), and handles few, the older ones none. So the
one self-signature that a key of ours needs is made here: over the primary key and its name, nothing in it critical.
Decision 0016. RFC 9580, sections 5.2.3 (version 4), 5.2.4 and 5.5.3; RFC 8017, section 8.2.1.
"""

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

from pysequoia import ArmorKind, CipherSuite, Tsk, armor

from repobuild.errors import HostileInputError, VerificationError
from repobuild.signing import packets
from repobuild.signing.version3 import SHA512, block, read_integer

_VERSION = 4
_RSA = 1
_POSITIVE = 0x13
"""The type of a signature that binds a name to a key."""
_CREATED, _PREFERRED_HASHES, _ISSUER, _KEY_FLAGS, _FEATURES, _ISSUER_FINGERPRINT = 2, 21, 16, 27, 30, 33
"""Types of subpackets."""
_EMBEDDED = 32
"""The type of the subpacket that is a signature itself."""
_CERTIFIES_AND_SIGNS = 0x03
_PROTECTED_DATA = 0x01
_CRITICAL = 0x80
_PLAIN = 0
"""How the secret numbers are kept: as they are."""


class _Secret(NamedTuple):
    """An RSA key packet, opened."""

    public: bytes
    """The body of the public key packet."""
    created: bytes
    modulus: int
    exponent: int
    secret: int


def generate_rsa4096(user_id: str) -> bytes:
    """Return the packets of a new secret key: one primary key, RSA-4096 without expiry, that certifies and signs."""
    material = bytes(Tsk.generate(cipher_suite=CipherSuite.RSA4k, validity_seconds=None))
    primary = next(iter(packets.read_packets(material, b"", range(64), "the new key")))
    name = user_id.encode()
    return primary.raw + packets.frame(packets.USER_ID, name) + _self_signature(_open(primary.body), name)


def armored_secret(key: bytes) -> bytes:
    """Return the packets of a secret key in armour."""
    return armor(key, ArmorKind.SecretKey).encode()


def one_block(public: bytes) -> bytes:
    """Return the keys of a file, armoured or binary, in one block of armour; apt reads no second one in a source."""
    found = packets.read_packets(public, b"PUBLIC KEY BLOCK", range(64), "the public key")
    return armor(b"".join(each.raw for each in found), ArmorKind.PublicKey).encode()


def fits_rpm(public: bytes) -> bool:
    """Say whether every rpm takes these public keys, armoured or binary: no signature on them is marked critical."""
    try:
        found = packets.read_packets(public, b"PUBLIC KEY BLOCK", range(64), "the public key")
        signatures = [each.body for each in found if each.tag == packets.SIGNATURE]
        return bool(signatures) and not any(kind & _CRITICAL for each in signatures for kind in _subpackets(each))
    except VerificationError:
        return False


def _open(body: bytes) -> _Secret:
    """Read a secret RSA key packet of version 4 without a passphrase."""
    modulus, rest = read_integer(body[6:])
    exponent, rest = read_integer(rest)
    public = body[: len(body) - len(rest)]
    secret, _ = read_integer(rest[1:])
    is_known = body[:1] == bytes([_VERSION]) and body[5:6] == bytes([_RSA]) and rest[:1] == bytes([_PLAIN])
    if not is_known or modulus is None or exponent is None or secret is None:
        raise HostileInputError("the library made a key of another form than RSA of version 4")
    return _Secret(public, body[1:5], modulus, exponent, secret)


def _self_signature(key: _Secret, name: bytes) -> bytes:
    """Return the signature packet by which the key says that it has this name, and what it is for."""
    framed_key = b"\x99" + len(key.public).to_bytes(2) + key.public
    fingerprint = hashlib.sha1(framed_key, usedforsecurity=False).digest()
    hashed = b"".join(
        _subpacket(kind, content)
        for kind, content in (
            (_CREATED, key.created),
            (_ISSUER, fingerprint[-8:]),
            (_KEY_FLAGS, bytes([_CERTIFIES_AND_SIGNS])),
            (_PREFERRED_HASHES, bytes([SHA512, 8])),
            (_FEATURES, bytes([_PROTECTED_DATA])),
            (_ISSUER_FINGERPRINT, bytes([_VERSION]) + fingerprint),
        )
    )
    head = bytes([_VERSION, _POSITIVE, _RSA, SHA512]) + len(hashed).to_bytes(2) + hashed
    trailer = bytes([_VERSION, 0xFF]) + len(head).to_bytes(4)
    digest = hashlib.sha512(framed_key + b"\xb4" + len(name).to_bytes(4) + name + head + trailer).digest()
    value = _sign(key, digest)
    integer = value.bit_length().to_bytes(2) + value.to_bytes((value.bit_length() + 7) // 8)
    return packets.frame(packets.SIGNATURE, head + bytes(2) + digest[:2] + integer)


def _sign(key: _Secret, digest: bytes) -> int:
    """Return the RSA signature of a SHA-512 digest.

    Python's power takes a time that depends on the numbers. It is used once in the life of a key, on the machine that
    makes it and with nobody to ask for a second one; every other signature is the library's.
    """
    wanted = int.from_bytes(block(SHA512, digest, (key.modulus.bit_length() + 7) // 8))
    value = pow(wanted, key.secret, key.modulus)
    if pow(value, key.exponent, key.modulus) != wanted:
        raise HostileInputError("the library made a key whose parts do not fit together")
    return value


def _subpacket(kind: int, content: bytes) -> bytes:
    return bytes([len(content) + 1, kind]) + content


def _subpackets(body: bytes) -> Iterator[int]:
    """Yield the types of all subpackets of a signature, with their critical bits; of one inside a signature too."""
    if body[:1] != bytes([_VERSION]):
        raise VerificationError("a signature on a key of another version than 4")
    position = 4
    for _ in range(2):
        end = position + 2 + int.from_bytes(body[position : position + 2])
        position += 2
        if position > end or end > len(body):
            raise VerificationError("a signature on a key is cut short")
        while position < end:
            length, width = packets.subpacket_length(body, position)
            kind = body[position + width]
            yield kind
            if kind & ~_CRITICAL == _EMBEDDED:
                yield from _subpackets(body[position + width + 1 : position + width + length])
            position += width + length
