"""What Debian packages say of themselves, and which of a set meet the needs of the others."""

from collections.abc import Iterator, Sequence
from functools import cmp_to_key

from repobuild.formats.deb import version
from repobuild.formats.deb.choose import meets, provides
from repobuild.formats.deb.control import Group, Relation, fields
from repobuild.formats.deb.index import Index
from repobuild.formats.deb.package import check_metadata
from repobuild.formats.deb.universe import POSITIVE, Origin, Record
from repobuild.formats.values import Detail, PackageUrl
from repobuild.graph import Need
from repobuild.model import Package, Target

_NOWHERE = Index(b"", {}, {})
_MAX_TEXT = 300
"""Characters of a text for people."""


def compare(one: str, other: str) -> int:
    """Compare two versions."""
    left, right = version.key(one), version.key(other)
    return (left > right) - (left < right)


def details(packages: Sequence[Package], architecture: str, *, weak: bool) -> tuple[Detail, ...]:
    """Return what packages say, in their order.

    Raises:
        HostileInputError: when a stanza is malformed or another package's.
    """
    records = []
    for package in packages:
        stanza = check_metadata(package)
        records.append(Record(stanza, fields(stanza), Origin(package.upstream, (), _NOWHERE)))
    found = _Set(records, architecture)
    kinds = POSITIVE if weak else POSITIVE[:2]
    return tuple(
        Detail(
            summary=record.field.get("description", "").partition("\n")[0][:_MAX_TEXT],
            licence="",
            homepage=record.field.get("homepage", "")[:_MAX_TEXT],
            needs=tuple(
                Need(
                    package=number,
                    verb=verb,
                    text=" | ".join(map(str, group)),
                    met_by=met,
                    is_weak=verb == "recommends",
                )
                for kind, verb in kinds
                for group in record.groups(kind)
                if (met := found.that_meet(group)) and number not in met
            ),
            provides=tuple(sorted({given.name for given in record.provides} - {record.name})),
            is_base=record.is_base and number == found.newest(record.name),
        )
        for number, record in enumerate(records)
    )


def package_url(package: Package, target: Target) -> PackageUrl:
    """Return the parts of a purl of type deb."""
    qualifiers = (("arch", package.arch), ("distro", f"{target.vendor}-{target.release}"))
    return PackageUrl(type="deb", namespace=target.vendor, version=package.version, qualifiers=qualifiers)


class _Set:
    """Records by their names and by what they provide."""

    def __init__(self, records: Sequence[Record], architecture: str) -> None:
        self._architecture = architecture
        self._named: dict[str, list[tuple[int, Record]]] = {}
        self._providers: dict[str, list[tuple[int, Record, Relation]]] = {}
        numbered = sorted(enumerate(records), key=cmp_to_key(_by_name_then_newest))
        for number, record in numbered:
            self._named.setdefault(record.name, []).append((number, record))
            for given in record.provides:
                self._providers.setdefault(given.name, []).append((number, record, given))

    def newest(self, name: str) -> int:
        """Return the newest of the records of this name, one of which there is."""
        return self._named[name][0][0]

    def that_meet(self, group: Group) -> tuple[int, ...]:
        """Return the records that satisfy a group: alternatives as written, the real package before its providers."""
        return tuple(dict.fromkeys(number for relation in group for number in self._alternatives(relation)))

    def _alternatives(self, relation: Relation) -> Iterator[int]:
        for number, record in self._named.get(relation.name, ()):
            if meets(record, relation, self._architecture):
                yield number
        for number, record, given in self._providers.get(relation.name, ()):
            if provides(record, given, relation, self._architecture):
                yield number


def _by_name_then_newest(one: tuple[int, Record], other: tuple[int, Record]) -> int:
    if one[1].name != other[1].name:
        return -1 if one[1].name < other[1].name else 1
    return compare(other[1].version, one[1].version)
