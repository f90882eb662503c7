"""The manifest: strict reading, expansion as Pigsty's, regions, verification, and what one target sees."""

import json
import time
from pathlib import Path

import pytest
import yaml

from repobuild.errors import ManifestError, UsageError
from repobuild.manifest import Manifest, check_accepted, default_manifest, document, load
from repobuild.model import Job, Mirror, Verify
from repobuild.targets import parse_target

D11, D12, D13 = (parse_target(f"d{major}.x86_64") for major in (11, 12, 13))
D12_ARM = parse_target("d12.aarch64")
EL9 = parse_target("el9.x86_64")
HERE = Path("folder/m.yml")

UPSTREAM = """\
repo_upstream:
  - name: base
    module: node
    releases: [11, 12, 13]
    verify: none
    baseurl: { default: 'http://a.example/debian ${distro_codename} main' }
"""


def read(text: str, path: Path = HERE) -> Manifest:
    return load(path, text=text.encode())


def problems(text: str, path: Path = HERE) -> tuple[str, ...]:
    with pytest.raises(ManifestError) as caught:
        read(text, path)
    return caught.value.problems


def job(text: str) -> Job:
    return read(UPSTREAM + text).job(D12)


# --------------------------------------------------------------------------------------------- reading


def test_every_error_of_a_document_is_reported_at_once_with_its_line() -> None:
    text = """\
version: 1.10
repo_upstreams: []
repo_upstream:
  - name: base
    releases: [12, 14]
    module: node
    verify: maybe
    baseurl:
      default: ftp://a.example/debian bookworm main
repo_name: a/b
recommends: perhaps
"""
    assert problems(text) == (
        "folder/m.yml:1: version: expected a version like v4.5.0, got the number 1.10; quote it: '1.10'",
        "folder/m.yml:2: unknown key 'repo_upstreams'; did you mean 'repo_upstream'?",
        (
            "folder/m.yml:5: repo_upstream[0].releases[1]: expected one of 7, 8, 9, 10, 11, 12, 13, 20, 22, 24, 26, or a "
            "list of them, got '14'"
        ),
        "folder/m.yml:7: repo_upstream[0].verify: expected root, packages or none, got 'maybe'",
        (
            "folder/m.yml:9: repo_upstream[0].baseurl.default: expected a URL of http, https, file, got "
            "'ftp://a.example/debian'"
        ),
        "folder/m.yml:10: repo_name: expected a folder name, got 'a/b'",
        "folder/m.yml:11: recommends: expected true or false, got 'perhaps'",
    )


@pytest.mark.parametrize(
    ("written", "version"),
    [
        ("17", "17"),
        ("v4.5.0", "v4.5.0"),
        ("'1.10'", "1.10"),
        ("010", "010"),
        ("2026-01-31", "2026-01-31"),
        ("1e3", "1e3"),
    ],
)
def test_versions_are_taken_as_written(written: str, version: str) -> None:
    assert read(f"{UPSTREAM}version: {written}\n").version == version


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("version: 1.10", "quote it: '1.10'"),
        ("version: no", "quote it if it is a name: 'no'"),
        ("version: [v1]", "got a list"),
        ("version: {a: b}", "got a mapping"),
        ("version: ''", "got ''"),
        ('version: "a\\0b"', "control characters"),
        ("repo_home: www", "expected an absolute path, got 'www'"),
        ("admin_ip: 'a b'", "expected an IP address or host name"),
        ("repo_endpoint: gopher://x", "expected a URL of http, https"),
        ("repo_endpoint: 'http://${nobody}'", "expected one of the variables ${admin_ip}, got ${nobody}"),
        ("proxy_env: {https_prox: x}", "did you mean 'https_proxy'?"),
        ("repo_modules: infra,nod", "did you mean 'node'?"),
        ("pg_version: [16, new]", "expected a PostgreSQL version such as 17"),
        ("pg_version: 9.6", "quote it: '9.6'"),
        ("package_map: {a: {bookwrm: b}}", "expected a selector such as"),
        ("package_map: {a: {d12.x86-64: b}}", "did you mean 'd12.x86_64'?"),
        ("package_map: {'a b': c}", "expected an alias without commas and spaces"),
        ("package_map: [a]", "expected a mapping from alias to package names, got a list"),
        ("repo_packages: '{{ some_list }}'", "Jinja is not evaluated"),
        ("repo_packages: {{ some_list }}", "Jinja is not evaluated"),
        ("repo_packages: [~]", "expected package names or aliases, got nothing"),
        ("repo_url_packages: ['http://a.example/']", "expected a file name, got ''"),
        ("repo_url_packages: ['http://a.example/repo_complete']", "does not need itself"),
        ("repo_url_packages: [{url: 'http://a.example/x', name: ../x}]", "expected a file name, got '../x'"),
        ("repo_url_packages: [{url: 'http://a.example/x', sha256: abc}]", "64 hexadecimal digits"),
        ("repo_url_packages: [{name: x}]", "expected the key 'url', got none"),
        ("version: v1\nversion: v2", "the key 'version' is given already in line 7"),
        ("? [a]\n: b", "expected a text as key"),
        ("version: !!python/object:os.system x", "expected no YAML tag"),
        ("version: *nowhere", "expected an anchor"),
        ("--- \na: b", "expected one YAML document"),
        ("version: [", "not YAML"),
        ("version: \t'x", "not YAML"),
    ],
)
def test_what_is_wrong_is_said_with_what_was_expected(text: str, expected: str) -> None:
    found = problems(f"{UPSTREAM}{text}\n")

    assert any(expected in problem for problem in found), found
    assert all(problem.startswith("folder/m.yml:") for problem in found)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("meta: {priority: 1}", "expected an upstream without `meta`, since it is for rpm"),
        ("minor: perhaps", "expected true or false, got 'perhaps'"),
        ("signed_by: keys/nobody.gpg", "got 'keys/nobody.gpg'"),
        ("signed_by: ../../etc/nothing", "expected a key file beside the manifest"),
        ("fingerprints: ABCD", "expected a fingerprint of 40 or 64 hexadecimal digits"),
        ("verify: packages", "deb packages carry no signatures"),
        ("baseurl: {china: 'http://a.example/d x main'}", "expected the region 'default', got china"),
        ("baseurl: http://a.example/d x main", "expected a mapping from region to URL"),
        ("baseurl: {default: 'http://a.example/d'}", "expected 'URL suite component…'"),
        ("baseurl: {default: 'http://a.example/d x'}", "expected components after the suite"),
        ("baseurl: {default: 'http://a.example/d ./ main'}", "expected no components after a flat path"),
        ("baseurl: {default: 'http://a.example/d ../x/ main'}", "expected a suite"),
        ("baseurl: {default: 'http://a.example/d x ..'}", "expected a component"),
        ("baseurl: {default: ['http://a.example/d x main', 'http://b.example/d y main']}", "mirrors of one suite"),
        ("baseurl: {default: 'http://a.example/${nope} x main'}", "got ${nope}"),
        ("baseurl: {default: 'http://a.example/d?x=1 x main'}", "without query or fragment"),
        ("baseurl: {default: 'http://a.example/../d x main'}", "without `.` or `..`"),
        ("baseurl: {default: 'http:///d x main'}", "a URL with a host"),
        ("baseurl: {default: 'http://[::1/d x main'}", "expected a URL"),
        ("baseurl: {default: 'file://elsewhere/d x main'}", "file URL of this machine"),
    ],
)
def test_what_is_wrong_with_an_upstream_is_said(lines: str, expected: str) -> None:
    text = "repo_upstream:\n- name: u\n  module: node\n  releases: 12\n"
    text += (
        f"  {lines}\n"
        if lines.startswith("baseurl")
        else f"  baseurl: {{default: 'http://a.example/d x main'}}\n  {lines}\n"
    )

    found = problems(text)

    assert any(expected in problem for problem in found), found


