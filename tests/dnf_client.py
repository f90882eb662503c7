"""Real dnf in a root of its own: nothing installed, our repositories only, caches and settings of this machine unused."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

DNF = "/usr/bin/dnf"
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/root"}


class DnfRoot:
    """An installroot; a fresh one for each state of a repository, since dnf keeps metadata for two days."""

    def __init__(self, root: Path, repo_files: Mapping[str, bytes], *, major: int = 9) -> None:
        self.root = root
        self._major = major
        (root / "repos").mkdir(parents=True)
        for name, content in repo_files.items():
            (root / "repos" / name).write_bytes(content)
        (root / "dnf.conf").write_text("[main]\ngpgcheck=0\nbest=True\nskip_if_unavailable=False\n")

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run dnf, answering yes."""
        options = [
            f"--config={self.root}/dnf.conf",
            f"--setopt=reposdir={self.root}/repos",
            "--setopt=varsdir=/dev/null",
            f"--setopt=cachedir={self.root}/cache",
            "--disableplugin=local,versionlock",
            f"--setopt=module_platform_id=platform:el{self._major}",
            f"--releasever={self._major}",
            "--forcearch=x86_64",
            f"--installroot={self.root}/root",
        ]
        try:
            return subprocess.run(
                [DNF, "-y", *options, *words],
                env=_ENVIRONMENT,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
        finally:
            for home in (self.root / "cache").glob("*/pubring"):  # dnf leaves the agents of its keyrings running
                subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False, capture_output=True)

    def trust(self, key: Path) -> None:
        """Import the key of a packager, as `usage` says."""
        (self.root / "root").mkdir()
        subprocess.run(["rpm", "--root", self.root / "root", "--import", key], env=_ENVIRONMENT, check=True)

    def installed(self) -> set[str]:
        """Return what is installed, as N-V-R.A, but for keys."""
        done = subprocess.run(
            ["rpm", "--root", str(self.root / "root"), "-qa"],
            env=_ENVIRONMENT,
            capture_output=True,
            text=True,
            check=True,
        )
        return {line for line in done.stdout.split() if not line.startswith("gpg-pubkey-")}


def closures(repositories: Mapping[str, Path], jobs: Sequence[Sequence[str]]) -> list[set[str] | None]:
    """Ask dnf's own solver what each job installs, as `N-E:V-R.A`; None where it cannot be installed."""
    request = {
        "repositories": [{"id": name, "url": f"file://{folder}"} for name, folder in repositories.items()],
        "arch": "x86_64", "releasever": "9", "platform": "platform:el9", "streams": [], "weak": True, "jobs": list(jobs),
    }  # fmt: skip
    done = subprocess.run(
        ["/usr/bin/python3", Path(__file__).with_name("dnf_oracle.py")],
        input=json.dumps(request), env=_ENVIRONMENT, capture_output=True, text=True, timeout=300, check=True,
    )  # fmt: skip
    answers = map(json.loads, done.stdout.splitlines())
    return [answer and {_nevra(*each.split("|")) for each in answer} for answer in answers]


def _nevra(name: str, epoch: str, version: str, release: str, arch: str) -> str:
    return f"{name}-{epoch}:{version}-{release}.{arch}"
