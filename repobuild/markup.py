"""XML from outside: read within bounds, without document types and what they could define. And text on its way out."""

import re
from html import escape
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from repobuild.errors import HostileInputError

_MAX_ELEMENTS = 100_000
_MAX_DEPTH = 32
_MAX_TEXT = 1 << 20
"""Characters of one element's text."""
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff\ufffe\uffff]")
"""Signs that show nothing, or turn the text around them."""


def html_text(text: str) -> str:
    """Return text for an HTML element or a quoted attribute; what could not be seen is replaced by U+FFFD."""
    return escape(_UNSEEN.sub("\ufffd", text))


def read_xml(content: bytes, what: str) -> Element:
    """Return the root element; tags and attributes carry no namespaces.

    Args:
        content: the document, of a size that was bounded before.
        what: for messages.

    Raises:
        HostileInputError: when it is malformed, has a document type, or exceeds a bound.
    """
    return _Reader(what).read(content)


class _Reader:
    def __init__(self, what: str) -> None:
        self._what = what
        self._builder = TreeBuilder()
        self._depth = 0
        self._elements = 0
        self._text = 0

    def read(self, content: bytes) -> Element:
        parser = expat.ParserCreate(namespace_separator=" ")
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._data
        parser.StartDoctypeDeclHandler = self._refuse
        try:
            parser.Parse(content, True)
        except (expat.ExpatError, ValueError, LookupError) as error:  # the latter: encodings that nobody knows
            raise HostileInputError(f"not well-formed XML: {self._what}: {error}") from error
        return self._builder.close()

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        self._elements += 1
        self._text = 0
        if self._depth > _MAX_DEPTH or self._elements > _MAX_ELEMENTS:
            raise HostileInputError(f"more than {_MAX_ELEMENTS} elements or {_MAX_DEPTH} levels of XML: {self._what}")
        self._builder.start(_local(tag), {_local(name): value for name, value in attributes.items()})

    def _end(self, tag: str) -> None:
        self._depth -= 1
        self._text = 0
        self._builder.end(_local(tag))

    def _data(self, text: str) -> None:
        self._text += len(text)
        if self._text > _MAX_TEXT:
            raise HostileInputError(f"more than {_MAX_TEXT} characters of text in XML: {self._what}")
        self._builder.data(text)

    def _refuse(self, *_: object) -> None:
        raise HostileInputError(f"XML with a document type, which could define anything: {self._what}")


def _local(name: str) -> str:
    return name.rpartition(" ")[2]
