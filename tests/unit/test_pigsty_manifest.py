"""The shipped manifests/pigsty.yml against Pigsty's own variables, which `pigsty_rules` reads by rules of its own."""

import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pigsty_rules as rules
import pytest
from pigsty_rules import TARGETS, needs_data

from repobuild.manifest import Description, Manifest, load
from repobuild.manifest.expand import choose
from repobuild.targets import parse_target

HOUSE = Path(__file__).resolve().parents[2]
MANIFEST = HOUSE / "manifests" / "pigsty.yml"


def split(text: str) -> list[str]:
    return [word for word in re.split(r"[\s,]+", text) if word]


REGIONS = ("default", "china", "europe")
MAJORS = ("16", "17", "18")
MODULES = ("infra", "node", "pgsql")
OTHER_MODULES = split("local beta extra percona groonga mysql mongo redis haproxy grafana kube gitlab click llvm nginx")
HOSTS = {"//debian.cdn.example": "//ftp.debian.org", "//security.debian.cdn.example": "//security.debian.org"}
"""Hosts that the data does not spell out, and those that stand for them in our document."""
META = {"priority", "module_hotfixes", "skip_if_unavailable", "excludepkgs"}
KERNEL = ("mini", "core", "full", "main", "client", "server", "devel", "basic")
CATEGORIES = split("time gis rag fts olap feat lang type util func admin stat sec fdw sim etl")
REQUIRED = [
    *split("node-bootstrap infra-package infra-addons node-package1 node-package2 node-package3 extra-modules"),
    *(f"pgsql-{each}" for each in (*KERNEL, *CATEGORIES, "common", "utility")),
    *(f"pg{major}-{each}" for major in range(14, 19) for each in KERNEL),
    *(f"pg{major}" for major in range(14, 19)),
]

Selected = tuple[str, str, tuple[str, ...], Mapping[str, str]]
"""Name, module, lines of its place, options."""


# ------------------------------------------------------------------------------------------ what Pigsty comes to


@functools.cache
def variables(target: str) -> dict[str, Any]:
    return rules.variables(target)


def pigsty_upstreams(target: str, version: str, region: str, modules: Iterable[str]) -> list[Selected]:
    node = replace(rules.node(target), full=version)
    found: list[Selected] = []
    for entry in rules.upstreams(variables(target)["repo_upstream_default"], set(modules), node):
        lines = [_without_stand_ins(line) for line in rules.urls(entry, region, node)]
        meta = {key: str(value) for key, value in entry.get("meta", {}).items()}
        found.append((entry["name"], entry["module"], tuple(map(without_slash, lines)), meta))
    return found


def _without_stand_ins(line: str) -> str:
    for told, meant in HOSTS.items():
        line = line.replace(told, meant)
    return line


def without_slash(line: str) -> str:
    url, *rest = line.split()
    return " ".join((url.rstrip("/"), *rest))


def pigsty_groups(target: str, items: Iterable[str], major: str) -> list[list[str]]:
    return rules.groups(list(items), variables(target)["package_map"], major)


def pigsty_defaults(target: str, major: str) -> list[list[str]]:
    given = variables(target)
    return pigsty_groups(target, [*given["repo_packages_default"], *given["repo_extra_packages_default"]], major)


# ------------------------------------------------------------------------------------------ what our document says


@functools.cache
def document(major: str = "18", profile: str | None = None) -> Manifest:
    text = MANIFEST.read_text(encoding="utf-8")
    assert text.count("\npg_version: 18 ") == 1
    return load(MANIFEST, text=text.replace("\npg_version: 18 ", f"\npg_version: {major} ").encode(), profile=profile)


def upstreams(target: str, region: str, modules: Iterable[str]) -> list[Selected]:
    described = replace(document(), modules=tuple(modules)).describe(parse_target(target), region=region)
    return [
        (
            each.name,
            each.module,
            tuple(map(without_slash, each.baseurl)),
            {key: str(value) for key, value in each.options.items() if key in META},
        )
        for each in described.upstreams
    ]


def described(target: str, major: str = "18", profile: str | None = None) -> Description:
    return document(major, profile).describe(parse_target(target))


def names(groups: Iterable[Iterable[str]]) -> set[str]:
    return {name for group in groups for name in group}


# ------------------------------------------------------------------------------------------ upstreams


@needs_data
@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("target", TARGETS)
def test_the_upstreams_of_every_module_are_those_of_pigsty(target: str, region: str) -> None:
    modules = (*MODULES, *OTHER_MODULES)
    expected = pigsty_upstreams(target, parse_target(target).release, region, modules)

    assert expected == upstreams(target, region, modules)


@needs_data
@pytest.mark.parametrize("minor", ["el8.9", "el9.5", "el9.6", "el9.7", "el10.0", "el10.1"])
def test_the_upstreams_of_a_minor_release_are_those_of_pigsty(minor: str) -> None:
    target = parse_target(f"{minor}.x86_64")
    expected = pigsty_upstreams(f"el{target.major}.x86_64", target.release, "default", MODULES)

    assert expected == upstreams(target.name, "default", MODULES)


