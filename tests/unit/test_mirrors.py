"""Lists of mirrors: which are taken, in what order, and what a metalink vouches for."""

from collections.abc import Mapping

import pytest

from repobuild.catalog import expand
from repobuild.catalog.values import Get
from repobuild.errors import UnreachableError
from repobuild.model import ListKind, Mirror, MirrorList, Upstream

PLAIN = "https://lists.test/mirrorlist?repo=epel-9&arch=x86_64"
METALINK = "https://lists.test/metalink?repo=epel-9&arch=x86_64"
DIGESTS = ("a" * 64, "b" * 64)
DOCUMENT = f"""<?xml version="1.0"?>
<metalink version="3.0" xmlns="http://www.metalinker.org/" xmlns:mm0="http://fedorahosted.org/mirrormanager">
 <files><file name="repomd.xml">
  <mm0:timestamp>1</mm0:timestamp><size>5</size>
  <verification><hash type="md5">{"0" * 32}</hash><hash type="sha256">{DIGESTS[0]}</hash></verification>
  <mm0:alternates><mm0:alternate><verification><hash type="sha256">{DIGESTS[1]}</hash></verification></mm0:alternate></mm0:alternates>
  <resources maxconnections="1">
   <url protocol="https" type="https" preference="90">https://far.test/epel/repodata/repomd.xml</url>
   <url protocol="https" type="https" preference="100">https://near.test/epel/repodata/repomd.xml</url>
   <url protocol="rsync" type="rsync" preference="99">rsync://near.test/epel/repodata/repomd.xml</url>
  </resources>
 </file></files>
</metalink>"""


def get_from(answers: Mapping[str, str]) -> Get:
    def get(mirror: Mirror, path: str, limit: int) -> bytes:
        text = answers.get(f"{mirror.url}/{path}")
        if text is None:
            raise UnreachableError(f"no answer: {mirror.url}")
        return text.encode()

    return get


def upstream(*lists: tuple[ListKind, str], urls: tuple[str, ...] = ()) -> Upstream:
    return Upstream(
        name="epel", module="node", mirrors=tuple(map(Mirror, urls)), mirror_lists=tuple(MirrorList(*e) for e in lists)
    )


def test_a_plain_list_is_a_url_a_line() -> None:
    answers = {PLAIN: "# repo = epel-9\nhttp://one.test/epel/\n\nftp://two.test/x\nhttps://three.test/epel\n"}

    listed = expand(upstream((ListKind.PLAIN, PLAIN)), get_from(answers))

    assert [each.url for each in listed.mirrors] == ["http://one.test/epel", "https://three.test/epel"]
    assert listed.digests == frozenset()


def test_a_metalink_gives_mirrors_by_preference_and_the_roots_it_vouches_for() -> None:
    listed = expand(upstream((ListKind.METALINK, METALINK)), get_from({METALINK: DOCUMENT}))

    assert [each.url for each in listed.mirrors] == ["https://near.test/epel", "https://far.test/epel"]
    assert listed.digests == frozenset(DIGESTS)


def test_the_manifests_own_mirrors_come_first_and_do_without_the_list() -> None:
    own = upstream((ListKind.PLAIN, PLAIN), urls=("http://own.test",))

    with_list = expand(own, get_from({PLAIN: "http://one.test\nhttp://own.test\n"}))
    without = expand(own, get_from({}))

    assert [each.url for each in with_list.mirrors] == ["http://own.test", "http://one.test"]
    assert [each.url for each in without.mirrors] == ["http://own.test"]


@pytest.mark.parametrize(
    "answer",
    [
        "", "<html>sign in</html>", "http://user:secret@one.test/x", "http://one.test/../x", "http://[::1/x",
        "javascript:alert(1)", "file:///etc", "http:///x", "http://one.test/x?y",
    ],
)  # fmt: skip
def test_a_list_without_a_usable_mirror_is_as_none(answer: str) -> None:
    with pytest.raises(UnreachableError, match="no mirror of upstream epel"):
        expand(upstream((ListKind.PLAIN, PLAIN)), get_from({PLAIN: answer}))


def test_a_metalink_with_a_document_type_is_as_none() -> None:
    bad = DOCUMENT.replace('<?xml version="1.0"?>', '<!DOCTYPE metalink [<!ENTITY x "y">]>')

    with pytest.raises(UnreachableError, match="document type"):
        expand(upstream((ListKind.METALINK, METALINK)), get_from({METALINK: bad}))


def test_a_list_is_cut_short() -> None:
    many = "".join(f"http://m{number}.test/x\n" for number in range(100))

    assert len(expand(upstream((ListKind.PLAIN, PLAIN)), get_from({PLAIN: many})).mirrors) == 20
