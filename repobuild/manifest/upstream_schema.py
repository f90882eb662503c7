"""How an item of `repo_upstream` is read."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from repobuild.credentials import AccessSource
from repobuild.manifest.access_schema import check_one_server, read_access
from repobuild.manifest.document import Scalar, Table
from repobuild.manifest.entries import DEFAULT, Key, UpstreamEntry
from repobuild.manifest.generation import Generation
from repobuild.manifest.locations import variables
from repobuild.manifest.reading import Fields, Place, did_you_mean, redacted
from repobuild.manifest.shipped import find_file
from repobuild.manifest.yum_schema import Meta, read_meta
from repobuild.model import ListKind, Target, Verify
from repobuild.targets import ALL_TARGETS, family

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
"""Names of upstreams, modules and the repository."""

_KEYS = (
    "name",
    "description",  # for people, and of any kind
    "module",
    "releases",
    "arch",
    "baseurl",
    "verify",
    "signed_by",
    "fingerprints",
    "origin",
    "check_valid_until",
    "skip_if_unavailable",
    "skip_if_gone",
    "minor",
    "meta",
    "access",
)
_ARCHES = tuple(dict.fromkeys(target.arch for target in ALL_TARGETS))
_RELEASES = tuple(str(major) for major in sorted({target.major for target in ALL_TARGETS}))
_REGION = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_FINGERPRINT = re.compile(r"(?:[0-9A-Fa-f]\s*){40}|(?:[0-9A-Fa-f]\s*){64}")
_MAX_KEY_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Setting:
    """What of the document around it an upstream needs to be read."""

    folder: Path
    """Where key files are looked for before the shipped ones."""
    admin_ip: str
    generation: Generation


def read_upstreams(items: list[Place], setting: Setting) -> tuple[UpstreamEntry, ...]:
    """Return the upstreams that `items` describe."""
    entries: list[UpstreamEntry] = []
    names = _Names({}, {})
    for item in items:
        entry = _upstream(item, setting)
        if entry is not None:
            entries.append(names.give(item, entry))
    return tuple(entries)


@dataclass(frozen=True, slots=True)
class _Names:
    """The names that upstreams have had so far."""

    taken: dict[str, set[Target]]
    """For which targets."""
    counts: dict[str, int]
    """How many entries asked for them."""

    def give(self, item: Place, entry: UpstreamEntry) -> UpstreamEntry:
        """Return the entry under a name that is its own for every target, which is another one where it is taken."""
        served = {target for target in ALL_TARGETS if entry.fits(target)}
        both = served & self.taken.get(entry.name, set())
        name, count = entry.name, self.counts.get(entry.name, 1)
        while served & self.taken.get(name, set()):
            count += 1
            name = f"{entry.name}-{count}"
        self.counts[entry.name] = count
        self.taken.setdefault(name, set()).update(served)
        if both and entry.name:
            targets = ", ".join([target.name for target in ALL_TARGETS if target in both][:3])
            got = f"{entry.name!r} twice for {targets}, the second called {name!r} here"
            item.doubt(f"expected one upstream of a name for each target, got {got}")
        return replace(entry, name=name)


def _upstream(item: Place, setting: Setting) -> UpstreamEntry | None:
    fields = item.fields(_KEYS, "an upstream: a mapping with name, module, releases, baseurl")
    has_meta = "meta" in fields.given and setting.generation is not Generation.V3  # whose templates do not know it
    meta = read_meta(fields.given["meta"]) if has_meta else Meta()
    fields.require("name", "module", "releases", *([] if meta.lists else ["baseurl"]))
    baseurl = _baseurl(fields)
    verify = fields.one_of("verify", [each.value for each in Verify], "root, packages or none")
    name = fields.matching("name", NAME, "a name") or ""
    entry = UpstreamEntry(
        name=name,
        written_name=name,
        module=fields.matching("module", NAME, "the name of a module") or "",
        releases=tuple(int(release) for release in _several(fields, "releases", _RELEASES)),
        arches=_several(fields, "arch", _ARCHES) if "arch" in fields.given else _ARCHES,
        baseurl=baseurl,
        verify=Verify(verify or meta.verify),
        is_verify_stated=verify is not None,
        keys=_keys(fields, setting.folder),
        fingerprints=_fingerprints(fields),
        origin=fields.text("origin", "the Origin that the upstream's Release states"),
        check_valid_until=fields.flag("check_valid_until") is not False,
        skip_if_unavailable=fields.flag("skip_if_unavailable") is True,
        skip_if_gone=fields.flag("skip_if_gone") is True,
        may_lack=item.source.is_tolerant,
        generation=setting.generation,
        is_minor=fields.flag("minor") is True,
        meta=meta,
        where=item.where,
        access=_access(fields, setting.folder, baseurl),
    )
    if not baseurl and not meta.lists:
        return None
    _check_locations(fields, entry, setting.admin_ip)
    return entry if meta.is_enabled else None


def _access(fields: Fields, folder: Path, baseurl: Mapping[str, tuple[str, ...]]) -> AccessSource | None:
    if "access" not in fields.given:
        return None
    place = fields.given["access"]
    access = read_access(place, folder)
    lines = [line for each in baseurl.values() for line in each]
    meta = fields.given["meta"].entries("") if "meta" in fields.given else {}
    lists = [meta[kind].text("a URL") or "" for kind in ListKind if kind in meta]
    check_one_server(place, access, [*lines, *lists])
    return access


def _several(fields: Fields, key: str, known: tuple[str, ...]) -> tuple[str, ...]:
    """Return the known ones of several words; others may be a slip, or of a release that came after us."""
    expected = f"one of {', '.join(known)}, or a list of them"
    found: dict[str, None] = {}
    for item in fields.items(key, expected):
        text = item.text(expected)
        if text in known:
            found[text] = None
        elif text is not None:
            item.doubt(f"expected {expected}, got {redacted(text)}{did_you_mean(text, known)}")
    return tuple(found)


def _baseurl(fields: Fields) -> Mapping[str, tuple[str, ...]]:
    """Return the lines of each region."""
    given = fields.entries("baseurl", "a mapping from region to URL: {default: …, china: …}")
    for region in _without_url(fields):
        fields.given["baseurl"].doubt(f"{redacted(region)} stands where a region is expected, without a URL: not read")
    items = {region: place.items("a URL or a list of mirrors") for region, place in given.items()}
    for region, place in given.items():
        if not _REGION.fullmatch(region):
            place.wrong("a region in lower case as key", redacted(region))
    if given and not items.get(DEFAULT):
        stated = ", ".join(sorted(region for region in items if items[region])) or "none"
        what = f"expected the region {DEFAULT!r}, got {stated}; elsewhere the upstream has no URL"
        fields.given["baseurl"].doubt(what)
    lines = {region: tuple(text for each in found if (text := each.text("a URL"))) for region, found in items.items()}
    return {region: found for region, found in lines.items() if found}


def _without_url(fields: Fields) -> list[str]:
    """Return keys without a value that cannot be meant as regions."""
    node = fields.given["baseurl"].node if "baseurl" in fields.given else None
    entries = node.entries if isinstance(node, Table) else {}
    is_null = {region: isinstance(value, Scalar) and value.is_null for region, value in entries.items()}
    return [region for region in entries if is_null[region] and not _REGION.fullmatch(region)]


def _check_locations(fields: Fields, entry: UpstreamEntry, admin_ip: str) -> None:
    """Report what is wrong with the URLs of each region, tried for one target of each family that the entry fits."""
    samples: dict[str, Target] = {target.family: target for target in ALL_TARGETS if entry.fits(target)}
    source, regions = fields.place.source, fields.entries("baseurl", "")
    for target in samples.values():
        values = variables(target, admin_ip)
        for region in entry.baseurl:
            try:
                entry.locate(region, target, values)
            except ValueError as error:
                source.report(regions[region].node.line, regions[region].path, str(error))
        if "meta" in fields.given:
            _check_meta(fields.given["meta"], entry, target, values)
        if entry.origin is not None and not family(target).has_suites:
            fields.given["origin"].wrong(f"an entry without it, since no root of {target.family} states an origin")
        if entry.verify is Verify.PACKAGES and not family(target).signs_packages:
            fields.given["verify"].wrong(f"root or none, since {target.family} packages carry no signatures")


def _check_meta(place: Place, entry: UpstreamEntry, target: Target, values: Mapping[str, str]) -> None:
    if not family(target).signs_packages:
        place.doubt(f"expected an upstream without `meta`, since it is for rpm and this one serves {target.name}")
    try:
        entry.meta.mirror_lists(values)
    except ValueError as error:
        place.source.report(place.node.line, place.path, str(error))


def _keys(fields: Fields, folder: Path) -> tuple[Key, ...]:
    items = fields.items("signed_by", "a key file or a list of them")
    if "meta" in fields.given:
        gpgkey = fields.given["meta"].entries("").get("gpgkey")
        items += gpgkey.items("a key file or a list of them") if gpgkey is not None else []
    found = (_key(item, folder) for item in items)
    return tuple(key for key in found if key is not None)


def _key(item: Place, folder: Path) -> Key | None:
    name = item.text("the path of a key file")
    if name is None:
        return None
    path = find_file(folder, name.removeprefix("file://"))
    if path is None:
        item.wrong("a key file beside the manifest, or one that is shipped (keys/NAME)", redacted(name))
        return None
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_KEY_BYTES + 1)
    except OSError as error:
        item.wrong("a key file that can be read", f"{redacted(name)}: {(error.strerror or '').lower()}")
        return None
    if not data or len(data) > _MAX_KEY_BYTES:
        size = "larger" if data else "empty"
        item.wrong(f"a key file of 1 to {_MAX_KEY_BYTES} bytes", f"{redacted(name)}, which is {size}")
    if b"PRIVATE KEY BLOCK" in data:
        item.wrong("a file of public keys", f"{redacted(name)}, which holds a private key")
    return Key(path, hashlib.sha256(data).hexdigest())


def _fingerprints(fields: Fields) -> tuple[str, ...]:
    expected = "a fingerprint of 40 or 64 hexadecimal digits; quote it"
    found = (item.matching(_FINGERPRINT, expected) for item in fields.items("fingerprints", f"{expected}, or a list"))
    return tuple("".join(text.split()).upper() for text in found if text is not None)
