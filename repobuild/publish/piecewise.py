"""Publication file by file, where folders cannot be exchanged.

Clients that read meanwhile see the old indexes with all they name, then the new ones with all they name: payload and
digest-named indexes of both generations lie side by side. A kill on the way leaves the record of the new generation
with the marker of the old one, which is how the next run sees that there is something to do.
"""

import itertools
import operator

from repobuild.durable import Folder
from repobuild.errors import DiskError
from repobuild.model import MARKER, PRIVATE, Tree
from repobuild.publish.area import NEXT, STAGE, Area
from repobuild.publish.staging import Former
from repobuild.record import GENERATION, Generation, located, parts_of


def replace_files(area: Area, tree: Tree, former: Former, generation: Generation) -> set[str]:
    """Move the files of `next` into the repository in commit order, then remove what has left the tree.

    Returns:
        The digests of files that are gone from all generations here.
    """
    is_other = former.marker != tree.files[-1].content
    dropped = _keep_former(area, former) if former.is_whole and is_other else set()
    repository = former.folder
    with repository.folder(PRIVATE, create=True) as private:
        private.write(GENERATION, generation.to_bytes())
    repository.sync()
    with area.folder.folder(NEXT) as built:
        for _, files in itertools.groupby(tree.files, key=operator.attrgetter("kind")):
            paths = [file.path for file in files]
            for path in paths:
                _move(built, repository, path)
            _sync_folders(repository, paths)
    stale = (former.listed.keys() | former.carried.keys()) - {file.path for file in tree.files}
    gone = sorted(stale - generation.carried.keys())
    for path in gone:
        remove_file(repository, path)
    _sync_folders(repository, gone)
    return dropped


def _keep_former(area: Area, former: Former) -> set[str]:
    """Make the previous generation out of links to the current one's files."""
    with area.folder.folder(STAGE, create=True) as copy:
        for path in (*sorted(former.listed), MARKER):
            with located(former.folder, path) as (within, name), located(copy, path, create=True) as (folder, new):
                within.link(name, folder, new)
        if former.generation is not None:
            with copy.folder(PRIVATE, create=True) as private:
                private.write(GENERATION, former.generation.to_bytes(), sync=False)
        copy.sync_tree(files=True)
    return area.make_previous(STAGE)


def _move(built: Folder, repository: Folder, path: str) -> None:
    with located(built, path) as (within, name), located(repository, path, create=True) as (folder, _):
        within.rename(name, name, folder)


def remove_file(repository: Folder, path: str) -> None:
    """Remove a file of a repository; absent is fine."""
    try:
        with located(repository, path) as (folder, name):
            folder.remove(name)
    except DiskError as error:
        if not isinstance(error.__cause__, FileNotFoundError | NotADirectoryError):
            raise


def _sync_folders(repository: Folder, paths: list[str]) -> None:
    """Flush every folder that holds one of these paths, and those above it."""
    folders = {parts[:count] for parts in map(parts_of, paths) for count in range(len(parts))}
    for folder in sorted(folders, reverse=True):
        try:
            with repository.descend(folder) as open_folder:
                open_folder.sync()
        except DiskError as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                raise
