"""The one module that writes final files: temporary file, write, fsync, rename, fsync the directory.

Every operation goes through a `Folder`, an open directory: names are single path components, looked up relative to
the descriptor and never through a link, so that a directory swapped for a link while we work leads nowhere (G5).
Only the path given to `Folder.open` may contain links: that is the operator's own choice (`/www` -> `/data/nginx`).

What "durable" costs is chosen by the caller: `write(..., sync=False)` and one `sync_tree(files=True)` before the
pointers move is cheaper than a flush a file, and exactly as safe, as long as nothing points at the new files before.

A name that we make has to pass `check_component`. Looking at and removing take any single component, because what
others left in a folder of ours has to be seen and cleared whatever it is called.
"""

from repobuild.durable.folder import Folder
from repobuild.durable.kernel import check_component, disk_errors, seal

__all__ = ["Folder", "check_component", "disk_errors", "seal"]
