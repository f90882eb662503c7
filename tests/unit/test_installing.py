"""The far side: whose parts are believed, in which order they may come, and what is published in the end."""

import gzip
import itertools
import json
import os
import random
import shutil
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from forgeries import assemble, bodies_of, contents_of, put_together, take_apart
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from repositories import Fabricated
from transfers import (
    TIME,
    build,
    bundle,
    delta,
    everything,
    make_key,
    payload_of,
    receive,
    session,
    tree,
)

from repobuild.archive.packing import Packing
from repobuild.errors import (
    BusyError,
    DiskError,
    HostileInputError,
    ProofError,
    RefusedError,
    RollbackError,
    UsageError,
    VerificationError,
)
from repobuild.install import InstallSpec, Judge, TrustSpec, inspect, keys_in_place, part, plan, recall, remember
from repobuild.install import receive as receive_staging
from repobuild.install.sums import parse_sums
from repobuild.install.trust import KnownKey
from repobuild.model import LOCK_NAME, MARKER
from repobuild.pipeline import InstallRequest, check_bundle, have, install, rollback
from repobuild.progress import Silent
from repobuild.record import sha256_of
from repobuild.signing import SigningKey

OLD = payload_of(1)
NEW = {**dict(list(OLD.items())[1:]), "new_1-1_amd64.deb": b"new" * 400}
VOLUME = 250_000


def large(seed: int) -> dict[str, bytes]:
    """Packages of which one volume holds one."""
    return {f"large{n}_1-1_all.deb": random.Random(seed + n).randbytes(125_000) for n in range(3)}


@pytest.fixture(scope="module")
def key() -> SigningKey:
    return make_key()


@pytest.fixture(scope="module")
def other_key() -> SigningKey:
    return make_key("somebody else")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, key: SigningKey) -> Path:
    """The near side: bundles of an old and a new repository, whole, in volumes and as a delta, all signed."""
    root = tmp_path_factory.mktemp("near")
    old = build(root / "old", OLD, TIME, key=key)
    new = build(root / "new", NEW, TIME + 100, key=key)
    volumes = build(root / "volumes", {**NEW, **large(1)}, TIME + 100, key=key)
    [older] = bundle(old, root / "out-old", key=key)
    bundle(new, root / "out-new", key=key)
    delta(new, older, root / "out-delta", key=key)
    assert len(bundle(volumes, root / "out-volumes", key=key, volume_size=VOLUME)) == 3
    return root


@pytest.fixture
def near(built: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    shutil.copytree(built, tmp_path / "near", symlinks=True)
    return tmp_path / "near"


@pytest.fixture
def far(tmp_path: Path) -> Path:
    """A machine with an empty home, beside files that are none of our business."""
    root = tmp_path / "far"
    (root / "www").mkdir(parents=True)
    (root / "canary").write_bytes(b"canary")
    return root


def parts_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if "-pkg-" in path.name)


def only(folder: Path) -> Path:
    [path] = parts_in(folder)
    return path


def served(far: Path) -> dict[str, bytes]:
    return tree(far / "www" / "pigsty")


def refuse(far: Path, *paths: Path, kind: type[Exception] = RefusedError, **words: Any) -> str:
    """Install what has to be refused; return message and hint."""
    before = everything(far)

    with pytest.raises(kind) as refused:
        receive(far, *paths, **words)

    assert everything(far) == before
    assert str(refused.value).isprintable()
    return f"{refused.value} {getattr(refused.value, 'hint', '')}"


# --- whose bundles are believed --------------------------------------------------------------------------------------


def test_a_signed_bundle_installs_with_the_fingerprint_of_its_signer(near, far, key):
    [done] = receive(far, only(near / "out-new"), fingerprints=(key.fingerprint,))

    assert served(far) == tree(near / "new" / "pigsty")
    assert (done.signer, done.missing, done.problem) == (key.fingerprint, (), None)
    assert done.lock is not None


def test_the_fingerprint_may_be_written_in_groups_and_small(near, far, key):
    spaced = " ".join(key.fingerprint[at : at + 4] for at in range(0, 40, 4)).lower()

    assert receive(far, only(near / "out-new"), fingerprints=(spaced,))[0].lock is not None


@pytest.mark.parametrize("armored", [True, False])
def test_a_signed_bundle_installs_with_the_public_key_that_the_operator_brings(near, far, key, tmp_path, armored):
    file = tmp_path / "site.key"
    file.write_bytes(key.public_armored() if armored else key.public_binary())
    for name in ("pigsty.gpg", "pigsty.asc"):
        (near / "out-new" / name).unlink()

    assert receive(far, only(near / "out-new"), signer_keys=(file,))[0].signer == key.fingerprint


def test_a_bundle_by_an_unknown_key_is_refused_with_the_fingerprint_to_compare(near, far, key):
    said = refuse(far, only(near / "out-new"), kind=VerificationError)

    assert key.fingerprint in said
    assert f"--trust {key.fingerprint}" in said


def test_on_a_terminal_the_last_8_characters_of_the_fingerprint_are_asked_for(near, far, key):
    asked = []

    def ask(fingerprint: str) -> str:
        asked.append(fingerprint)
        return f" {key.fingerprint[-8:].lower()} "

    assert receive(far, *parts_in(near / "out-volumes"), ask=ask)[0].lock is not None
    assert asked == [key.fingerprint]


@pytest.mark.parametrize("answer", ["", "yes", "y", "00000000"])
def test_any_other_answer_is_a_no(near, far, answer):
    refuse(far, only(near / "out-new"), kind=VerificationError, ask=lambda _: answer)


