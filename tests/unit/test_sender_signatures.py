"""The schemes hmac, ed25519, body-token and query-key: valid deliveries, forgeries, and message ids."""

from __future__ import annotations

import base64
import hmac
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import ValidationError

from integration.config.source_models.public_keys import read_public_key
from integration.domain.delivery import Delivery
from integration.domain.errors import CannotSignError, NotVerifiedError
from integration.webhooks.diagnosis import schemes as diagnosis
from integration.webhooks.diagnosis.findings import Guess, VerificationCase
from integration.webhooks.providers import SOURCES
from support.source_cases import FORM, NOW, SECRET, forms

JSON = SOURCES["json"]
BODY = b'{"documento": "80123456", "celular": "3001112233"}'
STAMP = str(int(NOW.timestamp()))
SEED = bytes(range(32))
PRIVATE = Ed25519PrivateKey.from_private_bytes(SEED)
SPKI = "MCowBQYDK2VwAyEAA6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="

CALENDLY = {
    "header": "Calendly-Webhook-Signature",
    "timestamp": "t",
    "prefix": "v1=",
    "signed": "{timestamp}.{body}",
}
WPFORMS = {
    "header": "X-WPForms-Webhook-Signature",
    "timestamp": "t",
    "prefix": "v=",
    "signed": "{timestamp}.{body}",
}
SLACK = {
    "header": "X-Slack-Signature",
    "timestamp": "X-Slack-Request-Timestamp",
    "prefix": "v0=",
    "signed": "v0:{timestamp}:{body}",
}
ZENDESK = {
    "header": "X-Zendesk-Webhook-Signature",
    "timestamp": "X-Zendesk-Webhook-Signature-Timestamp",
    "encoding": "base64",
    "signed": "{timestamp}{body}",
}
GITHUB_SHA1 = {"header": "X-Hub-Signature", "algorithm": "sha1", "prefix": "sha1="}
SHA512 = {"header": "X-Signature", "algorithm": "sha512"}
WITH_ID = {
    "header": "X-Sig",
    "timestamp": "X-Time",
    "message_id": "X-Id",
    "signed": "{id}.{timestamp}.{body}",
}
WITH_URL = {"header": "X-Sig", "signed": "{url}|{body}", "public_url": "https://hooks.example.com/hooks/x"}


def source(**keys):
    return forms("hmac", **keys)


def delivery(body=BODY, url="https://hooks.example.com/hooks/x", **headers):
    lower = {name.lower().replace("_", "-"): value for name, value in headers.items()}
    return Delivery(id="d", source="forms", method="POST", url=url, headers=lower, body=body, received_at=NOW)


def sent(settings, body=BODY, now=NOW, message_id="msg-1"):
    """Return the delivery that the sender would make."""
    url = settings.public_url or "https://hooks.example.com/hooks/x"
    headers = JSON.sign(body, settings, url=url, method="POST", message_id=message_id, now=now)
    return replace(delivery(body, url), headers={name.lower(): value for name, value in headers.items()})


def hexdigest(message: bytes, secret=SECRET, algorithm="sha256") -> str:
    return hmac.new(secret.encode(), message, algorithm).hexdigest()


def rejected(made, settings, now=NOW) -> NotVerifiedError:
    with pytest.raises(NotVerifiedError) as caught:
        JSON.verify(made, settings, now)
    return caught.value


# --- what senders sign -----------------------------------------------------------------------------

SENDERS = {
    "t and v1 in one header": (
        CALENDLY, {"calendly-webhook-signature": f"t={STAMP},v1={hexdigest(f'{STAMP}.'.encode() + BODY)}"},
    ),
    "parts separated by semicolons": (
        CALENDLY, {"calendly-webhook-signature": f"t={STAMP};v1={hexdigest(f'{STAMP}.'.encode() + BODY)}"},
    ),
    "two signatures during a rotation": (
        CALENDLY, {"calendly-webhook-signature": f"t={STAMP},v1={'0' * 64},v1={hexdigest(f'{STAMP}.'.encode() + BODY)}"},
    ),
    "blanks after the comma, and a part of another version": (
        CALENDLY, {"calendly-webhook-signature": f"v0=x, t={STAMP}, v1={hexdigest(f'{STAMP}.'.encode() + BODY)}"},
    ),
    "t and v": (
        WPFORMS, {"x-wpforms-webhook-signature": f"t={STAMP},v={hexdigest(f'{STAMP}.'.encode() + BODY)}"},
    ),
    "a version before the timestamp": (
        SLACK,
        {
            "x-slack-signature": f"v0={hexdigest(f'v0:{STAMP}:'.encode() + BODY)}",
            "x-slack-request-timestamp": STAMP,
        },
    ),
    "an ISO time without anything after it": (
        ZENDESK,
        {
            "x-zendesk-webhook-signature": base64.b64encode(
                hmac.digest(SECRET.encode(), b"2026-03-01T14:15:30Z" + BODY, "sha256")
            ).decode(),
            "x-zendesk-webhook-signature-timestamp": "2026-03-01T14:15:30Z",
        },
    ),
    "sha1": (GITHUB_SHA1, {"x-hub-signature": f"sha1={hexdigest(BODY, algorithm='sha1')}"}),
    "sha512 in capitals": (SHA512, {"x-signature": hexdigest(BODY, algorithm="sha512").upper()}),
    "milliseconds": (
        WITH_ID,
        {"x-sig": hexdigest(f"m1.{STAMP}250.".encode() + BODY), "x-time": f"{STAMP}250", "x-id": "m1"},
    ),
    "the address": (WITH_URL, {"x-sig": hexdigest(b"https://hooks.example.com/hooks/x|" + BODY)}),
}  # fmt: skip
senders = pytest.mark.parametrize("name", SENDERS)


