"""Make responses smaller: gzip, and 204 if a page that refreshes itself has not changed.

Such a page sends the digest of its content. The compressed body has a random length, as with Django's
GZipMiddleware, so that its length reveals less about a secret in the page (the BREACH attack).
"""

from __future__ import annotations

import gzip
import io
import secrets
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from flask import request

if TYPE_CHECKING:
    from flask import Response

# The header of a request with which a page refreshes itself, and that of the digest of its content.
POLL: Final = "X-Poll"
DIGEST: Final = "X-Content-Digest"
SMALLEST: Final = 500
MOST_RANDOM_BYTES: Final = 100
LEVEL: Final = 6
_TEXTS: Final = ("text/", "application/json", "image/svg+xml")


def reduce_size(response: Response, csrf_token: str) -> Response:
    """Return 204 if the page already has this content, otherwise the response, compressed if possible.

    Only texts with status 200 are changed. `csrf_token` (may be empty) is left out of the digest, because
    it differs in each response.
    """
    if response.status_code != 200 or not response.content_type.startswith(_TEXTS):  # noqa: PLR2004
        return response
    response.direct_passthrough = False
    body = response.get_data()
    if POLL in request.headers:
        # The token differs in each response, although the page has not changed.
        digest = sha256(body.replace(csrf_token.encode(), b"") if csrf_token else body).hexdigest()[:32]
        response.headers[DIGEST] = digest
        if request.headers.get(DIGEST) == digest:
            response.set_data(b"")
            response.status_code = 204
            return response
    response.vary.add("Accept-Encoding")
    if len(body) >= SMALLEST and request.accept_encodings["gzip"] > 0:
        response.set_data(compressed(body, secrets.randbelow(MOST_RANDOM_BYTES) + 1))
        response.headers["Content-Encoding"] = "gzip"
    return response


def compressed(body: bytes, padding: int) -> bytes:
    """Return a body in gzip.

    The gzip header has a file name of `padding` bytes, which browsers ignore.
    """
    target = io.BytesIO()
    with gzip.GzipFile(
        filename="a" * padding, mode="wb", compresslevel=LEVEL, fileobj=target, mtime=0
    ) as file:
        file.write(body)
    return target.getvalue()
