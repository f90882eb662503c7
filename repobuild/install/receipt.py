"""The receipt of a transfer: what came, when, by whom, with which digests. Beside the repository, never removed."""

import json
import os
import pwd
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from repobuild import __version__
from repobuild.install.place import InstallSpec, working_area
from repobuild.install.staging import Arrival

UNSIGNED = "unsigned"
_FOLDER = "receipts"
_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferReceipt:
    """What an install brought."""

    target: str
    name: str
    version: str
    sequence: int
    older_sequence: int | None
    """Of what was in place before, None when nothing of ours was."""
    lock: str
    """sha256 of the lock's text."""
    marker: str
    """sha256 of the marker, and so of every file."""
    kind: str
    parts: Sequence[Arrival]
    signer: str
    """Fingerprint of the key that signed the list of digests, or `unsigned`."""
    on_behalf_of: str
    """Who called sudo, "" when nobody did."""
    time: int
    """Seconds since the epoch."""


def write_receipt(spec: InstallSpec, receipt: TransferReceipt) -> str:
    """Write a receipt beside the repository, readable by its owner alone, and return its path; on disk then.

    It says who this is as well: user, host, and version of repobuild.

    Raises:
        DiskError: when it cannot be written.
    """
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(receipt.time))
    who = {"user": _user(), "uid": os.geteuid(), "host": os.uname().nodename}
    record = {"format": _FORMAT, "repobuild": __version__, **who, **asdict(receipt)}
    record["time"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(receipt.time))
    name = f"{receipt.sequence}-{stamp}.json"
    with working_area(spec) as area, area.folder(_FOLDER, create=True) as folder:
        folder.sweep(name)
        folder.write(name, (json.dumps(record, indent=1, sort_keys=True) + "\n").encode(), mode=0o600)
        return str(folder.path / name)


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return ""
