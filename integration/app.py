"""Composes the web of three Flask applications: receiver, API, dashboard. `create_app` is for the server."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
from flask import Blueprint, Flask

from integration import dashboard, logs
from integration.api import api_blueprint
from integration.config_file import ConfigWatch
from integration.environment import config_path, seen_file, store_url
from integration.errors import RingbackError, StoreAwayError
from integration.health import health_blueprint, metrics_blueprint
from integration.intake import Intake
from integration.problems import install
from integration.rates import Rates
from integration.receiver import receiver_blueprint
from integration.refusals import RefusalBook
from integration.reporting import SentryReporter, start_sentry, store_span
from integration.tally import Tally
from workers.desk import Desk
from workers.pulse import Pulse
from workers.store import Store, connect
from workers.tasks import wake_up_publisher
from workers.watchman import Watchman
from workers.witness import Witness

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from wsgiref.types import StartResponse, WSGIEnvironment

    from integration.dashboard.roles import Access

log = structlog.get_logger("ringback.web")

# A sender is answered within two seconds, also when the store hangs.
STORE_CONNECT_SECONDS = 0.4
STORE_ANSWER_SECONDS = 1.2


_RECEIVER = frozenset({"hooks"})
_API = frozenset({"v1", "openapi.json"})


@dataclass(frozen=True, slots=True)
class Web:
    """Three Flask applications as one WSGI application; the first part of the path chooses among them.

    The receiver has no session and no cookie, the API neither; both know nothing of pages.
    """

    receiver: Flask
    api: Flask
    dashboard: Flask

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        return self.application_for(environ["PATH_INFO"])(environ, start_response)

    def application_for(self, path: str) -> Flask:
        """Return the application that answers a path."""
        first = path[1:].partition("/")[0]
        if first in _RECEIVER:
            return self.receiver
        return self.api if first in _API else self.dashboard


def create_app() -> Web:
    """Return the web for a server, its threads started. Print a fault that stops it, and exit with 1."""
    try:
        desk, web = make_web(os.environ)
    except RingbackError as error:
        sys.stderr.write(f"Ringback cannot start:\n{error}\n")
        sys.stderr.flush()
        raise SystemExit(1) from None
    Pulse(desk.processes, desk.store.who).start()
    Watchman(desk, desk.store.who, SentryReporter()).start()
    desk.tallies.switch_on()
    desk.wake_ups.start()
    return web


def make_web(environ: Mapping[str, str]) -> tuple[Desk, Web]:
    """Return the web and the desk it works on. Raise ConfigError and StoreUnsafeError, which stop the start.

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
    store.span = store_span
    tally = Tally()
    desk = Desk(watch, store, wake_up_publisher(tally), tally)
    _look_at_store(desk)
    return desk, compose(desk, Rates(client))


def compose(desk: Desk, rates: Rates, access: Access | None = None) -> Web:
    """Return the three applications on a desk. `access` stands in for who is signed in, for tests."""
    receiver = _application("receiver", receiver_blueprint(Intake(desk, rates, RefusalBook(desk))))
    api = _application("api", api_blueprint(desk, rates))
    pages = _application("dashboard", metrics_blueprint(desk))
    dashboard.install(pages, desk, rates, access)
    for app in (receiver, api, pages):
        app.register_blueprint(health_blueprint(desk))
    return Web(receiver, api, pages)


def _application(name: str, blueprint: Blueprint) -> Flask:
    app = Flask(f"ringback.{name}", static_folder=None)
    install(app)
    app.register_blueprint(blueprint)
    return app


def _look_at_store(desk: Desk) -> None:
    try:
        desk.look_at_store()
        desk.bind()
    except StoreAwayError as error:
        log.warning("the store is away; senders get 503 until it is back", reason=str(error))