@needs_data
@pytest.mark.parametrize("target", TARGETS)
def test_the_default_modules_are_those_of_pigsty(target: str) -> None:
    expected = [entry[0] for entry in pigsty_upstreams(target, parse_target(target).release, "default", MODULES)]

    assert expected == [each.name for each in described(target).upstreams]


@needs_data
def test_the_document_has_no_upstream_that_pigsty_does_not_have() -> None:
    own = {(each.name, each.module) for each in document().upstreams}
    theirs = {(entry["name"], entry["module"]) for target in TARGETS for entry in entries_of(target)}

    assert theirs == own


def entries_of(target: str) -> list[dict[str, Any]]:
    found = variables(target)["repo_upstream_default"]
    assert isinstance(found, list)
    return found


def test_debian_11_has_the_upstreams_of_debian_12_without_the_component_it_lacks() -> None:
    eleven, twelve = (upstreams(f"{system}.x86_64", "default", MODULES) for system in ("d11", "d12"))

    assert [entry[0] for entry in twelve] == [entry[0] for entry in eleven]
    assert not any("non-free-firmware" in line for entry in eleven for line in entry[2])
    assert ("http://ftp.debian.org/debian bullseye main",) in [entry[2] for entry in eleven]


# ------------------------------------------------------------------------------------------ packages


@needs_data
@pytest.mark.parametrize("major", MAJORS)
@pytest.mark.parametrize("target", TARGETS)
def test_the_default_groups_are_those_of_pigsty_in_their_order(target: str, major: str) -> None:
    expected = pigsty_defaults(target, major)

    assert expected == [list(group) for group in described(target, major).groups]


@needs_data
@pytest.mark.parametrize("target", TARGETS)
def test_what_the_playbooks_install_is_what_pigsty_installs(target: str) -> None:
    given = variables(target)
    lines = [*given["node_packages_default"], "openssh-server", *given["infra_packages_default"]]
    expected = {name for line in lines for name in split(line)}
    expected |= names(pigsty_groups(target, ["pgsql-main", "pgsql-common"], "18"))

    assert expected == names(described(target).installs)


@pytest.mark.parametrize("target", [*TARGETS, "d11.x86_64", "d11.aarch64"])
def test_what_the_playbooks_install_is_in_the_repository_anyway(target: str) -> None:
    shown = described(target)

    assert set() == names(shown.installs) - names(shown.groups)


@pytest.mark.parametrize("target", TARGETS)
def test_a_default_repository_has_the_known_number_of_wants(target: str) -> None:
    groups = described(target).groups
    expected = (127, 134) if target.startswith("el") else (117, 124)

    assert expected == (len(names(groups)), sum(map(len, groups)))


@needs_data
@pytest.mark.parametrize("target", TARGETS)
def test_every_alias_stands_for_what_it_stands_for_in_pigsty(target: str) -> None:
    theirs = variables(target)["package_map"]
    expected = {alias: sorted(split(theirs[alias])) for alias in document().package_map}
    own = {alias: sorted(choose(choice, parse_target(target))) for alias, choice in document().package_map.items()}

    assert expected == own


def test_the_aliases_of_the_default_lists_of_the_majors_and_of_the_categories_are_there() -> None:
    assert [] == [alias for alias in REQUIRED if alias not in document().package_map]


def test_debian_11_gets_what_debian_12_gets() -> None:
    for machine in ("x86_64", "aarch64"):
        eleven, twelve = (parse_target(f"{system}.{machine}") for system in ("d11", "d12"))
        differing = [
            alias
            for alias, choice in document().package_map.items()
            if choose(choice, eleven) != choose(choice, twelve)
        ]

        assert [] == differing
        assert described(twelve.name).groups == described(eleven.name).groups


# ------------------------------------------------------------------------------------------ the generation before

