"""Which streams of modules are active, and which packages that hides: libdnf's rules (its module folder, 0.69).

A stream is active when it is enabled or the default, and what it requires can be had: libsolv decides that on a
small universe of its own, in which every build of a stream is a package, the platform is installed, and two streams
of one module exclude each other. All builds that share name, stream and context with a chosen one are active.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from itertools import chain

import solv

from repobuild.formats.rpm.modules_index import Default, Modules, Stream
from repobuild.formats.rpm.universe import SOURCE, Universe

_JOB = solv.Job.SOLVER_INSTALL | solv.Job.SOLVER_SOLVABLE_PROVIDES
_SOLVER_FLAGS = (
    solv.Solver.SOLVER_FLAG_ALLOW_VENDORCHANGE,
    solv.Solver.SOLVER_FLAG_BEST_OBEY_POLICY,
    solv.Solver.SOLVER_FLAG_YUM_OBSOLETES,
)


_CONFLICTS = frozenset(
    {
        solv.Solver.SOLVER_RULE_PKG_CONFLICTS,
        solv.Solver.SOLVER_RULE_PKG_SELF_CONFLICT,
        solv.Solver.SOLVER_RULE_PKG_SAME_NAME,
    }
)


@dataclass(frozen=True, slots=True)
class _Answer:
    names: frozenset[str]
    """Of the builds that are chosen."""
    problems: tuple[str, ...] = ()
    in_conflict: Sequence[int] = ()
    """Builds that problems speak of."""


@dataclass(frozen=True, slots=True)
class Active:
    """The builds of streams that are active."""

    streams: tuple[Stream, ...]
    problems: tuple[str, ...] = ()
    """Why streams that were asked for are not."""


@dataclass(frozen=True)
class ModuleCatalog:
    """The modules of all upstreams."""

    streams: tuple[Stream, ...]
    defaults: Mapping[str, Default]
    platform: str
    """Of the target: `el9`."""
    arch: str

    @classmethod
    def of(cls, modules: Iterable[Modules], platform: str, arch: str) -> "ModuleCatalog":
        """Join what the upstreams say."""
        known = list(modules)
        return cls(
            streams=tuple(stream for each in known for stream in each.streams),
            defaults=_merged(default for each in known for default in each.defaults),
            platform=platform,
            arch=arch,
        )

    def streams_of(self, name: str) -> tuple[str, ...]:
        """Return the streams of a module, sorted; empty when there is no such module."""
        return tuple(sorted({each.stream for each in self.streams if each.name == name}))

    def builds(self, name: str, stream: str) -> tuple[Stream, ...]:
        """Return all builds of a stream."""
        return tuple(each for each in self.streams if (each.name, each.stream) == (name, stream))

    def stream_in_use(self, name: str, enabled: Mapping[str, str]) -> str:
        """Return the enabled stream of a module, else its default or only one, "" when there is none such."""
        default = self.defaults.get(name)
        if name in enabled or (default is not None and default.stream):
            return enabled.get(name) or (default.stream if default is not None else "")
        streams = self.streams_of(name)
        return streams[0] if len(streams) == 1 else ""

    def profiles(self, name: str, stream: str) -> tuple[str, ...]:
        """Return the profiles of a stream that are installed when none is named."""
        default = self.defaults.get(name)
        return dict(default.profiles).get(stream, ()) if default is not None else ()

    def activate(self, enabled: Mapping[str, str]) -> Active:
        """Say which builds are active when these streams (by module) are enabled beside the default ones."""
        names = self._solver_names()
        pool = self._pool(names)
        wanted = [each for each in self.streams if self._is_wanted(each, enabled)]
        hard = [f"module({each.spec})" for each in wanted if each.name in enabled]
        soft = [f"module({each.spec})" for each in wanted if each.name not in enabled]
        answer = first = _solve(pool, hard + soft, ())
        if answer.problems:
            answer = _solve(pool, hard, soft)
        if answer.problems:
            # What is in conflict has to go, else which of it is active would be chance.
            pool.set_disabled_list(answer.in_conflict)
            pool.createwhatprovides()
            answer = _solve(pool, (), hard + soft)
        active = tuple(each for each, name in zip(self.streams, names, strict=True) if name in answer.names)
        return Active(active, first.problems)

    def _is_wanted(self, stream: Stream, enabled: Mapping[str, str]) -> bool:
        default = self.defaults.get(stream.name)
        return enabled.get(stream.name, default.stream if default is not None else None) == stream.stream

    def _solver_names(self) -> list[str]:
        """Return `name:stream:context` of every build; builds without a context of their own share one by requires."""
        static: dict[tuple[str, str], str] = {}
        for each in self.streams:
            if each.is_static:
                static.setdefault((each.spec, _requires_text(each)), each.context)
        names = []
        for each in self.streams:
            text = _requires_text(each)
            context = each.context if each.is_static else static.get((each.spec, text), text or "NoRequires")
            names.append(f"{each.spec}:{context}")
        return names

    def _pool(self, names: Sequence[str]) -> "solv.Pool":
        pool = solv.Pool()
        pool.setarch(self.arch)
        platform = pool.add_repo("platform")
        pool.installed = platform
        build = platform.add_solvable()
        build.name, build.evr, build.arch = "platform", "0", "noarch"
        for text in ("module(platform)", f"module(platform:{self.platform})"):
            build.add_deparray(solv.SOLVABLE_PROVIDES, pool.str2id(text))
        repo = pool.add_repo("modules")
        for each, name in zip(self.streams, names, strict=True):
            build = repo.add_solvable()
            build.name, build.evr, build.arch = name, str(each.version), each.arch or "noarch"
            module = pool.str2id(f"module({each.name})")
            build.add_deparray(solv.SOLVABLE_PROVIDES, module)
            build.add_deparray(solv.SOLVABLE_PROVIDES, pool.str2id(f"module({each.spec})"))
            build.add_deparray(solv.SOLVABLE_CONFLICTS, module)
            _add_requires(pool, build, each)
        platform.internalize()
        repo.internalize()
        pool.createwhatprovides()
        return pool


def hidden(universe: Universe, catalog: ModuleCatalog, active: Active) -> dict[int, str]:
    """Say which packages modules hide, by number, and why."""
    if not catalog.streams:
        return {}
    filtered = [each.numbers for each in universe.sources if not each.upstream.module_hotfixes]
    shown = {artifact for each in active.streams for artifact in each.artifacts}
    found = chain(_of_inactive(universe, catalog, shown), _replaced(universe, catalog, active, shown))
    reasons: dict[int, str] = {}
    for number, reason in found:
        if any(number in numbers for numbers in filtered):
            reasons.setdefault(number, reason)
    return reasons


def _of_inactive(universe: Universe, catalog: ModuleCatalog, shown: AbstractSet[str]) -> Iterator[tuple[int, str]]:
    """Yield the packages that only streams hold which are not active."""
    owners: dict[str, str] = {}
    for each in catalog.streams:
        for artifact in each.artifacts:
            if artifact not in shown:
                owners.setdefault(artifact, each.spec)
    for name in dict.fromkeys(map(_name, owners)):
        for package in universe.named(name):
            spec = owners.get(str(package))
            if spec is not None:
                yield package.id, f"of module {spec}, which is not enabled"


def _replaced(
    universe: Universe, catalog: ModuleCatalog, active: Active, shown: AbstractSet[str]
) -> Iterator[tuple[int, str]]:
    """Yield the packages outside of active streams that are named as one of theirs, or provide its name."""
    for name, spec in _names_of(active, catalog).items():
        identifier = universe.pool.str2id(name, False)
        for package in universe.providing(identifier) if identifier else ():
            if str(package) not in shown:
                yield package.id, f"module {spec} takes the place of {name}"


def _names_of(active: Active, catalog: ModuleCatalog) -> dict[str, str]:
    """Return the names that active streams hold, but those that a stream's newest build gave back."""
    newest: dict[tuple[str, str], Stream] = {}
    for each in catalog.streams:
        known = newest.get((each.spec, each.arch))
        if known is None or known.version < each.version:
            newest[each.spec, each.arch] = each
    names: dict[str, str] = {}
    for each in active.streams:
        given_back: AbstractSet[str] = set(newest[each.spec, each.arch].demodularized)
        for artifact in each.artifacts:
            name = _name(artifact)
            if artifact.rpartition(".")[2] not in SOURCE and name not in given_back:
                names.setdefault(name, each.spec)
    return names


