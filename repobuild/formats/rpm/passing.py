"""What upstreams say beside their packages, passed on as far as it speaks of what we publish.

`modules` (libmodulemd's modules.yaml), `group` (comps.xml) and `updateinfo` (updateinfo.xml). Whole statements are
kept or left out, and lists of packages shortened; nothing is made up and nothing reworded. A module stream is passed on
to the letter, with artifacts that we do not publish: clients that also see it upstream have to find the same stream.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from xml.etree.ElementTree import Element, ParseError, TreeBuilder, XMLParser, tostring

from repobuild.errors import HostileInputError
from repobuild.formats.rpm import modules_index
from repobuild.formats.values import Advisory
from repobuild.model import Package

_MAX_TEXT = 1 << 28
"""Bytes of one text; the largest updateinfo known has 60 MB."""
_MAX_DEPTH = 32
_MAX_TITLE = 300
"""Characters of an advisory's title."""
# A document marker ends any scalar, so lines tell the documents apart (YAML 1.2, section 9.1.2).
_DOCUMENT = re.compile(rb"^---(?=[ \t\r\n]|\Z)", re.MULTILINE)
_DOCUMENT_END = re.compile(rb"^\.\.\.(?=[ \t\r\n]|\Z)", re.MULTILINE)
_PLAIN_DOCTYPE = re.compile(
    rb"""<!DOCTYPE \s+ comps \s+ PUBLIC \s+ (?:"[^"<>\[\]]{0,200}"|'[^'<>\[\]]{0,200}')
         \s+ (?:"[^"<>\[\]]{0,200}"|'[^'<>\[\]]{0,200}') \s* >""",
    re.VERBOSE,
)
"""What comps.xml has always started with: a name for its grammar, and no definitions."""


def restricted(texts: Mapping[str, Sequence[bytes]], packages: Sequence[Package]) -> dict[str, bytes]:
    """Return type in repomd.xml -> text to offer, for the types of which something is left.

    Args:
        texts: `modules`, `group`, `updateinfo` -> the open text of each upstream that has one, in manifest order.
        packages: what is published.

    Raises:
        HostileInputError: when a text is malformed or exceeds a bound.
    """
    makers = {"group": group, "modules": modules, "updateinfo": updateinfo}
    made = {kind: makers[kind](given, packages) for kind, given in sorted(texts.items())}
    return {kind: text for kind, text in made.items() if text}


def modules(texts: Sequence[bytes], packages: Sequence[Package]) -> bytes:
    """Return the streams that have a published package, and their modules' defaults; b"" for none.

    Args:
        texts: the open modules.yaml of each upstream, in manifest order.
        packages: what is published.

    Raises:
        HostileInputError: when a text is malformed or exceeds a bound.
    """
    published = {_nevra(package) for package in packages}
    documents = dict.fromkeys(document for text in texts for document in _documents(text))
    said = {document: modules_index.read(document, "to be passed on") for document in documents}
    here = {document for document, found in said.items() if _has_any(found, published)}
    names = {stream.name for document in here for stream in said[document].streams}
    kept = (
        document
        for document, found in said.items()
        if document in here or any(default.name in names for default in found.defaults)
    )
    return b"".join(b"---" + document + b"...\n" for document in kept)


def _has_any(found: modules_index.Modules, published: AbstractSet[str]) -> bool:
    return any(not published.isdisjoint(stream.artifacts) for stream in found.streams)


def _nevra(package: Package) -> str:
    return f"{package.name}-{package.version}.{package.arch}"


def _documents(text: bytes) -> Iterator[bytes]:
    """Yield what stands between the markers of each document, ending in a newline."""
    _check_size(text, "modules.yaml")
    _, *documents = _DOCUMENT.split(text)
    for document in documents:
        body = _DOCUMENT_END.split(document, 1)[0]
        yield body if body.endswith(b"\n") else body + b"\n"


def group(texts: Sequence[bytes], packages: Sequence[Package]) -> bytes:
    """Return comps.xml of the groups that have a published package, listing only those; b"" for none.

    Of groups of one id the first says name and description, and all add packages.

    Args:
        texts: the open comps.xml of each upstream, in manifest order.
        packages: what is published.

    Raises:
        HostileInputError: when a text is malformed or exceeds a bound.
    """
    names = {package.name for package in packages}
    groups: dict[str, Element] = {}
    above: dict[tuple[str, str], Element] = {}
    for text in texts:
        for element in _read(_PLAIN_DOCTYPE.sub(b"", text, 1), "comps", lambda _: True):
            key = element.findtext("id", "").strip()
            if element.tag == "group":
                _shorten(element.iterfind("packagelist"), names)
                _join(groups.setdefault(key, element), element, "packagelist")
            elif element.tag in {"category", "environment"}:
                _join(above.setdefault((element.tag, key), element), element, "grouplist")
    kept = {key: element for key, element in groups.items() if element.find("packagelist/*") is not None}
    for element in above.values():
        _shorten((each for tag in ("grouplist", "optionlist") for each in element.iterfind(tag)), kept.keys())
    members = [*kept.values(), *(each for each in above.values() if each.find("grouplist/*") is not None)]
    return _write("comps", members) if kept else b""


