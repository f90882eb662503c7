"""What RpmUniverse finds, chooses, says and refuses. The rules of choosing are data in rpm_cases.py, judged by dnf too."""

import os
import threading
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest
from rpm_cases import CASES, DB, GROUPS, MODULAR, MULTILIB, OBSOLETES, PGDG, STREAMS, TWO, WEAK
from rpm_universes import Case, FolderCache, Repo, chosen, comps, defaults, loaded, module, universe, write

from repobuild.errors import HostileInputError, RepobuildError, UnresolvableError, VerificationError
from repobuild.formats.protocol import IndexFile, Loaded
from repobuild.formats.rpm import modules_index
from repobuild.formats.rpm.resolver import RpmUniverse
from repobuild.model import Mirror, Options, Resolution
from repobuild.resolve import resolve
from repobuild.targets import parse_target

SHA = "0123456789abcdef" * 4
OFF = Options(weak_dependencies=False)


def opened(folder: Path, repo: Repo, **more: object) -> RpmUniverse:
    return universe(folder, Case("", {"r": repo}, [], None, **more))  # type: ignore[arg-type]


def solved(folder: Path, repo: Repo, *wants: str) -> RpmUniverse:
    found = opened(folder, repo)
    found.solve([each for want in wants for each in found.find(want).candidates])
    return found


def with_text(folder: Path, text: bytes, cache: FolderCache | None = None) -> RpmUniverse:
    """Open an upstream whose primary is `text`."""
    write(folder / "r", TWO)
    there = loaded(folder / "r", "r")
    there.texts[0].write_bytes(text)
    file = replace(there.root.indexes[0], sha256="")
    changed = replace(there, root=replace(there.root, indexes=(file,)))
    return RpmUniverse([changed], parse_target("el9.x86_64"), cache or FolderCache(), OFF)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_rules_of_choosing(tmp_path: Path, case: Case) -> None:
    found = universe(tmp_path, case)

    assert (None if case.chosen is None else sorted(case.chosen)) == chosen(found, case.wants)


def test_a_64_bit_package_does_not_take_the_place_of_a_32_bit_one(tmp_path: Path) -> None:
    # EL's libsolv is built to ask for the colour of an obsoletes, as rpm does; Debian's is not, so no case for its dnf.
    found = opened(tmp_path, Repo("old 1-1 i686\n new 1-1 x86_64; obsoletes: old"))

    assert ["new-1-1.x86_64", "old-1-1.i686"] == chosen(found, ["new", "old.i686"])


