"""A simulated HubSpot contacts API on loopback, with the batch read that lookups use.

As documented, unknown contacts are left out of the response (developers.hubspot.com, API reference, "Read a
batch of objects").
"""

from __future__ import annotations

import http.server
import threading
from typing import Any

import orjson

CONTACTS_PATH = "/crm/objects/2026-03/contacts/batch/read"


class Contacts:
    """The server of the simulated HubSpot, and its contacts by id.

    Add a contact before you send an event that refers to the contact.
    """

    def __init__(self) -> None:
        self._properties: dict[str, dict[str, str]] = {}
        handler = type("Handler", (_Handler,), {"known": self._properties})
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)

    @property
    def url(self) -> str:
        """The base URL, for a lookup's `base_url`."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def start(self) -> None:
        """Serve requests in a daemon thread."""
        threading.Thread(target=self._server.serve_forever, name="contacts", daemon=True).start()

    def add(self, contact: int, **properties: str) -> None:
        """Add a contact with its properties."""
        self._properties[str(contact)] = properties


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    known: dict[str, dict[str, str]]

    def do_POST(self) -> None:
        query = orjson.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
        ids = [entry["id"] for entry in query["inputs"]]
        found = [self._contact(contact, query["properties"]) for contact in ids if contact in self.known]
        status = 200 if self.path == CONTACTS_PATH else 404
        body = orjson.dumps({"status": "COMPLETE", "results": found})
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _contact(self, contact: str, wanted: list[str]) -> dict[str, Any]:
        known = self.known[contact]
        properties = {name: known[name] for name in wanted if name in known}
        return {"id": contact, "properties": properties, "archived": False}

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (http.server's)
        """Log nothing, because the demo prints its own output."""
