"""The tasks Celery runs, and what a worker process starts with: two doorbells and the sweep."""

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
from integration.reporting import SentryReporter, start_sentry, trace_headers
from integration.tally import Tally
from workers.celery_app import app, use_broker
from workers.doorbell import Doorbell
from workers.engine import Engine, worker_store
from workers.witness import Witness

if TYPE_CHECKING:
    from collections.abc import Mapping

log = structlog.get_logger("ringback.worker")

STORE_WAIT_SECONDS = 2.0
TAKE_TURN = "ringback.take_turn"

_engine: Engine | None = None


@shared_task(name=TAKE_TURN, ignore_result=True)
def take_turn(lane: str) -> None:
    """Answer a lane's doorbell."""
    if _engine is not None:
        _engine.answer(lane)


@shared_task(name="ringback.look_up", ignore_result=True)
def look_up(source: str) -> None:
    """Answer the doorbell of a source that has events to be looked up."""
    if _engine is not None:
        try:
            _engine.look_up(source)
        except StoreAwayError:
            # What was taken comes back by itself when its lease is over.
            return


def celery_doorbell(tally: Tally) -> Doorbell:
    """Make the doorbell that rings through Celery, and counts its rings."""
    return Doorbell(
        lambda lane, headers: _publish(TAKE_TURN, lane, headers),
        lambda source, headers: _publish("ringback.look_up", source, headers),
        trace=trace_headers,
        tally=tally,
    )


def _publish(task: str, name: str, headers: dict[str, Any]) -> None:
    app.send_task(task, args=(name,), retry=False, ignore_result=True, headers=headers)


@setup_logging.connect
def _set_up_logging(**_: Any) -> None:
    logs.configure(os.environ.get("LOG_LEVEL") or "INFO", json=not sys.stderr.isatty())


@celeryd_init.connect
def _prepare(**_: Any) -> None:
    """Compose the engine before the worker connects to anything; what is wrong ends it, plainly."""
    global _engine  # noqa: PLW0603  (Celery's signals hand nothing on to its tasks)
    try:
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
    engine = Engine(watch, store, celery_doorbell(tally), SentryReporter(), tally)
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
