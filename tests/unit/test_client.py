"""Rules of the apt client files; real apt, isolated, is the judge where it is installed."""

import hashlib
import subprocess
from dataclasses import fields
from pathlib import Path

import pytest
from pysequoia import CipherSuite, Tsk

from repobuild.errors import UsageError
from repobuild.formats.deb.client import client_files, key_path, node_usage
from repobuild.formats.protocol import ClientFacts
from repobuild.signing import Keyring, SigningKey
from repobuild.targets import parse_target

HOSTILE = [
    "", " ", "\n", "a\n", "\na", "a\nb", "a\r\nb", "a b", "a\tb", "a\0b", "a\x1bb", "a\x85b", "a\u2028b", "a]b", "a[b", "[", "]",
    "a#b", "a;b", "a{b", "a}b", "a$b", "$(ARCH)", "${x}", "`id`", "a'b", 'a"b', "a\\b", "a|b", "a&b", "a<b", "a>b", "a*b", "a?b",
    "a%0ab", "a%2e%2e", "..", ".", "../a", "a/../b", "/..", "/a/../b", "//a", "/a/", "/a//b", "/.hidden/x", "~", "é", "\u202ea",
    "a" * 2000, "/" + "a" * 2000, "a]\ndeb [trusted=yes] http://evil/ ./", "http://user:secret@host/pigsty", "http://h/pigsty?x=1",
    "http://h/pigsty#x", "http://h:0/pigsty", "http://h:99999/x", "http://h:80:80/x", "http:///x", "http://h/x y", "ftp://h/x",
    "file:/www/pigsty", "javascript:alert(1)", "http://[::1/x", "http://[evil]/x", "http://h /x", "http://h/pigsty/", "HTTP://h/x\n",
]  # fmt: skip
SPEC = ClientFacts(
    name="pigsty",
    url="http://10.10.10.10/pigsty",
    folder="/www/pigsty",
    is_signed=False,
    target=parse_target("d12.x86_64"),
)


def spec(**changes: object) -> ClientFacts:
    values = {field.name: getattr(SPEC, field.name) for field in fields(SPEC)} | changes
    return ClientFacts(**values)  # type: ignore[arg-type]


def test_an_unsigned_repository_gets_exactly_the_lines_of_pigsty() -> None:
    files = client_files(SPEC)

    assert files["pigsty.list"] == b"deb [trusted=yes] http://10.10.10.10/pigsty ./\n"
    assert files["pigsty-local.list"] == b"deb [trusted=yes] file:/www/pigsty/ ./\n"
    assert sorted(files) == ["local.list", "pigsty-local.list", "pigsty-local.sources", "pigsty.list", "pigsty.sources"]


@pytest.mark.parametrize(
    ("target", "machine", "release"),
    [
        ("d12.x86_64", "debian12 x86_64: bookworm deb repo", "bookworm:12"),
        ("u24.aarch64", "ubuntu24 aarch64: noble deb repo", "noble:24"),
    ],
)
def test_nodes_get_the_file_that_pigsty_renders_for_its_local_module(target: str, machine: str, release: str) -> None:
    head, source, entry, line = client_files(spec(target=parse_target(target)))["local.list"].decode().splitlines()

    assert head == f"#=========# [local] on {machine}"
    assert source.startswith("# ")
    assert entry == f"# [module_name] [{release}] pigsty-local: Pigsty Local"
    assert line == "deb [trusted=yes] http://10.10.10.10/pigsty ./"


def test_the_nodes_of_a_signed_repository_are_bound_to_its_key_too() -> None:
    line = client_files(spec(is_signed=True, url="http://h:8080/mine", name="mine"))["local.list"].splitlines()[-1]

    assert line == b"deb [signed-by=/etc/apt/keyrings/mine.gpg] http://h:8080/mine ./"


