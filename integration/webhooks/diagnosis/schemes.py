"""Diagnose deliveries to `json` sources, by the scheme in `verify`. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import replace
from datetime import timedelta
from itertools import product
from typing import TYPE_CHECKING

from pydantic import SecretStr

from integration.config.source_models import JsonSource
from integration.config.source_models.checks import NEEDS_SECRETS
from integration.domain.delivery import header_name
from integration.domain.errors import NotVerifiedError, UnreadableError
from integration.domain.rejection import safe_header_name
from integration.webhooks.diagnosis.bodies import bodies
from integration.webhooks.diagnosis.findings import Diagnosis, Finding, Guess, concluded
from integration.webhooks.diagnosis.keys import known_credential
from integration.webhooks.diagnosis.search import SearchBudget, read_digests, search
from integration.webhooks.diagnosis.times import time_findings
from integration.webhooks.providers import jwt_proof
from integration.webhooks.providers.schemes import (
    body_token,
    query_key,
    standard_header_names,
    standard_key,
)
from integration.webhooks.providers.signatures import (
    IN_THE_HEADER,
    content_of,
    is_ed25519,
    sent_signature,
)
from integration.webhooks.verification import hmac_sha256, matches_any, moment_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from integration.webhooks.diagnosis.findings import VerificationCase
    from integration.webhooks.diagnosis.search import SentDigest

_PROOF_WORDS = ("signature", "hmac", "digest", "token", "api-key", "apikey", "secret", "authorization")
_MOST_HEADERS = 5
_LONGEST_TIME = 20


def diagnose(case: VerificationCase) -> Diagnosis:
    """Return the diagnosis of a delivery to a `json` source."""
    settings = case.settings
    if not isinstance(settings, JsonSource) or (not settings.secrets and settings.verify in NEEDS_SECRETS):
        return Diagnosis((Finding("not configured", {"what": "secrets"}),), proved=False)
    return _SCHEMES[settings.verify](case, settings)


def _missing(case: VerificationCase, header: str) -> Diagnosis:
    """Return the diagnosis for a missing header.

    Name up to _MOST_HEADERS sent headers whose names suggest a signature or a credential.
    """
    wanted = header_name(header)
    alike = [
        safe_header_name(name)
        for name in case.delivery.headers
        if name != wanted and any(word in name for word in _PROOF_WORDS)
    ]
    if not alike:
        return Diagnosis((Finding("missing header", {"header": safe_header_name(wanted)}),), proved=False)
    facts = {"header": safe_header_name(wanted), "found": ", ".join(alike[:_MOST_HEADERS])}
    return Diagnosis((Finding("other header", facts),), proved=False)


def _header(case: VerificationCase, name: str) -> str:
    return case.delivery.headers.get(header_name(name), "").strip()


# --- Standard Webhooks -----------------------------------------------------------------------------


def _standard(case: VerificationCase, settings: JsonSource) -> Diagnosis:  # noqa: ARG001  (one shape for all schemes)
    names = standard_header_names(case.delivery)
    for name in names:
        if not _header(case, name):
            return _missing(case, name)
    message_id, timestamp, signatures = (_header(case, name) for name in names)
    parts = [part.partition(",") for part in signatures.split(" ") if part]
    v1 = [text for version, _, text in parts if version == "v1"]
    if not v1:
        version = safe_header_name(parts[0][0]) if parts else ""
        return Diagnosis((Finding("version", {"version": version}),), proved=False)
    sent_digests = [written.raw for text in v1 for written in read_digests(text)]

    def digest(key: bytes, body: bytes) -> bytes:
        return hmac_sha256(key, f"{message_id}.{timestamp}.".encode(errors="replace") + body)

    keys = tuple(key for guess in case.secrets for key in _standard_keys(guess))
    found = search((keys, bodies(case.delivery.body)), digest, sent_digests, SearchBudget())
    return concluded(time_findings(timestamp, "seconds", case.now), found)


def _standard_keys(guess: Guess) -> list[Guess]:
    """Return the possible keys of a secret: by the specification, and as plain text."""
    text = guess.value.strip()
    plain = guess.finding or Finding("secret as text")
    keys = [Guess(standard_key(SecretStr(text)), guess.finding)]
    keys += [Guess(form.encode(), plain) for form in dict.fromkeys((text, text.removeprefix("whsec_")))]
    return [key for key in keys if key.value]


# --- a signature in one header ---------------------------------------------------------------------

_ALGORITHMS = {20: ("sha1",), 32: ("sha256", "sha3_256"), 48: ("sha384",), 64: ("sha512",), 16: ("md5",)}


def _hmac(case: VerificationCase, settings: JsonSource) -> Diagnosis:
    missing = _missing_part(case, settings)
    if missing is not None:
        return missing
    text = _header(case, settings.header or "")
    written = (*read_digests(text), *_listed(text))
    if not written:
        return Diagnosis((Finding("unknown"),), proved=False)
    times = _time_findings(case, settings)
    found = _hmac_search(case, settings, written)
    if found is None:
        return concluded(times, None)
    matched, findings = found
    spelling = () if settings.timestamp in IN_THE_HEADER else _spelling(settings, text, matched)
    return Diagnosis((*times, *spelling, *findings), proved=True)


def _missing_part(case: VerificationCase, settings: JsonSource) -> Diagnosis | None:
    """Return the diagnosis if a header of the signature is not configured or not sent, else None."""
    if not settings.header:
        return Diagnosis((Finding("not configured", {"what": "header"}),), proved=False)
    in_headers = () if settings.timestamp in IN_THE_HEADER else (settings.timestamp,)
    names = [name for name in (settings.header, *in_headers, settings.message_id) if name]
    return next((_missing(case, name) for name in names if not _header(case, name)), None)


def _time_findings(case: VerificationCase, settings: JsonSource) -> tuple[Finding, ...]:
    if settings.timestamp is None:
        return ()
    try:
        off = case.now - moment_of(sent_signature(case.delivery, settings).timestamp)
    except NotVerifiedError:
        return (Finding("time unreadable", {"expected": "seconds"}),)
    if abs(off) <= timedelta(seconds=settings.tolerance_seconds):
        return ()
    facts = {"seconds": f"{abs(off).total_seconds():.0f}"}
    return (Finding("stale" if off > timedelta(0) else "early", facts),)


def _listed(text: str) -> tuple[SentDigest, ...]:
    """Return the digests of a header of the form `t=…,v1=…`, as Stripe and Calendly send it.

    Return an empty tuple for a header without `t=`.
    """
    parts = [part.strip() for part in text.split(",")]
    if not any(part.startswith("t=") for part in parts):
        return ()
    return tuple(
        replace(written, prefix=f"{part.partition('=')[0]}=")
        for part in parts
        if not part.startswith("t=")
        for written in read_digests(part.partition("=")[2])
    )


def _hmac_search(
    case: VerificationCase, settings: JsonSource, written: tuple[SentDigest, ...]
) -> tuple[SentDigest, tuple[Finding, ...]] | None:
    budget, secrets = SearchBudget(), case.secrets
    tries = [
        (one, algorithm, messages)
        for messages in (_contents(case, settings), _timed(case))
        for one in written
        for algorithm in _ALGORITHMS.get(len(one.raw), ())
    ]
    for one, algorithm, messages in tries:
        found = search((secrets, messages), _digest_by(algorithm), [one.raw], budget)
        if found is not None:
            facts = {"found": algorithm, "expected": settings.algorithm}
            other = () if algorithm == settings.algorithm else (Finding("algorithm", facts),)
            return one, (*other, *found)
    return None


def _contents(case: VerificationCase, settings: JsonSource) -> tuple[Guess, ...]:
    """Return guesses of the signed text, one for each guess of the body.

    Guesses for which the signed text cannot be built are left out.
    """
    guesses = []
    for guess in bodies(case.delivery.body):
        delivery = replace(case.delivery, body=guess.value)
        try:
            timestamp = sent_signature(delivery, settings).timestamp if settings.timestamp else ""
            guesses.append(Guess(content_of(delivery, settings, timestamp), guess.finding))
        except NotVerifiedError:
            continue
    return tuple(guesses)


def _digest_by(algorithm: str) -> Callable[[str, bytes], bytes]:
    return lambda secret, body: hmac.new(secret.encode(), body, getattr(hashlib, algorithm)).digest()


def _timed(case: VerificationCase) -> tuple[Guess, ...]:
    """Return guesses of a text with a timestamp before the body. Some senders sign it to prevent replays."""
    guesses = []
    for name, value in case.delivery.headers.items():
        for stamp in _stamps(name, value):
            for before, after in (("", "."), ("", ""), ("v0:", ":")):
                message = f"{before}{stamp}{after}".encode(errors="replace") + case.delivery.body
                facts = {
                    "timestamp": safe_header_name(name) if "time" in name else "t",
                    "signed": f"{before}{{timestamp}}{after}{{body}}",
                }
                guesses.append(Guess(message, Finding("covers time", facts)))
    return tuple(guesses)


def _stamps(name: str, value: str) -> list[str]:
    if "time" in name and len(value) <= _LONGEST_TIME + 12:
        return [value.strip()]
    listed = [part.strip()[2:] for part in value.split(",") if part.strip().startswith("t=")]
    return [stamp for stamp in listed if len(stamp) <= _LONGEST_TIME]


def _spelling(settings: JsonSource, text: str, written: SentDigest) -> tuple[Finding, ...]:
    findings = []
    if written.encoding != settings.encoding:
        findings.append(Finding("encoding", {"found": written.encoding, "expected": settings.encoding}))
    if written.prefix != settings.prefix and not (
        settings.prefix and text.startswith(settings.prefix) and written.prefix.strip() == settings.prefix
    ):
        findings.append(Finding("prefix", {"found": written.prefix, "expected": settings.prefix}))
    return tuple(findings)


def _ed25519(case: VerificationCase, settings: JsonSource) -> Diagnosis:
    missing = _missing_part(case, settings)
    if missing is not None:
        return missing
    times = _time_findings(case, settings)
    try:
        texts = sent_signature(case.delivery, settings).texts
    except NotVerifiedError:
        return concluded(times, None)
    for guess in _contents(case, settings):
        for key, text in product(settings.public_keys, texts):
            if is_ed25519(key, text, settings.encoding, guess.value):
                return Diagnosis((*times, *([guess.finding] if guess.finding else [])), proved=True)
    return concluded(times, None)


# --- a secret in plain text ------------------------------------------------------------------------


def _credential(case: VerificationCase, text: str) -> Diagnosis:
    found = known_credential(text, case.secrets)
    return Diagnosis((found or Finding("unknown"),), proved=found is not None)


def _of_word(case: VerificationCase, word: str) -> Diagnosis:
    text = _header(case, "Authorization")
    if not text:
        return _missing(case, "Authorization")
    scheme, _, rest = text.partition(" ")
    if scheme.lower() != word:
        return _other_scheme(case, word, scheme if rest else "", rest or text)
    if word == "bearer":
        return _credential(case, rest.strip())
    return _basic_credential(case, rest.strip())


def _other_scheme(case: VerificationCase, word: str, scheme: str, rest: str) -> Diagnosis:
    """Return the diagnosis for an Authorization header with an unexpected scheme."""
    facts = {"found": safe_header_name(scheme), "expected": word}
    scheme_finding = Finding("scheme", facts)
    if _is_ours(case, rest.strip()):
        return Diagnosis((scheme_finding,), proved=True)
    known = known_credential(rest.strip(), case.secrets)
    return Diagnosis((scheme_finding, *((known,) if known else ())), proved=known is not None)


def _is_ours(case: VerificationCase, text: str) -> bool:
    ours = [guess.value.encode() for guess in case.secrets if guess.finding is None]
    forms = [text.encode(errors="replace"), _base64(text) or b""]
    return any([matches_any(text, ours) for text in forms])  # noqa: C419  (compare all: constant time)


def _basic_credential(case: VerificationCase, text: str) -> Diagnosis:
    decoded = _base64(text)
    if decoded is not None:
        return _credential(case, decoded.decode(errors="replace"))
    finding = Finding("encoding", {"found": "text", "expected": "base64"})
    return Diagnosis((finding,), proved=_is_ours(case, text))


def _base64(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def _in_header(case: VerificationCase, settings: JsonSource) -> Diagnosis:
    if not settings.header:
        return Diagnosis((Finding("not configured", {"what": "header"}),), proved=False)
    text = _header(case, settings.header)
    return _credential(case, text) if text else _missing(case, settings.header)


def _bearer(case: VerificationCase, settings: JsonSource) -> Diagnosis:  # noqa: ARG001  (one shape for all schemes)
    return _of_word(case, "bearer")


def _jwt(case: VerificationCase, settings: JsonSource) -> Diagnosis:  # noqa: ARG001
    text = _header(case, jwt_proof.HEADER)
    if not text:
        return _missing(case, jwt_proof.HEADER)
    token = jwt_proof.sent_token(text)
    signed = (guess for guess in case.secrets if jwt_proof.claims_of(token, guess.value.encode()) is not None)
    found = next(signed, None)
    return concluded((), None if found is None or found.finding is None else (found.finding,))


def _basic(case: VerificationCase, settings: JsonSource) -> Diagnosis:  # noqa: ARG001
    return _of_word(case, "basic")


def _body_token(case: VerificationCase, settings: JsonSource) -> Diagnosis:
    try:
        return _credential(case, body_token(case.delivery, settings))
    except (NotVerifiedError, UnreadableError):
        return Diagnosis((Finding("unknown"),), proved=False)


def _query_key(case: VerificationCase, settings: JsonSource) -> Diagnosis:
    try:
        return _credential(case, query_key(case.delivery, settings))
    except NotVerifiedError:
        return Diagnosis((Finding("unknown"),), proved=False)


def _url_key(case: VerificationCase, settings: JsonSource) -> Diagnosis:  # noqa: ARG001
    # `diagnose_url_key` handles a wrong key, so only a missing configuration remains.
    return Diagnosis((Finding("not configured", {"what": "url_key"}),), proved=False)


_SCHEMES: dict[str, Callable[[VerificationCase, JsonSource], Diagnosis]] = {
    "standard-webhooks": _standard,
    "hmac": _hmac,
    "hmac-sha256": _hmac,
    "ed25519": _ed25519,
    "jwt": _jwt,
    "bearer": _bearer,
    "basic": _basic,
    "header": _in_header,
    "body-token": _body_token,
    "query-key": _query_key,
    "url-key": _url_key,
}
