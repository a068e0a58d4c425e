"""A drain of a real queue, against the wolkvox simulator over loopback HTTP."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from integration.clients.wolkvox import WolkvoxConnection, boottime, verdict_of
from integration.domain.errors import StoreAwayError
from integration.domain.recall import Filter, State
from integration.domain.schedule import reschedule
from integration.local.sandbox import Sandbox
from integration.telemetry.counters import Counters
from support import SOURCES_AND_ROUTES, account, make_services
from support.installation import Installation
from support.reporters import RecordingReporter
from workers.drain import ALONE_SECONDS, DRAIN_CALLS, DRAIN_SECONDS, Drain, DrainDependencies, utc_now

SHORT = "timeout_seconds = 1\nserver_limit_seconds = 1\n"


class DrainInstallation(Installation):
    def __init__(self, folder, store, sandbox, more=SHORT):
        lima = account("lima", sandbox.url, zone="Lima", country="PE")
        text = account("bogota", sandbox.url, more=more) + lima + SOURCES_AND_ROUTES
        super().__init__(make_services(folder, store, text))
        self.sandbox = sandbox
        self.reporter = RecordingReporter()
        self.stopping = False
        self.opened = []
        self.sleeps = []
        self.services.binding.bind()

    def open_connection(self, endpoint):
        self.opened.append(endpoint)
        return WolkvoxConnection(endpoint)

    def tools(self, **more):
        tools = {
            "queues": self.services.queues,
            "open_connection": self.open_connection,
            "verdict_of": verdict_of,
            "reporter": self.reporter,
            "boottime": boottime,
            "now": utc_now,
            "jitter": lambda: 0.0,
            "sleep": self.sleeps.append,
            "stopping": lambda: self.stopping,
            "reschedule": reschedule,
        }
        return DrainDependencies(**{**tools, **more})

    def drain(self, **more):
        """Drain bogota's queue; True: work is left, and its wake-up is to be published."""
        accounts = {"bogota": self.services.config.accounts["bogota"]}
        return Drain(self.tools(**more), self.queue, accounts).run() is not None

    def calls(self):
        return [call for call in self.sandbox.calls() if call["method"] == "PUT"]

    def account_state(self):
        return self.services.accounts.get("bogota").state


@pytest.fixture
def installation(tmp_path, store, sandbox):
    return DrainInstallation(tmp_path, store, sandbox)


def test_a_drain_pushes_until_the_queue_is_empty_over_one_connection(installation):
    ids = [installation.ask(f"c{n}") for n in range(5)]
    assert installation.drain() is False
    assert {installation.recall(i).state for i in ids} == {State.ACCEPTED}
    assert [call["body"]["customer_id"] for call in installation.calls()] == [f"c{n}" for n in range(5)]
    assert len(installation.opened) == 1
    assert installation.account_state() == "idle"


def test_what_wolkvox_gets_is_what_was_asked(installation):
    recall = installation.recall(installation.ask("c1"))
    installation.drain()
    body = installation.calls()[0]["body"]
    assert body["recall_telephone"] == "3001112233"
    assert body["recall_date"] == recall.recall_date.strftime("%Y%m%d%H%M%S")
    attempt = installation.recall(recall.id).attempts[0]
    assert (attempt.code, attempt.outcome) == ("202", "accepted")


def test_a_drain_ends_after_so_many_calls_where_another_queue_waits(installation):
    installation.ask("the other", account="lima")
    for n in range(DRAIN_CALLS + 1):
        installation.ask(f"c{n}")
    assert installation.drain() is True
    assert len(installation.calls()) == DRAIN_CALLS
    assert installation.drain() is False
    assert len(installation.calls()) == DRAIN_CALLS + 1


def slow_line(clock, seconds):
    """Return a line on which each call takes so long by `clock`."""

    class SlowLine(WolkvoxConnection):
        def push(self, call, **times):
            clock[0] += seconds
            return super().push(call, **{**times, "claimed_at": boottime()})

    return SlowLine


def test_a_drain_of_a_slow_queue_ends_after_so_long_where_another_waits(installation):
    installation.ask("the other", account="lima")
    for n in range(3):
        installation.ask(f"c{n}")
    clock = [boottime()]

    assert (
        installation.drain(boottime=lambda: clock[0], open_connection=slow_line(clock, DRAIN_SECONDS)) is True
    )
    assert [call["body"]["customer_id"] for call in installation.calls()] == ["c0"]


def test_while_no_other_waits_a_drain_goes_on_for_longer_and_not_for_ever(installation):
    for n in range(DRAIN_CALLS + 3):
        installation.ask(f"c{n}")
    clock, seconds = [boottime()], 1.001 * ALONE_SECONDS / (DRAIN_CALLS + 2)

    assert installation.drain(boottime=lambda: clock[0], open_connection=slow_line(clock, seconds)) is True
    assert len(installation.calls()) == DRAIN_CALLS + 2


