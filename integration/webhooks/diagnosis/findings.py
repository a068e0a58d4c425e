"""The values of a diagnosis: the findings, and the guesses that lead to them.

Facts are numbers, configured names and settings, header names, URLs without key and query, and ids of
Salesforce organisations. They contain no secrets, no digests and nothing else of a body.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from integration.config.source_models import Source
    from integration.domain.delivery import Delivery
    from integration.domain.errors import NotVerifiedError

Cause = Literal[
    "stale",
    "early",
    "time in other unit",
    "time unreadable",
    "retired secret",
    "other secret",
    "secret as text",
    "credential padded",
    "address",
    "missing header",
    "other header",
    "version",
    "scheme",
    "encoding",
    "prefix",
    "algorithm",
    "covers time",
    "body",
    "organization",
    "organization of other source",
    "organization missing",
    "key missing",
    "key cut",
    "key case",
    "key unknown",
    "not configured",
    "unknown",
    "not looked into",
]


@dataclass(frozen=True, slots=True)
class Finding:
    """A cause of a failed verification, with its facts."""

    cause: Cause
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The causes of a failed verification.

    `proved` is True if the verification would succeed without these causes. Otherwise other causes are
    possible.
    """

    findings: tuple[Finding, ...]
    proved: bool


@dataclass(frozen=True, slots=True)
class Guess:
    """A value that the sender may have used. `finding` is the cause if so, None for an expected value."""

    value: Any = field(repr=False)
    finding: Finding | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationCase:
    """The input of a diagnosis: a delivery that was not verified, and the guesses to try.

    `secrets` and `keys` begin with the secrets and the `url_key` of the delivery's source; retired ones
    and those of other sources follow. `now` is aware. `organizations` has the names of the other
    Salesforce sources by the first 15 characters of their organisation id.
    """

    delivery: Delivery
    settings: Source
    error: NotVerifiedError
    now: datetime
    secrets: tuple[Guess, ...] = field(repr=False)
    keys: tuple[Guess, ...] = field(repr=False)
    organizations: Mapping[str, str] = field(default_factory=dict)


def concluded(before: tuple[Finding, ...], found: tuple[Finding, ...] | None) -> Diagnosis:
    """Return the diagnosis for earlier findings and the result of a search.

    The result is None if the search found no match. Otherwise the diagnosis is proved.
    """
    if found is None:
        return Diagnosis((*before, Finding("unknown")), proved=False)
    return Diagnosis((*before, *found), proved=True)
