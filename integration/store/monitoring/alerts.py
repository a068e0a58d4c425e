"""What the store remembers of alerts: which hold, which are over, and the messages that wait.

An alert begins once and is over once, over all processes, because the store decides both in one step with
the messages about them. A message may be sent twice where a sender dies between sending and noting it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import orjson

from integration.alerts.messages import Message, Phase, harmless
from integration.domain.json_codec import read_json
from integration.domain.timestamps import epoch_ms, epoch_seconds, from_epoch_seconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from integration.alerts.rules import Finding
    from integration.store.client import Store

MINDED_SECONDS: Final = 30.0
HOLD_SECONDS: Final = 60.0
# When wolkvox is away, thousands of accounts may have the same to tell: that is one message.
MOST_SINGLE: Final = 5
MOST_NAMED: Final = 20
# An alert whose cause is gone is over after this long, so that one that comes and goes tells little.
CALM: Final = timedelta(seconds=60)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """An alert that holds, or did. Moments are aware, UTC.

    `on`: it was told; before that it has to hold for a while. `calm_since`: its cause is gone since then.
    `over`: when it ended.
    """

    key: str
    kind: str
    subject: str
    since: datetime
    on: bool
    channels: frozenset[str]
    values: Mapping[str, Any] = field(default_factory=dict)
    calm_since: datetime | None = None
    over: datetime | None = None

    def to_json(self) -> str:
        """Write it for the store."""
        fields = {
            "key": self.key,
            "kind": self.kind,
            "subject": self.subject,
            "since": epoch_seconds(self.since),
            "on": self.on,
            "channels": sorted(self.channels),
            "values": {name: harmless(value) for name, value in self.values.items()},
            "calm_since": None if self.calm_since is None else epoch_seconds(self.calm_since),
            "over": None if self.over is None else epoch_seconds(self.over),
        }
        return orjson.dumps(fields).decode()

    def message(self, phase: Phase, at: datetime) -> Message:
        """Say that it begins, or is over. Sent again it is the same message."""
        return Message(
            id=f"alert_{phase.replace(' ', '-')}_{epoch_ms(self.since)}_{_name(self.key)}",
            phase=phase,
            kind=self.kind,
            subject=self.subject,
            since=self.since,
            at=at,
            values=self.values,
        )


def _name(key: str) -> str:
    return "".join(sign if sign.isalnum() else "-" for sign in key)


def _alert(text: str) -> Alert:
    fields = read_json(text)
    moments = {name: _moment(fields[name]) for name in ("calm_since", "over")}
    since = from_epoch_seconds(fields["since"])
    return Alert(**{**fields, **moments, "since": since, "channels": frozenset(fields["channels"])})


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else from_epoch_seconds(seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """What is to become of the alerts: those that go on, are forgotten untold, begin, and are over."""

    keep: tuple[Alert, ...]
    forget: tuple[Alert, ...]
    begin: tuple[Alert, ...]
    finish: tuple[Alert, ...]


def next_steps(known: Mapping[str, Alert], found: Mapping[str, Finding], now: datetime) -> Steps:
    """Decide from what is known and what holds now. Pure."""
    keep: list[Alert] = []
    begin: list[Alert] = []
    forget, finish = [], []
    for key, finding in found.items():
        alert = _seen(known.get(key), finding, now)
        (begin if not alert.on and now - alert.since >= finding.hold else keep).append(alert)
    for key in known.keys() - found.keys():
        alert = known[key]
        calm_since = alert.calm_since or now
        if not alert.on:
            forget.append(alert)
        elif now - calm_since >= CALM:
            finish.append(_changed(alert, over=now))
        else:
            keep.append(_changed(alert, calm_since=calm_since))
    return Steps(
        keep=tuple(keep),
        forget=tuple(forget),
        begin=tuple(_changed(alert, on=True) for alert in begin),
        finish=tuple(finish),
    )


def _seen(alert: Alert | None, finding: Finding, now: datetime) -> Alert:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Messages that wait for a channel: how many, since how many tries the oldest, and what went wrong."""

    messages: int
    tries: int
    trouble: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A message taken to be sent now. `text` is how the store has it; `tries` counts this one."""

    channel: str
    message: Message
    text: str
    tries: int


class Alerts:
    """The alerts of a store. Everything here raises StoreAwayError."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def mind(self, who: str) -> bool:
        """Tell whether this process is the one that judges, for the next 30 seconds."""
        return bool(self._store.call("mind_alerts", who, round(MINDED_SECONDS * 1000)))

    def first_this_minute(self, what: str) -> bool:
        """Tell whether nobody else has asked this in the last minute."""
        client, key = self._store.client, self._store.key(f"once:{what}")
        return bool(self._store.guarded(lambda: client.set(key, "1", nx=True, px=55_000)))

    def holding(self) -> list[Alert]:
        """Give the alerts that hold, oldest first; those not told yet are among them."""
        found = self._store.guarded(lambda: self._store.client.hvals(self._store.key("alerts")))
        return sorted(map(_alert, found), key=lambda alert: (alert.since, alert.key))

    def past(self, limit: int = 20) -> list[Alert]:
        """Give the latest alerts that are over, newest first."""
        key = self._store.key("alerts:past")
        return list(map(_alert, self._store.guarded(lambda: self._store.client.lrange(key, 0, limit - 1))))

    def settle(self, steps: Steps, now: datetime) -> tuple[list[Alert], list[Alert]]:
        """Take the steps; gives the alerts that began and those that are over, by this call alone."""
        told = {
            "keep": {alert.key: alert.to_json() for alert in steps.keep},
            "forget": [alert.key for alert in steps.forget],
            "begin": [{"key": alert.key, "record": alert.to_json()} for alert in steps.begin],
            "finish": [{"key": alert.key, "record": alert.to_json()} for alert in steps.finish],
            "messages": [*_messages(steps.begin, "begins", now), *_messages(steps.finish, "is over", now)],
        }
        done = set(self._store.call("settle_alerts", orjson.dumps(told)))
        return (
            [alert for alert in steps.begin if alert.key in done],
            [alert for alert in steps.finish if alert.key in done],
        )

    def take(self) -> list[Taken]:
        """Take what is due to be sent; who takes a channel has it for a minute."""
        flat = self._store.call("take_messages", round(HOLD_SECONDS * 1000))
        return [
            Taken(
                channel=channel,
                message=Message.from_fields(read_json(text)),
                text=text,
                tries=int(tries),
            )
            for channel, text, tries in zip(flat[::3], flat[1::3], flat[2::3], strict=True)
        ]

    def done(self, taken: Taken) -> None:
        """Note that a message needs no more sending."""
        self._store.call("message_done", taken.channel, taken.text)

    def wait(self, taken: Taken, seconds: float, reason: str) -> None:
        """Let a channel wait after a failure."""
        self._store.call("message_waits", taken.channel, round(seconds * 1000), reason)

    def waiting(self, channels: Iterable[str]) -> dict[str, Waiting]:
        """Tell what waits for each of these channels."""
        names = list(channels)

        def queue(pipe: Any) -> None:
            for name in names:
                pipe.llen(self._store.key(f"outbox:{name}"))
                pipe.hget(self._store.key("outbox:tries"), name)
                pipe.hget(self._store.key("outbox:trouble"), name)

        flat = self._store.pipelined(queue)
        rows = zip(flat[::3], flat[1::3], flat[2::3], strict=True)
        return {
            name: Waiting(messages=int(number), tries=int(tries or 0), trouble=trouble or "")
            for name, (number, tries, trouble) in zip(names, rows, strict=True)
        }


def _messages(alerts: Sequence[Alert], phase: Phase, now: datetime) -> Iterator[dict[str, Any]]:
    """Give the messages about alerts: one for each, and one for all where many of a kind come at once."""
    groups: dict[tuple[str, frozenset[str]], list[Alert]] = {}
    for alert in alerts:
        groups.setdefault((alert.kind, alert.channels), []).append(alert)
    for group in groups.values():
        if len(group) > MOST_SINGLE:
            yield _posted(group, _together(group, phase, now))
        else:
            yield from (_posted([alert], alert.message(phase, now)) for alert in group)


def _posted(alerts: Sequence[Alert], message: Message) -> dict[str, Any]:
    return {
        "keys": [alert.key for alert in alerts],
        "channels": sorted(alerts[0].channels),
        "message": orjson.dumps(message.to_fields()).decode(),
    }


def _together(alerts: Sequence[Alert], phase: Phase, now: datetime) -> Message:
    first = min(alerts, key=lambda alert: (alert.since, alert.key))
    names = sorted(alert.subject for alert in alerts)
    more = max(0, len(names) - MOST_NAMED)
    values = {"number": len(names), "names": names[:MOST_NAMED], "more": more}
    return replace(first.message(phase, now), subject="", values=values)
