"""How a run speaks: lines stay whole, whoever says them."""

import io
import sys
import threading
import time

import pytest

from repobuild.cli.console import Voice


class Slow(io.StringIO):
    """A stream that lets other threads in between two writes, as a terminal does."""

    def write(self, text: str) -> int:
        time.sleep(0.002)
        return super().write(text)


def said_by_threads(lines: list[str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    voice, stream = Voice(verbose=True, is_terminal=False), Slow()
    monkeypatch.setattr(sys, "stderr", stream)
    start = threading.Barrier(len(lines))

    def say(line: str) -> None:
        start.wait()
        voice.note(line)

    threads = [threading.Thread(target=say, args=(line,)) for line in lines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return stream.getvalue().splitlines()


def test_lines_of_several_threads_stay_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [f"mirror {number} does not answer" for number in range(12)]

    assert sorted(lines) == sorted(said_by_threads(lines, monkeypatch))


def test_what_several_threads_come_upon_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ["the same"] == said_by_threads(["the same"] * 12, monkeypatch)
