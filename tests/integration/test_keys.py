"""The signing key over its life, with the clients' own tools as judges: made, followed by another, retired."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

import pytest
import rpms
from apt import IsolatedApt
from archive_on_disk import served
from dnf_client import DNF, DnfRoot
from pysequoia import CipherSuite, Tsk
from rpm_published import publish
from sites import Runner, Site

from repobuild.formats.protocol import ClientFacts
from repobuild.formats.rpm.client import client_files
from repobuild.signing import Keyring, SigningKey, generate, older_path
from repobuild.targets import parse_target

pytestmark = pytest.mark.integration

IS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="dnf installs as root only")


@cache
def key_file(name: str) -> bytes:
    """Return a secret key as an older repobuild made them; in no time, and refused by rpm 4.18."""
    return str(Tsk.generate(name, cipher_suite=CipherSuite.RSA2k)).encode()


@cache
def fitting_key() -> SigningKey:
    return SigningKey.load(generate("Fitting <fitting@example.org>"))


def keys(*names: str) -> SigningKey:
    return SigningKey.join([SigningKey.load(key_file(name)) for name in names])


# dnf


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return [rpms.build(tmp_path_factory.mktemp("rpms"), "app", "1.0")]


@pytest.fixture(scope="module")
def signed_packages(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return [rpms.build(tmp_path_factory.mktemp("signed"), "app", "1.0", sign=rpms.signing_key().secret)]


def dnf_of(
    folder: Path, repository: Path, known: SigningKey | None = None, *, package_keys: Sequence[str] = ()
) -> DnfRoot:
    """Return a dnf that trusts what the repository's own key file holds, or only the keys `known`."""
    if not Path(DNF).exists():
        pytest.skip("dnf is not installed")
    facts = ClientFacts(
        name="pigsty",
        url="http://127.0.0.1:1/pigsty",
        folder=str(repository),
        is_signed=True,
        target=parse_target("el9.x86_64"),
        public_key=(repository / "pigsty.asc").read_bytes(),
        package_keys=tuple(package_keys),
    )
    content = client_files(facts, package_keys=package_keys)["pigsty-local.repo"]
    if known is not None:
        folder.mkdir()
        (folder / "known.asc").write_bytes(known.public_armored())
        content = content.replace(bytes(repository / "pigsty.asc"), bytes(folder / "known.asc"))
    return DnfRoot(folder / "dnf", {"pigsty-local.repo": content})


@IS_ROOT
@pytest.mark.parametrize(
    ("signers", "known", "is_taken"),
    [
        ("old", "old", True),
        ("old new", "old", True),
        ("old new", "new", True),
        ("old new", None, True),
        ("new", "new", True),
        ("new", None, True),
        ("new", "old", False),
        ("old new", "other", False),
    ],
)
def test_dnf_takes_a_root_of_two_signatures_when_it_knows_one_key(
    packages: list[Path], tmp_path: Path, signers: str, known: str | None, is_taken: bool
) -> None:
    publish(tmp_path / "pigsty", packages, key=keys(*signers.split()))
    dnf = dnf_of(tmp_path / "client", tmp_path / "pigsty", keys(known) if known else None)

    done = dnf.run("install", "app")

    assert (done.returncode == 0) == is_taken, done.stdout + done.stderr
    assert bool(dnf.installed()) == is_taken


@IS_ROOT
def test_dnf_hands_rpm_our_key_beside_the_packagers(signed_packages: list[Path], tmp_path: Path) -> None:
    publish(tmp_path / "pigsty", signed_packages, key=fitting_key())
    (tmp_path / "pigsty" / "packager.asc").write_text(rpms.signing_key().public)
    dnf = dnf_of(tmp_path / "client", tmp_path / "pigsty", package_keys=["packager.asc"])
    listed = (dnf.root / "repos/pigsty-local.repo").read_text()

    done = dnf.run("install", "app")

    assert "pigsty.asc file://" in listed
    assert "gpgcheck=1\nrepo_gpgcheck=1\n" in listed
    assert done.returncode == 0, done.stdout + done.stderr
    assert dnf.installed() == {"app-1.0-1.el9.x86_64"}
    imported = subprocess.run(
        ["rpm", "--root", dnf.root / "root", "-qa", "gpg-pubkey*"], capture_output=True, text=True, check=True
    )
    assert fitting_key().fingerprint[-8:].lower() in imported.stdout


