"""One upstream on its way in: a mirror after the other, its root proven, its indexes brought into the store."""

import hashlib
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from repobuild.catalog.answers import Proof
from repobuild.catalog.keys import with_keys
from repobuild.catalog.mirrors import expand
from repobuild.catalog.values import Means
from repobuild.compression import decompress
from repobuild.errors import (
    DeniedError,
    HostileInputError,
    NotFoundError,
    RefusedError,
    RepobuildError,
    RollbackError,
    UnreachableError,
    VerificationError,
)
from repobuild.formats.protocol import Format, IndexFile, Loaded, Root, RootFile, Variant
from repobuild.model import Mirror, RootPin, Target, Upstream, Verify
from repobuild.signing import Keyring
from repobuild.signing.cleartext import split_cleartext
from repobuild.state import Seen

_ROOT_LIMIT = 16 << 20
"""Bytes of a root or signature; Debian's is 150 kB."""
_TRIES = 2
"""How often one mirror is asked for a consistent set."""
_SHA256 = re.compile(r"[0-9a-f]{64}")
_CLOCK_SKEW = 86_400
"""Seconds by which a root may lie in the future."""


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
        causes = "; ".join(each.message for each in self.errors) or "no mirror of it is known in this region"
        denied = next((each.hint for each in self.errors if isinstance(each, DeniedError)), None)
        hint = denied or "check network, region and mirrors, or go on without it: --skip-unavailable"
        return UnreachableError(f"upstream {upstream.name} cannot be reached: {causes}", hint)


