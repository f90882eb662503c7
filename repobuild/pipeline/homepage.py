"""What is published -> the page that people see first."""

from collections.abc import Iterable

from repobuild import webserver
from repobuild.model import Lock, Target
from repobuild.pipeline.making import usage
from repobuild.pipeline.session import Session
from repobuild.pipeline.upkeep import published, repositories_in
from repobuild.portal import Portal, SiteKind
from repobuild.publish import Repository

_CONDITION = ", once a web server"
"""What follows a command where nobody knows yet whether something serves the home; on the page it does."""


def landing_page(session: Session, targets: Iterable[Target], name: str, portal: Portal) -> str:
    """Return the page of the home: this machine's repository, those of `targets`, and all else that is published."""
    home = session.settings.home
    others = (each.path.relative_to(home.absolute()).parts for each in repositories_in(home.absolute()))
    places = dict.fromkeys([(name,), *((target.name, name) for target in targets), *others])
    locks = {parts: published(Repository(home, parts)) for parts in places}
    front = next((site for site in portal.sites if site.kind is SiteKind.HOME and site.domain), None)
    spec = webserver.PageSpec(
        title=front.domain if front is not None else portal.address,
        repositories=tuple(_entry(session, parts, chosen) for parts, chosen in locks.items() if chosen is not None),
        links=tuple(webserver.linked_sites(portal)) if portal.is_stated else (),
    )
    return webserver.landing_page(spec)


def _entry(session: Session, parts: tuple[str, ...], chosen: Lock) -> webserver.PageRepository:
    return webserver.PageRepository(
        name=chosen.name,
        target=chosen.target,
        path=f"/{'/'.join(parts)}/",
        packages=len(chosen.choices),
        size=sum(each.package.size for each in chosen.choices),
        time=chosen.time,
        commands=tuple((what, text.partition(_CONDITION)[0]) for what, text in usage(session, chosen).items()),
    )
