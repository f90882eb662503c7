"""The stages in order: the first room a newcomer reads. It joins the other rooms and has no knowledge of its own.

    manifest ─▶ job ─▶ catalog ─▶ resolution ─▶ lock ─▶ objects ─▶ tree ─▶ repository ─▶ bundle ─▶ install

session   what a run works with: settings, store, fetcher, memory
locking   job -> lock
syncing   lock -> repository, and the plan of it
shipping  repository -> bundle -> repository, rollback, check
upkeep    the store's garbage, clients' files, files the operator asks for
"""

from repobuild.pipeline.locking import Locked, lock_job, read_lock
from repobuild.pipeline.session import Session, Settings
from repobuild.pipeline.shipping import Installed, bundle, check, install, rollback
from repobuild.pipeline.syncing import Outcome, Plan, plan, sync
from repobuild.pipeline.upkeep import Collected, client_files, collect, write_secret, write_text

__all__ = [
    "Collected",
    "Installed",
    "Locked",
    "Outcome",
    "Plan",
    "Session",
    "Settings",
    "bundle",
    "check",
    "client_files",
    "collect",
    "install",
    "lock_job",
    "plan",
    "read_lock",
    "rollback",
    "sync",
    "write_secret",
    "write_text",
]
