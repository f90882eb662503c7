"""Index texts in libsolv: XML that was looked at before, or what libsolv made of it the last time.

Reading 50 MB of XML costs 0.4 s, the same as `.solv` 0.05 s; so the latter is kept, under the digest of the text.
Writing it costs 0.1 s, which a child process spends while the parent reads on and solves.
"""

import hashlib
import mmap
import os
import re
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import solv

from repobuild.errors import HostileInputError
from repobuild.formats.protocol import Cache

FORMAT = "rpm-solv-1"
"""Names the layout of what is kept; a new one for every change here, and for a libsolv that writes another."""
_MAGIC = b"repobuild rpm-solv-1\n"
_MAX_TEXT = 1 << 31
"""Bytes of an open index."""
_MAX_PACKAGES = 1_000_000
_DIGEST = hashlib.sha256().digest_size
_HEAD = 4096
_PROLOG = re.compile(rb"(?:\xef\xbb\xbf)?(?:<\?xml[^<>]{0,200}\?>)?[ \t\r\n]{0,100}<(?:metadata|filelists)[ \t\r\n/>]")
"""What may stand before the root element, and that. A document type may stand nowhere else (XML 1.0, section 2.8)."""


@dataclass(frozen=True, slots=True)
class Text:
    """An open index text and the digest by which what was made of it is kept."""

    path: Path
    sha256: str


def text_of(path: Path, sha256: str) -> Text:
    """Return the text with its digest, which is computed where no root says it."""
    if sha256:
        return Text(path, sha256)
    with path.open("rb") as file:
        return Text(path, hashlib.file_digest(file, "sha256").hexdigest())


class Kept:
    """Repositories as libsolv writes them, in a cache. What is put there is on disk when this is collected."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    def read(self, repo: "solv.Repo", key: str) -> bool:
        """Fill an empty repository with what is kept under `key`; False, and it is empty, when nothing good is."""
        data = _unwrapped(self._cache.derived(key))
        if data is not None and _read_solv(repo, data):
            return True
        repo.empty()
        return False

    def write(self, repo: "solv.Repo", key: str) -> None:
        """Keep a repository under `key`, as it is now; best effort.

        A child process does it, unless this one has other threads, whose locks a child could find taken for ever.
        """
        if threading.active_count() > 1:
            self._write(repo, key)
            return
        child = os.fork()
        if child == 0:
            try:
                self._write(repo, key)
            finally:
                os._exit(0)
        weakref.finalize(self, os.waitpid, child, 0)

    def _write(self, repo: "solv.Repo", key: str) -> None:
        self._cache.put_derived(key, _wrapped(_written(repo)))


def add_packages(repo: "solv.Repo", text: Text, kept: Kept, upstream: str) -> None:
    """Load a primary text.

    Raises:
        HostileInputError: when it is malformed, too large, or declares a document type.
    """
    key = f"{text.sha256}.{FORMAT}"
    if not kept.read(repo, key):
        parse(repo, text.path, upstream)
        kept.write(repo, key)
    if repo.nsolvables > _MAX_PACKAGES:
        raise HostileInputError(f"more than {_MAX_PACKAGES} packages in upstream {upstream}")


def parse_packages(repo: "solv.Repo", path: Path, upstream: str) -> None:
    """Load a primary text that is of use only once.

    Raises:
        HostileInputError: when it is malformed, too large, or declares a document type.
    """
    with _opened(path, upstream) as file:
        if not repo.add_rpmmd(file, None, 0):
            raise _malformed(repo, upstream)
    repo.internalize()


def add_files(repo: "solv.Repo", text: Text, filelists: Text, kept: Kept, upstream: str) -> None:
    """Load a primary text and the list of all files of its packages.

    Raises:
        HostileInputError: as `add_packages`.
    """
    key = f"{text.sha256}.{filelists.sha256}.{FORMAT}"
    if not kept.read(repo, key):
        add_packages(repo, text, kept, upstream)
        parse_files(repo, filelists.path, upstream)
        kept.write(repo, key)


def parse(repo: "solv.Repo", path: Path, upstream: str) -> None:
    """Add the packages of a primary text; HostileInputError as `add_packages`."""
    _parse(repo, path, upstream, None, 0)


def parse_files(repo: "solv.Repo", path: Path, upstream: str) -> None:
    """Add the files of packages that are there already; HostileInputError as `add_packages`."""
    _parse(repo, path, upstream, "FL", solv.Repo.REPO_EXTEND_SOLVABLES | solv.Repo.REPO_LOCALPOOL)


def _parse(repo: "solv.Repo", path: Path, upstream: str, language: str | None, flags: int) -> None:
    with _opened(path, upstream) as file:
        if not repo.add_rpmmd(file, language, flags):
            raise _malformed(repo, upstream)
    repo.internalize()


def _read_solv(repo: "solv.Repo", data: memoryview) -> bool:
    with _memory_file() as descriptor:
        _write_all(descriptor, data)
        os.lseek(descriptor, 0, os.SEEK_SET)
        file = solv.xfopen_fd(None, descriptor)
        is_read = bool(repo.add_solv(file, 0))
        file.close()
    return is_read


def _written(repo: "solv.Repo") -> bytes:
    with _memory_file() as descriptor:
        file = solv.xfopen_fd(None, descriptor)
        repo.write(file)
        file.flush()
        file.close()
        os.lseek(descriptor, 0, os.SEEK_SET)
        with os.fdopen(os.dup(descriptor), "rb") as written:
            return written.read()


def _write_all(descriptor: int, data: memoryview) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


@contextmanager
def _memory_file() -> Iterator[int]:
    descriptor = os.memfd_create("solv", os.MFD_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _wrapped(data: bytes) -> bytes:
    return b"".join((_MAGIC, hashlib.sha256(data).digest(), data))


def _unwrapped(data: bytes | None) -> memoryview | None:
    """Return what `_wrapped` was given, None when this is something else or damaged."""
    if data is None or not data.startswith(_MAGIC):
        return None
    start = len(_MAGIC) + _DIGEST
    content = memoryview(data)[start:]
    return content if hashlib.sha256(content).digest() == data[len(_MAGIC) : start] else None


@contextmanager
def _opened(path: Path, upstream: str) -> "Iterator[solv.SolvFp]":
    """Open a text for libsolv, whose parser would follow whatever a document type defines."""
    with path.open("rb") as file:
        _check(file.fileno(), upstream)
        opened = solv.xfopen_fd(None, file.fileno())
        try:
            yield opened
        finally:
            opened.close()


def _check(descriptor: int, upstream: str) -> None:
    size = os.fstat(descriptor).st_size
    what = f"index of upstream {upstream}"
    if not 0 < size <= _MAX_TEXT:
        raise HostileInputError(f"{what} is empty or has more than {_MAX_TEXT} bytes: {size}")
    with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as text:
        if text.find(b"\0") >= 0:
            raise HostileInputError(f"{what} is not UTF-8 text")
        head = bytes(text[:_HEAD])
        if b"<!DOCTYPE" in head or b"<!ENTITY" in head:
            raise HostileInputError(f"{what} declares a document type; an index has no use for one")
        if not _PROLOG.match(head):
            raise HostileInputError(f"{what} is no index: it begins with {head[:40]!r}")


def _malformed(repo: "solv.Repo", upstream: str) -> HostileInputError:
    return HostileInputError(f"malformed index of upstream {upstream}: {str(repo.pool.errstr)[:200]}")
