"""What leaves for Sentry, byte by byte: the real SDK sends to a server of the tests' own."""

from __future__ import annotations

import ast
import inspect
import json
import logging
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import sentry_sdk
import structlog
from celery import Celery
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st
from sentry_sdk import _types
from werkzeug.test import Client

from integration.app import make_web
from integration.config.models import ApiKey, Config
from integration.config.source_models import HubspotSource, JsonSource, Lookup, SalesforceSource
from integration.domain.account import Account
from integration.domain.errors import ConfigError, UnmappableError
from integration.store.client import Loss
from integration.telemetry import logging as logs
from integration.telemetry import sentry as reporting
from integration.telemetry import sentry_filter
from integration.telemetry.redaction import forget_secrets, secrets_of
from integration.telemetry.sentry import MOST_A_MINUTE, SentryReporter, start_sentry, trace_headers
from integration.telemetry.sentry_filter import _FACTS, scrub
from support import ENVIRON, as_bytes, make_desk, signed, write_config
from support.sentry_sink import sentry_sink

# The SDK would rather have data_collection; this option does the same in all of its versions.
pytestmark = pytest.mark.filterwarnings("ignore:The send_default_pii:DeprecationWarning")

TELEPHONE = "+57 300 111 2233"
DIGITS = "573001112233"
CUSTOMER = "1020304050"
NAME = "Jacinta Quispe"
DOCUMENT = "C-17"
SECRETS = {
    "account": "wolkvox-7d9f0c1b2a",
    "api": "key-1f2e3d4c5b6a",
    "client": "hubspot-client-9a8b",
    "rotated": "hubspot-client-old1",
    "lookup": "pat-na1-6f2c1a0e",
    "url": "url-key-A1b2C3d4E5f6",
    "basic": "robot:p@ss/w0rd&more",
    "short": "Ab3$x",
}
PRIVATE = (
    TELEPHONE,
    DIGITS,
    "3001112233",
    CUSTOMER,
    *SECRETS.values(),
    "p@ss/w0rd&more",
    "p%40ss%2Fw0rd%26more",
)
PLANTED = f"{TELEPHONE} {DIGITS} {CUSTOMER} {' '.join(SECRETS.values())} p%40ss%2Fw0rd%26more"


def config() -> Config:
    return Config(
        accounts={
            "bogota": Account(
                name="bogota", server="0003", token=SECRETS["account"], timezone="America/Bogota"
            )
        },
        api_keys={"zapier": ApiKey(name="zapier", key=SECRETS["api"])},
        sources={
            "hubspot": HubspotSource(
                name="hubspot",
                kind="hubspot",
                secrets=(SECRETS["client"], SECRETS["rotated"]),
                lookup=Lookup(token=SECRETS["lookup"], properties=("phone",)),
            ),
            "salesforce": SalesforceSource(
                name="salesforce",
                kind="salesforce",
                url_key=SECRETS["url"],
                organization_id="00D000000000001",
            ),
            "forms": JsonSource(
                name="forms", kind="json", verify="basic", secrets=(SECRETS["basic"], SECRETS["short"])
            ),
        },
    )


# --- a Sentry on loopback ----------------------------------------------------------------------


@pytest.fixture(scope="module", autouse=True)
def sentry_in_half_of_the_modules():
    """Leave it to each test here whether Sentry is on."""


@pytest.fixture
def sink():
    with sentry_sink() as server:
        yield server


@pytest.fixture
def sentry(sink):
    """Start Sentry towards the sink, tracing everything; afterwards there is none again."""
    start_sentry({"SENTRY_DSN": sink.dsn, "SENTRY_TRACES_SAMPLE_RATE": "1"}, config())
    with sentry_over():
        yield sink


@contextmanager
def sentry_over():
    """Do something in a trace of its own, and stop the Sentry that was started."""
    with sentry_sdk.isolation_scope() as scope:
        scope.set_new_propagation_context()
        yield
    sentry_sdk.get_client().close(timeout=2)
    sentry_sdk.get_global_scope().set_client(None)
    sentry_sdk.get_global_scope().clear()
    logs.remove_observer(reporting._observe_line)
    forget_secrets()


