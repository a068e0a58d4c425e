"""The contract as strangers meet it: the web from the Procfile's own line, over real connections."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import resource
import socket
import time

import httpx
import pytest

from support.real_web import running_web
from support.waiting import AT_ONCE_SECONDS

DATABASE = 14
SECRET = "the-secret-of-a-header-7f3a"
AT = "2060-03-04T15:30:00-05:00"
SETTINGS = """
[sources.named]
kind = "json"
verify = "header"
header = "Zapier-Key"
secrets = ["the-secret-of-a-header-7f3a"]

[sources.signed]
kind = "json"
verify = "hmac-sha256"
header = "X-Signature"
secrets = ["another-secret-51c2"]

[[routes]]
name = "form"
source = "named"
account = "bogota"
campaign_id = "10"
customer_id = "{{ event.customer }}"
recall_telephone = "{{ event.phone }}"
recall_date = "{{ event.at }}"
"""
HEAD = (
    b"POST /hooks/named HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nZapier-Key: "
    + SECRET.encode()
)


@pytest.fixture(scope="module")
def web(tmp_path_factory, valkey):
    with running_web(tmp_path_factory.mktemp("contract"), valkey, DATABASE, SETTINGS) as started:
        yield started


def post(web, body, **headers):
    named = {"Zapier-Key": SECRET, "Content-Type": "application/json", **headers}
    return httpx.post(f"{web.url}/hooks/named", content=body, headers=named, trust_env=False, timeout=60)


def event(customer):
    return json.dumps({"customer": customer, "phone": "3001112233", "at": AT}).encode()


@pytest.fixture
def many_files():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, hard), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_thousand_bodies_that_dribble_in_keep_nobody_else_waiting(web, many_files):
    with contextlib.ExitStack() as held:
        for _ in range(1200):
            slow = held.enter_context(web.connect())
            slow.sendall(HEAD + b"\r\nContent-Length: 500\r\n\r\n{")
        for number in range(5):
            started = time.monotonic()
            assert post(web, event(f"quick-{number}")).status_code == 202
            assert time.monotonic() - started < AT_ONCE_SECONDS


def test_a_form_cut_off_in_its_last_number_is_not_stored(web):
    head = HEAD.replace(b"application/json", b"application/x-www-form-urlencoded")
    field = b"customer=cut&at=20600304153000&phone=30011122"
    with web.connect() as sock:
        sock.sendall(head + b"\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n" + field)
        sock.shutdown(socket.SHUT_WR)
        answer = sock.recv(65536)
    assert b" 400 " in answer.splitlines()[0]
    whole = post(
        web,
        b"customer=cut&at=20600304153000&phone=3001112233",
        **{"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert len(whole.json()["recalls"]) == 1


def test_a_packed_body_is_415(web):
    answer = post(web, base64.b64decode("H4sIAAAAAAAAA6uuBQBDv6ajAgAAAA=="), **{"Content-Encoding": "gzip"})
    assert (answer.status_code, answer.headers["content-type"]) == (415, "application/problem+json")


def test_a_header_with_an_underscore_is_no_proof_and_changes_none(web):
    body = event("underscore")
    digest = hmac.new(b"another-secret-51c2", body, hashlib.sha256).hexdigest()

    def status(**headers):
        headers["Content-Type"] = "application/json"
        answer = httpx.post(
            f"{web.url}/hooks/signed", content=body, headers=headers, trust_env=False, timeout=10
        )
        return answer.status_code

    assert status(X_Signature=digest) == 401
    assert status(**{"X_Signature": digest, "X-Signature": "0" * 64}) == 401
    assert status(**{"X_Signature": "0" * 64, "X-Signature": digest}) in {200, 202}


def test_a_proof_sent_twice_is_none(web):
    for values in ((b"zapier-key: x",), (b"Zapier-Key: " + SECRET.encode(),)):
        with web.connect() as sock:
            sock.sendall(b"\r\n".join((HEAD, *values, b"Content-Length: 2", b"", b"{}")))
            assert b" 401 " in sock.recv(65536).splitlines()[0]


def test_no_secret_is_in_the_log(web):
    said = web.log.read_text("utf-8", "replace")
    assert "delivery" in said
    for word in (SECRET, "3001112233", "token-of-bogota-1", "Traceback"):
        assert word not in said
