"""The options that commands share; a command receives the `Run` that they describe."""

from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import click

from repobuild.cli.run import Run

Command = Callable[..., Any]


def common(function: Command) -> Command:
    """Give a command the options that every command has; it receives a `Run` and its own parameters."""

    @wraps(function)
    def wrapper(**values: Any) -> Any:
        own = {key: value for key, value in values.items() if key not in Run.__dataclass_fields__}
        shared = {key: value for key, value in values.items() if key in Run.__dataclass_fields__}
        return function(Run(**shared), **own)

    options = (
        click.option(
            "-c",
            "--config",
            type=_FILE,
            help="The manifest, or Pigsty's inventory; the shipped quickstart.yml if not given.",
        ),
        click.option("--pigsty", type=_FOLDER, help="Pigsty's folder: read its own files, with -c the inventory."),
        click.option(
            "--generation", type=click.Choice(["v3", "v4"]), help="Of Pigsty's files; by their version when not given."
        ),
        click.option("--profile", help="A profile of the manifest."),
        click.option("--home", type=_PATH, help="The web root; /www when not given."),
        click.option("--json", is_flag=True, help="Print the result for machines."),
        click.option("-v", "--verbose", is_flag=True, help="Say more about what is done."),
        click.option("--debug", is_flag=True, help="Show where an error comes from."),
    )
    return _decorated(wrapper, options)


def building(function: Command) -> Command:
    """Give a command the options of everything that resolves or fetches."""
    options = (
        click.argument("targets", nargs=-1, metavar="[TARGET]..."),
        click.option("--region", help="Which mirrors: auto, host, default, china, europe …; auto when not given."),
        click.option("--access", type=_FILE, help="How servers are reached: credentials, certificates, proxies."),
        click.option("-j", "--jobs", type=click.IntRange(1, 256), default=16, show_default=True, help="Connections."),
        click.option("--lock", type=_PATH, help="The lock file; beside the manifest when not given."),
        click.option("--update", is_flag=True, help="Look upstream again, and move the lock."),
        click.option("--locked", is_flag=True, help="Refuse to move the lock."),
        click.option("--offline", is_flag=True, help="Never touch the network."),
        narrowing,
        click.option("--skip-missing", is_flag=True, help="Go on without names that no upstream has."),
        click.option("--skip-unavailable", is_flag=True, help="Go on without upstreams that cannot be reached."),
        click.option(
            "--skip-gone", is_flag=True, help="Take the next best version of packages that are gone upstream."
        ),
        click.option("--allow-older", is_flag=True, help="Take upstreams that are older than seen before."),
        click.option("--add", multiple=True, type=_FOLDER, help="A folder of packages that join the repository."),
        click.option(
            "--allow-unverified", multiple=True, metavar="NAME", help="Take this upstream or URL without proof."
        ),
    )
    return _decorated(function, options)


def narrowing(function: Command) -> Command:
    """Give a command the option of everything that looks at the wants."""
    text = "Leave out what the playbooks install (node_packages …)."
    return click.option("--only-repo-packages", is_flag=True, help=text)(function)


def naming(function: Command) -> Command:
    """Give a command the option of everything that takes one repository of a bundle with several."""
    text = "Only this repository of a bundle with several."
    return click.option("--name", default="", metavar="NAME", help=text)(function)


def publishing(function: Command) -> Command:
    """Give a command the options of everything that makes and publishes a repository."""
    return owning(signing(function))


def owning(function: Command) -> Command:
    """Give a command the option of everything that publishes."""
    option = click.option("--fix-owner", is_flag=True, help="Take over a web root that another user owns.")
    return _decorated(function, (option,))


def signing(function: Command) -> Command:
    """Give a command the options of everything that signs."""
    options = (
        click.option(
            "--key",
            "keys",
            multiple=True,
            metavar="KEY",
            type=click.Path(dir_okay=False),
            help="The signing key: a file, or gpg:FINGERPRINT; the one `key new` made when not given.",
        ),
        click.option("--passphrase-file", type=_FILE, help="Holds the passphrase of the signing key."),
    )
    return _decorated(function, options)


_FILE = click.Path(path_type=Path, dir_okay=False)
_PATH = click.Path(path_type=Path)
_FOLDER = click.Path(path_type=Path, file_okay=False)


def _decorated(function: Command, options: Sequence[Callable[[Command], Command]]) -> Command:
    for option in reversed(options):
        function = option(function)
    return function
