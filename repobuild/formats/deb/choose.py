"""Apt's rule: what `apt-get install` marks on an empty system, package by package.

This follows the observable behaviour of pkgDepCache::MarkInstall in apt 2.1 to 2.9 (the "internal" solver). The
repository has to hold what apt on the target will choose, and a solver that only knows constraints chooses otherwise.
The rule is greedy: it may end in a set that does not hold together, which is for the caller to find out.

In short: every want is marked first and protected. Then, for each in the order given, its
relations are followed depth first: a negative one unmarks what it hits, unless that is protected, which makes the
package fail; a positive one that nothing marked satisfies tries its solutions in order: the alternatives as written,
for each the real package before its providers, those by essential, important, priority and age of the name. A package
that fails is taken back and is no candidate any more.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from repobuild.formats.deb import version
from repobuild.formats.deb.control import Group, Relation
from repobuild.formats.deb.universe import NEGATIVE, POSITIVE, Record, Universe

_MAX_DEPTH = 250
"""Levels of dependency followed; real walks stay below 100, and each level costs three frames of Python's 1,000."""


@dataclass(slots=True)
class _State:
    """What apt remembers of one name."""

    candidate: Record | None
    installed: bool = False
    protected: bool = False


@dataclass
class Choice:
    """The outcome of apt's rule."""

    records: dict[str, Record] = field(default_factory=dict)
    """What would be installed, by name."""
    why: dict[str, str] = field(default_factory=dict)
    """For each, in one line, what asked for it."""
    failed: list[str] = field(default_factory=list)
    """Wants whose dependencies could not all be had this way."""


def choose(universe: Universe, wants: Sequence[Record], *, weak: bool) -> Choice:
    """Mark `wants` and what they need as apt does; `weak` follows Recommends too."""
    return _Marker(universe, weak=weak).run(wants)


