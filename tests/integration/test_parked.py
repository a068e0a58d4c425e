"""Parked events: grouped by their reason, and remapped in bounded steps."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from integration.domain.errors import ClientLeftError, ForkServerFailedError, TooMuchWorkError
from integration.mapping.planner import plan_event
from integration.services.parked import ParkedFilter, ParkedService
from integration.store import parked
from support import SOURCES_AND_ROUTES, hubspot_event, make_services, parked_events, two_accounts
from support.hook_client import AT, HookClient
from support.jobs import dismiss_all

NOW = datetime.now(UTC)


def mended(tmp_path, store):
    """The same services with routes that read `telephone`, and the date as it is written in Colombia."""
    text = SOURCES_AND_ROUTES.replace("event.phone }}", "event.telephone }}").replace(
        "event.phone !=", "event.telephone !="
    )
    return make_services(tmp_path, store, two_accounts() + text)


def park(web, count, **fields):
    for number in range(count):
        body = {"customer": f"c{number}", "telephone": "3001112233", "at": AT} | fields
        assert web.post("forms", body).json["parked"] == 1


def test_events_are_grouped_by_source_route_field_and_reason(web):
    park(web, 3)
    web.post("hubspot", [hubspot_event(1, "soon"), hubspot_event(2, "later")])
    groups = web.services.parked.records.groups()
    assert (groups[0].source, groups[0].field, groups[0].count) == ("forms", "recall_telephone", 3)
    assert sum(one.count for one in groups) == web.services.parked.records.count() == 5
    dates = [one for one in groups if one.field == "recall_date"]
    assert [one.count for one in dates] == [2], "lengths make no other group"


def test_a_group_has_an_example_and_goes_with_its_last_event(web, tmp_path, store):
    park(web, 2)
    (group,) = web.services.parked.records.groups()
    assert web.services.parked.records.get(group.example)["source"] == "forms"
    services = mended(tmp_path, store)
    step = services.parked.remap_step(ParkedFilter(group=group.id), NOW)
    assert (step.looked_at, step.settled, step.still_parked, step.next) == (2, 2, 0, None)
    assert services.parked.records.groups() == []
    assert store.keys("*parked*") == []


def test_a_purged_event_leaves_its_group(web, store):
    park(web, 1)
    web.services.deliveries.purge(before=datetime(2100, 1, 1, tzinfo=UTC))
    assert web.services.parked.records.groups() == []
    assert store.keys("*parked*") == []


def test_the_same_event_sent_again_after_a_change_leaves_its_group(web, tmp_path, store):
    body = {"customer": "c1", "telephone": "3001112233", "at": AT}
    web.post("forms", body, message_id="m1")
    again = HookClient(mended(tmp_path, store)).post("forms", body, message_id="m1")
    assert len(again.json["recalls"]) == 1
    assert store.keys("*parked*") == []


def test_remapping_goes_in_steps_and_gives_every_event_once(web, tmp_path, store):
    park(web, 7)
    services = mended(tmp_path, store)
    cursor, looked_at, recalls = None, [], []
    while True:
        step = services.parked.remap_step(ParkedFilter(), NOW, cursor=cursor, limit=3)
        looked_at.append(step.looked_at)
        recalls += step.recalls
        cursor = step.next
        if cursor is None:
            break
    assert sum(looked_at) == 7
    assert max(looked_at) <= 3
    assert len(set(recalls)) == 7


@pytest.mark.parametrize("oldest_first", [True, False])
def test_events_parked_in_the_same_millisecond_are_neither_missed_nor_given_twice(web, store, oldest_first):
    web.post("hubspot", [hubspot_event(number, "soon") for number in range(20)])
    assert len({score for _, score in store.zrange("{ringback}:parked", 0, -1, withscores=True)}) == 1
    seen, cursor = [], None
    while True:
        records, cursor = web.services.parked.records.page(cursor=cursor, limit=3, oldest_first=oldest_first)
        seen += [record["id"] for record in records]
        if cursor is None:
            break
    assert seen == sorted(set(seen), reverse=not oldest_first)
    assert len(seen) == 20


def test_a_page_without_enough_that_fits_ends_early_and_goes_on(web, monkeypatch):
    monkeypatch.setattr(parked, "STEP", 2)
    monkeypatch.setattr(parked, "MOST_LOOKED_AT", 4)
    park(web, 5)
    oldest = web.services.parked.records.page(limit=1, oldest_first=True)[0][0]["id"]
    found, cursor = web.services.parked.records.page(limit=1, fits=lambda record: record["id"] == oldest)
    assert (found, cursor is None) == ([], False)
    found, cursor = web.services.parked.records.page(
        limit=1, fits=lambda record: record["id"] == oldest, cursor=cursor
    )
    assert ([record["id"] for record in found], cursor) == ([oldest], None)


def test_what_stays_parked_tells_the_reason_of_today(web, tmp_path, store):
    park(web, 2, at="soon")
    assert [one.field for one in web.services.parked.records.groups()] == ["recall_telephone"]
    services = mended(tmp_path, store)
    step = services.parked.remap_step(ParkedFilter(), NOW)
    assert (step.settled, step.still_parked) == (0, 2)
    (group,) = services.parked.records.groups()
    assert (group.field, group.count) == ("recall_date", 2)
    assert parked_events(services)[0]["field"] == "recall_date"


def test_only_a_group_or_source_is_looked_at_when_it_is_named(web, tmp_path, store):
    park(web, 2)
    web.post("hubspot", [hubspot_event(1, "soon")])
    services = mended(tmp_path, store)
    assert services.parked.remap_step(ParkedFilter(source="hubspot"), NOW).looked_at == 1
    assert services.parked.remap(ParkedFilter(source="forms"), NOW).looked_at == 2


@pytest.mark.parametrize("at", [AT, "soon"], ids=["maps", "stays"])
def test_an_event_that_is_dismissed_while_it_is_remapped_stays_dismissed(web, tmp_path, store, at):
    park(web, 1, at=at)
    (group,) = web.services.parked.records.groups()
    services = mended(tmp_path, store)

    def plan(stored, now):
        dismiss_all(services.store, group.id)
        return [
            plan_event(services.configuration.routes, each.delivery, each.events[0], now) for each in stored
        ]

    assert services.parked.remap(ParkedFilter(), NOW, plan=plan).recalls == ()
    assert services.parked.records.groups() == []
    ((record,), _) = services.parked.records.page(limit=5, dismissed=True)
    assert (record["field"], record["dismissed_why"]) == ("recall_telephone", "a test")


@pytest.mark.parametrize("error", [TooMuchWorkError, ForkServerFailedError, ClientLeftError])
def test_a_remap_that_ends_early_tells_what_it_has_done(web, tmp_path, store, monkeypatch, error):
    monkeypatch.setattr(
        ParkedService.remap_step, "__kwdefaults__", {"cursor": None, "limit": 2, "plan": None}
    )
    park(web, 3)
    services = mended(tmp_path, store)
    steps = []

    def plan(stored, now):
        if steps:
            raise error("busy")
        steps.append(stored)
        return [
            plan_event(services.configuration.routes, each.delivery, each.events[0], now) for each in stored
        ]

    remapped = services.parked.remap(ParkedFilter(), NOW, plan=plan)
    assert (remapped.looked_at, len(remapped.recalls), remapped.next is None) == (2, 2, False)
    with pytest.raises(error):
        services.parked.remap(ParkedFilter(), NOW, plan=plan)


@pytest.mark.thorough
def test_a_hundred_thousand_parked_events_are_one_line_and_one_bounded_step(web, store):
    park(web, 1)
    (example,) = parked_events(web.services)
    (group,) = web.services.parked.records.groups()
    record = {name: value for name, value in example.items() if name != "id"}
    with store.pipeline(transaction=False) as pipe:
        for number in range(100_000):
            one = f"pk_{number:08d}"
            pipe.zadd("{ringback}:parked", {one: number})
            pipe.zadd(f"{{ringback}}:parked_in:{group.id}", {one: number})
            if number < 1000:
                pipe.hset(f"{{ringback}}:parked:{one}", mapping=record)
            if number % 10_000 == 9_999:
                pipe.execute()
    (found,) = web.services.parked.records.groups()
    assert found.count == 100_001
    before = store.info("commandstats")["cmdstat_hgetall"]["calls"]
    step = web.services.parked.remap_step(ParkedFilter(group=group.id), NOW)
    assert step.looked_at == parked.STEP
    assert step.next is not None
    assert store.info("commandstats")["cmdstat_hgetall"]["calls"] - before <= parked.STEP + 5
