"""Target -> Catalog: fetch, verify and open the indexes of every upstream.

All files of one root come from one mirror (design decision 3): a mirror whose files do not fit its root is asked once
more for the whole set, then the next one is. What is verified stays in the store, decompressed, so that the next run
fetches only the roots.
"""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from repobuild.compression import decompress
from repobuild.errors import (
    HostileInputError,
    NotFoundError,
    RefusedError,
    RepobuildError,
    RollbackError,
    UnreachableError,
    VerificationError,
)
from repobuild.formats import FORMATS
from repobuild.formats.protocol import Format, IndexFile, Loaded, Root, RootFile, Universe
from repobuild.model import Job, Mirror, RootPin, Target, Upstream, Verify
from repobuild.progress import Progress
from repobuild.signing import Keyring
from repobuild.signing.cleartext import split_cleartext
from repobuild.state import Memory, Seen
from repobuild.store import Store

_ROOT_LIMIT = 16 << 20
"""Bytes of a root or signature; Debian's is 150 kB."""
_TRIES = 2
"""How often one mirror is asked for a consistent set."""
_CLOCK_SKEW = 86_400
"""Seconds by which a root may lie in the future."""

Get = Callable[[Mirror, str, int], bytes]
"""A small file from one mirror: (mirror, path, limit in bytes) -> content. UnreachableError when it cannot be had."""


class Limits(Protocol):
    """What the operator says about looking upstream."""

    @property
    def offline(self) -> bool:
        """Use the roots believed last, without network."""

    @property
    def allow_older(self) -> bool:
        """Take an upstream that is older than what was seen before."""

    @property
    def skip_unavailable(self) -> bool:
        """Go on without an upstream that no mirror serves."""

    @property
    def now(self) -> int:
        """Seconds since the epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """All packages of a target's upstreams, verified and open."""

    target: Target
    universe: Universe[Any]
    pins: tuple[RootPin, ...]
    served: Mapping[str, str]
    """Which mirror served each upstream."""
    skipped: tuple[str, ...] = ()
    """Upstreams that could not be had and were skipped."""
    unverified: tuple[str, ...] = ()

    @property
    def newest(self) -> int:
        """The newest Date of the upstreams, seconds since the epoch."""
        return max((pin.date for pin in self.pins), default=0)


@dataclass(frozen=True, slots=True)
class Means:
    """What a catalog is loaded with."""

    get: Get
    store: Store
    memory: Memory
    limits: Limits
    progress: Progress


@dataclass(frozen=True, slots=True)
class _Believed:
    """A root that was verified."""

    root: Root
    sha256: str
    signature: str
    signer: str
    keys: tuple[str, ...]


@dataclass(slots=True)
class _Failures:
    """What each mirror did wrong."""

    errors: list[RepobuildError] = field(default_factory=list)

    @property
    def are_behind(self) -> bool:
        """Whether mirrors are older than what was seen, and nothing worse than silence comes from the others."""
        refused = [each for each in self.errors if isinstance(each, RefusedError)]
        return bool(refused) and all(isinstance(each, RollbackError) for each in refused)

    def worst(self, upstream: Upstream, *, offline: bool) -> RepobuildError:
        """Return the error to report: a refusal before a rollback before an unreachable mirror."""
        if offline:
            return UnreachableError(
                f"the store does not hold upstream {upstream.name}, and --offline forbids fetching it",
                "run the same command once without --offline",
            )
        refused = [each for each in self.errors if isinstance(each, RefusedError)]
        worse = [each for each in refused if not isinstance(each, RollbackError)]
        if worse or refused:
            return (worse or refused)[0]
        causes = "; ".join(each.message for each in self.errors) or "no mirror is configured"
        hint = "check the network and the mirrors in the manifest, or go on without it: --skip-unavailable"
        return UnreachableError(f"upstream {upstream.name} cannot be reached: {causes}", hint)


def load(job: Job, means: Means, extra: Sequence[Loaded] = ()) -> Catalog:
    """Fetch, verify and open every upstream of `job`; `extra` joins them, already open.

    Raises:
        VerificationError, HostileInputError: when no mirror serves an upstream that verifies.
        RollbackError: when all mirrors of one are older than what was seen, and nothing is left to fall back on.
        UnreachableError: when no mirror of one answers, unless it may be skipped.
    """
    form = FORMATS[job.target.family]
    with ThreadPoolExecutor(max_workers=max(1, min(4, len(job.upstreams)))) as pool:
        outcomes = list(pool.map(lambda upstream: _Loader(upstream, job.target, form, means).load(), job.upstreams))
    loaded, pins, served, skipped = [], [], {}, []
    for upstream, outcome in zip(job.upstreams, outcomes, strict=True):
        if outcome is None:
            skipped.append(upstream.name)
            pins.append(_pin(upstream, form))
            continue
        loaded.append(outcome[0])
        pins.append(outcome[1])
        served[upstream.name] = outcome[2]
    means.memory.save()
    return Catalog(
        target=job.target,
        universe=form.universe([*loaded, *extra], job.target, means.store, weak=job.options.weak_dependencies),
        pins=tuple(pins),
        served=served,
        skipped=tuple(skipped),
        unverified=tuple(each.upstream.name for each in loaded if each.upstream.verify is Verify.NONE),
    )


