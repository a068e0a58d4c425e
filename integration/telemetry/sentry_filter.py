"""Filters Sentry events through an allow-list of fields, and masks free texts.

Each event is rebuilt from the listed fields. All other fields are dropped.
"""

from __future__ import annotations

import math
import re
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, cast

import sentry_sdk

from integration.telemetry.redaction import MASK, mask_outbound

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sentry_sdk._types import Event, Hint

    # Returns the value to send for an event's value, or None to drop it.
    Rule = Callable[[Any], Any]

LONGEST_TEXT: Final = 4096

# Messages of foreign exceptions may quote their arguments.
_QUOTED = re.compile(r"b?('(?:[^'\\]|\\.)*'?|\"(?:[^\"\\]|\\.)*\"?|`[^`]*`?)")


# --- rules for one value -----------------------------------------------------------------------


def _text(value: object) -> str | None:
    """Return the value as a masked text of at most LONGEST_TEXT characters, or None for None."""
    return None if value is None else mask_outbound(str(value))[:LONGEST_TEXT]


def _matching(pattern: str) -> Rule:
    """Return a rule that keeps a text only if it matches the pattern as a whole."""
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
    """Return a number between -100,000 and 100,000, or None for other values.

    A larger number could be a telephone number or a customer's id.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if math.isfinite(value) and abs(value) < 10**5 else None


# --- shapes ----------------------------------------------------------------------------------


def _table(**rules: Rule) -> Rule:
    """Return a rule for a dict, which keeps the named fields, each by its rule.

    Two underscores in a name stand for a dot.
    """
    named = {name.replace("__", "."): rule for name, rule in rules.items()}

    def apply(value: object) -> dict[str, Any] | None:
        if not isinstance(value, dict):
            return None
        kept = {name: rule(value[name]) for name, rule in named.items() if name in value}
        return {name: part for name, part in kept.items() if part is not None}

    return apply


def _each(rule: Rule) -> Rule:
    """Return a rule for a list, or for a dict with the list under `values`."""

    def apply(value: object) -> list[Any] | dict[str, Any] | None:
        if isinstance(value, dict) and "values" in value:
            return {"values": apply(value["values"]) or []}
        if not isinstance(value, list | tuple):
            return None
        return [kept for kept in map(rule, value) if kept is not None]

    return apply


def _exception_value(error: Mapping[str, Any]) -> str | None:
    """Return the part of an exception's message that may be sent.

    Messages of Ringback's exceptions are sent, except that of UnmappableError, which may contain customer
    data. Quoted parts are masked in messages of other exceptions.
    """
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
# A transaction's root span is in contexts.trace, the other spans are in the list `spans`.
_ANY_SPAN = {
    "trace_id": _hex,
    "span_id": _hex,
    "parent_span_id": _hex,
    "op": _word,
    "origin": _word,
    "status": _word,
}
_SPAN = _table(
    **_ANY_SPAN,
    same_process_as_parent=_flag,
    start_timestamp=_moment,
    timestamp=_moment,
    description=_text,
    data=_table(**_HTTP, **_STORE, **_QUEUE),
    tags=_table(**_HTTP, **_STORE),
)


def _commands_only(part: Any, field: str, kind: str) -> Any:
    """Return a Redis span or breadcrumb with its text (`field`) reduced to the command.

    The keys after the command may contain customer data. Other spans and breadcrumbs are returned
    unchanged.
    """
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
    **_ANY_SPAN,
    data=_table(**_HTTP, **_QUEUE),
    # Sent in the envelope's header. It may originate from a caller's baggage header.
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
_ANY_EVENT = {
    "event_id": _hex,
    "type": _word,
    "timestamp": _moment,
    "platform": _word,
    "release": _release,
    "environment": _text,
}
_EVENT = _table(
    **_ANY_EVENT,
    start_timestamp=_moment,
    level=_word,
    logger=_text,
    transaction=_text,
    transaction_info=_table(source=_word),
    dist=_text,
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
    **_ANY_EVENT,
    check_in_id=_hex,
    monitor_slug=_word,
    status=_word,
    duration=_small,
    monitor_config=_table(
        schedule=_table(type=_word, value=_small, unit=_word),
        checkin_margin=_small,
        max_runtime=_small,
        failure_issue_threshold=_small,
        recovery_threshold=_small,
    ),
)


# --- Sentry's hooks ----------------------------------------------------------------------------


def scrub(event: Event, hint: Hint) -> Event | None:
    """Return the event with listed fields only and texts masked.

    Return None for an event other than an error, a transaction or a check-in. Attachments are removed. If
    this function raises, Sentry drops the event. The fields are documented at develop.sentry.dev under
    "Event Payloads".
    """
    hint.get("attachments", []).clear()
    if event.get("type") == "check_in":
        return cast("Event", _CHECK_IN(event))
    if event.get("type") not in (None, "error", "transaction"):
        return None
    return cast("Event", _EVENT(event))
