"""Repositories with real locks, bundled on one side of an air gap and installed on the other."""

import gzip
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pysequoia
import repositories
from repositories import Fabricated, source_of

from repobuild import lock
from repobuild.bundle import BundleSpec, read_old, write_bundle
from repobuild.model import LOCK_NAME, MARKER, PRIVATE
from repobuild.pipeline import Installed, InstallRequest, Session, Settings, install
from repobuild.record import sha256_of
from repobuild.signing import SigningKey
from repobuild.targets import parse_target

TIME = 1_700_000_000


def make_key(name: str = "site") -> SigningKey:
    return SigningKey.load(str(pysequoia.Tsk.generate(name)).encode())


def payload_of(seed: int, count: int = 6, size: int = 3000) -> dict[str, bytes]:
    """Return packages of random bytes; the number in a name changes with its content."""
    chance = random.Random(seed)
    sizes = [0, 1, 511, 512, *(chance.randrange(1, size) for _ in range(count))][:count]
    return {f"pkg{n:03}_{seed}.{n}-1_amd64.deb": chance.randbytes(length) for n, length in enumerate(sizes)}


def build(
    home: Path, payload: dict[str, bytes], time: int = TIME, *, name: str = "pigsty", key: SigningKey | None = None
) -> Fabricated:
    """Write a flat deb repository under `home`, its lock one that repobuild reads."""
    chosen = replace(repositories._lock(name, time, payload), unverified=())
    text = lock.write(chosen)
    index = b"".join(
        b"Package: %s\nSHA256: %s\n\n" % (p.encode(), sha256_of(payload[p]).encode()) for p in sorted(payload)
    )
    files = {**payload, "Packages": index, "Packages.gz": gzip.compress(index, mtime=0), LOCK_NAME: text}
    files |= {f"by-hash/SHA256/{sha256_of(index)}": index, "Release": b"Origin: test %d\n" % time}
    if key is not None:
        files |= {f"{name}.gpg": key.public_binary(), f"{name}.asc": key.public_armored()}
        files |= {"InRelease": key.clear_sign(files["Release"])}
    root = home / name
    for path, content in files.items():
        repositories.write(root / path, content)
    repositories.mark(root, files)
    repositories.write(root / PRIVATE / "generation.json", b"{}")
    return Fabricated(path=root, lock=chosen, lock_sha256=sha256_of(text))


def bundle(repository: Fabricated, out: Path, *, key: SigningKey | None = None, **words: Any) -> list[Path]:
    """Write a bundle and return its parts."""
    own = {each: words.pop(each) for each in ("old", "pattern") if each in words}
    spec = BundleSpec(sources=(source_of(repository, **own),), key=key, **words)
    return [part.path for part in write_bundle(out, spec).parts]


def delta(repository: Fabricated, older: Path, out: Path, *, key: SigningKey | None = None) -> Path:
    """Write the delta since a part of an older bundle, a lock or a list."""
    [old] = read_old(older, lock.read)
    [path] = bundle(repository, out, key=key, old=old)
    return path


def session(root: Path, *, target: str = "d12.x86_64", now: int = TIME + 9, key: SigningKey | None = None) -> Session:
    """Return a run on a machine whose home, store and state are below `root`."""
    settings = Settings(
        home=root / "www",
        store=root / "store",
        state=root / "state",
        host=parse_target(target),
        now=now,
        key=key,
    )
    return Session(settings)


def receive(root: Path, *paths: Path, target: str = "d12.x86_64", now: int = TIME + 9, **words: Any) -> list[Installed]:
    """Install parts on a machine."""
    with session(root, target=target, now=now) as run:
        return list(install(run, paths, InstallRequest(**words)))


def tree(repository: Path) -> dict[str, bytes]:
    """Return what the marker lists, and the marker."""
    lines = (repository / MARKER).read_text().splitlines()
    return {name: (repository / name).read_bytes() for name in [*(line[66:] for line in lines), MARKER]}


def everything(folder: Path, skip: Sequence[str] = (".repobuild",)) -> dict[str, bytes]:
    """Return every file that a client or neighbour can see."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(each in str(path.relative_to(folder)) for each in skip)
    }
