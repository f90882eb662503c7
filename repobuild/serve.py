"""A quick look at a home folder over HTTP, where there is no nginx yet. No printing, no configuration.

HTTP/1.1 with keep-alive, HEAD, one Range, If-Modified-Since and folder listings (RFC 9110). A file is opened first and
judged by where the descriptor really leads, so that no link, however quickly swapped, shows anything outside the home
or in a hidden folder.
"""

import html
import os
import re
import socket
import socketserver
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from email.utils import formatdate, parsedate_to_datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote, unquote_to_bytes

from repobuild.checked import check_address
from repobuild.durable import disk_errors
from repobuild.errors import UsageError
from repobuild.media import cache_control, media_type

_IDLE_SECONDS = 30
"""Without a byte read or written, a connection ends."""
_HEAD_SECONDS = 30
"""For a client to wait and then send a whole request head."""
_MAX_CONNECTIONS = 128
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})", re.ASCII)
_INDEX = "index.html"
"""The page that a folder shows, as nginx does."""
_OPEN = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class Server(socketserver.ThreadingMixIn, HTTPServer):
    """Serves one home folder until `shutdown`; then `server_close` gives the port back."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, home: Path, address: str, port: int) -> None:
        with disk_errors(home):
            self.home = os.path.realpath(home, strict=True)
            os.scandir(self.home).close()
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._deadlines: dict[socket.socket, float] = {}
        self._guard = threading.Lock()
        self._free = threading.Semaphore(_MAX_CONNECTIONS)
        super().__init__((address, port), _Handler)

    @property
    def url(self) -> str:
        """Where it serves: `http://127.0.0.1:8000/`."""
        host, port = self.server_address[:2]
        name = str(host)
        return f"http://{f'[{name}]' if ':' in name else name}:{port}/"

    def server_bind(self) -> None:
        """Bind without asking DNS for our own name, which takes long where there is no network."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give the connection a thread; too many at a time are turned away."""
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve one connection to its end."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.stop_clock(request)
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing about a connection that broke: the client knows."""

    def start_clock(self, request: socket.socket) -> None:
        """Begin to wait for a request head."""
        with self._guard:
            self._deadlines[request] = time.monotonic() + _HEAD_SECONDS

    def stop_clock(self, request: socket.socket) -> None:
        """End the wait for a request head."""
        with self._guard:
            self._deadlines.pop(request, None)

    def service_actions(self) -> None:
        """Cut off those whose request head trickles in; called by `serve_forever` twice a second."""
        now = time.monotonic()
        with self._guard:
            late = [request for request, deadline in self._deadlines.items() if deadline < now]
        for request in late:
            with suppress(OSError):
                request.shutdown(socket.SHUT_RDWR)


def make_server(home: Path, address: str = "127.0.0.1", port: int = 0) -> Server:
    """Return a server bound to `address` and `port` (0: any free one); run it with `serve_forever`.

    Raises:
        UsageError: when it cannot listen there.
        DiskError: when `home` is no readable folder.
    """
    checked = check_address(address, "address")
    if type(port) is not int or not 0 <= port <= 65535:
        raise UsageError(f"port: expected a port from 0 to 65535, got {port}")
    home_path = Path(os.path.abspath(home))
    try:
        return Server(home_path, checked, port)
    except OSError as error:
        reason = os.strerror(error.errno).lower() if error.errno else str(error)
        raise UsageError(f"cannot listen, {reason}: {checked} port {port}", "choose another --port") from error


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Server
    server_version = "repobuild"
    sys_version = ""
    protocol_version = "HTTP/1.1"
    timeout = _IDLE_SECONDS
    error_content_type = "text/plain; charset=utf-8"
    error_message_format = "%(code)d %(message)s\n"
    disable_nagle_algorithm = True
    _TEXT: ClassVar = {"text/plain": "text/plain; charset=utf-8", "text/html": "text/html; charset=utf-8"}

    def log_message(self, *_: object) -> None:
        """Stay silent."""

    def handle_one_request(self) -> None:
        """Wait for one request, with a limit on the wait, and answer it."""
        self.server.start_clock(self.connection)
        super().handle_one_request()

    def parse_request(self) -> bool:
        """Read the head; a request that announces a body is answered, then the connection ends."""
        complete = super().parse_request()
        self.server.stop_clock(self.connection)
        if complete and ("Transfer-Encoding" in self.headers or self.headers.get("Content-Length", "0") != "0"):
            self.close_connection = True
        return complete

    def do_HEAD(self) -> None:
        """Answer HEAD."""
        self._answer()

    def do_GET(self) -> None:
        """Answer GET."""
        self._answer()

    def _answer(self) -> None:
        parts = _parts(self.path)
        descriptor = None if parts is None else _open_below(self.server.home, parts)
        if parts is None or descriptor is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        try:
            status = os.fstat(descriptor)
            if stat.S_ISDIR(status.st_mode):
                self._send_folder(descriptor, parts)
            elif stat.S_ISREG(status.st_mode) and not self.path.partition("?")[0].endswith("/"):
                self._send_file(descriptor, status, "/" + "/".join(parts))
            else:
                self.send_error(HTTPStatus.NOT_FOUND)
        finally:
            os.close(descriptor)

    def _send_folder(self, descriptor: int, parts: list[str]) -> None:
        here = quote("/" + "".join(f"{part}/" for part in parts), errors="surrogateescape")
        if not self.path.partition("?")[0].endswith("/"):
            self.send_response(HTTPStatus.MOVED_PERMANENTLY)
            self.send_header("Location", here)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if self._send_index(parts):
            return
        page = "".join(_listing(descriptor, here)).encode(errors="surrogateescape")
        self.send_response(HTTPStatus.OK)
        self._describe("text/html", len(page))
        self.send_header("Cache-Control", "no-cache")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(page)

    def _send_index(self, parts: list[str]) -> bool:
        """Send the page that a folder shows instead of its listing; say whether there is one."""
        descriptor = _open_below(self.server.home, [*parts, _INDEX])
        if descriptor is None:
            return False
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                return False
            self._send_file(descriptor, status, "/" + "/".join((*parts, _INDEX)))
        finally:
            os.close(descriptor)
        return True

    def _send_file(self, descriptor: int, status: os.stat_result, path: str) -> None:
        modified = formatdate(int(status.st_mtime), usegmt=True)
        if self._is_fresh(int(status.st_mtime)):
            self.send_response(HTTPStatus.NOT_MODIFIED)
            self.send_header("Last-Modified", modified)
            self.send_header("Cache-Control", cache_control(path))
            self.end_headers()
            return
        start, end = 0, status.st_size
        if_range = self.headers.get("If-Range")
        wanted = self.headers.get("Range") if self.command == "GET" and if_range in {None, modified} else None
        partial = _read_range(wanted, status.st_size)
        if partial is not None:
            start, end = partial
        if start >= end and partial is not None:
            self.send_response(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
            self.send_header("Content-Range", f"bytes */{status.st_size}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(HTTPStatus.OK if partial is None else HTTPStatus.PARTIAL_CONTENT)
        self._describe(media_type(path), end - start)
        if partial is not None:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{status.st_size}")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Last-Modified", modified)
        self.send_header("Cache-Control", cache_control(path))
        self.end_headers()
        if self.command == "GET":
            self._copy(descriptor, start, end - start)

    def _describe(self, kind: str, length: int) -> None:
        self.send_header("Content-Type", self._TEXT.get(kind, kind))
        self.send_header("Content-Length", str(length))
        self.send_header("X-Content-Type-Options", "nosniff")

    def _copy(self, descriptor: int, start: int, length: int) -> None:
        """Send bytes of an open file; a file that became shorter ends the connection, as the length is promised."""
        if length == 0:
            return
        with os.fdopen(os.dup(descriptor), "rb") as file:
            if self.connection.sendfile(file, start, length) < length:
                self.close_connection = True

    def _is_fresh(self, modified: int) -> bool:
        """Return whether If-Modified-Since says that the client has this version."""
        try:
            return modified <= parsedate_to_datetime(self.headers.get("If-Modified-Since", "")).timestamp()
        except (ValueError, OverflowError):
            return False


def _parts(target: str) -> list[str] | None:
    """Return the components of a request target, None when it names nothing that may be shown."""
    path = unquote_to_bytes(target.partition("?")[0].partition("#")[0])
    if not path.startswith(b"/") or b"\0" in path:
        return None
    parts = [part for part in os.fsdecode(path).split("/") if part not in {"", "."}]
    return None if any(part.startswith(".") for part in parts) else parts


def _open_below(home: str, parts: list[str]) -> int | None:
    """Open a file or folder for reading; None when it is absent, hidden, or really outside `home`."""
    try:
        descriptor = os.open(os.path.join(home, *parts), _OPEN)
    except (OSError, ValueError):
        return None
    try:
        real = os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        real = ""
    below = real.removeprefix(home.rstrip("/") + "/")
    if real == home or (below != real and not any(part.startswith(".") for part in below.split("/"))):
        return descriptor
    os.close(descriptor)
    return None


def _read_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Return (start, end) of a single byte range, start >= end when it cannot be had; None to send the whole."""
    found = _RANGE.fullmatch(header or "")
    if found is None or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if not first:
        return (max(size - int(last), 0), size) if int(last) else (size, size)
    if last and int(last) < int(first):
        return None
    return int(first), min(int(last) + 1, size) if last else size


def _listing(descriptor: int, here: str) -> Iterator[str]:
    """Yield the page of a folder: names sorted, folders with a slash, nothing hidden."""
    title = html.escape(here)
    yield f"<!doctype html>\n<html lang=en><meta charset=utf-8><title>{title}</title>\n<h1>{title}</h1>\n<pre>\n"
    if here != "/":
        yield '<a href="../">../</a>\n'
    with os.scandir(descriptor) as entries:
        names = sorted(entry.name + "/" * entry.is_dir() for entry in entries if not entry.name.startswith("."))
    for name in names:
        yield f'<a href="{quote("./" + name, errors="surrogateescape")}">{html.escape(name)}</a>\n'
    yield "</pre>\n"
