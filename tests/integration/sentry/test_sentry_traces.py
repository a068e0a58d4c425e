"""What is traced: requests, calls to others and to the store, and tasks with the request that caused them."""

from __future__ import annotations

import json
import threading

import httpx
import pytest
import sentry_sdk
import structlog
from celery import Celery
from flask import Flask
from werkzeug.test import Client

from integration.app import make_web
from integration.telemetry import sentry as reporting
from integration.telemetry.sentry import start_sentry, trace_headers
from support import ENVIRON, as_bytes, make_services, signed, write_config
from support.planted import ANY, CUSTOMER, DIGITS, NAME, PLANTED, SECRETS, TELEPHONE, assert_clean, config

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


def test_an_error_in_a_request_that_is_not_traced_is_reported_all_the_same(sink, sentry_ends):
    start_sentry({"SENTRY_DSN": sink.dsn, "SENTRY_TRACES_SAMPLE_RATE": "0"}, config())
    assert call(web(), f"/hooks/forms/{SECRETS['url']}") == 500
    assert call(web(), "/hooks/forms/x") == 500
    first, second = sink.events()
    assert (first["transaction"], first["request"]) == ("/hooks/<source>/***", {"method": "POST"})
    assert first["contexts"]["trace"]["trace_id"] != second["contexts"]["trace"]["trace_id"]
    assert len(second["breadcrumbs"]["values"]) == len(first["breadcrumbs"]["values"])
    assert sink.transactions() == []


def test_a_trace_says_how_the_request_was_answered(sentry):
    call(web(), "/hooks/forms/x")
    assert sentry.transactions()[0]["contexts"]["trace"]["status"] == "internal_error"
    assert sentry.transactions()[0]["contexts"]["response"]["status_code"] == 500


def test_health_checks_are_not_traced(sentry):
    assert call(web(), "/healthz", method="GET") == 200
    assert sentry.transactions() == []


# --- outgoing calls and the store --------------------------------------------------------------


def test_calls_to_others_carry_no_trace_headers_and_leave_only_their_host(sink, sentry):
    seen = {}

    def answer(request: httpx.Request) -> httpx.Response:
        seen.update(request.headers)
        return httpx.Response(200)

    with (
        sentry_sdk.start_transaction(name="drain"),
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
    with sentry_sdk.start_transaction(name="drain"):
        store.hset(f"{{ringback}}:customer:{CUSTOMER}:{NAME}", mapping={"telephone": TELEPHONE})
        store.get(f"queue:{SECRETS['account']}:C-99")
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
    tmp_path, valkey, store, sink, sentry_ends
):
    environ = {
        **ENVIRON,
        "RINGBACK_CONFIG": str(write_config(tmp_path)),
        "REDIS_URL": valkey.url,
        "SENTRY_DSN": sink.dsn,
        "SENTRY_TRACES_SAMPLE_RATE": "1",
    }
    _, applications = make_web(environ)
    client = Client(applications)
    body = as_bytes({"customer": NAME, "phone": "3001112233", "at": "2030-01-01T10:00:00-05:00"})
    headers = signed(make_services(tmp_path, store), "forms", body, url="http://localhost/hooks/forms")
    answer = client.post("/hooks/forms", data=body, headers=headers, content_type="application/json")
    assert answer.status_code == 202
    spans = sink.transactions()[0]["spans"]
    assert "admit" in [span["description"] for span in spans if span["op"] == "db.redis"]
    sink.require_clean([NAME, *ENVIRON.values()])


# --- from the web to the worker ----------------------------------------------------------------


@pytest.fixture
def celery_app():
    app = Celery("wake_ups", broker="memory://", set_as_current=False)
    app.conf.update(task_ignore_result=True, task_default_queue="ringback", worker_pool="solo")
    return app


def take_message(app: Celery) -> dict:
    with app.connection_for_read() as connection, connection.SimpleQueue("ringback") as queue:
        message = queue.get(timeout=5)
        message.ack()
        return message.headers


def test_a_wake_up_carries_the_trace_of_the_request_that_rang(sentry, celery_app):
    with sentry_sdk.start_transaction(name="web") as web_transaction:
        celery_app.send_task("ringback.drain", args=("L1",))
    headers = take_message(celery_app)
    assert headers["sentry-trace"].startswith(web_transaction.trace_id)
    assert_clean(json.dumps(headers, default=str))


def test_a_wake_up_that_another_thread_rings_later_carries_the_trace_all_the_same(sentry, celery_app):
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


def test_without_sentry_a_wake_up_carries_no_trace():
    assert trace_headers() == {}


def test_a_task_belongs_to_the_trace_of_its_wake_up_and_leaves_without_its_arguments(sentry, celery_app):
    queue = "queue-" + CUSTOMER
    with sentry_sdk.start_transaction(name="web") as web_transaction:
        headers = dict(sentry_sdk.get_current_scope().iter_trace_propagation_headers())

    def take_drain(_queue: str) -> None:
        raise OSError("no network")

    from celery.app import trace

    task = celery_app.task(name="ringback.drain")(take_drain)
    task.bind(celery_app)
    tracer = trace.build_tracer(task.name, task, app=celery_app)
    tracer("0c2a3b4d-0000-4000-8000-0123456789ab", (queue,), {}, {"headers": headers, "is_eager": False})
    of_the_task = next(t for t in sentry.transactions() if t["transaction"] == "ringback.drain")
    assert of_the_task["contexts"]["trace"]["trace_id"] == web_transaction.trace_id
    [event] = sentry.events()
    assert event["extra"] == {"celery-job": {"task_name": "ringback.drain"}}
    assert event["tags"]["celery_task_id"] == "0c2a3b4d-0000-4000-8000-0123456789ab"
    assert queue not in sentry.everything()
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
