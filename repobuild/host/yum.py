"""The repositories that this machine's dnf or yum is configured with: dnf.conf(5), yum.conf(5).

`$releasever`, `$basearch` and `$arch` stay as they are, so that a repository can be taken for another release and
architecture than this machine's; which upstream it then is, is for the manifest to tell (`manifest/matching.py`). All
other variables are replaced by what this machine says.
"""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from urllib.parse import urlsplit

from repobuild.host.reading import read_file
from repobuild.model import HostRepository, ListKind
from repobuild.progress import SILENT, Progress

_ROOT = Path("/")
_SETTINGS = ("etc/dnf/dnf.conf", "etc/yum.conf")
"""The first one that is there counts."""
_FOLDERS = "/etc/yum.repos.d /etc/yum/repos.d /etc/distro.repos.d"
_VARIABLES = ("etc/yum/vars", "etc/dnf/vars")
"""A variable of the last one counts."""
_MAX_FILES = 500
_MAX_REPOSITORIES = 200
_MAX_URLS = 50
_MAX_URL = 2048
_MAIN = "main"

_SECTION = re.compile(r"\[([^\[\]]{1,200})\]")
_ASSIGNMENT = re.compile(r"([A-Za-z][A-Za-z0-9_]*)[ \t]*[=:](.*)")
_NAME = re.compile(r"[A-Za-z0-9._:+-]{1,200}")
_VARIABLE = re.compile(r"\$(?:(\w{1,64})|\{(\w{1,64})\})")
_KEPT = frozenset({"releasever", "releasever_major", "releasever_minor", "basearch", "arch"})
_URL = re.compile(r"[A-Za-z0-9:/?@!&()*+,;=%._~${}\[\]-]+")
_PROXY = re.compile(r"(?:https?|socks5h?)://[A-Za-z0-9.\[\]:_-]+/?")
_SERVED = {"http", "https", "file"}
_NO = {"0", "no", "false", "off", "never"}
_CREDENTIALS = ("username", "password", "proxy_username", "proxy_password", "sslclientcert", "sslclientkey")

Options = Mapping[str, str]


class _UnusableError(Exception):
    """A repository is none that we can read; the text says why."""


@dataclass(frozen=True, slots=True)
class _Place:
    """A repository as its file states it."""

    path: Path
    name: str
    options: Options


def yum_repositories(root: Path = _ROOT, *, progress: Progress = SILENT) -> tuple[HostRepository, ...]:
    """Return this machine's enabled repositories, in the order of their files, each name once.

    A repository that needs credentials, a client certificate or an authority of its own is left out, and so is one
    behind a proxy with credentials: say how it is reached with `--access`.

    Args:
        root: the file system to look at.
        progress: hears what was skipped.
    """
    text = next((text for name in _SETTINGS if (text := read_file(root / name)) is not None), "")
    sections = _sections(text)
    main = sections.get(_MAIN, {})
    variables = _variables(root)
    found: dict[str, HostRepository] = {}
    for place in _places(root, sections, main, progress):
        if place.options.get("enabled", "1").lower() in _NO or place.name in found:
            continue
        try:
            found[place.name] = _repository(place, variables)
        except _UnusableError as error:
            progress.note(f"skipped the repository {place.name[:80]}, {error}, in {place.path}")
        if len(found) >= _MAX_REPOSITORIES:
            break
    return tuple(found.values())


