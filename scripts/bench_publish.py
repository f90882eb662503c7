"""Make the metadata of a folder of RPMs as a sync does, their digests known: one run, a process of its own."""

import hashlib
import json
import sys
from pathlib import Path

from repobuild.formats import FORMATS
from repobuild.formats.protocol import RepositoryFacts
from repobuild.model import Package
from repobuild.targets import parse_target


def main(folder: Path, known: Path) -> None:
    """Publish; what a lock would know of the packages is kept in `known`, made by the first run."""
    form = FORMATS["rpm"]
    if not known.exists():
        facts = {}
        for path in sorted(folder.glob("*.rpm")):
            package = form.read_package(path, upstream="bench", url_path=path.name)
            facts[path.name] = [package.name, package.version, package.arch, package.size, package.sha256]
        known.write_text(json.dumps(facts))
    packages, places = [], {}
    for file, (name, version, arch, size, sha256) in json.loads(known.read_text()).items():
        packages.append(
            Package(
                name=name,
                version=version,
                arch=arch,
                size=size,
                sha256=sha256,
                path=file,
                upstream="bench",
                filename=file,
                metadata="",
            )
        )
        places[sha256] = folder / file
    target = parse_target("el9.x86_64")
    made = form.metadata(
        packages, RepositoryFacts(name="x", target=target, time=1_700_000_000), None, places.__getitem__
    )
    for file in made:
        hashlib.sha256(file.content or b"")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
