"""RPM files: what is read from them, what is refused, and what proves that a believed key signed them."""

import hashlib
import io
import random
import subprocess
import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import rpms
from hypothesis import given, settings
from hypothesis import strategies as st
from rpms import Parts, binary, build, signature, signature_version3, signing_key, text

from repobuild.errors import DiskError, HostileInputError, RefusedError, VerificationError
from repobuild.formats.rpm import header
from repobuild.formats.rpm.package import from_file, prove
from repobuild.model import Package
from repobuild.signing import Keyring, version3

NAME, VERSION, RELEASE, EPOCH, ARCH, SOURCE_RPM, SOURCE_PACKAGE = 1000, 1001, 1002, 1003, 1022, 1044, 1106
SUMMER_2020 = 1_593_561_600


def ring(*keys: rpms.Key) -> Keyring:
    return Keyring.from_bytes([("key", key.public.encode()) for key in keys])


def read(path: Path) -> Package:
    return from_file(path, upstream="u", url_path="Packages/x.rpm")


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(
        tmp_path_factory.mktemp("good"), "good", requires=["a >= 1", "b"], size=2_000, sign=signing_key().secret
    )


@pytest.fixture(scope="module")
def parts(good: Path) -> Parts:
    return Parts.of(good.read_bytes())


@pytest.fixture
def proven(tmp_path: Path) -> Callable[[bytes | Parts], str]:
    """Return what proves bytes as the package `good` by The Packager's key."""

    def run(data: bytes | Parts) -> str:
        path = tmp_path / "object"
        path.write_bytes(data.join() if isinstance(data, Parts) else data)
        return prove(path, GOOD, ring(signing_key()))

    return run


GOOD = Package(
    name="good",
    version="1.0-1.el9",
    arch="x86_64",
    size=0,
    sha256="0" * 64,
    path="good.rpm",
    upstream="u",
    filename="good-1.0-1.el9.x86_64.rpm",
    metadata="",
)


def header_signed(parts: Parts, sign: Callable[[rpms.Key, bytes], bytes] = signature, key: rpms.Key | None = None):
    """Sign the main header, whatever is in it."""
    return parts.with_signatures(binary(rpms.RSA_HEADER, sign(key or signing_key(), parts.header)))


# What is read


@pytest.mark.parametrize("kind", ["rsa2048", "ed25519"])
def test_a_signed_package_is_read_and_proven(tmp_path: Path, kind: str) -> None:
    key = signing_key(f"Key of {kind}", kind=kind)
    path = build(tmp_path, "lib+x", "2.0~rc1", "3.el9_4", epoch=7, arch="noarch", size=5_000, sign=key.secret)

    package = read(path)

    assert package == Package(
        name="lib+x",
        version="7:2.0~rc1-3.el9_4",
        arch="noarch",
        size=path.stat().st_size,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        path="Packages/x.rpm",
        upstream="u",
        filename="lib+x-2.0~rc1-3.el9_4.noarch.rpm",
        metadata="",
    )
    assert (ring(key).fingerprints[0]) == prove(path, package, ring(key))


@pytest.mark.parametrize("option", [[], ["--rpmv3"]], ids=["header", "header and whole"])
def test_what_rpmbuild_makes_and_rpmsign_signs_is_proven(
    tmp_path: Path, tool: Callable[[str], str], option: list[str]
) -> None:
    key = signing_key()
    spec = tmp_path / "made.spec"
    spec.write_text(SPEC)
    command = [
        tool("rpmbuild"),
        "-bb",
        "--quiet",
        "--target",
        "noarch-linux",
        "--define",
        f"_topdir {tmp_path}",
        str(spec),
    ]
    subprocess.run(command, check=True, capture_output=True)
    (path,) = (tmp_path / "RPMS").rglob("*.rpm")
    with rpms.gpg_home(key) as home:
        macros = ["_gpg_name packager", f"_gpg_path {home}", f"__gpg {tool('gpg')}"]
        defined = [word for macro in macros for word in ("--define", macro)]
        command = [tool("rpmsign"), *defined, *option, "--addsign", str(path)]
        subprocess.run(command, check=True, capture_output=True)

    package = read(path)

    assert ("made", "3:1.5-2", "noarch") == (package.name, package.version, package.arch)
    assert ring(key).fingerprints[0] == prove(path, package, ring(key))


