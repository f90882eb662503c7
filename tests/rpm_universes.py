"""Small RPM upstreams written as data, and the cases that we and dnf have to judge alike.

A package is a line: `name version-release arch; requires: a, b >= 1; provides: c = 2; files: /usr/bin/a`. An upstream
is a folder with real metadata, that dnf reads and that `loaded` opens for us.
"""

import hashlib
import re
import shutil
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from repobuild.formats.protocol import IndexFile, Loaded, Root
from repobuild.formats.rpm.resolver import RpmUniverse
from repobuild.model import Mirror, Options, Upstream
from repobuild.targets import parse_target

RELATIONS = ("provides", "requires", "conflicts", "obsoletes", "recommends", "supplements", "suggests")
OPERATORS = {"=": "EQ", "<": "LT", "<=": "LE", ">": "GT", ">=": "GE"}
PRIMARY_FILES = re.compile(r"/etc/.*|.*bin/.*|/usr/lib/sendmail")


class FolderCache:
    """What was derived from indexes, in a folder of its own, for child processes write there too."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp())
        weakref.finalize(self, shutil.rmtree, self._folder)

    @property
    def kept(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self._folder.iterdir()}

    def derived(self, key: str) -> bytes | None:
        path = self._folder / key
        return path.read_bytes() if path.exists() else None

    def put_derived(self, key: str, data: bytes) -> None:
        (self._folder / key).write_bytes(data)


@dataclass(frozen=True)
class Repo:
    """An upstream: its packages by line, and what else it says."""

    packages: str
    modules: str = ""
    comps: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    """dnf's names: priority, cost, excludepkgs, includepkgs, module_hotfixes."""


@dataclass(frozen=True)
class Case:
    """A rule: what is chosen, as `name-[E:]V-R.arch`, or None when that cannot be."""

    rule: str
    repos: Mapping[str, Repo]
    wants: Sequence[str]
    chosen: Sequence[str] | None
    weak: bool = False
    streams: Sequence[str] = ()
    target: str = "el9.x86_64"
    origins: Mapping[str, str] = field(default_factory=dict)
    """Package and the only upstream it may come from; to dnf, it is in excludepkgs of the others."""

    def options(self, name: str) -> dict[str, Any]:
        """Return what dnf has to know of an upstream."""
        given = self.repos[name].options
        elsewhere = [package for package, upstream in self.origins.items() if upstream != name]
        return {**given, "excludepkgs": [*given.get("excludepkgs", []), *elsewhere]} if elsewhere else dict(given)


def write(folder: Path, repo: Repo) -> None:
    """Write the metadata of an upstream."""
    lines = [line.strip() for line in repo.packages.strip().splitlines() if line.strip()]
    texts = {"primary": primary(lines), "filelists": filelists(lines), "modules": repo.modules, "group": repo.comps}
    (folder / "repodata").mkdir(parents=True)
    records = []
    for kind, text in texts.items():
        if text:
            data = text.encode()
            name = f"repodata/{kind}.{'yaml' if kind == 'modules' else 'xml'}"
            (folder / name).write_bytes(data)
            digest = hashlib.sha256(data).hexdigest()
            records.append(
                f'<data type="{kind}"><checksum type="sha256">{digest}</checksum><location href="{name}"/>'
                f"<timestamp>1700000000</timestamp><size>{len(data)}</size></data>"
            )
    namespace = "http://linux.duke.edu/metadata/repo"
    text = f'<repomd xmlns="{namespace}"><revision>1</revision>{"".join(records)}</repomd>'
    (folder / "repodata/repomd.xml").write_text(text)


def loaded(folder: Path, name: str, options: Mapping[str, Any] | None = None) -> Loaded:
    """Open what `write` wrote."""
    files = {
        kind: folder / f"repodata/{kind}.{'yaml' if kind == 'modules' else 'xml'}"
        for kind in ("primary", "modules", "filelists", "group")
    }
    there = {kind: path for kind, path in files.items() if path.exists()}
    index = {kind: index_file(path, kind) for kind, path in there.items()}
    now = [kind for kind in ("primary", "modules") if kind in there]
    given = options or {}
    return Loaded(
        upstream(name, given),
        root(tuple(index[kind] for kind in now), tuple(index[kind] for kind in there if kind not in now)),
        tuple(there[kind] for kind in now),
        lambda file: there[file.kind],
    )


