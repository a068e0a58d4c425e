"""Collect the metrics of `/metrics` on request.

If the store does not respond, `ringback_store_up` is 0.
"""

from __future__ import annotations

import platform
from importlib import metadata
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from integration.domain.errors import StoreAwayError
from integration.web.metrics.counts import of_counts
from integration.web.metrics.gauges import gauge, of_figures
from integration.web.metrics.snapshot import Figures, lossy_sources, read_figures

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from integration.services.container import Services

# Creation times of counters would double the size of the response.
disable_created_metrics()  # type: ignore[no-untyped-call]


class StoreCollector(Collector):
    """A Prometheus collector that reads the store on each request."""

    def __init__(self, services: Services, store_answers: Callable[[], bool]) -> None:
        self._services = services
        self._store_answers = store_answers

    def describe(self) -> Iterable[Metric]:
        """Return no metrics, so that no registry calls `collect` when the collector is registered."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics. If the store does not respond, leave out those that are read from it."""
        fault = self._services.configuration.watch.fault
        faults = 0 if fault is None else len(fault.faults)
        yield gauge("ringback_config_faults", "Faults in the current configuration files.", faults)
        pending = int(self._services.configuration.pending is not None)
        yield gauge("ringback_config_pending", "1 if a change of the configuration is pending.", pending)
        yield _build()
        yield self._unsaved()
        figures = self._figures()
        yield gauge("ringback_store_up", "1 if the store responds.", int(figures is not None))
        if figures is not None:
            yield from of_figures(figures)
            yield from of_counts(figures.counts)

    def _unsaved(self) -> Metric:
        words = "Lost deliveries counted by the process that responds and not yet written to the store."
        metric = GaugeMetricFamily("ringback_deliveries_lost_unsaved", words, labels=("source",))
        losses = dict.fromkeys(lossy_sources(self._services.config), 0)
        losses |= self._services.counter_flusher.unsaved_losses()
        for source, number in losses.items():
            metric.add_metric((source,), number)
        return metric

    def _figures(self) -> Figures | None:
        if not self._store_answers():
            return None
        try:
            return read_figures(self._services)
        except StoreAwayError:
            return None


def _build() -> Metric:
    labels = {"version": metadata.version("ringback"), "python": platform.python_version()}
    info = GaugeMetricFamily(
        "ringback_build_info",
        "The versions of Ringback and Python in this web process.",
        labels=tuple(labels),
    )
    info.add_metric(tuple(labels.values()), 1)
    return info


def registry(services: Services, store_answers: Callable[[], bool]) -> CollectorRegistry:
    """Return a registry with the collector of `/metrics`."""
    collectors = CollectorRegistry(auto_describe=False)
    collectors.register(StoreCollector(services, store_answers))
    return collectors