SPEC = """\
Name: made
Epoch: 3
Version: 1.5
Release: 2
Summary: made by rpm itself
License: MIT
BuildArch: noarch
%description
Some text.
%install
mkdir -p %{buildroot}/usr/share/made
head -c 100000 /dev/urandom > %{buildroot}/usr/share/made/ballast
touch %{buildroot}/usr/share/made/empty
%files
/usr/share/made
"""


def test_the_header_range_is_the_one_that_createrepo_states(
    good: Path, parts: Parts, tmp_path: Path, tool: Callable[[str], str]
) -> None:
    with good.open("rb") as file:
        found = header.read(file, "good")
        payload = file.read()
    folder = tmp_path / "repository"
    folder.mkdir()
    (folder / good.name).write_bytes(good.read_bytes())
    command = [tool("createrepo_c"), "--quiet", "--general-compress-type=gz", "--compatibility", str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    (primary,) = (folder / "repodata").glob("*primary.xml.gz")
    xml = subprocess.run(["gzip", "-dc", str(primary)], check=True, capture_output=True, text=True).stdout

    assert f'<rpm:header-range start="{found.start}" end="{found.end}"/>' in xml
    assert (parts.header, parts.payload) == (found.signed, payload)


def test_a_missing_file_is_an_error_of_the_disk(tmp_path: Path) -> None:
    with pytest.raises(DiskError):
        read(tmp_path / "gone.rpm")
    with pytest.raises(DiskError):
        prove(tmp_path / "gone.rpm", GOOD, ring(signing_key()))


@pytest.mark.parametrize(
    "entries",
    [
        [text(NAME, "../../etc/passwd")],
        [text(NAME, "a/b")],
        [text(NAME, "")],
        [text(NAME, ".hidden")],
        [text(NAME, "-rf")],
        [text(NAME, "a b")],
        [text(NAME, "a\nb")],
        [text(NAME, "a\x1b[2J")],
        [text(NAME, "naïve")],
        [text(NAME, "x" * 201)],
        [text(VERSION, "1-2")],
        [text(VERSION, "1/2")],
        [text(VERSION, "1:2")],
        [text(VERSION, "")],
        [text(RELEASE, "../1")],
        [text(ARCH, "x86_64/..")],
        [text(ARCH, "")],
        [rpms.Entry(EPOCH, 4, 1, b"\xff\xff\xff\xff")],
        [rpms.Entry(EPOCH, 4, 2, bytes(8))],
        [rpms.Entry(EPOCH, 5, 1, bytes(8))],
        [rpms.Entry(NAME, 7, 5, b"good\0")],
        [rpms.Entry(NAME, 8, 2, b"good\0also\0")],
    ],
    ids=lambda entries: repr(entries[0].data[:20]),
)
def test_a_header_whose_names_are_no_names_is_refused(parts: Parts, tmp_path: Path, entries: list[rpms.Entry]) -> None:
    path = tmp_path / "x.rpm"
    path.write_bytes(header_signed(parts.with_tags(*entries)).join())

    with pytest.raises(HostileInputError, match=r"x\.rpm|safe file name"):
        read(path)


@pytest.mark.parametrize("tag", [NAME, VERSION, RELEASE, ARCH])
def test_a_header_without_one_of_its_names_is_refused(parts: Parts, tmp_path: Path, tag: int) -> None:
    path = tmp_path / "x.rpm"
    path.write_bytes(parts.with_tags(without=[tag]).join())

    with pytest.raises(HostileInputError):
        read(path)


@pytest.mark.parametrize(
    ("entries", "without"),
    [
        ([rpms.Entry(SOURCE_PACKAGE, 4, 1, b"\0\0\0\1")], []),
        ([], [SOURCE_RPM]),
        ([text(ARCH, "src")], []),
        ([text(ARCH, "nosrc")], []),
    ],
)
def test_a_source_package_is_refused(
    parts: Parts, tmp_path: Path, entries: list[rpms.Entry], without: list[int]
) -> None:
    path = tmp_path / "x.rpm"
    path.write_bytes(parts.with_tags(*entries, without=without).join())

    with pytest.raises(HostileInputError, match=r"a source package: good-1\.0-1\.el9"):
        read(path)


# Damaged headers


def numbers(*values: int) -> bytes:
    return b"".join(value.to_bytes(4) for value in values)


def damaged(parts: Parts) -> Iterator[tuple[str, bytes]]:
    """Yield files whose main header says what cannot be."""
    lead, raw = parts.lead, parts.header
    count = int.from_bytes(raw[8:12])
    store = 16 + 16 * count

    def patched(at: int, value: bytes) -> bytes:
        return replace(parts, header=raw[:at] + value + raw[at + len(value) :]).join()

    yield "empty", b""
    yield "a Debian package", b"!<arch>\ndebian-binary"
    yield "zeros", bytes(5_000)
    yield "version 2", replace(parts, lead=lead[:4] + b"\2" + lead[5:]).join()
    yield "no signature header", replace(parts, lead=lead[:78] + b"\0\1" + lead[80:]).join()
    yield "headers swapped", replace(parts, signature=parts.header, header=parts.signature).join()
    yield "magic", patched(0, b"\x8e\xad\xe8\x02")
    yield "reserved bytes", patched(4, b"\0\0\0\1")
    yield "no tags", patched(8, numbers(0))
    yield "many tags", patched(8, numbers(5_000))
    yield "very many tags", patched(8, numbers(0xFFFFFFFF))
    yield "a large store", patched(12, numbers(0xFFFFFFFF))
    yield "a store of 33 MiB", patched(12, numbers(33 << 20))
    yield "a store larger than the file", patched(12, numbers(32 << 20))
    yield "a longer store", patched(12, numbers(len(raw) - store + 1))
    yield "a shorter store", patched(12, numbers(len(raw) - store - 1))
    yield "another region", patched(16, numbers(62))
    yield "a region of another type", patched(20, numbers(6))
    yield "a region beyond the store", patched(24, numbers(len(raw) - store - 15))
    yield "a region before the store", patched(24, numbers(2**32 - 16))
    yield "a short region", patched(28, numbers(15))
    yield "trailer of another tag", patched(len(raw) - 16, numbers(62))
    yield "trailer that counts fewer tags", patched(len(raw) - 8, numbers(2**32 - 16 * (count - 1)))
    yield "trailer that counts more tags", patched(len(raw) - 8, numbers(2**32 - 16 * (count + 1)))
    yield "trailer that counts forwards", patched(len(raw) - 8, numbers(16 * count))
    yield "trailer not of whole entries", patched(len(raw) - 8, numbers(2**32 - 16 * count - 1))
    for at in range(32, store, 16):
        yield f"type 0 at {at}", patched(at + 4, numbers(0))
        yield f"type 10 at {at}", patched(at + 4, numbers(10))
        yield f"negative offset at {at}", patched(at + 8, numbers(2**32 - 4))
        yield f"large offset at {at}", patched(at + 8, numbers(0x7FFFFFFF))
        yield f"count 0 at {at}", patched(at + 12, numbers(0))
        yield f"count 2**32 - 1 at {at}", patched(at + 12, numbers(0xFFFFFFFF))
        yield f"count 2**31 at {at}", patched(at + 12, numbers(0x80000000))
    twice = rpms.read_header(raw)
    yield "two names", replace(parts, header=rpms.encode_header(63, [*twice, text(NAME, "bad")])).join()
    yield (
        "no end of string",
        replace(parts, header=rpms.encode_header(63, [*twice, rpms.Entry(NAME, 6, 1, b"x")])).join(),
    )


def test_a_damaged_header_is_refused_as_rpm_does(
    parts: Parts, tmp_path: Path, proven: Callable[[bytes], str], oracle: "Oracle"
) -> None:
    cases = dict(damaged(parts))

    for name, data in cases.items():
        with pytest.raises(HostileInputError):
            pytest.fail(f"{name}: {proven(data)}")

    assert oracle.accepts({name: data for name, data in cases.items() if name != "empty"}) == set()


def test_a_package_cut_short_anywhere_is_refused(parts: Parts, proven: Callable[[bytes], str]) -> None:
    data = parts.join()

    for length in range(len(data)):
        with pytest.raises(RefusedError):
            pytest.fail(f"{length}: {proven(data[:length])}")


def test_tags_outside_the_region_are_refused_in_a_main_header_and_borne_in_a_signature_header(
    parts: Parts, proven: Callable[[Parts], str], oracle: "Oracle"
) -> None:
    def with_dribble(raw: bytes) -> bytes:
        count, size = int.from_bytes(raw[8:12]), int.from_bytes(raw[12:16])
        end = 16 + 16 * count
        extra = numbers(999, 7, size, 4)
        return raw[:8] + numbers(count + 1, size + 4) + raw[16:end] + extra + raw[end:] + b"data"

    cases = {
        "signature": replace(parts, signature=with_dribble(parts.signature)),
        "main": header_signed(replace(parts, header=with_dribble(parts.header))),
    }

    assert proven(cases["signature"])
    with pytest.raises(HostileInputError, match="its region holds"):
        proven(cases["main"])
    assert {"signature"} == oracle.accepts({name: case.join() for name, case in cases.items()})


@pytest.mark.parametrize("strings", [1, 30_000_000])
def test_a_hostile_header_is_refused_cheaply(parts: Parts, tmp_path: Path, strings: int) -> None:
    entry = rpms.Entry(1_117, 8, strings, bytes(4 << 20))
    header_bytes = rpms.encode_header(63, [entry] * 7)
    path = tmp_path / "x.rpm"
    path.write_bytes(replace(parts, header=header_bytes, payload=b"").join())
    started = time.monotonic()
    tracemalloc.start()

    with pytest.raises(HostileInputError):
        read(path)

    assert tracemalloc.get_traced_memory()[1] < 100 << 20
    tracemalloc.stop()
    assert time.monotonic() - started < 2


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400))
def test_bytes_that_are_no_header_never_cause_another_error(data: bytes) -> None:
    lead = b"\xed\xab\xee\xdb\3" + bytes(73) + b"\0\5" + bytes(16)

    for intro in (b"", lead, lead + bytes.fromhex("8eade80100000000")):
        with pytest.raises(HostileInputError):
            header.read(io.BytesIO(intro + data), "x")


