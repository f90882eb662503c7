"""OpenPGP: verify an upstream's root, sign ours. The only room that imports pysequoia; no gpg binary is needed.

packets   bytes -> armour opened, packets framed and counted, before any library sees them
cleartext the one signed block of an InRelease, cut by rules stricter than the verifier's
version3  RSA signatures of version 3, which rpm's signers still make and the library no longer takes
keyring   Keyring: who signed this, and do we believe them
key       SigningKey: our own signatures, made once and kept while what they sign is unchanged
"""

from repobuild.signing.cleartext import split_cleartext
from repobuild.signing.key import SigningKey, generate, keep_or_sign, keep_or_sign_detached
from repobuild.signing.keyring import MAX_PACKAGE_BYTES, Keyring, Verified

__all__ = [
    "MAX_PACKAGE_BYTES",
    "Keyring",
    "SigningKey",
    "Verified",
    "generate",
    "keep_or_sign",
    "keep_or_sign_detached",
    "split_cleartext",
]
