"""install, have: the commands of the far side."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from repobuild import pipeline
from repobuild.cli.console import err, fields, out, out_json, steps
from repobuild.cli.failures import failure_json
from repobuild.cli.options import common, naming, owning
from repobuild.cli.run import Run
from repobuild.cli.ship import paths_of
from repobuild.errors import RepobuildError, UsageError
from repobuild.measures import readable_size as size
from repobuild.signing import spaced
from repobuild.targets import parse_target

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("words", nargs=-1, required=True, metavar="[TARGET]... PART...")
@click.option("--trust", "fingerprints", multiple=True, metavar="FINGERPRINT", help="Believe this key, and no other.")
@click.option("--signer-key", "signer_keys", multiple=True, type=_FILE, help="Believe this public key, and no other.")
@click.option("--allow-unsigned", is_flag=True, help="Install a bundle that nobody signed.")
@naming
@click.option("--allow-older", is_flag=True, help="Install a bundle that is older than what is there.")
@click.option("--dry-run", is_flag=True, help="Verify, and say what would change; write nothing.")
@owning
@common
def install(run: Run, words: Sequence[str], *, name: str, dry_run: bool, **options: Any) -> None:
    """Verify PARTs of bundles, unpack them and publish them under the home; needs no network.

    With TARGETs, a bundle of another target is refused.
    """
    targets, paths = _told_apart(words)
    request = pipeline.InstallRequest(
        **options,
        ask=_ask if sys.stdin.isatty() and sys.stderr.isatty() else None,
        targets=targets,
        names=_names(run, name),
        allow_older=run.allow_older,
        dry_run=dry_run,
        on_behalf_of=os.environ.get("SUDO_USER", ""),
    )
    results = []
    failure: RepobuildError | None = None
    with run.session(signs=False) as session:
        try:
            for done in pipeline.install(session, paths, request):
                results.append(done)
                if not run.json:
                    _show(run, session, done, dry_run=dry_run)
        except RepobuildError as error:
            failure = error
    if run.json and (results or failure is None):  # what was published is told, whatever came of the rest
        out_json([*map(_as_json, results), *([failure_json(failure)] if failure is not None else [])])
    for problem in (failure, *(each.problem for each in results)):
        if problem is not None:
            raise problem


def _names(run: Run, name: str) -> frozenset[str]:
    """Return the only repositories that may be installed: the one that is named, else those of the manifest."""
    if name or run.config is None:
        return frozenset(filter(None, [name]))
    return frozenset({run.general.name, *run.general.cache_repo})


def _told_apart(words: Sequence[str]) -> tuple[frozenset[str], list[Path]]:
    """Return targets and paths: what is no file here and reads as a target is one."""
    targets, paths = set(), []
    for word in words:
        if "/" not in word and not Path(word).exists():
            try:
                targets.add(parse_target(word).name)
            except UsageError:
                paths.append(Path(word).absolute())
        else:
            paths.append(Path(word).absolute())
    if not paths:
        raise UsageError(f"no part of a bundle is named, only targets: {', '.join(sorted(targets))}")
    return frozenset(targets), list(dict.fromkeys(paths))


def _ask(fingerprint: str) -> str:
    err("this bundle is signed by a key that is not believed here yet; its fingerprint is")
    err(f"  {spaced(fingerprint)}")
    err("compare it with the one that `repobuild bundle` printed where the bundle was made")
    return str(click.prompt("if it is the same, type its last 8 characters", default="", show_default=False, err=True))


def _show(run: Run, session: "pipeline.Session", done: "pipeline.Installed", *, dry_run: bool) -> None:
    plan, contents = done.plan, done.contents
    word = "would install" if dry_run else "waits for more parts:" if done.lock is None else "installed"
    counts = ", ".join(
        f"{len(files)} {what}{f' ({size(sum(files.values()))})' if files else ''}"
        for what, files in (
            ("new", plan.added),
            ("changed", plan.changed),
            ("kept", plan.kept),
            ("dropped", plan.removed),
        )
    )
    out(f"{contents.target}: {word} {done.path}: {contents.version} of {contents.sequence}: {counts}")
    out("  not signed by anybody" if done.signer == "unsigned" else f"  signed by {spaced(done.signer)}")
    for line in done.proof.lines() if done.proof is not None else ():
        out(f"  proven where it was made: {line}")
    for missing in done.missing:
        out(f"  still missing: {missing}")
    if dry_run:
        out(f"  needs {size(plan.need)}, {size(plan.free)} are free")
        if run.verbose:
            _show_files(plan)
    if done.receipt:
        out(f"  receipt {done.receipt}")
    if done.lock is not None:
        steps(pipeline.usage(session, done.lock))


def _show_files(plan: "pipeline.InstallPlan") -> None:
    for sign, files in (("+", plan.added), ("*", plan.changed), ("-", plan.removed)):
        for path, count in files.items():
            out(f"  {sign} {path} ({size(count)})")


def _as_json(done: "pipeline.Installed") -> dict[str, object]:
    words = ("target", "name", "version", "sequence", "kind", "lock")
    sizes = {each: sum(getattr(done.plan, each).values()) for each in ("added", "changed", "kept", "removed")}
    return {
        **fields(done.contents, words),
        **fields(done, ("path", "signer", "missing", "receipt")),
        **fields(done.plan, ("added", "changed", "removed", "need", "free", "absent")),
        "kept": len(done.plan.kept),
        "sizes": sizes,
        "installed": done.lock is not None,
        "proof": done.proof.to_json() if done.proof is not None else None,
        "problem": done.problem.message if isinstance(done.problem, RepobuildError) else None,
    }


@click.command()
@click.argument("places", nargs=-1, metavar="[PATH|TARGET]...")
@common
def have(run: Run, places: Sequence[str]) -> None:
    """Print the list of what is in place, from which `repobuild bundle --since` makes a delta."""
    with run.session(signs=False) as session:
        lists = [
            (path, pipeline.have(path).decode())
            for path in (each.absolute() for each in paths_of(run, session, places))
        ]
    if run.json:
        out_json([{"path": str(path), "list": text} for path, text in lists])
        return
    for _, text in lists:
        out(text.removesuffix("\n"))


COMMANDS = (install, have)
