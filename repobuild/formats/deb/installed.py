"""What is installed on a machine, as stanzas (dpkg's status in small)."""

from collections.abc import Sequence

from repobuild.bases import InstalledPackage
from repobuild.errors import HostileInputError
from repobuild.formats.deb import index, version
from repobuild.formats.deb.control import NAME, fields
from repobuild.formats.deb.package import without_location
from repobuild.formats.deb.universe import Origin, Record, Universe
from repobuild.formats.protocol import Loaded
from repobuild.model import Target

_FIELDS = ("Essential", "Multi-Arch", "Pre-Depends", "Depends", "Provides", "Conflicts", "Breaks", "Replaces")


def base_text(packages: Sequence[InstalledPackage], loaded: Sequence[Loaded], target: Target) -> bytes:
    """Return a stanza for each package: what it said itself; else an upstream's for this version, or its name alone.

    Raises:
        HostileInputError: when a package says what no package of this family can.
    """
    origins = [
        Origin(each.upstream.name, (), index.scan(index.open_text(path))) for each in loaded for path in each.texts
    ]
    universe = Universe(origins, target.package_arch)
    return "".join(f"{_stanza(universe, each)}\n\n" for each in packages).encode()


def _stanza(universe: Universe, package: InstalledPackage) -> str:
    own = f"Package: {package.name}\nVersion: {package.version}\nArchitecture: {package.arch}"
    strange = [field for field, _ in package.says if field not in _FIELDS]
    if strange:
        raise HostileInputError(f"not what a deb package says of itself: {package.name}: {strange[0]}")
    if package.says:
        return "\n".join((own, *(f"{field}: {text}" for field, text in package.says)))
    for record in universe.records(package.name):
        if (record.version, record.field["architecture"]) == (package.version, package.arch):
            return without_location(record.stanza).strip("\n")
    return own


def read(base: Loaded | None, architecture: str) -> tuple[Record, ...]:
    """Return what is installed; packages of another architecture are none of ours.

    Raises:
        HostileInputError: when a stanza is none.
    """
    if base is None:
        return ()
    found = []
    for path in base.texts:
        origin = Origin(base.upstream.name, (), index.Index(b"", {}, {}))
        for stanza in path.read_text().split("\n\n"):
            field = fields(stanza.strip("\n")) if stanza.strip() else {}
            if field.get("architecture") not in {"all", architecture}:
                continue
            if not NAME.match(field.get("package", "")):
                raise HostileInputError(f"not a package name in base {base.upstream.name}: {stanza[:60]!r}")
            version.check(field.get("version", ""))
            found.append(Record(stanza, field, origin))
    return tuple(found)
