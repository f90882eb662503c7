"""XML from outside: bounded, and without document types."""

import pytest

from repobuild.errors import HostileInputError
from repobuild.markup import read_xml

BOMB = b'<!DOCTYPE a [<!ENTITY x "aaaaaaaaaa"><!ENTITY y "&x;&x;&x;&x;">]><a>&y;</a>'


def test_tags_and_attributes_are_read_without_their_namespaces() -> None:
    root = read_xml(b'<r xmlns="urn:a" xmlns:p="urn:b"><p:x p:y="1" z="2">text</p:x></r>', "x")

    assert [(each.tag, each.attrib, each.text) for each in root] == [("x", {"y": "1", "z": "2"}, "text")]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (BOMB, "document type"),
        (BOMB.decode().encode("utf-16"), "document type"),
        (b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', "document type"),
        (b"<a><b></a>", "not well-formed"),
        (b"", "not well-formed"),
        (b"\0\1\2", "not well-formed"),
        (b"<a>&undefined;</a>", "not well-formed"),
        (b'<?xml version="1.0" encoding="nobody-knows"?><a/>', "not well-formed"),
        (b'<?xml version="1.0" encoding="utf-7"?><a/>', "not well-formed"),
        (b"<a>" * 40 + b"</a>" * 40, "levels"),
        (b"<r>" + b"<a/>" * 100_001 + b"</r>", "elements"),
        (b"<a>" + b"x" * (1 << 20) + b"x</a>", "characters of text"),
    ],
)
def test_what_could_harm_is_refused(content: bytes, said: str) -> None:
    with pytest.raises(HostileInputError, match=said):
        read_xml(content, "x")
