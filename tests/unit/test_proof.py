"""Integrity, metadata and installability of repositories, bundles and locks made of stub packages."""

import gzip
import hashlib
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pysequoia
import pytest
from worlds import World, debs, stub_rpms

from repobuild import pipeline
from repobuild.check import Fault, Receipt
from repobuild.errors import ProofError, RefusedError, UsageError
from repobuild.formats import FORMATS
from repobuild.model import Choice, Missing
from repobuild.signing import SigningKey


@pytest.fixture
def debian(tmp_path: Path) -> World:
    world = World(tmp_path, "d12.x86_64")
    world.publish(debs(world), ["patroni", "nginx"])
    return world


@pytest.fixture
def redhat(tmp_path: Path) -> World:
    world = World(tmp_path, "el9.x86_64")
    world.publish(stub_rpms(world), ["patroni", "nginx"])
    return world


@pytest.fixture(params=["debian", "redhat"])
def world(request: pytest.FixtureRequest) -> World:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, World)
    return found


def told(receipt: Receipt) -> list[str]:
    return [str(problem) for problem in receipt.problems]


def test_a_whole_repository_is_proven_with_all_its_wants(world: World) -> None:
    receipt = world.check()

    assert told(receipt) == []
    assert [(each.base, each.wants, each.sets) for each in receipt.proofs] == [("empty", ("patroni", "nginx"), 1)]
    assert receipt.lock == hashlib.sha256((world.path / "repobuild.lock").read_bytes()).hexdigest()
    receipt.prove()


