"""What the command line, the manifest and the environment come to for one run."""

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from repobuild import fetch, host, pipeline
from repobuild.cli.access import reveal_all
from repobuild.cli.console import Voice, err
from repobuild.durable import Folder
from repobuild.errors import RepobuildError, UsageError
from repobuild.manifest import (
    Description,
    Generation,
    Manifest,
    Manifests,
    check_accepted,
    join_accesses,
    load_accesses,
    load_all,
    shipped_folder,
)
from repobuild.model import HostMirror, Job, Target, Verify
from repobuild.pipeline import Session, Settings
from repobuild.signing import AGENT_PREFIX, SigningKey, open_key
from repobuild.targets import TARGETS, parse_target

DEFAULT_HOME = Path("/www")
FALLBACK_HOME = Path("www")
FALLBACK_TARGET = "d12.x86_64"
_KEY_FILE = "signing-key.asc"
_PASSPHRASE_LIMIT = 4096
"""Bytes of a passphrase file."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """What the command line says, and what follows from it and from the environment."""

    config: Path | None
    pigsty: Path | None
    generation: str | None
    profile: str | None
    home: Path | None
    verbose: bool
    debug: bool
    json: bool
    jobs: int = 16
    region: str | None = None
    access: Path | None = None
    lock: Path | None = None
    keys: tuple[str, ...] = ()
    passphrase_file: Path | None = None
    update: bool = False
    force: bool = False
    locked: bool = False
    offline: bool = False
    skip_missing: bool = False
    skip_unavailable: bool = False
    skip_gone: bool = False
    fix_owner: bool = False
    allow_older: bool = False
    allow_unverified: tuple[str, ...] = ()
    add: tuple[Path, ...] = ()
    only_repo_packages: bool = False

    @cached_property
    def voice(self) -> Voice:
        """How the run speaks."""
        return Voice(verbose=self.verbose, is_terminal=sys.stderr.isatty())

    @cached_property
    def manifests(self) -> Manifests:
        """What `--config`, `--pigsty` and their like name; the shipped manifest when they name nothing."""
        generation = Generation(self.generation) if self.generation else None
        return load_all(self.config, self.pigsty, generation, self.profile)

    @cached_property
    def general(self) -> Manifest:
        """What does not depend on a target."""
        return self.manifests.general

    def manifest_of(self, target: Target) -> Manifest:
        """Return the manifest of a target; what is doubtful in it is said once."""
        found = self.manifests.of(target)
        for each in found.doubts(target):
            if each not in self.said:
                self.said.add(each)
                err(f"warning: {each}")
        return found

    @cached_property
    def said(self) -> set[str]:
        """Warnings given already."""
        return set()

    @cached_property
    def host(self) -> Target | None:
        """The build machine's own target."""
        return host.host_target()

    @cached_property
    def web_root(self) -> Path:
        """The home: `--home`, else the manifest's; `./www` when that is not given and cannot be written."""
        if self.home is not None:
            return self.home
        wanted = self.general.home
        if wanted != DEFAULT_HOME or _can_write(wanted):
            return wanted
        err(f"{wanted} cannot be written by this user: using {FALLBACK_HOME.absolute()} (choose with --home)")
        return FALLBACK_HOME.absolute()

    def targets(self, words: Sequence[str]) -> list[Target]:
        """Return the targets named, `all` for those that are promised; none for the host's own, else the fallback."""
        if not words:
            own = self.host
            if own is not None and own in self.manifests.targets:
                return [own]
            return [parse_target(FALLBACK_TARGET)]
        if self.lock is not None and (len(set(words)) > 1 or "all" in words):
            raise UsageError(
                "--lock names one file, and there are several targets", "leave --lock out, or run them one by one"
            )
        named = [each for word in words for each in (self._every() if word == "all" else [parse_target(word)])]
        return list(dict.fromkeys(named))

    def _every(self) -> list[Target]:
        """Return the targets of the manifest that we answer for: the others are built by their names alone."""
        served = self.manifests.targets
        promised = [each for each in served if each in TARGETS]
        if not promised:
            names = ", ".join(each.name for each in served) or "none"
            raise UsageError(
                f"`all` leaves no target here; the manifest serves: {names}", "name the target to build for"
            )
        return promised

    def job(self, session: Session, target: Target) -> Job:
        """Return what a target sees of the manifest, and of the folders added to it."""
        job = self.manifest_of(target).job(
            target,
            region=self.region,
            host_mirrors=self.host_mirrors,
            allow_unverified=frozenset(self.allow_unverified),
            only_repo_packages=self.only_repo_packages,
        )
        for each in job.upstreams:
            if each.name in self.allow_unverified and each.verify is not Verify.NONE:
                self.voice.note(
                    f"{each.name} stays verified where its keys are known: --allow-unverified is for the rest"
                )
        return pipeline.add_files(session, job, self.add) if self.add else job

    def description(self, target: Target) -> Description:
        """Return what a person wants to see of a target before a run."""
        return self.manifest_of(target).describe(
            target,
            region=self.region,
            host_mirrors=self.host_mirrors or None,
            only_repo_packages=self.only_repo_packages,
        )

    @cached_property
    def host_mirrors(self) -> tuple[HostMirror, ...] | None:
        """What this machine's own package managers are configured with; None where the run has no use for it."""
        if self.offline or self.region not in {None, "auto", "host"}:
            return None
        return (*host.apt_mirrors(progress=self.voice), *host.yum_repositories(progress=self.voice))

    def lock_path(self, target: Target) -> Path:
        """Return where a target's lock is: `--lock`, beside the manifest where that folder is ours, else the state."""
        if self.lock is not None:
            return self.lock
        path = self.manifests.path.absolute()
        name = f"{path.stem}.{target.name}.lock"
        is_installed = shipped_folder() == path.parent and not (path.parent.parent / ".git").exists()
        return (_state_folder() if is_installed or not _is_own(path.parent) else path.parent) / name

    @property
    def key_names(self) -> tuple[str, ...]:
        """What `--key` names, else the manifest, else the key that `key new` made; nothing when there is none."""
        made = (str(default_key()),) if default_key().is_file() else ()
        return self.keys or self.general.signing_keys or made

    @cached_property
    def signing_key(self) -> SigningKey | None:
        """The key that signs, or two of them for a period; None when there is none."""
        return self.load_keys(self.key_names)

    def load_keys(self, names: Sequence[str]) -> SigningKey | None:
        """Return what signs with all keys of these names, the older first; None when there is none."""
        passphrase = _passphrase(self.passphrase_file) if names else None
        return SigningKey.join([open_key(each, passphrase) for each in names]) if names else None

    def known_locks(self) -> list[Path]:
        """Return the lock files of this manifest and of installed ones."""
        path = self.manifests.path
        beside = path.absolute().parent.glob(f"{path.stem}.*.lock")
        return sorted({*beside, *_state_folder().glob("*.*.lock")})

    def session(self, targets: Sequence[Target] = (), *, signs: bool = True) -> Session:
        """Return the run's session, in which counts what the manifests of `targets` say of servers.

        One that signs nothing (`signs` is false) does without a key that cannot be opened.

        Raises:
            UsageError: when `--allow-unverified` names what none of them has.
            ManifestError: when they disagree about a server.
        """
        manifests = [each for each in map(self._readable, targets) if each is not None]
        if len(manifests) == len(targets):
            check_accepted(self.allow_unverified, manifests)
        return Session(
            Settings(
                home=self.web_root,
                store=_store_folder(),
                state=_state_folder(),
                host=self.host,
                now=int(time.time()),
                fetching=self._fetch_settings(manifests),
                key=self.signing_key if signs else self._key_at_hand(),
                offline=self.offline,
                update=self.update,
                force=self.force,
                locked=self.locked,
                skip_missing=self.skip_missing,
                allow_older=self.allow_older,
                skip_unavailable=self.skip_unavailable,
                skip_gone=self.skip_gone,
                fix_owner=self.fix_owner,
            ),
            self.voice,
        )

    def _key_at_hand(self) -> SigningKey | None:
        """Return the signing key where it opens without a question: whose it is may be all that is asked of it."""
        if any(name.startswith(AGENT_PREFIX) for name in self.key_names):
            return None
        try:
            return self.signing_key
        except UsageError:
            return None

    def _readable(self, target: Target) -> Manifest | None:
        """Return the manifest of a target; None where something is wrong with it, which is said in its turn."""
        try:
            return self.manifests.of(target)
        except RepobuildError:
            return None

    def _fetch_settings(self, manifests: Sequence[Manifest]) -> fetch.Settings:
        names = {"http": "http_proxy", "https": "https_proxy", "all": "all_proxy"}
        env = {key.lower(): value for key, value in os.environ.items() if key.lower().endswith("_proxy")}
        if self.config is not None or self.pigsty is not None or not env:
            env = {**env, **{key.lower(): value for key, value in self.general.proxy_env.items()}}
        proxies = {scheme: env[name] for scheme, name in names.items() if env.get(name)}
        stated = join_accesses(each.accesses for each in (manifests or [self.general]))
        sources = {**stated, **(load_accesses(self.access) if self.access is not None else {})}
        return fetch.Settings(
            jobs=self.jobs,
            proxies=proxies,
            no_proxy=env.get("no_proxy", ""),
            access=reveal_all(sources, os.environ, self.voice),
        )


