"""Small RPMs from their parts, signed or not, and the ways to damage them (rpm 4.18 reads all that is right)."""

import base64
import functools
import hashlib
import random
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import rpm_rs

BUILT = 1_700_000_000
"""Build time of every package, seconds since the epoch."""
_OPERATORS = {
    "<": rpm_rs.DependencyFlags.LESS,
    "<=": rpm_rs.DependencyFlags.LESS | rpm_rs.DependencyFlags.EQUAL,
    "=": rpm_rs.DependencyFlags.EQUAL,
    ">=": rpm_rs.DependencyFlags.GREATER | rpm_rs.DependencyFlags.EQUAL,
    ">": rpm_rs.DependencyFlags.GREATER,
}


class Key(NamedTuple):
    """A key pair, both halves armoured."""

    secret: str
    public: str


@functools.cache
def signing_key(
    name: str = "The Packager",
    *,
    kind: str = "rsa2048",
    usage: str = "sign",
    expired: bool = False,
    options: tuple[str, ...] = (),
) -> Key:
    """Return the key of `name` as (secret, public), made once a session.

    gpg makes it: rpm 4.18 cannot import what sequoia makes (it refuses a critical primary-user-id subpacket).

    Args:
        name: of its owner; another name, another key.
        kind: as gpg says it, `ed25519` too.
        usage: `sign`, or `cert` for a key that may not sign packages.
        expired: its one year was 2020.
        options: more of gpg's own.
    """
    made = ["--faked-system-time", "20200101T000000"] if expired else []
    user = f"{name} <{name.lower().replace(' ', '.')}@example.org>"
    with gpg_home() as home:
        _gpg(home, *made, *options, "--quick-gen-key", user, kind, usage, "1y" if expired else "never")
        return Key(_gpg(home, "--armor", "--export-secret-keys"), _gpg(home, "--armor", "--export"))


@contextmanager
def gpg_home(key: Key | None = None) -> Iterator[str]:
    """Yield a folder for gpg that holds `key`; the agent that serves it is ended. Its path is short, as sockets need."""
    with tempfile.TemporaryDirectory(prefix="rpms-") as home:
        try:
            if key is not None:
                _gpg(home, "--import", given=key.secret)
            yield home
        finally:
            subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=False, capture_output=True)


def _gpg(home: str, *arguments: str, given: str | None = None) -> str:
    command = [
        "gpg",
        "--homedir",
        home,
        "--batch",
        "--quiet",
        "--no-tty",
        "--passphrase",
        "",
        "--pinentry-mode",
        "loopback",
    ]
    return subprocess.run([*command, *arguments], check=True, capture_output=True, text=True, input=given).stdout


def build(
    folder: Path,
    name: str,
    version: str = "1.0",
    release: str = "1.el9",
    *,
    arch: str = "x86_64",
    epoch: int = 0,
    requires: Sequence[str] = (),
    provides: Sequence[str] = (),
    obsoletes: Sequence[str] = (),
    conflicts: Sequence[str] = (),
    recommends: Sequence[str] = (),
    files: Sequence[str] = (),
    size: int = 0,
    sign: str | None = None,
    signed_at: int | None = None,
) -> Path:
    """Write `N-V-R.A.rpm` into `folder` and return its path; the same bytes each time, but for a signature.

    Args:
        folder: exists or is made.
        name: like version, release, arch and epoch: the package's; epoch 0 is left out, as rpmbuild does.
        version: see name.
        release: see name.
        arch: see name; `noarch` too.
        epoch: see name.
        requires: each `name`, `name >= 1:2-3`, a path, or a rich dependency in parentheses.
        provides: the same, beside `name = EVR` and `name(arch) = EVR` that every package has.
        obsoletes: the same.
        conflicts: the same.
        recommends: the same.
        files: absolute paths of small files.
        size: bytes of one more file that does not compress, `/usr/share/<name>/ballast`; 0 for none.
        sign: secret key, armoured (`signing_key().secret`); None leaves the package unsigned.
        signed_at: time of the signature, seconds since the epoch; now when not given.
    """
    config = rpm_rs.BuildConfig(
        format=rpm_rs.RpmFormat.V4, compression=rpm_rs.CompressionType.Gzip, source_date=BUILT, reserved_space=0
    )
    builder = rpm_rs.PackageBuilder(name, version, "MIT", arch)
    builder.using_config(config)
    builder.release(release)
    if epoch:
        builder.epoch(epoch)
    for add, entries in (
        (builder.requires, requires),
        (builder.provides, provides),
        (builder.obsoletes, obsoletes),
        (builder.conflicts, conflicts),
        (builder.recommends, recommends),
    ):
        for entry in entries:
            add(*_relation(entry))
    for path in files:
        builder.with_file_contents(f"{name} {path}\n".encode(), rpm_rs.FileOptions.new(path))
    if size:
        ballast = random.Random(name).randbytes(size)
        builder.with_file_contents(ballast, rpm_rs.FileOptions.new(f"/usr/share/{name}/ballast"))
    package = builder.build()
    if sign is not None:
        package.sign(rpm_rs.Signer(sign.encode()), int(time.time()) if signed_at is None else signed_at)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}-{release}.{arch}.rpm"
    package.write_file(str(path))
    return path


