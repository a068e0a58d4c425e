"""Diagnose why a delivery was not verified, and what the operator must correct. Pure.

The number of digests is limited. A diagnosis may contain configured names and settings, numbers, header
names, URLs without key and query, and ids of Salesforce organisations. It contains no secrets, no digests
and nothing else of the body. Only the operator sees it. The sender's response does not depend on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from integration.config.source_models import SalesforceSource
from integration.webhooks.diagnosis import hubspot, salesforce, schemes
from integration.webhooks.diagnosis.findings import Diagnosis, Finding, Guess, VerificationCase
from integration.webhooks.diagnosis.keys import diagnose_url_key
from integration.webhooks.providers.salesforce import ID_LENGTH

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

    from pydantic import SecretStr

    from integration.config.models import Config
    from integration.config.source_models import Source
    from integration.domain.delivery import Delivery
    from integration.domain.errors import NotVerifiedError

__all__ = ["Diagnosis", "Finding", "diagnose"]

MOST_SECRETS = 200

_KINDS = {"hubspot": hubspot.diagnose, "salesforce": salesforce.diagnose, "json": schemes.diagnose}


def diagnose(
    delivery: Delivery,
    error: NotVerifiedError,
    config: Config,
    now: datetime,
    *,
    retired: Mapping[str, Iterable[SecretStr]] | None = None,
) -> Diagnosis:
    """Return the diagnosis of a delivery that failed verification with `error`. `now` is aware.

    `retired` has the secrets and keys of earlier configurations by the source's name. At most
    MOST_SECRETS secrets are tried.
    """
    settings = config.sources[delivery.source]
    case = VerificationCase(
        delivery=delivery,
        settings=settings,
        error=error,
        now=now,
        secrets=tuple(_secrets(settings, config, retired or {}))[:MOST_SECRETS],
        keys=tuple(_keys(settings, config, retired or {}))[:MOST_SECRETS],
        organizations={
            other.organization_id[:ID_LENGTH]: name
            for name, other in config.sources.items()
            if isinstance(other, SalesforceSource) and name != settings.name
        },
    )
    return diagnose_url_key(case) if error.check == "url_key" else _KINDS[settings.kind](case)


def _secrets(settings: Source, config: Config, retired: Mapping[str, Iterable[SecretStr]]) -> Iterator[Guess]:
    """Yield the source's secrets, then its retired ones, then those of other sources. No duplicates.

    The `url_key` of each other source is also tried as a secret, and so are retired keys.
    """
    yield from _guesses(
        (getattr(settings, "secrets", ()), None), *_foreign(settings, config, retired, "secrets")
    )


def _keys(settings: Source, config: Config, retired: Mapping[str, Iterable[SecretStr]]) -> Iterator[Guess]:
    yield from _guesses((_url_keys(settings), None), *_foreign(settings, config, retired, "url_key"))


def _foreign(
    settings: Source, config: Config, retired: Mapping[str, Iterable[SecretStr]], what: str
) -> Iterator[tuple[Iterable[SecretStr], Finding]]:
    yield retired.get(settings.name, ()), Finding("retired secret", {"what": what})
    for name, other in config.sources.items():
        if name != settings.name:
            found = Finding("other secret", {"source": name, "what": what})
            yield (*getattr(other, "secrets", ()), *_url_keys(other)), found


def _url_keys(settings: Source) -> tuple[SecretStr, ...]:
    return () if settings.url_key is None else (settings.url_key,)


def _guesses(*groups: tuple[Iterable[SecretStr], Finding | None]) -> Iterator[Guess]:
    known: set[str] = set()
    for secrets, finding in groups:
        for secret in secrets:
            text = secret.get_secret_value()
            if text not in known:
                known.add(text)
                yield Guess(text, finding)
