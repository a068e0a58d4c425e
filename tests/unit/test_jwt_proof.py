"""The scheme `jwt`: tokens in the header Authorization, as monday sends them with the webhooks of an app."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey

from integration.config.source_models import JsonSource, presets, with_preset
from integration.domain.delivery import Delivery
from integration.domain.errors import NotVerifiedError
from integration.webhooks.diagnosis.findings import Finding, Guess, VerificationCase
from integration.webhooks.diagnosis.schemes import diagnose
from integration.webhooks.providers import SOURCES

JSON = SOURCES["json"]
# Made once from these claims: accountId 1, userId 2, aud https://example.com/in/monday, iat 1777662311 and
# exp 300 s later.
SECRET = "monday_signing_secret"
AUDIENCE = "https://example.com/in/monday"
TOKEN = (
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJhY2NvdW50SWQiOjEsInVzZXJJZCI6MiwiYXVkIjoiaHR0cHM6Ly9leGFtcGxlLmNvb"
    "S9pbi9tb25kYXkiLCJleHAiOjE3Nzc2NjI2MTEsImlhdCI6MTc3NzY2MjMxMX0.5U3R8FLjmrheLOiFnOgsS01Ml856ue3uE1-KGxcpyCo"
)
NOW = datetime.fromtimestamp(1777662311, UTC)
BODY = b'{"event": {"type": "create_pulse", "triggerUuid": "t-1"}}'


def source(**changes) -> JsonSource:
    base = {"name": "s", "kind": "json", "verify": "jwt", "secrets": (SECRET,)}
    return JsonSource.model_validate(base | changes)


def delivery(value: str | None = TOKEN) -> Delivery:
    headers = {"content-type": "application/json"} | ({} if value is None else {"authorization": value})
    return Delivery(
        id="d-1",
        source="s",
        method="POST",
        url=AUDIENCE,
        headers=headers,
        body=BODY,
        received_at=NOW,
        url_key=None,
    )


def token(claims: dict, *, algorithm: str = "HS256", secret: str = SECRET) -> str:
    key = OctKey.import_key(secret)
    return jwt.encode({"alg": algorithm}, claims, key, algorithms=[algorithm])


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def test_a_token_of_monday_is_verified():
    assert JSON.verify(delivery(), source(), NOW) == "jwt"
    assert JSON.verify(delivery(f"Bearer {TOKEN}"), source(), NOW) == "jwt"
    assert JSON.verify(delivery(), source(public_url=AUDIENCE), NOW) == "jwt"
    assert JSON.verify(delivery(), source(secrets=("the-new-signing-secret", SECRET)), NOW)


@pytest.mark.parametrize("minutes", [6.1, 60])
def test_a_token_expires(minutes):
    later = NOW + timedelta(minutes=minutes)
    with pytest.raises(NotVerifiedError, match="expired"):
        JSON.verify(delivery(), source(), later)


@pytest.mark.parametrize(
    "value",
    [
        None,
        "x",
        "a.b.c",
        "é.é.é",
        "." * 9000,
        TOKEN[:-2],
        f"Basic {TOKEN}",
        token({"exp": 1777662611}, secret="another-signing-secret"),
        token({"exp": 1777662611}, algorithm="HS512"),
        token({"iat": 1777662311}),
        token({"exp": "soon"}),
        part({"alg": "none"}) + "." + part({"exp": 1777662611}) + ".",
        part({"alg": "none"}) + "." + TOKEN.split(".")[1] + "." + TOKEN.split(".")[2],
        part({"alg": "HS256"}) + "." + TOKEN.split(".")[1] + "." + TOKEN.split(".")[2],
        part([1]) + "." + part([2]) + "." + TOKEN.split(".")[2],
    ],
    ids=lambda value: str(value)[:30],
)
def test_another_token_is_rejected(value):
    with pytest.raises(NotVerifiedError) as caught:
        JSON.verify(delivery(value), source(), NOW)
    assert SECRET not in caught.value.why
    assert value is None or len(value) < 9 or value not in caught.value.why


@pytest.mark.parametrize("address", ["https://example.com/in/other", "https://evil.example/in/monday"])
def test_a_token_for_another_address_is_rejected(address):
    with pytest.raises(NotVerifiedError, match="not valid"):
        JSON.verify(delivery(), source(public_url=address), NOW)


def test_a_token_that_is_made_here_is_verified():
    for settings in (source(), source(public_url=AUDIENCE)):
        headers = JSON.sign(BODY, settings, url=AUDIENCE, method="POST", message_id="m", now=NOW)
        assert JSON.verify(delivery(headers["Authorization"]), settings, NOW)


def test_the_preset_of_monday_checks_the_token_if_the_source_has_secrets():
    board = with_preset({"url_key": "k" * 16}, presets()["monday"])
    app = with_preset({"secrets": SECRET}, presets()["monday"])
    assert (board["verify"], app["verify"]) == ("url-key", "jwt")
    assert {key: board[key] for key in board if key not in {"verify", "url_key"}}.items() <= app.items()
    chosen = with_preset({"secrets": SECRET, "verify": "bearer"}, presets()["monday"])
    assert chosen["verify"] == "bearer"


@pytest.mark.parametrize(
    ("value", "cause", "proved"),
    [
        (None, "missing header", False),
        (TOKEN, "retired secret", True),
        (token({"exp": 1}, secret="yet-another-signing-secret"), "unknown", False),
    ],
)
def test_a_rejected_token_is_diagnosed(value, cause, proved):
    settings = source(secrets=("another-signing-secret",))
    guesses = (Guess("another-signing-secret"), Guess(SECRET, Finding("retired secret")))
    case = VerificationCase(
        delivery=delivery(value),
        settings=settings,
        error=NotVerifiedError("jwt", "x"),
        now=NOW,
        secrets=guesses,
        keys=(),
    )
    found = diagnose(case)
    assert (found.findings[0].cause, found.proved) == (cause, proved)
