"""From a want's text to candidates: names, globs, versions, capabilities, paths, groups and modules."""

import difflib
import re
from collections.abc import Iterable

from repobuild.errors import HostileInputError
from repobuild.formats.protocol import NOWHERE, Found
from repobuild.formats.rpm import groups
from repobuild.formats.rpm.groups import Member
from repobuild.formats.rpm.resolver_stock import Candidate, Kind, Stock
from repobuild.formats.rpm.universe import is_beyond_primary
from repobuild.formats.rpm.universe_match import is_glob

_NEAR = 3
"""Near matches named for a want that nothing has."""
_MAX_WANT = 512
"""Characters of a want."""
_MODULE = re.compile(r"(?P<name>[^:/\s]+)(?::(?P<stream>[^:/\s]+))?(?:/(?P<profile>[^:/\s]+))?")
_ARCHES = frozenset({"noarch", "i386", "i486", "i586", "i686", "x86_64", "aarch64"})


def find(stock: Stock, want: str) -> Found[Candidate]:
    """Say what a want stands for.

    Raises:
        HostileInputError: for a text that cannot be a want.
        UnreachableError: when a list of files or groups that it takes cannot be had.
    """
    if not want or len(want) > _MAX_WANT or not want.isprintable():
        raise HostileInputError(f"not a package name, glob or spec: {want[:80]!r}")
    if want.startswith("@"):
        return _module(stock, want) or _group(stock, want)
    if want.startswith("/") and stock.has_more_files and is_beyond_primary(want) and not is_glob(want):
        stock.open_files()
    name, is_versioned, version = want.partition("=")
    if is_versioned and (found := _version(stock, want, name, version)) is not None:
        return found
    if is_glob(want):
        return _glob(stock, want)
    if stock.match(want).numbers:
        return Found((Candidate(Kind.SPEC, want),))
    return _nothing(stock, want)


def _version(stock: Stock, want: str, name: str, version: str) -> Found[Candidate] | None:
    """Take `name=version`; None when no package has that name, so that it may be a capability."""
    arch = ""
    if not stock.named(name) and name.rpartition(".")[2] in _ARCHES:
        name, _, arch = name.rpartition(".")
    named = stock.named(name)
    if not named:
        return None
    if stock.exactly(name, version, arch):
        return Found((Candidate(Kind.VERSION, want, name, version, arch),))
    packages = [stock.universe.solvable(each) for each in named]
    had = dict.fromkeys(each.evr for each in reversed(packages))
    near = tuple(f"{name}={each}" for each in had)[:_NEAR]
    return Found((), reason=f"{name} is there, but only as {', '.join(had)}", near=near)


def _glob(stock: Stock, want: str) -> Found[Candidate]:
    if want.startswith(("/", "*/")):
        if stock.has_more_files and not stock.match(want).numbers:
            stock.open_files()
        found = (Candidate(Kind.SPEC, want),) if stock.match(want).numbers else ()
        return Found(found, is_optional=True, reason="" if found else "nothing matches")
    names = sorted({stock.universe.solvable(each).name for each in stock.match(want).numbers})
    reason = "" if names else _hidden(stock, want) or "nothing matches"
    return Found(tuple(Candidate(Kind.SPEC, want, name) for name in names), is_optional=True, reason=reason)


def _nothing(stock: Stock, want: str) -> Found[Candidate]:
    reason = _hidden(stock, want)
    if reason:
        return Found((), reason=reason)
    if withheld := stock.why_withheld(want):
        return Found((), reason=withheld)
    name, dot, arch = want.rpartition(".")
    if dot and arch in _ARCHES and (named := stock.named(name)):
        had = sorted({stock.universe.solvable(each).arch for each in named})
        return Found((), reason=f"{name} is there, but only for {', '.join(had)}", near=(name,))
    return Found((), reason=NOWHERE, near=_near(want, stock.universe.names()))


