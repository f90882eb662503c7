"""Lock -> tree, and the files that lie beside a repository."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from repobuild import publish, webserver
from repobuild.durable import Folder
from repobuild.errors import ProofError
from repobuild.formats import FORMATS
from repobuild.formats.protocol import NODE_MODULE, ClientFacts, Format, Objects, RepositoryFacts, RootFile, Signer
from repobuild.model import (
    DEFAULT_NAME,
    LOCK_NAME,
    MARKER,
    PACKAGE_KEYS,
    PAGE_NAME,
    PROOF_NAME,
    Lock,
    Tree,
    TreeFile,
    Upstream,
)
from repobuild.pipeline.session import Session
from repobuild.publish import Repository, make_file
from repobuild.record import parts_of, sha256_of
from repobuild.signing import SigningKey, keep_or_sign_detached, keep_or_sign_inline
from repobuild.targets import parse_target

_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
_KEY_LIMIT = 1 << 20
"""Bytes of a public key."""
_SIGNATURE_LIMIT = 64 << 20
"""Bytes of a signed root of ours."""


@dataclass(frozen=True, slots=True)
class _Signer:
    """Signs with our key, beside the signatures that are published."""

    key: SigningKey
    existing_inline: bytes | None
    existing_detached: bytes | None

    def inline(self, text: bytes) -> bytes:
        """Keep the published document while it holds."""
        return keep_or_sign_inline(text, self.existing_inline, self.key)

    def detached(self, text: bytes, *, one_block: bool = True) -> bytes:
        """Keep the published signature while it holds."""
        return keep_or_sign_detached(text, self.existing_detached, self.key, one_block=one_block)


def make_tree(
    session: Session, chosen: Lock, text: bytes, repository: Repository, objects: Objects, *, has_been: bool = False
) -> Tree:
    """Return the tree of a lock, signed when there is a key; signatures that still hold are kept (G6).

    In it are the receipt of the proof that it installs, and the report. Both follow from lock and packages alone. What
    `has_been` published before is noted where its proof fails: to go back has to be possible.

    Raises:
        ProofError: when something in it would not install, or contradicts the lock.
    """
    from repobuild.pipeline.attesting import attest_lock  # noqa: PLC0415 -- of use only where something is published
    from repobuild.pipeline.reporting import index_page  # noqa: PLC0415

    metadata = index_files(chosen, _signer(session, repository, chosen), objects)
    receipt = attest_lock(session, chosen, sha256_of(text), metadata)
    if not receipt.is_whole:
        if not has_been:
            said = f"{chosen.target}: nothing is published, for the proof fails: {receipt.summary}"
            raise ProofError(said, receipt.hint)
        session.progress.note(f"{chosen.target}: published as it was before, and its proof fails: {receipt.summary}")
    package_keys = [said.encode() for kind, said in chosen.extras if kind == PACKAGE_KEYS]
    keys = [make_file(_package_keys_name(chosen.name), each) for each in package_keys]
    proof = make_file(PROOF_NAME, receipt.to_bytes())
    signatures = {each.signature or each.path for each in own_roots(_form(chosen))}
    unsigned = [each.path for each in (*metadata, *keys) if each.path not in signatures]
    page = index_page((chosen, text), receipt, (*unsigned, LOCK_NAME, PROOF_NAME, MARKER), objects)
    keys += [make_file(name, data) for name, data in key_files(session, chosen.name).items()]
    return publish.make_tree(chosen, text, (*metadata, *keys, proof, make_file(PAGE_NAME, page.encode())))


def index_files(chosen: Lock, sign: Signer | None, objects: Objects) -> tuple[TreeFile, ...]:
    """Return the index files of a repository of a lock; signed when `sign` is given."""
    extras = {kind: said.encode() for kind, said in chosen.extras if kind != PACKAGE_KEYS}
    facts = RepositoryFacts(name=chosen.name, target=parse_target(chosen.target), time=chosen.time, extras=extras)
    return _form(chosen).metadata([each.package for each in chosen.choices], facts, sign, objects)


def own_roots(form: Format) -> Sequence[RootFile]:
    """Return where the roots of a repository of ours lie, and what signs them."""
    return form.root_files(Upstream(name="repository", module="", mirrors=(), suite="./"))


def beside(session: Session, chosen: Lock, keys: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the files that lie beside a repository: for clients, for nginx, and the public key when there is one."""
    facts = _facts_of(session, chosen, keys)
    prefix = f"/{'/'.join(session.parts(chosen.target, chosen.name))}/"
    served = webserver.NginxSpec(home=str(session.settings.home.absolute()), repositories=(prefix,))
    nginx = {f"{chosen.name}-nginx.conf": webserver.nginx_locations(served).encode()}
    files = _form(chosen).client_files(facts)
    if chosen.name != DEFAULT_NAME and session.repository(chosen.target, DEFAULT_NAME).current() is not None:
        files = {name: data for name, data in files.items() if not name.startswith(f"{NODE_MODULE}.")}  # is Pigsty's
    return {**files, **nginx, **keys}


