"""Nothing private leaves in any field of an event, whatever its shape; what an operator needs does leave."""

from __future__ import annotations

import ast
import inspect
import json
from pathlib import Path

import pytest
import sentry_sdk
from hypothesis import given
from hypothesis import strategies as st
from sentry_sdk import _types

from integration.domain.errors import UnmappableError
from integration.telemetry import sentry_filter
from integration.telemetry.sentry_filter import _FACTS, scrub
from support.planted import ANY, DIGITS, DOCUMENT, NAME, PLANTED, assert_clean


def schema(name: str) -> list[str]:
    """Read the fields of one of the SDK's own tables."""
    tree = ast.parse(Path(inspect.getfile(_types)).read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == name:
            return [key.value for key in node.value.args[1].keys]
    raise AssertionError(f"the SDK has no table {name}")


FRAME = {
    "filename": PLANTED,
    "abs_path": PLANTED,
    "module": PLANTED,
    "function": PLANTED,
    "lineno": int(DIGITS),
    "pre_context": [PLANTED],
    "context_line": PLANTED,
    "post_context": [PLANTED],
    "vars": {"phone": PLANTED, PLANTED: PLANTED},
    "in_app": True,
    PLANTED: PLANTED,
}
STACK = {"frames": [FRAME], "registers": {"eax": PLANTED}}
MECHANISM = {
    "type": PLANTED,
    "handled": PLANTED,
    "data": {"x": PLANTED},
    "meta": {"errno": {"name": PLANTED}},
    "source": PLANTED,
    "exception_id": int(DIGITS),
}
ERROR = {
    "type": PLANTED,
    "module": PLANTED,
    "value": PLANTED,
    "mechanism": MECHANISM,
    "stacktrace": STACK,
    "thread_id": int(DIGITS),
}
OUR_ERROR = {**ERROR, "type": "StoreAwayError", "module": "integration.domain.errors"}
HTTP = {
    "url": PLANTED,
    "method": PLANTED,
    "http.query": PLANTED,
    "status_code": int(DIGITS),
    "reason": PLANTED,
}
FACTS = dict.fromkeys(_FACTS, PLANTED)
CRUMB = {
    "type": PLANTED,
    "category": PLANTED,
    "level": PLANTED,
    "message": PLANTED,
    "timestamp": PLANTED,
    "data": {**ANY, **HTTP, **FACTS, "redis.key": PLANTED, "redis.command": PLANTED},
}
SPAN = {
    "span_id": DIGITS,
    "trace_id": DIGITS,
    "parent_span_id": DIGITS,
    "op": PLANTED,
    "origin": PLANTED,
    "status": PLANTED,
    "description": PLANTED,
    "start_timestamp": PLANTED,
    "timestamp": float(DIGITS),
    "data": {**ANY, **HTTP, "messaging.destination.name": PLANTED, "messaging.message.id": PLANTED},
    "tags": {**ANY, "redis.key": PLANTED},
    "measurements": ANY,
}
TRACE = {
    **SPAN,
    "dynamic_sampling_context": {
        "transaction": PLANTED,
        "public_key": PLANTED,
        "user_segment": PLANTED,
        "sample_rate": PLANTED,
        "release": PLANTED,
        "org_id": DIGITS,
    },
}
FULL = {
    "breadcrumbs": {"values": [CRUMB, {**CRUMB, "category": "redis", "message": f"HGETALL '{PLANTED}'"}]},
    "check_in_id": PLANTED,
    "contexts": {"trace": TRACE, "runtime": ANY | {"name": PLANTED, "version": PLANTED}, "response": {"status_code": int(DIGITS), "cookies": PLANTED}, "device": ANY, "flags": {"values": [ANY]}, PLANTED: ANY},
    "dist": PLANTED,
    "duration": float(DIGITS),
    "environment": PLANTED,
    "errors": [{"type": PLANTED, "name": PLANTED, "value": PLANTED}],
    "event_id": "0123456789abcdef0123456789abcdef",
    "exception": {"values": [ERROR, OUR_ERROR, {**OUR_ERROR, "type": "UnmappableError"}]},
    "extra": {**ANY, "celery-job": {"task_name": PLANTED, "args": [PLANTED], "kwargs": ANY}, "sys.argv": [PLANTED]},
    "fingerprint": [PLANTED],
    "level": PLANTED,
    "logentry": {"message": PLANTED, "formatted": PLANTED, "params": [PLANTED]},
    "logger": PLANTED,
    "measurements": ANY,
    "message": PLANTED,
    "modules": {PLANTED: PLANTED},
    "monitor_config": ANY,
    "monitor_slug": PLANTED,
    "platform": PLANTED,
    "profile": ANY,
    "release": PLANTED,
    "request": {"url": PLANTED, "method": PLANTED, "query_string": PLANTED, "data": ANY, "cookies": ANY, "headers": {"Authorization": PLANTED, "X-Phone": PLANTED}, "env": {"REMOTE_ADDR": PLANTED}, "fragment": PLANTED},
    "sdk": {"name": PLANTED, "version": PLANTED, "packages": [{"name": PLANTED, "version": PLANTED}], "integrations": [PLANTED]},
    "server_name": PLANTED,
    "spans": [SPAN, {**SPAN, "op": "db.redis", "description": f"GET '{PLANTED}'"}, {**SPAN, "op": "http.client", "description": f"PUT https://wv0003.wolkvox.com/api/{DIGITS}?customer_id=C-99"}],
    "stacktrace": STACK,
    "start_timestamp": PLANTED,
    "status": PLANTED,
    "tags": {**ANY, **FACTS},
    "threads": {"values": [{"id": int(DIGITS), "name": PLANTED, "crashed": PLANTED, "current": True, "stacktrace": STACK}]},
    "timestamp": PLANTED,
    "transaction": PLANTED,
    "transaction_info": {"source": PLANTED, "original": PLANTED},
    "type": None,
    "user": {"id": PLANTED, "email": "jacinta@example.org", "username": NAME, "ip_address": "203.0.113.9", "phone": PLANTED},
    "_dropped_spans": 0,
    "_has_gen_ai_span": False,
    "_meta": {PLANTED: PLANTED},
    "debug_meta": {"images": [{"code_file": PLANTED}]},
    "something_new": ANY,
}  # fmt: skip


def test_the_planted_event_has_every_field_that_the_sdk_knows():
    assert set(schema("Event")) <= set(FULL)


def full(**changes: object) -> dict:
    """Give the planted event without what the SDK itself needs whole."""
    given = json.loads(json.dumps({**FULL, **changes}))
    return {name: value for name, value in given.items() if value is not None}


@pytest.mark.parametrize("changes", [{}, {"type": "transaction", "transaction": PLANTED}])
def test_nothing_planted_in_any_field_leaves_through_the_scrubber(sentry, changes):
    left = scrub(full(**changes), {})
    assert_clean(json.dumps(left, ensure_ascii=False))
    assert "C-99" not in json.dumps(left)


@pytest.mark.parametrize(
    "value", [PLANTED, [PLANTED], {PLANTED: PLANTED}, {"values": [PLANTED]}, {"values": PLANTED}, int(DIGITS)]
)
def test_a_field_of_an_unexpected_shape_leaks_nothing(sentry, value):
    for field in FULL:
        left = scrub({"message": "hello", field: value}, {})
        assert_clean(json.dumps(left, ensure_ascii=False))


@pytest.mark.parametrize("kind", ["event", "transaction"])
def test_nothing_planted_in_any_field_leaves_through_the_sdk(sentry, kind):
    event = full(timestamp=None, start_timestamp=None, breadcrumbs=None)
    if kind == "transaction":
        event |= {"type": "transaction", "start_timestamp": "2026-03-02T12:00:00Z"}
    scope = sentry_sdk.get_isolation_scope()
    scope.set_user(FULL["user"])
    scope.set_tag("telephone", PLANTED)
    scope.set_extra("telephone", PLANTED)
    scope.set_context("customer", ANY)
    scope.set_transaction_name(PLANTED)
    scope.add_attachment(bytes=PLANTED.encode(), filename=PLANTED)
    sentry_sdk.add_breadcrumb(message=PLANTED, category="x", data=ANY)
    sentry_sdk.capture_event(event)
    assert len(sentry.items(kind)) == 1
    assert_clean(sentry.everything())
    assert NAME not in sentry.everything()


@given(
    digits=st.from_regex(r"[0-9]{7,15}", fullmatch=True),
    between=st.sampled_from(["", " ", "-", ".", " (", ") ", "\u00a0", "%20", "\\xa0", "\u200b"]),
    where=st.sampled_from(["message", "logger", "transaction", "server_name", "environment"]),
    around=st.text(alphabet="abc /:'\"{}=", max_size=20),
)
def test_a_telephone_leaves_in_no_way_of_writing(digits, between, where, around):
    written = between.join([digits[:3], digits[3:6], digits[6:]])
    left = scrub({where: f"{around}{written}{around}"}, {})
    assert digits not in "".join(c for c in left[where] if c.isdigit())
    assert digits[6:] not in left[where] or len(digits[6:]) < 4


def test_a_scrubber_that_fails_lets_nothing_out(sentry, monkeypatch):
    def broken(_event: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(sentry_filter, "_EVENT", broken)
    sentry_sdk.capture_message(PLANTED)
    assert sentry.events() == []


@pytest.mark.parametrize("kind", ["profile", "feedback", "replay_event"])
def test_an_event_of_another_kind_does_not_leave(kind):
    assert scrub({"type": kind, "message": "hello"}, {}) is None


def test_a_breadcrumb_is_harmless_when_it_leaves_with_an_event():
    crumb = {**CRUMB, "category": "redis", "message": f"HGETALL '{PLANTED}'", "data": ANY}
    [kept] = scrub({"breadcrumbs": {"values": [crumb]}}, {})["breadcrumbs"]["values"]
    assert kept["message"] == "HGETALL"
    assert PLANTED not in str(kept)


def test_nothing_planted_leaves_with_a_check_in(sentry):
    planted = full(type="check_in", monitor_slug=PLANTED, status=PLANTED, check_in_id=PLANTED)
    assert_clean(json.dumps(scrub(planted, {})))


def test_what_an_operator_needs_does_leave(sentry):
    try:
        raise ZeroDivisionError("division by zero")
    except ZeroDivisionError as error:
        sentry_sdk.capture_exception(error)
    event = sentry.events()[0]
    told = event["exception"]["values"][0]
    frame = told["stacktrace"]["frames"][-1]
    assert (told["type"], told["value"]) == ("ZeroDivisionError", "division by zero")
    assert frame["function"] == "test_what_an_operator_needs_does_leave"
    assert frame["lineno"]
    assert "raise ZeroDivisionError" in frame["context_line"]
    assert "vars" not in frame


def test_what_a_strangers_error_quotes_does_not_leave(sentry):
    try:
        {}[f"{NAME} {DOCUMENT}"]
    except KeyError as error:
        sentry_sdk.capture_exception(error)
    assert sentry.events()[0]["exception"]["values"][0]["value"] == "'***'"
    assert DOCUMENT not in sentry.everything()
    assert NAME not in sentry.everything()


def test_what_was_found_in_an_unmappable_event_does_not_leave(sentry):
    try:
        raise UnmappableError("recall_telephone", f"the text {NAME}", "a number")
    except UnmappableError as error:
        sentry_sdk.capture_exception(error)
    told = sentry.events()[0]["exception"]["values"][0]
    assert "value" not in told
    assert NAME not in sentry.everything()