# What is proven, and rpm's word on it


class Oracle:
    """What rpm 4.18 says when every package has to be signed: `rpmkeys --checksig` with keys of its own."""

    def __init__(self, program: str, folder: Path) -> None:
        self._program = [program, "--dbpath", str(folder / "db"), "--define", "_pkgverify_level signature"]
        self._folder = folder

    def trust(self, key: rpms.Key) -> None:
        path = self._folder / "key.asc"
        path.write_text(key.public)
        subprocess.run([*self._program, "--import", str(path)], check=True, capture_output=True)

    def accepts(self, cases: Mapping[str, bytes]) -> set[str]:
        """Return the names of the packages that rpm takes."""
        folder = self._folder / "cases"
        folder.mkdir(exist_ok=True)
        names = {}
        for number, (name, data) in enumerate(cases.items()):
            path = folder / f"{number:05}.rpm"
            path.write_bytes(data)
            names[str(path)] = name
        output = subprocess.run(
            [*self._program, "--checksig", *names], check=False, capture_output=True, text=True, env={"LC_ALL": "C"}
        ).stdout
        # A package without a verdict leaves its name at the start of the next one's line.
        lines = (line.rpartition(": ") for line in output.splitlines())
        verdicts = {paths.rpartition(":")[2]: verdict for paths, _, verdict in lines}
        return {name for path, name in names.items() if verdicts.get(path, "") == "digests signatures OK"}


