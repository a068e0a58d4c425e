"""Read the figures for `/metrics` from the store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from integration.config.models import lookups_of
from integration.domain.recall import State
from integration.domain.timestamps import from_epoch_ms
from integration.store.monitoring.counter_flusher import totals
from integration.telemetry.counters import TO_SEND_AGAIN

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from integration.config.models import Config
    from integration.domain.account import AccountView
    from integration.services.container import Services
    from integration.services.forecast import Forecast
    from integration.store.monitoring.alerts import Alert
    from integration.store.monitoring.lookup_status import LookupStatus
    from integration.store.monitoring.process_registry import Process
    from integration.store.monitoring.source_status import SourceActivity


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The figures that one request of `/metrics` reads from the store. `memory` is in bytes."""

    counts: Mapping[str, int]
    accounts: list[AccountView]
    forecasts: Mapping[str, Forecast]
    sources: Mapping[str, SourceActivity]
    recalls: Mapping[str, int]
    parked: int
    lookups_waiting: int
    lookups: Mapping[str, LookupStatus]
    due_lag_seconds: float
    memory: Mapping[str, int]
    processes: Sequence[Process]
    alerts: Sequence[Alert]


def read_figures(services: Services) -> Figures:
    """Return the figures in the store. Raise StoreAwayError."""
    store = services.store

    def commands(pipe: Any) -> None:
        pipe.zcard(store.key("parked"))
        pipe.zcard(store.key("lookups"))
        for state in State:
            pipe.zcard(store.key(f"in:{state}"))

    parked, lookups, *recalls = store.pipelined(commands)
    now_ms = store.now_ms()
    views = services.accounts.all()
    return Figures(
        counts={**_no_losses(services.config), **totals(services.store)},
        accounts=views,
        forecasts=services.accounts.forecasts([v for v in views if v.queued], from_epoch_ms(now_ms)),
        sources=services.source_status.activity(services.config.sources),
        recalls=dict(zip(map(str, State), recalls, strict=True)),
        parked=parked,
        lookups_waiting=lookups,
        lookups=services.lookup_status.all(lookups_of(services.config)),
        due_lag_seconds=services.accounts.due_lag_seconds(),
        alerts=[alert for alert in services.alerts.holding() if alert.on],
        memory=memory_of(services),
        processes=services.processes.all(),
    )


def _no_losses(config: Config) -> dict[str, int]:
    """Return zero counts for the sources that may lose deliveries.

    Without them, Prometheus' `increase()` misses the first loss, because it ignores the first value of a
    series.
    """
    return {f"lost:{name}:{result}": 0 for name in lossy_sources(config) for result in TO_SEND_AGAIN}


def lossy_sources(config: Config) -> list[str]:
    """Return the names of the sources whose sender does not retry."""
    return [name for name, source in config.sources.items() if not source.resends]


def memory_of(services: Services) -> dict[str, int]:
    """Return `used_memory` and `maxmemory` of the store in bytes, without those that it does not report.

    Return an empty dict if the store does not respond.
    """
    try:
        info = services.store.client.info("memory")
    except (RedisError, OSError):
        return {}
    return {name: int(info[name]) for name in ("used_memory", "maxmemory") if name in info}
