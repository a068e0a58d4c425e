"""SOAP 1.1 for outbound messages: a bounded XML parser, the acknowledgement and the fault.

The parser accepts documents within `domain.limits`, without DTD and entities, and uses no network.
Elements with credentials are emptied during parsing, so the tree contains no credential.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.etree.ElementTree import ParseError, TreeBuilder
from xml.sax.saxutils import escape

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser, tostring

from integration.domain.delivery import ErrorAnswer, Reply
from integration.domain.errors import UnreadableError
from integration.domain.limits import MAX_XML_DEPTH, MAX_XML_NAME, MAX_XML_NODES
from integration.mapping.charsets import utf8

if TYPE_CHECKING:
    from collections.abc import Mapping
    from xml.etree.ElementTree import Element

ENVELOPE = "http://schemas.xmlsoap.org/soap/envelope/"
INSTANCE = "http://www.w3.org/2001/XMLSchema-instance"
CONTENT_TYPE = "text/xml; charset=utf-8"
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class _BoundedBuilder(TreeBuilder):
    """A tree builder that enforces `domain.limits`.

    It drops the content and the attributes of elements with the given local names.
    """

    def __init__(self, emptied: frozenset[str]) -> None:
        super().__init__()
        self._emptied = emptied
        self._open: list[str] = []
        self._dropping_from: int | None = None
        self._nodes = 0

    def start_ns(self, _prefix: str, uri: str, /) -> None:
        # The parser calls this before it prefixes the names of elements and attributes with the URI.
        _require_short("a namespace", uri)
        self._count(1)

    def start(self, tag: str, attrs: dict[str, str], /) -> Element:
        self._open.append(tag)
        if len(self._open) > MAX_XML_DEPTH:
            raise UnreadableError(
                "body", f"XML with more than {MAX_XML_DEPTH} nested elements", f"at most {MAX_XML_DEPTH}"
            )
        self._count(1 + len(attrs))
        for name in (tag, *attrs):
            _require_short("a name", local_name(name))
        if self._dropping_from is None and local_name(tag) in self._emptied:
            self._dropping_from = len(self._open)
            return super().start(tag, {})
        return super().start(tag, attrs if self._dropping_from is None else {})

    def _count(self, nodes: int) -> None:
        self._nodes += nodes
        if self._nodes > MAX_XML_NODES:
            found = f"XML with more than {MAX_XML_NODES} elements and attributes"
            raise UnreadableError("body", found, f"at most {MAX_XML_NODES}")

    def data(self, data: str, /) -> None:
        if self._dropping_from is None:
            super().data(data)

    def end(self, tag: str, /) -> Element:
        if self._dropping_from == len(self._open):
            self._dropping_from = None
        self._open.pop()
        return super().end(tag)


def _require_short(what: str, name: str) -> None:
    if len(name) > MAX_XML_NAME:
        found = f"XML with {what} of {len(name)} characters"
        raise UnreadableError("body", found, f"at most {MAX_XML_NAME} characters")


def read_xml(body: bytes, emptied: frozenset[str], charset: str = "utf-8") -> Element:
    """Return the root element of an XML document. Elements with a local name in `emptied` are empty.

    Raise UnreadableError if the document is not in its charset, is not well-formed, exceeds a limit, or
    has a DTD or an entity.
    """
    # The encoding in the XML declaration is overridden.
    parser = DefusedXMLParser(target=_BoundedBuilder(emptied), encoding="utf-8", forbid_dtd=True)
    try:
        parser.feed(utf8(body, charset))
        root: Element = parser.close()
    except DefusedXmlException:
        raise UnreadableError("body", "XML with a DTD or an entity", "XML without them") from None
    except ParseError as error:
        line, column = error.position
        raise UnreadableError(
            f"body, line {line}, column {column + 1}", "not well-formed XML", "XML without syntax errors"
        ) from None
    return root


def write_xml(root: Element, charset: str) -> bytes:
    """Return the tree as XML in a charset. Other characters are written as character references."""
    written: str = tostring(root, encoding="unicode")
    return written.encode(charset, "xmlcharrefreplace")


def local_name(tag: str) -> str:
    """Return a tag's name without its namespace."""
    return tag.rpartition("}")[2]


def accepted(response: str) -> Reply:
    """Return a 200 response with `response`, an XML element, in a SOAP envelope."""
    return Reply(status=200, body=_enveloped(response), content_type=CONTENT_TYPE)


def fault(error: ErrorAnswer, headers: Mapping[str, str]) -> Reply:
    """Return a SOAP Fault with the error's status. The code is `Client` for 4xx, else `Server`."""
    code = "Client" if error.status < 500 else "Server"  # noqa: PLR2004  (HTTP's server errors)
    message = f"{error.title}: {error.detail}" if error.detail else error.title
    text = escape(_NOT_XML.sub("\ufffd", message))
    inner = f"<faultcode>soapenv:{code}</faultcode><faultstring>{text}</faultstring>"
    return Reply(
        status=error.status,
        body=_enveloped(f"<soapenv:Fault>{inner}</soapenv:Fault>"),
        content_type=CONTENT_TYPE,
        headers=headers,
    )


def _enveloped(inner: str) -> bytes:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<soapenv:Envelope xmlns:soapenv="{ENVELOPE}">'
        f"<soapenv:Body>{inner}</soapenv:Body></soapenv:Envelope>"
    ).encode()
