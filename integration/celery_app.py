"""The Celery application: its settings and task names.

The store holds the recalls; a task is only a wake-up. Tasks have no results, no ETA, no acks_late and no
Celery retries. If a wake-up is lost, the sweeper publishes another one. `worker_disable_prefetch` keeps
wake-ups in the broker until a thread is free.
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

# kombu restores unacknowledged messages when a connection closes. On a lost connection this raises an
# error that Celery does not catch, and the worker exits. Losing a wake-up is harmless.
virtual.QoS.restore_at_shutdown = False

app = Celery("ringback")
app.conf.update(
    task_ignore_result=True,
    task_acks_late=False,
    task_default_queue=QUEUE,
    # Workers consume from both queues in turn, so that look-ups do not wait behind many wake-ups.
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
        # The broker keeps no copy of unacknowledged wake-ups.
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
    """Set Celery's broker URL from the environment. Raise ConfigError if the environment has none."""
    app.conf.broker_url = broker_url(environ)


def connect() -> None:
    """Connect to the broker and declare the queues.

    Without this call, publishing the first message of a process takes 30 to 50 ms longer.
    """
    with app.producer_or_acquire() as producer:
        for queue in app.amqp.queues.values():
            producer.maybe_declare(queue)
    # Celery creates a backend per thread on the first message, even without results.
    _ = app.backend


def publish(task: str, arguments: tuple[Any, ...], headers: dict[str, Any]) -> None:
    """Publish a task, without retries. Raise the errors of kombu and of the broker's client library."""
    app.send_task(task, args=arguments, retry=False, ignore_result=True, headers=headers)


with contextlib.suppress(ConfigError):
    # `celery inspect`, Flower and the web use this. A worker without a store reports the error at startup.
    use_broker(os.environ)