class _Marker:
    def __init__(self, universe: Universe, *, weak: bool) -> None:
        self._universe = universe
        self._kinds = POSITIVE if weak else POSITIVE[:2]
        self._states: dict[str, _State] = {}
        self._provided: dict[str, list[tuple[Record, Relation]]] = {}
        self._why: dict[str, str] = {}

    def run(self, wants: Sequence[Record]) -> Choice:
        for record in wants:
            state = self._state(record.name)
            state.candidate = record
            state.protected = True
            self._set(record.name, installed=True)
            self._why[record.name] = "want"
        ordered = dict.fromkeys(record.name for record in wants)
        failed = [name for name in ordered if self._is_broken(self._chosen(name)) and not self._mark(name, depth=0)]
        kept = self._reachable(ordered)
        records = {name: self._chosen(name) for name in sorted(kept)}
        return Choice(records, {name: self._why[name] for name in records}, failed)

    # state

    def _state(self, name: str) -> _State:
        state = self._states.get(name)
        if state is None:
            state = self._states[name] = _State(self._universe.candidate(name))
        return state

    def _chosen(self, name: str) -> Record:
        record = self._state(name).candidate
        if record is None:
            raise LookupError(name)
        return record

    def _set(self, name: str, *, installed: bool) -> None:
        state = self._state(name)
        if state.installed == installed or state.candidate is None:
            return
        state.installed = installed
        for relation in state.candidate.provides:
            entry = (state.candidate, relation)
            if installed:
                self._provided.setdefault(relation.name, []).append(entry)
            else:
                self._provided[relation.name].remove(entry)

    def _discard(self, name: str) -> None:
        """Take a package back; it is no candidate any more."""
        self._set(name, installed=False)
        self._state(name).candidate = None

    # relations

    def _is_met(self, relation: Relation) -> bool:
        """Say whether something marked satisfies one alternative."""
        state = self._states.get(relation.name)
        if (
            state is not None
            and state.installed
            and state.candidate is not None
            and meets(state.candidate, relation, self._universe.architecture)
        ):
            return True
        provided = self._provided.get(relation.name, ())
        return any(provides(record, given, relation, self._universe.architecture) for record, given in provided)

    def _is_group_met(self, group: Group) -> bool:
        return any(self._is_met(relation) for relation in group)

    def _is_broken(self, record: Record) -> bool:
        if any(not self._is_group_met(group) for kind, _ in self._kinds for group in record.groups(kind)):
            return True
        return any(
            self._state(hit.name).installed
            for kind in NEGATIVE
            for group in record.groups(kind)
            for hit in self._solutions(group)
            if hit.name != record.name
        )

    def _solutions(self, group: Group) -> list[Record]:
        """Return the candidates that satisfy a group, in the order in which apt tries them."""
        found: dict[str, Record] = {}
        for relation in group:
            for record in self._sorted(self._alternatives(relation), relation):
                found.setdefault(record.name, record)
        return list(found.values())

    def _alternatives(self, relation: Relation) -> Iterator[Record]:
        real = self._state(relation.name).candidate
        if real is not None and meets(real, relation, self._universe.architecture):
            yield real
        for record, given in self._universe.providers(relation.name):
            if self._state(record.name).candidate is not record:
                continue
            if provides(record, given, relation, self._universe.architecture):
                yield record

    def _sorted(self, records: Iterable[Record], relation: Relation) -> list[Record]:
        """Sort as apt's CompareProviders does on an empty system: what cannot be told apart, newest name first."""
        tied: dict[tuple[bool, bool, bool, bool, int], list[Record]] = {}
        for record in records:
            preference = (
                not self._state(record.name).protected,
                record.name != relation.name,
                not record.essential,
                not record.important,
                record.priority,
            )
            tied.setdefault(preference, []).append(record)
        for group in tied.values():
            if len(group) > 1:
                group.sort(key=lambda record: -self._universe.rank(record.name))
        return [record for preference in sorted(tied) for record in tied[preference]]

    # marking

    def _mark(self, name: str, *, depth: int) -> bool:
        """Mark a package and what it needs; say whether that worked."""
        state = self._state(name)
        record = state.candidate
        if depth > _MAX_DEPTH or record is None or (state.protected and not state.installed):
            return False
        if state.installed and not state.protected and not self._is_broken(record):
            return True
        if not self._is_satisfiable(record):
            if not state.protected:
                self._discard(name)
            return False
        already = state.protected
        wanted = [
            (group, verb)
            for kind, verb in self._kinds
            for group in record.groups(kind)
            if already or not self._is_group_met(group)
        ]
        if not self._clear_conflicts(record, protect=already) and not already:
            return False
        self._set(name, installed=True)
        state.protected = True
        try:
            succeeded = self._satisfy(record, wanted, protect=already, depth=depth)
        finally:
            state.protected = already
        if not succeeded and not already:
            self._discard(name)
        return succeeded

    def _is_satisfiable(self, record: Record) -> bool:
        """Say whether every hard dependency has a candidate at all."""
        return all(
            self._is_group_met(group) or self._solutions(group)
            for kind, _ in POSITIVE[:2]
            for group in record.groups(kind)
        )

    def _clear_conflicts(self, record: Record, *, protect: bool) -> bool:
        """Unmark what this package excludes; False when that is protected."""
        cleared = True
        for kind in NEGATIVE:
            for group in record.groups(kind):
                for hit in self._solutions(group):
                    if hit.name == record.name:
                        continue
                    state = self._state(hit.name)
                    if state.installed and state.protected:
                        cleared = False
                        if not protect:
                            return False
                        continue
                    self._set(hit.name, installed=False)
                    if protect:
                        self._discard(hit.name)
                        state.protected = True
        return cleared

    def _satisfy(self, record: Record, wanted: Iterable[tuple[Group, str]], *, protect: bool, depth: int) -> bool:
        succeeded = True
        for group, verb in wanted:
            hard = verb != "recommends"
            if self._is_group_met(group):
                if protect and hard:
                    succeeded = self._protect_single(group, depth) and succeeded
                continue
            if self._install_one(record, group, verb, protect=protect and hard, depth=depth) or not hard:
                continue
            succeeded = False
            if not protect:
                break
        return succeeded

    def _protect_single(self, group: Group, depth: int) -> bool:
        """Protect the one package that can satisfy a group which is met already."""
        solutions = self._usable(group)
        if len(solutions) != 1 or self._state(solutions[0].name).protected:
            return True
        self._state(solutions[0].name).protected = True
        return self._mark(solutions[0].name, depth=depth + 1)

    def _install_one(self, record: Record, group: Group, verb: str, *, protect: bool, depth: int) -> bool:
        solutions = self._usable(group)
        for solution in solutions:
            state = self._state(solution.name)
            if state.candidate is not solution:
                continue
            if protect and len(solutions) == 1:
                self._set(solution.name, installed=True)
                state.protected = True
            if self._mark(solution.name, depth=depth + 1):
                self._why.setdefault(solution.name, f"{record.name} {verb} {' | '.join(map(str, group))}")
                return True
        return False

    def _usable(self, group: Group) -> list[Record]:
        """Return the solutions that are not ruled out by a protected decision."""
        return [each for each in self._solutions(group) if not self._is_ruled_out(each.name)]

    def _is_ruled_out(self, name: str) -> bool:
        state = self._state(name)
        return state.protected and not state.installed

    def _reachable(self, wants: Iterable[str]) -> set[str]:
        """Return what is marked and still needed; apt drops what a taken-back choice left behind."""
        todo = [name for name in wants if self._state(name).installed]
        seen = set(todo)
        while todo:
            record = self._chosen(todo.pop())
            for kind in ("pre-depends", "depends", "recommends", "suggests"):
                for group in record.groups(kind):
                    for name in self._marked_for(group):
                        if name not in seen:
                            seen.add(name)
                            self._why.setdefault(name, f"{record.name} {kind} {' | '.join(map(str, group))}")
                            todo.append(name)
        return seen

    def _marked_for(self, group: Group) -> Iterator[str]:
        for relation in group:
            state = self._states.get(relation.name)
            if state is not None and state.installed:
                yield relation.name
            yield from (record.name for record, _ in self._provided.get(relation.name, ()))


def meets(record: Record, relation: Relation, architecture: str) -> bool:
    """Say whether a package itself satisfies a relation to its name."""
    if not _is_for(record, relation, architecture):
        return False
    return version.satisfies(record.version, relation.operator, relation.version)


def provides(record: Record, given: Relation, relation: Relation, architecture: str) -> bool:
    """Say whether `given`, a Provides of `record`, satisfies a relation: unversioned it never does a versioned one."""
    if given.qualifier not in {"", architecture} or not _is_for(record, relation, architecture):
        return False
    if not relation.operator:
        return True
    return given.operator == "=" and version.satisfies(given.version, relation.operator, relation.version)


def _is_for(record: Record, relation: Relation, architecture: str) -> bool:
    """Say whether the architecture that a relation asks for is what a package has; `:any` wants its permission."""
    if relation.qualifier == "any":
        return record.field.get("multi-arch") == "allowed"
    return relation.qualifier in {"", "native", architecture}
