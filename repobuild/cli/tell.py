"""why, diff, report."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from repobuild import pipeline
from repobuild.cli.console import err, fields, out, out_json
from repobuild.cli.options import common, naming
from repobuild.cli.run import Run
from repobuild.errors import ManifestError, ProofError, UnresolvableError, UsageError
from repobuild.measures import readable_size as size
from repobuild.model import Job, Package, Target, Upstream
from repobuild.targets import parse_target

if TYPE_CHECKING:
    from repobuild.diff import Change, Difference
    from repobuild.why import Chain

_PACKAGE = ("name", "version", "arch", "filename", "size", "upstream")
_FILE = ("name", "version", "arch", "filename", "sha256", "size", "upstream")


@click.command()
@click.argument("package", metavar="PACKAGE")
@click.argument("target", required=False, metavar="[TARGET]")
@click.option("--lock", type=click.Path(path_type=Path), help="The lock to look into; the sync's when not given.")
@common
def why(run: Run, package: str, target: str | None) -> int:
    """Say why PACKAGE is in the lock of TARGET: the shortest chain from a want to it; or why it is not.

    PACKAGE is what a want may be, NAME.ARCH, a file name, or what a package provides. Needs no network. Exit 4 when it
    is not there.
    """
    (chosen,) = run.targets((target,) if target else ())
    job, unread = _known(run, chosen)
    with replace(run, offline=True).session() as session:
        opened = pipeline.open_target(session, chosen, run.general.name, run.lock_path(chosen))
        answer = pipeline.explain(session, opened, package, job, unread)
    if run.json:
        out_json(_why_json(answer))
    for each in () if run.json else answer.present:
        _print_present(each, verbose=run.verbose)
    if answer.present:
        return 0
    if not run.json:
        out(f"{package} is not in the lock of {chosen}")
        for reason in answer.absent:
            out(f"  {reason}")
        if answer.near:
            out(f"  near: {', '.join(answer.near)}")
    return UnresolvableError.exit_code


def _known(run: Run, target: Target) -> tuple[Job | None, Sequence[Upstream]]:
    """Return what a target sees of the manifest, and the upstreams that it would see if it read all modules."""
    manifest = run.manifest_of(target)
    try:
        job = manifest.job(target, allow_unverified=frozenset(run.allow_unverified))
    except (ManifestError, UsageError) as error:
        err(f"the manifest says nothing for {target}: {error.message}")
        return None, ()
    every = tuple(dict.fromkeys(entry.module for entry in manifest.upstreams))
    try:
        known = replace(manifest, modules=every).job(target).upstreams
    except (ManifestError, UsageError):
        return job, ()
    read = {each.name for each in job.upstreams}
    return job, [each for each in known if each.name not in read]


def _print_present(present: "pipeline.Present", *, verbose: bool) -> None:
    package = present.choice.package
    provides = f", which provides {present.provides}" if present.provides else ""
    out(f"{package.name} {package.version} {package.arch} of {package.upstream}, {size(package.size)}{provides}")
    for chain in present.chains if verbose else present.chains[:1]:
        for line in _lines(chain):
            out(f"  {line}")
    if not present.chains:
        out(f"  {present.choice.why}")
    if not verbose and len(present.chains) > 1:
        out(f"  and {len(present.chains) - 1} more wants lead to it: -v")


def _lines(chain: "Chain") -> Sequence[str]:
    start = chain.start
    first = f"want {chain.want}" if chain.want else "base"
    said = "" if chain.want == start.name else f": {start.name} {start.version}"
    lines = [f"{first}{said}"]
    for depth, link in enumerate(chain.links, 1):
        met = "" if link.text == link.answer.name else f", met by {link.answer.name} {link.answer.version}"
        lines.append(f"{'  ' * depth}{link.package.name} {link.verb} {link.text}{met}")
    return lines


def _why_json(answer: "pipeline.Why") -> Mapping[str, object]:
    return {
        **fields(answer, ("target", "spec", "absent", "near")),
        "present": [
            {
                **fields(each.choice.package, _PACKAGE),
                "why": each.choice.why,
                "provides": each.provides or None,
                "chains": [_chain_json(chain) for chain in each.chains],
            }
            for each in answer.present
        ],
    }


def _chain_json(chain: "Chain") -> Mapping[str, object]:
    def name(package: Package) -> Mapping[str, object]:
        return fields(package, ("name", "version", "arch"))

    steps = [
        {"package": name(e.package), "relation": e.verb, "text": e.text, "met_by": name(e.answer)} for e in chain.links
    ]
    return {"want": chain.want or None, "start": name(chain.start), "steps": steps}


@click.command()
@click.argument("before", metavar="A")
@click.argument("after", metavar="B")
@click.option("--exit-code", is_flag=True, help="Exit 6 when they differ.")
@naming
@common
def diff(run: Run, before: str, after: str, *, exit_code: bool, name: str) -> None:
    """Say what leads from A to B; each is a lock, a repository's folder, a bundle, or a target's repository."""
    with run.session() as session:
        paths = [_place(run, session, each) for each in (before, after)]
        one, other, found = pipeline.compare(session, paths[0], paths[1], name)
    if run.json:
        sides = [
            {"path": str(p), **fields(e.lock, ("target", "name", "version", "time"))}
            for p, e in zip(paths, (one, other), strict=True)
        ]
        out_json({"a": sides[0], "b": sides[1], **_diff_json(found)})
    else:
        if one.lock.target != other.lock.target:
            err(f"they are for different targets: {one.lock.target} and {other.lock.target}")
        _print_difference(found)
    if exit_code and found.changes:
        raise ProofError(f"{len(found.changes)} packages or files differ", "that is what --exit-code asks")


def _place(run: Run, session: pipeline.Session, word: str) -> Path:
    if "/" in word or Path(word).exists():
        return Path(word)
    return session.repository(parse_target(word).name, run.general.name).path


def _diff_json(found: "Difference") -> Mapping[str, object]:
    names = ("id", "kind", "severity", "title", "filenames")
    return {
        "changes": [
            {
                "sign": each.sign.value,
                "name": each.name,
                "before": fields(each.before, _FILE) if each.before else None,
                "after": fields(each.after, _FILE) if each.after else None,
            }
            for each in found.changes
        ],
        **fields(found, ("same", "size_before", "size_after", "download", "downloads")),
        "advisories": [fields(each, names) for each in found.advisories],
    }


def _print_difference(found: "Difference") -> None:
    counts: dict[str, int] = {}
    for each in found.changes:
        counts[each.sign.value] = counts.get(each.sign.value, 0) + 1
        out(f"{each.sign.value:10}  {_named(each)}")
    for advisory in found.advisories:
        words = " ".join(word for word in (advisory.severity, advisory.kind) if word)
        out(f"advisory    {advisory.id} ({words}): {advisory.title}: {', '.join(advisory.filenames)}")
    said = ", ".join(f"{count} {word}" for word, count in counts.items())
    out(f"{said + ', ' if said else ''}{found.same} the same")
    change = found.size_after - found.size_before
    total = f"{size(found.size_before)} -> {size(found.size_after)} ({'-' if change < 0 else '+'}{size(abs(change))})"
    out(f"{total}; to download: {size(found.download)} in {found.downloads} files")


def _named(change: "Change") -> str:
    one, other = change.before, change.after
    file = other or one
    if file is None:
        return ""
    name = " ".join(word for word in (file.name, file.arch) if word)
    if one is None or other is None:
        return f"{name} {file.version} ({size(file.size)})".replace("  ", " ")
    if one.version == other.version:
        return f"{name} {file.version} {one.sha256[:12]} -> {other.sha256[:12]}"
    arch = f" ({one.arch} -> {other.arch})" if one.arch != other.arch else ""
    return f"{name} {one.version} -> {other.version}{arch} ({size(other.size)})"


@click.command()
@click.argument("place", required=False, metavar="[TARGET|PATH]")
@click.option("--sbom", is_flag=True, help="A CycloneDX SBOM instead, as JSON; takes the extra `sbom`.")
@click.option("--no-proof", is_flag=True, help="Leave out the proof, which takes a few seconds.")
@click.option("-o", "--out", "path", type=click.Path(path_type=Path), help="A file to write instead of stdout.")
@click.option("--lock", type=click.Path(path_type=Path), help="The lock to report on; the sync's when not given.")
@naming
@common
def report(run: Run, place: str | None, path: Path | None, *, sbom: bool, no_proof: bool, name: str) -> None:
    """Write one HTML page that tells what is inside, what it costs, where it comes from and what was proven.

    It needs nothing else to be read: mail it. PATH is a lock, a repository's folder or a bundle.
    """
    is_path = place is not None and ("/" in place or Path(place).exists())
    if is_path and run.lock is not None:
        raise UsageError(f"--lock names the lock of a target, and this is a path: {place}", "name one of the two")
    modules: Mapping[str, str] = {}
    with run.session() as session:
        if is_path:
            opened = pipeline.open_place(session, Path(place or ""), name)
        else:
            (target,) = run.targets((place,) if place else ())
            opened = pipeline.open_target(session, target, run.general.name, run.lock_path(target))
            modules = _modules(run, target)
        if sbom:
            text = pipeline.report_sbom(session, opened)
        else:
            proof = None if no_proof else pipeline.prove(session, opened)
            text = pipeline.report_page(session, opened, proof, modules)
    if path is not None:
        pipeline.write_text(path, text)
    if run.json:
        out_json(
            {"target": opened.lock.target, "path": str(path) if path else None, **({} if path else {"text": text})}
        )
    elif path is None:
        click.echo(text, nl=False)


def _modules(run: Run, target: Target) -> Mapping[str, str]:
    """Return the modules of a target's upstreams, where the manifest serves it."""
    try:
        described = run.manifest_of(target).describe(target)
    except (ManifestError, UsageError):
        return {}
    return {each.name: each.module for each in described.upstreams}


COMMANDS = (why, diff, report)