@pytest.fixture(scope="module")
def oracle(tool: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Oracle:
    rpm = Oracle(tool("rpmkeys"), tmp_path_factory.mktemp("rpm"))
    rpm.trust(signing_key())
    return rpm


def flipped(data: bytes, at: int, mask: int = 1) -> bytes:
    return data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :]


def both_think(
    cases: Mapping[str, Parts | bytes], proven: Callable[[Parts | bytes], str], oracle: Oracle
) -> tuple[set[str], set[str]]:
    """Return the names of the cases that we take, and of those that rpm takes."""
    ours = set()
    for name, case in cases.items():
        try:
            proven(case)
        except RefusedError:
            continue
        ours.add(name)
    return ours, oracle.accepts(
        {name: case.join() if isinstance(case, Parts) else case for name, case in cases.items()}
    )


def test_rpm_and_we_take_the_same_good_packages(
    parts: Parts, proven: Callable[[Parts | bytes], str], oracle: Oracle
) -> None:
    key = signing_key()
    header_bytes, whole = parts.header, parts.header + parts.payload
    bare = parts.with_tags(without=[rpms.PAYLOAD_DIGEST, rpms.PAYLOAD_DIGEST_ALGORITHM, 5_097])
    bare_whole = bare.header + bare.payload
    sha256 = text(273, hashlib.sha256(header_bytes).hexdigest())
    sha1 = text(269, hashlib.sha1(header_bytes).hexdigest())
    md5 = binary(rpms.MD5_WHOLE, hashlib.md5(whole).digest())
    v4, v3 = binary(rpms.RSA_HEADER, signature(key, header_bytes)), signature_version3(key, header_bytes)
    cases: dict[str, Parts | bytes] = {
        "as built": parts,
        "signature alone": parts.with_signatures(v4),
        "with sha1": parts.with_signatures(v4, sha1),
        "with sha256": parts.with_signatures(v4, sha256),
        "with md5": parts.with_signatures(v4, md5),
        "version 3": parts.with_signatures(binary(rpms.RSA_HEADER, v3)),
        "version 3, sha512": header_signed(parts, lambda key, data: signature_version3(key, data, hash_name="sha512")),
        "EL 8": parts.with_signatures(v4, sha1, sha256, binary(rpms.RSA_WHOLE, signature(key, whole)), md5),
        "the whole is signed": parts.with_signatures(binary(rpms.RSA_WHOLE, signature(key, whole)), md5),
        "EL 7": bare.with_signatures(
            binary(rpms.RSA_HEADER, signature_version3(key, bare.header)),
            binary(rpms.RSA_WHOLE, signature_version3(key, bare_whole)),
            binary(rpms.MD5_WHOLE, hashlib.md5(bare_whole).digest()),
        ),
        "EL 7, version 4": bare.with_signatures(
            binary(rpms.RSA_WHOLE, signature(key, bare_whole)),
            binary(rpms.MD5_WHOLE, hashlib.md5(bare_whole).digest()),
        ),
        "another lead": replace(parts, lead=parts.lead[:10] + b"other" + parts.lead[15:]),
    }

    ours, theirs = both_think(cases, proven, oracle)

    assert set(cases) == ours == theirs


