"""Celery's settings and the names of its tasks. The store holds the recalls, a task is a wake-up.

No result, no ETA, no acks_late and no Celery retry: a wake-up may vanish at any time, and the sweep
publishes it again. `worker_disable_prefetch` keeps wake-ups in the broker until a thread is free for them.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

from celery import Celery
from kombu.transport import virtual

from integration.config.environment import broker_url
from integration.domain.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_CONCURRENCY = 32
DRAIN = "ringback.drain"
LOOK_UP = "ringback.look_up"
QUEUE = "ringback"
LOOKUPS_QUEUE = "ringback.lookups"

# Closing a lost connection puts back what was not acknowledged, or tries to: on a line that is gone it
# fails with an error that Celery does not expect, and the worker ends. A wake-up may vanish instead.
virtual.QoS.restore_at_shutdown = False

app = Celery("ringback")
app.conf.update(
    task_ignore_result=True,
    task_acks_late=False,
    task_default_queue=QUEUE,
    # A worker takes from both alternately: a look-up does not wait behind the wake-ups of many busy queues.
    task_queues={name: {"exchange": name, "routing_key": name} for name in (QUEUE, LOOKUPS_QUEUE)},
    task_routes={LOOK_UP: {"queue": LOOKUPS_QUEUE}},
    task_store_errors_even_if_ignored=False,
    worker_pool="threads",
    worker_concurrency=DEFAULT_CONCURRENCY,
    worker_prefetch_multiplier=1,
    worker_disable_prefetch=True,
    worker_hijack_root_logger=False,
    worker_redirect_stdouts=False,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    broker_channel_error_retry=True,
    broker_connection_timeout=2,
    broker_transport_options={
        "global_keyprefix": "{ringback}:celery:",
        # No copy of a wake-up is kept in the broker until it is acknowledged.
        "ack_emulation": False,
        "socket_timeout": 10,
        "socket_connect_timeout": 2,
        "socket_keepalive": True,
        "health_check_interval": 25,
    },
    task_publish_retry=False,
    worker_send_task_events=False,
    enable_utc=True,
)


def use_broker(environ: Mapping[str, str]) -> None:
    """Point Celery at the broker that the environment names. Raises ConfigError."""
    app.conf.broker_url = broker_url(environ)


def connect() -> None:
    """Do what the first message of a process would wait for 30 to 50 ms: connect, declare the queues."""
    with app.producer_or_acquire() as producer:
        for queue in app.amqp.queues.values():
            producer.maybe_declare(queue)
    # Each message asks for the backend of its thread, though none keeps results.
    _ = app.backend


def publish(task: str, arguments: tuple[Any, ...], headers: dict[str, Any]) -> None:
    """Publish a task. Raise whatever the client of the broker raises."""
    app.send_task(task, args=arguments, retry=False, ignore_result=True, headers=headers)


with contextlib.suppress(ConfigError):
    # `celery inspect`, Flower and the web read it here; a worker without a store says so at its start.
    use_broker(os.environ)
