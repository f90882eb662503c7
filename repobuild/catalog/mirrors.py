"""Lists of mirrors that an upstream publishes: plain ones (`mirrorlist`) and metalinks (RFC 5854's older sister)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from repobuild.catalog.answers import Get
from repobuild.errors import HostileInputError, RepobuildError, UnreachableError
from repobuild.markup import read_xml
from repobuild.model import ListKind, Mirror, Upstream

_LIMIT = 4 << 20
"""Bytes of a list."""
_MAX_MIRRORS = 20
"""Mirrors taken of a list: its first ones are the nearest."""
_DIGEST = re.compile(r"[0-9a-f]{64}")
_URL = re.compile(r"https?://[A-Za-z0-9:/\[\]@!&()*+,;=%._~-]+")
_ROOT = "repodata/repomd.xml"


@dataclass(frozen=True, slots=True)
class Listed:
    """The mirrors of an upstream, in the order in which they are tried."""

    mirrors: tuple[Mirror, ...]
    digests: frozenset[str] = frozenset()
    """sha256 of the roots that the list vouches for; empty when it vouches for none."""


def expand(upstream: Upstream, get: Get) -> Listed:
    """Return an upstream's own mirrors, then those of its lists.

    Raises:
        UnreachableError: when it has lists only, and none of them can be had.
    """
    mirrors = dict.fromkeys(upstream.mirrors)
    digests: set[str] = set()
    errors: list[RepobuildError] = []
    for each in upstream.mirror_lists:
        folder, _, path = each.url.rpartition("/")
        try:
            text = get(Mirror(folder, each.proxy), path, _LIMIT)
            found, vouched = _READERS[each.kind](text, f"{each.kind} of upstream {upstream.name}")
        except (UnreachableError, HostileInputError) as error:
            errors.append(error)
            continue
        mirrors |= dict.fromkeys(Mirror(url, each.proxy) for url in found)
        digests |= vouched
    if not mirrors and errors:
        raise UnreachableError(
            f"no mirror of upstream {upstream.name} is known: {'; '.join(error.message for error in errors)}",
            "check the network, or name mirrors in the manifest: baseurl",
        )
    return Listed(tuple(mirrors), frozenset(digests))


def _plain(content: bytes, what: str) -> tuple[list[str], set[str]]:
    """Read a URL a line; `#` begins a comment."""
    lines = content.decode("utf-8", "replace").splitlines()
    urls = [line.strip().rstrip("/") for line in lines if line.strip() and not line.startswith("#")]
    return _checked(urls, what), set()


def _metalink(content: bytes, what: str) -> tuple[list[str], set[str]]:
    """Read the URLs of repomd.xml, the most preferred first, and the digests of the roots that are current."""
    files = [each for each in read_xml(content, what).iter("file") if each.get("name") == "repomd.xml"]
    found = []
    digests = set()
    for file in files:
        for each in file.iter("url"):
            text = (each.text or "").strip()
            preference = each.get("preference", "0")
            if text.endswith(f"/{_ROOT}"):
                rank = int(preference) if preference.isdecimal() and len(preference) < 4 else 0
                found.append((-rank, text.removesuffix(f"/{_ROOT}").rstrip("/")))
        digests |= {text for each in file.iter("hash") if each.get("type") == "sha256" and (text := _digest(each.text))}
    # The sort is stable: of one preference the list's own order stands.
    return _checked([url for _, url in sorted(found, key=lambda each: each[0])], what), digests


def _digest(text: str | None) -> str:
    stripped = (text or "").strip().lower()
    return stripped if _DIGEST.fullmatch(stripped) else ""


def _checked(urls: list[str], what: str) -> list[str]:
    usable = list(_usable(urls))[:_MAX_MIRRORS]
    if not usable:
        raise HostileInputError(f"names no mirror over http or https: {what}", "name mirrors in the manifest: baseurl")
    return usable


def _usable(urls: list[str]) -> Iterator[str]:
    for url in dict.fromkeys(urls):
        if not _URL.fullmatch(url) or len(url) > 2048:
            continue
        try:
            parts = urlsplit(url)
        except ValueError:
            continue
        if parts.hostname and "@" not in parts.netloc and not {".", ".."} & set(parts.path.split("/")):
            yield url


_READERS = {ListKind.PLAIN: _plain, ListKind.METALINK: _metalink}
