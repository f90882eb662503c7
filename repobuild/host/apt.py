"""The mirrors that this machine's apt is configured with: sources.list(5)."""

import os
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from urllib.parse import urlsplit

from repobuild.host.reading import MAX_BYTES, read_file
from repobuild.model import Mirror
from repobuild.progress import SILENT, Progress

_ROOT = Path("/")
_MAX_FILES = 500
_MAX_MIRRORS = 50
_TIMEOUT = 10
"""Seconds that apt-config may take."""

_ONE_LINE = re.compile(r"deb\s+(?:\[[^\]]*\]\s*)?(\S+)\s+(\S+)")
_FIELD = re.compile(r"([A-Za-z][A-Za-z-]*)[ \t]*:(.*)")
_SETTING = re.compile(r'([^\s"]+) "(.*)";')
_FILE_NAME = re.compile(r"[A-Za-z0-9_.-]+\.(?:list|sources)")
_URI = re.compile(r"[A-Za-z0-9:/\[\]@!&()*+,;=%._~-]+")
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):", re.IGNORECASE)
_SERVED = {"http", "https", "file", "copy"}
_PROXIES = {"http", "https", "socks5h"}
_NO = {"no", "false", "without", "off", "disable", "0"}
"""Words that apt takes for false."""


def apt_settings() -> str:
    """Return what `apt-config dump` prints, empty where there is no apt or it does not answer."""
    with suppress(OSError, subprocess.SubprocessError):
        command = ["env", "LC_ALL=C", "apt-config", "dump"]
        done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=_TIMEOUT, check=True)
        return done.stdout[:MAX_BYTES].decode("utf-8", "replace")
    return ""


def apt_mirrors(
    root: Path = _ROOT, *, settings: Callable[[], str] = apt_settings, progress: Progress = SILENT
) -> tuple[Mirror, ...]:
    """Return the base URLs of this machine's apt sources, in their order, each once, with apt's proxy for it.

    A base URL with credentials is left out, and so is one that apt reaches through a proxy with credentials: they
    have no place in our settings. So are sources of kinds that we do not fetch (cdrom, `mirror+…`, tor).

    Args:
        root: the file system to look at.
        settings: gives apt's settings as `apt-config dump` prints them.
        progress: hears what was skipped.
    """
    values = _settings(settings())
    mirrors: dict[str, Mirror] = {}
    for path in _source_files(root, values):
        text = read_file(path)
        if text is None:
            progress.note(f"skipped a source file that cannot be read: {path}")
            continue
        read = _deb822 if path.suffix == ".sources" else _one_line
        for uri in read(text):
            mirror = _mirror(uri, values, path, progress)
            if mirror is not None:
                mirrors.setdefault(mirror.url, mirror)
            if len(mirrors) >= _MAX_MIRRORS:
                return tuple(mirrors.values())
    return tuple(mirrors.values())


def _settings(dump: str) -> Mapping[str, str]:
    """Return apt's settings by lower-case name; the last one counts, as in apt."""
    matches = (_SETTING.fullmatch(line.strip()) for line in dump.splitlines())
    return {match[1].lower(): match[2] for match in matches if match}


def _source_files(root: Path, values: Mapping[str, str]) -> Iterator[Path]:
    """Yield the source files in the order in which apt reads them."""
    parts = Path(_apt_path(values, "dir::etc::sourceparts", "sources.list.d"))
    single = root / _apt_path(values, "dir::etc::sourcelist", "sources.list")
    if os.path.isfile(single):
        yield single
    with suppress(OSError):
        names = sorted(name for name in os.listdir(root / parts) if _FILE_NAME.fullmatch(name))
        yield from (root / parts / name for name in islice(names, _MAX_FILES))


def _apt_path(values: Mapping[str, str], key: str, default: str) -> str:
    """Return the path that a setting names, relative to the root: each level is below the one before."""
    names = (values.get("dir", "/"), values.get("dir::etc", "etc/apt"), values.get(key, default))
    return os.path.join(*names).lstrip("/")


def _one_line(text: str) -> Iterator[str]:
    """Yield the URIs of one-line sources."""
    for line in text.splitlines():
        match = _ONE_LINE.match(line.partition("#")[0].strip())
        if match:
            yield match[1]


def _deb822(text: str) -> Iterator[str]:
    """Yield the URIs of enabled deb822 sources."""
    for fields in _paragraphs(text):
        is_enabled = fields.get("enabled", "yes").strip().lower() not in _NO
        if is_enabled and "deb" in fields.get("types", "").split():
            yield from fields.get("uris", "").split()


def _paragraphs(text: str) -> Iterator[Mapping[str, str]]:
    """Yield the fields of each paragraph by lower-case name; comments are dropped, continued lines joined."""
    fields: dict[str, str] = {}
    name = ""
    for line in (*text.splitlines(), ""):
        match = _FIELD.fullmatch(line)
        if line.startswith("#"):
            continue
        if not line.strip():
            yield fields
            fields, name = {}, ""
        elif line[0] in " \t":
            fields[name] = f"{fields.get(name, '')} {line.strip()}"
        elif match:
            name = match[1].lower()
            fields[name] = match[2].strip()


def _mirror(uri: str, values: Mapping[str, str], path: Path, progress: Progress) -> Mirror | None:
    """Return the mirror that a URI of a source names, None when we do not use it."""
    scheme = _SCHEME.match(uri)
    if scheme is None or scheme[1].lower() not in _SERVED:
        progress.note(f"skipped a source of a kind that is not fetched: {scheme[1] if scheme else '?'} in {path}")
        return None
    parts = _split(uri)
    if parts is None or "@" in parts[1]:
        progress.note(f"skipped a source with {'credentials' if parts else 'a malformed URL'} in {path}")
        return None
    kind, host, place = parts
    if kind in {"file", "copy"}:
        return Mirror(f"file:///{place.strip('/')}", "")
    proxy = _proxy(kind, host, values)
    if proxy and "@" in proxy:
        progress.note(f"skipped a source whose proxy needs credentials in {path}")
        return None
    return Mirror(f"{kind}://{host}{place}".rstrip("/"), proxy)


def _split(uri: str) -> tuple[str, str, str] | None:
    """Return scheme, network location and path; None for a malformed URI, one with a query or with apt's variables."""
    try:
        parts = urlsplit(uri)
        _ = parts.port
    except ValueError:
        return None
    is_remote = parts.scheme in {"http", "https"}
    if not _URI.fullmatch(uri) or is_remote != bool(parts.hostname):
        return None
    return parts.scheme, parts.netloc, parts.path


def _proxy(scheme: str, netloc: str, values: Mapping[str, str]) -> str | None:
    """Return apt's proxy for a host: URL, "" for none, None when apt says nothing.

    A proxy for the host counts before the general one, and https takes http's where it has none of its own.
    """
    host = (urlsplit(f"//{netloc}").hostname or "").lower()
    schemes = ("https", "http") if scheme == "https" else ("http",)
    keys = [f"acquire::{each}::proxy{tail}" for tail in (f"::{host}", "") for each in schemes]
    found = next((values[key] for key in keys if values.get(key)), None)
    if found is None or found.upper() in {"DIRECT", "FALSE"}:
        return None if found is None else ""
    kind = _SCHEME.match(found)
    return found.rstrip("/") if kind and kind[1].lower() in _PROXIES else None
