"""Real apt on a world of its own: another release, another architecture, an empty status, our sources only."""

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

_CONFIG = """
Dir "{root}";
Dir::State "{root}/var/lib/apt";
Dir::State::status "{root}/var/lib/dpkg/status";
Dir::Cache "{root}/var/cache/apt";
Dir::Etc "{root}/etc/apt";
Dir::Etc::trusted "/nonexistent";
Dir::Etc::trustedparts "/nonexistent";
APT::Architecture "{architecture}";
APT::Architectures {{ "{architecture}"; }};
APT::Install-Recommends "false";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Check-Valid-Until "true";
Debug::NoLocking "true";
"""
_INSTALLED = re.compile(r"^Inst (\S+) (?:\[\S+\] )?\((\S+)", re.MULTILINE)


class IsolatedApt:
    """apt-get with its own directories and nothing installed."""

    def __init__(self, root: Path, architecture: str, sources: str) -> None:
        for folder in (
            "etc/apt/apt.conf.d",
            "etc/apt/preferences.d",
            "etc/apt/sources.list.d",
            "var/cache/apt/archives/partial",
            "var/lib/apt/lists/partial",
            "var/lib/dpkg",
        ):
            (root / folder).mkdir(parents=True, exist_ok=True)
        (root / "var/lib/dpkg/status").touch()
        (root / "etc/apt/sources.list").write_text(sources)
        config = root / "apt.conf"
        config.write_text(_CONFIG.format(root=root, architecture=architecture))
        self._environment: Mapping[str, str] = {**os.environ, "APT_CONFIG": str(config), "LC_ALL": "C"}

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["apt-get", "-q", *words], env=self._environment, capture_output=True, text=True, timeout=120, check=False
        )

    def update(self) -> subprocess.CompletedProcess[str]:
        return self.run("update", "-o", "APT::Update::Error-Mode=any")

    def simulate(self, names: Sequence[str]) -> tuple[set[tuple[str, str]] | None, str]:
        """Return what apt would install as (name, version), None when it refuses, and what it said."""
        result = self.run("-s", "-y", "install", *names)
        said = result.stdout + result.stderr
        return (set(_INSTALLED.findall(result.stdout)) if result.returncode == 0 else None), said