def _hidden(stock: Stock, want: str) -> str:
    """Say what hides the packages that a want would stand for."""
    numbers = stock.match_hidden(want).numbers
    if not numbers:
        return ""
    package = stock.universe.solvable(numbers[-1])
    return f"{package} is there, but hidden: {stock.universe.hidden[numbers[-1]]}"


def _group(stock: Stock, want: str) -> Found[Candidate]:
    pattern, _, kinds = want[1:].partition("/")
    types = frozenset(kinds.split(",")) if kinds else groups.INSTALLED
    if not types <= set(groups.TYPES):
        return Found((), reason=f"the packages of a group are {', '.join(groups.TYPES)}")
    members = stock.groups.find(pattern, types)
    if members is None:
        known = (*stock.groups.names(), *(each.name for each in stock.modules.streams))
        near = tuple(f"@{each}" for each in _near(pattern, dict.fromkeys(known)))
        return Found((), reason="no upstream has a group or module of that name", near=near)
    found = dict.fromkeys(each for member in members if (each := _member(stock, member)) is not None)
    return Found(tuple(found), reason="" if found else "no upstream has a package of this group")


def _member(stock: Stock, member: Member) -> Candidate | None:
    """Return what a member stands for, None when no upstream has it: dnf goes on without it."""
    arch = stock.target.package_arch if member.is_of_base_arch else ""
    found = stock.named(member.name)
    if not any(not arch or stock.universe.solvable(each).arch == arch for each in found):
        return None
    if member.requires:
        text = f"({member.name} if {member.requires})"
        return Candidate(Kind.CONDITION, text, text)
    return Candidate(Kind.MEMBER, member.name, member.name, arch=arch)


def _module(stock: Stock, want: str) -> Found[Candidate] | None:
    """Take `@module:stream/profile`, which enables the stream; None when no module has that name."""
    parts = _MODULE.fullmatch(want[1:])
    known = stock.modules.streams_of(parts["name"]) if parts is not None else ()
    if parts is None or not known:
        return None
    name = parts["name"]
    stream = parts["stream"] or stock.modules.stream_in_use(name, stock.enabled)
    if stream not in known:
        reason = "that stream is not there" if stream else "none of its streams is enabled or the default"
        return Found((), reason=f"module {name}: {reason}", near=tuple(f"@{name}:{each}" for each in known))
    if stock.enabled.get(name, stream) != stream:
        return Found((), reason=f"module {name} has stream {stock.enabled[name]} enabled already")
    return _profiles(stock, name, stream, parts["profile"])


def _profiles(stock: Stock, name: str, stream: str, profile: str | None) -> Found[Candidate]:
    spec = f"{name}:{stream}"
    offered = dict(max(stock.modules.builds(name, stream), key=lambda build: build.version).profiles)
    profiles = (profile,) if profile else stock.modules.profiles(name, stream)
    if not profiles or not set(profiles) <= set(offered):
        reason = "has no such profile" if profile else "has no default profile: name one"
        near = tuple(f"@{spec}/{each}" for each in sorted(offered))[:_NEAR]
        return Found((), reason=f"module {spec} {reason}", near=near)
    stock.enable(name, stream)
    if all(each.spec != spec for each in stock.active.streams):
        why = "; ".join(stock.active.problems)
        return Found((), reason=f"module {spec} cannot be enabled{': ' if why else ''}{why}")
    packages = sorted({package for profile in profiles for package in offered[profile]})
    absent = [package for package in packages if not stock.named(package)]
    if absent:
        return Found((), reason=f"no upstream has {', '.join(absent)}, which module {spec} asks for")
    return Found(tuple(Candidate(Kind.PROFILE, spec, package) for package in packages))


def _near(name: str, names: Iterable[str]) -> tuple[str, ...]:
    """Return names that come near, out of those that could: a typo must not cost seconds."""
    letters = set(name)
    worth = [
        each
        for each in names
        if each and abs(len(each) - len(name)) <= 4 and (each[0] == name[:1] or len(letters ^ set(each)) <= 2)
    ]
    return tuple(difflib.get_close_matches(name, worth, n=_NEAR, cutoff=0.75))
