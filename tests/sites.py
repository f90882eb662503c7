"""A build machine of a test's own: the command line on a small archive, with home, store and settings apart."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from archive_on_disk import ArchiveOnDisk, Deb

FIRST = [Deb("base", essential=True), Deb("app", depends="lib (>= 1.0)"), Deb("lib"), Deb("tool")]
SECOND = [Deb("base", essential=True), Deb("app", "2.0", depends="lib (>= 2.0)"), Deb("lib", "2.0"), Deb("tool")]


class Runner:
    """The command line with home, store, state and settings of its own."""

    def __init__(self, root: Path, manifest: Path) -> None:
        self.root = root
        self.manifest = manifest
        self.home = root / "www"

    @property
    def environment(self) -> Mapping[str, str]:
        names = ("store", "state", "config")
        keys = ("REPOBUILD_STORE", "XDG_STATE_HOME", "XDG_CONFIG_HOME")
        return {**os.environ, **{key: str(self.root / name) for key, name in zip(keys, names, strict=True)}}

    def command(self, *words: str, home: Path | None = None) -> list[str]:
        return [sys.executable, "-m", "repobuild", *words, "-c", str(self.manifest), "--home", str(home or self.home)]

    def run(
        self, *words: str, wrapper: tuple[str, ...] = (), home: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*wrapper, *self.command(*words, home=home)],
            env=dict(self.environment), capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip


class Site(Runner):
    """A build machine on a small Debian archive."""

    def __init__(self, root: Path, archive: ArchiveOnDisk, url: str) -> None:
        super().__init__(root, archive.write_manifest(root / "site" / "site.yml", url, ["app", "tool"]))
        self.archive = archive
        self.url = url

    @property
    def repository(self) -> Path:
        return next(self.home.rglob("repo_complete")).parent

    def sync(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.run("sync", "d12.x86_64", *words)

    def contents(self) -> dict[str, bytes]:
        """Return what is served: every file of the marker, checked with sha256sum."""
        checked = subprocess.run(
            ["sha256sum", "-c", "--quiet", "repo_complete"],
            cwd=self.repository,
            capture_output=True,
            text=True,
            check=False,
        )
        assert checked.returncode == 0, checked.stdout + checked.stderr
        marker = (self.repository / "repo_complete").read_text()
        names = [line.split("  ", 1)[1] for line in marker.splitlines()]
        return {name: (self.repository / name).read_bytes() for name in names}