def test_an_upstream_names_what_it_lacks() -> None:
    assert problems("repo_upstream: [{}]") == tuple(
        f"folder/m.yml:1: repo_upstream[0]: expected the key {key!r}, got none"
        for key in ("name", "module", "releases", "baseurl")
    )


def test_a_password_in_a_url_is_refused_and_never_repeated() -> None:
    text = (
        UPSTREAM.replace("http://a.example", "http://me:se/cret@a.example")
        + "proxy_env: {http_proxy: 'http://me:secret@p:1'}\n"
    )
    text += "version: 'http://me:secret@x'\nhttp://me:secret@key: x\npackage_map: { a: { 'http://me:secret@selector': b } }\n"

    found = problems(text)

    assert len(found) == 5
    assert not any("secret" in problem or "se/cret" in problem for problem in found)


def test_one_name_serves_a_target_once() -> None:
    twice = UPSTREAM + UPSTREAM.partition("\n")[2]

    assert problems(twice) == (
        (
            "folder/m.yml:7: repo_upstream[1]: expected one upstream of a name for each target, got 'base' twice for "
            "d11.x86_64, d11.aarch64, d12.x86_64, the second called 'base-2' here"
        ),
    )
    assert read(UPSTREAM + UPSTREAM.partition("\n")[2].replace("[11, 12, 13]", "[22]")).upstreams[1].releases == (22,)


@pytest.mark.parametrize("loader", [yaml.SafeLoader, getattr(yaml, "CSafeLoader", yaml.SafeLoader)])
def test_both_yaml_parsers_read_alike(monkeypatch: pytest.MonkeyPatch, loader: type) -> None:
    monkeypatch.setattr(document, "_LOADER", loader)

    manifest = read(f"{UPSTREAM}recommends: true\nversion: 'true'\nrepo_packages: [&a nginx, *a]\nrepo_name:\n")

    assert manifest.recommends is True
    assert manifest.version == "true"
    assert manifest.name == "pigsty"
    assert manifest.job(D12).groups == (("nginx",), ("nginx",))


@pytest.mark.parametrize("loader", [yaml.SafeLoader, getattr(yaml, "CSafeLoader", yaml.SafeLoader)])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "a: &a [x,x,x,x,x,x,x,x,x]\n"
            + "".join(f"{chr(98 + n)}: &{chr(98 + n)} [{','.join([f'*{chr(97 + n)}'] * 9)}]\n" for n in range(9)),
            "with all aliases",
        ),
        ("a: " + "[" * 100_000, "levels of nesting"),
        ("a: " + "{a: " * 50, "levels of nesting"),
        ("a: &x [*x]", "expected an anchor that ends before"),
        ("a: [" + "x," * 210_000 + "]", "at most 200000 values"),
        ("#" * ((1 << 20) + 1), "at most 1048576 bytes"),
        ("a: \x00", "not YAML"),
    ],
)
def test_a_document_that_blows_up_is_refused(
    monkeypatch: pytest.MonkeyPatch, loader: type, text: str, expected: str
) -> None:
    monkeypatch.setattr(document, "_LOADER", loader)

    found = problems(text)

    assert expected in found[-1]


def test_text_that_is_not_utf8_is_refused_with_its_line() -> None:
    with pytest.raises(ManifestError) as caught:
        load(HERE, text=b"# fine\nversion: \xff\n")

    assert caught.value.problems == ("folder/m.yml:2: expected UTF-8 text, got byte 0xff",)


@pytest.mark.parametrize("text", ["", "# only a comment\n", "~\n"])
def test_an_empty_document_is_refused(text: str) -> None:
    assert "got nothing" in problems(text)[0]


def test_a_document_that_is_no_mapping_is_refused() -> None:
    assert "expected a mapping of settings" in problems("[a, b]")[0]