def test_a_drain_ends_where_a_look_up_waits(installation):
    installation.services.store.client.zadd(installation.services.store.key("lookups"), {"lu_1": 1})
    for n in range(DRAIN_CALLS + 1):
        installation.ask(f"c{n}")
    assert installation.drain() is True
    assert len(installation.calls()) == DRAIN_CALLS


def test_the_time_of_each_claim_counts_from_just_before_it_was_asked_for(installation):
    installation.ask("c1")
    installation.ask("c2")
    asked_at, claimed_at, sent_at = [], [], []
    real = installation.services.queues

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

    installation.drain(queues=Noted(), open_connection=NotedLine)
    assert claimed_at[0] <= asked_at[0] < sent_at[0] < claimed_at[1] <= asked_at[1] < sent_at[1]


def test_a_push_is_logged_and_counted_before_the_next_one(installation, monkeypatch):
    installation.ask("c1")
    installation.ask("c2")
    steps = []
    monkeypatch.setattr(
        "workers.drain.log", SimpleNamespace(info=lambda event, **fields: steps.append((event, fields)))
    )
    counters = Counters()

    class RecordingConnection(WolkvoxConnection):
        def push(self, call, **more):
            steps.append("call")
            return super().push(call, **more)

    installation.drain(open_connection=RecordingConnection, counters=counters)
    first, second = (installation.services.recalls.records.page(Filter(), limit=2)[0][n].id for n in (1, 0))
    fields = {
        "account": "bogota",
        "verdict": "accepted",
        "reason": "wolkvox answered 202: recorded, not yet called",
    }
    assert steps == [
        *("call", ("pushed", {"recall": first, **fields})),
        *("call", ("pushed", {"recall": second, **fields})),
    ]
    assert {name.partition(":")[0] for name in counters.take()["counts"]} == {"push seconds", "gap seconds"}


def test_a_push_that_had_no_time_left_is_not_logged_as_pushed(installation, monkeypatch):
    installation.ask("c1")
    installation.ask("c2")
    logged = []
    monkeypatch.setattr(
        "workers.drain.log", SimpleNamespace(info=lambda _, **fields: logged.append(fields["verdict"]))
    )

    class Gone(WolkvoxConnection):
        calls = 0

        def push(self, call, **more):
            Gone.calls += 1
            late = boottime() - 100 if Gone.calls == 2 else more["claimed_at"]
            return super().push(call, **{**more, "claimed_at": late})

    installation.drain(open_connection=Gone)
    assert logged == ["accepted"]


def test_on_shutdown_a_drain_ends_after_the_call_in_flight(installation):
    installation.ask("c1")
    installation.ask("c2")
    installation.stopping = True
    assert installation.drain() is True
    assert len(installation.calls()) == 1


def test_a_refused_recall_is_dead_with_the_whole_answer_and_the_next_goes_on(installation):
    installation.sandbox.add_rule(
        action="answer", customer_id="c1", status=400, code="400", msg="SOME PARAMETERS ARE REQUIRED"
    )
    dead, good = installation.ask("c1", hours=1), installation.ask("c2", hours=2)
    installation.drain()
    found = installation.recall(dead)
    assert found.state is State.DEAD
    assert found.attempts[0].msg == "SOME PARAMETERS ARE REQUIRED"
    assert installation.recall(good).state is State.ACCEPTED
    assert installation.reporter.dead_recalls == [(dead, "refused")]


def test_a_token_that_is_refused_stops_the_queue_and_burns_nothing(installation):
    installation.sandbox.add_rule(
        action="answer", times=1, status=401, code="401", msg="PLEASE ENTER THE WOLKVOX-TOKEN"
    )
    recall = installation.ask("c1")
    assert installation.drain() is False
    assert installation.account_state() == "stopped"
    assert installation.recall(recall).state is State.QUEUED
    assert len(installation.reporter.stopped_queues) == 1
    installation.services.accounts.resume("bogota")
    installation.drain()
    assert installation.recall(recall).state is State.ACCEPTED


def test_a_server_error_makes_the_queue_wait_then_the_same_recall_goes_first(installation):
    installation.sandbox.add_rule(action="answer", times=1, status=500, code="500", msg="ERROR")
    first = installation.ask("c1", hours=2)
    installation.drain()
    assert installation.account_state() == "waiting"
    installation.ask("c2", hours=1)
    installation.services.accounts.resume("bogota")
    installation.drain()
    assert [call["body"]["customer_id"] for call in installation.calls()] == ["c1", "c1", "c2"]
    assert [a.outcome for a in installation.recall(first).attempts] == ["unknown", "accepted"]


def test_a_time_out_makes_the_queue_quiet_even_for_the_operator(tmp_path, store, sandbox):
    installation = DrainInstallation(tmp_path, store, sandbox, more="timeout_seconds = 1\n")
    installation.sandbox.add_rule(action="hang", times=1)
    recall = installation.ask("c1")
    installation.drain()
    installation.services.accounts.resume("bogota")
    assert installation.drain() is False
    assert len(installation.calls()) == 1
    view = installation.services.accounts.get("bogota")
    assert view.state == "waiting"
    assert installation.recall(recall).state is State.QUEUED


