"""The report as one HTML file that asks for nothing else. The same values give the same bytes.

It stands alone, to be mailed, or lies in a repository as its index; then what it names are links to the files there.

Whatever comes from upstream is escaped; style and script are the ones whose digests the page's own policy names, so
that nothing which slipped through would run. Without script all of it is there but the search.
"""

import base64
import hashlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from urllib.parse import quote

from repobuild.markup import html_text as _text
from repobuild.measures import readable_size as _size
from repobuild.report.style import HUES, SCRIPT, STYLE
from repobuild.report.treemap import Box, squarify
from repobuild.report.values import ProofSummary, ReportSpec, Source, Wanted

_MAX_TIME = 253_402_300_799
"""The last second of the year 9999."""
_MAX_SUMMARY = 120
"""Characters of a package's own words."""
_MAX_TAKEN = 60
"""Packages of a want that are named."""
_SMALLEST = 0.0008
"""Share of the map below which a want is drawn together with the other small ones of its module."""
_OTHER = "no module"
_BASE = "base"
_Cell = tuple[str, str, int, Box]
"""Module, label, bytes and place (in hundredths of the map's height) of a part of the map."""


def page(spec: ReportSpec) -> str:
    """Return the page."""
    cells = list(_cells(spec))
    style = f"{STYLE}\n{''.join(_rules(cells))}"
    allowed = f"style-src {_digest(style)};script-src {_digest(SCRIPT)}"
    policy = f"default-src 'none';{allowed};base-uri 'none';form-action 'none'"
    title = _text(f"{spec.name} for {spec.target}")
    sections = [
        ("proof", "Proof", list(_proof(spec))),
        ("sizes", "Sizes", list(_map(cells))),
        ("wants", "Wants", list(_wants(spec))),
        ("packages", "Packages", list(_packages(spec))),
        ("files", "Other files", list(_files(spec))),
        ("upstreams", "Upstreams", list(_upstreams(spec))),
        ("notes", "Notes", list(_notes(spec))),
        ("licences", "Licences", list(_licences(spec))),
    ]
    shown = [each for each in sections if each[2]]
    links = "".join(f'<li><a href="#{key}">{heading}</a></li>' for key, heading, _ in shown)
    lines = [
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{title}</title>\n<style>{style}</style>\n</head>\n<body>\n<header>\n<h1>{title}</h1>",
        *_summary(spec),
        f'<nav aria-label="Sections"><ul>{links}</ul></nav>\n</header>\n<main>',
        *(line for each in shown for line in _section(*each)),
        f"</main>\n<script>{SCRIPT}</script>\n</body>\n</html>\n",
    ]
    return "\n".join(lines)


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _section(key: str, heading: str, lines: Sequence[str]) -> Iterator[str]:
    yield f'<section aria-labelledby="{key}">\n<h2 id="{key}">{heading}</h2>'
    yield from lines
    yield "</section>"


def _summary(spec: ReportSpec) -> Iterator[str]:
    total = sum(each.size for each in spec.items) + sum(size for _, size, _ in spec.assets)
    version = f"{_text(spec.version)}, " if spec.version else ""
    yield f"<p>{version}{len(spec.items)} packages, {_size(total)}, {_day(spec.time)}</p>"
    yield f'<p class="soft">lock <code>{_text(spec.lock)}</code></p>'


def _proof(spec: ReportSpec) -> Iterator[str]:
    if spec.proof is None:
        yield "<p>This page was written without a proof: <code>repobuild check</code> makes one.</p>"
        return
    proof: ProofSummary = spec.proof
    if proof.problems:
        yield f'<p class="bad"><strong>{_problems(len(proof.problems))}.</strong></p>\n<ul>'
        yield from (f"<li>{_text(each)}</li>" for each in proof.problems)
        yield "</ul>"
    else:
        yield '<p class="good"><strong>Every check holds.</strong></p>'
    if proof.files:
        signed = f"signed by <code>{_text(proof.signer)}</code>" if proof.signer else "not signed"
        yield f"<p>{proof.files} files hashed, {signed}, {proof.packages} packages compared with what clients read.</p>"
    else:
        yield (
            f"<p>From its own indexes, which list {proof.packages} packages as the lock pins them."
            " <code>repobuild check</code> proves it again, and every byte besides.</p>"
        )
    for each in proof.bases:
        relies = f", relying on {each.relies} packages of it" if each.relies else ""
        yield (
            f"<p>From base {_text(each.base)}: {_count(each.wants, 'want')} alone, "
            f"{_count(each.sets, 'install set')} as a whole{relies}.</p>"
        )
    yield from (f'<p class="soft">{_text(note)}</p>' for note in proof.notes)


# The treemap


