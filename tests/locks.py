"""Locks of small Debian packages, written as data, for the tests of what is told of them."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from repobuild.formats import FORMATS
from repobuild.graph import Graph
from repobuild.model import Choice, Lock, Options, Package, RootPin, Verify
from repobuild.pipeline import opening
from repobuild.targets import parse_target

TIME = 1_700_000_000


def package(name: str, version: str = "1.0", *, arch: str = "all", size: int = 10, **more: Any) -> Package:
    """Return a package; `depends`, `provides` … are fields of its stanza, `content` makes its digest another one."""
    sha256 = hashlib.sha256(f"{name} {version} {arch} {more.pop('content', '')}".encode()).hexdigest()
    upstream = more.pop("upstream", "main")
    fields = {"Package": name, "Version": version, "Architecture": arch, **more}
    stanza = "\n".join(f"{key.replace('_', '-').title()}: {value}" for key, value in fields.items())
    filename = f"{name}_{version.partition(':')[2] or version}_{arch}.deb"
    return Package(
        name=name,
        version=version,
        arch=arch,
        size=size,
        sha256=sha256,
        path=f"pool/{filename}",
        upstream=upstream,
        filename=filename,
        metadata=stanza,
    )


def lock_of(
    packages: Sequence[Package],
    wants: Mapping[str, Sequence[str]] | None = None,
    base: Sequence[str] = (),
    **changes: Any,
) -> Lock:
    """Return a lock; `wants` names the packages that were taken for each, `base` those of the base."""
    wants = wants or {}
    wanted = {name for names in wants.values() for name in names}
    files = {each.name: each.filename for each in packages}
    values: dict[str, Any] = {
        "target": "d12.x86_64",
        "time": TIME,
        "manifest": "f" * 64,
        "name": "pigsty",
        "version": "v1",
        "endpoint": "http://10.10.10.10",
        "upstreams": tuple(
            RootPin(
                name=name,
                path="dists/x main",
                sha256="a" * 64,
                date=TIME,
                signer="AB" * 20,
                verify=Verify.ROOT,
                module=name,
            )
            for name in sorted({each.upstream for each in packages})
        ),
        "choices": tuple(
            Choice(each, "base" if each.name in base else "want" if each.name in wanted else "needed")
            for each in sorted(packages, key=lambda each: (each.name, each.version, each.arch))
        ),
        "missing": (),
        "sets": (tuple(wants),),
        "options": Options(weak_dependencies=False),
        "taken": tuple((want, files[name]) for want, names in wants.items() for name in names),
    }
    return Lock(**{**values, **changes})


def graph_of(lock: Lock) -> Graph:
    """Return who needs whom in a lock of Debian packages, whose stanzas say it all."""
    packages = [choice.package for choice in lock.choices]
    details = FORMATS["deb"].details(packages, _no_files, parse_target(lock.target), lock.options)
    return opening.graph_of(details)


def _no_files(sha256: str) -> Path:
    raise AssertionError(f"nobody needs the file {sha256}")
