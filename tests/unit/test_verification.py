"""Signature vectors, the senders' own libraries, and the comparison of secrets."""

from __future__ import annotations

import ast
import base64
import hashlib
import hmac
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest
import standardwebhooks
from hubspot.utils.signature import Signature
from hypothesis import assume, example, given
from hypothesis import strategies as st
from pydantic import SecretStr

from integration.config.source_models.checks import NEEDS_SECRETS
from integration.domain.delivery import Delivery
from integration.domain.errors import NotVerifiedError
from integration.webhooks.providers import SOURCES
from integration.webhooks.providers.hubspot import signed_uri
from integration.webhooks.providers.schemes import standard_key
from integration.webhooks.verification import hmac_sha256, matches_any, require_fresh, required_header
from support.source_cases import NOW, STANDARD_SECRET, forms, hubspot

ROOT = Path(__file__).parent.parent.parent
VECTORS = {
    v["id"]: v
    for v in orjson.loads((Path(__file__).parent.parent / "samples/signature_vectors.json").read_bytes())
}
SECOND = timedelta(seconds=1)

# Zendesk writes the timestamp in ISO 8601, which the sender of `ringback send` does not.
SIGNED_ELSEWHERE = {"zendesk-1"}
DIGESTS = {
    "zendesk": {
        "header": "X-Zendesk-Webhook-Signature",
        "timestamp": "X-Zendesk-Webhook-Signature-Timestamp",
        "encoding": "base64",
        "signed": "{timestamp}{body}",
    },
    "calendly": {"timestamp": "t", "prefix": "v1=", "signed": "{timestamp}.{body}"},
    "intercom": {"algorithm": "sha1", "prefix": "sha1="},
    "typeform": {"encoding": "base64", "prefix": "sha256="},
}


def delivery(
    body: bytes, headers: dict[str, str], url="https://hooks.example.com/hooks/x", method="POST"
) -> Delivery:
    lower = {name.lower(): value for name, value in headers.items()}
    return Delivery(id="d", source="x", method=method, url=url, headers=lower, body=body, received_at=NOW)


def refused(kind: str, given_delivery: Delivery, settings, now=NOW) -> NotVerifiedError:
    with pytest.raises(NotVerifiedError) as caught:
        SOURCES[kind].verify(given_delivery, settings, now)
    return caught.value


# --- vectors ---------------------------------------------------------------------------------------


