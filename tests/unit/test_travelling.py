"""The proof and the page travel in the tree: made before anything is published, the same wherever that is."""

import json
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import chromium
import pytest
from click.testing import CliRunner
from nginx_server import fetch, free_port, needs_nginx, running
from transfers import make_key
from worlds import NOW, RPMS, World, debs, stub_rpms

from repobuild import pipeline
from repobuild.bases import BasePin, InstalledPackage
from repobuild.check import Fault, Receipt
from repobuild.cli.main import root
from repobuild.errors import HostileInputError, ProofError
from repobuild.formats import FORMATS
from repobuild.model import MARKER, PACKAGE_KEYS, PAGE_NAME, PROOF_NAME, Lock, Package
from repobuild.pipeline import InstallRequest, Session
from repobuild.record import parse_marker, sha256_of
from repobuild.serve import make_server
from repobuild.webserver import NginxSpec, nginx_locations

WANTS = ["patroni", "nginx"]
INSTALLED = (InstalledPackage("libpq5", "17.0", "amd64"), InstalledPackage("held", "1.0", "amd64"))
RPM_INSTALLED = (InstalledPackage("libpq", "1.0-1.el9", "x86_64"), InstalledPackage("held", "1-1", "x86_64"))


def fill(world: World) -> list[Package]:
    return debs(world) if world.target.family == "deb" else stub_rpms(world)


