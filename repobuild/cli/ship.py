"""bundle, install, rollback, check."""

from collections.abc import Sequence
from pathlib import Path

import click

from repobuild import pipeline
from repobuild.cli.build import failed_json, sync_targets
from repobuild.cli.console import err, fields, out, out_json, size, steps
from repobuild.cli.options import Run, building, common, owning, publishing
from repobuild.errors import ProofError
from repobuild.targets import parse_target


@click.command()
@building
@click.option(
    "-o", "--out", "folder", type=click.Path(path_type=Path, file_okay=False), default=Path(), help="Where to write."
)
@publishing
@common
def bundle(run: Run, targets: Sequence[str], folder: Path) -> int:
    """Sync TARGETs and write each as an offline package, a tarball; with --offline, without touching the network."""
    results = []
    chosen = run.targets(targets)
    with run.session(chosen) as session:
        _, failures = sync_targets(run, session, chosen)
        failed = {name for name, _ in failures}
        for target in chosen:
            if target.name in failed:
                continue
            result = pipeline.bundle(session, target.name, run.general.name, folder)
            results.append((target.name, result))
            if not run.json:
                out(f"{target}: {result.path} ({size(result.size)}, {result.files} files)")
                out(f"  sha256 {result.sha256}")
            if result.is_deleted_by_pigsty:
                err(
                    f"{target}: Pigsty's bootstrap deletes a bundle of 409,600,000 bytes or less; "
                    f"before handing it to bootstrap: truncate -s 410M {result.path}"
                )
    if run.json:
        done = [{"target": name, **fields(each, ("path", "size", "sha256", "files"))} for name, each in results]
        out_json({"bundles": done, "failed": failed_json(failures)})
    return failures[0][1].exit_code if failures else 0


@click.command()
@click.argument(
    "bundles", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False), metavar="BUNDLE..."
)
@click.option("--allow-older", is_flag=True, help="Install a bundle that is older than what is there.")
@click.option("--dry-run", is_flag=True, help="Verify, and say what would change.")
@owning
@common
def install(run: Run, bundles: Sequence[Path], dry_run: bool) -> None:
    """Verify BUNDLEs, unpack them and publish them under the home; needs no network."""
    results = []
    with run.session() as session:
        for path in bundles:
            done = pipeline.install(session, path.absolute(), allow_older=run.allow_older, dry_run=dry_run)
            results.append(done)
            if not done.is_checked:
                err(f"{path}: no .sha256 file beside it; its own contents were checked all the same")
            if not run.json:
                word = "would install" if dry_run else "installed"
                counts = f"{len(done.plan.added)} new, {len(done.plan.changed)} changed, {len(done.plan.kept)} kept"
                out(f"{done.target}: {word} {done.path}: {counts}, {len(done.plan.removed)} dropped")
            if not run.json and not dry_run and done.lock is not None:
                steps(pipeline.usage(session, done.lock))
    if run.json:
        out_json([_installed_json(each) for each in results])


def _installed_json(done: "pipeline.Installed") -> dict[str, object]:
    return {
        **fields(done, ("target", "path", "sha256", "is_checked")),
        **fields(done.plan, ("added", "changed", "removed")),
        "kept": len(done.plan.kept),
    }


@click.command()
@click.argument("targets", nargs=-1, metavar="[TARGET]...")
@click.option("--lock", type=click.Path(path_type=Path), help="The lock file that follows; the sync's when not given.")
@publishing
@common
def rollback(run: Run, targets: Sequence[str]) -> None:
    """Publish the generation before this one again, under a new time, so that every client takes it."""
    results = []
    with run.session() as session:
        for target in run.targets(targets):
            path = run.lock_path(target)
            name = run.general.name
            chosen = pipeline.rollback(session, target.name, name, path if path.is_file() else None)
            results.append({"target": target.name, "time": chosen.time, "packages": len(chosen.choices)})
            if not run.json:
                out(f"{target}: back to the generation before, {len(chosen.choices)} packages")
    if run.json:
        out_json(results)


@click.command()
@click.argument("places", nargs=-1, metavar="[PATH|BUNDLE|TARGET]...")
@common
def check(run: Run, places: Sequence[str]) -> None:
    """Prove repositories and bundles: hash every file against what it has to be. PATH is a repository's folder."""
    with run.session() as session:
        paths = _paths(run, session, places)
        for path in paths:
            if not path.exists():
                raise ProofError(f"there is no such repository or bundle: {path}", "make it: repobuild sync, bundle")
        receipts = [
            pipeline.check(session, path) if path.is_dir() else pipeline.check_bundle(session, path) for path in paths
        ]
    if run.json:
        out_json(
            [
                {**fields(each, ("path", "marker", "files", "size")), "problems": [str(p) for p in each.problems]}
                for each in receipts
            ]
        )
    for each in receipts:
        if each.is_whole and not run.json:
            out(f"{each.path}: {each.files} files, {size(each.size)}: whole")
        elif not run.json:
            for problem in each.problems:
                out(f"{each.path}: {problem}")
    broken = [str(each.path) for each in receipts if not each.is_whole]
    if broken:
        raise ProofError(f"not whole: {', '.join(broken)}", "repobuild sync heals what the lock pins; or install again")


def _paths(run: Run, session: pipeline.Session, places: Sequence[str]) -> list[Path]:
    if not places:
        return [session.repository(each.name, run.general.name).path for each in run.targets(())]
    return [
        Path(place)
        if "/" in place or Path(place).exists()
        else session.repository(parse_target(place).name, run.general.name).path
        for place in places
    ]


COMMANDS = (bundle, install, rollback, check)
