"""RSA signatures of version 3 over bytes (RFC 4880, sections 5.2.2 and 5.2.4; PKCS #1 v1.5, RFC 8017, section 8.2.2).

The signers of Red Hat, CentOS and Oracle still put them into RPMs. Nothing is wrong with them when the hash is SHA-2,
but the library takes none since 2021, so these few lines check them: they make the one block that a signature has to
open to, and compare all of it, which leaves no padding to be read leniently. Whether the key is believed is the
keyring's business.

A signature of another version cannot pass for one of these: what is hashed ends here in a zero byte and the time of
the signature, while version 4 and 6 end in 0xff and a length. Version 5's length can end in a zero byte, but then the
time would be of 1970, before there was any key.
"""

import hashlib
from typing import NamedTuple

from repobuild.errors import VerificationError
from repobuild.signing import packets

VERSION = 3
_RSA = frozenset({1, 3})
"""RSA, and RSA for signatures only."""
_HASHES = {
    8: ("sha256", bytes.fromhex("3031300d060960864801650304020105000420")),
    9: ("sha384", bytes.fromhex("3041300d060960864801650304020205000430")),
    10: ("sha512", bytes.fromhex("3051300d060960864801650304020305000440")),
}
"""OpenPGP's number -> name and DER prefix of the hashes that are taken (RFC 8017, section 9.2)."""
SHA512 = 10
"""OpenPGP's number of it."""
BINARY = 0
"""The type of a signature over bytes, in this version and the later ones (RFC 9580, section 5.2.1)."""
_MIN_BITS = 2_048
_MAX_BITS = 16_384
_MAX_EXPONENT_BITS = 64
"""Real ones have 17; a longer one only costs time."""


class _RsaKey(NamedTuple):
    created: int
    modulus: int
    exponent: int


def holds(signature: bytes, data: bytes, key: bytes, fingerprint: str) -> bool:
    """Say whether `signature`, a packet of version 3, is one of `data` by the RSA key packet `key`."""
    try:
        body = _body(signature, packets.SIGNATURE)
        rsa = _read_key(_body(key, packets.PUBLIC_KEY))
    except VerificationError:
        return False
    if rsa is None or len(body) < 19 or body[:3] != bytes([VERSION, 5, BINARY]):
        return False
    created, issuer, algorithm = int.from_bytes(body[3:7]), body[7:15].hex().upper(), body[15]
    if created < rsa.created or not fingerprint.endswith(issuer) or algorithm not in _RSA or body[16] not in _HASHES:
        return False
    value, rest = read_integer(body[19:])
    if rest or value is None or not 1 < value < rsa.modulus:
        return False
    digest = hashlib.new(_HASHES[body[16]][0], data)
    digest.update(body[2:7])
    if digest.digest()[:2] != body[17:19]:
        return False
    length = (rsa.modulus.bit_length() + 7) // 8
    return pow(value, rsa.exponent, rsa.modulus).to_bytes(length) == block(body[16], digest.digest(), length)


def block(algorithm: int, digest: bytes, length: int) -> bytes:
    """Return the block of `length` bytes that an RSA signature of this digest opens to, all of it fixed."""
    tail = b"\0" + _HASHES[algorithm][1] + digest
    return b"\0\1" + b"\xff" * (length - 2 - len(tail)) + tail


def read_integer(data: bytes) -> tuple[int | None, bytes]:
    """Return the multiprecision integer at the start, None when it is cut short, and what follows it."""
    length = (int.from_bytes(data[:2]) + 7) // 8
    if len(data) < 2 or len(data) < 2 + length:
        return None, b""
    return int.from_bytes(data[2 : 2 + length]), data[2 + length :]


def _read_key(body: bytes) -> _RsaKey | None:
    """Return an RSA key of version 4 and of sane size, None for any other."""
    if len(body) < 6 or body[0] != 4 or body[5] not in _RSA:
        return None
    modulus, rest = read_integer(body[6:])
    exponent, rest = read_integer(rest)
    if rest or modulus is None or exponent is None:
        return None
    if not _MIN_BITS <= modulus.bit_length() <= _MAX_BITS or not modulus % 2:
        return None
    if not exponent % 2 or not 1 < exponent.bit_length() <= _MAX_EXPONENT_BITS:
        return None
    return _RsaKey(int.from_bytes(body[1:5]), modulus, exponent)


def _body(packet: bytes, tag: int) -> bytes:
    (found,) = packets.read_packets(packet, b"", {tag}, "packet")
    return found.body
