"""Which keys a manifest has and what may stand there: document -> Manifest."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from repobuild.errors import UsageError
from repobuild.manifest import bases_schema, portal_schema
from repobuild.manifest.access_schema import read_accesses
from repobuild.manifest.document import Scalar, Table, check
from repobuild.manifest.entries import AUTO, UpstreamEntry, UrlEntry
from repobuild.manifest.expand import Choice, Install, Line, Lines, words
from repobuild.manifest.generation import Generation
from repobuild.manifest.locations import (
    check_address,
    check_bundle_folder,
    check_bundle_name,
    check_proxy,
    check_url,
    substitute,
    variables,
)
from repobuild.manifest.manifest import Manifest
from repobuild.manifest.reading import Fields, Place, did_you_mean, redacted
from repobuild.manifest.upstream_schema import NAME, Setting, read_upstreams
from repobuild.model import DEFAULT_NAME, Verify
from repobuild.signing import AGENT_PREFIX
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
    "access",
    "keep",
    "origin",
    "generation",
    "cache_pkg_name",
    "cache_pkg_dir",
    "cache_repo",
    "node_default_packages",
    "node_packages",
    "node_repo_modules",
    "infra_packages",
    "pg_packages",
    "pg_extensions",
    *portal_schema.KEYS,
    *bases_schema.KEYS,
)
_PROFILES = "profiles"
_PACKAGE_MAP = "package_map"
_URL_KEYS = ("name", "url", "sha256", "verify")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")
_NO_PROXY = "no_proxy"
_MODULES = ("infra", "node", "pgsql")
_LOCAL = "local"
"""The module of the repository itself, as nodes see it."""
_ADMIN_IP = "10.10.10.10"
_ENDPOINT = "http://${admin_ip}:80"

_REGION = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_ALIAS = re.compile(r"[^\s,]{1,128}")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~-]{0,63}")
_PASSED = ("modules", "group", "updateinfo")
_STREAM = re.compile(r"[A-Za-z0-9._+-]{1,64}:[A-Za-z0-9._+-]{1,64}")
_PG_VERSION = re.compile(r"[0-9]{1,2}(?:\.[0-9]{1,2})?")
_KEEP = re.compile(r"[0-9]{1,2}")
_HOME = re.compile(r"/.{0,4000}")
_SHA256 = re.compile(r"[0-9a-f]{64}")

Value = TypeVar("Value")


def read_document(root: Place, path: Path, profile: str | None = None) -> Manifest:
    """Return the manifest that `root` describes; `path` is its own, for messages and for the files it names.

    Raises:
        UsageError: when it has no such profile.
        ManifestError: with every error in it.
    """
    fields, maps = read_fields(root, profile)
    manifest = read_manifest(fields, path, maps)
    check(root.source)
    return manifest


def read_fields(root: Place, profile: str | None = None) -> tuple[Fields, tuple[Place, ...]]:
    """Return what a document says with a profile over it, and its package maps, of which the later ones win.

    Raises:
        UsageError: when there is no such profile.
    """
    fields = root.fields((*_KEYS, _PROFILES), "a mapping of settings (repo_upstream, repo_packages …)")
    profiles = {
        name: place.fields(_KEYS, "a mapping of settings")
        for name, place in fields.entries(_PROFILES, "a mapping from name to settings").items()
    }
    if profile is not None and profile not in profiles:
        known = ", ".join(profiles) or "none"
        raise UsageError(f"no such profile: {profile!r}{did_you_mean(profile, profiles)}", f"profiles: {known}")
    layers = [fields.given, *([profiles[profile].given] if profile is not None else [])]
    fields = Fields(root, {key: place for layer in layers for key, place in layer.items() if key != _PROFILES})
    if not portal_schema.is_alone(fields.given):
        fields.require("repo_upstream")
    return fields, tuple(layer[_PACKAGE_MAP] for layer in layers if _PACKAGE_MAP in layer)


def read_manifest(
    fields: Fields, path: Path, package_maps: Sequence[Place], installs: Sequence[Install] = ()
) -> Manifest:
    """Return the manifest that `fields` describe; what is wrong is reported to their sources.

    Args:
        fields: the settings; several documents may have given them.
        path: of the document, for messages and for the files it names.
        package_maps: what `package_map` says, the later ones winning.
        installs: more of what is installed than `fields` say.
    """
    admin_ip = fields.parsed("admin_ip", check_address, "an IP address") or _ADMIN_IP
    generation = Generation(fields.one_of("generation", list(Generation), "v3, v4 or none") or Generation.OURS)
    setting = Setting(folder=path.parent, admin_ip=admin_ip, generation=generation)
    upstreams = read_upstreams(fields.items("repo_upstream", "a list of upstreams"), setting)
    pg_version = _pg_version(fields)
    node_modules = _names(fields, "node_repo_modules", "the name of a module") or (_LOCAL,)
    bases, subtracted = bases_schema.read_bases(fields, path.parent)
    return Manifest(
        path=path,
        generation=generation,
        upstreams=upstreams,
        package_map=_package_map(package_maps),
        lines=(lines(fields, "repo_packages"), lines(fields, "repo_extra_packages")),
        installs=(*(_installs(fields, pg_version)), *installs),
        url_packages=_url_packages(fields, admin_ip),
        modules=_modules(fields, upstreams, generation),
        node_modules=node_modules,
        home=Path(fields.matching("repo_home", _HOME, "an absolute path") or "/www"),
        name=fields.matching("repo_name", NAME, "a folder name") or DEFAULT_NAME,
        endpoint=_endpoint(fields, admin_ip),
        region=fields.matching("region", _REGION, "the name of a region") or AUTO,
        admin_ip=admin_ip,
        pg_version=pg_version,
        module_streams=_module_streams(fields),
        pass_on=_pass_on(fields),
        version=fields.matching("version", _VERSION, "a version like v4.5.0") or "v0.0.0",
        proxy_env=_proxy_env(fields),
        recommends=fields.flag("recommends"),
        signing_keys=_signing_keys(fields, path.parent),
        access=read_accesses(fields.given["access"], path.parent) if "access" in fields.given else {},
        keep=int(fields.matching("keep", _KEEP, "a number of older versions") or 0),
        origins=_origins(fields, upstreams),
        cache_pkg_name=fields.parsed("cache_pkg_name", check_bundle_name, "the file name of a bundle") or "",
        cache_pkg_dir=fields.parsed("cache_pkg_dir", check_bundle_folder, "the folder of bundles") or "",
        cache_repo=_names(fields, "cache_repo", "the name of a repository"),
        bases=bases,
        subtracted=subtracted,
        portal=portal_schema.read_portal(fields, admin_ip, generation),
        warnings=(*_warnings(fields), *_remote(fields, node_modules)),
    )


def _signing_keys(fields: Fields, folder: Path) -> tuple[str, ...]:
    """Return the names of the keys; a path is meant from the manifest's folder."""
    expected = f"the path of a key file, or {AGENT_PREFIX}FINGERPRINT"
    names = [item.text(expected) for item in fields.items("signing_key", expected)]
    return tuple(each if each.startswith(AGENT_PREFIX) else str(folder / each) for each in names if each)


