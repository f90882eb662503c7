"""Repositories of stub packages, published, to be checked and forged."""

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import rpms
from simulator import deb_of, stanzas

from repobuild import lock, pipeline, publish
from repobuild.check import Receipt
from repobuild.formats import FORMATS
from repobuild.formats.protocol import IndexFile, Loaded, Root, Variant
from repobuild.model import Choice, Lock, Options, Package, RootPin, Tree, Upstream, Verify
from repobuild.pipeline import Session, Settings
from repobuild.pipeline.making import index_files, make_tree
from repobuild.publish import Repository
from repobuild.signing import SigningKey
from repobuild.targets import parse_target

NOW = 1_700_000_000
DEBS = """
base-files 12  Essential: yes
apt 2.6
libpq5 17.0
psycopg 3.1  Depends: libpq5 (>= 10)
patroni 4.0  Depends: psycopg, libc6 | apt
nginx 1.22
"""
RPMS: Sequence[tuple[str, dict[str, Any]]] = (
    ("libpq", {"provides": ["libpq.so.5"], "files": ["/usr/bin/pg_config"]}),
    ("psycopg", {"requires": ["libpq.so.5", "/usr/bin/pg_config"]}),
    ("patroni", {"requires": ["psycopg"]}),
    ("nginx", {}),
)


class World:
    """A published repository of stub packages, its session and its lock."""

    def __init__(self, root: Path, target: str, key: SigningKey | None = None) -> None:
        self.root = root
        self.target = parse_target(target)
        settings = Settings(home=root / "www", store=root / "store", state=root / "state", host=self.target, now=NOW)
        self.session = Session(replace(settings, key=key))
        self.path = root / "www/pigsty"

    def put(self, data: bytes) -> Package:
        sha256 = self.session.store.put(data)
        form = FORMATS[self.target.family]
        return form.read_package(self.session.store.path(sha256), upstream="test", url_path="x")

    def lock(self, packages: Sequence[Package], wants: Sequence[str], **changes: Any) -> Lock:
        essential = {"base-files": "base", "apt": "base"}
        why = {package: "want" if package.name in wants else "needed" for package in packages}
        chosen = Lock(
            target=self.target.name,
            time=NOW,
            manifest="0" * 64,
            name="pigsty",
            version="v1",
            endpoint="http://10.10.10.10",
            upstreams=(RootPin(name="test", path="./", sha256="", date=0, signer="", verify=Verify.NONE),),
            choices=tuple(Choice(each, essential.get(each.name, why[each])) for each in packages),
            missing=(),
            sets=(tuple(wants),),
            options=Options(weak_dependencies=False),
        )
        return replace(chosen, **changes)

    def publish(self, packages: Sequence[Package], wants: Sequence[str], **changes: Any) -> Lock:
        chosen = self.lock(packages, wants, **changes)
        text = lock.write(chosen)
        return self._publish(chosen, make_tree(self.session, chosen, text, self.repository, self.session.store.path))

    def publish_unproven(self, packages: Sequence[Package], wants: Sequence[str], **changes: Any) -> Lock:
        """Publish as others would, and as repobuild did before it proved what it publishes."""
        chosen = self.lock(packages, wants, **changes)
        metadata = index_files(chosen, None, self.session.store.path)
        return self._publish(chosen, publish.make_tree(chosen, lock.write(chosen), metadata))

    @property
    def repository(self) -> Repository:
        return Repository(self.session.settings.home, ("pigsty",))

    def _publish(self, chosen: Lock, tree: Tree) -> Lock:
        self.repository.publish(tree, self.session.store, beside={}, now=NOW, progress=self.session.progress)
        return chosen

    def loaded(self, packages: Sequence[Package]) -> list[Loaded]:
        """Return an upstream of these packages."""
        text = FORMATS[self.target.family].index_text(packages, self.session.store.path)
        digest = self.session.store.put(text)
        variant = Variant(path="", compression="", size=len(text), digest=digest)
        kind = FORMATS[self.target.family].index_kind
        index = IndexFile(variants=(variant,), size=len(text), sha256=digest, kind=kind)
        root = Root(origin="", suite="", date=0, valid_until=None, aliases=(), pin=500, indexes=(index,))
        return [Loaded(Upstream(name="test", module="", mirrors=()), root, (self.session.store.path(digest),))]

    def bundle(self, out: Path, packing: pipeline.Packing = pipeline.Packing.GZIP) -> pipeline.BundleResult:
        """Write the bundle of what is published into a folder."""
        order = pipeline.BundleOrder(own="pigsty", names=("pigsty",), out=out, packing=packing)
        return pipeline.bundle(self.session, self.target.name, order)

    def check(self, key: Path | None = None) -> Receipt:
        return pipeline.check(self.session, self.path, key)

    def replace_file(self, name: str, data: bytes) -> None:
        """Change a file and let marker and records say that it has to be so, as who forges a repository would."""
        (self.path / name).unlink(missing_ok=True)
        (self.path / name).write_bytes(data)
        shutil.rmtree(self.path / ".repobuild", ignore_errors=True)
        names = [path for path in self.path.rglob("*") if path.is_file() and path.name != "repo_complete"]
        lines = {str(path.relative_to(self.path)): hashlib.sha256(path.read_bytes()).hexdigest() for path in names}
        ordered = sorted(lines, key=str.encode)
        (self.path / "repo_complete").unlink()
        (self.path / "repo_complete").write_text("".join(f"{lines[name]}  {name}\n" for name in ordered))


def debs(world: World, universe: str = DEBS) -> list[Package]:
    return [world.put(deb_of(stanza)) for stanza in stanzas(universe)]


def stub_rpms(world: World, skip: str = "") -> list[Package]:
    paths = [rpms.build(world.root / "rpms", name, **options) for name, options in RPMS if name != skip]
    return [world.put(path.read_bytes()) for path in paths]
