"""Composes the Flask applications: receiver, API and dashboard. The server calls `create_app`."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
from flask import Blueprint, Flask

from integration import dashboard
from integration.alerts.monitor import AlertMonitor
from integration.api import api_blueprint
from integration.celery_app import connect as connect_broker
from integration.celery_app import publish
from integration.config.environment import (
    APPLICATIONS,
    config_path,
    epoch_file,
    hooks_url,
    served_applications,
    store_url,
)
from integration.domain.errors import RingbackError, StoreAwayError
from integration.services.configuration import ConfigRefresher, watch_config
from integration.services.container import Services
from integration.services.heartbeat import Heartbeat
from integration.services.wakeup import WakeUpPublisher
from integration.store.client import Store, connect
from integration.store.scripting.epoch import StoreEpoch
from integration.telemetry import logging
from integration.telemetry.counters import Counters
from integration.telemetry.sentry import SentryReporter, start_sentry, store_span, trace_headers
from integration.web.bounded_request import BoundedRequest
from integration.web.health import health_blueprint, metrics_blueprint
from integration.web.problems import install
from integration.web.rate_limit import RateLimit
from integration.webhooks.isolated_work import client as isolated_work_client
from integration.webhooks.isolated_work.client import IsolatedWork
from integration.webhooks.rejection_log import RejectionLog
from integration.webhooks.service import WebhookService
from integration.webhooks.views import receiver_blueprint

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from wsgiref.types import StartResponse, WSGIEnvironment

    from integration.dashboard.auth.roles import Access

log = structlog.get_logger("ringback.web")

# A sender is answered within two seconds even if the store hangs.
STORE_CONNECT_SECONDS = 0.4
STORE_ANSWER_SECONDS = 1.2


# Displayed if another process serves the receiver and RINGBACK_HOOKS_URL is unset.
UNKNOWN_RECEIVER = "https://RECEIVER"

_RECEIVER = frozenset({"hooks"})
_API = frozenset({"v1", "openapi.json"})


@dataclass(frozen=True, slots=True)
class Web:
    """Up to three Flask applications as one WSGI application. The first path segment selects one of them.

    The receiver and the API have no sessions and no cookies. An application that is not served is None.
    """

    receiver: Flask | None
    api: Flask | None
    dashboard: Flask | None
    webhooks: WebhookService | None = None

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Return the response of the application for the path."""
        return self.application_for(environ["PATH_INFO"])(environ, start_response)

    def application_for(self, path: str) -> Flask:
        """Return the application for a path. If it is not served, return the first served application."""
        first = path[1:].partition("/")[0]
        wanted = self.receiver if first in _RECEIVER else self.api if first in _API else self.dashboard
        return wanted or self.applications[0]

    def count_overload(self, method: str, path: str) -> int:
        """Count a request rejected because of overload if it is a delivery. Return its HTTP status."""
        return 503 if self.webhooks is None else self.webhooks.count_overload(method, path)

    @property
    def applications(self) -> tuple[Flask, ...]:
        """Return the served applications. There is at least one."""
        return tuple(app for app in (self.receiver, self.api, self.dashboard) if app is not None)


def create_app() -> Web:
    """Return the web and start its threads. On a RingbackError, print it and exit with status 1."""
    try:
        services, web = make_web(os.environ)
    except RingbackError as error:
        sys.stderr.write(f"Ringback cannot start:\n{error}\n")
        sys.stderr.flush()
        raise SystemExit(1) from None
    ConfigRefresher(services.configuration).start()
    Heartbeat(services.processes, services.store.process_id).start()
    services.durability.start()
    AlertMonitor(services, services.store.process_id, SentryReporter()).start()
    services.counter_flusher.start()
    services.wake_ups.start()
    return web


def make_web(environ: Mapping[str, str]) -> tuple[Services, Web]:
    """Return the services and the web. Raise ConfigError or StoreUnsafeError.

    A store that is unavailable raises no error. Senders get status 503 until the store is available.
    """
    logging.configure(environ.get("LOG_LEVEL") or "INFO", json=not sys.stderr.isatty())
    watch = watch_config(config_path(environ), environ)
    start_sentry(environ, watch.current)
    client = connect(
        store_url(environ), timeout_seconds=STORE_ANSWER_SECONDS, connect_seconds=STORE_CONNECT_SECONDS
    )
    store = Store(client, kind="web", epoch=StoreEpoch(epoch_file(environ)))
    store.report_losses(SentryReporter().store_lost)
    store.span = store_span
    counters = Counters()
    services = Services(
        watch,
        store,
        WakeUpPublisher(publish, trace=trace_headers, counters=counters, connect=connect_broker),
        counters,
    )
    _check_store(services)
    served, receiver_url = served_applications(environ), hooks_url(environ)
    return services, compose(services, RateLimit(client), served=served, receiver_url=receiver_url)


def compose(
    services: Services,
    rates: RateLimit,
    access: Access | None = None,
    served: frozenset[str] = APPLICATIONS,
    receiver_url: str | None = None,
    isolated: IsolatedWork | None = None,
) -> Web:
    """Return the web with the `served` applications.

    Tests replace the sign-in with `access` and the fork server with `isolated`. `receiver_url` is the base
    URL of a receiver in another process, or None if it is unknown.
    """
    receiver = api = pages = webhooks = None
    if "hooks" in served:
        webhooks = WebhookService(services, rates, RejectionLog(services))
        receiver = _application("receiver", receiver_blueprint(webhooks))
    if "api" in served:
        api = _application("api", api_blueprint(services, rates))
    if "dashboard" in served:
        pages = _application("dashboard", metrics_blueprint(services))
        if receiver_url is None and receiver is None:
            receiver_url = UNKNOWN_RECEIVER
        dashboard.install(pages, services, rates, access, receiver_url=receiver_url)
    web = Web(receiver, api, pages, webhooks)
    isolated = isolated or IsolatedWork()
    for app in web.applications:
        isolated_work_client.install(app, isolated)
        app.register_blueprint(health_blueprint(services))
    return web


def _application(name: str, blueprint: Blueprint) -> Flask:
    app = Flask(f"ringback.{name}", static_folder=None)
    app.request_class = BoundedRequest
    install(app)
    app.register_blueprint(blueprint)
    return app


def _check_store(services: Services) -> None:
    try:
        services.binding.assure_store()
        services.binding.bind()
    except StoreAwayError as error:
        log.warning("the store is away; senders get 503 until it is back", reason=str(error))
