"""Real dnf on what we publish: it installs over file:// and http, refuses what was tampered with, and finds no gaps."""

import gzip
import json
import os
import random
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import rpms
from centos import UPSTREAMS, needs_centos, stubs
from dnf_client import DNF, DnfRoot, closures
from pysequoia import CipherSuite, Tsk
from rpm_archive import write_manifest
from rpm_published import publish, repository_key
from sites import Runner

from repobuild.formats.protocol import ClientFacts
from repobuild.formats.rpm.client import client_files
from repobuild.formats.rpm.passing import restricted
from repobuild.model import Package
from repobuild.signing import SigningKey
from repobuild.targets import parse_target
from repobuild.webserver import NginxSpec, nginx_config

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.geteuid() != 0, reason="dnf installs as root only"),
    pytest.mark.skipif(not Path(DNF).exists() and not os.environ.get("CI"), reason="dnf is not installed"),
]
INSTALLED = {"app-2.0-1.el9.x86_64", "lib-1.5-1.el9.x86_64", "tool-1.0-1.el9.noarch"}


class Site:
    """A web root with one repository, served by nginx."""

    def __init__(self, home: Path, port: int) -> None:
        self.home = home
        self.port = port
        self.repository = home / "pigsty"

    def facts(self, *, is_signed: bool) -> ClientFacts:
        return ClientFacts(
            name="pigsty", url=f"http://127.0.0.1:{self.port}/pigsty", folder=str(self.repository), is_signed=is_signed,
            target=parse_target("el9.x86_64"),
        )  # fmt: skip

    def client(self, root: Path, file: str, *, is_signed: bool, package_keys: tuple[str, ...] = ()) -> DnfRoot:
        """Return a fresh dnf that has one of our client files."""
        files = client_files(self.facts(is_signed=is_signed), package_keys=package_keys)
        return DnfRoot(root, {file: files[file]})