def hubspot_vector(vector):
    version = vector["id"].split("-")[1]
    url = vector.get("uri_received", vector.get("uri", "https://example.com/"))
    settings = hubspot(secrets=(vector["secret"],), signatures=(version,))
    now = NOW
    if version == "v3":
        now = datetime.fromtimestamp(int(vector["timestamp"]) // 1000, UTC)
        headers = {
            "X-HubSpot-Signature-v3": vector["expected"],
            "X-HubSpot-Request-Timestamp": vector["timestamp"],
        }
    else:
        headers = {"X-HubSpot-Signature": vector["expected"], "X-HubSpot-Signature-Version": version}
    made = delivery(vector["body"].encode(), headers, url, vector.get("method", "POST"))
    return "hubspot", made, settings, now


def standard_vector(vector):
    headers = {
        "webhook-id": vector["msg_id"],
        "webhook-timestamp": vector["timestamp"],
        "webhook-signature": vector["expected"],
    }
    now = datetime.fromtimestamp(int(vector["timestamp"]), UTC)
    return (
        "json",
        delivery(vector["body"].encode(), headers),
        forms("standard-webhooks", secrets=(vector["secret"],)),
        now,
    )


def digest_vector(vector):
    keys = DIGESTS.get(vector["id"].split("-")[0], {"prefix": "sha256="})
    settings = forms("hmac", **{"secrets": (vector["secret"],), "header": vector.get("header"), **keys})
    headers, now = {settings.header: vector["expected"]}, NOW
    if vector["id"].startswith("zendesk"):
        headers[settings.timestamp] = vector["timestamp"]
        now = datetime.fromisoformat(vector["timestamp"])
    elif vector["id"].startswith("calendly"):
        now = datetime.fromtimestamp(int(vector["expected"].split(",")[0][2:]), UTC)
    return "json", delivery(vector["body"].encode(), headers), settings, now


def prepared(vector_id):
    make = {"hs": hubspot_vector, "std": standard_vector}.get(vector_id.split("-")[0], digest_vector)
    return make(VECTORS[vector_id])


vectors = pytest.mark.parametrize("vector_id", sorted(VECTORS))


@vectors
def test_a_vector_is_verified(vector_id):
    kind, made, settings, now = prepared(vector_id)
    SOURCES[kind].verify(made, settings, now)


@vectors
def test_a_vector_with_another_body_or_secret_is_refused(vector_id):
    kind, made, settings, now = prepared(vector_id)
    refused(kind, replace(made, body=made.body + b" "), settings, now)
    other = settings.model_validate(settings.model_dump() | {"secrets": ("whsec_YW5vdGhlcg==",)})
    refused(kind, made, other, now)


@pytest.mark.parametrize("vector_id", sorted(set(VECTORS) - SIGNED_ELSEWHERE))
def test_signing_reproduces_each_vector(vector_id):
    kind, made, settings, now = prepared(vector_id)
    message_id = VECTORS[vector_id].get("msg_id", "")
    signed = SOURCES[kind].sign(
        made.body, settings, url=made.url, method=made.method, message_id=message_id, now=now
    )
    assert VECTORS[vector_id]["expected"] in signed.values()


# --- the senders' own libraries --------------------------------------------------------------------

TEXTS = st.text(max_size=60)


@given(body=TEXTS, secret=st.text(min_size=1, max_size=40), path=st.text(alphabet="abc/?&=", max_size=20))
def test_what_hubspots_library_signs_is_verified(body, secret, path):
    assume(secret.strip())
    url = f"https://hooks.example.com/{path}"
    at = str(int(NOW.timestamp() * 1000))
    for version in ("v1", "v2", "v3"):
        signature = Signature.get_signature(secret, body, version, url, "POST", at)
        headers = (
            {"X-HubSpot-Signature-v3": signature, "X-HubSpot-Request-Timestamp": at}
            if version == "v3"
            else {"X-HubSpot-Signature": signature, "X-HubSpot-Signature-Version": version}
        )
        settings = hubspot(secrets=(secret,), signatures=(version,))
        SOURCES["hubspot"].verify(delivery(body.encode(), headers, url), settings, NOW)
        refused("hubspot", delivery(body.encode() + b"x", headers, url), settings)


@given(body=TEXTS)
def test_hubspots_library_verifies_what_we_sign(body):
    now = datetime.now(UTC)
    for version in ("v1", "v2", "v3"):
        signed = SOURCES["hubspot"].sign(
            body.encode(),
            hubspot(signatures=(version,)),
            url="https://h.example.com/x",
            method="POST",
            message_id="",
            now=now,
        )
        assert Signature.is_valid(
            signed.get("X-HubSpot-Signature-v3", signed.get("X-HubSpot-Signature")),
            hubspot().secrets[0].get_secret_value(),
            body,
            "https://h.example.com/x",
            "POST",
            version,
            signed.get("X-HubSpot-Request-Timestamp"),
        )


@given(
    body=TEXTS,
    message_id=st.text(alphabet="abcXYZ019_-", min_size=1, max_size=20),
    key=st.binary(min_size=1, max_size=64),
)
def test_standard_webhooks_and_its_library_agree_in_both_directions(body, message_id, key):
    secret = "whsec_" + base64.b64encode(key).decode()
    library = standardwebhooks.Webhook(secret)
    settings = forms("standard-webhooks", secrets=(secret,))
    now = datetime.now(UTC)
    theirs = {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": library.sign(message_id, now, body),
    }
    SOURCES["json"].verify(delivery(body.encode(), theirs), settings, now)
    ours = SOURCES["json"].sign(
        body.encode(), settings, url="", method="POST", message_id=message_id, now=now
    )
    assert ours["webhook-signature"] == theirs["webhook-signature"]
    library.verify(body, ours, json_parse=False)


@pytest.mark.parametrize(
    "secret", [STANDARD_SECRET, STANDARD_SECRET.removeprefix("whsec_"), "whsec_YWI", "YWJj"]
)
def test_a_standard_secret_is_the_key_that_the_library_makes_of_it(secret):
    assert standard_key(SecretStr(secret)) == standardwebhooks.Webhook(secret)._whsecret


# --- standard webhooks -----------------------------------------------------------------------------


def standard(signature: str, **changes: str) -> Delivery:
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(NOW.timestamp())),
        "webhook-signature": signature,
    }
    return delivery(b"{}", headers | changes)


