"""Bundles of format 2 written by hand, independently of the package, with every byte open to forging."""

import gzip
import hashlib
import json
import os
import subprocess
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from archive_on_disk import signing_key

from repobuild.signing import SigningKey

INSTALLER = Path(__file__).parents[1] / "repobuild" / "data" / "install.sh"
MACHINE = os.uname().machine
TARGET = f"d12.{MACHINE}"
TIME = 1_700_000_000
OS_RELEASE = 'ID=debian\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\n'
INDEXES = ("Packages", "repobuild.lock", "pigsty.gpg", "pigsty.asc")
POINTERS = ("InRelease",)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@dataclass
class Member:
    """One member of a tar; what it says of itself is free."""

    name: str
    body: bytes = b""
    kind: bytes = tarfile.REGTYPE
    mode: int = 0o644
    link: str = ""
    size: int | None = None

    def to_bytes(self) -> bytes:
        info = tarfile.TarInfo(self.name)
        info.type, info.mode, info.linkname, info.mtime = self.kind, self.mode, self.link, TIME
        info.size = len(self.body) if self.size is None else self.size
        info.devmajor, info.devminor = 1, 3
        return info.tobuf(tarfile.GNU_FORMAT) + self.body + bytes(-len(self.body) % 512)


def folder(name: str) -> Member:
    return Member(name, kind=tarfile.DIRTYPE, mode=0o755)


@dataclass
class Tree:
    """A small repository, and what its bundle says; `kind`, `carriers` and the rest may lie."""

    files: dict[str, bytes]
    time: int = TIME
    name: str = "pigsty"
    target: str = TARGET
    kind: str = "whole"
    parts: int = 1
    carriers: dict[str, int] = field(default_factory=dict)
    older: dict[str, object] | None = None
    repositories: tuple[str, ...] = ()

    def all_files(self) -> dict[str, bytes]:
        return {**self.files, "repo_complete": marker(self.files)}

    def rank(self, path: str) -> tuple[int, str]:
        kinds = {"index": 0, "payload": 1, "pointer": 2, "marker": 3}
        return kinds[self.kind_of(path)], path

    def kind_of(self, path: str) -> str:
        if path == "repo_complete":
            return "marker"
        if path in POINTERS:
            return "pointer"
        return "payload" if path.endswith((".deb", ".rpm")) else "index"

    def carrier(self, path: str) -> int:
        return self.carriers.get(path, 0 if self.kind != "whole" and path == "repo_complete" else 1)

    def lines(self) -> list[dict[str, object]]:
        files = self.all_files()
        return [
            {
                "in": self.carrier(path), "kind": self.kind_of(path), "path": path, "sha256": sha256(files[path]),
                "size": len(files[path]), "upstream": "", "verify": "",
            }
            for path in sorted(files, key=self.rank)
        ]  # fmt: skip

    def tail(self, part: int) -> dict[str, object]:
        several = {"format": 3, "repositories": list(self.repositories)} if self.repositories else {"format": 2}
        return {
            **several, "installer": sha256(INSTALLER.read_bytes()), "kind": self.kind,
            "lock": sha256(self.files["repobuild.lock"]), "name": self.name, "older": self.older, "part": part,
            "parts": self.parts, "sequence": self.time, "target": self.target, "version": "v1.0.0",
        }  # fmt: skip

    def contents(self, part: int) -> bytes:
        rows = ",\n".join(json.dumps(line, sort_keys=True, separators=(",", ":")) for line in self.lines())
        tail = json.dumps(self.tail(part), sort_keys=True, separators=(",", ":"))
        return f'{{"files":[\n{rows}\n],{tail[1:]}\n'.encode()

    def members(self, part: int = 1) -> list[Member]:
        """Return the members of a part, in order."""
        return [*self.head(part), *self.body(part)]

    def head(self, part: int = 1) -> list[Member]:
        """Return what comes before the files."""
        files, top = self.all_files(), self.name
        own = {
            "CONTENTS.json": self.contents(part),
            "CONTENTS.sha256": marker(files),
            "install.sh": INSTALLER.read_bytes(),
        }
        folders = {
            f"{top}/",
            f"{top}/.repobuild/",
            *(
                f"{top}/{parent}/"
                for path in files
                for parent in map(str, PurePosixPath(path).parents)
                if parent != "."
            ),
        }
        return [
            *(Member(f"{top}/.repobuild/{name}", data) for name, data in own.items()),
            *(folder(name) for name in sorted(folders)),
        ]

    def body(self, part: int = 1) -> list[Member]:
        """Return the files that a part carries."""
        files = self.all_files()
        carried = [path for path in sorted(files, key=self.rank) if self.carrier(path) == part]
        return [Member(f"{self.name}/{path}", files[path]) for path in carried]


