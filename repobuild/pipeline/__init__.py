"""The stages in order: the first room a newcomer reads. It joins the other rooms and has no knowledge of its own.

    manifest ─▶ job ─▶ catalog ─▶ resolution ─▶ lock ─▶ objects ─▶ tree ─▶ repository ─▶ bundle ─▶ install

session   what a run works with: settings, store, fetcher, memory
adding    folders of packages that join a job
sources   what is fetched from where
locking   job -> lock
resolving job -> lock, where a new one is needed
making    lock -> tree, and the files beside a repository
syncing   jobs -> repositories
planning  what a sync would do
bundling  repository -> bundle
shipping  rollback
installing parts of bundles -> repository, and what is there
proving   repository, bundle or lock -> receipt
keys      the files of the signing key
homepage  what is published -> the page that people see first
opening   lock, repository or bundle -> what is in it
explaining, telling, reporting  what people ask of locks
upkeep    the store's garbage, clients' files, files the operator asks for
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from repobuild.pipeline.locking import Locked, lock_job, read_lock, write_lock
from repobuild.pipeline.session import Session, Settings

if TYPE_CHECKING:
    from repobuild.install import InstallPlan
    from repobuild.pipeline.adding import add_files
    from repobuild.pipeline.admitting import InstallRequest
    from repobuild.pipeline.bundling import (
        BundleOrder,
        BundleResult,
        Old,
        Packing,
        add_wants,
        bundle,
        parse_volume_size,
        read_old,
        require_others,
    )
    from repobuild.pipeline.explaining import Present, Why, explain
    from repobuild.pipeline.homepage import landing_page
    from repobuild.pipeline.installing import Installed, have, install
    from repobuild.pipeline.keys import (
        begin_rotation,
        check_rotation,
        export_key,
        finish_rotation,
        keep_new,
        not_signed_with,
        write_secret,
    )
    from repobuild.pipeline.making import usage
    from repobuild.pipeline.opening import Opened, is_lock, open_place, open_target
    from repobuild.pipeline.planning import Plan, Sum, plan, sum_of
    from repobuild.pipeline.proving import check, check_bundle, check_lock
    from repobuild.pipeline.reporting import prove, report_page, report_sbom
    from repobuild.pipeline.shipping import rollback
    from repobuild.pipeline.syncing import Outcome, is_pending, sync, sync_all
    from repobuild.pipeline.telling import compare, cost
    from repobuild.pipeline.upkeep import ClientKey, Collected, client_files, client_key, collect, write_text

__all__ = [
    "BundleOrder",
    "BundleResult",
    "ClientKey",
    "Collected",
    "InstallPlan",
    "InstallRequest",
    "Installed",
    "Locked",
    "Old",
    "Opened",
    "Outcome",
    "Packing",
    "Plan",
    "Present",
    "Session",
    "Settings",
    "Sum",
    "Why",
    "add_files",
    "add_wants",
    "begin_rotation",
    "bundle",
    "check",
    "check_bundle",
    "check_lock",
    "check_rotation",
    "client_files",
    "client_key",
    "collect",
    "compare",
    "cost",
    "explain",
    "export_key",
    "finish_rotation",
    "have",
    "install",
    "is_lock",
    "is_pending",
    "keep_new",
    "landing_page",
    "lock_job",
    "not_signed_with",
    "open_place",
    "open_target",
    "parse_volume_size",
    "plan",
    "prove",
    "read_lock",
    "read_old",
    "report_page",
    "report_sbom",
    "require_others",
    "rollback",
    "sum_of",
    "sync",
    "sync_all",
    "usage",
    "write_lock",
    "write_secret",
    "write_text",
]

_LATER = {
    "adding": ("add_files",),
    "keys": (
        "begin_rotation",
        "check_rotation",
        "export_key",
        "finish_rotation",
        "keep_new",
        "not_signed_with",
        "write_secret",
    ),
    "explaining": ("Present", "Why", "explain"),
    "homepage": ("landing_page",),
    "making": ("usage",),
    "planning": ("Plan", "Sum", "plan", "sum_of"),
    "opening": ("Opened", "is_lock", "open_place", "open_target"),
    "telling": ("compare", "cost"),
    "reporting": ("prove", "report_page", "report_sbom"),
    "syncing": ("Outcome", "is_pending", "sync", "sync_all"),
    "admitting": ("InstallRequest",),
    "installing": ("Installed", "have", "install"),
    "bundling": (
        "BundleOrder",
        "BundleResult",
        "Old",
        "Packing",
        "add_wants",
        "bundle",
        "parse_volume_size",
        "read_old",
        "require_others",
    ),
    "proving": ("check", "check_bundle", "check_lock"),
    "shipping": ("rollback",),
    "upkeep": ("ClientKey", "Collected", "client_files", "client_key", "collect", "write_text"),
}


def __getattr__(name: str) -> Any:
    """Load what only some commands need when it is first asked for, so that the others do not wait for it."""
    for part, names in _LATER.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{part}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
