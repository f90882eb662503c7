"""What a run works with."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from repobuild import fetch
from repobuild.errors import UnreachableError
from repobuild.model import Mirror, Target, Upstream
from repobuild.progress import SILENT, Progress
from repobuild.publish import Repository
from repobuild.signing import SigningKey
from repobuild.state import Memory
from repobuild.store import Store

if TYPE_CHECKING:
    from repobuild.catalog import Answers


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the operator says about a run."""

    home: Path
    store: Path
    state: Path
    host: Target | None
    """The build machine's own target: its repository lies directly below the home."""
    now: int
    """Seconds since the epoch."""
    fetching: fetch.Settings = field(default_factory=fetch.Settings)
    key: SigningKey | None = None
    offline: bool = False
    """Never touch the network."""
    update: bool = False
    """Look upstream again although the lock fits the manifest."""
    force: bool = False
    """Build again although nothing has changed."""
    locked: bool = False
    """Refuse to move the lock."""
    skip_missing: bool = False
    allow_older: bool = False
    skip_unavailable: bool = False
    skip_gone: bool = False
    fix_owner: bool = False
    """Take over what another user owns in the repositories' places."""


class Session:
    """Opens store, fetcher and memory when they are first needed. A context manager."""

    def __init__(self, settings: Settings, progress: Progress = SILENT) -> None:
        self.settings = settings
        self.progress = progress
        self._open = ExitStack()
        self._listed: dict[Upstream, tuple[Mirror, ...]] = {}
        self._gone: dict[fetch.Request, bool] = {}
        self.pinned: dict[str, str] = {}
        """sha256 of what was fetched by a URL alone, by URL: a run takes it for what it was the first time."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    @cached_property
    def store(self) -> Store:
        """The store, held shared for the rest of the run."""
        return self._open.enter_context(Store.open(self.settings.store))

    @cached_property
    def fetcher(self) -> "fetch.Fetcher":
        """The fetcher with its connections."""
        return self._open.enter_context(fetch.Fetcher(self.settings.fetching))

    @cached_property
    def memory(self) -> Memory:
        """What is remembered of upstreams."""
        return Memory(self.settings.state)

    @cached_property
    def answers(self) -> "Answers":
        """What mirrors answered so far."""
        from repobuild.catalog import Answers  # noqa: PLC0415 -- its libraries are for those who resolve

        return Answers()

    def mirrors(self, upstream: Upstream) -> tuple[Mirror, ...]:
        """Return an upstream's mirrors; those that only its lists name once the network may be asked."""
        if not upstream.mirror_lists or self.settings.offline:
            return upstream.mirrors
        if upstream not in self._listed:
            from repobuild import catalog  # noqa: PLC0415 -- few upstreams have lists

            try:
                self._listed[upstream] = catalog.expand(upstream, partial(self.answers.get, self.fetcher.get)).mirrors
            except UnreachableError as error:
                self.progress.note(error.message)
                self._listed[upstream] = upstream.mirrors
        return self._listed[upstream]

    def gone(self, requests: Sequence[fetch.Request]) -> list[fetch.Request]:
        """Return those of the requests that no mirror has and at least one says so; asked once for all targets."""
        new = [each for each in requests if each not in self._gone]
        self._gone |= dict.fromkeys(new, False) | dict.fromkeys(self.fetcher.gone(new), True)
        return [each for each in requests if self._gone[each]]

    def parts(self, target: str, name: str) -> tuple[str, ...]:
        """Return the path of a target's repository below the home (design.md, rulings: places)."""
        host = self.settings.host
        return (name,) if host is not None and host.name == target else (target, name)

    def repository(self, target: str, name: str) -> Repository:
        """Return the place of a target's repository; ours from now on with `fix_owner`."""
        repository = Repository(self.settings.home, self.parts(target, name))
        if self.settings.fix_owner:
            repository.take_over()
        return repository
