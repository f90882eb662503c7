"""Why wants cannot be installed, in words of packages and upstreams rather than of a solver."""

from collections.abc import Sequence

import solv

from repobuild.formats.protocol import NOBODY_HAS
from repobuild.formats.rpm.universe import Universe

_MAX_LINES = 6
"""Lines of explanation for one problem."""
_MAX_NAMED = 3
_COMPANIONS = {
    "baseos": ("baseos",),
    "appstream": ("appstream",),
    "crb or powertools": ("crb", "powertools", "codeready"),
    "epel": ("epel",),
}
"""The repositories that packages for EL are made against, and how the names of upstreams tell them."""
_RANK = {
    solv.Solver.SOLVER_RULE_PKG_REQUIRES: 2,
    solv.Solver.SOLVER_RULE_BEST: 3,
    solv.Solver.SOLVER_RULE_JOB: 4,
}
"""What is wrong leads, the way there follows."""
_MISSING = frozenset(
    {solv.Solver.SOLVER_RULE_PKG_NOTHING_PROVIDES_DEP, solv.Solver.SOLVER_RULE_JOB_NOTHING_PROVIDES_DEP}
)
_TEXTS = {
    solv.Solver.SOLVER_RULE_PKG_REQUIRES: "{one} needs {what}",
    solv.Solver.SOLVER_RULE_PKG_CONFLICTS: "{one} conflicts with {what}, which is {other}",
    solv.Solver.SOLVER_RULE_PKG_SELF_CONFLICT: "{one} conflicts with {what}, which it has itself",
    solv.Solver.SOLVER_RULE_PKG_OBSOLETES: "{one} takes the place of {what}, which is {other}",
    solv.Solver.SOLVER_RULE_PKG_IMPLICIT_OBSOLETES: "{one} takes the place of {what}, which is {other}",
    solv.Solver.SOLVER_RULE_YUMOBS: "{one} and {other} both take the place of {what}",
    solv.Solver.SOLVER_RULE_PKG_SAME_NAME: "{one} and {other} are two versions of one package",
    solv.Solver.SOLVER_RULE_INFARCH: "{one} is for a lesser architecture than another build of it",
    solv.Solver.SOLVER_RULE_PKG_NOT_INSTALLABLE: "{one} is not to be had: {why}",
}


def explain(universe: Universe, problems: "Sequence[solv.Problem]") -> tuple[str, ...]:
    """Return one text for every problem."""
    return tuple(dict.fromkeys(_explain(universe, problem) for problem in problems))


def missing_paths(problems: "Sequence[solv.Problem]") -> tuple[str, ...]:
    """Return the paths that are required and that nothing is known to have."""
    infos = (info for problem in problems for rule in problem.findallproblemrules() for info in rule.allinfos())
    kind = solv.Solver.SOLVER_RULE_PKG_NOTHING_PROVIDES_DEP
    return tuple(dict.fromkeys(str(info.dep) for info in infos if info.type == kind and str(info.dep).startswith("/")))


def _explain(universe: Universe, problem: "solv.Problem") -> str:
    infos = [info for rule in problem.findallproblemrules() for info in rule.allinfos()]
    infos.sort(key=lambda info: _RANK.get(info.type, 1))
    nowhere: dict[str, dict[str, None]] = {}
    others: dict[str, None] = {}
    for info in infos:
        if info.type in _MISSING and not (place := _whereabouts(universe, info.dep)):
            nowhere.setdefault(_named(universe, info.solvable) or "a want", {})[str(info.dep)] = None
        elif info.type in _MISSING:
            others[f"{_named(universe, info.solvable) or 'a want'} needs {info.dep}, which {place}"] = None
        elif line := _line(universe, info):
            others[line] = None
    lines = [f"{one} needs {', '.join(needs)}, {NOBODY_HAS}" for one, needs in nowhere.items()]
    lines += others
    if len(lines) > _MAX_LINES:
        lines[_MAX_LINES:] = [f"and {len(lines) - _MAX_LINES} more"]
    return "; ".join((*lines, *_guess(universe))) if nowhere else "; ".join(lines) or str(problem)


def _line(universe: Universe, info: "solv.Ruleinfo") -> str:
    return _TEXTS.get(info.type, "").format(
        one=_named(universe, info.solvable),
        other=_named(universe, info.othersolvable),
        what=info.dep,
        why=_why_hidden(universe, info.solvable),
    )


def _whereabouts(universe: Universe, dependency: "solv.Dep") -> str:
    """Say where something is that nothing provides: in another version, or hidden; empty when it is nowhere."""
    identifier = dependency.id
    hidden = [each for each in universe.providing(identifier) if each.id in universe.hidden]
    if hidden:
        return f"only {_named(universe, hidden[0])} has, and that is {_why_hidden(universe, hidden[0])}"
    name = universe.pool.id2str(identifier)
    others = sorted({_named(universe, each) for each in _providing_any(universe, name)})
    if others and str(dependency) != name:
        return f"no upstream has in that version; there is {', '.join(others[-_MAX_NAMED:])}"
    return ""


def _guess(universe: Universe) -> list[str]:
    """Name the usual upstreams that the manifest lacks; a repository that is looked at alone has no mirrors."""
    if not any(each.upstream.mirrors for each in universe.sources):
        return []
    known = " ".join(each.upstream.name.lower() for each in universe.sources)
    absent = [label for label, words in _COMPANIONS.items() if not any(word in known for word in words)]
    return [f"it may be in {', '.join(absent)}, which the manifest does not name for this target"] if absent else []


def _providing_any(universe: Universe, name: str) -> "list[solv.XSolvable]":
    identifier = universe.pool.str2id(name, False)
    return universe.providing(identifier) if identifier else []


def _why_hidden(universe: Universe, package: "solv.XSolvable | None") -> str:
    if package is None:
        return "not installable"
    return universe.hidden.get(package.id, f"for {package.arch}, which {universe.arch} does not run")


def _named(universe: Universe, package: "solv.XSolvable | None") -> str:
    return f"{package} of {universe.source(package.id).upstream.name}" if package is not None else ""