def test_a_signed_repository_is_bound_to_its_key_and_never_trusted() -> None:
    files = client_files(spec(is_signed=True))

    assert files["pigsty.list"] == b"deb [signed-by=/etc/apt/keyrings/pigsty.gpg] http://10.10.10.10/pigsty ./\n"
    assert b"Signed-By: /etc/apt/keyrings/pigsty.gpg\n" in files["pigsty-local.sources"]
    assert not any(b"rusted" in content for content in files.values())


@pytest.mark.parametrize(
    "url", ["http://h", "https://h.pigsty:8443/a/b.c", "http://[::1]:80/x", "http://10.0.0.1:8080/d12.x86_64/pigsty"]
)
def test_plain_urls_are_taken_as_they_are(url: str) -> None:
    assert f" {url} ./\n".encode() in client_files(spec(url=url))["pigsty.list"]


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("field", ["name", "url", "folder"])
def test_a_hostile_value_is_refused_whatever_the_field(field: str, value: str) -> None:
    fine = {("folder", "/www")}
    if (field, value) in fine:
        return

    with pytest.raises(UsageError) as caught:
        client_files(spec(**{field: value}))

    assert "\n" not in caught.value.message
    assert "\x1b" not in caught.value.message


@pytest.mark.parametrize("value", [None, 1, True, b"pigsty", ["pigsty"], Path("/www/pigsty")])
@pytest.mark.parametrize("field", ["name", "url", "folder"])
def test_a_value_of_another_type_is_refused(field: str, value: object) -> None:
    with pytest.raises(UsageError):
        client_files(spec(**{field: value}))


@pytest.fixture
def apt(tmp_path: Path) -> Path:
    """Return the home of an apt of its own, with one flat repository of no packages beside it."""
    if not Path("/usr/bin/apt-get").exists():
        pytest.skip("apt is not installed")
    home = tmp_path / "apt"
    for folder in (
        "lists/partial",
        "cache/archives/partial",
        "etc/sources.list.d",
        "etc/apt.conf.d",
        "etc/preferences.d",
    ):
        (home / folder).mkdir(parents=True)
    (tmp_path / "www/pigsty").mkdir(parents=True)
    (tmp_path / "www/pigsty/Packages").write_bytes(
        b"Package: proof\nVersion: 1\nArchitecture: all\nMaintainer: x\nDescription: x\nFilename: proof_1_all.deb\nSize: 1\nSHA256: "
        + b"0" * 64
        + b"\n\n"
    )
    (home / "status").write_bytes(b"")
    (home / "apt.conf").write_text(
        f'Dir::State "{home}"; Dir::State::status "{home}/status"; Dir::Cache "{home}/cache"; Dir::Etc "{home}/etc";\n'
        f'Dir::Etc::sourcelist "{home}/none"; Dir::Etc::sourceparts "{home}/etc/sources.list.d"; APT::Sandbox::User "root";\n'
        f'APT::Update::Error-Mode "any"; Acquire::Languages "none";\n'
    )
    return home


