"""The table of known upstreams: what it finds, what it pins, and that it lowers nothing."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from repobuild.errors import ManifestError
from repobuild.manifest import Manifest, load, shipped_folder
from repobuild.manifest import known as table_of_known
from repobuild.manifest.known import Archive, Pattern, Trust, find, read, table
from repobuild.manifest.locations import locate
from repobuild.model import Mirror, Verify
from repobuild.signing import Keyring
from repobuild.signing.keyring import _key_fault
from repobuild.targets import ALL_TARGETS, TARGETS, Target, family, parse_target

HERE = Path("/nowhere/manifest.yml")
KEYS = shipped_folder() / "keys"
PIGSTY = Path(__file__).resolve().parents[3] / "shared" / "data" / "pigsty-v4.5" / "vars"
PIGSTY_KEY = "9592A7BC7A682E7333376E09E7935D8DB9BD8B20"
EPEL_9 = "FF8AD1344597106ECE813B918A3872BF3228467C"
D12, EL8, EL9, U24 = map(parse_target, ("d12.x86_64", "el8.x86_64", "el9.x86_64", "u24.x86_64"))

KNOWN_UNKNOWNS = {("epel", "el8")}
"""Upstreams of the modules that every Pigsty uses of which no key is believed, by name and release."""


def at(target: Target, *lines: str) -> Trust | None:
    return find(locate(lines, has_suites=family(target).has_suites), target)


def manifest(line: str, *more: str, releases: str = "[12]", china: str = "") -> Manifest:
    region = f", china: '{china}'" if china else ""
    fields = "".join(f"    {each}\n" for each in more)
    text = (
        f"repo_upstream:\n  - name: one\n    module: node\n    releases: {releases}\n{fields}"
        f"    baseurl: {{ default: '{line}'{region} }}\n"
    )
    return load(HERE, text=text.encode())


# what is found


@pytest.mark.parametrize(
    "line",
    [
        "http://ftp.debian.org/debian bookworm main",
        "https://mirrors.tuna.tsinghua.edu.cn/debian/ bookworm-updates main contrib",
        "http://127.0.0.1:8080/debian bookworm-backports main",
        "https://mirror.example//debian bookworm main",
    ],
)
def test_debian_is_known_on_any_mirror_by_its_path_and_its_suites(line: str) -> None:
    trust = at(D12, line)

    assert trust is not None
    assert (trust.verify, trust.origin, [each.name for each in trust.keys]) == (
        Verify.ROOT,
        "Debian",
        ["debian-archive-keyring.gpg"],
    )


@pytest.mark.parametrize(
    "line",
    [
        "http://ftp.debian.org/debian trixie main",
        "http://ftp.debian.org/debian bookworm-security main",
        "http://ftp.debian.org/debian stable main",
        "http://ftp.debian.org/debian ./",
        "http://ftp.debian.org/debian/more bookworm main",
        "http://ftp.debian.org/debian-ports bookworm main",
        "file:///srv/debian bookworm main",
    ],
)
def test_another_suite_path_or_scheme_is_not_debian(line: str) -> None:
    assert at(D12, line) is None


def test_security_updates_have_a_path_of_their_own() -> None:
    assert at(D12, "http://security.debian.org/debian-security bookworm-security main") is not None
    assert at(D12, "http://security.debian.org bookworm-security main") is not None
    assert at(D12, "http://security.debian.org/debian-security bookworm main") is None


def test_ubuntu_is_known_to_ubuntu_alone() -> None:
    line = "https://mirrors.edge.kernel.org/ubuntu/ noble-security main universe"
    ports = at(parse_target("u24.aarch64"), "http://ports.ubuntu.com/ubuntu-ports/ noble main")

    assert ports is not None
    assert ports == at(U24, line)
    assert ports.origin == "Ubuntu"
    assert at(D12, line.replace("noble", "bookworm")) is None


def test_a_named_host_counts_before_any_host() -> None:
    groonga = at(D12, "https://packages.groonga.org/debian/ bookworm main")

    assert groonga is not None
    assert groonga.problem
    assert not groonga.has_keys
    assert at(EL9, "https://packages.groonga.org/almalinux/9/x86_64/") == groonga


def test_a_named_host_is_that_host_on_its_usual_port() -> None:
    assert at(EL9, "https://nginx.org:443/packages/rhel/9/x86_64") is not None
    assert at(EL9, "https://nginx.org:8443/packages/rhel/9/x86_64") is None
    assert at(EL9, "https://nginx.org.evil.example/packages/rhel/9/x86_64") is None
    assert at(EL9, "https://evil.example/nginx.org/packages/rhel/9/x86_64") is None


def test_a_longer_path_counts_before_a_shorter_one() -> None:
    el7 = parse_target("el7.x86_64")
    base = at(el7, "http://vault.centos.org/centos/7/os/x86_64/")
    collections = at(el7, "http://vault.centos.org/centos/7/sclo/x86_64/sclo/")

    assert base is not None
    assert collections is not None
    assert (bool(base.problem), bool(collections.problem)) == (True, False)


def test_each_release_has_its_own_key() -> None:
    urls = {
        target.name: at(target, f"https://dl.rockylinux.org/pub/rocky/{target.major}/BaseOS/{target.arch}/os/")
        for target in TARGETS
        if not family(target).has_suites
    }

    pinned = {
        name[:-7] if name.endswith("x86_64") else name[:-8]: each.fingerprints for name, each in urls.items() if each
    }
    assert len(urls) == 6
    assert len(set(pinned.values())) == 3


def test_all_mirrors_have_to_be_of_one_archive() -> None:
    rocky = "https://mirrors.aliyun.com/rockylinux/9/BaseOS/x86_64/os/"
    same = f"{rocky} https://mirrors.cloud.tencent.com/rocky/9/BaseOS/x86_64/os/"

    assert at(EL9, rocky) == at(EL9, same)
    assert at(EL9, f"{same} https://mirrors.aliyun.com/epel/9/Everything/x86_64/") is None
    assert at(EL9, f"{same} https://elsewhere.example/9/") is None


def test_an_entry_without_urls_is_unknown() -> None:
    assert find(replace(locate(["http://a.example/debian bookworm main"], has_suites=True), urls=()), D12) is None


@pytest.mark.parametrize("text", ["*", "*/*", "http://a.example/x", "a.example/../x", "A.example", "a.example/*/x", ""])
def test_a_pattern_is_a_host_and_a_path(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        Pattern.read(text)


# what the table says


def archives() -> list[Archive]:
    return [each for each in table() if not each.trust.problem]


def test_every_fingerprint_is_of_a_shipped_key_or_of_one_that_is_fetched() -> None:
    for each in archives():
        held = set(Keyring.from_files(each.trust.keys).fingerprints) if each.trust.keys else set()
        fetched = set(each.trust.fingerprints) - held

        assert each.trust.fingerprints, each.name
        assert bool(fetched) == bool(each.trust.key_urls), each.name


def test_what_is_not_known_has_a_reason_and_no_key() -> None:
    for each in table():
        assert bool(each.trust.problem) != each.trust.has_keys, each.name


def test_no_shipped_key_that_is_pinned_would_be_refused() -> None:
    """Not for its hash, nor as revoked, nor as expired when the table was made."""
    for each in archives():
        if each.trust.keys:
            for key in Keyring.from_files(each.trust.keys, each.trust.fingerprints)._keys:
                assert _key_fault(key, key.fingerprint, datetime(2026, 11, 23, tzinfo=UTC)) is None, each.name


def test_every_key_is_in_the_readme_with_its_fingerprints_and_its_source() -> None:
    readme = (KEYS / "README.md").read_text()
    believed = {fingerprint for each in archives() for fingerprint in each.trust.fingerprints}

    for path in sorted(KEYS.iterdir()):
        if path.name != "README.md":
            assert path.name in readme
            for fingerprint in Keyring.from_files([path]).fingerprints:
                assert fingerprint in readme, path.name
    assert set() == {each for each in believed if each not in readme}
    assert set() == set(re.findall(r"\| ([0-9A-F]{40}) \| `[^`]+` \| - \|", readme)) & believed


def test_every_shipped_key_file_is_believed_for_something() -> None:
    used = {path.name for each in table() for path in each.trust.keys}

    assert used == {path.name for path in KEYS.iterdir() if path.name != "README.md"}


def test_a_root_is_believed_of_every_deb_archive_and_an_origin_of_the_two_distributions() -> None:
    for each in archives():
        if "deb" in each.selectors:
            assert each.trust.verify is Verify.ROOT
    assert {each.trust.origin for each in table()} == {None, "Debian", "Ubuntu"}


GOOD = """\
archives:
  - name: one
    for: [deb]
    urls: [a.example/deb]
    verify: root
    key_urls: ['https://a.example/key']
    fingerprints: [9592A7BC7A682E7333376E09E7935D8DB9BD8B20]
