"""The options that commands share, and the run they describe."""

import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, wraps
from pathlib import Path
from typing import Any

import click

from repobuild import fetch, host, manifest, pipeline
from repobuild.cli.console import Voice, err
from repobuild.durable import Folder
from repobuild.errors import UsageError
from repobuild.model import Job, Mirror, Target
from repobuild.pipeline import Session, Settings
from repobuild.signing import SigningKey
from repobuild.targets import parse_target

DEFAULT_HOME = Path("/www")
FALLBACK_HOME = Path("www")
FALLBACK_TARGET = "d12.x86_64"
_KEY_FILE = "signing-key.asc"
_PASSPHRASE_LIMIT = 4096
"""Bytes of a passphrase file."""

Command = Callable[..., Any]


@dataclass(frozen=True, kw_only=True)
class Run:
    """What the command line says, and what follows from it and from the environment."""

    config: Path | None
    home: Path | None
    verbose: bool
    debug: bool
    json: bool
    jobs: int = 16
    region: str | None = None
    lock: Path | None = None
    key: Path | None = None
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

    @cached_property
    def voice(self) -> Voice:
        """How the run speaks."""
        return Voice(verbose=self.verbose, is_terminal=sys.stderr.isatty())

    @cached_property
    def manifest(self) -> manifest.Manifest:
        """The manifest: `--config`, else the shipped one."""
        return manifest.load(self.manifest_path)

    @cached_property
    def manifest_path(self) -> Path:
        """Where the manifest is."""
        return self.config or manifest.default_manifest()

    @cached_property
    def host(self) -> Target | None:
        """The build machine's own target."""
        return host.host_target()

    @cached_property
    def web_root(self) -> Path:
        """The home: `--home`, else the manifest's; `./www` when that is not given and cannot be written."""
        if self.home is not None:
            return self.home
        wanted = self.manifest.home
        if wanted != DEFAULT_HOME or _can_write(wanted):
            return wanted
        err(f"{wanted} cannot be written by this user: using {FALLBACK_HOME.absolute()} (choose with --home)")
        return FALLBACK_HOME.absolute()

    def targets(self, words: Sequence[str]) -> list[Target]:
        """Return the targets named, `all` for the manifest's; none for the host's own, else the fallback."""
        if not words:
            own = self.host
            if own is not None and own in self.manifest.targets:
                return [own]
            return [parse_target(FALLBACK_TARGET)]
        if self.lock is not None and (len(set(words)) > 1 or "all" in words):
            raise UsageError(
                "--lock names one file, and there are several targets", "leave --lock out, or run them one by one"
            )
        named = [each for word in words for each in (self.manifest.targets if word == "all" else [parse_target(word)])]
        return list(dict.fromkeys(named))

    def job(self, session: Session, target: Target) -> Job:
        """Return what a target sees of the manifest, and of the folders added to it."""
        job = self.manifest.job(
            target,
            region=self.region,
            host_mirrors=self.host_mirrors,
            allow_unverified=frozenset(self.allow_unverified),
        )
        return pipeline.add_files(session, job, self.add) if self.add else job

    @cached_property
    def host_mirrors(self) -> tuple[Mirror, ...]:
        """What this machine's own package manager is configured with."""
        is_told_apart = any(each.origin is not None for each in self.manifest.upstreams)
        is_asked = self.region == "host" or (self.region in {None, "auto"} and is_told_apart)
        return host.apt_mirrors(progress=self.voice) if is_asked else ()

    def lock_path(self, target: Target) -> Path:
        """Return where a target's lock is: `--lock`, beside the manifest where that folder is ours, else the state."""
        if self.lock is not None:
            return self.lock
        path = self.manifest_path.absolute()
        name = f"{path.stem}.{target.name}.lock"
        is_installed = manifest.shipped_folder() == path.parent and not (path.parent.parent / ".git").exists()
        return (_state_folder() if is_installed or not _is_own(path.parent) else path.parent) / name

    @cached_property
    def signing_key(self) -> SigningKey | None:
        """The key: `--key`, the manifest's, or the one that `key new` made; None when there is none."""
        return self.load_key(self.key or self.manifest.signing_key)

    def load_key(self, path: Path | None) -> SigningKey | None:
        """Return the key in `path`, else the one that `key new` made; None when there is none."""
        if path is None and not default_key().is_file():
            return None
        return SigningKey.load(path or default_key(), _passphrase(self.passphrase_file))

    def known_locks(self) -> list[Path]:
        """Return the lock files of this manifest and of installed ones."""
        beside = self.manifest_path.absolute().parent.glob(f"{self.manifest_path.stem}.*.lock")
        return sorted({*beside, *_state_folder().glob("*.*.lock")})

    def session(self) -> Session:
        """Return the run's session."""
        return Session(
            Settings(
                home=self.web_root,
                store=_store_folder(),
                state=_state_folder(),
                host=self.host,
                now=int(time.time()),
                fetching=self._fetch_settings(),
                key=self.signing_key,
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

    def _fetch_settings(self) -> fetch.Settings:
        names = {"http": "http_proxy", "https": "https_proxy", "all": "all_proxy"}
        env = {key.lower(): value for key, value in os.environ.items() if key.lower().endswith("_proxy")}
        if self.config is not None or not env:
            env = {**env, **{key.lower(): value for key, value in self.manifest.proxy_env.items()}}
        proxies = {scheme: env[name] for scheme, name in names.items() if env.get(name)}
        return fetch.Settings(jobs=self.jobs, proxies=proxies, no_proxy=env.get("no_proxy", ""))


def default_key() -> Path:
    """Return where `key new` puts the signing key."""
    return _xdg("XDG_CONFIG_HOME", ".config") / "repobuild" / _KEY_FILE


def common(function: Command) -> Command:
    """Give a command the options that every command has; it receives a `Run` and its own parameters."""

    @wraps(function)
    def wrapper(**values: Any) -> Any:
        own = {key: value for key, value in values.items() if key not in Run.__dataclass_fields__}
        shared = {key: value for key, value in values.items() if key in Run.__dataclass_fields__}
        return function(Run(**shared), **own)

    options = (
        click.option("-c", "--config", type=_FILE, help="The manifest; the shipped quickstart.yml when not given."),
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
        click.option("-j", "--jobs", type=click.IntRange(1, 256), default=16, show_default=True, help="Connections."),
        click.option("--lock", type=_PATH, help="The lock file; beside the manifest when not given."),
        click.option("--update", is_flag=True, help="Look upstream again, and move the lock."),
        click.option("--locked", is_flag=True, help="Refuse to move the lock."),
        click.option("--offline", is_flag=True, help="Never touch the network."),
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
        click.option("--key", type=_FILE, help="The signing key; the one `key new` made when not given."),
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
