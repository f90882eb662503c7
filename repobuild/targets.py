"""What is known about the targets: releases, code names, architectures, families. Knowledge without I/O.

A target is written `<os>.<arch>`: `d12.x86_64`, `u24.aarch64`, `el9.x86_64`, with a minor release `el9.6.x86_64`.
Code names, vendors' names and the families' names of an architecture are taken too: `bookworm.amd64` is `d12.x86_64`.

A selector names a set of targets. From least to most specific, for `d12.aarch64`:

    default < aarch64 < deb < deb.aarch64 < debian < debian.aarch64 < d12 < d12.aarch64

The more exactly the operating system is named, the more specific; of two that name it alike, the one that names the
architecture too. A minor release (`el9.6`) is more specific than its major one (`el9`). The order is total.
"""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from repobuild.errors import UsageError
from repobuild.model import Target

DEFAULT_SELECTOR = "default"
"""The selector that fits every target."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """What of a family matters before its format room is asked."""

    name: str
    machine_names: Mapping[str, str]
    """From `uname -m` to the family's own name of the architecture."""
    weak_dependencies: bool
    """Whether the incumbent tools of this family follow Recommends unless told otherwise."""
    has_suites: bool
    """Whether an upstream is a URL, a suite and components, rather than a URL alone."""
    signs_packages: bool
    """Whether packages carry signatures of their own, so that `verify: packages` has a meaning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Release:
    """One line of the table of releases."""

    os: str
    family: str
    line: str
    """The distribution's line, a selector: `debian`, `ubuntu`, `el`."""
    major: int
    release: str
    codename: str
    vendor: str
    machines: tuple[str, ...] = ("x86_64", "aarch64")
    promised: bool = True


FAMILIES: Mapping[str, Family] = {
    "rpm": Family(
        name="rpm",
        machine_names={"x86_64": "x86_64", "aarch64": "aarch64"},
        weak_dependencies=True,
        has_suites=False,
        signs_packages=True,
    ),
    "deb": Family(
        name="deb",
        machine_names={"x86_64": "amd64", "aarch64": "arm64"},
        weak_dependencies=False,
        has_suites=True,
        signs_packages=False,
    ),
}

# The newest minor release of each EL major, with the day it came out; 7 and 8 get no further one.
_EL_MINOR = {
    7: "7.9",  # 2020-09-29
    8: "8.10",  # 2024-05-22
    9: "9.7",  # 2025-11-11
    10: "10.1",  # 2025-11-11
}


def _el(major: int, *, vendor: str = "rocky", machines: tuple[str, ...] = ("x86_64", "aarch64")) -> _Release:
    return _Release(
        os=f"el{major}",
        family="rpm",
        line="el",
        major=major,
        release=_EL_MINOR[major],
        codename=f"el{major}",
        vendor=vendor,
        machines=machines,
        promised=major > 7,
    )


def _debian(major: int, codename: str) -> _Release:
    return _Release(
        os=f"d{major}",
        family="deb",
        line="debian",
        major=major,
        release=str(major),
        codename=codename,
        vendor="debian",
    )


def _ubuntu(major: int, codename: str) -> _Release:
    return _Release(
        os=f"u{major}",
        family="deb",
        line="ubuntu",
        major=major,
        release=f"{major}.04",
        codename=codename,
        vendor="ubuntu",
        promised=major > 20,
    )


_RELEASES = (
    _el(8),
    _el(9),
    _el(10),
    _debian(11, "bullseye"),
    _debian(12, "bookworm"),
    _debian(13, "trixie"),
    _ubuntu(22, "jammy"),
    _ubuntu(24, "noble"),
    _ubuntu(26, "resolute"),
    _el(7, vendor="centos", machines=("x86_64",)),
    _ubuntu(20, "focal"),
)
_BY_CODENAME = {release.codename: release for release in _RELEASES}

_MACHINES = {"x86_64": "x86_64", "x86-64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}
_EL_NAMES = ("el", "rocky", "rockylinux", "almalinux", "alma", "rhel", "redhat", "centos", "oracle", "ol")
_EL_MINOR_FORM = re.compile(r"(?P<major>[a-z]+-?[0-9]{1,2})\.(?P<minor>[0-9]{1,2})")


def _names(release: _Release) -> tuple[str, ...]:
    """Return every name under which a release is understood, its own first."""
    if release.line == "el":
        return tuple(f"{name}{dash}{release.major}" for name in _EL_NAMES for dash in ("", "-"))
    numbers = dict.fromkeys((str(release.major), release.release))
    vendors = (release.os[0], release.vendor, f"{release.vendor}-")
    return (*(f"{vendor}{number}" for vendor in vendors for number in numbers), release.codename)


_BY_NAME = {name: release for release in _RELEASES for name in _names(release)}


def _target(release: _Release, machine: str, minor: str | None = None) -> Target:
    os = release.os if minor is None else f"{release.os}.{minor}"
    return Target(
        name=f"{os}.{machine}",
        os=os,
        family=release.family,
        major=release.major,
        release=release.release if minor is None else f"{release.major}.{minor}",
        codename=release.codename,
        vendor=release.vendor,
        arch=machine,
        package_arch=FAMILIES[release.family].machine_names[machine],
    )


TARGETS: tuple[Target, ...] = tuple(
    _target(release, machine) for release in _RELEASES if release.promised for machine in release.machines
)
"""Every target we answer for, in the order of the table."""

EXTRA_TARGETS: tuple[Target, ...] = tuple(
    _target(release, machine) for release in _RELEASES if not release.promised for machine in release.machines
)
"""Targets that can be selected, without a promise."""

ALL_TARGETS = (*TARGETS, *EXTRA_TARGETS)


def parse_target(text: str) -> Target:
    """Return the target that `text` names, canonical or by an alias, in any case.

    Raises:
        UsageError: when there is no such target; names near ones.
    """
    os, dot, machine_name = text.strip().lower().rpartition(".")
    machine = _MACHINES.get(machine_name)
    release, minor = _find_release(os)
    if not dot or machine is None or release is None or machine not in release.machines:
        raise UsageError(f"no such target: {text[:80]!r}", f"did you mean {_near(text)}? `repobuild targets` lists all")
    return _target(release, machine, minor)


def from_os_release(fields: Mapping[str, str], machine: str) -> Target | None:
    """Return the target of a machine by its os-release fields and `uname -m`, None when it is none of ours.

    A derivative counts as what it says it is built from (`UBUNTU_CODENAME`, `DEBIAN_CODENAME`, `ID_LIKE`). The minor
    release of an EL machine is left out: what it builds for is its major release.
    """
    arch = _MACHINES.get(machine.lower())
    release = _release_of(fields)
    if arch is None or release is None or arch not in release.machines:
        return None
    return _target(release, arch)


def minor_of(target: Target, release: str) -> Target | None:
    """Return the target of a minor release of a target's system; None where it is none of that."""
    major, _, minor = release.partition(".")
    if not minor.isdigit() or major != str(target.major) or _BY_CODENAME[target.codename].line != "el":
        return None
    return _target(_BY_CODENAME[target.codename], target.arch, str(int(minor)))


def family(target: Target) -> Family:
    """Return what is known of the target's family."""
    return FAMILIES[target.family]


def selectors(target: Target) -> tuple[str, ...]:
    """Return the selectors that fit a target, from least to most specific (see the top of this module)."""
    release = _BY_CODENAME[target.codename]
    systems = dict.fromkeys((target.family, release.line, release.os, target.os))
    named = (selector for system in systems for selector in (system, f"{system}.{target.arch}"))
    return (DEFAULT_SELECTOR, target.arch, *named)


def is_selector(text: str) -> bool:
    """Whether `text` can fit any target, minor releases included."""
    if text in _SELECTORS:
        return True
    try:
        return text in selectors(parse_target(text if _ends_in_machine(text) else f"{text}.x86_64"))
    except UsageError:
        return False


def known_selectors() -> tuple[str, ...]:
    """Return all selectors without a minor release, for help and near matches."""
    return _SELECTORS


def _ends_in_machine(text: str) -> bool:
    return text.rpartition(".")[2] in _MACHINES


def _find_release(os: str) -> tuple[_Release | None, str | None]:
    """Return the release an OS part names, and the minor release when it names one."""
    if os in _BY_NAME:
        return _BY_NAME[os], None
    form = _EL_MINOR_FORM.fullmatch(os)
    release = _BY_NAME.get(form["major"]) if form else None
    if form is None or release is None or release.line != "el":
        return None, None
    return release, str(int(form["minor"]))


def _release_of(fields: Mapping[str, str]) -> _Release | None:
    vendor = fields.get("ID", "").lower()
    for key in ("UBUNTU_CODENAME", "DEBIAN_CODENAME"):
        if fields.get(key) in _BY_CODENAME:
            return _BY_CODENAME[fields[key]]
    if vendor in {"debian", "ubuntu"}:
        version = fields.get("VERSION_ID", "")
        return _BY_NAME.get(f"{vendor}{version}") or _BY_CODENAME.get(fields.get("VERSION_CODENAME", ""))
    likes = {vendor, *fields.get("ID_LIKE", "").lower().split()}
    if likes.isdisjoint(("rhel", "centos", "rocky", "almalinux")):
        return None
    major = fields.get("VERSION_ID", "").partition(".")[0]
    return _BY_NAME.get(f"el{major}")


def _near(text: str) -> str:
    """Return near targets for a message; those of an OS that is known but for its architecture."""
    lower = text.strip().lower()
    release, minor = _find_release(lower)
    if release is None:
        release, minor = _find_release(lower.rpartition(".")[0])
    if release is not None:
        found = [_target(release, machine, minor).name for machine in release.machines]
    else:
        spellings = sorted(
            f"{name}.{spelling}"
            for name, known in _BY_NAME.items()
            for spelling, machine in _MACHINES.items()
            if machine in known.machines
        )
        close = difflib.get_close_matches(lower[:80], spellings, n=8, cutoff=0.5)
        found = list(dict.fromkeys(parse_target(name).name for name in close))[:3]
    return " or ".join(found or ["d12.x86_64"])


_SELECTORS = tuple(dict.fromkeys(selector for target in ALL_TARGETS for selector in selectors(target)))
