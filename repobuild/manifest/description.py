"""What `repobuild show` prints of a manifest: a value for the eyes and for machines."""

from collections.abc import Mapping
from dataclasses import dataclass

from repobuild.model import Upstream

Option = str | bool | int | tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamDescription:
    """An upstream for the eyes: where it is read from and with which options."""

    name: str
    module: str
    baseurl: tuple[str, ...]
    options: Mapping[str, Option]
    """Only what is stated, and `verify` always."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What `repobuild show` prints: a target's upstreams in a region, and its groups of wants."""

    target: str
    region: str
    upstreams: tuple[UpstreamDescription, ...]
    groups: tuple[tuple[str, ...], ...]
    """One a line of `repo_packages` and `repo_extra_packages`."""
    installs: tuple[tuple[str, ...], ...]
    """What the playbooks install beside them."""
    node_modules: tuple[str, ...]
    """Whose upstreams the nodes read."""

    def to_json(self) -> Mapping[str, object]:
        """Return it as values that `json.dumps` takes."""
        upstreams = [
            {"name": each.name, "module": each.module, "baseurl": list(each.baseurl), "options": dict(each.options)}
            for each in self.upstreams
        ]
        groups = [list(group) for group in self.groups]
        shown = {"target": self.target, "region": self.region, "upstreams": upstreams, "groups": groups}
        return {**shown, "installs": [list(group) for group in self.installs]} if self.installs else shown


def described(upstream: Upstream, spellings: Mapping[str, str]) -> UpstreamDescription:
    """Return an upstream for the eyes, its URLs as the manifest spells them."""
    tail = "".join(f" {word}" for word in (upstream.suite, *upstream.components) if word)
    options: dict[str, Option] = {"verify": upstream.verify.value}
    if upstream.keys:
        options["signed_by"] = tuple(key.name for key in upstream.keys)
    if upstream.fingerprints:
        options["fingerprints"] = upstream.fingerprints
    if upstream.origin is not None:
        options["origin"] = upstream.origin
    if not upstream.check_valid_until:
        options["check_valid_until"] = False
    if upstream.skip_if_gone:
        options["skip_if_gone"] = True
    return UpstreamDescription(
        name=upstream.name,
        module=upstream.module,
        baseurl=tuple(f"{spellings.get(mirror.url, mirror.url)}{tail}" for mirror in upstream.mirrors),
        options={**options, **_yum_options(upstream)},
    )


def _yum_options(upstream: Upstream) -> dict[str, Option]:
    """Return what dnf.conf(5) calls by these names, as far as it is not what dnf does anyway."""
    usual = Upstream(name="", module="", mirrors=())
    said: dict[str, tuple[Option, Option]] = {
        "priority": (upstream.priority, usual.priority),
        "cost": (upstream.cost, usual.cost),
        "excludepkgs": (" ".join(upstream.exclude), ""),
        "includepkgs": (" ".join(upstream.include), ""),
        "module_hotfixes": (int(upstream.module_hotfixes), 0),
        "skip_if_unavailable": (int(upstream.skip_if_unavailable), 0),
    }
    return {name: value for name, (value, default) in said.items() if value != default}
