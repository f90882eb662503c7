"""Pigsty's own files: an Ansible inventory (`pigsty.yml`), and the variable files of the operating systems.

What the inventory leaves undefined comes from `roles/node_id/vars/<os>.<arch>.yml` of the Pigsty folder, under the name
`…_default`; where there is no such folder, from the manifest `pigsty.yml` that comes with repobuild. Of the inventory
count the variables of the group `infra`, else of `all`, and of every group and host what it installs.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from repobuild.errors import UsageError
from repobuild.manifest import portal_schema
from repobuild.manifest.document import Listing, Node, Scalar, Source, Table, check, redacted
from repobuild.manifest.expand import Install, words
from repobuild.manifest.generation import Generation, of_version
from repobuild.manifest.manifest import Manifest
from repobuild.manifest.pigsty.inventory import TOP, Inventory, Variables, is_inventory, read_inventory
from repobuild.manifest.reading import Fields, Place
from repobuild.manifest.schema import lines, pg_versions, read_fields, read_manifest
from repobuild.manifest.shipped import shipped_folder
from repobuild.manifest.texts import read_tree
from repobuild.model import Target
from repobuild.targets import ALL_TARGETS

__all__ = ["INVENTORY", "Pigsty", "find_folder", "is_inventory"]

INVENTORY = "pigsty.yml"
"""Name of the inventory in Pigsty's folder, and of our manifest that stands in for the folder."""
_VARIABLE_FOLDERS = ("roles/node_id/vars", "vars")
_DEFAULTS = {
    "repo_upstream": "repo_upstream_default",
    "repo_packages": "repo_packages_default",
    "repo_extra_packages": "repo_extra_packages_default",
    "node_default_packages": "node_packages_default",
    "infra_packages": "infra_packages_default",
    "package_map": "package_map",
}
"""Names of the variable files by those of the inventory."""
_SETTINGS = (
    "repo_modules",
    "repo_name",
    "repo_home",
    "repo_endpoint",
    "repo_url_packages",
    "region",
    "proxy_env",
    "pg_version",
    "version",
    "admin_ip",
    "access",
    "keep",
    "recommends",
    "signing_key",
    "node_repo_modules",
    "cache_pkg_name",
    "cache_pkg_dir",
    "cache_repo",
    *portal_schema.KEYS,
)
_PINS = "origin"
"""Pins name upstreams, which each target has its own of."""
_INSTALLED_BY_NODES = ("node_default_packages", "node_packages")
_INSTALLED_BY_CLUSTERS = ("pg_packages", "pg_extensions")
_INFRA = "infra"
_ROLE_DEFAULTS = {"node_packages": ("openssh-server",), "pg_packages": ("pgsql-main", "pgsql-common")}
"""What the roles install where the inventory is silent."""
_ROLE_SETTINGS = {
    "cache_pkg_name": "pigsty-pkg-${version}.${os}.${arch}.tgz",
    "cache_pkg_dir": "dist/${version}",
    "cache_repo": "pigsty",
}
"""What they say of bundles then."""
_ROLE_PG_VERSION = {Generation.V3: "17", Generation.V4: "18"}
_READ = (*_DEFAULTS, *_SETTINGS, _PINS, *_INSTALLED_BY_NODES, *_INSTALLED_BY_CLUSTERS)
_LATER_SYSTEM = {"e": "el10", "d": "d12", "u": "u24"}
"""Whose variables Pigsty 4 takes for a release that it has none of, by the first letter of the release."""
_TELLING_ALIAS = "infra-addons"
_TELLING_WORDS = {
    "victoria-metrics": Generation.V4,
    "prometheus": Generation.V3,
    "prometheus2": Generation.V3,
}
"""Words of the alias by which the generation is told: of the stack that gathers metrics each has its own."""
_PROFILES = {Generation.V3: "prometheus"}
"""Profiles of our own manifest that stand in for a generation's folder."""
_MINOR = re.compile(r"(el[0-9]+)\.[0-9]+")


def find_folder(inventory: Path) -> Path | None:
    """Return the Pigsty folder that an inventory lies in, or in the folder `conf` of; None when there is none."""
    above = inventory.absolute().parent
    return next((each for each in (above, above.parent) if _variables_of(each) is not None), None)


def _variables_of(folder: Path) -> Path | None:
    return next((folder / name for name in _VARIABLE_FOLDERS if (folder / name).is_dir()), None)


