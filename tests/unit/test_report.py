"""The report: what it says, that hostile text stays text, and how it behaves in a real browser."""

import json
import random
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import chromium
import pytest
from chromium import Browser
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from repobuild import report
from repobuild.errors import UsageError
from repobuild.formats.values import PackageUrl
from repobuild.report import Item, ProofSummary, Proven, ReportSpec, Source, Wanted
from repobuild.report.treemap import Box, squarify
from repobuild.serve import make_server

EVIL = "</td></script><script>alert(1)</script><img src=x onerror=alert(1)>\"'&\u202e\u0007"


def item(number: int, **changes: Any) -> Item:
    values: dict[str, Any] = {
        "name": f"package-{number:04}",
        "version": f"1.{number}-1",
        "arch": "amd64",
        "size": 1000 + number * 37,
        "filename": f"package-{number:04}_1.{number}-1_amd64.deb",
        "sha256": f"{number:064x}",
        "upstream": "main",
        "module": f"module-{number % 5}",
        "want": f"want-{number % 120}",
        "why": "needed by the set",
        "licence": "GPL-2.0-or-later and MIT",
        "summary": "does what the other one does, but in a way that a DBA will like more than the one before",
        "homepage": "https://example.org/",
    }
    return Item(**{**values, **changes})


def spec(count: int = 30, **changes: Any) -> ReportSpec:
    values: dict[str, Any] = {
        "name": "pigsty",
        "target": "el9.x86_64",
        "version": "v4.5.0",
        "time": 1_700_000_000,
        "lock": "c" * 64,
        "items": tuple(item(number) for number in range(count)),
        "wants": tuple(
            Wanted(
                want=f"want-{number}", module="infra", taken=("a 1",), alone=(3, 9000), added=(2, 8000), freed=(1, 10)
            )
            for number in range(min(count, 120))
        ),
        "base": (1, 5),
        "sources": (
            Source(
                name="main", module="node", path="dists/x main", verify="root", signer="AB" * 20, date=1_699_999_999,
                is_skipped=False, packages=count, size=10**9,
            ),
        ),
        "assets": (("tool.tgz", 5, "d" * 64),),
        "missing": (("nothere", "no upstream has it"),),
        "unverified": ("plain",),
        "gone": (),
        "foreign": (),
        "sets": 1,
    }  # fmt: skip
    return ReportSpec(**{**values, **changes})


@pytest.mark.parametrize(
    ("problems", "said"), [(("a: b",), "<strong>1 problem.</strong>"), (("a", "b"), "<strong>2 problems.</strong>")]
)
def test_problems_are_counted_in_words(problems: tuple[str, ...], said: str) -> None:
    proof = ProofSummary(files=1, packages=1, signer="", bases=(), problems=problems, notes=())

    assert said in report.page(spec(proof=proof))


@pytest.mark.parametrize("lead", range(6))
def test_a_long_list_of_packages_is_cut_between_them_and_says_so(lead: int) -> None:
    want = Wanted(
        want="w", module="m", taken=tuple(f"{'x' * lead}a&b {number}" for number in range(1000)), alone=(1, 1), added=(1, 1), freed=(1, 1),
    )  # fmt: skip
    (found,) = re.findall(r"w<small>(.*?)</small>", report.page(spec(wants=(want,))))

    assert re.fullmatch(r"(x*a&amp;b \d+, )+and 940 more", found)


class Reader(HTMLParser):
    """Gathers what a browser would fetch, run or show."""

    VOID = frozenset({"meta", "input", "link", "img", "br"})

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