def test_a_manifest_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such manifest"):
        load(tmp_path / "none.yml")
    with pytest.raises(UsageError, match="cannot read"):
        load(tmp_path)


def test_what_is_not_given_has_pigstys_defaults() -> None:
    manifest = read(f"{UPSTREAM}repo_name: ~\nrepo_modules:\n")

    assert manifest.modules == ("infra", "node", "pgsql")
    assert (manifest.home, manifest.name, manifest.endpoint) == (Path("/www"), "pigsty", "http://10.10.10.10:80")
    assert (manifest.region, manifest.recommends, manifest.signing_keys) == ("auto", None, ())


def test_settings_of_the_document_are_kept() -> None:
    manifest = read(
        UPSTREAM
        + "admin_ip: '::1'\nrepo_endpoint: 'http://${admin_ip}:8080/'\nsigning_key: k.asc\nrepo_modules: [node, infra]\n"
        "proxy_env: {http_proxy: 'http://p:1', no_proxy: 'localhost,10.0.0.0/8,*.pigsty'}\n"
    )

    assert manifest.endpoint == "http://[::1]:8080"
    assert manifest.signing_keys == ("folder/k.asc",)
    assert manifest.modules == ("node", "infra")
    assert dict(manifest.proxy_env) == {"http_proxy": "http://p:1", "no_proxy": "localhost,10.0.0.0/8,*.pigsty"}


# ------------------------------------------------------------------------------------------- expansion


def test_an_item_becomes_one_group_and_an_alias_is_replaced_one_level_deep() -> None:
    text = """\
pg_version: 17
package_map:
  patroni: patroni patroni-etcd
  stack: 'patroni,nginx  redis'
  both$v: never
  main: postgresql-$v, postgresql-${pg_version}-repack
  nothing: ''
  several: [a b, 'c,d']
repo_packages: [patroni, 'stack raw', nothing, 'x both$v']
repo_extra_packages: main several
"""
    assert job(text).groups == (
        ("patroni", "patroni-etcd"),
        ("patroni", "nginx", "redis", "raw"),
        (),
        ("x", "never"),
        ("postgresql-17", "postgresql-17-repack", "a", "b", "c", "d"),
    )


def test_a_bare_string_is_one_item_and_never_characters() -> None:
    assert job("repo_packages: nginx\n").groups == (("nginx",),)
    assert job("repo_packages: []\n").groups == ()


def test_the_most_specific_selector_of_an_alias_counts_and_none_means_nothing() -> None:
    manifest = read(
        UPSTREAM + "repo_packages: [etcd, only]\npackage_map:\n"
        "  etcd: { default: a, x86_64: b, deb: c, debian: d, d12: [e1, e2], d12.aarch64: f }\n"
        "  only: { d13: g }\n"
    )

    assert manifest.job(D11).groups == (("d",), ())
    assert manifest.job(D12).groups == (("e1", "e2"), ())
    assert manifest.job(D12_ARM).groups == (("f",), ())
    assert manifest.job(D13).groups == (("d",), ("g",))


def test_the_postgresql_version_may_differ_by_target() -> None:
    manifest = read(f"{UPSTREAM}pg_version: {{ d11: 13, deb: 15 }}\nrepo_packages: postgresql-$v\n")

    assert manifest.job(D11).groups == (("postgresql-13",),)
    assert manifest.job(D12).groups == (("postgresql-15",),)


def test_a_version_that_is_asked_for_and_not_given_is_an_error() -> None:
    manifest = read(f"{UPSTREAM}pg_version: {{ d11: 13 }}\nrepo_packages:\n  - nginx\n  - postgresql-$v\n")

    with pytest.raises(ManifestError) as caught:
        manifest.job(D12)

    assert caught.value.problems == (
        (
            "folder/m.yml:10: repo_packages[1]: expected `pg_version` to say a version for d12.x86_64, got none; "
            "'postgresql-$v' asks for it"
        ),
    )


def test_wants_may_be_names_globs_and_specs() -> None:
    wants = ("g++", "prometheus-*-exporter", "nginx=1.22.1-9+deb12u3", "libc6:amd64", "tmux/bookworm", "a=1:2~rc1")

    assert job(f"repo_packages: ['{' '.join(wants)}']\n").groups == (wants,)


@pytest.mark.parametrize("want", ["-o", "a;b", "$(x)", "a|b", "`a`", "../x", "x" * 300])
def test_a_want_that_cannot_be_a_name_is_refused(want: str) -> None:
    with pytest.raises(ManifestError, match="expected a package name"):
        job(f"repo_packages: ['{want}']\n")


def test_an_expansion_that_blows_up_is_refused() -> None:
    with pytest.raises(ManifestError, match="expected at most 50000 wants"):
        job("package_map: {a: '" + "x " * 1000 + "'}\nrepo_packages: ['" + "a " * 1000 + "']\n")


# -------------------------------------------------------------------------------- upstreams and regions

SEVERAL = """\
repo_modules: node,pgsql
admin_ip: 10.0.0.1
repo_upstream:
  - { name: base, module: node, releases: [12], arch: [x86_64], origin: Debian, verify: none, baseurl: {
        default: 'http://a.example/debian/  ${distro_codename}   main contrib', china: 'https://c.example/debian ${distro_codename} main' } }
  - { name: base, module: node, releases: [12], arch: [aarch64], verify: none, baseurl: { default: 'http://ports.example/debian x main' } }
  - { name: security, module: node, releases: [12], origin: Debian, verify: none, baseurl: {
        default: ['http://a.example/debian-security ${distro_codename}-security main', 'http://b.example/s ${distro_codename}-security main'] } }
  - { name: local, module: node, releases: [11, 12], verify: none, baseurl: { default: 'http://${admin_ip}/pigsty ./' } }
  - { name: other, module: extra, releases: [12], verify: none, baseurl: { default: 'http://x.example/${distro_name} x main' } }
  - { name: pgdg, module: pgsql, releases: [9], verify: none, baseurl: {
        default: 'http://a.example/$releasever/$basearch/ http://b.example/el${releasever}/${arch}', europe: http://e.example/x } }
"""
HOST = (
    Mirror("http://h.example/other"),
    Mirror("http://h.example/debian", "http://proxy:1"),
    Mirror("http://h.example/debian-security"),
)


