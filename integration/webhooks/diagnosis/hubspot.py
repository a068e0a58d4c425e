"""Diagnose HubSpot's signatures. Pure.

v3 covers method, URL, body and time. v2 covers method, URL and body. v1 covers only the body.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from integration.config.source_models import HubspotSource
from integration.domain.rejection import safe_header_name
from integration.webhooks.diagnosis.addresses import addresses
from integration.webhooks.diagnosis.bodies import bodies
from integration.webhooks.diagnosis.findings import Diagnosis, Finding, Guess, concluded
from integration.webhooks.diagnosis.search import SearchBudget, read_digests, search
from integration.webhooks.diagnosis.times import time_findings
from integration.webhooks.providers.hubspot import signed_uri
from integration.webhooks.verification import hmac_sha256

if TYPE_CHECKING:
    from collections.abc import Callable

    from integration.webhooks.diagnosis.findings import VerificationCase

_V3 = "x-hubspot-signature-v3"
_OLDER = "x-hubspot-signature"
_VERSION = "x-hubspot-signature-version"
_TIMESTAMP = "x-hubspot-request-timestamp"


def diagnose(case: VerificationCase) -> Diagnosis:
    """Return the diagnosis of a delivery to a HubSpot source."""
    headers = case.delivery.headers
    if headers.get(_V3, "").strip():
        return _diagnose_v3(case)
    if headers.get(_OLDER, "").strip():
        return _diagnose_older(case)
    named = case.settings.signatures if isinstance(case.settings, HubspotSource) else ()
    wanted = _V3 if "v3" in named else _OLDER
    return Diagnosis((Finding("missing header", {"header": wanted}),), proved=False)


def _diagnose_v3(case: VerificationCase) -> Diagnosis:
    timestamp = case.delivery.headers.get(_TIMESTAMP, "").strip()
    if not timestamp:
        return Diagnosis((Finding("missing header", {"header": _TIMESTAMP}),), proved=False)
    method = case.delivery.method

    def digest(secret: str, uri: str, body: bytes) -> bytes:
        head = f"{method}{uri}".encode(errors="replace")
        return hmac_sha256(secret.encode(), head + body + timestamp.encode(errors="replace"))

    uris = tuple(
        Guess(uri, guess.finding)
        for guess in addresses(case.delivery)
        for uri in dict.fromkeys((signed_uri(guess.value), guess.value))
    )
    dated = time_findings(timestamp, "milliseconds", case.now)
    return concluded(dated, _searched(case, _V3, digest, uris))


def _diagnose_older(case: VerificationCase) -> Diagnosis:
    version_header = case.delivery.headers.get(_VERSION, "").strip().lower()
    method = case.delivery.method

    def v2(secret: str, uri: str, body: bytes) -> bytes:
        head = f"{secret}{method}{uri}".encode(errors="replace")
        return hashlib.sha256(head + body).digest()

    def v1(secret: str, uri: str, body: bytes) -> bytes:  # noqa: ARG001  (v1 does not cover the address)
        return hashlib.sha256(secret.encode() + body).digest()

    tried = (
        ("v2", v2, addresses(case.delivery)),
        ("v1", v1, (Guess(case.delivery.url),)),
    )
    for version, digest, uris in tried:
        if version_header in {"v1", "v2"} and version != version_header:
            continue
        found = _searched(case, _OLDER, digest, uris)
        if found is not None:
            return concluded(_of_version(case, version, version_header), found)
    return concluded(_of_version(case, version_header, version_header) if version_header else (), None)


def _of_version(case: VerificationCase, version: str, version_header: str) -> tuple[Finding, ...]:
    """Return the findings about the signature's version.

    `version_header` is the value of the header with the version in lower case, or an empty text.
    """
    if not version_header:
        return (Finding("missing header", {"header": _VERSION}),)
    named = case.settings.signatures if isinstance(case.settings, HubspotSource) else ()
    return () if version in named else (Finding("version", {"version": safe_header_name(version)}),)


def _searched(
    case: VerificationCase, header: str, digest: Callable[[str, str, bytes], bytes], uris: tuple[Guess, ...]
) -> tuple[Finding, ...] | None:
    sent_digests = [written.raw for written in read_digests(case.delivery.headers[header].strip())]
    return search((case.secrets, uris, bodies(case.delivery.body)), digest, sent_digests, SearchBudget())
