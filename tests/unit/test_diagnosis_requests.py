"""Diagnoses of addresses, headers, signature versions and bodies that were changed."""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import replace

import pytest

from support.diagnosis_cases import BODY, COMPACT, HMAC, OTHER, URL, VALUE, causes, delivered, seen
from support.source_cases import CASES, SECRET, URL_KEY, forms, hubspot

SIGNED_ADDRESSES = {
    "http://hooks.example.com/hooks/hubspot": {},
    "https://hooks.example.com:443/hooks/hubspot": {},
    "https://hooks.example.com:8443/hooks/hubspot": {"x-forwarded-port": "8443"},
    "https://hooks.example.com/hooks/hubspot/": {},
    "https://other.example.org/hooks/hubspot": {"x-forwarded-host": "other.example.org, inner"},
    "https://inner:8080/hooks/hubspot": {"host": "inner:8080"},
    "http://inner:8080/hooks/hubspot": {"host": "inner:8080"},
    "https://hooks.example.com/ringback/hooks/hubspot": {"x-forwarded-prefix": "/ringback"},
    "https://hooks.example.com/incoming?x=1": {"x-original-uri": "/incoming?x=1"},
}


@pytest.mark.parametrize("version", ["v3", "v2"])
@pytest.mark.parametrize("signed", sorted(SIGNED_ADDRESSES))
def test_another_address_is_found_and_named(signed, version):
    settings = hubspot(signatures=(version,))
    expected = URL + ("?x=1" if "?" in signed else "")
    made = delivered(settings, url=signed, more=SIGNED_ADDRESSES[signed])
    found = seen(replace(made, url=expected), settings)
    assert causes(found) == ["address"]
    assert found.findings[0].facts["signed"] == signed.replace("?x=1", "?…")


def test_a_query_that_the_proxy_removed_or_added_is_found():
    settings = hubspot()
    found = seen(replace(delivered(settings), url=URL + "?utm=secret-3001112233"), settings)
    assert causes(found) == ["address"]
    assert found.findings[0].facts == {"signed": URL, "expected": URL + "?…"}


def test_a_diagnosis_contains_no_url_key():
    settings = hubspot(url_key=URL_KEY)
    http = f"http://hooks.example.com/hooks/hubspot/{URL_KEY}"
    made = delivered(settings, url=http, url_key=URL_KEY)
    found = seen(replace(made, url=http.replace("http:", "https:")), settings)
    assert causes(found) == ["address"]
    assert URL_KEY not in str(found)
    assert "{url_key}" in found.findings[0].facts["signed"]


def test_another_address_and_another_secret_are_both_reported():
    signer = hubspot(secrets=(OTHER,))
    made = delivered(signer, url=URL.replace("https", "http"))
    found = seen(replace(made, url=URL), hubspot(), hubspot(name="second-crm", secrets=(OTHER,)))
    assert causes(found) == ["other secret", "address"]


# --- headers, versions, encodings ------------------------------------------------------------------


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_version_not_in_signatures_is_reported(version):
    made = delivered(hubspot(signatures=(version,)))
    found = seen(made, hubspot())
    assert causes(found) == ["version"]
    assert found.findings[0].facts["version"] == version
    assert found.proved


def test_a_missing_version_header_is_reported():
    made = delivered(hubspot(signatures=("v2",)))
    headers = {name: value for name, value in made.headers.items() if "version" not in name}
    found = seen(replace(made, headers=headers), hubspot(signatures=("v2",)))
    assert causes(found) == ["missing header"]
    assert found.findings[0].facts["header"] == "x-hubspot-signature-version"


@pytest.mark.parametrize("case", [case for case in CASES if case.proof_headers], ids=lambda case: case.id)
def test_each_missing_header_is_reported(case):
    for name in case.proof_headers:
        if name == "x-hubspot-signature-v3" and "v2" in case.settings.signatures:
            continue
        headers = {other: value for other, value in case.delivery().headers.items() if other != name}
        found = seen(case.delivery(headers=headers), case.settings)
        assert found.findings[0].cause in {"missing header", "other header"}, name
        assert found.findings[0].facts["header"] == name
        assert found.proved == ("version" in name)


def test_similar_headers_that_were_sent_are_reported():
    settings = forms("standard-webhooks")
    made = delivered(settings)
    headers = {name.replace("webhook-", "hook-"): value for name, value in made.headers.items()}
    found = seen(replace(made, headers=headers), settings)
    assert causes(found) == ["other header"]
    assert "hook-signature" in found.findings[0].facts["found"]


