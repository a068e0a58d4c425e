"""Diagnose credentials that are sent as plain text: a `url_key`, a bearer token, a password. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from integration.webhooks.diagnosis.findings import Diagnosis, Finding
from integration.webhooks.verification import matches_any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from integration.webhooks.diagnosis.findings import Guess, VerificationCase

_LEAST_CUT = 8  # a shorter common prefix could be a coincidence


def diagnose_url_key(case: VerificationCase) -> Diagnosis:
    """Return the diagnosis of the key at the end of the path."""
    if case.settings.url_key is None:
        return Diagnosis((Finding("not configured", {"what": "url_key"}),), proved=False)
    key = case.delivery.url_key
    if not key:
        return Diagnosis((Finding("key missing"),), proved=False)
    found = known_credential(key, case.keys)
    if found is not None:
        return Diagnosis((found,), proved=True)
    expected = case.settings.url_key.get_secret_value()
    return Diagnosis((_near_key(key, expected),), proved=False)


def _near_key(key: str, expected: str) -> Finding:
    if matches_any(key.lower().encode(errors="replace"), (expected.lower().encode(),)):
        return Finding("key case")
    longest = min(len(key), len(expected))
    begins = (key[:longest] + " ").encode(errors="replace"), (expected[:longest] + " ").encode()
    if longest >= _LEAST_CUT and matches_any(begins[0], (begins[1],)):
        return Finding("key cut")
    return Finding("key unknown")


def known_credential(credential: str, secrets: Sequence[Guess]) -> Finding | None:
    """Return the finding if a credential is one of `secrets`, else None.

    The credential is also tried without quotes, spaces, and a word such as "Bearer" before it.
    """
    for padded in (False, True):
        text = _bare(credential) if padded else credential
        for guess in secrets:
            if not matches_any(text.encode(errors="replace"), (guess.value.encode(),)):
                continue
            if guess.finding is not None:
                return guess.finding
            if padded:
                return Finding("credential padded")
    return None


def _bare(text: str) -> str:
    first, _, rest = text.strip().partition(" ")
    word = first.lower() in {"bearer", "token", "basic", "apikey", "api-key", "key"}
    return (rest if word and rest else text).strip().strip("\"'").strip()