def test_who_was_believed_once_is_believed_again(near, far, key):
    receive(far, only(near / "out-old"), fingerprints=(key.fingerprint,))

    assert receive(far, only(near / "out-new"))[0].signer == key.fingerprint


def test_what_is_remembered_is_the_key_itself_not_the_file_beside_the_bundle(near, far, key, other_key):
    receive(far, only(near / "out-old"), fingerprints=(key.fingerprint,))
    shutil.rmtree(far / "www")
    (near / "out-new" / "pigsty.asc").write_bytes(other_key.public_armored())
    (near / "out-new" / "pigsty.gpg").unlink()

    assert receive(far, only(near / "out-new"))[0].signer == key.fingerprint


def test_the_key_of_the_repository_in_place_is_believed(near, far, key):
    receive(far, only(near / "out-old"), fingerprints=(key.fingerprint,))
    (far / "state" / "trust.json").unlink()

    assert receive(far, only(near / "out-new"))[0].signer == key.fingerprint


@pytest.mark.parametrize("spoil", ["owner", "mode", "folder", "home", "home's mode"])
def test_a_key_in_place_that_others_can_have_put_there_is_not_believed(near, far, key, spoil):
    receive(far, only(near / "out-old"), fingerprints=(key.fingerprint,))
    (far / "state" / "trust.json").unlink()
    place = far / "www" / "pigsty"
    spoilt = {"folder": place, "home": far / "www", "home's mode": far / "www"}.get(spoil, place / "pigsty.gpg")
    if "mode" in spoil:
        spoilt.chmod(0o777)
    elif os.geteuid() == 0:
        os.chown(spoilt, 12345, 12345)
    else:
        pytest.skip("giving files away needs root")

    refuse(far, only(near / "out-new"), kind=VerificationError)


def test_a_key_in_place_below_a_targets_folder_of_others_is_not_believed(near, far, key):
    receive(far, only(near / "out-old"), target="d13.x86_64", fingerprints=(key.fingerprint,))
    (far / "state" / "trust.json").unlink()
    assert len(keys_in_place(far / "www")) == 1

    (far / "www" / "d12.x86_64").chmod(0o777)

    refuse(far, only(near / "out-new"), kind=VerificationError, target="d13.x86_64")


def test_the_machines_own_signing_key_is_believed(near, far, key):
    with session(far, key=key) as run:
        [done] = install(run, [only(near / "out-new")], InstallRequest())

    assert done.signer == key.fingerprint


def test_a_key_is_believed_only_for_the_repositories_it_signed(near, far, key, tmp_path):
    receive(far, only(near / "out-new"), fingerprints=(key.fingerprint,))
    other = build(tmp_path / "second", OLD, TIME, name="other", key=key)
    [path] = bundle(other, tmp_path / "out", key=key)

    assert "for another repository" in refuse(far, path, kind=VerificationError)
    assert receive(far, path, ask=lambda fingerprint: fingerprint[-8:])[0].lock is not None


def test_a_named_fingerprint_is_the_only_one_that_is_believed(near, far, key, other_key):
    receive(far, only(near / "out-old"), fingerprints=(key.fingerprint,))

    refuse(far, only(near / "out-new"), kind=VerificationError, fingerprints=(other_key.fingerprint,))


def test_what_is_no_fingerprint_is_a_wrong_command_line(near, far, key):
    for text in (key.fingerprint[-16:], "", "x" * 40):
        with pytest.raises((UsageError, VerificationError)):
            receive(far, only(near / "out-new"), fingerprints=(text,))


def test_an_unsigned_bundle_is_refused_unless_it_is_allowed(near, far):
    (near / "out-new" / "SHA256SUMS.asc").unlink()

    assert "--allow-unsigned" in refuse(far, only(near / "out-new"), kind=VerificationError)
    [done] = receive(far, only(near / "out-new"), allow_unsigned=True)
    assert done.signer == "unsigned"


def test_a_bundle_with_nothing_beside_it_is_unsigned(near, far, tmp_path):
    lone = tmp_path / "alone" / "pkg.tgz"
    lone.parent.mkdir()
    shutil.copy(only(near / "out-new"), lone)

    refuse(far, lone, kind=VerificationError)
    assert receive(far, lone, allow_unsigned=True)[0].signer == "unsigned"


def test_to_allow_unsigned_ones_lets_no_bundle_in_that_a_stranger_signed(near, far):
    refuse(far, only(near / "out-new"), kind=VerificationError, allow_unsigned=True)


def test_who_names_a_signer_gets_no_unsigned_bundle(near, far, key):
    (near / "out-new" / "SHA256SUMS.asc").unlink()

    refuse(far, only(near / "out-new"), fingerprints=(key.fingerprint,), allow_unsigned=True)


def test_a_bundle_under_another_name_is_known_by_its_digest(near, far, key):
    path = only(near / "out-new").rename(near / "out-new" / "pkg.tgz")

    assert receive(far, path, fingerprints=(key.fingerprint,))[0].lock is not None


@pytest.mark.parametrize("packing", list(Packing))
@pytest.mark.parametrize("zeros", [1, 7, 5_000_000])
def test_a_part_that_was_lengthened_with_zeros_is_known_by_the_digest_it_had(far, key, tmp_path, packing, zeros):
    [path] = bundle(build(tmp_path / "r", NEW, key=key), tmp_path / "out", key=key, packing=packing)
    os.truncate(path, path.stat().st_size + zeros)

    assert receive(far, path, fingerprints=(key.fingerprint,))[0].lock is not None


