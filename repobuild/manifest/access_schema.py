"""How `access` is read: what it takes to reach an upstream, and where the secrets of it are.

No secret stands in a manifest: a credential is the name of a place (`netrc`, `env:NAME`, `file:PATH`), and what is
there is read by the command line when the first file below the URL is fetched. A wrong value is never repeated in a
message here, since it may be the secret itself.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from repobuild.credentials import AccessSource, SecretKind, SecretSource
from repobuild.errors import ManifestError
from repobuild.manifest.document import check
from repobuild.manifest.entries import UpstreamEntry
from repobuild.manifest.locations import check_proxy, check_url
from repobuild.manifest.reading import Fields, Place
from repobuild.manifest.texts import read_tree
from repobuild.model import Target
from repobuild.targets import ALL_TARGETS

Values = Callable[[Target, UpstreamEntry], Mapping[str, str]]
"""What stands for the variables of an entry's URLs."""

KEYS = ("credentials", "ca", "client_cert", "client_key", "proxy", "proxy_credentials")
_NETRC = SecretKind.NETRC.value
_DIRECT = "direct"
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_EXPECTED = "netrc, env:NAME or file:PATH; a credential itself does not belong in a manifest"
_EXPECTED_OF_PROXY = "env:NAME or file:PATH; a credential itself does not belong in a manifest"
_HTTP = ("http", "https")
_KEY = "a URL of http or https without user name, password and query as key"


def read_access(place: Place, folder: Path) -> AccessSource:
    """Return what `place` says; files that it names are looked for in `folder`."""
    fields = place.secret().fields(KEYS, f"a mapping of {', '.join(KEYS)}")
    source = AccessSource(
        where=place.where,
        credentials=_secret(fields, "credentials", _EXPECTED, folder),
        ca=_file(fields, "ca", folder),
        client_cert=_file(fields, "client_cert", folder),
        client_key=_file(fields, "client_key", folder),
        proxy=fields.parsed("proxy", _proxy, f"the URL of a proxy, or {_DIRECT}"),
        proxy_credentials=_secret(fields, "proxy_credentials", _EXPECTED_OF_PROXY, folder),
    )
    if source.client_key is not None and source.client_cert is None:
        place.wrong("`client_cert` beside `client_key`", "none")
    if source.proxy_credentials is not None and urlsplit(source.proxy or "").scheme not in _HTTP:
        place.wrong("a `proxy` of http or https beside `proxy_credentials`", "another or none")
    if source.proxy_credentials is not None and source.proxy_credentials.kind is SecretKind.NETRC:
        fields.given["proxy_credentials"].wrong(_EXPECTED_OF_PROXY, _NETRC)
    return source


def read_accesses(place: Place, folder: Path) -> Mapping[str, AccessSource]:
    """Return the accesses of a mapping from URL to access, by URL."""
    found: dict[str, AccessSource] = {}
    for url, each in (
        place.secret().entries("a mapping from URL to access: {https://repo.example/path: {credentials: …}}").items()
    ):
        try:
            prefix = _without_user(check_url, url, _HTTP)
        except ValueError:
            place.source.report(each.node.line, place.path, f"expected {_KEY}, got another")
            continue
        if prefix in found:
            each.wrong("an access of its own for each URL", f"another one for {prefix}")
        found[prefix] = read_access(each, folder)
    return found


def load_accesses(path: Path) -> Mapping[str, AccessSource]:
    """Return the accesses of a file of them (`--access`).

    Raises:
        UsageError: when it cannot be read.
        ManifestError: with every error in it.
    """
    source, root = read_tree(path)
    found = read_accesses(Place(source, "", root), path.parent)
    check(source)
    return found


def accesses_of(
    document: Mapping[str, AccessSource], entries: Iterable[UpstreamEntry], values: Values
) -> Mapping[str, AccessSource]:
    """Return all accesses by URL: what entries say of their own URLs comes before what the document says.

    Raises:
        ManifestError: when two entries disagree about a URL.
    """
    stated = [(entry, entry.access) for entry in entries if entry.access is not None]
    return {**document, **join_accesses(dict.fromkeys(_urls(entry, values), access) for entry, access in stated)}


def join_accesses(several: Iterable[Mapping[str, AccessSource]]) -> Mapping[str, AccessSource]:
    """Return the accesses of several upstreams or documents by URL.

    Raises:
        ManifestError: when two disagree about a URL.
    """
    found: dict[str, AccessSource] = {}
    for url, access in (each for accesses in several for each in accesses.items()):
        other = found.setdefault(url, access)
        if replace(other, where="") != replace(access, where=""):
            what = f"expected one access for {url}, got another one than {other.where}"
            raise ManifestError([f"{access.where}: {what}"], "say it once, in `access` of the document")
    return found


def _urls(entry: UpstreamEntry, values: Values) -> Iterator[str]:
    """Yield where an entry is, for every target and in every region."""
    for target in ALL_TARGETS:
        if entry.fits(target):
            own = values(target, entry)
            yield from (url for region in entry.baseurl for url in entry.locate(region, target, own).urls)
            yield from (each.url for each in entry.meta.mirror_lists(own))


def check_one_server(place: Place, access: AccessSource, texts: Iterable[str]) -> None:
    """Report credentials that would go to several servers: each word of `texts` that is a URL names one.

    What netrc says is chosen by the host and goes to that one only.
    """
    if access.credentials is None or access.credentials.kind is SecretKind.NETRC:
        return
    words = (word for text in texts for word in text.split() if "://" in word)
    servers = sorted({word.split("/")[2].rpartition("@")[2] for word in words})
    if len(servers) > 1:
        place.wrong("one server for these credentials", f"{', '.join(servers)}; name each in the document's `access`")


def _secret(fields: Fields, key: str, expected: str, folder: Path) -> SecretSource | None:
    if key not in fields.given:
        return None
    place = fields.given[key]
    text = getattr(place.node, "text", "").strip()
    kind, colon, name = text.partition(":")
    if text == _NETRC:
        return SecretSource(SecretKind.NETRC, "")
    if colon and kind == SecretKind.ENV and _VARIABLE.fullmatch(name):
        return SecretSource(SecretKind.ENV, name)
    if colon and kind == SecretKind.FILE and name.isprintable() and name.strip("/"):
        return SecretSource(SecretKind.FILE, str(folder.absolute() / name))
    place.wrong(expected)
    return None


def _proxy(text: str) -> str:
    """Return the URL of a proxy, "" for none."""
    return "" if text == _DIRECT else _without_user(check_proxy, text)


def _without_user(check: Callable[..., str], text: str, *arguments: object) -> str:
    """Return what `check` makes of a URL; one with credentials is not repeated, whatever its form."""
    if "@" in text:
        raise ValueError("expected a URL without user name or password, got one that has them")
    return check(text, *arguments)


def _file(fields: Fields, key: str, folder: Path) -> Path | None:
    name = fields.text(key, "the path of a PEM file")
    return None if name is None else folder.absolute() / name
