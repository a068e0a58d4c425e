"""The results of a lookup: records by their ids, or the reason why they cannot be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

# What templates can read of one event's record: the names, such as `record` and `contact`, with their values.
Variables = Mapping[str, Any]

# How long a source waits after a missing permission, which can be added without a change of the credentials.
PERMISSION_WAIT_SECONDS: Final = 3600.0


class FailureKind(StrEnum):
    """The kinds of lookup failures. The values are labels of metrics."""

    REFUSED = "refused"  # the CRM rejects the credentials (401, for example)
    FORBIDDEN = "forbidden"  # the CRM accepts the credentials, but not for these records
    RATE_LIMITED = "rate_limited"  # 429, or a limit that the CRM's headers report as used up
    UNREACHABLE = "unreachable"  # no complete answer, or status 408 or 500 and above
    UNREADABLE = "unreadable"  # a complete answer without the record; it may concern single records only

    @property
    def is_about_source(self) -> bool:
        """Return True if the failure affects every record of the source."""
        return self not in {FailureKind.FORBIDDEN, FailureKind.UNREADABLE}


class LookupFailedError(Exception):
    """The records cannot be read now. A later attempt may succeed, unless `needs_change` is True.

    `reason` contains no token and no customer data. `retry_after_seconds` is the wait that the CRM requests,
    or None.
    """

    def __init__(self, kind: FailureKind, reason: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason
        self.retry_after_seconds = retry_after_seconds

    @property
    def needs_change(self) -> bool:
        """Return True if no later attempt with the same settings is useful, because the CRM rejects them."""
        return self.kind is FailureKind.REFUSED and self.retry_after_seconds is None


@dataclass(frozen=True, slots=True)
class LookupResult:
    """The records of a lookup by id.

    `failed` has the ids that could not be read this time, each with its failure. An id without a record
    is in neither `records` nor `failed`.
    """

    records: Mapping[str, Variables]
    failed: Mapping[str, LookupFailedError] = field(default_factory=dict)


def failure_of_status(
    provider: str, status: int, reason: str | None, retry_after_seconds: float | None = None
) -> LookupFailedError:
    """Return the failure for a status other than success and 429.

    `reason` explains the status to the operator, or is None.
    """
    words = f"{reason} ({status})" if reason else f"{provider} answered {status}"
    if status == 401:  # noqa: PLR2004  (unauthorized)
        return LookupFailedError(FailureKind.REFUSED, words)
    if status == 403:  # noqa: PLR2004  (forbidden)
        return LookupFailedError(FailureKind.REFUSED, words, PERMISSION_WAIT_SECONDS)
    away = status >= 500 or status == 408  # noqa: PLR2004  (HTTP)
    kind = FailureKind.UNREACHABLE if away else FailureKind.UNREADABLE
    return LookupFailedError(kind, words, retry_after_seconds)
