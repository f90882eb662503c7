"""What came from another module than its group expects: warned of where it looks like a mix-up, else one line."""

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repobuild.model import Mirror, Package, Upstream
from repobuild.origins import Expectation, Foreign, compare, summary

MODULES = {"base": "node", "updates": "node", "infra": "infra", "pgdg": "pgsql"}


def package(name: str, upstream: str) -> Package:
    return Package(
        name=name, version="1", arch="all", size=1, sha256="0" * 64, path=name, upstream=upstream,
        filename=f"{name}.deb", metadata="",
    )  # fmt: skip


def compared(
    expected: Sequence[tuple[str, str]],
    taken: Sequence[tuple[str, str]],
    *,
    had: Mapping[str, Sequence[str]] | None = None,
    skipped: Sequence[str] = (),
    priorities: Mapping[str, int] | None = None,
) -> Foreign:
    upstreams = tuple(
        Upstream(
            name=name, module=module, mirrors=(Mirror("http://a.test"),), priority=(priorities or {}).get(name, 99)
        )
        for name, module in MODULES.items()
    )
    expectation = Expectation(expected=tuple(expected), upstreams=upstreams, skipped=tuple(skipped))
    packages = [(want, package(want, upstream)) for want, upstream in taken]
    return compare(expectation, packages, lambda name: (had or {}).get(name, ()))


def test_what_comes_from_where_it_is_expected_is_not_spoken_of() -> None:
    found = compared([("grafana", "infra"), ("nginx", "node")], [("grafana", "infra"), ("nginx", "updates")])

    assert found == Foreign((), ())


def test_what_no_group_speaks_of_may_come_from_anywhere() -> None:
    assert compared([], [("vim", "base")]) == Foreign((), ())


def test_what_only_the_distribution_has_is_one_line_for_all() -> None:
    expected = [("dnsmasq", "infra"), ("keepalived", "infra"), ("redis", "infra")]
    taken = [("dnsmasq", "base"), ("redis", "updates"), ("keepalived", "base")]
    found = compared(expected, taken, had={"dnsmasq": ["base", "updates"]})

    assert found.pairs == (("dnsmasq", "base"), ("redis", "updates"), ("keepalived", "base"))
    assert found.notes == ("from another module than their group's: dnsmasq, keepalived (base); redis (updates)",)


def test_a_package_that_the_expected_module_has_too_is_a_warning() -> None:
    expected = [("loki", "infra"), ("mimir", "infra"), ("dnsmasq", "infra")]
    taken = [("loki", "base"), ("mimir", "base"), ("dnsmasq", "base")]
    found = compared(expected, taken, had={"loki": ["base", "infra"], "mimir": ["infra"]})

    warning = "warning: taken from base, although infra of the module expected has it too; `origin` says which is meant"
    assert found.notes == (
        f"{warning}: loki, mimir",
        "from another module than their group's: dnsmasq (base)",
    )
    assert len(found.pairs) == 3


def test_a_choice_that_the_priorities_made_is_no_warning() -> None:
    ranked = {"infra": 12}
    had = {"haproxy": ["base", "infra"], "loki": ["base", "infra"]}

    assert compared([("haproxy", "node")], [("haproxy", "infra")], had=had, priorities=ranked).notes == (
        "from another module than their group's: haproxy (infra)",
    )
    assert compared([("loki", "infra")], [("loki", "base")], had=had, priorities=ranked).notes[0].startswith("warning")


def test_a_package_whose_own_upstream_was_skipped_is_a_warning() -> None:
    found = compared([("loki", "infra")], [("loki", "base")], skipped=["infra", "pgdg"])

    assert found.notes == ("warning: taken from base, while infra of the module expected was skipped: loki",)


def test_several_upstreams_are_spoken_of_as_several() -> None:
    expected = [("loki", "infra"), ("loki", "pgsql")]
    skipped = compared(expected, [("loki", "base")], skipped=["infra", "pgdg"])
    rivalled = compared(expected, [("loki", "base")], had={"loki": ["infra", "pgdg"]})

    assert "infra and pgdg of the module expected were skipped" in skipped.notes[0]
    assert "infra and pgdg of the module expected have it too" in rivalled.notes[0]


def test_a_skipped_upstream_of_another_module_is_no_reason_to_warn() -> None:
    found = compared([("loki", "infra")], [("loki", "base")], skipped=["pgdg"])

    assert found.notes == ("from another module than their group's: loki (base)",)


def test_a_want_of_several_groups_may_come_from_the_module_of_any() -> None:
    expected = [("nginx", "infra"), ("nginx", "node")]

    assert compared(expected, [("nginx", "base")]) == Foreign((), ())
    assert compared(expected, [("nginx", "pgdg")]).pairs == (("nginx", "pgdg"),)


def test_a_file_that_the_operator_names_is_never_foreign() -> None:
    assert compared([("loki", "infra")], [("loki", "url of loki.deb")]) == Foreign((), ())


def test_a_glob_is_named_once_for_each_upstream() -> None:
    found = compared([("pg*", "pgsql")], [("pg*", "base"), ("pg*", "base"), ("pg*", "pgdg"), ("pg*", "updates")])

    assert found.pairs == (("pg*", "base"), ("pg*", "updates"))


@pytest.mark.parametrize("pairs", [(), (("a", "base"),)])
def test_a_summary_is_a_line_or_none(pairs: tuple[tuple[str, str], ...]) -> None:
    assert len(summary(pairs)) == len(pairs)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(sorted(MODULES)))))
def test_every_foreign_want_is_recorded_and_said(taken: list[tuple[str, str]]) -> None:
    found = compared([(name, "infra") for name in "abc"], taken, had={"a": ["infra"]})

    assert set(found.pairs) == {pair for pair in taken if pair[1] != "infra"}
    said = " ".join(note.rpartition(": ")[2] for note in found.notes)
    assert all(want in said for want, _ in found.pairs)
