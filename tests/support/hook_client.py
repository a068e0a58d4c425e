"""Posts to the receiver on a services as the senders of the tests' configuration do, without a server."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from flask import Flask

from integration.web.problems import install
from integration.webhooks.rejection_log import RejectionLog
from integration.webhooks.service import WebhookService
from integration.webhooks.views import receiver_blueprint
from support import NoRates, as_bytes, hubspot_event, signed

TOMORROW = (datetime.now(UTC) + timedelta(days=1)).replace(microsecond=0)
AT = TOMORROW.isoformat()

# What the threads that count and watch the store may have written meanwhile.
_OTHER_KEYS = re.compile(
    r"\{ringback\}:(store|meta|epochs|counts|probe|processes|(flushed|series|source_requests|source|process|once):.*)"
)


def stored_keys(client) -> set[str]:
    """Return the keys that requests made."""
    return {key for key in client.keys("*") if not _OTHER_KEYS.fullmatch(key)}


class ManualRejectionLog(RejectionLog):
    """A rejection_log without a thread: it is written when the test says so."""

    def _start(self):
        pass


class HookClient:
    """`post` signs as the source's sender does, unless headers are given."""

    def __init__(self, services, rates=None, rejection_log=ManualRejectionLog):
        self.services = services
        self.rejection_log = rejection_log(services)
        app = Flask("ringback", static_folder=None)
        install(app)
        app.register_blueprint(
            receiver_blueprint(WebhookService(services, rates or NoRates(), self.rejection_log))
        )
        self.client = app.test_client()

    def post(self, source, body, *, path=None, headers=None, message_id=None, **more):
        path = path or f"/hooks/{source}"
        body = body if isinstance(body, bytes) else as_bytes(body)
        if headers is None:
            headers = signed(
                self.services, source, body, url=f"http://localhost{path}", message_id=message_id
            )
            headers = {name.lower(): value for name, value in headers.items()}
            headers["content-type"] = "application/json"
        return self.client.post(path, data=body, headers=headers, **more)

    def form(self, customer="c1", at=AT, phone="3001112233", **more):
        return self.post("forms", {"customer": customer, "phone": phone, "at": at}, **more)

    def forged(self, source="hubspot", body=None, **more):
        return self.post(
            source, body or [hubspot_event(1, AT)], headers={"X-HubSpot-Signature-v3": "AAAA"}, **more
        )

    def recall(self, recall_id):
        return self.services.recalls.records.get(recall_id)

    def rejections(self):
        self.rejection_log.write()
        return [
            one.rejection
            for one in self.services.delivery_log.page(self.services.config.sources, result="refused").items
        ]
