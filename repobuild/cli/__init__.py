"""The command line: options in, exit code out. The only room that prints, exits and reads the environment.

main      the entry point, and what becomes of an error
options   the options that commands share, and the run they describe
console   how a run speaks: tables, JSON, progress bars
build     sync, plan, lock
show      show
ship      bundle, rollback, check
install   install, have
tell      why, diff, report
bases     base capture, base show
serve     client, nginx, serve
keys      key new, show, export, rotate
house     targets, gc, help
"""

from repobuild.cli.main import main

__all__ = ["main"]
