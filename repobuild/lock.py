"""Resolution <-> lock text.

JSON, keys sorted, one upstream, package or asset a line, so that a diff of two locks reads like a change log. What an
upstream said of a package (its stanza) stands at the end, one a line too (`verbatim`): with it a lock alone makes the
indexes of a repository, on any machine and after upstream has moved on (G6). What is installed on its bases stands in
`base_texts`, by digest, so that what installs can be proven anywhere too.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

from repobuild.bases import EMPTY_NAME, TEXTS_LIMIT, BasePin
from repobuild.durable import check_component
from repobuild.errors import HostileInputError
from repobuild.model import PACKAGE_KEYS, TIME_LIMIT, Asset, Choice, Lock, Missing, Options, Package, RootPin, Verify
from repobuild.record import sha256_of

FORMAT = 1
LIMIT = 64 << 20
"""Bytes of a lock."""
_EXTRAS = frozenset({"group", "modules", "updateinfo", PACKAGE_KEYS})
_DIGITS = frozenset("0123456789abcdef")


def write(lock: Lock) -> bytes:
    """Return the text of a lock; the same bytes for the same value.

    Raises:
        HostileInputError: when two packages that differ are one file.
    """
    metadata = _verbatim(lock.choices)
    fields: dict[str, str] = {
        "format": _json(FORMAT),
        "target": _json(lock.target),
        "time": _json(lock.time),
        "manifest": _json(lock.manifest),
        "name": _json(lock.name),
        "version": _json(lock.version),
        "endpoint": _json(lock.endpoint),
        "options": _json(
            {
                "weak_dependencies": lock.options.weak_dependencies,
                "module_streams": list(lock.options.module_streams),
                "pass_on": list(lock.options.pass_on),
                **({"keep": lock.options.keep} if lock.options.keep else {}),
                **({"origins": dict(lock.options.origins)} if lock.options.origins else {}),
            }
        ),
        "extras": _lines((f"{_json(kind)}: {_json(text)}" for kind, text in lock.extras), opening="{", closing="}"),
        "unverified": _json(list(lock.unverified)),
        "gone": _lines(map(_json, lock.gone)),
        "sets": _lines(_json(list(each)) for each in lock.sets),
        "upstreams": _lines(_json(_pin_fields(each)) for each in lock.upstreams),
        "missing": _lines(
            _json({"want": each.want, "reason": each.reason, "near": list(each.near)}) for each in lock.missing
        ),
        "assets": _lines(
            _json({"name": each.name, "url": each.url, "size": each.size, "sha256": each.sha256})
            for each in lock.assets
        ),
        "packages": _lines(_json(_package_fields(each)) for each in lock.choices),
        "verbatim": _lines(
            (f"{_json(digest)}: {_json(metadata[digest])}" for digest in sorted(metadata)), opening="{", closing="}"
        ),
    }
    if lock.generation:
        fields["generation"] = _json(lock.generation)
    if lock.taken:
        fields["taken"] = _lines(_json(list(each)) for each in lock.taken)
    if lock.bases:
        fields["bases"] = _lines(_json([each.name, each.sha256, each.is_resolved]) for each in lock.bases)
    texts = {each.sha256: each.text for each in lock.bases if each.text}
    if texts:
        described = (f"{_json(digest)}: {_json(texts[digest])}" for digest in sorted(texts))
        fields["base_texts"] = _lines(described, opening="{", closing="}")
    if lock.carries_proof:
        fields["carries_proof"] = _json(lock.carries_proof)
    if lock.foreign:
        fields["foreign"] = _lines(_json(list(each)) for each in lock.foreign)
    return ("{\n" + ",\n".join(f"{_json(key)}: {fields[key]}" for key in sorted(fields)) + "\n}\n").encode()


def _verbatim(choices: Iterable[Choice]) -> dict[str, str]:
    """Return what the upstreams said of each file, by its sha256."""
    found: dict[str, Package] = {}
    for choice in choices:
        package = choice.package
        known = found.setdefault(package.sha256, package)
        if known.metadata != package.metadata:
            raise HostileInputError(
                f"upstreams {known.upstream} and {package.upstream} describe one file in two ways: "
                f"{known.filename}, {package.filename}",
                "leave one of them out of the manifest",
            )
    return {digest: package.metadata for digest, package in found.items()}


def read(text: bytes, what: str) -> Lock:
    """Parse the text of a lock; `what` names it in messages.

    Raises:
        HostileInputError: when it is larger than `LIMIT`, malformed, or of another format.
    """
    if len(text) > LIMIT:
        raise HostileInputError(f"larger than {LIMIT} bytes: {what}")
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise HostileInputError(f"not JSON: {what}", "make it anew: repobuild lock --update") from error
    if not isinstance(fields, dict) or fields.get("format") != FORMAT:
        raise HostileInputError(f"not a lock of format {FORMAT}: {what}", "make it anew: repobuild lock --update")
    try:
        return _lock(_Fields(fields))
    except (KeyError, TypeError, ValueError) as error:
        raise HostileInputError(f"malformed lock {what}: {error}", "make it anew: repobuild lock --update") from error


def succeed(lock: Lock, former: Lock | None) -> Lock:
    """Return `lock` with a time after that of the lock it replaces: clients never see an older one."""
    if former is None or lock.time > former.time:
        return lock
    return replace(lock, time=former.time + 1)


def same_content(one: Lock, other: Lock) -> bool:
    """Say whether two locks differ in nothing but their time."""
    return replace(one, time=0) == replace(other, time=0)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(", ", ": "))


def _lines(items: Iterable[str], *, opening: str = "[", closing: str = "]") -> str:
    joined = ",\n ".join(items)
    return f"{opening}\n {joined}\n{closing}" if joined else opening + closing


def _pin_fields(pin: RootPin) -> dict[str, object]:
    return {
        "name": pin.name,
        "path": pin.path,
        "sha256": pin.sha256,
        "date": pin.date,
        "signer": pin.signer,
        "verify": pin.verify.value,
        **({"module": pin.module} if pin.module else {}),
    }


def _package_fields(choice: Choice) -> dict[str, object]:
    package = choice.package
    names = ("name", "version", "arch", "size", "sha256", "path", "upstream", "filename")
    return {name: getattr(package, name) for name in names} | {"why": choice.why}


class _Fields:
    """A JSON object whose values are taken by type."""

    def __init__(self, fields: Any) -> None:
        if not isinstance(fields, dict):
            raise TypeError(f"expected an object, got {str(fields)[:40]!r}")
        self._fields: Mapping[str, Any] = fields

    def text(self, key: str, *, may_be_absent: bool = False) -> str:
        value = self._fields.get(key, "") if may_be_absent else self._fields[key]
        if not isinstance(value, str):
            raise TypeError(f"{key}: expected text, got {str(value)[:40]!r}")
        return _encodable(value)

    def file_name(self, key: str) -> str:
        return check_component(self.text(key))

    def path(self, key: str) -> str:
        value = self.text(key)
        parts = unquote(value.partition("?")[0]).split("/")
        if not value.isprintable() or {"", ".", ".."} & set(parts):
            raise ValueError(f"{key}: expected a path below a mirror, got {value[:70]!r}")
        return value

    def number(self, key: str, *, may_be_absent: bool = False) -> int:
        value = self._fields.get(key, 0) if may_be_absent else self._fields[key]
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 53:
            raise ValueError(f"{key}: expected a number, got {str(value)[:40]!r}")
        return value

    def time(self, key: str) -> int:
        value = self.number(key)
        if value > TIME_LIMIT:
            raise ValueError(f"{key}: expected seconds since the epoch up to the year 2242, got {value}")
        return value

    def flag(self, key: str, *, may_be_absent: bool = False) -> bool:
        value = self._fields.get(key, False) if may_be_absent else self._fields[key]
        if not isinstance(value, bool):
            raise TypeError(f"{key}: expected true or false, got {str(value)[:40]!r}")
        return value

    def digest(self, key: str, *, may_be_empty: bool = False) -> str:
        value = self.text(key)
        if (len(value) != 64 or set(value) - _DIGITS) and not (may_be_empty and not value):
            raise ValueError(f"{key}: expected a sha256, got {value[:70]!r}")
        return value

    def texts(self, key: str, *, may_be_absent: bool = False) -> tuple[str, ...]:
        value = self._fields.get(key, []) if may_be_absent else self._fields[key]
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise TypeError(f"{key}: expected a list of texts")
        return tuple(map(_encodable, value))

    def each(self, key: str, make: "Callable[[_Fields], Any]") -> tuple[Any, ...]:
        value = self._fields[key]
        if not isinstance(value, list):
            raise TypeError(f"{key}: expected a list")
        return tuple(make(_Fields(each)) for each in value)

    def rows(self, key: str) -> tuple[tuple[str, ...], ...]:
        value = self._fields[key]
        if not isinstance(value, list):
            raise TypeError(f"{key}: expected a list")
        return tuple(_Fields({key: each}).texts(key) for each in value)

    def pairs(self, key: str) -> tuple[tuple[str, str], ...]:
        """Return the names of an object that may be absent and their texts, sorted."""
        if key not in self._fields:
            return ()
        inner = self.inner(key)
        return tuple((_encodable(name), inner.text(name)) for name in sorted(inner._fields))

    def couples(self, key: str) -> tuple[tuple[str, str], ...]:
        """Return a list that may be absent, of lists of two texts."""
        rows = self.rows(key) if key in self._fields else ()
        if any(len(row) != 2 for row in rows):
            raise ValueError(f"{key}: expected lists of two texts")
        return tuple((one, other) for one, other in rows)

    def extras(self, key: str) -> tuple[tuple[str, str], ...]:
        if key not in self._fields:
            return ()
        inner = self.inner(key)
        unknown = sorted(set(inner._fields) - _EXTRAS)
        if unknown:
            raise ValueError(f"{key}: expected some of {', '.join(sorted(_EXTRAS))}, got {unknown[0][:40]!r}")
        return tuple((kind, inner.text(kind)) for kind in sorted(inner._fields))

    def bases(self, key: str) -> tuple[BasePin, ...]:
        """Return a list that may be absent, of bases."""
        rows = self._fields.get(key, [])
        if not isinstance(rows, list) or not all(isinstance(each, list) and len(each) == 3 for each in rows):
            raise TypeError(f"{key}: expected lists of name, sha256 and flag")
        parts = [_Fields({"name": name, "sha256": sha256, "flag": flag}) for name, sha256, flag in rows]
        pins = [
            BasePin(row.file_name("name"), row.digest("sha256", may_be_empty=True), row.flag("flag")) for row in parts
        ]
        if len({pin.name for pin in pins}) < len(pins):
            raise ValueError(f"{key}: a name twice")
        if any((pin.name == EMPTY_NAME) == bool(pin.sha256) for pin in pins):
            raise ValueError(f"{key}: every base but {EMPTY_NAME} has a digest, and that one has none")
        texts = dict(self.pairs("base_texts"))
        if sum(map(len, texts.values())) > TEXTS_LIMIT:
            raise ValueError(f"base_texts: more than {TEXTS_LIMIT} characters")
        wrong = sorted(texts.keys() - {pin.sha256 for pin in pins})
        wrong += [digest for digest, text in sorted(texts.items()) if sha256_of(text.encode()) != digest]
        if wrong:
            raise ValueError(f"base_texts: not the text of a base: {wrong[0][:70]!r}")
        return tuple(replace(pin, text=texts.get(pin.sha256, "")) for pin in pins)

    def inner(self, key: str) -> "_Fields":
        return _Fields(self._fields[key])


def _encodable(text: str) -> str:
    """Return `text`; JSON can spell half characters, which no file could hold again (UnicodeError, a ValueError)."""
    text.encode()
    return text


def _lock(fields: _Fields) -> Lock:
    metadata = fields.inner("verbatim")
    return Lock(
        target=fields.text("target"),
        time=fields.time("time"),
        manifest=fields.text("manifest"),
        name=fields.file_name("name"),
        version=fields.text("version"),
        endpoint=fields.text("endpoint"),
        upstreams=fields.each("upstreams", _pin),
        choices=fields.each("packages", lambda each: _choice(each, metadata)),
        missing=fields.each(
            "missing", lambda each: Missing(want=each.text("want"), reason=each.text("reason"), near=each.texts("near"))
        ),
        sets=fields.rows("sets"),
        options=_options(fields.inner("options")),
        extras=fields.extras("extras"),
        assets=fields.each(
            "assets",
            lambda each: Asset(
                name=each.file_name("name"),
                url=each.text("url"),
                size=each.number("size"),
                sha256=each.digest("sha256"),
            ),
        ),
        unverified=fields.texts("unverified"),
        gone=fields.texts("gone"),
        foreign=fields.couples("foreign"),
        taken=fields.couples("taken"),
        generation=fields.text("generation", may_be_absent=True),
        bases=fields.bases("bases"),
        carries_proof=fields.flag("carries_proof", may_be_absent=True),
    )


def _options(fields: _Fields) -> Options:
    return Options(
        weak_dependencies=fields.flag("weak_dependencies"),
        module_streams=fields.texts("module_streams", may_be_absent=True),
        pass_on=fields.texts("pass_on", may_be_absent=True),
        keep=fields.number("keep", may_be_absent=True),
        origins=fields.pairs("origins"),
    )


def _pin(fields: _Fields) -> RootPin:
    return RootPin(
        name=fields.text("name"),
        path=fields.text("path"),
        sha256=fields.digest("sha256", may_be_empty=True),
        date=fields.time("date"),
        signer=fields.text("signer"),
        verify=Verify(fields.text("verify")),
        module=fields.text("module", may_be_absent=True),
    )


def _choice(fields: _Fields, metadata: _Fields) -> Choice:
    digest = fields.digest("sha256")
    package = Package(
        name=fields.text("name"),
        version=fields.text("version"),
        arch=fields.text("arch"),
        size=fields.number("size"),
        sha256=digest,
        path=fields.path("path"),
        upstream=fields.text("upstream"),
        filename=fields.file_name("filename"),
        metadata=metadata.text(digest),
    )
    return Choice(package, fields.text("why"))


def digest(text: bytes) -> str:
    """Return the digest of a lock's text."""
    return sha256_of(text)
