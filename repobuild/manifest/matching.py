"""Which of the build machine's own mirrors carry an upstream.

A Debian archive states its Origin: where one is expected, every mirror of apt is worth a try, and one that turns out
to be another archive is refused and left.

An RPM repository states nothing, so it is told by its place. Two URLs are the same repository when their paths are
the same from the distributor's own name on: `…/rocky/9/BaseOS/x86_64/os`, `…/epel/9/Everything/x86_64`,
`…/repos/yum/17/redhat/rhel-9-x86_64`; names that mirrors are known to change are taken for one (`rockylinux`,
`fedora-epel`, `alma`). Where no such name is known, the whole paths have to be the same, and of at least three
components. The host's `$releasever` and `$basearch` are the target's, so that a machine of release 9 serves a target
of release 10 as well. A list of mirrors has no such place: it is taken where the repository has the upstream's name
and the list's URL has the distributor's and, by variable or in figures, the target's release. Lists are asked only
with region `host`, since asking costs a request and the manifest's own mirrors are as good.

A match is a guess about where to look, never a reason to believe: what is served there is verified by the upstream's
own keys.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import urlsplit

from repobuild.manifest.locations import Location, check_url, substitute
from repobuild.model import HostMirror, HostRepository, Mirror, MirrorList

_LEAST_COMPONENTS = 3
_LAYOUT = re.compile(
    r"(?:.*/)?(?:"
    r"(?P<rocky>rocky(?:linux)?)/|(?P<alma>alma(?:linux)?)/|(?P<epel>(?:fedora-)?epel)/|(?P<pgdg>repos/yum)/"
    r"|(?P<centos>(?=[0-9]+-stream/)))(?P<rest>.+)"
)
"""Where a distributor's own name ends and its layout begins; the last such place in a path counts."""
_ARCHES = frozenset({"x86_64", "aarch64", "ppc64le", "s390x", "i386", "i686", "armhfp", "riscv64"})

Values = Mapping[str, str]


def carrying(host: Iterable[HostMirror], location: Location, values: Values, *, has_origin: bool) -> list[Mirror]:
    """Return the host's mirrors that carry what is at `location`, the most promising first.

    Args:
        host: what the host's package manager is configured with.
        location: of the upstream, by the manifest.
        values: what stands for the variables of a URL.
        has_origin: whether a foreign archive is told apart by its Origin.
    """
    given = list(host)
    return _of_origin(given, location) if has_origin else list(_of_place(given, location, values))


def lists_of(host: Iterable[HostMirror], name: str, location: Location, values: Values) -> tuple[MirrorList, ...]:
    """Return the host's lists of mirrors for the upstream `name`."""
    identities = (identity_of(url) for url in location.urls)
    distributor = next((identity[0] for identity in identities if identity is not None and identity[0]), "")
    if location.suite or not distributor:
        return ()
    own = _own_values(values)
    return tuple(
        MirrorList(kind, url, each.proxy)
        for each in host
        if isinstance(each, HostRepository) and each.name.lower() == name.lower()
        for kind, template in each.lists
        if (url := _filled(template, own)) is not None
        and distributor in url.lower()
        and _is_of_target(template, url, values)
    )


def identity_of(url: str) -> tuple[str, ...] | None:
    """Return what two URLs of one RPM repository have in common: distributor ("" for an unknown one) and path."""
    path = urlsplit(url).path.strip("/")
    match = _LAYOUT.fullmatch(path)
    if match is None:
        parts = tuple(path.split("/"))
        return ("", *parts) if len(parts) >= _LEAST_COMPONENTS else None
    distributor = next(name for name, found in match.groupdict().items() if found is not None and name != "rest")
    return (distributor, *match["rest"].split("/"))


def _of_origin(host: list[HostMirror], location: Location) -> list[Mirror]:
    """Return all mirrors, first those whose last path component is that of the upstream's URL."""
    mirrors = [each for each in host if isinstance(each, Mirror)]
    last = location.urls[0].rpartition("/")[2]
    return sorted(mirrors, key=lambda mirror: mirror.url.rpartition("/")[2] != last)


def _of_place(host: list[HostMirror], location: Location, values: Values) -> Iterator[Mirror]:
    if location.suite:
        return
    own = _own_values(values)
    wanted = {identity_of(url) for url in location.urls} - {None}
    for each in host:
        if isinstance(each, HostRepository):
            urls = (_filled(template, own) for template in each.urls)
            yield from (Mirror(url, each.proxy) for url in urls if url is not None and identity_of(url) in wanted)


def _own_values(values: Values) -> Values:
    major, _, minor = values["releasever"].partition(".")
    return {**values, "releasever_major": major, "releasever_minor": minor}


def _filled(template: str, values: Values) -> str | None:
    """Return a URL of the host with the target's values; None when it is none that we fetch."""
    try:
        return check_url(substitute(template, values), query=True)
    except ValueError:
        return None


def _is_of_target(template: str, url: str, values: Values) -> bool:
    """Whether a list's URL names the target's release, and no other architecture."""
    words = set(re.split(r"[^A-Za-z0-9_.]+", url.partition("//")[2]))
    names_release = "${releasever" in template or values["releasever"] in words
    return names_release and not words & (_ARCHES - {values["basearch"]})
