"""bundle, rollback, check."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from repobuild import pipeline
from repobuild.cli.build import sync_targets
from repobuild.cli.console import err, fields, out, out_json
from repobuild.cli.failures import Failures, failed_json, failure_json
from repobuild.cli.options import building, common, publishing
from repobuild.cli.run import Run
from repobuild.errors import ProofError, UsageError
from repobuild.measures import readable_size as size
from repobuild.model import Target
from repobuild.targets import parse_target

if TYPE_CHECKING:
    from repobuild.check import Receipt


def _volume_size(_context: click.Context, _parameter: click.Parameter, value: str | None) -> int | None:
    return None if value is None else pipeline.parse_volume_size(value)


@click.command()
@building
@click.option("-o", "--out", "folder", type=click.Path(path_type=Path, file_okay=False), help="Where to write.")
@click.option("--zstd", "ending", flag_value=".tar.zst", help="Write .tar.zst, a little smaller.")
@click.option("--tar", "ending", flag_value=".tar", help="Write .tar.")
@click.option(
    "--volume-size", metavar="SIZE", callback=_volume_size, help="Cut into volumes: bytes, 700M, 4G, fat32 or dvd."
)
@click.option(
    "--since",
    "olds",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="OLD",
    help="Only what is not in OLD: a lock, a bundle, or a list that `have` wrote; may be given for each repository.",
)
@click.option("--published", is_flag=True, help="Take what is published as it is, without a sync.")
@publishing
@common
def bundle(
    run: Run, targets: Sequence[str], folder: Path | None, olds: Sequence[Path], published: bool, **options: Any
) -> int:
    """Sync TARGETs and write each as an offline package, a tarball; with --offline, without touching the network.

    The further repositories that `cache_repo` names are taken as they are published.
    """
    known = [old for path in olds for old in pipeline.read_old(path)]
    chosen = _only(run, targets, sorted({old.target for old in known})) if known else run.targets(targets)
    ending = options.pop("ending") or pipeline.Packing.GZIP.value
    order = pipeline.BundleOrder(
        packing=pipeline.Packing(ending), olds=tuple(known), **_named(run, chosen, folder), **options
    )
    results = []
    with run.session(chosen) as session:
        lacking, ready = Failures(run, chosen), []
        for target in chosen:
            with lacking.of(target):
                pipeline.require_others(session, target.name, order)
                ready.append(target)
        failures = lacking.in_order()
        if not published and ready:
            wants = [want for old in known if old.name == order.own for want in old.wants]
            failures += sync_targets(run, session, ready, wants=wants)[1]
        _say_what_is_not_brought(known, "" if published else order.own)
        failed = {name for name, _ in failures}
        for target in chosen:
            if target.name in failed:
                continue
            result = pipeline.bundle(session, target.name, order)
            results.append((target.name, result))
            if not run.json:
                _report_bundle(target.name, result)
    if run.json:
        out_json({"bundles": [_bundle_json(*each) for each in results], "failed": failed_json(failures)})
    return failures[0][1].exit_code if failures else 0


def _named(run: Run, targets: Sequence[Target], folder: Path | None) -> dict[str, Any]:
    """Return what is bundled, how it is named and where it goes: as the command line says, else as the manifest."""
    manifest = run.manifest_of(targets[0])
    own = run.general.name
    names = manifest.cache_repo if own in manifest.cache_repo else (own, *manifest.cache_repo)
    below = manifest.cache_pkg_dir if folder is None else ""
    above = Path("/") if below.startswith("/") else run.manifests.path.absolute().parent if below else Path()
    return {
        "own": own,
        "names": tuple(dict.fromkeys(names)),
        "out": folder or above,
        "below": below.strip("/"),
        "pattern": manifest.cache_pkg_name,
    }


def _say_what_is_not_brought(olds: Sequence["pipeline.Old"], synced: str) -> None:
    for old in olds:
        if old.wants and old.name != synced:
            err(f"{old.what}: asks for {len(old.wants)} more wants of {old.name}, which is bundled as it is published")


def _only(run: Run, targets: Sequence[str], known: Sequence[str]) -> list[Target]:
    """Return the one target that a delta is for."""
    chosen = run.targets(targets or known)
    if len(chosen) > 1:
        raise UsageError(
            "--since names what one target has, and there are several targets", "run the targets one by one"
        )
    return chosen


def _report_bundle(target: str, result: "pipeline.BundleResult") -> None:
    for part in result.parts:
        of = f", volume {part.part} of {part.parts}" if part.parts > 1 else ""
        of += f": {', '.join(part.repositories)}" if len(part.repositories) > 1 else ""
        out(f"{target}: {part.path} ({size(part.size)}, {part.files} files{of})")
        out(f"  sha256 {part.sha256}")
        if part.is_deleted_by_pigsty:
            err(
                f"{target}: Pigsty's bootstrap deletes a bundle of 409,600,000 bytes or less; "
                f"before handing it to bootstrap: truncate -s 410M {part.path}; "
                "`repobuild install` takes the lengthened copy too, install.sh wants the original"
            )
    if result.signers:
        for fingerprint in result.signers:
            out(f"  signed by {fingerprint}")
    else:
        out("  not signed: the other side installs it with --allow-unsigned only; make a key: repobuild key new")


def _bundle_json(target: str, result: "pipeline.BundleResult") -> dict[str, object]:
    names = ("path", "size", "sha256", "repositories", "kind", "part", "parts", "files", "is_deleted_by_pigsty")
    return {
        "target": target,
        **fields(result, ("path", "size", "sha256", "files", "sums", "signers")),
        "parts": [fields(part, names) for part in result.parts],
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
@click.argument("places", nargs=-1, metavar="[PATH|BUNDLE|LOCK|TARGET]...")
@click.option(
    "--key",
    "public_key",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The public key that has to have signed it; the one published with it when not given.",
)
@common
def check(run: Run, places: Sequence[str], public_key: Path | None) -> int:
    """Prove repositories, bundles and locks: every byte, what clients will read, and that every want installs."""
    results: dict[str, Sequence[Mapping[str, object]]] = {}
    with run.session() as session:
        chosen = [_Place(name) for name in places or map(str, paths_of(run, session, ()))]
        failures = Failures(run, chosen)
        for place in chosen:
            with failures.of(place):
                [path] = paths_of(run, session, [place.name])
                receipts = _check(session, path, public_key)
                results[place.name] = [{"path": str(path), **each.to_json()} for each in receipts]
                named = [(f"{path}: {each.name}" if len(receipts) > 1 else str(path), each) for each in receipts]
                for name, receipt in () if run.json else named:
                    _report_receipt(name, receipt)
                broken = [(name, receipt) for name, receipt in named if not receipt.is_whole]
                if broken:
                    said = "; ".join(f"{name}: {receipt.problems[0]}" for name, receipt in broken)
                    raise ProofError(f"not proven: {said}", broken[0][1].hint)
    if run.json:
        failed = {name: [{"path": name, **failure_json(error)}] for name, error in failures.in_order()}
        out_json([each for place in chosen for each in {**failed, **results}[place.name]])
    return failures.exit_code()


@dataclass(frozen=True, slots=True)
class _Place:
    """An argument."""

    name: str


def _report_receipt(name: str, receipt: "Receipt") -> None:
    out(f"{name}: {'holds' if receipt.is_whole else 'does not hold'} ({receipt.kind}, {size(receipt.size)})")
    for line in receipt.lines():
        out(f"  {line}")


def _check(session: pipeline.Session, path: Path, key: Path | None) -> Sequence["Receipt"]:
    if not path.exists():
        raise ProofError(f"there is no such repository or bundle: {path}", "make it: repobuild sync, bundle")
    if path.is_dir():
        return (pipeline.check(session, path, key),)
    if path.suffix == ".lock" or (path.is_file() and pipeline.is_lock(path)):
        return (pipeline.check_lock(session, path),)
    return pipeline.check_bundle(session, path, key)


def paths_of(run: Run, session: pipeline.Session, places: Sequence[str]) -> list[Path]:
    """Return the paths that are named: as such, or as targets; none for the host's own target."""
    if not places:
        return [session.repository(each.name, run.general.name).path for each in run.targets(())]
    return [
        Path(place)
        if "/" in place or Path(place).exists()
        else session.repository(parse_target(place).name, run.general.name).path
        for place in places
    ]


COMMANDS = (bundle, rollback, check)
