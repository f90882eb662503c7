"""Which upstream a package may come from, where the manifest says so (`origin`)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from repobuild.formats.protocol import Loaded
from repobuild.model import Options


@dataclass(frozen=True, slots=True)
class OriginPins:
    """Names of packages and the only upstream of each; what other upstreams have under these names is not there."""

    by_name: dict[str, str]
    upstreams: frozenset[str]
    """Those that are open."""

    @classmethod
    def none(cls) -> "OriginPins":
        """Return pins that keep nothing away."""
        return cls({}, frozenset())

    @classmethod
    def of(cls, options: Options, loaded: Sequence[Loaded]) -> "OriginPins":
        """Return the pins of a target."""
        return cls(dict(options.origins), frozenset(each.upstream.name for each in loaded))

    def allow(self, name: str, upstream: str) -> bool:
        """Whether an upstream may give a package of this name."""
        return self.by_name.get(name, upstream) == upstream

    def rule(self, name: str) -> str:
        """Say where a pinned package may come from."""
        return f"withheld by origin: {name} comes only from {self.by_name[name]}"

    def reason(self, name: str, elsewhere: Iterable[str] = ()) -> str:
        """Say why nobody has a package, empty when it is not pinned; `elsewhere` are the upstreams with that name."""
        pinned = self.by_name.get(name)
        if pinned is None:
            return ""
        lack = "does not have it" if pinned in self.upstreams else "is none of the upstreams read for this target"
        others = ", ".join(sorted(set(elsewhere) - {pinned}))
        return f"{self.rule(name)}, which {lack}{f'; there is one in {others}' if others else ''}"
