"""Reports errors, dead recalls, stopped queues and traces to Sentry.

Without SENTRY_DSN nothing is started, patched or sent. `sentry_filter` selects the fields that are sent.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
import time
from contextlib import nullcontext
from importlib import metadata
from typing import TYPE_CHECKING, Any, Final, Literal, cast

import sentry_sdk
from flask import Flask, got_request_exception, request, request_started
from sentry_sdk.consts import OP
from sentry_sdk.crons import MonitorStatus, capture_checkin
from sentry_sdk.integrations import Integration
from sentry_sdk.integrations.atexit import AtexitIntegration
from sentry_sdk.integrations.celery import CeleryIntegration
from sentry_sdk.integrations.dedupe import DedupeIntegration
from sentry_sdk.integrations.excepthook import ExcepthookIntegration
from sentry_sdk.integrations.httpx import HttpxIntegration
from sentry_sdk.integrations.redis import RedisIntegration
from sentry_sdk.integrations.threading import ThreadingIntegration
from sentry_sdk.tracing import TransactionSource
from sentry_sdk.utils import BadDsn, Dsn, event_from_exception

from integration.domain.errors import ENVIRONMENT, ConfigError, Fault
from integration.telemetry.logging import add_observer
from integration.telemetry.redaction import mask_names, remember_secrets, secrets_of
from integration.telemetry.sentry_filter import scrub

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from sentry_sdk._types import MonitorConfig, SamplingContext

    from integration.config.models import Config
    from integration.telemetry.reporter import FailedRecall, StoreLoss

DEFAULT_TRACES_SAMPLE_RATE: Final = 0.01
"""A rate of 0.1 takes a third of the web's CPU time at 1,000 webhooks a second."""
MOST_A_MINUTE: Final = 20

SWEEP_MONITOR: Final = "ringback-sweep"
# One check-in a minute is expected. Sentry alerts after two missed check-ins.
SWEEP_MONITOR_CONFIG: Final[MonitorConfig] = {
    "schedule": {"type": "interval", "value": 1, "unit": "minute"},
    "checkin_margin": 2,
    "max_runtime": 1,
    "failure_issue_threshold": 2,
    "recovery_threshold": 1,
}

_UNTRACED = frozenset({"/healthz", "/readyz", "/metrics"})


# --- Sentry's hooks --------------------------------------------------------------------------


def _nothing(_telemetry: object, _hint: object) -> None:
    """Return None, which drops a Sentry log or metric. Ringback sends neither."""


def _sampler(rate: float) -> Callable[[SamplingContext], float]:
    """Return a sampler that traces a share of the requests and tasks, without the paths of _UNTRACED.

    A task that was published in a trace follows the sampling decision of that trace.
    """

    def sample(context: SamplingContext) -> float:
        parent = context.get("parent_sampled")
        if parent is not None:
            return float(parent)
        environ = context.get("wsgi_environ") or {}
        return 0.0 if environ.get("PATH_INFO") in _UNTRACED else rate

    return sample


class _Requests(Integration):
    """A Sentry integration that gives web requests a scope and a trace, and reports uncaught exceptions.

    It replaces Sentry's Flask integration, which reads headers and URLs of every request, also of
    untraced ones. Sentry's integration also continues traces from the sender's headers, and copies the
    sender's baggage into Celery messages.
    """

    identifier = "flask"

    @staticmethod
    def setup_once() -> None:
        """Patch Flask, in the same way as Sentry's Flask integration."""
        inner = Flask.__call__
        request_started.connect(_name_transaction)
        got_request_exception.connect(_report_uncaught)

        def call(self: Flask, environ: dict[str, Any], start_response: Any) -> Any:
            if not sentry_sdk.get_client().is_active():
                return inner(self, environ, start_response)
            with sentry_sdk.isolation_scope() as scope:
                method = {"method": environ["REQUEST_METHOD"]}
                scope.add_event_processor(lambda event, _hint: {**event, "request": method})
                transaction = sentry_sdk.start_transaction(
                    op=OP.HTTP_SERVER,
                    name="a request",
                    source=TransactionSource.ROUTE,
                    origin="auto.http.flask",
                    custom_sampling_context={"wsgi_environ": environ},
                )

                def start(status: str, *args: Any) -> Any:
                    transaction.set_http_status(int(status[:3]))
                    return start_response(status, *args)

                with transaction:
                    return inner(self, environ, start if transaction.sampled else start_response)

        Flask.__call__ = call  # type: ignore[method-assign]


def _name_transaction(_app: Flask, **_: Any) -> None:
    """Set the transaction's name to the URL rule (/hooks/<source>/<url_key>), never to the path."""
    if request.url_rule is not None and sentry_sdk.get_client().is_active():
        scope = sentry_sdk.get_current_scope()
        scope.set_transaction_name(request.url_rule.rule, source=TransactionSource.ROUTE)


