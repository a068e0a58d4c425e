"""HubSpot: app subscriptions, the workflow action "Send a webhook", custom workflow actions. Pure.

This module does not call HubSpot. `Event.lookup_id` is the id of the record that a worker reads before
mapping. Source: https://developers.hubspot.com/docs/api/webhooks and …/webhooks/validating-requests.
"""

from __future__ import annotations

import base64
import hashlib
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from integration.config.source_models import hubspot_object, hubspot_record, is_hubspot_object
from integration.domain.delivery import Answer, Delivery, ErrorAnswer, Event, Reply
from integration.domain.errors import NotVerifiedError, UnreadableError
from integration.webhooks.providers.bodies import json_of, require_few
from integration.webhooks.providers.replies import as_json, problem, reply
from integration.webhooks.verification import (
    hmac_sha256,
    place_of,
    proof_text,
    require_fresh,
    require_url_key,
    required_header,
    secret_bytes,
)

if TYPE_CHECKING:
    from integration.config.source_models import HubspotLookup, HubspotSource

_SIGNATURE = "X-HubSpot-Signature"
_VERSION = "X-HubSpot-Signature-Version"
_SIGNATURE_V3 = "X-HubSpot-Signature-v3"
_TIMESTAMP = "X-HubSpot-Request-Timestamp"