def _places(root: Path, sections: Mapping[str, Options], main: Options, progress: Progress) -> Iterator[_Place]:
    """Yield the repositories of the settings themselves, then those of the folders' files; `main` stands behind all."""
    files: list[tuple[Path, Mapping[str, Options]]] = [(root / _SETTINGS[0], sections)]
    for folder in (main.get("reposdir") or _FOLDERS).replace(",", " ").split()[:_MAX_URLS]:
        path = root / folder.lstrip("/")
        with suppress(OSError):
            names = sorted(name for name in os.listdir(path) if name.endswith(".repo"))
            for name in islice(names, _MAX_FILES):
                text = read_file(path / name)
                if text is None:
                    progress.note(f"skipped a file of repositories that cannot be read: {path / name}")
                else:
                    files.append((path / name, _sections(text)))
    inherited = {key: value for key, value in main.items() if key in {"proxy", "sslcacert", *_CREDENTIALS}}
    for path, each in files:
        yield from (_Place(path, name, {**inherited, **own}) for name, own in each.items() if name != _MAIN)


def _sections(text: str) -> Mapping[str, Options]:
    """Return the options of each section; what is no option is skipped, and a line that is indented goes on."""
    found: dict[str, dict[str, str]] = {}
    options: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        section = _SECTION.fullmatch(line.rstrip())
        match = _ASSIGNMENT.fullmatch(line)
        if not line.strip() or line[0] in "#;":
            continue
        if section:
            options, name = found.setdefault(section[1].strip(), {}), ""
        elif line[0] in " \t":
            if name:
                options[name] = f"{options[name]} {line.strip()}"
        elif match:
            name = match[1].lower()
            options[name] = match[2].strip()
    return found


def _variables(root: Path) -> Mapping[str, str]:
    found = {}
    for folder in _VARIABLES:
        with suppress(OSError):
            for name in islice(sorted(os.listdir(root / folder)), _MAX_FILES):
                text = read_file(root / folder / name)
                if text is not None and name.isidentifier() and name not in _KEPT:
                    found[name] = "".join(text.splitlines()[:1]).strip()[:200]
    return found


def _repository(place: _Place, variables: Mapping[str, str]) -> HostRepository:
    options = place.options
    if not _NAME.fullmatch(place.name):
        raise _UnusableError("whose name is none")
    if any(options.get(key) for key in _CREDENTIALS):
        raise _UnusableError("which needs credentials")
    if options.get("sslcacert"):
        raise _UnusableError("which has an authority of its own")
    lists = [(kind, url) for kind in ListKind for url in _urls(options.get(kind.value, ""), variables)[:1]]
    urls = _urls(options.get("baseurl", ""), variables)
    if not urls and not lists:
        raise _UnusableError("which names no URL that is fetched")
    return HostRepository(name=place.name, urls=urls, lists=tuple(lists), proxy=_proxy(options))


def _urls(text: str, variables: Mapping[str, str]) -> tuple[str, ...]:
    """Return the URLs that a value names; those of kinds that we do not fetch are left out."""
    found = [_checked(_VARIABLE.sub(lambda match: _value(match, variables), word)) for word in _split(text)]
    return tuple(dict.fromkeys(url for url in found if url is not None))


def _split(text: str) -> list[str]:
    return text.replace(",", " ").split()[:_MAX_URLS]


def _value(match: re.Match[str], variables: Mapping[str, str]) -> str:
    name = match[1] or match[2]
    return variables.get(name, f"${{{name}}}")


def _checked(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    if "@" in parts.netloc:
        raise _UnusableError("which needs credentials")
    is_here = parts.scheme == "file"
    is_known = all((match[1] or match[2]) in _KEPT for match in _VARIABLE.finditer(url))
    if parts.scheme not in _SERVED or is_here == bool(parts.netloc) or len(url) > _MAX_URL:
        return None
    return url.rstrip("/") if is_known and _URL.fullmatch(url) else None


def _proxy(options: Options) -> str | None:
    """Return the proxy of a repository: URL, "" for none, None when nothing is said."""
    if "proxy" not in options:
        return None
    text = options["proxy"]
    if "@" in text:
        raise _UnusableError("whose proxy needs credentials")
    if text.lower() in {"", "_none_", "none"}:
        return ""
    if not _PROXY.fullmatch(text):
        raise _UnusableError("whose proxy is of a kind that is not used")
    return text.rstrip("/")
