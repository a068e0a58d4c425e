"""Labels of accounts and their queues, in the user's language."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from babel.dates import get_day_names
from flask_babel import get_locale, ngettext
from flask_babel import gettext as _

from integration.alerts.messages import text_of
from integration.dashboard.language import language
from integration.dashboard.presenting.labels import label_for, state_label
from integration.dashboard.presenting.times import clock_or_day

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import tzinfo

    from integration.dashboard.presenting.account_overview import QuotaUse
    from integration.store.monitoring.alerts import Alert

QUEUE_STATES: Final = ("stopped", "paused", "waiting", "busy", "idle")


def state_options() -> list[tuple[str, str]]:
    """Return the queue states for a filter, as pairs of value and label."""
    return [(state, state_label(state)) for state in QUEUE_STATES]


def queue_counts_text(queues: Mapping[str, int]) -> str:
    """Return the numbers of stopped, paused and waiting queues as text, or that all queues may push."""
    parts = (
        ngettext("%(num)d stopped", "%(num)d stopped", queues["stopped"]) if queues["stopped"] else "",
        ngettext("%(num)d paused", "%(num)d paused", queues["paused"]) if queues["paused"] else "",
        ngettext("%(num)d waiting", "%(num)d waiting", queues["waiting"]) if queues["waiting"] else "",
    )
    return ", ".join(words for words in parts if words) or _("all queues may push")


def quota_label(quota: QuotaUse, zone: tzinfo) -> str:
    """Return a text on when the daily quota is used up and when it resets, with times in `zone`."""
    reset = clock_or_day(quota.resets_at, zone)
    if quota.share >= 1:
        return str(_("used up; resets %(time)s", time=reset))
    if quota.out_at is not None:
        out = clock_or_day(quota.out_at, zone)
        return str(_("used up about %(out)s at the current rate; resets %(time)s", out=out, time=reset))
    return str(_("enough at the current rate; resets %(time)s", time=reset))


def alert_label(alert: Alert) -> tuple[str, str]:
    """Return the title and text of an alert."""
    return text_of(alert.kind, alert.subject, alert.values, language(), label_for)


def weekdays() -> list[str]:
    """Return the names of the weekdays, Monday first."""
    names = get_day_names("wide", locale=get_locale())
    return [str(names[day]) for day in range(7)]