_MILLISECOND = timedelta(milliseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# "Validating requests": HubSpot decodes the escapes of : / ? @ ! $ ' ( ) * , ; before it signs with v3. All
# others, such as %20, %26, %2B and %3D, stay encoded.
_SIGNED_DECODED = re.compile("%(3A|2F|3F|40|21|24|27|28|29|2A|2C|3B)", re.IGNORECASE)

# eventId alone is "not guaranteed to be unique". attemptNumber differs between attempts to send the same
# event, so it is not included. Association changes differ only in fromObjectId and toObjectId.
_IDENTITY = (
    "appId",
    "portalId",
    "subscriptionId",
    "eventId",
    "objectId",
    "propertyName",
    "occurredAt",
    "fromObjectId",
    "toObjectId",
)
# "Webhooks", subscription types: the type of a record before the dot, or `object` with its `objectTypeId`.
_RECORD_TYPES = frozenset({"contact", "company", "deal", "ticket", "product", "line_item"})


# --- verify ----------------------------------------------------------------------------------------


def verify(delivery: Delivery, settings: HubspotSource, now: datetime) -> str:
    """Return the proof. Raise NotVerifiedError for a wrong signature or a wrong `url_key`.

    If a v3 signature is present, only v3 is checked, regardless of `signatures`, because v3 covers
    method, URL and time. v2 does not cover the time, and v1 neither the time nor the URL. Both are
    accepted only if they are in `signatures`.
    """
    require_url_key(delivery, settings.url_key)
    if _SIGNATURE_V3.lower() in delivery.headers:
        return _verify_v3(delivery, settings, now)
    return _verify_older(delivery, settings)


def signed_uri(url: str) -> str:
    """Return the URL as HubSpot signs it with v3, with twelve percent-escapes decoded once."""
    return _SIGNED_DECODED.sub(lambda escape: chr(int(escape[1], 16)), url)


def _v3(secret: bytes, delivery: Delivery, uri: str, timestamp: str) -> bytes:
    head = f"{delivery.method}{uri}".encode(errors="replace")
    return base64.b64encode(hmac_sha256(secret, head + delivery.body + timestamp.encode()))


def _v2(secret: bytes, delivery: Delivery) -> bytes:
    head = f"{delivery.method}{delivery.url}".encode(errors="replace")
    return hashlib.sha256(secret + head + delivery.body).hexdigest().encode()


def _v1(secret: bytes, delivery: Delivery) -> bytes:
    return hashlib.sha256(secret + delivery.body).hexdigest().encode()


_OLDER = {"v2": _v2, "v1": _v1}


def _verify_v3(delivery: Delivery, settings: HubspotSource, now: datetime) -> str:
    check = "signature v3"
    signature = required_header(delivery, _SIGNATURE_V3, check)
    timestamp = required_header(delivery, _TIMESTAMP, check)
    require_fresh(timestamp, _MILLISECOND, now)
    # No public sample of a delivery to a URL with a query exists, so both forms are tried.
    expected = [
        _v3(secret_bytes(secret), delivery, uri, timestamp)
        for uri in (signed_uri(delivery.url), delivery.url)
        for secret in settings.secrets
    ]
    return _require_match(signature, expected, check, len(settings.secrets))


def _verify_older(delivery: Delivery, settings: HubspotSource) -> str:
    named = [version for version in _OLDER if version in settings.signatures]
    if not named:
        raise NotVerifiedError("signature v3", f"the header {_SIGNATURE_V3} is missing")
    check = f"signature {' or '.join(named)}"
    version = required_header(delivery, _VERSION, check)
    if version not in named:
        raise NotVerifiedError(check, f"the header {_VERSION} names a version that is not in `signatures`")
    signature = required_header(delivery, _SIGNATURE, check)
    expected = [_OLDER[version](secret_bytes(secret), delivery) for secret in settings.secrets]
    return _require_match(signature, expected, f"signature {version}", len(settings.secrets))


def _require_match(signature: str, expected: list[bytes], check: str, secrets: int) -> str:
    """Return the proof for the secret that matches. Raise NotVerifiedError if none does.

    `expected` has one signature for each of the `secrets` secrets, or several such series.
    """
    place = place_of(signature.encode(), expected)
    if place is None:
        raise NotVerifiedError(check, "the signature does not match any of the configured `secrets`")
    return proof_text(check, place % secrets, secrets)


# --- read ------------------------------------------------------------------------------------------


def read(delivery: Delivery, settings: HubspotSource) -> tuple[Event, ...]:
    """Return one event for each item of an app subscription's array, or one event for an action's object.

    An item that is not an object becomes an event with that value, so that only this event is parked. Raise
    UnsupportedTypeError or UnreadableError.
    """
    body = json_of(delivery)
    if isinstance(body, list):
        require_few(len(body))
        return tuple(_subscription_event(element, settings) for element in body)
    if isinstance(body, dict):
        return (Event(data=body, dedup_key=_callback_key(body), record_id=_record_id(body)),)
    raise UnreadableError("body", "a single value", "an array of events, or the object of an action")


def _subscription_event(element: Any, settings: HubspotSource) -> Event:
    if not isinstance(element, dict):
        return Event(data=element)
    data = _with_both_type_names(element)
    return Event(
        data=data,
        dedup_key=_subscription_key(data),
        occurred_at=_moment(data.get("occurredAt")),
        lookup_id=None if settings.lookup is None else _lookup_id(data, settings.lookup),
        record_id=_record_id(data),
    )


def _with_both_type_names(element: dict[str, Any]) -> dict[str, Any]:
    # HubSpot's guide has the field `eventType`. Its page on signatures and captured deliveries have
    # `subscriptionType`. Templates may use either name.
    for have, lack in (("subscriptionType", "eventType"), ("eventType", "subscriptionType")):
        if have in element and lack not in element:
            return {**element, lack: element[have]}
    return element


def _is_id(value: Any) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool) and value != ""


def _subscription_key(data: dict[str, Any]) -> str | None:
    if not _is_id(data.get("eventId")):
        return None
    return "hs:" + ":".join(str(data[name]) if _is_id(data.get(name)) else "" for name in _IDENTITY)


def _callback_key(body: dict[str, Any]) -> str | None:
    # The workflow action "Send a webhook" sends no id of the run.
    return f"hs:callback:{body['callbackId']}" if _is_custom_action(body) else None


def _is_custom_action(body: Any) -> bool:
    return isinstance(body, dict) and _is_id(body.get("callbackId"))


def _moment(value: Any) -> datetime | None:
    """Return the time (aware, UTC) of milliseconds since 1970, None for any other value."""
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    try:
        return _EPOCH + value * _MILLISECOND
    except OverflowError:
        return None


def _record_id(data: dict[str, Any]) -> str | None:
    """Return the id of the record of an event or action, or None. Custom actions have it in `object`."""
    inner = data.get("object")
    tables = (data, inner if isinstance(inner, dict) else {})
    values = (table.get(name) for table in tables for name in ("objectId", "hs_object_id", "vid"))
    return next((str(value) for value in values if _is_id(value)), None)


