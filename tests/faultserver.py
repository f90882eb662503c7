"""An HTTP/1.1 server on loopback that can lie, stall and break in named ways, or behave like a distant mirror.

In a test:      with FaultServer({"a": b"..."}) as server: server.break_path("a", "truncate", once=True)
In a benchmark: python tests/faultserver.py --root DIR --latency 0.04 --rate 12e6 --port 0   (prints its URL)

Latency is one round trip: before each answer, and once more on a new connection, where the handshake costs it.
"""

import argparse
import contextlib
import os
import re
import socket
import ssl
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import Self
from urllib.parse import unquote

BURST = 128 << 10
"""Bytes sent at a time when a rate is set."""
_RANGE = re.compile(r"bytes=(\d+)-(\d*)$")


@dataclass
class Exchange:
    """One request, and what a fault may do about it."""

    server: "FaultServer"
    sock: socket.socket
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def asked(self) -> tuple[int, int] | None:
        """The bytes (first, last) that the client asked for."""
        match = _RANGE.match(self.headers.get("range", ""))
        if not match or int(match[1]) >= len(self.body):
            return None
        return int(match[1]), min(int(match[2] or len(self.body) - 1), len(self.body) - 1)

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def head(self, status: str, *headers: str) -> None:
        self.send("\r\n".join((f"HTTP/1.1 {status}", *headers, "", "")).encode())

    def reply(self, status: str, *headers: str, body: bytes = b"") -> None:
        self.head(status, *headers, f"Content-Length: {len(body)}")
        self.send(body)

    def start(self, length: int | None = None) -> bytes:
        """Send the headers of an honest answer (with another length where given); return the body to send."""
        if self.asked is None:
            self.head("200 OK", f"Content-Length: {len(self.body) if length is None else length}")
            return self.body
        first, last = self.asked
        part = self.body[first : last + 1]
        shown = len(part) if length is None else length
        self.head(
            "206 Partial Content", f"Content-Length: {shown}", f"Content-Range: bytes {first}-{last}/{len(self.body)}"
        )
        return part

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise HangupError

    def drip(self, data: bytes, interval: float = 0.05) -> None:
        for byte in data:
            self.send(bytes((byte,)))
            self.server.wait(interval)


class HangupError(Exception):
    """The connection ends here."""


FAULTS: dict[str, Callable[[Exchange], None]] = {}


def fault(action: Callable[[Exchange], None]) -> Callable[[Exchange], None]:
    FAULTS[action.__name__] = action
    return action


def _status(name: str, status: str, *headers: Callable[[], str]) -> None:
    FAULTS[name] = lambda exchange: exchange.reply(status, *(header() for header in headers), body=b"no")


def _redirect(name: str, target: Callable[[Exchange], str]) -> None:
    FAULTS[name] = lambda exchange: exchange.reply("302 Found", f"Location: {target(exchange)}")


_status("status_500", "500 Internal Server Error")
_status("status_502", "502 Bad Gateway")
_status("status_503", "503 Service Unavailable")
_status("status_504", "504 Gateway Timeout")
_status("retry_after_seconds", "429 Too Many Requests", lambda: "Retry-After: 1")
_status(
    "retry_after_date", "503 Service Unavailable", lambda: f"Retry-After: {formatdate(time.time() + 1.5, usegmt=True)}"
)
_status("retry_after_absurd", "503 Service Unavailable", lambda: "Retry-After: 86400")
_status("retry_after_garbage", "503 Service Unavailable", lambda: "Retry-After: soon")
_status("status_404", "404 Not Found")
_status("status_410", "410 Gone")
_status("status_403", "403 Forbidden")
_status("status_401", "401 Unauthorized", lambda: 'WWW-Authenticate: Basic realm="x"')
_status("status_408", "408 Request Timeout")
_status("status_416", "416 Range Not Satisfiable", lambda: "Content-Range: bytes */0")
_status("status_304", "304 Not Modified")
_status("status_999", "999 Odd")
_redirect("redirect_loop", lambda exchange: f"/{exchange.path}")
_redirect("redirect_chain", lambda exchange: f"/{exchange.path}?{len(exchange.headers.get('query', '')) * 'x'}x")
_redirect("redirect_to_file", lambda _: "file:///etc/passwd")
_redirect("redirect_to_ftp", lambda _: "ftp://127.0.0.1/x")
_redirect("redirect_with_credentials", lambda exchange: f"http://user:canary@127.0.0.1:{exchange.server.port}/other")
_redirect("redirect_nowhere", lambda _: "")
_redirect("redirect_garbage", lambda _: "http://[::1")


