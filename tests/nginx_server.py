"""A real nginx on loopback, with all of its files in a folder of its own; and the judge of what is written for it."""

import http.client
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from repobuild.webserver import Judgement

NGINX = Path("/usr/sbin/nginx")
CLEAN = Judgement(was_asked=True)
"""Of a configuration that nginx takes without a word."""
needs_nginx = pytest.mark.skipif(not NGINX.exists(), reason="nginx is not installed")
OPENSSL = Path("/usr/bin/openssl")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def main_config(place: Path, body: str) -> Path:
    """Write a main configuration around the servers of `body`."""
    place.chmod(0o755)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{kind}_temp_path {place}/{kind};" for kind in kinds)
    user = "user root;" if Path("/proc/self").stat().st_uid == 0 else ""
    config = place / "nginx.conf"
    config.write_text(
        f"{user} daemon off; pid {place}/pid; events {{}}\nhttp {{ access_log off; {temporary}\n{body}\n}}\n"
    )
    return config


@contextmanager
def running(place: Path, body: str, port: int) -> Iterator[None]:
    """Run nginx over `body`, which listens on `port` of 127.0.0.1."""
    command = [NGINX, "-p", place, "-c", main_config(place, body), "-e", place / "error.log"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            with socket.socket() as knock:
                if knock.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, (place / "error.log").read_text()
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(timeout=20)


def judged(place: Path, body: str) -> str:
    """Return what `nginx -t` says of the servers in `body`, which are read as they stand; "" when all is well."""
    command = [NGINX, "-t", "-p", place, "-c", main_config(place, body), "-e", place / "error.log"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    return "" if result.returncode == 0 and "[warn]" not in result.stderr else result.stderr


def make_certificate(folder: Path, stem: tuple[str, str], *names: str) -> None:
    """Make a self-signed certificate and its key, the first of `names` its common name."""
    folder.mkdir(parents=True, exist_ok=True)
    certificate, key = (str(folder / name) for name in stem)
    words = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"]
    alternatives = ",".join(f"DNS:{name}" for name in names)
    subject = ["-subj", f"/CN={names[0]}", "-addext", f"subjectAltName={alternatives}"]
    subprocess.run(
        [OPENSSL, *words, *subject, "-out", certificate, "-keyout", key], check=True, capture_output=True, timeout=30
    )


def fetch(
    port: int, path: str, *, secure: ssl.SSLContext | None = None, source: str = "", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """Ask the nginx at `port` for `path`; of `headers`, `_` stands for a dash."""
    origin = (source, 0) if source else None
    connection: http.client.HTTPConnection
    if secure is not None:
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=secure)
    else:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10, source_address=origin)
    try:
        connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
    finally:
        connection.close()
