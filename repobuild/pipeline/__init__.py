"""The stages in order: the first room a newcomer reads. It joins the other rooms and has no knowledge of its own.

    manifest ─▶ job ─▶ catalog ─▶ resolution ─▶ lock ─▶ objects ─▶ tree ─▶ repository ─▶ bundle ─▶ install

session   what a run works with: settings, store, fetcher, memory
adding    folders of packages that join a job
sources   what is fetched from where
locking   job -> lock
resolving job -> lock, where a new one is needed
syncing   lock -> repository, and the plan of it
shipping  repository -> bundle -> repository, rollback, check
upkeep    the store's garbage, clients' files, files the operator asks for
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from repobuild.pipeline.locking import Locked, lock_job, read_lock, write_lock
from repobuild.pipeline.session import Session, Settings

if TYPE_CHECKING:
    from repobuild.pipeline.adding import add_files
    from repobuild.pipeline.shipping import Installed, bundle, check, check_bundle, install, rollback
    from repobuild.pipeline.syncing import Outcome, Plan, is_pending, plan, sync, usage
    from repobuild.pipeline.upkeep import Collected, client_files, collect, write_secret, write_text

__all__ = [
    "Collected",
    "Installed",
    "Locked",
    "Outcome",
    "Plan",
    "Session",
    "Settings",
    "add_files",
    "bundle",
    "check",
    "check_bundle",
    "client_files",
    "collect",
    "install",
    "is_pending",
    "lock_job",
    "plan",
    "read_lock",
    "rollback",
    "sync",
    "usage",
    "write_lock",
    "write_secret",
    "write_text",
]

_LATER = {
    "adding": ("add_files",),
    "syncing": ("Outcome", "Plan", "is_pending", "plan", "sync", "usage"),
    "shipping": ("Installed", "bundle", "check", "check_bundle", "install", "rollback"),
    "upkeep": ("Collected", "client_files", "collect", "write_secret", "write_text"),
}


def __getattr__(name: str) -> Any:
    """Load what only some commands need when it is first asked for, so that the others do not wait for it."""
    for part, names in _LATER.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{part}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
