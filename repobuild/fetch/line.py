"""A line to the mirrors: keep-alive connections used by one thread at a time, and the watch that ends a dead one.

A socket timeout starts anew with every byte, so a server that sends a byte now and then holds a reader for ever. The
watch looks at all lines several times a second and shuts the socket of one that is late: the reader, wherever it
stands (handshake, headers, chunk sizes, body), then wakes up with an end of file. Stopping a run does the same.

The adapter of requests is used without its Session: a Session keeps cookies, reads the environment and .netrc, and
reads the body of a redirect to its end.
"""

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError

from repobuild.credentials import Access
from repobuild.fetch.access import Accesses, origin_of
from repobuild.fetch.faults import Fault, Kind, StoppedError, status_fault, transport_fault
from repobuild.fetch.proxies import proxy_for
from repobuild.fetch.values import Settings, shown

_READ = 1 << 18
"""Bytes read at a time at most."""
_DRAIN = 1 << 14
"""Bytes of an unwanted body that are read to keep a connection."""
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_CA_FILES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Arch, Alpine
    "/etc/pki/tls/certs/ca-bundle.crt",  # Enterprise Linux, Fedora
    "/etc/ssl/ca-bundle.pem",  # SUSE
)
_ERRORS = (requests.RequestException, HTTPError, HTTPException, OSError, ValueError, AttributeError)
"""What the libraries raise; the last two where a socket is shut under a TLS reader, or an answer defeats a parser."""
_current = threading.local()


class Guard:
    """What the watch knows of one line."""

    def __init__(self, settings: Settings) -> None:
        self.received = 0
        """Bytes of the present body; the reader counts, the watch compares."""
        self._settings = settings
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._cut: str | None = None
        self._stopped = False
        self._in_body = False
        self._end = self._mark = self._mark_received = 0.0

    def begin(self, deadline: float) -> None:
        """A request starts; it has to end by `deadline` (monotonic seconds)."""
        with self._lock:
            self._cut, self._socket, self._in_body = None, None, False
            self._end, self._mark = deadline, time.monotonic()

    def watch(self, sock: socket.socket) -> None:
        """The request now uses `sock`."""
        with self._lock:
            self._socket, self._mark = sock, time.monotonic()
            if self._stopped:
                self._shut()

    def body(self) -> None:
        """The headers are in; the body follows."""
        with self._lock:
            self._in_body, self.received = True, 0
            self._mark, self._mark_received = time.monotonic(), 0

    def end(self) -> None:
        """The request is over; its socket is not ours to shut any more."""
        with self._lock:
            self._socket = None

    def stop(self) -> None:
        """End what runs, and whatever begins from now on."""
        with self._lock:
            self._stopped = True
            self._shut()

    @property
    def is_stopped(self) -> bool:
        """Whether `stop` was called; the line is of no use then."""
        return self._stopped

    def check(self) -> None:
        """Raise what the watch found.

        Raises:
            StoppedError: after `stop`.
            Fault: when the request was late.
        """
        if self._stopped:
            raise StoppedError
        if self._cut is not None:
            raise Fault(Kind.SILENT, self._cut)

    def inspect(self, now: float) -> None:
        """Cut the line when it is late; called by the watch."""
        with self._lock:
            if self._socket is None:
                return
            late, settings = now - self._mark, self._settings
            if now > self._end:
                self._cut = f"not done within {settings.total_seconds:g} seconds"
            elif not self._in_body and late > settings.answer_seconds:
                self._cut = f"no answer within {settings.answer_seconds:g} seconds"
            elif self._in_body and late > settings.slow_seconds:
                came = self.received - self._mark_received
                if came < settings.slow_bytes:
                    self._cut = f"only {came:g} bytes came in {settings.slow_seconds:g} seconds"
                self._mark, self._mark_received = now, self.received
            if self._cut is not None:
                self._shut()

    def _shut(self) -> None:
        if self._socket is not None:
            with suppress(OSError):  # not SSLSocket.shutdown: it takes the TLS state away from under the reader
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