def test_rpm_and_we_refuse_the_same_damaged_packages(
    parts: Parts, tmp_path: Path, proven: Callable[[Parts | bytes], str], oracle: Oracle
) -> None:
    key, data = signing_key(), parts.join()
    other = Parts.of(build(tmp_path / "other", "other", size=2_000, sign=key.secret).read_bytes())
    start = len(data) - len(parts.payload)
    bare = parts.with_tags(without=[rpms.PAYLOAD_DIGEST, rpms.PAYLOAD_DIGEST_ALGORITHM, 5_097])
    v4 = binary(rpms.RSA_HEADER, signature(key, parts.header))
    renamed = parts.header.replace(b"good\0", b"evil\0", 1)
    cases: dict[str, Parts | bytes] = {
        "unsigned": build(tmp_path / "unsigned", "good").read_bytes(),
        "another key": build(tmp_path / "wrong", "good", sign=signing_key("Mallory").secret).read_bytes(),
        "a header byte": flipped(data, start - 100),
        "a payload byte": flipped(data, start + 100),
        "the last byte": flipped(data, len(data) - 1),
        "the signature header of another": replace(parts, signature=other.signature),
        "the payload of another": replace(parts, payload=other.payload),
        "no signature": parts.with_signatures(text(273, hashlib.sha256(parts.header).hexdigest())),
        "an empty signature header": parts.with_signatures(),
        "an empty signature": parts.with_signatures(binary(rpms.RSA_HEADER, b"\0")),
        "renamed": replace(parts, header=renamed),
        "renamed, with its digests": replace(parts, header=renamed).with_signatures(
            v4, text(273, hashlib.sha256(renamed).hexdigest())
        ),
        "appended": data + b"\0",
        "appended a package": data + data,
        "no payload": replace(parts, payload=b""),
        "wrong sha1": parts.with_signatures(v4, text(269, "0" * 40)),
        "wrong sha256": parts.with_signatures(v4, text(273, "0" * 64)),
        "wrong md5": parts.with_signatures(v4, binary(rpms.MD5_WHOLE, bytes(16))),
        "signature as text": parts.with_signatures(text(rpms.RSA_HEADER, "x" * 300)),
        "signature of something else": parts.with_signatures(binary(rpms.RSA_HEADER, signature(key, b"something"))),
        "signature of the payload": parts.with_signatures(binary(rpms.RSA_HEADER, signature(key, parts.payload))),
        "a good and a bad one": parts.with_signatures(binary(rpms.DSA_HEADER, signature(key, b"something")), v4),
        "text signature": header_signed(parts, lambda key, data: signature_version3(key, data, kind=1)),
        "signature only in the main header": parts.with_tags(v4),
        "payload not bound": bare.with_signatures(binary(rpms.RSA_HEADER, signature(key, bare.header))),
        "EL 7, a payload byte": replace(
            bare.with_signatures(
                binary(rpms.RSA_HEADER, signature(key, bare.header)),
                binary(rpms.RSA_WHOLE, signature_version3(key, bare.header + bare.payload)),
            ),
            payload=flipped(bare.payload, 100),
        ),
        "no digest and no signature of the whole": bare.with_signatures(
            binary(rpms.RSA_HEADER, signature(key, bare.header)),
            binary(rpms.MD5_WHOLE, hashlib.md5(bare.header + bare.payload).digest()),
        ),
        **{f"cut at {length}": data[:length] for length in range(1, len(data), 97)},
    }

    ours, theirs = both_think(cases, proven, oracle)

    assert set() == ours == theirs


