"""How `meta` of an upstream is read: the options of dnf.conf(5) that change what a client would choose."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from repobuild.manifest.document import Scalar
from repobuild.manifest.locations import check_url, substitute
from repobuild.manifest.reading import Fields, Place, redacted
from repobuild.model import ListKind, MirrorList, Verify

_KEYS = (
    "enabled",
    "priority",
    "cost",
    "excludepkgs",
    "exclude",
    "includepkgs",
    "module_hotfixes",
    "skip_if_unavailable",
    "gpgcheck",
    "repo_gpgcheck",
    "gpgkey",
    "mirrorlist",
    "metalink",
)
_NUMBER = re.compile(r"[0-9]{1,6}")
_GLOB = re.compile(r"[A-Za-z0-9._+*?\[\]:~^!-]{1,256}")
_SWITCH = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Meta:
    """What `meta` says; None and the empty tuple where it says nothing."""

    is_enabled: bool = True
    priority: int = 99
    cost: int = 1000
    exclude: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    module_hotfixes: bool = False
    skip_if_unavailable: bool = False
    gpgcheck: bool = False
    repo_gpgcheck: bool = False
    lists: tuple[tuple[ListKind, str], ...] = ()
    """URLs with variables not yet replaced."""

    @property
    def verify(self) -> Verify:
        """What is verified where the entry has no `verify`: packages when only they are said to be signed."""
        return Verify.PACKAGES if self.gpgcheck and not self.repo_gpgcheck else Verify.ROOT

    def mirror_lists(self, values: Mapping[str, str]) -> tuple[MirrorList, ...]:
        """Return the lists as a target sees them; ValueError says what is wrong with a URL."""
        return tuple(
            MirrorList(kind, check_url(substitute(url, values), ("http", "https"), query=True))
            for kind, url in self.lists
        )

    def written(self, values: Mapping[str, str]) -> Mapping[str, object]:
        """Return, for the digest, what a target sees of it; empty where all of it is as usual."""
        said = {
            "priority": self.priority,
            "cost": self.cost,
            "exclude": self.exclude,
            "include": self.include,
            "module_hotfixes": self.module_hotfixes,
            "gpgcheck": self.gpgcheck,
            "lists": [each.url for each in self.mirror_lists(values)],
        }
        return said if self != Meta() else {}


def read_meta(place: Place) -> Meta:
    """Return the options of an upstream."""
    fields = place.fields(_KEYS, f"a mapping of {', '.join(_KEYS)}")
    lists = [(kind, fields.text(kind.value, "a URL")) for kind in ListKind]
    return Meta(
        is_enabled=_flag(fields, "enabled", usual=True),
        priority=_number(fields, "priority", 99),
        cost=_number(fields, "cost", 1000),
        exclude=(*_globs(fields, "excludepkgs"), *_globs(fields, "exclude")),  # dnf adds the one to the other
        include=_globs(fields, "includepkgs"),
        module_hotfixes=_flag(fields, "module_hotfixes"),
        skip_if_unavailable=_flag(fields, "skip_if_unavailable"),
        gpgcheck=_flag(fields, "gpgcheck"),
        repo_gpgcheck=_flag(fields, "repo_gpgcheck"),
        lists=tuple((kind, url) for kind, url in lists if url is not None),
    )


def _number(fields: Fields, key: str, default: int) -> int:
    text = fields.matching(key, _NUMBER, "a number")
    return default if text is None else int(text)


def _flag(fields: Fields, key: str, *, usual: bool = False) -> bool:
    node = fields.given[key].node if key in fields.given else None
    if node is None:
        return usual
    text = node.text.strip().lower() if isinstance(node, Scalar) else ""
    if text not in _SWITCH:
        fields.given[key].wrong("1 or 0, true or false")
    return _SWITCH.get(text, usual)


def _globs(fields: Fields, key: str) -> tuple[str, ...]:
    """Return package names or globs, separated by blanks or commas, or as a list."""
    found: list[str] = []
    for item in fields.items(key, "package names or globs"):
        for word in (item.text("package names or globs") or "").replace(",", " ").split():
            if not _GLOB.fullmatch(word):
                item.wrong("a package name or glob", redacted(word))
            found.append(word)
    return tuple(found)