def test_upstreams_are_chosen_by_release_architecture_and_module() -> None:
    manifest = read(SEVERAL)

    assert [each.name for each in manifest.job(D12).upstreams] == ["base", "security", "local"]
    assert [each.name for each in manifest.job(D11).upstreams] == ["local"]
    assert [each.name for each in manifest.job(EL9).upstreams] == ["pgdg"]
    assert [each.name for each in manifest.targets] == [
        "el9.x86_64",
        "el9.aarch64",
        "d11.x86_64",
        "d11.aarch64",
        "d12.x86_64",
        "d12.aarch64",
    ]


def test_a_target_that_no_upstream_serves_is_an_error_that_names_the_others() -> None:
    with pytest.raises(ManifestError, match=r"for d13.x86_64, got none") as caught:
        read(SEVERAL).job(D13)

    assert "d12.x86_64" in (caught.value.hint or "")


def test_a_deb_upstream_has_a_suite_and_components_and_an_rpm_one_mirrors() -> None:
    manifest = read(SEVERAL)
    base, _, local = manifest.job(D12).upstreams
    (pgdg,) = manifest.job(EL9).upstreams

    assert (base.suite, base.components) == ("bookworm", ("main", "contrib"))
    assert (local.suite, local.components, local.mirrors) == ("./", (), (Mirror("http://10.0.0.1/pigsty"),))
    assert (pgdg.suite, pgdg.components) == ("", ())
    assert pgdg.mirrors == (Mirror("http://a.example/9/x86_64"), Mirror("http://b.example/el9/x86_64"))


def test_region_auto_tries_the_hosts_mirrors_first_where_an_origin_is_stated() -> None:
    base, security, local = read(SEVERAL).job(D12, host_mirrors=HOST).upstreams

    assert [mirror.url for mirror in base.mirrors] == [
        "http://h.example/debian",
        "http://h.example/other",
        "http://h.example/debian-security",
        "http://a.example/debian",
    ]
    assert base.mirrors[0].proxy == "http://proxy:1"
    assert [mirror.url for mirror in security.mirrors] == [
        "http://h.example/debian-security",
        "http://h.example/other",
        "http://h.example/debian",
        "http://a.example/debian-security",
        "http://b.example/s",
    ]
    assert [mirror.url for mirror in local.mirrors] == ["http://10.0.0.1/pigsty"]


def test_a_mirror_that_host_and_manifest_share_is_tried_once() -> None:
    base = read(SEVERAL).job(D12, host_mirrors=(Mirror("http://a.example/debian", ""),)).upstreams[0]

    assert base.mirrors == (Mirror("http://a.example/debian", ""),)


def test_a_region_falls_back_to_default_and_leaves_the_host_alone() -> None:
    base, security, _ = read(SEVERAL).job(D12, region="china", host_mirrors=HOST).upstreams

    assert (base.mirrors, base.components) == ((Mirror("https://c.example/debian"),), ("main",))
    assert security.mirrors[0].url == "http://a.example/debian-security"


def test_the_manifests_own_region_holds_unless_another_is_asked_for() -> None:
    manifest = read(f"{SEVERAL}region: china\n")

    assert manifest.job(D12).upstreams[0].mirrors[0].url == "https://c.example/debian"
    assert manifest.job(D12, region="default").upstreams[0].mirrors[0].url == "http://a.example/debian"


def test_an_unknown_region_is_refused() -> None:
    with pytest.raises(UsageError, match="did you mean 'china'") as caught:
        read(SEVERAL).job(D12, region="chian")

    assert caught.value.hint == "regions: auto, china, default, europe, host"


def test_region_host_needs_mirrors_and_has_none_for_what_they_cannot_serve() -> None:
    manifest = read(SEVERAL)

    with pytest.raises(UsageError, match="there is none"):
        manifest.job(D12, region="host", host_mirrors=())
    found = {each.name: each.mirrors for each in manifest.job(D12, region="host", host_mirrors=HOST).upstreams}

    assert () == found["local"]
    assert found["base"]


def test_region_host_needs_no_mirror_where_nothing_is_fetched() -> None:
    manifest = read(f"region: host\n{SEVERAL}")

    assert manifest.job(D12).digest == manifest.job(D12, host_mirrors=HOST).digest
    assert [each["name"] for each in manifest.describe(D12).to_json()["upstreams"]] == ["base", "security", "local"]


def test_region_host_uses_only_the_hosts_mirrors() -> None:
    manifest = load(default_manifest())

    upstreams = manifest.job(D12, region="host", host_mirrors=HOST).upstreams

    assert {mirror.url for each in upstreams for mirror in each.mirrors} == {mirror.url for mirror in HOST}
    assert upstreams[2].mirrors[0].url == "http://h.example/debian-security"


# -------------------------------------------------------------------------------------------- verifying


def test_an_upstream_without_keys_is_refused_unless_the_operator_says_so() -> None:
    manifest = read(UPSTREAM.replace("    verify: none\n", "").replace("/debian", "/packages"))

    with pytest.raises(ManifestError) as caught:
        manifest.job(D12)
    accepted = manifest.job(D12, allow_unverified=frozenset({"base"}))

    assert "`signed_by`" in str(caught.value.hint)
    assert "--allow-unverified base" in str(caught.value.hint)
    assert accepted.upstreams[0].verify is Verify.NONE
    assert manifest.describe(D12).upstreams[0].options["verify"] == "root"


