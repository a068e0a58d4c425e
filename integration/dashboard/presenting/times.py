"""Times for display, in the account's time zone, and relative times.

Datetimes are aware. Texts are in the user's language.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING

from babel.dates import format_datetime, format_timedelta
from flask_babel import get_locale
from markupsafe import Markup

from integration.config.models import zone_of
from integration.domain.timestamps import iso_seconds

if TYPE_CHECKING:
    from integration.config.models import Config

_THIS_YEAR = "d MMM HH:mm:ss"
_ANOTHER_YEAR = "d MMM y HH:mm:ss"
_WITH_ZONE = "EEEE d MMMM y HH:mm:ss zzzz (OOOO)"


class AccountZones:
    """The time zones of the accounts, for templates that list recalls of several."""

    def __init__(self, config: Config) -> None:
        self._config = config

    def of(self, account: str | None = None) -> tzinfo:
        """Return the zone of an account, and without one the zone of the installation."""
        return zone_of(self._config, account)


def clock(moment: datetime, zone: tzinfo, now: datetime | None = None) -> str:
    """Return a time in a zone, with the year if it is not the current one."""
    this_year = moment.astimezone(zone).year == (now or datetime.now(UTC)).astimezone(zone).year
    form = _THIS_YEAR if this_year else _ANOTHER_YEAR
    return str(format_datetime(moment, form, tzinfo=zone, locale=get_locale()))


def ago(moment: datetime, now: datetime | None = None) -> str:
    """Return a time relative to now, such as "5 min ago"."""
    delta = moment - (now or datetime.now(UTC))
    return str(
        format_timedelta(delta, add_direction=True, format="short", threshold=1.3, locale=get_locale())
    )


def duration(seconds: float | None) -> str:
    """Return a duration in its largest unit; "" for None."""
    if seconds is None:
        return ""
    delta = timedelta(seconds=max(0.0, seconds))
    return str(format_timedelta(delta, format="short", threshold=1.3, locale=get_locale()))


def when(moment: datetime | None, zone: tzinfo) -> str:
    """Return a time as HTML: in the zone, followed by the relative time. The tooltip has the full date."""
    if moment is None:
        return ""
    whole = format_datetime(moment, _WITH_ZONE, tzinfo=zone, locale=get_locale())
    return Markup('<time datetime="{}" title="{}">{} <small>{}</small></time>').format(
        iso_seconds(moment.astimezone(UTC)), whole, clock(moment, zone), ago(moment)
    )


def hour_and_minute(moment: datetime, zone: tzinfo) -> str:
    """Return the time of day in a zone."""
    return str(format_datetime(moment, "HH:mm", tzinfo=zone, locale=get_locale()))


def clock_or_day(moment: datetime, zone: tzinfo) -> str:
    """Return the time of day in a zone, with the date if it is not today."""
    today = datetime.now(UTC).astimezone(zone).date()
    form = "HH:mm" if moment.astimezone(zone).date() == today else "d MMM HH:mm"
    return str(format_datetime(moment, form, tzinfo=zone, locale=get_locale()))
