"""How an item of `repo_upstream` is read."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from repobuild.manifest.entries import DEFAULT, Key, UpstreamEntry
from repobuild.manifest.locations import variables
from repobuild.manifest.reading import Fields, Place, redacted
from repobuild.manifest.shipped import find_file
from repobuild.manifest.yum_schema import Meta, read_meta
from repobuild.model import Target, Verify
from repobuild.targets import ALL_TARGETS, family

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
"""Names of upstreams, modules and the repository."""

_KEYS = (
    "name",
    "description",
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
)
_ARCHES = tuple(dict.fromkeys(target.arch for target in ALL_TARGETS))
_RELEASES = tuple(str(major) for major in sorted({target.major for target in ALL_TARGETS}))
_REGION = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_FINGERPRINT = re.compile(r"(?:[0-9A-Fa-f]\s*){40}|(?:[0-9A-Fa-f]\s*){64}")
_MAX_KEY_BYTES = 1 << 20


def read_upstreams(items: list[Place], folder: Path, admin_ip: str) -> tuple[UpstreamEntry, ...]:
    """Return the upstreams that `items` describe; key files are looked for in `folder`, then among the shipped ones."""
    entries: list[UpstreamEntry] = []
    for item in items:
        entry = _upstream(item, folder, admin_ip)
        if entry is not None:
            _check_unique(item, entry, entries)
            entries.append(entry)
    return tuple(entries)


def _upstream(item: Place, folder: Path, admin_ip: str) -> UpstreamEntry | None:
    fields = item.fields(_KEYS, "an upstream: a mapping with name, module, releases, baseurl")
    meta = read_meta(fields.given["meta"]) if "meta" in fields.given else Meta()
    fields.require("name", "module", "releases", *([] if meta.lists else ["baseurl"]))
    baseurl = _baseurl(fields)
    verify = fields.one_of("verify", [each.value for each in Verify], "root, packages or none")
    entry = UpstreamEntry(
        name=fields.matching("name", NAME, "a name") or "",
        description=fields.text("description") or "",
        module=fields.matching("module", NAME, "the name of a module") or "",
        releases=tuple(int(release) for release in _several(fields, "releases", _RELEASES)),
        arches=_several(fields, "arch", _ARCHES) if "arch" in fields.given else _ARCHES,
        baseurl=baseurl,
        verify=Verify(verify or meta.verify),
        keys=_keys(fields, folder),
        fingerprints=_fingerprints(fields),
        origin=fields.text("origin", "the Origin that the upstream's Release states"),
        check_valid_until=fields.flag("check_valid_until") is not False,
        skip_if_unavailable=fields.flag("skip_if_unavailable") is True,
        skip_if_gone=fields.flag("skip_if_gone") is True,
        is_minor=fields.flag("minor") is True,
        meta=meta,
        where=item.where,
    )
    if DEFAULT not in baseurl and not meta.lists:
        return None
    _check_locations(fields, entry, admin_ip)
    return entry


def _several(fields: Fields, key: str, known: tuple[str, ...]) -> tuple[str, ...]:
    expected = f"one of {', '.join(known)}, or a list of them"
    found = (item.one_of(known, expected) for item in fields.items(key, expected))
    return tuple(dict.fromkeys(value for value in found if value is not None))


def _baseurl(fields: Fields) -> Mapping[str, tuple[str, ...]]:
    """Return the lines of each region."""
    lines: dict[str, tuple[str, ...]] = {}
    given = fields.entries("baseurl", "a mapping from region to URL: {default: …, china: …}")
    if "baseurl" in fields.given and DEFAULT not in given:
        fields.given["baseurl"].wrong(f"the region {DEFAULT!r}", f"{', '.join(sorted(given)) or 'none'}")
    for region, place in given.items():
        if not _REGION.fullmatch(region):
            place.wrong("a region in lower case as key", redacted(region))
        found = (item.text("a URL") for item in place.items("a URL or a list of mirrors"))
        lines[region] = tuple(line for line in found if line is not None)
    return {region: found for region, found in lines.items() if found}


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
        place.wrong(f"an upstream without `meta`, since it is for rpm and this one serves {target.name}")
    try:
        entry.meta.mirror_lists(values)
    except ValueError as error:
        place.source.report(place.node.line, place.path, str(error))


def _check_unique(item: Place, entry: UpstreamEntry, earlier: list[UpstreamEntry]) -> None:
    """Report a target that would see two upstreams of one name."""
    for other in earlier:
        both = [target.name for target in ALL_TARGETS if entry.fits(target) and other.fits(target)]
        if entry.name and entry.name == other.name and both:
            item.wrong("one upstream of a name for each target", f"{entry.name!r} twice for {', '.join(both[:3])}")


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
