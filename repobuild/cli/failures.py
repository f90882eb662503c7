"""What goes wrong for single targets, or other things that were asked for, while others go on."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

from repobuild.cli.console import report_error
from repobuild.cli.run import Run
from repobuild.errors import RepobuildError


class Named(Protocol):
    """What an argument stands for: mostly a target."""

    @property
    def name(self) -> str:
        """As messages call it."""


class Failures:
    """What went wrong for which target. Each error is said at once, and does not stop the other targets."""

    def __init__(self, run: Run, targets: Sequence[Named]) -> None:
        self._names = [each.name for each in targets]
        self._debug = run.debug
        self._met: dict[str, RepobuildError] = {}
        self._hints: set[str | None] = set()
        """Given already: what helps several targets is said once."""

    def add(self, names: Sequence[str], error: RepobuildError) -> None:
        """Take note of an error that ends these targets."""
        self._met.update(dict.fromkeys(names, error))
        is_news = error.hint not in self._hints
        self._hints.add(error.hint)
        of = f"{', '.join(names)}: " if len(self._names) > 1 else ""
        report_error(error, of=of, debug=self._debug, with_hint=is_news)

    @contextmanager
    def of(self, target: Named) -> Iterator[None]:
        """Take note of an error in the block, and go on after it."""
        try:
            yield
        except RepobuildError as error:
            self.add((target.name,), error)

    def in_order(self) -> list[tuple[str, RepobuildError]]:
        """Return the failures in the order of the targets."""
        return [(name, self._met[name]) for name in self._names if name in self._met]

    def among(self, results: Iterable[Mapping[str, object]]) -> list[Mapping[str, object]]:
        """Return results for machines, each with its `target`, and the failures among them, in the targets' order."""
        failed = [{"target": name, **failure_json(error)} for name, error in self.in_order()]
        return sorted((*results, *failed), key=lambda each: self._names.index(str(each["target"])))

    def exit_code(self) -> int:
        """Return the exit code of the first failure, 0 when there is none."""
        return next((error.exit_code for _, error in self.in_order()), 0)


def failed_json(failures: Sequence[tuple[str, RepobuildError]]) -> dict[str, object]:
    """Return failures for machines, by target."""
    return {name: failure_json(error) for name, error in failures}


def failure_json(error: RepobuildError) -> dict[str, object]:
    """Return an error for machines."""
    return {"error": error.message, "hint": error.hint, "exit": error.exit_code}
