"""Senders that check an address before they use it, and the responses that each sender expects."""

from __future__ import annotations

import base64
import hmac
import json
import time

import pytest

from integration.domain.errors import StoreAwayError
from support import NoRates, make_services, two_accounts
from support.dashboard_client import Pages
from support.hook_client import AT, HookClient, stored_keys

KEY = "urlkey-case-0123456789abcdef"
SECRET = "s3cret-0123456789abc"
STANDARD = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
FORM = "application/x-www-form-urlencoded"
BODY = json.dumps({"documento": "80123456", "celular": "3001112233", "fecha": AT})
URL_KEY = f'verify = "url-key"\nurl_key = "{KEY}"\n'
HMAC = (
    f'verify = "hmac-sha256"\nsecrets = "{SECRET}"\nheader = "X-WC-Webhook-Signature"\nencoding = "base64"\n'
)
ROUTE = """
[[routes]]
name = "r"
source = "s"
account = "bogota"
campaign_id = "12345"
customer_id = "{{ event.documento }}"
recall_telephone = "{{ event.celular }}"
recall_date = "{{ event.fecha }}"
"""


@pytest.fixture
def web_of(tmp_path, store):
    """Return a function that makes a client of a receiver whose source `s` has these keys."""

    def make(keys: str, rates=None) -> HookClient:
        text = two_accounts() + f'\n[sources.s]\nkind = "json"\n{keys}{ROUTE}'
        return HookClient(make_services(tmp_path, store, text), rates)

    return make


def counted(web) -> dict[str, int]:
    """Return the counts of deliveries of the source."""
    web.services.counter_flusher.flush()
    counts = web.services.store.client.hgetall("{ringback}:counts")
    return {
        name.removeprefix("deliveries:s:"): int(n)
        for name, n in counts.items()
        if name.startswith("deliveries:s:")
    }


# --- proofs over HTTP ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "signatures", "secrets"),
    [
        ("svix-{}", "v1,{}", STANDARD),
        ("Svix-{}", "v1,{}", STANDARD),
        ("webhook-{}", "v1,{}", STANDARD),
        ("svix-{}", "v1,AAAA v1,{}", STANDARD),
        ("svix-{}", "v1a,AAAA v1,{}", STANDARD),
        ("svix-{}", "v1,{}", f'whsec_YW5vdGhlcg==", "{STANDARD}'),
    ],
)
def test_svix_headers_are_standard_webhooks(web_of, names, signatures, secrets):
    web = web_of(f'verify = "standard-webhooks"\nsecrets = ["{secrets}"]\n')
    at = str(int(time.time()))
    key = base64.b64decode(STANDARD.removeprefix("whsec_"))
    value = base64.b64encode(hmac.digest(key, f"msg_1.{at}.{BODY}".encode(), "sha256")).decode()
    values = {"id": "msg_1", "timestamp": at, "signature": signatures.format(value)}
    headers = {names.format(name): value for name, value in values.items()}
    answer = web.client.post("/hooks/s", data=BODY, headers=headers, content_type="application/json")
    assert (answer.status_code, len(answer.json["recalls"])) == (202, 1)
    again = web.client.post("/hooks/s", data=BODY, headers=headers, content_type="application/json")
    assert again.json == answer.json


