"""base capture, base show."""

from collections.abc import Sequence

import click

from repobuild.cli.console import out, out_json
from repobuild.cli.options import common
from repobuild.cli.run import Run
from repobuild.formats import FORMATS


@click.group()
def base() -> None:
    """What machines have before they install from a repository."""


@base.command("capture")
@click.argument("family", metavar="[FAMILY]", required=False, type=click.Choice(sorted(FORMATS)))
@common
def base_capture(run: Run, family: str | None) -> None:
    """Print what to run on a machine to list its packages; the list is named in the manifest's `bases`."""
    chosen = {name: FORMATS[name].capture for name in ([family] if family else sorted(FORMATS))}
    if run.json:
        out_json(chosen)
        return
    for name, command in chosen.items():
        out(command if family else f"{name}: {command}")


@base.command("show")
@click.argument("targets", nargs=-1, metavar="[TARGET]...")
@common
def base_show(run: Run, targets: Sequence[str]) -> None:
    """Show the bases that the manifest names for TARGETs."""
    shown = {target.name: run.manifest_of(target).bases_of(target) for target in run.targets(targets)}
    if run.json:
        out_json(
            {
                target: {
                    "bases": [{"name": each.name, "packages": len(each.packages)} for each in bases.to_prove],
                    "subtract": bases.subtracted,
                }
                for target, bases in shown.items()
            }
        )
        return
    for target, bases in shown.items():
        for each in bases.to_prove:
            count = "nothing is installed" if each.is_empty else f"{len(each.packages)} packages"
            minimal = f"a minimal install{f' of {each.release}' if each.release else ''}, by the upstreams"
            count = minimal if each.is_minimal else count
            out(f"{target}: {each.name}: {count}{', subtracted' if each.name == bases.subtracted else ''}")


COMMANDS = (base,)