def assert_clean(text: str) -> None:
    found = [private for private in PRIVATE if private in text or json.dumps(private)[1:-1] in text]
    assert not found, found
    assert "3001112233" not in text.replace(" ", "").replace("-", "")


# --- with and without --------------------------------------------------------------------------

_NOTHING = """
import sys, threading
from flask import Flask
from celery import Celery
import logging, httpx, redis
was = [Flask.__call__, Celery.send_task, httpx.Client.send, redis.Redis.execute_command, threading.Thread.start]
from integration.telemetry.sentry import SentryReporter, start_sentry
import sentry_sdk
start_sentry({}, None)
start_sentry({"SENTRY_DSN": ""}, None)
SentryReporter().stopped("bogota", "PLEASE VALIDATE TOKEN")
now = [Flask.__call__, Celery.send_task, httpx.Client.send, redis.Redis.execute_command, threading.Thread.start]
assert was == now
assert not sentry_sdk.get_client().is_active()
assert not logging.getLogger().handlers
assert threading.active_count() == 1
"""


def test_without_a_dsn_nothing_is_started_patched_or_sent():
    done = subprocess.run([sys.executable, "-c", _NOTHING], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_dsn_that_is_none_is_a_fault_of_the_environment_and_not_quoted():
    with pytest.raises(ConfigError) as caught:
        start_sentry({"SENTRY_DSN": "https://0123456789abcdef@example.com"}, config())
    assert "SENTRY_DSN" in str(caught.value)
    assert "0123456789abcdef" not in str(caught.value)


@pytest.mark.parametrize("text", ["2", "-1", "ten", "nan", "1e-1"])
def test_a_sample_rate_that_is_none_is_a_fault_of_the_environment(text):
    with pytest.raises(ConfigError, match="SENTRY_TRACES_SAMPLE_RATE"):
        start_sentry({"SENTRY_DSN": "http://a@127.0.0.1:1/1", "SENTRY_TRACES_SAMPLE_RATE": text}, config())


@pytest.mark.parametrize(("text", "rate"), [("", 0.01), ("0", 0.0), ("0.25", 0.25), ("1.0", 1.0)])
def test_the_sample_rate_is_read(text, rate):
    assert reporting._traces_sample_rate({"SENTRY_TRACES_SAMPLE_RATE": text}) == rate


def test_an_event_says_release_and_environment(sink, sentry):
    start_sentry({"SENTRY_DSN": sink.dsn, "SENTRY_ENVIRONMENT": "staging"}, config())
    sentry_sdk.capture_message("hello")
    event = sink.events()[0]
    assert event["release"].startswith("ringback@")
    assert event["environment"] == "staging"
    assert event["contexts"]["runtime"]["name"] == "CPython"


def test_the_sdk_is_told_to_collect_nothing_personal(sentry):
    chosen = sentry_sdk.get_client().options
    assert chosen["send_default_pii"] is False
    assert chosen["include_local_variables"] is False
    assert chosen["max_request_body_size"] == "never"
    assert chosen["auto_session_tracking"] is False


def test_every_secret_of_the_configuration_is_known():
    assert secrets_of(config()) == frozenset(SECRETS.values())


# --- every field of an event -------------------------------------------------------------------


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
ANY = {
    "text": PLANTED,
    "number": int(DIGITS),
    "float": float(DIGITS),
    PLANTED: PLANTED,
    "deep": [{"list": [PLANTED]}],
}
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


# --- the web -----------------------------------------------------------------------------------


def web() -> Flask:
    app = Flask("ringback")

    @app.post("/hooks/<source>/<url_key>")
    def hook(source: str, url_key: str) -> str:
        log = structlog.stdlib.get_logger("ringback.web")
        log.info("a delivery", source=source, recall="rc_00000001ab", customer_id=CUSTOMER, body=PLANTED)
        telephone = f"{TELEPHONE} {url_key}"
        raise RuntimeError(f"cannot call {telephone}")

    @app.get("/healthz")
    def health() -> str:
        return "ok"

    return app


def call(app: Flask, path: str, method: str = "POST", **headers: str) -> int:
    """Call through `Flask.__call__`, as the server does."""
    app.testing = False
    client = app.test_client()
    body = json.dumps({"phone": TELEPHONE, "token": SECRETS["account"]})
    head = {name.replace("_", "-"): value for name, value in headers.items()}
    client.set_cookie("session", SECRETS["api"])
    answer = client.open(path, method=method, data=body, headers=head, content_type="application/json")
    return answer.status_code


def test_an_error_in_the_web_leaves_without_path_query_headers_cookies_and_body(sentry):
    path = f"/hooks/salesforce/{SECRETS['url']}?telephone={DIGITS}&name={NAME}"
    assert call(web(), path, Authorization=f"Bearer {SECRETS['api']}", X_Phone=TELEPHONE) == 500
    event = sentry.events()[0]
    assert event["transaction"] == "/hooks/<source>/***"
    assert event["request"] == {"method": "POST"}
    assert event["exception"]["values"][0]["type"] == "RuntimeError"
    assert sentry.transactions()[0]["transaction"] == "/hooks/<source>/***"
    assert_clean(sentry.everything())
    assert NAME not in sentry.everything()


def test_a_senders_trace_headers_decide_nothing_and_travel_nowhere(sentry):
    trace = "11111111222222223333333344444444"
    call(
        web(),
        "/hooks/forms/x",
        sentry_trace=f"{trace}-1234567812345678-0",
        baggage=f"sentry-trace_id={trace},sentry-transaction={DIGITS},sentry-public_key=0123456789abcdef0123456789abcdef,sentry-sampled=false",
    )
    assert len(sentry.transactions()) == 1
    assert trace not in sentry.everything()
    assert_clean(sentry.everything())


def test_health_checks_are_not_traced(sentry):
    assert call(web(), "/healthz", method="GET") == 200
    assert sentry.transactions() == []


# --- log lines ---------------------------------------------------------------------------------


@pytest.fixture
def log_set_up():
    root = logging.getLogger()
    before = root.handlers[:], root.level
    logs.configure("INFO", json=True)
    yield
    root.handlers[:], root.level = before
    structlog.reset_defaults()


def test_an_exception_that_is_logged_is_reported_once_with_its_line(log_set_up, sentry):
    log = structlog.get_logger("ringback.worker")
    try:
        raise OSError("the disk is gone")
    except OSError:
        log.exception("the sweep goes on after a fault", during="purge")
    [event] = sentry.events()
    assert event["logentry"]["message"] == "the sweep goes on after a fault"
    assert event["exception"]["values"][0]["value"] == "the disk is gone"
    assert event["logger"] == "ringback.worker"


def test_an_exception_that_a_library_logs_is_reported(log_set_up, sentry):
    try:
        raise OSError("gone")
    except OSError:
        logging.getLogger("kombu").exception("cannot say %s", TELEPHONE)
    [event] = sentry.events()
    assert event["exception"]["values"][0]["type"] == "OSError"
    assert_clean(sentry.everything())


def test_what_the_sdk_logs_of_itself_is_not_reported(sentry):
    try:
        raise OSError("inside")
    except OSError:
        logging.getLogger("sentry_sdk.errors").exception("internal error")
    assert sentry.events() == []


def test_an_error_line_without_an_exception_is_no_event(log_set_up, sentry):
    structlog.get_logger("ringback.drain").error("lane stopped", account="bogota")
    try:
        raise OSError("handled")
    except OSError:
        structlog.get_logger("ringback.drain").error("handled")
    assert sentry.events() == []


def test_a_breadcrumb_is_harmless_when_it_leaves_with_an_event():
    crumb = {**CRUMB, "category": "redis", "message": f"HGETALL '{PLANTED}'", "data": ANY}
    [kept] = scrub({"breadcrumbs": {"values": [crumb]}}, {})["breadcrumbs"]["values"]
    assert kept["message"] == "HGETALL"
    assert PLANTED not in str(kept)


def test_log_lines_become_breadcrumbs_with_their_harmless_facts_only(log_set_up, sentry):
    structlog.get_logger("ringback.drain").info("pushed", account="bogota", recall="rc_00000001ab", body=NAME)
    logging.getLogger("celery").info("says %s", PLANTED)
    sentry_sdk.capture_message("hello")
    crumbs = sentry.events()[0]["breadcrumbs"]["values"]
    [pushed] = [crumb for crumb in crumbs if crumb["message"] == "pushed"]
    assert pushed["data"] == {"account": "bogota", "recall": "rc_00000001ab", "logger": "ringback.drain"}
    assert NAME not in sentry.everything()
    assert_clean(sentry.everything())


# --- outgoing calls and the store --------------------------------------------------------------


def test_calls_to_others_carry_no_trace_headers_and_leave_only_their_host(sink, sentry):
    seen = {}

    def answer(request: httpx.Request) -> httpx.Response:
        seen.update(request.headers)
        return httpx.Response(200)

    with (
        sentry_sdk.start_transaction(name="turn"),
        httpx.Client(transport=httpx.MockTransport(answer)) as client,
    ):
        client.put(f"https://wv0003.wolkvox.com/api/{SECRETS['url']}?customer_id=C-99&x={DIGITS}", json=ANY)
    sentry_sdk.capture_message("hello")
    assert not {"sentry-trace", "baggage", "traceparent"} & set(seen)
    [span] = sentry.transactions()[0]["spans"]
    assert span["description"] == "PUT https://wv0003.wolkvox.com/***"
    assert span["data"]["http.response.status_code"] == 200
    assert_clean(sentry.everything())
    assert "C-99" not in sentry.everything()


def test_of_what_is_said_to_the_store_only_the_command_leaves(store, sentry):
    with sentry_sdk.start_transaction(name="turn"):
        store.hset(f"{{ringback}}:customer:{CUSTOMER}:{NAME}", mapping={"telephone": TELEPHONE})
        store.get(f"lane:{SECRETS['account']}:C-99")
        with store.pipeline() as pipe:
            pipe.get(f"customer:{CUSTOMER}:{NAME}")
            pipe.execute()
    sentry_sdk.capture_message("hello")
    spans = sentry.transactions()[0]["spans"]
    assert [span["description"] for span in spans] == ["HSET", "GET", "redis.pipeline.execute"]
    assert_clean(sentry.everything())
    for private in (NAME, "C-99", "{ringback}"):
        assert private not in sentry.everything()


def test_the_script_s_calls_of_a_delivery_are_spans_that_name_their_command_alone(
    tmp_path, valkey, store, sink
):
    environ = {
        **ENVIRON,
        "RINGBACK_CONFIG": str(write_config(tmp_path)),
        "REDIS_URL": valkey.url,
        "SENTRY_DSN": sink.dsn,
        "SENTRY_TRACES_SAMPLE_RATE": "1",
    }
    with sentry_over():
        _, applications = make_web(environ)
        client = Client(applications)
        body = as_bytes({"customer": NAME, "phone": "3001112233", "at": "2030-01-01T10:00:00-05:00"})
        headers = signed(make_desk(tmp_path, store), "forms", body, url="http://localhost/hooks/forms")
        answer = client.post("/hooks/forms", data=body, headers=headers, content_type="application/json")
        assert answer.status_code == 202
        spans = sink.transactions()[0]["spans"]
    assert "admit" in [span["description"] for span in spans if span["op"] == "db.redis"]
    sink.require_clean([NAME, *ENVIRON.values()])


# --- from the web to the worker ----------------------------------------------------------------


@pytest.fixture
def celery_app():
    app = Celery("doorbells", broker="memory://", set_as_current=False)
    app.conf.update(task_ignore_result=True, task_default_queue="ringback", worker_pool="solo")
    return app


def take_message(app: Celery) -> dict:
    with app.connection_for_read() as connection, connection.SimpleQueue("ringback") as queue:
        message = queue.get(timeout=5)
        message.ack()
        return message.headers


def test_a_doorbell_carries_the_trace_of_the_request_that_rang(sentry, celery_app):
    with sentry_sdk.start_transaction(name="web") as web_transaction:
        celery_app.send_task("ringback.drain", args=("L1",))
    headers = take_message(celery_app)
    assert headers["sentry-trace"].startswith(web_transaction.trace_id)
    assert_clean(json.dumps(headers, default=str))


def test_a_doorbell_that_another_thread_rings_later_carries_the_trace_all_the_same(sentry, celery_app):
    with sentry_sdk.isolation_scope(), sentry_sdk.start_transaction(name="web") as web_transaction:
        headers = trace_headers()

    def ring() -> None:
        celery_app.send_task("ringback.drain", args=("L1",), headers=headers)

    thread = threading.Thread(target=ring)
    thread.start()
    thread.join()
    sent = take_message(celery_app)
    assert sent["sentry-trace"].startswith(web_transaction.trace_id)
    assert sent["headers"]["sentry-trace"].startswith(web_transaction.trace_id)


def test_without_sentry_a_doorbell_carries_no_trace():
    assert trace_headers() == {}


def test_a_task_belongs_to_the_trace_of_its_doorbell_and_leaves_without_its_arguments(sentry, celery_app):
    lane = "lane-" + CUSTOMER
    with sentry_sdk.start_transaction(name="web") as web_transaction:
        headers = dict(sentry_sdk.get_current_scope().iter_trace_propagation_headers())

    def take_turn(_lane: str) -> None:
        raise OSError("no network")

    from celery.app import trace

    task = celery_app.task(name="ringback.drain")(take_turn)
    task.bind(celery_app)
    tracer = trace.build_tracer(task.name, task, app=celery_app)
    tracer("0c2a3b4d-0000-4000-8000-0123456789ab", (lane,), {}, {"headers": headers, "is_eager": False})
    of_the_task = next(t for t in sentry.transactions() if t["transaction"] == "ringback.drain")
    assert of_the_task["contexts"]["trace"]["trace_id"] == web_transaction.trace_id
    [event] = sentry.events()
    assert event["extra"] == {"celery-job": {"task_name": "ringback.drain"}}
    assert event["tags"]["celery_task_id"] == "0c2a3b4d-0000-4000-8000-0123456789ab"
    assert lane not in sentry.everything()
    assert_clean(sentry.everything())


def test_a_thread_does_not_carry_on_the_trace_of_whoever_started_it(sentry):
    seen = []
    with sentry_sdk.start_transaction(name="web"):
        thread = threading.Thread(target=lambda: seen.append(sentry_sdk.get_current_span()))
        thread.start()
        thread.join()
    assert seen == [None]


def test_an_unsampled_request_makes_no_traced_task():
    sample = reporting._sampler(1.0)
    assert sample({"parent_sampled": False, "celery_job": {}}) == 0
    assert sample({"parent_sampled": True, "celery_job": {}}) == 1
    assert reporting._sampler(0.25)({"parent_sampled": None}) == 0.25


# --- dead recalls and stopped lanes ------------------------------------------------------------


@dataclass
class Dead:
    recall_id: str = "rc_00000001ab"
    account: str = "bogota"
    campaign_id: str = "67812"
    customer_id: str = "C-99"
    telephone: str = "3001112233"


def test_a_dead_recall_is_grouped_by_verdict_and_account_and_names_no_customer(sentry):
    reason = f"wolkvox refuses it: customer_id C-99 in 67812 to {TELEPHONE}, 3001112233"
    SentryReporter().dead(Dead(), "refused", reason)
    [event] = sentry.events()
    assert event["fingerprint"] == ["recall-dead", "refused", "bogota"]
    assert event["tags"]["recall"] == "rc_00000001ab"
    assert event["tags"]["verdict"] == "refused"
    assert event["tags"]["account"] == "bogota"
    assert event["message"].startswith("recall dead: bogota: wolkvox refuses it")
    for private in ("C-99", "67812", "3001112233"):
        assert private not in sentry.everything()


def test_a_stopped_lane_is_grouped_by_account(sentry):
    SentryReporter().stopped("bogota", "PLEASE VALIDATE TOKEN")
    [event] = sentry.events()
    assert event["fingerprint"] == ["lane-stopped", "bogota"]
    assert event["level"] == "error"
    assert "PLEASE VALIDATE TOKEN" in event["message"]


def test_a_deaf_worker_is_reported_and_that_it_hears_again(sentry):
    SentryReporter().deaf("host-1:4711", 21.4)
    SentryReporter().hears("host-1:4711", 80.0)
    deaf, hears = sentry.events()
    assert deaf["message"].startswith("worker takes no doorbells: host-1:4711: for 21 s")
    assert (deaf["level"], deaf["fingerprint"]) == ("error", ["worker-deaf"])
    assert hears["message"] == "worker takes doorbells again: host-1:4711: after 80 s"
    assert (hears["level"], hears["fingerprint"]) == ("info", ["worker-hears"])


def test_a_store_that_lost_its_history_is_reported_with_what_it_lacks(sentry):
    SentryReporter().store_lost(Loss(how="went back", missing=12))
    SentryReporter().store_lost(Loss(how="was emptied", missing=None))
    back, emptied = sentry.events()
    assert back["message"].startswith("the store went back: it lacks at least 12 changes; all lanes wait")
    assert (back["level"], back["fingerprint"]) == ("error", ["store-lost", "went back"])
    assert emptied["message"].startswith("the store was emptied: all lanes wait")


def test_an_alert_is_an_issue_when_it_begins_and_an_information_when_it_is_over(sentry):
    reporter = SentryReporter()
    reporter.alert_begins("source-silent", "forms")
    reporter.alert_is_over("source-silent", "forms")
    begins, over = sentry.events()
    assert (begins["level"], begins["message"]) == ("error", "alert begins: source-silent: forms")
    assert begins["fingerprint"] == ["alert", "source-silent", "forms"]
    assert begins["tags"]["kind"] == "source-silent"
    assert (over["level"], over["message"]) == ("info", "alert is over: source-silent: forms")
    assert over["fingerprint"] != begins["fingerprint"], "an issue that was resolved is not opened again"


def test_the_sweep_checks_in_at_its_monitor(sentry):
    SentryReporter().swept(0.0123)
    (checkin,) = sentry.items("check_in")
    assert (checkin["monitor_slug"], checkin["status"]) == ("ringback-sweep", "ok")
    assert checkin["duration"] == 0.012
    assert checkin["monitor_config"]["schedule"] == {"type": "interval", "value": 1, "unit": "minute"}
    assert checkin["environment"] == "production"


def test_nothing_planted_leaves_with_a_check_in(sentry):
    planted = full(type="check_in", monitor_slug=PLANTED, status=PLANTED, check_in_id=PLANTED)
    assert_clean(json.dumps(scrub(planted, {})))


def test_one_report_leaves_nothing_on_the_next(sentry):
    SentryReporter().dead(Dead(), "refused", "no")
    sentry_sdk.capture_message("hello")
    other = sentry.events()[1]
    assert "fingerprint" not in other
    assert "recall" not in other.get("tags", {})


def test_a_flood_of_one_kind_is_cut_and_hides_no_other(sentry):
    now = [0.0]
    reporter = SentryReporter(clock=lambda: now[0])
    for _ in range(MOST_A_MINUTE + 5):
        reporter.dead(Dead(), "refused", "no")
    reporter.dead(Dead(account="lima"), "refused", "no")
    assert len(sentry.events()) == MOST_A_MINUTE + 1
    now[0] = 60.0
    reporter.dead(Dead(), "refused", "no")
    assert len(sentry.events()) == MOST_A_MINUTE + 2


def test_without_sentry_a_report_costs_next_to_nothing():
    reporter = SentryReporter()
    began = time.perf_counter()
    for _ in range(1000):
        reporter.dead(Dead(), "refused", "no")
    assert time.perf_counter() - began < 1
