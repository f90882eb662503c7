"""key new, show, export, rotate."""

import sys
from pathlib import Path

import click

from repobuild import pipeline
from repobuild.cli.console import err, out, out_json, steps
from repobuild.cli.options import common, signing
from repobuild.cli.run import Run, default_key
from repobuild.errors import UsageError
from repobuild.signing import AGENT_PREFIX, SigningKey, generate, short, spaced

_NAME = "repobuild repository"
_NEW = "make one: repobuild key new"
_PLAIN = "the key has no passphrase: its file is readable by you alone, keep it that way"


@click.group()
def key() -> None:
    """Make, show, export and replace the key that signs our repositories and bundles."""


@key.command("new")
@click.option("--name", default=_NAME, show_default=True, help="Who signs, as clients see it.")
@click.option("-o", "--out", "path", type=click.Path(path_type=Path), help="The file; the default key when not given.")
@common
def key_new(run: Run, name: str, path: Path | None) -> None:
    """Make a signing key: RSA-4096, no expiry. From then on repositories are signed."""
    place = (path or default_key()).absolute()
    pipeline.keep_new(place, generate(name))
    err(_PLAIN)
    _show(run, run.load_keys((str(place),)))


@key.command("show")
@signing
@common
def key_show(run: Run) -> None:
    """Show the fingerprint of the signing key, and its public part with -v."""
    _show(run, run.signing_key)


@key.command("export")
@click.option(
    "-o", "--out", "folder", type=click.Path(path_type=Path, file_okay=False), help="A folder for both forms."
)
@click.option("--binary", is_flag=True, help="On stdout the binary form, not the armoured one.")
@signing
@common
def key_export(run: Run, folder: Path | None, binary: bool) -> None:
    """Export the public key, armoured and binary, into a folder; without one, print it."""
    signer = _required(run.signing_key)
    if folder is not None:
        paths = pipeline.export_key(signer, run.general.name, folder)
        if run.json:
            out_json({"fingerprints": list(signer.fingerprints), "paths": [str(path) for path in paths]})
            return
        for path in paths:
            out(str(path))
    elif run.json:
        out_json(_described(signer))
    elif binary:
        sys.stdout.buffer.write(signer.public_binary())
    else:
        out(signer.public_armored().decode().rstrip("\n"))


@key.command("rotate")
@click.option("--name", default=_NAME, show_default=True, help="Who signs, as clients see it.")
@click.option("--finish", is_flag=True, help="End it: the older key signs no more.")
@signing
@common
def key_rotate(run: Run, name: str, finish: bool) -> None:
    """Make a new key that takes over: until --finish everything is signed with the older one and with it."""
    path, signer = _file_of(run), _required(run.signing_key)
    if finish:
        _finish(run, path, signer)
        return
    pipeline.check_rotation(path, signer)
    pipeline.begin_rotation(path, generate(name))
    err(_PLAIN)
    _show(run, run.load_keys((str(path),)))
    if not run.json:
        steps(
            {
                "sign twice": "repobuild sync all, and bundle anew",
                "hand it out": "repobuild key export -o FOLDER; the files hold both keys",
                "end it": "repobuild key rotate --finish, when every client has the new key",
            }
        )


def _finish(run: Run, path: Path, signer: SigningKey) -> None:
    with run.session() as session:
        for place in pipeline.not_signed_with(session, run.general.name, signer.fingerprint):
            err(f"{place}: its clients have not been given the new key: it is signed with the older one alone")
    retired = pipeline.finish_rotation(path, signer)
    err(f"the older key signs no more; destroy its file when nobody needs it: {retired}")
    _show(run, run.load_keys((str(path),)))


def _file_of(run: Run) -> Path:
    """Return the file of the key that signs.

    Raises:
        UsageError: when it is in no file, or several are named.
    """
    names = run.key_names
    if len(names) != 1 or names[0].startswith(AGENT_PREFIX):
        raise UsageError(
            f"only a key in one file is rotated here, got {' '.join(names) or 'none'}",
            "name both keys, the older first: --key OLD --key NEW; signing_key of the manifest takes a list"
            if names
            else _NEW,
        )
    return Path(names[0]).absolute()


def _show(run: Run, signer: SigningKey | None) -> None:
    found = _required(signer)
    if run.json:
        out_json(_described(found))
        return
    *older, newest = found.fingerprints
    for each in older:
        out(f"{spaced(each)}  (short {short(each)}, the older key)")
    out(f"{spaced(newest)}  (short {short(newest)})")
    if run.verbose:
        out(found.public_armored().decode())


def _described(signer: SigningKey) -> dict[str, object]:
    return {
        "fingerprint": signer.fingerprint,
        "fingerprints": list(signer.fingerprints),
        "public": signer.public_armored().decode(),
    }


def _required(signer: SigningKey | None) -> SigningKey:
    if signer is None:
        raise UsageError("there is no signing key", _NEW)
    return signer


COMMANDS = (key,)