def upstream(name: str, given: Mapping[str, Any]) -> Upstream:
    return Upstream(
        name=name,
        module=given.get("module", "node"),
        mirrors=(Mirror(f"https://mirror.example/{name}"),),
        priority=given.get("priority", 99),
        cost=given.get("cost", 1000),
        exclude=tuple(given.get("excludepkgs", ())),
        include=tuple(given.get("includepkgs", ())),
        module_hotfixes=given.get("module_hotfixes", False),
    )


def root(indexes: tuple[IndexFile, ...], later: tuple[IndexFile, ...] = ()) -> Root:
    return Root(
        origin="", suite="", date=0, valid_until=None, aliases=(), pin=500, indexes=indexes, later=later
    )  # fmt: skip


def index_file(path: Path, kind: str) -> IndexFile:
    data = path.read_bytes()
    return IndexFile(variants=(), size=len(data), sha256=hashlib.sha256(data).hexdigest(), kind=kind)


def universe(folder: Path, case: Case) -> RpmUniverse:
    """Write the upstreams of a case and open them."""
    opened = []
    for name, repo in case.repos.items():
        if not (folder / name).exists():
            write(folder / name, repo)
        opened.append(loaded(folder / name, name, repo.options))
    options = Options(
        weak_dependencies=case.weak, module_streams=tuple(case.streams), origins=tuple(sorted(case.origins.items()))
    )
    return RpmUniverse(opened, parse_target(case.target), FolderCache(), options)


def chosen(found: RpmUniverse, wants: Sequence[str]) -> list[str] | None:
    """Return what is chosen for wants, None when one cannot be found or all together not installed."""
    candidates = []
    for want in wants:
        matches = found.find(want).candidates
        if not matches:
            return None
        candidates += matches
    solution = found.solve(candidates)
    if solution.problems:
        return None
    return sorted(f"{each.package.name}-{each.package.version}.{each.package.arch}" for each in solution.choices)


def primary(lines: Sequence[str]) -> str:
    """Return a primary.xml of packages."""
    namespaces = (
        'xmlns="http://linux.duke.edu/metadata/common" xmlns:rpm="http://linux.duke.edu/metadata/rpm"'
    )  # fmt: skip
    packages = "\n".join(map(_package, lines))
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<metadata {namespaces} packages="{len(lines)}">{packages}</metadata>'
    )


def filelists(lines: Sequence[str]) -> str:
    """Return a filelists.xml of packages."""
    packages = []
    for line in lines:
        name, epoch, version, release, arch, parts = _parse(line)
        files = "".join(f"<file>{escape(path)}</file>" for path in parts.get("files", ()))
        packages.append(
            f'<package pkgid="{_digest(line)}" name="{name}" arch="{arch}">'
            f'<version epoch="{epoch}" ver="{version}" rel="{release}"/>{files}</package>'
        )
    namespace = "http://linux.duke.edu/metadata/filelists"
    return f'<filelists xmlns="{namespace}" packages="{len(lines)}">{"".join(packages)}</filelists>'


def _digest(line: str) -> str:
    return hashlib.sha256(line.encode()).hexdigest()


def _parse(line: str) -> tuple[str, str, str, str, str, dict[str, list[str]]]:
    head, *rest = [part.strip() for part in line.split(";")]
    name, evr, arch = head.split()
    epoch, _, full = evr.rpartition(":")
    version, _, release = full.rpartition("-")
    parts = {}
    for part in rest:
        key, _, values = part.partition(":")
        parts[key.strip()] = [each.strip() for each in values.split(",")]
    return name, epoch or "0", version, release, arch, parts


def _package(line: str) -> str:
    name, epoch, version, release, arch, parts = _parse(line)
    parts.setdefault("provides", []).append(f"{name} = {epoch}:{version}-{release}")
    relations = "".join(
        f"<rpm:{kind}>{''.join(map(_entry, parts[kind]))}</rpm:{kind}>" for kind in RELATIONS if kind in parts
    )
    files = "".join(f"<file>{escape(each)}</file>" for each in parts.get("files", ()) if PRIMARY_FILES.fullmatch(each))
    location = parts.get("location", [f"Packages/{name}-{version}-{release}.{arch}.rpm"])[0]
    base = f" xml:base={quoteattr(parts['base'][0])}" if "base" in parts else ""
    digest = parts.get("digest", [_digest(line)])[0]
    return (
        f'<package type="rpm"><name>{escape(name)}</name><arch>{arch}</arch>'
        f'<version epoch="{epoch}" ver="{version}" rel="{release}"/>'
        f'<checksum type="{parts.get("checksum", ["sha256"])[0]}" pkgid="YES">{digest}</checksum>'
        f'<summary>s</summary><description>d</description><packager/><url/><time file="1" build="1"/>'
        f'<size package="{parts.get("size", ["1000"])[0]}" installed="1" archive="1"/>'
        f"<location href={quoteattr(location)}{base}/>"
        f"<format><rpm:license/><rpm:vendor/><rpm:group/><rpm:buildhost/>"
        f"<rpm:sourcerpm>{'' if arch == 'src' else f'{name}-{version}-{release}.src.rpm'}</rpm:sourcerpm>"
        f'<rpm:header-range start="1" end="2"/>{relations}{files}</format></package>'
    )


