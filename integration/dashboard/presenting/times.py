"""Times for display, in a given time zone, and relative times.

Datetimes are aware. Texts are in the user's language.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING

from babel.dates import format_date, format_datetime, format_timedelta
from flask_babel import get_locale, pgettext
from flask_babel import gettext as _
from markupsafe import Markup

from integration.config.models import zone_of
from integration.domain.timestamps import iso_seconds

if TYPE_CHECKING:
    from integration.config.models import Config

_THIS_YEAR = "d MMM"
_ANOTHER_YEAR = "d MMM y"
_NEAR = timedelta(hours=12)


class AccountZones:
    """The time zones of the accounts, for templates that list recalls of several accounts."""

    def __init__(self, config: Config) -> None:
        self._config = config

    def of(self, account: str | None = None) -> tzinfo:
        """Return the zone of an account; for None or an unknown account, the most common zone."""
        return zone_of(self._config, account)


def clock(moment: datetime, zone: tzinfo, now: datetime | None = None) -> str:
    """Return a time in a zone, such as "tomorrow 17:30" or "3 Mar 17:30".

    The day is a word for yesterday, today and tomorrow, else the date. Past times have seconds, because
    the steps of a push take less than a minute.
    """
    now = now or datetime.now(UTC)
    local, today = moment.astimezone(zone), now.astimezone(zone).date()
    form = "HH:mm" if moment > now else "HH:mm:ss"
    return f"{_day(local.date(), today)} {format_datetime(moment, form, tzinfo=zone, locale=get_locale())}"


def clock_with_zone(moment: datetime, zone: tzinfo) -> str:
    """Return a time in a zone with the zone's offset, such as "tomorrow 17:30 GMT-05:00"."""
    offset = format_datetime(moment, "OOOO", tzinfo=zone, locale=get_locale())
    return f"{clock(moment, zone)} {offset}"


def _day(day: date, today: date) -> str:
    words = {-1: _("yesterday"), 0: _("today"), 1: _("tomorrow")}
    form = _THIS_YEAR if day.year == today.year else _ANOTHER_YEAR
    return words.get((day - today).days) or str(format_date(day, form, locale=get_locale()))


def ago(moment: datetime, now: datetime | None = None) -> str:
    """Return a time relative to now, such as "5 min ago" or "in 5 min".

    Full stops are removed: CLDR abbreviates units with one in some languages ("há 5 min."), and the result
    can stand within a sentence.
    """
    delta = moment - (now or datetime.now(UTC))
    words = format_timedelta(delta, add_direction=True, format="short", threshold=1.3, locale=get_locale())
    return str(words).replace(".", "")


def duration(seconds: float | None) -> str:
    """Return a duration in its largest unit, such as "3 hr". Return "" for None."""
    if seconds is None:
        return ""
    delta = timedelta(seconds=max(0.0, seconds))
    return str(format_timedelta(delta, format="short", threshold=1.3, locale=get_locale()))


def when(moment: datetime | None, zone: tzinfo) -> str:
    """Return a time as HTML, in the zone, or "" for None. The tooltip has the full date and the zone.

    If the time is less than 12 hours from now, the relative time follows.
    """
    if moment is None:
        return ""
    form = pgettext("date", "EEEE d MMMM y") + " HH:mm:ss zzzz (OOOO)"
    whole = format_datetime(moment, form, tzinfo=zone, locale=get_locale())
    is_near = abs(moment - datetime.now(UTC)) < _NEAR
    relative = Markup("<small>{}</small>").format(ago(moment)) if is_near else ""
    return Markup('<time datetime="{}" title="{}">{} {}</time>').format(
        iso_seconds(moment.astimezone(UTC)), whole, clock(moment, zone), relative
    )


def zone_label(zone: tzinfo) -> str:
    """Return the name and the current offset of a zone, such as "America/Bogota (GMT-05:00)"."""
    now = datetime.now(UTC).astimezone(zone)
    return f"{zone} ({format_datetime(now, 'OOOO', tzinfo=zone, locale=get_locale())})"


def hour_and_minute(moment: datetime, zone: tzinfo) -> str:
    """Return the time of day in a zone, as HH:MM."""
    return str(format_datetime(moment, "HH:mm", tzinfo=zone, locale=get_locale()))


def clock_or_day(moment: datetime, zone: tzinfo) -> str:
    """Return the time of day in a zone, as HH:MM, after the day and month if these are not today's."""
    today = datetime.now(UTC).astimezone(zone).date()
    form = "HH:mm" if moment.astimezone(zone).date() == today else "d MMM HH:mm"
    return str(format_datetime(moment, form, tzinfo=zone, locale=get_locale()))
