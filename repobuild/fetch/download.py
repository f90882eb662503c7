"""One object on its way from a mirror into the store."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from repobuild.durable import disk_errors
from repobuild.errors import HostileInputError, VerificationError
from repobuild.fetch.faults import ASKED_LAST, Fault, Kind, StoppedError
from repobuild.fetch.line import Answer, Line
from repobuild.fetch.rota import Hosts, Rota
from repobuild.fetch.values import Location, Request, Settings, shown
from repobuild.progress import Progress
from repobuild.store import Incoming, Piece, Store

_FILE_READ = 1 << 20
"""Bytes read from a file mirror at a time."""


class Crew(Protocol):
    """The threads that download."""

    def later(self, download: "Download", task: Callable[[Line], None]) -> None:
        """Have a task of `download` done soon; those of larger ones first."""

    def received(self, download: "Download", count: int) -> None:
        """Count bytes that came; raises StoppedError when nobody wants the download any more."""

    def finish(self, download: "Download") -> None:
        """Have the verified object of `download` flushed and accepted."""

    def pause(self, seconds: float) -> None:
        """Wait; raises StoppedError when the run is stopped meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What all downloads of a run share."""

    store: Store
    settings: Settings
    progress: Progress
    hosts: Hosts
    crew: Crew
    part_bytes: int
    """How long the parts are that a file is divided into; one that is not twice as long stays whole."""


class Download:
    """Brings one request into the store, over one line or as parts over several."""

    def __init__(self, request: Request, means: Means) -> None:
        self.request = request
        self.mirror = ""
        """Base URL of the mirror that served it (its last part)."""
        self.bytes = 0
        """Received, repeated ones included."""
        self.deadline = time.monotonic() + means.settings.total_seconds
        """For another process that is writing the same object."""
        self._means = means
        self._rota = Rota(request, means.settings, means.hosts)
        self._lock = threading.Lock()
        self._pending = 0
        self._abandoned = False
        self._may_split = True
        self._answers = 0
        self._incoming: Incoming | None = None

    @property
    def incoming(self) -> Incoming:
        """The open partial file."""
        if self._incoming is None:
            raise StoppedError
        return self._incoming

    def open(self) -> bool:
        """Take the partial file; return False when the store has the object already.

        Raises:
            BusyError: when another process is writing it.
        """
        request, means = self.request, self._means
        self._incoming = means.store.incoming(request.sha256, request.size, request.limit)
        if request.sha256 and means.store.has(request.sha256, request.size):
            self._incoming.discard()
            means.progress.advance(request.size or 0)
            return False
        if self._incoming.received:
            self._answers = 1
            means.progress.advance(self._incoming.received)
        return True

    def close(self) -> None:
        """Let the partial file go."""
        if self._incoming is not None:
            self._incoming.close()

    def run(self, line: Line) -> None:
        """Fetch the object, or its first part and have the others fetched.

        Raises:
            RepobuildError: when no mirror is left, or the disk fails.
            StoppedError: when the run was stopped.
        """
        while True:
            location, begun = self._rota.current(), time.monotonic()
            try:
                self._try(line, location)
            except Fault as fault:
                self._failed(location, fault, begun)
            else:
                return

    def _try(self, line: Line, location: Location) -> None:
        incoming, size = self.incoming, self.request.size
        if size is None and incoming.received:
            self._restart()  # without the size a Content-Range proves nothing
        if location.mirror.url.startswith("file:"):
            self._restart()
            self._take_whole(location, file_chunks(location), "")
        elif size is not None and incoming.received == size:
            self._verify(location, "")
        elif self._is_to_split(location):
            self._try_first_part(line, location)
        else:
            first = (incoming.received, size - 1) if size is not None and incoming.received else None
            with closing(_ask(line, location, first)) as answer:
                self._stream_whole(location, answer, first)

    def _is_to_split(self, location: Location) -> bool:
        if self.incoming.pieces:
            return True
        long_enough = (self.request.size or 0) - self.incoming.received >= 2 * self._means.part_bytes
        return self._may_split and long_enough and not self._means.hosts.is_rangeless(location)

    def _try_first_part(self, line: Line, location: Location) -> None:
        """Ask for a part: the answer tells whether the server honours Range, and is used either way."""
        incoming, size, length = self.incoming, self.request.size or 0, self._means.part_bytes
        if incoming.pieces:
            piece = next(piece for piece in incoming.pieces if piece.left)
            asked = (piece.start + piece.done, piece.end - 1)
        else:
            asked = (incoming.received, min((incoming.received // length + 1) * length, size) - 1)
        begun = time.monotonic()
        with closing(_ask(line, location, asked)) as answer:
            if answer.status == 200:
                self._means.hosts.mark_rangeless(location)
                self._stream_whole(location, answer, asked)
                return
            _check_range(answer, asked, size)
            pieces = incoming.pieces or incoming.split(length)
            piece = next(piece for piece in pieces if piece.left)
            waiting = [other for other in pieces if other.left and other is not piece]
            self._pending, self._abandoned = 1 + len(waiting), False
            for other in waiting:
                self._means.crew.later(self, self._part_task(other))
            try:
                self._stream_part(answer, piece)
            except Fault as fault:
                self._failed(location, fault, begun)
        self._run_part(line, piece)

    def _part_task(self, piece: Piece) -> Callable[[Line], None]:
        return lambda line: self._run_part(line, piece)

    def _run_part(self, line: Line, piece: Piece) -> None:
        """Fetch what is left of a part; whoever ends the last one joins them."""
        size = self.request.size or 0
        while piece.left and not self._abandoned:
            location, begun = self._rota.current(), time.monotonic()
            asked = (piece.start + piece.done, piece.end - 1)
            try:
                with closing(_ask(line, location, asked)) as answer:
                    if answer.status == 200:  # a mirror without Range: what the others bring is of no use
                        self._means.hosts.mark_rangeless(location)
                        self._abandoned = True
                        break
                    _check_range(answer, asked, size)
                    self._stream_part(answer, piece)
            except Fault as fault:
                self._failed(location, fault, begun)
        with self._lock:
            self._pending -= 1
            is_last = self._pending == 0
        if is_last:
            self._join(line)

    def _join(self, line: Line) -> None:
        if not self._abandoned:
            location, begun = self._rota.current(), time.monotonic()
            try:
                self._verify(location, "")
            except Fault as fault:
                self._failed(location, fault, begun)
            else:
                return
        self._may_split = False
        self._restart()
        self.run(line)

    def _stream_part(self, answer: Answer, piece: Piece) -> None:
        with self._lock:
            self._answers += 1
        for chunk in answer.chunks():
            kept = chunk[: piece.left]
            self.incoming.write_piece(piece, kept)
            self._count(len(kept))
            if not piece.left or self._abandoned:
                return
        raise Fault(Kind.BROKEN, f"a part ended {piece.left} bytes early")

    def _stream_whole(self, location: Location, answer: Answer, asked: tuple[int, int] | None) -> None:
        """Append an answer to what is here, or start over with it when it is the whole file."""
        size = self.request.size
        if answer.status == 200:
            self._restart()
        elif asked is None:
            raise Fault(Kind.WRONG, "the answer is a part of the file, which was not asked for")
        else:
            try:
                _check_range(answer, asked, size or 0)
            except Fault:
                self._restart()  # so that the next try does without Range
                raise
        expected = None if size is None else size - self.incoming.received
        if None not in {expected, answer.length} and answer.length != expected:
            raise Fault(Kind.WRONG, f"the server offers {answer.length} bytes instead of {expected}{_came(answer)}")
        if expected is None and (answer.length or 0) > self.request.limit:
            raise Fault(Kind.WRONG, f"the server offers {answer.length} bytes, the limit is {self.request.limit}")
        self._take_whole(location, answer.chunks(), _came(answer))

    def _take_whole(self, location: Location, chunks: Iterator[bytes], came: str) -> None:
        incoming, size = self.incoming, self.request.size
        self._answers += 1
        if size != 0:
            for chunk in chunks:
                if size is None and len(chunk) > incoming.missing:
                    raise Fault(Kind.WRONG, f"more than {self.request.limit} bytes came{came}")
                kept = chunk[: incoming.missing]
                incoming.write(kept)
                self._count(len(kept))
                if incoming.received == size:
                    break
        if size is not None and incoming.received < size:
            raise Fault(Kind.BROKEN, f"the answer ended after {incoming.received} of {size} bytes{came}")
        self._verify(location, came)

    def _verify(self, location: Location, came: str) -> None:
        """Prove the whole object; bytes of several answers that do not hold condemn none of them."""
        had = self.incoming.received
        try:
            self.incoming.verify()
        except VerificationError as error:
            self._means.progress.advance(-had)
            kind = Kind.BROKEN if self._answers > 1 else Kind.WRONG
            self._answers = 0
            raise Fault(kind, f"{error.message}{came}") from error
        self.mirror = location.mirror.url
        self._means.crew.finish(self)

    def _count(self, count: int) -> None:
        self._means.progress.advance(count)
        self._means.crew.received(self, count)

    def _restart(self) -> None:
        self._means.progress.advance(-self.incoming.restart())
        self._answers = 0

    def _failed(self, location: Location, fault: Fault, begun: float) -> None:
        """Say what failed, and wait until the next try is due."""
        means, mirror = self._means, shown(location.mirror.url)
        means.progress.debug(f"{self.request.what}: {mirror}: {fault.cause}")
        if fault.kind in ASKED_LAST and means.hosts.mark_silent(location):
            means.progress.note(f"{mirror} is asked last from now on: {fault.cause}")
        means.crew.pause(self._rota.fault(location, fault, begun))


def _ask(line: Line, location: Location, asked: tuple[int, int] | None) -> Answer:
    try:
        url = location.url
    except HostileInputError as error:
        raise Fault(Kind.HOSTILE, error.message) from error
    return line.ask(url, location.mirror.proxy, asked)


def _check_range(answer: Answer, asked: tuple[int, int], size: int) -> None:
    """Prove that a 206 is exactly what was asked for (RFC 9110, 14.4)."""
    first, last = asked
    if answer.ranged.strip().lower() not in {f"bytes {first}-{last}/{size}", f"bytes {first}-{last}/*"}:
        raise Fault(Kind.BROKEN, f"asked for bytes {first}-{last}/{size}, the server sends {answer.ranged[:60]!r}")
    if answer.length not in {None, last - first + 1}:
        raise Fault(Kind.BROKEN, f"asked for {last - first + 1} bytes, the server offers {answer.length}")


def _came(answer: Answer) -> str:
    """Say what came where a web page came instead of a file: the mark of a login page."""
    return f" ({answer.kind!r} came: a login or error page?)" if answer.kind.lower() == "text/html" else ""


def file_chunks(location: Location) -> Iterator[bytes]:
    """Yield a file of a `file:` mirror."""
    location.url  # noqa: B018 -- proves the path
    below = unquote(location.path)
    if "\0" in below or ".." in below.split("/"):
        raise Fault(Kind.REFUSED, "not a path below the mirror")
    path = Path(unquote(urlsplit(location.mirror.url).path)) / below.lstrip("/")
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise Fault(Kind.GONE, "there is no such file") from error
    except OSError as error:
        raise Fault(Kind.REFUSED, (error.strerror or "cannot be opened").lower()) from error
    with disk_errors(path), os.fdopen(fd, "rb", buffering=0) as file:
        if not path.is_file():
            raise Fault(Kind.REFUSED, "it is no regular file")
        while chunk := file.read(_FILE_READ):
            yield chunk