def _name(artifact: str) -> str:
    return artifact.rsplit("-", 2)[0]


def _merged(defaults: Iterable[Default]) -> dict[str, Default]:
    """Join the defaults of all upstreams: the newer one counts, and of two of one age that disagree neither."""
    merged: dict[str, Default] = {}
    for each in defaults:
        known = merged.get(each.name)
        if known is None or known.modified < each.modified:
            merged[each.name] = each
        elif known.modified == each.modified:
            profiles = dict(each.profiles) | dict(known.profiles)
            stream = known.stream if not each.stream or each.stream == known.stream else each.stream
            if known.stream and each.stream and known.stream != each.stream:
                stream = ""
            merged[each.name] = replace(known, stream=stream, profiles=tuple(profiles.items()))
    return merged


def _requires_text(stream: Stream) -> str:
    """Return what a build requires besides the platform, as a text by which builds are told apart."""
    pairs = sorted((module, sorted(streams)) for group in stream.requires for module, streams in group)
    return ";".join(f"{module}:[{','.join(streams)}]" for module, streams in pairs if module != "platform")


def _add_requires(pool: "solv.Pool", build: "solv.XSolvable", stream: Stream) -> None:
    for module, streams in (pair for group in stream.requires for pair in group):
        for each in (each for each in streams if each.startswith("-")):
            build.add_deparray(solv.SOLVABLE_CONFLICTS, pool.str2id(f"module({module}:{each[1:]})"))
        texts = [f"module({module}:{each})" for each in streams if not each.startswith("-")] or [f"module({module})"]
        identifier = pool.str2id(texts[-1])
        for text in reversed(texts[:-1]):
            identifier = pool.rel2id(pool.str2id(text), identifier, solv.REL_OR)
        build.add_deparray(solv.SOLVABLE_REQUIRES, identifier)


def _solve(pool: "solv.Pool", hard: Sequence[str], soft: Sequence[str]) -> _Answer:
    solver = pool.Solver()
    for flag in _SOLVER_FLAGS:
        solver.set_flag(flag, 1)
    best = solv.Job.SOLVER_FORCEBEST if hard else 0
    jobs = [pool.Job(_JOB | best, pool.str2id(text)) for text in hard]
    jobs += [pool.Job(_JOB | best | solv.Job.SOLVER_WEAK, pool.str2id(text)) for text in soft]
    problems = solver.solve(jobs)
    if not problems:
        return _Answer(frozenset(each.name for each in solver.transaction().newsolvables()))
    infos = (rule.info() for problem in problems for rule in problem.findallproblemrules())
    conflicts = [info for info in infos if info.type in _CONFLICTS]
    builds = (each for info in conflicts for each in (info.solvable, info.othersolvable) if each is not None)
    return _Answer(
        frozenset(),
        tuple(dict.fromkeys(f"modules: {problem}" for problem in problems)),
        sorted({each.id for each in builds if not each.isinstalled()}),
    )