class TestFinding:
    @pytest.mark.parametrize(
        ("repo", "want", "reason", "near"),
        [
            (TWO, "c", "no upstream has it", ()),
            (Repo("postgresql-server 1-1 noarch"), "postgresql-sever", "no upstream has it", ("postgresql-server",)),
            (TWO, "a=3", "a is there, but only as 2-1, 1-1", ("a=2-1", "a=1-1")),
            (TWO, "a.i686", "a is there, but only for x86_64", ("a",)),
            (TWO, "z*", "nothing matches", ()),
            (Repo("db-libs 2-1 x86_64", STREAMS), "db-libs", "db-libs-2-1.x86_64 is there, but hidden: of module db:2, which is not enabled", ()),
            (MODULAR, "@db", "module db: none of its streams is enabled or the default", ("@db:1", "@db:2")),
            (MODULAR, "@db:3", "module db: that stream is not there", ("@db:1", "@db:2")),
            (MODULAR, "@db:2", "module db:2 has no default profile: name one", ("@db:2/client", "@db:2/server")),
            (GROUPS, "@tool", "no upstream has a group or module of that name", ("@tools",)),
            (GROUPS, "@tools/strange", "the packages of a group are mandatory, default, conditional, optional", ()),
            (
                Repo("a 1-1 noarch", options={"excludepkgs": ["a*"]}), "a",
                "a-1-1.noarch is there, but hidden: left out by excludepkgs of r: a*", (),
            ),
        ],
    )  # fmt: skip
    def test_a_want_that_nothing_has_says_why(
        self, tmp_path: Path, repo: Repo, want: str, reason: str, near: tuple[str, ...]
    ) -> None:
        found = opened(tmp_path, repo).find(want)

        assert () == found.candidates
        assert reason == found.reason
        assert near == found.near

    @pytest.mark.parametrize(
        ("want", "taken"),
        [
            ("a=1", ["a-1-1.x86_64"]),
            ("a=1-1", ["a-1-1.x86_64"]),
            ("a=0:1-1", ["a-1-1.x86_64"]),
            ("a.x86_64=1-1", ["a-1-1.x86_64"]),
        ],
    )
    def test_name_equals_version_names_that_one(self, tmp_path: Path, want: str, taken: list[str]) -> None:
        assert taken == chosen(opened(tmp_path, TWO), [want])

    def test_matches_of_a_glob_are_optional_and_one_a_name(self, tmp_path: Path) -> None:
        found = opened(tmp_path, TWO)

        matches = found.find("*")

        assert matches.is_optional
        assert ["a-2-1.x86_64", "b-1-1.noarch"] == [found.name_of(each) for each in matches.candidates]

    def test_a_plain_name_is_not_optional(self, tmp_path: Path) -> None:
        assert not opened(tmp_path, TWO).find("a").is_optional

    @pytest.mark.parametrize("want", ["", "a\nb", "x" * 513])
    def test_what_cannot_be_a_want_is_refused(self, tmp_path: Path, want: str) -> None:
        with pytest.raises(HostileInputError):
            opened(tmp_path, TWO).find(want)

    def test_filelists_are_opened_only_for_a_path_beyond_primary(self, tmp_path: Path) -> None:
        write(tmp_path / "r", Repo("a 1-1 noarch; files: /usr/bin/a, /opt/a"))
        there = loaded(tmp_path / "r", "r")
        opened: list[str] = []

        def bring(file: IndexFile) -> Path:
            opened.append(file.kind)
            assert there.open is not None
            return there.open(file)

        found = RpmUniverse([replace(there, open=bring)], parse_target("el9.x86_64"), FolderCache(), OFF)

        assert ["a-1-1.noarch"] == chosen(found, ["/usr/bin/a"])
        assert [] == opened
        assert ["a-1-1.noarch"] == chosen(found, ["/opt/a"])
        assert ["filelists"] == opened

    def test_a_module_want_moves_what_other_wants_stand_for(self, tmp_path: Path) -> None:
        found = opened(tmp_path, Repo(DB, STREAMS + defaults("db", "1", "2: [client]")))

        assert ["db-2-1.x86_64", "db-libs-2-1.x86_64"] == chosen(found, ["db", "@db:2"])

    def test_a_stream_that_is_enabled_later_shows_what_was_hidden_before(self, tmp_path: Path) -> None:
        found = opened(tmp_path, Repo("a 1-1 noarch; requires: db-libs = 2-1\n db-libs 2-1 x86_64", STREAMS))
        wants = found.find("a").candidates

        assert "which is not enabled" in "; ".join(found.fits(wants))
        assert found.find("@db:2/client").candidates
        assert () == found.fits(wants)

    def test_one_stream_of_a_module_excludes_the_others(self, tmp_path: Path) -> None:
        found = opened(tmp_path, Repo(DB, STREAMS), streams=["db:1"])

        assert "module db has stream 1 enabled already" == found.find("@db:2/server").reason

    def test_a_profile_whose_packages_are_not_there_is_refused(self, tmp_path: Path) -> None:
        repo = Repo("a 1-1 noarch", module("m", "1", "a-0:1-1.noarch", profiles={"p": "a gone"}))

        assert "no upstream has gone, which module m:1 asks for" == opened(tmp_path, repo).find("@m:1/p").reason

    def test_a_stream_that_no_upstream_has_cannot_be_enabled(self, tmp_path: Path) -> None:
        with pytest.raises(UnresolvableError, match="db has the streams 1, 2"):
            opened(tmp_path, MODULAR, streams=["db:9"])

    def test_excluded_digests_are_not_there(self, tmp_path: Path) -> None:
        found = opened(tmp_path, TWO)
        newest = found.solve(found.find("a").candidates).choices[0].package

        found.exclude({newest.sha256})

        assert ["a-1-1.x86_64"] == chosen(found, ["a"])
        assert "a-2-1.x86_64 is there, but hidden: gone from every mirror" == found.find("a-2-1").reason


