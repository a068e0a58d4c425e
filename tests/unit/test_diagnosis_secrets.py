"""Diagnoses of times, secrets, keys and organisations."""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import replace
from datetime import timedelta

import pytest
from pydantic import SecretStr

from support.diagnosis_cases import BODY, OTHER, URL, causes, delivered, seen
from support.source_cases import CASES, NOW, SECRET, STANDARD_SECRET, URL_KEY, forms, hubspot, salesforce


@pytest.mark.parametrize("settings", [hubspot(), forms("standard-webhooks")], ids=["hubspot", "standard"])
@pytest.mark.parametrize(("minutes", "cause"), [(-11, "stale"), (7, "early")])
def test_a_stale_timestamp_is_reported_in_seconds(settings, minutes, cause):
    found = seen(delivered(settings, now=NOW + timedelta(minutes=minutes)), settings)
    assert causes(found) == [cause]
    assert found.proved
    assert abs(int(found.findings[0].facts["seconds"]) - abs(minutes) * 60) <= 1


def test_a_stale_time_without_a_matching_digest_is_not_proved():
    made = delivered(hubspot(), now=NOW - timedelta(minutes=11))
    forged = replace(made, headers={**made.headers, "x-hubspot-signature-v3": "AAAA"})
    found = seen(forged, hubspot())
    assert causes(found) == ["stale", "unknown"]
    assert not found.proved


def test_seconds_in_place_of_milliseconds_are_recognised():
    at = str(int(NOW.timestamp()))
    digest = base64.b64encode(
        hmac.new(SECRET.encode(), b"POST" + URL.encode() + BODY + at.encode(), hashlib.sha256).digest()
    )
    made = delivered(hubspot())
    headers = {
        **made.headers,
        "x-hubspot-request-timestamp": at,
        "x-hubspot-signature-v3": digest.decode(),
    }
    found = seen(replace(made, headers=headers), hubspot())
    assert causes(found) == ["time in other unit"]
    assert found.findings[0].facts == {"found": "seconds", "expected": "milliseconds"}


def test_a_timestamp_that_is_not_a_number_is_reported():
    made = delivered(hubspot())
    headers = {**made.headers, "x-hubspot-request-timestamp": NOW.isoformat()}
    assert causes(seen(replace(made, headers=headers), hubspot()))[0] == "time unreadable"


# --- secrets ---------------------------------------------------------------------------------------


SIGNED_BY_SECRET = {
    "v3": hubspot(secrets=(OTHER,)),
    "v2": hubspot(secrets=(OTHER,), signatures=("v2",)),
    "v1": hubspot(secrets=(OTHER,), signatures=("v1",)),
    "hmac": forms("hmac-sha256", secrets=(OTHER,), header="X-Sig", prefix="sha256="),
    "standard": forms("standard-webhooks", secrets=("whsec_" + base64.b64encode(b"other key").decode(),)),
    "bearer": forms("bearer", secrets=(OTHER,)),
    "basic": forms("basic", secrets=("user:other",)),
    "header": forms("header", secrets=(OTHER,), header="X-Api-Key"),
}


@pytest.mark.parametrize("scheme", sorted(SIGNED_BY_SECRET))
def test_another_sources_secret_is_named_with_its_source(scheme):
    signer = SIGNED_BY_SECRET[scheme]
    own = STANDARD_SECRET if scheme == "standard" else "own-secret"
    settings = signer.model_copy(update={"secrets": (SecretStr(own),)})
    other = signer.model_copy(update={"name": "second-crm"})
    found = seen(delivered(signer), settings, other)
    assert causes(found) == ["other secret"]
    assert found.findings[0].facts["source"] == "second-crm"


@pytest.mark.parametrize("scheme", sorted(SIGNED_BY_SECRET))
def test_a_secret_that_was_rotated_out_is_recognised(scheme):
    signer = SIGNED_BY_SECRET[scheme]
    own = STANDARD_SECRET if scheme == "standard" else "own-secret"
    settings = signer.model_copy(update={"secrets": (SecretStr(own),)})
    old = signer.secrets[0].get_secret_value()
    assert causes(seen(delivered(signer), settings, retired=(old,))) == ["retired secret"]


@pytest.mark.parametrize("scheme", sorted(SIGNED_BY_SECRET))
def test_an_unknown_secret_stays_unknown(scheme):
    signer = SIGNED_BY_SECRET[scheme]
    own = STANDARD_SECRET if scheme == "standard" else "own-secret"
    found = seen(delivered(signer), signer.model_copy(update={"secrets": (SecretStr(own),)}))
    assert causes(found) == ["unknown"]
    assert not found.proved


def test_a_standard_webhooks_secret_used_as_text_is_recognised():
    settings = forms("standard-webhooks")
    at = str(int(NOW.timestamp()))
    digest = hmac.new(STANDARD_SECRET.encode(), f"msg_1.{at}.".encode() + BODY, hashlib.sha256).digest()
    made = delivered(settings)
    headers = {**made.headers, "webhook-signature": f"v1,{base64.b64encode(digest).decode()}"}
    assert causes(seen(replace(made, headers=headers), settings)) == ["secret as text"]


@pytest.mark.parametrize("value", [f'"{SECRET}"', f"Bearer {SECRET}", f"  {SECRET} ."[:-2] + "'"])
def test_a_credential_with_something_around_it_is_recognised(value):
    settings = forms("header", header="X-Api-Key")
    made = replace(delivered(settings), headers={"x-api-key": value})
    assert causes(seen(made, settings)) == ["credential padded"]


# --- keys and organisations ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_key", "cause"),
    [
        (None, "key missing"),
        (URL_KEY[:-3], "key cut"),
        (URL_KEY + "/", "key cut"),
        (URL_KEY.upper(), "key case"),
        ("k-0000000000000000", "key unknown"),
    ],
)
def test_a_wrong_url_key_is_reported(given_key, cause):
    case = next(case for case in CASES if case.id == "salesforce-two-leads")
    assert causes(seen(case.delivery(url_key=given_key), case.settings)) == [cause]


def test_the_url_key_of_another_source_is_reported():
    case = next(case for case in CASES if case.id == "salesforce-two-leads")
    other = forms("url-key", secrets=(), url_key="another-key-of-16+".replace("+", "-"))
    found = seen(case.delivery(url_key=other.url_key.get_secret_value()), case.settings, other)
    assert causes(found) == ["other secret"]
    assert found.findings[0].facts == {"source": "forms", "what": "url_key"}


def test_another_organisation_is_reported_with_both_ids():
    case = next(case for case in CASES if case.id == "salesforce-two-leads")
    settings = salesforce(organization_id="00Dyy0000000001EAA")
    found = seen(case.delivery(), settings)
    assert causes(found) == ["organization"]
    assert found.findings[0].facts == {"found": "00D5f000000AbCdEAK", "expected": "00Dyy0000000001EAA"}


def test_the_organisation_of_another_source_is_reported():
    case = next(case for case in CASES if case.id == "salesforce-two-leads")
    settings = salesforce(organization_id="00Dyy0000000001EAA")
    found = seen(case.delivery(), settings, salesforce(name="sf-peru", organization_id="00D5f000000AbCd"))
    assert causes(found) == ["organization of other source"]
    assert found.findings[0].facts["source"] == "sf-peru"


def test_an_unknown_organisation_id_is_not_repeated():
    case = next(case for case in CASES if case.id == "salesforce-two-leads")
    body = case.body.replace(b"00D5f000000AbCdEAK", b"&lt;script&gt;")
    found = seen(case.delivery(body=body), salesforce())
    assert causes(found) == ["organization"]
    assert "script" not in str(found)
