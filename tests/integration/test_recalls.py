"""Recalls as they are listed: every one once, newest first, whatever happens meanwhile."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from integration.domain.recall import Filter, RecallRequest, State
from integration.store import search

AT = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)


def ask(services, number, account="bogota"):
    request = RecallRequest(
        account=account,
        campaign_id="10",
        customer_id=f"c{number}",
        recall_telephone="3001112233",
        recall_date=AT,
        requested_date=AT,
        version=datetime.now(UTC),
        source="api:zapier",
    )
    return services.admission.admit_one(request, expired=None, key="", fingerprint="").answer.recalls[0]


def pages(services, which, limit):
    found, cursor = [], None
    while True:
        page, cursor = services.recalls.records.page(which, limit=limit, cursor=cursor)
        found += [recall.id for recall in page]
        if cursor is None:
            return found


@pytest.mark.parametrize("limit", [1, 3, 4, 100])
def test_pages_hold_every_recall_once_newest_first(services, monkeypatch, limit):
    monkeypatch.setattr(search, "STEP", 4)
    ids = [ask(services, number, ("bogota", "lima")[number % 2]) for number in range(11)]
    for recall in ids[::3]:
        services.recalls.cancel(recall, "for the test")
    assert pages(services, Filter(), limit) == ids[::-1]
    assert pages(services, Filter(accounts=frozenset({"lima", "bogota"})), limit) == ids[::-1]
    assert pages(services, Filter(state=State.CANCELLED), limit) == ids[::3][::-1]
    assert pages(services, Filter(accounts=frozenset({"lima"})), limit) == ids[1::2][::-1]


def test_a_recall_between_two_states_is_listed_once(services, store):
    recall = ask(services, 1)
    store.zadd(services.store.key("in:accepted"), {recall: 0})
    assert [found.id for found in services.recalls.records.every(Filter())] == [recall]


def test_a_page_goes_on_where_it_ended_though_new_recalls_came(services):
    ids = [ask(services, number) for number in range(6)]
    first, cursor = services.recalls.records.page(Filter(), limit=3)
    ask(services, 7)
    second, end = services.recalls.records.page(Filter(), limit=3, cursor=cursor)
    assert [recall.id for recall in (*first, *second)] == ids[::-1]
    assert end is None


def test_a_filter_that_fits_no_account_finds_nothing(services):
    ask(services, 1)
    assert pages(services, Filter(accounts=frozenset()), 10) == []