@pytest.mark.parametrize(
    ("keys", "signed", "headers"),
    [
        (
            'header = "Calendly-Webhook-Signature"\ntimestamp = "t"\nprefix = "v1="\nsigned = "{timestamp}.{body}"',
            "{at}.{body}",
            {"Calendly-Webhook-Signature": "t={at},v1={value}"},
        ),
        (
            'header = "X-Signature"\ntimestamp = "t"\nprefix = "v1="\nsigned = "{timestamp}.{body}"',
            "{at}.{body}",
            {"X-Signature": "v1=00ff, t={at}, v0=00ff, v1={value}"},
        ),
        (
            'header = "X-WPForms-Webhook-Signature"\ntimestamp = "t"\nprefix = "v="\nsigned = "{timestamp}.{body}"',
            "{at}.{body}",
            {"X-WPForms-Webhook-Signature": "t={at},v={value}"},
        ),
        (
            'header = "X-Signature"\ntimestamp = "ts"\nprefix = "v1="\nsigned = "ts:{timestamp};{body}"',
            "ts:{at};{body}",
            {"X-Signature": "ts={at},v1={value}"},
        ),
        (
            'header = "X-Slack-Signature"\ntimestamp = "X-Slack-Request-Timestamp"\nprefix = "v0="\nsigned = "v0:{timestamp}:{body}"',
            "v0:{at}:{body}",
            {"X-Slack-Signature": "v0={value}", "X-Slack-Request-Timestamp": "{at}"},
        ),
    ],
)
def test_a_timestamp_and_the_body_are_signed_together(web_of, keys, signed, headers):
    web = web_of(f'verify = "hmac"\nsecrets = "{SECRET}"\n{keys}\n')
    now = int(time.time())
    value = hmac.new(SECRET.encode(), signed.format(at=now, body=BODY).encode(), "sha256").hexdigest()

    def post(at):
        sent = {name: text.format(at=at, value=value) for name, text in headers.items()}
        return web.client.post("/hooks/s", data=BODY, headers=sent, content_type="application/json")

    answer = post(now)
    assert (answer.status_code, len(answer.json["recalls"])) == (202, 1)
    for another in (now - 1, now - 301):
        assert post(another).status_code == 401


def test_a_delivery_that_was_captured_gives_one_recall_under_any_unsigned_header(web_of):
    web = web_of(HMAC)
    value = base64.b64encode(hmac.digest(SECRET.encode(), BODY.encode(), "sha256")).decode()
    recalls = set()
    for unsigned in ({}, {"Idempotency-Key": "a"}, {"Idempotency-Key": "b"}, {"webhook-id": "c"}):
        headers = {"X-WC-Webhook-Signature": value, **unsigned}
        answer = web.client.post("/hooks/s", data=BODY, headers=headers, content_type="application/json")
        assert answer.status_code == 202
        recalls.update(answer.json["recalls"])
    headers = {"X-WC-Webhook-Signature": value}
    answer = web.client.post("/hooks/s?x=1", data=BODY, headers=headers, content_type="application/json")
    recalls.update(answer.json["recalls"])
    assert len(recalls) == 1


def test_the_token_in_a_body_is_in_no_key_of_the_store(web_of, store):
    token = "application-token-0123456789"
    web = web_of(f'verify = "body-token"\nsecrets = "{token}"\ntoken = "{{{{ body.auth.token }}}}"\n')
    body = json.dumps({"auth": {"token": token}, "documento": "1", "celular": "no number", "fecha": AT})
    answer = web.client.post("/hooks/s", data=body, content_type="application/json")
    assert (answer.status_code, answer.json["parked"]) == (202, 1)
    stored = [store.dump(key) or b"" for key in store.keys("*")]
    assert stored
    assert not any(token.encode() in value for value in stored)


# --- handshakes ------------------------------------------------------------------------------------

CHALLENGE = URL_KEY + 'handshake = "challenge"\n'
CHALLENGES = {
    "monday": {"challenge": "3eZbrw1aBm2rZgRNFdxV"},
    "slack": {
        "token": "t",
        "challenge": "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7",
        "type": "url_verification",
    },
    "a uuid": {"challenge": "8f14e45f-ceea-467f-9e3b-6d7c5d7f2a11"},
    "base64": {"challenge": "aGVsbG8+/w=="},
}


