"""The table of targets: names, aliases, selectors, and what a machine says of itself."""

import dataclasses

import pytest

from repobuild.errors import UsageError
from repobuild.targets import (
    ALL_TARGETS,
    EXTRA_TARGETS,
    FAMILIES,
    TARGETS,
    family,
    from_os_release,
    is_selector,
    known_selectors,
    parse_target,
    selectors,
)


def test_the_table_holds_nine_releases_on_two_architectures() -> None:
    names = [target.name for target in TARGETS]

    expected = [
        f"{os}.{arch}"
        for os in ("el8", "el9", "el10", "d11", "d12", "d13", "u22", "u24", "u26")
        for arch in ("x86_64", "aarch64")
    ]
    assert expected == names
    assert [target.name for target in EXTRA_TARGETS] == ["el7.x86_64", "u20.x86_64", "u20.aarch64"]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("d12.x86_64", "d12.x86_64"),
        ("bookworm.amd64", "d12.x86_64"),
        ("Debian12.ARM64", "d12.aarch64"),
        ("debian-13.x86-64", "d13.x86_64"),
        ("noble.arm64", "u24.aarch64"),
        ("u24.04.x86_64", "u24.x86_64"),
        ("ubuntu-22.04.amd64", "u22.x86_64"),
        ("resolute.aarch64", "u26.aarch64"),
        ("rocky9.x86_64", "el9.x86_64"),
        ("almalinux-8.arm64", "el8.aarch64"),
        (" el10.aarch64 ", "el10.aarch64"),
        ("el9.6.x86_64", "el9.6.x86_64"),
        ("rocky9.6.amd64", "el9.6.x86_64"),
        ("el8.10.aarch64", "el8.10.aarch64"),
        ("el7.x86_64", "el7.x86_64"),
    ],
)
def test_a_target_is_understood_by_its_aliases(text: str, name: str) -> None:
    assert name == parse_target(text).name


def test_every_target_is_found_by_its_own_name() -> None:
    assert tuple(parse_target(target.name) for target in ALL_TARGETS) == ALL_TARGETS


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("d12", "d12.x86_64 or d12.aarch64"),
        ("el9.6", "el9.6.x86_64 or el9.6.aarch64"),
        ("bokworm.amd64", "d12.x86_64"),
        ("d14.x86_64", "d13.x86_64"),
        ("el7.aarch64", "el7.x86_64"),
        ("d12.6.x86_64", "d12.x86_64"),
        ("d12.riscv64", "d12.x86_64 or d12.aarch64"),
        ("", "d12.x86_64"),
        ("../../etc", "repobuild targets"),
        ("x" * 100_000, "repobuild targets"),
    ],
)
def test_an_unknown_target_is_refused_and_near_ones_are_named(text: str, near: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_target(text)

    assert near in (caught.value.hint or "")
    assert len(caught.value.message) < 200


def test_a_minor_release_sets_the_full_release_and_the_name_only() -> None:
    major, minor = parse_target("el9.x86_64"), parse_target("el9.6.x86_64")

    assert dataclasses.replace(major, name="el9.6.x86_64", os="el9.6", release="9.6") == minor


def test_families_know_their_own_names_of_an_architecture() -> None:
    assert parse_target("d12.x86_64").package_arch == "amd64"
    assert parse_target("u24.aarch64").package_arch == "arm64"
    assert parse_target("el9.aarch64").package_arch == "aarch64"


def test_weak_dependencies_are_the_habit_of_rpm_and_not_of_deb() -> None:
    assert family(parse_target("el9.x86_64")).weak_dependencies
    assert not family(parse_target("d12.x86_64")).weak_dependencies
    assert {target.family for target in ALL_TARGETS} == set(FAMILIES)


def test_selectors_are_ordered_from_least_to_most_specific() -> None:
    expected = ("default", "aarch64", "deb", "deb.aarch64", "debian", "debian.aarch64", "d12", "d12.aarch64")

    assert expected == selectors(parse_target("d12.aarch64"))
    assert selectors(parse_target("el9.6.x86_64"))[-4:] == ("el9", "el9.x86_64", "el9.6", "el9.6.x86_64")


def test_only_canonical_selectors_are_selectors() -> None:
    assert all(is_selector(selector) for target in ALL_TARGETS for selector in selectors(target))
    assert is_selector("el9.6")
    assert is_selector("el9.6.aarch64")
    assert not any(is_selector(text) for text in ("bookworm", "d12.amd64", "amd64", "d14", "el9.06", "", "el7.aarch64"))
    assert len(known_selectors()) == len(set(known_selectors()))


@pytest.mark.parametrize(
    ("fields", "machine", "name"),
    [
        ({"ID": "debian", "VERSION_ID": "12", "VERSION_CODENAME": "bookworm"}, "x86_64", "d12.x86_64"),
        ({"ID": "debian", "VERSION_CODENAME": "trixie"}, "aarch64", "d13.aarch64"),
        ({"ID": "ubuntu", "VERSION_ID": "24.04", "UBUNTU_CODENAME": "noble"}, "x86_64", "u24.x86_64"),
        ({"ID": "linuxmint", "ID_LIKE": "ubuntu debian", "UBUNTU_CODENAME": "jammy"}, "x86_64", "u22.x86_64"),
        ({"ID": "rocky", "ID_LIKE": "rhel centos fedora", "VERSION_ID": "9.5"}, "aarch64", "el9.aarch64"),
        ({"ID": "centos", "VERSION_ID": "10"}, "x86_64", "el10.x86_64"),
        ({"ID": "ol", "ID_LIKE": "fedora rhel", "VERSION_ID": "8.10"}, "x86_64", "el8.x86_64"),
        ({"ID": "rhel", "VERSION_ID": "7.9"}, "x86_64", "el7.x86_64"),
    ],
)
def test_a_machine_is_known_by_its_os_release(fields: dict[str, str], machine: str, name: str) -> None:
    target = from_os_release(fields, machine)

    assert target is not None
    assert name == target.name


@pytest.mark.parametrize(
    ("fields", "machine"),
    [
        ({}, "x86_64"),
        ({"ID": "fedora", "VERSION_ID": "42"}, "x86_64"),
        ({"ID": "amzn", "ID_LIKE": "centos rhel fedora", "VERSION_ID": "2"}, "x86_64"),
        ({"ID": "debian", "VERSION_CODENAME": "sid"}, "x86_64"),
        ({"ID": "ubuntu", "VERSION_ID": "25.10", "UBUNTU_CODENAME": "questing"}, "x86_64"),
        ({"ID": "debian", "VERSION_ID": "12"}, "riscv64"),
        ({"ID": "rhel", "VERSION_ID": "7.9"}, "aarch64"),
        ({"ID": "raspbian", "ID_LIKE": "debian", "VERSION_CODENAME": "bookworm"}, "armv7l"),
    ],
)
def test_a_machine_that_is_none_of_ours_has_no_target(fields: dict[str, str], machine: str) -> None:
    assert from_os_release(fields, machine) is None
