"""sync, plan, lock."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence

import click

from repobuild import pipeline
from repobuild.cli.console import err, fields, out, out_json, steps, table
from repobuild.cli.failures import Failures, failed_json
from repobuild.cli.options import building, common, publishing
from repobuild.cli.run import Run
from repobuild.errors import RepobuildError
from repobuild.measures import readable_size as size
from repobuild.model import Lock, Target

CHECK_EXIT_CODE = 6
"""Of `sync --check` where there is something to do."""
_SHOWN = 8
"""Files that are gone, of which so many are named."""


@click.command()
@building
@click.option("--force", is_flag=True, help="Build again although nothing has changed.")
@click.option("--check", is_flag=True, help="Do nothing; exit 6 when there is something to do.")
@publishing
@common
def sync(run: Run, targets: Sequence[str], check: bool) -> int:
    """Make the repositories of TARGETs what the manifest says: resolve, download, verify, publish.

    A repository that is as it should be is left alone: no network, no rewrite. TARGET is like d12.x86_64 or
    bookworm.amd64; `all` means every target that the manifest serves and we answer for; none means this machine's own.
    """
    begun = time.monotonic()
    chosen = run.targets(targets)
    if check:
        return _check(run, chosen)
    with run.session(chosen) as session:
        outcomes, failures = sync_targets(run, session, chosen)
    total = _total(outcomes, time.monotonic() - begun)
    if run.json:
        done = [_outcome_json(outcome) for outcome in outcomes]
        out_json({"targets": done, "failed": failed_json(failures), "total": total})
    else:
        _report(session, outcomes, total)
    return failures[0][1].exit_code if failures else 0


def _check(run: Run, chosen: Sequence[Target]) -> int:
    """Say which targets there is something to do for."""
    failures, pending = Failures(run, chosen), []
    with run.session(chosen) as session:
        for target in chosen:
            with failures.of(target):
                if pipeline.is_pending(session, run.job(session, target), run.lock_path(target)):
                    pending.append(target.name)
    if run.json:
        out_json({"pending": pending, "failed": failed_json(failures.in_order())})
    return failures.exit_code() or (CHECK_EXIT_CODE if pending else 0)


def sync_targets(
    run: Run, session: pipeline.Session, targets: Sequence[Target], *, wants: Sequence[str] = ()
) -> tuple[list["pipeline.Outcome"], list[tuple[str, RepobuildError]]]:
    """Sync targets together, with `wants` beyond the manifest's; return outcomes and failures in their order."""
    failures = Failures(run, targets)
    orders = []
    for target in targets:
        with failures.of(target):
            job = run.job(session, target)
            orders.append((pipeline.add_wants(job, wants) if wants else job, run.lock_path(target)))
    outcomes = pipeline.sync_all(session, orders, failures.add)
    return outcomes, failures.in_order()


def _outcome_json(outcome: "pipeline.Outcome") -> dict[str, object]:
    names = ("target", "path", "is_changed", "downloaded", "fetched", "reused", "mirrors", "notes")
    return {
        **fields(outcome, names),
        **_lock_json(outcome.lock),
        "seconds": round(outcome.seconds, 3),
    }


def _total(outcomes: Sequence["pipeline.Outcome"], seconds: float) -> dict[str, float]:
    """Return what the targets come to together; a package that several of them hold is one."""
    together = pipeline.sum_of([each.lock for each in outcomes])
    return {
        "packages": together.packages,
        "size": together.size,
        "downloaded": sum(each.downloaded for each in outcomes),
        "fetched": sum(each.fetched for each in outcomes),
        "reused": sum(each.reused for each in outcomes),
        "missing": sum(len(each.lock.missing) for each in outcomes),
        "seconds": round(seconds, 3),
    }


def _lock_json(lock: Lock) -> dict[str, object]:
    return {
        "packages": len(lock.choices),
        "size": _payload_size(lock),
        "time": lock.time,
        "missing": [each.want for each in lock.missing],
        "sets": len(lock.sets),
        "unverified": list(lock.unverified),
        "gone": list(lock.gone),
        "foreign": [list(each) for each in lock.foreign],
    }


def _payload_size(lock: Lock) -> int:
    return sum(each.package.size for each in lock.choices) + sum(each.size for each in lock.assets)


def _report(session: pipeline.Session, outcomes: Sequence["pipeline.Outcome"], total: Mapping[str, float]) -> None:
    if not outcomes:
        return
    header = ("target", "packages", "size", "downloaded", "reused", "missing", "seconds", "")
    rows: list[tuple[object, ...]] = [
        (
            outcome.target,
            len(outcome.lock.choices),
            size(_payload_size(outcome.lock)),
            size(outcome.downloaded),
            outcome.reused,
            len(outcome.lock.missing),
            f"{outcome.seconds:.1f}",
            "published" if outcome.is_changed else "unchanged",
        )
        for outcome in outcomes
    ]
    if len(outcomes) > 1:
        sizes = [size(int(total[name])) for name in ("size", "downloaded")]
        rows.append(
            ("total", total["packages"], *sizes, total["reused"], total["missing"], f"{total['seconds']:.1f}", "")
        )
    table(header, rows)
    for outcome in outcomes:
        _report_details(outcome)
    for outcome in outcomes:
        out(f"{outcome.target}: {outcome.path}")
        steps(pipeline.usage(session, outcome.lock))


