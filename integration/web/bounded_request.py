"""Flask's request with the limits of `domain.limits` on forms, which werkzeug reads without one."""

from __future__ import annotations

from io import BytesIO
from typing import IO, Any

from flask import Request
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.formparser import FormDataParser

from integration.domain.limits import MAX_FIELDS

_FORM_TYPE = "application/x-www-form-urlencoded"


class _BoundedFormParser(FormDataParser):
    """Reads URL-encoded forms of at most MAX_FIELDS fields. No page of ours sends another type."""

    def parse(
        self,
        stream: IO[bytes],
        mimetype: str,
        content_length: int | None,
        options: dict[str, str] | None = None,
    ) -> Any:
        """Return the stream, the fields, and no files. Raise RequestEntityTooLarge (413)."""
        if mimetype != _FORM_TYPE:
            return stream, self.cls(), self.cls()
        body = stream.read()
        if body.count(b"&") >= MAX_FIELDS:
            raise RequestEntityTooLarge
        return super().parse(BytesIO(body), mimetype, content_length, options)


class BoundedRequest(Request):
    """A request whose form has at most MAX_FIELDS fields. One with more raises RequestEntityTooLarge."""

    form_data_parser_class = _BoundedFormParser