class TestChoices:
    def test_every_choice_says_why(self, tmp_path: Path) -> None:
        found = opened(tmp_path, WEAK, weak=True)

        solution = found.solve(found.find("app").candidates)

        assert {
            "app": "want", "lib": "needed by app", "extra": "recommended by app", "addon": "supplements the set",
        } == {each.package.name: each.why for each in solution.choices}  # fmt: skip

    def test_a_package_is_described_in_full(self, tmp_path: Path) -> None:
        repo = Repo(f"a 2:1.5~rc1-3.el9 x86_64; digest: {SHA}; size: 4711; location: Packages/a+b.rpm")
        found = opened(tmp_path, repo)

        package = found.solve(found.find("a").candidates).choices[0].package

        assert ("a", "2:1.5~rc1-3.el9", "x86_64") == (package.name, package.version, package.arch)
        assert (SHA, 4711, "r") == (package.sha256, package.size, package.upstream)
        assert "a-1.5~rc1-3.el9.x86_64.rpm" == package.filename
        assert "Packages/a%2Bb.rpm" == package.path
        assert "" == package.metadata

    @pytest.mark.parametrize(
        "location", ["../a.rpm", "/a.rpm", "x//a.rpm", "x/%2e%2e/a.rpm", "x/./a.rpm", "x\\a.rpm", "x%0aa.rpm"]
    )
    def test_a_location_outside_the_mirror_is_refused(self, tmp_path: Path, location: str) -> None:
        with pytest.raises(HostileInputError, match="not a path below a mirror"):
            solved(tmp_path, Repo(f"a 1-1 noarch; location: {location}"), "a")

    def test_a_base_other_than_the_mirror_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(HostileInputError, match="outside its upstream"):
            solved(tmp_path, Repo("a 1-1 noarch; base: https://evil.example/r"), "a")

    def test_a_base_that_is_the_mirror_is_taken(self, tmp_path: Path) -> None:
        solved(tmp_path, Repo("a 1-1 noarch; base: https://mirror.example/r/"), "a")

    @pytest.mark.parametrize("kind", ["sha1", "md5", "sha512"])
    def test_a_chosen_package_without_sha256_is_refused(self, tmp_path: Path, kind: str) -> None:
        digest = "0" * {"sha1": 40, "md5": 32, "sha512": 128}[kind]

        with pytest.raises(VerificationError, match=rf"no sha256 \({kind}\)"):
            solved(tmp_path, Repo(f"a 1-1 noarch; checksum: {kind}; digest: {digest}"), "a")

    @pytest.mark.parametrize("line", ["a 1-1 noarch; size: 0", "a 1/2-1 noarch", "a 1-1$ noarch", "-a 1-1 noarch"])
    def test_fields_that_cannot_be_used_are_refused(self, tmp_path: Path, line: str) -> None:
        with pytest.raises(RepobuildError):
            solved(tmp_path, Repo(line), "*a")

    def test_a_cheaper_upstream_is_asked_for_the_same_package(self, tmp_path: Path) -> None:
        repos = {"far": Repo("a 1-1 noarch"), "near": Repo("a 1-1 noarch", options={"cost": 10})}
        found = universe(tmp_path, Case("", repos, [], None))

        assert "near" == found.solve(found.find("a").candidates).choices[0].package.upstream

    def test_two_files_of_one_name_are_noted(self, tmp_path: Path) -> None:
        repos = {"r": Repo("a 1-1 noarch"), "s": Repo(f"a 1-1 noarch; digest: {SHA}")}
        found = universe(tmp_path, Case("", repos, [], None))

        notes = found.solve(found.find("a").candidates).notes

        assert ("a-1-1.noarch is one file in r and another in s; the one of r was taken",) == notes

    def test_32_bit_packages_that_nobody_asked_for_are_noted(self, tmp_path: Path) -> None:
        found = opened(tmp_path, MULTILIB)

        assert ("lib-1-1.i686 is a 32-bit package: needed by wine",) == found.solve(found.find("wine").candidates).notes
        assert () == found.solve(found.find("lib.i686").candidates).notes


