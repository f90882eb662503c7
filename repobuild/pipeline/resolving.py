"""Job -> a new lock: the catalog loaded, what the manifest names by URL fetched, the wants resolved."""

from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import quote

from repobuild import catalog, origins, resolve
from repobuild.errors import RepobuildError, UnreachableError, UnresolvableError, UsageError
from repobuild.formats import FORMATS
from repobuild.formats.protocol import IndexFile, Loaded, Root, Variant
from repobuild.model import (
    PACKAGE_KEYS,
    AddedFile,
    Asset,
    Choice,
    Job,
    Lock,
    MinorRelease,
    Mirror,
    Options,
    Package,
    Resolution,
    Upstream,
    Verify,
)
from repobuild.pipeline import basing
from repobuild.pipeline.session import Session
from repobuild.pipeline.sources import ADDED, URL, mirrors_of, package_request, url_mirror, url_path, url_request
from repobuild.signing import Keyring

_URL_PIN = 990
"""Packages named by their URL win over those of upstreams."""
_SHOWN = 8
"""Wants of which nothing can be had, as many as an error names."""
_ROUNDS = 20
"""How often a resolution is made anew because files are gone upstream."""


def resolve_job(session: Session, job: Job) -> tuple[Lock, catalog.Catalog, tuple[str, ...]]:
    """Return a new lock for `job`, the catalog it was made from, and what there is to say."""
    extra, packages, assets = _url_packages(session, job)
    for each in job.added:
        package = _added_package(session, job, each)
        packages.append(package)
        extra.append(_loaded(session, job, package, Upstream(name=package.upstream, module="", mirrors=())))
    plain = replace(job, options=_without_pins_of(packages, job.options))
    loaded = catalog.load(plain, means_of(session), extra)
    if not loaded.loaded and not packages:
        raise UnreachableError(
            f"no upstream of {job.target} can be had: {', '.join(loaded.skipped)}",
            "nothing is published or locked without any; check network, region and mirrors",
        )
    groups = (*job.groups, tuple(map(FORMATS[job.target.family].want_for, packages)))
    upstreams = (*loaded.loaded, *extra)
    releases = {each.release: _release(session, plain, each) for each in job.minor_releases}
    bases = basing.pin_bases(session, job, upstreams, {"": loaded, **releases})
    known = basing.universes(session, plain, upstreams, loaded.universe, bases)
    resolution, gone = _resolve_what_is_there(session, job, loaded, (known, groups))
    if not resolution.taken and not assets:
        raise _nothing(job, resolution)
    unverified = [*loaded.unverified, *(each.name for each in job.url_packages if each.verify is Verify.NONE)]
    unverified += [ADDED + each.name for each in job.added]
    choices = tuple(_at_its_url(choice, packages) for choice in resolution.choices)
    expectation = origins.Expectation(expected=job.expected, upstreams=job.upstreams, skipped=loaded.skipped)
    foreign = origins.compare(expectation, resolution.taken, loaded.universe.upstreams_of)
    made = Lock(
        target=job.target.name,
        time=loaded.newest or session.settings.now,
        manifest=job.digest,
        name=job.name,
        version=job.version,
        endpoint=job.endpoint,
        generation=job.generation,
        upstreams=loaded.pins,
        choices=choices,
        missing=resolution.missing,
        sets=resolution.sets,
        options=job.options,
        assets=assets,
        unverified=tuple(sorted(unverified)),
        gone=gone,
        extras=_extras(job, loaded, [choice.package for choice in choices]),
        foreign=foreign.pairs,
        bases=bases,
        taken=tuple((want, package.filename) for want, package in resolution.taken),
        carries_proof=True,
    )
    return made, loaded, (*foreign.notes, *resolution.notes, *basing.notes(job))