def test_a_signature_with_ed25519_only_is_reported_as_another_version():
    settings = forms("standard-webhooks")
    made = delivered(settings)
    headers = {**made.headers, "webhook-signature": "v1a,AAAA"}
    assert seen(replace(made, headers=headers), settings).findings[0].facts == {"version": "v1a"}


@pytest.mark.parametrize(
    ("sender", "receiver", "expected"),
    [
        (
            {"encoding": "base64"},
            {"encoding": "hex"},
            ("encoding", {"found": "base64", "expected": "hex"}),
        ),
        (
            {"encoding": "hex"},
            {"encoding": "base64"},
            ("encoding", {"found": "hex", "expected": "base64"}),
        ),
        (
            {"prefix": "sha256="},
            {"prefix": ""},
            ("prefix", {"found": "sha256=", "expected": ""}),
        ),
        (
            {"prefix": ""},
            {"prefix": "sha256="},
            ("prefix", {"found": "", "expected": "sha256="}),
        ),
    ],
)
def test_another_encoding_of_the_right_digest_is_reported(sender, receiver, expected):
    made = delivered(forms("hmac-sha256", **HMAC, **sender))
    found = seen(made, forms("hmac-sha256", **HMAC, **receiver))
    assert [(finding.cause, dict(finding.facts)) for finding in found.findings] == [expected]
    assert found.proved


def test_a_digest_with_sha1_is_reported():
    settings = forms("hmac-sha256", **HMAC)
    digest = hmac.new(SECRET.encode(), BODY, hashlib.sha1).hexdigest()
    found = seen(replace(delivered(settings), headers={"x-sig": digest}), settings)
    assert [finding.cause for finding in found.findings] == ["algorithm"]


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        (lambda digest: {"x-sig": digest.hex(), "x-sig-timestamp": "1772374500"}, b"1772374500" + BODY),
        (lambda digest: {"x-sig": f"t=1772374500,v1={digest.hex()}"}, b"1772374500." + BODY),
    ],
    ids=["zendesk", "stripe"],
)
def test_a_digest_over_time_and_body_is_reported(headers, message):
    settings = forms("hmac-sha256", **HMAC)
    digest = hmac.new(SECRET.encode(), message, hashlib.sha256).digest()
    found = seen(replace(delivered(settings), headers=headers(digest)), settings)
    assert "covers time" in causes(found)
    assert found.proved


def test_another_authorization_scheme_is_reported():
    basic, bearer = forms("basic", secrets=(SECRET,)), forms("bearer")
    for sender, receiver, word in ((basic, bearer, "basic"), (bearer, basic, "bearer")):
        found = seen(delivered(sender), receiver)
        assert causes(found) == ["scheme"]
        assert found.findings[0].facts["found"] == word
        assert found.proved


def test_basic_credentials_that_are_not_encoded_are_reported():
    settings = forms("basic")
    found = seen(replace(delivered(settings), headers={"authorization": "Basic wolkvox:pass:word"}), settings)
    assert causes(found) == ["encoding"]
    assert found.proved


# --- bodies ----------------------------------------------------------------------------------------


SIGNER = {"hubspot": hubspot(), "standard": forms("standard-webhooks"), "hmac": forms("hmac-sha256", **HMAC)}


@pytest.mark.parametrize("scheme", sorted(SIGNER))
@pytest.mark.parametrize(
    ("signed", "arrived", "how"),
    [
        (COMPACT, COMPACT + b"\n", "white space"),
        (COMPACT + b"\n", COMPACT, "white space"),
        (b"a\r\nb", b"a\nb", "line ends"),
        (COMPACT, b"\xef\xbb\xbf" + COMPACT, "byte order mark"),
        (COMPACT, json.dumps(VALUE).encode(), "JSON"),
        (json.dumps(VALUE).encode(), COMPACT, "JSON"),
        (json.dumps(VALUE, indent=2, ensure_ascii=False).encode(), COMPACT, "JSON"),
    ],
)
def test_a_reserialized_body_is_recognised(scheme, signed, arrived, how):
    settings = SIGNER[scheme]
    found = seen(delivered(settings, arrived, signed=signed), settings)
    assert causes(found) == ["body"]
    assert how in found.findings[0].facts["how"]


def test_phps_escaped_slashes_are_recognised():
    settings = hubspot()
    signed = json.dumps(VALUE, separators=(",", ":")).replace("/", r"\/").encode()
    assert causes(seen(delivered(settings, COMPACT, signed=signed), settings)) == ["body"]


def test_a_body_with_other_content_is_not_recognised():
    found = seen(delivered(hubspot(), BODY.replace(b"51201", b"51202"), signed=BODY), hubspot())
    assert causes(found) == ["unknown"]