@senders
def test_a_signature_is_verified_as_its_sender_writes_it(name):
    keys, headers = SENDERS[name]
    assert JSON.verify(delivery(**headers), source(**keys), NOW) == "hmac"


@senders
def test_another_body_or_secret_is_rejected(name):
    keys, headers = SENDERS[name]
    rejected(delivery(BODY + b" ", **headers), source(**keys))
    rejected(delivery(**headers), source(**keys, secrets=("another-secret",)))


@senders
def test_our_own_signing_is_verified(name):
    settings = source(**SENDERS[name][0])
    assert JSON.verify(sent(settings), settings, NOW)


def test_the_secret_that_matched_is_named_by_its_number():
    settings = source(**CALENDLY, secrets=("a-newer-secret", SECRET))
    assert (
        JSON.verify(delivery(**SENDERS["t and v1 in one header"][1]), settings, NOW) == "hmac, secret 2 of 2"
    )


@pytest.mark.parametrize(
    "value",
    ["", "v1=00", f"t={STAMP}", f"t={STAMP},t={STAMP},v1=00", "t=,v1=00", "t=soon,v1=00", f"t={STAMP}" + ",v1=00" * 11],
    ids=["empty", "no time", "no signature", "two times", "empty time", "no number", "eleven signatures"],
)  # fmt: skip
def test_a_header_without_one_time_and_a_few_signatures_is_rejected(value):
    rejected(delivery(**{"calendly-webhook-signature": value}), source(**CALENDLY))


@pytest.mark.parametrize("keys", [CALENDLY, SLACK, ZENDESK, WITH_ID], ids=lambda keys: keys["header"])
@pytest.mark.parametrize("tolerance", [60, 300, 7200])
def test_a_time_outside_the_tolerance_is_rejected_in_both_directions(keys, tolerance):
    settings = source(**keys, tolerance_seconds=tolerance)
    for off in (tolerance + 1, -tolerance - 2):
        found = rejected(sent(settings), settings, NOW + timedelta(seconds=off))
        assert found.check == "timestamp"
        assert f"at most {tolerance} s are allowed" in found.why
    assert JSON.verify(sent(settings), settings, NOW + timedelta(seconds=tolerance - 2))


@pytest.mark.parametrize(
    "text",
    ["2026-03-01T14:15:30", "2026-03-01 14:15:30Z", "2026-03-01T14:15Z", "2026-13-01T14:15:30Z", "+1772374530",
     "1772374530.5", "\u0661772374530", "9" * 16],
    ids=ascii,
)  # fmt: skip
def test_a_timestamp_in_no_certain_format_is_rejected(text):
    rejected(delivery(**{"x-sig": "00", "x-time": text, "x-id": "m"}), source(**WITH_ID))


# --- a signed text that can be split in two ways ---------------------------------------------------


def signed_as(settings, content: bytes, body: bytes, **headers):
    return delivery(body, **{settings.header.lower(): hexdigest(content), **headers})


def test_a_dot_cannot_move_from_the_id_to_the_time():
    settings = source(**WITH_ID)
    content = f"a.{STAMP}.{STAMP}.".encode() + BODY
    for message_id, body in ((f"a.{STAMP}", BODY), ("a", f"{STAMP}.".encode() + BODY)):
        made = signed_as(settings, content, body, **{"x-time": STAMP, "x-id": message_id})
        if "." in message_id:
            assert "'.'" in rejected(made, settings).why
        else:
            JSON.verify(made, settings, NOW)