def test_the_same_content_has_the_same_receipt_wherever_it_lies(world: World, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere/pigsty"
    shutil.copytree(world.path, other)

    assert world.check().to_bytes() == pipeline.check(world.session, other).to_bytes()
    assert json.loads(world.check().to_bytes())["bases"][0]["wants"] == ["patroni", "nginx"]


def test_a_receipt_is_read_as_it_was_written_and_nothing_else_is(world: World) -> None:
    next(world.path.glob("libpq*")).unlink()
    text = world.check().to_bytes()

    assert Receipt.from_bytes(text, "x").to_bytes() == text
    forged = [
        text.replace(b'"missing": []', b'"missing": [\n  1\n ]'),
        text.replace(b'"sets": 0', b'"sets": "0"'),
        text.replace(b'"sets": 0', b'"sets": true'),
        text.replace(b'"base": "empty"', b'"base": [\n    "empty"\n   ]'),
        text.replace(b'"kind": "repository"', b'"kind": 1'),
    ]
    assert text not in forged
    for other in (
        *forged, b"{}", b"[]", b"x", text + b" ", text.replace(b'"format": 1', b'"format": 2'), b"[" * 100_000,
    ):  # fmt: skip
        with pytest.raises(RefusedError, match="not a receipt"):
            Receipt.from_bytes(other, "x")


def test_many_problems_are_counted_for_people_and_told_to_machines(debian: World) -> None:
    for number in range(60):
        (debian.path / f"extra{number:02}").write_bytes(b"x")
    receipt = debian.check()

    assert receipt.lines()[-1] == "and 20 more problems"
    assert len(receipt.problems) == 60


def test_a_removed_dependency_is_named_with_who_needs_it_and_which_want_fails(world: World) -> None:
    removed = next(world.path.glob("libpq*"))
    removed.unlink()

    receipt = world.check()

    text = "\n".join(told(receipt))
    assert f"missing: {removed.name}" in text
    assert "cannot be installed: patroni (" in text
    assert re.search(r"psycopg.* (needs|depends on) libpq", text)
    assert re.search(r"which is not there|its file is not there", text)
    assert receipt.proofs[0].wants == ("nginx",)
    with pytest.raises(ProofError):
        receipt.prove()


def test_a_repository_that_was_made_without_a_dependency_is_complete_and_yet_does_not_install(tmp_path: Path) -> None:
    world = World(tmp_path, "el9.x86_64")
    world.publish_unproven(stub_rpms(world, skip="libpq"), ["patroni", "nginx"])

    receipt = world.check()

    assert {problem.fault for problem in receipt.problems} == {Fault.WANT}
    assert "psycopg-1.0-1.el9.x86_64 of the repository needs" in told(receipt)[0]
    assert "/usr/bin/pg_config" in told(receipt)[0]


def test_essential_packages_have_to_be_there(debian: World) -> None:
    next(debian.path.glob("base-files*")).unlink()

    assert "cannot be installed: base-files=12 (the base needs it, and it is not there)" in told(debian.check())


def test_wants_that_install_alone_and_not_together_are_found(tmp_path: Path) -> None:
    world = World(tmp_path, "d12.x86_64")
    universe = "base-files 12  Essential: yes\na 1  Conflicts: b\nb 1\n"
    world.publish_unproven(debs(world, universe), ["a", "b"])

    [problem] = world.check().problems

    assert problem.path == "install set 1 of 1 as a whole"
    assert "a 1 conflicts with b, which is b 1" in problem.detail


def test_install_sets_are_proven_each_by_itself(tmp_path: Path) -> None:
    world = World(tmp_path, "d12.x86_64")
    universe = "base-files 12  Essential: yes\na 1  Conflicts: b\nb 1\n"
    world.publish(debs(world, universe), ["a", "b"], sets=(("a",), ("b",)))

    receipt = world.check()

    assert told(receipt) == []
    assert receipt.proofs[0].sets == 2


@pytest.mark.parametrize("sets", [(), ((),)])
def test_a_proof_of_nothing_is_no_proof(world: World, sets: tuple[tuple[str, ...], ...]) -> None:
    packages = debs(world) if world.target.family == "deb" else stub_rpms(world)
    choices = tuple(Choice(each, "want") for each in packages)
    world.publish_unproven(packages, ["patroni"], choices=choices, sets=sets)

    [problem] = [each for each in world.check().problems if each.fault is Fault.WANT]

    assert problem.detail == "it holds packages and no wants, so nothing can be proven"


def test_a_group_that_stands_for_nothing_is_not_proven(redhat: World) -> None:
    redhat.publish_unproven(stub_rpms(redhat), ["@tools"])

    assert [each.path for each in redhat.check().problems if each.fault is Fault.WANT] == ["@tools"]


def test_wants_of_every_kind_are_proven(tmp_path: Path) -> None:
    world = World(tmp_path, "d12.x86_64")
    wants = ["ngin*", "psycopg=3.1", "patroni/bookworm-backports", "libpq5:amd64"]
    world.publish(debs(world), wants, missing=(Missing(want="gone", reason="no upstream has it"),))

    receipt = world.check()

    assert told(receipt) == []
    assert receipt.proofs[0].wants == tuple(wants)
    assert receipt.missing == ("gone",)


def test_a_glob_that_matches_nothing_any_more_is_a_problem(debian: World, tmp_path: Path) -> None:
    world = World(tmp_path / "other", "d12.x86_64")
    world.publish_unproven(debs(world), ["zabbix-*"])

    assert told(world.check()) == ["cannot be installed: zabbix-* (nothing matches)"]


def test_a_group_that_stayed_behind_is_proven_by_what_it_stood_for(tmp_path: Path) -> None:
    world = World(tmp_path, "el9.x86_64")
    world.publish(stub_rpms(world), ["nginx"], sets=(("@web-server",),))

    receipt = world.check()

    assert told(receipt) == []
    assert receipt.notes == (
        "@web-server: the repository passes no such group on; what it stood for is proven instead",
    )


# metadata


def test_an_index_that_tells_other_dependencies_than_the_deb_is_found(debian: World) -> None:
    world = debian
    patroni, *rest = sorted(debs(world), key=lambda each: each.name != "patroni")
    lying = replace(patroni, metadata=patroni.metadata.replace("Depends: psycopg, libc6 | apt", "Depends: psycopg"))
    world.publish_unproven([lying, *rest], ["patroni", "nginx"])

    [problem] = world.check().problems
    assert (problem.fault, problem.path) == (Fault.INDEX, "patroni_4.0_amd64.deb")
    assert problem.detail == "the index says depends: 'psycopg', the package 'psycopg, libc6 | apt'"


def test_an_index_that_tells_other_relations_than_the_rpm_is_found(redhat: World) -> None:
    [primary] = redhat.path.glob("repodata/*-primary.xml.zst")
    forge_primary(redhat, primary, lambda text: text.replace(b'name="libpq.so.5"', b'name="libpq.so.6"'))

    found = told(redhat.check())

    assert "not as the index says: libpq-1.0-1.el9.x86_64.rpm (index and package differ in provides)" in found
    assert "not as the index says: psycopg-1.0-1.el9.x86_64.rpm (index and package differ in requires)" in found


def forge_primary(world: World, path: Path, change: Callable[[bytes], bytes]) -> None:
    """Change what an index says, with everything above it."""
    import zstandard  # noqa: PLC0415

    old = path.read_bytes()
    text = change(zstandard.ZstdDecompressor().decompressobj().decompress(old))
    new = gzip.compress(text, mtime=0)
    repomd = (world.path / "repodata/repomd.xml").read_text()
    name = f"repodata/{hashlib.sha256(new).hexdigest()}-primary.xml.gz"
    repomd = repomd.replace(str(path.relative_to(world.path)), name)
    repomd = repomd.replace(hashlib.sha256(old).hexdigest(), hashlib.sha256(new).hexdigest())
    repomd = repomd.replace(f"<size>{len(old)}</size>", f"<size>{len(new)}</size>")
    path.unlink()
    world.replace_file("repodata/repomd.xml", repomd.encode())
    world.replace_file(name, new)


def test_a_package_that_no_index_lists_is_found(world: World) -> None:
    suffix = FORMATS[world.target.family].suffix
    source = next(world.path.glob(f"nginx*{suffix}"))
    world.replace_file(f"stranger{suffix}", source.read_bytes())

    assert any(problem.fault is Fault.UNLISTED for problem in world.check().problems)


def test_a_compressed_index_of_another_text_is_found(debian: World) -> None:
    debian.replace_file("Packages.gz", gzip.compress(b"Package: other\n\n", mtime=0))

    assert "not as the index says: Packages.gz (not the bytes that Release lists)" in told(debian.check())


def test_a_missing_by_hash_copy_is_found(debian: World) -> None:
    digest = hashlib.sha256((debian.path / "Packages").read_bytes()).hexdigest()
    (debian.path / "by-hash/SHA256" / digest).unlink()

    found = told(debian.check())

    assert f"not as the index says: by-hash/SHA256/{digest} (Release lists it, and it is not there)" in found


@pytest.mark.parametrize("name", ["Release", "Packages"])
def test_without_what_clients_read_first_nothing_else_is_claimed(debian: World, name: str) -> None:
    (debian.path / name).unlink()

    receipt = debian.check()

    assert receipt.proofs == ()
    assert not receipt.is_whole


def test_a_file_that_is_no_package_is_found(world: World) -> None:
    target = next(world.path.glob("nginx*"))
    world.replace_file(target.name, b"no package")

    found = {(problem.fault, problem.path) for problem in world.check().problems}

    assert (Fault.UNREADABLE, target.name) in found
    assert (Fault.INDEX, target.name) in found


# signatures


@pytest.fixture(scope="module")
def keys() -> tuple[SigningKey, SigningKey]:
    one, other = (SigningKey.load(str(pysequoia.Tsk.generate(name)).encode()) for name in ("one", "other"))
    return one, other


@pytest.mark.parametrize("target", ["d12.x86_64", "el9.x86_64"])
def test_a_signed_repository_names_its_signer(tmp_path: Path, target: str, keys: tuple[SigningKey, SigningKey]) -> None:
    world = World(tmp_path, target, keys[0])
    packages = debs(world) if world.target.family == "deb" else stub_rpms(world)
    world.publish(packages, ["nginx"])
    (tmp_path / "one.asc").write_bytes(keys[0].public_armored())
    (tmp_path / "other.asc").write_bytes(keys[1].public_armored())

    assert told(world.check()) == []
    assert world.check().signer == keys[0].fingerprint
    assert told(world.check(tmp_path / "one.asc")) == []
    assert {each.fault for each in world.check(tmp_path / "other.asc").problems} == {Fault.SIGNATURE}


def test_a_root_that_was_changed_after_signing_is_found(tmp_path: Path, keys: tuple[SigningKey, SigningKey]) -> None:
    world = World(tmp_path, "d12.x86_64", keys[0])
    world.publish(debs(world), ["nginx"])
    world.replace_file("Release", (world.path / "Release").read_bytes().replace(b"Label: pigsty", b"Label: pigstx"))

    faults = {(problem.fault, problem.path) for problem in world.check().problems}

    assert (Fault.SIGNATURE, "Release.gpg") in faults


def test_an_unsigned_repository_is_refused_where_a_key_is_given(
    debian: World, keys: tuple[SigningKey, SigningKey], tmp_path: Path
) -> None:
    (tmp_path / "one.asc").write_bytes(keys[0].public_armored())

    [problem] = debian.check(tmp_path / "one.asc").problems

    assert (problem.fault, problem.detail) == (Fault.SIGNATURE, "not signed, and a key is given")


def test_a_key_file_that_is_not_there_is_an_error(debian: World, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such key file"):
        debian.check(tmp_path / "absent.asc")


# bundles and locks


def test_a_bundle_is_proven_as_its_repository_is(world: World, tmp_path: Path) -> None:
    made = world.bundle(tmp_path)

    [receipt] = pipeline.check_bundle(world.session, made.path)

    ours, theirs = receipt.to_json(), world.check().to_json()
    assert {key for key in ours if ours[key] != theirs[key]} <= {"kind", "size"}
    assert told(receipt) == []


def test_a_bundle_that_lacks_a_dependency_says_so(tmp_path: Path) -> None:
    world = World(tmp_path, "el9.x86_64")
    world.publish_unproven(stub_rpms(world, skip="libpq"), ["patroni"])
    made = world.bundle(tmp_path)

    assert "cannot be installed: patroni (psycopg" in told(*pipeline.check_bundle(world.session, made.path))[0]


def test_a_bundle_that_is_damaged_is_refused(debian: World, tmp_path: Path) -> None:
    made = debian.bundle(tmp_path)
    data = bytearray(made.path.read_bytes())
    data[len(data) // 2] ^= 1
    made.path.write_bytes(data)

    with pytest.raises(RefusedError, match="not what SHA256SUMS says"):
        pipeline.check_bundle(debian.session, made.path)


def test_a_lock_is_proven_without_the_payload(debian: World, tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    path.write_bytes((debian.path / "repobuild.lock").read_bytes())
    shutil.rmtree(debian.root / "store/objects")

    receipt = pipeline.check_lock(debian.session, path)

    assert told(receipt) == []
    assert (receipt.kind, receipt.proofs[0].wants) == ("lock", ("patroni", "nginx"))


def test_a_lock_that_says_too_little_needs_the_store(redhat: World, tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    path.write_bytes((redhat.path / "repobuild.lock").read_bytes())

    assert told(pipeline.check_lock(redhat.session, path)) == []
    shutil.rmtree(redhat.root / "store/objects")
    with pytest.raises(UsageError, match="the store lacks one"):
        pipeline.check_lock(redhat.session, path)


def test_a_repository_without_a_lock_is_hashed_and_no_more(debian: World) -> None:
    (debian.path / "repobuild.lock").unlink()

    receipt = debian.check()

    assert receipt.proofs == ()
    assert (Fault.MISSING, "repobuild.lock") in {(each.fault, each.path) for each in receipt.problems}
