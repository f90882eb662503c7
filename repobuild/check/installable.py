"""The proof of installability: from what is there alone, every want by itself and all wants of a set together."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from repobuild.bases import EMPTY_NAME
from repobuild.check.problems import Fault, Problem
from repobuild.errors import RefusedError, UnresolvableError
from repobuild.formats.protocol import GONE, NOBODY_HAS, NOWHERE, Format, IndexFile, Loaded, Offer, Universe
from repobuild.model import Lock, Options, Target, Upstream
from repobuild.scratch import MemoryFile

C = TypeVar("C")
_WORDS = {NOBODY_HAS: "which is not there", NOWHERE: "it is not there", GONE: "its file is not there"}
"""What families say of upstreams, and how that reads of a repository."""
_MAX_REASONS = 4
"""Reasons given for one want."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What has to install."""

    sets: tuple[tuple[str, ...], ...]
    """Install sets of wants."""
    base: tuple[str, ...] = ()
    """Exact packages that the base needs."""
    named: tuple[str, ...] = ()
    """Exact packages that wants stood for; they are proven where a want's own name says nothing here."""
    missing: tuple[str, ...] = ()
    """Wants that no upstream had."""
    options: Options = Options(weak_dependencies=False)  # noqa: RUF009 -- frozen

    @property
    def wants(self) -> tuple[str, ...]:
        """Every want once, in order."""
        return tuple(dict.fromkeys(want for each in self.sets for want in each))


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What was proven from one base."""

    base: str
    wants: tuple[str, ...]
    """Those that install, each alone."""
    sets: int
    """Install sets that install, each as a whole."""
    relies: tuple[str, ...] = ()
    """Packages of the base that the sets need and the repository does not hold."""
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Found(Generic[C]):
    want: str
    candidates: tuple[C, ...]
    is_optional: bool


def demand_of(form: Format, lock: Lock) -> Demand:
    """Return what the wants and the base of a lock demand."""
    return Demand(
        sets=lock.sets,
        base=tuple(form.want_for(each.package) for each in lock.choices if each.why == "base"),
        named=tuple(form.want_for(each.package) for each in lock.choices if each.why in {"want", "older"}),
        missing=tuple(each.want for each in lock.missing),
        options=lock.options,
    )


@contextmanager
def open_offer(
    form: Format, offer: Offer, target: Target, demand: Demand, base: Loaded | None = None
) -> Iterator[Universe[Any]]:
    """Open what a repository offers as the only upstream there is; `base` is what is installed.

    Raises:
        UnresolvableError, HostileInputError: when the indexes cannot be solved with.
    """
    with ExitStack() as files:
        texts = [_path(files, text) for text in offer.texts]
        later = {kind: _path(files, text) for kind, text in offer.later.items()}
        known = tuple(each for each in offer.root.later if each.kind in later)
        # A suite that a want names is not told here any more: whatever is here will do for it.
        suites = (want.partition("/")[2] for want in demand.wants)
        root = replace(offer.root, later=known, aliases=tuple(dict.fromkeys((*offer.root.aliases, *suites))))
        upstream = Upstream(name="the repository", module="", mirrors=())
        kinds = {each.kind for each in root.indexes}
        streams = demand.options.module_streams if "modules" in kinds else ()
        options = Options(weak_dependencies=False, module_streams=streams)
        loaded = Loaded(upstream, root, tuple(texts), _opener(later))
        yield form.universe([loaded], target, _Nothing(), options, base)


def prove(universe: Universe[C], demand: Demand, base: str) -> Proof:
    """Prove that every want installs, and every set as a whole.

    What installs together installs alone too, so wants are asked one by one only where their set fails.
    """
    notes: list[str] = []
    problems = [
        Problem(Fault.WANT, exact, "the base needs it, and it is not there")
        for exact in demand.base
        if not universe.find(exact).candidates
    ]
    if demand.named and not demand.wants:
        problems.append(Problem(Fault.WANT, "the lock", "it holds packages and no wants, so nothing can be proven"))
    found = {want: each for want in demand.wants if (each := _find(universe, want, demand, problems, notes))}
    whole = [wants for wants in demand.sets if not _misfits(universe, [found[each] for each in wants if each in found])]
    proven = {want for wants in whole for want in wants}
    good = {
        want: kept
        for want, each in found.items()
        if (kept := each if want in proven else _alone(universe, each, problems))
    }
    sets = 0
    for number, wants in enumerate(demand.sets, 1):
        members = [good[want] for want in dict.fromkeys(wants) if want in good]
        reasons = "" if wants in whole else _together(universe, members, notes)
        if reasons:
            problems.append(Problem(Fault.WANT, f"install set {number} of {len(demand.sets)} as a whole", reasons))
        sets += not reasons and len(members) == len(set(wants))
    return Proof(
        base=base,
        wants=tuple(good),
        sets=sets,
        relies=_relies(universe, good.values()) if base != EMPTY_NAME else (),
        problems=tuple(problems),
        notes=tuple(notes),
    )


def _relies(universe: Universe[C], wants: Iterable[_Found[C]]) -> tuple[str, ...]:
    """Return what of the base is needed by what would be installed, want by want."""
    found: set[str] = set()
    for want in wants:
        solution = universe.solve(want.candidates)
        found.update(universe.relies_on(solution) if solution.choices else universe.held(want.want))
    return tuple(sorted(found))


def _find(
    universe: Universe[C], want: str, demand: Demand, problems: list[Problem], notes: list[str]
) -> _Found[C] | None:
    found, reason = _ask(universe, want)
    if found is not None and found.candidates:
        return found
    if universe.held(want):
        return _Found(want, (), is_optional=False)
    named = [each for name in demand.named if (each := universe.find(name).candidates)] if want.startswith("@") else []
    if named:
        # Groups and streams may have stayed behind; then what they stood for has to install by its own name.
        notes.append(f"{want}: the repository passes no such group on; what it stood for is proven instead")
        return _Found(want, tuple(each[0] for each in named), is_optional=True)
    problems.append(Problem(Fault.WANT, want, _worded(reason)))
    return None


def _ask(universe: Universe[C], want: str) -> tuple[_Found[C] | None, str]:
    try:
        found = universe.find(want)
    except (RefusedError, UnresolvableError) as error:
        return None, error.message
    return _Found(want, found.candidates, found.is_optional), found.reason or "it is not there"


def _alone(universe: Universe[C], want: _Found[C], problems: list[Problem]) -> _Found[C] | None:
    """Return a want with the candidates that install alone; None when it does not."""
    if not want.is_optional:
        reasons = universe.fits(want.candidates)
        problems += [Problem(Fault.WANT, want.want, _joined(reasons))] if reasons else []
        return None if reasons else want
    good = []
    for candidate in want.candidates:
        reasons = universe.fits([candidate])
        good += [] if reasons else [candidate]
        problems += [Problem(Fault.WANT, f"{want.want} ({universe.name_of(candidate)})", _joined(reasons))][
            : len(reasons)
        ]
    return replace(want, candidates=tuple(good)) if good else None


def _misfits(universe: Universe[C], members: Sequence[_Found[C]]) -> tuple[str, ...]:
    """Say why wants do not install together, with all that they stand for; empty when they do."""
    return universe.fits([each for member in members for each in member.candidates])


def _together(universe: Universe[C], members: Sequence[_Found[C]], notes: list[str]) -> str:
    """Say why wants do not install together; empty when they do, with those matches of globs that fit."""
    reasons = _misfits(universe, members)
    if not reasons or not any(member.is_optional for member in members):
        return _joined(reasons)
    named = [each for member in members if not member.is_optional for each in member.candidates]
    firm = universe.fits(named)
    if not firm:
        notes.append(f"matches of globs exclude each other or other wants: {_joined(reasons)}")
    return _joined(firm)


def _joined(reasons: Sequence[str]) -> str:
    more = [f"and {len(reasons) - _MAX_REASONS} more"] if len(reasons) > _MAX_REASONS else []
    return "; ".join([*map(_worded, reasons[:_MAX_REASONS]), *more])


def _worded(reason: str) -> str:
    """Say of a repository what a family says of upstreams."""
    for said, meant in _WORDS.items():
        reason = reason.replace(said, meant)
    return reason


class _Nothing:
    """A cache that keeps nothing: what is proven is opened once."""

    def derived(self, key: str) -> bytes | None:  # noqa: ARG002 -- the form of Cache
        """Return None."""
        return None

    def put_derived(self, key: str, data: bytes) -> None:
        """Forget it."""


def _opener(later: dict[str, Path]) -> Callable[[IndexFile], Path]:
    return lambda file: later[file.kind]


def _path(files: ExitStack, text: bytes) -> Path:
    file = files.enter_context(MemoryFile())
    file.fill(text)
    return Path(file.path)