def test_a_dead_server_needs_no_quiet_time(tmp_path, store):
    sandbox = Sandbox()
    sandbox.start()
    installation = DrainInstallation(tmp_path, store, sandbox)
    sandbox.stop()
    recall = installation.ask("c1")
    installation.drain()
    queue = installation.services.store.client.hgetall(
        installation.services.store.key(f"queue:{installation.queue}")
    )
    assert int(queue.get("quiet") or 0) == 0
    assert installation.recall(recall).attempts[0].outcome == "not_sent"
    assert queue["pushed"] == "0"


def test_a_dry_run_does_everything_but_the_call(tmp_path, store, sandbox):
    installation = DrainInstallation(tmp_path, store, sandbox, more=SHORT + 'mode = "dry-run"\n')
    recall = installation.ask("c1")
    installation.drain()
    assert installation.recall(recall).state is State.SIMULATED
    assert installation.calls() == []


def test_a_date_that_passed_while_it_waited_expires_where_late_is_drop(tmp_path, store, sandbox):
    installation = DrainInstallation(
        tmp_path, store, sandbox, more=SHORT + 'late = "drop"\nmin_lead_minutes = 0\n'
    )
    recall = installation.ask("c1", hours=1)
    installation.drain(now=lambda: datetime.now(UTC) + timedelta(hours=2))
    assert installation.recall(recall).state is State.EXPIRED
    assert installation.calls() == []


def test_a_date_that_passed_while_it_waited_becomes_as_soon_as_may_be(installation):
    recall = installation.ask("c1", hours=1)
    later = datetime.now(UTC) + timedelta(hours=2)
    installation.drain(now=lambda: later)
    found = installation.recall(recall)
    assert found.state is State.ACCEPTED
    assert found.recall_date >= later + timedelta(minutes=30)
    assert found.requested_date < later


def test_a_claim_that_took_too_long_is_not_sent(installation):
    recall = installation.ask("c1")
    times = iter([0.0] * 4 + [100.0] * 100)
    installation.drain(
        boottime=lambda: next(times), open_connection=lambda e: WolkvoxConnection(e, clock=lambda: 100.0)
    )
    assert installation.calls() == []
    assert installation.recall(recall).state is State.QUEUED


def test_a_reply_of_the_store_that_was_lost_is_asked_for_again(installation):
    installation.ask("c1")
    installation.ask("c2")
    real = installation.services.queues.finish
    lost = []

    class Flaky:
        acquire = installation.services.queues.acquire

        def finish(self, *args, **kwargs):
            reply = real(*args, **kwargs)
            if not lost:
                lost.append(1)
                raise StoreAwayError("TimeoutError")
            return reply

    installation.drain(queues=Flaky())
    assert [call["body"]["customer_id"] for call in installation.calls()] == ["c1", "c2"]
    assert len(installation.sleeps) == 1


def test_a_drain_repeats_its_report_no_longer_than_its_lease(installation):
    recall = installation.ask("c1")
    clock = [boottime()]

    class Away:
        acquire = installation.services.queues.acquire

        def finish(self, *_, **__):
            raise StoreAwayError("TimeoutError")

    def sleep(seconds):
        installation.sleeps.append(seconds)
        clock[0] += seconds

    assert installation.drain(queues=Away(), boottime=lambda: clock[0], sleep=sleep) is False
    lease = installation.services.config.accounts["bogota"].lease_seconds
    assert installation.sleeps[:6] == [0.05, 0.1, 0.2, 0.4, 0.8, 1.0]
    assert lease - 1 < sum(installation.sleeps) <= lease
    assert installation.recall(recall).state is State.PUSHING


def test_an_account_this_worker_does_not_know_yet_is_left_for_another(installation):
    recall = installation.ask("c1")
    foreign = {"cali": installation.services.config.accounts["bogota"]}
    Drain(installation.tools(), installation.queue, foreign).run()
    assert installation.calls() == []
    assert installation.recall(recall).state is State.QUEUED


def test_the_token_is_in_no_key_and_no_value_of_the_store(installation):
    installation.ask("c1")
    installation.drain()
    token = installation.services.config.accounts["bogota"].token.get_secret_value()
    client = installation.services.store.client
    for key in client.keys("*"):
        assert token not in key
        if client.type(key) == "hash":
            assert token not in str(client.hgetall(key))


def test_whole_answers_stay_with_the_recall_but_that_of_its_acceptance(installation):
    installation.sandbox.add_rule(action="html", times=1)
    recall = installation.ask("c1")
    installation.drain()
    assert "This is not JSON" in installation.recall(recall).attempts[-1].answer
    installation.services.store.client.hset(
        installation.services.store.key(f"queue:{installation.queue}"), mapping={"quiet": 0, "wait": 0}
    )
    installation.drain()
    found = installation.recall(recall)
    assert found.state is State.ACCEPTED
    assert ["This is not JSON" in (attempt.answer or "") for attempt in found.attempts] == [True, False]
