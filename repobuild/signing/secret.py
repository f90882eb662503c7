"""One secret key, in a file of ours or in the user's GnuPG: what it is called, and the one signature it makes.

Every signature comes out as one bare packet, so that several keys can sign the same thing side by side.
"""

import subprocess
from typing import Protocol

from pysequoia import PySigner, SignatureMode, Tsk, sign

from repobuild.errors import UsageError, VerificationError
from repobuild.signing import packets
from repobuild.signing.cleartext import split_cleartext
from repobuild.signing.fingerprint import check_fingerprint, spaced
from repobuild.signing.keyring import Keyring

AGENT_PREFIX = "gpg:"
"""Before a fingerprint: the key is in the user's GnuPG, and its agent asks for the passphrase."""
_SECONDS = 120
"""How long gpg may take, an operator typing a passphrase included."""
_MAX_OUTPUT = 8 << 20
"""Bytes of a public key or a signature that gpg may give."""
_GPG = ("gpg", "--batch", "--quiet", "--no-armor", "--no-auto-key-locate")
_SIGN = ("--yes", "--digest-algo", "SHA512", "--no-emit-version", "--no-comments", "--output", "-")
_AGENT_HINT = "its agent has to be able to ask, or to know: export GPG_TTY=$(tty), or gpg-preset-passphrase"


class Secret(Protocol):
    """A secret key that can sign."""

    public: bytes
    """The certificate, binary."""

    def sign_bytes(self, data: bytes) -> bytes:
        """Return a bare signature packet over `data`."""

    def sign_text(self, text: bytes) -> bytes:
        """Return a bare signature packet for a cleartext-signed document of `text`, whose lines all end."""


class FileSecret:
    """A key that the library holds."""

    def __init__(self, key: Tsk, signer: PySigner) -> None:
        self.public = bytes(key.extract_certificate())
        self._signer = signer

    def sign_bytes(self, data: bytes) -> bytes:
        """Sign with the library."""
        return sign(self._signer, data, mode=SignatureMode.DETACHED, armor=False)

    def sign_text(self, text: bytes) -> bytes:
        """Sign with the library; the last line end belongs to the signature's delimiter (RFC 9580, section 7.1)."""
        return _packet(sign(self._signer, text[:-1], mode=SignatureMode.CLEAR))


class AgentSecret:
    """A key that GnuPG keeps. Its secret half never comes here: gpg signs, and its agent asks for the passphrase."""

    def __init__(self, fingerprint: str) -> None:
        """Ask gpg for the public half.

        Raises:
            UsageError: when there is no gpg, or it has no such key.
        """
        self._fingerprint = check_fingerprint(fingerprint)
        public = _run(("--export-options", "export-minimal", "--export", self._fingerprint), b"", self._fingerprint)
        try:
            keyring = Keyring.from_bytes([("GnuPG's key", public)], [self._fingerprint])
        except VerificationError as error:
            raise UsageError(
                f"GnuPG here has no key {self._fingerprint}",
                "see what it has: gpg --list-secret-keys --with-fingerprint",
            ) from error
        self.public = keyring.binary()

    def sign_bytes(self, data: bytes) -> bytes:
        """Have gpg sign."""
        return self._sign("--detach-sign", data)

    def sign_text(self, text: bytes) -> bytes:
        """Have gpg sign."""
        return _packet(self._sign("--clearsign", text))

    def _sign(self, how: str, data: bytes) -> bytes:
        return _run((*_SIGN, "--local-user", self._fingerprint, how), data, self._fingerprint)


def _packet(document: bytes) -> bytes:
    """Return the only signature packet of a cleartext-signed document."""
    signature = split_cleartext(document, "our own signature").signature
    (found,) = packets.read_packets(signature, b"SIGNATURE", {packets.SIGNATURE}, "our own signature")
    return found.raw


def _run(words: tuple[str, ...], data: bytes, fingerprint: str) -> bytes:
    """Run gpg, found on the PATH, without a shell; secrets are between it and its agent."""
    try:
        done = subprocess.run([*_GPG, *words], input=data, capture_output=True, timeout=_SECONDS, check=False)
    except FileNotFoundError as error:
        raise UsageError(
            f"there is no gpg here, and the key is in it: {AGENT_PREFIX}{fingerprint}", "install gnupg"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise UsageError(
            f"gpg does not answer within {_SECONDS} s, it may wait for a passphrase: {AGENT_PREFIX}{fingerprint}",
            _AGENT_HINT,
        ) from error
    if done.returncode != 0 or len(done.stdout) > _MAX_OUTPUT:
        said = " ".join(done.stderr.decode(errors="replace").split())[:300]
        raise UsageError(
            f"gpg does not sign with {spaced(fingerprint)}: {said or f'exit {done.returncode}'}",
            _AGENT_HINT,
        )
    return done.stdout
