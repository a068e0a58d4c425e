"""The store's figures at one moment, as `/metrics` shows them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from integration.domain.recall import State
from integration.domain.timestamps import from_epoch_ms

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from integration.services.desk import AccountView, Desk
    from integration.services.forecast import Outlook
    from integration.store.monitoring.alerts import Alert
    from integration.store.monitoring.process_registry import Process
    from integration.store.monitoring.source_status import Heard


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The store's figures at one moment, true for all processes."""

    counts: Mapping[str, int]
    accounts: list[AccountView]
    outlooks: Mapping[str, Outlook]
    sources: Mapping[str, Heard]
    recalls: Mapping[str, int]
    parked: int
    lookups_waiting: int
    due_lag_seconds: float
    memory: Mapping[str, int]
    processes: Sequence[Process]
    alerts: Sequence[Alert]


def read_figures(desk: Desk) -> Figures:
    """Ask the store for everything that is shown. Raises StoreAwayError."""
    store = desk.store

    def queue(pipe: Any) -> None:
        pipe.zcard(store.key("parked"))
        pipe.zcard(store.key("lookups"))
        for state in State:
            pipe.zcard(store.key(f"in:{state}"))

    parked, lookups, *recalls = store.pipelined(queue)
    now_ms = store.now_ms()
    views = desk.accounts()
    return Figures(
        counts=desk.counts(),
        accounts=views,
        outlooks=desk.outlooks([v for v in views if v.queued], from_epoch_ms(now_ms)),
        sources=desk.senders.heard(desk.config.sources),
        recalls=dict(zip(map(str, State), recalls, strict=True)),
        parked=parked,
        lookups_waiting=lookups,
        due_lag_seconds=desk.due_lag_seconds(),
        alerts=[alert for alert in desk.alerts.holding() if alert.on],
        memory=memory_of(desk),
        processes=desk.processes.all(),
    )


def memory_of(desk: Desk) -> dict[str, int]:
    """Ask for the store's memory; nothing where the store does not tell."""
    try:
        told = desk.store.client.info("memory")
    except (RedisError, OSError):
        return {}
    return {name: int(told[name]) for name in ("used_memory", "maxmemory") if name in told}
