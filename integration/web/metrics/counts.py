"""The store's counts as counters and histograms. telemetry.counters and the Lua script write them."""

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
    """The metric of a family of counts."""

    metric: str
    words: str
    labels: tuple[str, ...] = field(default=())


COUNTED: Final = {
    "deliveries": CounterShape(
        "ringback_deliveries", "Deliveries answered, by result.", ("source", "result")
    ),
    "lost": CounterShape(
        "ringback_deliveries_lost",
        "Deliveries that were not stored and that their sender does not send again, by result.",
        ("source", "result"),
    ),
    "events": CounterShape(
        "ringback_events",
        "Events received, by what they became; route is empty if no route took the event.",
        ("source", "what", "route"),
    ),
    "admitted": CounterShape("ringback_recalls_admitted", "Recalls admitted.", ("source",)),
    "ended": CounterShape("ringback_recalls_ended", "Recalls that reached a final state.", ("state",)),
    "pushes": CounterShape(
        "ringback_pushes", "Calls to wolkvox, by the verdict on the answer.", ("verdict",)
    ),
    "cancel too late": CounterShape(
        "ringback_cancels_too_late", "Cancellations that came after wolkvox had accepted the recall."
    ),
    "wake_ups": CounterShape(
        "ringback_wake_ups",
        "Wake-ups published, and those that failed because the broker was away.",
        ("what",),
    ),
    "drains": CounterShape(
        "ringback_drains",
        "Drains that a wake-up began, and drains that the sweep began because a wake-up was not taken.",
        ("by",),
    ),
    "epochs": CounterShape(
        "ringback_store_epochs_lost",
        "Losses of the data of the store that were found, by how they happened.",
        ("how",),
    ),
    "alert messages": CounterShape(
        "ringback_alert_messages", "Alert messages, by result.", ("channel", "result")
    ),
}
TIMED: Final = {
    counters.ADMIT: ("ringback_admit_seconds", "From the arrival of a delivery to its answer."),
    counters.PUSH: ("ringback_push_seconds", "How long a call to wolkvox took."),
    counters.GAP: (
        "ringback_queue_gap_seconds",
        "From an answer of wolkvox to the next call of the same queue, within a drain.",
    ),
    counters.SWEEP: ("ringback_sweep_seconds", "How long a sweep for due queues and lookups took."),
    counters.SWEEP_LAG: ("ringback_sweep_lag_seconds", "How much later than planned a sweep began."),
}


def of_counts(counts: Mapping[str, int]) -> Iterator[Metric]:
    """Yield the counts as metrics, without those unknown to this version."""
    families: dict[str, list[tuple[tuple[str, ...], int]]] = defaultdict(list)
    for name, value in counts.items():
        family, _, rest = name.partition(":")
        shape = COUNTED.get(family)
        # A family without labels is the sum over them, which Prometheus computes itself.
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
    """Return the admitted recalls by source: the events that became recalls."""
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
    # The first label may contain a colon (a source "api:NAME"), the last never does.
    return tuple(rest.rsplit(":", number - 1))


def _event_labels(rest: str) -> tuple[str, ...]:
    """Split SOURCE:WHAT or SOURCE:WHAT:ROUTE, where a source may be "api:NAME" and a route any text."""
    parts = rest.split(":")
    at = 2 if parts[0] == "api" and len(parts) > 2 and parts[2] in EVENT_OUTCOMES else 1  # noqa: PLR2004 (api:NAME)
    return ":".join(parts[:at]), parts[at] if at < len(parts) else "", ":".join(parts[at + 1 :])


def _histogram(scale: counters.Scale, counts: Mapping[str, int]) -> Metric:
    name, words = TIMED[scale]
    buckets, below = [], 0
    for bound in (*(f"{bound:g}" for bound in scale.bounds), "+Inf"):
        below += counts.get(f"{scale.name}:{bound}", 0)
        buckets.append((bound if bound == "+Inf" else str(float(bound)), below))
    microseconds = counts.get(f"{scale.name}:sum", 0)
    return HistogramMetricFamily(name, words, buckets=buckets, sum_value=microseconds / 1_000_000)
