"""The landing page: what it says, that nothing slips out of it, and how it looks in a real browser."""

import itertools
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from chromium import Browser, browser, needs_chromium
from hostile import HOSTILE

from repobuild.errors import UsageError
from repobuild.webserver import PageRepository, PageSpec, landing_page

COMMANDS = (
    ("trust it", "mkdir -p /etc/apt/keyrings && cp /www/d12.aarch64/pigsty.gpg /etc/apt/keyrings/"),
    ("use it here", "cp /www/d12.aarch64/pigsty-local.list /etc/apt/sources.list.d/ && apt-get update"),
    (
        "elsewhere",
        ("mkdir -p /etc/apt/keyrings && curl -L http://10.10.10.10/d12.aarch64/pigsty.gpg -o /etc/apt/keyrings/pigsty.gpg"
        " && curl -L http://10.10.10.10/d12.aarch64/pigsty.list -o /etc/apt/sources.list.d/pigsty.list && apt-get update"),
    ),
)  # fmt: skip
REPOSITORY = PageRepository(
    name="pigsty",
    target="d12.aarch64",
    path="/d12.aarch64/pigsty/",
    packages=604,
    size=615_300_000,
    time=1_760_000_000,
    commands=COMMANDS,
)
SPEC = PageSpec(
    title="h.pigsty",
    repositories=(REPOSITORY, replace(REPOSITORY, target="el9.x86_64", path="/pigsty/", packages=1)),
    links=(("grafana", "http://g.pigsty/"), ("minio", "https://m.pigsty:8443/")),
)
TWENTY = replace(SPEC, repositories=tuple(replace(REPOSITORY, path=f"/t{number:02}/pigsty/") for number in range(20)))
VOID = {"meta", "link", "br", "hr", "img", "input"}


