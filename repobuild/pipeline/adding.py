"""Folders of package files -> objects that join a job (`--add`)."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from repobuild.durable import Folder, disk_errors
from repobuild.errors import UsageError
from repobuild.formats import FORMATS
from repobuild.model import AddedFile, Job
from repobuild.pipeline.session import Session

_CHUNK = 1 << 20
_MAX_FILES = 10_000


def add_files(session: Session, job: Job, folders: Sequence[Path]) -> Job:
    """Return `job` with the packages of its family that lie in `folders`, which the store has from now on.

    Subfolders are not looked into. A job with other files has another digest, so that the lock follows the folder.

    Raises:
        UsageError: for a folder that is none, or holds no package of the target's family.
        DiskError: when a file cannot be read or kept.
    """
    suffix = FORMATS[job.target.family].suffix
    added: dict[str, AddedFile] = {}
    for path in folders:
        names = _packages_in(path, suffix)
        if not names:
            raise UsageError(f"no {suffix} file for {job.target} in this folder: {path}", "name another folder: --add")
        for name in names:
            file = AddedFile(name, session.store.put(_content(path / name)))
            if added.setdefault(name, file) != file:
                raise UsageError(f"two different files of one name are to be added: {name}", "leave one of them out")
    files = tuple(added[name] for name in sorted(added))
    said = "".join(f"{file.name}\n{file.sha256}\n" for file in files)
    return replace(job, added=files, digest=hashlib.sha256(f"{job.digest}\n{said}".encode()).hexdigest())


def _packages_in(path: Path, suffix: str) -> list[str]:
    if not path.is_dir():
        raise UsageError(f"no such folder: {path}", "name a folder of packages: --add")
    with Folder.open(path.absolute()) as folder:
        names = sorted(name for name in folder.names() if name.endswith(suffix))
    if len(names) > _MAX_FILES:
        raise UsageError(f"more than {_MAX_FILES} packages in this folder: {path}", "make it an upstream of its own")
    return names


def _content(path: Path) -> Iterator[bytes]:
    with disk_errors(path), path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk
