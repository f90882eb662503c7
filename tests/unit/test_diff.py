"""What leads from one lock to another."""

from typing import Any

import pytest
from locks import lock_of, package

from repobuild import diff
from repobuild.diff import Difference, Sign
from repobuild.formats import FORMATS
from repobuild.formats.values import Advisory
from repobuild.model import Asset, Package

UPDATEINFO = """<?xml version="1.0"?>
<updates>
<update type="security"><id>A-1</id><title>mends\n tool</title><severity>Important</severity><pkglist><collection>
<package name="tool" version="2" release="1" epoch="0" arch="x86_64"/></collection></pkglist></update>
<update type="bugfix"><id>A-0</id><title>of something else</title><pkglist><collection>
<package name="other" version="2" release="1" arch="x86_64"/></collection></pkglist></update>
</updates>"""


def compare(one: list[Package], other: list[Package], family: str = "deb", **changes: Any) -> Difference:
    before, after = lock_of(one), lock_of(other, **changes)
    form = FORMATS[family]
    return diff.compare(before, after, form.compare, lambda packages: form.advisories(dict(after.extras), packages))


def signs(found: Difference) -> list[tuple[str, str]]:
    return [(each.sign.value, each.name) for each in found.changes]


def test_equal_locks_do_not_differ() -> None:
    found = compare([package("a"), package("b")], [package("b"), package("a")])

    assert found.changes == ()
    assert (found.same, found.download, found.size_before, found.size_after) == (2, 0, 20, 20)


def test_what_comes_and_goes_is_said() -> None:
    found = compare([package("a")], [package("b", size=70)])

    assert signs(found) == [("added", "b"), ("removed", "a")]
    assert (found.download, found.downloads) == (70, 1)


@pytest.mark.parametrize(
    ("family", "old", "new"),
    [("deb", "1.0~rc1-1", "1.0-1"), ("deb", "9-1", "1:1-1"), ("rpm", "1.9-1", "1.10-1"), ("rpm", "9-1", "1:1-1")],
)
def test_the_order_is_the_familys_own(family: str, old: str, new: str) -> None:
    up = compare([package("a", old)], [package("a", new)], family)
    down = compare([package("a", new)], [package("a", old)], family)

    assert signs(up) == [("upgraded", "a")]
    assert signs(down) == [("downgraded", "a")]


def test_other_bytes_under_the_same_version_are_a_replacement() -> None:
    found = compare([package("a")], [package("a", content="rebuilt")])

    assert signs(found) == [("replaced", "a")]
    assert found.downloads == 1


def test_a_package_that_became_one_for_all_architectures_is_upgraded() -> None:
    found = compare([package("a", "1", arch="amd64")], [package("a", "2", arch="all")])

    assert signs(found) == [("upgraded", "a")]


def test_architectures_of_one_name_are_not_mixed_up() -> None:
    one = [package("a", "1", arch="amd64"), package("a", "1", arch="i386")]

    found = compare(one, [package("a", "2", arch="i386"), package("a", "2", arch="amd64")])

    assert [(each.before.arch, each.after.arch) for each in found.changes if each.before and each.after] == [
        ("amd64", "amd64"),
        ("i386", "i386"),
    ]


def test_of_several_versions_those_that_both_have_stand() -> None:
    found = compare([package("a", "1"), package("a", "2")], [package("a", "2"), package("a", "3")])

    (change,) = found.changes
    assert change.before is not None
    assert change.after is not None
    assert (change.sign, change.before.version, change.after.version) == (Sign.UPGRADED, "1", "3")
    assert found.same == 1


def test_files_that_are_no_packages_count_too() -> None:
    asset = Asset(name="tool.tgz", url="https://a.test/tool.tgz", size=5, sha256="b" * 64)

    found = compare([package("a")], [package("a")], assets=(asset,))

    assert signs(found) == [("added", "tool.tgz")]
    assert found.download == 5


def test_an_object_under_two_names_is_downloaded_once() -> None:
    assets = tuple(Asset(name=name, url=f"https://a.test/{name}", size=5, sha256="b" * 64) for name in ("x", "y"))

    found = compare([], [], assets=assets)

    assert (len(found.changes), found.download, found.downloads) == (2, 5, 1)


def test_advisories_of_what_is_new_are_said_and_of_nothing_else() -> None:
    old, new = package("tool", "1-1", arch="x86_64"), package("tool", "2-1", arch="x86_64")

    found = compare([old], [new], "rpm", extras=(("updateinfo", UPDATEINFO),))
    same = compare([new], [new], "rpm", extras=(("updateinfo", UPDATEINFO),))

    assert found.advisories == (
        Advisory(id="A-1", kind="security", severity="Important", title="mends tool", filenames=(new.filename,)),
    )
    assert same.advisories == ()


def test_the_answer_does_not_depend_on_the_order_of_the_choices() -> None:
    one = [package(f"p{number}", str(number)) for number in range(30)]
    other = [package(f"p{number}", str(number + number % 3 - 1)) for number in range(1, 30)]

    assert compare(one, other) == compare(one[::-1], other[::-1])
