"""A drain of a real queue, against the wolkvox simulator over loopback HTTP."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from integration.clients.wolkvox import WolkvoxConnection, boottime, verdict_of
from integration.domain.errors import StoreAwayError
from integration.domain.recall import Filter, State
from integration.domain.schedule import apply
from integration.local.sandbox import Sandbox
from integration.mapping.planner import request_from_fields
from integration.telemetry.counters import Counters
from support import SOURCES_AND_ROUTES, account, make_desk
from workers.drain import ALONE_SECONDS, DRAIN_CALLS, DRAIN_SECONDS, Drain, Tools, utc_now

SHORT = "timeout_seconds = 1\nserver_limit_seconds = 1\n"


class Notes:
    """What was reported to the operator."""

    def __init__(self):
        self.deaths = []
        self.stops = []

    def dead(self, claim, verdict, reason):
        self.deaths.append((claim.recall_id, verdict))

    def stopped(self, account, reason):
        self.stops.append((account, reason))

    def consumers_stalled(self, worker, seconds):
        """Not of a drain."""

    def consumers_recovered(self, worker, seconds):
        """Not of a drain."""

    def store_lost(self, loss):
        """Not of a drain."""


class Shop:
    def __init__(self, folder, store, sandbox, more=SHORT):
        lima = account("lima", sandbox.url, zone="Lima", country="PE")
        text = account("bogota", sandbox.url, more=more) + lima + SOURCES_AND_ROUTES
        self.services = make_desk(folder, store, text)
        self.sandbox = sandbox
        self.notes = Notes()
        self.stopping = False
        self.opened = []
        self.sleeps = []
        self.services.binding.bind()
        self.queue = self.services.queues.bound()["bogota"]

    def ask(self, customer="c1", *, hours=24, account="bogota"):
        request = request_from_fields(
            self.services.config.accounts[account],
            campaign_id="10",
            customer_id=customer,
            recall_telephone="+57 300 111 2233" if account == "bogota" else "+51 911 112 233",
            recall_date=(datetime.now(UTC) + timedelta(hours=hours)).isoformat(),
            now=datetime.now(UTC),
            source="api:test",
        )
        admitted = self.services.admission.admit_one(request, expired=None, key="", fingerprint="")
        return admitted.answer.recalls[0]

    def open_line(self, endpoint):
        self.opened.append(endpoint)
        return WolkvoxConnection(endpoint)

    def tools(self, **more):
        tools = {
            "queues": self.services.queues,
            "open_line": self.open_line,
            "verdict_of": verdict_of,
            "reporter": self.notes,
            "boottime": boottime,
            "now": utc_now,
            "jitter": lambda: 0.0,
            "sleep": self.sleeps.append,
            "stopping": lambda: self.stopping,
            "reschedule": apply,
        }
        return Tools(**{**tools, **more})

    def drain(self, **more):
        """Drain bogota's queue; True: work is left, and its wake-up is to be published."""
        accounts = {"bogota": self.services.config.accounts["bogota"]}
        return Drain(self.tools(**more), self.queue, accounts).run() is not None

    def recall(self, recall_id):
        return self.services.recalls.records.get(recall_id)

    def calls(self):
        return [call for call in self.sandbox.calls() if call["method"] == "PUT"]

    def state(self):
        return self.services.accounts.get("bogota").state


@pytest.fixture
def shop(tmp_path, store, sandbox):
    return Shop(tmp_path, store, sandbox)


def test_a_drain_pushes_until_the_queue_is_empty_over_one_connection(shop):
    ids = [shop.ask(f"c{n}") for n in range(5)]
    assert shop.drain() is False
    assert {shop.recall(i).state for i in ids} == {State.ACCEPTED}
    assert [call["body"]["customer_id"] for call in shop.calls()] == [f"c{n}" for n in range(5)]
    assert len(shop.opened) == 1
    assert shop.state() == "idle"


def test_what_wolkvox_gets_is_what_was_asked(shop):
    recall = shop.recall(shop.ask("c1"))
    shop.drain()
    body = shop.calls()[0]["body"]
    assert body["recall_telephone"] == "3001112233"
    assert body["recall_date"] == recall.recall_date.strftime("%Y%m%d%H%M%S")
    attempt = shop.recall(recall.id).attempts[0]
    assert (attempt.code, attempt.outcome) == ("202", "accepted")


def test_a_drain_ends_after_so_many_calls_where_another_queue_waits(shop):
    shop.ask("the other", account="lima")
    for n in range(DRAIN_CALLS + 1):
        shop.ask(f"c{n}")
    assert shop.drain() is True
    assert len(shop.calls()) == DRAIN_CALLS
    assert shop.drain() is False
    assert len(shop.calls()) == DRAIN_CALLS + 1


def test_a_drain_of_a_slow_queue_ends_after_so_long_where_another_waits(shop):
    shop.ask("the other", account="lima")
    for n in range(3):
        shop.ask(f"c{n}")
    clock = [boottime()]

    class Slow(WolkvoxConnection):
        def push(self, call, **times):
            clock[0] += DRAIN_SECONDS
            return super().push(call, **{**times, "claimed_at": boottime()})

    assert shop.drain(boottime=lambda: clock[0], open_line=Slow) is True
    assert [call["body"]["customer_id"] for call in shop.calls()] == ["c0"]


