"""Folders of package files -> objects that join a job (`--add`)."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from repobuild.durable import Folder, check_component, disk_errors
from repobuild.errors import UsageError
from repobuild.formats import FORMATS
from repobuild.model import AddedFile, Job
from repobuild.pipeline.session import Session

_CHUNK = 1 << 20
_MAX_FILES = 10_000
_ANY = frozenset({"all", "noarch"})
"""Architectures that fit every target."""
_BESIDE = {"x86_64": frozenset({"i686"})}
"""Architectures that fit a target beside its own."""


def add_files(session: Session, job: Job, folders: Sequence[Path]) -> Job:
    """Return `job` with the packages of its family and architecture that lie in `folders`; the store has them then.

    Subfolders are not looked into. A job with other files has another digest, so that the lock follows the folder.

    Raises:
        UsageError: for a folder that is none, or two different files of one name.
        HostileInputError: for a file that is not the package its name promises.
        DiskError: when a file cannot be read or kept.
    """
    form = FORMATS[job.target.family]
    fitting = {job.target.package_arch, *_ANY, *_BESIDE.get(job.target.package_arch, ())}
    added: dict[str, AddedFile] = {}
    for path in folders:
        count = len(added)
        for name in _packages_in(path, form.suffix):
            file = AddedFile(name, session.store.put(_content(path / name)))
            package = form.read_package(session.store.path(file.sha256), upstream=name, url_path=name)
            if package.arch in fitting and added.setdefault(name, file) != file:
                raise UsageError(f"two different files of one name are to be added: {name}", "leave one of them out")
        if len(added) == count:
            session.progress.note(f"{job.target}: nothing to add from {path}: no {form.suffix} of its architecture")
    if not added:
        return job
    files = tuple(added[name] for name in sorted(added))
    said = "".join(f"{file.name}\n{file.sha256}\n" for file in files)
    return replace(job, added=files, digest=hashlib.sha256(f"{job.digest}\n{said}".encode()).hexdigest())


def _packages_in(path: Path, suffix: str) -> list[str]:
    if not path.is_dir():
        raise UsageError(f"no such folder: {path}", "name a folder of packages: --add")
    with Folder.open(path.absolute()) as folder:
        names = sorted(check_component(name) for name in folder.names() if name.endswith(suffix))
    if len(names) > _MAX_FILES:
        raise UsageError(f"more than {_MAX_FILES} packages in this folder: {path}", "make it an upstream of its own")
    return names


def _content(path: Path) -> Iterator[bytes]:
    with disk_errors(path), path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk
