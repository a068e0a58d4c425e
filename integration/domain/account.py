"""Accounts: the settings of one wolkvox operation, its pauses, and the days of its quota."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from integration.domain.field_types import (
    BASE_URL_WORDS,
    CLOCK_WORDS,
    HEADER_TEXT_WORDS,
    ZONE_WORDS,
    BaseUrl,
    Clock,
    HeaderSecret,
    Name,
    Number,
    Table,
    Whole,
    Window,
    Zone,
    invalid,
)

GUARD_SECONDS = 2.0
LATEST_WRITE_SECONDS = 5.0
SERVER_WORDS = 'the server number from wolkvox support, in quotes, without "wv" and domain, such as "0003"'
DIAL_FORMAT_WORDS = (
    "a text with a placeholder {national}, {dial} or {e164}, such as 9{national}; at most 64 characters"
)
COUNTRY_WORDS = 'the code of a country with telephones, such as "CO"'
COUNTRIES_WORDS = (
    'a list of country codes of two capital letters, such as ["CO"] '
    "(default: the value of country; all countries if dial_format writes the country code)"
)

CountryCode = Annotated[str, Field(pattern=r"^[A-Z]{2}$")]


def _server(text: str) -> str:
    # wolkvox documents the whole host name. A pasted "wv0003" would become the host wvwv0003.
    if not re.fullmatch(r"(?!wv\d)[A-Za-z0-9-]{1,63}", text):
        raise invalid(SERVER_WORDS)
    return text


class CallingHours(Table):
    """The hours in which customers may be called, in the account's time zone.

    `windows` has one entry for each weekday, Monday first: the sorted (from, to) pairs of the day, empty
    for a closed day. Windows of a day neither overlap nor touch. A `to` of 00:00 means midnight at the
    end of the day. `holidays` is a country code of the package `holidays`; no calls are made on that
    country's public holidays. With None, public holidays are ordinary days.
    """

    windows: tuple[tuple[Window, ...], ...] = Field(min_length=7, max_length=7)
    holidays: str | None = None


class Account(Table):
    """An `[accounts.NAME]` table: the settings of one wolkvox operation and its token."""

    name: Name
    server: Annotated[str, AfterValidator(_server)] | None = Field(
        default=None,
        description=SERVER_WORDS,
    )
    base_url: BaseUrl | None = Field(default=None, description=BASE_URL_WORDS)
    token: HeaderSecret = Field(description=HEADER_TEXT_WORDS)
    timezone: Zone = Field(description=ZONE_WORDS)
    country: CountryCode = Field(
        default="CO", description='a country code of two capital letters such as "CO"'
    )
    countries: tuple[CountryCode, ...] | None = Field(default=None, min_length=1, description=COUNTRIES_WORDS)
    phone_check: Literal["valid", "possible"] = Field(
        default="valid",
        description='"valid", or "possible" to accept any number of a possible length, for private '
        "numbering plans",
    )
    toll_free: bool = Field(default=False, description="true or false")
    dial_format: str = Field(default="{national}", description=DIAL_FORMAT_WORDS)
    type_campaign: Literal["predictive", ""] = Field(
        default="predictive",
        description='"predictive", or "" to leave the parameter out; '
        "wolkvox accepts no callbacks for preview campaigns",
    )
    timeout_seconds: Number = Field(
        default=20, gt=0, le=600, description="a number of seconds, more than 0 and at most 600"
    )
    server_limit_seconds: Number = Field(
        default=60, ge=0, le=3600, description="a number of seconds from 0 to 3600"
    )
    daily_limit: Whole | None = Field(
        default=None, ge=1, description="a whole number of calls a day, 1 or more (default: no limit)"
    )
    quota_resets_at: Clock = Field(default=time(0, 0), description=CLOCK_WORDS)
    min_lead_minutes: Whole = Field(
        default=30, ge=0, le=7 * 24 * 60, description="a whole number of minutes from 0 to 10080"
    )
    max_days_ahead: Whole = Field(
        default=365, ge=1, le=36_500, description="a whole number of days from 1 to 36500"
    )
    late: Literal["asap", "drop"] = Field(default="asap", description='"asap" or "drop"')
    calling_hours: CallingHours | None = Field(
        default=None, description="a preset's name or a table of windows"
    )
    mode: Literal["live", "dry-run"] = Field(default="live", description='"live" or "dry-run"')

    @model_validator(mode="after")
    def _server_or_base_url(self) -> Account:
        if (self.server is None) == (self.base_url is None):
            found = "missing, and so is base_url" if self.server is None else "set in addition to base_url"
            raise invalid("exactly one of server and base_url", found, key="server")
        return self

    @property
    def endpoint(self) -> str:
        """The base URL of wolkvox, to which `/api/v2/…` is appended. It has no trailing slash."""
        if self.base_url is not None:
            return self.base_url.rstrip("/")
        return f"https://wv{self.server}.wolkvox.com"

    @property
    def latest_write_seconds(self) -> float:
        """The longest time from a claim until its request is written, in seconds."""
        return min(self.timeout_seconds, LATEST_WRITE_SECONDS)

    @property
    def lease_seconds(self) -> float:
        """The time for which a claim locks the queue, in seconds: the longest call and a margin."""
        longest = max(self.latest_write_seconds + self.server_limit_seconds, self.timeout_seconds)
        return longest + GUARD_SECONDS

    @property
    def quiet_seconds(self) -> float:
        """The time for which wolkvox may process a call after it was sent, in seconds, with a margin."""
        return self.server_limit_seconds + GUARD_SECONDS


@dataclass(frozen=True, slots=True)
class Pause:
    """A pause of an account. `by` is the user or API key, "" if unknown, and `since` is aware."""

    by: str
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountView:
    """An account and its queue, as `/v1/accounts` returns it. `until` is aware, UTC.

    `pause` is None unless the state is "paused".
    """

    name: str
    state: str
    reason: str | None
    until: datetime | None
    queued: int
    dead: int
    pushed_today: int
    daily_limit: int | None
    oldest_seconds: float | None
    pause: Pause | None = None


def next_reset(account: Account, now: datetime) -> datetime:
    """Return the first reset of the account's quota after `now` (aware), in the account's zone.

    wolkvox does not document when the daily limit of a token resets, so `quota_resets_at` is a setting.
    """
    local = now.astimezone(account.timezone)
    reset = datetime.combine(local.date(), account.quota_resets_at, account.timezone)
    while reset.astimezone(UTC) <= now:
        local += timedelta(days=1)
        reset = datetime.combine(local.date(), account.quota_resets_at, account.timezone)
    return reset


def quota_day(ends: datetime) -> str:
    """Return the ISO date that identifies a quota day. `ends` is its end, in the account's zone."""
    return ends.date().isoformat()
