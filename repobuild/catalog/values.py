"""What a catalog is made with, and what it is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from repobuild.catalog.answers import Answers, Get
from repobuild.formats.protocol import Loaded, Universe
from repobuild.model import RootPin, Target
from repobuild.progress import Progress
from repobuild.state import Memory
from repobuild.store import Store


class Limits(Protocol):
    """What the operator says about looking upstream."""

    @property
    def offline(self) -> bool:
        """Use the roots believed last, without network."""

    @property
    def allow_older(self) -> bool:
        """Take an upstream that is older than what was seen before."""

    @property
    def skip_unavailable(self) -> bool:
        """Go on without an upstream that no mirror serves."""

    @property
    def now(self) -> int:
        """Seconds since the epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """All packages of a target's upstreams, verified and open."""

    target: Target
    universe: Universe[Any]
    pins: tuple[RootPin, ...]
    loaded: tuple[Loaded, ...]
    """The upstreams, open."""
    served: Mapping[str, str]
    """Which mirror served each upstream."""
    skipped: tuple[str, ...] = ()
    """Upstreams that could not be had and were skipped."""
    unverified: tuple[str, ...] = ()

    @property
    def newest(self) -> int:
        """The newest Date of the upstreams, seconds since the epoch."""
        return max((pin.date for pin in self.pins), default=0)


@dataclass(frozen=True, slots=True)
class Means:
    """What a catalog is loaded with."""

    get: Get
    store: Store
    memory: Memory
    limits: Limits
    progress: Progress
    answers: Answers = field(default_factory=Answers)
    """Shared by the targets of a run."""
