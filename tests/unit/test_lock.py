"""The lock as a file: it comes back as it was, reads like a change log, and believes nothing."""

import json
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repobuild import lock
from repobuild.errors import HostileInputError
from repobuild.model import Asset, Choice, Lock, Missing, Options, Package, RootPin, Verify

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=30)
PART = st.from_regex(r"[a-z0-9][a-z0-9+.~-]{0,12}", fullmatch=True)
DIGEST = st.binary(min_size=32, max_size=32).map(bytes.hex)
NUMBER = st.integers(0, (1 << 53) - 1)
TIME = st.integers(0, (1 << 33) - 1)
PACKAGE = st.builds(
    Package,
    name=PART,
    version=PART,
    arch=PART,
    size=NUMBER,
    sha256=DIGEST,
    path=st.lists(PART, min_size=1, max_size=3).map("/".join),
    upstream=TEXT,
    filename=PART,
    metadata=TEXT,
)
PIN = st.builds(
    RootPin,
    name=TEXT,
    path=TEXT,
    sha256=st.one_of(st.just(""), DIGEST),
    date=TIME,
    signer=TEXT,
    verify=st.sampled_from(Verify),
)
LOCKS = st.builds(
    Lock,
    target=TEXT,
    time=TIME,
    manifest=TEXT,
    name=PART,
    version=TEXT,
    endpoint=TEXT,
    upstreams=st.lists(PIN, max_size=3).map(tuple),
    choices=st.lists(st.builds(Choice, PACKAGE, TEXT), max_size=5, unique_by=lambda each: each.package.sha256).map(
        tuple
    ),
    missing=st.lists(
        st.builds(Missing, want=TEXT, reason=TEXT, near=st.lists(TEXT, max_size=2).map(tuple)), max_size=2
    ).map(tuple),
    sets=st.lists(st.lists(TEXT, max_size=3).map(tuple), max_size=2).map(tuple),
    options=st.builds(
        Options,
        weak_dependencies=st.booleans(),
        keep=st.integers(0, 99),
        origins=st.dictionaries(TEXT, TEXT, max_size=3).map(lambda pins: tuple(sorted(pins.items()))),
    ),
    assets=st.lists(st.builds(Asset, name=PART, url=TEXT, size=NUMBER, sha256=DIGEST), max_size=2).map(tuple),
    unverified=st.lists(TEXT, max_size=2).map(tuple),
    gone=st.lists(TEXT, max_size=2).map(tuple),
    foreign=st.lists(st.tuples(TEXT, TEXT), max_size=2).map(tuple),
)


def package(number: int, version: str = "1") -> Choice:
    return Choice(
        Package(
            name=f"p{number}",
            version=version,
            arch="amd64",
            size=number,
            sha256=f"{number:063x}{version}",
            path=f"pool/p{number}.deb",
            upstream="base",
            filename=f"p{number}_{version}_amd64.deb",
            metadata=f"Package: p{number}\nVersion: {version}",
        ),
        "want",
    )


def example(**changes: Any) -> Lock:
    plain = Lock(
        target="d12.x86_64",
        time=1_790_000_000,
        manifest="f" * 64,
        name="pigsty",
        version="v1",
        endpoint="http://10.10.10.10",
        upstreams=(
            RootPin(name="base", path="dists/x main", sha256="a" * 64, date=1, signer="AB", verify=Verify.ROOT),
        ),
        choices=tuple(package(number) for number in range(20)),
        missing=(Missing(want="x", reason="no upstream has it", near=("y",)),),
        sets=(("p1", "p2"),),
        options=Options(weak_dependencies=False),
        assets=(Asset(name="tool.tgz", url="https://a.test/tool.tgz", size=3, sha256="b" * 64),),
        unverified=("plain",),
    )
    return replace(plain, **changes)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(LOCKS)
def test_any_lock_comes_back_as_it_was(value: Lock) -> None:
    text = lock.write(value)

    assert lock.read(text, "a lock") == value
    assert lock.write(lock.read(text, "a lock")) == text


def test_the_text_does_not_depend_on_the_order_of_a_dict() -> None:
    text = lock.write(example())
    fields = json.loads(text)
    keys = list(fields)
    for seed in range(5):
        random.Random(seed).shuffle(keys)
        shuffled = json.dumps({key: _shuffled(fields[key], seed) for key in keys}).encode()
        assert lock.write(lock.read(shuffled, "a lock")) == text


