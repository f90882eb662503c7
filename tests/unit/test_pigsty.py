"""Pigsty's own files: what is read of them, and that it comes to what Ansible would render."""

from pathlib import Path
from typing import Any

import pigsty_rules as rules
import pytest
import yaml
from pigsty_rules import DATA, TARGETS, needs_data, node

from repobuild import manifest
from repobuild.errors import ManifestError, UsageError
from repobuild.manifest import Generation, Manifests, texts
from repobuild.targets import parse_target

REGIONS = ("default", "china", "europe")
MODULES = {"infra", "node", "pgsql"}

V4 = """\
repo_packages_default: [ node-bootstrap, infra-package ]
repo_extra_packages_default: [ pgsql-main ]
node_packages_default: ['bash,chrony']
infra_packages_default: ['nginx,dnsmasq']
repo_upstream_default:
  - { name: infra ,description: Infra ,module: infra ,releases: [9,10] ,arch: [x86_64, aarch64] ,baseurl: { default: 'https://a.example/infra/$basearch' ,china: 'https://c.example/infra/$basearch' } ,meta: { priority: 12 }}
  - { name: epel  ,description: Epel  ,module: node  ,releases: [9,10] ,arch: [x86_64, aarch64] ,baseurl: { default: 'https://a.example/epel/$releasever/$basearch' }}
  - { name: other ,description: Other ,module: extra ,releases: [9,10] ,arch: [x86_64, aarch64] ,baseurl: { default: 'https://a.example/extra' }}
package_map:
  node-bootstrap: ansible sow
  infra-package: 'nginx,dnsmasq   etcd'
  pgsql-main: 'postgresql$v postgresql${pg_version}-server'
  pgsql-common: patroni
  patroni: patroni patroni-etcd
  nothing: ''
"""


def folder(tmp_path: Path, texts: dict[str, str] | None = None, inventory: str | None = None) -> Path:
    """Lay out a Pigsty folder: variable files by name, and its inventory."""
    place = tmp_path / "pigsty"
    variables = place / "roles/node_id/vars"
    variables.mkdir(parents=True, exist_ok=True)
    for name, text in (texts or {"el9.x86_64": V4}).items():
        (variables / f"{name}.yml").write_text(text)
    if inventory is not None:
        (place / "pigsty.yml").write_text(inventory)
    return place


def inventory(variables: str = "", groups: str = "    infra: { hosts: { 10.10.10.10: { infra_seq: 1 } } }") -> str:
    indented = "".join(f"    {line}\n" for line in variables.splitlines())
    return f"all:\n  children:\n{groups}\n  vars:\n    version: v4.5.0\n{indented}"


def read(tmp_path: Path, variables: str = "", **more: Any) -> Manifests:
    return manifest.load_all(None, folder(tmp_path, inventory=inventory(variables, **more)))


def groups(found: Manifests, target: str = "el9.x86_64") -> list[list[str]]:
    shown = found.of(parse_target(target)).describe(parse_target(target), region="default")
    return [list(group) for group in shown.groups]


def installs(found: Manifests, target: str = "el9.x86_64") -> list[list[str]]:
    shown = found.of(parse_target(target)).describe(parse_target(target), region="default")
    return [list(group) for group in shown.installs]


