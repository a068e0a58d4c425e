"""Times as an operator reads them: the clock of the account, and how long ago or how soon.

Moments are aware; a zone is an account's. Words are in the reader's language.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING

from babel.dates import format_datetime, format_timedelta
from flask_babel import get_locale
from markupsafe import Markup

from integration.domain.timestamps import iso_seconds

if TYPE_CHECKING:
    from integration.config.models import Config

_THIS_YEAR = "d MMM HH:mm:ss"
_ANOTHER_YEAR = "d MMM y HH:mm:ss"
_WITH_ZONE = "EEEE d MMMM y HH:mm:ss zzzz (OOOO)"


def zone_of(config: Config, account: str | None = None) -> tzinfo:
    """Give an account's zone; where there is no account, the zone that most accounts have, else UTC."""
    known = config.accounts.get(account) if account is not None else None
    if known is not None:
        return known.timezone
    zones = Counter(each.timezone for each in config.accounts.values())
    return zones.most_common(1)[0][0] if zones else UTC


def clock(moment: datetime, zone: tzinfo, now: datetime | None = None) -> str:
    """Give a moment as the zone's clock shows it, with the year where that is another one."""
    this_year = moment.astimezone(zone).year == (now or datetime.now(UTC)).astimezone(zone).year
    form = _THIS_YEAR if this_year else _ANOTHER_YEAR
    return str(format_datetime(moment, form, tzinfo=zone, locale=get_locale()))


def ago(moment: datetime, now: datetime | None = None) -> str:
    """Say how long ago a moment was, or how soon it will be."""
    delta = moment - (now or datetime.now(UTC))
    return str(
        format_timedelta(delta, add_direction=True, format="short", threshold=1.3, locale=get_locale())
    )


def duration(seconds: float | None) -> str:
    """Give a length of time in its largest unit; nothing for None."""
    if seconds is None:
        return ""
    delta = timedelta(seconds=max(0.0, seconds))
    return str(format_timedelta(delta, format="short", threshold=1.3, locale=get_locale()))


def when(moment: datetime | None, zone: tzinfo) -> str:
    """Give a moment as HTML: the zone's clock, then how far away it is; the whole date on pointing."""
    if moment is None:
        return ""
    whole = format_datetime(moment, _WITH_ZONE, tzinfo=zone, locale=get_locale())
    return Markup('<time datetime="{}" title="{}">{} <small>{}</small></time>').format(
        iso_seconds(moment.astimezone(UTC)), whole, clock(moment, zone), ago(moment)
    )


def hour_and_minute(moment: datetime, zone: tzinfo) -> str:
    """Give the time of day as the zone's clock shows it."""
    return str(format_datetime(moment, "HH:mm", tzinfo=zone, locale=get_locale()))


def clock_or_day(moment: datetime, zone: tzinfo) -> str:
    """Give the time of day, with the day where that is not today by the zone's clock."""
    today = datetime.now(UTC).astimezone(zone).date()
    form = "HH:mm" if moment.astimezone(zone).date() == today else "d MMM HH:mm"
    return str(format_datetime(moment, form, tzinfo=zone, locale=get_locale()))