class _Watched(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        sock = super()._new_conn()
        _current.guard.watch(sock)
        return sock

    def request(self, *arguments: Any, **options: Any) -> None:
        if self.sock is not None:
            _current.guard.watch(self.sock)
        super().request(*arguments, **options)


class _WatchedTls(_Watched, HTTPSConnection):
    def connect(self) -> None:
        super().connect()
        _current.guard.watch(self.sock)

    def request(self, *arguments: Any, **options: Any) -> None:
        try:
            super().request(*arguments, **options)
        except ssl.SSLEOFError as error:
            # A server that judges our certificate after the handshake (TLS 1.3) may hang up while we send. What it said
            # before can still be read: a broken pipe makes urllib3 do so.
            raise BrokenPipeError from error


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Watched


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _WatchedTls


_POOLS = {"http": _Pool, "https": _TlsPool}


class _Adapter(HTTPAdapter):
    """Makes connections that tell the guard of the present thread which socket they use."""

    def __init__(self, proxy_authorization: str | None) -> None:
        self._proxy_authorization = proxy_authorization
        super().__init__(pool_connections=8, pool_maxsize=1)

    def proxy_headers(self, proxy: str) -> dict[str, str]:
        if self._proxy_authorization is None:
            return dict(super().proxy_headers(proxy))
        return {"Proxy-Authorization": self._proxy_authorization}

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, *arguments: Any, **options: Any) -> Any:
        manager = super().proxy_manager_for(*arguments, **options)
        manager.pool_classes_by_scheme = _POOLS
        return manager


class Answer:
    """An answer with status 200 or 206, its body not yet read."""

    def __init__(self, response: requests.Response, guard: Guard) -> None:
        self.status = response.status_code
        self.hops = 0
        """Redirects that led here."""
        self.ranged = response.headers.get("Content-Range", "")
        self.length = _length(response.headers.get("Content-Length"))
        """Bytes of the body as the server states it, None when it does not."""
        self.kind = response.headers.get("Content-Type", "").partition(";")[0][:60]
        self._response = response
        self._guard = guard

    def chunks(self) -> Iterator[bytes]:
        """Yield the body as it comes.

        Raises:
            Fault: when it breaks off or comes too slowly.
            StoppedError: when the run was stopped.
        """
        guard, read = self._guard, self._response.raw.read1
        guard.body()
        while True:
            try:
                chunk = read(_READ, decode_content=False)
            except _ERRORS as error:
                guard.check()
                raise transport_fault(error) from error
            guard.check()
            if not chunk:
                return
            guard.received += len(chunk)
            yield chunk

    def close(self) -> None:
        """Be done with it; a body read to its end leaves the connection for the next request."""
        self._guard.end()
        with suppress(*_ERRORS):
            self._response.close()