def lines(fields: Fields, key: str) -> Lines:
    """Return the items of a package list, by selector."""
    return _by_selector(fields.given[key], _lines) if key in fields.given else {}


def _lines(place: Place) -> tuple[Line, ...]:
    found = ((item, item.text("package names or aliases")) for item in place.items("a list of package names"))
    return tuple(Line(text, item.where) for item, text in found if text is not None)


def _installs(fields: Fields, pg_version: Choice) -> tuple[Install, ...]:
    """Return what Pigsty's playbooks install."""
    plain = (("node_default_packages", "node"), ("node_packages", "node"), ("infra_packages", "infra"))
    found = [Install(lines(fields, key), module) for key, module in plain]
    found += [Install(lines(fields, key), "pgsql", pg_version) for key in ("pg_packages", "pg_extensions")]
    return tuple(each for each in found if each.lines)


def _package_map(places: Sequence[Place]) -> Mapping[str, Choice]:
    choices: dict[str, Choice] = {}
    for given in places:
        for alias, place in given.every("a mapping from alias to package names").items():
            if not _ALIAS.fullmatch(alias):
                place.wrong("an alias without commas and spaces", redacted(alias))
            choices[alias] = _by_selector(place, _words)
    return choices


def _origins(fields: Fields, upstreams: tuple[UpstreamEntry, ...]) -> tuple[tuple[str, str], ...]:
    """Return which upstream alone a package may come from."""
    known = sorted({entry.name for entry in upstreams})
    found = {
        package: place.one_of(known, "the name of an upstream")
        for package, place in fields.entries("origin", "a mapping from package to upstream").items()
    }
    return tuple(sorted((package, upstream) for package, upstream in found.items() if upstream is not None))


def _by_selector(place: Place, read: Callable[[Place], tuple[Value, ...]]) -> Mapping[str, tuple[Value, ...]]:
    """Return what `read` makes of each selector's value; what is not a mapping holds for every target."""
    if not isinstance(place.node, Table):
        return {DEFAULT_SELECTOR: read(place)}
    choice: dict[str, tuple[Value, ...]] = {}
    for selector, value in place.entries("").items():
        if not is_selector(selector):
            near = did_you_mean(selector, known_selectors())
            value.wrong("a selector such as deb, d12, x86_64 or d12.aarch64 as key", f"{redacted(selector)}{near}")
        choice[selector] = read(value)
    return choice


