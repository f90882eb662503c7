"""Which keys a manifest has and what may stand there: document -> Manifest."""

import re
from collections.abc import Mapping
from pathlib import Path

from repobuild.manifest.document import Scalar, Table
from repobuild.manifest.entries import AUTO, UpstreamEntry, UrlEntry
from repobuild.manifest.expand import Choice, Line, words
from repobuild.manifest.locations import check_address, check_proxy, check_url, substitute, variables
from repobuild.manifest.manifest import Manifest
from repobuild.manifest.reading import Fields, Place, did_you_mean, redacted
from repobuild.manifest.upstream_schema import NAME, read_upstreams
from repobuild.model import Verify
from repobuild.targets import ALL_TARGETS, DEFAULT_SELECTOR, is_selector, known_selectors

_KEYS = (
    "repo_upstream",
    "package_map",
    "repo_packages",
    "repo_extra_packages",
    "repo_url_packages",
    "repo_modules",
    "repo_home",
    "repo_name",
    "repo_endpoint",
    "region",
    "admin_ip",
    "pg_version",
    "module_streams",
    "pass_on",
    "version",
    "proxy_env",
    "recommends",
    "signing_key",
)
_URL_KEYS = ("name", "url", "sha256", "verify")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")
_NO_PROXY = "no_proxy"
_MODULES = ("infra", "node", "pgsql")
_ADMIN_IP = "10.10.10.10"
_ENDPOINT = "http://${admin_ip}:80"

