"""Lock -> report: one HTML page, or an SBOM."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from repobuild import __version__, report
from repobuild.check import Receipt
from repobuild.costs import Amount, Costs
from repobuild.formats.protocol import Objects
from repobuild.formats.values import Detail, PackageUrl
from repobuild.graph import wants_of
from repobuild.model import Choice, Lock, RootPin
from repobuild.pipeline.opening import Opened, details_of, graph_of
from repobuild.pipeline.session import Session
from repobuild.pipeline.telling import costs_in
from repobuild.record import sha256_of


def report_page(
    session: Session, opened: Opened, proof: report.ProofSummary | None = None, modules: Mapping[str, str] | None = None
) -> str:
    """Return the HTML page of a lock.

    Args:
        session: the run.
        opened: the lock.
        proof: what a check said.
        modules: of upstreams, by name, for locks that do not say it; without, an upstream stands for its module.

    Raises:
        UsageError: when what packages say stands in files that are not here.
    """
    return report.page(replace(_spec(opened, details_of(session, opened), modules or {}), proof=proof))


def index_page(made: tuple[Lock, bytes], receipt: Receipt, files: Sequence[str], objects: Objects) -> str:
    """Return the page that a repository shows to browsers: the report, with links to all that is there.

    Args:
        made: the lock and its text.
        receipt: of the proof made before it is published.
        files: paths in the repository beside packages and assets.
        objects: where the packages lie.
    """
    opened = Opened(*made, Path())
    spec = _spec(opened, opened.details(objects), {})
    return report.page(replace(spec, proof=_summary(receipt), files=tuple(files)))


def prove(session: Session, opened: Opened) -> report.ProofSummary:
    """Check what was opened, and return what the receipt says.

    Raises:
        RefusedError, UsageError: as the check does.
    """
    from repobuild.pipeline.proving import check, check_bundle, check_lock  # noqa: PLC0415 -- syncs need none of it

    if opened.path.is_dir():
        return _summary(check(session, opened.path))
    if opened.is_bundle:
        receipts = check_bundle(session, opened.path)
        return _summary(next(each for each in receipts if each.name == opened.lock.name))
    return _summary(check_lock(session, opened.path))


def _summary(receipt: Receipt) -> report.ProofSummary:
    return report.ProofSummary(
        files=receipt.files,
        packages=receipt.packages,
        signer=receipt.signer,
        bases=tuple(
            report.Proven(base=each.base, wants=len(each.wants), sets=each.sets, relies=len(each.relies))
            for each in receipt.proofs
        ),
        problems=tuple(map(str, receipt.problems)),
        notes=receipt.notes,
    )


def report_sbom(session: Session, opened: Opened) -> str:
    """Return the CycloneDX document of a lock.

    Raises:
        UsageError: as `report_page`, and when the libraries for it are not installed.
    """
    packages = {each.filename: each for each in opened.packages}

    def purl_of(item: report.Item) -> PackageUrl:
        return opened.form.package_url(packages[item.filename], opened.target)

    return report.sbom(_spec(opened, details_of(session, opened), {}), purl_of, __version__)


def _spec(opened: Opened, details: Sequence[Detail], modules: Mapping[str, str]) -> report.ReportSpec:
    chosen = opened.lock
    costs = costs_in(opened, graph_of(details))
    known = {pin.name: pin.module or modules.get(pin.name) or pin.name for pin in chosen.upstreams}
    wants = wants_of(chosen, opened.form.want_for)
    module_of = {
        want: known.get(chosen.choices[numbers[0]].package.upstream, "") for want, numbers in wants.items() if numbers
    }
    advisories = opened.form.advisories(dict(chosen.extras), opened.packages)
    return report.ReportSpec(
        name=chosen.name,
        target=chosen.target,
        version=chosen.version,
        time=chosen.time,
        lock=sha256_of(opened.text),
        items=tuple(
            _item(choice, detail, want, module_of.get(want, ""))
            for choice, detail, want in zip(chosen.choices, details, costs.bearers, strict=True)
        ),
        wants=_wanted(chosen, costs, wants, module_of),
        base=_pair(costs.base),
        sources=_sources(chosen, known),
        assets=tuple((each.name, each.size, each.sha256) for each in chosen.assets),
        missing=tuple((each.want, each.reason) for each in chosen.missing),
        unverified=chosen.unverified,
        gone=chosen.gone,
        foreign=chosen.foreign,
        sets=len(chosen.sets),
        advisories=tuple((each.id, f"{each.severity} {each.kind}".strip(), each.title) for each in advisories),
    )


def _item(choice: Choice, detail: Detail, want: str, module: str) -> report.Item:
    package = choice.package
    return report.Item(
        name=package.name,
        version=package.version,
        arch=package.arch,
        size=package.size,
        filename=package.filename,
        sha256=package.sha256,
        upstream=package.upstream,
        module=module,
        want=want,
        why=choice.why,
        licence=detail.licence,
        summary=detail.summary,
        homepage=detail.homepage,
        needs=tuple(need.met_by[0] for need in detail.needs if not need.is_weak),
    )


def _wanted(
    chosen: Lock, costs: Costs, wants: Mapping[str, Sequence[int]], module_of: Mapping[str, str]
) -> tuple[report.Wanted, ...]:
    taken = {
        want: tuple(f"{each.name} {each.version}" for each in (chosen.choices[number].package for number in numbers))
        for want, numbers in wants.items()
    }
    return tuple(
        report.Wanted(
            want=each.want,
            module=module_of.get(each.want, ""),
            taken=taken[each.want],
            alone=_pair(each.alone),
            added=_pair(each.added),
            freed=_pair(each.freed),
        )
        for each in costs.wants
    )


def _sources(chosen: Lock, modules: Mapping[str, str]) -> tuple[report.Source, ...]:
    """Return the upstreams of a lock, and those that stand for a file named by its URL or added."""
    sizes: dict[str, list[int]] = {}
    for choice in chosen.choices:
        sizes.setdefault(choice.package.upstream, []).append(choice.package.size)
    pinned = {pin.name for pin in chosen.upstreams}
    files = [_source(name, each) for name, each in sorted(sizes.items()) if name not in pinned]
    found = [replace(_of_pin(pin, sizes.get(pin.name, [])), module=modules[pin.name]) for pin in chosen.upstreams]
    return (*found, *files)


def _source(name: str, sizes: Sequence[int]) -> report.Source:
    return report.Source(
        name=name,
        module="",
        path="",
        verify="by its digest",
        signer="",
        date=0,
        is_skipped=False,
        packages=len(sizes),
        size=sum(sizes),
    )


def _of_pin(pin: RootPin, sizes: Sequence[int]) -> report.Source:
    return replace(
        _source(pin.name, sizes),
        path=pin.path,
        verify=pin.verify.value,
        signer=pin.signer,
        date=pin.date,
        is_skipped=not pin.sha256,
    )


def _pair(amount: Amount) -> tuple[int, int]:
    return amount.packages, amount.size
