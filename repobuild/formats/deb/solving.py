"""Debian packages in libsolv: proof that a set installs, and the set when apt's rule finds none.

The libsolv on PyPI knows RPM semantics only, so Debian's are encoded:

- versions as strings that RPM orders the same way (`version.encode`);
- an unversioned Provides never satisfies a versioned relation in Debian: real names and versioned provides carry a
  second capability `name#v`, and versioned relations point there;
- `name:any` is a capability that only `Multi-Arch: allowed` packages have;
- Pre-Depends and Depends are requires, Conflicts and Breaks conflicts; Replaces is no Obsoletes.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import solv

from repobuild.formats.deb import version
from repobuild.formats.deb.choose import meets, provides
from repobuild.formats.deb.control import Group, Relation
from repobuild.formats.deb.universe import NEGATIVE, POSITIVE, Record, Universe
from repobuild.formats.protocol import NOBODY_HAS

_OPERATORS = {
    "<<": solv.REL_LT,
    "<=": solv.REL_LT | solv.REL_EQ,
    "=": solv.REL_EQ,
    ">=": solv.REL_GT | solv.REL_EQ,
    ">>": solv.REL_GT,
}
_MAX_EXPLANATIONS = 6
"""Lines of explanation for one problem."""


class Pool:
    """Records loaded in libsolv."""

    def __init__(
        self, universe: Universe, records: Iterable[Record], *, weak: bool, installed: Iterable[Record] = ()
    ) -> None:
        self._universe = universe
        self._weak = weak
        self._pool = solv.Pool()
        self._pool.setarch(universe.architecture)
        self._repos: dict[int | None, solv.Repo] = {}
        self._texts: dict[int, str] = {}
        self._solvables: dict[Record, solv.Solvable] = {}
        self._records: dict[int, Record] = {}
        for record in records:
            self._add(record, self._repo(record.origin.pin))
        self._installed: dict[tuple[str, str], int] = {}
        for record in installed:
            self._add(record, self._repo(None))
            self._installed[record.name, record.version] = self._solvables[record].id
        if self._installed:
            self._pool.installed = self._repo(None)
        for repo in self._repos.values():
            repo.internalize()
        self._pool.createwhatprovides()

    def solve(
        self, wants: Sequence[Sequence[Record]], favours: Iterable[Record] = ()
    ) -> tuple[tuple[Record, ...], list[str]]:
        """Solve for one record of each of `wants` at once; return the set, or no set and why there is none."""
        solver = self._pool.Solver()
        solver.set_flag(solv.Solver.SOLVER_FLAG_IGNORE_RECOMMENDED, int(not self._weak))
        jobs = [self._job(records, solv.Job.SOLVER_INSTALL) for records in wants]
        jobs += [self._job([record], solv.Job.SOLVER_FAVOR) for record in favours if record in self._solvables]
        problems = solver.solve(jobs)
        if problems:
            lines = [line for problem in problems for line in self._explain(problem) or [str(problem)]]
            return (), list(dict.fromkeys(lines))
        return tuple(self._records[each.id] for each in solver.transaction().newsolvables()), []

    def _job(self, records: Sequence[Record], action: int) -> "solv.Job":
        ids = [self._solvables[record].id for record in records]
        # What is installed in this very version needs no other copy.
        ids += [
            self._installed[each] for record in records if (each := (record.name, record.version)) in self._installed
        ]
        if len(ids) == 1:
            return self._pool.Job(action | solv.Job.SOLVER_SOLVABLE, ids[0])
        choice = self._pool.towhatprovides(ids)
        return self._pool.Job(action | solv.Job.SOLVER_SOLVABLE_ONE_OF, choice)

    def _add(self, record: Record, repo: "solv.Repo") -> None:
        if record in self._solvables:
            return
        solvable = repo.add_solvable()
        solvable.name = record.name
        solvable.evr = version.encode(record.version)
        solvable.arch = "noarch"
        self._solvables[record] = solvable
        self._records[solvable.id] = record
        own = Relation(record.name, "=", record.version, "")
        for given in (own, *record.provides):
            for capability in self._capabilities(given, any_too=record.field.get("multi-arch") == "allowed"):
                solvable.add_deparray(solv.SOLVABLE_PROVIDES, capability)
        for kind, _ in POSITIVE[:2]:
            for group in record.groups(kind):
                solvable.add_deparray(solv.SOLVABLE_REQUIRES, self._group(group))
        for group in record.groups("recommends") if self._weak else ():
            solvable.add_deparray(solv.SOLVABLE_RECOMMENDS, self._group(group))
        for kind in NEGATIVE:
            for group in record.groups(kind):
                for relation in group:
                    solvable.add_deparray(solv.SOLVABLE_CONFLICTS, self._relation(relation))

    def _repo(self, pin: int | None) -> "solv.Repo":
        """Return the repository of one pin: a solver prefers higher ones as apt does, and takes others at need.

        None stands for what is installed.
        """
        if pin not in self._repos:
            self._repos[pin] = self._pool.add_repo(f"pin {pin}")
            self._repos[pin].priority = pin or 0
        return self._repos[pin]

    def _capabilities(self, given: Relation, *, any_too: bool) -> Iterator[int]:
        if given.qualifier not in {"", self._universe.architecture}:
            return  # what another architecture's package would provide
        for name in (given.name, f"{given.name}:any") if any_too else (given.name,):
            plain = self._pool.str2id(name)
            if given.operator != "=":
                yield plain
                continue
            evr = self._pool.str2id(version.encode(given.version))
            yield self._pool.rel2id(plain, evr, solv.REL_EQ)
            yield self._pool.rel2id(self._pool.str2id(f"{name}#v"), evr, solv.REL_EQ)

    def _group(self, group: Group) -> int:
        ids = [self._relation(relation) for relation in group]
        identifier = ids[-1]
        for each in reversed(ids[:-1]):
            identifier = self._pool.rel2id(each, identifier, solv.REL_OR)
        self._texts[identifier] = " | ".join(map(str, group))
        return int(identifier)

    def _relation(self, relation: Relation) -> int:
        name = relation.name
        if relation.qualifier == "any":
            name += ":any"
        elif relation.qualifier not in {"", "native", self._universe.architecture}:
            name += f":{relation.qualifier}"  # another architecture's package: nothing provides it
        if relation.operator:
            evr = self._pool.str2id(version.encode(relation.version))
            identifier = self._pool.rel2id(self._pool.str2id(f"{name}#v"), evr, _OPERATORS[relation.operator])
        else:
            identifier = self._pool.str2id(name)
        self._texts[identifier] = str(relation)
        return int(identifier)

    def _explain(self, problem: "solv.Problem") -> list[str]:
        rules = [rule.info() for rule in problem.findallproblemrules()]
        # What is wrong leads, the way there follows: a chain of dependencies may be longer than anyone reads.
        rules.sort(key=lambda info: info.type == solv.Solver.SOLVER_RULE_PKG_REQUIRES)
        lines = dict.fromkeys(map(self._explain_rule, rules))
        return [line for line in lines if line][:_MAX_EXPLANATIONS]

    def _explain_rule(self, info: "solv.Ruleinfo") -> str:
        one = self._describe(info.solvable)
        other = self._describe(info.othersolvable)
        text = self._texts.get(info.dep_id, "")
        if info.type == solv.Solver.SOLVER_RULE_PKG_NOTHING_PROVIDES_DEP:
            return f"{one} depends on {text}, {NOBODY_HAS}{self._withheld(text)}"
        if info.type == solv.Solver.SOLVER_RULE_PKG_REQUIRES:
            return f"{one} depends on {text}"
        if info.type == solv.Solver.SOLVER_RULE_PKG_CONFLICTS:
            return f"{one} conflicts with {text}, which is {other}"
        if info.type == solv.Solver.SOLVER_RULE_PKG_SAME_NAME:
            return f"{one} and {other} are two versions of one package"
        return ""

    def _withheld(self, text: str) -> str:
        """Say of which alternatives of a group pins keep a package away."""
        names = dict.fromkeys(alternative.split(" ")[0] for alternative in text.split(" | ") if alternative)
        reasons = [reason for name in names if (reason := self._universe.why_withheld(name))]
        return f" ({'; '.join(reasons)})" if reasons else ""

    def _describe(self, solvable: "solv.Solvable | None") -> str:
        return str(self._records[solvable.id]) if solvable is not None and solvable.id in self._records else ""


def reachable(universe: Universe, wants: Iterable[Record], *, weak: bool) -> list[Record]:
    """Return every record that an installation of `wants` could possibly take, alternatives and providers included."""
    kinds = POSITIVE if weak else POSITIVE[:2]
    seen: dict[Record, None] = dict.fromkeys(wants)
    todo = list(seen)
    while todo:
        record = todo.pop()
        for kind, _ in kinds:
            for relation in (relation for group in record.groups(kind) for relation in group):
                for found in _satisfying(universe, relation):
                    if found not in seen:
                        seen[found] = None
                        todo.append(found)
    return list(seen)


def needed(records: Iterable[Record], installed: Iterable[Record], architecture: str) -> Iterator[Record]:
    """Yield what of `installed` satisfies dependencies of `records` that they do not satisfy among themselves."""
    own, there = _by_capability(records), _by_capability(installed)
    for record in dict.fromkeys(each for named in own.values() for each in named):
        for kind, _ in POSITIVE[:2]:
            for group in record.groups(kind):
                if not any(_satisfy(own, relation, architecture) for relation in group):
                    yield from (each for relation in group for each in _satisfy(there, relation, architecture))


def _by_capability(records: Iterable[Record]) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {}
    for record in records:
        for name in dict.fromkeys((record.name, *(each.name for each in record.provides))):
            found.setdefault(name, []).append(record)
    return found


def _satisfy(known: Mapping[str, list[Record]], relation: Relation, architecture: str) -> list[Record]:
    """Return the records that satisfy a relation."""
    name = relation.name
    return [
        record
        for record in known.get(name, ())
        if (record.name == name and meets(record, relation, architecture))
        or any(each.name == name and provides(record, each, relation, architecture) for each in record.provides)
    ]


def _satisfying(universe: Universe, relation: Relation) -> Iterator[Record]:
    for record in universe.records(relation.name):
        if meets(record, relation, universe.architecture):
            yield record
    for record, given in universe.providers(relation.name):
        if provides(record, given, relation, universe.architecture):
            yield record