class TestPage:
    def test_it_says_what_is_inside(self) -> None:
        text = " ".join(Reader(report.page(spec())).words)

        for word in (
            "pigsty for el9.x86_64",
            "v4.5.0",
            "2023-11-14",
            "package-0029",
            "1.29-1",
            "GPL-2.0-or-later and MIT",
        ):
            assert word in text
        assert "signed root " + "AB" * 20 in re.sub(r"\s+", " ", text)
        assert "missing: nothere: no upstream has it" in text
        assert "not verified, as the operator allowed: plain" in text

    def test_it_asks_for_nothing_and_runs_nothing_else(self) -> None:
        text = report.page(spec())

        tags = Reader(text).tags
        assert not {"img", "link", "iframe", "object", "form"} & {tag for tag, _ in tags}
        assert all(not {"src", "style", "onclick", "onload"} & set(attributes) for _, attributes in tags)
        assert {attributes["href"][0] for tag, attributes in tags if tag == "a" and attributes["href"]} == {"#"}
        policy = next(a["content"] for _, a in tags if a.get("http-equiv") == "Content-Security-Policy")
        assert policy is not None
        assert policy.startswith("default-src 'none';style-src 'sha256-")
        assert "unsafe" not in policy

    def test_as_an_index_it_leads_to_the_files_beside_it_and_nowhere_else(self) -> None:
        hostile = ("javascript:alert(1)", "//evil.example/x", 'a b?c#d%41"<é>.rpm', "../up", "data:text/html,x")
        items = tuple(item(number, filename=name) for number, name in enumerate(hostile))

        tags = Reader(report.page(spec(items=items, files=("repodata/repomd.xml", "repo_complete")))).tags

        links = [attributes["href"] or "" for tag, attributes in tags if tag == "a"]
        beside = [each for each in links if not each.startswith("#")]
        assert all(each.startswith("./") for each in beside)
        assert [unquote(each) for each in beside] == [
            *(f"./{name}" for name in hostile), "./tool.tgz", "./repodata/repomd.xml", "./repo_complete",
        ]  # fmt: skip
        assert all(re.fullmatch(r"[A-Za-z0-9./_~%-]*", each) for each in beside)

    def test_where_it_stands_alone_it_leads_nowhere(self) -> None:
        assert 'href="./' not in report.page(spec())

    def test_a_proof_of_what_is_to_be_published_says_nothing_of_who_signs(self) -> None:
        proof = ProofSummary(files=0, packages=7, signer="", bases=(), problems=())

        text = report.page(spec(proof=proof))

        assert "From its own indexes, which list 7 packages as the lock pins them." in text
        assert "signed" not in text[text.index('id="proof"') : text.index('id="sizes"')]

    def test_hostile_text_stays_text(self) -> None:
        names = ("name", "version", "arch", "upstream", "module", "want", "why", "licence", "summary")
        hostile = spec(
            3,
            name=EVIL,
            items=tuple(item(number, **dict.fromkeys(names, EVIL)) for number in range(3)),
            wants=(Wanted(want=EVIL, module=EVIL, taken=(EVIL,), alone=(1, 1), added=(1, 1), freed=(1, 1)),),
            sources=(replace(spec().sources[0], name=EVIL, path=EVIL, signer=EVIL, module=EVIL, verify=EVIL),),
            missing=((EVIL, EVIL),),
            assets=((EVIL, 1, EVIL),),
            advisories=((EVIL, EVIL, EVIL),),
            proof=ProofSummary(
                files=1,
                packages=1,
                signer=EVIL,
                bases=(Proven(base=EVIL, wants=1, sets=1),),
                problems=(EVIL,),
                notes=(EVIL,),
            ),
        )

        text = report.page(hostile)

        tags = [tag for tag, _ in Reader(text).tags]
        assert tags.count("script") == 1
        assert "img" not in tags
        assert "\u202e" not in text
        assert "\u0007" not in text

    def test_the_same_values_give_the_same_bytes(self) -> None:
        assert report.page(spec(300)) == report.page(spec(300))

    def test_a_thousand_packages_stay_below_two_megabytes(self) -> None:
        assert len(report.page(spec(1000, files=("repobuild.lock",))).encode()) < 2_000_000

    def test_metadata_without_licences_is_said(self) -> None:
        plain = spec(items=(item(1, licence=""),))

        text = report.page(plain)

        assert "do not state licences" in text
        assert '<th scope="col">Licence</th>' not in text

    def test_a_proof_that_holds_and_one_that_does_not_are_told_apart(self) -> None:
        proof = ProofSummary(
            files=9, packages=8, signer="", bases=(Proven(base="empty", wants=7, sets=1, relies=6),), problems=()
        )

        good = report.page(spec(proof=proof))
        bad = report.page(spec(proof=replace(proof, problems=("missing: libx",))))

        assert "Every check holds" in good
        assert (
            "From base empty: 7 wants install alone, 1 install set installs as a whole, relying on 6 packages" in good
        )
        assert "Every check holds" not in bad
        assert "missing: libx" in bad
        assert "without a proof" in report.page(spec())

    def test_an_empty_lock_has_a_page_too(self) -> None:
        Reader(report.page(spec(0, wants=(), sources=(), assets=(), missing=(), unverified=())))