EL_V34 = {
    "node-bootstrap": "ansible python3 python3-pip python3-virtualenv python3-requests python3-jmespath"
    " python3-cryptography dnf-utils modulemd-tools createrepo_c sshpass",
    "infra-package": "nginx dnsmasq etcd haproxy vip-manager node_exporter keepalived_exporter pg_exporter"
    " pgbackrest_exporter redis_exporter redis mcli pig",
    "infra-addons": "grafana grafana-plugins loki logcli promtail prometheus alertmanager pushgateway"
    " blackbox_exporter nginx_exporter pev2 certbot python3-certbot-nginx",
    "node-package1": "lz4 unzip bzip2 zlib yum pv jq git ncdu make patch bash lsof wget uuid tuned nvme-cli numactl"
    " grubby sysstat iotop htop rsync tcpdump perf flamegraph chkconfig",
    "node-package2": "netcat socat ftp lrzsz net-tools ipvsadm bind-utils telnet audit ca-certificates readline"
    " vim-minimal keepalived chrony openssl openssh-server openssh-clients",
    "pgsql-utility": "patroni patroni-etcd pgbouncer pgbackrest pgbadger pg_activity pg_timetable pgFormatter"
    " pg_filedump pgxnclient timescaledb-tools pgcopydb pgloader",
    "pgsql-main": "postgresql17* pg_repack_17* wal2json_17* pgvector_17*",
}
DEB_V34 = {
    "node-bootstrap": "ansible python3 python3-pip python3-venv python3-jmespath dpkg-dev sshpass tnftp linux-perf",
    "infra-package": "nginx dnsmasq etcd haproxy vip-manager node-exporter keepalived-exporter pg-exporter"
    " pgbackrest-exporter redis-exporter redis mcli pig",
    "infra-addons": "grafana grafana-plugins loki logcli promtail prometheus alertmanager pushgateway"
    " blackbox-exporter nginx-exporter pev2 certbot python3-certbot-nginx",
    "node-package1": "lz4 unzip bzip2 zlib1g pv jq git ncdu make patch bash lsof wget uuid tuned nvme-cli numactl"
    " sysstat iotop htop rsync tcpdump acl chrony",
    "node-package2": "netcat-openbsd socat lrzsz net-tools ipvsadm dnsutils telnet ca-certificates libreadline-dev"
    " vim-tiny keepalived openssl openssh-server openssh-client",
    "pgsql-utility": "patroni pgbouncer pgbackrest pgbadger pg-activity pg-timetable pgformatter postgresql-filedump"
    " pgxnclient timescaledb-tools pgcopydb pgloader",
    "pgsql-main": "postgresql-17 postgresql-client-17 postgresql-plpython3-17 postgresql-plperl-17"
    " postgresql-pltcl-17 postgresql-server-dev-17 postgresql-17-repack postgresql-17-wal2json postgresql-17-pgvector",
}


@pytest.mark.parametrize(
    ("target", "expected", "count"),
    [
        ("el8.x86_64", EL_V34 | {"node-bootstrap": EL_V34["node-bootstrap"].replace("-jmes", ".12-jmes", 1)}, 98),
        ("el9.x86_64", EL_V34, 98),
        ("el9.aarch64", EL_V34 | {"pgsql-utility": EL_V34["pgsql-utility"].replace(" pgloader", "")}, 97),
        ("d11.x86_64", DEB_V34, 94),
        ("d12.aarch64", DEB_V34, 94),
        ("u24.x86_64", DEB_V34 | {"node-bootstrap": DEB_V34["node-bootstrap"][:-16] + "ftp linux-tools-generic"}, 94),
    ],
)
def test_the_profile_prometheus_has_the_names_of_the_generation_before(
    target: str, expected: Mapping[str, str], count: int
) -> None:
    groups = described(target, profile="prometheus").groups

    assert [set(split(text)) for text in expected.values()] == [set(group) for group in groups]
    assert count == len(names(groups))


@pytest.mark.parametrize(("target", "nodes"), [("el9.x86_64", 46), ("u22.aarch64", 43)])
def test_the_profile_prometheus_installs_as_many_packages_as_the_generation_before(target: str, nodes: int) -> None:
    manifest = document(profile="prometheus")
    counts = [
        len({name for line in choose(each.lines, parse_target(target)) for name in split(line.text)})
        for each in manifest.installs
        if each.pg_version is None
    ]

    assert [nodes, 1, 22] == counts


def test_the_profile_prometheus_leaves_nothing_of_the_victoria_stack() -> None:
    for target in TARGETS:
        shown = described(target, profile="prometheus")
        found = names((*shown.groups, *shown.installs))

        assert set() == {name for name in found if "victoria" in name or name in {"vector", "vmutils", "sow"}}
        assert set() == {
            name for name in found if name.endswith("-exporter" if target.startswith("el") else "_exporter")
        }


def test_the_profile_prometheus_takes_no_namesake_of_loki_and_prometheus() -> None:
    manifest = document(profile="prometheus")

    assert (("loki", "pigsty-infra"), ("prometheus", "pigsty-infra")) == manifest.origins
    assert () == document().origins


def test_without_a_profile_the_document_is_of_version_4_5() -> None:
    assert ("v4.5.0", "v3.4.0") == (document().version, document(profile="prometheus").version)


# ------------------------------------------------------------------------------------------ the document itself


def test_the_document_serves_the_promised_targets() -> None:
    served = {target.name for target in document().targets}

    assert {*TARGETS, "d11.x86_64", "d11.aarch64"} == served


def test_no_line_of_the_document_is_too_long_to_read() -> None:
    lines = MANIFEST.read_text(encoding="utf-8").splitlines()

    assert [] == [number for number, line in enumerate(lines, start=1) if len(line) > 120 or line != line.rstrip()]


def test_every_anchor_of_the_document_is_used() -> None:
    text = re.sub(r"#.*", "", MANIFEST.read_text(encoding="utf-8"))
    anchors = re.findall(r"(?<=[\s\[])&([\w-]+)", text)

    assert len(set(anchors)) == len(anchors)
    assert set() == set(anchors) - set(re.findall(r"(?<=[\s\[])\*([\w-]+)", text))
