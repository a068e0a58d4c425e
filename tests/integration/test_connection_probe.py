"""A test call leases the queue, so that no push runs beside it."""

from __future__ import annotations

import threading
import time

import pytest

from integration.domain.delivery import Delivery, Event
from integration.mapping.planner import plan_delivery
from integration.services.connection_probe import QueueInUseError, probe_in_queue
from integration.store.token_queue import Claim, NoClaim, PushResult, terms_of
from support import SOURCES_AND_ROUTES, make_services, two_accounts
from workers.drain import utc_now

QUICK = "timeout_seconds = 0.4"


@pytest.fixture
def services(tmp_path, store, sandbox):
    services = make_services(tmp_path, store, two_accounts(sandbox.url, QUICK) + SOURCES_AND_ROUTES)
    services.binding.bind()
    return services


@pytest.fixture
def queue(services):
    return services.queues.bound()["bogota"]


@pytest.fixture
def queued(services):
    now = utc_now()
    delivery = Delivery(
        id="dl_1", source="forms", method="POST", url="", headers={}, body=b"{}", received_at=now
    )
    event = Event(data={"customer": "1", "phone": "3001112233", "at": "2030-01-01T10:00:00"}, dedup_key="1")
    services.admission.admit(delivery, plan_delivery(services.routes, delivery, [event], now), b"{}")


def account(services):
    return services.config.accounts["bogota"]


def terms(services):
    return terms_of(account(services), utc_now())


@pytest.fixture
def pass_lease(services):
    """Return a function that moves the store's clock past the lease. Until then the clock stands still."""
    now = [round(utc_now().timestamp() * 1000)]
    services.store._protocol.clock = lambda: now[0]

    def passed():
        now[0] += round((account(services).lease_seconds + 0.1) * 1000)

    return passed


def begin_test_call(services, queue):
    return services.queues.begin_test_call(queue, "first", terms(services))


def acquire(services, queue, nonce="worker"):
    return services.queues.acquire(queue, nonce, terms(services))[0]


def ask(services, queue):
    return probe_in_queue(services.queues, queue, account(services), lambda _: None)


def test_no_push_begins_during_a_test_call_and_one_does_after_it(services, queue, queued):
    fence = begin_test_call(services, queue)
    assert acquire(services, queue).kind == "busy"
    assert (services.accounts.get("bogota").state, services.accounts.get("bogota").reason) == (
        "busy",
        "a test call is being made",
    )
    assert services.queues.end_test_call(queue, fence, sent_ms=5, quiet=False).queue == queue
    assert isinstance(acquire(services, queue), Claim)


def test_resuming_during_a_test_call_begins_no_push(services, queue, queued):
    fence = begin_test_call(services, queue)
    services.accounts.pause("bogota", "a break")
    services.accounts.resume("bogota")
    assert acquire(services, queue).kind == "busy"
    services.queues.end_test_call(queue, fence, sent_ms=5, quiet=True)
    assert acquire(services, queue).kind == "wait"


def test_no_test_call_while_the_queue_pushes_or_is_quiet(services, queue, queued):
    claim = acquire(services, queue)
    assert begin_test_call(services, queue).kind == "busy"
    outcome = PushResult(kind="ended", state="accepted", quiet=True, sent_ms=0)
    services.queues.finish(queue, claim, 1, outcome, more=False, terms=terms(services))
    refused = begin_test_call(services, queue)
    assert (refused.kind, refused.reason) == ("wait", "quiet")


def test_no_test_call_while_the_queue_waits_but_while_it_is_stopped_or_paused(services, queue, queued):
    claim = acquire(services, queue)
    stop = PushResult(kind="again", reason="401", stop="the token is refused", sent_ms=0)
    services.queues.finish(queue, claim, 1, stop, more=False, terms=terms(services))
    services.accounts.pause("bogota", "a break")
    assert ask(services, queue).good
    assert services.accounts.get("bogota").state == "stopped"
    services.accounts.resume("bogota")
    claim = acquire(services, queue, "again")
    waits = PushResult(kind="again", reason="no answer", wait_ms=60_000)
    services.queues.finish(queue, claim, 1, waits, more=False, terms=terms(services))
    with pytest.raises(QueueInUseError, match="the queue waits: no answer"):
        ask(services, queue)


def test_a_test_call_counts_for_the_day_and_is_not_made_beyond_its_limit(tmp_path, store, sandbox):
    text = two_accounts(sandbox.url, QUICK + "\ndaily_limit = 1") + SOURCES_AND_ROUTES
    services = make_services(tmp_path, store, text)
    services.binding.bind()
    queue = services.queues.bound()["bogota"]
    assert ask(services, queue).good
    assert services.accounts.get("bogota").pushed_today == 1
    with pytest.raises(QueueInUseError, match="the daily limit is used up"):
        ask(services, queue)
    assert len(sandbox.calls()) == 1


def test_the_lease_of_a_dead_test_call_ends_with_its_call(services, queue, queued, pass_lease):
    assert isinstance(begin_test_call(services, queue), int)
    assert acquire(services, queue).kind == "busy"
    pass_lease()
    claim = acquire(services, queue, "next")
    assert isinstance(claim, Claim)
    # It may have been sent.
    assert services.accounts.get("bogota").pushed_today == 1


def test_a_late_end_of_a_test_call_changes_nothing(services, queue, queued, pass_lease):
    fence = begin_test_call(services, queue)
    pass_lease()
    claim = acquire(services, queue, "next")
    services.queues.end_test_call(queue, fence, sent_ms=1, quiet=True)
    assert services.accounts.get("bogota").state == "busy"
    done = services.queues.finish(
        queue, claim, 1, PushResult(kind="ended", state="accepted"), more=False, terms=terms(services)
    )
    assert done[0] == NoClaim("released", "", 0)


def test_an_unknown_outcome_leaves_the_queue_quiet_and_says_so(services, queue, sandbox):
    sandbox.add_rule(action="hang", seconds=5)
    answer = ask(services, queue)
    assert not answer.good
    assert "may still be working on the call" in answer.message
    assert services.accounts.get("bogota").state == "waiting"


def test_a_call_that_was_never_sent_leaves_no_quiet_time(tmp_path, store, queued):
    services = make_services(tmp_path, store, two_accounts("http://127.0.0.1:9", QUICK) + SOURCES_AND_ROUTES)
    services.binding.bind()
    answer = ask(services, services.queues.bound()["bogota"])
    assert not answer.good
    assert services.accounts.get("bogota").pushed_today == 0
    assert services.accounts.get("bogota").state == "idle"


def test_test_calls_and_drains_at_once_never_overlap(services, queue, queued, sandbox):
    """Two threads make test calls and one drains. The sandbox never sees two calls at once."""
    end = time.monotonic() + 60

    def goes_on():
        return len(sandbox.calls()) < 12 and time.monotonic() < end

    def asking():
        while goes_on():
            try:
                ask(services, queue)
            except QueueInUseError:
                time.sleep(0.001)

    threads = [threading.Thread(target=asking) for _ in range(3)]
    for thread in threads:
        thread.start()
    while goes_on():
        services.accounts.resume("bogota")
    for thread in threads:
        thread.join()
    assert len(sandbox.calls()) >= 12
    assert not sandbox.stats()["overlaps"]


def test_a_late_end_leaves_the_lease_of_another_test_call(services, queue, queued, pass_lease):
    late = begin_test_call(services, queue)
    pass_lease()
    services.queues.begin_test_call(queue, "second", terms(services))
    services.queues.end_test_call(queue, late, sent_ms=1, quiet=False)
    assert acquire(services, queue).kind == "busy"
