"""Diagnoses of requests signed by the senders' own libraries, and the bounds of a diagnosis."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import UTC
from typing import get_args

import standardwebhooks
from hubspot.utils.signature import Signature
from hypothesis import given
from hypothesis import strategies as st

from integration.config.models import Config
from integration.dashboard.presenting.reason_labels import ALTERED, WORDS, reason_text
from integration.domain.delivery import Delivery
from integration.domain.errors import NotVerifiedError
from integration.webhooks.diagnosis import diagnose
from integration.webhooks.diagnosis.bodies import _others
from integration.webhooks.diagnosis.findings import Cause
from integration.webhooks.diagnosis.search import MOST_BYTES, SearchBudget, search
from integration.webhooks.providers import SOURCES
from support.diagnosis_cases import BODY, COMPACT, HMAC, OTHER, URL, causes, delivered, seen
from support.source_cases import NOW, SECRET, STANDARD_SECRET, URL_KEY, forms, hubspot, salesforce


@given(path=st.text(alphabet="abc%/?&=20", max_size=12), body=st.text(max_size=40))
def test_what_hubspots_library_signs_for_http_is_diagnosed(path, body):
    http, https = f"http://h.example.com/{path}", f"https://h.example.com/{path}"
    at = str(int(NOW.timestamp() * 1000))
    headers = {
        "x-hubspot-signature-v3": Signature.get_signature(SECRET, body, "v3", http, "POST", at),
        "x-hubspot-request-timestamp": at,
    }
    made = replace(delivered(hubspot()), url=https, headers=headers, body=body.encode())
    assert causes(seen(made, hubspot())) == ["address"]


def test_what_the_standard_library_signs_with_another_key_is_diagnosed():
    secret = "whsec_" + base64.b64encode(b"k" * 24).decode()
    now = NOW.astimezone(UTC)
    headers = {
        "webhook-id": "msg_9",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": standardwebhooks.Webhook(secret).sign("msg_9", now, BODY.decode()),
    }
    settings = forms("standard-webhooks")
    made = replace(delivered(settings), headers=headers)
    other = forms("standard-webhooks", name="shop", secrets=(secret,))
    assert seen(made, settings, other).findings[0].facts["source"] == "shop"


# --- bounds, silence, words ------------------------------------------------------------------------


NO_SECRET = (SECRET, OTHER, STANDARD_SECRET, STANDARD_SECRET.removeprefix("whsec_"), URL_KEY)


HOSTILE = st.dictionaries(
    st.sampled_from(
        ["x-hubspot-signature-v3", "x-hubspot-request-timestamp", "x-hubspot-signature", "x-sig", "host",
         "x-hubspot-signature-version", "webhook-id", "webhook-timestamp", "webhook-signature",
         "authorization", "x-api-key", "x-forwarded-host", "x-forwarded-port", "x-original-uri",
         "x-forwarded-prefix", "x-forwarded-proto"]
    ),
    st.one_of(st.text(max_size=80), st.sampled_from(["v1", "v2", "v1,AAAA", "1772374530250", "t=1,v1=00"])),
)  # fmt: skip


@given(
    headers=HOSTILE,
    body=st.binary(max_size=200),
    url_key=st.none() | st.text(max_size=30),
    which=st.integers(0, 6),
)
def test_any_request_is_diagnosed_without_an_error_or_a_secret(headers, body, url_key, which):
    settings = [
        hubspot(), hubspot(signatures=("v1", "v2")), forms("standard-webhooks"),
        forms("hmac-sha256", **HMAC), forms("bearer"), forms("header", header="X-Api-Key"), salesforce(),
    ][which]  # fmt: skip
    made = Delivery(
        id="d", source=settings.name, method="POST", url=URL, headers=headers, body=body,
        received_at=NOW, url_key=url_key,
    )  # fmt: skip
    try:
        SOURCES[settings.kind].verify(made, settings, NOW)
    except NotVerifiedError as error:
        config = Config(sources={settings.name: settings})
        found = diagnose(made, error, config, NOW)
    except Exception:  # noqa: BLE001  (unreadable: not what is looked at here)
        return
    else:
        return
    assert found.findings
    words = str([reason_text(finding.cause, finding.facts) for finding in found.findings]) + str(found)
    assert not any(secret in words for secret in NO_SECRET)


def test_a_large_body_costs_a_bounded_number_of_digests():
    spent = []

    def digest(secret, body):
        spent.append(len(body))
        return b""

    from integration.webhooks.diagnosis.findings import Finding, Guess

    secrets = [Guess("a")] + [Guess(str(n), Finding("unknown")) for n in range(500)]
    body = b"x" * (1024 * 1024)
    assert search((secrets, [Guess(body)]), digest, [b"y"], SearchBudget()) is None
    assert sum(spent) <= MOST_BYTES


def test_every_cause_has_a_text():
    assert set(WORDS) == set(get_args(Cause))


def test_every_change_of_a_body_has_a_text():
    ways = {how for body in (COMPACT, b"a\r\nb", "ñ".encode()) for how, _ in _others(body)}
    assert ways == set(ALTERED)
