"""OpenPGP: verify an upstream's root, sign ours. The only room that imports pysequoia; gpg runs for a key of its own.

packets     bytes -> armour opened, packets framed and counted, before any library sees them
cleartext   the one signed block of an InRelease, cut by rules stricter than the verifier's
version3    RSA signatures of version 3, which rpm's signers still make and the library no longer takes
fingerprint how people compare keys
keyring     Keyring: who signed this, and do we believe them
certificate a new key with a self-signature that every client can import
secret      one secret key, in a file or in the user's GnuPG
key         SigningKey: our own signatures, by one key or two, kept while what they sign is unchanged
place       where a key is, and the one that it takes over from
"""

from repobuild.signing.certificate import fits_rpm, one_block
from repobuild.signing.cleartext import split_cleartext
from repobuild.signing.fingerprint import check_fingerprint, short, spaced
from repobuild.signing.key import SigningKey, generate, keep_or_sign_detached, keep_or_sign_inline
from repobuild.signing.keyring import MAX_PACKAGE_BYTES, Keyring, Verified
from repobuild.signing.place import older_path, open_key, retired_path
from repobuild.signing.secret import AGENT_PREFIX

__all__ = [
    "AGENT_PREFIX",
    "MAX_PACKAGE_BYTES",
    "Keyring",
    "SigningKey",
    "Verified",
    "check_fingerprint",
    "fits_rpm",
    "generate",
    "keep_or_sign_detached",
    "keep_or_sign_inline",
    "older_path",
    "one_block",
    "open_key",
    "retired_path",
    "short",
    "spaced",
    "split_cleartext",
]