def joined(*built: Tree) -> list[Member]:
    """Return the members of a bundle of several repositories, each of which lists all of them."""
    names = tuple(each.name for each in built)
    trees = [replace(each, repositories=names) for each in built]
    return [member for each in trees for member in each.head()] + [member for each in trees for member in each.body()]


def marker(files: dict[str, bytes]) -> bytes:
    return "".join(f"{sha256(files[path])}  {path}\n" for path in sorted(files)).encode()


def lock_text(time: int, target: str = TARGET, name: str = "pigsty") -> bytes:
    """Return the lines of a lock that are read with nothing but sed."""
    return (
        f'{{\n"format": 1,\n"target": "{target}",\n"time": {time},\n"name": "{name}",\n'
        f'"endpoint": "http://10.10.10.10:80",\n"packages": [\n]\n}}\n'
    ).encode()


def tree(step: int = 0, *, time: int | None = None, target: str = TARGET, key: SigningKey | None = None) -> Tree:
    """Return the repository after `step` updates: one package stays, one changes."""
    time = TIME + step if time is None else time
    files = {
        "app_1.0_amd64.deb": b"app" * 500,
        f"lib_{step}.0_amd64.deb": b"lib%d" % step * 700,
        "Packages": b"Package: app\nPackage: lib %d\n" % step,
        "InRelease": b"Date: %d\n" % time,
        "by-hash/SHA256/" + sha256(b"%d" % step): b"%d" % step,
        "repobuild.lock": lock_text(time, target),
    }
    if key is not None:
        files |= {"pigsty.gpg": key.public_binary(), "pigsty.asc": key.public_armored()}
    return Tree(files, time=time, target=target)


def archive(members: list[Member]) -> bytes:
    data = b"".join(member.to_bytes() for member in members)
    return data + bytes(1024 + -(len(data) + 1024) % 10240)


def pack(data: bytes, ending: str = ".tgz") -> bytes:
    if ending == ".tgz":
        return gzip.compress(data, 0, mtime=0)
    if ending == ".tar":
        return data
    return subprocess.run(["zstd", "-1", "-q", "-c"], input=data, capture_output=True, check=True).stdout


@dataclass
class Out:
    """The folder that a bundle is written to; `write` signs whatever is in it."""

    folder: Path
    key: SigningKey | None = field(default_factory=signing_key)
    name: str = "pigsty"
    parts: dict[str, bytes] = field(default_factory=dict)
    edit_sums: Callable[[bytes], bytes] = bytes
    edit_asc: Callable[[bytes], bytes] = bytes

    def add(self, built: Tree, ending: str = ".tgz", stem: str | None = None) -> "Out":
        stem = stem or f"pigsty-pkg-v1.0.0.{built.target}"
        for part in range(1, built.parts + 1):
            word = {"whole": "", "delta": ".delta", "volume": f".vol{part}"}[built.kind]
            self.parts[f"{stem}{word}{ending}"] = pack(archive(built.members(part)), ending)
        return self

    def write(self) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        beside = {"install.sh": INSTALLER.read_bytes()}
        if self.key is not None:
            beside |= {f"{self.name}.gpg": self.key.public_binary(), f"{self.name}.asc": self.key.public_armored()}
        for name, data in (self.parts | beside).items():
            (self.folder / name).write_bytes(data)
        sums = self.edit_sums(marker(self.parts | beside))
        (self.folder / "SHA256SUMS").write_bytes(sums)
        if self.key is not None:
            (self.folder / "SHA256SUMS.asc").write_bytes(self.edit_asc(self.key.detach_sign(sums)))
        return self.folder
