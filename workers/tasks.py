"""The tasks that Celery runs, and what a worker process starts with."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any

import structlog
from celery import shared_task
from celery.signals import celeryd_init, setup_logging, worker_ready, worker_shutting_down

from integration import logs
from integration.config_file import ConfigWatch
from integration.environment import config_path, seen_file, store_url
from integration.errors import RingbackError, StoreAwayError
from integration.reporting import SentryReporter, start_sentry, store_span, trace_headers
from integration.tally import Tally
from workers.celery_app import app, use_broker
from workers.engine import Engine, worker_store
from workers.lane import WakeUp
from workers.wakeup import DRAIN, LOOK_UP, WakeUpPublisher
from workers.witness import Witness

if TYPE_CHECKING:
    from collections.abc import Mapping

log = structlog.get_logger("ringback.worker")

STORE_WAIT_SECONDS = 2.0

_engine: Engine | None = None


@shared_task(name=DRAIN, ignore_result=True)
def drain(lane: str, number: int) -> None:
    """Drain a lane that has work."""
    if _engine is not None:
        _engine.take(WakeUp(lane, number))


@shared_task(name=LOOK_UP, ignore_result=True)
def look_up(source: str) -> None:
    """Make the lookups of a source whose events wait for them."""
    if _engine is not None:
        try:
            _engine.look_up(source)
        except StoreAwayError:
            # What was taken comes back by itself when its lease is over.
            return


def wake_up_publisher(tally: Tally) -> WakeUpPublisher:
    """Return what publishes wake-ups through Celery, and counts them."""
    return WakeUpPublisher(_publish, trace=trace_headers, tally=tally, connect=_connect)


def _connect() -> None:
    """Do what a process's first message would wait for: 30 to 50 ms."""
    with app.producer_or_acquire() as producer:
        for queue in app.amqp.queues.values():
            producer.maybe_declare(queue)
    # Each message asks for the backend of its thread, though none keeps results.
    _ = app.backend


def _publish(task: str, arguments: tuple[Any, ...], headers: dict[str, Any]) -> None:
    app.send_task(task, args=arguments, retry=False, ignore_result=True, headers=headers)


@setup_logging.connect
def _set_up_logging(**_: Any) -> None:
    logs.configure(os.environ.get("LOG_LEVEL") or "INFO", json=not sys.stderr.isatty())


@celeryd_init.connect
def _prepare(**_: Any) -> None:
    """Compose the engine before the worker connects to anything; what is wrong ends it, plainly."""
    global _engine  # noqa: PLW0603  (Celery's signals hand nothing on to its tasks)
    try:
        # Celery asks for it later, and the first lines come before.
        _set_up_logging()
        use_broker(os.environ)
        _engine = make_engine(os.environ)
    except RingbackError as error:
        sys.stderr.write(f"{error}\n")
        sys.stderr.flush()
        os._exit(1)


@worker_ready.connect
def _start(sender: Any = None, **_: Any) -> None:
    if _engine is not None:
        _engine.threads = getattr(getattr(sender, "controller", None), "concurrency", 0)
        _engine.start()


def make_engine(environ: Mapping[str, str]) -> Engine:
    """Compose a worker's engine. Raises ConfigError, StoreUnsafeError, StoreAwayError."""
    watch = ConfigWatch(config_path(environ), environ)
    start_sentry(environ, watch.current)
    tally = Tally()
    store = worker_store(store_url(environ), Witness(seen_file(environ)))
    store.span = store_span
    engine = Engine(watch, store, wake_up_publisher(tally), SentryReporter(), tally)
    _wait_for_store(engine)
    return engine


def _wait_for_store(engine: Engine) -> None:
    """Wait until the store answers, however long it takes. Raises StoreUnsafeError."""
    while True:
        try:
            engine.desk.look_at_store()
        except StoreAwayError as error:
            log.warning("waiting for the store", error=str(error))
            time.sleep(STORE_WAIT_SECONDS)
        else:
            return


@worker_shutting_down.connect
def _stop(**_: Any) -> None:
    if _engine is not None:
        _engine.stop()
