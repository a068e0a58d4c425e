"""Checks of a `json` source that its types cannot express: dependent keys, and formats of secrets."""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Final

from integration.config.source_models.signed_content import placeholders
from integration.domain.field_types import (
    HEADER_TEXT_WORDS,
    PUBLIC_URL_WORDS,
    URL_KEY_WORDS,
    ValidationIssue,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.config.source_models.models import JsonSource

_SIGNING: Final = ("signed", "timestamp", "message_id", "tolerance_seconds")
# The keys for the verification, by `verify`. A preset's keys for another `verify` are dropped.
PROOF_KEYS: Final = {
    "standard-webhooks": frozenset({"secrets"}),
    "hmac": frozenset({"secrets", "header", "encoding", "prefix", "algorithm", *_SIGNING}),
    "hmac-sha256": frozenset({"secrets", "header", "encoding", "prefix"}),
    "ed25519": frozenset({"public_keys", "header", "encoding", "prefix", *_SIGNING}),
    "jwt": frozenset({"secrets"}),
    "bearer": frozenset({"secrets"}),
    "basic": frozenset({"secrets"}),
    "header": frozenset({"secrets", "header"}),
    "body-token": frozenset({"secrets", "token"}),
    "query-key": frozenset({"secrets", "param"}),
    "url-key": frozenset[str](),
}
ALL_PROOF_KEYS: Final = frozenset[str]().union(*PROOF_KEYS.values())
NEEDS_SECRETS: Final = frozenset(verify for verify, keys in PROOF_KEYS.items() if "secrets" in keys)

_UNRESERVED_WORDS: Final = (
    "at least 16 characters of A-Z a-z 0-9 . _ ~ -, which are the same in a form and in JSON"
)
# The format of a secret by `verify`: a pattern for the whole secret, and its description.
_SECRET_SHAPES: Final = {
    "bearer": (r"[!-~]+", HEADER_TEXT_WORDS),
    "header": (
        r"[!-~]([ -~]*[!-~])?",
        "a text of visible ASCII characters, because it is sent in a header",
    ),
    "basic": (r"[^:]+:.*", '"USER:PASSWORD"'),
    # RFC 7518, 3.2: a key of HS256 is as long as its hash. monday's signing secrets have 32 characters.
    "jwt": (r".{16,}", "a text of at least 16 characters"),
    "body-token": (r"[A-Za-z0-9._~-]{16,}", _UNRESERVED_WORDS),
    "query-key": (r"[A-Za-z0-9._~-]{16,}", URL_KEY_WORDS),
}
_WEBHOOK_KEY_WORDS: Final = (
    '"whsec_" followed by base64. Keys of asymmetric signatures, "whsk_" and "whpk_", are not supported'
)

# The keys that a `verify` may require, with a description of their values.
_NEEDED: Final = {
    "secrets": "a secret or a list of them",
    "header": 'the name of a header such as "X-Signature"',
    "public_keys": "the sender's public key or a list of them",
    "token": 'a template for the token, such as "{{ body.auth.application_token }}"',
    "param": 'the name of a query parameter such as "code"',
}


def json_source_issues(source: JsonSource) -> Iterator[ValidationIssue]:
    """Yield the faults of a `json` source whose single keys are valid. No fault quotes a secret."""
    needs = f'because verify = "{source.verify}" needs one'
    for key, words in _NEEDED.items():
        if key in PROOF_KEYS[source.verify] and not getattr(source, key):
            yield ValidationIssue((key,), f"{words}, {needs}")
    if source.verify == "url-key" and source.url_key is None:
        yield ValidationIssue(("url_key",), f"{URL_KEY_WORDS}, {needs}")
    for index, secret in enumerate(source.secrets):
        allowed = _secret_shape(source.verify, secret.get_secret_value())
        if allowed:
            yield ValidationIssue(("secrets", index), allowed)
    if "signed" in PROOF_KEYS[source.verify]:
        yield from _signing_issues(source)
    if source.handshake == "hub-challenge" and source.verify_token is None:
        words = 'the text that the sender repeats, because handshake = "hub-challenge" needs one'
        yield ValidationIssue(("verify_token",), words)


def _signing_issues(source: JsonSource) -> Iterator[ValidationIssue]:
    names = placeholders(source.signed)
    for key, placeholder, words in (
        ("timestamp", "timestamp", '"t" or the name of a header'),
        ("message_id", "id", "the name of a header"),
    ):
        value = getattr(source, key)
        if placeholder in names and value is None:
            yield ValidationIssue((key,), f'{words}, because signed = "{source.signed}" needs one')
        if value is not None and placeholder not in names:
            # An unsigned value could be changed by everyone who has captured a delivery.
            yield ValidationIssue(("signed",), f"a text with {{{placeholder}}}, because {key} is set")
    if "url" in names and source.public_url is None:
        yield ValidationIssue(("public_url",), f"{PUBLIC_URL_WORDS}, because the signature covers it")


def _secret_shape(verify: str, secret: str) -> str | None:
    """Return a description of the format that `verify` requires, or None if the secret has it."""
    if verify == "standard-webhooks":
        return None if _is_webhook_secret(secret) else _WEBHOOK_KEY_WORDS
    pattern, words = _SECRET_SHAPES.get(verify, (".*", ""))
    return None if re.fullmatch(pattern, secret, re.DOTALL) else words


def _is_webhook_secret(secret: str) -> bool:
    # https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
    if secret.startswith(("whsk_", "whpk_")):
        return False
    if not secret.startswith("whsec_"):
        return True
    try:
        return bool(base64.b64decode(secret.removeprefix("whsec_"), validate=True))
    except (binascii.Error, ValueError):
        return False