def _report_details(outcome: "pipeline.Outcome") -> None:
    for mirror, count in outcome.mirrors.items():
        err(f"{outcome.target}: {count} files from {mirror}")
    for note in outcome.notes:
        err(f"{outcome.target}: {note}")
    _report_lacking(outcome.target, outcome.lock)


def _report_lacking(target: str, lock: Lock) -> None:
    """Say what was asked for and is not as asked for."""
    if lock.missing:
        err(f"{target}: missing: {', '.join(each.want for each in lock.missing)}")
    if lock.gone:
        names = ", ".join(lock.gone[:_SHOWN])
        err(f"{target}: {len(lock.gone)} packages are gone upstream, the next best were taken: {names}")
    if lock.unverified:
        err(f"{target}: not verified, as allowed: {', '.join(lock.unverified)}")


@click.command()
@building
@common
def plan(run: Run, targets: Sequence[str]) -> int:
    """Say what sync would add, drop and download, and which upstreams it comes from."""
    chosen = run.targets(targets)
    failures, plans = Failures(run, chosen), []
    with run.session(chosen) as session:
        for target in chosen:
            with failures.of(target):
                plans.append(pipeline.plan(session, run.job(session, target), run.lock_path(target)))
        total = pipeline.sum_of([each.lock for each in plans], session) if len(plans) > 1 else None
    if run.json:
        out_json(failures.among(map(_plan_json, plans)))
        return failures.exit_code()
    if plans:
        _report_plans(plans, total)
    for each in plans:
        for note in each.notes:
            err(f"{each.target}: {note}")
        _report_lacking(each.target, each.lock)
        counts = Counter(choice.package.upstream for choice in each.lock.choices)
        out(f"{each.target}: from {', '.join(f'{name} {counts[name]}' for name in each.modules) or 'nowhere'}")
        if run.verbose:
            _report_files(each)
    return failures.exit_code()


def _plan_json(planned: "pipeline.Plan") -> dict[str, object]:
    names = ("target", "path", "added", "removed", "kept", "download", "downloads", "free", "notes")
    about = ("name", "version", "arch", "filename", "size", "sha256", "upstream")
    counts = Counter(choice.package.upstream for choice in planned.lock.choices)
    return {
        **fields(planned, names),
        **_lock_json(planned.lock),
        "upstreams": {name: {"module": module, "packages": counts[name]} for name, module in planned.modules.items()},
        "resolution": [
            {**fields(each.package, about), "module": planned.modules[each.package.upstream], "why": each.why}
            for each in planned.lock.choices
        ],
    }


def _report_plans(plans: Sequence["pipeline.Plan"], total: "pipeline.Sum | None") -> None:
    header = ("target", "packages", "size", "add", "drop", "keep", "download", "free")
    rows: list[tuple[object, ...]] = [
        (
            each.target,
            len(each.lock.choices),
            size(each.size),
            len(each.added),
            len(each.removed),
            each.kept,
            f"{size(each.download)} in {each.downloads} files",
            size(each.free),
        )
        for each in plans
    ]
    if total is not None:
        sums = [sum(column) for column in zip(*((len(e.added), len(e.removed), e.kept) for e in plans), strict=True)]
        download = f"{size(total.download)} in {total.downloads} files"
        rows.append(("total", total.packages, size(total.size), *sums, download, size(plans[0].free)))
    table(header, rows)


def _report_files(planned: "pipeline.Plan") -> None:
    """Print every file: `+` comes, `=` stays, `-` goes; a package with its upstream and that one's module."""
    added = set(planned.added)
    for each in planned.lock.choices:
        package = each.package
        module = planned.modules[package.upstream]
        sign = "+" if package.filename in added else "="
        out(f"{planned.target} {sign} {package.filename}  {package.upstream}{f' ({module})' if module else ''}")
    for asset in planned.lock.assets:
        out(f"{planned.target} {'+' if asset.name in added else '='} {asset.name}")
    for name in planned.removed:
        out(f"{planned.target} - {name}")


@click.command()
@building
@common
def lock(run: Run, targets: Sequence[str]) -> int:
    """Resolve the wants of TARGETs and write their locks; with --update, look upstream again."""
    chosen = run.targets(targets)
    failures, rows = Failures(run, chosen), []
    with run.session(chosen) as session:
        for target in chosen:
            with failures.of(target):
                path = run.lock_path(target)
                locked = pipeline.lock_job(session, run.job(session, target), path)
                pipeline.write_lock(path, locked.text)
                rows.append((target, path, locked))
    if run.json:
        done = ({"target": t.name, "path": str(p), "is_new": x.is_new, **_lock_json(x.lock)} for t, p, x in rows)
        out_json(failures.among(done))
        return failures.exit_code()
    for target, path, locked in rows:
        word = "resolved" if locked.is_new else "unchanged"
        out(f"{target}: {len(locked.lock.choices)} packages, {size(_payload_size(locked.lock))}, {word}: {path}")
        for note in locked.notes:
            err(f"{target}: {note}")
        for each in locked.lock.missing:
            err(f"{target}: missing: {each.want}: {each.reason}")
    return failures.exit_code()


COMMANDS = (sync, plan, lock)
