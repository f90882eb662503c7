"""What a web server has to say about our files: type and lifetime, by name. Said once, for nginx and for `serve`."""

import re

DEFAULT_TYPE = "application/octet-stream"

TYPES = {
    "application/gzip": ("gz", "tgz"),
    "application/json": ("json", "lock", "map"),
    "application/pdf": ("pdf",),
    "application/vnd.debian.binary-package": ("deb",),
    "application/wasm": ("wasm",),
    "application/x-bzip2": ("bz2",),
    "application/x-rpm": ("rpm",),
    "application/x-tar": ("tar",),
    "application/x-xz": ("xz",),
    "application/xml": ("xml",),
    "application/zstd": ("zst",),
    "font/woff": ("woff",),
    "font/woff2": ("woff2",),
    "image/gif": ("gif",),
    "image/jpeg": ("jpeg", "jpg"),
    "image/png": ("png",),
    "image/svg+xml": ("svg",),
    "image/webp": ("webp",),
    "image/x-icon": ("ico",),
    "text/css": ("css",),
    "text/html": ("htm", "html"),
    "text/javascript": ("js", "mjs"),
    "text/plain": ("asc", "list", "log", "repo", "sha256", "sh", "sources", "txt", "yaml", "yml"),
}
"""Media type -> suffixes. Compressed files are files: no Content-Encoding, or clients would check the wrong bytes."""

TEXT_NAMES = ("InRelease", "Packages", "Release", "SHA256SUMS", "repo_complete")
"""Files without a suffix that are text."""

IMMUTABLE = r"\.(?:deb|rpm)$|/by-hash/|/repodata/[0-9a-f]{64}-"
"""Paths of files that never change under their name; a regular expression for nginx (PCRE) and Python alike."""

IMMUTABLE_CACHE = "public, max-age=31536000, immutable"
POINTER_CACHE = "public, max-age=60, must-revalidate"
"""For all else: an index or a pointer must not outlive the next publication by more than a minute."""

_BY_SUFFIX = {suffix: kind for kind, suffixes in TYPES.items() for suffix in suffixes}
_IMMUTABLE = re.compile(IMMUTABLE)


def media_type(path: str) -> str:
    """Return the media type of the file at the URL path `path`."""
    name = path.rpartition("/")[2]
    if name in TEXT_NAMES:
        return "text/plain"
    return _BY_SUFFIX.get(name.rpartition(".")[2], DEFAULT_TYPE)


def cache_control(path: str) -> str:
    """Return the Cache-Control of the file at the URL path `path`."""
    return IMMUTABLE_CACHE if _IMMUTABLE.search(path) else POINTER_CACHE
