"""From what a manifest says of an access to the access itself: reads the environment's word, netrc and secret files.

A secret goes from its place into an `Access` and nowhere else: no message here repeats what was read.
"""

import base64
import ipaddress
import os
import re
import ssl
import stat
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from repobuild.credentials import Access, AccessSource, SecretKind, SecretSource
from repobuild.errors import UsageError
from repobuild.progress import SILENT, Progress

_LIMIT = 1 << 20
"""Bytes of a secret file, netrc, certificate or key."""
_SECRET_LIMIT = 1 << 14
"""Characters of one credential."""
_BEARER = re.compile(r"bearer +([A-Za-z0-9._~+/-]+=*) *", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"|(\S+)', re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_FORMS = "`user:password` or `bearer TOKEN`"


def reveal_all(
    sources: Mapping[str, AccessSource], environment: Mapping[str, str], progress: Progress = SILENT
) -> dict[str, Callable[[], Access]]:
    """Return how to come by each access, by URL; what is asked for twice is read once.

    A credential that anybody on the way can read is warned of when it is first asked for.
    """
    return {url: _later(url, source, environment, progress) for url, source in sources.items()}


def _later(url: str, source: AccessSource, environment: Mapping[str, str], progress: Progress) -> Callable[[], Access]:
    @cache
    def found() -> Access:
        access = reveal(url, source, environment)
        if access.authorization is not None and _is_in_the_open(url):
            progress.note(f"warning: credentials for {url} go over plain http, where others can read them; use https")
        return access

    return found


def _is_in_the_open(url: str) -> bool:
    """Whether what is sent to `url` leaves this machine unencrypted."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        is_here = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_here = host == "localhost" or host.endswith(".localhost")
    return parts.scheme == "http" and not is_here


def reveal(url: str, source: AccessSource, environment: Mapping[str, str]) -> Access:
    """Return the access to `url` that `source` describes.

    Raises:
        UsageError: when a credential or file is not there, not what it has to be, or readable by others.
    """
    host = urlsplit(url).hostname or ""
    access = Access(
        authorization=_authorization(source.credentials, source.where, host, environment),
        ca=source.ca,
        client_cert=source.client_cert,
        client_key=source.client_key,
        proxy=source.proxy,
        proxy_authorization=_authorization(source.proxy_credentials, source.where, "", environment),
    )
    _check_certificates(source)
    return access


def _authorization(secret: SecretSource | None, where: str, host: str, environment: Mapping[str, str]) -> str | None:
    """Return the value of the header that shows a credential."""
    if secret is None:
        return None
    if secret.kind is SecretKind.NETRC:
        return _from_netrc(where, host, environment)
    if secret.kind is SecretKind.ENV:
        text, place = environment.get(secret.name, ""), f"the environment variable {secret.name}"
        if not text:
            raise UsageError(f"{where}: expected a credential in {place}, got none", f"set it to {_FORMS}")
    else:
        text, place = _read_secret(Path(secret.name), where), secret.name
    header = _header(text.strip("\r\n"))
    if header is None:
        raise UsageError(f"{where}: expected {_FORMS} in {place}, got something else, which is not repeated")
    return header


def _header(text: str) -> str | None:
    if len(text) > _SECRET_LIMIT or _CONTROL.search(text):
        return None
    if text.lower().startswith("bearer "):
        bearer = _BEARER.fullmatch(text)
        return f"Bearer {bearer[1]}" if bearer else None
    user, colon, password = text.partition(":")
    return _basic(user, password) if user and colon else None


def _basic(user: str, password: str) -> str:
    """Return what the Basic scheme sends (RFC 7617)."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode("utf-8", "surrogateescape")).decode("ascii")


def _from_netrc(where: str, host: str, environment: Mapping[str, str]) -> str:
    path = Path(environment.get("NETRC") or Path.home() / ".netrc")
    entries = dict(reversed(list(_netrc(_read_secret(path, where)))))
    login = entries.get(host.lower()) or entries.get("")
    if login is None or not login[0] or ":" in login[0]:
        raise UsageError(
            f"{where}: expected a login for {host} in the netrc file, got none: {path}",
            f"add a line: machine {host} login USER password PASSWORD",
        )
    return _basic(*login)


def _netrc(text: str) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield (machine, (login, password)) of a netrc file in its order; the machine of `default` is empty."""
    machine: str | None = None
    values = {"login": "", "password": ""}
    words = _words(text)
    for word in words:
        if word in {"machine", "default"}:
            if machine is not None:
                yield machine, (values["login"], values["password"])
            machine = "" if word == "default" else next(words, "?").lower()
            values = {"login": "", "password": ""}
        elif word in {"login", "user", "password", "account"}:
            values["login" if word == "user" else word] = next(words, "")
    if machine is not None:
        yield machine, (values["login"], values["password"])


def _words(text: str) -> Iterator[str]:
    """Yield the words of a netrc file; comments and macros (to the next empty line) are left out."""
    for paragraph in re.split(r"\n[ \t\r]*\n", text):
        lines = (line for line in paragraph.split("\n") if not line.lstrip().startswith("#"))
        body = re.split(r"(?:^|\s)macdef\s", "\n".join(lines))[0]
        for match in _WORD.finditer(body):
            yield match[2] if match[1] is None else _ESCAPED.sub(r"\1", match[1])


def _check_certificates(source: AccessSource) -> None:
    """Prove that the files are what they have to be, now and not in the middle of a handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for path in (source.ca, source.client_cert):
        if path is not None:
            _read(path, source.where)
    secret = source.client_key or source.client_cert
    if secret is not None:
        _read_secret(secret, source.where)
    try:
        if source.ca is not None:
            context.load_verify_locations(source.ca)
    except (ssl.SSLError, OSError) as error:
        raise UsageError(
            f"{source.where}: expected certificates in PEM form, got something else: {source.ca}"
        ) from error
    try:
        if source.client_cert is not None:
            context.load_cert_chain(source.client_cert, source.client_key, password="")
    except (ssl.SSLError, OSError) as error:
        raise UsageError(
            f"{source.where}: expected a certificate in PEM form with the key that belongs to it: {source.client_cert}",
            "the key has to be there too, in PEM form and without a passphrase",
        ) from error


def _read_secret(path: Path, where: str) -> str:
    """Return the text of a file that its owner alone may read."""
    return _read(path, where, is_secret=True)


def _read(path: Path, where: str, *, is_secret: bool = False) -> str:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(fd, "rb") as file:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise UsageError(f"{where}: expected a regular file, got something else: {path}")
            if is_secret and status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                mode = stat.S_IMODE(status.st_mode)
                raise UsageError(
                    f"{where}: expected a file that you alone can read, got mode {mode:04o}: {path}",
                    f"chmod 600 {path}",
                )
            data = file.read(_LIMIT + 1)
    except OSError as error:
        raise UsageError(f"{where}: cannot be read ({(error.strerror or '').lower()}): {path}") from error
    if len(data) > _LIMIT:
        raise UsageError(f"{where}: expected at most {_LIMIT} bytes, got more: {path}")
    return data.decode("utf-8", "surrogateescape")