@pytest.mark.parametrize("message_id", ["msg.1", "msg_p5jXN8AQM9.1614265330", "."])
def test_standard_webhooks_rejects_an_id_with_a_dot(message_id):
    settings = forms("standard-webhooks")
    made = sent(settings, message_id=message_id)
    assert "dot" in rejected(made, settings).why
    assert JSON.verify(sent(settings, message_id=message_id.replace(".", "-")), settings, NOW)


def test_digits_of_the_body_cannot_become_milliseconds_of_the_time():
    settings = source(header="X-Sig", timestamp="X-Time", signed="{timestamp}{body}")
    content = f"{STAMP}250".encode() + BODY
    JSON.verify(signed_as(settings, content, BODY, **{"x-time": f"{STAMP}250"}), settings, NOW)
    moved = signed_as(settings, content, b"250" + BODY, **{"x-time": STAMP})
    assert "is ambiguous" in rejected(moved, settings).why


def test_digits_of_the_body_cannot_become_the_begin_of_the_time():
    settings = source(header="X-Sig", timestamp="X-Time", signed="{body}{timestamp}")
    content = BODY + f"{STAMP}250".encode()
    moved = signed_as(settings, content, BODY + b"177", **{"x-time": f"{STAMP}250"[3:]})
    rejected(moved, settings, NOW)
    near = signed_as(settings, b"a=1" + STAMP.encode(), b"a=1", **{"x-time": STAMP})
    assert "is ambiguous" in rejected(near, settings).why


def test_a_query_cannot_move_into_the_body():
    settings = source(header="X-Sig", signed="{url}{body}", public_url="https://hooks.example.com/hooks/x")
    content = b"https://hooks.example.com/hooks/x?a=1" + BODY
    made = signed_as(settings, content, BODY)
    moved = replace(made, url="https://hooks.example.com/hooks/x?a=1")
    assert "query" in rejected(moved, settings).why
    other = replace(moved, url="https://hooks.example.com/hooks/x?a", body=b"=1" + BODY)
    assert "query" in rejected(other, settings).why


@pytest.mark.parametrize(
    "signed",
    ["", "{timestamp}", "{body}{body}", "{timestamp}.{body}.{timestamp}", "{id}{timestamp}{body}", "{id}{body}",
     "{bodi}.{body}", "{body", "{timestamp}.{body}}", "é{body}", "{body}\n"],
)  # fmt: skip
def test_a_template_that_leaves_something_open_is_refused(signed):
    with pytest.raises(ValidationError):
        source(header="X", timestamp="t", message_id="X-Id", signed=signed)


# --- only what is signed names a delivery ----------------------------------------------------------


def keys_of(settings, **headers):
    return [event.dedup_key for event in JSON.read(delivery(**headers), settings)]


@pytest.mark.parametrize(
    "settings",
    [
        forms("hmac-sha256", header="X-Signature"),
        forms("hmac", **CALENDLY),
        forms("hmac", **SLACK),
        forms("ed25519", header="X-Sig", public_keys=(SPKI,)),
    ],
    ids=lambda settings: f"{settings.verify} {settings.header}",
)
@pytest.mark.parametrize("header", ["idempotency-key", "webhook-id", "x-id", "x-request-id"])
def test_an_unsigned_header_is_no_message_id(settings, header):
    assert keys_of(settings, **{header: "once"}) == [None]


def test_a_signed_header_is_the_message_id():
    settings = source(**WITH_ID)
    made = sent(settings, message_id="m-7")
    JSON.verify(made, settings, NOW)
    assert [event.dedup_key for event in JSON.read(made, settings)] == ["id:m-7"]
    assert [event.record_id for event in JSON.read(made, settings)] == ["m-7"]
    rejected(replace(made, headers={**made.headers, "x-id": "m-8"}), settings)


def test_a_dedup_key_may_use_any_header():
    settings = forms("hmac-sha256", header="X-Signature", dedup_key="{{ delivery.headers['x-request-id'] }}")
    assert keys_of(settings, **{"x-request-id": "r-1"}) == ["key:r-1"]


@pytest.mark.parametrize("verify", ["bearer", "basic", "header", "query-key", "url-key"])
def test_idempotency_key_is_the_message_id_of_an_unsigned_delivery(verify):
    settings = forms(verify, header="X-Api-Key", param="code", url_key="k" * 20)
    assert keys_of(settings, **{"idempotency-key": "once"}) == ["id:once"]


