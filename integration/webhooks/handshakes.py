"""Responses to requests by which a sender checks an address before using it. Pure.

Most senders do not sign these requests, so a source with a `handshake` answers them without a
verification of the signature. A `json` source also answers a verified request that has the form of a
challenge or a ping, because the request contains no event. An echoed value is limited in length and
characters. Nothing is stored. A request with a wrong or missing `url_key` is rejected.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, urlsplit

import orjson

from integration.config.source_models import JsonSource
from integration.domain.delivery import Reply
from integration.domain.errors import NotVerifiedError
from integration.webhooks.providers.bodies import FORM_TYPE
from integration.webhooks.providers.replies import TEXT, as_json
from integration.webhooks.verification import matches_any, require_url_key, secret_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from integration.config.source_models import Source
    from integration.domain.delivery import Delivery

MOST_BYTES: Final = 2048
_MOST_PARAMETERS: Final = 20
_CHALLENGE: Final = re.compile(r"[A-Za-z0-9._~+/=:-]{1,512}")
# Microsoft's sample contains spaces and colons.
_VALIDATION_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/=: -]{1,512}")
_PING: Final = re.compile(rb"webhook_id=\d{1,20}")
_ORIGIN: Final = re.compile(r"[A-Za-z0-9.:-]{1,253}")
_RATE: Final = re.compile(r"[1-9]\d{0,8}")


def handshake_reply(delivery: Delivery, settings: Source) -> Reply | None:
    """Return the response to a request that checks the address, or None for any other request.

    Raise NotVerifiedError if the `url_key` or the sender's `verify_token` is wrong or missing.
    """
    if not isinstance(settings, JsonSource) or settings.handshake is None:
        return None
    reply = _HANDSHAKES[settings.handshake](delivery, settings)
    if reply is not None:
        require_url_key(delivery, settings.url_key)
    return reply


def verified_handshake_reply(delivery: Delivery, settings: Source) -> Reply | None:
    """Return the response to a verified request that only checks the address, or None for any other.

    The `handshake` of the source does not matter.
    """
    if not isinstance(settings, JsonSource):
        return None
    return _challenge(delivery, settings) or _ping(delivery, settings)


def _challenge(delivery: Delivery, settings: JsonSource) -> Reply | None:  # noqa: ARG001  (one shape for all)
    # monday: `{"challenge": "…"}`, https://developer.monday.com/api-reference/docs/webhooks
    # Slack: also `token` and `"type": "url_verification"`, https://api.slack.com/events/url_verification
    body = _small_object(delivery)
    if not {"challenge"} <= body.keys() <= {"challenge", "token", "type"}:
        return None
    value = body["challenge"]
    good_type = body.get("type", "url_verification") == "url_verification"
    if not good_type or not isinstance(value, str) or not _CHALLENGE.fullmatch(value):
        return None
    return as_json(200, {"challenge": value})


def _small_object(delivery: Delivery) -> dict[str, Any]:
    if delivery.method != "POST" or len(delivery.body) > MOST_BYTES:
        return {}
    try:
        value = orjson.loads(delivery.body)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def _hub_challenge(delivery: Delivery, settings: JsonSource) -> Reply | None:
    # Meta: https://developers.facebook.com/docs/graph-api/webhooks/getting-started
    query = _query(delivery)
    value = query.get("hub.challenge", "")
    if delivery.method != "GET" or query.get("hub.mode") != "subscribe" or not _CHALLENGE.fullmatch(value):
        return None
    token, expected = query.get("hub.verify_token", ""), settings.verify_token
    if expected is None or not matches_any(token.encode(errors="replace"), (secret_bytes(expected),)):
        raise NotVerifiedError("handshake", "hub.verify_token is not the configured `verify_token`")
    return Reply(status=200, body=value.encode(), content_type=TEXT)


def _validation_token(delivery: Delivery, settings: JsonSource) -> Reply | None:  # noqa: ARG001  (one shape for all)
    # Microsoft Graph: https://learn.microsoft.com/graph/change-notifications-delivery-webhooks
    value = _query(delivery).get("validationToken", "")
    if delivery.method != "POST" or delivery.body or not _VALIDATION_TOKEN.fullmatch(value):
        return None
    return Reply(status=200, body=value.encode(), content_type=TEXT)


def _ping(delivery: Delivery, settings: JsonSource) -> Reply | None:  # noqa: ARG001  (one shape for all)
    # WooCommerce's `deliver_ping` takes nothing but 200 as a success,
    # https://github.com/woocommerce/woocommerce/blob/trunk/plugins/woocommerce/includes/class-wc-webhook.php
    is_ping = delivery.content_type == FORM_TYPE and _PING.fullmatch(delivery.body)
    return Reply(status=200, body=b"", content_type=TEXT) if delivery.method == "POST" and is_ping else None


def _probe(delivery: Delivery, settings: JsonSource) -> Reply | None:  # noqa: ARG001  (one shape for all)
    # Intercom sends HEAD: https://developers.intercom.com/docs/webhooks/setting-up-webhooks
    if delivery.method not in {"GET", "HEAD"}:
        return None
    return Reply(status=200, body=b"", content_type=TEXT)


def _cloudevents(delivery: Delivery, settings: JsonSource) -> Reply | None:
    # https://github.com/cloudevents/spec/blob/main/cloudevents/http-webhook.md, section 4
    origin = delivery.headers.get("webhook-request-origin", "").strip()
    if delivery.method != "OPTIONS" or not _ORIGIN.fullmatch(origin):
        return None
    headers = {"Allow": "POST", "WebHook-Allowed-Origin": origin}
    rate = delivery.headers.get("webhook-request-rate", "").strip()
    if settings.rate_per_minute is not None:
        headers["WebHook-Allowed-Rate"] = str(settings.rate_per_minute)
    elif rate:
        headers["WebHook-Allowed-Rate"] = rate if _RATE.fullmatch(rate) else "*"
    return Reply(status=200, body=b"", content_type=TEXT, headers=headers)


def _query(delivery: Delivery) -> dict[str, str]:
    """Return the query parameters that have a value.

    Return none if the query is too long, has too many parameters or repeats one: such a query is not a
    handshake.
    """
    query = urlsplit(delivery.url).query
    if len(query) > MOST_BYTES:
        return {}
    try:
        pairs = parse_qsl(query, max_num_fields=_MOST_PARAMETERS)
    except ValueError:
        return {}
    return dict(pairs) if len(dict(pairs)) == len(pairs) else {}


_HANDSHAKES: Final[dict[str, Callable[[Delivery, JsonSource], Reply | None]]] = {
    "challenge": _challenge,
    "hub-challenge": _hub_challenge,
    "validation-token": _validation_token,
    "ping": _ping,
    "probe": _probe,
    "cloudevents": _cloudevents,
}
