"""Keys that are fetched, and believed by their pinned fingerprints alone.

What a URL gave is kept in the store and remembered, so that runs without network find it. Every other run asks again,
since owners prolong the life of their keys; the one that is remembered stands in when that fails.
"""

from dataclasses import replace

from repobuild.catalog.values import Means
from repobuild.errors import RefusedError, RepobuildError, UnreachableError, VerificationError
from repobuild.model import Mirror, Upstream, Verify
from repobuild.signing import Keyring
from repobuild.state import Seen

_LIMIT = 1 << 20
"""Bytes of a key file."""


def with_keys(upstream: Upstream, means: Means) -> Upstream:
    """Return the upstream with the keys of its `key_urls` beside its own; what is new is remembered by the next save.

    Raises:
        VerificationError: when what the URLs give holds none of the pinned keys, or none is pinned.
        UnreachableError: when no URL can be had and no key is remembered.
    """
    is_proven = upstream.verify is not Verify.NONE or upstream.checks_packages
    if not upstream.key_urls or not is_proven:
        return upstream
    if not upstream.fingerprints:
        raise VerificationError(
            f"no fingerprint is pinned for the keys of upstream {upstream.name}: {upstream.key_urls[0]}",
            "name a key file in signed_by of this upstream",
        )
    errors: list[RepobuildError] = []
    digest = _fetch(upstream, means, errors) or _remembered(upstream, means)
    if digest is None:
        raise _failure(upstream, errors)
    if errors:
        means.progress.note(f"{upstream.name}: its key: {errors[0].message}")
    return replace(upstream, keys=(*upstream.keys, means.store.path(digest)))


def _fetch(upstream: Upstream, means: Means, errors: list[RepobuildError]) -> str | None:
    """Bring the first key file that holds a pinned key into the store; None when there is none, which `errors` says."""
    if means.limits.offline:
        return None
    for url in upstream.key_urls:
        folder, _, path = url.rpartition("/")
        try:
            data = means.answers.get(means.get, Mirror(folder), path, _LIMIT)
            Keyring.from_bytes([(url, data)], upstream.fingerprints)
        except (RefusedError, UnreachableError) as error:
            means.answers.forget(Mirror(folder), (path,))
            errors.append(error)
            continue
        digest = means.store.put(data)
        means.memory.put(_name(upstream), Seen(means.limits.now, digest, ""))
        return digest
    return None


def _remembered(upstream: Upstream, means: Means) -> str | None:
    seen = means.memory.get(_name(upstream))
    return seen.root if seen is not None and means.store.has(seen.root) else None


def _name(upstream: Upstream) -> str:
    """Name what is remembered: by fingerprints, so that a changed table asks anew and upstreams share their keys."""
    return f"keys {' '.join(sorted(upstream.fingerprints))}"


def _failure(upstream: Upstream, errors: list[RepobuildError]) -> RepobuildError:
    """Return the error to report: a refusal before a silence."""
    pinned = ", ".join(upstream.fingerprints)
    if not errors:
        return UnreachableError(
            f"the store does not hold the key of upstream {upstream.name}, and --offline forbids fetching it: {pinned}",
            "run the same command once without --offline",
        )
    causes = "; ".join(error.message for error in errors)
    what = f"none of the keys {pinned} of upstream {upstream.name} is to be had from {', '.join(upstream.key_urls)}"
    hint = "get the key by other means, compare its fingerprint, and name the file in signed_by of this upstream"
    is_refused = any(isinstance(error, RefusedError) for error in errors)
    return VerificationError(f"{what}: {causes}", hint) if is_refused else UnreachableError(f"{what}: {causes}", hint)
