"""The verification schemes `hmac` and `ed25519`: a signature in one header over a configured text. Pure.

The settings of the source describe the sender: `header`, `encoding`, `prefix`, `signed`, `timestamp`,
`message_id`. Many senders differ only in these: GitHub and Meta (`X-Hub-Signature-256: sha256=…`),
Calendly and Stripe (`t=…,v1=…`), Slack (`v0:{timestamp}:{body}`), Zendesk (base64 of
`{timestamp}{body}`).
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidSignature

from integration.config.source_models.public_keys import read_public_key
from integration.config.source_models.signed_content import (
    AmbiguousContentError,
    placeholders,
    signed_content,
)
from integration.domain.errors import CannotSignError, NotVerifiedError
from integration.webhooks.verification import (
    moment_of,
    place_of,
    proof_text,
    require_near,
    required_header,
    secret_bytes,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from integration.config.source_models import JsonSource
    from integration.domain.delivery import Delivery

# The values of `timestamp` that name a part of the signature header, as in `t=…,v1=…`.
IN_THE_HEADER: Final = frozenset({"t", "ts"})
_MOST_SIGNATURES: Final = 10


@dataclass(frozen=True, slots=True)
class SignedMessage:
    """A message to sign: the body, the message id, the URL, and the time of signing (aware).

    `private_key` is the key of a sender that signs with Ed25519.
    """

    body: bytes
    id: str
    url: str
    now: datetime
    private_key: Ed25519PrivateKey | None = None


@dataclass(frozen=True, slots=True)
class SentSignature:
    """The signatures of a delivery without their prefix, and the timestamp, "" if none is configured."""

    texts: tuple[str, ...]
    timestamp: str


def header_of(settings: JsonSource, check: str) -> str:
    """Return the source's `header`. Raise NotVerifiedError if it is not configured."""
    if not settings.header:
        raise NotVerifiedError(check, "the source has no `header` configured")
    return settings.header


def sent_signature(delivery: Delivery, settings: JsonSource) -> SentSignature:
    """Return the signatures and the timestamp of a delivery.

    Raise NotVerifiedError if a header is missing or does not have the configured form.
    """
    check = settings.verify
    value = required_header(delivery, header_of(settings, check), check)
    if settings.timestamp in IN_THE_HEADER:
        return _listed(value, f"{settings.timestamp}=", settings)
    timestamp = "" if settings.timestamp is None else required_header(delivery, settings.timestamp, check)
    if not value.startswith(settings.prefix):
        why = f"the header {settings.header} does not begin with the configured `prefix` {settings.prefix!r}"
        raise NotVerifiedError(check, why)
    return SentSignature((value.removeprefix(settings.prefix),), timestamp)


def _listed(value: str, stamp: str, settings: JsonSource) -> SentSignature:
    """Return the parts of a header of the form `t=…,v1=…` or `ts=…;h1=…`.

    During a rotation the header may have several signatures. Raise NotVerifiedError unless it has one
    timestamp and 1 to _MOST_SIGNATURES signatures.
    """
    parts = [part.strip() for part in re.split("[,;]", value)]
    stamps = [part.removeprefix(stamp) for part in parts if part.startswith(stamp)]
    texts = [part.removeprefix(settings.prefix) for part in parts if part.startswith(settings.prefix)]
    if len(stamps) != 1:
        why = f"the header has {len(stamps)} parts that begin with {stamp}; exactly one is required"
        raise NotVerifiedError(settings.verify, why)
    if not texts or len(texts) > _MOST_SIGNATURES:
        why = (
            f"the header has {len(texts)} parts that begin with {settings.prefix}; 1 to {_MOST_SIGNATURES} "
            "are allowed"
        )
        raise NotVerifiedError(settings.verify, why)
    return SentSignature(tuple(texts), stamps[0])


def content_of(delivery: Delivery, settings: JsonSource, timestamp: str) -> bytes:
    """Return the bytes that the sender signed.

    Raise NotVerifiedError if the header with the message id is missing or the bytes are ambiguous.
    """
    message_id = (
        "" if settings.message_id is None else required_header(delivery, settings.message_id, settings.verify)
    )
    values = {
        "body": delivery.body,
        "id": message_id.encode(),
        "timestamp": timestamp.encode(),
        "url": delivery.url.encode(errors="replace"),
    }
    try:
        return signed_content(settings.signed, values)
    except AmbiguousContentError as error:
        raise NotVerifiedError(settings.verify, str(error)) from error


