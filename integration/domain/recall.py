"""Recall, its states and its attempts: what wolkvox shall be asked, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


class State(StrEnum):
    """Where a recall stands. All but `queued` and `pushing` are ends."""

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
    """A recall before it is admitted.

    `recall_date` is what wolkvox would get, after the schedule's rules; `requested_date` what was
    asked. Both are aware and in the account's zone. `version` is the CRM's time of the wish, aware:
    per queue, campaign and customer the newest wins. `recall_telephone` is as the operation dials.
    `notes` says why `recall_date` is not the asked one.
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
    """A wish taken back: what is queued for this campaign and customer shall not be pushed."""

    account: str
    campaign_id: str
    customer_id: str
    version: datetime
    source: str
    route: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One push: when it started (aware, UTC), how long it took, and what wolkvox answered.

    `outcome` is the verdict's name; `http_status`, `code` and `msg` are None where no answer came.
    `msg` repeats customer and telephone: it is customer data, and so is `answer`, the whole body of
    at most 64 KiB, which the latest attempt has unless wolkvox accepted. An attempt that was not the
    last has the date that was sent, why it is made again, and when that was planned for (aware).
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change of a recall's state: when (aware, UTC), to what, and why."""

    at: datetime
    state: State
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Recall:
    """A recall as the store holds it.

    `delivery` and `place` lead to the event that it came from, `record` is the CRM's own id of what that was
    about, `proof` how the delivery was verified, `digest` the beginning of the configuration's that mapped
    it, `notes` why `recall_date` was not the asked one on admission.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which recalls: all None means all. `accounts` limits what a caller sees, `states` what can be done.

    `telephones` are ends of numbers, digits only, of which any may match. `about` is a customer's id or the
    CRM's record id, and with it the telephones are a third thing that may match. `prefix` is how the recall's
    id begins. Of the times, which are aware, "until" is not part of the range.
    """

    state: State | None = None
    states: frozenset[State] | None = None
    accounts: frozenset[str] | None = None
    customer_id: str | None = None
    campaign_id: str | None = None
    source: str | None = None
    route: str | None = None
    record: str | None = None
    about: str | None = field(default=None, repr=False)
    telephones: tuple[str, ...] | None = field(default=None, repr=False)
    prefix: str | None = None
    created_from: datetime | None = None
    created_until: datetime | None = None
    date_from: datetime | None = None
    date_until: datetime | None = None
