"""modules.yaml: the streams of modules and their defaults (modulemd versions 2 and 3, modulemd-defaults version 1).

Only what decides which packages are there is read. YAML comes from outside, so it is read as a stream of events:
every scalar is text, nothing is constructed, and aliases, which could unfold without end, are refused.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from repobuild.errors import HostileInputError
from repobuild.formats.protocol import Cache
from repobuild.formats.rpm.universe_index import Text

FORMAT = "rpm-modules-1"
"""Names the layout of what is kept; a new one for every change."""
_MAX_TEXT = 64 << 20
"""Bytes of an open modules.yaml; the largest known has 6 MB."""
_MAX_VALUES = 4_000_000
_MAX_DEPTH = 24
_MAX_DOCUMENTS = 50_000
_LOADER: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}")
_NUMBER = re.compile(r"[0-9]{1,20}")
_TRUE = frozenset({"true", "True", "TRUE", "yes", "on", "1"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """One build of a stream of a module."""

    name: str
    stream: str
    version: int
    context: str
    arch: str
    is_static: bool
    """Whether `context` is the packager's word; else it stands for what the build requires."""
    requires: tuple[tuple[tuple[str, tuple[str, ...]], ...], ...]
    """Modules and their streams, one tuple a set of dependencies; no streams mean any, `-stream` all but that one."""
    artifacts: tuple[str, ...]
    """`name-[E:]V-R.arch`, epoch 0 left out."""
    demodularized: tuple[str, ...]
    profiles: tuple[tuple[str, tuple[str, ...]], ...]
    """Names of profiles and the names of their packages."""

    @property
    def spec(self) -> str:
        """How a want names it: `postgresql:16`."""
        return f"{self.name}:{self.stream}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Default:
    """Which stream of a module is on when nobody says so, and which profiles its streams install."""

    name: str
    stream: str
    """ "" for none."""
    modified: int
    profiles: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True)
class Modules:
    """What one modules.yaml says."""

    streams: tuple[Stream, ...]
    defaults: tuple[Default, ...]


def load(text: Text, cache: Cache, upstream: str) -> Modules:
    """Read a modules.yaml, or what was made of it the last time.

    Raises:
        HostileInputError: when it is malformed or exceeds a bound.
    """
    key = f"{text.sha256}.{FORMAT}"
    known = cache.derived(key)
    if known is not None:
        try:
            return _from_json(json.loads(known))
        except (ValueError, TypeError, KeyError):
            pass  # of another format: read the text
    size = text.path.stat().st_size
    if size > _MAX_TEXT:
        raise HostileInputError(f"modules of upstream {upstream} have more than {_MAX_TEXT} bytes: {size}")
    found = read(text.path.read_bytes(), upstream)
    cache.put_derived(key, json.dumps(_to_json(found), separators=(",", ":")).encode())
    return found


def read(content: bytes, upstream: str) -> Modules:
    """Parse a modules.yaml.

    Raises:
        HostileInputError: when it is malformed or exceeds a bound.
    """
    streams: list[Stream] = []
    defaults: list[Default] = []
    what = f"modules of upstream {upstream}"
    for document in _documents(content, what):
        kind, data = document.get("document"), document.get("data")
        if not isinstance(data, dict):
            continue
        if kind in {"modulemd", "modulemd-stream"} and document.get("version") in {"2", "3"}:
            streams.append(_stream(data, what))
        elif kind == "modulemd-defaults" and document.get("version") == "1":
            defaults.append(_default(data, what))
    return Modules(tuple(streams), tuple(defaults))


def _stream(data: dict[str, Any], what: str) -> Stream:
    name, version = _name(data.get("name"), what), data.get("version")
    if not isinstance(version, str) or not _NUMBER.fullmatch(version):
        raise HostileInputError(f"no version of module {name} in {what}: {str(version)[:40]!r}")
    groups = data.get("dependencies")
    return Stream(
        name=name,
        stream=_name(data.get("stream"), what),
        version=int(version),
        context=_text(data.get("context")),
        arch=_text(data.get("arch")),
        is_static=data.get("static_context") in _TRUE,
        requires=tuple(
            tuple((module, _texts(streams)) for module, streams in _table(group.get("requires")).items())
            for group in (groups if isinstance(groups, list) else ())
            if isinstance(group, dict)
        ),
        artifacts=tuple(map(_without_epoch_0, _texts(_table(data.get("artifacts")).get("rpms")))),
        demodularized=_texts(_table(data.get("demodularized")).get("rpms")),
        profiles=tuple(
            (profile, _texts(_table(content).get("rpms"))) for profile, content in _table(data.get("profiles")).items()
        ),
    )