class Line:
    """Asks mirrors, one request at a time."""

    def __init__(self, settings: Settings) -> None:
        self.guard = Guard(settings)
        self._settings = settings
        self._accesses = Accesses(settings.access)
        self._adapters: dict[tuple[Path | str | None, ...], _Adapter] = {}
        self._verify = str(settings.ca_file or next((file for file in _CA_FILES if Path(file).exists()), "")) or True

    def close(self) -> None:
        """Close all connections."""
        for adapter in self._adapters.values():
            adapter.close()

    def ask(
        self, url: str, proxy: str | None, byte_range: tuple[int, int] | None = None, *, method: str = "GET"
    ) -> Answer:
        """Ask for `url`, or for the bytes `byte_range` (first, last) of it, following redirects.

        Raises:
            Fault: for anything but an answer 200 or 206 that is not encoded; its `hops` attribute counts redirects.
            StoppedError: when the run was stopped.
        """
        deadline, seen = time.monotonic() + self._settings.total_seconds, [url]
        home, is_home = origin_of(url), True
        while True:
            is_home = is_home and origin_of(url) == home
            access = self._accesses.of(url)
            if not is_home:
                access = replace(access, authorization=None, client_cert=None, client_key=None)
            try:
                request = requests.Request(method, url, headers=self._headers(byte_range, access))
                response = self._send(request, proxy, deadline, access)
                target = self._judge(response, access)
                if target is None:
                    answer = Answer(response, self.guard)
                    answer.hops = len(seen) - 1
                    return answer
                url = _redirect(url, target, seen, self._settings.redirects)
            except Fault as fault:
                fault.hops = len(seen) - 1
                raise
            seen.append(url)

    def _headers(self, byte_range: tuple[int, int] | None, access: Access) -> dict[str, str]:
        headers = {"User-Agent": self._settings.user_agent, "Accept-Encoding": "identity", "Accept": "*/*"}
        if byte_range is not None:
            headers["Range"] = f"bytes={byte_range[0]}-{byte_range[1]}"
        if access.authorization is not None:
            headers["Authorization"] = access.authorization
        return headers

    def _adapter(self, access: Access) -> _Adapter:
        """Return the connections of one identity: one that was made as somebody else is never taken again."""
        identity = (access.ca, access.client_cert, access.client_key, access.proxy_authorization)
        if identity not in self._adapters:
            self._adapters[identity] = _Adapter(access.proxy_authorization)
        return self._adapters[identity]

    def _send(self, request: requests.Request, proxy: str | None, deadline: float, access: Access) -> requests.Response:
        url = str(request.url)
        chosen = proxy_for(url, proxy if access.proxy is None else access.proxy, self._settings)
        self.guard.begin(deadline)
        self.guard.check()
        _current.guard = self.guard
        try:
            return self._adapter(access).send(
                request.prepare(),
                stream=True,
                timeout=(self._settings.connect_seconds, self._settings.answer_seconds),
                verify=self._verify if access.ca is None else str(access.ca),
                cert=_certificate(access),
                proxies={urlsplit(url).scheme: chosen} if chosen else {},
            )
        except _ERRORS as error:
            self.guard.end()
            self.guard.check()
            raise transport_fault(error) from error

    def _judge(self, response: requests.Response, access: Access) -> str | None:
        """Return where a redirect leads, None for an answer to be read; raise and release any other."""
        status, headers = response.status_code, response.headers
        encoding = headers.get("Content-Encoding", "identity").strip().lower()
        if status in {200, 206} and encoding in {"identity", ""}:
            return None
        self._release(response)
        if status in {200, 206}:
            raise Fault(Kind.WRONG, f"the answer is encoded though that was declined: {encoding[:40]!r}")
        if status in _REDIRECTS:
            return str(headers.get("Location", ""))
        are_given = access.authorization is not None
        raise status_fault(status, headers.get("Retry-After"), time.time(), are_given=are_given)

    def _release(self, response: requests.Response) -> None:
        """Let go of an answer whose body nobody wants; a short body is read, which keeps the connection."""
        length = _length(response.headers.get("Content-Length"))
        with suppress(*_ERRORS):
            if length is not None and length <= _DRAIN:
                response.raw.read(_DRAIN, decode_content=False)
        self.guard.end()
        with suppress(*_ERRORS):
            response.close()


def _certificate(access: Access) -> str | tuple[str, str] | None:
    """Return our certificate as requests takes it."""
    if access.client_cert is None:
        return None
    return (str(access.client_cert), str(access.client_key)) if access.client_key else str(access.client_cert)


def _redirect(url: str, target: str, seen: list[str], limit: int) -> str:
    """Return the absolute URL that a redirect from `url` leads to.

    Raises:
        Fault: when it must not be followed.
    """
    try:
        new = urljoin(url, target)
        parts, old = urlsplit(new), urlsplit(url)
        usable = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError as error:
        raise Fault(Kind.BROKEN, "it redirects to an unreadable URL") from error
    if not target or (not usable and parts.scheme in {"http", "https"}):
        raise Fault(Kind.BROKEN, "it redirects to nowhere")
    if parts.scheme not in {"http", "https"}:
        raise Fault(Kind.HOSTILE, f"it redirects to the scheme {parts.scheme[:20]!r}")
    if old.scheme == "https" and parts.scheme == "http":
        raise Fault(Kind.HOSTILE, f"it redirects from https to http: {shown(new)}")
    if "@" in parts.netloc:
        raise Fault(Kind.HOSTILE, f"it redirects to a URL with credentials: {shown(new)}")
    if new in seen:
        raise Fault(Kind.BROKEN, "it redirects in a circle")
    if len(seen) > limit:
        raise Fault(Kind.BROKEN, f"it redirects more than {limit} times")
    return new


def _length(header: str | None) -> int | None:
    """Read a Content-Length (RFC 9110, 8.6), None when it is absent or not a number."""
    numbers = {number.strip() for number in (header or "").split(",")}
    text = numbers.pop() if len(numbers) == 1 else ""
    return int(text[:18]) if text.isascii() and text.isdecimal() else None
