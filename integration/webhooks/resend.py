"""A stored delivery, or one of its events, that an operator sends again through the current routes. Pure.

It becomes a new delivery, so that its events do not count as duplicates. Its events keep their own time,
or have the time of the first arrival, so that they do not replace a newer request of the customer.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from integration.domain.delivery import Delivery, delivery_id
from integration.store.deliveries import StoredEvents
from integration.webhooks.providers import SOURCES

if TYPE_CHECKING:
    from integration.config.source_models import Source
    from integration.store.delivery_log import StoredDelivery


def resent_events(
    kept: StoredDelivery, settings: Source, body: bytes, *, unique: str, who: str, event: int | None = None
) -> list[StoredEvents]:
    """Return the events of a new delivery with this body, each to be planned alone.

    `unique` is a part of the new ids. `event` is the number of the only event to send, from 1, or None
    for all. Return an empty list if the body does not have that event. Raise UnreadableError if the body
    cannot be parsed.
    """
    delivery = Delivery(
        id=delivery_id(unique),
        source=kept.source,
        method="POST",
        url="",
        headers=kept.headers,
        body=body,
        received_at=kept.received_at,
        proof=f"sent again by {who}",
    )
    events = SOURCES[settings.kind].read(delivery, settings)
    chosen = events if event is None else events[event - 1 : event]
    return [
        StoredEvents(
            id="",
            delivery=delivery,
            events=(replace(each, dedup_key=f"{delivery.id}/{number}"),),
            seen=("",),
        )
        for number, each in enumerate(chosen)
    ]