def _lookup_id(data: dict[str, Any], lookup: HubspotLookup) -> str | None:
    """Return the id for the lookup of an event's record, None if the lookup does not read it."""
    kind = str(data.get("subscriptionType", "")).partition(".")[0]
    name = data.get("objectTypeId") if kind == "object" else kind if kind in _RECORD_TYPES else None
    if not isinstance(name, str) or not is_hubspot_object(name) or not _is_id(data.get("objectId")):
        return None
    object_name = hubspot_object(name)
    if lookup.object not in {None, object_name}:
        return None
    return hubspot_record(object_name, str(data["objectId"]))


# --- acknowledge -----------------------------------------------------------------------------------


def acknowledge(delivery: Delivery, settings: HubspotSource, outcome: Answer | ErrorAnswer) -> Reply:
    """Return a 202 response with ids and counts, or problem details for an error.

    For a custom workflow action, return 200 with `outputFields`: `delivery`, `recall_id` (may be empty),
    `outcome` (`recall`, `cancelled`, `too_late`, `parked` or `ignored`) and `hs_execution_state`. For a
    parked event the state is `FAIL_CONTINUE`, so that the history of the workflow shows the failure and
    the workflow continues, else `SUCCESS`.
    """
    if isinstance(outcome, ErrorAnswer):
        return problem(outcome, _workflow_retry_after(delivery, outcome))
    if _answers_custom_action(delivery):
        return as_json(200, {"outputFields": _output_fields(outcome)})
    return reply(outcome, with_pending=settings.lookup is not None)


def _workflow_retry_after(delivery: Delivery, error: ErrorAnswer) -> dict[str, str]:
    # Contrary to RFC 9110, workflows read Retry-After of a 429 in milliseconds ("recorded in milliseconds",
    # knowledge base on webhooks in workflows). Only workflows sign with v2. App subscriptions read seconds.
    is_workflow = delivery.headers.get(_VERSION.lower(), "").strip().lower() == "v2"
    if not is_workflow or error.status != 429 or error.retry_after_seconds is None:  # noqa: PLR2004  (HTTP)
        return {}
    return {"Retry-After": str(error.retry_after_seconds * 1000)}


def _answers_custom_action(delivery: Delivery) -> bool:
    if b'"callbackId"' not in delivery.body:
        return False
    try:
        return _is_custom_action(json_of(delivery))
    except UnreadableError:
        return False


def _output_fields(answer: Answer) -> dict[str, str]:
    outcomes = {
        "parked": answer.parked,
        "recall": len(answer.recalls),
        "cancelled": len(answer.cancelled),
        "too_late": len(answer.too_late),
    }
    return {
        "delivery": answer.delivery,
        "recall_id": next(iter(answer.recalls), ""),
        "outcome": next((outcome for outcome, count in outcomes.items() if count), "ignored"),
        "hs_execution_state": "FAIL_CONTINUE" if answer.parked else "SUCCESS",
    }


# --- sign ------------------------------------------------------------------------------------------


def sign(
    body: bytes,
    settings: HubspotSource,
    *,
    url: str,
    method: str,
    message_id: str,  # noqa: ARG001  (HubSpot sends no message id in a header)
    now: datetime,
) -> dict[str, str]:
    """Return the headers that HubSpot would send, signed with the first secret.

    The version is the newest one in `signatures`.
    """
    delivery = Delivery(
        id="", source=settings.name, method=method, url=url, headers={}, body=body, received_at=now
    )
    secret = secret_bytes(settings.secrets[0])
    headers = {"Content-Type": "application/json"}
    if "v3" in settings.signatures:
        timestamp = str((now - _EPOCH) // _MILLISECOND)
        signature = _v3(secret, delivery, signed_uri(url), timestamp)
        return {**headers, _SIGNATURE_V3: signature.decode(), _TIMESTAMP: timestamp}
    version = "v2" if "v2" in settings.signatures else "v1"
    return {**headers, _SIGNATURE: _OLDER[version](secret, delivery).decode(), _VERSION: version}


def stored_body(delivery: Delivery, settings: HubspotSource) -> bytes:  # noqa: ARG001  (one shape for all sources)
    """Return the whole body. It contains no credentials."""
    return delivery.body
