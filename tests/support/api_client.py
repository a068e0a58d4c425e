"""The API on a services, and the receiver beside it, without a server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from flask import Flask, request

from integration.api import api_blueprint
from integration.web.health import health_blueprint
from integration.web.problems import install
from integration.web.rate_limit import RateLimit
from integration.webhooks.isolated_work import client as isolated_work_client
from integration.webhooks.service import WebhookService
from integration.webhooks.views import receiver_blueprint
from support import ENVIRON, as_bytes, signed
from support.isolated_work_client import ISOLATED_WORK
from support.openapi_check import check_answer

FULL = ENVIRON["ZAPIER_KEY"]
TOMORROW = (datetime.now(UTC) + timedelta(days=1)).replace(microsecond=0)


class ApiClient:
    """Sends requests with a key; each answer of `/v1` is held against the OpenAPI document."""

    def __init__(self, services, rates=None):
        self.services = services
        rates = rates or RateLimit(services.store.client)
        app = Flask("ringback", static_folder=None)
        install(app)
        app.register_blueprint(receiver_blueprint(WebhookService(services, rates)))
        app.register_blueprint(api_blueprint(services, rates))
        app.register_blueprint(health_blueprint(services))
        isolated_work_client.install(app, ISOLATED_WORK)
        app.after_request(self._remember_rule)
        self.app = app
        self.client = app.test_client()
        self.rule = None

    def _remember_rule(self, response):
        self.rule = None if request.url_rule is None else request.url_rule.rule
        return response

    def open(self, method, path, *, key=FULL, headers=(), **more):
        proof = {} if key is None else {"Authorization": f"Bearer {key}"}
        answer = self.client.open(path, method=method, headers={**proof, **dict(headers)}, **more)
        if self.rule is not None and self.rule.startswith("/v1/"):
            check_answer(self.rule, method, answer)
        return answer

    def get(self, path, **more):
        return self.open("GET", path, **more)

    def post(self, path, value=None, **more):
        more = more if value is None else {"json": value, **more}
        return self.open("POST", path, **more)

    def ask(self, customer="c1", *, key=FULL, once=None, **fields):
        headers = {} if once is None else {"Idempotency-Key": once}
        return self.post("/v1/recalls", recall_body(customer, **fields), key=key, headers=headers)

    def asked_id(self, customer="c1", **fields):
        answer = self.ask(customer, **fields)
        assert answer.status_code == 202, answer.text
        return answer.json["id"]

    def find(self, **which):
        """The ids of the recalls that a filter picks."""
        return [recall["id"] for recall in self.get("/v1/recalls", query_string=which).json["items"]]

    def send_form(self, event):
        body = as_bytes(event)
        headers = signed(self.services, "forms", body, url="http://localhost/hooks/forms")
        headers = {name.lower(): value for name, value in headers.items()}
        return self.client.post("/hooks/forms", data=body, headers=headers)


def recall_body(customer="c1", **fields):
    plain = {
        "account": "bogota",
        "campaign_id": "10",
        "customer_id": customer,
        "recall_telephone": "300 111 2233",
        "recall_date": TOMORROW.isoformat(),
    }
    return {name: value for name, value in {**plain, **fields}.items() if value is not None}
