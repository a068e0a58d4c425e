"""The sandbox's HTTP server: reads calls, waits for the simulated work, and injects faults.

A call stops counting as in flight before its client can read the last byte of the response.
"""

from __future__ import annotations

import http.server
import os
import socket
import socketserver
import struct
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import orjson

from integration.local.sandbox.answers import SandboxAnswer, json_answer, wire
from integration.local.sandbox.calls import ReceivedCall, fingerprint, json_value
from integration.local.sandbox.control import Control
from integration.local.sandbox.wolkvox import TOKEN_BUSY

if TYPE_CHECKING:
    from integration.local.sandbox.rules import Rule
    from integration.local.sandbox.state import SandboxState
    from integration.local.sandbox.wolkvox import Wolkvox

BODY_LIMIT = 1024 * 1024


class _Handler(http.server.BaseHTTPRequestHandler):
    """Handles one keep-alive connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def _route(self) -> None:
        body = self._body()
        if body is None:
            return
        url = urlsplit(self.path)
        if url.path.startswith("/api/"):
            self._api(url.path, url.query, body)
        else:
            self._write(wire(self.server.control.answer(self.command, url.path, url.query, body)))

    do_GET = do_PUT = do_POST = do_DELETE = _route  # noqa: N815  (names required by http.server)

    def _body(self) -> bytes | None:
        try:
            length = int(self.headers.get("content-length") or 0)
        except ValueError:
            length = -1
        if not 0 <= length <= BODY_LIMIT or "transfer-encoding" in self.headers:
            self.close_connection = True
            words = f"a body must have a Content-Length of at most {BODY_LIMIT}"
            self._write(wire(json_answer(400, {"error": words})))
            return None
        return self.rfile.read(length) if length else b""

    def _api(self, path: str, query: str, body: bytes) -> None:
        state = self.server.state
        token = self.headers.get("wolkvox-token", "").strip()
        call = ReceivedCall(
            seq=0,
            received_at=datetime.now(UTC),
            token=token,
            fingerprint=fingerprint(token),
            method=self.command,
            path=path,
            query={name: values[-1] for name, values in parse_qs(query, keep_blank_values=True).items()},
            body=json_value(body),
        )
        rule = state.enter(call)
        try:
            self._serve(call, rule)
        finally:
            state.leave(call)

    def _serve(self, call: ReceivedCall, rule: Rule | None) -> None:
        answer = self.server.wolkvox.answer(call)
        if rule is None:
            self._finish(call, answer, 0.0)
        else:
            getattr(self, f"_do_{rule.action}")(call, rule, answer)

    def _finish(self, call: ReceivedCall, answer: SandboxAnswer, seconds: float) -> None:
        """Wait for the simulated work, then send the response.

        The call leaves the calls in flight before its client can read the last byte.
        """
        self._work(call, answer, seconds)
        self.server.state.leave(call)
        call.answered = self._write(wire(answer))

    def _work(self, call: ReceivedCall, answer: SandboxAnswer, seconds: float) -> None:
        call.status, call.code = answer.status, answer.code
        if answer is not TOKEN_BUSY:
            self.server.pause(seconds + self.server.wolkvox.settings.latency_ms / 1000)
        if answer.takes_effect is not None:
            answer.takes_effect()

    def _do_delay(self, call: ReceivedCall, rule: Rule, answer: SandboxAnswer) -> None:
        self._finish(call, answer, rule.seconds)

    def _do_answer(self, call: ReceivedCall, rule: Rule, _: SandboxAnswer) -> None:
        status = rule.status or 200
        code = status if rule.code is None else rule.code
        body = orjson.dumps({"code": code, "error": rule.error, "msg": rule.msg})
        self._finish(
            call, SandboxAnswer(status, body, str(code), _headers("application/json", rule)), rule.seconds
        )

    def _do_html(self, call: ReceivedCall, rule: Rule, _: SandboxAnswer) -> None:
        page = b"<!doctype html><title>wolkvox</title><h1>This is not JSON</h1>"
        answer = SandboxAnswer(rule.status or 502, page, None, _headers("text/html", rule))
        self._finish(call, answer, rule.seconds)

    def _do_redirect(self, call: ReceivedCall, rule: Rule, _: SandboxAnswer) -> None:
        headers = (*_headers("text/html", rule), ("Location", "/elsewhere"))
        self._finish(call, SandboxAnswer(rule.status or 302, b"", None, headers), rule.seconds)

    def _do_huge(self, call: ReceivedCall, rule: Rule, _: SandboxAnswer) -> None:
        fixed = b'{"code":202,"error":null,"msg":""}'
        body = fixed[:-2] + b"x" * max(0, rule.size - len(fixed)) + fixed[-2:]
        self._finish(call, SandboxAnswer(202, body, "202"), rule.seconds)

    def _do_drip(self, call: ReceivedCall, rule: Rule, answer: SandboxAnswer) -> None:
        self._work(call, answer, rule.seconds)
        written = wire(answer)
        for place in range(len(written) - 1):
            if not self._write(written[place : place + 1]):
                return
            self.server.pause(rule.interval)
        self.server.state.leave(call)
        call.answered = self._write(written[-1:])

    def _do_hang(self, call: ReceivedCall, rule: Rule, answer: SandboxAnswer) -> None:
        self._work(call, answer, rule.seconds or 60.0)
        self._cut(reset=False)

    def _do_drop(self, call: ReceivedCall, rule: Rule, answer: SandboxAnswer) -> None:
        self._break_off(call, rule, answer, reset=False)

    def _do_reset(self, call: ReceivedCall, rule: Rule, answer: SandboxAnswer) -> None:
        self._break_off(call, rule, answer, reset=True)

    def _break_off(self, call: ReceivedCall, rule: Rule, answer: SandboxAnswer, *, reset: bool) -> None:
        if rule.after_bytes:
            self._write(wire(answer)[: rule.after_bytes])
        self._cut(reset=reset)
        if rule.when == "after":
            self._work(call, answer, rule.seconds)

    def _write(self, data: bytes) -> bool:
        """Write to the client. Return False if it has disconnected."""
        try:
            self.connection.sendall(data)
        except OSError:
            self.close_connection = True
            return False
        return True

    def _cut(self, *, reset: bool) -> None:
        """Close the connection with FIN, or with RST if `reset` is True. The handler continues."""
        self.close_connection = True
        try:
            if reset:
                linger = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            else:
                self.connection.shutdown(socket.SHUT_RDWR)
            self.server.forget(self.connection)
            os.close(self.connection.detach())
        except OSError:
            pass

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (http.server's)
        """Log nothing, because the sandbox's state holds the received calls."""