class _Loader:
    """One upstream on its way in."""

    def __init__(self, upstream: Upstream, target: Target, form: Format, means: Means) -> None:
        self._upstream = upstream
        self._target = target
        self._format = form
        self._means = means
        self._last = f"last {target.name} {upstream.name} {form.path(upstream)}"

    def load(self) -> tuple[Loaded, RootPin, str] | None:
        """Return the upstream, its pin and the mirror that served it; None when it is skipped."""
        failures = _Failures()
        if not self._means.limits.offline:
            for mirror in self._upstream.mirrors:
                loaded = self._from_mirror(mirror, failures)
                if loaded is not None:
                    return loaded
                self._means.progress.note(f"{self._upstream.name}: {mirror.url}: {failures.errors[-1].message}")
        if self._means.limits.offline or failures.are_behind:
            remembered = self._from_memory()
            if remembered is not None:
                return remembered
        error = failures.worst(self._upstream, offline=self._means.limits.offline)
        can_skip = self._upstream.skip_if_unavailable or self._means.limits.skip_unavailable
        if can_skip and isinstance(error, UnreachableError):
            self._means.progress.note(f"{self._upstream.name}: skipped: {error.message}")
            return None
        raise error

    def _from_mirror(self, mirror: Mirror, failures: _Failures) -> tuple[Loaded, RootPin, str] | None:
        for attempt in range(_TRIES):
            try:
                believed = self._root_from(mirror)
                loaded = self._loaded(believed, mirror)
            except (VerificationError, HostileInputError) as error:
                # A mirror in the middle of its own update mixes two states for a moment: ask for the set again.
                failures.errors.append(error)
                if attempt + 1 < _TRIES:
                    continue
            except (RollbackError, UnreachableError) as error:
                failures.errors.append(error)
            else:
                self._remember(believed)
                return loaded, self._pin(believed), mirror.url
            break
        return None

    def _from_memory(self) -> tuple[Loaded, RootPin, str] | None:
        """Take the root believed last, from the store; None when it is not there any more."""
        seen = self._means.memory.get(self._last)
        store = self._means.store
        if seen is None or not store.has(seen.root) or (seen.signature and not store.has(seen.signature)):
            return None
        signature = store.read(seen.signature, _ROOT_LIMIT) if seen.signature else None
        believed = self._verify(store.read(seen.root, _ROOT_LIMIT), signature)
        if not all(store.has(index.sha256, index.size) for index in believed.root.indexes):
            return None
        return self._loaded(believed, None), self._pin(believed), "the store"

    def _root_from(self, mirror: Mirror) -> _Believed:
        unreachable: UnreachableError | None = None
        for place in self._format.root_files(self._upstream):
            try:
                content, signature = self._fetch_root(mirror, place)
            except UnreachableError as error:
                unreachable = unreachable or error
                continue
            believed = self._verify(content, signature)
            self._check_age(believed)
            return believed
        raise unreachable or UnreachableError(f"no root at {mirror.url}")

    def _fetch_root(self, mirror: Mirror, place: RootFile) -> tuple[bytes, bytes | None]:
        content = self._means.get(mirror, place.path, _ROOT_LIMIT)
        if place.signature is None or self._upstream.verify is not Verify.ROOT:
            return content, None
        try:
            return content, self._means.get(mirror, place.signature, _ROOT_LIMIT)
        except NotFoundError as error:
            name = self._upstream.name
            hint = f"use a mirror that serves the signed file, or take it without proof: --allow-unverified {name}"
            raise VerificationError(f"upstream {name} is not signed: {mirror.url}/{place.path}", hint) from error

    def _verify(self, content: bytes, signature: bytes | None) -> _Believed:
        keys: tuple[str, ...]
        what = f"root of upstream {self._upstream.name}"
        if self._upstream.verify is not Verify.ROOT:
            verified, signer, keys = _unproven(content, what), "", ()
        else:
            keyring = Keyring.from_files(self._upstream.keys, self._upstream.fingerprints)
            proof = (
                keyring.verify_inline(content, what)
                if signature is None
                else keyring.verify_detached(content, signature, what)
            )
            verified, signer, keys = proof.content, proof.signer, keyring.fingerprints
        root = self._format.read_root(verified, self._upstream, self._target)
        if self._upstream.origin is not None and root.origin != self._upstream.origin:
            raise VerificationError(
                f"{what} states origin {root.origin!r}, expected {self._upstream.origin!r}",
                "this mirror serves another archive: mend the manifest's baseurl or origin",
            )
        store = self._means.store
        return _Believed(root, store.put(content), store.put(signature) if signature else "", signer, keys)

    def _check_age(self, believed: _Believed) -> None:
        root, limits = believed.root, self._means.limits
        name = f"upstream {self._upstream.name} ({self._upstream.suite})"
        seen = self._means.memory.get(self._age_key(believed))
        if seen is not None and root.date < seen.date and not limits.allow_older:
            raise RollbackError(
                f"{name} is older than what was seen before: {_date(root.date)} after {_date(seen.date)}",
                "try another mirror, or accept it: --allow-older",
            )
        if self._upstream.check_valid_until and root.valid_until is not None and root.valid_until < limits.now:
            raise VerificationError(
                f"{name} was valid only until {_date(root.valid_until)}",
                "try another mirror; for an archive that is no longer updated set check_valid_until: false",
            )
        if root.date > limits.now + _CLOCK_SKEW:
            raise VerificationError(f"{name} is dated in the future: {_date(root.date)}", "check this machine's clock")

    def _age_key(self, believed: _Believed) -> str:
        """Name what must not go back in time: by the keys believed, since a mirror chooses which signature is first."""
        keys = hashlib.sha256(" ".join(sorted(believed.keys)).encode()).hexdigest()[:16] if believed.keys else ""
        return f"age {believed.root.origin} {self._upstream.suite} {keys or self._upstream.name}"

    def _remember(self, believed: _Believed) -> None:
        indexes = tuple(index.sha256 for index in believed.root.indexes)
        seen = Seen(believed.root.date, believed.sha256, believed.signature, indexes)
        keep = self._means.memory.force if self._means.limits.allow_older else self._means.memory.put
        keep(self._age_key(believed), seen)
        keep(self._last, seen)

    def _loaded(self, believed: _Believed, mirror: Mirror | None) -> Loaded:
        for index in believed.root.indexes:
            if mirror is not None and not self._means.store.has(index.sha256, index.size):
                self._fetch_index(mirror, index)
        texts = tuple(self._means.store.path(index.sha256) for index in believed.root.indexes)
        return Loaded(self._upstream, believed.root, texts)

    def _fetch_index(self, mirror: Mirror, index: IndexFile) -> None:
        """Bring an index into the store: the best form of it that the mirror has.

        Raises:
            NotFoundError: when the mirror has none.
            UnreachableError: when it does not answer.
        """
        absent: NotFoundError | None = None
        for variant in index.variants:
            what = f"{variant.path} of upstream {self._upstream.name}"
            try:
                data = self._means.get(mirror, variant.path, variant.size)
            except NotFoundError as error:
                absent = absent or error
                continue
            _check_digest(data, variant.sha256, what)
            chunks = decompress(data, variant.compression, size=index.size, what=what)
            self._means.store.put(chunks, sha256=index.sha256, size=index.size)
            return
        raise absent or NotFoundError(f"no form of an index of upstream {self._upstream.name}")

    def _pin(self, believed: _Believed) -> RootPin:
        pin = _pin(self._upstream, self._format)
        return replace(pin, sha256=believed.sha256, date=believed.root.date, signer=believed.signer)


def _pin(upstream: Upstream, form: Format) -> RootPin:
    """Return the pin of an upstream that was skipped."""
    return RootPin(name=upstream.name, path=form.path(upstream), sha256="", date=0, signer="", verify=upstream.verify)


def _check_digest(data: bytes, sha256: str, what: str) -> None:
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise VerificationError(
            f"digest of {what} is {found}, its root says {sha256}", "the mirror may be updating: try again later"
        )


def _unproven(content: bytes, what: str) -> bytes:
    """Return the text of a root that the operator takes without proof, whether or not it is signed."""
    return split_cleartext(content, what).content if content.startswith(b"-----BEGIN PGP SIGNED") else content


def _date(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))


def mirrors_used(catalogs: Sequence[Catalog]) -> dict[str, list[str]]:
    """Return which mirrors served each upstream name, for the summary."""
    used: dict[str, dict[str, None]] = {}
    for catalog in catalogs:
        for name, url in catalog.served.items():
            used.setdefault(name, {})[url] = None
    return {name: list(urls) for name, urls in sorted(used.items())}