def test_random_damage_is_never_taken_and_rpm_agrees(
    parts: Parts, proven: Callable[[Parts | bytes], str], oracle: Oracle
) -> None:
    data = parts.join()
    start = len(data) - len(parts.payload) - len(parts.header)
    unread = check_bytes(data, rpms.read_header(parts.signature)[0].data)
    chance = random.Random(5)
    cases: dict[str, bytes] = {}
    for number in range(2_000):
        hurt = data
        for _ in range(chance.choice([1, 1, 1, 2, 8])):
            hurt = flipped(hurt, chance.randrange(len(data)), 1 << chance.randrange(8))
        cases[f"{number}"] = hurt

    ours, theirs = both_think(cases, proven, oracle)

    assert all(cases[name][start:] == data[start:] for name in ours | theirs)
    assert 50 < len(ours)
    assert {name for name in ours if cases[name][unread] == data[unread]} <= theirs


def check_bytes(data: bytes, signature_value: bytes) -> slice:
    """Return where a version 4 signature repeats two bytes of the digest, which rpm reads and sequoia does not."""
    at = data.index(signature_value) + 3 + 4
    at += 2 + int.from_bytes(data[at : at + 2])
    at += 2 + int.from_bytes(data[at : at + 2])
    return slice(at, at + 2)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_spans_never_cause_another_error(data: st.DataObject) -> None:
    whole = SMALL.join()
    at = data.draw(st.integers(0, len(whole) - 1))
    span = data.draw(st.binary(min_size=1, max_size=16))
    gone = data.draw(st.integers(0, 16))
    hurt = whole[:at] + span + whole[at + gone :]

    try:
        headers = header.read(io.BytesIO(hurt), "x")
    except RefusedError:
        return

    assert headers.start >= 96 + 16


# Reasons


def test_a_package_of_another_name_version_or_architecture_is_refused(good: Path) -> None:
    package = read(good)

    for change in ({"name": "other"}, {"version": "1:1.0-1.el9"}, {"version": "1.0-2.el9"}, {"arch": "noarch"}):
        with pytest.raises(VerificationError, match=r"is another package: good 1\.0-1\.el9 x86_64"):
            prove(good, replace(package, **change), ring(signing_key()))  # type: ignore[arg-type]


