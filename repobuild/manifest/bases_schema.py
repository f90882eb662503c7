"""How `bases` and `subtract` are read: what machines have before they install from the repository."""

import re
from collections.abc import Mapping
from pathlib import Path

from repobuild.bases import EMPTY, EMPTY_NAME, LIMIT, Base, Bases, parse_packages
from repobuild.durable import Folder
from repobuild.errors import ManifestError, RepobuildError
from repobuild.formats import FORMATS
from repobuild.manifest.document import Scalar, Table
from repobuild.manifest.expand import choose
from repobuild.manifest.reading import Fields, Place, redacted
from repobuild.model import Target
from repobuild.targets import DEFAULT_SELECTOR, is_selector

KEYS = ("bases", "subtract")
"""Keys of the document that this module reads."""
_BASE_KEYS = ("name", "packages", "minimal", "release")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
_RELEASE = re.compile(r"[1-9][0-9]?\.(?:0|[1-9][0-9]?)")
_EXPECTED = "empty, or a mapping with the name of a base and its packages, or `minimal: true`"
_MAX_BASES = 16
_SHOWN = 3

Choice = Mapping[str, tuple[Base, ...]]


def read_bases(fields: Fields, folder: Path) -> tuple[Choice, str]:
    """Return the bases by selector, and the name of the one to subtract, "" for none; lists lie below `folder`."""
    choice: dict[str, tuple[Base, ...]] = {}
    if "bases" in fields.given:
        place = fields.given["bases"]
        by_selector = place.entries("") if isinstance(place.node, Table) else {DEFAULT_SELECTOR: place}
        for selector, value in by_selector.items():
            if not is_selector(selector):
                value.wrong("a selector such as deb, el9 or d12.aarch64 as key", redacted(selector))
            choice[selector] = _bases(value, folder)
    subtracted = fields.matching("subtract", _NAME, "the name of a base") or ""
    known = {base.name for bases in choice.values() for base in bases if not base.is_empty}
    if subtracted and subtracted not in known:
        fields.given["subtract"].wrong(f"one of the bases {', '.join(sorted(known)) or '(there are none)'}", subtracted)
    return choice, subtracted


def bases_of(choice: Choice, subtracted: str, target: Target) -> Bases:
    """Return what a target sees.

    Raises:
        ManifestError: when a list is of machines of another family or architecture.
    """
    found = choose(choice, target)
    for base in found:
        if base.packages and target.package_arch not in {each.arch for each in base.packages}:
            known = ", ".join(sorted({each.arch for each in base.packages})[:_SHOWN])
            line = (
                f"base {base.name} is no machine of {target}, where packages are for {target.package_arch}: {known}: "
                f"capture one there, or name it for its own targets (`bases: {{{target}: [...]}}`)"
            )
            raise ManifestError((line,))
        if base.packages and (other := FORMATS[target.family].stranger(base.packages, target)):
            raise ManifestError((f"base {base.name} is a machine of another release than {target}: it has {other}",))
    return Bases(all=found, subtracted=subtracted if any(base.name == subtracted for base in found) else "")


def _bases(place: Place, folder: Path) -> tuple[Base, ...]:
    found: dict[str, Base] = {}
    for item in place.items("a list of bases"):
        base = _base(item, folder)
        if base is None:
            continue
        if base.name in found:
            item.wrong("a name of its own", f"{base.name} again")
        found[base.name] = base
    if len(found) > _MAX_BASES:
        place.wrong(f"at most {_MAX_BASES} bases", str(len(found)))
    return tuple(found.values())


def _base(item: Place, folder: Path) -> Base | None:
    if isinstance(item.node, Scalar):
        return EMPTY if item.one_of((EMPTY_NAME,), _EXPECTED) else None
    fields = item.fields(_BASE_KEYS, _EXPECTED)
    is_minimal = fields.flag("minimal") is True
    fields.require("name", *([] if is_minimal else ["packages"]))
    name = fields.matching("name", _NAME, "a name of letters, digits and ._+-")
    file = fields.text("packages", "the path of a package list")
    release = fields.matching("release", _RELEASE, "a minor release, such as 9.4") or ""
    if name is not None and name == EMPTY_NAME:
        item.wrong("another name: `empty` is the base without packages", name)
    elif is_minimal and file is not None:
        item.wrong("either packages or `minimal: true`", "both")
    elif release and not is_minimal:
        item.wrong("`minimal: true` with a release", "packages")
    elif name is not None and is_minimal:
        return Base(name=name, is_minimal=True, release=release)
    elif name is not None and file is not None:
        return _captured(item, fields, name, folder / file)
    return None


def _captured(item: Place, fields: Fields, name: str, file: Path) -> Base | None:
    path = file.absolute()
    try:
        with Folder.open(path.parent) as parent:
            text = parent.read(path.name, LIMIT)
        if text is not None:
            return Base(name=name, packages=parse_packages(text, file.name))
        fields.given["packages"].wrong("a file that is there (repobuild base capture says how to make one)", file.name)
    except RepobuildError as error:
        item.source.report(item.node.line, item.path, error.message)
    return None
