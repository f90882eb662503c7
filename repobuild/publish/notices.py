"""What a person should know about the place that a repository is published to."""

import os
import pwd
from pathlib import Path

from repobuild.durable import Folder
from repobuild.model import MARKER
from repobuild.progress import Progress
from repobuild.publish.staging import Former
from repobuild.record import survey


def tell_of_owner(parent: Folder, progress: Progress) -> None:
    """Say so when root publishes in another user's folder: that user can put other files in its place."""
    owner = os.fstat(parent.fileno()).st_uid
    if os.geteuid() == 0 and owner != 0:
        progress.note(f"{parent.path} belongs to {_name_of(owner)}, who can change what is there; see --fix-owner")


def permission_hint(path: Path) -> str | None:
    """Return what to do when we may not write at `path`; None when it is not the folders there that forbid it."""
    present = next(above for above in (path, *path.absolute().parents) if above.is_dir())
    folder = next(
        (each for each in (present, present.parent) if not os.access(each, os.W_OK, effective_ids=True)), None
    )
    if folder is None:
        return None
    owner = _name_of(folder.stat().st_uid)
    return f"{folder} belongs to {owner}: run as that user, or once as root with --fix-owner, or choose another --home"


def tell_of_strangers(former: Former, progress: Progress) -> None:
    """Say which files in the repository are not ours: they go with its generation."""
    strangers = sorted(survey(former.folder).keys() - former.listed.keys() - former.carried.keys() - {MARKER})
    if strangers and former.listed:
        more = f" and {len(strangers) - 1} more" if len(strangers) > 1 else ""
        progress.note(f"not published again, for it is in no marker: {former.folder.path / strangers[0]}{more}")


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
