"""Fabricates plausible published repositories, for the tests of whoever reads one."""

import gzip
import hashlib
import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from repobuild.bundle import Source
from repobuild.model import LOCK_NAME, MARKER, PRIVATE, Asset, Choice, Lock, Options, Package, RootPin, Verify

POINTERS = frozenset({"InRelease", "Release", "Release.gpg"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Fabricated:
    """A repository on disk and what is known of it."""

    path: Path
    lock: Lock
    lock_sha256: str

    def files(self) -> dict[str, bytes]:
        """Content by path of what the marker lists, and the marker."""
        lines = (self.path / MARKER).read_text().splitlines()
        return {name: (self.path / name).read_bytes() for name in [*(line[66:] for line in lines), MARKER]}


def fabricate(
    home: Path, *, name: str = "pigsty", packages: int = 5, time: int = 1_700_000_000, seed: int = 1
) -> Fabricated:
    """Write a flat deb repository of `packages` packages of random bytes under `home`."""
    chance = random.Random(seed)
    sizes = [0, 1, 511, 512, 70_000, *(chance.randrange(100, 20_000) for _ in range(packages))][:packages]
    payload = {f"pkg{n:03}_1.{n}-1_amd64.deb": chance.randbytes(size) for n, size in enumerate(sizes)}
    payload["tool.tar.gz"] = chance.randbytes(777)
    index = b"".join(b"Package: %s\n\n" % path.split("_")[0].encode() for path in sorted(payload))
    files = {**payload, "Packages": index, "Packages.gz": gzip.compress(index, mtime=0)}
    files |= {f"by-hash/SHA256/{_sha256(index)}": index}
    files |= {"Release": b"Origin: test\n", "InRelease": b"-----BEGIN PGP SIGNED MESSAGE-----\n"}
    lock = _lock(name, time, payload)
    lock_text = json.dumps({"target": lock.target, "time": lock.time}).encode()
    files[LOCK_NAME] = lock_text
    root = home / name
    for path, content in files.items():
        write(root / path, content)
    mark(root, files)
    write(root / PRIVATE / "generation.json", b"{}")
    write(root / "by-hash/SHA256" / _sha256(b"carried over"), b"carried over")
    return Fabricated(path=root, lock=lock, lock_sha256=_sha256(lock_text))


def mark(root: Path, files: dict[str, bytes]) -> None:
    """Write the marker of `files`."""
    lines = [f"{_sha256(files[path])}  {path}\n" for path in sorted(files, key=str.encode)]
    write(root / MARKER, "".join(lines).encode())


def write(path: Path, content: bytes) -> None:
    """Write a file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _lock(name: str, time: int, payload: dict[str, bytes]) -> Lock:
    debs = {path: content for path, content in payload.items() if path.endswith(".deb")}
    assets = {path: content for path, content in payload.items() if path not in debs}
    return Lock(
        target="d12.x86_64",
        time=time,
        manifest=_sha256(b"manifest"),
        name=name,
        version="v4.5.0",
        endpoint="http://10.10.10.10",
        upstreams=(
            RootPin(name="node", path="dists/bookworm", sha256="", date=time, signer="", verify=Verify.ROOT),
            RootPin(name="plain", path="./", sha256="", date=0, signer="", verify=Verify.NONE),
        ),
        choices=tuple(
            Choice(_package(path, content, "plain" if n == 1 else "node"), "want")
            for n, (path, content) in enumerate(debs.items())
        ),
        missing=(),
        sets=(),
        options=Options(weak_dependencies=False),
        assets=tuple(
            Asset(name=path, url=f"https://host.test/{path}", size=len(content), sha256=_sha256(content))
            for path, content in assets.items()
        ),
        unverified=("plain", "tool.tar.gz"),
    )


def _package(path: str, content: bytes, upstream: str) -> Package:
    name, version, _ = path.split("_")
    return Package(
        name=name,
        version=version,
        arch="amd64",
        size=len(content),
        sha256=_sha256(content),
        path=f"pool/{path}",
        upstream=upstream,
        filename=path,
        metadata=f"Package: {name}\n",
    )


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def source_of(repository: Fabricated, **words: Any) -> Source:
    """Return a repository as one that is to be bundled."""
    return Source(
        path=repository.path, lock=repository.lock, lock_sha256=repository.lock_sha256, pointers=POINTERS, **words
    )
