"""SOAP 1.1 for outbound messages: a bounded XML parser, and the two responses.

The parser accepts UTF-8 of at most 32 levels, without DTD and entities, and uses no network. It empties
elements with credentials while parsing, so that the tree never contains a credential.
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

if TYPE_CHECKING:
    from collections.abc import Mapping
    from xml.etree.ElementTree import Element

ENVELOPE = "http://schemas.xmlsoap.org/soap/envelope/"
INSTANCE = "http://www.w3.org/2001/XMLSchema-instance"
MAX_DEPTH = 32

CONTENT_TYPE = "text/xml; charset=utf-8"
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class _BoundedBuilder(TreeBuilder):
    """Builds the tree, limits its depth, and drops the content of elements with the given local names."""

    def __init__(self, emptied: frozenset[str]) -> None:
        super().__init__()
        self._emptied = emptied
        self._open: list[str] = []
        self._dropping_from: int | None = None

    def start(self, tag: str, attrs: dict[str, str], /) -> Element:
        self._open.append(tag)
        if len(self._open) > MAX_DEPTH:
            raise UnreadableError("body", f"more than {MAX_DEPTH} levels", f"at most {MAX_DEPTH}")
        if self._dropping_from is None and local_name(tag) in self._emptied:
            self._dropping_from = len(self._open)
            return super().start(tag, {})
        return super().start(tag, attrs if self._dropping_from is None else {})

    def data(self, data: str, /) -> None:
        if self._dropping_from is None:
            super().data(data)

    def end(self, tag: str, /) -> Element:
        if self._dropping_from == len(self._open):
            self._dropping_from = None
        self._open.pop()
        return super().end(tag)


def read_xml(body: bytes, emptied: frozenset[str]) -> Element:
    """Return the root element of an XML document. Elements with a local name in `emptied` are emptied.

    Raise UnreadableError if the document is not UTF-8, not well-formed, too deep, or has a DTD or an entity.
    """
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UnreadableError("body", "bytes that are not UTF-8", "XML in UTF-8") from None
    # The bytes are valid UTF-8, so the encoding in the XML declaration is overridden.
    parser = DefusedXMLParser(target=_BoundedBuilder(emptied), encoding="utf-8", forbid_dtd=True)
    try:
        parser.feed(text.encode())
        root: Element = parser.close()
    except DefusedXmlException:
        raise UnreadableError("body", "a DTD or an entity", "XML without them") from None
    except ParseError as error:
        line, column = error.position
        raise UnreadableError(
            f"body, line {line}, column {column + 1}", "something that is not XML", "well-formed XML"
        ) from None
    return root


def write_xml(root: Element) -> bytes:
    """Return the tree as UTF-8 XML. Parsing it again returns the same tree."""
    written: bytes = tostring(root, encoding="utf-8")
    return written


def local_name(tag: str) -> str:
    """Return a tag's name without its namespace."""
    return tag.rpartition("}")[2]


def accepted(response: str) -> Reply:
    """Return a 200 response with the XML element `response` in an envelope."""
    return Reply(status=200, body=_enveloped(response), content_type=CONTENT_TYPE)


def fault(refusal: ErrorAnswer, headers: Mapping[str, str]) -> Reply:
    """Return a SOAP Fault with the refusal's status: `Client` for a 4xx status, else `Server`."""
    code = "Client" if refusal.status < 500 else "Server"  # noqa: PLR2004  (HTTP's server errors)
    message = f"{refusal.title}: {refusal.detail}" if refusal.detail else refusal.title
    text = escape(_NOT_XML.sub("\ufffd", message))
    inner = f"<faultcode>soapenv:{code}</faultcode><faultstring>{text}</faultstring>"
    return Reply(
        status=refusal.status,
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
