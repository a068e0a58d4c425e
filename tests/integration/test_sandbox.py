"""The simulator answers as documented, fails as told, and sees overlaps with the server's eyes."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import httpx
import pytest

from integration.local.sandbox import Sandbox, Settings, fingerprint
from support.waiting import wait_until

if TYPE_CHECKING:
    pass

# A new connection for every call, as many workers would have.
HTTP = httpx.Client(trust_env=False, timeout=10, limits=httpx.Limits(max_keepalive_connections=0))

TOKEN = "tok-5f1d0c2e77"
RECALL = {"recall_date": "20260426160000", "recall_telephone": "93242567400", "customer_id": "100000000"}
PATH = "/api/v2/campaign.php?api=recall&type_campaign=predictive&campaign_id=555"


def put(
    sandbox: Sandbox, path: str = PATH, *, token: str | None = TOKEN, body=None, **fields
) -> httpx.Response:
    headers = {} if token is None else {"wolkvox-token": token}
    sent = RECALL | fields if body is None else body
    return HTTP.put(sandbox.url + path, headers=headers, json=sent)


def get(sandbox: Sandbox, path: str, **headers: str) -> httpx.Response:
    return HTTP.get(sandbox.url + path, headers=headers)


# --- what is documented ---


def test_a_recall_is_answered_with_202_and_recorded(sandbox):
    answer = put(sandbox)
    assert answer.status_code == 202
    body = answer.json()
    assert (body["code"], body["error"]) == (202, None)
    assert body["msg"].startswith("customer_id 100000000 has been updated and will be call back on ")
    assert body["msg"].endswith(" to phone 93242567400")
    assert [recall["recall_date"] for recall in sandbox.recalls()] == ["20260426160000"]


def test_the_last_word_on_a_customer_replaces_the_one_before(sandbox):
    put(sandbox)
    put(sandbox, recall_date="20270101000000")
    put(sandbox, customer_id="other")
    assert sorted(recall["recall_date"] for recall in sandbox.recalls()) == [
        "20260426160000",
        "20270101000000",
    ]


@pytest.mark.parametrize(
    ("change", "code", "msg"),
    [
        ({"token": None}, 401, "PLEASE ENTER THE WOLKVOX-TOKEN"),
        (
            {"path": PATH.replace("api=recall", "api=recal")},
            400,
            "THE API YOU WANT TO CONSULT DOES NOT EXIST",
        ),
        ({"path": PATH.replace("campaign.php", "x.php")}, 400, "THE API YOU WANT TO CONSULT DOES NOT EXIST"),
        ({"path": PATH.replace("&campaign_id=555", "")}, 400, "SOME PARAMETERS ARE REQUIRED"),
        ({"path": PATH.replace("predictive", "preview")}, 400, "SOME PARAMETERS ARE REQUIRED"),
        ({"path": PATH.replace("555", "67890")}, 400, "SOME PARAMETERS ARE REQUIRED"),
        ({"customer_id": ""}, 400, "SOME PARAMETERS ARE REQUIRED"),
        ({"recall_telephone": None}, 400, "SOME PARAMETERS ARE REQUIRED"),
        ({"recall_date": "2026-04-26 16:00"}, 400, "SOME PARAMETERS ARE REQUIRED"),
        ({"recall_date": "20260231160000"}, 400, "SOME PARAMETERS ARE REQUIRED"),
        ({"body": []}, 400, "SOME PARAMETERS ARE REQUIRED"),
        ({"body": "text"}, 400, "SOME PARAMETERS ARE REQUIRED"),
    ],
)
def test_a_wrong_call_gets_the_documented_words(sandbox, change, code, msg):
    answer = put(sandbox, **change)
    assert (answer.status_code, answer.json()["code"], answer.json()["msg"]) == (code, code, msg)
    assert sandbox.recalls() == []


def test_the_campaign_type_may_be_left_out(sandbox):
    assert put(sandbox, PATH.replace("&type_campaign=predictive", "")).status_code == 202


def test_with_tokens_set_others_are_not_valid():
    with Sandbox(settings=Settings(tokens=frozenset({"good"}))) as sandbox:
        assert put(sandbox, token="good").status_code == 202
        answer = put(sandbox, token="bad")
    assert (answer.status_code, answer.json()["msg"]) == (403, "PLEASE VALIDATE TOKEN")


def test_a_third_call_at_once_on_one_token_is_refused(sandbox):
    sandbox.add_rule(action="delay", seconds=5, times=2)
    others = [threading.Thread(target=lambda: put(sandbox), daemon=True) for _ in range(2)]
    for other in others:
        other.start()
    wait_until(lambda: sandbox.stats()["in_flight"] == {fingerprint(TOKEN): 2})
    answer = put(sandbox)
    assert answer.status_code == 403
    assert answer.json()["msg"] == "EXCEEDS THE LIMIT OF SIMULTANEOUS REQUESTS PER TOKEN (2)"
    assert put(sandbox, token="another").status_code == 202


def test_a_token_has_so_many_calls_a_day():
    with Sandbox(settings=Settings(daily_limit=2)) as sandbox:
        assert [put(sandbox).status_code for _ in range(3)] == [202, 202, 403]
        assert put(sandbox).json()["msg"] == "TOKEN LIMIT EXCEEDED"
        assert put(sandbox, token="another").status_code == 202


def test_campaigns_quota_and_recalls_can_be_read(sandbox):
    put(sandbox)
    token = {"wolkvox-token": TOKEN}
    campaigns = get(sandbox, "/api/v2/information.php?api=campaigns", **token).json()["data"]
    assert {"campaign_id", "campaign_name", "type_campaign", "status", "records"} <= campaigns[0].keys()
    one = get(sandbox, "/api/v2/information.php?api=campaigns&campaign=12345", **token).json()["data"]
    assert [row["campaign_id"] for row in one] == ["12345"]
    quota = get(sandbox, "/api/v2/information.php?api=token_info", **token).json()["data"][0]
    assert quota["token_use_today"] == 4
    recalls = get(sandbox, "/api/v2/real_time.php?api=recall&type=all", **token).json()["data"]
    assert [(row["id_campaign"], row["phone_number"]) for row in recalls] == [("555", "93242567400")]
    other = get(sandbox, "/api/v2/real_time.php?api=recall&type=all", **{"wolkvox-token": "other"})
    assert other.json()["data"] == []


# --- rules ---


def test_a_rule_fails_twice_and_then_lets_pass(sandbox):
    sandbox.add_rule(action="answer", status=500, code="500", msg="boom", customer_id="77", times=2)
    assert [put(sandbox, customer_id=77).status_code for _ in range(4)] == [500, 500, 202, 202]
    assert put(sandbox).status_code == 202
    assert sandbox.rules()[0]["used"] == 2


def test_a_rule_may_begin_with_the_nth_call(sandbox):
    sandbox.add_rule(action="answer", status=403, nth=3, times=1)
    assert [put(sandbox).status_code for _ in range(4)] == [202, 202, 403, 202]


@pytest.mark.parametrize(
    "match",
    [{"token": TOKEN}, {"token_prefix": "tok-"}, {"customer_id": "100000000"}, {"campaign_id": "555"}],
)
def test_a_rule_befalls_only_what_matches(sandbox, match):
    sandbox.add_rule(action="answer", status=418, **match)
    assert put(sandbox).status_code == 418
    other = put(sandbox, PATH.replace("555", "556"), token="other", customer_id="2")
    assert other.status_code == 202


def test_the_first_rule_that_matches_decides(sandbox):
    sandbox.add_rule(action="answer", status=418, times=1)
    sandbox.add_rule(action="answer", status=419)
    assert [put(sandbox).status_code for _ in range(2)] == [418, 419]


def test_an_answer_may_have_any_status_code_words_and_retry_after(sandbox):
    sandbox.add_rule(
        action="answer", status=429, code=403, msg="slow\r\ndown", error="E", retry_after="7\r\nX: 1"
    )
    answer = put(sandbox)
    assert answer.json() == {"code": 403, "error": "E", "msg": "slow\r\ndown"}
    assert answer.headers["retry-after"] == "7 X: 1"
    assert "x" not in answer.headers


def test_html_redirect_and_huge_answers(sandbox):
    for action, status in (("html", 502), ("redirect", 302), ("huge", 202)):
        sandbox.clear_rules()
        sandbox.add_rule(action=action, size=100_000)
        answer = put(sandbox)
        assert answer.status_code == status
        assert (action == "html") == answer.text.startswith("<!doctype html>")
        assert ("location" in answer.headers) == (action == "redirect")
        assert (len(answer.content) == 100_000) == (action == "huge")


@pytest.mark.parametrize("action", ["drop", "reset"])
@pytest.mark.parametrize("after_bytes", [0, 30])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_call_may_be_broken_off_before_or_after_the_work(sandbox, action, after_bytes, when):
    sandbox.add_rule(action=action, after_bytes=after_bytes, when=when)
    with pytest.raises(httpx.TransportError) as caught:
        put(sandbox)
    if action == "reset" and not after_bytes:
        assert isinstance(caught.value, httpx.ReadError)
    wait_until(lambda: sandbox.stats()["in_flight"] == {})
    assert len(sandbox.recalls()) == (when == "after")
    assert not sandbox.calls()[0]["answered"]


def test_a_drip_sends_one_byte_at_a_time(sandbox):
    sandbox.add_rule(action="drip", interval=0.002)
    started = time.monotonic()
    assert put(sandbox).status_code == 202
    assert time.monotonic() - started > 0.2


def test_a_hanging_call_is_never_answered(sandbox):
    sandbox.add_rule(action="hang", seconds=0.2)
    with pytest.raises(httpx.RemoteProtocolError):
        put(sandbox)


# --- what it saw ---


def leave_early(sandbox: Sandbox) -> None:
    """Send a call, and be gone before its answer."""
    body = json.dumps(RECALL).encode()
    with socket.create_connection(("127.0.0.1", sandbox.port)) as client:
        head = (
            f"PUT {PATH} HTTP/1.1\r\nHost: x\r\nwolkvox-token: {TOKEN}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        client.sendall(head.encode() + body)
        wait_until(lambda: sandbox.stats()["in_flight"])
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def test_a_call_goes_on_after_its_client_has_left_and_overlaps_the_next(sandbox):
    sandbox.add_rule(action="delay", seconds=0.5, times=1)
    leave_early(sandbox)
    assert put(sandbox).status_code == 202
    stats = sandbox.stats()
    assert stats["max_in_flight"] == {fingerprint(TOKEN): 2}
    assert [(overlap["seq"], overlap["with"]) for overlap in stats["overlaps"]] == [(2, [1])]
    wait_until(lambda: sandbox.stats()["in_flight"] == {})
    assert sandbox.stats()["accepted"] == 2
    assert sandbox.calls()[0]["finished_at"] is not None


def test_calls_one_after_the_other_on_many_connections_never_overlap(sandbox):
    for _ in range(100):
        put(sandbox)
    stats = sandbox.stats()
    assert (stats["count"], stats["overlap_count"], stats["max_in_flight"]) == (
        100,
        0,
        {fingerprint(TOKEN): 1},
    )


def test_calls_on_two_tokens_do_not_overlap(sandbox):
    sandbox.add_rule(action="delay", seconds=5, token=TOKEN)
    leave_early(sandbox)
    put(sandbox, token="other")
    stats = sandbox.stats()
    assert (stats["count"], stats["overlap_count"]) == (2, 0)


def test_the_calls_are_listed_as_received(sandbox):
    put(sandbox)
    put(sandbox, token=None)
    first, second = get(sandbox, "/sandbox/calls").json()
    assert (first["seq"], first["method"], first["path"]) == (1, "PUT", "/api/v2/campaign.php")
    assert first["query"] == {"api": "recall", "type_campaign": "predictive", "campaign_id": "555"}
    assert (first["body"], first["status"], first["code"]) == (RECALL, 202, "202")
    assert first["received_at"] <= first["finished_at"]
    assert (second["token"], second["code"]) == ("", "401")
    assert [call["seq"] for call in get(sandbox, "/sandbox/calls?after=1&limit=5").json()] == [2]


def test_no_token_is_shown_anywhere(sandbox):
    sandbox.add_rule(action="answer", token=TOKEN)
    sandbox.add_rule(action="answer", token_prefix=TOKEN[:6])
    put(sandbox)
    for path in ("/", "/sandbox/calls", "/sandbox/stats", "/sandbox/rules", "/sandbox/recalls"):
        text = get(sandbox, path).text
        assert TOKEN not in text
        assert TOKEN[:6] not in text
    assert sandbox.calls()[0]["token"] == fingerprint(TOKEN)


def test_forgetting_the_calls_forgets_counts_but_not_what_is_in_flight(sandbox):
    sandbox.add_rule(action="delay", seconds=5, times=1)
    leave_early(sandbox)
    assert HTTP.delete(f"{sandbox.url}/sandbox/calls").status_code == 200
    assert (sandbox.calls(), sandbox.stats()["count"]) == ([], 0)
    assert sandbox.stats()["max_in_flight"] == {fingerprint(TOKEN): 1}
    put(sandbox)
    assert sandbox.stats()["overlap_count"] == 1


# --- over HTTP ---


def test_rules_are_placed_listed_and_removed_over_http(sandbox):
    url = f"{sandbox.url}/sandbox/rules"
    placed = HTTP.post(url, json=[{"action": "html"}, {"action": "answer", "times": 1}])
    assert placed.status_code == 201
    assert [rule["id"] for rule in get(sandbox, "/sandbox/rules").json()] == [1, 2]
    assert put(sandbox).status_code == 502
    assert HTTP.delete(f"{url}/1").json() == {"removed": 1}
    assert HTTP.delete(f"{url}/1").status_code == 404
    HTTP.delete(url)
    assert sandbox.rules() == []


@pytest.mark.parametrize(
    ("rule", "named"),
    [
        ({"action": "explode"}, "action"),
        ({"action": "html", "tokn": "x"}, "tokn"),
        ({"action": "answer", "times": 0}, "times"),
        ({"action": "delay", "seconds": -1}, "seconds"),
        ({}, "action"),
        ("text", "rule"),
    ],
)
def test_a_rule_that_cannot_be_is_refused_by_name(sandbox, rule, named):
    answer = HTTP.post(f"{sandbox.url}/sandbox/rules", json=rule)
    assert answer.status_code == 400
    assert answer.json()["error"][0].startswith(f"{named}: ")
    assert sandbox.rules() == []


def test_latency_and_daily_limit_are_set_over_http(sandbox):
    url = f"{sandbox.url}/sandbox/settings"
    assert HTTP.put(url, json={"latency_ms": 120}).json()["latency_ms"] == 120
    started = time.monotonic()
    put(sandbox)
    assert time.monotonic() - started >= 0.12
    HTTP.put(url, json={"latency_ms": 0, "daily_limit": 1})
    assert put(sandbox).status_code == 403
    assert HTTP.put(url, json={"latency": 1}).status_code == 400


def test_the_page_shows_calls_and_rules_and_is_not_fooled_by_what_it_shows(sandbox):
    sandbox.add_rule(action="answer", msg="<script>one")
    put(sandbox, customer_id="<script>two")
    page = get(sandbox, "/")
    assert page.headers["content-type"].startswith("text/html")
    assert 'http-equiv="refresh"' in page.text
    assert "&lt;script&gt;one" in page.text
    assert "&lt;script&gt;two" in page.text
    assert "<script>" not in page.text


@pytest.mark.parametrize("length", ["x", "-1", "9999999999"])
def test_a_body_without_a_sound_length_is_refused(sandbox, length):
    with socket.create_connection(("127.0.0.1", sandbox.port), timeout=5) as client:
        client.sendall(f"POST /sandbox/rules HTTP/1.1\r\nContent-Length: {length}\r\n\r\n".encode())
        assert client.recv(65536).startswith(b"HTTP/1.1 400 ")


def test_an_address_that_is_not_there_is_404(sandbox):
    assert get(sandbox, "/nowhere").status_code == 404


def test_a_sandbox_that_stops_ends_its_open_connections():
    sandbox = Sandbox().start()
    sandbox.add_rule(action="hang", seconds=600)
    with socket.create_connection(("127.0.0.1", sandbox.port), timeout=5) as client:
        client.sendall(f"GET /api/v2/x HTTP/1.1\r\nwolkvox-token: {TOKEN}\r\n\r\n".encode())
        wait_until(lambda: sandbox.stats()["in_flight"])
        sandbox.stop()
        assert client.recv(1) == b""


def test_as_a_process_it_says_where_it_is_and_ends_on_sigterm():
    code = (
        "from integration.local.sandbox import serve; serve(0, announce=lambda url: print(url, flush=True))"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        url = process.stdout.readline().strip()
        assert HTTP.get(f"{url}/sandbox/stats").json()["count"] == 0
        process.terminate()
        assert process.wait(60) == 0


def test_a_port_that_is_taken_is_an_error(sandbox):
    with pytest.raises(OSError, match="in use"):
        Sandbox(port=sandbox.port)