# --- svix ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ids", [("msg_1",), ("evt_2NxJ",), ("a-b",)])
def test_the_former_names_of_the_headers_are_the_same_scheme(ids):
    settings = forms("standard-webhooks")
    made = sent(settings, message_id=ids[0])
    renamed = {name.replace("webhook-", "svix-"): value for name, value in made.headers.items()}
    svix = replace(made, headers=renamed)
    assert JSON.verify(svix, settings, NOW)
    assert [event.dedup_key for event in JSON.read(svix, settings)] == [f"id:{ids[0]}"]
    rejected(replace(svix, headers={**renamed, "svix-id": "msg_2"}), settings)
    rejected(replace(svix, headers={**renamed, "svix-timestamp": "1"}), settings)
    mixed = {"webhook-id": "msg_9", **renamed}
    rejected(replace(svix, headers=mixed), settings)


# --- Ed25519 ---------------------------------------------------------------------------------------


def ed25519(**keys):
    return forms(
        "ed25519",
        secrets=(),
        **{"header": "X-GHL-Signature", "encoding": "base64", "public_keys": (SPKI,), **keys},
    )


def test_an_ed25519_signature_is_verified():
    # The seed is 00 01 … 1f, so that the vector can be computed anew.
    body = b'{"type":"ContactCreate","locationId":"loc1","id":"c1","webhookId":"wh1"}'
    value = "yDmOsUPW6jOJ6sRvFYmxgbJyNnQmpHQ3yuK2kCEfIjWGfiw16R41mm+e8idLcpdGY9GOl9gJH+GNQbV4IPU4CA=="
    assert base64.b64encode(PRIVATE.sign(body)).decode() == value
    assert JSON.verify(delivery(body, **{"x-ghl-signature": value}), ed25519(), NOW) == "ed25519"
    rejected(delivery(body + b" ", **{"x-ghl-signature": value}), ed25519())


@pytest.mark.parametrize("value", ["N/A", "AAAA", "", "\x00", base64.b64encode(bytes(64)).decode()])
def test_a_malformed_signature_is_rejected(value):
    rejected(delivery(**{"x-ghl-signature": value}), ed25519())


def test_ed25519_may_cover_a_time_and_be_hexadecimal():
    settings = ed25519(
        header="X-Signature-Ed25519",
        encoding="hex",
        timestamp="X-Signature-Timestamp",
        signed="{timestamp}{body}",
    )
    value = PRIVATE.sign(STAMP.encode() + BODY).hex()
    made = delivery(**{"x-signature-ed25519": value, "x-signature-timestamp": STAMP})
    assert JSON.verify(made, settings, NOW)
    assert rejected(made, settings, NOW + timedelta(minutes=6)).check == "timestamp"