@pytest.fixture(params=["d12.x86_64", "el9.x86_64"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    world = World(tmp_path / "one", request.param)
    world.publish(fill(world), WANTS, carries_proof=True)
    return world


def told(receipt: Receipt) -> list[str]:
    return [str(problem) for problem in receipt.problems]


# the receipt


def test_what_is_published_carries_the_receipt_of_its_lock(world: World, tmp_path: Path) -> None:
    (tmp_path / "x.lock").write_bytes((world.path / "repobuild.lock").read_bytes())
    text = (world.path / PROOF_NAME).read_bytes()

    assert text == pipeline.check_lock(world.session, tmp_path / "x.lock").to_bytes()
    assert [(each["base"], each["wants"], each["sets"]) for each in json.loads(text)["bases"]] == [("empty", WANTS, 1)]
    assert parse_marker((world.path / MARKER).read_bytes())[PROOF_NAME] == sha256_of(text)
    assert told(world.check()) == []


@pytest.mark.parametrize("target", ["d12.x86_64", "el9.x86_64"])
def test_receipt_and_page_are_the_same_whoever_signs_and_wherever(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for name, zone, key in (("a", "Pacific/Kiritimati", None), ("b", "America/Adak", make_key())):
        monkeypatch.setenv("TZ", zone)
        monkeypatch.setenv("LC_ALL", "tr_TR.UTF-8")
        time.tzset()
        world = World(tmp_path / name, target, key)
        world.publish(fill(world), WANTS)
        found.append([(world.path / file).read_bytes() for file in (PROOF_NAME, PAGE_NAME)])
    monkeypatch.undo()
    time.tzset()

    assert found[0] == found[1]


def test_what_does_not_install_is_not_published_and_what_was_there_stays(tmp_path: Path) -> None:
    world = World(tmp_path, "el9.x86_64")
    world.publish(stub_rpms(world), WANTS)
    before = {path: path.read_bytes() for path in sorted(world.path.rglob("*")) if path.is_file()}

    with pytest.raises(ProofError) as caught:
        world.publish(stub_rpms(world, skip="libpq"), WANTS)

    assert caught.value.exit_code == 6
    assert "el9.x86_64: nothing is published, for the proof fails: cannot be installed: patroni" in str(caught.value)
    assert "psycopg-1.0-1.el9.x86_64 of the repository needs /usr/bin/pg_config, libpq.so.5" in str(caught.value)
    assert before == {path: path.read_bytes() for path in sorted(world.path.rglob("*")) if path.is_file()}


def forged(world: World, change: Callable[[bytes], bytes]) -> list[tuple[Fault, str, str]]:
    world.replace_file(PROOF_NAME, change((world.path / PROOF_NAME).read_bytes()))
    return [(each.fault, each.path, each.detail) for each in world.check().problems]


def test_a_receipt_that_claims_another_proof_is_found(world: World) -> None:
    found = forged(world, lambda text: text.replace(b'    "nginx"', b'    "nginy"'))

    assert found == [(Fault.RECEIPT, PROOF_NAME, "it differs from what was found in bases")]


def test_a_receipt_of_another_lock_is_found(world: World) -> None:
    own = sha256_of((world.path / "repobuild.lock").read_bytes()).encode()

    found = forged(world, lambda text: text.replace(own, b"0" * 64))

    assert found == [(Fault.RECEIPT, PROOF_NAME, "it is of another lock")]


def test_what_is_no_receipt_is_found(world: World) -> None:
    [(fault, path, _)] = forged(world, lambda text: text + b"\n")

    assert (fault, path) == (Fault.RECEIPT, PROOF_NAME)


def test_a_lying_receipt_in_a_bundle_is_found_and_not_installed(world: World, tmp_path: Path) -> None:
    own = sha256_of((world.path / "repobuild.lock").read_bytes()).encode()
    world.replace_file(PROOF_NAME, (world.path / PROOF_NAME).read_bytes().replace(own, b"0" * 64))
    made = world.bundle(tmp_path)
    far = Session(replace(world.session.settings, home=tmp_path / "far"))

    [receipt] = pipeline.check_bundle(world.session, made.path)
    [problem] = receipt.problems
    for is_dry in (True, False):
        with pytest.raises(HostileInputError, match="proof in the bundle is of another lock"):
            list(pipeline.install(far, [made.path], InstallRequest(allow_unsigned=True, dry_run=is_dry)))

    assert (problem.fault, problem.detail) == (Fault.RECEIPT, "it is of another lock")
    assert not (tmp_path / "far/pigsty/repo_complete").exists()


def test_a_missing_receipt_is_a_problem_where_the_lock_has_one(world: World, tmp_path: Path) -> None:
    (world.path / PROOF_NAME).unlink()
    world.replace_file("repobuild.lock", (world.path / "repobuild.lock").read_bytes())
    older = World(tmp_path / "older", world.target.name)
    older.publish_unproven(fill(older), WANTS)

    assert told(world.check()) == [f"missing: {PROOF_NAME}"]
    assert told(older.check()) == []


def test_a_bundle_without_the_receipt_that_its_lock_speaks_of_is_not_installed(world: World, tmp_path: Path) -> None:
    (world.path / PROOF_NAME).unlink()
    world.replace_file("repobuild.lock", (world.path / "repobuild.lock").read_bytes())
    made = world.bundle(tmp_path)
    far = Session(replace(world.session.settings, home=tmp_path / "far"))

    with pytest.raises(HostileInputError, match="lacks the proof that its lock speaks of"):
        list(pipeline.install(far, [made.path], InstallRequest(allow_unsigned=True)))

    assert not (tmp_path / "far/pigsty/repo_complete").exists()


def test_what_was_published_before_there_were_proofs_can_be_gone_back_to(tmp_path: Path) -> None:
    world = World(tmp_path, "el9.x86_64")
    world.publish_unproven(stub_rpms(world, skip="libpq"), WANTS)
    world.publish(stub_rpms(world), WANTS, time=NOW + 1)

    pipeline.rollback(world.session, "el9.x86_64", "pigsty")

    assert not list(world.path.glob("libpq*")) or "libpq" not in (world.path / MARKER).read_text()
    assert {each.fault for each in world.check().problems} == {Fault.WANT}


def test_where_wants_do_not_install_the_receipt_is_not_blamed(world: World) -> None:
    next(world.path.glob("libpq*")).unlink()

    assert Fault.RECEIPT not in {each.fault for each in world.check().problems}


def test_an_install_says_what_was_proven_from_a_dry_run_on(world: World, tmp_path: Path) -> None:
    made = world.bundle(tmp_path)
    words = ["install", str(made.path), "--allow-unsigned", "--home", str(tmp_path / "far")]
    environment = {"REPOBUILD_STORE": str(tmp_path / "s"), "XDG_STATE_HOME": str(tmp_path / "x")}

    said = [CliRunner(env=environment).invoke(root, [*words, *more]).output for more in (["--dry-run"], [])]
    [found] = json.loads(CliRunner(env=environment).invoke(root, [*words, "--json"]).output)

    for each in said:
        assert "proven where it was made: from base empty: 2 wants install alone, 1 sets as a whole" in each
    assert found["proof"] == json.loads((world.path / PROOF_NAME).read_text())


# bases


def based(world: World, *, in_lock: bool = True) -> Lock:
    """Publish what installs only where libpq is there already."""
    packages = [each for each in fill(world) if not each.name.startswith("libpq")]
    is_deb = world.target.family == "deb"
    empty = InstalledPackage("base-files", "12", "amd64")
    installed = (empty, *INSTALLED) if is_deb else RPM_INSTALLED
    form = FORMATS[world.target.family]
    text = form.base_text(sorted(installed), world.loaded(fill(world)), world.target)
    digest = world.session.store.put(text)
    pin = BasePin("site", digest, is_resolved=True, text=text.decode() if in_lock else "")
    return world.publish(packages, WANTS, bases=(pin,), carries_proof=True)


@pytest.fixture(params=["d12.x86_64", "el9.x86_64"])
def bare(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    return World(tmp_path / "one", request.param)


def elsewhere(world: World, tmp_path: Path) -> Session:
    return Session(replace(world.session.settings, store=tmp_path / "other-store", home=tmp_path / "other"))


def test_a_lock_proves_from_its_bases_where_no_store_knows_them(bare: World, tmp_path: Path) -> None:
    based(bare)
    made = bare.bundle(tmp_path)
    far = elsewhere(bare, tmp_path)

    for receipt in (pipeline.check(far, bare.path), *pipeline.check_bundle(far, made.path)):
        [proof] = receipt.proofs
        assert (told(receipt), proof.base, proof.wants) == ([], "site", tuple(WANTS))
        assert any(each.startswith("libpq") for each in proof.relies)


def test_an_older_lock_proves_from_the_store_and_elsewhere_says_that_it_cannot(bare: World, tmp_path: Path) -> None:
    based(bare, in_lock=False)

    there = pipeline.check(elsewhere(bare, tmp_path), bare.path)

    assert told(bare.check()) == []
    assert told(there) == [
        "not proven: base site (neither its lock nor this machine's store says what is installed there)"
    ]
    assert there.hint.startswith("a newer lock says it itself: repobuild lock --update")
    with pytest.raises(ProofError):
        there.prove()


def test_what_cannot_be_proven_from_a_base_is_not_published(bare: World) -> None:
    pin = BasePin("site", "a" * 64, is_resolved=True)

    with pytest.raises(ProofError, match="not proven: base site"):
        bare.publish(fill(bare), WANTS, bases=(pin,))


def test_the_store_forgets_a_base_that_its_lock_describes(bare: World) -> None:
    freed = []
    for in_lock in (False, True):
        based(bare, in_lock=in_lock)
        freed.append(pipeline.collect(bare.session, [], dry_run=True).objects)
    shutil.rmtree(bare.path.parent / ".pigsty.repobuild/previous")
    freed.append(pipeline.collect(bare.session, [], dry_run=True).objects)

    # The generation before needs it too, for a rollback.
    assert freed == [freed[0], freed[0], freed[0] + 1]


# the page


def test_the_page_links_to_every_file_that_a_listing_showed(world: World) -> None:
    text = (world.path / PAGE_NAME).read_text()

    links = {unquote(each) for each in re.findall(r'href="\./([^"]*)"', text)}
    files = {str(path.relative_to(world.path)) for path in world.path.rglob("*") if path.is_file()}
    assert links == {each for each in files if not each.startswith(".repobuild")} - {PAGE_NAME}
    assert "From base empty: 2 wants install alone, 1 install set installs as a whole." in text
    assert "Every check holds" in text
    assert "not signed" not in text


def test_keys_of_packages_are_linked_and_ours_are_not_for_they_do_not_follow_from_the_lock(tmp_path: Path) -> None:
    key = make_key()
    world = World(tmp_path, "el9.x86_64", key)
    world.publish(stub_rpms(world), WANTS, extras=((PACKAGE_KEYS, key.public_armored().decode()),))

    text = (world.path / PAGE_NAME).read_text()

    assert 'href="./pigsty-packages.asc"' in text
    assert "repomd.xml.asc" not in text
    assert {each.fault for each in world.check().problems} == {Fault.SIGNATURE}, "the stubs are not signed"


def test_a_rollback_has_licences_though_the_store_is_empty(tmp_path: Path) -> None:
    world = World(tmp_path, "el9.x86_64")
    world.publish(stub_rpms(world), WANTS)
    world.publish(stub_rpms(world), ["nginx"], time=NOW + 1)
    shutil.rmtree(world.root / "store/objects")

    pipeline.rollback(world.session, "el9.x86_64", "pigsty")

    text = (world.path / PAGE_NAME).read_text()
    assert '<table class="cards" id="terms">' in text
    assert f"lock <code>{sha256_of((world.path / 'repobuild.lock').read_bytes())}</code>" in text
    assert len(RPMS) == text.count('.rpm">')


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = World(tmp_path_factory.mktemp("page"), "el9.x86_64")
    world.publish(stub_rpms(world), WANTS)
    return world


@pytest.fixture
def url(published: World) -> Iterator[str]:
    server = make_server(published.root / "www")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"{server.url}pigsty/"
    server.shutdown()
    thread.join(10)
    server.server_close()


def test_a_browser_opens_the_page_and_follows_it_to_a_package(
    url: str, tool: Callable[[str], str], tmp_path: Path
) -> None:
    if not chromium.PROGRAM:
        pytest.skip("Chromium is not installed")
    with chromium.browser(tmp_path) as browser:
        took = browser.open(url)
        title = browser.evaluate("document.title")
        address = browser.evaluate("document.querySelector('#list a').href")
        searching = browser.evaluate("document.getElementById('search').hidden")

    assert (took < 1, title, searching) == (True, "pigsty for el9.x86_64", False)
    assert address == f"{url}libpq-1.0-1.el9.x86_64.rpm"


@needs_nginx
def test_nginx_shows_the_page_for_a_minute_and_lists_what_has_none(published: World, tmp_path: Path) -> None:
    home, port = published.root / "www", free_port()
    for path in (published.root, home, *published.root.parents):
        if path.stat().st_uid == 0 and path != Path("/"):
            path.chmod(path.stat().st_mode | 0o055)
    own = nginx_locations(NginxSpec(home=str(home), repositories=("/pigsty/",)))

    with running(tmp_path, f"server {{ listen 127.0.0.1:{port}; index other.html;\n{own} }}", port):
        status, headers, body = fetch(port, "/pigsty/")
        listing = fetch(port, "/pigsty/repodata/")

    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert headers["cache-control"] == "public, max-age=60, must-revalidate"
    assert body == (published.path / PAGE_NAME).read_bytes()
    assert b"repomd.xml" in listing[2]
