"""client, nginx, dns, ntp, serve."""

import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import click

from repobuild import pipeline, webserver
from repobuild.cli.console import err, out, out_json, steps
from repobuild.cli.options import common
from repobuild.cli.run import Run
from repobuild.errors import UsageError
from repobuild.portal import SiteKind
from repobuild.signing import spaced
from repobuild.targets import ALL_TARGETS


@click.command()
@click.argument("targets", nargs=-1, metavar="[TARGET]...")
@click.option("--http", help="The URL under which the home is served; the manifest's repo_endpoint when not given.")
@click.option("--key", "with_key", is_flag=True, help="The public key too, and what to do with it on a node.")
@common
def client(run: Run, targets: Sequence[str], http: str | None, with_key: bool) -> None:
    """Print the files by which clients find the repositories, over http and from disk."""
    found, keys = {}, {}
    general = run.general
    endpoint, name = (http or general.endpoint).rstrip("/"), general.name
    with run.session() as session:
        for target in run.targets(targets):
            found[target.name] = pipeline.client_files(session, target, name, endpoint, general.client_generation)
            if with_key:
                keys[target.name] = pipeline.client_key(session, target, name, endpoint)
    if run.json:
        out_json(
            {
                each: {**files, **({keys[each].file: keys[each].armored} if keys else {})}
                for each, files in found.items()
            }
        )
        return
    for each, files in found.items():
        for file, text in files.items():
            out(f"# {each}: {file}")
            out(text.rstrip("\n"))
        if keys:
            _show_key(each, keys[each])


def _show_key(target: str, key: "pipeline.ClientKey") -> None:
    out(f"# {target}: {key.file}")
    out(key.armored.rstrip("\n"))
    for fingerprint in key.fingerprints:
        out(f"# {target}: compare on the node: {spaced(fingerprint)}")
    out(f"# {target}: on a node:")
    steps(key.usage)


@click.command()
@click.argument("targets", nargs=-1, metavar="[TARGET]...")
@click.option(
    "--port", type=click.IntRange(1, 65535), help="A lone server, on this port; repo_endpoint's if not given."
)
@click.option("--server-name", multiple=True, help="A lone server, of this name; repo_endpoint's host if not given.")
@click.option("--locations", "form", flag_value="locations", help="Only the locations, to include in a server.")
@click.option("--page", "form", flag_value="page", help="The landing page instead: HTML for the home's index.html.")
@click.option("--users", "form", flag_value="users", help="The password file instead; needs -o.")
@click.option("-o", "--out", "path", type=click.Path(path_type=Path), help="A file to write instead of stdout.")
@common
def nginx(
    run: Run, targets: Sequence[str], port: int | None, server_name: Sequence[str], form: str | None, path: Path | None
) -> None:
    """Write the web server's configuration: the portal where the manifest has an `infra_portal`, else a lone server.

    nginx -t checks it where there is an nginx.
    """
    if form is not None and (port or server_name):
        raise UsageError(f"--{form} goes without --port and --server-name", "those are for a lone server")
    if form == "users":
        _write_users(run, path)
        return
    if form == "page":
        known = run.targets(targets) if targets else [*run.manifests.targets, *ALL_TARGETS]
        with run.session() as session:
            text = pipeline.landing_page(session, known, run.general.name, run.general.portal)
        _hand_over(run, "page", text, path)
        return
    lone = _lone(run, targets, port, server_name)
    if form == "locations":
        text = webserver.nginx_locations(lone)
    elif run.general.portal.is_stated and not (port or server_name):
        text = _portal(run, lone)
    else:
        text = webserver.nginx_config(lone)
    judgement = webserver.validate(text, locations=form == "locations")
    if not judgement.was_asked:
        err("there is no nginx here, so its own check was left out")
    if "server_names_hash_" in text:
        err("the names need more room (server_names_hash_…): nginx refuses that twice, so take it out of nginx.conf")
    for each in judgement.warnings:
        err(f"warning of nginx: {each}")
    _hand_over(run, "config", text, path)