def _cells(spec: ReportSpec) -> Iterator[_Cell]:
    """Yield the parts of the map, module by module, the largest first."""
    shares: dict[str, dict[str, int]] = {}
    for each in spec.items:
        module = (each.module or _OTHER) if each.want else _BASE
        wants = shares.setdefault(module, {})
        wants[each.want or _BASE] = wants.get(each.want or _BASE, 0) + each.size
    total = sum(sum(wants.values()) for wants in shares.values())
    merged = {module: _merged(wants, total) for module, wants in shares.items()}
    order = sorted(merged, key=lambda module: (-sum(merged[module].values()), module))
    boxes = squarify([sum(merged[module].values()) for module in order], Box(0, 0, 200, 100))
    for module, box in zip(order, boxes, strict=True):
        wants = merged[module]
        names = sorted(wants, key=lambda want: (-wants[want], want))
        for name, place in zip(names, squarify([wants[each] for each in names], box), strict=True):
            yield module, name, wants[name], place


def _merged(wants: dict[str, int], total: int) -> dict[str, int]:
    """Return the sizes of wants that can be seen, and the sum of the others."""
    large = {want: size for want, size in wants.items() if size > total * _SMALLEST}
    rest = {want: size for want, size in wants.items() if want not in large and size}
    return large | ({f"{len(rest)} smaller": sum(rest.values())} if rest else {})


def _modules(cells: Sequence[_Cell]) -> dict[str, int]:
    """Return the number of each module, in the order of the map."""
    return {module: number for number, module in enumerate(dict.fromkeys(each[0] for each in cells))}


def _rules(cells: Sequence[_Cell]) -> Iterator[str]:
    for number in range(len(HUES)):
        yield f".m{number}{{background:hsl({HUES[number]} var(--cell))}}\n"
    for number, (_, _, _, box) in enumerate(cells):
        place = f"left:{box.left / 2:.3f}%;top:{box.top:.3f}%;width:{box.width / 2:.3f}%;height:{box.height:.3f}%"
        yield f"#t{number}{{{place}}}\n"


def _map(cells: Sequence[_Cell]) -> Iterator[str]:
    if not cells:
        return
    modules = _modules(cells)
    yield (
        "<p>By module and want; a package that several wants need counts for the first of them. The table of wants has"
        ' the figures.</p>\n<div id="map" role="img" aria-label="Sizes by module and want, as in the table of wants">'
    )
    for number, (module, name, size, _) in enumerate(cells):
        label, hue = f"{_text(name)} {_size(size)}", modules[module] % len(HUES)
        yield f'<div id="t{number}" class="m{hue}" title="{_text(module)}: {label}">{label}</div>'
    yield '</div>\n<ul class="key">'
    for module, number in modules.items():
        size = sum(each[2] for each in cells if each[0] == module)
        yield f'<li><i class="m{number % len(HUES)}"></i>{_text(module)} {_size(size)}</li>'
    yield "</ul>"


# The tables


def _table(label: str, key: str, heads: Sequence[str], rows: Iterator[str]) -> Iterator[str]:
    """Yield a table; heads that begin with `#` are of numbers."""
    classes = ((' class="n"', each[1:]) if each[0] == "#" else ("", each) for each in heads)
    cells = "".join(f'<th scope="col"{kind}>{head}</th>' for kind, head in classes)
    yield f'<div class="scroll" role="region" aria-label="{label}" tabindex="0">\n<table class="cards" id="{key}">'
    yield f"<thead><tr>{cells}</tr></thead>\n<tbody>"
    yield from rows
    yield "</tbody></table>\n</div>"


def _wants(spec: ReportSpec) -> Iterator[str]:
    if not spec.wants:
        return
    packages, size = spec.base
    yield (
        "<p>What each want costs alone (beyond the base), in addition to the wants before it, and what dropping it"
        f" frees. The base is {packages} packages, {_size(size)}.</p>"
    )
    heads = ("Want", "Module", "#Alone", "#In addition", "#Frees")
    yield from _table("Wants", "costs", heads, (_want(each) for each in spec.wants))


def _want(each: Wanted) -> str:
    taken = f"<small>{_text(_joined(each.taken))}</small>" if each.taken else ""
    amounts = (("alone", each.alone), ("in addition", each.added), ("freed", each.freed))
    cells = "".join(f'<td class="n" data-l="{label}">{_size(size)} in {count}</td>' for label, (count, size) in amounts)
    return f'<tr><th scope="row">{_text(each.want)}{taken}</th><td>{_text(each.module)}</td>{cells}</tr>'


def _joined(names: Sequence[str]) -> str:
    """Return names as a list that says how many it leaves out."""
    more = len(names) - _MAX_TAKEN
    return ", ".join((*names[:_MAX_TAKEN], *([f"and {more} more"] if more > 0 else ())))