def standard_signature(secret=STANDARD_SECRET) -> str:
    settings = forms("standard-webhooks", secrets=(secret,))
    return SOURCES["json"].sign(b"{}", settings, url="", method="POST", message_id="msg_1", now=NOW)[
        "webhook-signature"
    ]


def test_one_valid_signature_among_invalid_ones_is_accepted():
    good = standard_signature()
    other = standard_signature("whsec_YW5vdGhlcg==")
    for header in (
        f"v1a,AAAA {good}",
        f"{good} garbage",
        f"v1, v1 , {good}",
        f"v1,A v1,=== {good}  ",
        f"{other} {good}",
    ):
        SOURCES["json"].verify(standard(header), forms("standard-webhooks"), NOW)


@pytest.mark.parametrize(
    "header",
    ["garbage", "v1", "v1,", "v2,{digest}", "v1a,{digest}", "{digest}", "V1,{digest}", "v1={digest}"],
)
def test_a_standard_signature_without_a_v1_part_is_refused(header):
    digest = standard_signature().removeprefix("v1,")
    assert (
        refused("json", standard(header.format(digest=digest)), forms("standard-webhooks")).check
        == "standard-webhooks"
    )


@pytest.mark.parametrize("changes", [{"webhook-id": "msg_2"}, {"webhook-timestamp": "1772374531"}])
def test_a_standard_signature_covers_id_and_time(changes):
    refused("json", standard(standard_signature(), **changes), forms("standard-webhooks"))


def test_a_text_that_is_no_base64_is_itself_the_key_but_never_after_the_prefix():
    assert standard_key(SecretStr("no base64!")) == b"no base64!"
    assert standard_key(SecretStr("whsec_no base64!")) == b""


@pytest.mark.parametrize("secret", ["whsec_", "whsec_?", "="])
def test_a_standard_secret_with_an_empty_key_matches_nothing(secret):
    empty = base64.b64encode(
        hmac.digest(b"", f"msg_1.{int(NOW.timestamp())}.{{}}".encode(), "sha256")
    ).decode()
    refused("json", standard(f"v1,{empty}"), forms("standard-webhooks", secrets=(secret,)))


# --- digests and credentials -----------------------------------------------------------------------


def test_hex_digits_may_be_in_either_case_and_base64_may_not():
    digest = hmac_sha256(b"k", b"body")
    as_hex = forms("hmac-sha256", secrets=("k",), header="X-Signature")
    SOURCES["json"].verify(delivery(b"body", {"X-Signature": digest.hex().upper()}), as_hex, NOW)
    as_base64 = forms("hmac-sha256", secrets=("k",), header="X-Signature", encoding="base64")
    text = base64.b64encode(digest).decode()
    SOURCES["json"].verify(delivery(b"body", {"X-Signature": text}), as_base64, NOW)
    refused("json", delivery(b"body", {"X-Signature": text.swapcase()}), as_base64)


def test_a_digest_must_come_with_the_prefix_and_in_the_encoding_configured():
    digest = hmac_sha256(b"k", b"body").hex()
    settings = forms("hmac-sha256", secrets=("k",), header="X-Signature", prefix="sha256=")
    SOURCES["json"].verify(delivery(b"body", {"X-Signature": f"sha256={digest}"}), settings, NOW)
    for value in (digest, f"sha1={digest}", f"SHA256={digest}", "sha256=", f"sha256=sha256={digest}"):
        refused("json", delivery(b"body", {"X-Signature": value}), settings)