def default_key() -> Path:
    """Return where `key new` puts the signing key."""
    return _xdg("XDG_CONFIG_HOME", ".config") / "repobuild" / _KEY_FILE


def _xdg(variable: str, below_home: str) -> Path:
    value = os.environ.get(variable, "")
    return Path(value) if value.startswith("/") else Path.home() / below_home


def _store_folder() -> Path:
    value = os.environ.get("REPOBUILD_STORE", "")
    return Path(value).absolute() if value else _xdg("XDG_CACHE_HOME", ".cache") / "repobuild"


def _state_folder() -> Path:
    return _xdg("XDG_STATE_HOME", ".local/state") / "repobuild"


def _can_write(path: Path) -> bool:
    """Say whether a folder can be written, or made."""
    while not path.exists():
        path = path.parent
    return os.access(path, os.W_OK)


def _is_own(folder: Path) -> bool:
    return os.access(folder, os.W_OK) and folder.stat().st_uid == os.geteuid()


def _passphrase(path: Path | None) -> bytes | None:
    value = os.environ.get("REPOBUILD_PASSPHRASE_FILE", "")
    path = path or (Path(value) if value else None)
    if path is None:
        return None
    with Folder.open(path.absolute().parent) as folder:
        text = folder.read(path.name, _PASSPHRASE_LIMIT)
    if text is None:
        raise UsageError(f"no such passphrase file: {path}")
    return text.rstrip(b"\r\n")
