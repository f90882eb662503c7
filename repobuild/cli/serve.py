"""client, nginx, serve."""

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import click

from repobuild import pipeline, webserver
from repobuild.cli.console import err, out, out_json
from repobuild.cli.options import Run, common, signing
from repobuild.errors import UsageError


@click.command()
@click.argument("targets", nargs=-1, metavar="[TARGET]...")
@click.option("--http", help="The URL under which the home is served; the manifest's repo_endpoint when not given.")
@signing
@common
def client(run: Run, targets: Sequence[str], http: str | None) -> None:
    """Print the files by which clients find the repositories, over http and from disk."""
    found = {}
    with run.session() as session:
        for target in run.targets(targets):
            endpoint = (http or run.manifest.endpoint).rstrip("/")
            found[target.name] = pipeline.client_files(session, target, run.manifest.name, endpoint)
    if run.json:
        out_json(found)
        return
    for name, files in found.items():
        for file, text in files.items():
            out(f"# {name}: {file}")
            out(text.rstrip("\n"))


@click.command()
@click.argument("targets", nargs=-1, metavar="[TARGET]...")
@click.option("--port", type=click.IntRange(1, 65535), help="The port; that of repo_endpoint when not given.")
@click.option("--server-name", multiple=True, help="A name clients use; that of repo_endpoint when not given.")
@click.option("--locations", is_flag=True, help="Only the locations, to include in a server that is there.")
@click.option("-o", "--out", "path", type=click.Path(path_type=Path), help="A file to write instead of stdout.")
@common
def nginx(
    run: Run, targets: Sequence[str], port: int | None, server_name: Sequence[str], locations: bool, path: Path | None
) -> None:
    """Write the nginx configuration that serves the repositories; nginx -t checks it where there is an nginx."""
    endpoint = urlsplit(run.manifest.endpoint)
    with run.session() as session:
        chosen = run.targets(targets) if targets else list(run.manifest.targets)
        prefixes = tuple(f"/{'/'.join(session.parts(each.name, run.manifest.name))}/" for each in chosen)
        spec = webserver.NginxSpec(
            home=str(session.settings.home.absolute()),
            repositories=prefixes,
            port=port or endpoint.port or 80,
            server_names=tuple(server_name) or ((endpoint.hostname,) if endpoint.hostname else ()),
        )
    text = webserver.nginx_locations(spec) if locations else webserver.nginx_config(spec)
    if not webserver.validate(text, locations=locations):
        err("there is no nginx here, so its own check was left out")
    if path is not None:
        pipeline.write_text(path, text)
    if run.json:
        out_json({"config": text, "path": str(path) if path else None})
    elif path is None:
        out(text.rstrip("\n"))


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


COMMANDS = (client, nginx, serve)