def _release(session: Session, job: Job, minor: MinorRelease) -> catalog.Catalog:
    """Return the catalog of a minor release.

    Raises:
        UnreachableError: when one of its upstreams cannot be had: what a minimal install has would be a guess.
    """
    found = catalog.load(replace(job, target=minor.target, upstreams=minor.upstreams), means_of(session))
    if found.skipped:
        raise UnreachableError(
            f"no minimal install of {minor.target} can be computed without {', '.join(found.skipped)}",
            "capture one instead: repobuild base capture",
        )
    return found


def _nothing(job: Job, resolution: Resolution) -> RepobuildError:
    """Return why a repository would be empty, and take the place of one that is not."""
    if not resolution.missing and job.bases.subtracted and any(job.groups):
        return UsageError(
            f"base {job.bases.subtracted} has all that is wanted for {job.target}",
            "there is nothing to publish; leave `subtract` out to have it all the same",
        )
    if not resolution.missing:
        return UsageError(f"nothing is wanted for {job.target}", "name packages in `repo_packages`")
    names = ", ".join(each.want for each in resolution.missing[:_SHOWN])
    more = "" if len(resolution.missing) <= _SHOWN else f" and {len(resolution.missing) - _SHOWN} more"
    return UnresolvableError(
        f"nothing that is wanted for {job.target} can be had: {names}{more}",
        "an empty repository is never published; check names and upstreams: repobuild show",
    )


def _without_pins_of(packages: Sequence[Package], options: Options) -> Options:
    """Return options that pin none of the packages which the operator names as files: that word is the clearer one."""
    named = {each.name for each in packages}
    return replace(options, origins=tuple(each for each in options.origins if each[0] not in named))


def with_keys(session: Session, upstreams: Sequence[Upstream]) -> tuple[Upstream, ...]:
    """Return upstreams with the keys that are fetched, or were.

    Raises:
        VerificationError: when what is served for a key is another one.
        UnreachableError: when a key can neither be fetched nor is remembered.
    """
    means = means_of(session)
    found = tuple(catalog.with_keys(each, means) for each in upstreams)
    session.memory.save()
    return found


def means_of(session: Session) -> catalog.Means:
    """Return what a catalog of this run is made with."""
    return catalog.Means(
        get=_refuse if session.settings.offline else session.fetcher.get,
        store=session.store,
        memory=session.memory,
        limits=session.settings,
        progress=session.progress,
        answers=session.answers,
    )


def _extras(job: Job, loaded: catalog.Catalog, packages: Sequence[Package]) -> tuple[tuple[str, str], ...]:
    """Return what is passed on of the upstreams, and the packages' keys where every package is signed."""
    proven = [each for each in loaded.loaded if each.upstream.verify is not Verify.PACKAGES]  # the rest is hearsay
    found = FORMATS[job.target.family].extras(proven, packages, job.options.pass_on)
    texts = {kind: text.decode("utf-8", "replace") for kind, text in found.items()}
    used = {each.upstream for each in packages}
    upstreams = [each.upstream for each in loaded.loaded]  # with the keys that were fetched
    signing = [each for each in upstreams if each.checks_packages and each.name in used]
    if used and used == {each.name for each in signing}:
        keys = [Keyring.from_files(each.keys, each.fingerprints).armored().decode() for each in signing]
        texts[PACKAGE_KEYS] = "".join(dict.fromkeys(keys))
    return tuple(sorted(texts.items()))


def _refuse(mirror: Mirror, path: str, limit: int) -> bytes:  # noqa: ARG001 -- the form of `Fetcher.get`
    """Stand in for the fetcher, and for loading the libraries it needs, in a run that stays offline."""
    raise UnreachableError(f"--offline forbids fetching: {path}", "run the same command without --offline")


