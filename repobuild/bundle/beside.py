"""What lies beside the parts: SHA256SUMS and its signature, the installer, our public key.

A folder has one list for all bundles in it. The signature reaches the disk before the list gets its name, and its own
name right after it, so that a run that was killed in between left it where the next one finds it.
"""

import os
import re
from collections.abc import Iterator, Mapping

from repobuild.archive.contents import INSTALLER_NAME
from repobuild.durable import Folder, disk_errors, seal
from repobuild.errors import HostileInputError, RefusedError
from repobuild.progress import Progress
from repobuild.record import sha256_of
from repobuild.signing import SigningKey, keep_or_sign_detached

SUMS = "SHA256SUMS"
SIGNATURE = "SHA256SUMS.asc"
_SUMS_LIMIT = 16 << 20
_SIGNATURE_LIMIT = 1 << 20
"""Bytes of SHA256SUMS, and of its signature."""
_LINE = re.compile(r"([0-9a-f]{64}) [ *]([A-Za-z0-9][A-Za-z0-9._+~-]{0,199})")
"""What install.sh takes: it refuses a whole list for one line of any other form."""


def write_beside(
    folder: Folder, files: Mapping[str, bytes], parts: Mapping[str, str], key: SigningKey | None, progress: Progress
) -> None:
    """Write `files` by name, then the list of them, of `parts` (sha256 by name) and of what it listed that is there.

    With a key, only what a list signed by it says is listed again: nobody else's word gets our signature. The caller
    keeps other runs out.

    Raises:
        DiskError: when the disk says so.
    """
    former = _former(folder, key)
    if key is not None and not former and folder.stat(SUMS) is not None:
        progress.note(f"not signed with this key, so what it lists is not listed again: {folder.path / SUMS}")
    listed, strange = _lines(former)
    if strange:
        more = f" and {len(strange) - 1} more" if len(strange) > 1 else ""
        progress.note(f"left out of {folder.path / SUMS}, not what install.sh takes: {strange[0][:200]!a}{more}")
    kept = {name: digest for name, digest in listed.items() if folder.stat(name) is not None}
    for name, data in files.items():
        _write(folder, name, data)
    digests = kept | dict(parts) | {name: sha256_of(data) for name, data in files.items()}
    text = "".join(f"{digests[name]}  {name}\n" for name in sorted(digests, key=os.fsencode)).encode()
    if key is not None:
        _write_signed(folder, text, key)
        return
    _write(folder, SUMS, text)
    if text != former:
        folder.discard(SIGNATURE)  # it is of another list
        folder.sync()


def _write_signed(folder: Folder, text: bytes, key: SigningKey) -> None:
    """Write the list and its signature, one that still fits if there is one."""
    existing = next((each for each in _signatures(folder) if _fits(key, text, each)), None)
    signature = keep_or_sign_detached(text, existing, key)
    temporary, fd = folder.temporary(SIGNATURE)
    try:
        with disk_errors(folder.path / SIGNATURE), os.fdopen(fd, "wb") as file:
            file.write(signature)
            file.flush()
            seal(file.fileno(), mode=0o644, mtime=None, sync=True)
        folder.sync()
        _write(folder, SUMS, text)
        folder.rename(temporary, SIGNATURE)
        folder.sync()
    except BaseException:
        folder.discard(temporary)
        raise


def key_files(name: str, key: SigningKey | None) -> dict[str, bytes]:
    """Return our public key as it lies beside a bundle: binary for gpgv, armoured for people and rpm."""
    return {} if key is None else {f"{name}.gpg": key.public_binary(), f"{name}.asc": key.public_armored()}


def own_names(name: str) -> tuple[str, ...]:
    """Return the names of all that lies beside the bundles of the repository `name`."""
    return (SUMS, SIGNATURE, INSTALLER_NAME, f"{name}.gpg", f"{name}.asc")


def _former(folder: Folder, key: SigningKey | None) -> bytes:
    """Return the list that is there; b"" where there is none, or none that our key signed."""
    try:
        text = folder.read(SUMS, _SUMS_LIMIT) or b""
    except HostileInputError:
        return b""
    if key is None or any(_fits(key, text, signature) for signature in _signatures(folder)):
        return text
    return b""


def _signatures(folder: Folder) -> Iterator[bytes]:
    """Yield the signature that is there, and those that killed runs left under a temporary name."""
    left = re.compile(rf"\.{re.escape(SIGNATURE)}\.[0-9a-f]{{12}}\.tmp")
    for name in (SIGNATURE, *filter(left.fullmatch, folder.names())):
        try:
            text = folder.read(name, _SIGNATURE_LIMIT)
        except HostileInputError:
            continue
        if text is not None:
            yield text


def _fits(key: SigningKey, text: bytes, signature: bytes) -> bool:
    try:
        key.keyring.verify_detached(text, signature, SIGNATURE)
    except RefusedError:
        return False
    return True


def _lines(text: bytes) -> tuple[dict[str, str], list[str]]:
    """Return the sha256 of each file that a list names, and the lines that name none."""
    found, strange = {}, []
    for line in text.decode("utf-8", "replace").splitlines():
        match = _LINE.fullmatch(line)
        if match and match[2] not in {SUMS, SIGNATURE}:
            found[match[2]] = match[1]
        else:
            strange.append(line)
    return found, strange


def _write(folder: Folder, name: str, data: bytes) -> None:
    """Write a file unless it is there as it has to be."""
    try:
        if folder.read(name, max(len(data), 1)) == data:
            return
    except HostileInputError:
        pass  # larger, or a link: it is replaced
    folder.write(name, data)
