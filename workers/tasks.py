"""The Celery tasks, and the setup of a worker process."""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import structlog
from celery import shared_task
from celery.signals import celeryd_init, setup_logging, worker_ready, worker_shutting_down

from integration.celery_app import DRAIN, LOOK_UP, publish, use_broker
from integration.celery_app import connect as connect_broker
from integration.config.environment import config_path, epoch_file, store_url
from integration.domain.errors import RingbackError, StoreAwayError
from integration.services.configuration import watch_config
from integration.services.wakeup import WakeUpPublisher
from integration.store.scripting.epoch import StoreEpoch
from integration.store.token_queue import WakeUp
from integration.telemetry import logging
from integration.telemetry.counters import Counters
from integration.telemetry.liveness import LOOK_SECONDS, TickCounter, open_counter
from integration.telemetry.sentry import SentryReporter, start_sentry, store_span, trace_headers
from workers.worker import Worker, worker_store

if TYPE_CHECKING:
    from collections.abc import Mapping

log = structlog.get_logger("ringback.worker")

STORE_WAIT_SECONDS = 2.0

_worker: Worker | None = None


@shared_task(name=DRAIN, ignore_result=True)
def drain(queue: str, number: int) -> None:
    """Drain the queue with the id `queue`. `number` identifies the wake-up."""
    if _worker is not None:
        _worker.handle_wake_up(WakeUp(queue, number))


@shared_task(name=LOOK_UP, ignore_result=True)
def look_up(source: str) -> None:
    """Run the due lookups of a source."""
    if _worker is not None:
        try:
            _worker.look_up(source)
        except StoreAwayError:
            # The leased lookups become due again when the lease expires.
            return


@setup_logging.connect
def _set_up_logging(**_: Any) -> None:
    logging.configure(os.environ.get("LOG_LEVEL") or "INFO", json=not sys.stderr.isatty())


@celeryd_init.connect
def _prepare(**_: Any) -> None:
    """Create the worker before it connects to the broker.

    On a RingbackError, print the error and end the process with status 1.
    """
    global _worker  # noqa: PLW0603  (Celery's signals hand nothing on to its tasks)
    try:
        # Celery configures logging later, after the first lines.
        _set_up_logging()
        use_broker(os.environ)
        counter = open_counter(os.environ)
        # A worker that waits for the store, or for the broker, has not stalled.
        threading.Thread(target=_count_ticks, args=(counter,), name="liveness", daemon=True).start()
        _worker = make_worker(os.environ)
    except RingbackError as error:
        sys.stderr.write(f"{error}\n")
        sys.stderr.flush()
        os._exit(1)


def _count_ticks(counter: TickCounter) -> None:
    while True:
        count_tick(counter, _worker, time.monotonic())
        time.sleep(LOOK_SECONDS)


def count_tick(counter: TickCounter, engine: Worker | None, now: float) -> None:
    """Count a tick, unless the sweep has stalled. `now` is in monotonic seconds.

    Without ticks, the supervisor or the health check restarts the process.
    """
    if engine is None or not engine.sweeper.has_stalled(now):
        counter.tick()


@worker_ready.connect
def _start(sender: Any = None, **_: Any) -> None:
    if _worker is not None:
        _worker.sweeper.threads = getattr(getattr(sender, "controller", None), "concurrency", 0)
        _worker.start()


def make_worker(environ: Mapping[str, str]) -> Worker:
    """Return a new worker when its store has answered. Raise ConfigError or StoreUnsafeError."""
    watch = watch_config(config_path(environ), environ)
    start_sentry(environ, watch.current)
    counters = Counters()
    store = worker_store(store_url(environ), StoreEpoch(epoch_file(environ)))
    store.span = store_span
    engine = Worker(
        watch,
        store,
        WakeUpPublisher(publish, trace=trace_headers, counters=counters, connect=connect_broker),
        SentryReporter(),
        counters,
    )
    _wait_for_store(engine)
    return engine


def _wait_for_store(engine: Worker) -> None:
    """Wait, without a time limit, until the store answers. Raise StoreUnsafeError."""
    while True:
        try:
            engine.services.binding.assure_store()
        except StoreAwayError as error:
            log.warning("waiting for the store", error=str(error))
            time.sleep(STORE_WAIT_SECONDS)
        else:
            return


@worker_shutting_down.connect
def _stop(**_: Any) -> None:
    if _worker is not None:
        _worker.stop()