def test_a_file_without_a_digest_is_refused_unless_the_operator_says_so() -> None:
    sha256 = "A" * 64
    manifest = read(
        UPSTREAM + "repo_url_packages:\n- https://a.example/x/pev%2B.html\n"
        "- { url: 'http://a.example/get?f=1', name: 'y-${arch}.tgz', verify: none }\n"
        f"- {{ url: 'http://a.example/${{distro_codename}}.deb', sha256: {sha256} }}\n"
    )

    with pytest.raises(ManifestError) as caught:
        manifest.job(D12)
    packages = manifest.job(D12, allow_unverified=frozenset({"pev+.html"})).url_packages

    assert len(caught.value.problems) == 1
    assert "--allow-unverified pev+.html" in caught.value.problems[0]
    assert [(each.name, each.sha256, each.verify) for each in packages] == [
        ("pev+.html", None, Verify.NONE),
        ("y-x86_64.tgz", None, Verify.NONE),
        ("bookworm.deb", sha256.lower(), Verify.ROOT),
    ]


def test_two_files_of_one_name_are_refused() -> None:
    manifest = read(
        f"{UPSTREAM}repo_url_packages: [{{url: 'http://a.example/x', verify: none}}, {{url: 'http://b.example/x', verify: none}}]\n"
    )

    with pytest.raises(ManifestError, match="'x' again"):
        manifest.job(D12)


def test_an_exception_for_a_name_that_is_not_there_is_refused() -> None:
    one = read(UPSTREAM)
    other = read(f"{UPSTREAM.replace('name: base', 'name: other')}repo_url_packages: ['http://a.example/x.html']\n")

    check_accepted({"base", "other", "x.html"}, [one, other])
    with pytest.raises(UsageError, match="'bse'; did you mean 'base'"):
        check_accepted({"base", "bse"}, [one, other])


def test_keys_are_found_beside_the_manifest_then_among_the_shipped(tmp_path: Path) -> None:
    name = "keys/debian-archive-keyring.gpg"
    text = UPSTREAM.replace("verify: none", f"signed_by: [{name}]\n    fingerprints: '{'ab ' * 20}'")

    shipped = read(text, tmp_path / "m.yml").job(D12).upstreams[0]
    (tmp_path / "keys").mkdir()
    (tmp_path / name).write_bytes(b"another key")
    beside = read(text, tmp_path / "m.yml").job(D12).upstreams[0]

    assert shipped.keys == (default_manifest().parent / name,)
    assert beside.keys == (tmp_path / name,)
    assert beside.fingerprints == ("AB" * 20,)


@pytest.mark.parametrize(
    ("data", "expected"),
    [(b"", "empty"), (b"x" * ((1 << 20) + 1), "larger"), (b"-----BEGIN PGP PRIVATE KEY BLOCK-----", "a private key")],
)
def test_a_key_file_that_cannot_be_one_is_refused(tmp_path: Path, data: bytes, expected: str) -> None:
    (tmp_path / "k.gpg").write_bytes(data)

    found = problems(UPSTREAM.replace("verify: none", "signed_by: k.gpg"), tmp_path / "m.yml")

    assert expected in found[0]


# --------------------------------------------------------------------------------- options, digest, show


def test_weak_dependencies_are_the_familys_habit_the_manifests_word_or_the_command_lines() -> None:
    manifest = read(SEVERAL)
    stated = read(f"{SEVERAL}recommends: true\n")

    assert not manifest.job(D12).options.weak_dependencies
    assert manifest.job(EL9).options.weak_dependencies
    assert stated.job(D12).options.weak_dependencies
    assert not stated.job(D12, recommends=False).options.weak_dependencies


def test_the_digest_ignores_regions_mirrors_comments_and_the_order_of_keys() -> None:
    manifest = read(f"{SEVERAL}version: v1\nrepo_packages: [nginx]\n")
    same = read(f"# a comment\nrepo_packages:\n- nginx # web\nversion: v1\n{SEVERAL.replace('   main', ' main')}")

    digests = {
        manifest.job(D12).digest,
        manifest.job(D12, region="china").digest,
        manifest.job(D12, host_mirrors=HOST).digest,
        same.job(D12).digest,
    }

    assert len(digests) == 1


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("repo_packages: [nginx]", "repo_packages: [nginx, curl]"),
        ("repo_packages: [nginx]", "repo_packages: [curl]"),
        ("version: v1", "version: v2"),
        ("https://c.example/debian", "https://d.example/debian"),
        ("main contrib", "main"),
        ("origin: Debian", "origin: Other"),
        (
            "module: node, releases: [12], arch: [x86_64]",
            "skip_if_unavailable: true, module: node, releases: [12], arch: [x86_64]",
        ),
        ("version: v1", "version: v1\nrecommends: true"),
        ("version: v1", "version: v1\nrepo_name: other"),
        ("version: v1", "version: v1\nrepo_endpoint: http://other"),
        ("version: v1", "version: v1\nrepo_url_packages: [{url: 'http://a.example/x', verify: none}]"),
    ],
)
def test_the_digest_moves_with_what_the_target_sees(old: str, new: str) -> None:
    text = f"{SEVERAL}version: v1\nrepo_packages: [nginx]\n"
    assert old in text

    assert read(text).job(D12).digest != read(text.replace(old, new, 1)).job(D12).digest


def test_the_digest_of_a_target_ignores_what_only_others_see() -> None:
    text = SEVERAL.replace("http://e.example/x", "http://changed.example/x")

    assert read(SEVERAL).job(D12).digest == read(text).job(D12).digest
    assert read(SEVERAL).job(EL9).digest != read(text).job(EL9).digest


def test_the_digest_moves_with_the_bytes_of_a_key(tmp_path: Path) -> None:
    text, path = UPSTREAM.replace("verify: none", "signed_by: k.gpg"), tmp_path / "m.yml"
    (tmp_path / "k.gpg").write_bytes(b"one")
    first = read(text, path).job(D12).digest
    (tmp_path / "k.gpg").write_bytes(b"two")

    assert first != read(text, path).job(D12).digest