def _relation(text: str) -> tuple[str, ...]:
    """Return the arguments for `name`, `name op EVR` or a rich dependency."""
    words = text.split()
    if text.startswith("(") or len(words) != 3 or words[1] not in _OPERATORS:
        return (text,)
    return words[0], words[2], _OPERATORS[words[1]]


BINARY = 7
RSA_HEADER, DSA_HEADER = 268, 267
RSA_WHOLE, MD5_WHOLE, DSA_WHOLE = 1002, 1004, 1005
PAYLOAD_DIGEST, PAYLOAD_DIGEST_ALGORITHM = 5092, 5093
_ALIGNMENT = {3: 2, 4: 4, 5: 8}


@dataclass(frozen=True)
class Entry:
    """One tag of a header, its value as it lies in the store."""

    tag: int
    type: int
    count: int
    data: bytes


def binary(tag: int, data: bytes) -> Entry:
    """Return a binary entry, as signatures are."""
    return Entry(tag, BINARY, len(data), data)


def text(tag: int, value: str, kind: int = 6) -> Entry:
    """Return an entry of one string."""
    return Entry(tag, kind, 1, value.encode() + b"\0")


@dataclass(frozen=True)
class Parts:
    """An RPM file in its segments."""

    lead: bytes
    signature: bytes
    """The signature header without its padding to 8 bytes."""
    header: bytes
    payload: bytes

    @classmethod
    def of(cls, data: bytes) -> "Parts":
        """Take a good RPM apart."""
        first = 96 + _header_size(data, 96)
        start = first + -first % 8
        second = start + _header_size(data, start)
        return cls(data[:96], data[96:first], data[start:second], data[second:])

    def join(self) -> bytes:
        """Put the file together."""
        return self.lead + self.signature + bytes(-len(self.signature) % 8) + self.header + self.payload

    def with_signatures(self, *entries: Entry) -> "Parts":
        """Put these tags, and no others, into the signature header."""
        return replace(self, signature=encode_header(62, entries))

    def with_tags(self, *entries: Entry, without: Sequence[int] = ()) -> "Parts":
        """Replace or drop tags of the main header; what was signed is then another header."""
        gone = {entry.tag for entry in entries} | set(without)
        kept = [entry for entry in read_header(self.header) if entry.tag not in gone]
        return replace(self, header=encode_header(63, sorted([*kept, *entries], key=lambda entry: entry.tag)))


