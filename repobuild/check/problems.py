"""What can be wrong with what is checked."""

import enum
from collections.abc import Iterable
from dataclasses import dataclass


class Fault(enum.StrEnum):
    """What can be wrong with a file."""

    MISSING = "missing"
    CHANGED = "changed"
    FOREIGN = "foreign"
    UNREADABLE = "unreadable"
    HIDDEN = "not readable by others"
    LOCK = "not as the lock says"
    MARKER = "not a marker"
    SIGNATURE = "not signed as it should be"
    INDEX = "not as the index says"
    UNLISTED = "in no index"
    WANT = "cannot be installed"
    UNPROVEN = "not proven"
    RECEIPT = "not what was proven"


def printable(path: str) -> str:
    """Return a path as it may be shown."""
    return path if path.isprintable() else ascii(path)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that does not hold."""

    fault: Fault
    path: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.fault}: {printable(self.path)}{' (' + self.detail + ')' if self.detail else ''}"


_CONSEQUENCES = (Fault.INDEX, Fault.UNLISTED, Fault.WANT)
"""What often follows from other faults, the last of them from all."""


def in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Return problems, each once: causes before their consequences, then by what they concern."""

    def place(problem: Problem) -> tuple[int, str, str, str]:
        is_caused = problem.fault in _CONSEQUENCES
        rank = 1 + _CONSEQUENCES.index(problem.fault) if is_caused else 0
        return rank, problem.path, problem.fault, problem.detail

    return tuple(sorted(set(problems), key=place))