@pytest.fixture
def site(tmp_path: Path, tool: Callable[[str], str]) -> Iterator[Site]:
    nginx = tool("nginx")
    home = tmp_path / "www"
    home.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    spec = NginxSpec(
        home=str(home), repositories=("/pigsty/",), port=port, addresses=("127.0.0.1",), server_names=("127.0.0.1",)
    )
    folders = "".join(
        f"{kind}_temp_path {tmp_path}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = tmp_path / "nginx.conf"
    config.write_text(
        f"user root; daemon off; pid {tmp_path}/pid; events {{}}\nhttp {{ access_log off; {folders}\n{nginx_config(spec)}\n}}\n"
    )
    process = subprocess.Popen(
        [nginx, "-p", tmp_path, "-c", config, "-e", tmp_path / "error.log"], stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(100):
            with socket.socket() as knock:
                if knock.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield Site(home, port)
    finally:
        process.terminate()
        process.wait(timeout=20)


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return packages, none of them signed."""
    return build_all(tmp_path_factory.mktemp("unsigned"))


@pytest.fixture(scope="module")
def signed_packages(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return build_all(tmp_path_factory.mktemp("signed"), sign=rpms.signing_key().secret)


def build_all(folder: Path, **options: Any) -> list[Path]:
    return [
        rpms.build(folder, "app", "1.0", requires=["lib"], **options),
        rpms.build(folder, "app", "2.0", requires=["lib >= 1:1.0", "/usr/bin/tool"], **options),
        rpms.build(folder, "lib", "1.5", epoch=1, **options),
        rpms.build(folder, "tool", "1.0", arch="noarch", files=["/usr/bin/tool"], **options),
        rpms.build(folder, "other", "1.0", **options),
    ]


@pytest.mark.parametrize("file", ["pigsty.repo", "pigsty-local.repo"])
def test_dnf_installs_from_an_unsigned_repository(site: Site, packages: list[Path], tmp_path: Path, file: str) -> None:
    publish(site.repository, packages)
    dnf = site.client(tmp_path / "dnf", file, is_signed=False)

    done = dnf.run("install", "app")

    assert done.returncode == 0, done.stdout + done.stderr
    assert dnf.installed() == INSTALLED
    assert (dnf.root / "root/usr/bin/tool").read_text() == "tool /usr/bin/tool\n"


@pytest.mark.parametrize("file", ["pigsty.repo", "pigsty-local.repo"])
def test_dnf_verifies_the_root_of_a_signed_repository(
    site: Site, packages: list[Path], tmp_path: Path, file: str
) -> None:
    publish(site.repository, packages, key=repository_key())
    dnf = site.client(tmp_path / "dnf", file, is_signed=True)

    done = dnf.run("install", "app")

    assert done.returncode == 0, done.stdout + done.stderr
    assert dnf.installed() == INSTALLED
    assert 'Userid     : "Test repository <test@example.org>"' in done.stdout + done.stderr


@pytest.mark.parametrize("is_signed", [False, True])
@pytest.mark.parametrize("file", ["pigsty.repo", "pigsty-local.repo"])
def test_dnf_verifies_the_packages_too_where_all_are_signed(
    site: Site, signed_packages: list[Path], tmp_path: Path, file: str, is_signed: bool
) -> None:
    publish(site.repository, signed_packages, key=repository_key() if is_signed else None)
    (site.repository / "packager.asc").write_text(rpms.signing_key().public)
    dnf = site.client(tmp_path / "dnf", file, is_signed=is_signed, package_keys=("packager.asc",))
    if is_signed:
        dnf.trust(site.repository / "packager.asc")

    done = dnf.run("install", "app")

    assert done.returncode == 0, done.stdout + done.stderr
    assert dnf.installed() == INSTALLED


def edit_the_root(repository: Path) -> None:
    root = repository / "repodata/repomd.xml"
    root.write_bytes(root.read_bytes().replace(b"<revision>1", b"<revision>2"))


def sign_with_another_key(repository: Path) -> None:
    other = SigningKey.load(bytes(Tsk.generate("Other", cipher_suite=CipherSuite.RSA2k)))
    root = repository / "repodata/repomd.xml"
    (repository / "repodata/repomd.xml.asc").write_bytes(other.detach_sign(root.read_bytes()))


def take_the_signature_away(repository: Path) -> None:
    (repository / "repodata/repomd.xml.asc").unlink()


def edit_an_index(repository: Path) -> None:
    (index,) = repository.glob("repodata/*-primary.xml.zst")
    index.write_bytes(index.read_bytes().replace(b"lib", b"bil"))


def swap_a_package(repository: Path) -> None:
    (repository / "lib-1.5-1.el9.x86_64.rpm").unlink()
    shutil.copy(repository / "other-1.0-1.el9.x86_64.rpm", repository / "lib-1.5-1.el9.x86_64.rpm")


@pytest.mark.parametrize(
    "harm", [edit_the_root, sign_with_another_key, take_the_signature_away, edit_an_index, swap_a_package]
)
def test_dnf_refuses_what_is_not_what_was_signed(
    site: Site, packages: list[Path], tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    publish(site.repository, packages, key=repository_key())
    harm(site.repository)
    dnf = site.client(tmp_path / "dnf", "pigsty-local.repo", is_signed=True)

    done = dnf.run("install", "app")

    assert done.returncode != 0
    assert re.search(r"signature|GPG|verif|checksum|repomd\.xml", done.stdout + done.stderr)
    assert dnf.installed() == set()


def test_dnf_refuses_an_unsigned_package_where_packages_are_verified(
    site: Site, packages: list[Path], signed_packages: list[Path], tmp_path: Path
) -> None:
    publish(site.repository, [*signed_packages[:2], packages[2], *signed_packages[3:]], key=repository_key())
    (site.repository / "packager.asc").write_text(rpms.signing_key().public)
    dnf = site.client(tmp_path / "dnf", "pigsty-local.repo", is_signed=True, package_keys=("packager.asc",))
    dnf.trust(site.repository / "packager.asc")

    done = dnf.run("install", "app")

    assert done.returncode != 0
    assert "lib-1.5-1.el9.x86_64.rpm is not signed" in done.stdout + done.stderr
    assert dnf.installed() == set()


def test_dnf_refuses_a_package_signed_by_another_key(site: Site, signed_packages: list[Path], tmp_path: Path) -> None:
    publish(site.repository, signed_packages, key=repository_key())
    (site.repository / "packager.asc").write_text(rpms.signing_key("Somebody Else").public)
    dnf = site.client(tmp_path / "dnf", "pigsty-local.repo", is_signed=True, package_keys=("packager.asc",))
    dnf.trust(site.repository / "packager.asc")

    done = dnf.run("install", "app")

    assert done.returncode != 0
    assert "GPG check FAILED" in done.stdout + done.stderr
    assert dnf.installed() == set()


def test_repoclosure_names_the_gap_and_nothing_when_there_is_none(
    site: Site, packages: list[Path], tmp_path: Path
) -> None:
    publish(site.repository, packages)
    whole = site.client(tmp_path / "whole", "pigsty-local.repo", is_signed=False).run("repoclosure")
    shutil.rmtree(site.repository)
    publish(site.repository, [path for path in packages if not path.name.startswith("tool")])
    gap = site.client(tmp_path / "gap", "pigsty-local.repo", is_signed=False).run("repoclosure")

    assert (whole.returncode, "unresolved" in whole.stdout) == (0, False), whole.stdout + whole.stderr
    assert gap.returncode != 0
    assert "/usr/bin/tool" in gap.stdout


def test_an_older_release_reads_its_gzip_indexes_and_what_is_passed_on(
    site: Site, packages: list[Path], tmp_path: Path
) -> None:
    texts = {
        "modules": [
            (
                b"---\ndocument: modulemd\nversion: 2\ndata:\n  name: app\n  stream: two\n  version: 1\n  context: c0ffee\n  arch: x86_64\n"
                b"  summary: An app\n  description: >-\n    An app\n  license:\n    module: [MIT]\n"
                b"  artifacts:\n    rpms:\n    - app-0:2.0-1.el9.x86_64\n...\n"
            )
        ],
        "group": [
            (
                b"<comps><group><id>tools</id><name>Our tools</name><description/><default>false</default><uservisible>true</uservisible>"
                b'<packagelist><packagereq type="mandatory">tool</packagereq></packagelist></group></comps>'
            )
        ],
        "updateinfo": [
            (
                b'<updates><update from="x" status="final" type="security" version="1"><id>ADV-1</id><title>x</title>'
                b'<issued date="2026-01-01 00:00:00"/><severity>Important</severity><references/><pkglist><collection short="x"><name>x</name>'
                b'<package name="app" version="2.0" release="1.el9" epoch="0" arch="x86_64"><filename>app-2.0-1.el9.x86_64.rpm</filename>'
                b"</package></collection></pkglist></update></updates>"
            )
        ],
    }
    app = Package(
        name="app",
        version="2.0-1.el9",
        arch="x86_64",
        size=0,
        sha256="",
        path="",
        upstream="",
        filename="",
        metadata="",
    )
    extras = restricted(texts, [app, replace(app, name="tool", version="1.0-1.el9", arch="noarch")])
    publish(site.repository, packages, target="el8.x86_64", extras=extras)
    files = client_files(site.facts(is_signed=False))
    dnf = DnfRoot(tmp_path / "dnf", {"pigsty.repo": files["pigsty.repo"]}, major=8)

    modules = dnf.run("module", "list")
    groups = dnf.run("group", "list")
    done = dnf.run("install", "app-1.0", "@tools")
    advisories = dnf.run("updateinfo", "list")

    assert re.search(r"app +two", modules.stdout), modules.stdout + modules.stderr
    assert "Our tools" in groups.stdout
    assert done.returncode == 0, done.stdout + done.stderr
    assert dnf.installed() == {"app-1.0-1.el9.x86_64", "lib-1.5-1.el9.x86_64", "tool-1.0-1.el9.noarch"}
    assert re.search(r"ADV-1 +Important/Sec\. +app-2\.0", advisories.stdout), advisories.stdout + advisories.stderr


def locked(root: Path, upstreams: Mapping[str, Path], wants: list[str]) -> set[str]:
    """Return what our own lock of these wants has, as `N-E:V-R.A`."""
    entries = [
        {"name": name, "module": "node", "releases": [9], "verify": "none", "baseurl": {"default": f"file://{folder}"}}
        for name, folder in upstreams.items()
    ]
    runner = Runner(root, write_manifest(root / "m.yml", entries, wants, recommends=True))
    done = runner.run("lock", "el9.x86_64", "--lock", str(root / "lock"))
    assert done.returncode == 0, done.stderr
    packages = json.loads((root / "lock").read_bytes())["packages"]
    return {
        f"{each['name']}-{'' if ':' in each['version'] else '0:'}{each['version']}.{each['arch']}" for each in packages
    }


@needs_centos
def test_the_real_dependencies_of_a_hundred_names_install_from_our_indexes_alone(site: Site, tmp_path: Path) -> None:
    (index,) = UPSTREAMS["appstream"].glob("repodata/*-primary.xml.gz")
    names = sorted(
        {name.decode() for name in re.findall(rb"<name>([^<]+)</name>", gzip.decompress(index.read_bytes()))}
    )
    sample = random.Random(9).sample(names, 140)
    alone = closures(UPSTREAMS, [[name] for name in sample])
    wants = [name for name, closure in zip(sample, alone, strict=True) if closure][:100]
    (expected,) = closures(UPSTREAMS, [wants])
    assert (len(wants), bool(expected)) == (100, True)
    assert expected is not None
    assert expected == locked(tmp_path / "build", UPSTREAMS, wants)

    publish(site.repository, stubs(tmp_path / "stubs", expected), key=repository_key())
    dnf = site.client(tmp_path / "dnf", "pigsty.repo", is_signed=True)
    gaps = dnf.run("repoclosure")
    done = dnf.run("install", *sorted(expected))

    # repoclosure knows no rich dependencies: it looks for a package that provides the text.
    assert [line for line in re.findall(r"^ {4}(.+)$", gaps.stdout, re.MULTILINE) if not line.startswith("(")] == []
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    assert dnf.installed() == {re.sub(r"-[0-9]+:(?=[^:]+$)", "-", nevra) for nevra in expected}
    assert len(expected) > 800
