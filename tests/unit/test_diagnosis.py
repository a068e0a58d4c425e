"""Why a delivery was not verified: each diagnosis is made from a delivery that was really signed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import replace
from datetime import UTC, timedelta
from typing import get_args

import pytest
import standardwebhooks
from hubspot.utils.signature import Signature
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from integration.config.models import Config
from integration.dashboard.presenting.reason_labels import ALTERED, WORDS, told
from integration.domain.delivery import Delivery
from integration.domain.errors import NotVerifiedError
from integration.webhooks.diagnosis import diagnose
from integration.webhooks.diagnosis.bodies import _others
from integration.webhooks.diagnosis.findings import Cause
from integration.webhooks.diagnosis.search import MOST_BYTES, SearchBudget, search
from integration.webhooks.providers import SOURCES
from support.source_cases import CASES, NOW, SECRET, STANDARD_SECRET, URL_KEY, forms, hubspot, salesforce

URL = "https://hooks.example.com/hooks/hubspot"
BODY = b'[{"eventId":1,"objectId":51201,"propertyName":"callback_at","propertyValue":"1772463600000"}]'
OTHER = "the-secret-of-another-source"


def refusal(delivery, settings, now=NOW) -> NotVerifiedError:
    with pytest.raises(NotVerifiedError) as caught:
        SOURCES[settings.kind].verify(delivery, settings, now)
    return caught.value


def seen(delivery, settings, *others, now=NOW, retired=()):
    """Refuse a delivery for real, and diagnose it."""
    config = Config(sources={one.name: one for one in (settings, *others)})
    delivery = replace(delivery, source=settings.name)
    error = refusal(delivery, settings, now)
    past = {settings.name: [SecretStr(one) for one in retired]}
    found = diagnose(delivery, error, config, now, retired=past)
    assert "%(" not in str([told(finding.cause, finding.facts) for finding in found.findings])
    return found


def causes(found):
    return [finding.cause for finding in found.findings]


def delivered(settings, body=BODY, *, url=URL, signed=None, url_key=None, more=None, **sign):
    """What `settings` signs of `signed` (the body unless given), arriving with `body`."""
    headers = SOURCES[settings.kind].sign(
        body if signed is None else signed,
        settings,
        **{"url": url, "method": "POST", "message_id": "msg_1", "now": NOW} | sign,
    )
    lower = {name.lower(): value for name, value in headers.items()}
    return Delivery(
        id="d",
        source=settings.name,
        method="POST",
        url=url,
        headers={**lower, "host": "hooks.example.com", **(more or {})},
        body=body,
        received_at=NOW,
        url_key=url_key,
    )


# --- time ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [hubspot(), forms("standard-webhooks")], ids=["hubspot", "standard"])
@pytest.mark.parametrize(("minutes", "cause"), [(-11, "stale"), (7, "early")])
def test_a_time_too_far_off_is_told_in_seconds(settings, minutes, cause):
    found = seen(delivered(settings, now=NOW + timedelta(minutes=minutes)), settings)
    assert causes(found) == [cause]
    assert found.proved
    assert abs(int(found.findings[0].facts["seconds"]) - abs(minutes) * 60) <= 1


def test_a_stale_time_that_somebody_made_up_is_not_proved():
    made = delivered(hubspot(), now=NOW - timedelta(minutes=11))
    forged = replace(made, headers={**made.headers, "x-hubspot-signature-v3": "AAAA"})
    found = seen(forged, hubspot())
    assert causes(found) == ["stale", "unknown"]
    assert not found.proved


def test_seconds_where_milliseconds_belong_are_recognised():
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


def test_a_time_that_is_no_number_is_told():
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
def test_a_secret_that_nobody_knows_stays_unknown(scheme):
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


# --- addresses -------------------------------------------------------------------------------------

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


def test_an_address_with_the_query_that_the_proxy_cut_or_added():
    settings = hubspot()
    found = seen(replace(delivered(settings), url=URL + "?utm=secret-3001112233"), settings)
    assert causes(found) == ["address"]
    assert found.findings[0].facts == {"signed": URL, "expected": URL + "?…"}


def test_the_key_in_an_address_is_not_told():
    settings = hubspot(url_key=URL_KEY)
    http = f"http://hooks.example.com/hooks/hubspot/{URL_KEY}"
    made = delivered(settings, url=http, url_key=URL_KEY)
    found = seen(replace(made, url=http.replace("http:", "https:")), settings)
    assert causes(found) == ["address"]
    assert URL_KEY not in str(found)
    assert "{url_key}" in found.findings[0].facts["signed"]


def test_an_address_of_another_proxy_and_the_secret_of_another_source_are_both_told():
    signer = hubspot(secrets=(OTHER,))
    made = delivered(signer, url=URL.replace("https", "http"))
    found = seen(replace(made, url=URL), hubspot(), hubspot(name="second-crm", secrets=(OTHER,)))
    assert causes(found) == ["other secret", "address"]


# --- headers, versions, encodings ------------------------------------------------------------------


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_version_that_is_not_named_is_told(version):
    made = delivered(hubspot(signatures=(version,)))
    found = seen(made, hubspot())
    assert causes(found) == ["version"]
    assert found.findings[0].facts["version"] == version
    assert found.proved


def test_a_version_header_that_was_lost_is_told():
    made = delivered(hubspot(signatures=("v2",)))
    headers = {name: value for name, value in made.headers.items() if "version" not in name}
    found = seen(replace(made, headers=headers), hubspot(signatures=("v2",)))
    assert causes(found) == ["missing header"]
    assert found.findings[0].facts["header"] == "x-hubspot-signature-version"


@pytest.mark.parametrize("case", [case for case in CASES if case.proof_headers], ids=lambda case: case.id)
def test_each_header_that_is_missing_is_told(case):
    for name in case.proof_headers:
        if name == "x-hubspot-signature-v3" and "v2" in case.settings.signatures:
            continue
        headers = {other: value for other, value in case.delivery().headers.items() if other != name}
        found = seen(case.delivery(headers=headers), case.settings)
        assert found.findings[0].cause in {"missing header", "other header"}, name
        assert found.findings[0].facts["header"] == name
        assert found.proved == ("version" in name)


def test_svix_names_are_named_as_what_came_instead():
    settings = forms("standard-webhooks")
    made = delivered(settings)
    headers = {name.replace("webhook-", "svix-"): value for name, value in made.headers.items()}
    found = seen(replace(made, headers=headers), settings)
    assert causes(found) == ["other header"]
    assert "svix-signature" in found.findings[0].facts["found"]


def test_ed25519_alone_is_another_version():
    settings = forms("standard-webhooks")
    made = delivered(settings)
    headers = {**made.headers, "webhook-signature": "v1a,AAAA"}
    assert seen(replace(made, headers=headers), settings).findings[0].facts == {"version": "v1a"}


HMAC = {"header": "X-Sig"}


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
def test_another_spelling_of_the_right_digest_is_told(sender, receiver, expected):
    made = delivered(forms("hmac-sha256", **HMAC, **sender))
    found = seen(made, forms("hmac-sha256", **HMAC, **receiver))
    assert [(finding.cause, dict(finding.facts)) for finding in found.findings] == [expected]
    assert found.proved


def test_sha1_is_told():
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
def test_a_digest_that_covers_a_time_is_told(headers, message):
    settings = forms("hmac-sha256", **HMAC)
    digest = hmac.new(SECRET.encode(), message, hashlib.sha256).digest()
    found = seen(replace(delivered(settings), headers=headers(digest)), settings)
    assert "covers time" in causes(found)
    assert found.proved


def test_another_kind_of_authorization_is_told():
    basic, bearer = forms("basic", secrets=(SECRET,)), forms("bearer")
    for sender, receiver, word in ((basic, bearer, "basic"), (bearer, basic, "bearer")):
        found = seen(delivered(sender), receiver)
        assert causes(found) == ["scheme"]
        assert found.findings[0].facts["found"] == word
        assert found.proved


def test_basic_credentials_that_were_not_encoded_are_told():
    settings = forms("basic")
    found = seen(replace(delivered(settings), headers={"authorization": "Basic wolkvox:pass:word"}), settings)
    assert causes(found) == ["encoding"]
    assert found.proved


# --- bodies ----------------------------------------------------------------------------------------

SIGNER = {"hubspot": hubspot(), "standard": forms("standard-webhooks"), "hmac": forms("hmac-sha256", **HMAC)}
VALUE = {"name": "José Peña / Co", "items": [1, 2.5, None, True], "nested": {"b": "1", "a": "x"}}
COMPACT = json.dumps(VALUE, separators=(",", ":"), ensure_ascii=False).encode()


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
def test_a_body_that_was_written_anew_is_recognised(scheme, signed, arrived, how):
    settings = SIGNER[scheme]
    found = seen(delivered(settings, arrived, signed=signed), settings)
    assert causes(found) == ["body"]
    assert how in found.findings[0].facts["how"]


def test_phps_escaped_slashes_are_recognised():
    settings = hubspot()
    signed = json.dumps(VALUE, separators=(",", ":")).replace("/", r"\/").encode()
    assert causes(seen(delivered(settings, COMPACT, signed=signed), settings)) == ["body"]


def test_a_body_with_other_content_is_not_excused():
    found = seen(delivered(hubspot(), BODY.replace(b"51201", b"51202"), signed=BODY), hubspot())
    assert causes(found) == ["unknown"]


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
def test_a_wrong_key_in_the_address_is_told(given_key, cause):
    case = next(case for case in CASES if case.id == "salesforce-two-leads")
    assert causes(seen(case.delivery(url_key=given_key), case.settings)) == [cause]


def test_the_key_of_another_source_is_told():
    case = next(case for case in CASES if case.id == "salesforce-two-leads")
    other = forms("url-key", secrets=(), url_key="another-key-of-16+".replace("+", "-"))
    found = seen(case.delivery(url_key=other.url_key.get_secret_value()), case.settings, other)
    assert causes(found) == ["other secret"]
    assert found.findings[0].facts == {"source": "forms", "what": "url_key"}


def test_another_organisation_is_told_with_both_ids():
    case = next(case for case in CASES if case.id == "salesforce-two-leads")
    settings = salesforce(organization_id="00Dyy0000000001EAA")
    found = seen(case.delivery(), settings)
    assert causes(found) == ["organization"]
    assert found.findings[0].facts == {"found": "00D5f000000AbCdEAK", "expected": "00Dyy0000000001EAA"}


def test_the_organisation_of_another_source_is_told():
    case = next(case for case in CASES if case.id == "salesforce-two-leads")
    settings = salesforce(organization_id="00Dyy0000000001EAA")
    found = seen(case.delivery(), settings, salesforce(name="sf-peru", organization_id="00D5f000000AbCd"))
    assert causes(found) == ["organization of other source"]
    assert found.findings[0].facts["source"] == "sf-peru"


def test_a_strangers_organisation_id_is_not_repeated():
    case = next(case for case in CASES if case.id == "salesforce-two-leads")
    body = case.body.replace(b"00D5f000000AbCdEAK", b"&lt;script&gt;")
    found = seen(case.delivery(body=body), salesforce())
    assert causes(found) == ["organization"]
    assert "script" not in str(found)


# --- the senders' own libraries --------------------------------------------------------------------


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
def test_whatever_strangers_send_is_diagnosed_without_an_error_and_without_a_secret(
    headers, body, url_key, which
):
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
    words = str([told(finding.cause, finding.facts) for finding in found.findings]) + str(found)
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


def test_every_cause_has_words():
    assert set(WORDS) == set(get_args(Cause))


def test_every_way_of_altering_a_body_has_words():
    ways = {how for body in (COMPACT, b"a\r\nb", "ñ".encode()) for how, _ in _others(body)}
    assert ways == set(ALTERED)
