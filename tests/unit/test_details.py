"""What packages say of themselves, and who meets whose needs, in both families."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import rpms
from locks import package

from repobuild.errors import HostileInputError
from repobuild.formats import FORMATS
from repobuild.formats.values import Detail
from repobuild.model import Options, Package
from repobuild.targets import parse_target

DEB, RPM = FORMATS["deb"], FORMATS["rpm"]
STRONG, WEAK = Options(weak_dependencies=False), Options(weak_dependencies=True)


def deb(packages: Sequence[Package], options: Options = STRONG) -> list[tuple[str, str, str, list[str]]]:
    found = DEB.details(packages, Path, parse_target("d12.x86_64"), options)
    return needs(packages, found)


def needs(packages: Sequence[Package], found: Sequence[Detail]) -> list[tuple[str, str, str, list[str]]]:
    return [
        (packages[need.package].name, need.verb, need.text, [packages[each].name for each in need.met_by])
        for each in found
        for need in each.needs
    ]


class TestDeb:
    def test_alternatives_are_met_in_their_order_and_a_real_package_before_its_providers(self) -> None:
        packages = [
            package("a", depends="mail | z"), package("m1", provides="mail"), package("mail"), package("z"),
        ]  # fmt: skip

        assert deb(packages) == [("a", "depends on", "mail | z", ["mail", "m1", "z"])]

    def test_a_version_that_does_not_satisfy_meets_nothing(self) -> None:
        packages = [package("a", depends="b (>= 2)"), package("b", "1"), package("p", provides="b")]

        assert deb(packages) == []

    def test_recommends_count_only_where_weak_dependencies_are_followed(self) -> None:
        packages = [package("a", recommends="b"), package("b")]

        assert deb(packages) == []
        assert deb(packages, WEAK) == [("a", "recommends", "b", ["b"])]

    def test_of_several_versions_the_newest_is_met_first(self) -> None:
        packages = [package("a", pre_depends="b"), package("b", "9"), package("b", "10")]

        (detail, *_) = DEB.details(packages, Path, parse_target("d12.x86_64"), STRONG)

        assert detail.needs[0].met_by == (2, 1)

    def test_the_first_line_of_a_description_is_the_summary_and_there_is_no_licence(self) -> None:
        (found,) = DEB.details(
            [package("a", description="says\n it all", homepage="https://a.test/")],
            Path,
            parse_target("d12.x86_64"),
            STRONG,
        )

        assert (found.summary, found.licence, found.homepage) == ("says", "", "https://a.test/")

    def test_what_is_provided_and_what_every_base_has_is_told(self) -> None:
        packages = [
            package("a", provides="virtual (= 3), a, other"), package("apt"), package("b", essential="yes"),
            package("b", "2.0", essential="yes"),
        ]  # fmt: skip

        found = DEB.details(packages, Path, parse_target("d12.x86_64"), STRONG)

        assert [each.provides for each in found] == [("other", "virtual"), (), (), ()]
        assert [each.is_base for each in found] == [False, True, False, True]

    def test_a_stanza_of_another_package_is_refused(self) -> None:
        one, other = package("a"), package("b")
        forged = type(one)(**{name: getattr(one, name) for name in one.__slots__} | {"metadata": other.metadata})

        with pytest.raises(HostileInputError):
            deb([forged])

    def test_purls_are_of_the_vendor_with_architecture_and_release(self) -> None:
        found = DEB.package_url(package("a", "1:2-3"), parse_target("u24.x86_64"))

        assert (found.type, found.namespace, found.version) == ("deb", "ubuntu", "1:2-3")
        assert found.qualifiers == (("arch", "all"), ("distro", "ubuntu-24.04"))


@pytest.fixture
def built(tmp_path: Path) -> Callable[..., tuple[list[Package], dict[str, Path]]]:
    def build(*lines: dict[str, object]) -> tuple[list[Package], dict[str, Path]]:
        packages, paths = [], {}
        for line in lines:
            path = rpms.build(tmp_path, **line)  # type: ignore[arg-type]
            found = RPM.read_package(path, upstream="main", url_path=path.name)
            packages.append(found)
            paths[found.sha256] = path
        return packages, paths

    return build


class TestRpm:
    def test_what_is_provided_is_told_with_listed_files_and_without_versions(
        self, built: Callable[..., tuple[list[Package], dict[str, Path]]]
    ) -> None:
        packages, paths = built({"name": "giver", "provides": ["virtual = 3"], "files": ["/usr/bin/tool"]})

        (found,) = RPM.details(packages, paths.__getitem__, parse_target("el9.x86_64"), STRONG)

        assert {"virtual", "/usr/bin/tool"} <= set(found.provides)
        assert "giver" not in found.provides

    def test_names_capabilities_paths_and_rich_dependencies_are_met(
        self, built: Callable[..., tuple[list[Package], dict[str, Path]]]
    ) -> None:
        packages, paths = built(
            {"name": "app", "requires": ["lib >= 1", "virtual", "/usr/bin/tool", "(lib or nothing)", "nowhere"]},
            {"name": "lib"},
            {"name": "giver", "provides": ["virtual = 3"]},
            {"name": "tool", "files": ["/usr/bin/tool"]},
        )

        found = RPM.details(packages, paths.__getitem__, parse_target("el9.x86_64"), STRONG)

        met = {text: names for name, _, text, names in needs(packages, found) if name == "app"}
        rich = next(text for text in met if "or" in text)
        assert met == {"lib >= 1": ["lib"], "virtual": ["giver"], "/usr/bin/tool": ["tool"], rich: ["lib"]}

    def test_recommends_count_only_where_weak_dependencies_are_followed(
        self, built: Callable[..., tuple[list[Package], dict[str, Path]]]
    ) -> None:
        packages, paths = built({"name": "app", "recommends": ["lib"]}, {"name": "lib"})
        target = parse_target("el9.x86_64")

        assert needs(packages, RPM.details(packages, paths.__getitem__, target, STRONG)) == []
        assert needs(packages, RPM.details(packages, paths.__getitem__, target, WEAK)) == [
            ("app", "recommends", "lib", ["lib"])
        ]

    def test_licences_are_those_of_the_headers(
        self, built: Callable[..., tuple[list[Package], dict[str, Path]]]
    ) -> None:
        packages, paths = built({"name": "app"})

        (found,) = RPM.details(packages, paths.__getitem__, parse_target("el9.x86_64"), STRONG)

        assert found.licence == "MIT"

    def test_an_epoch_is_a_qualifier_of_the_purl(
        self, built: Callable[..., tuple[list[Package], dict[str, Path]]]
    ) -> None:
        packages, _ = built({"name": "app", "epoch": 2})

        found = RPM.package_url(packages[0], parse_target("el9.x86_64"))

        assert found.version == "1.0-1.el9"
        assert ("epoch", "2") in found.qualifiers


@pytest.mark.parametrize(
    ("family", "ordered"),
    [
        ("deb", ["1.0~rc1-1", "1.0-1", "1.0-1+b1", "1.10-1", "1:0.1-1"]),
        ("rpm", ["1.0~rc1-1", "1.0-1", "1.0^git-1", "1.10-1", "1:0.1-1"]),
    ],
)
def test_versions_are_compared_as_the_family_does(family: str, ordered: list[str]) -> None:
    form = FORMATS[family]

    for number, one in enumerate(ordered):
        for other_number, other in enumerate(ordered):
            way = form.compare(one, other)
            assert (way > 0) - (way < 0) == (number > other_number) - (number < other_number)
