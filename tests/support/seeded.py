"""Fills a store with recalls, quickly: `python -m support.seeded 1000000 redis://127.0.0.1:6379/0` (in tests/).

Goes through the store's own script, a hundred events a call, so that what lies in the store afterwards is
what the receiver would have put there. Customers, numbers, dates and states follow from the seed alone.
"""

from __future__ import annotations

import random
import secrets
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import orjson

from integration.domain.delivery import Delivery, Event
from integration.domain.recall import RecallRequest, State
from integration.mapping.planner import RecallWanted
from integration.store import deliveries as intake
from integration.store.client import Store, connect
from integration.store.deliveries import RetentionTerms
from integration.store.token_queue import TokenQueues

if TYPE_CHECKING:
    pass

ACCOUNTS = ("bogota", "lima", "quito")
CAMPAIGNS = ("10", "20", "30", "40", "50")
SOURCES = (("hubspot", "callback date on a contact"), ("salesforce", "lead"), ("forms", "form"))
STATES = (
    *(State.ACCEPTED,) * 12,
    *(State.QUEUED,) * 4,
    *(State.DEAD, State.SUPERSEDED, State.CANCELLED, State.EXPIRED),
)
BATCH = 100
KEEPING = RetentionTerms(dedup_hours=1, raw_retention_days=0, config_digest="5eed")


def fill(
    store: Store,
    count: int,
    *,
    seed: int = 1,
    ending: datetime | None = None,
    days: float = 30,
    states: tuple[State, ...] = STATES,
    first: int = 0,
) -> None:
    """Put `count` recalls into a store, as if they had come evenly over the `days` before `ending`.

    `first` is the number of the first customer.
    """
    chance = random.Random(seed)
    ending = ending or datetime.now(UTC)
    TokenQueues(store).bind({name: f"seeded{number}" for number, name in enumerate(ACCOUNTS)})
    for start in range(0, count, BATCH):
        at = ending - timedelta(days=days) * (1 - start / count)
        size = min(BATCH, count - start)
        told: dict[str, list[dict]] = {}
        for number in range(size):
            source, event = _event(chance, first + start + number, at, states)
            told.setdefault(source, []).append(event)
        then = Store(store.client, lambda at=at: round(at.timestamp() * 1000))
        for source, events in told.items():
            then.call("admit", orjson.dumps(_whole(at, source, events)), b"", b"{}")


def _event(chance: random.Random, number: int, at: datetime, states: tuple[State, ...]) -> tuple[str, dict]:
    source, route = chance.choice(SOURCES)
    due = at + timedelta(minutes=chance.randrange(30, 60 * 24 * 5))
    request = RecallRequest(
        account=chance.choice(ACCOUNTS),
        campaign_id=chance.choice(CAMPAIGNS),
        customer_id=f"{80_000_000 + number}",
        recall_telephone=f"3{chance.randrange(10**9):09}",
        recall_date=due.replace(microsecond=0),
        requested_date=due.replace(microsecond=0),
        version=at,
        source=source,
        route=route,
    )
    event = Event(data={}, dedup_key=f"seeded{number}", record_id=f"rec-{number % 1000}")
    delivery = Delivery(
        id=f"dl_{number:016x}", source=source, method="POST", url="", headers={}, body=b"", received_at=at
    )
    fields = intake._fields(RecallWanted(event=event, request=request), delivery, "")
    state = chance.choice(states)
    reason = "admitted" if state is State.QUEUED else f"seeded as {state}"
    return source, {**fields, "state": state, "reason": reason, "k": f"seeded{number}", "ttl": 3_600_000}


def _whole(at: datetime, source: str, events: list[dict]) -> dict:
    return {
        "id": f"dl_{secrets.token_hex(8)}",
        "source": source,
        "received": at.isoformat(),
        "digest": KEEPING.config_digest,
        "suffix": secrets.token_hex(2),
        "raw_ms": 0,
        "key": "",
        "ttl": 1,
        "events": events,
    }


if __name__ == "__main__":
    began = time.monotonic()
    target = Store(connect(sys.argv[2], timeout_seconds=60))
    fill(target, int(sys.argv[1]))
    used = target.client.info("memory")["used_memory"]
    took = time.monotonic() - began
    sys.stdout.write(f"{sys.argv[1]} recalls in {took:.0f} s; the store holds {used / 2**20:.0f} MiB\n")