def read_header(raw: bytes) -> list[Entry]:
    """Return the entries of a good header but for its region, each with all bytes up to the next one."""
    count = int.from_bytes(raw[8:12])
    store = raw[16 + 16 * count :]
    index = [
        [int.from_bytes(raw[at + 4 * i : at + 4 * i + 4]) for i in range(4)] for at in range(16, 16 + 16 * count, 16)
    ]
    ends = [offset for _, _, offset, _ in index[2:]] + [len(store) - 16]
    return [
        Entry(tag, kind, count, store[offset:end])
        for (tag, kind, offset, count), end in zip(index[1:], ends, strict=True)
    ]


def encode_header(region: int, entries: Sequence[Entry]) -> bytes:
    """Return a header of one region (62 signatures, 63 immutable)."""
    store, index = b"", b""
    for entry in entries:
        store += bytes(-len(store) % _ALIGNMENT.get(entry.type, 1))
        index += _numbers(entry.tag, entry.type, len(store), entry.count)
        store += entry.data
    count = len(entries) + 1
    trailer = _numbers(region, BINARY, 2**32 - 16 * count, 16)
    intro = bytes.fromhex("8eade80100000000") + _numbers(count, len(store) + 16)
    return intro + _numbers(region, BINARY, len(store), 16) + index + store + trailer


def _numbers(*values: int) -> bytes:
    return b"".join(value.to_bytes(4) for value in values)


def _header_size(data: bytes, at: int) -> int:
    count, store = int.from_bytes(data[at + 8 : at + 12]), int.from_bytes(data[at + 12 : at + 16])
    return 16 + 16 * count + store


def signature(key: Key, data: bytes) -> bytes:
    """Return a binary OpenPGP signature of version 4, SHA-256."""
    return bytes(rpm_rs.Signer(key.secret.encode()).sign(data))


_HASHES = {
    "sha1": (2, "3021300906052b0e03021a05000414"),
    "sha256": (8, "3031300d060960864801650304020105000420"),
    "sha512": (10, "3051300d060960864801650304020305000440"),
}


def signature_version3(key: Key, data: bytes, *, hash_name: str = "sha256", created: int = 0, kind: int = 0) -> bytes:
    """Return a signature of version 3, as Red Hat's signers make them; `key` is RSA.

    Args:
        key: its primary key signs.
        data: what is signed.
        hash_name: `sha256`, `sha512` or `sha1`.
        created: seconds since the epoch, 0 for now.
        kind: OpenPGP's signature type, 0 for binary documents.
    """
    fingerprint, (modulus, _, secret) = _rsa_numbers(key)
    code, prefix = _HASHES[hash_name]
    hashed = bytes([kind]) + (created or int(time.time())).to_bytes(4)
    digest = hashlib.new(hash_name, data + hashed).digest()
    length = (modulus.bit_length() + 7) // 8
    tail = b"\0" + bytes.fromhex(prefix) + digest
    block = b"\0\1" + b"\xff" * (length - 2 - len(tail)) + tail
    value = pow(int.from_bytes(block), secret, modulus)
    body = bytes([3, 5]) + hashed + fingerprint[-8:] + bytes([1, code]) + digest[:2]
    body += value.bit_length().to_bytes(2) + value.to_bytes((value.bit_length() + 7) // 8)
    return b"\x89" + len(body).to_bytes(2) + body


def _rsa_numbers(key: Key) -> tuple[bytes, list[int]]:
    """Return fingerprint, and modulus, exponent and secret exponent, of an unprotected RSA primary key."""
    lines = key.secret.strip().splitlines()
    packet = base64.b64decode("".join(lines[lines.index("") + 1 : -2]))
    assert packet[0] == 0x95  # an old-format secret key with a two-byte length, as gpg writes it
    body = packet[3 : 3 + int.from_bytes(packet[1:3])]
    at, numbers = 6, []
    for _ in range(3):
        if len(numbers) == 2:
            public = body[:at]
            assert body[at] == 0  # not encrypted
            at += 1
        end = at + 2 + (int.from_bytes(body[at : at + 2]) + 7) // 8
        numbers.append(int.from_bytes(body[at + 2 : end]))
        at = end
    return hashlib.sha1(b"\x99" + len(public).to_bytes(2) + public).digest(), numbers
