"""Now: the overview. What is waiting, stopped or failed, and since when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from flask_babel import gettext as _

from integration.config.models import zone_of
from integration.dashboard.auth.roles import signed_in
from integration.dashboard.charts.plots import Plot, PlotSeries, plot
from integration.dashboard.presenting.account_cache import account_snapshot
from integration.dashboard.presenting.account_labels import alert_label, queue_counts_text, quota_label
from integration.dashboard.presenting.times import hour_and_minute
from integration.dashboard.responses import page
from integration.telemetry.counters import TAKEN
from integration.web.metrics.figures import memory_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flask import Response

    from integration.dashboard.presenting.account_overview import AccountOverview
    from integration.domain.errors import ConfigError
    from integration.services.container import Services
    from integration.store.monitoring.process_registry import Process
    from integration.store.monitoring.time_series import Minute

MINUTES: Final = 60
MOST_IN_NEED: Final = 8
MOST_QUOTAS: Final = 6
MOST_KEYS: Final = 8
_MIB: Final = 1024 * 1024


@signed_in
def now(services: Services) -> Response:
    """Show the overview."""
    snapshot = account_snapshot()
    stand, moment = snapshot.together, snapshot.moment
    # Leave out the current minute: it is incomplete and would look like a drop.
    minutes = services.time_series.minutes(moment, MINUTES + 1)[:-1]
    processes = services.processes.all()
    alerts = [alert for alert in services.alerts.holding() if alert.on]
    parked = services.parked.records.count()
    workers = [process for process in processes if process.kind == "worker"]
    faults = faulty_files(services.configuration.watch.fault)
    return page(
        "now.html",
        stand=stand,
        parked=parked,
        alerts=alerts,
        processes=processes,
        workers=workers,
        stalled=[worker for worker in workers if worker.stalled_since is not None],
        webs=len(processes) - len(workers),
        memory=_memory(services),
        faulty_files=faults,
        quiet=not faults and is_quiet(stand, parked, alerts, workers),
        moment=moment,
        zone=zone_of(services.config),
        zone_of=lambda name: zone_of(services.config, name),
        most_in_need=MOST_IN_NEED,
        most_quotas=MOST_QUOTAS,
        alert_label=alert_label,
        queue_counts_text=queue_counts_text,
        quota_label=quota_label,
        **_rates(minutes, services),
    )


@dataclass(frozen=True, slots=True)
class FaultyFile:
    """A file of the configuration with faults: its first keys, and the number of further ones."""

    path: str
    keys: tuple[str, ...]
    more: int


def faulty_files(error: ConfigError | None) -> list[FaultyFile]:
    """Return the files with faults, in the order of their first fault. Values are left out."""
    keys: dict[str, dict[str, None]] = {}
    for fault in error.faults if error is not None else ():
        keys.setdefault(fault.file, {})[fault.key] = None
    return [
        FaultyFile(path, tuple(found)[:MOST_KEYS], max(0, len(found) - MOST_KEYS))
        for path, found in keys.items()
    ]


def is_quiet(
    stand: AccountOverview, parked: int, alerts: Sequence[object], workers: Sequence[Process]
) -> bool:
    """Return True if nothing needs the operator's attention and a worker consumes tasks."""
    trouble = stand.need or stand.dead or parked or alerts or stand.at_risk
    return not trouble and any(worker.stalled_since is None for worker in workers)


def _memory(services: Services) -> tuple[float, float | None] | None:
    """Return the store's memory in MiB and its share of the limit; None if the store does not report it."""
    figures = memory_of(services)
    if "used_memory" not in figures:
        return None
    limit = figures.get("maxmemory", 0)
    return figures["used_memory"] / _MIB, figures["used_memory"] / limit if limit else None


def _rates(minutes: Sequence[Minute], services: Services) -> dict[str, Any]:
    taken = [sum(number for name, number in each.deliveries.items() if name in TAKEN) for each in minutes]
    refused = [sum(each.deliveries.values()) - took for each, took in zip(minutes, taken, strict=True)]
    pushed = [sum(each.pushes.values()) for each in minutes]
    zone = zone_of(services.config)
    return {
        "rates": _plot(taken, refused, pushed),
        "taken": taken,
        "refused": refused,
        "pushed": pushed,
        "ticks": [hour_and_minute(minutes[place].at, zone) for place in (0, MINUTES // 2, -1)],
    }


def _plot(taken: Sequence[int], refused: Sequence[int], pushed: Sequence[int]) -> Plot:
    series = [PlotSeries(_("Webhooks taken"), taken), PlotSeries(_("Calls to wolkvox"), pushed, "second")]
    if any(refused):
        series.append(PlotSeries(_("Webhooks refused"), refused, "third"))
    return plot(*series)


VIEWS = (("GET /", now),)
