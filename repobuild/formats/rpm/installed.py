"""What is installed on a machine, as a primary index (`rpm -qa` in small)."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from repobuild.bases import InstalledPackage
from repobuild.errors import HostileInputError
from repobuild.formats.protocol import Loaded
from repobuild.formats.rpm.repository import document

_PRIMARY = "primary"
_ENTRY = re.compile(rb"<package type=\"rpm\">.*?</package>", re.DOTALL)
_IDENTITY = re.compile(
    rb"\s*<name>([^<]{1,200})</name>\s*<arch>([^<]{1,30})</arch>\s*"
    rb"<version epoch=\"([0-9]{1,10})\" ver=\"([^\"<]{1,200})\" rel=\"([^\"<]{1,200})\"\s*/>"
)
_START = len(b'<package type="rpm">')
_RELATION = re.compile(r"([^ (][^ ]*) (<=|>=|<|>|=) (?:([0-9]{1,10}):)?([^ -]+)(?:-([^ -]+))?")
_FLAGS = {"<": "LT", "<=": "LE", "=": "EQ", ">=": "GE", ">": "GT"}
_FIELDS = ("Provides", "Requires", "Conflicts", "Obsoletes")
_FILE = "File"


def base_text(packages: Sequence[InstalledPackage], loaded: Sequence[Loaded]) -> bytes:
    """Return an entry for each package: what it said itself; else an upstream's for this version, or its name alone.

    Raises:
        HostileInputError: when a package says what no package of this family can.
    """
    wanted = {each for each in packages if not each.says}
    found: dict[InstalledPackage, str] = {}
    for each in loaded if wanted else ():
        for index, path in zip(each.root.indexes, each.texts, strict=True):
            for package, entry in _entries(path) if index.kind == _PRIMARY else ():
                if package in wanted:
                    found.setdefault(package, entry.decode("utf-8", "replace"))
    return document(_PRIMARY, [found.get(each) or _entry(each) for each in sorted(packages)])


def _entries(path: Path) -> Iterator[tuple[InstalledPackage, bytes]]:
    """Yield the packages of a primary text, each with its entry; what createrepo_c would not write is passed over."""
    for match in _ENTRY.finditer(path.read_bytes()):
        identity = _IDENTITY.match(match[0], _START)
        if identity is not None:
            name, arch, epoch, version, release = (each.decode("utf-8", "replace") for each in identity.groups())
            full = f"{version}-{release}"
            yield InstalledPackage(name, full if epoch == "0" else f"{epoch}:{full}", arch), match[0]


def _entry(package: InstalledPackage) -> str:
    """Return an entry of what a package says; one that says nothing provides what every package does: itself."""
    evr = _evr(*_split(package.version))
    names = (package.name, f"{package.name}({package.arch.replace('_', '-')})")
    said = {field: [text for key, text in package.says if key == field] for field in (*_FIELDS, _FILE)}
    strange = [key for key, _ in package.says if key not in said]
    if strange:
        raise HostileInputError(f"not what an rpm package says of itself: {package.name}: {strange[0]}")
    related = {field: "".join(map(_related, texts)) for field, texts in said.items() if field != _FILE}
    related["Provides"] = related["Provides"] or "".join(
        f'<rpm:entry name={quoteattr(name)} flags="EQ" {evr}/>' for name in names
    )
    relations = "".join(
        f"<rpm:{field.lower()}>{related[field]}</rpm:{field.lower()}>" for field in _FIELDS if related[field]
    )
    files = "".join(f"<file>{escape(path)}</file>" for path in said[_FILE])
    digest = hashlib.sha256(repr(package).encode()).hexdigest()
    return (
        f'<package type="rpm"><name>{package.name}</name><arch>{package.arch}</arch><version {evr}/>'
        f'<checksum type="sha256" pkgid="YES">{digest}</checksum><summary/><description/><packager/><url/>'
        f"<format><rpm:license/><rpm:sourcerpm>{package.name}.src.rpm</rpm:sourcerpm>{relations}{files}</format></package>\n"
    )


def _related(text: str) -> str:
    """Return the entry of a relation as rpm prints it, `name >= 1:2-3`; all else is a name, rich ones too."""
    if text.startswith("rpmlib("):
        return ""
    found = _RELATION.fullmatch(text)
    if found is None:
        return f"<rpm:entry name={quoteattr(text)}/>"
    name, flag, epoch, version, release = found.groups()
    return f'<rpm:entry name={quoteattr(name)} flags="{_FLAGS[flag]}" {_evr(epoch or "0", version, release or "")}/>'


def _evr(epoch: str, version: str, release: str) -> str:
    said = f"epoch={quoteattr(epoch)} ver={quoteattr(version)}"
    return f"{said} rel={quoteattr(release)}" if release else said


def _split(full: str) -> tuple[str, str, str]:
    epoch, _, rest = full.rpartition(":")
    version, _, release = rest.rpartition("-")
    return epoch or "0", version, release
