"""Limits for untrusted input.

They apply to webhooks, `/v1`, forms of the dashboard, samples in the studio, XML, multipart bodies and
the responses of an identity provider. The limits of templates are in
`integration.mapping.expressions.data`.
"""

from __future__ import annotations

from typing import Final

MAX_BODY_BYTES: Final = 1024 * 1024
# CRMs give up after 1 to 60 seconds.
BODY_SECONDS: Final = 10.0
MAX_HELD_BYTES: Final = 64 * 1024 * 1024
"""Limit in bytes for all bodies together that one process is receiving or handling."""

MAX_HEAD_BYTES: Final = 32 * 1024
"""Limit for the names and values of all headers of a request."""
MAX_TARGET_BYTES: Final = 16 * 1024
"""Limit for the path and the query string of a request."""
MAX_ANSWER_BYTES: Final = 256 * 1024
"""Limit for an answer of an identity provider. Its keys and tokens take some kilobytes."""

MAX_FIELDS: Final = 2000
"""Limit for the fields of a form, the parts of a multipart body, the parameters of a query string, and
the names in a body of `/v1`."""
MAX_FIELD_DEPTH: Final = 10
"""Limit for the pairs of brackets in the name of a field."""
MAX_PART_HEAD_BYTES: Final = 4 * 1024
"""Limit for the headers of one part of a multipart body."""

MAX_EVENTS: Final = 1000
MAX_JSON_DEPTH: Final = 64

MAX_XML_DEPTH: Final = 32
MAX_XML_NODES: Final = 40_000
"""Limit for the elements, attributes and namespace declarations of a document.

An outbound message of Salesforce has up to 100 notifications, and 1 MiB of them has fewer fields.
"""
MAX_XML_NAME: Final = 256
"""Limit in characters for a name and for a namespace URI. The parser writes the URI before each name."""