def test_the_reason_names_the_file_and_the_key(parts: Parts, proven: Callable[[Parts], str]) -> None:
    mallory = signing_key("Mallory")
    fingerprint = ring(mallory).fingerprints[0]

    with pytest.raises(VerificationError) as unknown:
        proven(header_signed(parts, key=mallory))
    with pytest.raises(VerificationError) as unknown_v3:
        proven(header_signed(parts, signature_version3, mallory))
    with pytest.raises(VerificationError) as unsigned:
        proven(parts.with_signatures())

    assert unknown.value.message == f"{GOOD.filename}: signed by the unknown key {fingerprint}"
    assert "signed_by" in (unknown.value.hint or "")
    assert unknown_v3.value.message == f"{GOOD.filename}: signed by the unknown key {fingerprint[-16:]}"
    assert unsigned.value.message == f"{GOOD.filename}: not signed"
    assert "verify: root" in (unsigned.value.hint or "")


def test_a_sha1_signature_is_refused_for_being_one(parts: Parts, proven: Callable[[Parts], str]) -> None:
    with pytest.raises(VerificationError, match="uses a broken hash") as found:
        proven(header_signed(parts, lambda key, data: signature_version3(key, data, hash_name="sha1")))

    assert found.value.hint is not None
    assert "old EL packages are signed with SHA-1 only" in found.value.hint
    assert "verify: packages" not in found.value.hint


@pytest.mark.parametrize(("number", "name"), [(1, "md5"), (2, "sha1"), (11, "sha224"), (99, "sha256")])
def test_a_weak_payload_digest_binds_nothing(
    parts: Parts, proven: Callable[[Parts], str], number: int, name: str
) -> None:
    digest = text(rpms.PAYLOAD_DIGEST, hashlib.new(name, parts.payload).hexdigest(), 8)
    algorithm = rpms.Entry(rpms.PAYLOAD_DIGEST_ALGORITHM, 4, 1, numbers(number))

    with pytest.raises(VerificationError, match="nothing signed binds its payload") as found:
        proven(header_signed(parts.with_tags(digest, algorithm)))

    assert "EL 7" in (found.value.hint or "")


@pytest.mark.parametrize(("number", "name"), [(8, "sha256"), (9, "sha384"), (10, "sha512")])
def test_a_strong_payload_digest_binds(parts: Parts, proven: Callable[[Parts], str], number: int, name: str) -> None:
    digest = text(rpms.PAYLOAD_DIGEST, hashlib.new(name, parts.payload).hexdigest().upper(), 8)
    algorithm = rpms.Entry(rpms.PAYLOAD_DIGEST_ALGORITHM, 4, 1, numbers(number))
    bound = header_signed(parts.with_tags(digest, algorithm))

    assert proven(bound) == ring(signing_key()).fingerprints[0]
    with pytest.raises(VerificationError, match=f"its payload does not have the {name}"):
        proven(replace(bound, payload=flipped(bound.payload, 3)))


def test_an_expired_key_is_not_believed(parts: Parts, tmp_path: Path) -> None:
    key = signing_key("Old Packager", expired=True)
    path = tmp_path / "x.rpm"
    sign = header_signed(parts, lambda key, data: signature_version3(key, data, created=SUMMER_2020), key)
    path.write_bytes(sign.join())

    with pytest.raises(VerificationError, match="expired on 2020-12-31"):
        prove(path, GOOD, ring(key))


def test_a_key_of_which_all_is_sha1_is_refused_with_the_only_way_out(parts: Parts, tmp_path: Path) -> None:
    key = signing_key("Weak Packager", options=("--cert-digest-algo", "SHA1"))
    path = tmp_path / "x.rpm"
    path.write_bytes(header_signed(parts, signature_version3, key).join())

    with pytest.raises(VerificationError, match="has only SHA-1 self-signatures") as found:
        prove(path, GOOD, ring(key))

    assert "verify: none" in (found.value.hint or "")
    assert "verify: packages" not in (found.value.hint or "")


