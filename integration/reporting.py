"""Reports to Sentry what an operator should know: errors, dead recalls, stopped lanes, traces.

Without SENTRY_DSN nothing is started, patched or sent. What leaves is built anew from a list of fields
that are known to be harmless; a field that is not on the list stays here, and every text is masked.
"""

from __future__ import annotations

import logging
import math
import re
import sys
import threading
import time
from datetime import datetime
from importlib import metadata
from typing import TYPE_CHECKING, Any, Final, Literal, cast

import sentry_sdk
from flask import Flask
from sentry_sdk.crons import MonitorStatus, capture_checkin
from sentry_sdk.integrations import Integration
from sentry_sdk.integrations.atexit import AtexitIntegration
from sentry_sdk.integrations.celery import CeleryIntegration
from sentry_sdk.integrations.dedupe import DedupeIntegration
from sentry_sdk.integrations.excepthook import ExcepthookIntegration
from sentry_sdk.integrations.flask import FlaskIntegration
from sentry_sdk.integrations.httpx import HttpxIntegration
from sentry_sdk.integrations.logging import LoggingIntegration
from sentry_sdk.integrations.redis import RedisIntegration
from sentry_sdk.integrations.threading import ThreadingIntegration
from sentry_sdk.utils import BadDsn, Dsn, event_from_exception

from integration.errors import ConfigError, Fault
from integration.logs import hide, mask_text, secrets_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from sentry_sdk._types import Breadcrumb, BreadcrumbHint, Event, Hint, MonitorConfig, SamplingContext

    from integration.config import Config

    # From what an event holds to what may leave; None: nothing.
    Rule = Callable[[Any], Any]

MASK: Final = "***"
DEFAULT_TRACES_SAMPLE_RATE: Final = 0.1
LONGEST_TEXT: Final = 4096
MOST_A_MINUTE: Final = 20

SWEEP_MONITOR: Final = "ringback-sweep"
# A check-in a minute; after two that are missing Sentry says so.
SWEEP_MONITOR_CONFIG: Final[MonitorConfig] = {
    "schedule": {"type": "interval", "value": 1, "unit": "minute"},
    "checkin_margin": 2,
    "max_runtime": 1,
    "failure_issue_threshold": 2,
    "recovery_threshold": 1,
}

_UNTRACED = frozenset({"/healthz", "/readyz", "/metrics"})


# --- texts -----------------------------------------------------------------------------------

# Customers' ids and documents are shorter than telephones: no longer run of digits leaves.
_DIGITS = re.compile(r"\d{5,}")
# A path may hold a url key, and a query a customer.
_AFTER_HOST = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://[^\s/?#'\"<>]*)[^\s'\"<>]*")
_EMAIL = re.compile(r"[^\s@'\"<>()=,;:]+@[^\s@'\"<>()=,;]+")
# Errors that are not ours quote what they were given.
_QUOTED = re.compile(r"b?('(?:[^'\\]|\\.)*'?|\"(?:[^\"\\]|\\.)*\"?|`[^`]*`?)")
_SHORTEST_HIDDEN = 6


class _ShortSecrets:
    """Secrets too short for the log's masking: hidden where they stand alone."""

    def __init__(self) -> None:
        self._pattern: re.Pattern[str] | None = None

    def learn(self, secrets: Iterable[str]) -> None:
        short = sorted({s for s in secrets if 0 < len(s) < _SHORTEST_HIDDEN}, key=len, reverse=True)
        alone = "|".join(map(re.escape, short))
        self._pattern = re.compile(rf"(?<!\w)(?:{alone})(?!\w)") if short else None

    def mask(self, text: str) -> str:
        return self._pattern.sub(MASK, text) if self._pattern else text


_short = _ShortSecrets()


def _text(value: object) -> str | None:
    """Mask a text; what is none is made one."""
    if value is None:
        return None
    masked = mask_text(_short.mask(str(value)))
    for pattern, instead in ((_AFTER_HOST, rf"\1/{MASK}"), (_EMAIL, MASK), (_DIGITS, MASK)):
        masked = pattern.sub(instead, masked)
    return masked[:LONGEST_TEXT]


def _matching(pattern: str) -> Rule:
    """Make a rule that lets a text through whole, or not at all."""
    whole = re.compile(pattern)
    return lambda value: value if isinstance(value, str) and whole.fullmatch(value) else None


