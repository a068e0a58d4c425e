"""Convert ASGI requests to WSGI environs (PEP 3333), and run WSGI applications."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote_to_bytes

from integration.web import security_headers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, MutableMapping

    from _typeshed.wsgi import WSGIApplication
    from flask import Response

    Scope = MutableMapping[str, Any]


CLIENT_LEFT: Final = "ringback.client_left"
"""The environ key of a `threading.Event` that is set when the client closes its connection.

The key is missing if the connection is not watched.
"""


@dataclass(frozen=True, slots=True)
class WholeResponse:
    """A response in ASGI's types: header names in lower case, and the whole body."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


def raw_path(scope: Scope) -> bytes:
    """Return the percent-encoded path of a request, or the decoded path if the server gives no other."""
    path: bytes = scope["raw_path"] or scope["path"].encode()
    return path


def wsgi_environ(scope: Scope, body: bytes) -> dict[str, Any]:
    """Return the WSGI environ of a request (PEP 3333). `RAW_URI` is the percent-encoded target.

    Values of a repeated header are joined with a comma (RFC 9110, 5.3). Headers with `_` in their name
    are dropped: in an environ, `X_Signature` cannot be distinguished from `X-Signature`, and a proxy may
    check only the latter.
    """
    raw = raw_path(scope)
    query: bytes = scope["query_string"]
    server, port = scope.get("server") or ("", 0)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(raw).decode("latin-1"),
        "QUERY_STRING": query.decode("latin-1"),
        "RAW_URI": (raw + (b"?" + query if query else b"")).decode("latin-1"),
        "SERVER_NAME": server,
        "SERVER_PORT": str(port),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "REMOTE_ADDR": (scope.get("client") or ("",))[0],
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.input": BytesIO(body),
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for name, value in scope["headers"]:
        if b"_" in name:
            continue
        key = name.decode("latin-1").upper().replace("-", "_")
        key = key if key in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{key}"
        text = value.decode("latin-1")
        environ[key] = f"{environ[key]},{text}" if key in environ else text
    return environ


def run(app: WSGIApplication, environ: dict[str, Any]) -> WholeResponse:
    """Call a WSGI application and return its whole response. Exceptions are passed on."""
    started: list[tuple[str, list[tuple[str, str]]]] = []

    def start_response(
        status: str,
        headers: list[tuple[str, str]],
        exc_info: Any = None,  # noqa: ARG001  (PEP 3333)
    ) -> Callable[[bytes], object]:
        started.append((status, headers))
        return lambda _: None

    parts: Iterable[bytes] = app(environ, start_response)
    try:
        body = b"".join(parts)
    finally:
        close = getattr(parts, "close", None)
        if close is not None:
            close()
    status, headers = started[-1]
    return WholeResponse(int(status.split(" ", 1)[0]), _encoded(headers), body)


def of_flask(response: Response) -> WholeResponse:
    """Return a Flask response as a WholeResponse, with the security headers."""
    security_headers.complete(response.headers)
    return WholeResponse(response.status_code, _encoded(response.headers.items()), response.get_data())


def _encoded(headers: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
