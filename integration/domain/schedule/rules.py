"""Apply lateness, lead time and calling hours to the requested date of a callback. Pure.

The result is never earlier than the requested date in whole seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING

from integration.domain.dates import in_zone, parse_moment, unreadable
from integration.domain.schedule.openings import DAYS_SEARCHED, next_opening, openings

if TYPE_CHECKING:
    from datetime import date

    from integration.domain.account import Account


@dataclass(frozen=True, slots=True)
class Scheduled:
    """The date to send to wolkvox, aware, in the account's zone. `notes` has the reasons of changes."""

    date: datetime
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Drop:
    """The decision not to make a callback, with its reason."""

    reason: str


def reschedule(account: Account, requested_date: datetime, now: datetime) -> Scheduled | Drop:
    """Return the date to send to wolkvox for the requested date, or Drop.

    `requested_date` and `now` are aware. A date before `now` (whole seconds) is dropped if the account
    has `late = "drop"`. A date that is less than `min_lead_minutes` after `now` is moved to that time. A
    date outside the calling hours is then moved to the next opening, or dropped if there is none within
    DAYS_SEARCHED days. A date that satisfies the rules is unchanged.
    """
    requested = in_zone(requested_date, account.timezone)
    past = requested < now.replace(microsecond=0)
    if past and account.late == "drop":
        return Drop("the date was in the past, and the account has late = drop")
    date_, notes = requested, []
    earliest = _next_whole_second(now + timedelta(minutes=account.min_lead_minutes))
    if requested.astimezone(UTC) < earliest:
        date_ = in_zone(earliest, account.timezone)
        notes.append(_why_earliest(account, past=past))
    if account.calling_hours is None:
        return Scheduled(date_, tuple(notes))
    opening = next_opening(account.calling_hours, date_)
    if opening is None:
        return Drop(f"there are no calling hours within {DAYS_SEARCHED} days")
    if opening != date_:
        notes.append("moved to the next opening of the calling hours")
    return Scheduled(opening, tuple(notes))


def _why_earliest(account: Account, *, past: bool) -> str:
    lead = f"moved to {account.min_lead_minutes} minutes from now"
    if past:
        return f"the date was in the past, late = asap: {lead}"
    return f"earlier than min_lead_minutes allows: {lead}"


def _next_whole_second(moment: datetime) -> datetime:
    round_up = timedelta(seconds=1) if moment.microsecond else timedelta(0)
    return (moment.replace(microsecond=0) + round_up).astimezone(UTC)


def read_date(account: Account, value: object, now: datetime) -> datetime:
    """Return a `recall_date` as an aware datetime in the account's zone, in whole seconds.

    A time without an offset is in that zone. A time in the gap of a clock change moves forward by the gap
    (02:30 becomes 03:30). If an hour occurs twice, the first is used. A date alone becomes the first
    opening of the calling hours on that day or later; without calling hours it is an error. Raise
    UnmappableError, also for a date that is more than `max_days_ahead` after `now` (aware).
    """
    date_ = _in_account_zone(account, parse_moment(value))
    if date_.astimezone(UTC) > now + timedelta(days=account.max_days_ahead):
        # A telephone number in the wrong field can be read as an epoch: 3001112233 is a moment of 2065.
        raise unreadable(
            f"a date more than {account.max_days_ahead} days ahead",
            "a date within max_days_ahead of the account, or raise max_days_ahead if the field is right",
        )
    return date_


def _in_account_zone(account: Account, moment: datetime | date) -> datetime:
    if isinstance(moment, datetime):
        return in_zone(moment, account.timezone)
    if account.calling_hours is None:
        raise unreadable("a date without a time, and the account has no calling_hours")
    day = in_zone(datetime.combine(moment, time(0)), account.timezone)
    opening = next(openings(account.calling_hours, day), None)
    if opening is None:
        raise unreadable("a date without a time, and no calling hours after it")
    return opening