@pytest.mark.parametrize("name", CHALLENGES)
def test_a_challenge_is_echoed_and_stores_nothing(web_of, store, name):
    web = web_of(CHALLENGE)
    answer = web.client.post(f"/hooks/s/{KEY}", json=CHALLENGES[name])
    assert (answer.status_code, answer.json) == (200, {"challenge": CHALLENGES[name]["challenge"]})
    assert answer.content_type == "application/json"
    assert counted(web) == {"address verified": 1}
    assert stored_keys(store) == set()


@pytest.mark.parametrize(
    "body",
    [
        {"challenge": "<script>"},
        {"challenge": "a" * 513},
        {"challenge": 5},
        {"challenge": ""},
        {"challenge": "a", "type": "event_callback"},
        {"challenge": "a", "event": {}},
        {"challenge": "a\n"},
        ["challenge"],
        {"event": {"challenge": "a"}},
    ],
    ids=str,
)
def test_a_request_that_is_not_exactly_a_challenge_is_a_delivery(web_of, body):
    web = web_of('verify = "bearer"\nsecrets = "a-bearer-secret-of-s-0123"\nhandshake = "challenge"\n')
    assert web.client.post("/hooks/s", json=body).status_code == 401
    assert counted(web) == {"not verified": 1}


def test_a_long_challenge_is_not_read(web_of):
    web = web_of('verify = "bearer"\nsecrets = "a-bearer-secret-of-s-0123"\nhandshake = "challenge"\n')
    body = '{"challenge": "abc"' + " " * 2048 + "}"
    assert web.client.post("/hooks/s", data=body, content_type="application/json").status_code == 401


@pytest.mark.parametrize("key", ["", "/urlkey-case-0123456789abcdeX"])
def test_a_challenge_to_an_address_without_the_right_key_is_rejected(web_of, key):
    web = web_of(CHALLENGE)
    answer = web.client.post(f"/hooks/s{key}", json=CHALLENGES["monday"])
    assert answer.status_code == 401
    assert "challenge" not in answer.text
    assert counted(web) == {"not verified": 1}


BEARER = 'verify = "bearer"\nsecrets = "a-bearer-secret-of-s-0123"\n'


@pytest.mark.parametrize(
    ("keys", "path", "headers"),
    [
        (URL_KEY, f"/hooks/s/{KEY}", {}),
        (BEARER, "/hooks/s", {"Authorization": "Bearer a-bearer-secret-of-s-0123"}),
        (URL_KEY + 'handshake = "probe"\n', f"/hooks/s/{KEY}", {}),
    ],
    ids=["url-key", "bearer", "another handshake"],
)
@pytest.mark.parametrize("shape", ["challenge", "ping"])
def test_a_verified_request_of_the_shape_of_a_handshake_is_no_delivery(
    web_of, store, keys, path, headers, shape
):
    web = web_of(keys)
    body = (
        {"json": CHALLENGES["monday"]}
        if shape == "challenge"
        else {"data": b"webhook_id=5", "content_type": FORM}
    )
    answer = web.client.post(path, headers=headers, **body)
    assert answer.status_code == 200
    assert answer.text == ('{"challenge":"3eZbrw1aBm2rZgRNFdxV"}' if shape == "challenge" else "")
    assert counted(web) == {"address verified": 1}
    assert stored_keys(store) == set()


def test_a_source_without_a_handshake_answers_no_unverified_request(web_of):
    web = web_of(BEARER)
    assert web.client.post("/hooks/s", json=CHALLENGES["monday"]).status_code == 401
    assert web.client.post("/hooks/s", data=b"webhook_id=5", content_type=FORM).status_code == 401
    assert web.client.get("/hooks/s").status_code == 405
    assert web.client.options("/hooks/s").status_code == 405