class TestProblems:
    @pytest.mark.parametrize(
        ("packages", "text"),
        [
            ("a 1-1 noarch; requires: libx.so", "a-1-1.noarch of r needs libx.so, which no upstream has; it may be in"),
            (
                "a 1-1 noarch; requires: b = 2\n b 1-1 noarch",
                "a-1-1.noarch of r needs b = 2, which no upstream has in that version; there is b-1-1.noarch of r",
            ),
            (
                "a 1-1 noarch; conflicts: b\n b 1-1 noarch",
                "a-1-1.noarch of r conflicts with b, which is b-1-1.noarch of r",
            ),
            (
                "a 1-1 noarch; requires: b\n b 1-1 noarch; requires: c",
                "b-1-1.noarch of r needs c, which no upstream has",
            ),
        ],
    )
    def test_problems_name_what_is_missing_and_who_wants_it(self, tmp_path: Path, packages: str, text: str) -> None:
        found = opened(tmp_path, Repo(packages))

        problems = found.fits([each for want in ("a", "?") for each in found.find(want).candidates])

        assert text in "; ".join(problems)

    def test_a_problem_says_what_hides_what_is_needed(self, tmp_path: Path) -> None:
        repo = Repo("a 1-1 noarch; requires: db-libs = 2-1\n db-libs 2-1 x86_64", STREAMS)
        found = opened(tmp_path, repo)

        [problem] = found.fits(found.find("a").candidates)

        assert "of module db:2, which is not enabled" in problem

    def test_upstreams_that_are_there_are_not_guessed(self, tmp_path: Path) -> None:
        repos = {name: Repo("a 1-1 noarch; requires: x") for name in ("baseos", "appstream", "crb")}
        found = universe(tmp_path, Case("", repos, [], None))

        [problem] = found.fits(found.find("a").candidates)[:1]

        assert "it may be in epel, which the manifest does not name" in problem

    def test_what_is_solved_fits(self, tmp_path: Path) -> None:
        found = opened(tmp_path, OBSOLETES)

        assert () == found.fits(found.find("new").candidates)


class TestCache:
    def open(self, folder: Path, cache: FolderCache) -> RpmUniverse:
        if not (folder / "r").exists():
            write(folder / "r", MODULAR)
        there = loaded(folder / "r", "r")
        return RpmUniverse([there], parse_target("el9.x86_64"), cache, OFF)

    def test_the_second_run_reads_no_text(self, tmp_path: Path) -> None:
        cache = FolderCache()
        first = chosen(self.open(tmp_path, cache), ["db"])
        there = loaded(tmp_path / "r", "r")
        for text in there.texts:
            text.write_bytes(b"")

        again = RpmUniverse([there], parse_target("el9.x86_64"), cache, OFF)

        assert first == chosen(again, ["db"])

    @pytest.mark.parametrize(
        "damage",
        [
            lambda data: b"",
            lambda data: b"foreign",
            lambda data: data[:-1],
            lambda data: data[:200] + bytes(1) + data[201:],
            lambda data: os.urandom(4096),
        ],
    )
    def test_damaged_derived_data_is_made_anew(self, tmp_path: Path, damage: object) -> None:
        cache = FolderCache()
        first = chosen(self.open(tmp_path, cache), ["db"])
        sound = cache.kept
        for key, data in sound.items():
            cache.put_derived(key, damage(data))  # type: ignore[operator]

        assert first == chosen(self.open(tmp_path, cache), ["db"])
        assert sound == cache.kept

    def test_with_other_threads_about_it_is_kept_just_the_same(self, tmp_path: Path) -> None:
        cache, alone, is_done = FolderCache(), FolderCache(), threading.Event()
        self.open(tmp_path, alone)
        other = threading.Thread(target=is_done.wait)
        other.start()
        try:
            with mock.patch("os.fork", side_effect=AssertionError("a child may find locks taken")):
                self.open(tmp_path, cache)
        finally:
            is_done.set()
            other.join()

        assert alone.kept == cache.kept != {}

    def test_keys_begin_with_the_digest_of_the_text(self, tmp_path: Path) -> None:
        cache = FolderCache()
        self.open(tmp_path, cache)

        digests = {file.sha256 for file in loaded(tmp_path / "r", "r").root.indexes}

        assert digests == {key.partition(".")[0] for key in cache.kept}