def test_two_keys_sign_for_a_period_and_the_second_is_believed_after_it(far, tmp_path, key, other_key):
    both = SigningKey.join([key, other_key])
    old = bundle(build(tmp_path / "1", OLD, TIME, key=key), tmp_path / "out1", key=key)
    mid = bundle(build(tmp_path / "2", NEW, TIME + 1), tmp_path / "out2", key=both)
    new = bundle(build(tmp_path / "3", OLD, TIME + 2), tmp_path / "out3", key=other_key)
    receive(far, *old, fingerprints=(key.fingerprint,))
    refuse(far, *new, kind=VerificationError)

    receive(far, *mid)

    assert receive(far, *new)[0].signer == other_key.fingerprint


def test_a_second_signer_that_the_first_does_not_list_is_not_remembered(far, tmp_path, key, other_key):
    out = tmp_path / "out"
    [path] = bundle(build(tmp_path / "1", OLD, TIME, key=key), out, key=key)
    text = (out / "SHA256SUMS").read_bytes()
    (out / "SHA256SUMS.asc").write_bytes((out / "SHA256SUMS.asc").read_bytes() + other_key.detach_sign(text))
    (out / "pigsty.asc").write_bytes(other_key.public_armored())

    receive(far, path, fingerprints=(key.fingerprint,))

    assert {each.fingerprint for each in recall(far / "state")} == {key.fingerprint}


def test_the_memory_of_keys_is_a_file_that_is_checked(tmp_path, key):
    known = KnownKey(key.fingerprint, key.public_armored(), "pigsty")
    remember(tmp_path, [known], "pigsty")
    before = (tmp_path / "trust.json").stat()
    remember(tmp_path, [known], "pigsty")
    remember(tmp_path, [known], "other")

    assert {each.repository for each in recall(tmp_path)} == {"pigsty", "other"}
    assert (tmp_path / "trust.json").stat().st_ino != before.st_ino
    for damaged in (b"", b"[]", b"{}", b'{"format":2}', b'{"format":1,"keys":{"A":{}}}', b'{"format":1,"keys":[]}'):
        (tmp_path / "trust.json").write_bytes(damaged)
        with pytest.raises(HostileInputError):
            recall(tmp_path)


# --- sets that are not what they have to be --------------------------------------------------------------------------

Spoil = Callable[[Path, SigningKey, SigningKey], None]
"""Changes a signed set in a folder; the keys are its signer's and a stranger's."""


def sums(change: Callable[[bytes], bytes], *, sign: bool = True) -> Spoil:
    """Change the list, and let its own signer sign it again: the list itself has to be refused."""

    def spoil(folder: Path, key: SigningKey, stranger: SigningKey) -> None:
        text = change((folder / "SHA256SUMS").read_bytes())
        (folder / "SHA256SUMS").write_bytes(text)
        if sign:
            (folder / "SHA256SUMS.asc").write_bytes(key.detach_sign(text))

    return spoil


def file(name: str, change: Callable[[bytes], bytes]) -> Spoil:
    def spoil(folder: Path, key: SigningKey, stranger: SigningKey) -> None:
        path = only(folder) if name == "part" else folder / name
        path.write_bytes(change(path.read_bytes()))

    return spoil


def forged(change: Callable[[bytes], bytes]) -> Spoil:
    """Change the part, and let its signer's list say so: the part itself has to be refused."""

    def spoil(folder: Path, key: SigningKey, stranger: SigningKey) -> None:
        path = only(folder)
        path.write_bytes(change(path.read_bytes()))
        text = f"{sha256_of(path.read_bytes())}  {path.name}\n".encode()
        (folder / "SHA256SUMS").write_bytes(text)
        (folder / "SHA256SUMS.asc").write_bytes(key.detach_sign(text))

    return spoil


def retold(**words: Any) -> Spoil:
    """Let the contents tell something else about their part."""
    return forged(lambda data: assemble(replace(contents_of(data), **words), bodies_of(data)))


def signed_by_a_stranger(folder: Path, key: SigningKey, stranger: SigningKey) -> None:
    (folder / "SHA256SUMS.asc").write_bytes(stranger.detach_sign((folder / "SHA256SUMS").read_bytes()))
    (folder / "pigsty.asc").write_bytes(stranger.public_armored())
    (folder / "pigsty.gpg").write_bytes(stranger.public_binary())


def signature_of_another_list(folder: Path, key: SigningKey, stranger: SigningKey) -> None:
    (folder / "SHA256SUMS.asc").write_bytes(key.detach_sign(b"0" * 64 + b"  other\n"))


def a_link_for(name: str) -> Spoil:
    def spoil(folder: Path, key: SigningKey, stranger: SigningKey) -> None:
        (folder / name).rename(folder / "real")
        (folder / name).symlink_to("real")

    return spoil


def a_key_for_a_signature(folder: Path, key: SigningKey, stranger: SigningKey) -> None:
    (folder / "SHA256SUMS.asc").write_bytes(key.public_binary())


