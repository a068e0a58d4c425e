"""Bulk jobs on a real store: retry and cancel in steps, also if workers die."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from integration.domain.errors import NotFoundError, StoreAwayError
from integration.domain.recall import Filter, State
from integration.services import bulk_jobs as working
from integration.services.bulk_jobs import BulkAction, BulkJobs
from integration.services.wakeup import WakeUpPublisher
from integration.store.client import Store
from integration.store.monitoring.durability_watch import DurabilityWatch
from integration.store.recalls import RecallStore
from integration.telemetry.sentry import SentryReporter
from support import make_services, two_accounts
from support.seeded import fill
from workers.worker import Worker

NOW = datetime.now(UTC)


@pytest.fixture
def process(store):
    return process_on(store)


def process_on(store):
    target = Store(store)
    recalls = RecallStore(target)
    rung = []
    durability = DurabilityWatch(target, lambda: False)
    jobs = BulkJobs(target, recalls, durability, rung.append)
    return SimpleNamespace(
        client=store, store=target, recalls=recalls, durability=durability, jobs=jobs, rung=rung
    )


def states(process) -> dict:
    return {recall.id: recall.state for recall in process.recalls.every(Filter())}


def count(process, state) -> int:
    return sum(each is state for each in states(process).values())


def run(process, job, owner="w1") -> int:
    steps = 1
    while process.jobs.advance(job.id, owner, {}, NOW):
        steps += 1
    return steps


def test_a_job_retries_what_its_filter_finds_and_nothing_else(process):
    fill(process.store, 300)
    before = states(process)
    job = process.jobs.begin(
        BulkAction.RETRY, Filter(state=State.DEAD, campaign_id="10"), who="ana", reason="retried by ana"
    )
    meant = {
        recall.id
        for recall in process.recalls.every(Filter(state=State.DEAD, campaign_id="10"))
    }  # fmt: skip
    assert meant
    run(process, job)
    after = states(process)
    assert {id_ for id_ in after if after[id_] is not before[id_]} == meant
    assert {after[id_] for id_ in meant} == {State.QUEUED}
    told = process.jobs.get(job.id)
    assert (told.state, told.done, told.skipped, told.who) == ("done", len(meant), {}, "ana")
    assert process.recalls.get(next(iter(meant))).history[-1].reason == "retried by ana"
    assert {wake_up.queue for wake_up in process.rung} <= {"seeded0", "seeded1", "seeded2"}
    assert process.jobs.running() == []


def test_without_a_state_only_recalls_that_can_be_acted_on_are_selected(process):
    fill(process.store, 200)
    queued = count(process, State.QUEUED)
    job = process.jobs.begin(BulkAction.CANCEL, Filter(), who="ana", reason="cancelled by ana")
    run(process, job)
    told = process.jobs.get(job.id)
    assert (told.done, told.skipped) == (queued, {})
    assert count(process, State.QUEUED) == 0


def test_recalls_admitted_after_a_job_began_are_not_changed(process):
    fill(process.store, 50, states=(State.QUEUED,))
    job = process.jobs.begin(BulkAction.CANCEL, Filter(state=State.QUEUED), who="ana", reason="no")
    fill(process.store, 50, seed=2, states=(State.QUEUED,), first=1000)
    run(process, job)
    assert (count(process, State.CANCELLED), count(process, State.QUEUED)) == (50, 50)


def test_another_worker_continues_the_job_of_a_dead_one_without_repeating(process, monkeypatch):
    monkeypatch.setattr(working, "STEP", 7)
    fill(process.store, 60, states=(State.DEAD,))
    clock = [0]
    start = process.store.now_ms()
    store = Store(process.client, clock=lambda: start + clock[0])
    jobs = BulkJobs(store, process.recalls, process.durability, process.rung.append)
    job = jobs.begin(BulkAction.RETRY, Filter(state=State.DEAD), who="ana", reason="again")
    for _ in range(3):
        assert jobs.advance(job.id, "dies", {}, NOW)
    assert jobs.get(job.id).done == 21
    # What the first ones became meanwhile is theirs: a job does not come back to them.
    first = next(recall for recall in process.recalls.every(Filter(state=State.QUEUED)))
    process.recalls.cancel(first.id, "by hand")
    assert not jobs.advance(job.id, "next", {}, NOW)
    clock[0] += 10_001
    steps = 0
    while jobs.advance(job.id, "next", {}, NOW):
        steps += 1
    assert not jobs.advance(job.id, "dies", {}, NOW)
    told = jobs.get(job.id)
    assert (told.state, told.done, told.skipped) == ("done", 60, {})
    assert process.recalls.get(first.id).state is State.CANCELLED
    assert all(len(recall.history) <= 3 for recall in process.recalls.every(Filter()))


def test_a_step_whose_reply_was_lost_is_not_taken_again(process, monkeypatch):
    monkeypatch.setattr(working, "STEP", 10)
    fill(process.store, 30, states=(State.DEAD,))
    job = process.jobs.begin(BulkAction.RETRY, Filter(), who="ana", reason="again")
    ids = [recall.id for recall in process.recalls.every(Filter())]
    assert process.store.call("take_job", job.id, "w1") == 1
    acts = b'[{"id":"%s"}]' % ids[0].encode()
    assert process.store.call("job_step", job.id, "w1", "", ids[0], acts)
    assert process.store.call("job_step", job.id, "w1", "", ids[0], acts) == "lost"
    assert process.jobs.get(job.id).done == 1
    run(process, job)
    assert process.jobs.get(job.id).done == 30


def test_two_workers_never_advance_the_same_job(process, monkeypatch):
    monkeypatch.setattr(working, "STEP", 3)
    fill(process.store, 120, states=(State.DEAD,))
    job = process.jobs.begin(BulkAction.RETRY, Filter(), who="ana", reason="again")

    def go(owner):
        for _ in range(200):
            process.jobs.advance(job.id, owner, {}, NOW)

    threads = [threading.Thread(target=go, args=(f"w{n}",)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told = process.jobs.get(job.id)
    assert (told.state, told.done, told.skipped) == ("done", 120, {})


def test_recalls_that_changed_meanwhile_are_skipped_with_their_state(process, monkeypatch):
    fill(process.store, 40, states=(State.QUEUED,))
    job = process.jobs.begin(BulkAction.CANCEL, Filter(), who="ana", reason="no")
    ids = [recall.id for recall in process.recalls.every(Filter())]
    real = process.recalls.read

    def slow_read(found):
        process.recalls.cancel(ids[0], "by hand, in between")
        process.client.delete(process.store.key(f"recall:{ids[1]}"))
        return real(found) if ids[1] not in found else [*real(found), SimpleNamespace(id=ids[1])]

    monkeypatch.setattr(process.recalls, "read", slow_read)
    run(process, job)
    monkeypatch.undo()
    told = process.jobs.get(job.id)
    assert (told.done, told.skipped) == (38, {"cancelled": 1, "purged": 1})
    assert told.looked_at == 40
    assert listed(process, job, "cancelled") == {ids[0]}
    assert listed(process, job, "done") == set(ids[2:])


def listed(process, job, outcome, **more) -> set[str]:
    found = process.recalls.every(Filter(outcome=f"{job.id}:{outcome}", **more))
    return {recall.id for recall in found}


def test_the_recalls_of_an_outcome_are_found_with_what_became_of_them(process, monkeypatch):
    monkeypatch.setattr(working, "STEP", 7)
    fill(process.store, 30, states=(State.DEAD,))
    job = process.jobs.begin(BulkAction.RETRY, Filter(), who="ana", reason="again")
    assert process.jobs.states_now(job.id) == {}
    run(process, job)
    ids = [recall.id for recall in process.recalls.every(Filter())]
    process.recalls.cancel(ids[3], "by hand")
    fill(process.store, 5, states=(State.QUEUED,), first=1000)
    assert process.jobs.states_now(job.id) == {"queued": 29, "cancelled": 1}
    assert listed(process, job, "done") == set(ids)
    assert listed(process, job, "done", state=State.CANCELLED) == {ids[3]}
    assert listed(process, job, "don") == listed(process, job, "") == set()
    counted = process.recalls.search.count(Filter(outcome=f"{job.id}:done", state=State.QUEUED))
    assert counted.number == 29
    assert list(process.recalls.every(Filter(outcome="nonsense"))) == []


def test_a_job_lists_a_bounded_number_of_recalls_for_each_outcome(process, monkeypatch):
    monkeypatch.setattr(working, "STEP", 1000)
    fill(process.store, working.MOST_LISTED + 3, states=(State.QUEUED,))
    job = process.jobs.begin(BulkAction.CANCEL, Filter(), who="ana", reason="no")
    run(process, job)
    assert process.jobs.get(job.id).done == working.MOST_LISTED + 3
    assert process.jobs.states_now(job.id) == {"cancelled": working.MOST_LISTED}


@pytest.fixture
def own_process(start_valkey):
    with start_valkey().client() as client:
        yield process_on(client)


def test_no_job_begins_or_continues_while_the_store_may_lose_what_it_does(own_process, monkeypatch):
    process = own_process
    monkeypatch.setattr(working, "STEP", 4)
    fill(process.store, 10, states=(State.DEAD,))
    job = process.jobs.begin(BulkAction.RETRY, Filter(), who="ana", reason="again")
    assert process.jobs.advance(job.id, "w1", {}, NOW)
    process.client.config_set("appendfsync", "no")
    process.durability.look()
    assert not process.jobs.advance(job.id, "w1", {}, NOW)
    assert (process.jobs.get(job.id).state, process.jobs.get(job.id).done) == ("running", 4)
    with pytest.raises(StoreAwayError):
        process.jobs.begin(BulkAction.RETRY, Filter(), who="ana", reason="again")
    assert len(process.jobs.latest()) == 1
    process.client.config_set("appendfsync", "always")
    process.durability.look()
    run(process, job)
    assert process.jobs.get(job.id).done == 10


def test_a_stopped_job_does_not_continue(process, monkeypatch):
    monkeypatch.setattr(working, "STEP", 10)
    fill(process.store, 30, states=(State.DEAD,))
    job = process.jobs.begin(BulkAction.RETRY, Filter(), who="ana", reason="again", total=30)
    process.jobs.advance(job.id, "w1", {}, NOW)
    assert process.jobs.stop(job.id)
    assert not process.jobs.advance(job.id, "w1", {}, NOW)
    assert not process.jobs.stop(job.id)
    told = process.jobs.get(job.id)
    assert (told.state, told.done, told.total) == ("stopped", 10, 30)
    assert [each.id for each in process.jobs.latest()] == [job.id]
    with pytest.raises(NotFoundError):
        process.jobs.stop("jb_none")


def test_a_past_date_becomes_the_earliest_possible_one(tmp_path, store):
    services = make_services(tmp_path, store)
    fill(services.store, 20, states=(State.EXPIRED,), ending=NOW - timedelta(days=20), days=1)
    job = services.bulk_jobs.begin(
        BulkAction.RETRY, Filter(accounts=frozenset({"bogota"})), who="ana", reason="again"
    )
    while services.bulk_jobs.advance(job.id, "w1", services.config.accounts, NOW):
        pass
    queued = list(services.recalls.records.every(Filter(state=State.QUEUED)))
    assert queued
    assert all(recall.recall_date >= NOW + timedelta(minutes=30) for recall in queued)


def test_a_worker_advances_jobs_without_a_command(tmp_path, store):
    services = make_services(tmp_path, store, two_accounts())
    fill(services.store, 450, states=(State.DEAD,))
    engine = Worker(services.configuration.watch, services.store, WakeUpPublisher.silent(), SentryReporter())
    job = services.bulk_jobs.begin(BulkAction.RETRY, Filter(state=State.DEAD), who="ana", reason="again")
    engine.sweeper._start_jobs()
    engine.sweeper._jobs.shutdown(wait=True)
    told = services.bulk_jobs.get(job.id)
    assert (told.state, told.done) == ("done", 450)
    engine.stop()


def test_a_job_expires(process):
    from integration.store.deliveries import DeliveryStore

    fill(process.store, 5, states=(State.DEAD,))
    job = process.jobs.begin(BulkAction.RETRY, Filter(), who="ana", reason="again")
    run(process, job)
    assert process.client.exists(process.store.key(f"job_outcomes:{job.id}"))
    DeliveryStore(process.store).purge(before=NOW + timedelta(days=1))
    assert process.jobs.latest() == []
    assert not process.client.exists(process.store.key(f"job:{job.id}"))
    assert not process.client.exists(process.store.key(f"job_outcomes:{job.id}"))