def test_while_no_other_waits_a_drain_goes_on_for_longer_and_not_for_ever(shop):
    for n in range(DRAIN_CALLS + 3):
        shop.ask(f"c{n}")
    clock = [boottime()]

    class Slow(WolkvoxConnection):
        def push(self, call, **times):
            clock[0] += 1.001 * ALONE_SECONDS / (DRAIN_CALLS + 2)
            return super().push(call, **{**times, "claimed_at": boottime()})

    assert shop.drain(boottime=lambda: clock[0], open_line=Slow) is True
    assert len(shop.calls()) == DRAIN_CALLS + 2


def test_a_drain_ends_where_a_look_up_waits(shop):
    shop.services.store.client.zadd(shop.services.store.key("lookups"), {"lu_1": 1})
    for n in range(DRAIN_CALLS + 1):
        shop.ask(f"c{n}")
    assert shop.drain() is True
    assert len(shop.calls()) == DRAIN_CALLS


def test_the_time_of_each_claim_counts_from_just_before_it_was_asked_for(shop):
    shop.ask("c1")
    shop.ask("c2")
    asked_at, claimed_at, sent_at = [], [], []
    real = shop.services.queues

    class Noted:
        def acquire(self, *args, **kwargs):
            asked_at.append(boottime())
            return real.acquire(*args, **kwargs)

        def finish(self, *args, **kwargs):
            asked_at.append(boottime())
            return real.finish(*args, **kwargs)

    class NotedLine(WolkvoxConnection):
        def push(self, call, **times):
            claimed_at.append(times["claimed_at"])
            sent_at.append(boottime())
            return super().push(call, **times)

    shop.drain(queues=Noted(), open_line=NotedLine)
    assert claimed_at[0] <= asked_at[0] < sent_at[0] < claimed_at[1] <= asked_at[1] < sent_at[1]


def test_what_became_of_a_push_is_told_while_the_next_answer_is_awaited_and_at_the_end(shop, monkeypatch):
    shop.ask("c1")
    shop.ask("c2")
    told = []
    monkeypatch.setattr(
        "workers.drain.log", SimpleNamespace(info=lambda _, **facts: told.append(facts["recall"]))
    )
    counters = Counters()

    class NotedLine(WolkvoxConnection):
        def push(self, call, **more):
            told.append("asked")
            return super().push(call, **more)

    shop.drain(open_line=NotedLine, counters=counters)
    first, second = (shop.services.recalls.records.page(Filter(), limit=2)[0][n].id for n in (1, 0))
    assert told == ["asked", "asked", first, second]
    assert {name.partition(":")[0] for name in counters.take()["counts"]} == {"push seconds", "gap seconds"}


def test_what_became_of_a_push_is_told_though_the_next_one_is_not_sent(shop, monkeypatch):
    shop.ask("c1")
    shop.ask("c2")
    told = []
    monkeypatch.setattr(
        "workers.drain.log", SimpleNamespace(info=lambda _, **facts: told.append(facts["verdict"]))
    )

    class Gone(WolkvoxConnection):
        calls = 0

        def push(self, call, **more):
            Gone.calls += 1
            late = boottime() - 100 if Gone.calls == 2 else more["claimed_at"]
            return super().push(call, **{**more, "claimed_at": late})

    shop.drain(open_line=Gone)
    assert told == ["accepted"]


def test_on_shutdown_a_drain_ends_after_the_call_in_flight(shop):
    shop.ask("c1")
    shop.ask("c2")
    shop.stopping = True
    assert shop.drain() is True
    assert len(shop.calls()) == 1


def test_a_refused_recall_is_dead_with_the_whole_answer_and_the_next_goes_on(shop):
    shop.sandbox.add_rule(
        action="answer", customer_id="c1", status=400, code="400", msg="SOME PARAMETERS ARE REQUIRED"
    )
    dead, good = shop.ask("c1", hours=1), shop.ask("c2", hours=2)
    shop.drain()
    found = shop.recall(dead)
    assert found.state is State.DEAD
    assert found.attempts[0].msg == "SOME PARAMETERS ARE REQUIRED"
    assert shop.recall(good).state is State.ACCEPTED
    assert shop.notes.deaths == [(dead, "refused")]


def test_a_token_that_is_refused_stops_the_queue_and_burns_nothing(shop):
    shop.sandbox.add_rule(
        action="answer", times=1, status=401, code="401", msg="PLEASE ENTER THE WOLKVOX-TOKEN"
    )
    recall = shop.ask("c1")
    assert shop.drain() is False
    assert shop.state() == "stopped"
    assert shop.recall(recall).state is State.QUEUED
    assert len(shop.notes.stops) == 1
    shop.services.accounts.resume("bogota")
    shop.drain()
    assert shop.recall(recall).state is State.ACCEPTED