class TestTreemap:
    def test_areas_are_in_proportion_and_fill_the_box(self) -> None:
        chance = random.Random(1)
        values = sorted((chance.randrange(1, 10_000) for _ in range(200)), reverse=True)

        boxes = squarify(values, Box(0, 0, 200, 100))

        for value, box in zip(values, boxes, strict=True):
            assert box.width * box.height == pytest.approx(20_000 * value / sum(values))
            assert box.left >= -1e-9
            assert box.left + box.width <= 200 + 1e-6
            assert box.top + box.height <= 100 + 1e-6

    def test_boxes_do_not_overlap(self) -> None:
        boxes = squarify([6, 6, 4, 3, 2, 2, 1], Box(0, 0, 6, 4))

        for number, one in enumerate(boxes):
            for other in boxes[number + 1 :]:
                wide = min(one.left + one.width, other.left + other.width) - max(one.left, other.left)
                high = min(one.top + one.height, other.top + other.height) - max(one.top, other.top)
                assert min(wide, high) < 1e-9

    def test_boxes_are_near_to_squares(self) -> None:
        boxes = squarify([6, 6, 4, 3, 2, 2, 1], Box(0, 0, 6, 4))

        assert max(max(each.width / each.height, each.height / each.width) for each in boxes) < 3

    @pytest.mark.parametrize("values", [[], [0, 0], [5], [5, 0]])
    def test_nothing_and_zero_are_no_error(self, values: list[float]) -> None:
        assert len(squarify(values, Box(0, 0, 2, 1))) == len(values)


def purl_of(each: Item) -> PackageUrl:
    return PackageUrl(
        type="rpm", namespace="rocky", version=each.version, qualifiers=(("arch", each.arch), ("epoch", "1"))
    )


class TestSbom:
    def test_it_is_valid_by_the_schema(self) -> None:
        hostile = (item(1, licence=EVIL, summary=EVIL), item(2, licence="MIT", needs=(0,)), item(3, licence=""))

        text = report.sbom(spec(items=hostile), purl_of, "0.1.0")

        assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None

    def test_it_names_each_package_with_purl_digest_and_what_it_needs(self) -> None:
        text = report.sbom(spec(items=(item(1, needs=(1,)), item(2))), purl_of, "0.1.0")

        document = json.loads(text)
        first, second = (each for each in document["components"] if each["type"] == "library")
        assert first["purl"] == "pkg:rpm/rocky/package-0001@1.1-1?arch=amd64&epoch=1"
        assert first["hashes"] == [{"alg": "SHA-256", "content": f"{1:064x}"}]
        needs = {each["ref"]: each.get("dependsOn", []) for each in document["dependencies"]}
        assert needs[first["bom-ref"]] == [second["bom-ref"]]

    def test_serial_number_and_time_follow_from_the_lock(self) -> None:
        one, same = (report.sbom(spec(), purl_of, "0.1.0") for _ in range(2))
        other = report.sbom(spec(lock="d" * 64), purl_of, "0.1.0")

        assert one == same
        assert json.loads(one)["metadata"]["timestamp"] == "2023-11-14T22:13:20+00:00"
        assert json.loads(one)["serialNumber"] != json.loads(other)["serialNumber"]

    def test_without_the_library_it_says_what_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(__import__("sys").modules, "cyclonedx.output.json", None)

        with pytest.raises(UsageError) as caught:
            report.sbom(spec(), purl_of, "0.1.0")

        assert caught.value.hint == "pip install 'repobuild[sbom]'"