@pytest.mark.parametrize("keys", [HMAC, URL_KEY])
@pytest.mark.parametrize(
    "body", [b"webhook_id=5", b"webhook_id=0", b"webhook_id=727", b"webhook_id=12345678901234567890"]
)
def test_woocommerces_unsigned_ping_is_answered_with_exactly_200(web_of, store, keys, body):
    web = web_of(keys + 'handshake = "ping"\nanswer_status = 200\n')
    path = f"/hooks/s/{KEY}" if keys is URL_KEY else "/hooks/s"
    answer = web.client.post(path, data=body, content_type=FORM)
    assert (answer.status_code, answer.data) == (200, b"")
    assert counted(web) == {"address verified": 1}
    assert stored_keys(store) == set()


@pytest.mark.parametrize(
    "body",
    [
        b"webhook_id=5&a=1",
        b"webhook_id=x",
        b"webhook_id=",
        b"webhook_id=5\n",
        b"a=1",
        b"webhook_id=" + b"1" * 21,
    ],
)
def test_no_other_unsigned_form_is_a_ping(web_of, body):
    web = web_of(HMAC + 'handshake = "ping"\n')
    assert web.client.post("/hooks/s", data=body, content_type=FORM).status_code == 401


HUB = HMAC + 'handshake = "hub-challenge"\nverify_token = "a-verify-token"\n'
SUBSCRIBE = {"hub.mode": "subscribe", "hub.challenge": "1158201444", "hub.verify_token": "a-verify-token"}


def test_metas_challenge_is_echoed_as_text(web_of, store):
    web = web_of(HUB)
    answer = web.client.get("/hooks/s", query_string=SUBSCRIBE)
    assert (answer.status_code, answer.text) == (200, "1158201444")
    assert answer.content_type.startswith("text/plain")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert stored_keys(store) == set()


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"hub.verify_token": "another"}, 401),
        ({"hub.verify_token": ""}, 401),
        ({"hub.mode": "unsubscribe"}, 405),
        ({"hub.challenge": "<b>"}, 405),
        ({"hub.challenge": "1" * 513}, 405),
        ({f"p{n}": "1" for n in range(30)}, 405),
    ],
    ids=str,
)
def test_metas_challenge_needs_the_verify_token_and_the_exact_shape(web_of, change, status):
    web = web_of(HUB)
    answer = web.client.get("/hooks/s", query_string={**SUBSCRIBE, **change})
    assert answer.status_code == status
    assert "1158201444" not in answer.text


def test_a_parameter_that_is_sent_twice_is_no_handshake(web_of):
    web = web_of(HUB)
    query = "hub.mode=subscribe&hub.challenge=1&hub.challenge=2&hub.verify_token=a-verify-token"
    assert web.client.get(f"/hooks/s?{query}").status_code == 405


@pytest.mark.parametrize(
    "token", ["abc", "Validation: Testing client application reachability Request-Id: 84d7", "a+b/c="]
)
def test_a_validation_token_is_echoed_as_text(web_of, token):
    web = web_of(URL_KEY + 'handshake = "validation-token"\n')
    answer = web.client.post(f"/hooks/s/{KEY}", query_string={"validationToken": token})
    assert (answer.status_code, answer.text) == (200, token)
    assert answer.content_type.startswith("text/plain")


@pytest.mark.parametrize("token", ["<script>alert(1)</script>", "a\nb", "x" * 513, "", "é"])
def test_another_validation_token_is_not_echoed(web_of, token):
    web = web_of(URL_KEY + 'handshake = "validation-token"\n')
    answer = web.client.post(f"/hooks/s/{KEY}", query_string={"validationToken": token})
    assert answer.status_code == 400
    assert not token or token not in answer.text


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_probe_is_answered(web_of, method):
    web = web_of(URL_KEY + 'handshake = "probe"\n')
    assert web.client.open(f"/hooks/s/{KEY}", method=method).status_code == 200
    assert web.client.open("/hooks/s", method=method).status_code == 401
    assert web.client.open(f"/hooks/s/{KEY}", method="PUT").status_code == 405