def _headers(content_type: str, rule: Rule) -> tuple[tuple[str, str], ...]:
    more = () if rule.retry_after is None else (("Retry-After", rule.retry_after),)
    return (("Content-Type", content_type), *more)


class Server(socketserver.ThreadingTCPServer):
    """The HTTP server of the sandbox, with a thread for each connection."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 1024

    def __init__(self, address: tuple[str, int], state: SandboxState, wolkvox: Wolkvox) -> None:
        self.state = state
        self.wolkvox = wolkvox
        self.control = Control(state, wolkvox.settings)
        self._stopped = threading.Event()
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()
        super().__init__(address, _Handler)

    def pause(self, seconds: float) -> None:
        """Sleep for some seconds. Return early if the sandbox stops."""
        if seconds > 0:
            self._stopped.wait(seconds)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Register a connection and serve it in a thread."""
        with self._open_lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close a finished connection."""
        self.forget(request)
        super().shutdown_request(request)

    def forget(self, request: socket.socket) -> None:
        """Unregister a connection."""
        with self._open_lock:
            self._open.discard(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore the errors of a request. Clients often disconnect during a request."""

    def end(self) -> None:
        """Stop accepting connections and close the open ones."""
        self._stopped.set()
        self.shutdown()
        self.server_close()
        with self._open_lock:
            left, self._open = self._open, set()
        for connection in left:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
