"""Fetch everything that a lock names into a store: one run of the benchmark's download, as a process of its own."""

import sys
from pathlib import Path

from repobuild import lock
from repobuild.fetch import Fetcher, Location, Request, Settings
from repobuild.model import Mirror
from repobuild.progress import SILENT
from repobuild.store import Store


def main(lock_path: Path, url: str, folder: Path, jobs: int) -> None:
    packages = [choice.package for choice in lock.read(lock_path.read_bytes(), str(lock_path)).choices]
    requests = [
        Request(
            what=each.filename,
            locations=(Location(mirror=Mirror(url), path=each.path),),
            sha256=each.sha256,
            size=each.size,
            limit=each.size,
        )
        for each in packages
    ]
    with Store.open(folder) as store, Fetcher(Settings(jobs=jobs)) as fetcher:
        fetcher.fetch(requests, store, SILENT)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