_word = _matching(r"[A-Za-z_][A-Za-z_.-]{0,63}")
_hex = _matching(r"[0-9a-f]{16}|[0-9a-f]{32}")
_uuid = _matching(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_recall_id = _matching(r"rc_[a-z0-9]{4,32}")
_stamp = _matching(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)?")
_release = _matching(r"ringback@\d{1,4}(\.\d{1,4}){1,3}[a-z0-9.+-]{0,16}")
_rate = _matching(r"[01](\.\d{1,20})?|true|false")


def _moment(value: object) -> object:
    return value if isinstance(value, datetime) else _stamp(value)


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _small(value: object) -> float | None:
    """Let a number through that is too small for a telephone or a customer's id."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if math.isfinite(value) and abs(value) < 10**5 else None


# --- shapes ----------------------------------------------------------------------------------


def _table(**rules: Rule) -> Rule:
    """Make a rule for a table: only the named fields go through, each by its rule. `__` is a dot."""
    named = {name.replace("__", "."): rule for name, rule in rules.items()}

    def apply(value: object) -> dict[str, Any] | None:
        if not isinstance(value, dict):
            return None
        kept = {name: rule(value[name]) for name, rule in named.items() if name in value}
        return {name: part for name, part in kept.items() if part is not None}

    return apply


def _each(rule: Rule) -> Rule:
    """Make a rule for a list; a table with `values` is one too."""

    def apply(value: object) -> list[Any] | dict[str, Any] | None:
        if isinstance(value, dict) and "values" in value:
            return {"values": apply(value["values"]) or []}
        if not isinstance(value, list | tuple):
            return None
        return [kept for kept in map(rule, value) if kept is not None]

    return apply


def _exception_value(error: Mapping[str, Any]) -> str | None:
    """Give what an error says: ours in full, where it quotes nobody; of others' what is not quoted."""
    module = str(error.get("module") or "")
    ours = module.startswith(("integration.", "workers."))
    if ours and error.get("type") != "UnmappableError":
        return _text(error.get("value"))
    if ours:
        return None
    return _text(_QUOTED.sub(f"'{MASK}'", str(error.get("value") or "")))


_STACK = _table(
    frames=_each(
        _table(
            filename=_text,
            abs_path=_text,
            module=_text,
            function=_text,
            lineno=_small,
            pre_context=_each(_text),
            context_line=_text,
            post_context=_each(_text),
            in_app=_flag,
        )
    )
)
_MECHANISM = _table(
    type=_word,
    handled=_flag,
    source=_word,
    exception_id=_small,
    parent_id=_small,
    is_exception_group=_flag,
)
_ERROR = _table(type=_text, module=_text, value=_text, mechanism=_MECHANISM, stacktrace=_STACK)


def _error(value: object) -> Any:
    return _ERROR({**value, "value": _exception_value(value)}) if isinstance(value, dict) else None


_FACTS = {
    "account": _text,
    "verdict": _word,
    "reason": _text,
    "source": _text,
    "recall": _recall_id,
    "logger": _text,
    "kind": _word,
    "during": _word,
    "celery_task_id": _uuid,
}
_HTTP = {
    "method": _word,
    "http__method": _word,
    "http__request__method": _word,
    "status_code": _small,
    "http__status_code": _small,
    "http__response__status_code": _small,
}
_STORE = {
    "db__system": _word,
    "db__operation": _word,
    "redis__command": _word,
    "redis__is_cluster": _flag,
    "redis__transaction": _flag,
}
_QUEUE = {
    "messaging__system": _word,
    "messaging__destination__name": _word,
    "messaging__message__retry__count": _small,
    "messaging__message__receive__latency": _small,
}
_CRUMB = _table(
    type=_word,
    category=_text,
    level=_word,
    timestamp=_moment,
    message=_text,
    data=_table(**_FACTS, **_HTTP, **_STORE),
)
_SPAN = _table(
    span_id=_hex,
    parent_span_id=_hex,
    trace_id=_hex,
    same_process_as_parent=_flag,
    op=_word,
    origin=_word,
    status=_word,
    start_timestamp=_moment,
    timestamp=_moment,
    description=_text,
    data=_table(**_HTTP, **_STORE, **_QUEUE),
    tags=_table(**_HTTP, **_STORE),
)


def _commands_only(part: Any, field: str, kind: str) -> Any:
    """Leave of what was said to the store its command: a key may name a customer."""
    if isinstance(part, dict) and kind.startswith(("db", "redis", "cache")):
        return {**part, field: str(part.get(field) or "").split(" ")[0]}
    return part


def _span(value: Any) -> Any:
    kind = str(value.get("op")) if isinstance(value, dict) else ""
    return _SPAN(_commands_only(value, "description", kind))


def _crumb(value: Any) -> Any:
    kind = str(value.get("category")) if isinstance(value, dict) else ""
    return _CRUMB(_commands_only(value, "message", kind))


def _own_key(value: object) -> str | None:
    dsn = sentry_sdk.get_client().parsed_dsn
    return dsn.public_key if dsn is not None and value == dsn.public_key else None


def _own_organisation(value: object) -> str | None:
    dsn = sentry_sdk.get_client().parsed_dsn
    return dsn.org_id if dsn is not None and value == dsn.org_id else None


_TRACE = _table(
    trace_id=_hex,
    span_id=_hex,
    parent_span_id=_hex,
    op=_word,
    origin=_word,
    status=_word,
    data=_table(**_HTTP, **_QUEUE),
    # Goes into the envelope's head. It may come from outside, with a caller's words in it.
    dynamic_sampling_context=_table(
        trace_id=_hex,
        public_key=_own_key,
        org_id=_own_organisation,
        release=_release,
        environment=_text,
        sample_rate=_rate,
        sample_rand=_rate,
        sampled=_rate,
    ),
)
_EVENT = _table(
    event_id=_hex,
    type=_word,
    timestamp=_moment,
    start_timestamp=_moment,
    platform=_word,
    level=_word,
    logger=_text,
    transaction=_text,
    transaction_info=_table(source=_word),
    release=_release,
    dist=_text,
    environment=_text,
    server_name=_text,
    message=_text,
    logentry=_table(message=_text, formatted=_text),
    fingerprint=_each(_text),
    exception=_each(_error),
    threads=_each(_table(name=_text, crashed=_flag, current=_flag, stacktrace=_STACK)),
    breadcrumbs=_each(_crumb),
    spans=_each(_span),
    tags=_table(**_FACTS),
    extra=_table(**{"celery-job": _table(task_name=_text)}),
    request=_table(method=_word),
    contexts=_table(
        trace=_TRACE,
        runtime=_table(name=_word, version=_text),
        response=_table(status_code=_small),
    ),
    sdk=_table(
        name=_word,
        version=_text,
        integrations=_each(_word),
        packages=_each(_table(name=_text, version=_text)),
    ),
)
_CHECK_IN = _table(
    type=_word,
    check_in_id=_hex,
    monitor_slug=_word,
    status=_word,
    duration=_small,
    environment=_text,
    release=_release,
    timestamp=_moment,
    platform=_word,
    event_id=_hex,
    monitor_config=_table(
        schedule=_table(type=_word, value=_small, unit=_word),
        checkin_margin=_small,
        max_runtime=_small,
        failure_issue_threshold=_small,
        recovery_threshold=_small,
    ),
)


# --- Sentry's hooks --------------------------------------------------------------------------


def scrub(event: Event, hint: Hint) -> Event | None:
    """Give an event fit to leave: known fields only, texts masked. Attachments stay here.

    Sentry drops the event when this fails. Fields: develop.sentry.dev, event payloads.
    """
    hint.get("attachments", []).clear()
    if event.get("type") == "check_in":
        return cast("Event", _CHECK_IN(event))
    if event.get("type") not in (None, "error", "transaction"):
        return None
    return cast("Event", _EVENT(event))


def scrub_breadcrumb(crumb: Breadcrumb, hint: BreadcrumbHint) -> Breadcrumb | None:
    """Give a breadcrumb fit to be kept; of our own log lines their few harmless facts."""
    said = getattr(hint.get("log_record"), "msg", None)
    if isinstance(said, dict):
        crumb = {**crumb, "message": said.get("event"), "data": said}
    return cast("Breadcrumb | None", _crumb(crumb))


def _nothing(_telemetry: object, _hint: object) -> None:
    """Let no log line and no metric through: Ringback sends none."""


def _sampler(rate: float) -> Callable[[SamplingContext], float]:
    """Trace that share of what comes in; a task is traced when, and only when, what rang for it was."""

    def sample(context: SamplingContext) -> float:
        parent = context.get("parent_sampled")
        if parent is not None:
            return float(parent)
        environ = context.get("wsgi_environ") or {}
        return 0.0 if environ.get("PATH_INFO") in _UNTRACED else rate

    return sample


class _OwnTraces(Integration):
    """Begins a trace of our own for every request.

    A sender's trace headers would decide what is traced here, and its words would travel on in
    Celery's messages. Listed after FlaskIntegration, so that it comes before it on the way in.
    """

    identifier = "ringback"

    @staticmethod
    def setup_once() -> None:
        """Patch Flask, as Sentry's own integration does."""
        inner = Flask.__call__

        def call(self: Flask, environ: dict[str, Any], start_response: Any) -> Any:
            for header in ("HTTP_SENTRY_TRACE", "HTTP_BAGGAGE"):
                environ.pop(header, None)
            return inner(self, environ, start_response)

        Flask.__call__ = call  # type: ignore[method-assign]


class _ErrorLines(logging.Handler):
    """Reports the exceptions that are logged; structlog has made them text before Sentry could see them."""

    def emit(self, record: logging.LogRecord) -> None:
        """Report the line's exception, if it has one."""
        error = _logged_exception(record)
        client = sentry_sdk.get_client()
        if error is None or not client.is_active():
            return
        mechanism = {"type": "logging", "handled": True}
        event, hint = event_from_exception(error, client_options=client.options, mechanism=mechanism)
        said = record.msg.get("event") if isinstance(record.msg, dict) else record.msg
        event["logger"] = record.name
        event["level"] = "error"
        event["logentry"] = {"message": str(said)}
        sentry_sdk.capture_event(event, hint=hint)


def _logged_exception(record: logging.LogRecord) -> BaseException | None:
    if record.exc_info:
        return record.exc_info[1]
    if isinstance(record.msg, dict) and "exception" in record.msg:
        return sys.exception()
    return None


# --- start -----------------------------------------------------------------------------------


def known_secrets(config: Config) -> frozenset[str]:
    """Give the text of every secret of a configuration: tokens, keys, url keys, signing secrets."""
    return secrets_of(config)


def start_sentry(environ: Mapping[str, str], config: Config) -> None:
    """Start reporting where SENTRY_DSN is set; else do nothing. Raises ConfigError.

    SENTRY_ENVIRONMENT names the installation; SENTRY_TRACES_SAMPLE_RATE, 0 to 1, is the share of requests
    that are traced, 0.1 unless set. Call it before Celery's worker or the web takes work.
    """
    dsn = environ.get("SENTRY_DSN")
    if not dsn:
        return
    rate = _traces_sample_rate(environ)
    _check_dsn(dsn)
    secrets = known_secrets(config)
    hide(secrets)
    _short.learn(secrets)
    sentry_sdk.init(
        dsn=dsn,
        environment=environ.get("SENTRY_ENVIRONMENT") or "production",
        release=f"ringback@{metadata.version('ringback')}",
        traces_sampler=_sampler(rate),
        before_send=scrub,
        before_send_transaction=scrub,
        before_breadcrumb=scrub_breadcrumb,
        before_send_log=_nothing,
        before_send_metric=_nothing,
        send_default_pii=False,
        max_request_body_size="never",
        include_local_variables=False,
        # wolkvox, HubSpot and their proxies learn nothing of our traces.
        trace_propagation_targets=[],
        auto_session_tracking=False,
        spotlight=False,
        debug=False,
        default_integrations=False,
        auto_enabling_integrations=False,
        integrations=_integrations(),
    )
    version = ".".join(map(str, sys.version_info[:3]))
    sentry_sdk.get_global_scope().set_context("runtime", {"name": "CPython", "version": version})
    _listen_to_errors()


def _integrations() -> list[Integration]:
    return [
        AtexitIntegration(callback=lambda _pending, _seconds: None),
        ExcepthookIntegration(),
        DedupeIntegration(),
        LoggingIntegration(level=logging.INFO, event_level=None, sentry_logs_level=None),
        # A thread that lives long would carry on the trace of the request that happened to start it.
        ThreadingIntegration(propagate_scope=False),
        # By the rule, /hooks/<source>/<url_key>, never by the path itself.
        FlaskIntegration(transaction_style="url"),
        _OwnTraces(),
        CeleryIntegration(propagate_traces=True, monitor_beat_tasks=False),
        RedisIntegration(),
        HttpxIntegration(),
    ]


def _listen_to_errors() -> None:
    root = logging.getLogger()
    if not any(isinstance(handler, _ErrorLines) for handler in root.handlers):
        root.addHandler(_ErrorLines(logging.ERROR))


def _check_dsn(dsn: str) -> None:
    try:
        Dsn(dsn)
    except (BadDsn, ValueError):
        allowed = "the DSN as Sentry shows it: https://KEY@HOST/PROJECT"
        found = f"a text of {len(dsn)} characters"
        raise ConfigError((Fault("environment", "SENTRY_DSN", found, allowed),)) from None


def _traces_sample_rate(environ: Mapping[str, str]) -> float:
    text = environ.get("SENTRY_TRACES_SAMPLE_RATE") or str(DEFAULT_TRACES_SAMPLE_RATE)
    if re.fullmatch(r"0(\.\d+)?|1(\.0+)?|\.\d+", text, re.ASCII):
        return float(text)
    fault = Fault("environment", "SENTRY_TRACES_SAMPLE_RATE", f"{text[:20]!r}", "a number from 0 to 1")
    raise ConfigError((fault,))


def trace_headers() -> dict[str, Any]:
    """Give the headers with which a task that is sent later, by another thread, belongs to this trace.

    Empty without Sentry. They hold ids, the release and the sampling, no customer's data. Celery hands a
    task only those headers that lie under `headers` once more (celery issue 4875).
    """
    if not sentry_sdk.get_client().is_active():
        return {}
    own = dict(sentry_sdk.get_current_scope().iter_trace_propagation_headers())
    return {**own, "headers": own} if own else {}


# --- what the workers report -----------------------------------------------------------------


class _Flood:
    """Lets so many reports of a kind through each minute: ten thousand dead recalls say no more than 20."""

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
    """Tells Sentry of dead recalls, stopped lanes and deaf workers; without Sentry it does nothing.

    Reports are grouped by verdict and account, and name the recall by its id: no customer's data. At
    most 20 of a kind leave a process in a minute. `clock` gives seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._flood = _Flood(clock)

    def dead(self, claim: Any, verdict: str, reason: str) -> None:
        """Report that a recall is dead. `claim` has `recall_id`, `account`, and what must not leave."""
        private = (claim.customer_id, claim.telephone, claim.campaign_id)
        tags = {"account": claim.account, "verdict": verdict, "recall": claim.recall_id}
        kind = ("recall-dead", verdict, claim.account)
        self._report(f"recall dead: {claim.account}", kind, tags, _without(reason, private))

    def stopped(self, account: str, reason: str) -> None:
        """Report that an account's lane stopped."""
        self._report(f"lane stopped: {account}", ("lane-stopped", account), {"account": account}, reason)

    def alert_begins(self, kind: str, subject: str) -> None:
        """Report an alert of the operator's rules that begins."""
        tags = {"kind": kind, "source": subject} if subject else {"kind": kind}
        self._report(f"alert begins: {kind}", ("alert", kind, subject), tags, subject or "the installation")

    def alert_is_over(self, kind: str, subject: str) -> None:
        """Report that it is over."""
        tags = {"kind": kind, "source": subject} if subject else {"kind": kind}
        what = f"alert is over: {kind}"
        self._report(what, ("alert-over", kind, subject), tags, subject or "the installation", level="info")

    def swept(self, seconds: float) -> None:
        """Check in at Sentry's monitor of the sweep, which is made by the first check-in."""
        if sentry_sdk.get_client().is_active():
            capture_checkin(
                monitor_slug=SWEEP_MONITOR,
                status=MonitorStatus.OK,
                duration=round(seconds, 3),
                monitor_config=SWEEP_MONITOR_CONFIG,
            )

    def deaf(self, worker: str, seconds: float) -> None:
        """Report a worker, by its machine and process, that has taken no doorbell for so many seconds."""
        reason = f"for {seconds:.0f} s; its turns are taken by the sweep"
        self._report(f"worker takes no doorbells: {worker}", ("worker-deaf",), {}, reason)

    def hears(self, worker: str, seconds: float) -> None:
        """Report that it takes doorbells again, after so many seconds."""
        what = f"worker takes doorbells again: {worker}"
        self._report(what, ("worker-hears",), {}, f"after {seconds:.0f} s", level="info")

    def store_lost(self, loss: Any) -> None:
        """Report that the store lost some of its history. `loss` has `how` and `missing`."""
        lacks = "" if loss.missing is None else f"it lacks at least {loss.missing} changes; "
        reason = f"{lacks}all lanes wait for a quiet time; what was acknowledged since may be missing"
        self._report(f"the store {loss.how}", ("store-lost", loss.how), {}, reason)

    def _report(
        self,
        what: str,
        kind: tuple[str, ...],
        tags: Mapping[str, str],
        reason: str,
        level: Literal["error", "info"] = "error",
    ) -> None:
        if not sentry_sdk.get_client().is_active() or not self._flood.passes(kind):
            return
        with sentry_sdk.new_scope() as scope:
            scope.fingerprint = list(kind)
            for name, value in tags.items():
                scope.set_tag(name, value)
            scope.set_tag("reason", reason)
            scope.capture_message(f"{what}: {reason}", level=level)


def _without(text: str, private: Iterable[str]) -> str:
    """Give a text without these values, where they stand alone in it."""
    for value in filter(None, private):
        text = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", MASK, text)
    return text
