"""Which mirror an object is asked of next, after how long a pause, and the error when none is left."""

import threading
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from repobuild.errors import (
    DeniedError,
    NotFoundError,
    PinnedFileGoneError,
    RepobuildError,
    UnreachableError,
    VerificationError,
)
from repobuild.fetch.faults import PASSING, Fault, Kind
from repobuild.fetch.values import Location, Request, Settings, shown

_FAULTS_BEFORE_NEXT = 2
"""Passing faults after which another mirror gets its turn."""
_PROVEN_WRONG = frozenset({Kind.GONE, Kind.WRONG, Kind.HOSTILE})


class Hosts:
    """What a run learned about hosts; shared by all its downloads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._silent: set[str] = set()
        self._rangeless: set[str] = set()

    def is_silent(self, location: Location) -> bool:
        """Whether the host did not answer before: it is asked last."""
        return _origin(location) in self._silent

    def mark_silent(self, location: Location) -> bool:
        """Remember that the host does not answer; return whether that is news."""
        with self._lock:
            news = not self.is_silent(location)
            self._silent.add(_origin(location))
            return news

    def is_rangeless(self, location: Location) -> bool:
        """Whether the host answered a Range with the whole file before."""
        return _origin(location) in self._rangeless

    def mark_rangeless(self, location: Location) -> None:
        """Remember that the host does not honour Range."""
        with self._lock:
            self._rangeless.add(_origin(location))


@dataclass(slots=True)
class _Turn:
    location: Location
    faults: int = 0
    requests: int = 0
    last: Fault | None = None
    noted: float = 0.0
    """When the last counted fault happened, monotonic seconds."""


class Rota:
    """The mirrors of one object in turn. Safe to use from the threads that fetch its parts."""

    def __init__(self, request: Request, settings: Settings, hosts: Hosts) -> None:
        self._request = request
        self._settings = settings
        self._hosts = hosts
        self._lock = threading.Lock()
        self._all = [_Turn(location) for location in request.locations]
        self._waiting = list(self._all)
        self._paused = 0.0

    def current(self) -> Location:
        """Return the location to ask now: the first in turn whose host answers, else the first.

        Raises:
            RepobuildError: when no mirror is left; the class says what they had in common.
        """
        with self._lock:
            if not self._waiting:
                raise self._error()
            return min(self._waiting, key=lambda turn: self._hosts.is_silent(turn.location)).location

    def fault(self, location: Location, fault: Fault, begun: float) -> float:
        """Take note of a failed try that began at `begun`; return for how many seconds to pause before the next.

        The parts of one file that were under way together when their mirror failed count as one try.
        """
        with self._lock:
            turn = next(turn for turn in self._all if turn.location is location)
            if turn not in self._waiting:  # another part of the file used up this mirror
                return 0.0
            if begun < turn.noted:
                return self._pause(turn, fault)
            turn.last, turn.noted = fault, time.monotonic()
            turn.faults += 1
            turn.requests += 1 + fault.hops
            pause = self._pause(turn, fault)
            if self._is_used_up(turn, fault, pause):
                self._waiting.remove(turn)
                return 0.0
            if len(self._waiting) > 1 and (fault.kind not in PASSING or turn.faults % _FAULTS_BEFORE_NEXT == 0):
                self._waiting.remove(turn)
                self._waiting.append(turn)
                if self._waiting[0].faults == 0:
                    return 0.0
            self._paused += pause
            return pause

    def _pause(self, turn: _Turn, fault: Fault) -> float:
        settings = self._settings
        backoff = settings.backoff_seconds * 2.0 ** (turn.faults - 1)
        return max(min(backoff, settings.backoff_cap_seconds), fault.pause)

    def _is_used_up(self, turn: _Turn, fault: Fault, pause: float) -> bool:
        settings = self._settings
        tries = settings.tries if fault.kind in PASSING else min(2, settings.tries)
        return (
            turn.faults >= tries
            or turn.requests >= settings.requests
            or fault.pause > settings.retry_after_cap_seconds
            or self._paused + pause > settings.patience_seconds
        )

    def _error(self) -> RepobuildError:
        faults = [(turn.location, turn.last) for turn in self._all if turn.last]
        if not faults:
            return UnreachableError(f"no mirror is known for {self._request.what}")
        causes = "; ".join(f"{_shown(location)}: {fault.cause}" for location, fault in faults)
        return _error_class(self._request, {fault.kind for _, fault in faults})(
            f"cannot fetch {self._request.what}: {causes}", _hint(self._request, faults[-1][1])
        )


_LATER = "run the same command again later, or add another mirror to the manifest"
_GONE = "check the URL and the suite in the manifest"
_GONE_PINNED = "pin what upstream has now: repobuild lock --update; where it lists lost files, with --skip-gone"
_CHANGED = "where its owner has changed the file, take what is there now: repobuild lock --update"
_HINTS = {
    Kind.UNREACHABLE: "check the network, DNS and proxy settings, then run the same command again",
    Kind.REFUSED: "check whether this mirror needs a subscription or another URL, or add another mirror",
    Kind.DENIED: "give credentials for this URL: `access` in the manifest, or --access FILE (repobuild help manifest)",
    Kind.WRONG: "the mirror is stale, tampered with, or behind a login page: use another mirror",
    Kind.HOSTILE: "use the URL that the mirror redirects to, if you trust it, or another mirror",
}


def _hint(request: Request, fault: Fault) -> str:
    if fault.kind is Kind.WRONG and request.is_by_url:
        return _CHANGED
    if fault.kind is Kind.GONE:
        return _GONE_PINNED if request.sha256 else _GONE
    return _HINTS.get(fault.kind, _LATER)


def _error_class(request: Request, kinds: set[Kind]) -> type[RepobuildError]:
    if kinds == {Kind.GONE}:
        return PinnedFileGoneError if request.sha256 else NotFoundError
    if kinds == {Kind.DENIED}:
        return DeniedError
    return VerificationError if kinds <= _PROVEN_WRONG else UnreachableError


def _shown(location: Location) -> str:
    return shown(f"{location.mirror.url}/{location.path}")


def _origin(location: Location) -> str:
    return urlsplit(location.mirror.url).netloc
