"""Alerts in the store: active alerts, past alerts, and messages to be sent.

The script records the beginning or end of an alert and queues the messages in one step, so that only one
process begins or ends an alert. A message may be sent twice if the process that sends it dies before it
has recorded the success.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal

import orjson

from integration.domain.json_codec import read_json
from integration.domain.timestamps import epoch_ms, epoch_seconds, from_epoch_seconds, from_iso, iso_seconds
from integration.telemetry.redaction import masked

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from integration.store.client import Store

ELECTED_SECONDS: Final = 30.0
# Key prefix of built-in alerts, which no configured rule defines. No messages are sent for them.
BUILT_IN: Final = "built-in/"
HOLD_SECONDS: Final = 60.0


Phase = Literal["begins", "is over", "test"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertMessage:
    """A message about an alert.

    `since` is when the alert began, `at` when this was detected (aware, UTC).
    """

    id: str
    phase: Phase
    kind: str
    subject: str
    since: datetime
    at: datetime
    values: Mapping[str, Any] = field(default_factory=dict)

    def to_fields(self) -> dict[str, Any]:
        """Return the message as a dict for JSON."""
        return {
            "id": self.id,
            "phase": self.phase,
            "kind": self.kind,
            "subject": self.subject,
            "since": iso_seconds(self.since.astimezone(UTC)),
            "at": iso_seconds(self.at.astimezone(UTC)),
            "values": {name: masked(value) for name, value in self.values.items()},
        }

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> AlertMessage:
        """Return the message from the result of `to_fields`."""
        moments = {name: from_iso(fields[name]) for name in ("since", "at")}
        return cls(**{**fields, **moments})


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """An active or past alert. Times are aware, UTC.

    `on` is True once the alert was reported; before, its condition must hold for a while. `clear_since`
    is the time when the condition ended, `over` the time when the alert ended.
    """

    key: str
    kind: str
    subject: str
    since: datetime
    on: bool
    channels: frozenset[str]
    values: Mapping[str, Any] = field(default_factory=dict)
    clear_since: datetime | None = None
    over: datetime | None = None

    @property
    def built_in(self) -> bool:
        """Return True if no rule of the configuration defines this alert."""
        return self.key.startswith(BUILT_IN)

    def to_json(self) -> str:
        """Return the alert as JSON for the store."""
        fields = {
            "key": self.key,
            "kind": self.kind,
            "subject": self.subject,
            "since": epoch_seconds(self.since),
            "on": self.on,
            "channels": sorted(self.channels),
            "values": {name: masked(value) for name, value in self.values.items()},
            "clear_since": None if self.clear_since is None else epoch_seconds(self.clear_since),
            "over": None if self.over is None else epoch_seconds(self.over),
        }
        return orjson.dumps(fields).decode()

    def message(self, phase: Phase, at: datetime) -> AlertMessage:
        """Return the message about a phase, detected at `at`. The id does not depend on `at`."""
        return AlertMessage(
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
    moments = {name: _moment(fields[name]) for name in ("clear_since", "over")}
    since = from_epoch_seconds(fields["since"])
    return Alert(**{**fields, **moments, "since": since, "channels": frozenset(fields["channels"])})


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else from_epoch_seconds(seconds)


@dataclass(frozen=True, slots=True)
class QueuedMessage:
    """A message to be queued for channels, with the keys of its alerts."""

    keys: tuple[str, ...]
    channels: frozenset[str]
    message: AlertMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertChanges:
    """The changes of one evaluation.

    `keep` has the alerts to update, `forget` those to delete without a message, `begin` those that begin,
    `finish` those that end. `messages` has the messages about `begin` and `finish`.
    """

    keep: tuple[Alert, ...]
    forget: tuple[Alert, ...]
    begin: tuple[Alert, ...]
    finish: tuple[Alert, ...]
    messages: tuple[QueuedMessage, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """The waiting messages of a channel: number, tries of the oldest, and the last error or ""."""

    messages: int
    tries: int
    trouble: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DueMessage:
    """A message to be sent now. `text` is its stored form. `tries` includes this attempt."""

    channel: str
    message: AlertMessage
    text: str
    tries: int


class AlertStore:
    """The alerts of a store. Each method may raise StoreAwayError."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def elect(self, who: str) -> bool:
        """Return True if the process `who` evaluates the rules for the next 30 seconds."""
        return bool(self._store.call("elect_alert_monitor", who, round(ELECTED_SECONDS * 1000)))

    def first_this_minute(self, what: str) -> bool:
        """Return True for the first call with `what` within 55 seconds, over all processes."""
        client, key = self._store.client, self._store.key(f"once:{what}")
        return bool(self._store.guarded(lambda: client.set(key, "1", nx=True, px=55_000)))

    def holding(self) -> list[Alert]:
        """Return the active alerts of configured rules, oldest first, including unreported ones."""
        return [alert for alert in self.problems() if not alert.built_in]

    def problems(self) -> list[Alert]:
        """Return the active alerts, oldest first, including built-in ones."""
        found = self._store.guarded(lambda: self._store.client.hvals(self._store.key("alerts")))
        return sorted(map(_alert, found), key=lambda alert: (alert.since, alert.key))

    def past(self, limit: int = 20) -> list[Alert]:
        """Return at most `limit` past alerts, newest first. The store keeps the latest 100."""
        key = self._store.key("alerts:past")
        return list(map(_alert, self._store.guarded(lambda: self._store.client.lrange(key, 0, limit - 1))))

    def settle(self, steps: AlertChanges) -> tuple[list[Alert], list[Alert]]:
        """Apply the changes. Return the alerts that this call began and the alerts that it ended."""
        changes = {
            "keep": {alert.key: alert.to_json() for alert in steps.keep},
            "forget": [alert.key for alert in steps.forget],
            "begin": [{"key": alert.key, "record": alert.to_json()} for alert in steps.begin],
            "finish": [{"key": alert.key, "record": alert.to_json()} for alert in steps.finish],
            "messages": [
                {
                    "keys": queued.keys,
                    "channels": sorted(queued.channels),
                    "message": orjson.dumps(queued.message.to_fields()).decode(),
                }
                for queued in steps.messages
            ],
        }
        done = set(self._store.call("settle_alerts", orjson.dumps(changes)))
        return (
            [alert for alert in steps.begin if alert.key in done],
            [alert for alert in steps.finish if alert.key in done],
        )

    def take(self) -> list[DueMessage]:
        """Return the oldest message of each due channel, and reserve these channels for a minute."""
        flat = self._store.call("take_messages", round(HOLD_SECONDS * 1000))
        return [
            DueMessage(
                channel=channel,
                message=AlertMessage.from_fields(read_json(text)),
                text=text,
                tries=int(tries),
            )
            for channel, text, tries in zip(flat[::3], flat[1::3], flat[2::3], strict=True)
        ]

    def done(self, taken: DueMessage) -> None:
        """Remove a message from the queue of its channel, after it was sent or given up."""
        self._store.call("message_done", taken.channel, taken.text)

    def wait(self, taken: DueMessage, seconds: float, reason: str) -> None:
        """Postpone a channel's messages by `seconds` after a failure, and record its reason."""
        self._store.call("message_waits", taken.channel, round(seconds * 1000), reason)

    def waiting(self, channels: Iterable[str]) -> dict[str, Backlog]:
        """Return the backlog of each channel."""
        names = list(channels)

        def commands(pipe: Any) -> None:
            for name in names:
                pipe.llen(self._store.key(f"outbox:{name}"))
                pipe.hget(self._store.key("outbox:tries"), name)
                pipe.hget(self._store.key("outbox:trouble"), name)

        flat = self._store.pipelined(commands)
        rows = zip(flat[::3], flat[1::3], flat[2::3], strict=True)
        return {
            name: Backlog(messages=int(number), tries=int(tries or 0), trouble=trouble or "")
            for name, (number, tries, trouble) in zip(names, rows, strict=True)
        }