def _packages(spec: ReportSpec) -> Iterator[str]:
    yield (
        '<div id="search" role="search" hidden>\n<label for="q">Search packages</label>\n'
        '<input id="q" type="search" autocomplete="off" spellcheck="false" aria-controls="list">\n'
        '<p><output id="count" for="q" class="soft"></output></p>\n</div>'
    )
    heads = ["Package", "Version", "Architecture", "#Size", "Upstream", "Needed for"]
    heads += ["Licence"] if spec.has_licences else []
    rows = (_package(spec, number) for number in range(len(spec.items)))
    yield from _table("Packages", "list", heads, rows)


def _package(spec: ReportSpec, number: int) -> str:
    each = spec.items[number]
    summary = f"<small>{_text(each.summary[:_MAX_SUMMARY])}</small>" if each.summary else ""
    why = each.want or each.why
    licence = f"<td>{_text(each.licence)}</td>" if spec.has_licences else ""
    name = _name(spec, each.name, each.filename)
    return (
        f'<tr><th scope="row">{name}{summary}</th><td>{_text(each.version)}</td><td>{_text(each.arch)}</td>'
        f'<td class="n">{_size(each.size)}</td><td>{_text(each.upstream)}</td><td>{_text(why)}</td>{licence}</tr>'
    )


def _files(spec: ReportSpec) -> Iterator[str]:
    if not spec.files:
        return
    yield "<ul>"
    yield from (f"<li>{_name(spec, path, path)}</li>" for path in (*(each[0] for each in spec.assets), *spec.files))
    yield "</ul>"


def _name(spec: ReportSpec, name: str, path: str) -> str:
    """Return a name, leading to a file where the page lies beside it; `./` keeps a path from being taken for a URL."""
    return f'<a href="{_text(quote(f"./{path}"))}">{_text(name)}</a>' if spec.files else _text(name)


def _upstreams(spec: ReportSpec) -> Iterator[str]:
    heads = ("Upstream", "Module", "Verified", "Date", "#Packages", "#Size")
    yield from _table("Upstreams", "sources", heads, (_source(each) for each in spec.sources))


def _source(each: Source) -> str:
    signer = f" <code>{_text(each.signer)}</code>" if each.signer else ""
    words = {"root": "signed root", "packages": "signature of each package", "none": "not verified"}
    verified = "skipped" if each.is_skipped else f"{words.get(each.verify, _text(each.verify))}{signer}"
    return (
        f'<tr><th scope="row">{_text(each.name)}<small>{_text(each.path)}</small></th><td>{_text(each.module)}</td>'
        f"<td>{verified}</td><td>{_day(each.date) if each.date else ''}</td>"
        f'<td class="n" data-l="packages">{each.packages}</td><td class="n">{_size(each.size)}</td></tr>'
    )


def _notes(spec: ReportSpec) -> Iterator[str]:
    lines = [f"missing: {want}: {reason}" for want, reason in spec.missing]
    lines += [f"not verified, as the operator allowed: {each}" for each in spec.unverified]
    lines += [f"gone upstream, the next best was taken: {each}" for each in spec.gone]
    lines += [f"{want} came from {upstream}, not from the module that was expected" for want, upstream in spec.foreign]
    lines += [f"the wants form {spec.sets} install sets"] if spec.sets > 1 else []
    lines += [f"{name}: a file, {_size(size)}, sha256 {sha256}" for name, size, sha256 in spec.assets]
    lines += [f"advisory {key} ({kind}): {title}" for key, kind, title in spec.advisories]
    if lines:
        yield "<ul>"
        yield from (f"<li>{_text(each)}</li>" for each in lines)
        yield "</ul>"


def _licences(spec: ReportSpec) -> Iterator[str]:
    if not spec.has_licences:
        yield "<p>The indexes of these upstreams do not state licences.</p>"
        return
    counts: dict[str, int] = {}
    for each in spec.items:
        counts[each.licence] = counts.get(each.licence, 0) + 1
    order = sorted(counts, key=lambda licence: (-counts[licence], licence))
    rows = (
        f'<tr><th scope="row">{_text(each) or "not stated"}</th><td class="n">{counts[each]}</td></tr>'
        for each in order
    )
    yield from _table("Licences", "terms", ("Licence", "#Packages"), rows)


def _problems(number: int) -> str:
    return f"{number} problem" if number == 1 else f"{number} problems"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun} installs" if number == 1 else f"{number} {noun}s install"


def _day(time: int) -> str:
    day = datetime.fromtimestamp(min(max(time, 0), _MAX_TIME), UTC).strftime("%Y-%m-%d")
    return f'<time datetime="{day}">{day}</time>'
