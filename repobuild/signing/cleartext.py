"""Cut an InRelease into its one signed block, more strictly than any OpenPGP library does.

A verifier skips text before and after the block, takes the first of two blocks and passes unknown headers. Everything
a second reader could understand otherwise is refused here; what remains is compared with what the verifier emitted,
so that two independent readings have to agree (CVE-2013-1051, CVE-2016-1252 and the clearsign bugs since).
RFC 9580, section 7.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pysequoia import ArmorKind, armor

from repobuild.errors import VerificationError
from repobuild.signing import packets

MAX_BYTES = 32 << 20
"""Size of a root; the largest in the wild have half a megabyte."""
_MAX_LINE = 16_384
"""Bytes in a line; gpgv gives up below 20,000."""

_BEGIN = b"-----BEGIN PGP SIGNED MESSAGE-----"
_BEGIN_SIGNATURE = b"-----BEGIN PGP SIGNATURE-----"
_END_SIGNATURE = b"-----END PGP SIGNATURE-----"
_HASH_HEADER = re.compile(rb"Hash: [A-Za-z0-9, -]{1,200}")
_HASH_NAMES = {8: "SHA256", 9: "SHA384", 10: "SHA512"}
"""OpenPGP's number of a hash -> its name in a `Hash:` header."""
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)")


@dataclass(frozen=True, slots=True)
class Cleartext:
    """A cleartext-signed document in its parts."""

    head: bytes
    """Begin line, `Hash:` headers, blank line and the text as sent: what stands before the signature's armour."""
    content: bytes
    """Our own reading of the text: unescaped, canonical, every line ended."""
    signature: bytes
    """The armoured signature block."""


def split_cleartext(data: bytes, what: str) -> Cleartext:
    """Return the parts of the only signed block in `data`; whitespace around it is all that may be there besides.

    Raises:
        VerificationError: for anything else, naming the line.
    """
    if len(data) > MAX_BYTES:
        raise VerificationError(f"{what}: larger than {MAX_BYTES} bytes")
    if found := _CONTROL.search(data):
        line = data.count(b"\n", 0, found.start()) + 1
        raise VerificationError(f"{what}: control character {found.group()[0]:#04x} in line {line}")
    lines = data.replace(b"\r\n", b"\n").strip(b" \t\n").split(b"\n")
    if any(len(line) > _MAX_LINE for line in lines):
        raise VerificationError(f"{what}: a line is longer than {_MAX_LINE} bytes")
    if _BEGIN not in lines:
        raise VerificationError(f"{what}: not signed", "use a mirror that serves the signed file")
    if lines[0] != _BEGIN:
        raise VerificationError(f"{what}: unsigned text stands before the signed block")
    text, signature = _text_range(lines, what)
    return Cleartext(
        head=b"\n".join(lines[:signature]) + b"\n",
        content=canonical(b"\n".join(_unescape(line) for line in lines[text:signature])),
        signature=b"\n".join(lines[signature:]) + b"\n",
    )


def canonical(text: bytes) -> bytes:
    """Return `text` as it is hashed, with plain line ends: blanks at line ends are not covered by a signature."""
    return b"".join(line.rstrip(b" \t\r") + b"\n" for line in text.split(b"\n"))


def make_cleartext(text: bytes, signatures: Sequence[bytes]) -> bytes:
    """Return the one signed block with these signature packets of version 4.

    Args:
        text: lines, each ended by a newline.
        signatures: bare packets, in the order they are to have.

    Raises:
        VerificationError: when one of them is no signature of version 4 with SHA-2.
    """
    bodies = [packets.read_packets(each, b"", {packets.SIGNATURE}, "signature")[0].body for each in signatures]
    names = sorted({_HASH_NAMES.get(body[3], "") if body[:1] == b"\4" else "" for body in bodies})
    if not all(names):
        raise VerificationError("a signature of another kind than version 4 with SHA-2")
    lines = [b"- " + line if line.startswith(b"-") else line for line in text.split(b"\n")[:-1]]
    head = [_BEGIN, f"Hash: {', '.join(names)}".encode(), b"", *lines]
    return b"\n".join(head) + b"\n" + armor(b"".join(signatures), ArmorKind.Signature).encode()


def _text_range(lines: list[bytes], what: str) -> tuple[int, int]:
    """Return the indexes of the first line of text and of the signature's begin line; check all that is no text."""
    start = 1
    while start < len(lines) and _HASH_HEADER.fullmatch(lines[start]):
        start += 1
    if start == len(lines) or lines[start]:
        raise VerificationError(f"{what}: the signed block has a header that is not Hash, in line {start + 1}")
    start += 1
    try:
        signature = lines.index(_BEGIN_SIGNATURE, start)
        end = lines.index(_END_SIGNATURE, signature)
    except ValueError:
        raise VerificationError(f"{what}: the signed block is cut short", "fetch the file again") from None
    if _BEGIN in lines[end:]:
        raise VerificationError(f"{what}: more than one signed block")
    if end != len(lines) - 1:
        raise VerificationError(f"{what}: unsigned text stands after the signed block")
    for number in range(start, signature):
        if lines[number].startswith(b"-") and not lines[number].startswith(b"- "):
            raise VerificationError(f"{what}: a dash is not escaped in line {number + 1}")
    return start, signature


def _unescape(line: bytes) -> bytes:
    return line.removeprefix(b"- ")
