"""What a family says of packages to those who explain a resolution: details, advisories, package URLs, sightings."""

from dataclasses import dataclass

from repobuild.graph import Need


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """A package of an upstream, whether or not it is to be had."""

    version: str
    arch: str
    upstream: str
    sha256: str
    reason: str = ""
    """Why a target would not take it, whatever its version; "" when it could."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Detail:
    """What a package says of itself to people, and what it asks of the others in its set."""

    summary: str
    licence: str
    """As written; "" where the family's metadata has none."""
    homepage: str
    needs: tuple[Need, ...]
    """Those that something else in the set meets."""
    provides: tuple[str, ...] = ()
    """Names beside its own by which others ask for it, sorted."""
    is_base: bool = False
    """Whether the empty base asks for it, of whatever is wanted: of several versions the newest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Advisory:
    """What an upstream says that packages mend."""

    id: str
    kind: str
    """`security`, `bugfix`, `enhancement`."""
    severity: str
    title: str
    filenames: tuple[str, ...]
    """Of the packages that mend it, sorted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageUrl:
    """The parts of a package URL (purl) beside the name."""

    type: str
    namespace: str
    version: str
    qualifiers: tuple[tuple[str, str], ...]