@pytest.mark.parametrize(
    ("rate", "asked", "allowed"),
    [("", None, None), ("", "120", "120"), ("", "<b>", "*"), ("rate_per_minute = 60\n", "120", "60")],
)
def test_a_cloudevents_origin_is_allowed(web_of, rate, asked, allowed):
    web = web_of(URL_KEY + rate + 'handshake = "cloudevents"\n')
    headers = {"WebHook-Request-Origin": "eventemitter.example.com"}
    if asked:
        headers["WebHook-Request-Rate"] = asked
    answer = web.client.options(f"/hooks/s/{KEY}", headers=headers)
    assert answer.status_code == 200
    assert answer.headers["WebHook-Allowed-Origin"] == "eventemitter.example.com"
    assert answer.headers.get("WebHook-Allowed-Rate") == allowed
    assert web.client.options(f"/hooks/s/{KEY}").status_code == 405


def test_the_page_of_the_source_shows_that_the_address_was_verified(web_of):
    web = web_of(CHALLENGE)
    pages = Pages(web.services)
    assert "verified address" not in pages.get("/sources/s").text
    web.client.post(f"/hooks/s/{KEY}", json=CHALLENGES["monday"])
    web.services.counter_flusher.flush()
    assert "verified address" in pages.get("/sources/s").text


def test_a_handshake_does_not_end_a_series_of_rejections(web_of):
    web = web_of('verify = "bearer"\nsecrets = "a-bearer-secret-of-s-0123"\nhandshake = "challenge"\n')
    web.client.post("/hooks/s", json={})
    web.services.counter_flusher.flush()
    web.client.post("/hooks/s", json=CHALLENGES["monday"])
    web.services.counter_flusher.flush()
    activity = web.services.source_status.activity(["s"])["s"]
    assert (activity.refusals, activity.refusing_since is None) == (1, False)
    assert activity.address_checked is not None


# --- answers ---------------------------------------------------------------------------------------


class Over:
    """A rate limiter whose limit is exceeded."""

    def over(self, name, per_minute):
        return 7


@pytest.mark.parametrize(("keys", "status"), [("", 202), ("answer_status = 200\n", 200)])
def test_a_success_has_the_answer_status_of_the_preset(web_of, keys, status):
    web = web_of(URL_KEY + keys)
    answer = web.client.post(f"/hooks/s/{KEY}", data=BODY, content_type="application/json")
    assert (answer.status_code, len(answer.json["recalls"])) == (status, 1)


def test_a_sender_that_shows_the_answer_to_its_users_gets_an_empty_one(web_of):
    web = web_of(URL_KEY + 'answer_status = 200\nanswer_body = "empty"\n')
    answer = web.client.post(f"/hooks/s/{KEY}", data=BODY, content_type="application/json")
    assert (answer.status_code, answer.data, answer.mimetype) == (200, b"", "text/plain")
    refused = web.client.post("/hooks/s", data=BODY, content_type="application/json")
    assert (refused.status_code, refused.json["status"]) == (401, 401)


@pytest.mark.parametrize(
    ("keys", "busy", "away"),
    [("", 429, 503), ("retry_status = 429\n", 429, 429), ("retry_status = 503\n", 503, 503)],
)
def test_a_delivery_that_is_not_stored_has_the_retry_status_of_the_preset(
    web_of, monkeypatch, keys, busy, away
):
    web = web_of(URL_KEY + "rate_per_minute = 1\n" + keys, Over())
    answer = web.client.post(f"/hooks/s/{KEY}", data=BODY, content_type="application/json")
    assert (answer.status_code, answer.json["status"], answer.headers["Retry-After"]) == (busy, busy, "7")
    web = web_of(URL_KEY + keys, NoRates())

    def store_away(*_):
        raise StoreAwayError("away")

    monkeypatch.setattr(web.services.admission, "admit", store_away)
    answer = web.client.post(f"/hooks/s/{KEY}", data=BODY, content_type="application/json")
    assert (answer.status_code, answer.headers["Retry-After"]) == (away, "5")
