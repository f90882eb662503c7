"""Small .debs from their parts, right or wrong (deb(5))."""

import gzip
import io
import lzma
import tarfile
from collections.abc import Mapping

import zstandard


def make_deb(control: str | bytes, *, ending: str = ".gz", files: Mapping[str, bytes] | None = None) -> bytes:
    """Return a .deb with this control file; the same bytes each time."""
    data = control.encode() if isinstance(control, str) else control
    return ar(
        ("debian-binary", b"2.0\n"),
        (f"control.tar{ending}", packed(tar({"./control": data, **(files or {})}), ending)),
        (f"data.tar{ending}", packed(tar({}), ending)),
    )


def ar(*members: tuple[str, bytes]) -> bytes:
    """Return an ar archive."""
    parts = [b"!<arch>\n"]
    for name, data in members:
        parts += [ar_header(name, len(data)), data, b"\n" * (len(data) % 2)]
    return b"".join(parts)


def ar_header(name: str, size: int | str) -> bytes:
    return f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{size:<10}`\n".encode()


def tar(files: Mapping[str, bytes], **words: object) -> bytes:
    """Return a tar of regular files, or with `type` of other things."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            for key, value in words.items():
                setattr(member, key, value)
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


def packed(data: bytes, ending: str) -> bytes:

    if ending == ".gz":
        return gzip.compress(data, mtime=0)
    if ending == ".xz":
        return lzma.compress(data)
    if ending == ".zst":
        return zstandard.ZstdCompressor().compress(data)
    return data
