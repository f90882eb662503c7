"""targets, key, gc, help."""

import importlib.resources
from pathlib import Path

import click

from repobuild import pipeline
from repobuild.cli.console import err, fields, out, out_json, size, table
from repobuild.cli.options import Run, common, default_key, signing
from repobuild.errors import UsageError
from repobuild.signing import generate
from repobuild.targets import ALL_TARGETS

_MANUALS = {"manual": "repobuild.1.md", "manifest": "repobuild-manifest.5.md"}


@click.command()
@common
def targets(run: Run) -> None:
    """List the targets there are, which of them the manifest serves, and which is this machine's own."""
    served = set(run.manifests.targets)
    rows = [
        (
            each.name,
            each.codename,
            each.package_arch,
            "yes" if each in served else "-",
            "here" if each == run.host else "",
        )
        for each in ALL_TARGETS
    ]
    if run.json:
        names = ("target", "codename", "package_arch")
        out_json(
            [{**dict(zip(names, row, strict=False)), "served": row[3] == "yes", "host": bool(row[4])} for row in rows]
        )
        return
    table(("target", "codename", "arch", "in the manifest", ""), rows)


@click.group()
def key() -> None:
    """Make and show the key that signs our repositories."""


@key.command("new")
@click.option("--name", default="repobuild repository", show_default=True, help="Who signs, as clients see it.")
@click.option("-o", "--out", "path", type=click.Path(path_type=Path), help="The file; the default key when not given.")
@common
def key_new(run: Run, name: str, path: Path | None) -> None:
    """Make a signing key: RSA-4096, no expiry. From then on repositories are signed."""
    place = (path or default_key()).absolute()
    if place.exists():
        raise UsageError(f"there is a key already: {place}", "repobuild key show; remove the file to begin anew")
    pipeline.write_secret(place, generate(name))
    err("the key has no passphrase: its file is readable by you alone, keep it that way")
    _show(run, place)


@key.command("show")
@signing
@common
def key_show(run: Run) -> None:
    """Show the fingerprint of the signing key, and its public part with -v."""
    _show(run, run.key)


def _show(run: Run, path: Path | None) -> None:
    signer = run.load_key(path)
    if signer is None:
        raise UsageError("there is no signing key", "make one: repobuild key new")
    if run.json:
        out_json({"fingerprint": signer.fingerprint, "public": signer.public_armored().decode()})
        return
    out(signer.fingerprint)
    if run.verbose:
        out(signer.public_armored().decode())


@click.command()
@click.option("--dry-run", is_flag=True, help="Say what would be removed.")
@common
def gc(run: Run, dry_run: bool) -> None:
    """Remove from the store what no lock and no published repository needs."""
    with run.session() as session:
        freed = pipeline.collect(session, run.known_locks(), dry_run=dry_run)
    if run.json:
        out_json(fields(freed, ("objects", "bytes")))
        return
    out(f"{'would free' if dry_run else 'freed'} {size(freed.bytes)} in {freed.objects} files")


@click.command("help")
@click.argument("topic", type=click.Choice(sorted(_MANUALS)), default="manual")
def manual(topic: str) -> None:
    """Show the manual: `manual` for the command, `manifest` for the document it reads."""
    text = importlib.resources.files("repobuild").joinpath("docs", _MANUALS[topic]).read_text(encoding="utf-8")
    click.echo_via_pager(text)


COMMANDS = (targets, key, gc, manual)
