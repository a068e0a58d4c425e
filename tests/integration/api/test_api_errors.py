"""Answers of the whole web: no store, unknown addresses, other methods, errors, headers."""

from __future__ import annotations

import os
import signal
import time

import pytest
from structlog.testing import capture_logs

from integration.services.configuration import watch_config
from integration.services.container import Services
from integration.services.wakeup import WakeUpPublisher
from integration.store.client import Store, connect
from integration.web.security_headers import ANSWER_HEADERS
from support import ENVIRON, two_accounts, write_config
from support.api_cases import CONFIG
from support.api_client import FULL, ApiClient, recall_body
from support.waiting import AT_ONCE_SECONDS


@pytest.fixture
def lonely(tmp_path, start_valkey):
    """A web on a store of its own, with the time-outs that the web has, and the store's server."""
    server = start_valkey()
    path = write_config(tmp_path, two_accounts() + CONFIG)
    store = Store(connect(server.url, timeout_seconds=1.2, connect_seconds=0.4))
    web = ApiClient(Services(watch_config(path, ENVIRON), store, WakeUpPublisher.silent()))
    recall = web.asked_id()
    return web, server, recall


def requests_of(recall):
    return [
        ("GET", f"/v1/recalls/{recall}", {}),
        ("GET", "/v1/recalls", {}),
        ("POST", "/v1/recalls", {"json": recall_body()}),
        ("POST", f"/v1/recalls/{recall}/cancel", {}),
        ("POST", f"/v1/recalls/{recall}/retry", {}),
        ("GET", "/v1/accounts", {}),
        ("POST", "/v1/accounts/bogota/pause", {}),
        ("GET", "/v1/parked", {}),
        ("POST", "/v1/parked/remap", {}),
        ("GET", "/v1/me", {"key": "a-key-that-may-ask-little"}),
    ]


def test_with_the_store_gone_everything_that_needs_it_is_503_at_once(lonely):
    web, server, recall = lonely
    server.kill()
    for method, path, more in requests_of(recall):
        started = time.monotonic()
        answer = web.open(method, path, **more)
        assert (answer.status_code, answer.headers.get("Retry-After")) == (503, "5"), path
        assert time.monotonic() - started < AT_ONCE_SECONDS
    assert web.get("/v1/me").status_code == 200


def test_with_a_store_that_hangs_the_answer_comes_within_two_seconds(lonely):
    web, server, _ = lonely
    os.kill(server.pid, signal.SIGSTOP)
    started = time.monotonic()
    assert web.ask().status_code == 503
    assert web.get("/v1/me", key="a-key-that-may-ask-little").status_code == 503
    assert time.monotonic() - started < AT_ONCE_SECONDS


def test_what_is_nowhere_is_a_problem(web):
    answer = web.get("/v1/nothing/here", key=None)
    assert (answer.status_code, answer.content_type) == (404, "application/problem+json")
    assert answer.json["title"] == "Not Found"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/v1/me", {"GET", "HEAD"}),
        ("PUT", "/v1/recalls", {"GET", "HEAD", "POST"}),
        ("OPTIONS", "/v1/recalls", {"GET", "HEAD", "POST"}),
        ("TRACE", "/v1/accounts", {"GET", "HEAD"}),
        ("GET", "/v1/parked/remap", {"POST"}),
    ],
)
def test_another_method_is_refused_with_those_that_are_taken(web, method, path, allowed):
    answer = web.open(method, path)
    assert (answer.status_code, answer.content_type) == (405, "application/problem+json")
    assert set(answer.headers["Allow"].split(", ")) == allowed


def test_an_error_of_our_own_shows_nothing_of_itself(web):
    @web.app.get("/broken/<secret>")
    def broken(secret):
        raise RuntimeError("the inner words")

    with capture_logs() as logged:
        answer = web.get("/broken/url-key-7f3a")
    assert (answer.status_code, answer.content_type) == (500, "application/problem+json")
    assert "inner" not in answer.text
    (line,) = logged
    assert line.pop("exc_info")[0] is RuntimeError
    assert line["rule"] == "/broken/<secret>"
    assert "url-key-7f3a" not in str(line)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/me",
        "/v1/nothing",
        "/healthz",
        "/readyz",
        "/metrics",
        "/openapi.json",
        "/hooks/nobody",
        "/nothing",
        "/",
    ],
)
@pytest.mark.parametrize("key", [FULL, None], ids=["known", "unknown"])
def test_every_answer_carries_the_headers_that_keep_a_browser_from_using_it(web, path, key):
    answer = web.get(path, key=key)
    for name in ANSWER_HEADERS:
        assert answer.headers.getlist(name) == [ANSWER_HEADERS[name]], name
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    "path", ["//v1/me", "/v1//me", "/v1/me/", "//hooks//forms", "/hooks/forms/", "/v1/recalls/"]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_no_address_is_answered_by_a_redirect(web, path, method):
    """Flask's own redirects lead to whatever host the request names."""
    answer = web.client.open(path, method=method, headers={"Host": "evil.example"})
    assert "Location" not in answer.headers
    assert answer.status_code in {401, 404, 405}


def test_a_body_full_of_faults_is_answered_with_the_first_hundred(web):
    answer = web.post("/v1/recalls", {f"unknown {number}": 1 for number in range(1500)})
    assert answer.status_code == 422
    assert len(answer.json["errors"]) == 100
    assert "1505" in answer.json["detail"]


@pytest.mark.parametrize("path", ["/v1/recalls", "/v1/parked/remap", "/v1/accounts/bogota/pause"])
def test_a_body_of_more_names_than_a_form_may_have_is_not_looked_at_name_by_name(web, path):
    """Describing each of the names in 1 MiB takes more than a second."""
    answer = web.post(path, {f"unknown {number}": 1 for number in range(2001)})
    assert answer.status_code == 422
    assert answer.json["errors"] == [{"pointer": "", "detail": "the body is 2001 names. Use at most 2000."}]


def test_a_wrong_key_is_a_line_in_the_log_that_holds_nothing_of_it(web):
    with capture_logs() as logged:
        assert web.get("/v1/me", key="a-wrong-key-0123456789").status_code == 401
    (line,) = logged
    assert (line["event"], line["log_level"]) == ("caller rejected", "warning")
    assert "wrong-key" not in str(line)