def _resolve_what_is_there(
    session: Session, job: Job, loaded: catalog.Catalog, question: tuple[basing.Universes, Sequence[Sequence[str]]]
) -> tuple[Resolution, tuple[str, ...]]:
    """Resolve; where an upstream may lose files, leave out what no mirror has, and resolve again with what is left."""
    settings = session.settings
    known, groups = question
    losing = {each.name for each in job.upstreams if each.skip_if_gone or settings.skip_gone}
    mirrors = mirrors_of(session, job, loaded.served)
    gone: dict[str, str] = {}
    asked: set[str] = set()
    for _ in range(_ROUNDS):
        resolution = basing.resolve_from_all(
            known,
            lambda universe: resolve.resolve(
                universe, groups, skip_missing=settings.skip_missing, keep=job.options.keep
            ),
        )
        doubtful = [
            package_request(choice.package, mirrors[choice.package.upstream])
            for choice in resolution.choices
            if choice.package.upstream in losing
            and choice.package.sha256 not in asked
            and not session.store.has(choice.package.sha256, choice.package.size)
        ]
        absent = [] if settings.offline else session.gone(doubtful)
        asked |= {each.sha256 or "" for each in doubtful}
        if not absent:
            return resolution, tuple(sorted(gone.values()))
        gone |= {each.sha256 or "": each.what for each in absent}
        for _, universe in known:
            universe.exclude(gone.keys())
    raise UnreachableError(
        f"upstream loses files faster than they can be left out: {len(gone)} are gone after {_ROUNDS} rounds",
        "try another mirror",
    )


def _url_packages(session: Session, job: Job) -> tuple[list[Loaded], list[Package], tuple[Asset, ...]]:
    """Fetch what the manifest names by URL; packages become upstreams of their own, the rest assets."""
    form = FORMATS[job.target.family]
    extra: list[Loaded] = []
    packages: list[Package] = []
    assets: list[Asset] = []
    known = {each: replace(each, sha256=each.sha256 or session.pinned.get(each.url)) for each in job.url_packages}
    requests = {each: url_request(known[each]) for each in job.url_packages}
    if not requests:
        return extra, packages, ()
    if session.settings.offline:
        _require_stored(session, job)
    fetched = session.fetcher.fetch(list(requests.values()), session.store, session.progress)
    for each, request in requests.items():
        pin = fetched.pins.get(request)
        digest = pin.sha256 if pin is not None else each.sha256 or ""
        session.pinned[each.url] = digest
        path = session.store.path(digest)
        if not each.name.endswith(form.suffix):
            assets.append(Asset(name=each.name, url=each.url, size=path.stat().st_size, sha256=digest))
            continue
        package = form.read_package(path, upstream=URL + each.name, url_path=url_path(each))
        packages.append(package)
        upstream = Upstream(name=package.upstream, module="", mirrors=(url_mirror(each),), verify=each.verify)
        extra.append(_loaded(session, job, package, upstream))
    return extra, packages, tuple(sorted(assets, key=lambda asset: asset.name))


def _at_its_url(choice: Choice, packages: Sequence[Package]) -> Choice:
    """Return a choice; one that the manifest names by URL lies exactly there, whatever signs the URL has."""
    for each in packages:
        if each.upstream == choice.package.upstream:
            return replace(choice, package=replace(choice.package, path=each.path))
    return choice


def _added_package(session: Session, job: Job, added: AddedFile) -> Package:
    path = session.store.path(added.sha256)
    return FORMATS[job.target.family].read_package(path, upstream=ADDED + added.name, url_path=quote(added.name))


def _loaded(session: Session, job: Job, package: Package, upstream: Upstream) -> Loaded:
    """Return an upstream of one package, which wins over all others and which no module hides."""
    form = FORMATS[job.target.family]
    text = form.index_text([package], session.store.path)
    digest = session.store.put(text)
    variant = Variant(path="", compression="", size=len(text), digest=digest)
    index = IndexFile(variants=(variant,), size=len(text), sha256=digest, kind=form.index_kind)
    root = Root(origin="", suite="", date=0, valid_until=None, aliases=("url",), pin=_URL_PIN, indexes=(index,))
    return Loaded(replace(upstream, priority=0, module_hotfixes=True), root, (session.store.path(digest),))


def _require_stored(session: Session, job: Job) -> None:
    for each in job.url_packages:
        if each.sha256 is None or not session.store.has(each.sha256):
            raise UsageError(
                f"not in the store, and --offline forbids fetching it: {each.name}", "run without --offline"
            )