def _shuffled(value: Any, seed: int) -> Any:
    if isinstance(value, dict):
        keys = random.Random(seed).sample(list(value), len(value))
        return {key: _shuffled(value[key], seed) for key in keys}
    return [_shuffled(each, seed) for each in value] if isinstance(value, list) else value


def test_a_package_is_one_line_and_its_description_another() -> None:
    lines = lock.write(example()).decode().splitlines()

    assert sum('"filename": "p7_1_amd64.deb"' in line for line in lines) == 1
    assert sum(line.strip().startswith(f'"{7:063x}1": ') for line in lines) == 1
    assert sum("p7" in line for line in lines) == 2
    assert [line.partition('"')[2].partition('"')[0] for line in lines if line.startswith('"')] == sorted(
        json.loads(lock.write(example()))
    )


def test_an_upgrade_changes_the_lines_of_that_package_alone() -> None:
    before = lock.write(example()).decode().splitlines()
    choices = tuple(package(7, "2") if number == 7 else package(number) for number in range(20))
    after = lock.write(example(choices=choices)).decode().splitlines()

    assert len(set(after) - set(before)) == 2
    assert len(set(before) - set(after)) == 2


def test_one_file_that_is_described_in_two_ways_is_refused() -> None:
    other = package(1)
    twin = Choice(replace(other.package, name="q", filename="q.deb", metadata="Package: q"), "want")

    with pytest.raises(HostileInputError, match="describe one file in two ways"):
        lock.write(example(choices=(other, twin)))


def test_a_successor_is_never_as_old_as_what_it_replaces() -> None:
    new = example(time=10)

    assert lock.succeed(new, None).time == 10
    assert lock.succeed(new, example(time=9)).time == 10
    assert lock.succeed(new, example(time=10)).time == 11
    assert lock.succeed(new, example(time=99)).time == 100


def test_only_the_time_is_no_content() -> None:
    assert lock.same_content(example(), example(time=1))
    assert not lock.same_content(example(), example(version="v2"))


def edited(change: Callable[[dict[str, Any]], object]) -> bytes:
    fields = json.loads(lock.write(example()))
    change(fields)
    return json.dumps(fields).encode()


def within(key: str, **values: object) -> bytes:
    return edited(lambda fields: fields[key][0].update(values))