def _report_uncaught(_app: Flask, exception: BaseException, **_: Any) -> None:
    client = sentry_sdk.get_client()
    if client.is_active():
        mechanism = {"type": "flask", "handled": False}
        event, hint = event_from_exception(exception, client_options=client.options, mechanism=mechanism)
        sentry_sdk.capture_event(event, hint=hint)


def _observe_log_line(line: Mapping[str, Any]) -> None:
    """Record a log line above level debug as a breadcrumb.

    Report a line of level error or critical that has an exception.
    """
    client = sentry_sdk.get_client()
    # Reporting the SDK's own lines would loop.
    if not client.is_active() or line["logger"].startswith("sentry_sdk"):
        return
    level, error = line["level"], _exception_of(line.get("exc_info"))
    if error is not None and level in {"error", "critical"}:
        mechanism = {"type": "logging", "handled": True}
        event, hint = event_from_exception(error, client_options=client.options, mechanism=mechanism)
        event["logger"], event["level"] = line["logger"], level
        event["logentry"] = {"message": str(line["event"])}
        sentry_sdk.capture_event(event, hint=hint)
    if level != "debug":
        sentry_sdk.add_breadcrumb(
            type="log", category=line["logger"], level=level, message=str(line["event"]), data=dict(line)
        )


def _exception_of(exc_info: Any) -> BaseException | None:
    if isinstance(exc_info, tuple):
        return cast("BaseException | None", exc_info[1])
    if isinstance(exc_info, BaseException):
        return exc_info
    return sys.exception() if exc_info else None


# --- start -----------------------------------------------------------------------------------


def start_sentry(environ: Mapping[str, str], config: Config) -> None:
    """Start reporting if SENTRY_DSN is set. Call this before the worker or the web accepts work.

    SENTRY_ENVIRONMENT is the name of the environment. SENTRY_TRACES_SAMPLE_RATE, from 0 to 1, is the share of
    requests that are traced; the default is 0.01. Raise ConfigError if a variable is invalid.
    """
    dsn = environ.get("SENTRY_DSN")
    if not dsn:
        return
    rate = _traces_sample_rate(environ)
    _check_dsn(dsn)
    remember_secrets(secrets_of(config))
    sentry_sdk.init(
        dsn=dsn,
        environment=environ.get("SENTRY_ENVIRONMENT") or "production",
        release=f"ringback@{metadata.version('ringback')}",
        traces_sampler=_sampler(rate),
        before_send=scrub,
        before_send_transaction=scrub,
        before_send_log=_nothing,
        before_send_metric=_nothing,
        send_default_pii=False,
        max_request_body_size="never",
        include_local_variables=False,
        # Send no trace headers to wolkvox, HubSpot or their proxies.
        trace_propagation_targets=[],
        auto_session_tracking=False,
        spotlight=False,
        debug=False,
        default_integrations=False,
        auto_enabling_integrations=False,
        integrations=_integrations(),
    )
    # Without `debug` these lines are dropped, but still formatted: two for each request without a trace.
    logging.getLogger("sentry_sdk.errors").setLevel(logging.WARNING)
    version = ".".join(map(str, sys.version_info[:3]))
    sentry_sdk.get_global_scope().set_context("runtime", {"name": "CPython", "version": version})
    add_observer(_observe_log_line)


def _integrations() -> list[Integration]:
    return [
        AtexitIntegration(callback=lambda _pending, _seconds: None),
        ExcepthookIntegration(),
        DedupeIntegration(),
        # A long-lived thread would continue the trace of the request that started it.
        ThreadingIntegration(propagate_scope=False),
        _Requests(),
        CeleryIntegration(propagate_traces=True, monitor_beat_tasks=False),
        RedisIntegration(),
        HttpxIntegration(),
    ]


def _check_dsn(dsn: str) -> None:
    try:
        Dsn(dsn)
    except (BadDsn, ValueError):
        allowed = "the DSN from the project's settings in Sentry: https://KEY@HOST/PROJECT"
        found = f"a text of {len(dsn)} characters"
        raise ConfigError((Fault(ENVIRONMENT, "SENTRY_DSN", found, allowed),)) from None


def _traces_sample_rate(environ: Mapping[str, str]) -> float:
    text = environ.get("SENTRY_TRACES_SAMPLE_RATE") or str(DEFAULT_TRACES_SAMPLE_RATE)
    if re.fullmatch(r"0(\.\d+)?|1(\.0+)?|\.\d+", text, re.ASCII):
        return float(text)
    fault = Fault(ENVIRONMENT, "SENTRY_TRACES_SAMPLE_RATE", f"{text[:20]!r}", "a number from 0 to 1")
    raise ConfigError((fault,))


