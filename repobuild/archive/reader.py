"""Reads a part of a bundle once, from the first byte to the last, and believes nothing that its contents do not say.

The contents are read bounded and parsed; from there on each header, each padding and the end of the archive are known
in advance and compared. Digests and sizes are proven while the bytes go by.
"""

import hashlib
from collections.abc import Callable, Iterator

from repobuild.archive.contents import (
    CONTENTS_LIMIT,
    CONTENTS_NAME,
    DIGESTS_NAME,
    INSTALLER_LIMIT,
    INSTALLER_NAME,
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
    """A part whose contents were read; `members` gives its files, `finish` proves that nothing else is in it.

    Args:
        fd: descriptor of a regular file (tar, alone or in gzip or zstd), at the beginning; stays the caller's.
        where: the file's name, for messages.
        advance: hears how many bytes of the file were read.

    Raises:
        HostileInputError: when the file does not begin with contents, or they are malformed or unsafe.
        VerificationError: when it ends early or its checksum is wrong.
    """

    def __init__(self, fd: int, where: str, advance: Callable[[int], None]) -> None:
        self._stream = open_stream(fd, where, advance)
        self._where = where
        self._read = 0
        record = self._take(RECORD)
        first = first_header(record)
        if first is None:
            raise HostileInputError(f"does not begin with {CONTENTS_NAME}: {where}: {describe(record)}")
        name, size, mtime = first
        if size > CONTENTS_LIMIT:
            raise HostileInputError(f"contents of more than {CONTENTS_LIMIT} bytes: {where}: {size}")
        if not name.endswith(f"/{PRIVATE}/{CONTENTS_NAME}"):
            raise HostileInputError(f"does not begin with {CONTENTS_NAME}: {where}: {describe(record)}")
        self.text = self._take(size)
        self.contents = parse_contents(self.text)
        if record != file_header(self._name(f"{PRIVATE}/{CONTENTS_NAME}"), size, self.contents.sequence):
            raise HostileInputError(
                f"first member and contents disagree about name or time: {where}: {name!a}, {mtime}"
            )
        self._expect(padding(size), f"padding of {CONTENTS_NAME}")

    def members(self) -> Iterator[tuple[TreeFile, Iterator[bytes]]]:
        """Yield each file that this part carries, with its content in pieces, to be used up before asking for the next.

        Raises:
            HostileInputError: when a member is not the one that the contents name next.
            VerificationError: when content has another digest; raised after its last piece.
        """
        self._expect_head()
        for file in self.contents.carried:
            name = self._name(file.path)
            self._expect_member(name, file_header(name, file.size, self.contents.sequence))
            yield file, self._content(file)

    def finish(self) -> tuple[str, str]:
        """Prove that the part ends here; return the sha256 of its archive, packed as it is, and of the whole file.

        They differ when the file was lengthened with zeros.

        Raises:
            HostileInputError: when anything but zeros follows.
        """
        self._expect(ending(self._read), "the end of the archive")
        return self._stream.finish()

    def _expect_head(self) -> None:
        """Take what lies between the contents and the first file, all of which follows from the contents."""
        time = self.contents.sequence
        digests = digest_lines(self.contents)
        name = self._name(f"{PRIVATE}/{DIGESTS_NAME}")
        self._expect_member(name, file_header(name, len(digests), time))
        self._expect(digests + padding(len(digests)), name)
        if self.contents.installer:
            self._expect_installer()
        for folder in folders_of(self.contents):
            self._expect_member(folder, folder_header(folder, time))

    def _expect_installer(self) -> None:
        """Take the installer, of which the contents say the digest alone."""
        name = self._name(f"{PRIVATE}/{INSTALLER_NAME}")
        record = self._take(RECORD)
        found = first_header(record)
        size = found[1] if found else 0
        if size > INSTALLER_LIMIT:
            raise HostileInputError(f"an installer of more than {INSTALLER_LIMIT} bytes: {self._where}: {size}")
        if record != file_header(name, size, self.contents.sequence):
            raise HostileInputError(
                f"expected {name!a} as the contents describe it, found {describe(record)}: {self._where}"
            )
        text = self._take(size)
        if sha256_of(text) != self.contents.installer:
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

    def _name(self, path: str) -> str:
        return f"{self.contents.name}/{path}"
