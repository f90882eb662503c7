"""nginx itself as the judge of what is written for it."""

import os
import re
import subprocess
import tempfile
from pathlib import Path

from repobuild.durable import Folder, disk_errors
from repobuild.errors import ProofError
from repobuild.webserver.sites import OWN_WORDS

_NGINX = ("/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/bin/nginx", "/usr/local/nginx/sbin/nginx")
_TEST_SECONDS = 20
"""Time for `nginx -t`."""
_CERTIFICATE = re.compile(r"^ *ssl_certificate(?:_key)? (?P<path>/\S+);\n", re.MULTILINE)
_SSL_LISTEN = re.compile(r"^( *listen \S+) ssl;$", re.MULTILINE)
_BACKEND = re.compile(r"^(    server )[^\s;]+( max_fails=0;)$", re.MULTILINE)
_LOG = re.compile(r"\b(access_log|error_log)[ \t]+[\"']?/[^\s;\"']*[\"']?")


def validate(text: str, *, locations: bool = False) -> bool:
    """Have nginx read `text`: what `nginx_config` or `portal_config` returned or, with `locations`, `nginx_locations`.

    Nothing is served and no file of the system is touched. What another machine has and this one has not is no fault of
    the configuration: certificates, names of backends, a port that may be bound (an ordinary user), an address.

    Returns:
        Whether there is an nginx here to ask.

    Raises:
        ProofError: when nginx refuses it, with its own words.
    """
    nginx = next((path for path in _NGINX if os.access(path, os.X_OK)), None)
    if nginx is None:
        return False
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
    return True


def _of_this_machine(text: str, place: str) -> str:
    """Return a configuration that asks this machine for nothing: nginx opens what it names while it reads.

    Where a certificate is not here, the servers are read as if they did not speak https.
    """
    if not all(os.access(found["path"], os.R_OK) for found in _CERTIFICATE.finditer(text)):
        text = _SSL_LISTEN.sub(r"\1;", _CERTIFICATE.sub("", text))
    return _LOG.sub(rf"\1 {place}/log", _BACKEND.sub(r"\g<1>127.0.0.1:80\2", text))


def _stand_alone(place: str, body: str) -> str:
    """Return a main configuration that keeps every path of its own in the folder `place`."""
    temporary = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "\n".join(f"{each}_temp_path {place}/{each};" for each in temporary)
    return f"error_log stderr;\npid {place}/pid;\nevents {{}}\nhttp {{\naccess_log off;\n{paths}\n{body}\n}}\n"