@dataclass(slots=True)
class Pigsty:
    """Pigsty's files as manifests, one for each target, each read when it is first asked for."""

    path: Path
    """Of the inventory, whether it is there or not."""
    document: tuple[Source, Node] | None
    """The inventory, parsed as a tolerant source."""
    folder: Path | None
    """Pigsty's; None for our own manifest in its place."""
    generation: Generation | None
    """Whose rules count; None for what the inventory's `version` says."""
    profile: str | None
    _read: dict[Target, Manifest] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.folder is not None and _variables_of(self.folder) is None:
            raise UsageError(
                f"no Pigsty folder: {self.folder} has no {_VARIABLE_FOLDERS[0]}",
                "name the folder that Pigsty was unpacked to: --pigsty DIR",
            )
        if self.folder is not None and self.profile is not None:
            raise UsageError("a Pigsty folder has no profiles", "leave out --profile, or --pigsty")

    @property
    def targets(self) -> tuple[Target, ...]:
        """The targets that have a file of variables; all that our own manifest serves where it stands in."""
        if self.folder is None:
            return self.of(ALL_TARGETS[0]).targets
        return tuple(target for target in ALL_TARGETS if self._own_file(target).is_file())

    @property
    def general(self) -> Manifest:
        """What does not depend on a target."""
        inventory = self._inventory()
        given = {key: each for key, each in inventory.given.items() if key in _SETTINGS}
        generation = self.generation or inventory.generation or self._told_by_variables()
        fields = Fields(inventory.place, {**_role_settings(), **given, **_said_generation(generation)})
        manifest = read_manifest(fields, self.path, ())
        check(inventory.source)
        return manifest

    def of(self, target: Target) -> Manifest:
        """Return the manifest of a target.

        Raises:
            UsageError: when there are no variables for it.
            ManifestError: with every error in the files.
        """
        if target not in self._read:
            self._read[target] = self._manifest(target)
        return self._read[target]

    def _told_by_variables(self) -> Generation:
        targets = self.targets
        return self.of(targets[0]).generation if targets else Generation.V4

    def _manifest(self, target: Target) -> Manifest:
        inventory = self._inventory()
        below = self._shipped(inventory) if self.folder is None else self._variables(target, inventory)
        generation = self._generation(inventory, below)
        given = {**_role_settings(), **below.given, **inventory.given, **_said_generation(generation)}
        if "pg_version" not in given:
            given["pg_version"] = _said("the default of pg_version", _ROLE_PG_VERSION.get(generation, "18"))
        for key, texts in _ROLE_DEFAULTS.items():
            given.setdefault(key, _said(f"the default of {key}", *texts))
        maps = (inventory.given["package_map"],) if "package_map" in inventory.given else below.maps
        fields = Fields(inventory.place, given)
        manifest = read_manifest(fields, self.path, maps, tuple(inventory.installs(fields)))
        check(inventory.source, *below.sources)
        return manifest

    def _inventory(self) -> "_Inventory":
        source, root = self.document or (Source(str(self.path), is_tolerant=True), Table(1, {}, {}))
        return _Inventory.of(Place(source.copy(), "", root))

    def _shipped(self, inventory: "_Inventory") -> "_Below":
        """Return our own manifest, in the profile of the inventory's generation unless another is named."""
        path = shipped_folder() / INVENTORY
        profile = self.profile or _PROFILES.get(self.generation or inventory.generation or Generation.OURS)
        if profile is not None and self.profile is None:
            remedy = "name Pigsty's folder with --pigsty, or another profile with --profile"
            inventory.source.warn(f"{self.path}: for want of a folder the profile {profile!r} of {path}; {remedy}")
        source, root = read_tree(path)
        fields, maps = read_fields(Place(source, "", root), profile)
        check(source)
        return _Below(fields.given, maps, (source,))

    def _variables(self, target: Target, inventory: "_Inventory") -> "_Below":
        path = self._file(target, inventory)
        source, root = read_tree(path, is_tolerant=True)
        place = Place(source, "", root)
        said = place.entries("a mapping of variables (repo_upstream_default …)")
        given = {key: said[name] for key, name in _DEFAULTS.items() if name in said}
        for key in ("repo_upstream", "package_map"):
            if key not in given and key not in inventory.given:
                place.wrong(f"the key {_DEFAULTS[key]!r}", "none")
        return _Below(given, tuple(given[key] for key in ("package_map",) if key in given), (source,))

    def _own_file(self, target: Target, system: str = "") -> Path:
        minor = _MINOR.fullmatch(target.os)
        variables = _variables_of(self.folder or Path()) or Path()
        return variables / f"{system or (minor[1] if minor else target.os)}.{target.arch}.yml"

    def _file(self, target: Target, inventory: "_Inventory") -> Path:
        own = self._own_file(target)
        if own.is_file():
            return own
        later = self._own_file(target, _LATER_SYSTEM[target.os[0]])
        if self.generation is Generation.V3 or inventory.generation is Generation.V3 or not later.is_file():
            known = ", ".join(each.name for each in self.targets) or "none"
            raise UsageError(f"Pigsty has no variables for {target}: no {own}", f"there are some for: {known}")
        inventory.source.warn(f"{own}: no such file; as Pigsty does, what {later.name} says is taken")
        return later

    def _generation(self, inventory: "_Inventory", below: "_Below") -> Generation:
        """Return whose rules count; where nothing tells it, the last one's, with a warning."""
        stated = self.generation or inventory.generation
        if stated is not None:
            return stated
        told = below.generation
        version = inventory.given.get("version")
        if version is not None or told is None:
            where, what = (version.where, redacted(inventory.version)) if version else (self.folder, "nothing there")
            assumed = f"{told or Generation.V4} is assumed; --generation states it"
            inventory.source.warn(f"{where}: {what} tells no generation of Pigsty: {assumed}")
        return told or Generation.V4