def published_key(repository: Repository, name: str) -> dict[str, bytes]:
    """Return the public key that travels in a repository, in both forms by file name; empty when it is not signed."""
    if not repository.path.is_dir():
        return {}
    with Folder.open(repository.path) as folder:
        found = {file: folder.read(file, _KEY_LIMIT) for file in key_names(name)}
    return {file: data for file, data in found.items() if data is not None}


def client_facts(
    session: Session,
    place: tuple[str, str],
    endpoint: str,
    chosen: Lock | None,
    *,
    keys: Mapping[str, bytes],
    generation: str,
) -> ClientFacts:
    """Return what the clients' files of a repository say.

    Args:
        session: the run.
        place: its target and name.
        endpoint: the URL under which the home is served.
        chosen: what it holds, None where nothing is published.
        keys: our public keys by file; none where it is not signed.
        generation: of Pigsty, whose form the nodes' files have; "" for the last one.
    """
    target, name = place
    parts = session.parts(target, name)
    has_keys = chosen is not None and any(kind == PACKAGE_KEYS for kind, _ in chosen.extras)
    return ClientFacts(
        name=name,
        url="/".join((_without_default_port(endpoint), *parts)),
        stated_url="/".join((endpoint.rstrip("/"), *parts)),
        folder=str(session.settings.home.absolute().joinpath(*parts)),
        is_signed=bool(keys),
        public_key=keys.get(key_names(name)[0], b""),
        target=parse_target(target),
        package_keys=(_package_keys_name(name),) if has_keys else (),
        generation=generation or "v4",
    )


def usage(session: Session, chosen: Lock) -> Mapping[str, str]:
    """Return what to type on a machine to use the repository of a lock, by what it is for."""
    facts = _facts_of(session, chosen, published_key(session.repository(chosen.target, chosen.name), chosen.name))
    return _form(chosen).usage(facts)


def key_files(session: Session, name: str) -> dict[str, bytes]:
    """Return our public keys as they are published: binary for gpgv and apt, armoured for people and rpm."""
    key = session.settings.key
    return dict(zip(key_names(name), (key.public_binary(), key.public_armored()), strict=True)) if key else {}


def _facts_of(session: Session, chosen: Lock, keys: Mapping[str, bytes]) -> ClientFacts:
    place = (chosen.target, chosen.name)
    return client_facts(session, place, chosen.endpoint, chosen, keys=keys, generation=chosen.generation)


def _form(chosen: Lock) -> Format:
    return FORMATS[parse_target(chosen.target).family]


def _package_keys_name(name: str) -> str:
    return f"{name}-packages.asc"


def key_names(name: str) -> tuple[str, str]:
    """Return the file names of the public key in a repository: binary, armoured."""
    return f"{name}.gpg", f"{name}.asc"


def _without_default_port(url: str) -> str:
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.removesuffix(_DEFAULT_PORTS.get(scheme, ''))}{slash}{path}".rstrip("/")


def _signer(session: Session, repository: Repository, chosen: Lock) -> Signer | None:
    key = session.settings.key
    if key is None:
        return None
    return _Signer(key, *_existing_signatures(repository, chosen))


def _existing_signatures(repository: Repository, chosen: Lock) -> tuple[bytes | None, bytes | None]:
    if not repository.path.is_dir():
        return None, None
    with Folder.open(repository.path) as folder:
        return _form(chosen).existing_signatures(lambda path: _read_within(folder, path))


def _read_within(root: Folder, path: str) -> bytes | None:
    """Return a file of a repository, None when it is not there."""
    *above, name = parts_of(path)
    if not all(root.stat(part) is not None for part in above[:1]):
        return None
    with root.descend(above) as folder:
        return folder.read(name, _SIGNATURE_LIMIT)
