"""The harness of `make bench` works: it measures what runs, sees what it is to see, and keeps what was noted."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import threading
import time
import urllib.request

import pytest

from bench import load, pages, pushing, report
from bench.__main__ import publish, run
from bench.goals import verdicts
from bench.plan import TRIAL
from bench.profile import shares_of
from bench.results import DEDICATED_QUEUES, RINGBACK, Results
from bench.stage import ROOT, BenchStage
from integration.local.child_process import spawn
from integration.local.supervisor import free_port, wait_until


@pytest.mark.thorough
@pytest.mark.timeout(300)
def test_it_measures_ringback_and_writes_the_page(tmp_path):
    results = run(TRIAL)
    assert results.missing == {}
    accepted = results.figures["accept single, 2 connections"][RINGBACK][0]
    assert accepted["per_second"] > 0
    assert accepted["web_us"] > 0
    pushed = results.figures["push, 2 queues, 50 ms"][RINGBACK][0]
    assert pushed["calls"] > 0
    assert pushed["queues"] == 2
    assert pushed["overlaps"] == 0
    publish(results, tmp_path)
    page = (tmp_path / "benchmarks.md").read_text()
    assert "| single, 2 connections | Ringback |" in page
    assert "| 2 queues, 50 ms | Ringback |" in page
    assert json.loads((tmp_path / "benchmarks" / "figures.json").read_text())["figures"]


def test_what_is_measured_keeps_its_bytecode(tmp_path, monkeypatch):
    """As in an installation; else each start compiles all modules."""
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    stage = BenchStage(tmp_path)
    stage.run("probe", [sys.executable, "-c", "import sys; print(sys.dont_write_bytecode)"], {})
    wait_until(lambda: stage.log_of("probe") == "False\n", 30)


def test_what_was_noted_stays_when_the_page_is_written_anew(tmp_path):
    page = tmp_path / "benchmarks.md"
    report.write(Results(), page)
    assert report.NO_NOTES.strip() in page.read_text()
    noted = page.read_text().replace(report.NO_NOTES, "\nThe limit is the disk: 0.2 ms for each fsync.\n")
    page.write_text(noted)
    results = Results()
    results.add("accept single, 32 connections", RINGBACK, {"per_second": 3000, "p99_ms": 5})
    results.add("accept single, 32 connections", DEDICATED_QUEUES, {"per_second": 1000, "p99_ms": 9})
    report.write(results, page)
    assert page.read_text().count("The limit is the disk: 0.2 ms for each fsync.") == 1
    assert "3,000" in page.read_text()


def test_a_goal_is_reached_missed_or_not_measured():
    results = Results()
    results.add("accept single, 32 connections", RINGBACK, {"per_second": 3000, "p99_ms": 5})
    results.add("accept single, 32 connections", DEDICATED_QUEUES, {"per_second": 1000, "p99_ms": 9})
    rate, latency, batch = verdicts(results)[:3]
    assert (rate.reached, latency.reached, batch.reached) == (True, False, None)


def test_the_slowest_page_decides_and_a_search_does_not():
    results = Results()
    results.add("1,000,000 queued", RINGBACK, {"bytes_each": 1000})
    for page, p50 in (("start", 20), ("calendar", 250), ("search for a customer", 900)):
        results.add(f"{page}{pages.ENDING}", RINGBACK, {"page_p50_ms": p50})
    (verdict,) = [each for each in verdicts(results) if "slowest page" in each.goal]
    assert (verdict.reached, verdict.found) == (False, "250 ms (calendar, page)")


def test_every_page_is_measured_and_none_fails():
    results = Results()
    with BenchStage.open() as stage:
        stage.configure(4)
        pushing.fill(stage.services(), 4, 2)
        stage.start_web()
        pages.measure(results, RINGBACK, stage)
    measured = {*(f"{name}{pages.ENDING}" for name in (*pages.PATHS, "recall")), pages.SEARCH}
    assert results.figures.keys() == measured
    assert all(results.middle(thing, RINGBACK, "page_p50_ms") > 0 for thing in measured)


def test_of_several_runs_the_middle_one_counts_and_the_others_are_told():
    results = Results()
    for rate in (5, 1, 9):
        results.add("x", RINGBACK, {"per_second": rate})
    spread = results.spread("x", RINGBACK, "per_second")
    assert (spread.middle, spread.low, spread.high, spread.runs) == (5, 1, 9, 3)


def test_samples_are_told_by_the_innermost_part_that_is_known():
    stacks = (
        "hook (integration/webhooks/views.py:1);read (integration/domain/phone_numbers/reading.py:2);parse (phonenumbers/x.py:3) 3\n"
        "hook (integration/webhooks/views.py:1) 1\n"
        "somewhere (else.py:1) 1\n"
    )
    shares = dict(shares_of(stacks))
    assert shares["telephone numbers (phonenumbers)"] == pytest.approx(0.6)
    assert shares["receiver"] == pytest.approx(0.2)
    assert shares["everything else"] == pytest.approx(0.2)


# --- the wolkvox that only answers -----------------------------------------------------------


@pytest.fixture
def wolkvox():
    port = free_port()
    child = spawn([sys.executable, "-m", "bench.wolkvox", str(port)], cwd=ROOT)
    wait_until(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0, 20)
    yield port
    child.kill()


def tell(port, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/bench/{path}", timeout=10) as answer:
        return json.load(answer)


def call(token, customer):
    body = json.dumps({"customer_id": customer}).encode()
    head = (
        f"PUT /api/v2/campaign.php HTTP/1.1\r\nwolkvox-token: {token}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def test_it_sees_two_calls_of_one_token_at_once(wolkvox):
    tell(wolkvox, "begin?ms=100")
    connections = [load.Connection(wolkvox) for _ in range(3)]
    for connection, token in zip(connections, ("a", "a", "b"), strict=True):
        connection.send(call(token, "C1"))
    for connection in connections:
        assert connection.received() == 200
    seen = tell(wolkvox, "seen")
    assert (seen["calls"], seen["queues"], seen["overlaps"]) == (3, 2, 1)


def test_it_tells_the_gap_between_an_answer_and_the_next_call_and_who_came_when(wolkvox):
    tell(wolkvox, "begin?ms=5")
    connection = load.Connection(wolkvox)
    before = time.monotonic()
    for customer in ("C1", "C2"):
        connection.send(call("a", customer))
        assert connection.received() == 200
        time.sleep(0.2)
    seen = tell(wolkvox, "seen")
    assert seen["gap_p50_ms"] >= 200
    assert seen["overlaps"] == 0
    came = tell(wolkvox, "arrivals")
    assert before <= came["C1"] < came["C2"] <= time.monotonic()


# --- the load --------------------------------------------------------------------------------


def serve(answers):
    """A server that gives one answer after the other, in pieces, on each of its connections."""
    listening = socket.create_server(("127.0.0.1", 0))

    def talk(sock):
        with contextlib.suppress(OSError):  # the load closes what is left when it ends
            while sock.recv(65536):
                answer = answers.pop(0)
                sock.sendall(answer[:20])
                time.sleep(0.01)
                sock.sendall(answer[20:])

    def accept():
        while True:
            sock, _ = listening.accept()
            threading.Thread(target=talk, args=(sock,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listening.getsockname()[1]


def test_the_load_waits_for_whole_answers_and_counts_them_by_status():
    good = b"HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\n\r\nok"
    bad = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
    port = serve([good, bad, good])
    request = load.request_bytes("/hooks/x", [], b"body")
    seen = load.run(port, [request] * 3, connections=1, seconds=10)
    assert seen.statuses == {202: 2, 503: 1}
    assert seen.ran_out
    assert min(seen.latencies) >= 0.01


def test_requests_are_read_back_as_they_were_written(tmp_path):
    requests = [load.request_bytes("/a", [("X-A", "1")], b"x" * n) for n in (0, 10, 1000)]
    load.write_requests(tmp_path / "requests", requests)
    assert load.read_requests(tmp_path / "requests") == requests


def test_a_connection_that_the_server_closed_is_opened_anew_and_its_request_sent_again():
    good = b"HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\n\r\nok"
    listening = socket.create_server(("127.0.0.1", 0))

    def talk():
        for answers in (1, 2):
            sock, _ = listening.accept()
            for _ in range(answers):
                assert sock.recv(65536)
                sock.sendall(good)
            sock.close()

    threading.Thread(target=talk, daemon=True).start()
    seen = load.run(
        listening.getsockname()[1], [load.request_bytes("/", [], b"")] * 3, connections=1, seconds=10
    )
    assert (seen.statuses, seen.reopened, seen.hung) == ({202: 3}, 1, 0)


def test_a_server_that_never_answers_ends_the_load(monkeypatch):
    monkeypatch.setattr(load, "HUNG_SECONDS", 0.2)
    listening = socket.create_server(("127.0.0.1", 0))
    seen = load.run(
        listening.getsockname()[1], [load.request_bytes("/", [], b"")] * 3, connections=2, seconds=10
    )
    assert (seen.statuses, seen.hung) == ({}, 2)