_REGION = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_ALIAS = re.compile(r"[^\s,]{1,128}")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~-]{0,63}")
_PASSED = ("modules", "group", "updateinfo")
_STREAM = re.compile(r"[A-Za-z0-9._+-]{1,64}:[A-Za-z0-9._+-]{1,64}")
_PG_VERSION = re.compile(r"[0-9]{1,2}(?:\.[0-9]{1,2})?")
_HOME = re.compile(r"/.{0,4000}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def read_manifest(root: Place, path: Path) -> Manifest:
    """Return the manifest that `root` describes; `path` is its own, for messages and for the files it names.

    Raises:
        ManifestError: with every error in it.
    """
    fields = root.fields(_KEYS, "a mapping of settings (repo_upstream, repo_packages …)")
    fields.require("repo_upstream")
    admin_ip = fields.parsed("admin_ip", check_address, "an IP address") or _ADMIN_IP
    upstreams = read_upstreams(fields.items("repo_upstream", "a list of upstreams"), path.parent, admin_ip)
    signing_key = fields.text("signing_key", "the path of a key file")
    manifest = Manifest(
        path=path,
        upstreams=upstreams,
        package_map=_package_map(fields),
        lines=(*_lines(fields, "repo_packages"), *_lines(fields, "repo_extra_packages")),
        url_packages=_url_packages(fields, admin_ip),
        modules=_modules(fields, upstreams),
        home=Path(fields.matching("repo_home", _HOME, "an absolute path") or "/www"),
        name=fields.matching("repo_name", NAME, "a folder name") or "pigsty",
        endpoint=_endpoint(fields, admin_ip),
        region=fields.matching("region", _REGION, "the name of a region") or AUTO,
        admin_ip=admin_ip,
        pg_version=_pg_version(fields),
        module_streams=_module_streams(fields),
        pass_on=_pass_on(fields),
        version=fields.matching("version", _VERSION, "a version like v4.5.0") or "v0.0.0",
        proxy_env=_proxy_env(fields),
        recommends=fields.flag("recommends"),
        signing_key=None if signing_key is None else path.parent / signing_key,
    )
    root.source.check()
    return manifest


def _lines(fields: Fields, key: str) -> tuple[Line, ...]:
    """Return the items of a package list."""
    found = ((item, item.text("package names or aliases")) for item in fields.items(key, "a list of package names"))
    return tuple(Line(text, item.where) for item, text in found if text is not None)


def _package_map(fields: Fields) -> Mapping[str, Choice]:
    choices: dict[str, Choice] = {}
    for alias, place in fields.entries("package_map", "a mapping from alias to package names").items():
        if not _ALIAS.fullmatch(alias):
            place.wrong("an alias without commas and spaces", redacted(alias))
        choices[alias] = _by_selector(place)
    return choices


def _by_selector(place: Place) -> Choice:
    """Return the words of each selector; what is not a mapping holds for every target."""
    if not isinstance(place.node, Table):
        return {DEFAULT_SELECTOR: _words(place)}
    choice: dict[str, tuple[str, ...]] = {}
    for selector, value in place.entries("").items():
        if not is_selector(selector):
            near = did_you_mean(selector, known_selectors())
            value.wrong("a selector such as deb, d12, x86_64 or d12.aarch64 as key", f"{redacted(selector)}{near}")
        choice[selector] = _words(value)
    return choice


def _words(place: Place) -> tuple[str, ...]:
    """Return the words of a text or of all texts of a list; the empty text has none."""
    found = (item.text("package names") for item in place.items("package names, or a list of them"))
    return tuple(word for text in found if text is not None for word in words(text))


def _pg_version(fields: Fields) -> Choice:
    if "pg_version" not in fields.given:
        return {}
    place = fields.given["pg_version"]
    choice = _by_selector(place)
    for versions in choice.values():
        if len(versions) != 1 or not _PG_VERSION.fullmatch(versions[0]):
            place.wrong("one PostgreSQL version such as 17, or one for each selector", redacted(" ".join(versions)))
    return choice


def _module_streams(fields: Fields) -> Choice:
    if "module_streams" not in fields.given:
        return {}
    place = fields.given["module_streams"]
    choice = _by_selector(place)
    for streams in choice.values():
        for stream in streams:
            if not _STREAM.fullmatch(stream):
                place.wrong("module streams such as postgresql:16", redacted(stream))
    return choice


def _pass_on(fields: Fields) -> tuple[str, ...]:
    expected = f"one of {', '.join(_PASSED)}, or a list of them"
    found = (item.one_of(_PASSED, expected) for item in fields.items("pass_on", expected))
    return tuple(sorted({kind for kind in found if kind is not None}))


def _modules(fields: Fields, upstreams: tuple[UpstreamEntry, ...]) -> tuple[str, ...]:
    """Return the modules asked for; one that no upstream belongs to is an error, since it can only be a slip."""
    if "repo_modules" not in fields.given:
        return _MODULES
    known = sorted({*_MODULES, *(entry.module for entry in upstreams)})
    asked: dict[str, None] = {}
    for item in fields.items("repo_modules", "modules separated by commas, or a list of them"):
        for module in words(item.text("the name of a module") or ""):
            asked[module] = None
            if module not in known:
                near = did_you_mean(module, known)
                item.wrong("a module that an upstream belongs to", f"{redacted(module)}{near}")
    return tuple(asked)


def _endpoint(fields: Fields, admin_ip: str) -> str:
    values = {"admin_ip": variables(ALL_TARGETS[0], admin_ip)["admin_ip"]}

    def expanded(text: str) -> str:
        return check_url(substitute(text, values), ("http", "https"))

    return fields.parsed("repo_endpoint", expanded, "a URL") or expanded(_ENDPOINT)


def _proxy_env(fields: Fields) -> Mapping[str, str]:
    if "proxy_env" not in fields.given:
        return {}
    given = fields.given["proxy_env"].fields((*_PROXIES, _NO_PROXY), "a mapping of http_proxy, https_proxy, no_proxy")
    read = {key: given.parsed(key, check_proxy, "the URL of a proxy") for key in _PROXIES}
    read[_NO_PROXY] = given.text(_NO_PROXY, "hosts separated by commas")
    return {key: value for key, value in read.items() if value is not None}


def _url_packages(fields: Fields, admin_ip: str) -> tuple[UrlEntry, ...]:
    entries: list[UrlEntry] = []
    for item in fields.items("repo_url_packages", "a list of URLs, or mappings with url, name and sha256"):
        entry = _url_entry(item)
        if entry is None:
            continue
        try:
            entry.package(variables(ALL_TARGETS[0], admin_ip), frozenset())
        except ValueError as error:
            item.source.report(item.node.line, item.path, str(error))
        entries.append(entry)
    return tuple(entries)


def _url_entry(item: Place) -> UrlEntry | None:
    if isinstance(item.node, Scalar):
        url = item.text("a URL")
        return None if url is None else UrlEntry(url=url, name=None, sha256=None, verify=Verify.ROOT, where=item.where)
    fields = item.fields(_URL_KEYS, "a URL, or a mapping with url, name and sha256")
    fields.require("url")
    url = fields.text("url", "a URL")
    sha256 = fields.parsed("sha256", _sha256, "64 hexadecimal digits; quote them")
    verify = fields.one_of("verify", (Verify.ROOT.value, Verify.NONE.value), "root or none")
    if url is None:
        return None
    return UrlEntry(
        url=url,
        name=fields.text("name", "a file name"),
        sha256=sha256,
        verify=Verify(verify or Verify.ROOT),
        where=item.where,
    )


def _sha256(text: str) -> str:
    if not _SHA256.fullmatch(text.lower()):
        raise ValueError(f"expected a sha256 of 64 hexadecimal digits, got {redacted(text)}")
    return text.lower()
