"""What Prometheus reads: counters of this process, and figures of the whole store.

A label is a configured name or a word of ours: never a token, a customer, a number or anything that an
unverified sender chose.
"""

from __future__ import annotations

import os
from collections import Counter as Counts
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from integration.errors import StoreAwayError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from workers.desk import AccountView, Desk
    from workers.processes import Process

LANE_STATES = ("idle", "busy", "waiting", "paused", "stopped")
PROCESS_KINDS = ("web", "worker")

# When a counter was made says nothing to an operator, and doubles the page.
disable_created_metrics()  # type: ignore[no-untyped-call]

_process = CollectorRegistry()

# `source` is a configured name: anybody may ask for an address, and an unknown one is not counted here.
deliveries = Counter(
    "ringback_deliveries",
    "Webhook deliveries that this process answered, by what came of them.",
    ("source", "result"),
    registry=_process,
)
admit_seconds = Histogram(
    "ringback_admit_seconds",
    "From the arrival of a delivery to its answer, in seconds, in this process.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5),
    registry=_process,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The store's figures at one moment, true for all processes."""

    counts: dict[str, int]
    accounts: list[AccountView]
    processes: list[Process]
    parked: int
    lookups_waiting: int
    due_lag_seconds: float


def read_figures(desk: Desk) -> Figures:
    """Ask the store for everything that is shown. Raises StoreAwayError."""
    store = desk.store

    def read() -> list[Any]:
        with store.client.pipeline(transaction=False) as pipe:
            pipe.zcard(store.key("parked"))
            pipe.zcard(store.key("lookups"))
            pipe.zrange(store.key("due"), 0, 0, withscores=True)
            return list(pipe.execute())

    parked, lookups, due = store.guarded(read)
    lag = max(0.0, (store.now_ms() - due[0][1]) / 1000) if due else 0.0
    return Figures(
        counts=desk.counts(),
        accounts=desk.accounts(),
        processes=desk.processes.all(),
        parked=parked,
        lookups_waiting=lookups,
        due_lag_seconds=lag,
    )


class StoreCollector(Collector):
    """Reads the store when it is asked; a store that is away is a figure, not an error."""

    def __init__(self, desk: Desk, store_answers: Callable[[], bool]) -> None:
        self._desk = desk
        self._store_answers = store_answers

    def describe(self) -> Iterable[Metric]:
        """Give nothing, so that registering this asks no store."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Give what the store holds now, and whether it answers and the configuration is good."""
        fault = self._desk.watch.fault
        faults = 0 if fault is None else len(fault.faults)
        yield _gauge("ringback_config_faults", "Faults of the configuration as the files are now.", faults)
        figures = self._figures()
        yield _gauge("ringback_store_up", "1 when the store answers.", int(figures is not None))
        if figures is not None:
            yield from _store_wide(figures)
            yield from _of_accounts(figures.accounts)
            yield from _of_processes(figures.processes)
            yield from _of_counts(figures.counts)

    def _figures(self) -> Figures | None:
        if not self._store_answers():
            return None
        try:
            return read_figures(self._desk)
        except StoreAwayError:
            return None


class ProcessCollector(Collector):
    """The counters of this process, each told apart by the process' id.

    A scrape reaches one of many processes; without that label the counters would seem to jump.
    """

    def collect(self) -> Iterator[Metric]:
        """Give this process' counters."""
        pid = str(os.getpid())
        for metric in _process.collect():
            shown = Metric(metric.name, metric.documentation, metric.type)
            shown.samples = [
                Sample(s.name, {**s.labels, "process": pid}, s.value, s.timestamp, s.exemplar)
                for s in metric.samples
            ]
            yield shown


def registry(desk: Desk, store_answers: Callable[[], bool]) -> CollectorRegistry:
    """Compose what `/metrics` shows."""
    shown = CollectorRegistry(auto_describe=False)
    shown.register(StoreCollector(desk, store_answers))
    shown.register(ProcessCollector())
    return shown


def _gauge(name: str, words: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, words, value=value)


def _store_wide(figures: Figures) -> Iterator[Metric]:
    yield _gauge("ringback_parked_events", "Events that could not be mapped and wait.", figures.parked)
    yield _gauge("ringback_lookups_waiting", "Deliveries that wait for a lookup.", figures.lookups_waiting)
    yield _gauge(
        "ringback_due_lag_seconds",
        "For how long the lane that is due longest has been waiting for a worker.",
        figures.due_lag_seconds,
    )


def _of_accounts(views: Iterable[AccountView]) -> Iterator[Metric]:
    state = GaugeMetricFamily(
        "ringback_lane_state", "1 for the state that an account's lane is in.", labels=("account", "state")
    )
    gauges = {
        "queued": _by_account("ringback_recalls_queued", "Recalls that wait for their push."),
        "dead": _by_account("ringback_recalls_dead", "Recalls that wolkvox refused."),
        "pushed_today": _by_account("ringback_pushed_today", "Calls made to wolkvox in the quota's day."),
        "daily_limit": _by_account("ringback_daily_limit", "Calls allowed in the quota's day."),
        "oldest_seconds": _by_account("ringback_oldest_queued_seconds", "Age of the oldest queued recall."),
    }
    for view in views:
        for name in LANE_STATES:
            state.add_metric((view.name, name), int(view.state == name))
        for attribute, gauge in gauges.items():
            value = getattr(view, attribute)
            if value is not None:
                gauge.add_metric((view.name,), value)
    yield state
    yield from gauges.values()


def _of_processes(processes: Sequence[Process]) -> Iterator[Metric]:
    kinds = Counts(process.kind for process in processes)
    running = GaugeMetricFamily(
        "ringback_processes", "Webs and workers seen in the last 15 seconds.", labels=("kind",)
    )
    for kind in PROCESS_KINDS:
        running.add_metric((kind,), kinds[kind])
    yield running
    deaf = sum(process.deaf_since is not None for process in processes)
    yield _gauge("ringback_workers_deaf", "Workers that take no doorbells, though they are rung.", deaf)


def _by_account(name: str, words: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, words, labels=("account",))


@dataclass(frozen=True, slots=True)
class _Counted:
    """How a family of the store's counts is shown; the counts' names are in workers/lua."""

    metric: str
    words: str
    labels: tuple[str, ...] = field(default=())


_COUNTED = {
    "events": _Counted("ringback_events", "Events taken, by what they turned out to be.", ("source", "what")),
    "admitted": _Counted("ringback_recalls_admitted", "Recalls admitted.", ("source",)),
    "ended": _Counted("ringback_recalls_ended", "Recalls that came to an end.", ("state",)),
    "pushes": _Counted("ringback_pushes", "Calls to wolkvox, by the verdict on the answer.", ("verdict",)),
    "turns": _Counted(
        "ringback_turns", "Doorbells taken, and turns that the sweep took because theirs was not.", ("by",)
    ),
    "cancel too late": _Counted("ringback_cancels_too_late", "Wishes taken back when wolkvox had them."),
}


def _of_counts(counts: dict[str, int]) -> Iterator[Metric]:
    families: dict[str, list[tuple[tuple[str, ...], int]]] = defaultdict(list)
    for name, value in counts.items():
        family, _, rest = name.partition(":")
        if family in _COUNTED:
            families[family].append((_labels(rest, len(_COUNTED[family].labels)), value))
    for family, shape in _COUNTED.items():
        metric = CounterMetricFamily(shape.metric, shape.words, labels=shape.labels)
        for labels, value in families[family]:
            metric.add_metric(labels, value)
        yield metric


def _labels(rest: str, number: int) -> tuple[str, ...]:
    # A source may be "api:NAME", so that the first label may hold a colon, and the last never does.
    return tuple(rest.rsplit(":", number - 1)) if number else ()