@pytest.fixture(scope="module")
def browser(tool: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if not chromium.PROGRAM:
        pytest.skip("Chromium is not installed")
    with chromium.browser(tmp_path_factory.mktemp("chromium")) as found:
        yield found


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve the page as a repository's index."""
    home = tmp_path_factory.mktemp("www")
    (home / "pigsty").mkdir()
    (home / "pigsty/index.html").write_text(report.page(spec(1000, files=("repodata/repomd.xml", "repo_complete"))))
    server = make_server(home)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"{server.url}pigsty/"
    server.shutdown()
    thread.join(10)
    server.server_close()


@pytest.fixture
def opened(browser: Browser, url: str) -> Browser:
    browser.resize(1200)
    browser.prefer("light")
    browser.call("Page.bringToFront")
    browser.open(url)
    return browser


CONTRAST = """
(()=>{const rgb=text=>text.match(/[\\d.]+/g).map(Number),
part=value=>{value/=255;return value<=.04045?value/12.92:((value+.055)/1.055)**2.4},
light=([r,g,b])=>.2126*part(r)+.7152*part(g)+.0722*part(b),
ground=each=>{for(;each;each=each.parentElement){const found=rgb(getComputedStyle(each).backgroundColor);
if(found.length<4||found[3]>0)return found}return [255,255,255]};
let worst=99,where="";
for(const each of document.querySelectorAll("h1,h2,p,a,th,td,small,code,li,label,#map div")){
const [a,b]=[light(rgb(getComputedStyle(each).color)),light(ground(each))].sort((x,y)=>y-x);
const ratio=(a+.05)/(b+.05);if(ratio<worst){worst=ratio;where=each.outerHTML.slice(0,80)}}
return [worst,where]})()
"""


class TestInChromium:
    def test_a_thousand_packages_open_within_a_second(self, opened: Browser, url: str) -> None:
        assert opened.open(url) < 1
        assert opened.evaluate("document.getElementById('list').tBodies[0].rows.length") == 1000

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_contrast_is_sufficient(self, opened: Browser, scheme: str) -> None:
        opened.prefer(scheme)

        worst, where = opened.evaluate(CONTRAST)

        assert worst >= 4.5, where

    def test_the_page_follows_the_readers_scheme(self, opened: Browser) -> None:
        colours = []
        for scheme in ("light", "dark"):
            opened.prefer(scheme)
            colours.append(opened.evaluate("getComputedStyle(document.body).backgroundColor"))

        assert colours == ["rgb(255, 255, 255)", "rgb(20, 23, 28)"]

    @pytest.mark.parametrize("width", [320, 360, 768, 1200])
    def test_nothing_has_to_be_scrolled_sideways(self, opened: Browser, width: int) -> None:
        opened.resize(width)

        assert opened.evaluate("document.documentElement.scrollWidth") <= width
        tables = "[...document.querySelectorAll('.scroll')].filter(each => each.scrollWidth > each.clientWidth).length"
        assert opened.evaluate(tables) == 0

    def test_style_and_script_pass_the_pages_own_policy(self, opened: Browser) -> None:
        assert opened.evaluate("getComputedStyle(document.getElementById('t0')).position") == "absolute"
        assert opened.evaluate("document.getElementById('search').hidden") is False

    def test_the_keyboard_reaches_the_sections_the_search_and_the_tables(self, opened: Browser) -> None:
        reached = []
        for _ in range(15):
            opened.press("Tab", 9)
            active = "document.activeElement.id || document.activeElement.getAttribute('aria-label') || document.activeElement.hash"
            reached.append(opened.evaluate(active))

        assert reached.index("#proof") < reached.index("Wants") < reached.index("q") < reached.index("Packages")

    def test_what_is_typed_is_searched_and_escape_takes_it_back(self, opened: Browser) -> None:
        visible = "[...document.getElementById('list').tBodies[0].rows].filter(row => row.offsetHeight).length"
        opened.evaluate("document.getElementById('q').focus()")

        opened.type("package-0007 amd64")
        found, said = opened.evaluate(visible), opened.evaluate("document.getElementById('count').textContent")
        opened.press("Escape", 27)

        assert (found, said) == (1, "1 of 1000 packages")
        assert opened.evaluate(visible) == 1000
        assert opened.evaluate("document.getElementById('q').value") == ""

    def test_enter_goes_to_the_first_hit_and_escape_back_to_the_search(self, opened: Browser) -> None:
        opened.evaluate("document.getElementById('q').focus()")
        opened.type("package-0900")

        opened.press("Enter", 13, "\r")
        there = opened.evaluate("document.activeElement.textContent")
        opened.press("Escape", 27)

        assert there.startswith("package-0900")
        assert opened.evaluate("document.activeElement.id") == "q"

    def test_the_search_works_at_phone_width_too(self, opened: Browser) -> None:
        opened.resize(360)
        opened.evaluate("document.getElementById('q').focus()")

        opened.type("package-0007")

        visible = "[...document.getElementById('list').tBodies[0].rows].filter(row => row.offsetHeight).length"
        assert opened.evaluate(visible) == 1

    def test_without_script_all_of_it_is_there_but_the_search(self, browser: Browser, tmp_path: Path) -> None:
        path = tmp_path / "report.html"
        path.write_text(re.sub(r"<script>.*</script>", "", report.page(spec(50)), flags=re.DOTALL))

        browser.open(path)

        assert browser.evaluate("document.getElementById('search').offsetHeight") == 0
        rows = "[...document.getElementById('list').tBodies[0].rows].filter(row => row.offsetHeight).length"
        assert browser.evaluate(rows) == 50

    def test_hostile_names_run_nothing(self, browser: Browser, tmp_path: Path) -> None:
        path = tmp_path / "report.html"
        evil = EVIL.replace("alert(1)", "document.title=1")
        path.write_text(report.page(spec(2, items=(item(1, name=evil, summary=evil, want=evil, module=evil),))))

        browser.open(path)

        assert browser.evaluate("document.title") == "pigsty for el9.x86_64"