def test_what_was_accepted_unverified_does_not_pass_as_verified_later(tmp_path: Path) -> None:
    (tmp_path / "k.gpg").write_bytes(b"key")
    manifest = read(UPSTREAM.replace("verify: none", "signed_by: k.gpg"), tmp_path / "m.yml")

    assert manifest.job(D12).digest != manifest.job(D12, allow_unverified=frozenset({"base"})).digest


def test_a_description_is_json_of_the_selected_upstreams_and_groups() -> None:
    shown = read(f"{SEVERAL}repo_packages: [a b, c]\n").describe(D12, region="china").to_json()

    assert json.loads(json.dumps(shown)) == {
        "target": "d12.x86_64",
        "region": "china",
        "upstreams": [
            {
                "name": "base",
                "module": "node",
                "baseurl": ["https://c.example/debian bookworm main"],
                "options": {"verify": "none", "origin": "Debian"},
            },
            {
                "name": "security",
                "module": "node",
                "baseurl": [
                    "http://a.example/debian-security bookworm-security main",
                    "http://b.example/s bookworm-security main",
                ],
                "options": {"verify": "none", "origin": "Debian"},
            },
            {
                "name": "local",
                "module": "node",
                "baseurl": ["http://10.0.0.1/pigsty ./"],
                "options": {"verify": "none"},
            },
        ],
        "groups": [["a", "b"], ["c"]],
    }


# ----------------------------------------------------------------------------------- the shipped manifest


def test_the_quickstart_serves_six_debian_targets_verified() -> None:
    manifest = load(default_manifest())

    assert [each.name for each in manifest.targets] == [
        f"d{n}.{arch}" for n in (11, 12, 13) for arch in ("x86_64", "aarch64")
    ]
    for target in manifest.targets:
        job = manifest.job(target)
        assert [each.name for each in job.upstreams] == ["base", "updates", "security"]
        assert all(each.keys and each.verify is Verify.ROOT and each.origin == "Debian" for each in job.upstreams)
        wants = [want for group in job.groups for want in group]
        assert len(wants) == len(set(wants)) >= 80


def test_the_quickstart_names_what_differs_between_releases() -> None:
    manifest = load(default_manifest())

    wants = {
        target.os: {want for group in manifest.job(target).groups for want in group} for target in manifest.targets
    }

    assert {"etcd", "postgresql-13", "postgresql-contrib"} <= wants["d11"]
    assert {"etcd-server", "etcd-client", "postgresql-15", "postgresql-contrib"} <= wants["d12"]
    assert {"etcd-server", "etcd-client", "postgresql-17"} <= wants["d13"]
    assert "postgresql-contrib" not in wants["d13"]


def test_the_quickstart_has_mirrors_in_every_region() -> None:
    manifest = load(default_manifest())

    hosts = {
        region: manifest.job(D12, region=region).upstreams[0].mirrors[0].url
        for region in ("default", "china", "europe")
    }

    assert len(set(hosts.values())) == 3


# --------------------------------------------------------------------------------------------- rpm

RPM = """\
repo_upstream:
  - name: appstream
    module: node
    releases: [8, 9]
    signed_by: key.asc
    baseurl: { default: 'http://a.example/$releasever/$basearch/$arch' }
"""


@pytest.fixture
def rpm_folder(tmp_path: Path) -> Path:
    (tmp_path / "key.asc").write_text("a key")
    return tmp_path / "m.yml"


def rpm_job(path: Path, lines: str, *, more: str = "", target: str = "el9.x86_64") -> Job:
    text = RPM + "".join(f"    {line}\n" for line in lines.splitlines()) + more
    return read(text, path).job(parse_target(target))


def test_variables_of_an_rpm_url_are_replaced(rpm_folder: Path) -> None:
    [major] = rpm_job(rpm_folder, "").upstreams
    [minor] = rpm_job(rpm_folder, "minor: true", target="el9.6.x86_64").upstreams

    assert major.mirrors == (Mirror("http://a.example/9/x86_64/x86_64"),)
    assert minor.mirrors == (Mirror("http://a.example/9.6/x86_64/x86_64"),)


def test_options_of_yum_are_read(rpm_folder: Path) -> None:
    lines = "meta: {priority: 1, cost: 5, excludepkgs: 'postgresql* libpq*', includepkgs: [a, b], module_hotfixes: 1}"

    [upstream] = rpm_job(rpm_folder, lines).upstreams

    assert (upstream.priority, upstream.cost, upstream.module_hotfixes) == (1, 5, True)
    assert (upstream.exclude, upstream.include) == (("postgresql*", "libpq*"), ("a", "b"))


@pytest.mark.parametrize(
    ("lines", "verify", "checks_packages"),
    [
        ("", Verify.ROOT, False),
        ("meta: {gpgcheck: 1}", Verify.PACKAGES, True),
        ("meta: {gpgcheck: 1, repo_gpgcheck: 1}", Verify.ROOT, True),
        ("meta: {gpgcheck: 0}", Verify.ROOT, False),
        ("verify: packages", Verify.PACKAGES, True),
        ("verify: none\nmeta: {gpgcheck: 1}", Verify.NONE, True),
    ],
)
def test_gpgcheck_says_what_is_verified_and_never_less_than_verify_does(
    rpm_folder: Path, lines: str, verify: Verify, checks_packages: bool
) -> None:
    [upstream] = rpm_job(rpm_folder, lines).upstreams

    assert (upstream.verify, upstream.checks_packages) == (verify, checks_packages)


def test_lists_of_mirrors_may_stand_for_a_baseurl(rpm_folder: Path) -> None:
    text = RPM.replace("    baseurl: { default: 'http://a.example/$releasever/$basearch/$arch' }\n", "")
    text += "    meta: { metalink: 'https://m.example/metalink?repo=epel-$releasever&arch=$basearch' }\n"

    [upstream] = read(text, rpm_folder).job(EL9).upstreams

    assert upstream.mirrors == ()
    assert [(each.kind, each.url) for each in upstream.mirror_lists] == [
        ("metalink", "https://m.example/metalink?repo=epel-9&arch=x86_64")
    ]