def test_a_server_error_makes_the_queue_wait_then_the_same_recall_goes_first(shop):
    shop.sandbox.add_rule(action="answer", times=1, status=500, code="500", msg="ERROR")
    first = shop.ask("c1", hours=2)
    shop.drain()
    assert shop.state() == "waiting"
    shop.ask("c2", hours=1)
    shop.services.accounts.resume("bogota")
    shop.drain()
    assert [call["body"]["customer_id"] for call in shop.calls()] == ["c1", "c1", "c2"]
    assert [a.outcome for a in shop.recall(first).attempts] == ["unknown", "accepted"]


def test_a_time_out_makes_the_queue_quiet_even_for_the_operator(shop):
    shop.sandbox.add_rule(action="hang", times=1)
    recall = shop.ask("c1")
    shop.drain()
    shop.services.accounts.resume("bogota")
    assert shop.drain() is False
    assert len(shop.calls()) == 1
    view = shop.services.accounts.get("bogota")
    assert view.state == "waiting"
    assert shop.recall(recall).state is State.QUEUED


def test_a_dead_server_needs_no_quiet_time(tmp_path, store):
    sandbox = Sandbox()
    sandbox.start()
    shop = Shop(tmp_path, store, sandbox)
    sandbox.stop()
    recall = shop.ask("c1")
    shop.drain()
    queue = shop.services.store.client.hgetall(shop.services.store.key(f"queue:{shop.queue}"))
    assert int(queue.get("quiet") or 0) == 0
    assert shop.recall(recall).attempts[0].outcome == "not_sent"
    assert queue["pushed"] == "0"


def test_a_dry_run_does_everything_but_the_call(tmp_path, store, sandbox):
    shop = Shop(tmp_path, store, sandbox, more=SHORT + 'mode = "dry-run"\n')
    recall = shop.ask("c1")
    shop.drain()
    assert shop.recall(recall).state is State.SIMULATED
    assert shop.calls() == []


def test_a_date_that_passed_while_it_waited_expires_where_late_is_drop(tmp_path, store, sandbox):
    shop = Shop(tmp_path, store, sandbox, more=SHORT + 'late = "drop"\nmin_lead_minutes = 0\n')
    recall = shop.ask("c1", hours=1)
    shop.drain(now=lambda: datetime.now(UTC) + timedelta(hours=2))
    assert shop.recall(recall).state is State.EXPIRED
    assert shop.calls() == []


def test_a_date_that_passed_while_it_waited_becomes_as_soon_as_may_be(shop):
    recall = shop.ask("c1", hours=1)
    later = datetime.now(UTC) + timedelta(hours=2)
    shop.drain(now=lambda: later)
    found = shop.recall(recall)
    assert found.state is State.ACCEPTED
    assert found.recall_date >= later + timedelta(minutes=30)
    assert found.requested_date < later


def test_a_claim_that_took_too_long_is_not_sent(shop):
    recall = shop.ask("c1")
    times = iter([0.0] * 4 + [100.0] * 100)
    shop.drain(boottime=lambda: next(times), open_line=lambda e: WolkvoxConnection(e, clock=lambda: 100.0))
    assert shop.calls() == []
    assert shop.recall(recall).state is State.QUEUED


def test_a_reply_of_the_store_that_was_lost_is_asked_for_again(shop):
    shop.ask("c1")
    shop.ask("c2")
    real = shop.services.queues.finish
    lost = []

    class Flaky:
        acquire = shop.services.queues.acquire

        def finish(self, *args, **kwargs):
            reply = real(*args, **kwargs)
            if not lost:
                lost.append(1)
                raise StoreAwayError("TimeoutError")
            return reply

    shop.drain(queues=Flaky())
    assert [call["body"]["customer_id"] for call in shop.calls()] == ["c1", "c2"]
    assert len(shop.sleeps) == 1


def test_an_account_this_worker_does_not_know_yet_is_left_for_another(shop):
    recall = shop.ask("c1")
    foreign = {"cali": shop.services.config.accounts["bogota"]}
    Drain(shop.tools(), shop.queue, foreign).run()
    assert shop.calls() == []
    assert shop.recall(recall).state is State.QUEUED


def test_the_token_is_in_no_key_and_no_value_of_the_store(shop):
    shop.ask("c1")
    shop.drain()
    token = shop.services.config.accounts["bogota"].token.get_secret_value()
    client = shop.services.store.client
    for key in client.keys("*"):
        assert token not in key
        if client.type(key) == "hash":
            assert token not in str(client.hgetall(key))


def test_the_whole_answer_is_kept_with_the_latest_attempt_until_one_is_accepted(shop):
    shop.sandbox.add_rule(action="html", times=1)
    recall = shop.ask("c1")
    shop.drain()
    assert "This is not JSON" in shop.recall(recall).attempts[-1].answer
    shop.services.store.client.hset(
        shop.services.store.key(f"queue:{shop.queue}"), mapping={"quiet": 0, "wait": 0}
    )
    shop.drain()
    found = shop.recall(recall)
    assert found.state is State.ACCEPTED
    assert [attempt.answer for attempt in found.attempts] == [None, None]