def test_a_signature_that_is_not_one_binary_packet_is_refused(parts: Parts, proven: Callable[[Parts], str]) -> None:
    one = signature(signing_key(), parts.header)
    armoured = b"-----BEGIN PGP SIGNATURE-----\n\nAAAA\n-----END PGP SIGNATURE-----\n"

    for value in (one + one, one + b"\0", b"\0" + one, armoured, one[:-1], one[:1], b"\xff" * 400, b"\xa3" + one):
        with pytest.raises(VerificationError, match=GOOD.filename):
            proven(parts.with_signatures(binary(rpms.RSA_HEADER, value)))


# Signatures of version 3


def test_a_signature_of_version_3_holds_only_for_what_it_signs() -> None:
    key = signing_key()
    data = b"some data"
    one = signature_version3(key, data)

    assert ring(key).verify_package(data, one, "x").signer == ring(key).fingerprints[0]
    for at in range(len(one)):
        with pytest.raises(VerificationError):
            pytest.fail(f"{at} {ring(key).verify_package(data, flipped(one, at), 'x')}")
    with pytest.raises(VerificationError, match="bad signature by"):
        ring(key).verify_package(data + b"\n", one, "x")


def test_a_root_signed_with_version_3_is_refused() -> None:
    data = b"<repomd/>\n"

    with pytest.raises(VerificationError, match="bad signature"):
        ring(signing_key()).verify_detached(data, signature_version3(signing_key(), data), "repomd.xml")


def test_a_key_that_may_only_certify_signs_no_package() -> None:
    key = signing_key("Certifier", usage="cert")

    with pytest.raises(VerificationError, match="bad signature by"):
        ring(key).verify_package(b"data", signature_version3(key, b"data"), "x")


def test_a_signature_older_than_its_key_is_refused() -> None:
    key = signing_key()

    with pytest.raises(VerificationError, match="bad signature by"):
        ring(key).verify_package(b"data", signature_version3(key, b"data", created=SUMMER_2020), "x")


def test_padding_is_not_read_leniently() -> None:
    """Bleichenbacher's forgery: a short padding, and what is left over at the end of the block."""
    key = signing_key()
    fingerprint, (modulus, _, secret) = rpms._rsa_numbers(key)
    good = signature_version3(key, b"data")
    hashed, length = good[5:10], 256
    tail = b"\0" + version3._HASHES[8][1] + hashlib.sha256(b"data" + hashed).digest()
    blocks = {
        "garbage at the end": (b"\0\1" + b"\xff" * 8 + tail).ljust(length, b"\7"),
        "zeros at the end": (b"\0\1" + b"\xff" * 8 + tail).ljust(length, b"\0"),
        "another block type": b"\0\2" + b"\xff" * (length - 2 - len(tail)) + tail,
        "other padding": b"\0\1" + b"\xfe" * (length - 2 - len(tail)) + tail,
        "no hash name": b"\0\1" + b"\xff" * (length - 35) + b"\0" + tail[-32:],
    }
    expected = b"\0\1" + b"\xff" * (length - 2 - len(tail)) + tail

    def packet(value: int) -> bytes:
        body = good[3:22] + value.bit_length().to_bytes(2) + value.to_bytes((value.bit_length() + 7) // 8)
        return b"\x89" + len(body).to_bytes(2) + body

    def take(value: int) -> bool:
        try:
            ring(key).verify_package(b"data", packet(value), "x")
        except VerificationError:
            return False
        return True

    right = pow(int.from_bytes(expected), secret, modulus)
    assert fingerprint.hex().upper() == ring(key).fingerprints[0]
    assert take(right)
    assert not [name for name, block in blocks.items() if take(pow(int.from_bytes(block), secret, modulus))]
    assert not [value for value in (0, 1, modulus - 1, modulus, modulus + 1, right + modulus) if take(value)]


SMALL = Parts(
    b"\xed\xab\xee\xdb\3\0" + bytes(72) + b"\0\5" + bytes(16),
    rpms.encode_header(62, [text(269, "0" * 40), binary(1_008, bytes(8))]),
    rpms.encode_header(
        63,
        [
            text(NAME, "a"),
            text(VERSION, "1"),
            text(RELEASE, "1"),
            text(ARCH, "noarch"),
            rpms.Entry(1_028, 4, 2, bytes(8)),
        ],
    ),
    b"payload",
)
