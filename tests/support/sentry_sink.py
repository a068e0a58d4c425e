"""A Sentry of the tests' own, on loopback: it keeps every envelope, and tells what none may hold."""

from __future__ import annotations

import gzip
import http.server
import json
import re
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote

import sentry_sdk

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# Ids, and the time of a client's report, whose digits are nobody's number.
_IDS = re.compile(
    r"(?<=\"timestamp\":)\d{10}\.\d+|\b(?:[0-9a-f]{32}|[0-9a-f]{16}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|(?:rc|dl|pk|lk)_[0-9a-z]+)\b"
)
_NUMBER = re.compile(r"(?<![\d.])\d{7,}(?!\d)")


class SentrySink(http.server.ThreadingHTTPServer):
    """Takes envelopes and keeps every byte of them, heads included."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _SentryHandler)
        self.received: list[tuple[str, bytes]] = []

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a process that was killed while it sent."""
        if not isinstance(sys.exception(), ConnectionError | EOFError):
            super().handle_error(request, client_address)

    @property
    def dsn(self) -> str:
        return f"http://0123456789abcdef0123456789abcdef@127.0.0.1:{self.server_port}/7"

    def everything(self) -> str:
        """Return all that came, once this process has sent what it has."""
        sentry_sdk.flush(5)
        return "\n".join(head + body.decode() for head, body in self.received)

    def items(self, kind: str) -> list[dict]:
        """Return the items of a type, such as `event` or `transaction`, in their order."""
        sentry_sdk.flush(5)
        found = []
        for _, body in self.received:
            lines = body.decode().splitlines()
            found += [
                json.loads(text)
                for head, text in zip(lines[1::2], lines[2::2], strict=False)
                if json.loads(head)["type"] == kind
            ]
        return found

    def events(self) -> list[dict]:
        return self.items("event")

    def transactions(self) -> list[dict]:
        return self.items("transaction")

    def texts(self, since: int = 0) -> Iterator[str]:
        """Yield each envelope as text, without the ids that Sentry and Ringback make."""
        for head, body in self.received[since:]:
            yield _IDS.sub("<id>", head + body.decode("utf-8", "replace"))

    def require_clean(self, private: Iterable[str], since: int = 0) -> None:
        """Assert that no envelope holds one of these texts, in any spelling, or a number of seven digits."""
        forms = {form for text in private for form in (text, quote(text, safe=""), json.dumps(text)[1:-1])}
        for text in self.texts(since):
            found = [form for form in forms if form in text] + _NUMBER.findall(text)
            assert not found, f"{found} in an envelope to Sentry:\n{text[:5000]}"


class _SentryHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.server.received.append((f"{self.path}\n{self.headers}", body))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def sentry_sink() -> Iterator[SentrySink]:
    with SentrySink() as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server
        server.shutdown()
