"""Reads a bundle once, from the first byte to the last, and believes nothing that its contents do not say.

The contents are read bounded and parsed; from there on each header, each padding and the end of the archive are known
in advance and compared. Digests and sizes are proven while the bytes go by.
"""

import hashlib
from collections.abc import Callable, Iterator

from repobuild.archive.contents import (
    CONTENTS_LIMIT,
    CONTENTS_NAME,
    DIGESTS_NAME,
    digest_lines,
    folders_of,
    parse_contents,
)
from repobuild.archive.tar import RECORD, describe, ending, file_header, first_header, folder_header, padding
from repobuild.archive.unpacked import GzipStream
from repobuild.errors import HostileInputError, VerificationError
from repobuild.model import PRIVATE, TreeFile

_PIECE = 1 << 20
"""Bytes handed out at a time."""


class BundleReader:
    """A bundle whose contents were read; `members` gives its files, `finish` proves that nothing else is in it.

    Args:
        fd: descriptor of the bundle, at the beginning; stays the caller's.
        where: the bundle's name, for messages.
        advance: hears how many bytes of the bundle were read.

    Raises:
        HostileInputError: when the bundle does not begin with contents, or they are malformed or unsafe.
        VerificationError: when it ends early or its checksum is wrong.
    """

    def __init__(self, fd: int, where: str, advance: Callable[[int], None]) -> None:
        self._stream = GzipStream(fd, where, advance)
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
        """Yield each file with its content in pieces, which must be used up before the next file is asked for.

        Raises:
            HostileInputError: when a member is not the one that the contents name next.
            VerificationError: when content has another digest; raised after its last piece.
        """
        self._expect_head()
        for file in self.contents.files:
            name = self._name(file.path)
            self._expect_member(name, file_header(name, file.size, self.contents.sequence))
            yield file, self._content(file)

    def finish(self) -> tuple[str, str]:
        """Prove that the bundle ends here; return the sha256 of its archive and of the whole file.

        They differ when the file was lengthened with zeros.

        Raises:
            HostileInputError: when anything but zeros follows.
        """
        self._expect(ending(self._read), "the end of the archive")
        return self._stream.finish()

    def _expect_head(self) -> None:
        """Take the second member and the folders, all of which follow from the contents."""
        time = self.contents.sequence
        digests = digest_lines(self.contents)
        name = self._name(f"{PRIVATE}/{DIGESTS_NAME}")
        self._expect_member(name, file_header(name, len(digests), time))
        self._expect(digests + padding(len(digests)), name)
        for folder in folders_of(self.contents):
            self._expect_member(folder, folder_header(folder, time))

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
                "copy the bundle again; if that does not help, make it again",
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
