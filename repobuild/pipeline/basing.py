"""Bases -> what a solver takes as installed; from several bases, one resolution."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repobuild import resolve
from repobuild.bases import TEXTS_LIMIT, Base, BasePin, InstalledPackage
from repobuild.errors import HostileInputError, UnresolvableError, UsageError
from repobuild.formats import FORMATS
from repobuild.formats.protocol import IndexFile, Loaded, Root, Universe, Variant
from repobuild.model import Choice, Job, Package, Resolution, Upstream
from repobuild.pipeline.session import Session
from repobuild.scratch import MemoryFile

if TYPE_CHECKING:
    from repobuild.catalog import Catalog  # whoever only proves has no use for its libraries

Universes = tuple[tuple[Base, Universe[Any]], ...]
_OWN_REASONS = frozenset({"want", "older", "base"})
_PIN = 500


def pin_bases(
    session: Session, job: Job, loaded: Sequence[Loaded], releases: "Mapping[str, Catalog]"
) -> tuple[BasePin, ...]:
    """Describe every base by what upstreams say of its packages, for the lock, and for this run in the store.

    Args:
        session: the run.
        job: what the target sees of the manifest.
        loaded: its upstreams.
        releases: the catalogs of which bases are minimal installs: of minor releases, and by "" of the target itself.

    Raises:
        UnresolvableError: when a minimal install cannot be computed from the upstreams.
        UsageError: when the descriptions are too large for a lock.
    """
    form = FORMATS[job.target.family]
    resolved = {base.name for base in job.bases.to_resolve}
    pins = []
    room = TEXTS_LIMIT
    for base in job.bases.all:
        if base.is_empty:
            pins.append(BasePin(base.name, "", base.name in resolved))
            continue
        packages = _minimal(base, releases[base.release].universe) if base.is_minimal else base.packages
        known = releases[base.release].loaded if base.release else ()
        try:
            text = form.base_text(packages, (*known, *loaded), job.target)
        except HostileInputError as error:
            raise HostileInputError(f"base {base.name}: {error.message}", "repobuild base capture") from error
        room -= len(text)
        if room < 0:
            raise UsageError(f"the bases are described in more than {TEXTS_LIMIT} bytes: {base.name}", "name fewer")
        pins.append(BasePin(base.name, session.store.put(text), base.name in resolved, text.decode()))
    return tuple(pins)


def notes(job: Job) -> Iterator[str]:
    """Yield what a person should know of the bases."""
    if job.bases.subtracted and any(base.is_empty for base in job.bases.to_resolve):
        yield f"subtract: {job.bases.subtracted} takes nothing away, for `bases` names `empty` too, which has nothing"
    for base in job.bases.all:
        if base.packages and not any(each.says for each in base.packages):
            yield (
                f"base {base.name}: its list has names alone, so what a package needs there counts only where an "
                "upstream has it in that version; repobuild base capture prints how to make a better one"
            )


def _minimal(base: Base, universe: Universe[Any]) -> tuple[InstalledPackage, ...]:
    solution = universe.solve(universe.minimal())
    if solution.problems or not solution.choices:
        reason = "; ".join(solution.problems) or "the upstreams have none of its packages"
        raise UnresolvableError(
            f"base {base.name}: no minimal install can be computed: {reason}", "capture one instead"
        )
    packages = (choice.package for choice in solution.choices)
    return tuple(sorted(InstalledPackage(each.name, each.version, each.arch) for each in packages))


@contextmanager
def open_base(session: Session, family: str, pin: BasePin) -> Iterator[Loaded | None]:
    """Open a base for the solver, as its lock describes it, or the store.

    None for the empty one, and where neither describes it.
    """
    if pin.text:
        with MemoryFile() as file:
            file.fill(pin.text.encode())
            yield _base(family, pin, Path(file.path))
    elif pin.sha256 and session.store.has(pin.sha256):
        yield _base(family, pin, session.store.path(pin.sha256))
    else:
        yield None


def _base(family: str, pin: BasePin, path: Path) -> Loaded:
    """Return a base whose description lies at `path`."""
    size = path.stat().st_size
    variant = Variant(path="", compression="", size=size, digest=pin.sha256)
    index = IndexFile(variants=(variant,), size=size, sha256=pin.sha256, kind=FORMATS[family].index_kind)
    root = Root(origin="", suite="", date=0, valid_until=None, aliases=(), pin=_PIN, indexes=(index,))
    return Loaded(Upstream(name=f"base {pin.name}", module="", mirrors=()), root, (path,))


def universes(
    session: Session, job: Job, loaded: Sequence[Loaded], empty: Universe[Any], pins: Sequence[BasePin]
) -> Universes:
    """Return the universe of each base from which wants are resolved; `empty` is that of the empty one."""
    form = FORMATS[job.target.family]
    by_name = {pin.name: pin for pin in pins}
    found: list[tuple[Base, Universe[Any]]] = []
    for base in job.bases.to_resolve:
        if base.is_empty:
            found.append((base, empty))
            continue
        pin = by_name[base.name]
        opened = _base(job.target.family, pin, session.store.path(pin.sha256))
        found.append((base, form.universe(loaded, job.target, session.store, job.options, opened)))
    return tuple(found)


def resolve_from_all(known: Universes, solve: Callable[[Universe[Any]], Resolution]) -> Resolution:
    """Resolve from each base in order, each time preferring what is chosen already, and return the union.

    So a package is held in two versions only where one of them will not do for every base.

    Raises:
        MissingError, UnresolvableError: as `solve` does; where several bases are asked, naming the base.
    """
    united: Resolution | None = None
    for base, universe in known:
        if united is not None:
            universe.favour([choice.package for choice in united.choices])
        try:
            found = solve(universe)
        except UnresolvableError as error:
            if len(known) > 1:
                error.args = (f"from base {base.name}: {error.message}",)
                error.message = error.args[0]
            raise
        united = found if united is None else _unite(united, found, base)
    if united is None:
        raise UnresolvableError("no base to resolve from")
    return united


def _unite(one: Resolution, other: Resolution, base: Base) -> Resolution:
    chosen = {_identity(choice.package): choice for choice in one.choices}
    for choice in other.choices:
        chosen.setdefault(_identity(choice.package), _explained(choice, base))
    resolve.refuse_rivals(choice.package for choice in (*one.choices, *other.choices))
    return Resolution(
        choices=tuple(chosen[key] for key in sorted(chosen)),
        missing=tuple(dict.fromkeys((*one.missing, *other.missing))),
        sets=tuple(dict.fromkeys((*one.sets, *other.sets))),
        notes=tuple(dict.fromkeys((*one.notes, *_of_base(other.notes, base)))),
        taken=tuple(dict.fromkeys((*one.taken, *other.taken))),
    )


def _explained(choice: Choice, base: Base) -> Choice:
    return choice if choice.why in _OWN_REASONS else replace(choice, why=f"{choice.why} (from base {base.name})")


def _of_base(notes: Sequence[str], base: Base) -> Iterator[str]:
    return (f"from base {base.name}: {note}" for note in notes)


def _identity(package: Package) -> tuple[str, str, str]:
    return package.name, package.version, package.arch