LINE = b"0" * 64 + b"  "
SPOILED: dict[str, Spoil] = {
    "a list with a path upwards": sums(lambda text: text + LINE + b"../evil\n"),
    "a list with an absolute path": sums(lambda text: text + LINE + b"/etc/passwd\n"),
    "a list with a path below": sums(lambda text: text + LINE + b"folder/evil\n"),
    "a list with a name of dots": sums(lambda text: text + LINE + b"..\n"),
    "a list with an escaped name": sums(lambda text: text + b"\\" + LINE + b"a\\nb\n"),
    "a list with a control character": sums(lambda text: text + LINE + b"\x1b[2Jevil\n"),
    "a list with a hidden direction": sums(lambda text: text + LINE + "evil\u202egz".encode() + b"\n"),
    "a list with a line twice": sums(lambda text: text + text.splitlines(keepends=True)[0]),
    "a list with two digests of one file": sums(lambda text: text + b"1" * 64 + text.splitlines(keepends=True)[0][64:]),
    "a list that lists itself": sums(lambda text: text + LINE + b"SHA256SUMS\n"),
    "a list that lists its signature": sums(lambda text: text + LINE + b"SHA256SUMS.asc\n"),
    "a list of md5": sums(lambda text: text + b"0" * 32 + b"  a\n"),
    "a list of sha512": sums(lambda text: text + b"0" * 128 + b"  a\n"),
    "a list in capitals": sums(lambda text: text.upper()),
    "a list in BSD style": sums(lambda text: b"SHA256 (a) = " + b"0" * 64 + b"\n"),
    "a list with a comment": sums(lambda text: b"# hello\n" + text),
    "a list with an empty line": sums(lambda text: text + b"\n"),
    "a list with DOS line ends": sums(lambda text: text.replace(b"\n", b"\r\n")),
    "a list without its last line end": sums(lambda text: text[:-1]),
    "a list cut short": sums(lambda text: text[:-20]),
    "a list without names": sums(lambda text: b"0" * 64 + b"\n"),
    "a list that is empty": sums(lambda text: b""),
    "a list with a zero byte": sums(lambda text: text + LINE + b"a\0b\n"),
    "a list that is no text": sums(lambda text: text + LINE + b"\xff\xfe\n"),
    "a list without end": sums(lambda text: text + b"".join(b"%064x  f%d\n" % (n, n) for n in range(20_000))),
    "a list that leaves the part out": sums(lambda text: b"".join(x for x in text.splitlines(True) if b"pkg" not in x)),
    "a list with another digest of the part": sums(
        lambda text: b"".join(x if b"pkg" not in x else b"0" * 64 + x[64:] for x in text.splitlines(True))
    ),
    "a list that was edited after signing": sums(lambda text: text + LINE + b"more\n", sign=False),
    "a list with a blank at a line end, after signing": sums(lambda text: text.replace(b"\n", b" \n", 1), sign=False),
    "a list that is a link": a_link_for("SHA256SUMS"),
    "a signature by a stranger, whose key lies beside it": signed_by_a_stranger,
    "a signature of another list": signature_of_another_list,
    "a signature that is a link": a_link_for("SHA256SUMS.asc"),
    "a signature without end": file("SHA256SUMS.asc", lambda data: data + b" " * (2 << 20)),
    "a signature that is empty": file("SHA256SUMS.asc", lambda _: b""),
    "a signature that is a key": a_key_for_a_signature,
    "a signature that is text": file("SHA256SUMS.asc", lambda _: b"Good signature from the site\n"),
    "a signature cut short": file("SHA256SUMS.asc", lambda data: data[:-60]),
    "a signature of no bytes": file(
        "SHA256SUMS.asc", lambda _: b"-----BEGIN PGP SIGNATURE-----\n\n-----END PGP SIGNATURE-----\n"
    ),
    "a list without which there is a signature": lambda folder, key, stranger: (folder / "SHA256SUMS").unlink(),
    "a signature that was taken away": lambda folder, key, stranger: (folder / "SHA256SUMS.asc").unlink(),
    "a part with a byte changed": file("part", lambda data: data[:500] + bytes([data[500] ^ 1]) + data[501:]),
    "a part cut short": file("part", lambda data: data[:-100]),
    "a part with something behind it": file("part", lambda data: data + b"x"),
    "a part with zeros and something behind it": file("part", lambda data: data + bytes(5000) + b"x"),
    "a part compressed by another program": file("part", lambda data: gzip.compress(gzip.decompress(data))),
    "a part that is empty": file("part", lambda _: b""),
    "a listed part of zeros": forged(lambda data: bytes(len(data))),
    "a listed part with a second gzip member": forged(lambda data: data + gzip.compress(b"evil")),
    "a listed part with an extra member": forged(lambda data: put_together([*take_apart(data), take_apart(data)[-1]])),
    "a listed part with a member missing": forged(lambda data: put_together(take_apart(data)[:-2])),
    "a listed part with another installer": forged(
        lambda data: assemble(contents_of(data), {**bodies_of(data), ".repobuild/install.sh": b"rm -rf /\n"})
    ),
    "contents that call it a volume": retold(kind="volume"),
    "contents that call it one of two": retold(parts=2),
    "contents that call it the second": retold(part=2, parts=2),
    "contents that call it a delta": retold(kind="delta"),
    "contents with a part 0": retold(part=0),
    "contents that say a file comes from nowhere": forged(
        lambda data: assemble(replace(contents_of(data), carriers=(0,) * len(contents_of(data).files)), bodies_of(data))
    ),
    "contents of another target than the lock": retold(target="d13.x86_64"),
    "contents of a target that is none": retold(target="plan9.vax"),
    "contents of another name than the lock": retold(name="pigstz"),
    "contents of another lock": retold(lock="0" * 64),
    "contents from long ago": retold(sequence=1),
    "contents from the far future": retold(sequence=TIME * 3),
}


