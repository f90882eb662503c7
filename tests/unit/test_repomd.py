"""repomd.xml of an upstream: what is taken from it, and what is refused."""

import hashlib

import pytest

from repobuild.errors import HostileInputError, RefusedError, VerificationError
from repobuild.formats.rpm import repomd
from repobuild.model import Mirror, Upstream

UPSTREAM = Upstream(name="appstream", module="node", mirrors=(Mirror("http://a.test"),))
OPEN, PACKED = hashlib.sha256(b"open").hexdigest(), hashlib.sha256(b"packed").hexdigest()
RECORD = f"""
  <data type="primary">
    <checksum type="sha256">{PACKED}</checksum>
    <open-checksum type="sha256">{OPEN}</open-checksum>
    <location href="repodata/{PACKED}-primary.xml.gz"/>
    <timestamp>1736761560.5</timestamp>
    <size>100</size>
    <open-size>200</open-size>
  </data>"""


def text(*records: str) -> bytes:
    return f'<repomd xmlns="http://linux.duke.edu/metadata/repo">{"".join(records)}</repomd>'.encode()


def test_an_index_is_named_with_its_digests_and_sizes() -> None:
    root = repomd.read(text(RECORD), UPSTREAM)

    [index] = root.indexes
    [variant] = index.variants
    assert (index.kind, index.size, index.sha256) == ("primary", 200, "")
    assert (variant.path, variant.compression, variant.size) == (f"repodata/{PACKED}-primary.xml.gz", "gz", 100)
    assert (variant.algorithm, variant.digest) == ("sha256", PACKED)
    assert root.date == 1736761560


def test_what_only_some_runs_need_comes_later_and_what_none_needs_never() -> None:
    others = [
        RECORD.replace('"primary"', f'"{kind}"') for kind in ("modules", "filelists", "group", "updateinfo", "other")
    ]

    root = repomd.read(text(RECORD, *others, RECORD.replace('"primary"', '"primary_db"')), UPSTREAM)

    assert [each.kind for each in root.indexes] == ["primary", "modules"]
    assert [each.kind for each in root.later] == ["filelists", "group", "updateinfo"]


@pytest.mark.parametrize(("old", "new"), [("primary.xml.gz", "updateinfo.xml.bz2"), ('"sha256"', '"sha1"')])
def test_an_index_that_only_some_runs_need_is_no_reason_to_refuse_the_rest(old: str, new: str) -> None:
    odd = RECORD.replace(old, new).replace('"primary"', '"updateinfo"')

    root = repomd.read(text(RECORD, odd), UPSTREAM)

    assert [each.kind for each in root.indexes] == ["primary"]
    assert root.later == ()


def test_the_digest_of_an_open_file_is_that_of_its_text() -> None:
    record = RECORD.replace("primary.xml.gz", "primary.xml")

    [index] = repomd.read(text(record), UPSTREAM).indexes

    assert (index.sha256, index.size, index.variants[0].compression) == (PACKED, 100, "")


@pytest.mark.parametrize("algorithm", ["sha384", "sha512"])
def test_stronger_digests_are_taken(algorithm: str) -> None:
    digest = hashlib.new(algorithm, b"x").hexdigest()
    record = RECORD.replace(f'<checksum type="sha256">{PACKED}', f'<checksum type="{algorithm}">{digest}')
    record = record.replace(f'<open-checksum type="sha256">{OPEN}', f'<open-checksum type="{algorithm}">{digest}')

    [index] = repomd.read(text(record), UPSTREAM).indexes

    assert index.sha256 == ""
    assert (index.variants[0].algorithm, index.variants[0].digest) == (algorithm, digest)


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ('<checksum type="sha256">', '<checksum type="sha1">', VerificationError),
        ('<checksum type="sha256">', '<checksum type="md5">', VerificationError),
        (PACKED + "</", "abc</", HostileInputError),
        (f"repodata/{PACKED}-primary.xml.gz", "/etc/passwd.xml", HostileInputError),
        (f"repodata/{PACKED}-primary.xml.gz", "../x.xml.gz", HostileInputError),
        (f"repodata/{PACKED}-primary.xml.gz", "a/../../x.xml.gz", HostileInputError),
        (f"repodata/{PACKED}-primary.xml.gz", "a//x.xml.gz", HostileInputError),
        (f"repodata/{PACKED}-primary.xml.gz", "http://evil.test/x.xml.gz", HostileInputError),
        (f"repodata/{PACKED}-primary.xml.gz", "x.xml.gz?y=1", HostileInputError),
        (f"repodata/{PACKED}-primary.xml.gz", "primary.xml.bz2", HostileInputError),
        ('<location href="', '<location xml:base="http://evil.test/" href="', HostileInputError),
        ("<size>100<", "<size>-1<", HostileInputError),
        ("<size>100<", "<size>99999999999<", HostileInputError),
        ("<open-size>200<", "<open-size>many<", HostileInputError),
        ("<timestamp>1736761560.5<", "<timestamp>99999999999999<", HostileInputError),
        ('type="primary"', 'type="other"', VerificationError),
    ],
)
def test_what_is_weak_or_leads_elsewhere_is_refused(old: str, new: str, error: type[RefusedError]) -> None:
    assert old in RECORD

    with pytest.raises(error, match="appstream"):
        repomd.read(text(RECORD.replace(old, new)), UPSTREAM)


@pytest.mark.parametrize("content", [b"", b"<html/>", text(RECORD, RECORD), b"<!DOCTYPE x><repomd/>", b"<repomd/>"])
def test_what_is_no_repomd_is_refused(content: bytes) -> None:
    with pytest.raises(RefusedError):
        repomd.read(content, UPSTREAM)
