"""Repositories and bundles whose marker agrees and which clients would refuse, or read otherwise than what is proven."""

import gzip
import hashlib
import json
import lzma
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pysequoia
import pytest
import rpms
from test_proof import World, debs, forge_primary, stub_rpms, told

from repobuild import pipeline
from repobuild.check import Fault, Holding, Receipt, compare
from repobuild.cli.main import run
from repobuild.errors import RefusedError
from repobuild.formats import FORMATS
from repobuild.model import PACKAGE_KEYS
from repobuild.signing import SigningKey

UNIVERSE = """
base-files 12  Essential: yes
apt 2.6
libc++1 1.0+deb12u2
psycopg 3.1  Depends: libc++1
nginx 1.22
"""


@pytest.fixture(scope="module")
def key() -> SigningKey:
    return SigningKey.load(str(pysequoia.Tsk.generate("one")).encode())


@pytest.fixture
def debian(tmp_path: Path) -> World:
    return published(tmp_path)


def published(root: Path, key: SigningKey | None = None) -> World:
    world = World(root, "d12.x86_64", key)
    world.publish(debs(world, UNIVERSE), ["psycopg", "nginx"])
    return world


def forge(world: World, changes: Mapping[str, bytes | None]) -> None:
    """Write or remove files and let the marker say that it has to be so."""
    for name, data in changes.items():
        (world.path / name).unlink(missing_ok=True)
        if data is not None:
            (world.path / name).parent.mkdir(exist_ok=True)
            (world.path / name).write_bytes(data)
    world.replace_file("repobuild.lock", (world.path / "repobuild.lock").read_bytes())


def forge_packages(world: World, change: Callable[[str], str] = lambda text: text, more: str = "") -> None:
    """Change Packages, and let all that names it agree; `more` comes into Release."""
    text = change((world.path / "Packages").read_text()).encode()
    forms = {"Packages": text, "Packages.gz": gzip.compress(text, mtime=0), "Packages.xz": lzma.compress(text)}
    shutil.rmtree(world.path / "by-hash")
    head = (world.path / "Release").read_text().partition("SHA256:")[0]
    lines = [f" {hashlib.sha256(data).hexdigest()} {len(data)} {name}\n" for name, data in forms.items()]
    hashed = {f"by-hash/SHA256/{hashlib.sha256(data).hexdigest()}": data for data in forms.values()}
    (world.path / "by-hash/SHA256").mkdir(parents=True)
    forge(world, {**forms, **hashed, "Release": f"{head}{more}SHA256:\n{''.join(lines)}".encode()})


def without_dependency(text: str) -> str:
    return text.replace("Depends: libc++1\n", "")


def found(receipt: Receipt) -> set[tuple[Fault, str]]:
    return {(problem.fault, problem.path) for problem in receipt.problems}


# what is signed, and what clients read


@pytest.mark.parametrize(
    ("gone", "faults"),
    [
        ((), set()),
        (("Release", "Release.gpg"), set()),
        (("Release.gpg",), set()),
        (("InRelease",), set()),
        (("InRelease", "Release.gpg"), {(Fault.SIGNATURE, "Release")}),
        (("InRelease", "Release", "Release.gpg"), {(Fault.MISSING, "Release")}),
    ],
)
def test_one_signed_form_of_the_root_is_enough_as_it_is_for_apt(tmp_path, key, gone, faults):
    world = published(tmp_path, key)

    forge(world, dict.fromkeys(gone))

    assert faults == found(world.check())


@pytest.mark.parametrize("gone", [("Release.gpg",), ("Release", "Release.gpg"), ()])
def test_an_index_that_the_inrelease_does_not_name_is_not_believed(tmp_path, key, gone):
    world = published(tmp_path, key)

    forge_packages(world, without_dependency)
    forge(world, dict.fromkeys(gone))
    receipt = world.check()

    assert (Fault.INDEX, "the indexes") in found(receipt)
    assert receipt.proofs == ()


def test_a_release_that_is_not_what_the_inrelease_signs_is_a_fault_of_its_own(tmp_path, key):
    world = published(tmp_path, key)

    forge(world, {"Release": (world.path / "Release").read_bytes() + b"X: y\n", "Release.gpg": None})

    assert ["not signed as it should be: Release (another text than InRelease, which clients read first)"] == told(
        world.check()
    )