def _shorten(lists: Iterable[Element], names: AbstractSet[str]) -> None:
    for listing in lists:
        listing[:] = [item for item in listing if (item.text or "").strip() in names]


def _join(first: Element, other: Element, tag: str) -> None:
    """Add to a group's list what another group of the same id lists beside."""
    mine, more = first.find(tag), other.find(tag)
    if first is other or more is None:
        return
    if mine is None:
        first.append(more)
        return
    known = {(item.text or "").strip() for item in mine}
    mine.extend(item for item in more if (item.text or "").strip() not in known)


def updateinfo(texts: Sequence[bytes], packages: Sequence[Package]) -> bytes:
    """Return updateinfo.xml of the advisories that fix a published package, listing only those; b"" for none.

    Args:
        texts: the open updateinfo.xml of each upstream, in manifest order.
        packages: what is published.

    Raises:
        HostileInputError: when a text is malformed or exceeds a bound.
    """
    published = {_nevra(package) for package in packages}

    def fixes(update: Element) -> bool:
        for collection in update.iterfind("pkglist/collection"):
            for item in collection.findall("package"):
                if _listed(item) not in published:
                    collection.remove(item)
        for listing in update.iterfind("pkglist"):
            listing[:] = [each for each in listing if each.find("package") is not None]
        return update.tag == "update" and update.find("pkglist/collection") is not None

    updates = {tostring(update): update for text in texts for update in _read(text, "updates", fixes)}
    return _write("updates", list(updates.values())) if updates else b""


def advisories(text: str, packages: Sequence[Package]) -> tuple[Advisory, ...]:
    """Return the updates of an updateinfo.xml that list one of these packages, sorted by id; none for an empty text.

    Raises:
        HostileInputError: when it is malformed or exceeds a bound.
    """
    names = {_nevra(package): package.filename for package in packages}
    found: dict[str, Advisory] = {}
    for update in _read(text.encode(), "updates", lambda each: each.tag == "update") if text else ():
        listed = {names[each] for each in map(_listed, update.iterfind("pkglist/collection/package")) if each in names}
        known = found.get(key := update.findtext("id", "").strip())
        if listed:
            found[key] = Advisory(
                id=key,
                kind=update.get("type", ""),
                severity=update.findtext("severity", "").strip(),
                title=" ".join(update.findtext("title", "").split())[:_MAX_TITLE],
                filenames=tuple(sorted({*listed, *(known.filenames if known else ())})),
            )
    return tuple(found[key] for key in sorted(found))


def _listed(item: Element) -> str:
    name, version, release, arch = (item.get(key, "") for key in ("name", "version", "release", "arch"))
    epoch = item.get("epoch") or "0"
    return f"{name}-{'' if epoch == '0' else epoch + ':'}{version}-{release}.{arch}"


def _read(text: bytes, tag: str, keep: Callable[[Element], bool]) -> list[Element]:
    """Return the children of the root that `keep` takes; the others are dropped as they are read.

    Raises:
        HostileInputError: when the text is no XML with that root, has a document type, or exceeds a bound.
    """
    what = f"{tag}.xml of an upstream"
    _check_size(text, what)
    target = _Children(keep, what)
    parser = XMLParser(target=target)  # noqa: S314 -- bounded, and without document types there are no entities
    try:
        parser.feed(text)
        root: Element = parser.close()
    except (ParseError, ValueError, LookupError) as error:
        raise HostileInputError(f"not well-formed XML: {what}: {error}") from error
    if root.tag != tag:
        raise HostileInputError(f"{what} starts with another element: {root.tag[:80]!r}")
    return list(root)


class _Children:
    """What an XMLParser reports to: builds the tree, and lets go of what is not wanted."""

    def __init__(self, keep: Callable[[Element], bool], what: str) -> None:
        self._builder = TreeBuilder()
        self._keep = keep
        self._what = what
        self._open: list[Element] = []

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self._open.append(self._builder.start(tag, attributes))
        if len(self._open) > _MAX_DEPTH:
            raise HostileInputError(f"XML nested deeper than {_MAX_DEPTH}: {self._what}")

    def end(self, tag: str) -> None:
        self._builder.end(tag)
        element = self._open.pop()
        if len(self._open) == 1 and not self._keep(element):
            del self._open[0][-1]

    def data(self, text: str) -> None:
        self._builder.data(text)

    def doctype(self, *_: object) -> None:
        raise HostileInputError(f"XML with a document type, which could define anything: {self._what}")

    def close(self) -> Element:
        return self._builder.close()


def _write(tag: str, children: Sequence[Element]) -> bytes:
    root = Element(tag)
    root.text = "\n"
    for child in children:
        child.tail = "\n"
    root.extend(children)
    text: bytes = tostring(root, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def _check_size(text: bytes, what: str) -> None:
    if len(text) > _MAX_TEXT:
        raise HostileInputError(f"{len(text)} bytes, more than {_MAX_TEXT}: {what}")
