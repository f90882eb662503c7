"""Reads a part of a bundle once, from the first byte to the last, and believes nothing that its contents do not say.

The contents are read bounded and parsed; from there on each header, each padding and the end of the archive are known
in advance and compared. Digests and sizes are proven while the bytes go by.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence

from repobuild.archive.contents import (
    CONTENTS_LIMIT,
    CONTENTS_NAME,
    DIGESTS_NAME,
    FILES_LIMIT,
    INSTALLER_LIMIT,
    INSTALLER_NAME,
    Contents,
    digest_lines,
    folders_of,
)
from repobuild.archive.tar import RECORD, describe, ending, file_header, first_header, folder_header, padding
from repobuild.archive.text import parse_contents
from repobuild.archive.unpacked import open_stream
from repobuild.errors import HostileInputError, VerificationError
from repobuild.model import PRIVATE, TreeFile
from repobuild.record import sha256_of

_PIECE = 1 << 20
"""Bytes handed out at a time."""
_COPY_AGAIN = "copy the bundle again; if that does not help, make it again"


class BundleReader:
    """A part whose heads were read; `members` gives the files, `finish` proves that nothing else is in it.

    Args:
        fd: descriptor of a regular file (tar, alone or in gzip or zstd), at the beginning; stays the caller's.
        where: the file's name, for messages.
        advance: hears how many bytes of the file were read.

    Raises:
        HostileInputError: when the file does not begin with contents, they are malformed or unsafe, or what follows
            from them does not follow.
        VerificationError: when it ends early, its checksum is wrong, or the installer is not what the contents say.
    """

    def __init__(self, fd: int, where: str, advance: Callable[[int], None]) -> None:
        self._stream = open_stream(fd, where, advance)
        self._where = where
        self._read = 0
        self._room = CONTENTS_LIMIT
        first = self._take_head()
        self.repositories = (first, *(self._take_head() for _ in first.repositories[1:]))
        """What the file holds, in its order: nearly always one."""
        _check_together(self.repositories, where)

    def members(self, contents: Contents) -> Iterator[tuple[TreeFile, Iterator[bytes]]]:
        """Yield each file that this part carries of one of its repositories, with its content in pieces.

        A content is to be used up before the next is asked for, and each of `repositories` to be read, in their order.

        Raises:
            HostileInputError: when a member is not the one that the contents name next.
            VerificationError: when content has another digest; raised after its last piece.
        """
        for file in contents.carried:
            name = f"{contents.name}/{file.path}"
            self._expect_member(name, file_header(name, file.size, contents.sequence))
            yield file, self._content(file)

    def finish(self) -> tuple[str, str]:
        """Prove that the part ends here; return the sha256 of its archive, packed as it is, and of the whole file.

        They differ when the file was lengthened with zeros.

        Raises:
            HostileInputError: when anything but zeros follows.
        """
        self._expect(ending(self._read), "the end of the archive")
        return self._stream.finish()

    def _take_head(self) -> Contents:
        """Take all that comes before the files of a repository."""
        contents = self._take_contents()
        digests = digest_lines(contents)
        where = _private(contents, DIGESTS_NAME)
        self._expect_member(where, file_header(where, len(digests), contents.sequence))
        self._expect(digests + padding(len(digests)), where)
        if contents.installer:
            self._expect_installer(contents)
        for folder in folders_of(contents):
            self._expect_member(folder, folder_header(folder, contents.sequence))
        return contents

    def _take_contents(self) -> Contents:
        record = self._take(RECORD)
        first = first_header(record)
        if first is None:
            raise HostileInputError(f"expected {CONTENTS_NAME}: {self._where}: {describe(record)}")
        name, size, mtime = first
        if size > self._room:
            raise HostileInputError(f"contents of more than {CONTENTS_LIMIT} bytes: {self._where}: {size}")
        self._room -= size
        if not name.endswith(f"/{PRIVATE}/{CONTENTS_NAME}"):
            raise HostileInputError(f"expected {CONTENTS_NAME}: {self._where}: {describe(record)}")
        contents = parse_contents(self._take(size))
        if record != file_header(_private(contents, CONTENTS_NAME), size, contents.sequence):
            raise HostileInputError(
                f"member and contents disagree about name or time: {self._where}: {name!a}, {mtime}"
            )
        self._expect(padding(size), f"padding of {CONTENTS_NAME}")
        return contents

    def _expect_installer(self, contents: Contents) -> None:
        """Take the installer, of which the contents say the digest alone."""
        name = _private(contents, INSTALLER_NAME)
        record = self._take(RECORD)
        found = first_header(record)
        size = found[1] if found else 0
        if size > INSTALLER_LIMIT:
            raise HostileInputError(f"an installer of more than {INSTALLER_LIMIT} bytes: {self._where}: {size}")
        if record != file_header(name, size, contents.sequence):
            raise HostileInputError(
                f"expected {name!a} as the contents describe it, found {describe(record)}: {self._where}"
            )
        text = self._take(size)
        if sha256_of(text) != contents.installer:
            raise VerificationError(f"content is not what the contents say: {self._where}: {name}", _COPY_AGAIN)
        self._expect(padding(size), f"padding of {name}")

    def _content(self, file: TreeFile) -> Iterator[bytes]:
        digest = hashlib.sha256()
        left = file.size
        while left:
            piece = self._stream.read(min(left, _PIECE))
            if not piece:
                raise VerificationError(f"ends early: {self._where}: {file.path}")
            self._read += len(piece)
            left -= len(piece)
            digest.update(piece)
            yield piece
        if digest.hexdigest() != file.sha256:
            raise VerificationError(
                f"content is not what the contents say: {self._where}: {file.path}: {digest.hexdigest()}",
                _COPY_AGAIN,
            )
        self._expect(padding(file.size), f"padding of {file.path}")

    def _expect_member(self, name: str, header: bytes) -> None:
        found = self._take(len(header))
        if found != header:
            raise HostileInputError(
                f"expected {name!a} as the contents describe it, found {describe(found[:RECORD])}: {self._where}"
            )

    def _expect(self, wanted: bytes, what: str) -> None:
        if self._take(len(wanted)) != wanted:
            raise HostileInputError(f"not what follows from the contents: {self._where}: {what}")

    def _take(self, count: int) -> bytes:
        self._read += count
        return self._stream.exactly(count)


def _check_together(found: Sequence[Contents], where: str) -> None:
    """Refuse repositories that one bundle does not hold."""
    first, *others = found
    names = tuple(each.name for each in found)
    if names != (first.repositories or (first.name,)):
        raise HostileInputError(f"other repositories than its contents list: {where}: {', '.join(names)[:200]}")
    for each in others:
        if (each.repositories, each.target, each.installer) != (first.repositories, first.target, first.installer):
            raise HostileInputError(f"parts of two bundles in one file: {where}: {each.name} for {each.target}")
    if sum(len(each.files) for each in found) > FILES_LIMIT:
        raise HostileInputError(f"more than {FILES_LIMIT} files: {where}")


def _private(contents: Contents, name: str) -> str:
    return f"{contents.name}/{PRIVATE}/{name}"