def _lone(run: Run, targets: Sequence[str], port: int | None, names: Sequence[str]) -> webserver.NginxSpec:
    """Return what a server of the repositories alone serves."""
    endpoint = urlsplit(run.general.endpoint)
    name = run.general.name
    with run.session() as session:
        chosen = run.targets(targets) if targets else list(run.manifests.targets)
        prefixes = tuple(f"/{'/'.join(session.parts(each.name, name))}/" for each in chosen)
        return webserver.NginxSpec(
            home=str(session.settings.home.absolute()),
            repositories=prefixes or (f"/{name}/",),
            port=port or endpoint.port or 80,
            server_names=tuple(names) or ((endpoint.hostname,) if endpoint.hostname else ()),
        )


def _portal(run: Run, lone: webserver.NginxSpec) -> str:
    """Return the portal's configuration; what nginx will miss when it starts is said."""
    portal = run.general.portal
    spec = webserver.PortalSpec(portal=portal, home=lone.home, repositories=lone.repositories, acme=f"{lone.home}/acme")
    text = webserver.portal_config(spec)
    if not any(site.kind is SiteKind.HOME and site.domain for site in portal.sites):
        err("infra_portal has no `home` with a domain, so nothing serves the repositories")
    if not portal.users and any(site.auth and site.domain for site in portal.sites):
        err("nginx_users names nobody, so no one may enter sites with `auth` unless the password file is made by hand")
    absent = [each for each in webserver.certificates(spec) if not os.access(each, os.F_OK)]
    if absent:
        err(f"nginx starts only where these files are, and here they are not: {', '.join(absent)}")
    return text


def _write_users(run: Run, path: Path | None) -> None:
    if path is None:
        raise UsageError("passwords go to a file, not to a terminal or a log", "name it: -o /etc/nginx/.htpasswd")
    portal = run.general.portal
    if not portal.users:
        raise UsageError(
            f"nobody may enter: {run.manifests.path} names no nginx_users", "name them with their passwords"
        )
    pipeline.write_secret(path, webserver.users_file(portal).encode())
    err(f"for the owner and group alone: let nginx's group read it, as with chgrp www-data {path}")
    if run.json:
        out_json({"users": [name for name, _ in portal.users], "path": str(path)})


def _hand_over(run: Run, what: str, text: str, path: Path | None, **more: object) -> None:
    """Write a text to a file, or print it; `more` goes with it for machines."""
    if path is not None:
        pipeline.write_text(path, text)
    if run.json:
        out_json({what: text, "path": str(path) if path else None, **more})
    elif path is None:
        out(text.rstrip("\n"))


@click.command()
@click.option("--hosts", is_flag=True, help="As lines of /etc/hosts.")
@click.option("-o", "--out", "path", type=click.Path(path_type=Path), help="A file to write instead of stdout.")
@common
def dns(run: Run, hosts: bool, path: Path | None) -> None:
    """Write the names of the portal and of `dns_records`, for dnsmasq or as /etc/hosts has them."""
    portal = run.general.portal
    text = webserver.hosts_file(portal) if hosts else webserver.dnsmasq_config(portal)
    records = [{"name": name, "address": address} for name, address in webserver.dns_records(portal)]
    _hand_over(run, "config", text, path, records=records)


@click.command()
@click.option("--client", is_flag=True, help="For machines that follow the INFRA node.")
@click.option("--allow", multiple=True, metavar="NETWORK", help="Who may ask; all private networks when not given.")
@click.option("-o", "--out", "path", type=click.Path(path_type=Path), help="A file to write instead of stdout.")
@common
def ntp(run: Run, client: bool, allow: Sequence[str], path: Path | None) -> None:
    """Write what makes chronyd serve the time, or with --client follow the INFRA node."""
    if client and allow:
        raise UsageError("--allow is for the server", "leave out --client, or --allow")
    portal = run.general.portal
    text = webserver.chrony_client(portal) if client else webserver.chrony_server(allow or webserver.PRIVATE_NETWORKS)
    _hand_over(run, "config", text, path)


@click.command()
@click.option("--address", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="The port, 0 for any.")
@common
def serve(run: Run, address: str, port: int) -> None:
    """Serve the home for a quick look, where there is no nginx yet. Ends with Ctrl-C."""
    from repobuild.serve import make_server  # noqa: PLC0415 -- its libraries are for those who serve

    if not run.web_root.is_dir():
        raise UsageError(f"there is nothing to serve: {run.web_root}", "make it: repobuild sync")
    server = make_server(run.web_root, address, port)
    err(f"serving {run.web_root} at {server.url} (Ctrl-C ends)")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        err("ended")
    finally:
        server.server_close()


COMMANDS = (client, nginx, dns, ntp, serve)
