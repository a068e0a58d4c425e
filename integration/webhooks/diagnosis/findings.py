"""What a diagnosis is made of: findings, and the guesses that lead to them. Frozen values.

A fact is a number, a configured name, a header's name or an address whose key and query are left out:
never a secret, a digest, or anything of a body.
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
    """One thing that is other than it should be; `words` puts it into a sentence with its facts."""

    cause: Cause
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Why a delivery was not verified. `proved`: with these things mended it would have been."""

    findings: tuple[Finding, ...]
    proved: bool


@dataclass(frozen=True, slots=True)
class Guess:
    """A value that the sender may have used; `finding` is what that would mean, None for the right one."""

    value: Any = field(repr=False)
    finding: Finding | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationCase:
    """One delivery that was not verified, and what may explain it.

    `secrets` are those of its source first, `keys` the `url_key` of every source; `now` is aware.
    `organizations` maps each other source's organisation to its name.
    """

    delivery: Delivery
    settings: Source
    error: NotVerifiedError
    now: datetime
    secrets: tuple[Guess, ...] = field(repr=False)
    keys: tuple[Guess, ...] = field(repr=False)
    organizations: Mapping[str, str] = field(default_factory=dict)


def concluded(before: tuple[Finding, ...], found: tuple[Finding, ...] | None) -> Diagnosis:
    """Put together what was seen at once and what a search came to; None: it found nothing that matches."""
    if found is None:
        return Diagnosis((*before, Finding("unknown")), proved=False)
    return Diagnosis((*before, *found), proved=True)