def trace_headers() -> dict[str, Any]:
    """Return message headers that continue the current trace in a task. They are empty without Sentry.

    The headers contain ids, the release and the sampling decision, and no customer data. Another thread may
    publish the task later. Celery passes only headers under a nested `headers` key to tasks (celery issue
    4875).
    """
    if not sentry_sdk.get_client().is_active():
        return {}
    own = dict(sentry_sdk.get_current_scope().iter_trace_propagation_headers())
    return {**own, "headers": own} if own else {}


def store_span(command: str) -> AbstractContextManager[object]:
    """Return a span for one call of the store's script. Outside of a trace it has no effect.

    Sentry's Redis integration traces the client methods of redis-py, which script calls do not use.
    """
    parent = sentry_sdk.get_current_span()
    return nullcontext() if parent is None else parent.start_child(op="db.redis", name=command)


# --- reports ---------------------------------------------------------------------------------


class _RateLimiter:
    """Limits the reports of each kind to MOST_A_MINUTE per minute."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._minute = -1
        self._counts: dict[tuple[str, ...], int] = {}

    def passes(self, kind: tuple[str, ...]) -> bool:
        minute = int(self._clock() // 60)
        with self._lock:
            if minute != self._minute:
                self._minute, self._counts = minute, {}
            self._counts[kind] = count = self._counts.get(kind, 0) + 1
        return count <= MOST_A_MINUTE


class SentryReporter:
    """Reports dead recalls, stopped queues, alerts, stalled workers, sweeps and lost data to Sentry.

    Without Sentry the methods do nothing. Reports of a kind are grouped: dead recalls by verdict and
    account, for example. Reports contain no customer data. A process sends at most 20 reports of a group
    per minute. `clock` returns seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._limiter = _RateLimiter(clock)

    def dead(self, recall: FailedRecall, verdict: str, reason: str) -> None:
        """Report a dead recall, without its customer data."""
        private = (recall.customer_id, recall.telephone, recall.campaign_id)
        tags = {"account": recall.account, "verdict": verdict, "recall": recall.recall_id}
        kind = ("recall-dead", verdict, recall.account)
        self._report(f"recall dead: {recall.account}", kind, tags, mask_names(reason, private))

    def stopped(self, account: str, reason: str) -> None:
        """Report that the queue of an account has stopped."""
        self._report(f"queue stopped: {account}", ("queue-stopped", account), {"account": account}, reason)

    def alert_begins(self, kind: str, subject: str) -> None:
        """Report the beginning of an alert."""
        tags = {"kind": kind, "source": subject} if subject else {"kind": kind}
        self._report(f"alert begins: {kind}", ("alert", kind, subject), tags, subject or "the installation")

    def alert_is_over(self, kind: str, subject: str) -> None:
        """Report the end of an alert."""
        tags = {"kind": kind, "source": subject} if subject else {"kind": kind}
        what = f"alert ended: {kind}"
        self._report(what, ("alert-over", kind, subject), tags, subject or "the installation", level="info")

    def swept(self, seconds: float) -> None:
        """Send a check-in to Sentry's monitor of the sweep. The first check-in creates the monitor."""
        if sentry_sdk.get_client().is_active():
            capture_checkin(
                monitor_slug=SWEEP_MONITOR,
                status=MonitorStatus.OK,
                duration=round(seconds, 3),
                monitor_config=SWEEP_MONITOR_CONFIG,
            )

    def consumers_stalled(self, worker: str, seconds: float) -> None:
        """Report a worker (`host:pid`) that has taken no published wake-up for `seconds`."""
        reason = (
            f"none taken for {seconds:.0f} s; the sweep drains the queues instead; check BROKER_URL, and "
            "restart the worker if this continues"
        )
        self._report(f"worker takes no wake-ups: {worker}", ("worker-stalled",), {}, reason)

    def consumers_recovered(self, worker: str, seconds: float) -> None:
        """Report a worker (`host:pid`) that takes wake-ups again after `seconds`."""
        what = f"worker takes wake-ups again: {worker}"
        self._report(what, ("worker-recovered",), {}, f"after {seconds:.0f} s", level="info")

    def store_lost(self, loss: StoreLoss) -> None:
        """Report a loss of data in the store."""
        lacks = "" if loss.missing is None else f"at least {loss.missing} changes are missing; "
        reason = f"{lacks}each queue waits for the length of its lease; acknowledged recalls may be missing"
        self._report(f"the store {loss.how}", ("store-lost", loss.how), {}, reason)

    def _report(
        self,
        what: str,
        kind: tuple[str, ...],
        tags: Mapping[str, str],
        reason: str,
        level: Literal["error", "info"] = "error",
    ) -> None:
        if not sentry_sdk.get_client().is_active() or not self._limiter.passes(kind):
            return
        with sentry_sdk.new_scope() as scope:
            scope.fingerprint = list(kind)
            for name, value in tags.items():
                scope.set_tag(name, value)
            scope.set_tag("reason", reason)
            scope.capture_message(f"{what}: {reason}", level=level)
