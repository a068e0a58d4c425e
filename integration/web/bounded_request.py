"""A Flask request class that limits the fields of URL-encoded forms.

werkzeug limits only the parts of multipart forms.
"""

from __future__ import annotations

from io import BytesIO
from typing import IO, Any

from flask import Request
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.formparser import FormDataParser

from integration.domain.limits import MAX_FIELDS

_FORM_TYPE = "application/x-www-form-urlencoded"


class _BoundedFormParser(FormDataParser):
    """A parser of URL-encoded forms of at most MAX_FIELDS fields. The dashboard sends no other forms."""

    def parse(
        self,
        stream: IO[bytes],
        mimetype: str,
        content_length: int | None,
        options: dict[str, str] | None = None,
    ) -> Any:
        """Return the stream, the fields, and no files. A form of another type has no fields.

        Raise RequestEntityTooLarge (413) for more than MAX_FIELDS fields.
        """
        if mimetype != _FORM_TYPE:
            return stream, self.cls(), self.cls()
        body = stream.read()
        if body.count(b"&") >= MAX_FIELDS:
            raise RequestEntityTooLarge
        return super().parse(BytesIO(body), mimetype, content_length, options)


class BoundedRequest(Request):
    """A request whose `form` raises RequestEntityTooLarge (413) if it has more than MAX_FIELDS fields."""

    form_data_parser_class = _BoundedFormParser