@pytest.mark.parametrize("name", ["InRelease", "repodata/repomd.xml"])
def test_nothing_is_claimed_of_a_root_that_clients_refuse(tmp_path, key, name):
    world = World(tmp_path, "el9.x86_64" if "repodata" in name else "d12.x86_64", key)
    world.publish(stub_rpms(world) if "repodata" in name else debs(world), ["nginx"])

    forge(world, {name: (world.path / name).read_bytes().replace(b"igst", b"igsx").replace(b"<size>", b"<size> ")})
    receipt = world.check()

    assert {Fault.SIGNATURE} == {problem.fault for problem in receipt.problems}
    assert () == receipt.proofs


# index and package


def test_packages_whose_names_are_quoted_in_urls_are_compared_too(debian):
    path = "libc++1_1.0+deb12u2_amd64.deb"

    forge_packages(debian, lambda text: text.replace("Package: libc++1\n", "Package: libc++1\nDepends: nginx\n"))

    assert {(Fault.INDEX, path)} == found(debian.check())


@pytest.mark.parametrize("location", ["psycopg%2D1.0-1.el9.x86_64.rpm", "./psycopg-1.0-1.el9.x86_64.rpm"])
def test_a_location_that_is_written_otherwise_is_compared_too(tmp_path, location):
    world = World(tmp_path, "el9.x86_64")
    world.publish(stub_rpms(world), ["patroni"])

    def change(text: bytes) -> bytes:
        quoted = text.replace(b'href="psycopg-1.0-1.el9.x86_64.rpm"', f'href="{location}"'.encode())
        return quoted.replace(b'<rpm:entry name="libpq.so.5"', b'<rpm:entry name="nginx"')

    [primary] = world.path.glob("repodata/*-primary.xml.zst")
    forge_primary(world, primary, change)

    assert (Fault.INDEX, "psycopg-1.0-1.el9.x86_64.rpm") in found(world.check())


def test_a_package_that_nobody_compared_is_a_problem(debian):
    offer = FORMATS["deb"].read_offer(
        (debian.path / "Release").read_bytes(), lambda path: (debian.path / path).read_bytes(), debian.target
    )
    files = {each.path: (each.size, each.sha256) for each in offer.packages}

    found = compare(FORMATS["deb"], offer, Holding(files=files, statements={}, unreadable={}))

    assert dict.fromkeys(files, "nobody compared it with the package") == {each.path: each.detail for each in found}


def test_a_stanza_twice_is_no_fault_for_apt_does_not_mind(debian):
    forge_packages(debian, lambda text: text + text.partition("\n\n")[0] + "\n\n")

    assert [] == told(debian.check())


def test_a_second_stanza_that_says_something_else_is_found(debian):
    forge_packages(debian, lambda text: text + without_dependency(text))

    assert (Fault.INDEX, "psycopg_3.1_amd64.deb") in found(debian.check())


@pytest.mark.parametrize("field", ["MD5sum", "SHA1", "SHA512"])
def test_a_digest_of_a_package_that_apt_would_verify_is_not_passed_over(debian, field):
    forge_packages(debian, lambda text: text.replace("Package: nginx\n", f"Package: nginx\n{field}: {'0' * 32}\n"))

    [problem] = debian.check().problems

    assert ("nginx_1.22_amd64.deb", True) == (problem.path, field.lower() in problem.detail)


@pytest.mark.parametrize(
    "more",
    [
        "MD5Sum:\n 00000000000000000000000000000000 12 Packages\n",
        f"SHA512:\n {'0' * 128} 12 Packages\n",
        "Valid-Until: Mon, 01 Jan 2024 00:00:00 UTC\n",
        "Valid-Until: Mon, 01 Jan 2124 00:00:00 UTC\n",
        "NotAutomatic: yes\n",
    ],
)
def test_a_field_of_release_by_which_apt_goes_and_ours_never_has_is_a_problem(debian, more):
    forge_packages(debian, more=more)

    [problem] = debian.check().problems

    assert ("Release", True) == (problem.path, more.partition(":")[0] in problem.detail)


def test_the_digest_of_an_open_rpm_index_is_verified_as_yum_does(tmp_path):
    world = World(tmp_path, "el9.x86_64")
    world.publish(stub_rpms(world), ["nginx"])
    text = (world.path / "repodata/repomd.xml").read_text()
    digest = text.partition('<open-checksum type="sha256">')[2][:64]

    forge(world, {"repodata/repomd.xml": text.replace(digest, "0" * 64).encode()})

    assert {(Fault.INDEX, "repodata/repomd.xml")} == found(world.check())


