"""An in-memory Debian upstream: signed, complete, and able to lie.

    upstream = Simulator(key)
    upstream.add("bookworm", "main", "nginx 1.22 Depends: libc6")
    upstream.publish()
    catalog.load(job, Means(get=upstream.get, ...))

`get` is what `catalog.load` takes for the fetcher's; `serve` offers the same over HTTP on loopback. Everything under
`files` is what the mirror has: a test may change any byte of it. `faults` maps a path (a suffix is enough) to what
becomes of an answer.
"""

import bz2
import gzip
import hashlib
import lzma
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import zstandard
from debs import make_deb
from pysequoia import SignatureMode, Tsk, sign

from repobuild.errors import HostileInputError, NotFoundError, UnreachableError
from repobuild.model import Mirror

NOW = 1_790_000_000
"""When tests take place."""
DAY = 86_400

Fault = Callable[[bytes | None], bytes | None]
"""The honest answer (None for not found) to the one that is given."""

COMPRESS: Mapping[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": lambda data: gzip.compress(data, 6, mtime=0),
    ".xz": lambda data: lzma.compress(data, preset=0),
    ".zst": lambda data: zstandard.ZstdCompressor(level=1).compress(data),
    ".bz2": bz2.compress,
}


def stanzas(universe: str) -> list[dict[str, str]]:
    """Parse a text universe: one package a line, `name version [Field: value]…`.

    Fields are separated by two blanks or more: `nginx 1.22-1  Depends: libc6, zlib1g | zlib  Essential: yes`.
    """
    found = []
    for line in universe.strip().splitlines():
        if not line.strip() or line.strip().startswith("#"):
            continue
        identity, *rest = re.split(r"\s{2,}", line.strip())
        name, _, version = identity.partition(" ")
        stanza = {"Package": name, "Version": version or "1", "Architecture": "amd64"}
        for each in rest:
            label, _, value = each.partition(":")
            stanza[label] = value.strip()
        found.append(stanza)
    return found


def deb_of(stanza: Mapping[str, str]) -> bytes:
    """Return a .deb with this control paragraph; the same bytes each time."""
    control = "".join(f"{label}: {value}\n" for label, value in stanza.items() if not label.startswith("X-Index-"))
    return make_deb(control + "Maintainer: Test <test@example.org>\nDescription: test\n")


def packages_text(universe: Sequence[Mapping[str, str]], *, component: str = "main", real: bool = False) -> str:
    """Return a Packages file. With `real`, of packages that exist; else digests and sizes are made up, per stanza."""
    parts = []
    for stanza in universe:
        name, version, arch = stanza["Package"], stanza["Version"], stanza["Architecture"]
        content = deb_of(stanza) if real else repr(sorted(stanza.items())).encode()
        location = {
            "Filename": f"pool/{component}/{name}_{version.partition(':')[2] or version}_{arch}.deb",
            "Size": str(len(content)),
            "SHA256": hashlib.sha256(content).hexdigest(),
        }
        fields = {**stanza, **{label: value for label, value in location.items() if label not in stanza}}
        if real:
            fields = {**fields, "Maintainer": "Test <test@example.org>", "Description": "test"}
        parts.append("".join(f"{label}: {value}\n" for label, value in fields.items()))
    return "\n".join(parts)