def modules(found: Manifests, target: str = "el9.x86_64") -> list[str]:
    shown = found.of(parse_target(target)).describe(parse_target(target), region="default")
    return [each.name for each in shown.upstreams]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a Pigsty folder with the real variable files."""
    place = tmp_path_factory.mktemp("real")
    (place / "roles/node_id").mkdir(parents=True)
    (place / "roles/node_id/vars").symlink_to(DATA / "vars")
    return place


@needs_data
@pytest.mark.parametrize("target", [*TARGETS, "el7.x86_64", "el9.4.x86_64", "el9.6.aarch64", "el10.0.x86_64"])
def test_upstreams_and_groups_are_what_ansible_renders(real: Path, target: str) -> None:
    said, it = rules.variables(target), node(target)
    for generation in ("v3", "v4"):
        for pg_version in (16, 17, 18):
            (real / "pigsty.yml").write_text(inventory(f"pg_version: {pg_version}\nregion: default"))
            found = manifest.load_all(None, real, Generation(generation)).of(parse_target(target))
            for region in REGIONS:
                shown = found.describe(parse_target(target), region=region).to_json()

                wanted = rules.upstreams(said["repo_upstream_default"], MODULES, it)
                assert wanted
                assert [each["name"] for each in wanted] == [each["name"] for each in shown["upstreams"]]
                for entry, ours in zip(wanted, shown["upstreams"], strict=True):
                    assert rules.urls(entry, region, it, generation) == ours["baseurl"]
                    stated = {key: value for key, value in ours["options"].items() if key in KNOWN_OPTIONS}
                    assert rules.options(entry, it, generation) == stated
                items = said["repo_packages_default"] + said["repo_extra_packages_default"]
                assert rules.groups(items, said["package_map"], pg_version) == shown["groups"]


KNOWN_OPTIONS = ("priority", "cost", "excludepkgs", "includepkgs", "module_hotfixes", "skip_if_unavailable")


@needs_data
def test_every_alias_expands_as_ansible_expands_it(real: Path) -> None:
    for target in ("el9.x86_64", "el10.aarch64", "d12.x86_64", "u26.aarch64"):
        said = rules.variables(target)
        aliases = [alias for alias in said["package_map"] if "$" not in alias]
        (real / "pigsty.yml").write_text(inventory(f"pg_version: 17\nrepo_packages: [{', '.join(aliases)}]"))
        found = manifest.load_all(None, real)

        expected = rules.groups([*aliases, *said["repo_extra_packages_default"]], said["package_map"], 17)

        assert expected == groups(found, target)


@needs_data
@pytest.mark.parametrize(("system", "unique"), [("el8", 127), ("el9", 127), ("el10", 127), ("d12", 117), ("u24", 117)])
def test_the_default_lists_are_as_long_as_they_are_known_to_be(real: Path, system: str, unique: int) -> None:
    (real / "pigsty.yml").write_text(inventory())

    found = groups(manifest.load_all(None, real), f"{system}.x86_64")

    assert unique == len({want for group in found for want in group})


@needs_data
@pytest.mark.parametrize("path", sorted((DATA / "conf").glob("*.yml")), ids=lambda path: path.stem)
def test_the_configurations_of_pigsty_load_or_say_what_to_do(real: Path, path: Path) -> None:
    found = manifest.load_all(path, real)
    if path.stem == "minio":
        with pytest.raises(ManifestError) as caught:
            found.of(parse_target("el9.x86_64"))
        assert f"{path}:" in caught.value.message
        assert "Jinja is not evaluated, write the value itself" in caught.value.message
        return
    said = yaml.safe_load(path.read_text())["all"]
    for target in ("el9.x86_64", "d12.aarch64"):
        shown = found.of(parse_target(target))
        variables = rules.variables(target)
        configured = said["vars"] | (said["children"].get("infra", {}).get("vars") or {})
        items = configured.get("repo_packages", variables["repo_packages_default"])
        items = items + configured.get("repo_extra_packages", variables["repo_extra_packages_default"])

        expected = rules.groups(items, variables["package_map"], configured.get("pg_version", 18))

        assert expected == groups(found, target)
        assert configured["version"] == shown.version


class TestInventory:
    def test_what_is_undefined_comes_from_the_files_of_the_system(self, tmp_path: Path) -> None:
        found = read(tmp_path)

        assert [
            ["ansible", "sow"],
            ["nginx", "dnsmasq", "etcd"],
            ["postgresql18", "postgresql18-server"],
        ] == groups(found)
        assert ["infra", "epel"] == modules(found)

    def test_an_empty_list_means_nothing(self, tmp_path: Path) -> None:
        assert [] == groups(read(tmp_path, "repo_packages: []\nrepo_extra_packages: []"))

    def test_a_bare_string_is_one_item(self, tmp_path: Path) -> None:
        found = groups(read(tmp_path, "repo_packages: infra-package\nrepo_extra_packages: []"))

        assert [["nginx", "dnsmasq", "etcd"]] == found

    def test_aliases_are_replaced_once(self, tmp_path: Path) -> None:
        found = groups(read(tmp_path, "repo_packages: ['patroni nothing, jq']\nrepo_extra_packages: []"))

        assert [["patroni", "patroni-etcd", "jq"]] == found

    def test_variables_of_the_group_infra_win(self, tmp_path: Path) -> None:
        group = "    infra: { hosts: {}, vars: { repo_packages: [jq], repo_extra_packages: [] } }"

        assert [["jq"]] == groups(read(tmp_path, "repo_packages: [less]", groups=group))

    def test_several_majors_of_postgresql_share_a_repository(self, tmp_path: Path) -> None:
        found = groups(read(tmp_path, "pg_version: [16, 17]\nrepo_packages: []"))

        assert [["postgresql16", "postgresql17", "postgresql16-server", "postgresql17-server"]] == found

    @pytest.mark.parametrize(
        ("asked", "expected"),
        [
            ("node", ["infra", "epel"]),
            ("infra", ["infra"]),
            ("infra,node,extra", ["infra", "epel", "other"]),
            ("[node, extra]", ["infra", "epel", "other"]),
        ],
    )
    def test_the_fourth_generation_always_reads_infra(self, tmp_path: Path, asked: str, expected: list[str]) -> None:
        assert expected == modules(read(tmp_path, f"repo_modules: {asked}"))

    def test_the_third_generation_reads_what_it_is_told(self, tmp_path: Path) -> None:
        place = folder(tmp_path, inventory=inventory("repo_modules: node").replace("v4.5.0", "v3.4.0"))

        assert ["epel"] == modules(manifest.load_all(None, place))
        assert ["infra", "epel"] == modules(manifest.load_all(None, place, Generation.V4))

    @pytest.mark.parametrize(
        ("version", "generation"), [("v2.7.0", "v3"), ("v3.4.0", "v3"), ("v4.5.0", "v4"), ("4.6.1", "v4"), ("v5", "v4")]
    )
    def test_the_version_tells_the_generation(self, tmp_path: Path, version: str, generation: str) -> None:
        place = folder(tmp_path, inventory=inventory().replace("v4.5.0", version))
        target = parse_target("el9.x86_64")

        assert generation == manifest.load_all(None, place).of(target).generation

    def test_settings_are_read(self, tmp_path: Path) -> None:
        found = read(
            tmp_path,
            "repo_name: local\nrepo_home: /data/www\nrepo_endpoint: 'http://${admin_ip}:8080'\nadmin_ip: 10.0.0.7\n"
            "region: china\nproxy_env: { no_proxy: 'localhost,*.pigsty', http_proxy: 'http://10.0.0.1:3128' }\n"
            "secret: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  3638\nother: '{{ undefined }}'",
        )

        assert ("local", Path("/data/www"), "http://10.0.0.7:8080") == (
            found.general.name,
            found.general.home,
            found.general.endpoint,
        )
        assert "http://10.0.0.1:3128" == found.general.proxy_env["http_proxy"]
        assert "china" == found.general.region == found.of(parse_target("el9.x86_64")).region

    @pytest.mark.parametrize(
        ("variables", "expected"),
        [
            ("repo_packages: '{{ x }}'", "all.vars.repo_packages: expected package names or aliases"),
            ("pg_version: !vault x", "pg_version: expected package names, got a value with the YAML tag '!vault'"),
            ("admin_ip: '{{ ip }}'", "Jinja is not evaluated, write the value itself"),
            ("region: [a, b]", "all.vars.region: expected the name of a region, got a list"),
            ("repo_packages: {rpm: {a: b}}", "expected a list of package names"),
        ],
    )
    def test_what_is_read_has_to_be_right(self, tmp_path: Path, variables: str, expected: str) -> None:
        found = read(tmp_path, variables)

        with pytest.raises(ManifestError) as caught:
            found.of(parse_target("el9.x86_64"))

        assert expected in caught.value.message
        assert f"{tmp_path}/pigsty/pigsty.yml:" in caught.value.message

    def test_a_key_that_is_given_twice_is_doubtful_and_the_last_one_counts(self, tmp_path: Path) -> None:
        found = read(tmp_path, "repo_packages: [less]\nrepo_packages: [jq]\nrepo_extra_packages: []")

        assert [["jq"]] == groups(found)
        assert "given already" in found.of(parse_target("el9.x86_64")).warnings[0]


class TestPlaybooks:
    def test_what_they_install_are_wants(self, tmp_path: Path) -> None:
        found = read(tmp_path)

        assert [
            ["bash", "chrony"],
            ["openssh-server"],
            ["nginx", "dnsmasq"],
            ["postgresql18", "postgresql18-server"],
            ["patroni"],
        ] == installs(found)

    def test_clusters_and_hosts_have_their_own(self, tmp_path: Path) -> None:
        group = (
            "    infra: { hosts: { 10.0.0.1: { node_packages: [rsync] } } }\n"
            "    pg-old: { hosts: { 10.0.0.2: {} }, vars: { pg_version: 16, pg_extensions: ['pgvector_$v patroni'] } }\n"
            "    empty:\n    bare: { hosts: }"
        )

        found = installs(read(tmp_path, "node_packages: []\npg_packages: [pgsql-main]", groups=group))

        assert ["postgresql16", "postgresql16-server"] in found
        assert ["pgvector_16", "patroni", "patroni-etcd"] in found
        assert ["rsync"] in found
        assert ["openssh-server"] not in found

    def test_names_of_nodes_are_no_aliases(self, tmp_path: Path) -> None:
        assert ["patroni", "jq"] in installs(read(tmp_path, "node_packages: ['patroni,jq']"))

    def test_they_join_the_wants_unless_left_out(self, tmp_path: Path) -> None:
        target = parse_target("el9.x86_64")
        found = read(tmp_path).of(target)
        accepted = frozenset({"infra", "epel"})

        every = found.job(target, allow_unverified=accepted)
        only = found.job(target, allow_unverified=accepted, only_repo_packages=True)

        assert only.groups == every.groups[: len(only.groups)]
        assert ("bash", "chrony") in every.groups
        assert ("bash", "chrony") not in only.groups
        assert only.digest != every.digest

    def test_each_want_is_expected_from_a_module(self, tmp_path: Path) -> None:
        target = parse_target("el9.x86_64")
        accepted = frozenset({"infra", "epel"})

        job = read(tmp_path, "repo_packages: [infra-package, 'jq']").of(target).job(target, allow_unverified=accepted)
        expected = dict(job.expected)

        assert ("infra", "node", None) == (expected["etcd"], expected["chrony"], expected.get("jq"))


class TestFolders:
    def test_targets_are_those_that_have_a_file(self, tmp_path: Path) -> None:
        place = folder(tmp_path, {"el9.x86_64": V4, "d12.aarch64": V4, "u24.x86_64": V4}, inventory())

        found = {each.name for each in manifest.load_all(None, place).targets}

        assert {"el9.x86_64", "d12.aarch64", "u24.x86_64"} == found

    def test_the_fourth_generation_falls_back_to_another_release(self, tmp_path: Path) -> None:
        place = folder(tmp_path, {"el10.x86_64": V4}, inventory())
        target = parse_target("el9.x86_64")

        found = manifest.load_all(None, place).of(target)

        assert ["infra", "epel"] == [each.name for each in found.describe(target, region="default").upstreams]
        assert "no such file" in found.warnings[0]

    def test_the_third_generation_does_not(self, tmp_path: Path) -> None:
        place = folder(tmp_path, {"el10.x86_64": V4}, inventory().replace("v4.5.0", "v3.4.0"))

        with pytest.raises(UsageError, match="Pigsty has no variables for el9"):
            manifest.load_all(None, place).of(parse_target("el9.x86_64"))

    def test_a_minor_release_reads_the_file_of_its_major_one(self, tmp_path: Path) -> None:
        shown = read(tmp_path).of(parse_target("el9.4.x86_64"))

        assert shown.describe(parse_target("el9.4.x86_64"), region="default").target == "el9.4.x86_64"

    def test_an_inventory_finds_the_folder_it_lies_in(self, tmp_path: Path) -> None:
        place = folder(tmp_path)
        (place / "conf").mkdir()
        (place / "conf/rich.yml").write_text(inventory("repo_packages: []"))

        assert [["postgresql18", "postgresql18-server"]] == groups(manifest.load_all(place / "conf/rich.yml"))

    def test_an_inventory_alone_has_our_own_defaults(self, tmp_path: Path) -> None:
        (tmp_path / "pigsty.yml").write_text(inventory("repo_packages: [infra-addons]\nrepo_extra_packages: []"))

        found = groups(manifest.load_all(tmp_path / "pigsty.yml"))

        assert 1 == len(found)
        assert "victoria-metrics" in found[0]

    def test_a_folder_without_variables_is_none_of_pigsty(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="no Pigsty folder"):
            manifest.load_all(None, tmp_path)

    def test_a_folder_without_an_inventory_has_its_defaults(self, tmp_path: Path) -> None:
        assert 3 == len(groups(manifest.load_all(None, folder(tmp_path))))

    def test_a_manifest_of_ours_is_no_inventory(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="--pigsty goes with an inventory"):
            manifest.load_all(manifest.default_manifest(), folder(tmp_path))
        with pytest.raises(UsageError, match="--generation is for Pigsty's own files"):
            manifest.load_all(manifest.default_manifest(), generation=Generation.V3)


class TestSlips:
    """The malformed entries that pigsty.md lists (1.3)."""

    def doubts(self, tmp_path: Path, entry: str, target: str = "u24.aarch64") -> str:
        text = f"repo_upstream_default:\n  - {entry}\npackage_map: {{}}\n"
        found = manifest.load_all(None, folder(tmp_path, {target: text}, inventory())).of(parse_target(target))
        assert 1 == len(found.describe(parse_target(target), region="default").upstreams)
        return "\n".join(found.doubts(parse_target(target)))

    def test_a_url_where_a_region_is_expected(self, tmp_path: Path) -> None:
        entry = (
            "{ name: mongo, module: infra, releases: [24], "
            "baseurl: { default: 'https://a.example/x noble main', 'https://c.example/y' } }"
        )

        assert "stands where a region is expected" in self.doubts(tmp_path, entry)

    def test_rotated_suites(self, tmp_path: Path) -> None:
        entry = (
            "{ name: updates, module: node, releases: [24], "
            "baseurl: { default: 'https://a.example/ubuntu/ ${distro_codename}-backports  main' } }"
        )

        assert "the suite of backports under this name" in self.doubts(tmp_path, entry)

    def test_components_of_the_other_distribution(self, tmp_path: Path) -> None:
        entry = (
            "{ name: base, module: node, releases: [12], baseurl: { default: 'https://a.example/debian bookworm main', "
            "china: 'https://c.example/debian bookworm main restricted universe' } }"
        )

        assert "components that debian does not have: restricted universe" in self.doubts(tmp_path, entry, "d12.x86_64")

    def test_double_slashes(self, tmp_path: Path) -> None:
        entry = (
            "{ name: docker, module: infra, releases: [24], "
            "baseurl: { default: 'https://a.example/linux//${distro_name} noble stable' } }"
        )

        assert "a URL with an empty part (//)" in self.doubts(tmp_path, entry)

    def test_urls_of_another_architecture(self, tmp_path: Path) -> None:
        entry = (
            "{ name: pgdg-el9fix, module: pgsql, releases: [9], arch: [x86_64, aarch64], "
            "baseurl: { default: 'https://a.example/rhel-9-x86_64' } }"
        )

        assert "'x86_64' in the URL for aarch64" in self.doubts(tmp_path, entry, "el9.aarch64")
        assert not self.doubts(tmp_path, entry, "el9.x86_64")

    def test_releases_and_options_from_the_future(self, tmp_path: Path) -> None:
        entry = (
            "{ name: base, module: node, releases: [9, 99], later: 1, arch: [x86_64, riscv64], "
            "baseurl: { default: 'https://a.example/x' }, meta: { priority: 1, countme: 1 } }"
        )

        said = self.doubts(tmp_path, entry, "el9.x86_64")

        assert "got '99'" in said
        assert "got 'riscv64'" in said
        assert "unknown key 'later'" in said
        assert "unknown key 'countme'" in said

    def test_an_entry_without_arch_is_for_any(self, tmp_path: Path) -> None:
        entry = "{ name: base, module: node, releases: [9], baseurl: { default: 'https://a.example/x' } }"

        assert not self.doubts(tmp_path, entry, "el9.aarch64")

    def test_of_a_name_twice_both_count_the_second_under_a_name_of_its_own(self, tmp_path: Path) -> None:
        entry = "{ name: pgdg13, module: node, releases: [9], baseurl: { default: 'https://a.example/$releasever' } }"
        again, target = f"{entry}\n  - {entry}\n  - {entry}", parse_target("el9.4.x86_64")
        place = folder(tmp_path, {"el9.x86_64": f"repo_upstream_default:\n  - {again}\npackage_map: {{}}\n"})

        found = manifest.load_all(None, place, Generation.V3).of(target)

        shown = found.describe(target, region="default").upstreams
        assert [("pgdg13", ("https://a.example/9.4",)), ("pgdg13-2", ("https://a.example/9.4",))] == [
            (each.name, each.baseurl) for each in shown
        ][:2]
        assert "pgdg13-3" == shown[2].name
        assert "twice for" in found.warnings[0]
        assert "pgdg13-2" in found.warnings[0]


def test_pigsty_io_is_pigsty_cc_in_china(tmp_path: Path) -> None:
    target = parse_target("el9.x86_64")
    found = read(tmp_path, "repo_url_packages: ['https://repo.pigsty.io/etc/pev-$basearch-${distro_codename}.html']")
    accepted = frozenset({"infra", "epel", "pev-x86_64-el9.html"})

    plain, china = (
        found.of(target).job(target, region=region, allow_unverified=accepted) for region in ("default", "china")
    )

    assert "https://repo.pigsty.io/etc/pev-x86_64-el9.html" == plain.url_packages[0].url
    assert "https://repo.pigsty.cc/etc/pev-x86_64-el9.html" == china.url_packages[0].url
    assert plain.digest == china.digest


class TestForms:
    """Whatever Ansible reads as an inventory is one."""

    @pytest.mark.parametrize(
        "text",
        [
            "\ufeffall:\r\n  vars:\r\n    version: v4.5.0\r\n    repo_packages: [jq]\r\n    repo_extra_packages: []\r\n",
            '"all":\n  vars: { version: v4.5.0, repo_packages: [jq], repo_extra_packages: [] }\n',
            '{"all": {"vars": {"version": "v4.5.0", "repo_packages": ["jq"], "repo_extra_packages": []}}}',
            "{all: {vars: {version: v4.5.0, repo_packages: [jq], repo_extra_packages: []}}}",
            "x: &c { repo_packages: [jq], repo_extra_packages: [] }\nall:\n  vars:\n    <<: *c\n    version: v4.5.0\n",
            "all:\n  vars: { version: !!str v4.5.0, repo_packages: [!unsafe jq, '', ~], repo_extra_packages: [] }\n",
        ],
    )
    def test_every_spelling_is_recognised(self, tmp_path: Path, text: str) -> None:
        place = folder(tmp_path)
        (place / "pigsty.yml").write_text(text)

        assert [["jq"]] == groups(manifest.load_all(place / "pigsty.yml"))

    @pytest.mark.parametrize("text", ["all:\n", "all: {}\n", "all: { vars: , hosts: , children: }\n"])
    def test_one_that_says_nothing_has_the_defaults(self, tmp_path: Path, text: str) -> None:
        assert 3 == len(groups(manifest.load_all(None, folder(tmp_path, inventory=text))))

    @pytest.mark.parametrize(
        ("text", "line", "expected"),
        [
            ("# nothing\n", 1, "expected a mapping of settings"),
            ("all: hello\n", 1, "all: expected a mapping of hosts, children and vars, got 'hello'"),
            ("all:\n  children: [a]\n", 2, "all.children: expected a mapping, got a list"),
            ("all:\n  vars:\n  - x\n", 3, "all.vars: expected a mapping, got a list"),
            ("all:\n  children:\n    a: { vars: x }\n", 3, "all.children.a.vars: expected a mapping, got 'x'"),
            ("all:\n  hosts: { a: [x] }\n", 2, "all.hosts.a: expected a mapping, got a list"),
            ("all:\n  children: { a: { children: { b: { children: { a: } } } } }\n", 2, "below itself"),
        ],
    )
    def test_what_is_wrong_is_said_with_its_line(self, tmp_path: Path, text: str, line: int, expected: str) -> None:
        place = folder(tmp_path, inventory=text)

        with pytest.raises(ManifestError) as caught:
            manifest.load_all(None, place).of(parse_target("el9.x86_64"))

        assert f"pigsty.yml:{line}: " in caught.value.message
        assert expected in caught.value.message

    def test_variables_that_nobody_reads_may_be_anything(self, tmp_path: Path) -> None:
        found = read(tmp_path, f"deep: {'[' * 60}{']' * 60}\nsecret: !vault x\nlist: !mine [a]")

        assert 3 == len(groups(found))
        with pytest.raises(ManifestError, match="levels of nesting"):
            read(tmp_path, f"deep: {'[' * 250}{']' * 250}")

    def test_an_inventory_is_parsed_once_and_so_is_a_manifest(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        parsed = []
        plain = texts.parse
        monkeypatch.setattr(texts, "parse", lambda data, source: (parsed.append(source.name), plain(data, source))[1])

        manifest.load_all(None)
        read(tmp_path)

        assert [str(manifest.default_manifest()), f"{tmp_path}/pigsty/pigsty.yml"] == parsed


class TestGroups:
    def test_infra_may_stand_below_another_group(self, tmp_path: Path) -> None:
        group = "    meta: { vars: { repo_packages: [less], repo_extra_packages: [] }, children: { infra: { vars: { repo_packages: [jq] } } } }"

        assert [["jq"]] == groups(read(tmp_path, groups=group))

    def test_hosts_have_the_variables_of_their_groups(self, tmp_path: Path) -> None:
        group = "    pg-c: { hosts: { h: { pg_extensions: ['ext_$v'], pg_packages: [] } }, vars: { pg_version: 15 } }"

        found = installs(read(tmp_path, groups=group))

        assert ["ext_15"] in found
        assert ["ext_18"] not in found

    def test_groups_below_groups_and_hosts_of_all_count(self, tmp_path: Path) -> None:
        group = (
            "    pg-a: { children: { pg-b: { vars: { pg_version: 16 }, children: { pg-c: { vars: { pg_extensions: ['ext_$v'] } } } } } }\n"
            "  hosts: { x: { node_packages: [np] } }"
        )

        found = installs(read(tmp_path, groups=group))

        assert ["ext_16"] in found
        assert ["np"] in found

    def test_a_host_has_what_all_its_groups_say_the_deeper_one_first(self, tmp_path: Path) -> None:
        group = (
            "    old: { vars: { pg_version: 16 }, children: { pg-a: } }\n"
            "    pg-a: { hosts: { h: } }\n"
            "    ext: { vars: { pg_extensions: ['ext_$v'], pg_version: 17 }, hosts: { h: } }\n"
            "    late: { vars: { pg_version: 15 }, children: { pg-b: { vars: { pg_version: 14 } , hosts: { h2: } } } }\n"
            "    more: { vars: { pg_extensions: ['more_$v'] }, hosts: { h2: } }"
        )

        found = installs(read(tmp_path, groups=group))

        assert ["more_14"] in found
        assert ["ext_17"] in found

    def test_a_group_that_occurs_twice_counts_once(self, tmp_path: Path) -> None:
        group = (
            "    a: { children: { pg: { vars: { pg_extensions: [x] } } } }\n"
            "    b: { vars: { pg_version: 16 }, children: { pg: } }"
        )

        found = read(tmp_path, groups=group).of(parse_target("el9.x86_64"))

        assert 1 == sum(
            any(line.text == "x" for lines in each.lines.values() for line in lines) for each in found.installs
        )

    def test_many_groups_cost_little(self, tmp_path: Path) -> None:
        group = "\n".join(
            f"    g{n}: {{ children: {{ g{n + 1}: }}, hosts: {{ h{n}: {{ node_packages: [p{n}] }} }} }}"
            for n in range(5000)
        )

        assert ["p4999"] in installs(read(tmp_path, groups=group))


class TestLooseness:
    def entry(self, tmp_path: Path, text: str) -> Manifests:
        entry = f"{{ name: a, module: infra, releases: [9], baseurl: {{ default: 'https://a.example/x' }}, {text} }}"
        return read(tmp_path, f"repo_upstream: [{entry}]")

    @pytest.mark.parametrize("text", ["''", "4.5", "yes", "'{{ x }}'", "!!int 4"])
    def test_a_description_may_be_anything(self, tmp_path: Path, text: str) -> None:
        assert ["a"] == modules(self.entry(tmp_path, f"description: {text}"))

    def test_a_proxy_that_is_empty_is_none(self, tmp_path: Path) -> None:
        found = read(tmp_path, "proxy_env: { http_proxy: '', https_proxy: , no_proxy: '' }")

        assert {} == found.of(parse_target("el9.x86_64")).proxy_env

    def test_the_core_tags_leave_the_text(self, tmp_path: Path) -> None:
        found = read(tmp_path, "region: !unsafe china\nrepo_name: !!str pigsty\npg_version: !!int '17'")

        assert "china" == found.general.region
        assert ["postgresql17", "postgresql17-server"] in groups(found)

    def test_an_entry_without_a_default_region_counts_where_it_has_a_url(self, tmp_path: Path) -> None:
        target = parse_target("el9.x86_64")
        entry = "{ name: %s, module: infra, releases: [9], baseurl: { default: %s, china: 'https://c.example/%s' } }"
        both = ", ".join(
            entry % each for each in (("a", "'https://a.example/a'", "a"), ("b", "''", "b"), ("c", "", "c"))
        )
        found = read(tmp_path, f"repo_upstream: [{both}]").of(target)

        names = {
            region: [each.name for each in found.describe(target, region=region).upstreams]
            for region in ("default", "china", "europe")
        }

        assert {"default": ["a"], "china": ["a", "b", "c"], "europe": ["a"]} == names
        assert 2 == sum("expected the region 'default', got china" in each for each in found.warnings)

    def test_an_upstream_that_is_switched_off_is_left_out(self, tmp_path: Path) -> None:
        entry = "{ name: gone, module: infra, releases: [9], baseurl: { default: 'https://a.example/y' }, meta: { enabled: 0 } }"

        assert ["a"] == modules(self.entry(tmp_path, f"meta: {{ enabled: 1 }} }}, {entry.removesuffix(' }')}"))

    def test_an_unquoted_version_is_one_error(self, tmp_path: Path) -> None:
        place = folder(tmp_path, inventory=inventory().replace("v4.5.0", "4.5"))

        with pytest.raises(ManifestError) as caught:
            manifest.load_all(None, place).of(parse_target("el9.x86_64"))

        assert 1 == len(caught.value.problems)

    def test_nodes_and_bundles_have_pigstys_defaults(self, tmp_path: Path) -> None:
        found = read(tmp_path)

        for each in (found.general, found.of(parse_target("el9.x86_64"))):
            assert ("pigsty-pkg-${version}.${os}.${arch}.tgz", "dist/${version}", ("pigsty",), ("local",)) == (
                each.cache_pkg_name,
                each.cache_pkg_dir,
                each.cache_repo,
                each.node_modules,
            )


class TestGenerations:
    V3 = V4.replace("infra-package: ", "infra-addons: 'grafana loki prometheus'\n  infra-package: ")
    NEW = V4.replace("infra-package: ", "infra-addons: 'grafana victoria-metrics'\n  infra-package: ")
    TARGET = parse_target("el9.x86_64")

    @pytest.mark.parametrize(("text", "generation", "warned"), [(V3, "v3", 0), (NEW, "v4", 0), (V4, "v4", 1)])
    def test_without_an_inventory_the_variables_tell(
        self, tmp_path: Path, text: str, generation: str, warned: int
    ) -> None:
        found = manifest.load_all(None, folder(tmp_path, {"el9.x86_64": text}))

        assert generation == found.of(self.TARGET).generation == found.general.generation
        assert warned == sum("--generation" in each for each in found.of(self.TARGET).warnings)

    @pytest.mark.parametrize("version", ["latest", "v1.5.1"])
    def test_an_unknown_version_is_doubtful(self, tmp_path: Path, version: str) -> None:
        place = folder(tmp_path, {"el9.x86_64": self.V3}, inventory().replace("v4.5.0", version))

        found = manifest.load_all(None, place).of(self.TARGET)

        assert "v3" == found.generation
        assert 1 == sum(f"pigsty.yml:5: all.vars.version: {version!r} tells no" in each for each in found.warnings)
        assert not manifest.load_all(None, place, Generation.V4).of(self.TARGET).warnings

    def test_capitals_do_not_matter(self, tmp_path: Path) -> None:
        place = folder(tmp_path, inventory=inventory().replace("v4.5.0", "V3.4.0"))

        assert "v3" == manifest.load_all(None, place).of(self.TARGET).generation

    def test_the_third_generation_alone_takes_the_profile_of_its_stack(self, tmp_path: Path) -> None:
        (tmp_path / "pigsty.yml").write_text(inventory("repo_packages: [infra-addons]").replace("v4.5.0", "v3.4.0"))

        found = manifest.load_all(tmp_path / "pigsty.yml")

        assert "loki" in groups(found)[0]
        assert any("profile 'prometheus'" in each for each in found.of(self.TARGET).warnings)
        assert "loki" not in groups(manifest.load_all(tmp_path / "pigsty.yml", generation=Generation.V4))[0]