class TestHostileTexts:
    BOMB = (
        b'<?xml version="1.0"?><!DOCTYPE m [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
        b'<metadata xmlns="http://linux.duke.edu/metadata/common" packages="0">&b;</metadata>'
    )

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            (BOMB, "document type"),
            (BOMB.decode().encode("utf-16"), "not UTF-8"),
            (b"", "empty"),
            (b"<html></html>", "no index"),
            (b'<metadata xmlns="http://linux.duke.edu/metadata/common"><package>', "malformed"),
        ],
    )
    def test_a_primary_that_is_none_is_refused(self, tmp_path: Path, text: bytes, reason: str) -> None:
        with pytest.raises(HostileInputError, match=reason):
            with_text(tmp_path, text)

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            (b"document: &a [1]\ndata: *a\n", "alias"),
            (b"data: " + b"[" * 200, "nested deeper"),
            (b"? [a]\n: b\n", "no text"),
            (b"a: b: c", "not YAML"),
            (b"\xff\xfe", "not YAML"),
            (b"document: modulemd\nversion: 2\ndata: {name: ../x, stream: '1', version: 1}", "not a name"),
            (b"document: modulemd\nversion: 2\ndata: {name: x, stream: '1', version: one}", "no version"),
        ],
    )
    def test_modules_that_are_none_are_refused(self, text: bytes, reason: str) -> None:
        with pytest.raises(HostileInputError, match=reason):
            modules_index.read(text, "r")

    def test_documents_that_are_not_ours_to_read_are_passed_by(self) -> None:
        text = b"---\ndocument: modulemd-obsoletes\nversion: 1\ndata: {}\n---\njust text\n---\n- a list\n"

        assert ((), ()) == (modules_index.read(text, "r").streams, modules_index.read(text, "r").defaults)

    def test_comps_with_definitions_are_refused(self, tmp_path: Path) -> None:
        text = comps("tools: mandatory=a").replace("'comps.dtd'>", "'comps.dtd' [<!ENTITY a 'b'>]>")
        found = opened(tmp_path, Repo("a 1-1 noarch", comps=text))

        with pytest.raises(HostileInputError):
            found.find("@tools")

    def test_a_mirror_is_what_the_base_is_compared_with(self, tmp_path: Path) -> None:
        write(tmp_path / "r", Repo("a 1-1 noarch; base: https://mirror.example/r"))
        there = loaded(tmp_path / "r", "r")
        moved: Loaded = replace(there, upstream=replace(there.upstream, mirrors=(Mirror("https://other.example/r"),)))
        found = RpmUniverse([moved], parse_target("el9.x86_64"), FolderCache(), OFF)

        with pytest.raises(HostileInputError, match="outside its upstream"):
            found.solve(found.find("a").candidates)


# older versions

LADDER = """
    app 2-1 x86_64; requires: lib = 2
    app 1:1-1 x86_64; requires: lib = 1
    app 1-1 i686
    app 1:0.9-1 noarch
    app 1:0.9-1 src
    app 3:1-1 x86_64; requires: lib = 2
    lib 2-1 noarch
    lib 1-1 noarch
"""


def kept(folder: Path, repos: dict[str, Repo], *wants: str, keep: int = 1, **more: object) -> Resolution:
    found = universe(folder, Case("", repos, [], None, **more))  # type: ignore[arg-type]
    return resolve(found, [wants], keep=keep)


def named(resolution: Resolution, why: str = "") -> list[str]:
    packages = (each.package for each in resolution.choices if not why or each.why == why)
    return sorted(f"{each.name}-{each.version}.{each.arch}" for each in packages)


def test_older_versions_are_those_of_the_architecture_that_is_chosen_by_epoch_first(tmp_path: Path) -> None:
    # app 1:1-1 would be the file of app 3:1-1, and app 1-1 is for another architecture.
    resolution = kept(tmp_path, {"r": Repo(LADDER)}, "app", keep=5)

    assert named(resolution, "older") == ["app-1:0.9-1.noarch", "app-2-1.x86_64"]
    assert resolution.sets == (("app",), ("app-1:0.9-1.noarch",), ("app-2-1.x86_64",))


def test_what_an_older_version_needs_joins_with_it(tmp_path: Path) -> None:
    resolution = kept(tmp_path, {"r": Repo(LADDER.replace("3:1-1", "3:2-1"))}, "app", keep=1)

    assert named(resolution) == ["app-1:1-1.x86_64", "app-3:2-1.x86_64", "lib-1-1.noarch", "lib-2-1.noarch"]
    why = {f"{each.package.name} {each.package.version}": each.why for each in resolution.choices}
    assert why["lib 1-1"] == "needed by app"


def test_majors_step_back_as_far_as_each_can(tmp_path: Path) -> None:
    servers = ("postgresql16-server", "postgresql17-server", "pgtool")
    resolution = kept(tmp_path, {"r": PGDG}, *servers, keep=2)

    assert named(resolution, "older") == ["postgresql16-server-16.8-1.x86_64"]
    assert "postgresql16-libs-16.8-1.x86_64" in named(resolution)
    assert resolution.sets[1:] == (("postgresql17-server", "pgtool", "postgresql16-server-16.8-1.x86_64"),)


