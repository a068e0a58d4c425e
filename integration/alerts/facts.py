"""Reads the figures for the alert rules from the store and from this process."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from integration.alerts.rules import RuleFacts
from integration.config.models import lookups_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from integration.domain.account import AccountView
    from integration.services.container import Services


def read_facts(services: Services, now: datetime, views: Sequence[AccountView]) -> RuleFacts:
    """Return the figures at `now` (aware), with `views` as the accounts. Raise StoreAwayError."""
    workers = [process for process in services.processes.all() if process.kind == "worker"]
    parked: Counter[str] = Counter()
    for group in services.parked.records.groups():
        parked[group.source] += group.count
    return RuleFacts(
        now=now,
        accounts=views,
        sources=services.source_status.activity(services.config.sources),
        lookups=services.lookup_status.all(lookups_of(services.config)),
        workers=len(workers),
        due_lag_seconds=services.accounts.due_lag_seconds(),
        stalled=sum(worker.stalled_since is not None for worker in workers),
        parked=parked,
        config_faulty=services.configuration.watch.fault is not None,
        pending=services.configuration.changes.pending(now),
        store_problem=services.durability.problem,
    )