def _default(data: dict[str, Any], what: str) -> Default:
    modified = _text(data.get("modified"))
    return Default(
        name=_name(data.get("module"), what),
        stream=_text(data.get("stream")),
        modified=int(modified) if _NUMBER.fullmatch(modified) else 0,
        profiles=tuple((stream, _texts(names)) for stream, names in _table(data.get("profiles")).items()),
    )


def _name(value: object, what: str) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise HostileInputError(f"not a name of a module or stream in {what}: {str(value)[:80]!r}")
    return value


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: object) -> tuple[str, ...]:
    return tuple(each for each in value if isinstance(each, str)) if isinstance(value, list) else ()


def _table(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _without_epoch_0(artifact: str) -> str:
    name, dash, rest = artifact.partition("-0:")
    return f"{name}-{rest}" if dash else artifact


def _documents(content: bytes, what: str) -> Iterator[dict[str, Any]]:
    """Yield the documents that are mappings, as dictionaries of text, lists and dictionaries."""
    try:
        yield from _Builder(what).build(yaml.parse(content.decode("utf-8"), Loader=_LOADER))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise HostileInputError(f"{what} are not YAML: {' '.join(str(error).split())[:200]}") from error


@dataclass(slots=True)
class _Builder:
    """Makes trees of a stream of YAML events, without recursion."""

    what: str
    values: int = 0
    documents: int = 0
    stack: list[list[Any] | dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    root: object = None

    def build(self, events: Iterator[yaml.Event]) -> Iterator[dict[str, Any]]:
        for event in events:
            if isinstance(event, yaml.ScalarEvent):
                self._put(event.value)
            elif isinstance(event, yaml.CollectionStartEvent):
                self._begin({} if isinstance(event, yaml.MappingStartEvent) else [])
            elif isinstance(event, yaml.CollectionEndEvent):
                self.stack.pop()
                self.keys.pop()
            elif isinstance(event, yaml.AliasEvent):
                raise HostileInputError(f"{self.what} hold a YAML alias; modulemd has no use for one")
            elif isinstance(event, yaml.DocumentEndEvent):
                self.documents += 1
                if self.documents > _MAX_DOCUMENTS:
                    raise HostileInputError(f"{self.what} have more than {_MAX_DOCUMENTS} documents")
                if isinstance(self.root, dict):
                    yield self.root
                self.root = None

    def _begin(self, node: list[Any] | dict[str, Any]) -> None:
        if len(self.stack) >= _MAX_DEPTH:
            raise HostileInputError(f"{self.what} are nested deeper than {_MAX_DEPTH} levels")
        self._put(node)
        self.stack.append(node)
        self.keys.append(None)

    def _put(self, value: Any) -> None:
        self.values += 1
        if self.values > _MAX_VALUES:
            raise HostileInputError(f"{self.what} have more than {_MAX_VALUES} values")
        if not self.stack:
            self.root = value
            return
        top = self.stack[-1]
        if isinstance(top, list):
            top.append(value)
        elif self.keys[-1] is None:
            if not isinstance(value, str):
                raise HostileInputError(f"{self.what} have a key that is no text")
            self.keys[-1] = value
        else:
            top[self.keys[-1]] = value
            self.keys[-1] = None


def _to_json(modules: Modules) -> list[Any]:
    names = tuple(Stream.__dataclass_fields__)
    streams = [[getattr(each, name) for name in names] for each in modules.streams]
    return [streams, [[each.name, each.stream, each.modified, each.profiles] for each in modules.defaults]]


def _from_json(data: list[Any]) -> Modules:
    streams, defaults = data
    names = tuple(Stream.__dataclass_fields__)
    return Modules(
        tuple(Stream(**dict(zip(names, map(_frozen, each), strict=True))) for each in streams),
        tuple(
            Default(name=name, stream=stream, modified=modified, profiles=_frozen(profiles))
            for name, stream, modified, profiles in defaults
        ),
    )


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
