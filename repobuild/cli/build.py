"""sync, plan, lock, show."""

import time
from collections.abc import Sequence

import click

from repobuild import pipeline
from repobuild.cli.console import err, fields, out, out_json, report_error, size, steps, table
from repobuild.cli.options import Run, building, common, publishing
from repobuild.errors import RepobuildError
from repobuild.model import Lock, Target

CHECK_EXIT_CODE = 6
"""Of `sync --check` where there is something to do."""
_SHOWN = 8
"""Missing names shown before "and more"."""


@click.command()
@building
@click.option("--force", is_flag=True, help="Build again although nothing has changed.")
@click.option("--check", is_flag=True, help="Do nothing; exit 6 when there is something to do.")
@publishing
@common
def sync(run: Run, targets: Sequence[str], check: bool) -> int:
    """Make the repositories of TARGETs what the manifest says: resolve, download, verify, publish.

    A repository that is as it should be is left alone: no network, no rewrite. TARGET is like d12.x86_64 or
    bookworm.amd64; `all` means every target of the manifest; none means this machine's own.
    """
    with run.session() as session:
        if check:
            chosen = run.targets(targets)
            pending = [e.name for e in chosen if pipeline.is_pending(session, run.job(session, e), run.lock_path(e))]
            if run.json:
                out_json({"pending": pending})
            return CHECK_EXIT_CODE if pending else 0
        outcomes, failures = sync_targets(run, session, run.targets(targets))
    if run.json:
        done = [_outcome_json(outcome, seconds) for outcome, seconds in outcomes]
        out_json({"targets": done, "failed": failed_json(failures)})
    else:
        _report(session, outcomes)
    return failures[0][1].exit_code if failures else 0


def sync_targets(
    run: Run, session: pipeline.Session, targets: Sequence[Target]
) -> tuple[list[tuple["pipeline.Outcome", float]], list[tuple[str, RepobuildError]]]:
    """Sync one target after the other; return outcomes with their seconds, and failures.

    A failure is reported at once, and does not stop the others.
    """
    outcomes: list[tuple[pipeline.Outcome, float]] = []
    failures: list[tuple[str, RepobuildError]] = []
    for target in targets:
        begun = time.monotonic()
        try:
            outcome = pipeline.sync(session, run.job(session, target), run.lock_path(target))
        except RepobuildError as error:
            failures.append((target.name, error))
            report_error(error, of=f"{target}: " if len(targets) > 1 else "", debug=run.debug)
        else:
            outcomes.append((outcome, time.monotonic() - begun))
    return outcomes, failures


def failed_json(failures: Sequence[tuple[str, RepobuildError]]) -> dict[str, object]:
    """Return failures for machines, by target."""
    return {name: {"error": error.message, "hint": error.hint, "exit": error.exit_code} for name, error in failures}


def _outcome_json(outcome: "pipeline.Outcome", seconds: float) -> dict[str, object]:
    names = ("target", "path", "is_changed", "downloaded", "fetched", "reused", "mirrors", "notes")
    return {
        **fields(outcome, names),
        **_lock_json(outcome.lock),
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
    }


def _payload_size(lock: Lock) -> int:
    return sum(each.package.size for each in lock.choices) + sum(each.size for each in lock.assets)


def _report(session: pipeline.Session, outcomes: Sequence[tuple["pipeline.Outcome", float]]) -> None:
    if not outcomes:
        return
    header = ("target", "packages", "size", "downloaded", "reused", "missing", "seconds", "")
    table(
        header,
        (
            (
                outcome.target,
                len(outcome.lock.choices),
                size(_payload_size(outcome.lock)),
                size(outcome.downloaded),
                outcome.reused,
                len(outcome.lock.missing),
                f"{seconds:.1f}",
                "published" if outcome.is_changed else "unchanged",
            )
            for outcome, seconds in outcomes
        ),
    )
    for outcome, _ in outcomes:
        _report_details(outcome)
    for outcome, _ in outcomes:
        out(f"{outcome.target}: {outcome.path}")
        steps(pipeline.usage(session, outcome.lock))


def _report_details(outcome: "pipeline.Outcome") -> None:
    for mirror, count in outcome.mirrors.items():
        err(f"{outcome.target}: {count} files from {mirror}")
    for note in outcome.notes:
        err(f"{outcome.target}: {note}")
    missing = [each.want for each in outcome.lock.missing]
    if missing:
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        err(f"{outcome.target}: missing: {', '.join(missing[:_SHOWN])}{more}")
    if outcome.lock.gone:
        names = ", ".join(outcome.lock.gone[:_SHOWN])
        err(f"{outcome.target}: {len(outcome.lock.gone)} packages are gone upstream, the next best were taken: {names}")
    if outcome.lock.unverified:
        err(f"{outcome.target}: not verified, as allowed: {', '.join(outcome.lock.unverified)}")


@click.command()
@building
@common
def plan(run: Run, targets: Sequence[str]) -> None:
    """Say what sync would add, drop and download."""
    with run.session() as session:
        plans = [pipeline.plan(session, run.job(session, each), run.lock_path(each)) for each in run.targets(targets)]
    if run.json:
        names = ("target", "path", "added", "removed", "kept", "download", "downloads", "free", "notes")
        out_json([{**fields(each, names), **_lock_json(each.lock)} for each in plans])
        return
    header = ("target", "packages", "size", "add", "drop", "keep", "download", "free")
    table(
        header,
        (
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
        ),
    )
    for each in plans:
        for note in each.notes:
            err(f"{each.target}: {note}")
        if run.verbose:
            for name in each.added:
                out(f"{each.target} + {name}")
            for name in each.removed:
                out(f"{each.target} - {name}")


@click.command()
@building
@common
def lock(run: Run, targets: Sequence[str]) -> None:
    """Resolve the wants of TARGETs and write their locks; with --update, look upstream again."""
    rows = []
    with run.session() as session:
        for target in run.targets(targets):
            path = run.lock_path(target)
            locked = pipeline.lock_job(session, run.job(session, target), path)
            pipeline.write_lock(path, locked.text)
            rows.append((target, path, locked))
    if run.json:
        out_json([{"target": t.name, "path": str(p), "is_new": x.is_new, **_lock_json(x.lock)} for t, p, x in rows])
        return
    for target, path, locked in rows:
        word = "resolved" if locked.is_new else "unchanged"
        out(f"{target}: {len(locked.lock.choices)} packages, {size(_payload_size(locked.lock))}, {word}: {path}")
        for note in locked.notes:
            err(f"{target}: {note}")
        for each in locked.lock.missing:
            err(f"{target}: missing: {each.want}: {each.reason}")


@click.command()
@click.argument("targets", nargs=-1, metavar="[TARGET]...")
@click.option("--region", help="Which mirrors: auto, host, default, china, europe ….")
@common
def show(run: Run, targets: Sequence[str]) -> None:
    """Show what TARGETs see of the manifest: upstreams with their URLs, and the wants, expanded."""
    described = [
        run.manifest.describe(each, region=run.region, host_mirrors=run.host_mirrors) for each in run.targets(targets)
    ]
    if run.json:
        out_json(described[0].to_json() if len(described) == 1 else [each.to_json() for each in described])
        return
    for each in described:
        out(f"{each.target} ({each.region})")
        for upstream in each.upstreams:
            options = " ".join(f"{key}={_word(value)}" for key, value in upstream.options.items())
            out(f"  {upstream.name} [{upstream.module}] {options}")
            for url in upstream.baseurl:
                out(f"    {url}")
        for group in each.groups:
            out(f"  {' '.join(group)}")


def _word(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)


COMMANDS = (sync, plan, lock, show)
