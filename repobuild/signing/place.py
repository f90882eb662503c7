"""Where a signing key is: a file, with the older key beside it while one takes over from the other, or GnuPG."""

from pathlib import Path

from repobuild.signing.fingerprint import short
from repobuild.signing.key import SigningKey
from repobuild.signing.secret import AGENT_PREFIX


def older_path(path: Path) -> Path:
    """Return where the key is kept that the one in `path` takes over from: `signing-key.old.asc`."""
    return path.with_name(f"{path.stem}.old{path.suffix}")


def retired_path(path: Path, fingerprint: str) -> Path:
    """Return where that key goes when it signs no more: `signing-key.retired-0123456789ABCDEF.asc`."""
    return path.with_name(f"{path.stem}.retired-{short(fingerprint)}{path.suffix}")


def open_key(name: str, passphrase: bytes | None = None) -> SigningKey:
    """Return the key of this name: `gpg:FINGERPRINT`, or the path of a file, with the older key beside it.

    Raises:
        DiskError: when a file cannot be read.
        UsageError: when there is no such key, or it cannot sign.
    """
    if name.startswith(AGENT_PREFIX):
        return SigningKey.of_agent(name.removeprefix(AGENT_PREFIX))
    path = Path(name)
    newest, older = SigningKey.load(path, passphrase), older_path(path)
    return SigningKey.join([SigningKey.load(older, passphrase), newest]) if older.is_file() else newest
