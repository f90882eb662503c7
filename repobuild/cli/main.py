"""The entry point, and what becomes of an error."""

import gc
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module

import click

from repobuild import __version__
from repobuild.cli.console import err, report_error
from repobuild.errors import RepobuildError, UsageError

_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 110}
_INTERRUPTED = 130


_ROOMS = {
    "build": ("sync", "plan", "lock"),
    "show": ("show",),
    "ship": ("bundle", "rollback", "check"),
    "install": ("install", "have"),
    "bases": ("base",),
    "tell": ("why", "diff", "report"),
    "serve": ("client", "nginx", "dns", "ntp", "serve"),
    "keys": ("key",),
    "house": ("targets", "gc", "help"),
}
"""Modules beside this one, and the commands in them."""


class _Root(click.Group):
    """Loads a room when one of its commands is asked for: a short run need not wait for all of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 -- click's form
        return sorted(name for names in _ROOMS.values() for name in names)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 -- click's form
        room = next((room for room, names in _ROOMS.items() if cmd_name in names), None)
        if room is None:
            return None
        commands: tuple[click.Command, ...] = import_module(f"repobuild.cli.{room}").COMMANDS
        return next(each for each in commands if each.name == cmd_name)


@click.group(cls=_Root, context_settings=_SETTINGS, epilog="Exit codes and files: repobuild help manual")
@click.version_option(__version__, prog_name="repobuild")
def root() -> None:
    """Build local YUM and APT repositories and offline bundles: verified, for any target, from any host."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run repobuild and exit with the code that the manual documents."""
    # What is imported stays, and what a run makes is mostly kept to its end: a collector that walks over it time and
    # again takes a tenth of a short run.
    gc.freeze()
    gc.set_threshold(50_000)
    code = run(arguments)
    # All is closed and said. Taking the interpreter apart would take a tenth of a short run more, and would wait for a
    # thread that hangs in a name lookup.
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(code)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run repobuild and return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    os.umask(0o022)  # what is published is for all to read, from the moment it is there
    try:
        result = root.main(words, prog_name="repobuild", standalone_mode=False)
        sys.stdout.flush()
    except RepobuildError as error:
        report_error(error, debug="--debug" in words)
        return error.exit_code
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        error.show()
        return UsageError.exit_code
    except (KeyboardInterrupt, click.Abort):
        err("interrupted; run the same command again to go on")
        result = _INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output is gone; point stdout away so that the interpreter's last flush finds a reader.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        result = 0
    except Exception as error:  # noqa: BLE001 -- the one place where a bug ends
        _report_bug(error, debug="--debug" in words)
        result = RepobuildError.exit_code
    return result if isinstance(result, int) else 0


def _report_bug(error: Exception, *, debug: bool) -> None:
    if debug:
        err("".join(traceback.format_exception(error)).rstrip())
    err(f"error: a bug in repobuild: {type(error).__name__}: {error}")
    err("hint: run the same command with --debug and report what it prints")
