"""A small repository in generations, and a program that publishes one of them: what the crash tests run and kill.

    python crashpoints.py ROOT GENERATION [--piecewise]

publishes generation GENERATION of eight packages at ROOT/home/pigsty from the objects in ROOT/objects. It changes the
working directory just before and just after, which marks the window in a trace. Exit codes are repobuild's.
"""

import os
import sys
from collections.abc import Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from repobuild.durable import Folder
from repobuild.errors import RepobuildError
from repobuild.model import Choice, Kind, Lock, Options, Package, Tree, TreeFile
from repobuild.progress import SILENT
from repobuild.publish import Repository, make_tree
from repobuild.record import sha256_of

NOW = 1_700_000_000
PARTS = ("pigsty",)


class Objects:
    """A source over a folder of files named by their sha256, as the store is one."""

    def __init__(self, path: Path, *, copy: bool = False) -> None:
        self.path = path
        self.copy = copy
        self.resealed: list[str] = []

    def add(self, data: bytes) -> str:
        digest = sha256_of(data)
        with Folder.open(self.path, create=True) as folder:
            if folder.stat(digest) is None:
                folder.write(digest, data, sync=False)
        return digest

    def place(self, sha256: str, folder: Folder, name: str, mtime: int | None = None) -> None:
        folder.place(self.path / sha256, name, mtime=mtime, copy=self.copy)

    def reseal(self, digests: Iterable[str]) -> None:
        self.resealed.extend(digests)


def payload(generation: int) -> dict[str, bytes]:
    """Packages 0 to 2 change with each generation, package 3 + (generation % 5) is left out."""
    files = {}
    for number in range(9):
        version = generation if number < 3 else 0
        if number != 3 + generation % 5:
            files[f"p{number}_{version}_all.deb"] = f"package {number} version {version}\n".encode() * (
                50 * number + 50
            )
    return files


def lock_of(files: dict[str, bytes], time: int, name: str = "pigsty") -> Lock:
    choices = tuple(
        Choice(
            Package(
                name=path.split("_")[0],
                version="1",
                arch="all",
                size=len(data),
                sha256=sha256_of(data),
                path=f"pool/{path}",
                upstream="main",
                filename=path,
                metadata="",
            ),
            "want",
        )
        for path, data in sorted(files.items())
    )
    return Lock(
        target="d12.x86_64",
        time=time,
        manifest="",
        name=name,
        version="v1",
        endpoint="http://127.0.0.1",
        upstreams=(),
        choices=choices,
        missing=(),
        sets=(),
        options=Options(weak_dependencies=False),
    )


def lock_text(files: dict[str, bytes], time: int) -> bytes:
    lines = [f"{path} {len(data)} {sha256_of(data)}" for path, data in sorted(files.items())]
    return "\n".join([f"time {time}", *lines, ""]).encode()


def metadata(files: dict[str, bytes]) -> list[TreeFile]:
    index = "".join(f"{path} {sha256_of(data)}\n" for path, data in sorted(files.items())).encode()
    root = f"{sha256_of(index)}\n".encode()
    made = [
        ("Packages", Kind.INDEX, index),
        (f"by-hash/SHA256/{sha256_of(index)}", Kind.INDEX, index),
        ("Release", Kind.POINTER, root),
        ("InRelease", Kind.POINTER, root),
    ]
    return [
        TreeFile(path=path, kind=kind, size=len(content), sha256=sha256_of(content), content=content)
        for path, kind, content in made
    ]


def tree_of(files: dict[str, bytes], time: int) -> Tree:
    return make_tree(lock_of(files, time), lock_text(files, time), metadata(files))


def tree_of_generation(generation: int) -> Tree:
    return tree_of(payload(generation), NOW + generation)


def beside(generation: int) -> dict[str, bytes]:
    return {"pigsty.list": f"deb http://127.0.0.1/pigsty ./ # {generation}\n".encode()}


def fill(root: Path, generation: int, *, copy: bool = False) -> Objects:
    """Make sure the objects of a generation are there."""
    objects = Objects(root / "objects", copy=copy)
    for data in payload(generation).values():
        objects.add(data)
    return objects


def cannot_exchange(folder: Folder, name: str, other: Folder, other_name: str) -> bool:
    """Exchange as a file system that cannot."""
    return False


def publish(root: Path, generation: int, *, piecewise: bool = False, copy: bool = False) -> None:
    exchange = cannot_exchange if piecewise else Folder.exchange
    repository = Repository(root / "home", PARTS, exchange=exchange)
    source = Objects(root / "objects", copy=copy)
    tree = tree_of_generation(generation)
    os.chdir("/")
    try:
        repository.publish(tree, source, beside=beside(generation), now=NOW + generation, progress=SILENT)
    finally:
        os.chdir("/")


def main(arguments: list[str]) -> int:
    try:
        publish(Path(arguments[0]), int(arguments[1]), piecewise="--piecewise" in arguments, copy="--copy" in arguments)
    except RepobuildError as error:
        sys.stderr.write(f"error: {error.message}\nhint: {error.hint}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