@dataclass
class Simulator:
    """One archive on one mirror."""

    key: Tsk
    origin: str = "Debian"
    date: int = NOW - DAY
    architectures: tuple[str, ...] = ("amd64", "arm64")
    endings: tuple[str, ...] = ("", ".gz", ".xz")
    by_hash: bool = True
    is_flat: bool = False
    signers: tuple[Tsk, ...] = ()
    """Who signs, the key alone when empty."""
    release: dict[str, str] = field(default_factory=dict)
    """Fields of every Release, over the usual ones; "" leaves one out."""
    real: bool = False
    """Whether the packages exist."""
    files: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, Fault] = field(default_factory=dict)
    is_down: bool = False
    requests: Counter[str] = field(default_factory=Counter)
    _universes: dict[tuple[str, str], list[dict[str, str]]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, suite: str, component: str, universe: str) -> "Simulator":
        """Add packages; those of `Architecture: all` are listed for every architecture."""
        self._universes.setdefault((suite, component), []).extend(stanzas(universe))
        return self

    def publish(self, *, date: int | None = None) -> "Simulator":
        """Write all indexes and roots anew; what older ones left by-hash stays, as on a real mirror."""
        self.date = self.date if date is None else date
        for suite in dict.fromkeys(suite for suite, _ in self._universes):
            self._publish_suite(suite)
        return self

    def _publish_suite(self, suite: str) -> None:
        folder = "" if self.is_flat else f"dists/{suite}/"
        indexes: dict[str, bytes] = {}
        for (of, component), universe in self._universes.items():
            if of != suite:
                continue
            for arch in self.architectures if not self.is_flat else ("",):
                chosen = [each for each in universe if self.is_flat or each["Architecture"] in {"all", arch}]
                text = packages_text(chosen, component=component, real=self.real).encode()
                name = "Packages" if self.is_flat else f"{component}/binary-{arch}/Packages"
                indexes |= {name + ending: COMPRESS[ending](text) for ending in self.endings}
            if self.real:
                for each in universe:
                    number = each["Version"].partition(":")[2] or each["Version"]
                    self.files[f"pool/{component}/{each['Package']}_{number}_{each['Architecture']}.deb"] = deb_of(each)
        for name, data in indexes.items():
            self.files[folder + name] = data
            if self.by_hash:
                parent = (folder + name).rpartition("/")[0]
                place = f"{parent}/by-hash/SHA256/{hashlib.sha256(data).hexdigest()}"
                self.files[place.lstrip("/")] = data
        self.sign(suite, self.release_text(suite, indexes))

    def release_text(self, suite: str, indexes: Mapping[str, bytes]) -> bytes:
        """Return the Release of a suite."""
        fields = {
            "Origin": self.origin,
            "Suite": suite,
            "Codename": suite,
            "Date": formatdate(self.date, usegmt=True).replace("GMT", "UTC"),
            "Architectures": " ".join(("all", *self.architectures)),
            "Acquire-By-Hash": "yes" if self.by_hash else "no",
            **self.release,
        }
        lines = [f"{label}: {value}" for label, value in fields.items() if value]
        lines += ["SHA256:"]
        lines += [f" {hashlib.sha256(data).hexdigest()} {len(data)} {name}" for name, data in sorted(indexes.items())]
        return ("\n".join(lines) + "\n").encode()

    def sign(self, suite: str, text: bytes) -> None:
        """Put a Release in place, signed both ways."""
        folder = "" if self.is_flat else f"dists/{suite}/"
        signers = [each.signer() for each in self.signers or (self.key,)]
        self.files[f"{folder}Release"] = text
        self.files[f"{folder}InRelease"] = sign(signers[0], text[:-1], mode=SignatureMode.CLEAR)
        self.files[f"{folder}Release.gpg"] = b"".join(
            sign(each, text, mode=SignatureMode.DETACHED, armor=False) for each in signers
        )

    def get(self, mirror: Mirror, path: str, limit: int) -> bytes:
        """Answer as a fetcher would, for this mirror or any other."""
        with self._lock:
            self.requests[path] += 1
        data = self.answer(path)
        if data is None:
            raise NotFoundError(f"not found: {mirror.url}/{path}")
        if len(data) > limit:
            raise HostileInputError(f"larger than {limit} bytes: {mirror.url}/{path}")
        return data

    def answer(self, path: str) -> bytes | None:
        """Return what the mirror has to say, None when it says it has nothing."""
        if self.is_down:
            raise UnreachableError("no route to host")
        honest = self.files.get(unquote(path))
        for suffix, fault in self.faults.items():
            if unquote(path).endswith(suffix):
                return fault(honest)
        return honest

    def snapshot(self) -> "Simulator":
        """Return a mirror frozen at this state."""
        return Simulator(self.key, files=dict(self.files))


class Mirrors:
    """Several simulators under one `get`, by the URL of the mirror."""

    def __init__(self, **simulators: Simulator) -> None:
        self.simulators = simulators
        self.asked: list[tuple[str, str]] = []

    @property
    def mirrors(self) -> tuple[Mirror, ...]:
        return tuple(Mirror(f"http://{name}.test/debian") for name in self.simulators)

    def get(self, mirror: Mirror, path: str, limit: int) -> bytes:
        name = (urlsplit(mirror.url).hostname or "").removesuffix(".test")
        self.asked.append((name, path))
        return self.simulators[name].get(mirror, path, limit)


# faults


def flips(old: Simulator) -> Callable[[Simulator], None]:
    """Make every second answer come from another state of the archive."""

    def install(simulator: Simulator) -> None:
        calls = iter(range(1 << 30))
        for path in set(simulator.files) | set(old.files):
            simulator.faults[path] = lambda honest, path=path: old.files.get(path) if next(calls) % 2 else honest

    return install


def tampered(data: bytes | None) -> bytes | None:
    """Change one letter in the middle."""
    if data is None:
        return None
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def truncated(data: bytes | None) -> bytes | None:
    return None if data is None else data[: len(data) // 2]


def missing(_: bytes | None) -> bytes | None:
    return None


def replaced(content: bytes) -> Fault:
    return lambda _: content


def once(fault: Fault) -> Fault:
    """Lie the first time only."""
    lies = iter([fault])
    return lambda honest: next(lies, lambda data: data)(honest)  # noqa: PLW0108 - looked up anew for each answer


@contextmanager
def serve(simulator: Simulator) -> Iterator[str]:
    """Offer a simulator over HTTP on loopback; yield its URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = self.path.lstrip("/")
            simulator.requests[path] += 1
            try:
                data = simulator.answer(path)
            except UnreachableError:
                self.close_connection = True
                return
            self.send_response(404 if data is None else 200)
            self.send_header("Content-Length", str(len(data or b"")))
            self.end_headers()
            self.wfile.write(data or b"")

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
