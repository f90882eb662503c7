"""What is installed on a machine, as a primary index (`rpm -qa` in small)."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.sax.saxutils import quoteattr

from repobuild.bases import InstalledPackage
from repobuild.formats.protocol import Loaded
from repobuild.formats.rpm.repository import document

_PRIMARY = "primary"
_ENTRY = re.compile(rb"<package type=\"rpm\">.*?</package>", re.DOTALL)
_IDENTITY = re.compile(
    rb"\s*<name>([^<]{1,200})</name>\s*<arch>([^<]{1,30})</arch>\s*"
    rb"<version epoch=\"([0-9]{1,10})\" ver=\"([^\"<]{1,200})\" rel=\"([^\"<]{1,200})\"\s*/>"
)
_START = len(b'<package type="rpm">')


def base_text(packages: Sequence[InstalledPackage], loaded: Sequence[Loaded]) -> bytes:
    """Return an entry for each package: an upstream's for this very version, else one of its name and version."""
    wanted = set(packages)
    found: dict[InstalledPackage, str] = {}
    for each in loaded:
        for index, path in zip(each.root.indexes, each.texts, strict=True):
            for package, entry in _entries(path) if index.kind == _PRIMARY else ():
                if package in wanted:
                    found.setdefault(package, entry.decode("utf-8", "replace"))
    return document(_PRIMARY, [found.get(each) or _opaque(each) for each in sorted(wanted)])


def _entries(path: Path) -> Iterator[tuple[InstalledPackage, bytes]]:
    """Yield the packages of a primary text, each with its entry; what createrepo_c would not write is passed over."""
    for match in _ENTRY.finditer(path.read_bytes()):
        identity = _IDENTITY.match(match[0], _START)
        if identity is not None:
            name, arch, epoch, version, release = (each.decode("utf-8", "replace") for each in identity.groups())
            full = f"{version}-{release}"
            yield InstalledPackage(name, full if epoch == "0" else f"{epoch}:{full}", arch), match[0]


def _opaque(package: InstalledPackage) -> str:
    """Return an entry that provides what every package does: itself."""
    epoch, _, full = package.version.rpartition(":")
    version, _, release = full.rpartition("-")
    evr = f"epoch={quoteattr(epoch or '0')} ver={quoteattr(version)} rel={quoteattr(release)}"
    names = (package.name, f"{package.name}({package.arch.replace('_', '-')})")
    provides = "".join(f'<rpm:entry name={quoteattr(name)} flags="EQ" {evr}/>' for name in names)
    digest = hashlib.sha256(repr(package).encode()).hexdigest()
    return (
        f'<package type="rpm"><name>{package.name}</name><arch>{package.arch}</arch><version {evr}/>'
        f'<checksum type="sha256" pkgid="YES">{digest}</checksum><summary/><description/><packager/><url/>'
        f"<format><rpm:license/><rpm:sourcerpm>{package.name}.src.rpm</rpm:sourcerpm>"
        f"<rpm:provides>{provides}</rpm:provides></format></package>\n"
    )
