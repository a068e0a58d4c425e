"""Pages, filters and purges of recalls."""

from __future__ import annotations

from datetime import timedelta

from integration.domain.recall import Filter, State
from integration.store.token_queue import PushResult
from support.store_process import NOON


def test_a_page_is_newest_first_and_its_cursor_goes_on(process):
    ids = [process.ask_id(f"c{n}") for n in range(5)]
    page, cursor = process.recalls.page(Filter(), limit=3)
    rest, end = process.recalls.page(Filter(), limit=3, cursor=cursor)
    assert [recall.id for recall in page + rest] == ids[::-1]
    assert end is None


def test_filters_go_by_state_account_and_customer(process):
    a = process.ask_id("c1")
    b = process.ask_id("c1", account="lima")
    process.finish(process.acquire())
    ids = lambda **which: [r.id for r in process.recalls.page(Filter(**which), limit=10)[0]]  # noqa: E731
    assert ids(state=State.ACCEPTED) == [a]
    assert ids(accounts=frozenset({"lima"})) == [b]
    assert ids(customer_id="c1") == [b, a]
    assert ids(customer_id="c1", accounts=frozenset({"lima"}), state=State.QUEUED) == [b]


def test_purge_removes_only_what_ended_before(process):
    gone = process.ask_id("c1")
    process.finish(process.acquire())
    stays = process.ask_id("c2")
    process.pass_time(86400)
    assert process.deliveries.purge(before=process.now) == 1
    assert process.recalls.page(Filter(), limit=10)[0][0].id == stays
    assert not process.client.exists(process.store.key(f"recall:{gone}"))
    assert [found.id for found in process.recalls.every(Filter())] == [stays]
    indexes = [
        *process.client.scan_iter(process.store.key("find:*")),
        *process.client.scan_iter(process.store.key("in:*")),
    ]
    assert [
        recall for index in indexes for recall in process.client.zrange(index, 0, -1) if gone in recall
    ] == []


def test_one_that_ended_late_keeps_no_other_from_being_purged(process):
    late = process.ask_id("c1", due_minutes=600)
    early = process.ask_id("c2", due_minutes=1)
    process.finish(process.acquire())
    process.pass_time(100)
    process.finish(process.acquire())
    assert process.deliveries.purge(before=process.now, limit=1) == 1
    assert process.state(late) is State.ACCEPTED
    assert not process.client.exists(process.store.key(f"recall:{early}"))


def test_a_retried_recall_is_not_purged(process):
    recall = process.ask_id("c1")
    process.finish(process.acquire(), PushResult(kind="ended", state="dead", reason="refused"))
    process.recalls.retry(recall, "again")
    process.pass_time(1)
    assert process.deliveries.purge(before=process.now) == 0
    assert process.state(recall) is State.QUEUED


def test_purging_an_older_request_leaves_the_newest_of_its_customer_known(process):
    process.ask("c1", version=NOON)
    newest = process.ask_id("c1", version=NOON + timedelta(seconds=2))
    process.pass_time(1)
    assert process.deliveries.purge(before=process.now) == 1
    between = process.ask_id("c1", version=NOON + timedelta(seconds=1))
    assert (process.state(newest), process.state(between)) == (State.QUEUED, State.SUPERSEDED)


def test_what_a_recall_leaves_is_gone_when_it_is_purged(process):
    process.ask("c1")
    process.finish(process.acquire())
    process.pass_time(1)
    process.deliveries.purge(before=process.now)
    left = {key.removeprefix("{ringback}:") for key in process.client.keys("*")}
    # What remembers deliveries goes by itself, as do the counts of the calendar.
    by_itself = ("seen:", "answer:", "arrivals:", "accepted_calendar:")
    assert {key for key in left if not key.startswith(by_itself)} == {
        "accounts",
        "counts",
        "meta",
        "store",
        "queue:L1",
    }
    assert all(process.client.pttl(key) > 0 for key in process.client.keys("*arrivals:*"))
