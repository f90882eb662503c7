"""What is installed on a machine, as stanzas (dpkg's status in small)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from repobuild.bases import InstalledPackage
from repobuild.errors import HostileInputError
from repobuild.formats.deb import index, version
from repobuild.formats.deb.control import NAME, fields
from repobuild.formats.deb.universe import Origin, Record, Universe
from repobuild.formats.protocol import Loaded
from repobuild.model import Target

_SAYS = ("Multi-Arch", "Provides", "Pre-Depends", "Depends", "Conflicts", "Breaks")
"""The fields by which what is installed has a say, beside its name: what it gives, what it needs and excludes."""
_KEPT = ("Package", "Version", "Architecture", *_SAYS)


def base_text(packages: Sequence[InstalledPackage], loaded: Sequence[Loaded], target: Target) -> bytes:
    """Return a stanza for each package, with no more than a solver reads of what is installed.

    What it says is what it said itself; else what an upstream says of this very version; of others there are name and
    version alone.

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
    names = [field for field, _ in package.says]
    strange = [field for number, field in enumerate(names) if field not in _SAYS or field in names[:number]]
    if strange:
        raise HostileInputError(f"not what a deb package says of itself, or twice: {package.name}: {strange[0]}")
    if package.says:
        return "\n".join((own, *(f"{field}: {text}" for field, text in package.says)))
    for record in universe.records(package.name):
        if (record.version, record.field["architecture"]) == (package.version, package.arch):
            said = ((name, " ".join(record.field.get(name.lower(), "").split())) for name in _KEPT)
            return "\n".join(f"{name}: {value}" for name, value in said if value)
    return own


@dataclass(frozen=True, slots=True)
class Machine:
    """What is installed on a machine."""

    own: tuple[Record, ...] = ()
    """Of its own architecture, or of all."""
    foreign: Mapping[str, str] = field(default_factory=dict)
    """Name -> version of packages of other architectures. Ours of such a name have to have that version."""


def read(base: Loaded | None, architecture: str) -> Machine:
    """Return what is installed; nothing without a base.

    Raises:
        HostileInputError: when a stanza is none.
    """
    if base is None:
        return Machine()
    own: list[Record] = []
    foreign: dict[str, str] = {}
    for path in base.texts:
        origin = Origin(base.upstream.name, (), index.Index(b"", {}, {}))
        for stanza in path.read_text().split("\n\n"):
            if not stanza.strip():
                continue
            said = fields(stanza.strip("\n"))
            if not NAME.match(said.get("package", "")):
                raise HostileInputError(f"not a package name in base {base.upstream.name}: {stanza[:60]!r}")
            version.check(said.get("version", ""))
            if said.get("architecture") in {"all", architecture}:
                own.append(Record(stanza, said, origin))
            else:
                foreign[said["package"]] = said["version"]
    return Machine(tuple(own), foreign)