def test_a_key_may_be_named_as_yum_does(rpm_folder: Path) -> None:
    text = (
        RPM.replace("    signed_by: key.asc\n", "") + f"    meta: {{ gpgkey: 'file://{rpm_folder.parent}/key.asc' }}\n"
    )

    assert [key.name for key in read(text, rpm_folder).job(EL9).upstreams[0].keys] == ["key.asc"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("origin: Rocky", "expected an entry without it, since no root of rpm states an origin"),
        ("meta: {priorty: 1}", "unknown key 'priorty'; did you mean 'priority'?"),
        ("meta: {priority: high}", "expected a number, got 'high'"),
        ("meta: {gpgcheck: maybe}", "expected 1 or 0, true or false, got 'maybe'"),
        ("meta: {excludepkgs: 'a$(b)'}", "expected a package name or glob, got 'a$(b)'"),
        ("meta: {metalink: 'ftp://x.example/y'}", "expected a URL of http, https"),
    ],
)
def test_what_is_wrong_with_options_of_yum_is_said(rpm_folder: Path, line: str, expected: str) -> None:
    assert any(expected in each for each in problems(f"{RPM}    {line}\n", rpm_folder)), expected


def test_module_streams_are_for_those_who_have_modules(rpm_folder: Path) -> None:
    more = "module_streams: { el8: 'postgresql:16 nodejs:20' }\n"

    assert rpm_job(rpm_folder, "", more=more, target="el8.x86_64").options.module_streams == (
        "postgresql:16",
        "nodejs:20",
    )
    assert rpm_job(rpm_folder, "", more=more).options.module_streams == ()
    assert any("module streams such as" in each for each in problems(RPM + "module_streams: postgresql\n", rpm_folder))


def test_what_an_rpm_upstream_says_moves_the_digest(rpm_folder: Path) -> None:
    lines = ["", "meta: {priority: 1}", "meta: {excludepkgs: a}", "meta: {module_hotfixes: 1}", "minor: true"]
    digests = {rpm_job(rpm_folder, each, target="el9.6.x86_64").digest for each in lines}
    digests.add(rpm_job(rpm_folder, "", more="module_streams: 'a:1'\n", target="el9.6.x86_64").digest)

    assert len(digests) == len(lines) + 1


# --------------------------------------------------------------------------------------------- merge keys

MERGED = """\
repo_upstream:
  - &a
    name: a
    module: node
    releases: [12]
    verify: none
    baseurl: { default: 'http://a.example/d x main' }
  - { <<: *a, name: b }
  - { name: c, <<: [{ releases: [11], origin: C }, *a] }
"""


@pytest.mark.parametrize("loader", [yaml.SafeLoader, getattr(yaml, "CSafeLoader", yaml.SafeLoader)])
def test_a_merge_key_gives_what_the_mapping_does_not_say_itself(monkeypatch: pytest.MonkeyPatch, loader: type) -> None:
    monkeypatch.setattr(document, "_LOADER", loader)

    found = read(MERGED).upstreams

    assert [("a", (12,), None), ("b", (12,), None), ("c", (11,), "C")] == [
        (each.name, each.releases, each.origin) for each in found
    ]
    assert all(each.baseurl == found[0].baseurl for each in found)


@pytest.mark.parametrize("value", ["hello", "[a]", "", "[{a: b}, ~]"])
def test_a_merge_of_what_is_no_mapping_is_an_error_with_its_line(value: str) -> None:
    found = problems(f"{UPSTREAM}access:\n  <<: {value}\n")

    assert ("folder/m.yml:8: expected a mapping or a list of mappings to merge under '<<'",) == tuple(
        each.partition(", got")[0] for each in found
    )


def test_a_quoted_merge_key_is_a_key_like_others() -> None:
    assert "unknown key '<<'" in problems(f"{UPSTREAM}'<<': {{version: v1}}\n")[0]


def test_merges_that_blow_up_are_refused() -> None:
    entries = ", ".join(f"k{number}: v" for number in range(100))
    text = f"a: &a {{{entries}}}\nb: [{', '.join('{<<: *a}' for _ in range(2100))}]\n"

    assert "at most 200000 values" in problems(text)[-1]


# --------------------------------------------------------------------------------------------- secrets

SECRETS = (
    "alice:PW@proxy:3128",
    "http:/alice:PW@proxy",
    "http://alice:P W@proxy",
    "https://x.example/f?token=PW",
    "https://x.example/f?X-Amz-Signature=PW&a={{z}}",
    "?token=PW",
    "?token='PW",
)


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize(
    "line",
    [
        "proxy_env: {{http_proxy: {0}}}",
        "repo_endpoint: {0}",
        "version: {0}",
        "region: [{0}, {0}]",
        "{0}: x",
        "{0}: x\n{0}: y",
        "package_map: {{a: {{{0}: b}}}}",
        "repo_url_packages: [{{url: {0}, sha: x}}]",
        "access: {{{0}: {{credentials: netrc}}}}",
        "access: {{'https://x.example': {{{0}: netrc}}}}",
        "access: {{'https://x.example': {{credentials: {0}, proxy: {0}, ca: [{0}]}}}}",
        "access: {{'https://x.example': {0}}}",
    ],
)
def test_no_error_repeats_a_secret(line: str, secret: str) -> None:
    found = problems(f"{UPSTREAM}{line.format(json.dumps(secret))}\n")

    assert found
    assert not any("PW" in problem or "alice" in problem for problem in found), found