def signed_id_header(delivery: Delivery, settings: JsonSource) -> str | None:  # noqa: ARG001  (one shape for all)
    """Return the header with the sender's message id if the signature covers it, else None."""
    return settings.message_id if "id" in placeholders(settings.signed) else None


def _content(delivery: Delivery, settings: JsonSource, now: datetime) -> tuple[SentSignature, bytes]:
    sent = sent_signature(delivery, settings)
    if settings.timestamp is not None:
        require_near(moment_of(sent.timestamp), now, timedelta(seconds=settings.tolerance_seconds))
    return sent, content_of(delivery, settings, sent.timestamp)


# --- HMAC --------------------------------------------------------------------------------------


def hmac_text(settings: JsonSource, key: bytes, content: bytes) -> str:
    """Return the HMAC of `content`, in the source's encoding."""
    digest = hmac.digest(key, content, settings.algorithm)
    return digest.hex() if settings.encoding == "hex" else base64.b64encode(digest).decode()


def verify_hmac(delivery: Delivery, settings: JsonSource, now: datetime) -> str:
    """Return the proof of a delivery that is signed with one of the secrets. Raise NotVerifiedError."""
    sent, content = _content(delivery, settings, now)
    expected = [hmac_text(settings, secret_bytes(secret), content).encode() for secret in settings.secrets]
    # Some senders write hex digits in upper case. Base64 is case-sensitive.
    texts = [text.lower() if settings.encoding == "hex" else text for text in sent.texts]
    places = [place_of(text.encode(), expected) for text in texts]
    place = next((place for place in places if place is not None), None)
    if place is None:
        raise NotVerifiedError(
            settings.verify,
            f"the {settings.encoding} signature does not match any of the configured `secrets`",
        )
    return proof_text(settings.verify, place, len(expected))


def sign_hmac(message: SignedMessage, settings: JsonSource) -> dict[str, str]:
    """Return the headers that the sender would send, signed with the first secret."""
    key = secret_bytes(settings.secrets[0])
    return _signed_headers(message, settings, lambda content: hmac_text(settings, key, content))


def _signed_headers(
    message: SignedMessage, settings: JsonSource, signature_of: Callable[[bytes], str]
) -> dict[str, str]:
    timestamp = str(int(message.now.timestamp()))
    values = {
        "body": message.body,
        "id": message.id.encode(),
        "timestamp": timestamp.encode(),
        "url": message.url.encode(),
    }
    signature = settings.prefix + signature_of(signed_content(settings.signed, values))
    header = header_of(settings, settings.verify)
    named = {} if settings.message_id is None else {settings.message_id: message.id}
    if settings.timestamp in IN_THE_HEADER:
        return {header: f"{settings.timestamp}={timestamp},{signature}", **named}
    timed = {} if settings.timestamp is None else {settings.timestamp: timestamp}
    return {header: signature, **timed, **named}


# --- Ed25519 -----------------------------------------------------------------------------------


def verify_ed25519(delivery: Delivery, settings: JsonSource, now: datetime) -> str:
    """Return the proof of a delivery whose signature matches one of the public keys.

    Raise NotVerifiedError.
    """
    sent, content = _content(delivery, settings, now)
    for place, key in enumerate(settings.public_keys):
        if any(is_ed25519(key, text, settings.encoding, content) for text in sent.texts):
            return proof_text("ed25519", place, len(settings.public_keys))
    raise NotVerifiedError("ed25519", "the signature does not match any of the configured `public_keys`")


def is_ed25519(key: str, text: str, encoding: str, content: bytes) -> bool:
    """Return True if `text` is a valid signature of `content` for the public key `key`."""
    try:
        signature = bytes.fromhex(text) if encoding == "hex" else base64.b64decode(text, validate=True)
        read_public_key(key).verify(signature, content)
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


def sign_ed25519(message: SignedMessage, settings: JsonSource) -> dict[str, str]:
    """Return the headers that the sender would send.

    Raise CannotSignError if the message has no private key.
    """
    key = message.private_key
    if key is None:
        raise CannotSignError(
            'The source has verify = "ed25519", and only the sender has its private key. To send a sample, '
            "make a key of your own, add its public key to public_keys, and use --private-key FILE."
        )

    def signature_of(content: bytes) -> str:
        signature = key.sign(content)
        return signature.hex() if settings.encoding == "hex" else base64.b64encode(signature).decode()

    return _signed_headers(message, settings, signature_of)