class Loader:
    """One upstream on its way in."""

    def __init__(self, upstream: Upstream, target: Target, form: Format, means: Means) -> None:
        self._upstream = upstream
        self._target = target
        self._format = form
        self._means = means
        self._vouched: frozenset[str] = frozenset()
        """sha256 of the roots that the upstream's metalink vouches for; empty for any."""
        places = form.root_files(upstream)
        self._roots = tuple(path for each in places for path in (each.path, each.signature) if path is not None)
        self._last = f"last {target.name} {upstream.name} {form.path(upstream)}"

    def load(self) -> tuple[Loaded, RootPin, str] | None:
        """Return the upstream, its pin and the mirror that served it; None when it is skipped."""
        failures = _Failures()
        is_offline = self._means.limits.offline
        if not (is_offline or self._upstream.mirrors or self._upstream.mirror_lists):
            self._skip(failures.worst(self._upstream, offline=False))
            return None
        try:
            self._upstream = with_keys(self._upstream, self._means)
        except UnreachableError as error:
            self._skip(error)
            return None
        if not is_offline:
            for mirror in self._mirrors(failures):
                loaded = self._from_mirror(mirror, failures)
                if loaded is not None:
                    return loaded
                self._means.progress.note(f"{self._upstream.name}: {mirror.url}: {failures.errors[-1].message}")
        if is_offline or failures.are_behind:
            remembered = self._from_memory()
            if remembered is not None:
                return remembered
        self._skip(failures.worst(self._upstream, offline=is_offline))
        return None

    def _skip(self, error: RepobuildError) -> None:
        """Go on without the upstream where it may be skipped for this error, which is raised otherwise."""
        can_skip = self._upstream.skip_if_unavailable or self._means.limits.skip_unavailable
        if not can_skip or not isinstance(error, UnreachableError):
            raise error
        self._means.progress.note(f"{self._upstream.name}: skipped: {error.message}")

    def _mirrors(self, failures: _Failures) -> tuple[Mirror, ...]:
        try:
            listed = expand(self._upstream, self._ask)
        except UnreachableError as error:
            failures.errors.append(error)
            return ()
        self._vouched = listed.digests
        return tuple(sorted(listed.mirrors, key=self._means.answers.is_silent))

    def _from_mirror(self, mirror: Mirror, failures: _Failures) -> tuple[Loaded, RootPin, str] | None:
        known = self._from_answers(mirror)
        if known is not None:
            return known
        for attempt in range(_TRIES):
            try:
                return self._whole(mirror)
            except (VerificationError, HostileInputError) as error:
                # A mirror in the middle of its own update mixes two states for a moment: ask for the set again.
                failures.errors.append(error)
                self._forget(mirror)
                if attempt + 1 < _TRIES:
                    continue
            except (RollbackError, UnreachableError) as error:
                failures.errors.append(error)
                if isinstance(error, UnreachableError) and not isinstance(error, NotFoundError):
                    self._means.answers.mark_silent(mirror)
            break
        return None

    def _from_answers(self, mirror: Mirror) -> tuple[Loaded, RootPin, str] | None:
        """Take the root that another target got from this mirror; None when there is none, or its set has changed."""
        if not self._means.answers.holds(mirror, self._roots):
            return None
        try:
            return self._whole(mirror)
        except (RefusedError, UnreachableError):
            # What came earlier in this run is no proof of what the mirror has by now.
            self._forget(mirror)
            if self._vouched:
                self._vouched = expand(self._upstream, self._ask).digests
            return None

    def _whole(self, mirror: Mirror) -> tuple[Loaded, RootPin, str]:
        believed = self._root_from(mirror)
        loaded = self._loaded(believed, mirror)
        self._remember(believed, loaded)
        return loaded, self._pin(believed), mirror.url

    def _ask(self, mirror: Mirror, path: str, limit: int) -> bytes:
        return self._means.answers.get(self._means.get, mirror, path, limit)

    def _forget(self, mirror: Mirror) -> None:
        self._means.answers.forget(mirror, self._roots)
        for each in self._upstream.mirror_lists:
            folder, _, path = each.url.rpartition("/")
            self._means.answers.forget(Mirror(folder), (path,))

    def _from_memory(self) -> tuple[Loaded, RootPin, str] | None:
        """Take the root believed last, from the store; None when it is not there any more."""
        seen = self._means.memory.get(self._last)
        store = self._means.store
        if seen is None or not store.has(seen.root) or (seen.signature and not store.has(seen.signature)):
            return None
        signature = store.read(seen.signature, _ROOT_LIMIT) if seen.signature else None
        believed = self._verify(store.read(seen.root, _ROOT_LIMIT), signature)
        if any(self._known(index) is None for index in believed.root.indexes):
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
            self._check_vouched(content)
            believed = self._verify(content, signature)
            self._check_age(believed)
            return believed
        raise unreachable or UnreachableError(f"no root at {mirror.url}")

    def _fetch_root(self, mirror: Mirror, place: RootFile) -> tuple[bytes, bytes | None]:
        content = self._ask(mirror, place.path, _ROOT_LIMIT)
        if place.signature is None or self._upstream.verify is not Verify.ROOT:
            return content, None
        try:
            return content, self._ask(mirror, place.signature, _ROOT_LIMIT)
        except NotFoundError as error:
            name = self._upstream.name
            hint = (
                f"use a mirror that serves the signed file, or take it without proof: --allow-unverified {name}, "
                "or verify: none in its entry where its keys are those of a known archive"
            )
            raise VerificationError(f"upstream {name} is not signed: {mirror.url}/{place.path}", hint) from error

    def _verify(self, content: bytes, signature: bytes | None) -> _Believed:
        what = f"root of upstream {self._upstream.name}"
        if self._upstream.verify is not Verify.ROOT:
            proof = Proof(_unproven(content, what), "", ())
        else:
            prove = partial(self._prove, content, signature, what)
            proof = self._means.answers.proof(self._upstream, content, signature, prove)
        root = self._format.read_root(proof.content, self._upstream, self._target)
        if self._upstream.origin is not None and root.origin != self._upstream.origin:
            raise VerificationError(
                f"{what} states origin {root.origin!r}, expected {self._upstream.origin!r}",
                "this mirror serves another archive: mend the manifest's baseurl or origin",
            )
        store = self._means.store
        kept = store.put(content), store.put(signature) if signature else ""
        return _Believed(root, *kept, proof.signer, proof.keys)

    def _prove(self, content: bytes, signature: bytes | None, what: str) -> Proof:
        keyring = Keyring.from_files(self._upstream.keys, self._upstream.fingerprints)
        verified = (
            keyring.verify_inline(content, what)
            if signature is None
            else keyring.verify_detached(content, signature, what)
        )
        return Proof(verified.content, verified.signer, keyring.fingerprints)

    def _check_vouched(self, content: bytes) -> None:
        if self._vouched and hashlib.sha256(content).hexdigest() not in self._vouched:
            raise VerificationError(
                f"the root of upstream {self._upstream.name} is none that its metalink vouches for",
                "the mirror is behind or tampered with: try another one",
            )

    def _check_age(self, believed: _Believed) -> None:
        root, limits = believed.root, self._means.limits
        suite = f" ({self._upstream.suite})" if self._upstream.suite else ""
        name = f"upstream {self._upstream.name}{suite}"
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
        if not believed.root.origin:
            return f"age {self._target.name} {self._upstream.name} {self._format.path(self._upstream)} {keys}"
        return f"age {believed.root.origin} {self._upstream.suite} {keys or self._upstream.name}"

    def _remember(self, believed: _Believed, loaded: Loaded) -> None:
        indexes = tuple(index.sha256 for index in loaded.root.indexes) + _unpinned(believed.root.indexes)
        seen = Seen(believed.root.date, believed.sha256, believed.signature, indexes)
        keep = self._means.memory.force if self._means.limits.allow_older else self._means.memory.put
        keep(self._age_key(believed), seen)
        keep(self._last, seen)

    def _remember_later(self, *digests: str) -> None:
        """Remember more of what the root believed last needs, so that it stays in the store."""
        seen = self._means.memory.get(self._last)
        if seen is not None and not set(digests) <= set(seen.indexes):
            indexes = tuple(dict.fromkeys((*seen.indexes, *digests)))
            self._means.memory.put(self._last, replace(seen, indexes=indexes))
            self._means.memory.save()

    def _loaded(self, believed: _Believed, mirror: Mirror | None) -> Loaded:
        indexes = tuple(self._present(mirror, index) for index in believed.root.indexes)
        texts = tuple(self._means.store.path(index.sha256) for index in indexes)

        def open_later(index: IndexFile) -> Path:
            present = self._present(mirror, index)
            self._remember_later(present.sha256, *_unpinned((index,)))
            return self._means.store.path(present.sha256)

        return Loaded(self._upstream, replace(believed.root, indexes=indexes), texts, open_later)

    def _present(self, mirror: Mirror | None, index: IndexFile) -> IndexFile:
        """Return an index that is in the store, its open text's digest known.

        Raises:
            UnreachableError: when there is no mirror to ask, or it does not answer.
        """
        known = self._known(index)
        if known is not None:
            return known
        if mirror is None:
            raise UnreachableError(
                f"the store does not hold an index of upstream {self._upstream.name}: {index.kind}",
                "run the same command once without --offline",
            )
        return replace(index, sha256=self._fetch_index(mirror, index))

    def _known(self, index: IndexFile) -> IndexFile | None:
        store = self._means.store
        if index.sha256:
            return index if store.has(index.sha256, index.size) else None
        kept = (store.derived(_open_key(variant)) for variant in index.variants)
        sha256 = next((text.decode("ascii", "replace") for text in kept if text is not None), "")
        return replace(index, sha256=sha256) if _SHA256.fullmatch(sha256) and store.has(sha256) else None

    def _fetch_index(self, mirror: Mirror, index: IndexFile) -> str:
        """Bring an index into the store, the best form of it that the mirror has; return its open text's sha256.

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
            _check_digest(data, variant, what)
            is_pinned = bool(index.sha256)
            chunks = decompress(data, variant.compression, size=index.size, what=what, is_exact=is_pinned)
            if is_pinned:
                return self._means.store.put(chunks, sha256=index.sha256, size=index.size)
            sha256 = self._means.store.put(chunks)
            self._means.store.put_derived(_open_key(variant), sha256.encode())
            return sha256
        raise absent or NotFoundError(f"no form of an index of upstream {self._upstream.name}")

    def _pin(self, believed: _Believed) -> RootPin:
        pin = pin_of(self._upstream, self._format)
        return replace(pin, sha256=believed.sha256, date=believed.root.date, signer=believed.signer)


def pin_of(upstream: Upstream, form: Format) -> RootPin:
    """Return the pin of an upstream that was skipped."""
    return RootPin(
        name=upstream.name,
        path=form.path(upstream),
        sha256="",
        date=0,
        signer="",
        verify=upstream.verify,
        module=upstream.module,
    )


def _unpinned(indexes: Iterable[IndexFile]) -> tuple[str, ...]:
    """Return the digests under which it is kept what the text of a file is, where its root does not say it."""
    return tuple(variant.digest for index in indexes if not index.sha256 for variant in index.variants)


def _open_key(variant: Variant) -> str:
    """Name what is known of the open text of a file that its root names only as it is transported."""
    return f"{variant.digest}.open-{variant.algorithm}"


def _check_digest(data: bytes, variant: Variant, what: str) -> None:
    found = hashlib.new(variant.algorithm, data).hexdigest()
    if found != variant.digest:
        raise VerificationError(
            f"digest of {what} is {found}, its root says {variant.digest}",
            "the mirror may be updating: try again later",
        )


def _unproven(content: bytes, what: str) -> bytes:
    """Return the text of a root that the operator takes without proof, whether or not it is signed."""
    return split_cleartext(content, what).content if content.startswith(b"-----BEGIN PGP SIGNED") else content


def _date(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))