# packages' own signatures


@pytest.mark.parametrize("signer", ["ours", "another", "nobody"])
def test_packages_are_verified_where_clients_are_told_to(tmp_path, signer):
    world = World(tmp_path, "el9.x86_64")
    ours, another = rpms.signing_key(), rpms.signing_key("Another Packager")
    secret = {"ours": ours.secret, "another": another.secret, "nobody": None}[signer]
    made = [rpms.build(tmp_path / "rpms", name, sign=sign) for name, sign in (("a", ours.secret), ("b", secret))]
    world.publish([world.put(path.read_bytes()) for path in made], ["a", "b"], extras=((PACKAGE_KEYS, ours.public),))
    bundle = world.bundle(tmp_path / "out")

    expected = set() if signer == "ours" else {(Fault.SIGNATURE, "b-1.0-1.el9.x86_64.rpm")}

    assert expected == found(world.check())
    assert expected == found(*pipeline.check_bundle(world.session, bundle.path))


def test_a_payload_that_its_signed_header_does_not_know_is_found(tmp_path):
    world = World(tmp_path, "el9.x86_64")
    key = rpms.signing_key()
    data = bytearray(rpms.build(tmp_path / "rpms", "a", size=2_000_000, sign=key.secret).read_bytes())
    data[-1] ^= 1
    world.publish([world.put(bytes(data))], ["a"], extras=((PACKAGE_KEYS, key.public),))
    bundle = world.bundle(tmp_path / "out")

    for receipt in (world.check(), *pipeline.check_bundle(world.session, bundle.path)):
        [problem] = receipt.problems
        assert problem.detail.startswith("its payload does not have the sha256")


def test_a_bundle_that_breaks_while_a_signed_package_goes_by_is_refused(tmp_path):
    world = World(tmp_path, "el9.x86_64")
    key = rpms.signing_key()
    package = world.put(rpms.build(tmp_path / "rpms", "a", size=2_000_000, sign=key.secret).read_bytes())
    world.publish([package], ["a"], extras=((PACKAGE_KEYS, key.public),))
    bundle = world.bundle(tmp_path / "out", pipeline.Packing.TAR)
    data = bytearray(bundle.path.read_bytes())
    data[1_500_000] ^= 1
    (tmp_path / "alone.tar").write_bytes(data)

    with pytest.raises(RefusedError):
        pipeline.check_bundle(world.session, tmp_path / "alone.tar")


def test_the_keys_of_the_packages_have_to_be_there(tmp_path):
    world = World(tmp_path, "el9.x86_64")
    key = rpms.signing_key()
    path = rpms.build(tmp_path / "rpms", "a", sign=key.secret)
    world.publish([world.put(path.read_bytes())], ["a"], extras=((PACKAGE_KEYS, key.public),))

    forge(world, {"pigsty-packages.asc": None})

    assert {(Fault.MISSING, "pigsty-packages.asc")} == found(world.check())


# files beside what the marker lists


@pytest.mark.parametrize(
    ("name", "mode"),
    [("Packages", 0o600), ("Release", 0o000), ("repo_complete", 0o640), ("by-hash", 0o750), (".", 0o700)],
)
def test_what_a_web_server_cannot_read_is_a_fault(debian, name, mode):
    (debian.path / name).chmod(mode)
    receipt = debian.check()
    (debian.path / name).chmod(0o755)

    assert {(Fault.HIDDEN, name)} == found(receipt)
    assert "chmod" in receipt.hint


def carry(world: World, files: Mapping[str, bytes]) -> None:
    """Put files there and let the record of the generation excuse them."""
    record = json.loads((world.path / ".repobuild/generation.json").read_text())
    for name, data in files.items():
        (world.path / name).parent.mkdir(exist_ok=True)
        (world.path / name).write_bytes(data)
        record["carried"][name] = {"sha256": hashlib.sha256(data).hexdigest(), "since": 1}
    (world.path / ".repobuild/generation.json").write_text(json.dumps(record))


