"""targets, gc, help."""

import importlib.resources

import click

from repobuild import pipeline
from repobuild.cli.console import fields, out, out_json, table
from repobuild.cli.options import common
from repobuild.cli.run import Run
from repobuild.measures import readable_size as size
from repobuild.targets import ALL_TARGETS

_MANUALS = {"manual": "repobuild.1.md", "manifest": "repobuild-manifest.5.md"}


@click.command()
@common
def targets(run: Run) -> None:
    """List the targets there are, which of them the manifest serves, and which is this machine's own."""
    served = set(run.manifests.targets)
    rows = [
        (
            each.name,
            each.codename,
            each.package_arch,
            "yes" if each in served else "-",
            "here" if each == run.host else "",
        )
        for each in ALL_TARGETS
    ]
    if run.json:
        names = ("target", "codename", "package_arch")
        out_json(
            [{**dict(zip(names, row, strict=False)), "served": row[3] == "yes", "host": bool(row[4])} for row in rows]
        )
        return
    table(("target", "codename", "arch", "in the manifest", ""), rows)


@click.command()
@click.option("--dry-run", is_flag=True, help="Say what would be removed.")
@common
def gc(run: Run, dry_run: bool) -> None:
    """Remove from the store what no lock and no published repository needs."""
    with run.session() as session:
        freed = pipeline.collect(session, run.known_locks(), dry_run=dry_run)
    if run.json:
        out_json(fields(freed, ("objects", "bytes")))
        return
    out(f"{'would free' if dry_run else 'freed'} {size(freed.bytes)} in {freed.objects} files")


@click.command("help")
@click.argument("topic", type=click.Choice(sorted(_MANUALS)), default="manual")
def manual(topic: str) -> None:
    """Show the manual: `manual` for the command, `manifest` for the document it reads."""
    text = importlib.resources.files("repobuild").joinpath("docs", _MANUALS[topic]).read_text(encoding="utf-8")
    click.echo_via_pager(text)


COMMANDS = (targets, gc, manual)
