"""Pigsty's rules, written a second time from ../shared/pigsty.md (1.3 to 2.1), to judge ours by.

What Ansible would render for a node: which upstreams of which modules, their URLs, and the groups that are downloaded.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

DATA = Path(__file__).resolve().parents[2] / "shared/data/pigsty-v4.5"
TARGETS = [
    f"{system}.{arch}"
    for system in ("el8", "el9", "el10", "d12", "d13", "u22", "u24", "u26")
    for arch in ("x86_64", "aarch64")
]
NODES = {  # os_version_full, os_vendor, os_codename
    "el7": ("7.9", "centos", "el7"),
    "el8": ("8.10", "rocky", "el8"),
    "el9": ("9.7", "rocky", "el9"),
    "el10": ("10.1", "rocky", "el10"),
    "d11": ("11", "debian", "bullseye"),
    "d12": ("12", "debian", "bookworm"),
    "d13": ("13", "debian", "trixie"),
    "u22": ("22.04", "ubuntu", "jammy"),
    "u24": ("24.04", "ubuntu", "noble"),
    "u26": ("26.04", "ubuntu", "resolute"),
}
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="Pigsty's own files are not beside the project")


@dataclass(frozen=True)
class Node:
    """The facts of a node, as Pigsty's role `node_id` finds them."""

    code: str
    full: str
    vendor: str
    codename: str
    arch: str

    @property
    def major(self) -> int:
        return int(self.full.partition(".")[0])

    @property
    def is_rpm(self) -> bool:
        return self.code.startswith("el")


def node(target: str) -> Node:
    system, _, arch = target.rpartition(".")
    code, _, minor = system.partition(".")
    full, vendor, codename = NODES[code]
    return Node(code, f"{full.partition('.')[0]}.{minor}" if minor else full, vendor, codename, arch)


def variables(target: str, folder: Path = DATA / "vars") -> dict[str, Any]:
    """Return the variable file of a target."""
    it = node(target)
    return yaml.safe_load((folder / f"{it.code}.{it.arch}.yml").read_text())  # type: ignore[no-any-return]


def upstreams(said: list[dict[str, Any]], modules: set[str] | None, it: Node) -> list[dict[str, Any]]:
    """Return the entries for a node; of every module when `modules` is None."""
    return [
        each
        for each in said
        if it.major in each["releases"]
        and it.arch in each.get("arch", [it.arch])
        and (modules is None or each["module"] in modules)
    ]


def urls(entry: dict[str, Any], region: str, it: Node, generation: str = "v4") -> list[str]:
    """Return what stands behind `baseurl =` or `deb`, with what dnf and apt replace replaced."""
    text = entry["baseurl"].get(region) or entry["baseurl"]["default"]
    release = releasever(entry, it, generation)
    text = text.replace("${admin_ip}", "10.10.10.10")
    if it.is_rpm:
        return [each.replace("$releasever", release).replace("$basearch", it.arch) for each in text.split()]
    text = text.replace("${distro_codename}", it.codename).replace("${distro_name}", it.vendor)
    return [" ".join(text.split())]


def releasever(entry: dict[str, Any], it: Node, generation: str) -> str:
    name, minor = entry["name"], it.full.partition(".")[2]
    if generation == "v3":
        is_full = it.major in {8, 9} and name in {"pgdg-common", *(f"pgdg{each}" for each in range(12, 17))}
        return it.full if is_full else str(it.major)
    if entry.get("minor"):
        return it.full
    if name.startswith("epel") and it.major >= 10:
        return f"{it.major}z"
    if name.startswith("pgdg") and it.major >= 10:
        return it.full
    if name.startswith("pgdg") and it.major == 9 and int(minor or 0) >= 6:
        return f"9.{minor}"
    return str(it.major)


def options(entry: dict[str, Any], it: Node, generation: str = "v4") -> dict[str, Any]:
    """Return what is printed below an upstream beside gpgcheck and enabled."""
    if not it.is_rpm:
        return {}
    if generation == "v3":
        return {"module_hotfixes": 1} if it.major >= 8 else {}
    return dict(entry.get("meta", {}))


def groups(items: list[str] | str, package_map: dict[str, str], pg_version: int | str) -> list[list[str]]:
    """Return one group an item, as the expression of the role renders it."""
    found = []
    for item in [items] if isinstance(items, str) else items:
        words = [package_map.get(word, word) for word in re.split(r"[,\s]+", item) if word]
        text = " ".join(words).replace("${pg_version}", str(pg_version)).replace("$v", str(pg_version))
        found.append([word for word in re.split(r"[,\s]+", text) if word])
    return found
