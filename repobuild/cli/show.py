"""show."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from repobuild import pipeline
from repobuild.cli.console import fields, out, out_json, table
from repobuild.cli.failures import Failures
from repobuild.cli.options import common, narrowing
from repobuild.cli.run import Run
from repobuild.measures import readable_size as size

if TYPE_CHECKING:
    from repobuild.costs import Costs


@click.command()
@click.argument("targets", nargs=-1, metavar="[TARGET]...")
@click.option("--region", help="Which mirrors: auto, host, default, china, europe ….")
@click.option("--costs", is_flag=True, help="Show what each want costs, by the lock, instead.")
@narrowing
@common
def show(run: Run, targets: Sequence[str], *, costs: bool) -> int:
    """Show what TARGETs see of the manifest: upstreams with their URLs, and the wants, expanded."""
    if costs:
        _show_costs(run, targets)
        return 0
    chosen = run.targets(targets)
    failures, described = Failures(run, chosen), []
    for target in chosen:
        with failures.of(target):
            described.append(run.description(target))
    if run.json:
        found = failures.among(each.to_json() for each in described)
        out_json(found[0] if len(found) == 1 else found)
        return failures.exit_code()
    for each in described:
        out(f"{each.target} ({each.region})")
        out(f"  nodes read: {' '.join(each.node_modules)}")
        for upstream in each.upstreams:
            options = " ".join(f"{key}={_word(value)}" for key, value in upstream.options.items())
            out(f"  {upstream.name} [{upstream.module}] {options}")
            for url in upstream.baseurl:
                out(f"    {url}")
        for group in each.groups:
            out(f"  {' '.join(group)}")
        if each.installs:
            out("  the playbooks install:")
        for group in each.installs:
            out(f"    {' '.join(group)}")
    return failures.exit_code()


def _show_costs(run: Run, targets: Sequence[str]) -> None:
    """Show what each want costs alone, in addition to those before it, and what dropping it frees."""
    found = {}
    with run.session() as session:
        for target in run.targets(targets):
            opened = pipeline.open_target(session, target, run.general.name, run.lock_path(target))
            found[target.name] = pipeline.cost(session, opened)
    if run.json:
        out_json({name: _costs_json(each) for name, each in found.items()})
        return
    for name, each in found.items():
        out(f"{name}: the base is {each.base.packages} packages, {size(each.base.size)}")
        amounts = [(cost.want, cost.alone, cost.added, cost.freed) for cost in each.wants]
        rows = [
            (want, *(f"{size(amount.size)} in {amount.packages}" for amount in columns)) for want, *columns in amounts
        ]
        table(("want", "alone", "in addition", "frees"), rows)


def _costs_json(costs: "Costs") -> dict[str, object]:
    names = ("packages", "size")
    return {
        "base": fields(costs.base, names),
        "wants": [
            {
                "want": each.want,
                "alone": fields(each.alone, names),
                "added": fields(each.added, names),
                "freed": fields(each.freed, names),
            }
            for each in costs.wants
        ],
    }


def _word(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)


COMMANDS = (show,)
