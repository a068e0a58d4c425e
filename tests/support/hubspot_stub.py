"""A HubSpot on loopback: batch reads of records and associations as documented, with faults on demand.

Bearer token, 100 inputs at most, records that do not exist as errors of a 207, merged ones under the id
they were merged into, the rate limit's headers, 429 with a policy. Keeps the requests.
"""

from __future__ import annotations

import http.server
import json
import re
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import Self

PATH = "/crm/objects/2026-03/contacts/batch/read"
OBJECTS = re.compile(r"/crm/objects/2026-03/([a-z0-9_-]+)/batch/read")
ASSOCIATIONS = re.compile(r"/crm/associations/2026-03/([a-z0-9_-]+)/([a-z0-9_-]+)/batch/read")
TOKEN = "pat-na1-6f2c1a0e-0000-4000-8000-abcdefabcdef"


@dataclass
class HubspotFault:
    """An answer that is not the usual one, given once.

    `act`: answer (status, headers, body) · drop (close without a word) · cut (half the body) · drip (a
    byte each 50 ms, head included) · hang (no answer at all).
    """

    act: str = "answer"
    status: int = 500
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"<html>oops</html>"


def rate_limited(policy: str, **headers: str) -> HubspotFault:
    body = {
        "status": "error",
        "message": "You have reached your limit.",
        "errorType": "RATE_LIMIT",
        "policyName": policy,
    }
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return HubspotFault(status=429, headers=named, body=json.dumps(body).encode())


class HubspotStub:
    """Use as a context manager; `base_url` is what a lookup needs."""

    def __init__(self, token: str = TOKEN) -> None:
        self.token = token
        self.records: dict[str, dict[str, dict]] = {"contacts": {}}
        self.associated: dict[tuple[str, str, str], list[str]] = {}
        self.archived: set[str] = set()
        self.unreadable: set[str] = set()
        self.spoiling: set[str] = set()  # a request with one of them gets a 400
        self.merged: dict[str, str] = {}
        self.faults: deque[HubspotFault] = deque()
        self.faults_of: dict[str, HubspotFault] = {}  # by the API: objects or associations
        self.faults_of_objects: dict[str, HubspotFault] = {}  # by the object: each time
        self.extra_headers: dict[str, str] = {}
        self.asked: list[dict] = []
        self.headers: list[dict[str, str]] = []
        self.connections = 0
        self._stopping = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _HubspotHandler)
        self._server.stub = self

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def add(self, record: str, object_name: str = "contacts", **properties: object) -> None:
        self.records.setdefault(object_name, {})[record] = properties

    def associate(self, object_name: str, record: str, target: str, ids: list[str]) -> None:
        self.associated[object_name, record, target] = ids

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._server.shutdown()
        self._server.server_close()

    def pause(self, seconds: float) -> bool:
        """Wait; True when the stub is being stopped."""
        return self._stopping.wait(seconds)

    def answer(self, path: str, authorization: str, body: dict) -> tuple[int, dict]:
        if authorization != f"Bearer {self.token}":
            return 401, _error("INVALID_AUTHENTICATION", "Authentication credentials not found.")
        inputs = [item["id"] for item in body["inputs"]]
        if len(inputs) > 100:
            return 400, _error("VALIDATION_ERROR", "The maximum batch size is 100.")
        if self.spoiling & set(inputs):
            return 400, _error("VALIDATION_ERROR", "A record cannot be read.")
        if not all(contact.isdecimal() for contact in inputs):
            return 400, _error("VALIDATION_ERROR", "An id is not a number.")
        if found := OBJECTS.fullmatch(path):
            return self._records(found[1], inputs, body)
        if found := ASSOCIATIONS.fullmatch(path):
            return self._associations(found[1], found[2], inputs)
        return 404, {}

    def _records(self, object_name: str, inputs: list[str], body: dict) -> tuple[int, dict]:
        known = self.records.get(object_name, {})
        there = dict.fromkeys(self.merged.get(contact, contact) for contact in inputs)
        readable = [contact for contact in there if contact in known and contact not in self.unreadable]
        missing = [c for c in inputs if self.merged.get(c, c) not in known]
        errors = {"OBJECT_NOT_FOUND": missing, "INTERNAL_ERROR": [c for c in inputs if c in self.unreadable]}
        return _page([self._result(known[contact], contact, body) for contact in readable], errors)

    def _associations(self, object_name: str, target: str, inputs: list[str]) -> tuple[int, dict]:
        results, missing = [], []
        for record in inputs:
            ids = self.associated.get((object_name, record, target))
            if ids is None:
                missing.append(record)
                continue
            types = [{"category": "HUBSPOT_DEFINED", "typeId": 3, "label": None}]
            to = [{"toObjectId": each, "associationTypes": types} for each in ids]
            results.append({"from": {"id": record}, "to": to})
        return _page(results, {"OBJECT_NOT_FOUND": missing})

    def _result(self, known: dict, contact: str, body: dict) -> dict:
        properties = {name: known.get(name) for name in body["properties"]}
        properties["hs_object_id"] = contact
        stamp = "2026-03-02T12:00:00.000Z"
        return {
            "id": contact,
            "properties": properties,
            "createdAt": stamp,
            "updatedAt": stamp,
            "archived": contact in self.archived,
        }


def _page(results: list[dict], failed: dict[str, list[str]]) -> tuple[int, dict]:
    page = {"status": "COMPLETE", "results": results, "startedAt": "", "completedAt": ""}
    errors = [
        {"status": "error", "category": category, "context": {"ids": ids}}
        for category, ids in failed.items()
        if ids
    ]
    return (207, {**page, "numErrors": len(errors), "errors": errors}) if errors else (200, page)


def _error(category: str, message: str) -> dict:
    return {"status": "error", "category": category, "message": message, "correlationId": "c"}


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    stub: HubspotStub


class _HubspotHandler(http.server.BaseHTTPRequestHandler):
    server: _Server

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self) -> None:
        self.server.stub.connections += 1
        super().setup()

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.stub.asked.append({"path": self.path, **body})
        self.server.stub.headers.append({name.lower(): value for name, value in self.headers.items()})
        if self.server.stub.faults:
            self._misbehave(self.server.stub.faults.popleft())
        elif (fault := self.server.stub.faults_of.pop(self.path.split("/")[2], None)) or (
            fault := self.server.stub.faults_of_objects.get(self.path.split("/")[4])
        ):
            self._misbehave(fault)
        else:
            status, page = self.server.stub.answer(self.path, self.headers.get("Authorization", ""), body)
            self._send(status, self.server.stub.extra_headers, json.dumps(page).encode())

    def _misbehave(self, fault: HubspotFault) -> None:
        self.close_connection = fault.act != "answer"
        if fault.act == "answer":
            self._send(fault.status, fault.headers, fault.body)
        elif fault.act == "cut":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
        elif fault.act == "drip":
            self._drip(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b" " * 1000)
        elif fault.act == "hang":
            self.server.stub.pause(30)

    def _drip(self, data: bytes) -> None:
        for byte in data:
            try:
                self.wfile.write(bytes([byte]))
            except OSError:
                return
            if self.server.stub.pause(0.05):
                return

    def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass
