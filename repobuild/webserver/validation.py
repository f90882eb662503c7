"""nginx itself as the judge of what is written for it."""

import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from repobuild.durable import Folder, disk_errors
from repobuild.errors import ProofError
from repobuild.webserver.sites import OWN_WORDS
from repobuild.webserver.statements import Edit, Statement, Word, edited, statements

_NGINX = ("/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/bin/nginx", "/usr/local/nginx/sbin/nginx")
_TEST_SECONDS = 20
"""Time for `nginx -t`."""
_WARNING = re.compile(r"\[warn\] (?:[0-9]+#[0-9]+: )?(.*)")
_CERTIFICATES = frozenset({"ssl_certificate", "ssl_certificate_key"})
_LOGS = frozenset({"access_log", "error_log"})
_NO_FILES = frozenset({"off", "stderr"})
"""Values of a log that name no file."""
_TEMPORARY = tuple(f"{each}_temp_path" for each in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
_PASSES = frozenset(f"{each}_pass" for each in ("proxy", "fastcgi", "uwsgi", "scgi", "grpc", "memcached"))
_BACKEND = re.compile(r"(?P<scheme>(?:https?|grpcs?)://)?+(?P<host>[^/:$\[\]]+)(?P<rest>[^$]*)")
_SOCKET = "unix:"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What nginx says of a configuration that it takes."""

    was_asked: bool
    """Whether there is an nginx here to ask."""
    warnings: tuple[str, ...] = ()
    """What it does otherwise than it is written, each once."""


def validate(text: str, *, locations: bool = False) -> Judgement:
    """Have nginx read `text`: what `nginx_config` or `portal_config` returned or, with `locations`, `nginx_locations`.

    Nothing is served, and nothing is written outside of a temporary folder: every log, temporary path and socket that
    the text names, in the operator's own words too, lies there while nginx reads it, and files that it would include
    are left out. Its ports are bound for a moment. What another machine has and this one has not is no fault of the
    configuration: certificates, names of backends, a port that may be bound (an ordinary user), an address.

    Raises:
        ProofError: when nginx refuses it, with its own words.
    """
    nginx = next((path for path in _NGINX if os.access(path, os.X_OK)), None)
    if nginx is None:
        return Judgement(was_asked=False)
    with disk_errors("temporary folder"), tempfile.TemporaryDirectory(prefix="repobuild-nginx-") as place:
        text = _of_this_machine(text, place)
        body = f"server {{\nlisten 127.0.0.1:8080;\n{text}\n}}" if locations else text
        with Folder.open(Path(place)) as folder:
            folder.write("nginx.conf", _stand_alone(place, body).encode(), sync=False)
        command = [nginx, "-t", "-p", place, "-c", f"{place}/nginx.conf"]
        try:
            result = subprocess.run(command, capture_output=True, env={}, timeout=_TEST_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            raise ProofError(f"nginx does not finish reading the configuration in {_TEST_SECONDS} s") from None
    said = result.stderr.decode(errors="replace").replace(f"{place}/", "")
    if result.returncode != 0 and "syntax is ok" not in said:
        complaint = next((line for line in said.splitlines() if "[emerg]" in line), said.strip())
        reason = complaint.rpartition("[emerg] ")[2].partition(": ")[2] or complaint
        hint = "look at `config` in infra_portal" if OWN_WORDS in text else "report this with the nginx version"
        raise ProofError(f"nginx refuses the configuration: {reason[:500]}", hint)
    return Judgement(was_asked=True, warnings=tuple(dict.fromkeys(each[:500] for each in _WARNING.findall(said))))


def _of_this_machine(text: str, place: str) -> str:
    """Return a configuration that asks this machine for nothing and keeps all that it writes in the folder `place`."""
    found = tuple(statements(text))
    named = [value.text for each in found if each.name in _CERTIFICATES for value in each.values]
    rewriter = _Rewriter(
        place,
        upstreams=frozenset(each.values[0].text for each in found if each.name == "upstream" and each.values),
        speaks_https=all(os.access(path, os.R_OK) for path in named if "$" not in path),
    )
    return edited(text, (edit for each in found for edit in rewriter.edits(each)))


class _Rewriter:
    """Rewrites what nginx would open or look up while it reads, which it does for all that is named."""

    def __init__(self, place: str, *, upstreams: frozenset[str], speaks_https: bool) -> None:
        self._place = place
        self._upstreams = upstreams
        self._speaks_https = speaks_https
        self._files: dict[str, str] = {}

    def edits(self, statement: Statement) -> Iterator[Edit]:
        first = statement.values[0] if statement.values else None
        is_certificate = statement.name in _CERTIFICATES and not self._speaks_https
        if first is None or statement.is_block:
            return
        if statement.name == "include" or is_certificate:
            yield Edit(statement.words[0].start, statement.stop, "")
        elif statement.name == "listen":
            yield from self._listen(first, statement.values[1:])
        elif statement.name in _TEMPORARY or (statement.name in _LOGS and first.text not in _NO_FILES):
            yield Edit(first.start, first.stop, self._file(first.text))
        elif statement.name == "server":
            yield Edit(first.start, first.stop, "127.0.0.1:80")
        elif statement.name in _PASSES:
            yield from self._pass(first)

    def _file(self, name: str) -> str:
        """Return the file here that stands for another one."""
        return self._files.setdefault(name, f"{self._place}/{len(self._files)}")

    def _listen(self, address: Word, options: tuple[Word, ...]) -> Iterator[Edit]:
        """Yield what makes a socket one of this folder, and a server without certificates one of http."""
        if address.text.startswith(_SOCKET):
            yield Edit(address.start, address.stop, f"{_SOCKET}{self._file(address.text)}")
        for each in options:
            if each.text == "ssl" and not self._speaks_https:
                yield Edit(each.start, each.stop, "")

    def _pass(self, backend: Word) -> Iterator[Edit]:
        """Yield this machine for a backend whose name has to be known to nginx when it starts."""
        found = _BACKEND.fullmatch(backend.text)
        if found is None or found["host"] in self._upstreams or found["host"] == _SOCKET[:-1]:
            return
        yield Edit(backend.start, backend.stop, f'"{found["scheme"] or ""}127.0.0.1{found["rest"]}"')


def _stand_alone(place: str, body: str) -> str:
    """Return a main configuration that keeps every path of its own in the folder `place`."""
    paths = "\n".join(f"{each} {place}/{each};" for each in _TEMPORARY)
    return f"error_log stderr;\npid {place}/pid;\nevents {{}}\nhttp {{\naccess_log off;\n{paths}\n{body}\n}}\n"