def _entry(text: str) -> str:
    if text.startswith("("):
        return f"<rpm:entry name={quoteattr(text)}/>"
    name, *rest = text.split()
    if not rest:
        return f"<rpm:entry name={quoteattr(name)}/>"
    operator, evr = rest
    epoch, _, full = evr.rpartition(":")
    version, dash, release = full.partition("-")
    end = f" rel={quoteattr(release)}" if dash else ""
    flags = f'flags="{OPERATORS[operator]}" epoch="{epoch or 0}" ver={quoteattr(version)}{end}'
    return f"<rpm:entry name={quoteattr(name)} {flags}/>"


def module(name: str, stream: str, artifacts: str, **more: Any) -> str:
    """Return a modulemd document; `requires` as `platform: [el9]` lines, `profiles` as `default: a b`."""
    lines = [
        "---", "document: modulemd", "version: 2", "data:", f"  name: {name}", f'  stream: "{stream}"',
        f"  version: {more.get('version', 1)}", f"  context: {more.get('context', 'c1')}", "  arch: x86_64",
        "  summary: s", "  description: d", "  license:", "    module: [MIT]",
    ]  # fmt: skip
    if more.get("static"):
        lines.append("  static_context: true")
    lines += ["  dependencies:", "  - buildrequires: {platform: [el9]}"]
    lines.append(f"    requires: {{{more.get('requires', 'platform: [el9]')}}}")
    profiles = more.get("profiles", {})
    if profiles:
        lines.append("  profiles:")
        for profile, packages in profiles.items():
            lines += [f"    {profile}:", f"      rpms: [{', '.join(packages.split())}]"]
    if more.get("demodularized"):
        lines += ["  demodularized:", f"    rpms: [{more['demodularized']}]"]
    lines += ["  artifacts:", "    rpms:", *(f"    - {each}" for each in artifacts.split()), "...", ""]
    return "\n".join(lines)


def defaults(name: str, stream: str = "", profiles: str = "", modified: int = 0) -> str:
    """Return a modulemd-defaults document."""
    lines = ["---", "document: modulemd-defaults", "version: 1", "data:", f"  module: {name}"]
    if modified:
        lines.append(f"  modified: {modified}")
    if stream:
        lines.append(f'  stream: "{stream}"')
    if profiles:
        lines.append(f"  profiles: {{{profiles}}}")
    return "\n".join([*lines, "...", ""])


def comps(*groups: str) -> str:
    """Return a comps.xml: each group is `id: mandatory=a default=b optional=c conditional=d/e` or `+id: group ids`."""
    items = []
    for group in groups:
        name, _, members = group.partition(":")
        if name.startswith("+"):
            ids = "".join(f"<groupid>{each}</groupid>" for each in members.split())
            items.append(
                f"<environment><id>{name[1:]}</id><name>{name[1:]} Name</name><description/>"
                f"<display_order>1</display_order><grouplist>{ids}</grouplist></environment>"
            )
            continue
        requirements = []
        for member in members.split():
            kind, _, package = member.partition("=")
            package, _, condition = package.partition("/")
            extra = f" requires={quoteattr(condition)}" if condition else ""
            requirements.append(f'<packagereq type="{kind}"{extra}>{package}</packagereq>')
        items.append(
            f"<group><id>{name}</id><name>{name} Name</name><description/><default>true</default>"
            f"<uservisible>true</uservisible><packagelist>{''.join(requirements)}</packagelist></group>"
        )
    public = "<!DOCTYPE comps PUBLIC '-//Red Hat, Inc.//DTD Comps info//EN' 'comps.dtd'>"
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{public}\n<comps>{"".join(items)}</comps>'