def _words(place: Place) -> tuple[str, ...]:
    """Return the words of a text or of all texts of a list; the empty text has none."""
    found = (item.text("package names") for item in place.items("package names, or a list of them"))
    return tuple(word for text in found if text is not None for word in words(text))


def _pg_version(fields: Fields) -> Choice:
    if "pg_version" not in fields.given:
        return {}
    return pg_versions(fields.given["pg_version"])


def pg_versions(place: Place) -> Choice:
    """Return PostgreSQL's major versions, by selector."""
    choice = _by_selector(place, _words)
    for versions in choice.values():
        if not versions or not all(_PG_VERSION.fullmatch(each) for each in versions):
            expected = "a PostgreSQL version such as 17, a list of them, or that for each selector"
            place.wrong(expected, redacted(" ".join(versions)))
    return choice


def _module_streams(fields: Fields) -> Choice:
    if "module_streams" not in fields.given:
        return {}
    place = fields.given["module_streams"]
    choice = _by_selector(place, _words)
    for streams in choice.values():
        for stream in streams:
            if not _STREAM.fullmatch(stream):
                place.wrong("module streams such as postgresql:16", redacted(stream))
    return choice


def _pass_on(fields: Fields) -> tuple[str, ...]:
    expected = f"one of {', '.join(_PASSED)}, or a list of them"
    found = (item.one_of(_PASSED, expected) for item in fields.items("pass_on", expected))
    return tuple(sorted({kind for kind in found if kind is not None}))


def _modules(fields: Fields, upstreams: tuple[UpstreamEntry, ...], generation: Generation) -> tuple[str, ...]:
    """Return the modules asked for; one that no upstream belongs to can only be a slip. Pigsty 4 always adds infra."""
    if "repo_modules" not in fields.given:
        return _MODULES
    known = sorted({*_MODULES, *(entry.module for entry in upstreams)})
    asked: dict[str, None] = dict.fromkeys(("infra",) if generation is Generation.V4 else ())
    for item in fields.items("repo_modules", "modules separated by commas, or a list of them"):
        for module in words(item.text("the name of a module") or ""):
            asked[module] = None
            if module not in known:
                near = did_you_mean(module, known)
                item.doubt(f"expected a module that an upstream belongs to, got {redacted(module)}{near}")
    return tuple(asked)


def _names(fields: Fields, key: str, expected: str) -> tuple[str, ...]:
    """Return names separated by commas, or those of a list."""
    found: dict[str, None] = {}
    for item in fields.items(key, f"{expected}, several separated by commas, or a list of them"):
        for name in words(item.text(expected) or ""):
            found[name] = None
            if not NAME.fullmatch(name):
                item.wrong(expected, redacted(name))
    return tuple(found)


def _warnings(fields: Fields) -> tuple[str, ...]:
    """Return what is doubtful in the documents that `fields` are from."""
    return tuple(
        dict.fromkeys(said for place in (fields.place, *fields.given.values()) for said in place.source.warnings)
    )


def _remote(fields: Fields, node_modules: tuple[str, ...]) -> tuple[str, ...]:
    """Return a word where nodes will not use what is built."""
    if _LOCAL in node_modules:
        return ()
    said = ",".join(node_modules)
    where = fields.given["node_repo_modules"].where
    return (f"{where}: {said}: nodes will read the internet, not this repository; set it to {_LOCAL}",)


def _endpoint(fields: Fields, admin_ip: str) -> str:
    values = {"admin_ip": variables(ALL_TARGETS[0], admin_ip)["admin_ip"]}

    def expanded(text: str) -> str:
        return check_url(substitute(text, values), ("http", "https"))

    return fields.parsed("repo_endpoint", expanded, "a URL") or expanded(_ENDPOINT)


def _proxy_env(fields: Fields) -> Mapping[str, str]:
    if "proxy_env" not in fields.given:
        return {}
    place = fields.given["proxy_env"].secret()
    given = place.fields((*_PROXIES, _NO_PROXY), "a mapping of http_proxy, https_proxy, no_proxy").filled()
    read = {key: given.parsed(key, _proxy, "the URL of a proxy") for key in _PROXIES}
    read[_NO_PROXY] = given.text(_NO_PROXY, "hosts separated by commas")
    return {key: value for key, value in read.items() if value is not None}


def _proxy(text: str) -> str:
    if "@" in text:
        remedy = "name those in the environment, or with `proxy_credentials` in `access`"
        raise ValueError(f"expected a proxy without user name and password ({remedy}), got one that has them")
    return check_proxy(text)


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
