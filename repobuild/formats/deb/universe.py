"""All packages of a target's Debian upstreams, and which version of each apt would take (apt_preferences(5))."""

import re
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

from repobuild.errors import HostileInputError
from repobuild.formats.deb import version
from repobuild.formats.deb.control import NAME, Group, Relation, fields, relations
from repobuild.formats.deb.index import Index
from repobuild.formats.origin_pins import OriginPins

POSITIVE = (("pre-depends", "depends on"), ("depends", "depends on"), ("recommends", "recommends"))
NEGATIVE = ("conflicts", "breaks")
INSTALLER = "apt"
"""The package that every base has beside the essential ones: without it nothing could be installed."""
_SHA256_LENGTH = 64
_ARCHITECTURE = re.compile(rb"^Architecture:[ \t]*([^\s]*)[ \t\r]*$", re.MULTILINE | re.IGNORECASE)
_SIZE = re.compile(r"[0-9]{1,13}\Z")
_PRIORITIES = {"required": 1, "important": 2, "standard": 3, "optional": 4, "extra": 5}
_MAX_SIZE = 1 << 40
"""Bytes of one package."""


@dataclass(frozen=True)
class Origin:
    """One index of one upstream, and how apt ranks what is in it."""

    upstream: str
    suites: tuple[str, ...]
    """The names by which `name/suite` asks for it: suite, codename, upstream name."""
    index: Index
    pin: int = 500
    module: str = ""


@dataclass(frozen=True, eq=False)
class Record:
    """One version of one package, parsed as far as a resolution needs it."""

    stanza: str
    field: Mapping[str, str]
    origin: Origin

    @cached_property
    def name(self) -> str:
        """The package name."""
        return self.field["package"]

    @cached_property
    def version(self) -> str:
        """The version, as written."""
        return self.field["version"]

    @cached_property
    def essential(self) -> bool:
        """Whether no system goes without it."""
        return self.field.get("essential") == "yes"

    @property
    def is_base(self) -> bool:
        """Whether the empty base asks for it."""
        return self.essential or self.name == INSTALLER

    @cached_property
    def important(self) -> bool:
        """Whether apt counts it among the important (`Important` or `Protected`)."""
        return "yes" in {self.field.get("important"), self.field.get("protected")}

    @cached_property
    def priority(self) -> int:
        """1 for required to 5 for extra, as apt sorts providers."""
        return _PRIORITIES.get(self.field.get("priority", "optional").lower(), 4)

    @cached_property
    def provides(self) -> tuple[Relation, ...]:
        """What it provides, besides itself."""
        return tuple(group[0] for group in relations(self.field.get("provides", "")))

    def groups(self, kind: str) -> tuple[Group, ...]:
        """Return the relations of one kind: `depends`, `conflicts`, …."""
        return relations(self.field[kind]) if kind in self.field else ()

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


