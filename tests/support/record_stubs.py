"""Bitrix24's inbound webhook and Meta's Graph API on loopback, with answers as their pages document them."""

from __future__ import annotations

import http.server
import json
import re
import threading
from typing import Self
from urllib.parse import parse_qsl, urlsplit

BITRIX_KEY = "x7k2abc9def0ghij"
META_TOKEN = "EAAB-page-token-0123456789"


class _Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Write no traceback of a connection that the client closed."""


class _Stub:
    """Use as a context manager. `fault` is a status and a body, given instead of the usual answer."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, str]] = []
        self.fault: tuple[int, object] | None = None
        stub = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
                stub.requests.append((self.command, self.path, body))
                status, answer = stub.fault or stub.answer(self.command, self.path, body)
                content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_POST = do_GET  # noqa: N815  (http.server's name)

            def log_message(self, *_: object) -> None:
                """Write no log."""

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.root = f"http://127.0.0.1:{self._server.server_port}"

    def answer(self, method: str, path: str, body: str) -> tuple[int, object]:
        raise NotImplementedError

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class Bitrix24Stub(_Stub):
    """`records` by kind and id, as ("lead", "7405"). `errors` are those of single commands by the same key."""

    def __init__(self) -> None:
        super().__init__()
        self.records: dict[tuple[str, str], dict] = {}
        self.errors: dict[tuple[str, str], dict] = {}
        self.url = f"{self.root}/rest/1/{BITRIX_KEY}/"

    def answer(self, method: str, path: str, body: str) -> tuple[int, object]:
        if path != f"/rest/1/{BITRIX_KEY}/batch":
            return 401, {"error": "INVALID_CREDENTIALS", "error_description": "Invalid request credentials"}
        if method != "POST":
            return 400, {"error": "INVALID_REQUEST"}
        commands = json.loads(body)["cmd"]
        if len(commands) > 50:
            return 400, {"error": "ERROR_BATCH_LENGTH_EXCEEDED", "error_description": "Max batch length"}
        results: dict[str, dict] = {}
        errors: dict[str, dict] = {}
        for name, command in commands.items():
            kind, number = re.fullmatch(r"crm\.(\w+)\.get\?ID=(.*)", command).groups()
            if linked := re.fullmatch(r"\$result\[(\w+)\]\[(\w+)\]", number):
                number = str(results.get(linked[1], {}).get(linked[2]) or "")
            if (kind, number) in self.errors:
                errors[name] = self.errors[kind, number]
            elif not number:
                errors[name] = {"error": "", "error_description": "ID is not defined or invalid"}
            elif (kind, number) not in self.records:
                errors[name] = {"error": "", "error_description": "Not found"}
            else:
                results[name] = self.records[kind, number]
        # PHP writes an empty object as a list.
        return 200, {"result": {"result": results or [], "result_error": errors or []}, "time": {}}


class MetaStub(_Stub):
    """`leads` by id. `faults_of` are the answers instead of the usual ones, by the same key."""

    def __init__(self) -> None:
        super().__init__()
        self.leads: dict[str, dict] = {}
        self.faults_of: dict[str, tuple[int, object]] = {}

    def answer(self, method: str, path: str, body: str) -> tuple[int, object]:
        parts = urlsplit(path)
        found = re.fullmatch(r"/v25\.0/(\d+)", parts.path)
        if method != "GET" or body or found is None:
            return 404, {"error": {"message": "Unknown path", "type": "OAuthException", "code": 2500}}
        if dict(parse_qsl(parts.query)).get("access_token") != META_TOKEN:
            return 401, {"error": {"message": "Error validating", "type": "OAuthException", "code": 190}}
        if found[1] in self.faults_of:
            return self.faults_of[found[1]]
        if found[1] not in self.leads:
            message = "Unsupported get request. Object with ID does not exist"
            return 400, {
                "error": {
                    "message": message,
                    "type": "GraphMethodException",
                    "code": 100,
                    "error_subcode": 33,
                }
            }
        return 200, self.leads[found[1]]
