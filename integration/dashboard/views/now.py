"""The page "Now": an overview of queues, deliveries, processes and the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from flask_babel import gettext as _

from integration.config.models import zone_of
from integration.dashboard.auth.roles import signed_in
from integration.dashboard.charts.plots import Plot, PlotSeries, plot
from integration.dashboard.presenting import problem_labels
from integration.dashboard.presenting.account_cache import account_snapshot
from integration.dashboard.presenting.account_labels import queue_counts_text, quota_label
from integration.dashboard.presenting.problem_labels import problem_rows
from integration.dashboard.presenting.times import hour_and_minute
from integration.dashboard.responses import page
from integration.telemetry.counters import TAKEN
from integration.web.metrics.snapshot import memory_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flask import Response

    from integration.dashboard.presenting.account_overview import AccountOverview
    from integration.services.container import Services
    from integration.store.monitoring.time_series import Minute

MINUTES: Final = 60
MOST_PROBLEMS: Final = 8
MOST_QUOTAS: Final = 6
_MIB: Final = 1024 * 1024


@signed_in
def now(services: Services) -> Response:
    """Show the state of queues, deliveries, processes and the store."""
    snapshot = account_snapshot()
    stand, moment = snapshot.together, snapshot.moment
    # Leave out the current minute: it is incomplete and would look like a drop.
    minutes = services.time_series.minutes(moment, MINUTES + 1)[:-1]
    processes = services.processes.all()
    rows = problem_rows(services, snapshot)
    parked = services.parked.records.count()
    workers = [process for process in processes if process.kind == "worker"]
    return page(
        "now.html",
        stand=stand,
        parked=parked,
        problems=rows,
        labels=problem_labels,
        processes=processes,
        workers=workers,
        stalled=[worker for worker in workers if worker.stalled_since is not None],
        webs=len(processes) - len(workers),
        memory=_memory(services),
        faulty_files=problem_labels.faulty_files(services.configuration.watch.fault),
        quiet=is_quiet(rows, stand),
        moment=moment,
        zone=zone_of(services.config),
        zone_of=lambda name: zone_of(services.config, name),
        most_problems=MOST_PROBLEMS,
        most_quotas=MOST_QUOTAS,
        queue_counts_text=queue_counts_text,
        quota_label=quota_label,
        **_rates(minutes, services),
    )


def is_quiet(rows: Sequence[object], stand: AccountOverview) -> bool:
    """Return True if there are no problem rows, no queue is held, and no recall is at risk."""
    return not rows and not stand.held and not stand.at_risk


def _memory(services: Services) -> tuple[float, float | None] | None:
    """Return the store's memory in MiB and the used share of its limit, which is None without a limit.

    Return None if the store does not report its memory.
    """
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
    series = [PlotSeries(_("Webhooks accepted"), taken), PlotSeries(_("Calls to wolkvox"), pushed, "second")]
    if any(refused):
        series.append(PlotSeries(_("Webhooks rejected"), refused, "third"))
    return plot(*series)


VIEWS = (("GET /", now),)