def test_any_of_several_public_keys_is_accepted():
    other = Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key()
    raw = base64.b64encode(other.public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()
    settings = ed25519(public_keys=(raw, SPKI))
    made = delivery(**{"x-ghl-signature": base64.b64encode(PRIVATE.sign(BODY)).decode()})
    assert JSON.verify(made, settings, NOW) == "ed25519, secret 2 of 2"
    rejected(made, ed25519(public_keys=(raw,)))


def test_a_public_key_is_read_in_every_usual_format():
    key = PRIVATE.public_key()
    raw = key.public_bytes(Encoding.Raw, PublicFormat.Raw)
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    for text in (SPKI, pem, raw.hex(), base64.b64encode(raw).decode()):
        assert read_public_key(text).public_bytes(Encoding.Raw, PublicFormat.Raw) == raw


@pytest.mark.parametrize(
    "text", ["", "x", "AAAA", "00" * 31, "MCowBQYDK2VuAyEAA6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="]
)
def test_a_malformed_ed25519_key_is_refused(text):
    with pytest.raises(ValidationError, match="Ed25519"):
        ed25519(public_keys=(text,))


def test_ed25519_cannot_be_signed_without_the_private_key():
    with pytest.raises(CannotSignError, match="private key"):
        sent(ed25519())


# --- a token in the body, a key in the query -------------------------------------------------------

TOKEN = "jvh9y1ulTqDMyR8p.K_x~Q-2"
BITRIX = forms("body-token", secrets=(TOKEN,), token="{{ body.auth.application_token }}")
TOKEN_BODIES = [
    (b'{"event": "X", "auth": {"application_token": "%s", "domain": "d"}}', "application/json"),
    (b"event=X&auth[application_token]=%s&auth[domain]=d", FORM),
    (b"auth%%5Bapplication_token%%5D=%s&event=X&auth%%5Bdomain%%5D=d", FORM),
]


@pytest.mark.parametrize(("template", "content_type"), TOKEN_BODIES)
def test_a_token_in_the_body_is_verified_and_not_stored(template, content_type):
    made = delivery(template % TOKEN.encode(), **{"content-type": content_type})
    assert JSON.verify(made, BITRIX, NOW) == "body-token"
    events, kept = JSON.read(made, BITRIX), JSON.stored_body(made, BITRIX)
    assert TOKEN not in repr([event.data for event in events])
    assert TOKEN.encode() not in kept
    assert events[0].data["auth"]["domain"] == "d"
    assert JSON.read(replace(made, body=kept), BITRIX) == events


@pytest.mark.parametrize(("template", "content_type"), TOKEN_BODIES)
@pytest.mark.parametrize("token", [b"", b"another-token-0123", TOKEN.upper().encode(), TOKEN.encode()[:-1]])
def test_another_token_is_rejected(template, content_type, token):
    rejected(delivery(template % token, **{"content-type": content_type}), BITRIX)


@pytest.mark.parametrize(
    "body", [b"{}", b'{"auth": null}', b'{"auth": {"application_token": null}}', b'{"auth": [1]}']
)
def test_a_body_without_a_token_is_rejected(body):
    assert (
        "the template `token`" in rejected(delivery(body, **{"content-type": "application/json"}), BITRIX).why
    )


def test_the_url_key_is_checked_before_the_body_is_read():
    settings = forms("body-token", secrets=(TOKEN,), token="{{ body.token }}", url_key="k" * 20)
    assert rejected(delivery(b"not JSON"), settings).check == "url_key"


QUERY = forms("query-key", secrets=("code-0123456789abc",), param="code")


@pytest.mark.parametrize(
    ("query", "good"),
    [
        ("?code=code-0123456789abc", True),
        ("?a=1&code=code-0123456789abc&b=2", True),
        ("", False),
        ("?code=", False),
        ("?code=code-0123456789abd", False),
        ("?Code=code-0123456789abc", False),
        ("?code=code-0123456789abc&code=code-0123456789abc", False),
        ("?code=x&code=code-0123456789abc", False),
        ("?" + "a=1&" * 101 + "code=code-0123456789abc", False),
    ],
)
def test_a_key_in_the_query(query, good):
    made = delivery(url=f"https://hooks.example.com/hooks/x{query}")
    if good:
        assert JSON.verify(made, QUERY, NOW) == "query-key"
    else:
        rejected(made, QUERY)


# --- why one was rejected --------------------------------------------------------------------------


def causes(made, settings, now=NOW):
    error = rejected(made, settings, now)
    case = VerificationCase(
        delivery=made,
        settings=settings,
        error=error,
        now=now,
        secrets=tuple(Guess(secret.get_secret_value()) for secret in settings.secrets),
        keys=(),
    )
    found = diagnosis.diagnose(case)
    return [finding.cause for finding in found.findings], found.proved


@pytest.mark.parametrize("keys", [CALENDLY, SLACK, ZENDESK], ids=lambda keys: keys["header"])
def test_a_diagnosis_knows_what_the_source_expects_to_be_signed(keys):
    settings = source(**keys)
    made = sent(settings)
    assert causes(made, settings, NOW + timedelta(minutes=9)) == (["stale"], True)
    assert causes(made, settings, NOW - timedelta(minutes=9)) == (["early"], True)
    spaced = replace(made, body=json.dumps(json.loads(BODY), indent=4).encode())
    assert causes(spaced, settings) == (["body"], True)
    assert causes(replace(made, headers={}), settings) == (["missing header"], False)
    sha1 = source(**keys, algorithm="sha1")
    assert causes(made, sha1) == (["algorithm"], True)
    assert causes(replace(made, body=b"{}"), settings) == (["unknown"], False)


def test_a_diagnosis_finds_a_body_that_was_rewritten_under_ed25519():
    made = delivery(**{"x-ghl-signature": base64.b64encode(PRIVATE.sign(BODY)).decode()})
    assert causes(replace(made, body=BODY + b"\n"), ed25519()) == (["body"], True)
    assert causes(replace(made, body=b"{}"), ed25519()) == (["unknown"], False)
    assert causes(replace(made, headers={}), ed25519()) == (["missing header"], False)


def test_slacks_own_example():
    # https://api.slack.com/docs/verifying-requests-from-slack
    body = (
        b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&"
        b"channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&"
        b"response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F"
        b"96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
    )
    value = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"
    made = delivery(body, **{"x-slack-signature": value, "x-slack-request-timestamp": "1531420618"})
    settings = source(**SLACK, secrets=("8f742231b10e8888abcd99yyyzzz85a5",))
    assert JSON.verify(made, settings, datetime.fromtimestamp(1531420618, UTC))