class Strict(HTMLParser):
    """Reads a page and holds it to what HTML asks: what is open is closed in order, ids are unique, labels are there."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.ids: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names))
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.texts.append(data)


def read(page: str) -> Strict:
    reader = Strict()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    assert len(reader.ids) == len(set(reader.ids))
    wanted = [value for name, value in reader.attributes if name in {"aria-labelledby", "for"}]
    assert set(wanted) <= set(reader.ids)
    return reader


def test_the_page_says_what_is_here_and_how_to_use_it() -> None:
    page = landing_page(SPEC)
    said = " ".join(" ".join(read(page).texts).split())

    assert "pigsty for d12.aarch64" in said
    assert "604 packages, 615.3 MB, 2025-10-09" in said
    assert "1 package, 615.3 MB" in said
    assert all(command in said for _, command in COMMANDS)
    links = [value for name, value in read(page).attributes if name == "href"]
    assert links == ["/d12.aarch64/pigsty/", "/pigsty/", "http://g.pigsty/", "https://m.pigsty:8443/"]


def test_the_page_is_html_with_a_language_a_title_and_headings_in_order() -> None:
    page = landing_page(SPEC)
    reader = read(page)

    assert page.startswith("<!DOCTYPE html>\n")
    assert ("lang", "en") in reader.attributes
    assert ("charset", "utf-8") in reader.attributes
    assert reader.tags.count("title") == reader.tags.count("h1") == reader.tags.count("main") == 1
    levels = [int(tag[1]) for tag in reader.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_the_page_asks_for_nothing_else() -> None:
    page = landing_page(TWENTY)
    reader = read(page)

    assert not {"script", "img", "link", "iframe", "object", "form"} & set(reader.tags)
    assert not any(name.startswith("on") or name in {"src", "style", "srcset"} for name, _ in reader.attributes)
    assert not re.search(r"@import|url\(", page)
    assert "default-src 'none'" in page


def test_twenty_repositories_take_less_than_20_kb() -> None:
    assert len(landing_page(TWENTY).encode()) < 20_000


def test_the_same_facts_in_another_order_give_the_same_page() -> None:
    assert landing_page(replace(SPEC, repositories=SPEC.repositories[::-1])) == landing_page(SPEC)


def test_a_home_without_repositories_says_so() -> None:
    said = read(landing_page(PageSpec(title="h", repositories=()))).texts

    assert "No repository is published here yet." in said


MARKUP = [
    "<script>alert(1)</script>",
    "</title>",
    '" onclick="x',
    "' x='",
    "&lt;",
    "&#0;",
    "<!--",
    "-->",
    "]]>",
    "\ud800",
    "\ufeff",
]


@pytest.mark.parametrize("value", [*HOSTILE, *MARKUP])
def test_a_hostile_text_adds_no_markup(value: str) -> None:
    hostile = replace(REPOSITORY, name=value, target=value, commands=((value, value),))
    spec = PageSpec(title=value, repositories=(hostile,), links=((value, "http://g.pigsty/"),))
    plain = replace(REPOSITORY, name="x", target="x", commands=(("x", "x"),))

    page = landing_page(spec)

    reader, expected = read(page), read(landing_page(PageSpec(title="x", repositories=(plain,), links=spec.links)))
    assert (reader.tags, reader.attributes) == (expected.tags, expected.attributes)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u202e\ufeff]", page)
    page.encode()


@pytest.mark.parametrize("value", [*HOSTILE, *MARKUP, "javascript:alert(1)", "http://a/?b", "//a/", "http://u:p@a/"])
def test_only_a_url_is_linked(value: str) -> None:
    with pytest.raises(UsageError):
        landing_page(replace(SPEC, links=(("x", value),)))
    if value != "//a/":
        with pytest.raises(UsageError):
            landing_page(PageSpec(title="x", repositories=(replace(REPOSITORY, path=value),)))


@pytest.mark.parametrize("time", [-1, 1 << 60])
def test_a_time_that_is_none_is_refused(time: int) -> None:
    with pytest.raises(UsageError, match="time: expected"):
        landing_page(PageSpec(title="x", repositories=(replace(REPOSITORY, time=time),)))


# ------------------------------------------------------------------------------------------ in a browser


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("chromium")) as found:
        yield found


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "index.html"
    path.write_text(landing_page(TWENTY))
    return path


CONTRAST = """(() => {
  const light = c => { const v = c.match(/[0-9.]+/g).slice(0, 3).map(x => x / 255)
    .map(x => x <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4); return 0.2126*v[0] + 0.7152*v[1] + 0.0722*v[2]; };
  const behind = e => { while (e) { const c = getComputedStyle(e).backgroundColor;
    if (!/, 0\\)$/.test(c)) return c; e = e.parentElement; } return 'rgb(255,255,255)'; };
  return Math.min(...[...document.querySelectorAll('h1,h2,h3,p,a,dt,code,strong,time')].map(e => {
    const [a, b] = [light(getComputedStyle(e).color), light(behind(e))]; return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  }));
})()"""
"""The lowest contrast of any text against what is behind it (WCAG 2)."""


@needs_chromium
@pytest.mark.parametrize("is_dark", [False, True])
@pytest.mark.parametrize("width", [320, 390, 1024])
def test_the_page_fits_its_window_and_can_be_read(chromium: Browser, page: Path, width: int, is_dark: bool) -> None:
    chromium.resize(width)
    chromium.prefer("dark" if is_dark else "light")
    chromium.open(page)

    assert chromium.evaluate("document.documentElement.scrollWidth") <= width
    assert chromium.evaluate(CONTRAST) >= 4.5
    shade = chromium.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", shade)[:3])) < 200) is is_dark


@needs_chromium
def test_every_link_is_reached_by_the_keyboard_in_order_and_shows_it(chromium: Browser, page: Path) -> None:
    chromium.resize(1024)
    chromium.open(page)
    seen = []
    for _ in range(22):
        chromium.press("Tab", 9)
        seen.append(chromium.evaluate("document.activeElement.getAttribute('href')"))
        assert chromium.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"

    assert seen == [value for name, value in read(page.read_text()).attributes if name == "href"]
