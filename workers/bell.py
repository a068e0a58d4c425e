"""A bell that hangs in the store: admission rings it with the same write that queues the recall.

Where Celery's broker lies in the store, the message that a doorbell sends can be put into its queue by the
script that finds a lane asleep. That spares a wait for the disk, a thread and a round trip between the
webhook and the call. What is written is what Celery itself writes, made once by Celery, with two marks in it
for the lane and for the ring's own name.
"""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from integration.errors import StoreAwayError

if TYPE_CHECKING:
    from celery import Celery

    from workers.store import Store

LANE = "<lane>"
RING = "<ring>"


@dataclass(frozen=True, slots=True)
class Bell:
    """The key of a broker's queue in the store, and the message for it, with the marks LANE and RING."""

    queue: str
    message: str


NO_BELL = Bell("", "")
"""Hangs where the broker is somewhere else, or where each ring tells what caused it."""


def bell_of(app: Celery, task: str) -> Bell:
    """Give the bell that rings for a task of one argument, the lane's id. Asks no server."""
    name = app.conf.task_default_queue
    with app.connection_for_write(url="memory://") as connection:
        app.send_task(task, args=(LANE,), task_id=RING, ignore_result=True, connection=connection)
        message = connection.default_channel._get(name)  # noqa: SLF001  (as it goes over the line)
    # Base64 would hide where the lane's id goes. Nobody answers a ring, so it need not tell who rang.
    message["body"] = base64.b64decode(message["body"]).decode()
    message["properties"] |= {"body_encoding": None, "delivery_tag": RING, "reply_to": ""}
    message["headers"] |= {"origin": "the store"}
    return Bell(app.conf.broker_transport_options["global_keyprefix"] + name, json.dumps(message))


def hang(store: Store, bell: Bell) -> None:
    """Hang a bell in the store in the place of another one, or take it down.

    Where the store cannot take it now, those who admit go on to ring by themselves.
    """
    meta = store.key("meta")

    def write() -> None:
        # A full store refuses the write even where the same is there already.
        if store.client.hmget(meta, "bell_queue", "bell") == [bell.queue or None, bell.message or None]:
            return
        if bell.queue:
            store.client.hset(meta, mapping={"bell_queue": bell.queue, "bell": bell.message})
        else:
            store.client.hdel(meta, "bell_queue", "bell")

    with suppress(StoreAwayError):
        store.guarded(write)
