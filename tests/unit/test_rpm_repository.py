"""The indexes and client files of our own RPM repositories, as bytes; createrepo_c itself is the judge of entries."""

import gzip
import hashlib
import os
import random
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import rpms
import zstandard
from pysequoia import Tsk
from rpm_published import TIME, described, facts, publish
from signers import PretendingSigner

from repobuild.compression import decompress, stored_zstd
from repobuild.errors import HostileInputError, UsageError
from repobuild.formats.protocol import ClientFacts
from repobuild.formats.rpm import client, header, passing
from repobuild.formats.rpm.repository import metadata, primary_text
from repobuild.model import Kind, Package, TreeFile
from repobuild.signing import SigningKey, generate
from repobuild.targets import parse_target

CREATEREPO = "/usr/bin/createrepo_c"
PRIMARY = """\
<?xml version="1.0" encoding="UTF-8"?>
<metadata xmlns="http://linux.duke.edu/metadata/common" xmlns:rpm="http://linux.duke.edu/metadata/rpm" packages="1">
<package type="rpm">
  <name>small</name>
  <arch>noarch</arch>
  <version epoch="2" ver="1.0" rel="3"/>
  <checksum type="sha256" pkgid="YES">{sha256}</checksum>
"""
REPOMD = """\
<?xml version="1.0" encoding="UTF-8"?>
<repomd xmlns="http://linux.duke.edu/metadata/repo" xmlns:rpm="http://linux.duke.edu/metadata/rpm">
  <revision>1795248000</revision>
{records}</repomd>
"""
RECORD = """\
  <data type="{kind}">
    <checksum type="sha256">{sha256}</checksum>
    <open-checksum type="sha256">{open_sha256}</open-checksum>
    <location href="{path}"/>
    <timestamp>1795248000</timestamp>
    <size>{size}</size>
    <open-size>{open_size}</open-size>
  </data>
"""


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("rpms")
    return [
        rpms.build(folder, "small", "1.0", "3", arch="noarch", epoch=2),
        rpms.build(
            folder, "app", "1.10", "1.el9", requires=["lib >= 1:2-3", "/usr/bin/env", "(a if b)"], provides=["api = 2"],
            obsoletes=["old < 1"], conflicts=["foe"], recommends=["doc"],
            files=["/usr/bin/app", "/usr/share/app/<&>", "/etc/app.conf"], size=3000,
        ),
        rpms.build(folder, "app", "1.9", "1.el9"),
        rpms.build(folder, "lib", "1.0~rc1^git", "1.el9", sign=rpms.signing_key().secret),
    ]  # fmt: skip


def by_kind(files: tuple[TreeFile, ...]) -> dict[str, TreeFile]:
    return {file.path.rpartition("-")[2].rpartition("/")[2].partition(".")[0]: file for file in files}


def opened(file: TreeFile) -> bytes:
    data = file.content or b""
    if file.path.endswith(".gz"):
        return gzip.decompress(data)
    return zstandard.ZstdDecompressor().decompress(data) if file.path.endswith(".zst") else data


def test_the_root_is_these_bytes_and_names_every_index_by_its_digests(paths: list[Path]) -> None:
    packages, places = described(paths)

    files = by_kind(metadata(packages, facts(), None, places.__getitem__))

    records = [
        RECORD.format(
            kind=kind, sha256=file.sha256, path=file.path, size=file.size,
            open_sha256=hashlib.sha256(opened(file)).hexdigest(), open_size=len(opened(file)),
        )
        for kind, file in ((kind, files[kind]) for kind in ("primary", "filelists", "other"))
    ]  # fmt: skip
    assert (files["repomd"].content or b"").decode() == REPOMD.format(records="".join(records))


def test_an_entry_has_the_digest_and_size_that_are_known_and_the_time_of_the_lock(paths: list[Path]) -> None:
    packages, places = described(paths[:1])

    text = opened(by_kind(metadata(packages, facts(), None, places.__getitem__))["primary"]).decode()

    assert text.startswith(PRIMARY.format(sha256=packages[0].sha256))
    assert f'<time file="{TIME}" build="{rpms.BUILT}"/>' in text
    assert f'<size package="{paths[0].stat().st_size}"' in text
    assert '<location href="small-1.0-3.noarch.rpm"/>' in text