@pytest.mark.parametrize("case", SPOILED)
def test_a_set_that_is_not_what_it_has_to_be_is_refused_before_anything_is_visible(near, far, key, other_key, case):
    receive(far, only(near / "out-old"), fingerprints=(key.fingerprint,))
    SPOILED[case](near / "out-new", key, other_key)

    refuse(far, only(near / "out-new"), kind=(RefusedError, UsageError))  # type: ignore[arg-type]

    assert sorted(os.listdir(far / "www" / ".pigsty.repobuild")) == ["install.lock", "lock", "receipts"]


def test_what_is_spoiled_was_good(near, far, key, other_key):
    receive(far, only(near / "out-old"), fingerprints=(key.fingerprint,))
    for same in (sums(lambda text: text), forged(lambda data: data), retold()):
        same(near / "out-new", key, other_key)

        assert receive(far, only(near / "out-new"))[0].lock is not None


def test_a_part_of_another_form_is_not_opened_before_its_digest_is_proven(near, far, key, monkeypatch):

    path = only(near / "out-new")
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    monkeypatch.setattr(part, "BundleReader", lambda *_: pytest.fail("opened"))

    refuse(far, path, kind=VerificationError, fingerprints=(key.fingerprint,))


def test_2000_random_byte_flips_are_refused_or_change_nothing(tmp_path, key):
    """Over all files of a small signed set: parts, list, signature, keys, installer."""
    near = tmp_path / "near"
    small = {f"p{n}_1-1_all.deb": bytes([n]) * 40 for n in range(2)}
    [path] = bundle(build(tmp_path / "built", small, key=key), near, key=key)
    good = tree(tmp_path / "built" / "pigsty")
    files = {each.name: each.read_bytes() for each in near.iterdir()}
    chance = random.Random(5)
    accepted = 0
    for number in range(2000):
        name = sorted(files)[number % len(files)]
        flipped = bytearray(files[name])
        flipped[chance.randrange(len(flipped))] ^= 1 << chance.randrange(8)
        (near / name).write_bytes(flipped)
        try:
            inspect(path, Judge(TrustSpec(fingerprints=(key.fingerprint,))))
        except RefusedError:
            pass
        else:
            accepted += 1
            if name not in {"install.sh", "pigsty.asc", "pigsty.gpg"} or number % 100 == 0:
                far = tmp_path / f"far{number}"
                receive(far, path, fingerprints=(key.fingerprint,))
                assert served(far) == good
                shutil.rmtree(far)
        (near / name).write_bytes(files[name])

    assert 2000 // len(files) <= accepted < 2000  # install.sh is none of our business


@pytest.mark.parametrize("text", [b"", b"\n", b"x", LINE, LINE + b"a", LINE + b"a/b\n", LINE + b"a\n" + LINE + b"a\n"])
def test_a_list_is_lines_of_sha256sum_or_nothing(text):
    with pytest.raises(HostileInputError):
        parse_sums(text, "SHA256SUMS")


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_a_list_or_refused(data):
    try:
        found = parse_sums(data, "SHA256SUMS")
    except HostileInputError:
        return
    assert b"".join(f"{digest}  {name}\n".encode() for name, digest in found.items()).replace(b" *", b"  ") == data


# --- older, other, at the same time ----------------------------------------------------------------------------------


def test_an_older_bundle_is_refused_unless_it_is_allowed(near, far, key):
    receive(far, only(near / "out-new"), fingerprints=(key.fingerprint,))

    assert "--allow-older" in refuse(far, only(near / "out-old"), kind=RollbackError)
    receive(far, only(near / "out-old"), allow_older=True)
    assert served(far) == tree(near / "old" / "pigsty")


@pytest.mark.parametrize("loss", ["purged", "damaged"])
def test_an_older_bundle_is_refused_also_where_the_newer_one_is_lost(near, far, key, loss):
    receive(far, only(near / "out-new"), fingerprints=(key.fingerprint,))
    if loss == "purged":
        shutil.rmtree(far / "www")
    else:
        (far / "www" / "pigsty" / LOCK_NAME).write_bytes(b"damaged")

    assert "was installed here before" in refuse(far, only(near / "out-old"), kind=RollbackError)
    receive(far, only(near / "out-new"))
    assert served(far) == tree(near / "new" / "pigsty")


def test_what_an_operator_lets_in_is_the_oldest_from_then_on(near, far, key):
    receive(far, only(near / "out-new"), fingerprints=(key.fingerprint,))
    receive(far, only(near / "out-old"), allow_older=True)
    shutil.rmtree(far / "www")

    assert receive(far, only(near / "out-old"))[0].lock is not None


def test_what_was_installed_of_one_target_or_name_says_nothing_of_another(near, far, key, tmp_path):
    receive(far, only(near / "out-new"), fingerprints=(key.fingerprint,))
    [path] = bundle(build(tmp_path / "second", OLD, TIME, name="other", key=key), tmp_path / "out", key=key)

    assert receive(far, path, fingerprints=(key.fingerprint,))[0].lock is not None


class Meanwhile(Silent):
    """Lets another program publish a repository while the first part is unpacked."""

    def __init__(self, newer: Path, place: Path) -> None:
        self._newer, self._place = newer, place

    def advance(self, count: int) -> None:
        if (self._place.parent / ".pigsty.repobuild" / "install.lock").exists() and not self._place.exists():
            shutil.copytree(self._newer, self._place)


def test_an_older_bundle_is_refused_when_install_sh_published_a_newer_one_meanwhile(near, far, key):
    with session(far) as run:
        run.progress = Meanwhile(near / "new" / "pigsty", far / "www" / "pigsty")

        with pytest.raises(RollbackError):
            list(install(run, [only(near / "out-old")], InstallRequest(fingerprints=(key.fingerprint,))))

    assert served(far) == tree(near / "new" / "pigsty")


