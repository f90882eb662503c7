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
    LOCK = "not as the lock says"
    MARKER = "not a marker"
    SIGNATURE = "not signed as it should be"
    INDEX = "not as the index says"
    UNLISTED = "in no index"
    WANT = "cannot be installed"
    UNPROVEN = "not proven"
    RECEIPT = "not what was proven"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that does not hold."""

    fault: Fault
    path: str
    detail: str = ""

    def __str__(self) -> str:
        path = self.path if self.path.isprintable() else ascii(self.path)
        return f"{self.fault}: {path}{' (' + self.detail + ')' if self.detail else ''}"


def in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Return problems, each once, sorted by what they concern."""
    return tuple(sorted(set(problems), key=lambda problem: (problem.path, problem.fault, problem.detail)))
