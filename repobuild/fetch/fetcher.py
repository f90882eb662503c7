"""Fetcher: keeps the lines open over a run, and the watch over them."""

import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from types import TracebackType
from typing import Self

from repobuild.errors import HostileInputError
from repobuild.fetch.crew import Crew
from repobuild.fetch.download import Download, Means, file_chunks
from repobuild.fetch.faults import ASKED_LAST, Fault, Kind
from repobuild.fetch.line import Line
from repobuild.fetch.rota import Hosts, Rota
from repobuild.fetch.values import Arrival, Fetched, Location, Pin, Request, Settings, shown
from repobuild.model import Mirror
from repobuild.progress import Progress, measured
from repobuild.store import Store, require_space

_PROVERS = 4
"""Threads that hash objects whose files changed."""
_PARTS_OF_SHARE = 2
"""A file is divided so that its parts are this fraction of what each line has to carry at least."""
_INSPECTIONS = 10
"""Looks of the watch in the shortest time that it guards."""


class Fetcher:
    """Fetches over connections that stay open until it is closed. A context manager; threads may share it."""

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = settings or Settings()
        self._hosts = Hosts()
        self._lock = threading.Lock()
        self._idle: list[Line] = []
        self._lines: list[Line] = []
        self._closing = threading.Event()
        self._watch: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections and end the watch; safe to repeat."""
        self._closing.set()
        if self._watch is not None:
            self._watch.join()
        with self._lock:
            lines, self._lines, self._idle = self._lines, [], []
        for line in lines:
            line.close()

    def get(self, mirror: Mirror, path: str, limit: int) -> bytes:
        """Return a small file from exactly this mirror.

        Raises:
            NotFoundError: when the mirror answers that it has no such file.
            HostileInputError: when it is larger than `limit` bytes.
            VerificationError: when it redirects where it must not, or sends it encoded.
            UnreachableError: when the mirror does not answer, after the usual tries.
        """
        location = Location(mirror=mirror, path=path)
        request = Request(what=path, locations=(location,), sha256=None, size=None, limit=limit)
        rota = Rota(request, self._settings, self._hosts)
        with self._borrowed() as line:
            while True:
                begun = time.monotonic()
                try:
                    return _get(line, rota.current(), limit)
                except Fault as fault:
                    if fault.kind in ASKED_LAST:
                        self._hosts.mark_silent(location)
                    time.sleep(rota.fault(location, fault, begun))

    def gone(self, requests: Sequence[Request]) -> list[Request]:
        """Return those of the requests that no mirror has and at least one says so; nothing is downloaded."""
        with ThreadPoolExecutor(self._settings.jobs) as pool:
            return [each for each, is_gone in zip(requests, pool.map(self._is_gone, requests), strict=True) if is_gone]

    def _is_gone(self, request: Request) -> bool:
        with self._borrowed() as line:
            says_gone = False
            for location in request.locations:
                fault = _probe(line, location)
                if fault is None:
                    return False
                says_gone = says_gone or fault.kind is Kind.GONE
            return says_gone

    def fetch(self, requests: Sequence[Request], store: Store, progress: Progress) -> Fetched:
        """Bring all requested objects into the store; when this returns they are on disk.

        Raises:
            PinnedFileGoneError: when every mirror answers that it does not have a pinned file.
            VerificationError: when what every mirror has is not what is pinned.
            UnreachableError: when no mirror of a file answers as it should.
            DiskError: when there is not enough space (before the first byte), or writing fails.
            BusyError: when another process holds one of the objects for too long.
        """
        fetched = self.fetch_all((requests,), store, progress)
        for error in fetched.failed.values():
            raise error
        return fetched

    def fetch_all(self, groups: Sequence[Sequence[Request]], store: Store, progress: Progress) -> Fetched:
        """Bring the objects of several groups into the store at once, each object once, wherever any group finds it.

        A group that lacks an object is named in `Fetched.failed`, with an error as of `fetch`; the others go on.

        Raises:
            DiskError: when there is not enough space (before the first byte), or writing fails.
        """
        wanted = _unique([request for group in groups for request in group])
        present = self._present(wanted, store)
        missing = sorted(
            (request for request in wanted if request not in present),
            key=lambda request: (-_weight(request), request.what),
        )
        total = sum(map(_weight, missing))
        crew = Crew(self._settings, self._take, self._give)
        means = Means(
            store=store,
            settings=self._settings,
            progress=progress,
            hosts=self._hosts,
            crew=crew,
            part_bytes=max(self._settings.split_bytes, total // (self._settings.jobs * _PARTS_OF_SHARE)),
        )
        if missing:
            _require_space(store, missing)
            downloads = {_identity(request): Download(request, means) for request in missing}
            identities = [dict.fromkeys(map(_identity, group)) for group in groups]
            with measured(progress, "download", total):
                crew.download([[downloads[each] for each in group if each in downloads] for group in identities])
        store.flush()
        return _summary([request for group in groups for request in group], len(wanted), crew, store)

    def _present(self, wanted: Sequence[Request], store: Store) -> set[Request]:
        pinned = [(request, request.sha256) for request in wanted if request.sha256 is not None]
        with ThreadPoolExecutor(_PROVERS) as pool:
            found = pool.map(lambda each: store.has(each[1], each[0].size), pinned)
            return {request for (request, _), is_present in zip(pinned, found, strict=True) if is_present}

    @contextmanager
    def _borrowed(self) -> Iterator[Line]:
        line = self._take()
        try:
            yield line
        finally:
            self._give(line)

    def _take(self) -> Line:
        with self._lock:
            if self._watch is None:
                self._watch = threading.Thread(target=self._inspect, name="fetch-watch", daemon=True)
                self._watch.start()
            if self._idle:
                return self._idle.pop()
            line = Line(self._settings)
            self._lines.append(line)
            return line

    def _give(self, line: Line) -> None:
        with self._lock:
            if line.guard.is_stopped:
                self._lines.remove(line)
            else:
                self._idle.append(line)
        if line.guard.is_stopped:
            line.close()

    def _inspect(self) -> None:
        settings = self._settings
        interval = min(settings.answer_seconds, settings.slow_seconds, settings.total_seconds) / _INSPECTIONS
        while not self._closing.wait(interval):
            with self._lock:
                lines = list(self._lines)
            now = time.monotonic()
            for line in lines:
                line.guard.inspect(now)


def _get(line: Line, location: Location, limit: int) -> bytes:
    if location.mirror.url.startswith("file:"):
        return _gather(file_chunks(location), location, limit)
    with closing(line.ask(location.url, location.mirror.proxy)) as answer:
        if answer.status != 200:
            raise Fault(Kind.WRONG, "the answer is a part of the file, which was not asked for")
        return _gather(answer.chunks(), location, limit)


def _probe(line: Line, location: Location) -> Fault | None:
    """Ask whether a mirror has a file; None when it has."""
    try:
        if location.mirror.url.startswith("file:"):
            next(file_chunks(location), None)
        else:
            line.ask(location.url, location.mirror.proxy, method="HEAD").close()
    except Fault as fault:
        return fault
    return None


def _gather(chunks: Iterator[bytes], location: Location, limit: int) -> bytes:
    data = bytearray()
    for chunk in chunks:
        data += chunk
        if len(data) > limit:
            raise HostileInputError(f"larger than {limit} bytes: {shown(location.url)}")
    return bytes(data)


def _unique(requests: Sequence[Request]) -> list[Request]:
    """Return the requests; several for one digest are one, which is looked for in all of their places."""
    found: dict[str | Request, list[Request]] = {}
    for request in requests:
        found.setdefault(_identity(request), []).append(request)
    places = ((each[0], dict.fromkeys(place for one in each for place in one.locations)) for each in found.values())
    return [replace(request, locations=tuple(locations)) for request, locations in places]


def _identity(request: Request) -> str | Request:
    """Return what two requests for the same object have in common."""
    return request.sha256 or request


def _weight(request: Request) -> int:
    return request.size or 0


def _require_space(store: Store, missing: Sequence[Request]) -> None:
    partial = sum(store.partial_size(request.sha256) for request in missing if request.sha256)
    require_space(store.root, max(0, sum(map(_weight, missing)) - partial), len(missing))


def _summary(requests: Sequence[Request], objects: int, crew: Crew, store: Store) -> Fetched:
    mirrors = Counter(download.mirror for download in crew.finished)
    found = {download.request: download.incoming.sha256 for download in crew.finished}
    pins = {}
    for request in requests:
        sha256 = request.sha256 or found.get(request, "")
        if (request.sha256 is None or request.size is None) and sha256 and store.has(sha256):
            pins[request] = Pin(sha256, store.path(sha256).stat().st_size)
    return Fetched(
        bytes=crew.bytes,
        downloaded=len(crew.finished),
        reused=objects - len(crew.finished),
        mirrors=dict(sorted(mirrors.items())),
        pins=pins,
        arrivals={each.incoming.sha256: Arrival(each.mirror, each.bytes) for each in crew.finished},
        failed=dict(sorted(crew.failed.items())),
    )
