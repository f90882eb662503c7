"""Open armour and frame packets, so that only bounded packets of expected kinds ever reach the OpenPGP library.

A compressed-data packet hidden in a signature file would be inflated by a general parser; here it is refused by its
tag before anything looks inside. RFC 9580, sections 4.2 (packet headers) and 6 (armour).
"""

import base64
import binascii
from collections.abc import Collection
from dataclasses import dataclass

from repobuild.errors import VerificationError

SIGNATURE = 2
SECRET_KEY = 5
PUBLIC_KEY = 6
SECRET_SUBKEY = 7
TRUST = 12
USER_ID = 13
PUBLIC_SUBKEY = 14
USER_ATTRIBUTE = 17

_ARMOUR = b"-----BEGIN PGP "
_MAX_PACKETS = 20_000
"""Packets in one file; the largest distribution keyrings hold some thousands."""


@dataclass(frozen=True, slots=True)
class Framed:
    """One packet."""

    tag: int
    raw: bytes
    """Header and all."""
    body: bytes


def read_packets(data: bytes, label: bytes, allowed: Collection[int], what: str) -> list[Framed]:
    """Return the packets of `data`, armoured as `label` or binary.

    Args:
        data: bounded by the caller.
        label: of the armour, `PUBLIC KEY BLOCK`. Prose outside the blocks is tolerated for keys, never for signatures.
        allowed: packet tags; any other is refused.
        what: the file, for messages.

    Raises:
        VerificationError: for damaged armour, a packet of another kind, or too many of them.
    """
    payload = _open_armour(data, label, what) if _ARMOUR in data else data
    packets = []
    position = 0
    while position < len(payload):
        tag, length, header = _read_header(payload, position, what)
        end = position + header + length
        if end > len(payload):
            raise VerificationError(f"{what}: an OpenPGP packet is cut short at byte {position}")
        if tag not in allowed:
            raise VerificationError(f"{what}: unexpected OpenPGP packet of type {tag}")
        packets.append(Framed(tag, payload[position:end], payload[position + header : end]))
        if len(packets) > _MAX_PACKETS:
            raise VerificationError(f"{what}: more OpenPGP packets than {_MAX_PACKETS}")
        position = end
    return packets


def frame(tag: int, body: bytes) -> bytes:
    """Return a packet: header of the current form, length in four octets, body."""
    return bytes([0xC0 | tag, 0xFF]) + len(body).to_bytes(4) + body


def subpacket_length(data: bytes, position: int) -> tuple[int, int]:
    """Return the length of the subpacket at `position`, its type included, and how many octets say so.

    Raises:
        VerificationError: when it is empty or does not end within `data`.
    """
    octets = data[position : position + 5].ljust(5, b"\0")
    length, width = octets[0], 1
    if octets[0] == 255:
        length, width = int.from_bytes(octets[1:5]), 5
    elif octets[0] >= 192:
        length, width = ((octets[0] - 192) << 8) + octets[1] + 192, 2
    if not 0 < length <= len(data) - position - width:
        raise VerificationError(f"an OpenPGP signature with a broken subpacket at byte {position}")
    return length, width


def _read_header(data: bytes, position: int, what: str) -> tuple[int, int, int]:
    """Return tag, body length and header length of the packet at `position`; indefinite lengths are refused."""
    first = data[position]
    if not first & 0x80:
        raise VerificationError(f"{what}: neither armoured nor binary OpenPGP data, at byte {position}")
    octets = data[position + 1 : position + 6].ljust(5, b"\0")  # a short header is caught by the bounds check
    if not first & 0x40:
        width = (1, 2, 4, 0)[first & 3]
        if width:
            return (first >> 2) & 15, int.from_bytes(octets[:width]), 1 + width
    elif octets[0] < 192:
        return first & 63, octets[0], 2
    elif octets[0] < 224:
        return first & 63, ((octets[0] - 192) << 8) + octets[1] + 192, 3
    elif octets[0] == 255:
        return first & 63, int.from_bytes(octets[1:5]), 6
    raise VerificationError(f"{what}: an OpenPGP packet of indefinite length at byte {position}")


def _open_armour(data: bytes, label: bytes, what: str) -> bytes:
    """Return the content of every block `label`, joined."""
    begin, end = _ARMOUR + label + b"-----", b"-----END PGP " + label + b"-----"
    tolerates_prose = label.endswith(b"KEY BLOCK")
    payload = bytearray()
    block: list[bytes] | None = None
    for line in (line.rstrip() for line in data.splitlines()):
        if block is not None:
            if line == end:
                payload += _decode_block(block, what)
                block = None
            else:
                block.append(line)
        elif line == begin:
            block = []
        elif line.startswith(_ARMOUR) or (line and not tolerates_prose):
            raise VerificationError(f"{what}: expected {begin.decode()}, found {line[:60]!r}")
    if block is not None:
        raise VerificationError(f"{what}: an armoured block without its end line")
    return bytes(payload)


def _decode_block(lines: list[bytes], what: str) -> bytes:
    """Return the bytes of an armoured block, without headers (`Version:`, `Comment:`) and checksum."""
    start = 0
    while start < len(lines) and b":" in lines[start]:
        start += 1
    body = lines[start:]
    if body and body[-1].startswith(b"="):
        body = body[:-1]
    try:
        return base64.b64decode(b"".join(body), validate=True)
    except binascii.Error as error:
        raise VerificationError(f"{what}: damaged OpenPGP armour") from error