@pytest.mark.parametrize("name", ["kubectl", "index.yaml", "a_1_all.deb"])
def test_an_asset_that_a_publication_dropped_is_no_fault_for_a_week(debian, name):
    carry(debian, {name: b"x"})

    receipt = debian.check()

    assert [] == told(receipt)
    assert any("carried over" in each for each in receipt.notes)


@pytest.mark.parametrize(
    "name",
    ["index.htm", "InRelease", "Release.gpg", "repodata/repomd.xml", ".htaccess", "sub/a.deb"],
)
def test_a_file_that_no_publication_carries_over_is_foreign_whatever_the_record_says(debian, name):
    carry(debian, {name: b"x"})

    assert (Fault.FOREIGN, name) in found(debian.check())


def test_what_is_carried_over_is_counted_and_named_where_it_is_no_package(debian):
    digest = hashlib.sha256(b"x").hexdigest()
    carry(debian, {"old_1_amd64.deb": b"x", f"by-hash/SHA256/{digest}": b"x", "pev.html": b"x"})

    receipt = debian.check()

    assert [] == told(receipt)
    assert receipt.notes == (
        "3 files of earlier generations are carried over for clients that are reading, among them pev.html",
    )
    assert Receipt.from_bytes(receipt.to_bytes(), "x").notes == receipt.notes


# bundles and what lies beside them


@pytest.mark.parametrize("gone", [("SHA256SUMS.asc",), ("SHA256SUMS", "SHA256SUMS.asc")])
def test_with_a_key_a_bundle_needs_the_signed_list_beside_it_as_install_does(tmp_path, key, gone):
    world = published(tmp_path, key)
    made = world.bundle(tmp_path / "out")
    public = world.path / "pigsty.gpg"

    assert [] == told(*pipeline.check_bundle(world.session, made.path, public))
    for name in gone:
        (made.path.parent / name).unlink()

    assert [] == told(*pipeline.check_bundle(world.session, made.path))
    with pytest.raises(RefusedError, match="not signed, and a signer is asked for"):
        pipeline.check_bundle(world.session, made.path, public)


# as it is typed


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REPOBUILD_STORE", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))


@pytest.mark.usefixtures("machine")
def test_a_bad_argument_does_not_lose_what_is_said_of_the_others(debian, tmp_path, capsys):
    (tmp_path / "no-bundle").write_bytes(b"x" * 5000)
    places = [str(tmp_path / "no-bundle"), str(debian.path), "no-target"]

    code = run(["check", "--json", *places])
    said = json.loads(capsys.readouterr().out)

    assert 3 == code
    assert [(place, expected) for place, expected in zip(places, [3, None, 2], strict=True)] == [
        (each["path"], each.get("exit")) for each in said
    ]
    assert ["psycopg", "nginx"] == said[1]["bases"][0]["wants"]


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("marker", [None, b"x\n", b"0" * 64 + b"  ../../etc/passwd\n", "link"])
def test_without_a_marker_its_absence_is_all_that_is_said(debian, capsys, marker):
    (debian.path / "repo_complete").rename(debian.root / "former")
    if marker == "link":
        (debian.path / "repo_complete").symlink_to(debian.root / "former")
    elif marker is not None:
        (debian.path / "repo_complete").write_bytes(marker)

    assert 6 == run(["check", str(debian.path)])
    said = capsys.readouterr()

    assert "repo_complete" in said.err
    assert 3 == len(said.out.splitlines())


@pytest.mark.usefixtures("machine")
def test_the_cause_is_what_an_error_says_first(debian, capsys):
    forge_packages(debian, without_dependency)
    (debian.path / "psycopg_3.1_amd64.deb").unlink()

    run(["check", str(debian.path)])

    assert "missing: psycopg_3.1_amd64.deb" in capsys.readouterr().err.splitlines()[0]


@pytest.mark.usefixtures("machine")
def test_a_key_that_signed_nothing_here_is_answered_by_how_to_get_the_right_one(tmp_path, key, capsys):
    world = published(tmp_path, key)
    other = SigningKey.load(str(pysequoia.Tsk.generate("other")).encode())
    (tmp_path / "other.asc").write_bytes(other.public_armored())

    assert 6 == run(["check", str(world.path), "--key", str(tmp_path / "other.asc")])
    assert "hint: ask who made it for the right public key" in capsys.readouterr().err
    assert 2 == run(["check", str(world.path), "--key", str(tmp_path / "no-folder/key.asc")])