"""


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("[deb]", "[debb]", "selector"),
        ("a.example/deb", "https://a.example/deb", "HOST/PATH"),
        ("verify: root", "verify: none", "root or packages"),
        ("https://a.example/key", "http://a.example/key", "URL of https"),
        ("9592A7BC", "9592a7bc", "fingerprint"),
        ("9592A7BC7A682E73", "", "fingerprint"),
        ("    key_urls: ['https://a.example/key']\n", "", "keys or key_urls"),
        ("key_urls: ['https://a.example/key']", "keys: [keys/none.gpg]", "key file"),
        ("verify: root", "unknown: nobody knows", "nothing beside"),
        ("name: one", "nam: one", "unknown key 'nam'"),
    ],
)
def test_the_table_is_read_strictly(old: str, new: str, problem: str) -> None:
    assert len(read(GOOD.encode(), HERE)) == 1

    with pytest.raises(ManifestError, match=problem):
        read(GOOD.replace(old, new).encode(), HERE)


# what a manifest makes of it


def test_an_entry_that_says_nothing_is_verified_as_its_archive() -> None:
    upstream = manifest("https://mirrors.aliyun.com/epel/9/Everything/x86_64/", releases="[9]").job(EL9).upstreams[0]

    assert (upstream.verify, upstream.checks_packages, upstream.fingerprints) == (Verify.PACKAGES, True, (EPEL_9,))
    assert [each.name for each in upstream.keys] == ["RPM-GPG-KEY-EPEL-9"]


def test_keys_that_are_fetched_reach_the_upstream_with_their_fingerprints() -> None:
    upstream = manifest("https://repo.pigsty.io/apt/infra/ generic main").job(D12).upstreams[0]

    assert (upstream.verify, upstream.keys, upstream.fingerprints) == (Verify.ROOT, (), (PIGSTY_KEY,))
    assert upstream.key_urls == ("https://repo.pigsty.io/key", "https://repo.pigsty.cc/key")


def test_what_an_entry_says_itself_counts_alone() -> None:
    line = "http://ftp.debian.org/debian bookworm main"
    stated = manifest(line, "signed_by: keys/nginx.asc").job(D12).upstreams[0]
    accepted = manifest(line, "verify: none").job(D12).upstreams[0]

    assert ([each.name for each in stated.keys], stated.fingerprints, stated.origin) == (["nginx.asc"], (), None)
    assert (accepted.verify, accepted.keys, accepted.origin) == (Verify.NONE, (), None)
    for word in ("verify: root", f"fingerprints: '{PIGSTY_KEY}'"):
        with pytest.raises(ManifestError, match="expected keys to verify upstream 'one' by, got none"):
            manifest(line, word).job(D12)


def test_an_origin_that_an_entry_states_stays() -> None:
    upstream = manifest("http://ftp.debian.org/debian bookworm main", "origin: Mine").job(D12).upstreams[0]

    assert (upstream.origin, len(upstream.keys)) == ("Mine", 1)


def test_gpgcheck_0_does_not_lower_what_is_known() -> None:
    line = "https://nginx.org/packages/rhel/9/x86_64/"
    upstream = manifest(line, "meta: { gpgcheck: 0, repo_gpgcheck: 0 }", releases="[9]").job(EL9).upstreams[0]

    assert (upstream.verify, upstream.checks_packages) == (Verify.PACKAGES, True)


def test_the_operators_word_does_not_lower_what_the_table_has_keys_for() -> None:
    one = manifest("https://nginx.org/packages/rhel/9/x86_64/", releases="[9]")

    upstream = one.job(EL9, allow_unverified=frozenset({"one"})).upstreams[0]

    assert (upstream.verify, upstream.checks_packages) == (Verify.PACKAGES, True)
    assert one.job(EL9).digest == one.job(EL9, allow_unverified=frozenset({"one"})).digest


def test_the_operator_may_accept_a_known_upstream_of_which_no_key_is_believed() -> None:
    one = manifest("https://mirrors.aliyun.com/epel/8/Everything/x86_64/", releases="[8]")

    assert one.job(EL8, allow_unverified=frozenset({"one"})).upstreams[0].verify is Verify.NONE


def test_an_upstream_that_nobody_knows_needs_keys_or_the_operators_word() -> None:
    with pytest.raises(ManifestError) as caught:
        manifest("https://a.example/el9/", releases="[9]").job(EL9)

    assert "expected keys to verify upstream 'one' by, got none" in caught.value.problems[0]
    assert str(caught.value.hint).endswith("--allow-unverified one")


def test_why_no_key_of_an_archive_is_believed_is_said() -> None:
    with pytest.raises(ManifestError) as caught:
        manifest("https://mirrors.aliyun.com/epel/8/Everything/x86_64/", releases="[8]").job(EL8)

    assert "got none (EPEL does not sign its root, and its key 94E279EB" in caught.value.problems[0]
    assert caught.value.problems[0].endswith("only SHA-1 self-signatures)")
    assert "name their keys in `signed_by`" in str(caught.value.hint)


def test_the_build_machines_mirrors_stand_in_for_debian_and_for_nobody_else() -> None:
    host = (Mirror("http://h.example/debian"),)
    debian = manifest("http://ftp.debian.org/debian bookworm main")
    pgdg = manifest("http://apt.postgresql.org/pub/repos/apt/ bookworm-pgdg main")

    assert [each.url for each in debian.job(D12, region="host", host_mirrors=host).upstreams[0].mirrors] == [
        host[0].url
    ]
    assert debian.job(D12, region="auto", host_mirrors=host).upstreams[0].mirrors[0] == host[0]
    assert host[0] not in pgdg.job(D12, region="auto", host_mirrors=host).upstreams[0].mirrors
    assert () == pgdg.job(D12, region="host", host_mirrors=host).upstreams[0].mirrors


def test_what_the_security_archive_of_debian_11_has_lost_is_left_out() -> None:
    line = "http://security.debian.org/debian-security ${distro_codename}-security main"
    both = manifest(line, releases="[11, 12]")
    found = {name: both.job(parse_target(name)).upstreams[0] for name in ("d11.x86_64", "d12.x86_64")}

    assert {"d11.x86_64": True, "d12.x86_64": False} == {name: each.skip_if_gone for name, each in found.items()}
    assert found["d11.x86_64"].fingerprints == found["d12.x86_64"].fingerprints


def test_the_digest_follows_the_keys_believed_and_no_region(monkeypatch: pytest.MonkeyPatch) -> None:
    line, china = "http://ftp.debian.org/debian bookworm main", "https://mirrors.aliyun.com/debian bookworm main"
    one = manifest(line, china=china)
    stated = manifest(line, "signed_by: keys/debian-archive-keyring.gpg", china=china)
    before, before_stated = one.job(D12).digest, stated.job(D12).digest
    in_china = one.job(D12, region="china").digest

    def with_another_key(archive: Archive) -> Archive:
        fingerprints = (*archive.trust.fingerprints, PIGSTY_KEY)
        return replace(archive, trust=replace(archive.trust, fingerprints=fingerprints))

    changed = tuple(with_another_key(each) for each in table())
    monkeypatch.setattr(table_of_known, "table", lambda: changed)

    assert before == in_china
    assert before != one.job(D12).digest
    assert before_stated == stated.job(D12).digest


# Pigsty's own files


def pigsty_upstreams(target: Target) -> list[tuple[str, str, str]]:
    """Return name, region and lines of what a default Pigsty of the fourth generation reads for a target."""
    document = yaml.safe_load((PIGSTY / f"{target.name}.yml").read_text())
    return [
        (entry["name"], region, line)
        for entry in document["repo_upstream_default"]
        if entry["module"] in {"infra", "node", "pgsql"}
        and target.major in entry["releases"]
        and target.arch in entry["arch"]
        for region, line in entry["baseurl"].items()
    ]


@pytest.mark.skipif(not PIGSTY.is_dir(), reason="Pigsty's variable files are not here")
@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_every_upstream_of_pigstys_is_known_in_every_region(target: Target) -> None:
    if not (PIGSTY / f"{target.name}.yml").is_file():
        pytest.skip("Pigsty has no variables for it")
    upstreams = pigsty_upstreams(target)

    unknown = set()
    for name, region, line in upstreams:
        text = line.replace("$basearch", target.arch).replace("$releasever", str(target.major))
        text = text.replace("${distro_codename}", target.codename).replace("${distro_name}", target.vendor)
        trust = at(target, text)
        assert trust is not None, (name, region, text)
        if trust.problem:
            unknown.add((name, target.os))

    assert upstreams
    assert unknown == {each for each in KNOWN_UNKNOWNS if each[1] == target.os}


@pytest.mark.skipif(not PIGSTY.is_dir(), reason="Pigsty's variable files are not here")
def test_every_other_upstream_of_pigstys_is_known_or_listed_with_a_reason() -> None:
    for target in ALL_TARGETS:
        path = PIGSTY / f"{target.name}.yml"
        if not path.is_file():
            continue
        for entry in yaml.safe_load(path.read_text())["repo_upstream_default"]:
            if target.major not in entry["releases"] or target.arch not in entry["arch"]:
                continue
            for region, line in entry["baseurl"].items():
                text = line.replace("$basearch", target.arch).replace("$releasever", str(target.major))
                text = text.replace("${distro_codename}", target.codename).replace("${distro_name}", target.vendor)
                assert at(target, text.replace("${admin_ip}", "10.10.10.10")) is not None, (entry["name"], region)