def test_indexes_named_by_digest_come_before_repomd_and_its_signature_after(paths: list[Path]) -> None:
    packages, places = described(paths)
    signer = PretendingSigner()

    files = metadata(packages, facts(), signer, places.__getitem__)

    assert [file.kind for file in files] == [Kind.INDEX] * 3 + [Kind.POINTER] * 2
    assert [file.path for file in files[3:]] == ["repodata/repomd.xml", "repodata/repomd.xml.asc"]
    assert [file.path for file in files[:3]] == sorted(file.path for file in files[:3])
    assert all(file.path.startswith(f"repodata/{file.sha256}-") for file in files[:3])
    assert all(file.sha256 == hashlib.sha256(file.content or b"").hexdigest() for file in files)
    assert all(file.size == len(file.content or b"") for file in files)
    assert signer.asked == [("a block each", files[3].content)]
    assert files[4].content == b"a block each"


@pytest.mark.parametrize(
    ("target", "ending"), [("el7.x86_64", "gz"), ("el8.x86_64", "gz"), ("el9.aarch64", "zst"), ("el10.x86_64", "zst")]
)
def test_old_releases_get_gzip_and_new_ones_zstd(paths: list[Path], target: str, ending: str) -> None:
    packages, places = described(paths)

    files = metadata(packages, facts(target), None, places.__getitem__)

    assert {file.path.rpartition(".")[2] for file in files[:3]} == {ending}
    for kind, file in by_kind(files).items():
        if kind != "repomd":
            assert ET.fromstring(opened(file)).get("packages") == "4"


def test_the_order_they_come_in_does_not_matter(paths: list[Path]) -> None:
    packages, places = described(paths)
    expected = metadata(packages, facts(), None, places.__getitem__)

    for seed in range(4):
        shuffled = random.Random(seed).sample(packages, len(packages))
        assert metadata(shuffled, facts(), None, places.__getitem__) == expected


