"""Recalls (callbacks that wolkvox is asked to make), their states and their push attempts."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


class State(StrEnum):
    """The state of a recall. All states except `queued` and `pushing` are final."""

    QUEUED = "queued"
    PUSHING = "pushing"
    ACCEPTED = "accepted"
    DEAD = "dead"
    SUPERSEDED = "superseded"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    SIMULATED = "simulated"


ENDS = tuple(state for state in State if state not in {State.QUEUED, State.PUSHING})


@dataclass(frozen=True, slots=True, kw_only=True)
class RecallRequest:
    """A recall before it is stored and queued.

    `recall_date` is the date to send to wolkvox, after the schedule's rules. `requested_date` is the date
    before these rules. Both are aware and in the account's zone. `version` is the time of the request,
    aware; per queue, campaign and customer the newest version wins. `recall_telephone` is formatted as
    the operation dials. `notes` explains why `recall_date` differs from `requested_date`.
    """

    account: str
    campaign_id: str
    customer_id: str
    recall_telephone: str = field(repr=False)
    recall_date: datetime
    requested_date: datetime
    version: datetime
    source: str
    route: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelRequest:
    """A request to cancel the queued recalls of a customer in a campaign.

    `version` is the time of the request, aware.
    """

    account: str
    campaign_id: str
    customer_id: str
    version: datetime
    source: str
    route: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One push to wolkvox: its start (aware, UTC), its duration and the response.

    `outcome` is the verdict's name. `http_status`, `code` and `msg` are None if no response arrived.
    `msg` and `answer` are customer data, because wolkvox repeats customer and telephone in them. `answer`
    is the whole response body of at most 64 KiB; the first 3 and the latest 20 attempts have it, unless
    wolkvox accepted the recall. `number` counts the recall's attempts from 1. An attempt that was retried
    has the `recall_date` that was sent, the `reason` of the retry, and `next_at`, the time of
    the retry (aware).
    """

    started_at: datetime
    seconds: float
    http_status: int | None
    code: str | None
    msg: str | None = field(repr=False)
    outcome: str
    answer: str | None = field(default=None, repr=False)
    recall_date: datetime | None = None
    reason: str | None = None
    next_at: datetime | None = None
    number: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change of a recall's state: its time (aware, UTC), the new state and the reason."""

    at: datetime
    state: State
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Recall:
    """A recall as the store holds it.

    `attempts` has the latest 100 attempts. `delivery` and `place` identify the event of the recall.
    `record` is the CRM's id of the event's record. `proof` is the verification method of the delivery.
    `digest` is the start of the digest of the configuration that mapped the event. `notes` explains why
    `recall_date` differed from `requested_date` when the recall was enqueued. `words` is the digest of
    the words of wolkvox' latest answer. `again_of` is the id of the recall that this one repeats at an
    operator's request. `again_by` has the ids of the recalls that repeat this one.
    """

    id: str
    state: State
    account: str
    campaign_id: str
    customer_id: str
    recall_telephone: str = field(repr=False)
    recall_date: datetime
    requested_date: datetime
    source: str
    route: str | None
    created_at: datetime
    attempts: tuple[Attempt, ...] = ()
    history: tuple[Change, ...] = ()
    reason: str | None = None
    delivery: str | None = None
    place: int = 0
    record: str | None = None
    proof: str | None = None
    digest: str | None = None
    notes: tuple[str, ...] = ()
    words: str | None = None
    again_of: str | None = None
    again_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Conditions that a recall must match. A condition that is None matches every recall.

    `accounts` and `states` are the sets of the accounts and states that match. `telephones` holds the
    last digits of numbers, or whole numbers after `phone_numbers.FULL_NUMBER_PREFIX`; one of them must
    match. `about` matches the customer's id or the CRM's record id. If both `about` and `telephones` are
    set, one match of either is enough. `prefix` is the start of the recall's id. `words` is the digest of
    the words of wolkvox' latest answer. `outcome` has the form "JOB_ID:RESULT". RESULT is "done", the reason
    for which the bulk job skipped a recall, or "recall" for the recalls from the deliveries that it sent
    again. The recalls that the job listed under this result match. Times are aware; the `until` times are
    exclusive.
    """

    state: State | None = None
    states: frozenset[State] | None = None
    accounts: frozenset[str] | None = None
    customer_id: str | None = None
    campaign_id: str | None = None
    source: str | None = None
    route: str | None = None
    record: str | None = None
    words: str | None = None
    outcome: str | None = None
    about: str | None = field(default=None, repr=False)
    telephones: tuple[str, ...] | None = field(default=None, repr=False)
    prefix: str | None = None
    created_from: datetime | None = None
    created_until: datetime | None = None
    date_from: datetime | None = None
    date_until: datetime | None = None
