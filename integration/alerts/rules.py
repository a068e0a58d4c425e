"""Evaluates the alert rules against `RuleFacts`. Does no I/O.

A rule matches for a subject: an account, a source or the installation. The key of a match does not depend
on the order of the rules in the file, so no message is sent twice when the rules are reordered. Matches
of configured rules, a pending configuration change and an unsafe store are sent to the channels. Matches
of built-in rules are only displayed on the page "Requires attention".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from integration.config.alert_models import (
    DeadLetters,
    DeliveriesLost,
    DueLag,
    LookupsFailing,
    NothingVerified,
    NoWorker,
    OldestQueued,
    QueueStopped,
    QuotaUsed,
    SourceSilent,
)
from integration.domain.schedule import open_time
from integration.store.monitoring.alerts import BUILT_IN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from integration.config.alert_models import Rule
    from integration.config.models import Config
    from integration.domain.account import AccountView
    from integration.store.monitoring.config_changes import PendingChange
    from integration.store.monitoring.lookup_status import LookupStatus
    from integration.store.monitoring.source_status import SourceActivity

    Value = str | int | float

# Rejected deliveries are forgotten after this time without another one.
REFUSED_LATELY: Final = timedelta(hours=24)
PENDING_KIND: Final = "config-pending"
STORE_UNSAFE_KIND: Final = "store-unsafe"
MOST_REMOVED: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleFacts:
    """The input of the rules at `now` (aware).

    `sources`, `lookups` and `parked` (the number of parked events) are by source. `workers` is the number
    of running workers, and `stalled` the number of those that receive no wake-ups. `due_lag_seconds` is
    the longest time that a due queue has waited for a worker. `config_faulty` is True if the
    configuration files have a fault, so that an earlier version is in use. `pending` has the
    configuration changes that an operator must accept. `store_problem` is the reason why the store may
    lose data or rejects writes; None if there is none.
    """

    now: datetime
    accounts: Sequence[AccountView]
    sources: Mapping[str, SourceActivity]
    workers: int
    due_lag_seconds: float
    stalled: int = 0
    parked: Mapping[str, int] = field(default_factory=dict)
    config_faulty: bool = False
    lookups: Mapping[str, LookupStatus] = field(default_factory=dict)
    pending: Sequence[PendingChange] = ()
    store_problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleMatch:
    """A match of a rule. `subject` is an account or a source, "" for the installation.

    `values` are the values for the placeholders of the message. The alert begins when the rule has
    matched for `hold`. Without `channels` no message is sent.
    """

    key: str
    kind: str
    subject: str
    channels: frozenset[str]
    values: Mapping[str, Value] = field(default_factory=dict)
    hold: timedelta = timedelta(0)


def matching_rules(config: Config, facts: RuleFacts) -> dict[str, RuleMatch]:
    """Return the matches of the configured rules, of pending changes and of an unsafe store, by key.

    Rules with the same key make one match with the channels of all. Pending changes need no configured
    rule, because they may remove the rules. An unsafe store needs none, because acknowledged recalls may
    be lost.
    """
    found = {match.key: match for match in (*_pending_changes(config, facts), *_store_unsafe(config, facts))}
    for rule in config.alerts.rules:
        channels = frozenset(rule.channels or config.alerts.channels)
        for subject, values, hold in _CHECKS[type(rule)](rule, config, facts):
            key = _start(rule) + subject
            before = found[key].channels if key in found else frozenset()
            found[key] = RuleMatch(
                key=key,
                kind=rule.kind,
                subject=subject,
                channels=channels | before,
                values=values,
                hold=hold,
            )
    return found


def all_matches(config: Config, facts: RuleFacts) -> dict[str, RuleMatch]:
    """Return the matches of `matching_rules` and `built_in_matches`, by key."""
    return {**built_in_matches(config, facts), **matching_rules(config, facts)}


def built_in_matches(config: Config, facts: RuleFacts) -> dict[str, RuleMatch]:
    """Return the matches of the built-in rules, by key. Built-in matches have no channels."""
    found: list[tuple[str, str, Mapping[str, Value]]] = [
        (rule.kind, subject, values)
        for rule in _BUILT_IN_RULES
        for subject, values, _ in _CHECKS[type(rule)](rule, config, facts)
    ]
    found += [("parked-events", source, {"parked": number}) for source, number in facts.parked.items()]
    if facts.stalled:
        found.append(("workers-stalled", "", {"workers": facts.stalled}))
    if facts.config_faulty:
        found.append(("config-faulty", "", {}))
    return {
        key: RuleMatch(key=key, kind=kind, subject=subject, channels=frozenset(), values=values)
        for kind, subject, values in found
        for key in (f"{BUILT_IN}{kind}/{subject}",)
    }


def _pending_changes(config: Config, facts: RuleFacts) -> Iterator[RuleMatch]:
    for change in facts.pending:
        yield RuleMatch(
            key=f"{PENDING_KIND}/{change.digest}/",
            kind=PENDING_KIND,
            subject="",
            channels=frozenset(config.alerts.channels),
            values={"removed": "; ".join(map(str, change.removed[:MOST_REMOVED]))},
        )


def _store_unsafe(config: Config, facts: RuleFacts) -> Iterator[RuleMatch]:
    if facts.store_problem is not None:
        yield RuleMatch(
            key=f"{STORE_UNSAFE_KIND}//",
            kind=STORE_UNSAFE_KIND,
            subject="",
            channels=frozenset(config.alerts.channels),
            values={"reason": facts.store_problem},
        )


def rule_label(rule: Rule) -> str:
    """Return the kind of a rule and its limit if it has one, such as "no-worker 5 minutes"."""
    limit = _limit(rule)
    return f"{rule.kind} {limit}" if limit else rule.kind


def of_rule(rule: Rule, key: str) -> bool:
    """Return True if the alert with this key has the kind and the limit of `rule`."""
    return key.startswith(_start(rule))


def _start(rule: Rule) -> str:
    return f"{rule.kind}/{_limit(rule)}/"


def _limit(rule: Rule) -> str:
    for name in ("minutes", "hours", "seconds", "percent", "count"):
        value = getattr(rule, name, None)
        if value is not None:
            return f"{value:g} {name}"
    return ""


RuleFinding = tuple[str, dict[str, "Value"], timedelta]
NOW: Final = timedelta(0)


def _accounts(
    rule: QueueStopped | OldestQueued | DeadLetters | QuotaUsed, facts: RuleFacts
) -> Iterator[AccountView]:
    return (view for view in facts.accounts if rule.accounts is None or view.name in rule.accounts)


def _queue_stopped(rule: QueueStopped, _config: Config, facts: RuleFacts) -> Iterator[RuleFinding]:
    for view in _accounts(rule, facts):
        if view.state == "stopped":
            yield view.name, {"reason": view.reason or "", "queued": view.queued}, NOW


def _oldest_queued(rule: OldestQueued, _config: Config, facts: RuleFacts) -> Iterator[RuleFinding]:
    for view in _accounts(rule, facts):
        if view.oldest_seconds is not None and view.oldest_seconds > rule.minutes * 60:
            values: dict[str, Value] = {
                "minutes": int(view.oldest_seconds // 60),
                "queued": view.queued,
                "state": view.state,
                "reason": view.reason or "",
            }
            yield view.name, values, NOW


def _dead_letters(rule: DeadLetters, _config: Config, facts: RuleFacts) -> Iterator[RuleFinding]:
    for view in _accounts(rule, facts):
        if view.dead >= rule.count:
            yield view.name, {"dead": view.dead}, NOW


def _quota_used(rule: QuotaUsed, _config: Config, facts: RuleFacts) -> Iterator[RuleFinding]:
    for view in _accounts(rule, facts):
        if view.daily_limit and 100 * view.pushed_today >= rule.percent * view.daily_limit:
            values: dict[str, Value] = {
                "pushed": view.pushed_today,
                "limit": view.daily_limit,
                "percent": 100 * view.pushed_today // view.daily_limit,
            }
            yield view.name, values, NOW


def _sources(
    rule: SourceSilent | NothingVerified | DeliveriesLost, facts: RuleFacts
) -> Iterator[tuple[str, SourceActivity]]:
    return (
        (name, activity)
        for name, activity in facts.sources.items()
        if rule.sources is None or name in rule.sources
    )


def _source_silent(rule: SourceSilent, config: Config, facts: RuleFacts) -> Iterator[RuleFinding]:
    for name, activity in _sources(rule, facts):
        # A source without a delivery is still being set up.
        if activity.taken is None:
            continue
        silent = _counted(rule, config, activity.taken, facts.now)
        if silent >= timedelta(hours=rule.hours):
            yield name, {"hours": int(silent.total_seconds() // 3600), "last": _utc_text(activity.taken)}, NOW


def _counted(rule: SourceSilent, config: Config, begin: datetime, end: datetime) -> timedelta:
    account = config.accounts.get(rule.hours_of) if rule.hours_of else None
    if account is None or account.calling_hours is None:
        return end - begin
    return open_time(account.calling_hours, account.timezone, begin, end)


def _nothing_verified(rule: NothingVerified, _config: Config, facts: RuleFacts) -> Iterator[RuleFinding]:
    for name, activity in _sources(rule, facts):
        since, last = activity.refusing_since, activity.refused
        if since is None or last is None or facts.now - last > REFUSED_LATELY:
            continue
        if facts.now - since >= timedelta(minutes=rule.minutes):
            yield name, {"refusals": activity.refusals, "since": _utc_text(since)}, NOW


def _deliveries_lost(rule: DeliveriesLost, _config: Config, facts: RuleFacts) -> Iterator[RuleFinding]:
    for name, activity in _sources(rule, facts):
        since, last = activity.lost_since, activity.lost
        if since is None or last is None or facts.now - last >= timedelta(minutes=rule.minutes):
            continue
        yield name, {"losses": activity.losses, "since": _utc_text(since)}, NOW


def _lookups_failing(rule: LookupsFailing, _config: Config, facts: RuleFacts) -> Iterator[RuleFinding]:
    for name, status in facts.lookups.items():
        failure = status.failure
        if failure is None or not status.events or not (rule.sources is None or name in rule.sources):
            continue
        if facts.now - failure.since >= timedelta(minutes=rule.minutes):
            values: dict[str, Value] = {
                "provider": status.provider,
                "events": status.events,
                "reason": failure.reason,
                "since": _utc_text(failure.since),
                # "" if the source waits until its lookup is changed
                "next_try": "" if failure.next_try is None else _utc_text(failure.next_try),
            }
            yield name, values, NOW


def _no_worker(rule: NoWorker, _config: Config, facts: RuleFacts) -> Iterator[RuleFinding]:
    if facts.workers == 0:
        queued = sum(view.queued for view in facts.accounts)
        yield "", {"queued": queued}, timedelta(minutes=rule.minutes)


def _due_lag(rule: DueLag, _config: Config, facts: RuleFacts) -> Iterator[RuleFinding]:
    if facts.due_lag_seconds >= rule.seconds:
        yield "", {"seconds": int(facts.due_lag_seconds), "workers": facts.workers}, NOW


def _utc_text(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


_CHECKS: Final[Mapping[type[Rule], Callable[..., Iterator[RuleFinding]]]] = {
    QueueStopped: _queue_stopped,
    OldestQueued: _oldest_queued,
    DeadLetters: _dead_letters,
    QuotaUsed: _quota_used,
    SourceSilent: _source_silent,
    NothingVerified: _nothing_verified,
    DeliveriesLost: _deliveries_lost,
    LookupsFailing: _lookups_failing,
    NoWorker: _no_worker,
    DueLag: _due_lag,
}
_BUILT_IN_RULES: Final[tuple[Rule, ...]] = (
    QueueStopped(kind="queue-stopped"),
    OldestQueued(kind="oldest-queued"),
    DeadLetters(kind="dead-letters"),
    QuotaUsed(kind="quota-used", percent=100),
    NothingVerified(kind="nothing-verified"),
    DeliveriesLost(kind="deliveries-lost", minutes=1440),
    LookupsFailing(kind="lookups-failing", minutes=0),
    NoWorker(kind="no-worker", minutes=0),
    DueLag(kind="due-lag"),
)
