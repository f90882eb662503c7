"""Open a primary index with a cache and solve for one name in it; print seconds and megabytes: a process of its own."""

import hashlib
import os
import resource
import sys
import time
from pathlib import Path

from repobuild.formats import FORMATS
from repobuild.formats.protocol import IndexFile, Loaded, Root
from repobuild.model import Options, Upstream
from repobuild.targets import parse_target


class FolderCache:
    """What is derived, a file each."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._folder = folder

    def derived(self, key: str) -> bytes | None:
        """Return what was kept."""
        path = self._folder / key
        return path.read_bytes() if path.exists() else None

    def put_derived(self, key: str, data: bytes) -> None:
        """Keep it."""
        (self._folder / key).write_bytes(data)


def main(primary: Path, folder: Path) -> None:
    cache = FolderCache(folder)
    digest = folder / "sha256"
    if not digest.exists():
        digest.write_text(hashlib.sha256(primary.read_bytes()).hexdigest())
        os.execv(sys.executable, [sys.executable, *sys.argv])  # so that memory is that of the load alone
    index = IndexFile(variants=(), size=primary.stat().st_size, sha256=digest.read_text(), kind="primary")
    root = Root(origin="", suite="", date=1, valid_until=None, aliases=(), pin=500, indexes=(index,))
    loaded = Loaded(Upstream(name="large", module="", mirrors=()), root, (primary,))
    begun = time.perf_counter()
    target = parse_target("el9.x86_64")
    universe = FORMATS["rpm"].universe([loaded], target, cache, Options(weak_dependencies=False))
    solution = universe.solve(universe.find("package69999").candidates)
    seconds = time.perf_counter() - begun
    if solution.problems:
        sys.exit(f"does not install: {solution.problems}")
    print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