NAMES = ["", ".", "..", "../x", "/etc/passwd", "a/b", "a\0b", "a\nb", "a\x1bb", "x" * 256, "a\u202eb"]
HOSTILE: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": b"{",
    "not UTF-8": b'{"format": 1, "target": "\xff"}',
    "a list": b"[]",
    "a number": b"1",
    "null": b"null",
    "deep": b"[" * 200_000,
    "deeper": b'{"a":' * 100_000,
    "a long number": b'{"format": ' + b"9" * 10_000 + b"}",
    "another format": edited(lambda fields: fields.update(format=2)),
    "a format of another kind": edited(lambda fields: fields.update(format="1")),
    "packages as an object": edited(lambda fields: fields.update(packages={})),
    "packages as text": edited(lambda fields: fields.update(packages="abc")),
    "a package as text": edited(lambda fields: fields.update(packages=["abc"])),
    "a package as null": edited(lambda fields: fields.update(packages=[None])),
    "no descriptions": edited(lambda fields: fields.update(verbatim={})),
    "descriptions as a list": edited(lambda fields: fields.update(verbatim=[])),
    "a description as a number": edited(lambda fields: fields["verbatim"].update({f"{1:063x}1": 1})),
    "half a character": edited(lambda fields: fields.update(target="\ud800")),
    "half a character in a list": edited(lambda fields: fields.update(unverified=["\ud800"])),
    "half a character in a description": edited(lambda fields: fields["verbatim"].update({f"{1:063x}1": "\udfff"})),
    "sets of numbers": edited(lambda fields: fields.update(sets=[[1]])),
    "sets of text": edited(lambda fields: fields.update(sets=["ab"])),
    "an unknown kind of proof": within("upstreams", verify="maybe"),
    "a pin that is no digest": within("upstreams", sha256="x" * 64),
    "a digest in capitals": within("packages", sha256="A" * 64),
    "a digest that climbs": within("packages", sha256="../" + "0" * 61),
    "a size below zero": within("packages", size=-1),
    "a size as text": within("packages", size="1"),
    "a size that is true": within("packages", size=True),
    "a size with a fraction": within("packages", size=1.5),
    "a size beyond numbers": within("packages", size=1 << 60),
    "a time below zero": edited(lambda fields: fields.update(time=-1)),
    "a time after the year 2242": edited(lambda fields: fields.update(time=1 << 33)),
    "a root's date after the year 2242": within("upstreams", date=1 << 33),
    "a time that is no number": edited(lambda fields: fields.update(time=float("nan"))),
    "a time without end": edited(lambda fields: fields.update(time=float("inf"))),
    "options as a list": edited(lambda fields: fields.update(options=[])),
    "an option as text": edited(lambda fields: fields["options"].update(weak_dependencies="yes")),
    **{
        f"a key gone: {key}": edited(lambda fields, key=key: fields.pop(key))
        for key in json.loads(lock.write(example())) if key != "extras"
    },
    "a number of older versions as text": edited(lambda fields: fields["options"].update(keep="1")),
    "a number of older versions below zero": edited(lambda fields: fields["options"].update(keep=-1)),
    "a number of older versions that is true": edited(lambda fields: fields["options"].update(keep=True)),
    "origins as a list": edited(lambda fields: fields["options"].update(origins=[["loki", "infra"]])),
    "an origin that is a number": edited(lambda fields: fields["options"].update(origins={"loki": 1})),
    "an origin of half a character": edited(lambda fields: fields["options"].update(origins={"\ud800": "infra"})),
    "foreign wants as an object": edited(lambda fields: fields.update(foreign={"loki": "base"})),
    "a foreign want alone": edited(lambda fields: fields.update(foreign=[["loki"]])),
    "a foreign want with too much": edited(lambda fields: fields.update(foreign=[["loki", "base", "x"]])),
    "a foreign want that is a number": edited(lambda fields: fields.update(foreign=[["loki", 1]])),
    "an extra that would stand for our own index": edited(lambda fields: fields.update(extras={"primary": "<evil/>"})),
    "an extra that nobody knows": edited(lambda fields: fields.update(extras={"../x": ""})),
    "an extra as a list": edited(lambda fields: fields.update(extras={"modules": ["x"]})),
    "extras as a list": edited(lambda fields: fields.update(extras=[])),
    **{f"a file name: {name!r:.20}": within("packages", filename=name) for name in NAMES},
    **{f"an asset: {name!r:.20}": within("assets", name=name) for name in NAMES},
    **{f"a folder: {name!r:.20}": edited(lambda fields, name=name: fields.update(name=name)) for name in NAMES},
    **{
        f"a path: {path!r:.20}": within("packages", path=path)
        for path in ("", "/x", "../x", "a/../../x", "%2e%2e/x", "a/%2E%2E/x", "a//b", "a\nb", "a\0b", "./x", "a/.")
    },
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_lock_is_refused(name: str) -> None:
    with pytest.raises(HostileInputError, match=r"(?s)^."):
        lock.read(HOSTILE[name], "a lock")


def test_a_lock_beyond_all_measure_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    text = lock.write(example())
    monkeypatch.setattr(lock, "LIMIT", len(text))
    assert lock.read(text, "a lock")
    with pytest.raises(HostileInputError, match="larger than"):
        lock.read(text + b" ", "a lock")


@settings(max_examples=150, deadline=None, derandomize=True)
@given(place=st.integers(0, 3000), noise=st.binary(max_size=6))
def test_a_damaged_lock_is_read_or_refused(place: int, noise: bytes) -> None:
    text = lock.write(example())
    with suppress(HostileInputError):
        lock.read(text[:place] + noise + text[place + len(noise) :], "a lock")


def test_a_lock_from_before_there_were_extras_is_read() -> None:
    fields = json.loads(lock.write(example()))
    del fields["extras"], fields["options"]["module_streams"], fields["options"]["pass_on"]

    assert lock.read(json.dumps(fields).encode(), "old") == example()


def test_what_is_not_asked_for_leaves_no_trace_in_the_text() -> None:
    text = lock.write(example())

    assert not any(word in text for word in (b'"keep"', b'"origins"', b'"foreign"'))


def test_foreign_wants_stand_one_a_line() -> None:
    options = Options(weak_dependencies=False, keep=2, origins=(("loki", "infra"), ("mimir", "infra")))
    text = lock.write(example(options=options, foreign=(("loki", "base"), ("dnsmasq", "base")))).decode()

    assert '"foreign": [\n ["loki", "base"],\n ["dnsmasq", "base"]\n],' in text
    assert '"keep": 2' in text
    assert '"origins": {"loki": "infra", "mimir": "infra"}' in text
