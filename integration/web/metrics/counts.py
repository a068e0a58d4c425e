"""Counters and histograms from the counts that `telemetry.counters` and the Lua script write."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric

from integration.telemetry import counters

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

EVENT_OUTCOMES: Final = ("recall", "cancel", "parked", "pending", "ignored")


@dataclass(frozen=True, slots=True)
class CounterShape:
    """The name, help text and labels of the metric of a family of counts."""

    metric: str
    words: str
    labels: tuple[str, ...] = field(default=())


COUNTED: Final = {
    "deliveries": CounterShape("ringback_deliveries", "Deliveries by result.", ("source", "result")),
    "lost": CounterShape(
        "ringback_deliveries_lost",
        "Deliveries that were not stored and whose sender does not retry, by result.",
        ("source", "result"),
    ),
    "events": CounterShape(
        "ringback_events",
        "Events by outcome. The label route is empty if no route matched.",
        ("source", "what", "route"),
    ),
    "admitted": CounterShape("ringback_recalls_admitted", "Recalls admitted.", ("source",)),
    "ended": CounterShape("ringback_recalls_ended", "Recalls that reached a final state.", ("state",)),
    "pushes": CounterShape(
        "ringback_pushes", "Calls to wolkvox, by the verdict on the response.", ("verdict",)
    ),
    "cancel too late": CounterShape(
        "ringback_cancels_too_late", "Cancellations that came after wolkvox had accepted the recall."
    ),
    "wake_ups": CounterShape(
        "ringback_wake_ups",
        "Wake-ups that were published, and that failed because the broker was away.",
        ("what",),
    ),
    "drains": CounterShape(
        "ringback_drains",
        "Drains started by a wake-up, and by the sweep because no worker took the wake-up.",
        ("by",),
    ),
    "epochs": CounterShape(
        "ringback_store_epochs_lost",
        "Detected losses of data of the store, by cause.",
        ("how",),
    ),
    "alert messages": CounterShape(
        "ringback_alert_messages", "Alert messages, by result.", ("channel", "result")
    ),
}
TIMED: Final = {
    counters.ADMIT: ("ringback_admit_seconds", "Time from the arrival of a delivery to its response."),
    counters.PUSH: ("ringback_push_seconds", "Duration of a call to wolkvox."),
    counters.PUSH_GAP: (
        "ringback_queue_gap_seconds",
        "Time from a response of wolkvox to the next call of the same queue in a drain.",
    ),
    counters.SWEEP: ("ringback_sweep_seconds", "Duration of a sweep for due queues and lookups."),
    counters.SWEEP_LAG: ("ringback_sweep_lag_seconds", "Delay of the start of a sweep."),
}


def of_counts(counts: Mapping[str, int]) -> Iterator[Metric]:
    """Yield the counters and histograms for the store's counts. Unknown counts are left out."""
    families: dict[str, list[tuple[tuple[str, ...], int]]] = defaultdict(list)
    for name, value in counts.items():
        family, _, rest = name.partition(":")
        shape = COUNTED.get(family)
        # The store also counts the sum of a family; Prometheus computes it from the labels.
        if shape is not None and bool(shape.labels) == bool(rest) and family != "admitted":
            families[family].append((_labels(family, rest, len(shape.labels)), value))
    families["admitted"] = _admitted(families["events"])
    for family, shape in COUNTED.items():
        metric = CounterMetricFamily(shape.metric, shape.words, labels=shape.labels)
        for labels, value in families[family]:
            metric.add_metric(labels, value)
        yield metric
    for scale in TIMED:
        yield _histogram(scale, counts)


def _admitted(events: Iterable[tuple[tuple[str, ...], int]]) -> list[tuple[tuple[str, ...], int]]:
    """Return the number of events that became recalls, by source."""
    recalls: Counter[str] = Counter()
    for (source, what, _route), value in events:
        if what == "recall":
            recalls[source] += value
    return [((source,), value) for source, value in recalls.items()]


def _labels(family: str, rest: str, number: int) -> tuple[str, ...]:
    if not number:
        return ()
    if family == "events":
        return _event_labels(rest)
    # The first label may contain a colon (the source "api:NAME"), the others do not.
    return tuple(rest.rsplit(":", number - 1))


def _event_labels(rest: str) -> tuple[str, ...]:
    """Return the parts of "SOURCE:WHAT" or "SOURCE:WHAT:ROUTE". The source may be "api:NAME"."""
    parts = rest.split(":")
    at = 2 if parts[0] == "api" and len(parts) > 2 and parts[2] in EVENT_OUTCOMES else 1  # noqa: PLR2004 (api:NAME)
    return ":".join(parts[:at]), parts[at] if at < len(parts) else "", ":".join(parts[at + 1 :])


def _histogram(scale: counters.Histogram, counts: Mapping[str, int]) -> Metric:
    name, words = TIMED[scale]
    buckets, below = [], 0
    for bound in (*(f"{bound:g}" for bound in scale.bounds), "+Inf"):
        below += counts.get(f"{scale.name}:{bound}", 0)
        buckets.append((bound if bound == "+Inf" else str(float(bound)), below))
    microseconds = counts.get(f"{scale.name}:sum", 0)
    return HistogramMetricFamily(name, words, buckets=buckets, sum_value=microseconds / 1_000_000)
