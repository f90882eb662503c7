"""What is installed on a machine, as a primary index (`rpm -qa` in small)."""

import re
from collections.abc import Iterator, Sequence
from xml.sax.saxutils import escape, quoteattr

from repobuild.bases import InstalledPackage
from repobuild.errors import HostileInputError
from repobuild.formats.protocol import Loaded
from repobuild.formats.rpm.repository import document
from repobuild.formats.rpm.resolver import INSTALL_ONLY

_PRIMARY = "primary"
_ENTRY = re.compile(rb"<package type=\"rpm\">.*?</package>", re.DOTALL)
_IDENTITY = re.compile(
    rb"\s*<name>([^<]{1,200})</name>\s*<arch>([^<]{1,30})</arch>\s*"
    rb"<version epoch=\"([0-9]{1,10})\" ver=\"([^\"<]{1,200})\" rel=\"([^\"<]{1,200})\"\s*/>"
)
_START = len(b'<package type="rpm">')
_RELATIONS = re.compile(rb"<rpm:(provides|requires|conflicts|obsoletes)>(.*?)</rpm:\1>", re.DOTALL)
_ASKING = re.compile(
    rb"<rpm:(requires|conflicts|obsoletes|recommends|suggests|supplements|enhances)>.*?</rpm:\1>", re.DOTALL
)
_RELATION = re.compile(rb"<rpm:entry [^<>]{1,4000}/>")
_NAME = re.compile(rb' name="([^"<>]{1,1000})"')
_FILE = re.compile(rb'<file(?: type="[a-z]{1,9}")?>([^<]{1,4096})</file>')
_SAID = re.compile(r"([^ (][^ ]*) (<=|>=|<|>|=) (?:([0-9]{1,10}):)?([^ -]+)(?:-([^ -]+))?")
_FLAGS = {"<": "LT", "<=": "LE", "=": "EQ", ">=": "GE", ">": "GT"}
_FIELDS = ("Provides", "Requires", "Conflicts", "Obsoletes")
_OWN_FILE = "File"


def base_text(packages: Sequence[InstalledPackage], loaded: Sequence[Loaded]) -> bytes:
    """Return an entry for each package, with no more than a solver reads of what is installed.

    What it says is what it said itself; else what an upstream says of this very version; of others there are name and
    version alone. Of what a package provides, what somebody asks for by that name is kept: nothing else can come to
    matter, for what is ever asked is asked by these packages or by those of the upstreams.

    Raises:
        HostileInputError: when a package says what no package of this family can.
    """
    texts = [
        path.read_bytes()
        for each in loaded
        for index, path in zip(each.root.indexes, each.texts, strict=True)
        if index.kind == _PRIMARY
    ]
    found = {each: _stated(each) for each in packages if each.says}
    stated = tuple(found.values())
    wanted = set(packages)
    for text in texts:
        for package, entry in _entries(text):
            if package in wanted:
                found.setdefault(package, entry)
    asked = _Asked((*texts, *stated) if found else ())
    entries = (_entry(each, found[each], asked) if each in found else _opaque(each) for each in sorted(wanted))
    return document(_PRIMARY, list(entries))


class _Asked:
    """What packages ask for: every name in a relation other than `provides`."""

    def __init__(self, texts: Sequence[bytes]) -> None:
        sections = (match[0] for text in texts for match in _ASKING.finditer(text))
        names = {name for section in sections for name in _NAME.findall(section)}
        self._names = names | {each.encode() for each in INSTALL_ONLY}
        self._rich = b"\n".join(sorted(name for name in names if name.startswith(b"(")))

    def __contains__(self, name: bytes) -> bool:
        """Whether a name is asked for; one that stands in a rich relation is."""
        return name in self._names or name in self._rich

    def names(self, relation: bytes) -> bool:
        """Whether the name of a relation is asked for, or cannot be told."""
        name = _NAME.search(relation)
        return name is None or name[1] in self


def _entry(package: InstalledPackage, entry: bytes, asked: _Asked) -> str:
    """Return what an upstream's entry says, in short."""
    said = []
    for kind, text in _RELATIONS.findall(entry):
        relations = _RELATION.findall(text)
        kept = [each for each in relations if kind != b"provides" or asked.names(each)]
        said += [b"<rpm:%b>%b</rpm:%b>" % (kind, b"".join(kept), kind)] if kept else []
    said += [b"<file>%b</file>" % path for path in _FILE.findall(entry) if path in asked]
    return _package(package, b"".join(said).decode("utf-8", "replace"))


def _entries(text: bytes) -> Iterator[tuple[InstalledPackage, bytes]]:
    """Yield the packages of a primary text, each with its entry; what createrepo_c would not write is passed over."""
    for match in _ENTRY.finditer(text):
        identity = _IDENTITY.match(match[0], _START)
        if identity is not None:
            name, arch, epoch, version, release = (each.decode("utf-8", "replace") for each in identity.groups())
            full = f"{version}-{release}"
            yield InstalledPackage(name, full if epoch == "0" else f"{epoch}:{full}", arch), match[0]


def _stated(package: InstalledPackage) -> bytes:
    """Return what a package said of itself, as an index has it."""
    said: dict[str, list[str]] = {field: [] for field in (*_FIELDS, _OWN_FILE)}
    for field, text in package.says:
        if field not in said:
            raise HostileInputError(f"not what an rpm package says of itself: {package.name}: {field}")
        said[field].append(text)
    files = "".join(f"<file>{escape(path)}</file>" for path in said.pop(_OWN_FILE))
    relations = ((field.lower(), "".join(map(_related, texts))) for field, texts in said.items())
    return ("".join(f"<rpm:{kind}>{text}</rpm:{kind}>" for kind, text in relations if text) + files).encode()


def _related(text: str) -> str:
    """Return the entry of a relation as rpm prints it, `name >= 1:2-3`; all else is a name, rich ones too."""
    if text.startswith("rpmlib("):
        return ""
    found = _SAID.fullmatch(text)
    if found is None:
        return f"<rpm:entry name={quoteattr(text)}/>"
    name, flag, epoch, version, release = found.groups()
    rel = f" rel={quoteattr(release)}" if release else ""
    evr = f"epoch={quoteattr(epoch or '0')} ver={quoteattr(version)}{rel}"
    return f'<rpm:entry name={quoteattr(name)} flags="{_FLAGS[flag]}" {evr}/>'


def _opaque(package: InstalledPackage) -> str:
    """Return an entry that provides what every package does: itself."""
    evr = _evr(package)
    names = (package.name, f"{package.name}({package.arch.replace('_', '-')})")
    provides = "".join(f'<rpm:entry name={quoteattr(name)} flags="EQ" {evr}/>' for name in names)
    return _package(package, f"<rpm:provides>{provides}</rpm:provides>")


def _package(package: InstalledPackage, relations: str) -> str:
    return (
        f'<package type="rpm"><name>{package.name}</name><arch>{package.arch}</arch><version {_evr(package)}/>'
        f"<format>{relations}</format></package>\n"
    )


def _evr(package: InstalledPackage) -> str:
    epoch, _, full = package.version.rpartition(":")
    version, _, release = full.rpartition("-")
    return f"epoch={quoteattr(epoch or '0')} ver={quoteattr(version)} rel={quoteattr(release)}"