class Universe:
    """The records of several origins by name, read when they are asked for."""

    def __init__(self, origins: Sequence[Origin], architecture: str, pins: OriginPins | None = None) -> None:
        self.origins = tuple(origins)
        self.architecture = architecture
        self.pins = pins or OriginPins.none()
        self._records: dict[str, tuple[Record, ...]] = {}
        self._stanzas: dict[tuple[int, int], Record | None] = {}
        self._ranks: dict[str, int] = {}
        self._excluded: set[str] = set()
        self._providers: dict[str, tuple[tuple[Record, Relation], ...]] = {}

    def exclude(self, digests: AbstractSet[str]) -> None:
        """Do as if records with these sha256 were not there."""
        self._excluded |= digests
        self._records.clear()
        self._providers.clear()
        self.__dict__.pop("essential", None)

    def why_withheld(self, name: str) -> str:
        """Say why a name has no records although the manifest may know an upstream with it; empty for none."""
        places = (origin.upstream for origin in self.origins if name in origin.index.offsets)
        return self.pins.reason(name, places) if not self.records(name) else ""

    def all_records(self, name: str) -> Iterable[tuple[Record, str]]:
        """Yield every version of a name for this architecture, and why it is not to be had, "" when it is."""
        for number, origin in enumerate(self.origins):
            for offset in origin.index.offsets.get(name, ()):
                is_there = self._record(number, offset) is not None
                record = self._stanzas[number, offset]
                if record is not None:
                    is_gone = record.field["sha256"] in self._excluded
                    yield record, "" if is_there else "gone from every mirror" if is_gone else self.pins.rule(name)

    def names(self) -> Iterable[str]:
        """Return every name that has a stanza, each once."""
        return dict.fromkeys(chain.from_iterable(origin.index.offsets for origin in self.origins))

    def records(self, name: str) -> tuple[Record, ...]:
        """Return the versions of a name for this architecture: highest pin first, then highest version, then origin."""
        known = self._records.get(name)
        if known is None:
            found = [
                record
                for number, origin in enumerate(self.origins)
                for offset in origin.index.offsets.get(name, ())
                if (record := self._record(number, offset)) is not None
            ]
            if len(found) > 1:
                found.sort(key=lambda record: (record.origin.pin, version.key(record.version)), reverse=True)
            known = self._records[name] = tuple(found)
        return known

    def candidate(self, name: str) -> Record | None:
        """Return the version that apt takes when nothing else is said, None when there is none."""
        records = self.records(name)
        return records[0] if records else None

    def providers(self, name: str) -> tuple[tuple[Record, Relation], ...]:
        """Return the records (of any version) that provide a name, each with the relation that says so."""
        known = self._providers.get(name)
        if known is None:
            found = (
                (record, relation)
                for number, origin in enumerate(self.origins)
                for offset in origin.index.providers.get(name, ())
                if (record := self._record(number, offset)) is not None
                for relation in record.provides
                if relation.name == name
            )
            known = self._providers[name] = tuple(found)
        return known

    def rank(self, name: str) -> int:
        """Return the position at which apt meets a name when it reads the origins in order."""
        known = self._ranks.get(name)
        if known is None:
            known = before = 0
            for origin in self.origins:
                if name in origin.index.ranks:
                    known = before + origin.index.ranks[name]
                    break
                before += len(origin.index.ranks)
            self._ranks[name] = known
        return known

    @cached_property
    def essential(self) -> tuple[str, ...]:
        """The names of the candidates without which no system goes, and apt when there is one; sorted."""
        names = {
            name
            for origin in self.origins
            for name in origin.index.essential
            if (record := self.candidate(name)) and record.essential
        }
        return tuple(sorted(names | ({INSTALLER} if self.candidate(INSTALLER) else set())))

    def _record(self, number: int, offset: int) -> Record | None:
        """Return the record whose stanza begins at `offset`; None when it is for another architecture, or withheld."""
        place = (number, offset)
        if place not in self._stanzas:
            self._stanzas[place] = self._parse(self.origins[number], offset)
        record = self._stanzas[place]
        if record is None or record.field["sha256"] in self._excluded:
            return None
        return record if self.pins.allow(record.name, record.origin.upstream) else None

    def _parse(self, origin: Origin, offset: int) -> Record | None:
        raw = origin.index.stanza(offset)
        stated = _ARCHITECTURE.search(raw)
        if stated is None or stated[1] not in {b"all", self.architecture.encode()}:
            return None  # and whatever else is wrong with it does not concern this target
        stanza = _decoded(raw)
        found = fields(stanza)
        check_stanza(found, origin.upstream)
        return Record(stanza, found, origin)


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise HostileInputError(f"stanza is not UTF-8: {raw[:60]!r}") from error


def check_stanza(found: Mapping[str, str], upstream: str) -> None:
    """Refuse a stanza whose identity or digest could not be trusted further on.

    Raises:
        HostileInputError: naming the package and its upstream.
    """
    name, digest, size = found.get("package", ""), found.get("sha256", ""), found.get("size", "")
    where = f"package {name[:60]!r} of upstream {upstream}"
    if not NAME.match(name):
        raise HostileInputError(f"not a package name: {where}")
    version.check(found.get("version", ""))
    if len(digest) != _SHA256_LENGTH or set(digest) - set("0123456789abcdef"):
        raise HostileInputError(f"no sha256 in the index: {where}", "ask the upstream for an index with SHA256 fields")
    if not _SIZE.match(size) or int(size) > _MAX_SIZE:
        raise HostileInputError(f"no usable size in the index: {where}")