@fault
def redirect_elsewhere(exchange: Exchange) -> None:
    target = f"{exchange.server.elsewhere or exchange.server.url}/{exchange.path}"
    exchange.reply("302 Found", f"Location: {target}", "Set-Cookie: canary=1; Path=/")


@fault
def truncate(exchange: Exchange) -> None:
    body = exchange.start()
    exchange.send(body[: len(body) // 2])
    raise HangupError


@fault
def early_fin(exchange: Exchange) -> None:
    raise HangupError


@fault
def rst_accept(exchange: Exchange) -> None:
    exchange.reset()


@fault
def rst_headers(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\nContent-")
    exchange.server.wait(0.02)
    exchange.reset()


@fault
def rst_body(exchange: Exchange) -> None:
    body = exchange.start()
    exchange.send(body[: len(body) // 2])
    exchange.server.wait(0.02)
    exchange.reset()


@fault
def range_ignored(exchange: Exchange) -> None:
    exchange.reply("200 OK", body=exchange.body)


@fault
def range_wrong(exchange: Exchange) -> None:
    exchange.reply(
        "206 Partial Content", f"Content-Range: bytes 1-{len(exchange.body)}/{len(exchange.body)}", body=exchange.body
    )


@fault
def range_garbage(exchange: Exchange) -> None:
    exchange.reply("206 Partial Content", "Content-Range: some of it", body=exchange.body)


@fault
def range_missing(exchange: Exchange) -> None:
    exchange.reply("206 Partial Content", body=exchange.body)


@fault
def length_short(exchange: Exchange) -> None:
    exchange.send(exchange.start(len(exchange.body) // 2))


@fault
def length_long(exchange: Exchange) -> None:
    exchange.send(exchange.start(len(exchange.body) + 100))
    raise HangupError


@fault
def length_missing(exchange: Exchange) -> None:
    exchange.head("200 OK")
    exchange.send(exchange.body)
    raise HangupError


@fault
def length_negative(exchange: Exchange) -> None:
    exchange.head("200 OK", "Content-Length: -5")
    exchange.send(exchange.body)
    raise HangupError


@fault
def length_garbage(exchange: Exchange) -> None:
    exchange.head("200 OK", "Content-Length: many")
    exchange.send(exchange.body)
    raise HangupError


@fault
def length_duplicate(exchange: Exchange) -> None:
    exchange.head("200 OK", f"Content-Length: {len(exchange.body)}", "Content-Length: 7")
    exchange.send(exchange.body)
    raise HangupError


def _chunked(exchange: Exchange, *chunks: bytes) -> None:
    exchange.head("200 OK", "Transfer-Encoding: chunked")
    exchange.send(b"".join(chunks))


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@fault
def chunked_honest(exchange: Exchange) -> None:
    _chunked(exchange, _chunk(exchange.body[:1000]), _chunk(exchange.body[1000:]), b"0\r\n\r\n")


@fault
def chunked_bad_size(exchange: Exchange) -> None:
    _chunked(exchange, _chunk(exchange.body[:1000]), b"zz\r\n", exchange.body[1000:])
    raise HangupError


@fault
def chunked_negative_size(exchange: Exchange) -> None:
    _chunked(exchange, _chunk(exchange.body[:1000]), b"-100\r\n", exchange.body[:500])
    raise HangupError


@fault
def chunked_huge_size(exchange: Exchange) -> None:
    _chunked(exchange, b"ffffffffffffffff\r\n", exchange.body[: len(exchange.body) // 2])
    raise HangupError


@fault
def chunked_cut(exchange: Exchange) -> None:
    _chunked(exchange, _chunk(exchange.body[:1000]))
    raise HangupError


@fault
def chunked_long_extension(exchange: Exchange) -> None:
    _chunked(exchange, b"10;" + b"x" * 200_000 + b"\r\n")
    raise HangupError


@fault
def gzip_added(exchange: Exchange) -> None:
    exchange.reply("200 OK", "Content-Encoding: gzip", body=exchange.body)


@fault
def captive_page(exchange: Exchange) -> None:
    exchange.reply("200 OK", "Content-Type: text/html; charset=utf-8", body=b"<html>please log in</html>")


@fault
def captive_page_same_size(exchange: Exchange) -> None:
    exchange.reply("200 OK", "Content-Type: text/html", body=b"<html>".ljust(len(exchange.body)))


@fault
def corrupt_byte(exchange: Exchange) -> None:
    body = exchange.start()
    exchange.send(body[:-1] + bytes((body[-1] ^ 1,)))


@fault
def empty_answer(exchange: Exchange) -> None:
    exchange.reply("200 OK")


@fault
def no_content(exchange: Exchange) -> None:
    exchange.head("204 No Content")


@fault
def early_hints(exchange: Exchange) -> None:
    exchange.head("103 Early Hints", "Link: </x>")
    raise HangupError


@fault
def drip_body(exchange: Exchange) -> None:
    exchange.drip(exchange.start())


@fault
def drip_headers(exchange: Exchange) -> None:
    exchange.drip(b"HTTP/1.1 200 OK\r\n" + b"X-Slow: yes\r\n" * 1000)


@fault
def stall_headers(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\nContent-")
    exchange.server.wait(60)


@fault
def stall_answer(exchange: Exchange) -> None:
    exchange.server.wait(60)


@fault
def stall_body(exchange: Exchange) -> None:
    body = exchange.start()
    exchange.send(body[: len(body) // 2])
    exchange.server.wait(60)


@fault
def endless_body(exchange: Exchange) -> None:
    exchange.head("200 OK")
    while True:
        exchange.send(b"\0" * 65536)


@fault
def endless_chunks(exchange: Exchange) -> None:
    exchange.head("200 OK", "Transfer-Encoding: chunked")
    while True:
        exchange.send(_chunk(b"\0" * 65536))


@fault
def endless_headers(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        exchange.send(b"X-More: more\r\n" * 1000)


@fault
def endless_header_line(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\nX-Long: ")
    while True:
        exchange.send(b"x" * 65536)


@fault
def flood_100(exchange: Exchange) -> None:
    while True:
        exchange.send(b"HTTP/1.1 100 Continue\r\n\r\n" * 20)
        exchange.server.wait(0.005)


@fault
def not_http(exchange: Exchange) -> None:
    exchange.send(b"SSH-2.0-OpenSSH_9.2\r\n")
    raise HangupError


@fault
def garbage_status(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 abc OK\r\n\r\n")
    raise HangupError


@fault
def binary_noise(exchange: Exchange) -> None:
    exchange.send(bytes(range(256)) * 4)
    raise HangupError


@dataclass
class _Plan:
    name: str
    left: float
    """How often it still happens."""
    after: int = 0
    """Honest answers before it."""


@dataclass
class Seen:
    """What one request said."""

    path: str
    headers: dict[str, str] = field(default_factory=dict)


class FaultServer:
    """A threaded server; a context manager. `content` maps paths without leading slash to bytes."""

    def __init__(
        self,
        content: Mapping[str, bytes] | None = None,
        *,
        root: Path | None = None,
        latency: float = 0.0,
        rate: float = 0.0,
        tls: ssl.SSLContext | None = None,
        port: int = 0,
    ) -> None:
        self.content = dict(content or {})
        self.root = root
        self.latency = latency
        self.rate = rate
        self.elsewhere = ""
        """Base URL to which `redirect_elsewhere` leads."""
        self.seen: list[Seen] = []
        self.connections = 0
        self.sent = 0
        self._plans: dict[str, list[_Plan]] = {}
        self._tls = tls
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", port), backlog=512)
        self.port = self._listener.getsockname()[1]
        self._threads: list[threading.Thread] = []

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def break_path(self, path: str, name: str, *, once: bool, after: int = 0) -> None:
        """Answer requests for `path` with the fault `name`; several faults of a path come one after the other."""
        self._plans.setdefault(path, []).append(_Plan(name, 1 if once else float("inf"), after))

    def hits(self) -> Counter[str]:
        return Counter(seen.path for seen in self.seen)

    def wait(self, seconds: float) -> None:
        if self._ending.wait(seconds):
            raise HangupError

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.drop_connections()
        for thread in self._threads:
            thread.join(5)

    def drop_connections(self) -> None:
        """End all connections as a restart of the server does."""
        with self._lock:
            for sock in self._open:
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._ending.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self._start(self._serve, sock)

    def _serve(self, sock: socket.socket) -> None:
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls:
                sock = self._tls.wrap_socket(sock, server_side=True)
            with self._lock:
                self._open.add(sock)
                self.connections += 1
            self._delay()
            for path, headers in _requests(sock):
                self._delay()
                self._answer(sock, path, headers)
        except (HangupError, OSError):
            pass
        finally:
            with self._lock:
                self._open.discard(sock)
            sock.close()

    def _delay(self) -> None:
        if self.latency:
            time.sleep(self.latency)

    def _answer(self, sock: socket.socket, target: str, headers: dict[str, str]) -> None:
        path, _, query = target.partition("?")
        path = unquote(path).lstrip("/")
        headers["query"] = query
        with self._lock:
            self.seen.append(Seen(path, headers))
            plan = next((plan for plan in self._plans.get(path, ()) if plan.left > 0), None)
            name = None
            if plan and plan.after > 0:
                plan.after -= 1
            elif plan:
                plan.left -= 1
                name = plan.name
        if self.root is not None:
            self._send_file(sock, self.root / path, headers)
            return
        if path not in self.content:
            Exchange(self, sock, path, headers, b"").reply("404 Not Found", body=b"no")
            return
        exchange = Exchange(self, sock, path, headers, self.content[path])
        if name is None:
            self._pace(sock, exchange.start())
        else:
            FAULTS[name](exchange)

    def _pace(self, sock: socket.socket, data: bytes) -> None:
        if not self.rate:
            sock.sendall(data)
            self.sent += len(data)
            return
        view, begun = memoryview(data), time.monotonic()
        for start in range(0, len(data), BURST):
            sock.sendall(view[start : start + BURST])
            self.sent += min(BURST, len(data) - start)
            time.sleep(max(0.0, begun + min(start + BURST, len(data)) / self.rate - time.monotonic()))

    def _send_file(self, sock: socket.socket, path: Path, headers: dict[str, str]) -> None:
        try:
            fd = os.open(path, os.O_RDONLY)
        except OSError:
            sock.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            return
        try:
            size = os.fstat(fd).st_size
            match = _RANGE.match(headers.get("range", ""))
            first, last = (int(match[1]), min(int(match[2] or size - 1), size - 1)) if match else (0, size - 1)
            ranged = f"Content-Range: bytes {first}-{last}/{size}\r\n" if match else ""
            status = "206 Partial Content" if match else "200 OK"
            head = f"HTTP/1.1 {status}\r\nContent-Length: {last - first + 1}\r\nAccept-Ranges: bytes\r\n{ranged}\r\n"
            sock.sendall(head.encode())
            offset, begun, paid = first, time.monotonic(), 0
            while offset <= last:
                sent = os.sendfile(sock.fileno(), fd, offset, min(BURST if self.rate else 1 << 24, last + 1 - offset))
                offset, paid = offset + sent, paid + sent
                if self.rate:
                    time.sleep(max(0.0, begun + paid / self.rate - time.monotonic()))
        finally:
            os.close(fd)


def _requests(sock: socket.socket) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield (target, headers) of each request on a connection."""
    data = b""
    while True:
        while b"\r\n\r\n" not in data:
            more = sock.recv(65536)
            if not more or len(data) > 1 << 16:
                return
            data += more
        head, _, data = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        yield first.split(" ")[1], headers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--latency", type=float, default=0.04, help="seconds of a round trip")
    parser.add_argument("--rate", type=float, default=12e6, help="bytes a second of one connection")
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    server = FaultServer(root=options.root, latency=options.latency, rate=options.rate, port=options.port)
    with server:
        print(server.url, flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
