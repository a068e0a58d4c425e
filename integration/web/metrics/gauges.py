"""Gauges of recalls, queues, accounts and sources.

At most MOST_ACCOUNTS accounts have their own series: the first ones of `in_need_first`.
`ringback_queues`, `ringback_recalls` and `ringback_dates_at_risk` cover all accounts.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from prometheus_client.core import GaugeMetricFamily, Metric

from integration.clients.lookups import FailureKind
from integration.config.alert_models import RULE_KINDS
from integration.domain.timestamps import epoch_seconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from integration.domain.account import AccountView
    from integration.services.forecast import Forecast
    from integration.store.monitoring.process_registry import Process
    from integration.web.metrics.snapshot import Figures

QUEUE_STATES: Final = ("idle", "busy", "waiting", "paused", "stopped")
MOST_ACCOUNTS: Final = 500


def of_figures(figures: Figures) -> Iterator[Metric]:
    """Yield the gauges for the figures of the store."""
    yield gauge("ringback_parked_events", "Events that could not be mapped.", figures.parked)
    yield gauge("ringback_lookups_waiting", "Deliveries that wait for a lookup.", figures.lookups_waiting)
    yield gauge(
        "ringback_due_lag_seconds",
        "Longest time that a due queue has waited for a worker.",
        figures.due_lag_seconds,
    )
    recalls = GaugeMetricFamily("ringback_recalls", "Recalls in the store, by state.", labels=("state",))
    for state, number in figures.recalls.items():
        recalls.add_metric((state,), number)
    yield recalls
    yield from _of_memory(figures.memory)
    yield from of_accounts(figures.accounts, figures.forecasts)
    yield from _of_sources(figures)
    yield from _of_lookups(figures)
    yield from _of_processes(figures.processes)
    alerts = GaugeMetricFamily(
        "ringback_alerts", "Active alerts, by the kind of their rule.", labels=("kind",)
    )
    kinds = Counter(alert.kind for alert in figures.alerts)
    for kind in RULE_KINDS:
        alerts.add_metric((kind,), kinds[kind])
    yield alerts


def gauge(name: str, words: str, value: float) -> GaugeMetricFamily:
    """Return a gauge without labels."""
    return GaugeMetricFamily(name, words, value=value)


def _by_name(name: str, words: str, label: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, words, labels=(label,))


def _of_memory(memory: Mapping[str, int]) -> Iterator[Metric]:
    if "used_memory" in memory:
        yield gauge("ringback_store_memory_bytes", "Memory used by the store.", memory["used_memory"])
        yield gauge(
            "ringback_store_memory_limit_bytes",
            "Memory limit of the store; 0 if it has none.",
            memory.get("maxmemory", 0),
        )


def of_accounts(views: Sequence[AccountView], forecasts: Mapping[str, Forecast]) -> Iterator[Metric]:
    """Yield the totals of all accounts, and the series of the most urgent MOST_ACCOUNTS accounts."""
    states = Counter(view.state for view in views)
    queues = GaugeMetricFamily("ringback_queues", "Accounts by the state of their queue.", labels=("state",))
    for state in QUEUE_STATES:
        queues.add_metric((state,), states[state])
    yield queues
    at_risk = sum(forecast.at_risk for forecast in forecasts.values())
    yield gauge("ringback_dates_at_risk", "Queued recalls that will be late at the current rate.", at_risk)
    most_urgent = in_need_first(views)[:MOST_ACCOUNTS]
    yield from _account_metrics(most_urgent)
    risk = _by_name(
        "ringback_account_dates_at_risk",
        "Queued recalls of an account that will be late at the current rate.",
        "account",
    )
    for view in most_urgent:
        risk.add_metric((view.name,), forecasts[view.name].at_risk if view.name in forecasts else 0)
    yield risk


def in_need_first(views: Iterable[AccountView]) -> list[AccountView]:
    """Return the accounts, beginning with those that most need attention.

    They are sorted by the state of the queue (stopped, paused, waiting, busy, idle), then by the age of
    the oldest recall, the number of dead recalls, the used share of the daily limit, and the number of
    queued recalls.
    """
    return sorted(views, key=_need, reverse=True)


def _need(view: AccountView) -> tuple[float, ...]:
    used = view.pushed_today / view.daily_limit if view.daily_limit else 0.0
    return QUEUE_STATES.index(view.state), view.oldest_seconds or 0.0, view.dead, used, view.queued


def _account_metrics(views: Iterable[AccountView]) -> Iterator[Metric]:
    state = GaugeMetricFamily(
        "ringback_queue_state",
        "1 for the current state of the queue of an account.",
        labels=("account", "state"),
    )
    gauges = {
        "queued": _by_name("ringback_recalls_queued", "Queued recalls of an account.", "account"),
        "dead": _by_name("ringback_recalls_dead", "Recalls that wolkvox refused.", "account"),
        "pushed_today": _by_name(
            "ringback_pushed_today", "Calls to wolkvox since the daily limit was reset.", "account"
        ),
        "daily_limit": _by_name(
            "ringback_daily_limit", "Calls to wolkvox that the daily limit allows.", "account"
        ),
        "oldest_seconds": _by_name(
            "ringback_oldest_queued_seconds", "Age of the oldest queued recall.", "account"
        ),
    }
    for view in views:
        for name in QUEUE_STATES:
            state.add_metric((view.name, name), int(view.state == name))
        for attribute, metric in gauges.items():
            value = getattr(view, attribute)
            if value is not None:
                metric.add_metric((view.name,), value)
    yield state
    yield from gauges.values()


def _of_sources(figures: Figures) -> Iterator[Metric]:
    taken = _by_name(
        "ringback_source_last_taken_timestamp_seconds",
        "Time of the latest stored delivery of a source; absent before the first one.",
        "source",
    )
    for name, source in figures.sources.items():
        if source.taken is not None:
            taken.add_metric((name,), epoch_seconds(source.taken))
    yield taken


def _of_lookups(figures: Figures) -> Iterator[Metric]:
    events = _by_name(
        "ringback_lookup_events_waiting", "Events of a source that wait for a lookup.", "source"
    )
    failing = GaugeMetricFamily(
        "ringback_lookup_failing",
        "1 for the reason for which lookups of a source fail.",
        labels=("source", "reason"),
    )
    for name, status in figures.lookups.items():
        events.add_metric((name,), status.events)
        for kind in FailureKind:
            failing.add_metric((name, kind), int(status.failure is not None and status.failure.kind == kind))
    yield events
    yield failing


def _of_processes(processes: Sequence[Process]) -> Iterator[Metric]:
    kinds = Counter(process.kind for process in processes)
    seen = GaugeMetricFamily(
        "ringback_processes",
        "Web and worker processes that reported in the last 15 seconds.",
        labels=("kind",),
    )
    for kind in ("web", "worker"):
        seen.add_metric((kind,), kinds[kind])
    yield seen
    stalled = sum(process.stalled_since is not None for process in processes)
    yield gauge(
        "ringback_workers_stalled", "Workers that receive no wake-ups although some are published.", stalled
    )
