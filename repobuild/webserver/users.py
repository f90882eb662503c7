"""Those who may enter sites with `auth`: the file that nginx reads."""

import base64
import hashlib

from repobuild.checked import check_user
from repobuild.errors import UsageError
from repobuild.portal import Portal

_MAX_PASSWORD = 128


def users_file(portal: Portal) -> str:
    """Return the lines of nginx's password file, by name; passwords as salted SHA-1, which every nginx reads itself.

    The stronger forms are the system library's and differ between systems. The salt follows from name and password, so
    that the same users give the same file.

    Raises:
        UsageError: when a name could end its field, or a password is empty or too long; the password is not repeated.
    """
    lines = []
    for name, password in sorted(portal.users):
        user = check_user(name, "nginx_users")
        if not 0 < len(password) <= _MAX_PASSWORD:
            raise UsageError(f"nginx_users.{user}: expected a password of 1 to {_MAX_PASSWORD} signs, got another one")
        secret = password.encode()
        salt = hashlib.sha256(f"repobuild {name}\0".encode() + secret).digest()[:8]
        digest = hashlib.sha1(secret + salt, usedforsecurity=False).digest()
        lines.append(f"{user}:{{SSHA}}{base64.b64encode(digest + salt).decode()}\n")
    return "".join(lines)
