"""A small signed Debian archive on disk, served on loopback, that a test can change or break while it is served."""

import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pysequoia
from signers import FreshSigner

from repobuild.formats import FORMATS
from repobuild.formats.protocol import RepositoryFacts
from repobuild.signing import SigningKey
from repobuild.targets import parse_target

TARGET = parse_target("d12.x86_64")
MANIFEST = """\
version: v1.0.0
admin_ip: 10.10.10.10
repo_modules: test
repo_upstream:
  - name: test
    module: test
    releases: [12]
    arch: [x86_64]
    signed_by: key.gpg
    baseurl: {{ default: "{url} ./" }}
repo_packages: [{wants}]
"""


@dataclass(frozen=True)
class Deb:
    """A package to build."""

    name: str
    version: str = "1.0"
    depends: str = ""
    essential: bool = False
    size: int = 2000

    @property
    def file(self) -> str:
        return f"{self.name}_{self.version}_all.deb"


@cache
def signing_key() -> SigningKey:
    """Return a key that is made in no time; once for all tests."""
    return SigningKey.load(str(pysequoia.Tsk.generate("Test archive")).encode())


class ArchiveOnDisk:
    """The archive in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.time = 1_700_000_000

    def publish(self, debs: Sequence[Deb], *, signed: bool = True) -> None:
        """Build the packages and their indexes; each time with a later Date."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.time += 60
        form = FORMATS["deb"]
        packages = []
        for deb in debs:
            path = self.folder / deb.file
            if not path.exists():
                build(deb, self.folder)
            packages.append(replace(form.read_package(path, upstream="test", url_path=deb.file), filename=deb.file))
        facts = RepositoryFacts(name="test", target=TARGET, time=self.time)
        sign = FreshSigner(signing_key()) if signed else None
        for name in ("InRelease", "Release.gpg"):
            (self.folder / name).unlink(missing_ok=True)
        for file in form.metadata(packages, facts, sign, Path):
            place = self.folder / file.path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(file.content or b"")

    def write_manifest(self, path: Path, url: str, wants: Sequence[str]) -> Path:
        """Write a manifest that reads from this archive, its key beside it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / "key.gpg").write_bytes(signing_key().public_binary())
        path.write_text(MANIFEST.format(url=url, wants=", ".join(wants)))
        return path


def build(deb: Deb, folder: Path) -> None:
    """Build a package with the real dpkg-deb; its payload is `size` bytes that do not compress."""
    root = folder / f".{deb.name}"
    (root / "DEBIAN").mkdir(parents=True)
    control = {
        "Package": deb.name,
        "Version": deb.version,
        "Architecture": "all",
        "Maintainer": "Test <test@example.org>",
        "Depends": deb.depends,
        "Essential": "yes" if deb.essential else "",
        "Description": f"test package {deb.name}",
    }
    text = "".join(f"{key}: {value}\n" for key, value in control.items() if value)
    (root / "DEBIAN" / "control").write_text(text)
    payload = root / "usr/share" / deb.name
    payload.mkdir(parents=True)
    (payload / "data").write_bytes(bytes((number * 2_654_435_761 >> 13) & 255 for number in range(deb.size)))
    command = ["dpkg-deb", "--root-owner-group", "-Zgzip", "--build", str(root), str(folder / deb.file)]
    subprocess.run(command, check=True, capture_output=True, env={"SOURCE_DATE_EPOCH": "1", "PATH": "/usr/bin:/bin"})
    subprocess.run(["rm", "-r", str(root)], check=True)


class _Quiet(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on loopback; yield its URL."""

    def handler(*arguments: Any, **options: Any) -> _Quiet:
        return _Quiet(*arguments, directory=str(folder), **options)

    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