@dataclass(frozen=True, slots=True)
class _Below:
    """What stands below the inventory: settings, package maps, and the documents that they are from."""

    given: Mapping[str, Place]
    maps: tuple[Place, ...]
    sources: tuple[Source, ...]

    @property
    def generation(self) -> Generation | None:
        """Of which Pigsty they are, as they state it or as their packages tell."""
        if "generation" in self.given:
            return Generation(self.given["generation"].text() or Generation.V4)
        aliases = self.maps[-1].every("") if self.maps else {}
        node = aliases[_TELLING_ALIAS].node if _TELLING_ALIAS in aliases else None
        said = words(node.text) if isinstance(node, Scalar) else ()
        return next((_TELLING_WORDS[word] for word in _TELLING_WORDS if word in said), None)


@dataclass(frozen=True, slots=True)
class _Inventory:
    """An inventory as one reading of it sees it."""

    place: Place
    given: Variables
    """What holds where the repository is built, of the variables that we read."""
    whole: Inventory

    @classmethod
    def of(cls, root: Place) -> "_Inventory":
        whole = read_inventory(root) if isinstance(root.node, Table) and root.node.entries else Inventory({}, {})
        return cls(root, _known(whole.groups.get(_INFRA) or whole.groups.get(TOP, {})), whole)

    @property
    def source(self) -> Source:
        """The document."""
        return self.place.source

    @property
    def version(self) -> str:
        """What `version` says, right or wrong."""
        node = self.given["version"].node if "version" in self.given else None
        return node.text if isinstance(node, Scalar) else ""

    @property
    def generation(self) -> Generation | None:
        """What `version` comes to."""
        return of_version(self.version)

    def installs(self, fields: Fields) -> Iterator[Install]:
        """Yield what groups and hosts install otherwise than `fields` say, each once."""
        seen = {id(place.node) for place in fields.given.values()}
        pairs = {_pair(fields, key) for key in _INSTALLED_BY_CLUSTERS}
        for holder in (*self.whole.groups.values(), *self.whole.hosts.values()):
            own = Fields(self.place, {**fields.given, **_known(holder)})
            for key in _INSTALLED_BY_NODES:
                if key in own.given and id(own.given[key].node) not in seen:
                    seen.add(id(own.given[key].node))
                    yield Install(lines(own, key), "node")
            for key in _INSTALLED_BY_CLUSTERS:
                if key in own.given and _pair(own, key) not in pairs:
                    pairs.add(_pair(own, key))
                    yield Install(lines(own, key), "pgsql", pg_versions(own.given["pg_version"]))


def _pair(fields: Fields, key: str) -> tuple[int, ...]:
    """Return what tells one list of packages with its version from another."""
    return tuple(id(fields.given[each].node) for each in (key, "pg_version") if each in fields.given)


def _known(variables: Variables) -> dict[str, Place]:
    """Return the variables that we read, those without a value left out."""
    return {
        key: each
        for key, each in variables.items()
        if key in _READ and not (isinstance(each.node, Scalar) and each.node.is_null)
    }


def _role_settings() -> dict[str, Place]:
    return {key: _said(f"the default of {key}", text) for key, text in _ROLE_SETTINGS.items()}


def _said_generation(generation: Generation) -> dict[str, Place]:
    return {"generation": _said("--generation", generation.value)}


def _said(where: str, *texts: str) -> Place:
    """Return a text, or a list of several, as if a document had said it."""
    nodes: list[Node] = [Scalar(1, text, is_plain=False) for text in texts]
    return Place(Source(where), "", nodes[0] if len(nodes) == 1 else Listing(1, nodes))
