"""The landing page: which repositories are here, how clients use them, and where the portal's other servers are.

One HTML file that asks for nothing else: no script, no font, no image. The same facts give the same page.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from repobuild.checked import check_base_url, check_prefix
from repobuild.errors import UsageError
from repobuild.markup import html_text as _text
from repobuild.measures import readable_size as _size

_MAX_REPOSITORIES = 200
_MAX_TIME = 253_402_300_799
"""The last second of the year 9999."""

_STYLE = """
:root{color-scheme:light dark;--text:#1c2128;--soft:#57606a;--link:#0550ae;--back:#fff;--card:#f5f7f9;--line:#d0d7de}
@media(prefers-color-scheme:dark){
:root{--text:#e6e9ee;--soft:#a5adb8;--link:#84bcff;--back:#14171c;--card:#1d2229;--line:#3a424d}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:64rem;padding:1.5rem 1rem 3rem;background:var(--back);color:var(--text);
font:1rem/1.5 system-ui,sans-serif;overflow-wrap:anywhere}
h1{font-size:1.6rem;margin:0}h2{font-size:1.2rem;margin:2rem 0 .75rem}h3{font-size:1.05rem;margin:0}
a{color:var(--link)}a:focus-visible{outline:3px solid var(--link);outline-offset:2px}
p{margin:.25rem 0}.soft,dt{color:var(--soft)}
ul{list-style:none;margin:0;padding:0;display:flex;flex-wrap:wrap;gap:.5rem 1.5rem}
article{background:var(--card);border:1px solid var(--line);border-radius:.5rem;padding:1rem;margin:0 0 1rem}
dl{margin:.75rem 0 0}dt{font-size:.875rem}dd{margin:0 0 .5rem}
code{font:.875rem/1.5 ui-monospace,monospace;user-select:all}
""".strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRepository:
    """A repository as people want to know of it."""

    name: str
    target: str
    path: str
    """URL path, with both slashes."""
    packages: int
    size: int
    """Of all packages, in bytes."""
    time: int
    """Seconds since the epoch: the lock's."""
    commands: tuple[tuple[str, str], ...]
    """What for, and what to type."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageSpec:
    """What the page says."""

    title: str
    repositories: tuple[PageRepository, ...]
    links: tuple[tuple[str, str], ...] = ()
    """Names and URLs of the portal's other servers."""


def landing_page(spec: PageSpec) -> str:
    """Return the page.

    Raises:
        UsageError: when something that is linked is no URL, or a time is none.
    """
    if len(spec.repositories) > _MAX_REPOSITORIES:
        raise UsageError(f"repositories: expected at most {_MAX_REPOSITORIES}, got {len(spec.repositories)}")
    title = _text(spec.title)
    lines = [
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        f"<title>{title}</title>\n<style>\n{_STYLE}\n</style>\n</head>\n<body>",
        f"<header>\n<h1>{title}</h1>\n</header>\n<main>",
        '<section aria-labelledby="repositories">\n<h2 id="repositories">Package repositories</h2>',
        *(line for each in sorted(spec.repositories, key=lambda each: each.path) for line in _repository(each)),
        *([] if spec.repositories else ["<p>No repository is published here yet.</p>"]),
        "</section>",
        *_links(spec),
        "</main>\n</body>\n</html>\n",
    ]
    return "\n".join(lines)


def _repository(each: PageRepository) -> Iterator[str]:
    if not 0 <= each.time <= _MAX_TIME:
        raise UsageError(f"time: expected seconds since the epoch, got {each.time}")
    day = datetime.fromtimestamp(each.time, UTC).strftime("%Y-%m-%d")
    path = _text(check_prefix(each.path, "repository"))
    noun = "package" if each.packages == 1 else "packages"
    yield f'<article>\n<h3><a href="{path}">{path}</a></h3>'
    yield f"<p>{_text(each.name)} for <strong>{_text(each.target)}</strong></p>"
    yield f'<p class="soft">{each.packages} {noun}, {_size(each.size)}, <time datetime="{day}">{day}</time></p>'
    if each.commands:
        yield "<dl>"
        for purpose, command in each.commands:
            yield f"<dt>{_text(purpose)}</dt>\n<dd><code>{_text(command)}</code></dd>"
        yield "</dl>"
    yield "</article>"


def _links(spec: PageSpec) -> Iterator[str]:
    if not spec.links:
        return
    yield '<nav aria-labelledby="portal">\n<h2 id="portal">Portal</h2>\n<ul>'
    for name, url in spec.links:
        yield f'<li><a href="{_text(check_base_url(url.removesuffix("/"), "link"))}/">{_text(name)}</a></li>'
    yield "</ul>\n</nav>"
