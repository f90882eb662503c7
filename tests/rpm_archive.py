"""A small RPM upstream on disk, made by the real createrepo_c and signed, that a test can change while it is served."""

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import rpms
import yaml

from repobuild.signing import SigningKey

CREATEREPO = "/usr/bin/createrepo_c"
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}


@cache
def root_key() -> SigningKey:
    """Return the key that signs roots; once for all tests."""
    return SigningKey.load(rpms.signing_key("Test upstream").secret.encode())


@dataclass(frozen=True)
class Rpm:
    """A package to build; `options` are those of `rpms.build`."""

    name: str
    version: str = "1.0"
    options: Mapping[str, Any] = field(default_factory=dict)


class RpmArchive:
    """The upstream in a folder: packages under Packages/, their metadata under repodata/."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.time = 1_700_000_000

    def publish(self, packages: Sequence[Rpm], *, is_signed: bool = True, more: Sequence[str] = ()) -> None:
        """Build what is new, make the metadata (createrepo_c takes `more` options), and sign its root."""
        self.time += 60
        for each in packages:
            rpms.build(self.folder / "Packages", each.name, each.version, **each.options)
        subprocess.run(
            [CREATEREPO, "--quiet", "--revision", str(self.time), "--set-timestamp-to-revision", *more, str(self.folder)],
            check=True, capture_output=True, env=ENVIRONMENT,
        )  # fmt: skip
        signature = self.folder / "repodata/repomd.xml.asc"
        signature.unlink(missing_ok=True)
        if is_signed:
            signature.write_bytes(root_key().detach_sign(self.root.read_bytes()))

    @property
    def root(self) -> Path:
        return self.folder / "repodata/repomd.xml"

    def upstream(self, url: str, folder: Path, **changes: Any) -> dict[str, Any]:
        """Return the upstream as a manifest writes it; its keys are put into `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "root.gpg").write_bytes(root_key().public_binary())
        (folder / "packager.asc").write_text(rpms.signing_key().public)
        entry = {
            "name": "rpms",
            "module": "node",
            "releases": [8, 9, 10],
            "arch": ["x86_64"],
            "signed_by": ["root.gpg"],
            "baseurl": {"default": url},
        }
        return {**entry, **changes}


def write_manifest(path: Path, upstreams: Sequence[Mapping[str, Any]], wants: Sequence[str], **more: Any) -> Path:
    """Write a manifest."""
    document = {
        "version": "v1.0.0", "repo_modules": "node", "repo_upstream": list(upstreams), "repo_packages": list(wants), **more,
    }  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path
