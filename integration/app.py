"""Composes the web: configuration, store, receiver, API, health. `create_app` is what the server calls."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import sentry_sdk
import structlog
from flask import Flask

from integration import dashboard, logs
from integration.api import api_blueprint
from integration.config_file import ConfigWatch
from integration.environment import broker_url, config_path, seen_file, store_url
from integration.errors import RingbackError, StoreAwayError
from integration.health import health_blueprint
from integration.intake import Intake
from integration.problems import install
from integration.rates import Rates
from integration.receiver import receiver_blueprint
from integration.refusals import RefusalBook
from integration.reporting import SentryReporter, start_sentry
from integration.tally import Tally
from workers.bell import NO_BELL, Bell, bell_of
from workers.celery_app import app as celery
from workers.desk import Desk
from workers.pulse import Pulse
from workers.store import Store, connect
from workers.tasks import TAKE_TURN, celery_doorbell
from workers.watchman import Watchman
from workers.witness import Witness

if TYPE_CHECKING:
    from collections.abc import Mapping

    from integration.dashboard.roles import Access

log = structlog.get_logger("ringback.web")

# A sender is answered within two seconds, also when the store hangs.
STORE_CONNECT_SECONDS = 0.4
STORE_ANSWER_SECONDS = 1.2


def create_app() -> Flask:
    """Make the web application for a server. What stops the start is said in plain words, without a trace."""
    try:
        app = make_app(os.environ)
    except RingbackError as error:
        sys.stderr.write(f"Ringback cannot start:\n{error}\n")
        sys.stderr.flush()
        raise SystemExit(1) from None
    app.extensions["pulse"].start()
    app.extensions["watchman"].start()
    app.extensions["tallies"].switch_on()
    return app


def make_app(environ: Mapping[str, str]) -> Flask:
    """Make the web application. Raises ConfigError and StoreUnsafeError, which stop the start.

    A store that is away does not: senders get 503 until it is back.
    """
    logs.configure(environ.get("LOG_LEVEL") or "INFO", json=not sys.stderr.isatty())
    watch = ConfigWatch(config_path(environ), environ)
    start_sentry(environ, watch.current)
    client = connect(
        store_url(environ), timeout_seconds=STORE_ANSWER_SECONDS, connect_seconds=STORE_CONNECT_SECONDS
    )
    store = Store(client, kind="web", witness=Witness(seen_file(environ)))
    store.on_loss = SentryReporter().store_lost
    tally = Tally()
    desk = Desk(watch, store, celery_doorbell(tally), tally, _bell(environ))
    _look_at_store(desk)
    app = compose(desk, Rates(client))
    app.extensions["pulse"] = Pulse(desk.processes, store.who)
    app.extensions["watchman"] = Watchman(desk, store.who, SentryReporter())
    app.extensions["tallies"] = desk.tallies
    return app


def compose(desk: Desk, rates: Rates, access: Access | None = None) -> Flask:
    """Put the parts of the web together on a desk. `access` stands in for who is signed in, for tests."""
    app = Flask("ringback", static_folder=None)
    install(app)
    app.register_blueprint(receiver_blueprint(Intake(desk, rates, RefusalBook(desk))))
    app.register_blueprint(api_blueprint(desk, rates))
    app.register_blueprint(health_blueprint(desk))
    dashboard.install(app, desk, rates, access)
    return app


def _bell(environ: Mapping[str, str]) -> Bell:
    """Give the bell for the store where it is the broker, too. With Sentry each ring tells what caused it."""
    in_the_store = broker_url(environ) == broker_url({**environ, "BROKER_URL": ""})
    if not in_the_store or sentry_sdk.get_client().is_active():
        return NO_BELL
    return bell_of(celery, TAKE_TURN)


def _look_at_store(desk: Desk) -> None:
    try:
        desk.look_at_store()
        desk.bind()
    except StoreAwayError as error:
        log.warning("the store is away; senders get 503 until it is back", reason=str(error))
