"""Decides which alerts begin, continue and end, and which messages are sent. Does no I/O."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from integration.store.monitoring.alerts import Alert, AlertChanges, AlertMessage, Phase, QueuedMessage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from integration.alerts.rules import RuleMatch

# When wolkvox is away, thousands of accounts may have the same kind of alert.
MOST_SINGLE: Final = 5
MOST_NAMED: Final = 20
# An alert ends this long after its cause has ended, so that a flapping cause sends few messages.
CLEAR_AFTER: Final = timedelta(seconds=60)


def next_steps(known: Mapping[str, Alert], found: Mapping[str, RuleMatch], now: datetime) -> AlertChanges:
    """Return the alerts to save and the messages to send. `known` and `found` are by alert key.

    `now` is aware.
    """
    keep: list[Alert] = []
    begin: list[Alert] = []
    forget, finish = [], []
    for key, finding in found.items():
        alert = _updated(known.get(key), finding, now)
        (begin if not alert.on and now - alert.since >= finding.hold else keep).append(alert)
    for key in known.keys() - found.keys():
        alert = known[key]
        clear_since = alert.clear_since or now
        if not alert.on or (alert.built_in and now - clear_since >= CLEAR_AFTER):
            forget.append(alert)
        elif now - clear_since >= CLEAR_AFTER:
            finish.append(_changed(alert, over=now))
        else:
            keep.append(_changed(alert, clear_since=clear_since))
    begin = [_changed(alert, on=True) for alert in begin]
    return AlertChanges(
        keep=tuple(keep),
        forget=tuple(forget),
        begin=tuple(begin),
        finish=tuple(finish),
        messages=(*_messages(begin, "begins", now), *_messages(finish, "is over", now)),
    )


def _updated(alert: Alert | None, finding: RuleMatch, now: datetime) -> Alert:
    return Alert(
        key=finding.key,
        kind=finding.kind,
        subject=finding.subject,
        since=now if alert is None else alert.since,
        on=alert is not None and alert.on,
        channels=finding.channels,
        values=finding.values,
    )


def _changed(alert: Alert, **changes: Any) -> Alert:
    fields = {name: getattr(alert, name) for name in Alert.__slots__}
    return Alert(**{**fields, **changes})


def _messages(alerts: Sequence[Alert], phase: Phase, now: datetime) -> Iterator[QueuedMessage]:
    """Yield one message per alert that has channels.

    More than MOST_SINGLE alerts with the same kind and channels share one message.
    """
    groups: dict[tuple[str, frozenset[str]], list[Alert]] = {}
    for alert in alerts:
        if alert.channels:
            groups.setdefault((alert.kind, alert.channels), []).append(alert)
    for group in groups.values():
        if len(group) > MOST_SINGLE:
            yield _posted(group, _summary(group, phase, now))
        else:
            yield from (_posted([alert], alert.message(phase, now)) for alert in group)


def _posted(alerts: Sequence[Alert], message: AlertMessage) -> QueuedMessage:
    return QueuedMessage(tuple(alert.key for alert in alerts), alerts[0].channels, message)


def _summary(alerts: Sequence[Alert], phase: Phase, now: datetime) -> AlertMessage:
    first = min(alerts, key=lambda alert: (alert.since, alert.key))
    names = sorted(alert.subject for alert in alerts)
    more = max(0, len(names) - MOST_NAMED)
    values = {"number": len(names), "names": names[:MOST_NAMED], "more": more}
    return replace(first.message(phase, now), subject="", values=values)