# The command line, and apt


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    from archive_on_disk import ArchiveOnDisk  # noqa: PLC0415 -- as the other fixtures make it
    from sites import FIRST  # noqa: PLC0415

    archive = ArchiveOnDisk(tmp_path / "archive")
    archive.publish(FIRST)
    with served(archive.folder) as url:
        yield Site(tmp_path, archive, url)


def default_key(runner: Runner) -> Path:
    return runner.root / "config/repobuild/signing-key.asc"


def put_key(runner: Runner, name: str) -> Path:
    path = default_key(runner)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(key_file(name))
    path.chmod(0o600)
    return path


def done(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def apt_of(folder: Path, repository: Path, known: SigningKey) -> IsolatedApt:
    if shutil.which("apt-get") is None:
        pytest.skip("apt is not installed")
    folder.mkdir()
    (folder / "known.gpg").write_bytes(known.public_binary())
    return IsolatedApt(folder, "amd64", f"deb [signed-by={folder}/known.gpg] file:{repository} ./\n")


def is_taken(apt: IsolatedApt) -> bool:
    return apt.update().returncode == 0


def test_a_key_is_followed_by_another_without_a_client_losing_its_way(site: Site, tmp_path: Path) -> None:
    path = put_key(site, "old")
    done(site.sync())
    old = keys("old")
    before = apt_of(tmp_path / "before", site.repository, old)
    taken_before = is_taken(before)

    done(site.run("key", "rotate"))
    done(site.sync())
    new = SigningKey.load(path)
    both = {each: is_taken(apt_of(tmp_path / each, site.repository, key)) for each, key in (("o", old), ("n", new))}
    again = done(site.sync("--json"))
    done(site.run("key", "rotate", "--finish"))
    done(site.sync())
    after = {
        each: is_taken(apt_of(tmp_path / f"{each}2", site.repository, key)) for each, key in (("o", old), ("n", new))
    }

    assert taken_before
    assert both == {"o": True, "n": True}
    assert json.loads(again)["targets"][0]["is_changed"] is False
    assert after == {"o": False, "n": True}
    assert [each.name for each in path.parent.glob("*.retired-*")] == [
        f"signing-key.retired-{old.fingerprint[-16:]}.asc"
    ]
    assert not older_path(path).exists()


def test_while_two_keys_sign_both_public_halves_are_published(site: Site) -> None:
    path = put_key(site, "old")
    done(site.run("key", "rotate"))
    done(site.sync())

    wanted = tuple(sorted((keys("old").fingerprint, SigningKey.load(path).fingerprint)))
    published = [*site.home.rglob("pigsty.gpg"), *site.home.rglob("pigsty.asc")]

    assert len(published) == 4
    assert {Keyring.from_files([each]).fingerprints for each in published} == {wanted}
    assert {each.stat().st_mode & 0o777 for each in path.parent.glob("*.asc")} == {0o600}


def test_a_rotation_is_not_begun_twice_nor_finished_before_it_began(site: Site) -> None:
    path = put_key(site, "old")
    early = site.run("key", "rotate", "--finish")
    older_path(path).write_bytes(key_file("older"))
    twice = site.run("key", "rotate")

    assert (early.returncode, twice.returncode) == (2, 2)
    assert "no rotation is under way" in early.stderr
    assert "two keys sign already" in twice.stderr
    assert path.read_bytes() == key_file("old")


def test_a_rotation_cut_short_between_its_two_files_is_begun_again(site: Site) -> None:
    path = put_key(site, "old")
    older_path(path).write_bytes(key_file("old"))

    done(site.run("key", "rotate"))

    assert older_path(path).read_bytes() == key_file("old")
    assert path.read_bytes() != key_file("old")


def test_finishing_names_the_repositories_that_the_new_key_did_not_sign(site: Site) -> None:
    put_key(site, "old")
    done(site.sync())
    done(site.run("key", "rotate"))

    finished = site.run("key", "rotate", "--finish")

    assert finished.returncode == 0
    assert f"{site.repository}: its clients have not been given the new key" in finished.stderr


def test_two_keys_named_on_the_command_line_sign_both(site: Site, tmp_path: Path) -> None:
    paths = [tmp_path / "one.asc", tmp_path / "two.asc"]
    for path, name in zip(paths, ("one", "two"), strict=True):
        path.write_bytes(key_file(name))

    done(site.sync(*(word for path in paths for word in ("--key", str(path)))))

    inline = (site.repository / "InRelease").read_bytes()
    assert all(keys(name).keyring.verify_inline(inline, "x") for name in ("one", "two"))


def test_export_writes_both_forms_and_prints_either(site: Site, tmp_path: Path) -> None:
    put_key(site, "old")
    key = keys("old")

    paths = done(site.run("key", "export", "-o", str(tmp_path / "out"))).split()
    armoured = done(site.run("key", "export"))

    assert [Path(each).suffix for each in paths] == [".gpg", ".asc"]
    assert [Path(each).read_bytes() for each in paths] == [key.public_binary(), key.public_armored()]
    assert Keyring.from_bytes([("x", armoured.encode())]).fingerprints == key.fingerprints
    assert "PRIVATE" not in armoured
    binary = subprocess.run(
        site.command("key", "export", "--binary"), env=dict(site.environment), capture_output=True, check=True
    )
    assert binary.stdout == key.public_binary()


def test_show_gives_a_fingerprint_to_compare_and_a_short_form(site: Site) -> None:
    put_key(site, "old")
    fingerprint = keys("old").fingerprint

    shown = done(site.run("key", "show"))

    assert "".join(shown.split("(")[0].split()) == fingerprint
    assert f"(short {fingerprint[-16:]})" in shown


# Nodes


@pytest.mark.parametrize("names", [("old",), ("old", "new")])
def test_one_source_file_is_all_that_a_node_needs(site: Site, tmp_path: Path, names: tuple[str, ...]) -> None:
    path = put_key(site, names[-1])
    if len(names) > 1:
        older_path(path).write_bytes(key_file(names[0]))
    done(site.sync())
    with served(site.home) as url:
        files = json.loads(done(site.run("client", "d12.x86_64", "--http", url, "--json")))["d12.x86_64"]
        name = next(each for each in files if each.endswith(".sources") and "-local" not in each)
        apt = apt_of(tmp_path / "node", site.repository, keys("old"))
        (tmp_path / "node/etc/apt/sources.list").write_text("")
        (tmp_path / f"node/etc/apt/sources.list.d/{name}").write_text(files[name])

        updated = apt.update()
        chosen, said = apt.simulate(["app"])

    assert updated.returncode == 0, updated.stdout + updated.stderr
    assert chosen is not None, said
    assert "/etc/apt/keyrings" not in files[name]


def test_the_key_of_a_repository_is_shown_with_what_to_do_on_a_node(site: Site) -> None:
    put_key(site, "old")
    done(site.sync())

    shown = done(site.run("client", "d12.x86_64", "--key", "--http", "http://h.pigsty"))
    document = json.loads(done(site.run("client", "d12.x86_64", "--key", "--json")))["d12.x86_64"]

    grouped = " ".join(keys("old").fingerprint[at : at + 4] for at in range(0, 40, 4))
    assert f"compare on the node: {grouped}" in shown
    assert "curl -fsSL http://h.pigsty/" in shown
    armoured = next(text for name, text in document.items() if name.endswith(".asc"))
    assert Keyring.from_bytes([("x", armoured.encode())]).fingerprints == keys("old").fingerprints


def test_a_repository_that_is_not_signed_has_no_key_to_show(site: Site) -> None:
    done(site.sync())

    shown = site.run("client", "d12.x86_64", "--key")

    assert shown.returncode == 2
    assert "not signed" in shown.stderr


def test_a_key_of_gnupg_signs_a_repository(
    site: Site, tmp_path: Path, tool: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "gnupg"
    home.mkdir(mode=0o700)
    monkeypatch.setenv("GNUPGHOME", str(home))
    gpg = [tool("gpg"), "--batch", "-q", "--pinentry-mode", "loopback", "--passphrase", ""]
    subprocess.run([*gpg, "--quick-gen-key", "agent@x", "rsa2048", "sign", "never"], check=True, capture_output=True)
    public = subprocess.run([*gpg, "--export"], check=True, capture_output=True).stdout
    keyring = Keyring.from_bytes([("x", public)])

    try:
        synced = site.sync("--key", f"gpg:{keyring.fingerprints[0]}")
        again = site.sync("--key", f"gpg:{keyring.fingerprints[0]}", "--json")
        rotated = site.run("key", "rotate", "--key", f"gpg:{keyring.fingerprints[0]}")
    finally:
        subprocess.run([tool("gpgconf"), "--kill", "all"], check=True)

    done(synced)
    assert keyring.verify_inline((site.repository / "InRelease").read_bytes(), "x").signer == keyring.fingerprints[0]
    assert json.loads(done(again))["targets"][0]["is_changed"] is False
    assert rotated.returncode == 2
    assert "name both keys" in rotated.stderr
