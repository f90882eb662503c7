"""One line of the benchmark's table, and the usual ways to make one."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table, and whether its target is met."""

    what: str
    ours: str
    peer: str
    ratio: str
    target: str
    is_met: bool


def at_most(what: str, ours: float, limit: float) -> Row:
    return Row(
        what=what,
        ours=_seconds(ours),
        peer="",
        ratio="",
        target=f"at most {limit:g} s",
        is_met=ours <= limit,
    )


def times(what: str, ours: float, peer: tuple[str, float], limit: float) -> Row:
    """A row whose target is at most `limit` times the peer's time."""
    name, seconds = peer
    return Row(
        what=what,
        ours=_seconds(ours),
        peer=f"{name} {_seconds(seconds)}",
        ratio=f"{ours / seconds:.2f} x",
        target=f"at most {limit:g} x",
        is_met=ours <= limit * seconds,
    )


def faster(what: str, ours: float, peer: tuple[str, float], limit: float) -> Row:
    """A row whose target is at least `limit` times faster than the peer."""
    name, seconds = peer
    return Row(
        what=what,
        ours=_seconds(ours),
        peer=f"{name} {_seconds(seconds)}",
        ratio=f"{seconds / ours:.1f} x faster",
        target=f"at least {limit:g} x faster",
        is_met=seconds >= limit * ours,
    )


def _seconds(value: float) -> str:
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"
