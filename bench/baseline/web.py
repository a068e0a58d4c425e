"""The baseline's receiver: verifies the signature, maps the fields, publishes a task, answers.

It does less than Ringback: no deduplication, no supersede, no parked events, no stored bodies.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import time
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import phonenumbers
from flask import Flask, Response, request

from bench.baseline.tasks import push, push_locked

BOGOTA = ZoneInfo("America/Bogota")
TOLERANCE_SECONDS = 300
FORMS_SECRET = base64.b64decode(os.environ["FORMS_SECRET"].removeprefix("whsec_"))
HUBSPOT_SECRET = os.environ["HUBSPOT_SECRET"].encode()
TOKEN = os.environ["TOKEN_BENCH0"]
SHARED = bool(os.environ.get("BASELINE_SHARED"))

app = Flask(__name__)


def _fresh(seconds: float) -> bool:
    return abs(time.time() - seconds) <= TOLERANCE_SECONDS


def _forms_signed(body: bytes) -> bool:
    head = request.headers
    stamp = head["webhook-timestamp"]
    signed = f"{head['webhook-id']}.{stamp}.".encode() + body
    digest = base64.b64encode(hmac.new(FORMS_SECRET, signed, hashlib.sha256).digest()).decode()
    return _fresh(int(stamp)) and hmac.compare_digest(f"v1,{digest}", head["webhook-signature"])


def _hubspot_signed(body: bytes) -> bool:
    stamp = request.headers["X-HubSpot-Request-Timestamp"]
    signed = f"POST{request.url}".encode() + body + stamp.encode()
    digest = base64.b64encode(hmac.new(HUBSPOT_SECRET, signed, hashlib.sha256).digest())
    given = request.headers["X-HubSpot-Signature-v3"].encode()
    return _fresh(int(stamp) / 1000) and hmac.compare_digest(digest, given)


def _telephone(text: str) -> str:
    number = phonenumbers.parse(text, "CO")
    if not phonenumbers.is_possible_number(number):
        raise ValueError("telephone")
    return phonenumbers.national_significant_number(number)


def _call(campaign: str, customer: str, telephone: str, date: datetime) -> dict[str, str]:
    return {
        "campaign_id": campaign,
        "customer_id": customer,
        "recall_telephone": _telephone(telephone),
        "recall_date": date.astimezone(BOGOTA).strftime("%Y%m%d%H%M%S"),
    }


def _send(call: dict[str, str]) -> str:
    if SHARED:
        return str(push_locked.apply_async((TOKEN, call), queue="shared").id)
    return str(push.apply_async((TOKEN, call), queue=TOKEN).id)


def _accepted(ids: list[str]) -> Response:
    return Response(orjson.dumps({"tasks": ids}), status=202, content_type="application/json")


@app.post("/hooks/forms")
def forms() -> Response:
    """Accept one JSON event, signed according to Standard Webhooks."""
    body = request.get_data()
    if not _forms_signed(body):
        return Response(status=401)
    event: dict[str, Any] = orjson.loads(body)
    call = _call(event["campaign"], event["customer"], event["phone"], datetime.fromisoformat(event["at"]))
    return _accepted([_send(call)])


@app.post("/hooks/hubspot")
def hubspot() -> Response:
    """Accept a batch of HubSpot events, signed with v3."""
    body = request.get_data()
    if not _hubspot_signed(body):
        return Response(status=401)
    calls = [
        _call(
            "10",
            str(event["objectId"]),
            "3001112233",
            datetime.fromtimestamp(int(event["propertyValue"]) / 1000, BOGOTA),
        )
        for event in orjson.loads(body)
        if event["propertyName"] == "callback_at" and event["propertyValue"]
    ]
    return _accepted([_send(call) for call in calls])