def test_a_digest_made_with_sha1_is_refused():
    vector = VECTORS["intercom-1"]
    settings = forms("hmac-sha256", secrets=(vector["secret"],), header=vector["header"], prefix="sha1=")
    refused("json", delivery(vector["body"].encode(), {vector["header"]: vector["expected"]}), settings)


def basic(text: bytes) -> str:
    return base64.b64encode(text).decode()


@pytest.mark.parametrize(
    ("verify", "secret", "value", "passes"),
    [
        ("bearer", "s", "Bearer s", True),
        ("bearer", "s", "bEaReR  s", True),
        ("bearer", "s", "s", False),
        ("bearer", "s", "Basic s", False),
        ("bearer", "s", "Bearer", False),
        ("bearer", "s", "Bearer s,Bearer s", False),
        ("basic", "u:p:q", f"Basic {basic(b'u:p:q')}", True),
        ("basic", "u:ñ", f"basic {basic('u:ñ'.encode())}", True),
        ("basic", "u:p", f"Basic {basic(b'u:q')}", False),
        ("basic", "u:p", f"Bearer {basic(b'u:p')}", False),
        ("basic", "u:p", "Basic u:p", False),
        ("basic", "u:p", f"Basic {basic(b'u:p')}é", False),
    ],
)
def test_credentials_are_read_as_http_writes_them(verify, secret, value, passes):
    settings = forms(verify, secrets=(secret,))
    made = delivery(b"{}", {"Authorization": value})
    if passes:
        SOURCES["json"].verify(made, settings, NOW)
    else:
        refused("json", made, settings)


@pytest.mark.parametrize("verify", sorted(NEEDS_SECRETS))
def test_a_source_without_secrets_accepts_nothing(verify):
    settings = forms(verify, secrets=(), header="X-Api-Key")
    empty = hmac.digest(b"", b"{}", "sha256").hex()
    for value in ("", "Bearer ", "Basic ", empty):
        made = delivery(b"{}", {"X-Api-Key": value, "Authorization": value})
        assert "no `secrets`" in refused("json", made, settings).why


@pytest.mark.parametrize("verify", ["hmac", "hmac-sha256", "ed25519", "header"])
def test_a_source_without_its_header_configured_accepts_nothing(verify):
    assert "header" in refused("json", delivery(b"{}", {"": "x"}), forms(verify)).why


def test_a_url_key_source_without_a_key_accepts_nothing():
    refused("json", delivery(b"{}", {}), forms("url-key", secrets=()))


# --- the parts -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("received", "signed"),
    [
        ("%3A%2F%3F%40%21%24%27%28%29%2A%2C%3B", ":/?@!$'()*,;"),
        ("%3a%2f", ":/"),
        ("%20%22%23%25%26%2B%3D%3C%3E%5B%5D%60", "%20%22%23%25%26%2B%3D%3C%3E%5B%5D%60"),
        ("%253A", "%253A"),
        ("%%3A3A", "%:3A"),
        ("%3", "%3"),
        ("ñ", "ñ"),
    ],
)
def test_hubspot_decodes_twelve_escapes_once_and_no_others(received, signed):
    assert signed_uri(received) == signed


def test_an_address_signed_without_decoding_is_verified_too():
    url = "https://h.example.com/x?a=%3A"
    at = str(int(NOW.timestamp() * 1000))
    signature = base64.b64encode(hmac_sha256(b"s", f"POST{url}{{}}{at}".encode())).decode()
    headers = {"X-HubSpot-Signature-v3": signature, "X-HubSpot-Request-Timestamp": at}
    SOURCES["hubspot"].verify(delivery(b"{}", headers, url), hubspot(secrets=("s",)), NOW)