SCRIPT = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[1].split(":")
from rpm_published import described, facts
from repobuild.formats.rpm.repository import metadata
packages, places = described([Path(each) for each in sys.argv[2:]])
print([file.sha256 for file in metadata(packages, facts(), None, places.__getitem__)])
"""
SPEC = """\
Name: translated
Version: 1
Release: 1
Summary: english
Summary(de): deutsch
License: MIT
BuildArch: noarch
%description
english
%description -l de
deutsch
%files
"""


def test_neither_time_zone_nor_umask_nor_locale_nor_the_hosts_rpm_matters(
    paths: list[Path], tmp_path: Path, tool: Callable[[str], str]
) -> None:
    (tmp_path / "translated.spec").write_text(SPEC)
    (tmp_path / "home").mkdir()
    (tmp_path / "home/.rpmrc").write_text("nonsense\n")
    command = [tool("rpmbuild"), "-bb", "--define", f"_topdir {tmp_path}", str(tmp_path / "translated.spec")]
    subprocess.run(command, check=True, capture_output=True)
    (translated,) = tmp_path.glob("RPMS/*/*.rpm")
    root = Path(__file__).resolve().parents[2]
    said = []

    for umask, changes in (
        (0o022, {"TZ": "UTC", "LC_ALL": "C"}),
        (0o077, {"TZ": "Asia/Tokyo", "LANGUAGE": "de", "LC_ALL": "de_DE.UTF-8"}),
        (0o000, {"LANG": "de_DE.UTF-8", "HOME": str(tmp_path / "home"), "RPM_CONFIGDIR": "/nonexistent"}),
    ):
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, f"{root}:{root}/tests", *map(str, paths), str(translated)],
            env={"PATH": os.environ["PATH"], **changes}, umask=umask, capture_output=True, text=True, check=True,
        )  # fmt: skip
        said.append(done.stdout)

    assert said[0] == said[1] == said[2]
    packages, places = described([translated])
    assert b"<summary>english</summary>" in primary_text(packages, places.__getitem__)


def test_a_host_without_rpm_hears_no_complaint() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from repobuild.formats.rpm.createrepo import library; library()"],
        env={"PATH": os.environ["PATH"], "RPM_CONFIGDIR": "/nonexistent", "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True, check=True,
    )  # fmt: skip

    assert (done.stdout, done.stderr) == (b"", b"")


def entries(text: bytes) -> dict[str, str]:
    """Return the packages of an index by digest, without what differs by intent: times and places."""
    found = {}
    for package in ET.fromstring(text):
        for element in list(package.iter()):
            if element.tag.endswith(("}time", "}location")):
                element.attrib.pop("file", None)
                element.attrib.pop("{http://www.w3.org/XML/1998/namespace}base", None)
        digest = package.get("pkgid") or next(each.text or "" for each in package if each.tag.endswith("}checksum"))
        found[digest] = ET.canonicalize(ET.tostring(package), strip_text=True)
    return found


def test_createrepo_c_run_on_the_same_folder_gives_the_same_entries(paths: list[Path], tmp_path: Path) -> None:
    if not Path(CREATEREPO).exists() and not os.environ.get("CI"):
        pytest.skip("createrepo_c is not installed")
    ours = {
        file.path.rpartition("-")[2].partition(".")[0]: opened(file) for file in publish(tmp_path / "ours", paths)[:3]
    }

    subprocess.run([CREATEREPO, "--quiet", "--no-database", "-o", tmp_path, tmp_path / "ours"], check=True)

    for kind, text in ours.items():
        (theirs,) = (tmp_path / "repodata").glob(f"*-{kind}.xml.gz")
        assert entries(gzip.decompress(theirs.read_bytes())) == entries(text)
        assert len(entries(text)) == len(paths)


def test_a_primary_of_local_files_is_the_same_without_the_time(paths: list[Path]) -> None:
    packages, places = described(paths)

    text = primary_text(packages, places.__getitem__)

    published = opened(by_kind(metadata(packages, facts(time=0), None, places.__getitem__))["primary"])
    assert text == published


def test_an_empty_repository_has_indexes() -> None:
    files = metadata([], facts(), None, dict[str, Path]().__getitem__)

    assert len(files) == 4
    assert all(ET.fromstring(opened(file)).get("packages") == "0" for file in files[:3])


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "other"}, {"version": "1.0-3"}, {"version": "3:1.0-3"}, {"version": "2:1.0-4"}, {"arch": "x86_64"},
        {"filename": "small-1.0-4.noarch.rpm"}, {"filename": "../small-1.0-3.noarch.rpm"},
    ],
)  # fmt: skip
def test_a_header_that_is_not_the_package_of_the_lock_is_refused(paths: list[Path], changes: Mapping[str, str]) -> None:
    packages, places = described(paths[:1])
    forged = replace(packages[0], **changes)  # type: ignore[arg-type]

    with pytest.raises(HostileInputError, match=r"small|lock"):
        metadata([forged], facts(), None, places.__getitem__)


def with_header(path: Path) -> tuple[bytes, int, int]:
    """Return an RPM and where its main header starts and ends."""
    with path.open("rb") as file:
        found = header.read(file, path.name)
    return path.read_bytes(), found.start, found.end


def test_what_is_no_rpm_is_refused(paths: list[Path], tmp_path: Path) -> None:
    packages, _ = described(paths[:1])
    data, start, end = with_header(paths[0])
    damaged = {
        "empty": b"",
        "text": b"<html>not found</html>" * 100,
        "cut short": data[: end - 1],
        "no header": data[:start],
        "random": random.Random(1).randbytes(100_000),
        "huge": data[: start + 8] + b"\xff" * 8 + data[start + 16 :],
    }

    for data in damaged.values():
        (tmp_path / "file").write_bytes(data)
        with pytest.raises(HostileInputError):
            metadata(packages, facts(), None, lambda _: tmp_path / "file")


def test_flipped_bits_in_a_header_are_refused_or_change_nothing_else(paths: list[Path], tmp_path: Path) -> None:
    packages, _ = described(paths[1:2])
    data, _, end = with_header(paths[1])
    chance = random.Random(7)

    for _ in range(300):
        flipped = bytearray(data)
        flipped[chance.randrange(96, end)] ^= 1 << chance.randrange(8)
        (tmp_path / "file").write_bytes(flipped)
        try:
            files = metadata(packages, facts(), None, lambda _: tmp_path / "file")
        except HostileInputError:
            continue
        assert ET.fromstring(opened(by_kind(files)["primary"])).get("packages") == "1"


@pytest.mark.parametrize("size", [0, 1, 100, (1 << 17) - 1, 1 << 17, (1 << 17) + 1, 300_000])
def test_a_zstd_frame_of_raw_blocks_opens_to_the_same_bytes(size: int) -> None:
    data = random.Random(size).randbytes(size)

    packed = stored_zstd(data)

    assert zstandard.ZstdDecompressor().decompress(packed) == data
    assert b"".join(decompress(packed, "zst", size=size, what="x")) == data
    assert zstandard.frame_content_size(packed) == size
    assert len(packed) <= size + 14 + 3 * (size // (1 << 17) + 1)


# -- client files --

FACTS = ClientFacts(
    name="pigsty",
    url="http://10.10.10.10:80/pigsty",
    folder="/www/pigsty",
    is_signed=False,
    target=parse_target("el9.x86_64"),
)


def test_an_unsigned_repository_gets_exactly_the_files_of_pigsty() -> None:
    files = client.client_files(FACTS)

    assert sorted(files) == ["local.repo", "pigsty-local.repo", "pigsty.repo"]
    assert files["pigsty.repo"].decode() == (
        "[pigsty]\nname=Pigsty Local Yum Repo pigsty\nbaseurl=http://10.10.10.10:80/pigsty\nskip_if_unavailable = 1\n"
        "enabled = 1\npriority = 1\ngpgcheck = 0\nmodule_hotfixes=1\n"
    )
    assert files["pigsty-local.repo"].decode() == (
        "[pigsty-local]\nname=pigsty-local $releasever - $basearch\nbaseurl=file:///www/pigsty/\nenabled=1\n"
        "gpgcheck=0\nmodule_hotfixes=1\n"
    )


V3_NODE = """\
[pigsty-local]
name = Pigsty Local $releasever - $basearch
baseurl = http://10.10.10.10/pigsty
gpgcheck = 0
enabled = 1
module_hotfixes=1
"""
V4_NODE = V3_NODE.replace("module_hotfixes=1", "skip_if_unavailable = 1\npriority = 1\nmodule_hotfixes = 1")


@pytest.mark.parametrize(("generation", "expected"), [("v3", V3_NODE), ("v4", V4_NODE)])
def test_nodes_get_the_file_that_their_pigsty_renders_for_its_local_module(generation: str, expected: str) -> None:
    facts = replace(FACTS, url="http://10.10.10.10/pigsty", generation=generation)
    text = client.client_files(facts)["local.repo"].decode()

    head, source, body = text.split("\n", 2)

    assert head == "#=========# [local] on rocky9 x86_64: el9 rpm repo"
    assert source.startswith("# ")
    assert body == expected


def test_the_served_file_repeats_the_port_of_the_endpoint_and_the_nodes_file_leaves_the_usual_one_out() -> None:
    facts = replace(FACTS, url="http://10.10.10.10/pigsty", stated_url="http://10.10.10.10:80/pigsty")
    files = client.client_files(facts)

    assert b"baseurl=http://10.10.10.10:80/pigsty\n" in files["pigsty.repo"]
    assert b"baseurl = http://10.10.10.10/pigsty\n" in files["local.repo"]


def test_the_nodes_of_a_signed_repository_are_bound_to_its_key_too() -> None:
    text = client.client_files(replace(FACTS, is_signed=True))["local.repo"].decode()

    assert "repo_gpgcheck = 1\ngpgkey = http://10.10.10.10:80/pigsty/pigsty.asc\n" in text


@pytest.mark.parametrize("generation", ["v3", "v4"])
def test_a_release_without_modules_hears_nothing_of_them(generation: str) -> None:
    files = client.client_files(replace(FACTS, target=parse_target("el7.x86_64"), generation=generation))

    assert not any(b"module" in content for content in files.values())


def test_a_signed_repository_is_bound_to_its_key() -> None:
    files = client.client_files(replace(FACTS, is_signed=True))

    assert (
        b"gpgcheck = 0\nrepo_gpgcheck = 1\ngpgkey = http://10.10.10.10:80/pigsty/pigsty.asc\n" in files["pigsty.repo"]
    )
    assert b"gpgcheck=0\nrepo_gpgcheck=1\ngpgkey=file:///www/pigsty/pigsty.asc\n" in files["pigsty-local.repo"]


def test_packages_are_bound_to_their_keys_where_all_are_signed() -> None:
    keys = ["el9.asc", "pgdg.asc"]
    unsigned = client.client_files(FACTS, package_keys=keys)
    signed = client.client_files(replace(FACTS, is_signed=True), package_keys=keys)

    places = "file:///www/pigsty/el9.asc file:///www/pigsty/pgdg.asc"
    assert f"gpgcheck=1\ngpgkey={places}\n".encode() in unsigned["pigsty-local.repo"]
    assert b"gpgcheck=1\nrepo_gpgcheck=1\ngpgkey=file:///www/pigsty/pigsty.asc\n" in signed["pigsty-local.repo"]
    assert "trust the packages" not in client.usage(FACTS, package_keys=keys)
    assert (
        client.usage(replace(FACTS, is_signed=True), package_keys=keys)["trust the packages"]
        == "rpm --import /www/pigsty/el9.asc /www/pigsty/pgdg.asc"
    )


@cache
def fitting_key() -> bytes:
    return SigningKey.load(generate("Site")).public_armored()


def test_our_key_stands_beside_the_packagers_where_every_rpm_takes_it() -> None:
    facts = replace(FACTS, is_signed=True, public_key=fitting_key())

    text = client.client_files(facts, package_keys=["el9.asc"])["pigsty-local.repo"]

    places = "file:///www/pigsty/pigsty.asc file:///www/pigsty/el9.asc"
    assert f"gpgcheck=1\nrepo_gpgcheck=1\ngpgkey={places}\n".encode() in text
    assert "trust the packages" not in client.usage(facts, package_keys=["el9.asc"])


def test_a_node_gets_the_repo_file_over_http_and_the_keys_that_it_does_not_list() -> None:
    old = bytes(Tsk.generate("old").extract_certificate())
    facts = replace(FACTS, is_signed=True, package_keys=("el9.asc",))

    fitting = client.node_usage(replace(facts, public_key=fitting_key()))
    others = client.node_usage(replace(facts, public_key=old))

    fetch = "curl -fsSL http://10.10.10.10:80/pigsty.repo -o /etc/yum.repos.d/pigsty.repo && dnf makecache"
    assert fitting == {"use it": fetch}
    assert others == {"trust the packages": "rpm --import http://10.10.10.10:80/pigsty/el9.asc", "use it": fetch}


HOSTILE = [
    "", " ", "a\nb", "a b", "a\tb", "a\0b", "a]b", "[", "a#b", "a$b", "$releasever", "${x}", "a'b", 'a"b', "a\\b", "a%b", "..", "../a",
    "/a/../b", "//a", "/a/", "é", "a" * 2000, "pigsty]\n[evil", "http://user:secret@host/pigsty", "http://h/x y", "ftp://h/x", "file:/www",
]  # fmt: skip


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("field", ["name", "url", "folder", "key"])
def test_a_hostile_value_is_refused_whatever_the_field(field: str, value: str) -> None:
    changed = FACTS if field == "key" else replace(FACTS, **{field: value})  # type: ignore[arg-type]

    with pytest.raises(UsageError):
        client.client_files(changed, package_keys=[value] if field == "key" else [])


def test_usage_names_the_file_and_the_tool_of_the_release() -> None:
    old = client.usage(replace(FACTS, target=parse_target("el7.x86_64")))

    assert client.usage(FACTS)["use it here"] == "cp /www/pigsty-local.repo /etc/yum.repos.d/ && dnf makecache"
    assert old["use it here"] == "cp /www/pigsty-local.repo /etc/yum.repos.d/ && yum makecache"
    assert "curl -L http://10.10.10.10:80/pigsty.repo" in client.usage(FACTS)["elsewhere"]


# -- what is passed on --


def published(name: str, version: str, arch: str = "x86_64") -> Package:
    return Package(
        name=name, version=version, arch=arch, size=1, sha256="0" * 64, path="", upstream="u", filename="", metadata=""
    )


def stream(name: str, stream: str, *artifacts: str) -> str:
    listed = "".join(f"    - {artifact}\n" for artifact in artifacts)
    return (
        f'---\ndocument: modulemd\nversion: 2\ndata:\n  name: {name}\n  stream: "{stream}"\n  version: 1\n  context: "00000000"\n'
        f"  arch: x86_64\n  summary: x\n  description: >-\n    x\n  license:\n    module: [MIT]\n"
        f"  artifacts:\n    rpms:\n{listed}...\n"
    )


def defaults(name: str, stream: str) -> str:
    return f'---\ndocument: modulemd-defaults\nversion: 1\ndata:\n  module: {name}\n  stream: "{stream}"\n...\n'


def test_streams_with_a_published_package_are_passed_on_to_the_letter_with_their_defaults() -> None:
    postgresql = stream("postgresql", "16", "postgresql-0:16.1-1.el9.x86_64", "postgresql-docs-0:16.1-1.el9.x86_64")
    epoch = stream("bind", "9", "bind-32:9.1-1.el9.x86_64")
    other = stream("postgresql", "15", "postgresql-0:15.1-1.el9.x86_64")
    texts = [
        (defaults("postgresql", "16") + postgresql + other).encode(),
        (defaults("nginx", "1.22") + epoch + postgresql).encode(),
    ]

    text = passing.modules(texts, [published("postgresql", "16.1-1.el9"), published("bind", "32:9.1-1.el9")])

    assert text.decode() == defaults("postgresql", "16") + postgresql + epoch
    assert passing.modules(texts, [published("postgresql", "16.2-1.el9"), published("bind", "9.1-1.el9")]) == b""


COMPS = """\
<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE comps PUBLIC "-//Red Hat, Inc.//DTD Comps info//EN" "comps.dtd">
<comps>
  <group><id>base</id><name>Base</name><name xml:lang="de">Basis</name>
    <packagelist><packagereq type="mandatory">bash</packagereq><packagereq>gone</packagereq></packagelist></group>
  <group><id>none</id><name>None</name><packagelist><packagereq>gone</packagereq></packagelist></group>
  <category><id>c</id><name>C</name><grouplist><groupid>base</groupid><groupid>none</groupid></grouplist></category>
  <environment><id>e</id><name>E</name><grouplist><groupid>none</groupid></grouplist></environment>