def test_an_install_heals_a_repository_whose_lock_is_damaged(near, far, key):
    receive(far, only(near / "out-old"), fingerprints=(key.fingerprint,))
    (far / "www" / "pigsty" / LOCK_NAME).write_bytes(b"damaged")

    receive(far, only(near / "out-old"))

    assert served(far) == tree(near / "old" / "pigsty")


def test_the_same_bundle_installs_again(near, far, key):
    for _ in range(2):
        receive(far, only(near / "out-new"), fingerprints=(key.fingerprint,))

    assert served(far) == tree(near / "new" / "pigsty")


def test_a_bundle_of_another_target_than_asked_for_is_refused(near, far, key):
    words = {"fingerprints": (key.fingerprint,)}
    assert "d12.x86_64" in refuse(far, only(near / "out-new"), targets=frozenset({"d13.x86_64"}), **words)

    assert receive(far, only(near / "out-new"), targets=frozenset({"d12.x86_64"}), **words)[0].lock is not None


def test_a_bundle_of_another_repository_than_asked_for_is_refused(near, far, key):
    words = {"fingerprints": (key.fingerprint,)}
    assert "pigsty" in refuse(far, only(near / "out-new"), names=frozenset({"other"}), **words)

    assert receive(far, only(near / "out-new"), names=frozenset({"pigsty"}), **words)[0].lock is not None


def test_a_bundle_for_another_target_goes_below_its_target(near, far, key):
    [done] = receive(far, only(near / "out-new"), fingerprints=(key.fingerprint,), target="el9.x86_64")

    assert done.path == far / "www" / "d12.x86_64" / "pigsty"
    assert tree(done.path) == tree(near / "new" / "pigsty")


def test_an_install_while_another_runs_is_busy(near, far, key):
    path = only(near / "out-new")
    spec = InstallSpec(home=far / "www", parts=("pigsty",))
    contents = inspect(path, None).repositories[0]
    with receive_staging(spec, contents), pytest.raises(BusyError):
        receive(far, path, fingerprints=(key.fingerprint,))


def test_space_for_all_parts_is_looked_for_before_the_first_is_unpacked(near, far, key, monkeypatch):

    monkeypatch.setattr(plan, "free_at", lambda _: 20_000)
    first, second = only(near / "out-old"), only(near / "out-new")

    with pytest.raises(DiskError, match=r"the parts need \d+ bytes, 20000 are free"):
        receive(far, first, second, fingerprints=(key.fingerprint,))

    assert os.listdir(far / "www") == []


def test_several_bundles_at_once_go_in_by_their_age(near, far, key):
    done = receive(far, only(near / "out-new"), only(near / "out-old"), fingerprints=(key.fingerprint,))

    assert [each.contents.sequence for each in done] == [TIME, TIME + 100]
    assert served(far) == tree(near / "new" / "pigsty")


# --- volumes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_volumes_may_come_in_any_order_one_by_one(near, far, key, order):
    volumes = parts_in(near / "out-volumes")
    for count, number in enumerate(order, 1):
        [done] = receive(far, volumes[number], fingerprints=(key.fingerprint,))
        if count < 3:
            assert isinstance(done.problem, UsageError)
            assert done.lock is None
            assert not (far / "www" / "pigsty").exists()
            left = [volumes[each].name for each in sorted(set(range(3)) - set(order[:count]))]
            assert [each.split(": ")[1] for each in done.missing] == left
            assert all(name in str(done.problem) for name in left)

    assert served(far) == tree(near / "volumes" / "pigsty")
    assert sorted(os.listdir(far / "www" / ".pigsty.repobuild")) == ["install.lock", "lock", "receipts"]


@pytest.mark.parametrize("first", [(0, 1), (0, 2), (1, 2), (2, 1, 0), (0, 0, 1, 2)])
def test_volumes_may_come_together_or_twice(near, far, key, first):
    volumes = parts_in(near / "out-volumes")
    receive(far, *(volumes[each] for each in first), fingerprints=(key.fingerprint,))
    receive(far, *volumes, fingerprints=(key.fingerprint,))

    assert served(far) == tree(near / "volumes" / "pigsty")


def test_the_receipt_of_volumes_names_them_all_whenever_they_came(near, far, key):
    volumes = parts_in(near / "out-volumes")
    for path in reversed(volumes):
        [done] = receive(far, path, fingerprints=(key.fingerprint,))

    parts = json.loads(Path(done.receipt).read_text())["parts"]
    assert [(each["file"], each["sha256"], each["number"]) for each in parts] == [
        (path.name, sha256_of(path.read_bytes()), number) for number, path in enumerate(volumes, 1)
    ]


def test_a_volume_of_another_bundle_does_not_complete_this_one(near, far, key, tmp_path):
    volumes = parts_in(near / "out-volumes")
    others = bundle(
        build(tmp_path / "x", {**NEW, **large(9)}, TIME + 100), tmp_path / "out", key=key, volume_size=VOLUME
    )
    done = receive(far, volumes[0], volumes[1], others[2], fingerprints=(key.fingerprint,))

    assert [len(each.missing) for each in done] in ([1, 2], [2, 1])
    assert not (far / "www" / "pigsty").exists()


def test_volumes_that_wait_survive_another_volume_that_is_refused(near, far, key):
    one, two, three = parts_in(near / "out-volumes")
    good = two.read_bytes()
    receive(far, one, three, fingerprints=(key.fingerprint,))
    two.write_bytes(good[:-50])
    refuse(far, two, fingerprints=(key.fingerprint,))
    two.write_bytes(good)

    assert receive(far, two, fingerprints=(key.fingerprint,))[0].lock is not None


