"""The threads that download: the largest file first; of what fails, all that is of no use without it is dropped."""

import heapq
import itertools
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

from repobuild.errors import BusyError, DiskError, RepobuildError
from repobuild.fetch.download import Download
from repobuild.fetch.faults import StoppedError
from repobuild.fetch.line import Line
from repobuild.fetch.values import Settings

_SEALERS = 4
"""Threads that flush finished files, so that no line waits for the disk."""
_UNSEALED = 8
"""Finished files that may wait for them."""
_ELSEWHERE_SECONDS = 0.1
"""Between two looks at an object that another process is writing."""
_FAREWELL_SECONDS = 3.0
"""For the threads to end after a failure; one that hangs in a name lookup is left behind."""

Lines = Callable[[], Line]


class Crew:
    """Downloads what it is given, once."""

    def __init__(self, settings: Settings, take_line: Lines, give_line: Callable[[Line], None]) -> None:
        self.bytes = 0
        self.finished: list[Download] = []
        self.failed: dict[int, RepobuildError] = {}
        """The groups that are not complete, by number, and what each of them met first."""
        self._settings = settings
        self._take_line = take_line
        self._give_line = give_line
        self._change = threading.Condition()
        self._stopping = threading.Event()
        self._groups: tuple[frozenset[Download], ...] = ()
        self._wanted: frozenset[Download] = frozenset()
        self._tasks: list[tuple[int, int, Download, Callable[[Line], None]]] = []
        self._numbers = itertools.count()
        self._unfinished = 0
        self._lines: list[Line] = []
        self._error: BaseException | None = None
        self._sealers = ThreadPoolExecutor(_SEALERS, "seal")
        self._unsealed = threading.Semaphore(_UNSEALED)

    def download(self, groups: Sequence[Collection[Download]]) -> None:
        """Bring all downloads of all groups into the store; a download may be in several.

        A group fails with the first of its downloads, and those that only failed groups have are dropped.

        Raises:
            DiskError: the first that any of them met; the others are stopped.
        """
        self._groups = tuple(map(frozenset, groups))
        downloads = list(dict.fromkeys(each for group in groups for each in group))
        self._wanted = frozenset(downloads)
        for download in downloads:
            self.later(download, self._task(download))
        threads = [
            threading.Thread(target=self._work, name=f"fetch-{number}", daemon=True)
            for number in range(self._settings.jobs)
        ]
        try:
            for thread in threads:
                thread.start()
            with self._change:
                while self._unfinished and not self._stopping.is_set():
                    self._change.wait(1.0)
        except BaseException as error:
            self._fail(error)
            raise
        finally:
            self._part(threads, downloads)
        if self._error is not None:
            raise self._error

    def later(self, download: Download, task: Callable[[Line], None]) -> None:
        """Queue a task of a download, those of larger ones first."""
        self._queue(download.request.size or 0, download, task)

    def received(self, download: Download, count: int) -> None:
        """Count bytes that came.

        Raises:
            StoppedError: when nobody wants the download any more.
        """
        with self._change:
            self.bytes += count
            download.bytes += count
            if download not in self._wanted:
                raise StoppedError

    def finish(self, download: Download) -> None:
        """Have a verified object flushed and accepted beside the downloads."""
        while not self._unsealed.acquire(timeout=1.0):
            self.pause(0)
        with self._change:
            self._unfinished += 1
        self._sealers.submit(self._seal, download)

    def pause(self, seconds: float) -> None:
        """Wait.

        Raises:
            StoppedError: when the run is stopped meanwhile.
        """
        if self._stopping.wait(seconds):
            raise StoppedError

    def _task(self, download: Download) -> Callable[[Line], None]:
        def task(line: Line) -> None:
            try:
                is_wanted = download.open()
            except BusyError:
                if time.monotonic() > download.deadline:
                    raise
                self.pause(_ELSEWHERE_SECONDS)
                self._queue(0, download, task)
                return
            if is_wanted:
                download.run(line)

        return task

    def _queue(self, size: int, download: Download, task: Callable[[Line], None]) -> None:
        with self._change:
            self._unfinished += 1
            heapq.heappush(self._tasks, (-size, next(self._numbers), download, task))
            self._change.notify()

    def _seal(self, download: Download) -> None:
        with self._counted(download):
            self._unsealed.release()
            if not self._stopping.is_set():
                download.incoming.accept()
                self.finished.append(download)

    def _work(self) -> None:
        line = self._take_line()
        try:
            with self._change:
                self._lines.append(line)
            for download, task in self._given():
                with self._counted(download):
                    if download in self._wanted:
                        task(line)
        finally:
            self._give_line(line)

    def _given(self) -> Iterator[tuple[Download, Callable[[Line], None]]]:
        """Yield tasks until none is left and none can come any more."""
        while True:
            with self._change:
                while not self._tasks and self._unfinished and not self._stopping.is_set():
                    self._change.wait()
                if not self._tasks or self._stopping.is_set():
                    return
                _, _, download, task = heapq.heappop(self._tasks)
            yield download, task

    @contextmanager
    def _counted(self, download: Download) -> Iterator[None]:
        """Count a task as done when it ends; an error of it is that of its groups, or of all."""
        try:
            yield
        except StoppedError:
            pass
        except DiskError as error:
            self._fail(error)
        except RepobuildError as error:
            self._drop(download, error)
        except BaseException as error:  # noqa: BLE001 -- handed to the thread that waits, which raises it
            self._fail(error)
        finally:
            with self._change:
                self._unfinished -= 1
                if not self._unfinished:
                    self._change.notify_all()

    def _drop(self, download: Download, error: RepobuildError) -> None:
        """Let the groups of a download that failed be failed; stop when no other is left."""
        with self._change:
            for number, group in enumerate(self._groups):
                if download in group:
                    self.failed.setdefault(number, error)
            alive = (group for number, group in enumerate(self._groups) if number not in self.failed)
            self._wanted = frozenset(each for group in alive for each in group)
            if not self._wanted:
                self._stop()

    def _fail(self, error: BaseException) -> None:
        with self._change:
            self._error = self._error or error
            self._stop()

    def _stop(self) -> None:
        self._stopping.set()
        for line in self._lines:
            line.guard.stop()
        self._change.notify_all()

    def _part(self, threads: Sequence[threading.Thread], downloads: Sequence[Download]) -> None:
        """Wait for the threads; whatever is unfinished keeps its bytes for the next run."""
        end = time.monotonic() + _FAREWELL_SECONDS
        for thread in threads:
            if thread.ident is not None:
                thread.join(max(0.0, end - time.monotonic()) if self._stopping.is_set() else None)
        self._sealers.shutdown()
        if not any(thread.is_alive() for thread in threads):
            with suppress(OSError):
                for download in downloads:
                    download.close()