@given(given_bytes=st.binary(max_size=8), allowed=st.lists(st.binary(max_size=8), max_size=5))
def test_matching_is_membership(given_bytes, allowed):
    assert matches_any(given_bytes, allowed) == (given_bytes in allowed)


class Letters(bytes):
    """Bytes that fail a comparison with ==, whose duration depends on the content."""

    def __eq__(self, other):
        raise AssertionError("compared with ==, not in constant time")

    __hash__ = bytes.__hash__


def test_matching_compares_in_constant_time():
    allowed = [Letters(b"the right one"), Letters(b"another one")]
    assert matches_any(Letters(b"the right one"), allowed)
    assert not matches_any(Letters(b"the right onf"), allowed)


# Whatever a sender proves itself by. Elsewhere secrets are compared with secrets of the same configuration.
PROVING = (
    "webhooks/verification.py",
    "api/keys.py",
    "webhooks/providers/hubspot.py",
    "webhooks/providers/salesforce.py",
    "webhooks/providers/schemes.py",
    "webhooks/providers/signatures.py",
    "webhooks/handshakes.py",
)
SECRET = re.compile(r"\b(?:given|expected|secret|secrets|digest|signature)\b")


@pytest.mark.parametrize("module", PROVING)
def test_secrets_are_compared_only_by_matches_any(module):
    code = (ROOT / "integration" / module).read_text("utf-8")
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Compare) and any(
            isinstance(op, ast.Eq | ast.NotEq | ast.In) for op in node.ops
        ):
            sides = [ast.unparse(side) for side in (node.left, *node.comparators)]
            named = [side for side in sides if SECRET.search(side)]
            assert not named, ast.unparse(node)


def test_matching_compares_with_every_allowed_value():
    looked_at = []

    def allowed():
        for one in (b"a", b"b", b"c"):
            looked_at.append(one)
            yield one

    assert matches_any(b"a", allowed())
    assert looked_at == [b"a", b"b", b"c"]


@given(off=st.integers(-400_000, 400_000))
def test_freshness_is_five_minutes_either_way(off):
    at = NOW.replace(microsecond=0)
    timestamp = str(int(at.timestamp() * 1000) + off)
    if abs(off) <= 300_000:
        require_fresh(timestamp, timedelta(milliseconds=1), at)
    else:
        with pytest.raises(NotVerifiedError):
            require_fresh(timestamp, timedelta(milliseconds=1), at)


@given(timestamp=st.text(max_size=20) | st.integers().map(str))
@example(timestamp="²")
def test_a_timestamp_of_any_text_is_refused_or_passes(timestamp):
    try:
        require_fresh(timestamp, SECOND, NOW)
    except NotVerifiedError as error:
        # Nothing that was sent is quoted, so that the reason may be logged.
        assert error.check == "timestamp"  # noqa: PT017  (either way is right; only this error may come)


@given(value=st.text(max_size=20))
def test_a_header_is_ascii_or_refused(value):
    made = delivery(b"", {"X-Proof": value})
    if value.strip() and value.strip().isascii():
        assert required_header(made, "X-Proof", "proof") == value.strip()
    else:
        with pytest.raises(NotVerifiedError, match="X-Proof"):
            required_header(made, "X-Proof", "proof")


@given(
    secret=st.text(alphabet="abcdefghij0123456789", min_size=12, max_size=40),
    version=st.sampled_from(["v1", "v2", "v3"]),
)
def test_no_reason_contains_a_secret_or_a_valid_signature(secret, version):
    settings = hubspot(secrets=(secret,), signatures=(version,))
    right = SOURCES["hubspot"].sign(
        b"[]", settings, url="https://h.example.com/", method="POST", message_id="", now=NOW
    )
    wrong = {
        name: "A" * 64 if "Signature" in name and "Version" not in name else value
        for name, value in right.items()
    }
    reason = str(refused("hubspot", delivery(b"[]", wrong, "https://h.example.com/"), settings))
    assert secret not in reason
    assert not any(value in reason for name, value in right.items() if len(value) > 20)
    assert hashlib.sha256(secret.encode()).hexdigest() not in reason