def test_what_waits_is_hashed_again_before_it_is_used(near, far, key):
    one, two, three = parts_in(near / "out-volumes")
    receive(far, one, two, fingerprints=(key.fingerprint,))
    incoming = far / "www" / ".pigsty.repobuild" / "incoming"
    largest = max((path for path in incoming.iterdir()), key=lambda path: path.stat().st_size)
    largest.write_bytes(bytes(largest.stat().st_size))

    [done] = receive(far, three, fingerprints=(key.fingerprint,))

    assert len(done.missing) == 1
    assert receive(far, one, two, fingerprints=(key.fingerprint,))[0].lock is not None
    assert served(far) == tree(near / "volumes" / "pigsty")


# --- deltas ----------------------------------------------------------------------------------------------------------


def test_old_and_delta_give_the_tree_of_the_new_bundle(near, far, key):
    receive(far, only(near / "out-old"), fingerprints=(key.fingerprint,))
    inode = (far / "www/pigsty" / next(iter(NEW))).stat().st_ino

    receive(far, only(near / "out-delta"))

    assert served(far) == tree(near / "new" / "pigsty")
    assert (far / "www/pigsty" / next(iter(NEW))).stat().st_ino == inode


def test_old_and_delta_may_come_in_one_run_in_any_order(near, far, key):
    receive(far, only(near / "out-delta"), only(near / "out-old"), fingerprints=(key.fingerprint,))

    assert served(far) == tree(near / "new" / "pigsty")


@pytest.mark.parametrize("spoil", ["nothing there", "another repository", "changed", "gone", "a link", "shorter"])
def test_a_delta_for_what_is_not_there_is_refused_and_says_how_to_ask(near, far, key, tmp_path, spoil):
    words = {"fingerprints": (key.fingerprint,)}
    place, name = far / "www" / "pigsty", "pkg004_1.4-1_amd64.deb"
    if spoil == "another repository":
        receive(
            far, *bundle(build(tmp_path / "x", payload_of(7), TIME - 5, key=key), tmp_path / "out", key=key), **words
        )
    elif spoil != "nothing there":
        receive(far, only(near / "out-old"), **words)
    if spoil == "changed":
        (place / name).write_bytes(bytes((place / name).stat().st_size))
    elif spoil == "shorter":
        (place / name).write_bytes(b"")
    elif spoil in {"gone", "a link"}:
        (place / name).unlink()
    if spoil == "a link":
        (place / name).symlink_to("Packages")
    before = everything(far)

    with pytest.raises(VerificationError) as refused:
        receive(far, only(near / "out-delta"), **words)

    assert everything(far) == before
    assert "bundle --since" in str(refused.value.hint)
    assert "repobuild have" in str(refused.value.hint)
    if spoil in {"changed", "gone", "a link", "shorter"}:
        assert name in str(refused.value)


@pytest.mark.skipif(os.geteuid() != 0, reason="giving files away needs root")
def test_a_delta_copies_what_another_user_owns(near, far, key):
    receive(far, only(near / "out-old"), fingerprints=(key.fingerprint,))
    name = next(iter(NEW))
    os.chown(far / "www/pigsty" / name, 12345, 12345)
    inode = (far / "www/pigsty" / name).stat().st_ino

    receive(far, only(near / "out-delta"))

    assert (far / "www/pigsty" / name).stat().st_ino != inode
    assert (far / "www/pigsty" / name).stat().st_uid == 0


def test_a_delta_made_from_the_far_sides_list_installs(near, far, key, tmp_path):
    receive(far, only(near / "out-old"), fingerprints=(key.fingerprint,))
    (tmp_path / "have.txt").write_bytes(have(far / "www" / "pigsty"))
    new = build(tmp_path / "new", NEW, TIME + 100, key=key)

    receive(far, delta(new, tmp_path / "have.txt", tmp_path / "out", key=key))

    assert served(far) == tree(new.path)


names = st.integers(0, 11).map(lambda number: f"p{number:02}_1-1_all.deb")
payloads = st.dictionaries(names, st.binary(max_size=200), min_size=1, max_size=8)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(old=payloads, new=payloads)
def test_any_old_bundle_and_its_delta_give_the_same_tree_as_the_full_one(tmp_path_factory, old, new):
    root = tmp_path_factory.mktemp("delta")
    old, new = ({name: name.encode() + data for name, data in each.items()} for each in (old, new))
    first, second = build(root / "1", old, TIME), build(root / "2", new, TIME + 1)
    [older], [full] = bundle(first, root / "out1"), bundle(second, root / "out2")

    for name, paths in (("a", [older, delta(second, older, root / "out3")]), ("b", [full])):
        for path in paths:
            receive(root / name, path, allow_unsigned=True)

    places = [root / name / "www" / "pigsty" for name in "ab"]
    assert tree(places[0]) == tree(places[1]) == tree(second.path)
    shutil.rmtree(root)


# --- the plan, the receipt, the list ---------------------------------------------------------------------------------


def test_a_dry_run_says_what_would_change_and_writes_nothing(near, far, key):
    receive(far, only(near / "out-old"), fingerprints=(key.fingerprint,))
    before = {path: path.stat().st_mtime_ns for path in far.rglob("*")}

    [done] = receive(far, only(near / "out-new"), dry_run=True)

    assert {path: path.stat().st_mtime_ns for path in far.rglob("*")} == before
    dropped = OLD.keys() - NEW.keys()
    assert {path for path in done.plan.removed if path.endswith(".deb")} == dropped
    assert done.plan.removed[next(iter(dropped))] == len(OLD[next(iter(dropped))])
    assert done.plan.added["new_1-1_amd64.deb"] == 1200
    assert "Packages" in done.plan.changed
    assert done.plan.kept[next(iter(NEW))] == len(next(iter(NEW.values())))
    assert (done.lock, done.receipt, done.problem, done.signer) == (None, "", None, key.fingerprint)