def test_wants_of_one_version_step_back_together(tmp_path: Path) -> None:
    resolution = kept(tmp_path, {"r": PGDG}, "postgresql16*", "pgtool")

    older = ["postgresql16-16.8-1.x86_64", "postgresql16-libs-16.8-1.x86_64", "postgresql16-server-16.8-1.x86_64"]
    assert named(resolution, "older") == older
    assert resolution.sets == (("postgresql16*", "pgtool"), ("pgtool", *older))
    assert not resolution.notes


def test_an_older_version_that_the_rest_excludes_has_a_set_of_its_own(tmp_path: Path) -> None:
    text = "a 1-1 noarch; conflicts: b\n a 2-1 noarch\n b 1-1 noarch"
    resolution = kept(tmp_path, {"r": Repo(text)}, "a", "b")

    assert resolution.sets == (("a", "b"), ("a-1-1.noarch",))


def test_an_older_version_that_cannot_be_installed_is_named(tmp_path: Path) -> None:
    resolution = kept(tmp_path, {"r": Repo("a 1-1 noarch; requires: gone\n a 2-1 noarch")}, "a")

    assert named(resolution) == ["a-2-1.noarch"]
    assert any("older version left out: a-1-1.noarch" in note and "gone" in note for note in resolution.notes)


def test_another_modules_package_of_the_name_is_no_older_version(tmp_path: Path) -> None:
    repos = {"base": Repo("loki 2-1 noarch", options={"module": "node"}), "infra": Repo("loki 3-1 noarch", options={"module": "infra"})}  # fmt: skip

    assert named(kept(tmp_path, repos, "loki")) == ["loki-3-1.noarch"]


def test_hidden_packages_are_no_older_versions(tmp_path: Path) -> None:
    resolution = kept(tmp_path, {"r": MODULAR}, "db", keep=3, streams=["db:2"])

    assert named(resolution) == ["db-2-1.x86_64", "db-libs-2-1.x86_64"]


def test_majors_that_exclude_each_other_go_to_install_sets(tmp_path: Path) -> None:
    appstream = Repo("postgresql-server 16.8-1 x86_64; conflicts: postgresql16-server, postgresql17-server")
    wants = ("postgresql16-server", "postgresql-server", "postgresql17-server")
    resolution = kept(tmp_path, {"r": PGDG, "appstream": appstream}, *wants, keep=0)

    assert resolution.sets == (("postgresql16-server", "postgresql17-server"), ("postgresql-server",))
    assert {"postgresql-server-16.8-1.x86_64", "postgresql17-libs-17.5-1.x86_64"} <= set(named(resolution))


# origins


@pytest.mark.parametrize(
    ("infra", "pinned", "reason"),
    [
        ("grafana 1-1 noarch", "infra", "withheld by origin: loki comes only from infra, which does not have it"),
        ("grafana 1-1 noarch", "other", "comes only from other, which is none of the upstreams read for this target"),
    ],
)
@pytest.mark.parametrize("want", ["loki", "loki.noarch", "loki*", "loki-4-1.noarch"])
def test_a_package_that_a_pin_withholds_says_so(
    tmp_path: Path, infra: str, pinned: str, reason: str, want: str
) -> None:
    repos = {"base": Repo("loki 4-1 noarch\n app 1-1 noarch; requires: loki"), "infra": Repo(infra)}
    found = universe(tmp_path, Case("", repos, [], None, origins={"loki": pinned}))

    assert reason in found.find(want).reason
    assert reason in found.fits(found.find("app").candidates)[0]


def test_a_pinned_package_that_nobody_has_says_where_it_should_be(tmp_path: Path) -> None:
    found = universe(tmp_path, Case("", {"r": TWO}, [], None, origins={"loki": "infra"}))

    assert "comes only from infra, which is none of the upstreams" in found.find("loki").reason


def test_what_was_taken_for_a_want_is_known(tmp_path: Path) -> None:
    repos = {"r": OBSOLETES, "s": Repo("web 1-1 noarch; provides: server\n web 2-1 i686")}
    found = universe(tmp_path, Case("", repos, [], None))
    resolution = resolve(found, [["old", "server", "web"]])

    taken = [(want, package.name, package.upstream) for want, package in resolution.taken]
    assert taken == [("old", "new", "r"), ("server", "web", "s"), ("web", "web", "s")]
    assert found.upstreams_of("web") == ("s",)
    assert found.upstreams_of("absent") == ()