def run_apt(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {"APT_CONFIG": str(home / "apt.conf"), "PATH": "/usr/bin:/bin", "LC_ALL": "C"}
    return subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("name", ["pigsty-local.list", "pigsty-local.sources"])
def test_real_apt_reads_an_unsigned_repository_from_disk(apt: Path, name: str) -> None:
    (apt / "etc/sources.list.d" / name).write_bytes(client_files(spec(folder=str(apt.parent / "www/pigsty")))[name])

    update = run_apt(apt, "apt-get", "update")

    assert (update.returncode, update.stderr) == (0, "")
    assert "Version: 1" in run_apt(apt, "apt-cache", "show", "proof").stdout


@pytest.mark.parametrize("name", ["pigsty-local.list", "pigsty-local.sources"])
def test_real_apt_reads_a_signed_repository_and_no_other_from_disk(apt: Path, name: str) -> None:
    key, other = (
        SigningKey.load(bytes(Tsk.generate(name, cipher_suite=CipherSuite.RSA2k))) for name in ("ours", "other")
    )
    folder = apt.parent / "www/pigsty"
    packages = (folder / "Packages").read_bytes()
    digest = hashlib.sha256(packages).hexdigest()
    release = f"Origin: x\nSuite: x\nDate: Sat, 21 Nov 2026 00:00:00 UTC\nSHA256:\n {digest} {len(packages)} Packages\n".encode()
    content = client_files(spec(folder=str(folder), is_signed=True))[name]
    (apt / "key.gpg").write_bytes(key.public_binary())
    (apt / "etc/sources.list.d" / name).write_bytes(
        content.replace(key_path("pigsty").encode(), bytes(apt / "key.gpg"))
    )

    (folder / "InRelease").write_bytes(key.clear_sign(release))
    accepted = run_apt(apt, "apt-get", "update")
    (folder / "InRelease").write_bytes(other.clear_sign(release))
    refused = run_apt(apt, "apt-get", "update")
    (folder / "InRelease").unlink()
    unsigned = run_apt(apt, "apt-get", "update")

    assert (accepted.returncode, accepted.stderr) == (0, "")
    assert refused.returncode != 0
    assert unsigned.returncode != 0


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("name", ["pigsty.list", "pigsty.sources", "local.list"])
def test_real_apt_asks_for_the_right_address(apt: Path, name: str, signed: bool) -> None:
    (apt / "etc/sources.list.d" / name).write_bytes(client_files(spec(is_signed=signed))[name])

    asked = run_apt(apt, "apt-get", "update", "--print-uris")

    assert asked.returncode == 0
    assert "'http://10.10.10.10/pigsty/./InRelease'" in asked.stdout


def our_key(*names: str) -> bytes:
    made = [SigningKey.load(bytes(Tsk.generate(name))) for name in names]
    return SigningKey.join(made).public_binary()


def test_a_source_brings_the_key_where_apt_reads_one_there() -> None:
    public_key = our_key("ours")

    text = client_files(spec(is_signed=True, public_key=public_key))["pigsty.sources"].decode()

    head, _, value = text.partition("Signed-By:\n")
    assert head == "Types: deb\nURIs: http://10.10.10.10/pigsty\nSuites: ./\n"
    assert all(line.startswith(" ") and line.strip() for line in value.splitlines())
    lines = [line[1:] if line != " ." else "" for line in value.splitlines()]
    assert Keyring.from_bytes([("x", "\n".join(lines).encode())]).binary() == public_key


def test_two_keys_are_one_block_in_a_source() -> None:
    files = client_files(spec(is_signed=True, public_key=our_key("old", "new")))

    assert files["pigsty.sources"].count(b"BEGIN PGP PUBLIC KEY BLOCK") == 1
    assert b"signed-by=/etc/apt/keyrings/pigsty.gpg" in files["pigsty.list"]


@pytest.mark.parametrize(
    ("target", "is_embedded"),
    [("d11.x86_64", False), ("d12.x86_64", True), ("d13.aarch64", True), ("u22.x86_64", True), ("u24.x86_64", True)],
)
def test_an_apt_before_2_3_10_gets_the_path_of_the_key(target: str, is_embedded: bool) -> None:
    facts = spec(is_signed=True, public_key=our_key("ours"), target=parse_target(target))

    text = client_files(facts)["pigsty.sources"]
    commands = node_usage(facts)

    assert (b"BEGIN PGP" in text) == is_embedded
    assert (b"Signed-By: /etc/apt/keyrings/pigsty.gpg" in text) == (not is_embedded)
    assert ("trust it" in commands) == (not is_embedded)
    assert "http://10.10.10.10/pigsty.sources" in commands["use it"] or not is_embedded


def test_the_key_lies_where_apt_looks_for_keys() -> None:
    assert key_path("pigsty") == "/etc/apt/keyrings/pigsty.gpg"
    with pytest.raises(UsageError):
        key_path("../x")