def test_a_dry_run_on_a_bare_machine_makes_no_folder(near, far, key):
    receive(far, only(near / "out-new"), dry_run=True, fingerprints=(key.fingerprint,))

    assert sorted(os.listdir(far)) == ["canary", "www"]
    assert os.listdir(far / "www") == []


def test_a_dry_run_names_the_volumes_that_are_missing(near, far, key):
    one, two, _ = parts_in(near / "out-volumes")
    receive(far, two, fingerprints=(key.fingerprint,))

    [done] = receive(far, one, dry_run=True)

    assert done.missing == ("vol 3 of 3: pigsty-pkg-v4.5.0.d12.x86_64.vol3.tgz",)
    assert isinstance(done.problem, UsageError)


def test_a_dry_run_says_what_a_delta_lacks_and_what_a_disk_does(near, far, key, monkeypatch):
    [done] = receive(far, only(near / "out-delta"), dry_run=True, fingerprints=(key.fingerprint,))
    assert isinstance(done.problem, VerificationError)
    assert set(done.plan.absent) == OLD.keys() & NEW.keys()

    monkeypatch.setattr(plan, "free_at", lambda _: 10)
    [done] = receive(far, only(near / "out-new"), dry_run=True, fingerprints=(key.fingerprint,))
    assert isinstance(done.problem, DiskError)


def test_a_dry_run_counts_what_the_bundle_before_will_have_brought(near, far, key):
    both = receive(far, only(near / "out-old"), only(near / "out-delta"), dry_run=True, fingerprints=(key.fingerprint,))

    assert [each.problem for each in both] == [None, None]
    assert set(both[1].plan.added) >= {"new_1-1_amd64.deb"}


def test_a_receipt_says_what_came_when_and_by_whom(near, far, key):
    receive(far, only(near / "out-old"), fingerprints=(key.fingerprint,))
    [done] = receive(far, only(near / "out-new"), now=TIME + 500, on_behalf_of="alice")

    path = Path(done.receipt)
    record = json.loads(path.read_text())
    assert path.name == f"{TIME + 100}-20231114T222140Z.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(list(path.parent.iterdir())) == 2
    assert record["time"] == "2023-11-14T22:21:40Z"
    assert record["parts"] == [
        {
            "file": only(near / "out-new").name,
            "number": 1,
            "sha256": sha256_of(only(near / "out-new").read_bytes()),
            "size": only(near / "out-new").stat().st_size,
        }
    ]
    expected = {
        "format": 1,
        "target": "d12.x86_64",
        "name": "pigsty",
        "version": "v4.5.0",
        "sequence": TIME + 100,
        "older_sequence": TIME,
        "lock": sha256_of((far / "www/pigsty" / LOCK_NAME).read_bytes()),
        "marker": sha256_of((far / "www/pigsty" / MARKER).read_bytes()),
        "kind": "whole",
        "signer": key.fingerprint,
        "uid": os.geteuid(),
        "on_behalf_of": "alice",
        "host": os.uname().nodename,
    }
    assert expected.items() <= record.items()


def test_the_list_of_what_is_here_is_its_marker_below_a_line_that_says_whose(near, far, key):
    receive(far, only(near / "out-old"), fingerprints=(key.fingerprint,))
    place = far / "www" / "pigsty"

    first, _, rest = have(place).partition(b"\n")

    assert (
        first.decode() == f"# repobuild have 1 pigsty d12.x86_64 {TIME} {sha256_of((place / LOCK_NAME).read_bytes())}"
    )
    assert rest == (place / MARKER).read_bytes()


def test_where_there_is_no_repository_there_is_no_list(far):
    with pytest.raises(ProofError):
        have(far / "www" / "pigsty")


def test_each_volume_and_delta_can_be_checked_alone(near):
    for folder in ("out-volumes", "out-delta"):
        for path in parts_in(near / folder):
            with session(near) as run:
                [receipt] = check_bundle(run, path)
            assert receipt.is_whole
            assert receipt.files == len([f for f in inspect(path, None).repositories[0].carried if f.path != MARKER])


def test_a_signed_repository_whose_key_is_not_here_rolls_back_where_the_key_is(near, far, key):
    receive(far, only(near / "out-old"), fingerprints=(key.fingerprint,))
    receive(far, only(near / "out-new"))
    before = everything(far)

    with session(far) as run, pytest.raises(UsageError) as refused:
        rollback(run, "d12.x86_64", "pigsty")

    assert "repobuild bundle --published" in str(refused.value.hint)
    assert everything(far) == before


def test_the_former_generation_is_kept_when_a_bundle_is_installed(near, far, key):
    receive(far, only(near / "out-old"), fingerprints=(key.fingerprint,))
    receive(far, only(near / "out-new"))

    assert (far / "www/.pigsty.repobuild/previous" / MARKER).read_bytes() == (near / "old/pigsty" / MARKER).read_bytes()


def test_a_fabricated_repository_is_one_that_is_read(tmp_path):
    made: Fabricated = build(tmp_path, OLD)

    assert made.lock_sha256 == sha256_of((made.path / LOCK_NAME).read_bytes())