@pytest.mark.parametrize("secret", SECRETS[:3])
def test_no_want_repeats_a_secret(secret: str) -> None:
    with pytest.raises(ManifestError) as caught:
        job(f"repo_packages: [{json.dumps(secret)}, {json.dumps(f'{secret}$v')}]\n")

    assert "alice" not in caught.value.message


@pytest.mark.parametrize(
    "line",
    [
        "proxy_env: {https_proxy: PWSECRET}",
        "proxy_env: {PWSECRET: x}",
        "proxy_env: PWSECRET",
        "access: {'https://x.example': {proxy: PWSECRET}}",
        "access: {'https://x.example': {ca: '{{ PWSECRET }}'}}",
        "access: {'https://x.example': {PWSECRET: x}}",
        "access: {PWSECRET: {proxy: direct}}",
        "access: PWSECRET",
    ],
)
def test_where_secrets_are_near_nothing_is_repeated(line: str) -> None:
    found = problems(f"{UPSTREAM}{line}\n")

    assert not any("PWSECRET" in problem for problem in found), found


def test_a_proxy_with_credentials_is_told_where_they_belong() -> None:
    (found,) = problems(f"{UPSTREAM}proxy_env: {{http_proxy: 'http://me:secret@p:1'}}\n")

    assert "environment" in found
    assert "`access`" in found


# --------------------------------------------------------------------------------------------- what upstreams may lack


@pytest.mark.parametrize("default", ["''", "", "[]"])
def test_a_region_default_without_a_url_is_an_error(default: str) -> None:
    text = UPSTREAM.replace("baseurl: {", "baseurl: { china: 'http://c.example/d x main',").replace(
        "default: 'http://a.example/debian ${distro_codename} main'", f"default: {default}"
    )

    found = problems(text)

    assert any("expected the region 'default'" in each for each in found), found


def test_an_alias_without_a_value_stands_for_nothing() -> None:
    assert ((), ("b",)) == job("package_map: {a: , c: ~}\nrepo_packages: ['a c', b]\n").groups


def test_an_upstream_that_is_switched_off_is_left_out(rpm_folder: Path) -> None:
    line = "{ name: %s, module: node, releases: [9], verify: none, baseurl: { default: 'http://x.example/%s' }, meta: { enabled: %s } }"
    text = "repo_upstream:\n" + "".join(
        f"  - {line % each}\n" for each in (("a", "a", "0"), ("b", "b", "1"), ("c", "c", "false"))
    )

    assert ["b"] == [each.name for each in read(text).upstreams]


def test_exclude_is_another_name_of_excludepkgs_and_include_is_none(rpm_folder: Path) -> None:
    meta = "meta: { exclude: 'a b', excludepkgs: c }"
    line = f"{{ name: a, module: node, releases: [9], verify: none, baseurl: {{ default: 'http://x.example/a' }}, {meta} }}"

    assert ("c", "a", "b") == read(f"repo_upstream:\n  - {line}\n").upstreams[0].meta.exclude
    assert "unknown key 'include'" in problems(f"repo_upstream:\n  - {line.replace('exclude:', 'include:')}\n")[0]


def test_many_upstreams_are_read_in_little_time() -> None:
    text = "repo_upstream:\n" + "".join(
        f"- {{name: a{n}, module: m, releases: [12], verify: none, baseurl: {{default: 'http://a.example/d x main'}}}}\n"
        for n in range(5000)
    )
    started = time.process_time()

    assert 5000 == len(read(text).upstreams)
    assert time.process_time() - started < 20


# --------------------------------------------------------------------------------------------- nodes and cache


def test_nodes_read_this_repository_unless_the_manifest_says_otherwise() -> None:
    assert ("local",) == read(UPSTREAM).node_modules
    assert () == read(UPSTREAM).doubts(D12)

    found = read(f"{UPSTREAM}node_repo_modules: node,infra\n")

    assert ("node", "infra") == found.node_modules == found.describe(D12).node_modules
    assert (
        "folder/m.yml:7: node_repo_modules: node,infra: nodes will read the internet, not this repository; set it to local",
    ) == found.doubts(D12)
    assert not read(f"{UPSTREAM}node_repo_modules: [local, infra]\n").doubts(D12)


def test_the_names_of_bundles_are_read() -> None:
    found = read(
        f"{UPSTREAM}cache_pkg_name: 'a-${{version}}.${{os}}.${{arch}}.tgz'\ncache_pkg_dir: dist\ncache_repo: 'pigsty, more'\n"
    )

    assert ("a-${version}.${os}.${arch}.tgz", "dist", ("pigsty", "more")) == (
        found.cache_pkg_name,
        found.cache_pkg_dir,
        found.cache_repo,
    )
    assert ("", "", ()) == (read(UPSTREAM).cache_pkg_name, read(UPSTREAM).cache_pkg_dir, read(UPSTREAM).cache_repo)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("cache_pkg_name: 'a/${version}.tgz'", "expected a file name"),
        ("cache_pkg_name: '${nope}.tgz'", "expected one of the variables ${version}, ${os}, ${arch}, got ${nope}"),
        ("cache_pkg_name: '{{ version }}.tgz'", "Jinja is not evaluated"),
        ("cache_pkg_dir: '../dist'", "expected a folder without `.` or `..`"),
        ("cache_repo: a/b", "expected the name of a repository"),
    ],
)
def test_what_is_wrong_with_the_names_of_bundles_is_said(line: str, expected: str) -> None:
    assert expected in problems(f"{UPSTREAM}{line}\n")[0]


@pytest.mark.parametrize("key", ["a" * 900_000, ":/" * 450_000, "@" + "a" * 900_000, "?" * 900_000, "a@b:" * 225_000])
def test_hiding_secrets_takes_little_time(key: str) -> None:
    started = time.process_time()

    assert max(len(each) for each in problems(f"{UPSTREAM}package_map: {{d12: {{{json.dumps(key)}: [[]]}}}}\n")) < 1000
    assert time.process_time() - started < 5
