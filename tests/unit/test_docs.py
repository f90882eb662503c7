"""The documents say what the program does: commands, options, codes, keys, links; and nothing of the build machine."""

import dataclasses
import importlib
import inspect
import itertools
import os
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from repobuild import errors, host
from repobuild.cli.main import root
from repobuild.manifest import access_schema, default_manifest, load, portal_schema, schema, upstream_schema, yum_schema
from repobuild.targets import ALL_TARGETS, known_selectors

HOUSE = Path(__file__).resolve().parents[2]
DOCS = HOUSE / "repobuild" / "docs"
README = HOUSE / "README.md"
MANUAL = DOCS / "repobuild.1.md"
MANIFEST_MANUAL = DOCS / "repobuild-manifest.5.md"
DECISIONS = sorted((DOCS / "decisions").glob("*.md"))
DOCUMENTS = sorted([README, HOUSE / "CHANGELOG.md", MANUAL, MANIFEST_MANUAL, *DECISIONS])
SHIPPED = sorted({*DOCUMENTS, *(HOUSE / "manifests").rglob("*.yml"), *(HOUSE / "manifests").rglob("*.md")})

ENVIRONMENT = (
    "REPOBUILD_STORE",
    "REPOBUILD_PASSPHRASE_FILE",
    "XDG_STATE_HOME",
    "XDG_CONFIG_HOME",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "NO_COLOR",
)
SECTIONS = ["Context", "Options", "Choice", "Consequences"]
PUBLIC_HOSTS = {
    "ftp.debian.org",
    "ftp.de.debian.org",
    "localhost",
    "mirrors.aliyun.com",
    "mirrors.tuna.tsinghua.edu.cn",
    "mirrors.xtom.de",
    "security.debian.org",
}
"""Hosts that the shipped manifest offers to everyone, so that a machine whose apt uses one is no secret."""


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def commands(command: click.Command = root, words: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """Yield every command that does something, with its words."""
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None, name
            yield from commands(found, (*words, name))
    else:
        yield " ".join(words), command


COMMANDS = dict(commands())


def options(command: click.Command) -> list[str]:
    return [name for each in command.params if isinstance(each, click.Option) for name in each.opts]


def section(text: str, title: str) -> str:
    """Return the part of a document under the heading `title`, its lower headings included."""
    heading = re.search(rf"^(#+) {re.escape(title)}$", text, re.MULTILINE)
    assert heading, f"no heading {title!r}"
    rest = text[heading.end() :]
    following = re.search(rf"^#{{1,{len(heading[1])}}} ", rest, re.MULTILINE)
    return rest[: following.start()] if following else rest


def terms(text: str) -> set[str]:
    """Return the options that a text defines: those of the lines before a line that begins with a colon."""
    lines = text.splitlines()
    heads = [line for line, below in itertools.pairwise(lines) if below.startswith(": ")]
    return {word.split()[0] for line in heads for word in re.findall(r"`(-[^`]+)`", line)}


def first_column(text: str) -> list[str]:
    """Return the first cells of the tables in a text, without header and ruler."""
    rows = re.findall(r"^\| (.*?) +\|", text, re.MULTILINE)
    return [row for row in rows if row.startswith("`") or row[:1].isdigit()]


def codes_of_errors() -> set[int]:
    classes = [
        each for _, each in inspect.getmembers(errors, inspect.isclass) if issubclass(each, errors.RepobuildError)
    ]
    return {0, *(each.exit_code for each in classes)}


class TestManual:
    @pytest.mark.parametrize("name", COMMANDS)
    def test_the_manual_has_a_section_and_a_synopsis_for_every_command(self, name: str) -> None:
        text = text_of(MANUAL)

        assert f"\n### repobuild {name}\n" in text
        assert re.search(rf"^repobuild {name}\b", section(text, "Synopsis").replace("  ", " "), re.MULTILINE)

    def test_the_manual_has_no_section_for_a_command_that_is_not_there(self) -> None:
        described = re.findall(r"^### repobuild (.*)$", section(text_of(MANUAL), "Commands"), re.MULTILINE)

        assert {*COMMANDS, "--version"} == set(described)

    @pytest.mark.parametrize("name", COMMANDS)
    def test_every_option_of_a_command_is_defined_there_or_among_the_shared_ones(self, name: str) -> None:
        text = text_of(MANUAL)
        shared = ["Options of every command", "Building options", "Signing options", "Publishing options"]
        said = terms(section(text, f"repobuild {name}")).union(*(terms(section(text, title)) for title in shared))

        assert [] == [option for option in options(COMMANDS[name]) if option not in said]

    def test_an_option_that_is_defined_is_an_option_of_some_command(self) -> None:
        there = {option for command in COMMANDS.values() for option in options(command)} | {"-h", "--help", "--version"}

        assert set() == terms(text_of(MANUAL)) - there

    @pytest.mark.parametrize(
        ("title", "mark"),
        [
            ("Building options", "--skip-missing"),
            ("Signing options", "--passphrase-file"),
            ("Publishing options", "--fix-owner"),
        ],
    )
    def test_the_shared_options_name_the_commands_that_take_them(self, title: str, mark: str) -> None:
        taken = section(text_of(MANUAL), title).strip().split("\n", 1)[0]

        assert {name for name, each in COMMANDS.items() if mark in options(each)} == set(
            re.findall(r"`([^`]+)`", taken)
        )

    def test_the_manual_is_what_help_shows(self) -> None:
        for topic, path in {"manual": MANUAL, "manifest": MANIFEST_MANUAL}.items():
            shown = importlib.import_module("repobuild.cli.house")._MANUALS[topic]

            assert path == DOCS / shown


@pytest.mark.parametrize(("path", "title"), [(MANUAL, "Exit codes"), (README, "Exit codes")])
def test_every_exit_code_is_documented_and_no_other(path: Path, title: str) -> None:
    found = {int(cell) for cell in first_column(section(text_of(path), title))}

    assert codes_of_errors() == found - {130}


@pytest.mark.parametrize("name", ENVIRONMENT)
def test_every_variable_of_the_environment_is_documented(name: str) -> None:
    for path in (MANUAL, README):
        assert f"`{name}`" in section(text_of(path), "Environment")


def test_every_variable_that_the_command_line_reads_is_among_them() -> None:
    text = "".join(text_of(path) for path in sorted((HOUSE / "repobuild" / "cli").glob("*.py")))
    read = set(re.findall(r'"((?:REPOBUILD|XDG)_[A-Z_]+)"', text))
    manual = section(text_of(MANUAL), "Environment")

    assert [] == [name for name in sorted(read) if f"`{name}`" not in manual]


class TestReadme:
    def test_the_table_of_commands_equals_the_tree_of_commands(self) -> None:
        rows = first_column(section(text_of(README), "Commands"))
        expected = {
            name: " ".join(each.metavar or "" for each in arguments(command)) for name, command in COMMANDS.items()
        }

        assert {f"`repobuild {name} {words}`".replace(" `", "`") for name, words in expected.items()} == {
            row.replace("\\|", "|") for row in rows
        }

    def test_the_make_targets_it_names_are_in_the_makefile(self) -> None:
        named = set(re.findall(r"\bmake ([a-z]+)", "\n".join(code_of(text_of(README)))))

        assert named <= set(re.findall(r"^([a-z]+):", text_of(HOUSE / "Makefile"), re.MULTILINE))
        assert {"sync", "test", "lint", "check", "bench"} <= named

    @pytest.mark.parametrize("path", [README, MANUAL], ids=lambda path: path.name)
    def test_every_command_in_an_example_is_one_with_options_it_has(self, path: Path) -> None:
        wrong = []
        for line in examples(text_of(path)):
            words = re.split(r"\s+[|>#&;]+", line)[0].split()[1:]
            if words == ["--version"]:
                continue
            name = " ".join(words[:2]) if words[0] == "key" else words[0]
            known = {*options(COMMANDS[name]), "-h"} if name in COMMANDS else set()
            wrong += [line for word in words if word.startswith("-") and word not in known]
            wrong += [line] if name not in COMMANDS else []

        assert [] == wrong


def arguments(command: click.Command) -> list[click.Argument]:
    return [each for each in command.params if isinstance(each, click.Argument) and each.metavar]


def code_of(text: str) -> list[str]:
    """Return what stands in backticks and in blocks of code."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [*blocks, *re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))]


def examples(text: str) -> list[str]:
    """Return the lines of examples that run repobuild."""
    without_synopsis = re.sub(r"^## Synopsis.*?^## ", "## ", text, flags=re.MULTILINE | re.DOTALL)
    shell = re.findall(r"^```sh\n(.*?)^```", without_synopsis, re.MULTILINE | re.DOTALL)
    lines = [line.strip() for block in shell for line in block.splitlines()]
    lines += [line.strip() for line in without_synopsis.splitlines() if line.startswith("    repobuild ")]
    return [line.removeprefix("venv/bin/") for line in lines if line.removeprefix("venv/bin/").startswith("repobuild ")]


class TestManifestManual:
    @pytest.mark.parametrize(
        ("title", "keys"),
        [
            ("Keys of the document", (*schema._KEYS, schema._PROFILES)),
            ("Upstreams: `repo_upstream`", upstream_schema._KEYS),
            ("Files by URL: `repo_url_packages`", schema._URL_KEYS),
            ("Proxies: `proxy_env`", (*schema._PROXIES, schema._NO_PROXY)),
            ("Access: `access`", access_schema.KEYS),
            ("The portal: `infra_portal`", portal_schema._SITE_KEYS),
        ],
    )
    def test_every_key_of_the_schema_has_a_row_and_no_other(self, title: str, keys: tuple[str, ...]) -> None:
        table = section(text_of(MANIFEST_MANUAL), title).partition("**`verify`.**")[0]

        assert set(keys) == {key.strip("`") for cell in first_column(table) for key in cell.split(", ")}

    def test_every_option_of_meta_has_a_row_and_no_other(self) -> None:
        text = section(text_of(MANIFEST_MANUAL), "Upstreams: `repo_upstream`").partition("**`meta`.**")[2]
        cells = first_column(text.partition("**`origin`.**")[0])

        assert set(yum_schema._KEYS) == {key.strip("`") for cell in cells for key in cell.split(", ")}

    def test_the_defaults_are_those_of_the_schema(self) -> None:
        text = section(text_of(MANIFEST_MANUAL), "Keys of the document")
        defaults = [",".join(schema._MODULES), schema._ADMIN_IP, schema._ENDPOINT]

        assert [] == [each for each in defaults if f"`{each}`" not in text]

    def test_the_order_of_selectors_is_that_of_the_targets(self) -> None:
        line = re.search(r"^    (default < .*)$", text_of(MANIFEST_MANUAL), re.MULTILINE)

        assert line
        named = line[1].split(" < ")
        assert set(named) <= set(known_selectors())
        assert named[-1] in {target.name for target in ALL_TARGETS}

    def test_every_example_is_a_manifest_that_is_accepted(self, tmp_path: Path) -> None:
        blocks = re.findall(r"^```yaml\n(.*?)^```", text_of(MANIFEST_MANUAL), re.MULTILINE | re.DOTALL)

        assert len(blocks) >= 4
        whole = "repo_upstream: []\n"
        for block in blocks:
            (tmp_path / "a.yml").write_text(block if "repo_upstream:" in block else whole + block)
            load(tmp_path / "a.yml")


class TestLinksAndHosts:
    @pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
    def test_links_between_documents_resolve(self, path: Path) -> None:
        broken = []
        for link in re.findall(r"\]\(([^)\s]+)\)", text_of(path)):
            if re.match(r"[a-z]+:", link):
                continue
            file, _, anchor = link.partition("#")
            found = path.parent / file if file else path
            if not found.exists() or (anchor and anchor not in anchors(found)):
                broken.append(link)

        assert [] == broken

    @pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
    def test_no_document_names_a_host_of_the_build_machines_package_sources(self, path: Path) -> None:
        urls = [url for mirror in host.apt_mirrors() for url in (mirror.url, mirror.proxy or "")]
        hosts = {match[1] for url in urls if (match := re.match(r"https?://(?:[^/@]*@)?([^/:]+)", url))}

        assert set() == {each for each in hosts - PUBLIC_HOSTS if each in text_of(path)}

    @pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
    def test_no_document_names_a_place_of_the_build_machine(self, path: Path) -> None:
        text = text_of(path)

        assert [] == [
            place for place in (str(HOUSE), str(Path.home()) + "/", f"/run/user/{os.getuid()}") if place in text
        ]

    @pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
    def test_lines_of_prose_keep_to_the_width(self, path: Path) -> None:
        prose = re.sub(r"^```.*?^```", "", text_of(path), flags=re.MULTILINE | re.DOTALL).splitlines()

        assert [] == [line for line in prose if len(line) > 120 and not line.startswith("|")]


def anchors(path: Path) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", text_of(path), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


class TestDecisions:
    def test_decisions_are_numbered_without_gaps(self) -> None:
        numbers = [int(path.name[:4]) for path in DECISIONS]

        assert list(range(1, len(DECISIONS) + 1)) == numbers
        assert DECISIONS

    @pytest.mark.parametrize("path", DECISIONS, ids=lambda path: path.name)
    def test_a_decision_has_its_four_sections_and_at_most_60_lines(self, path: Path) -> None:
        text = text_of(path)

        assert SECTIONS == re.findall(r"^## (.*)$", text, re.MULTILINE)
        assert text.startswith(f"# {path.name[:4]} ")
        assert 25 <= len(text.splitlines()) <= 60

    @pytest.mark.parametrize("path", DECISIONS, ids=lambda path: path.name)
    def test_the_decisions_name_modules_that_are_there(self, path: Path) -> None:
        named = re.findall(r"`((?:formats|pipeline|archive|fetch|tests)/[\w./]*|\w+\.py)`", text_of(path))
        here = [*HOUSE.glob("repobuild/**/*.py"), *HOUSE.glob("tests/**/*.py")]
        names = {each.name for each in here}

        assert [] == [
            each
            for each in named
            if not (HOUSE / "repobuild" / each).exists() and not (HOUSE / each).exists() and each not in names
        ]


def test_the_changelog_has_the_released_version_and_room_for_the_next() -> None:
    titles = re.findall(r"^## \[(.*?)\]", text_of(HOUSE / "CHANGELOG.md"), re.MULTILINE)
    version = re.search(r'^version = "(.*)"', text_of(HOUSE / "pyproject.toml"), re.MULTILINE)

    assert version
    assert ["Unreleased", version[1]] == titles[:2]


def test_the_words_of_the_manual_are_those_of_the_model() -> None:
    model = importlib.import_module("repobuild.model").__doc__ or ""
    words = {word.strip(",") for line in re.findall(r"^([a-z, ]+?)  ", model, re.MULTILINE) for word in line.split()}
    said = section(text_of(MANUAL), "Words")
    special = {"family", "catalog", "tree", "contents"}
    """Words for those who read the code."""

    assert set() == {word for word in words - special if not re.search(rf"\b{word}\b", said)}


def test_the_shipped_manifest_is_the_one_that_the_documents_link() -> None:
    assert default_manifest().name == "quickstart.yml"
    assert "manifests/quickstart.yml" in text_of(README)


def test_the_licence_is_apache_2() -> None:
    assert "Apache License" in text_of(HOUSE / "LICENSE")[:200]
    assert "END OF TERMS AND CONDITIONS" in text_of(HOUSE / "LICENSE")


def test_the_settings_that_documents_give_in_figures_are_the_real_ones() -> None:
    settings = {
        each.name: each.default for each in dataclasses.fields(importlib.import_module("repobuild.fetch").Settings)
    }
    manual = text_of(MANUAL)

    assert settings["redirects"] == 5
    assert "five at most" in manual
    assert f"Default: {settings['jobs']}." in manual