</comps>
"""


def test_groups_list_what_is_published_and_empty_ones_are_left_out() -> None:
    more = '<comps><group><id>base</id><name>Other</name><packagelist><packagereq>app</packagereq><packagereq type="mandatory">bash</packagereq></packagelist></group></comps>'

    root = ET.fromstring(
        passing.group([COMPS.encode(), more.encode()], [published("bash", "1-1"), published("app", "1-1")])
    )

    assert [(child.tag, child.findtext("id"), child.findtext("name")) for child in root] == [
        ("group", "base", "Base"),
        ("category", "c", "C"),
    ]
    assert [item.text for item in root.iter("packagereq")] == ["bash", "app"]
    assert [item.text for item in root.iter("groupid")] == ["base"]
    assert root.find("group/name[2]").attrib == {"{http://www.w3.org/XML/1998/namespace}lang": "de"}  # type: ignore[union-attr]
    assert passing.group([COMPS.encode()], []) == b""


UPDATES = """\
<?xml version="1.0" encoding="UTF-8"?>
<updates>
  <update from="x" type="security"><id>A-1</id><pkglist><collection short="c"><name>c</name>
    <package name="app" version="1" release="2" epoch="0" arch="x86_64"><filename>app-1-2.x86_64.rpm</filename></package>
    <package name="app" version="1" release="2" epoch="0" arch="aarch64"><filename>app-1-2.aarch64.rpm</filename></package>
  </collection><collection short="d"><package name="app" version="1" release="3" arch="x86_64"/></collection></pkglist></update>
  <update from="x" type="bugfix"><id>A-2</id><pkglist><collection><package name="lib" version="1" release="2" epoch="1" arch="x86_64"/>
  </collection></pkglist></update>
