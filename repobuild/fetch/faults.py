"""What can go wrong with one try at one mirror, and what that means for the next."""

import enum
import os
import re
import socket
import ssl
from email.utils import parsedate_to_datetime
from typing import NamedTuple

import requests
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError


class Kind(enum.Enum):
    """A kind of fault."""

    GONE = enum.auto()
    """404 or 410."""
    REFUSED = enum.auto()
    """403 and other answers that say no."""
    DENIED = enum.auto()
    """401, 407: a server or proxy wants credentials or a client certificate, or others than those given."""
    WRONG = enum.auto()
    """The bytes are not what they have to be."""
    HOSTILE = enum.auto()
    """A redirect or an address that must not be followed."""
    SILENT = enum.auto()
    """Connected, then no answer or too slow a one."""
    UNREACHABLE = enum.auto()
    """No connection: no such name, no route, nobody listens, a certificate that does not hold."""
    BUSY = enum.auto()
    """The server asks to come again: 429, 5xx."""
    BROKEN = enum.auto()
    """The answer broke off or is no HTTP."""


PASSING = frozenset({Kind.BUSY, Kind.BROKEN})
"""Kinds that the same mirror often gets over; after any other it is asked once more, and after other mirrors."""


ASKED_LAST = frozenset({Kind.SILENT, Kind.UNREACHABLE, Kind.DENIED})
"""Kinds that cost a long wait, or wear out a server's patience: the host is asked last from then on."""


class Fault(Exception):  # noqa: N818 -- never leaves fetch: it becomes an error when no mirror is left
    """One try failed."""

    def __init__(self, kind: Kind, cause: str, pause: float = 0.0) -> None:
        super().__init__(cause)
        self.kind = kind
        self.cause = cause
        """What happened, in words for the operator."""
        self.pause = pause
        """Seconds that the server asks to wait."""
        self.hops = 0
        """Redirects that were followed before it."""


class StoppedError(Exception):
    """Another download failed or the run was interrupted; nobody reads this."""


class _Status(NamedTuple):
    kind: Kind
    words: str


_STATUSES = {
    401: _Status(Kind.DENIED, "wants credentials, and none are given for it"),
    403: _Status(Kind.REFUSED, "refuses it"),
    404: _Status(Kind.GONE, "does not have it"),
    407: _Status(Kind.DENIED, "is behind a proxy that wants credentials, or others than those given"),
    408: _Status(Kind.BUSY, "timed out"),
    410: _Status(Kind.GONE, "no longer has it"),
    416: _Status(Kind.BROKEN, "cannot resume it"),
    425: _Status(Kind.BUSY, "asks to come later"),
    429: _Status(Kind.BUSY, "gets too many requests"),
}


def status_fault(status: int, retry_after: str | None, now: float, *, are_given: bool = False) -> Fault:
    """Return the fault that an answer other than 200, 206 or a redirect amounts to; `are_given`: credentials."""
    if status == 401 and are_given:
        kind, words = Kind.DENIED, "does not accept the credentials that are given for it"
    elif 500 <= status <= 599:
        kind, words = Kind.BUSY, "is in trouble"
    else:
        default = _Status(Kind.REFUSED if 400 <= status <= 499 else Kind.BROKEN, "gives no usable answer")
        kind, words = _STATUSES.get(status, default)
    pause = _seconds(retry_after, now) if kind is Kind.BUSY and retry_after else 0.0
    wish = f" and asks to wait {pause:.0f} seconds" if pause else ""
    return Fault(kind, f"the server {words} (status {status}){wish}", pause)


_TRANSPORT: tuple[tuple[tuple[type[BaseException], ...], Kind, str], ...] = (
    (
        (requests.exceptions.ProxyError, requests.exceptions.InvalidProxyURL),
        Kind.UNREACHABLE,
        "the proxy does not connect us",
    ),
    ((NameResolutionError, socket.gaierror), Kind.UNREACHABLE, "the host has no address (DNS)"),
    ((NewConnectionError, ConnectTimeoutError), Kind.UNREACHABLE, "no connection"),
    ((requests.exceptions.Timeout, TimeoutError), Kind.SILENT, "the server stopped answering"),
    ((requests.exceptions.InvalidURL, UnicodeError), Kind.HOSTILE, "not a usable URL"),
    ((BaseException,), Kind.BROKEN, "the answer broke off or is no valid HTTP"),
)
"""Exceptions, the most telling first, and what each means."""


def transport_fault(error: Exception) -> Fault:
    """Return the fault that an exception of requests, urllib3 or the socket amounts to."""
    causes = _chain(error)
    if any(isinstance(cause, requests.exceptions.SSLError) for cause in causes):
        return _tls_fault(causes)
    kind, words = next(
        (kind, words) for classes, kind, words in _TRANSPORT if any(isinstance(cause, classes) for cause in causes)
    )
    tunnel = _tunnel_status(causes)
    if tunnel == 407:
        return Fault(Kind.DENIED, "the proxy wants credentials, or others than those given (status 407)")
    number = next((cause.errno for cause in causes if isinstance(cause, OSError) and cause.errno), 0)
    detail = f"status {tunnel}" if tunnel else (os.strerror(number).lower() if number > 0 else "")
    return Fault(kind, f"{words}: {detail}" if detail else words)


def _tls_fault(causes: list[BaseException]) -> Fault:
    reason = next((cause.verify_message for cause in causes if isinstance(cause, ssl.SSLCertVerificationError)), "")
    if reason:
        return Fault(Kind.UNREACHABLE, f"its certificate does not hold: {reason.lower()}")
    if any("CERTIFICATE_REQUIRED" in (each.reason or "") for each in causes if isinstance(each, ssl.SSLError)):
        return Fault(Kind.DENIED, "the server wants a client certificate, and none is given for it")
    return Fault(Kind.BROKEN, "the TLS connection broke")


def _tunnel_status(causes: list[BaseException]) -> int:
    """Return the status with which a proxy declined a tunnel, read from http.client's words; 0 when none did."""
    texts = (str(cause) for cause in causes)
    matches = (re.match(r"Tunnel connection failed: (\d{3})", text) for text in texts)
    return next((int(match[1]) for match in matches if match), 0)


def _chain(error: BaseException) -> list[BaseException]:
    """Return `error` and what led to it: causes, contexts, `reason` of urllib3, wrapped arguments."""
    found: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting and len(found) < 20:
        each = waiting.pop(0)
        if not isinstance(each, BaseException) or each in found:
            continue
        found.append(each)
        waiting += [each.__cause__, each.__context__, getattr(each, "reason", None), *each.args]
    return found


def _seconds(retry_after: str, now: float) -> float:
    """Read a Retry-After header (RFC 9110, 10.2.3): seconds or a date; 0 when it is neither."""
    text = retry_after.strip()
    if text.isascii() and text.isdecimal():
        return float(text[:12])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, TypeError, OverflowError):
        return 0.0