</updates>
"""


def test_advisories_list_what_is_published_and_others_are_left_out() -> None:
    text = UPDATES.encode()

    root = ET.fromstring(passing.updateinfo([text, text], [published("app", "1-2"), published("lib", "1-2")]))

    assert [update.findtext("id") for update in root] == ["A-1"]
    assert [(item.get("name"), item.get("release"), item.get("arch")) for item in root.iter("package")] == [
        ("app", "2", "x86_64")
    ]
    assert passing.updateinfo([text], []) == b""


BOMB = '<!DOCTYPE {tag} [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><{tag}>&b;</{tag}>'


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("group", BOMB.format(tag="comps").encode()),
        ("group", BOMB.format(tag="comps").encode("utf-16")),
        ("group", b'<!DOCTYPE comps PUBLIC "x" "y" [<!ENTITY a "b">]><comps>&a;</comps>'),
        ("group", b'<!DOCTYPE comps SYSTEM "file:///etc/passwd"><comps/>'),
        ("group", b"<comps>" + b"<a>" * 100_000),
        ("group", b"<comps>&unknown;</comps>"),
        ("group", b"<comps><group></comps>"),
        ("group", b"<updates/>"),
        ("group", b""),
        ("group", b'<?xml version="1.0" encoding="nonsense"?><comps/>'),
        ("updateinfo", BOMB.format(tag="updates").encode()),
        ("updateinfo", b"\0" * 100),
        ("modules", b"---\n" + b"[" * 100_000),
        ("modules", b"---\na: &x [1]\nb: *x\n"),
        ("modules", b"---\n\xff\xfe\n"),
        ("modules", b"---\na: [\n...\n"),
        ("modules", b"---\n!!python/object/apply:os.system ['x']\n: [\n"),
    ],
)
def test_hostile_texts_are_refused(kind: str, text: bytes) -> None:
    with pytest.raises(HostileInputError):
        passing.restricted({kind: [text]}, [published("a", "1-1")])


def test_what_is_passed_on_is_named_in_the_root(paths: list[Path]) -> None:
    packages, places = described(paths)
    texts = {
        "updateinfo": [UPDATES.replace('version="1" release="2"', 'version="1.9" release="1.el9"').encode()],
        "group": [COMPS.replace("bash", "app").encode()],
        "modules": [stream("app", "1", "app-0:1.9-1.el9.x86_64").encode()],
    }

    extras = passing.restricted(texts, packages)
    files = metadata(packages, facts("el8.x86_64"), None, places.__getitem__, extras)

    kinds = by_kind(files)
    assert opened(kinds["modules"]) == texts["modules"][0]
    assert opened(kinds["updateinfo"]) == extras["updateinfo"]
    assert kinds["comps"].path == f"repodata/{kinds['comps'].sha256}-comps.xml"
    records = ET.fromstring(kinds["repomd"].content or b"").findall("{*}data")
    assert [record.get("type") for record in records] == [
        "primary", "filelists", "other", "group", "modules", "updateinfo",
    ]  # fmt: skip
    assert extras == passing.restricted(texts, packages[::-1])
    assert passing.restricted(texts, []) == {}
