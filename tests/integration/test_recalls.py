"""Recalls as they are listed: every one once, newest first, whatever happens meanwhile."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from integration.domain.recall import Filter, State
from integration.store.search import recalls as search

AT = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)


def pages(services, which, limit):
    found, cursor = [], None
    while True:
        page, cursor = services.recalls.records.page(which, limit=limit, cursor=cursor)
        found += [recall.id for recall in page]
        if cursor is None:
            return found


@pytest.mark.parametrize("limit", [1, 3, 4, 100])
def test_pages_hold_every_recall_once_newest_first(services, installation, monkeypatch, limit):
    monkeypatch.setattr(search, "STEP", 4)
    ids = [installation.ask(f"c{number}", account=("bogota", "lima")[number % 2]) for number in range(11)]
    for recall in ids[::3]:
        services.recalls.cancel(recall, "for the test")
    assert pages(services, Filter(), limit) == ids[::-1]
    assert pages(services, Filter(accounts=frozenset({"lima", "bogota"})), limit) == ids[::-1]
    assert pages(services, Filter(state=State.CANCELLED), limit) == ids[::3][::-1]
    assert pages(services, Filter(accounts=frozenset({"lima"})), limit) == ids[1::2][::-1]


def test_a_recall_between_two_states_is_listed_once(services, installation, store):
    recall = installation.ask("c1")
    store.zadd(services.store.key("in:accepted"), {recall: 0})
    assert [found.id for found in services.recalls.records.every(Filter())] == [recall]


def test_a_page_goes_on_where_it_ended_though_new_recalls_came(services, installation):
    ids = [installation.ask(f"c{number}") for number in range(6)]
    first, cursor = services.recalls.records.page(Filter(), limit=3)
    installation.ask("c7")
    second, end = services.recalls.records.page(Filter(), limit=3, cursor=cursor)
    assert [recall.id for recall in (*first, *second)] == ids[::-1]
    assert end is None


def test_a_filter_that_fits_no_account_finds_nothing(services, installation):
    installation.ask("c1")
    assert pages(services, Filter(accounts=frozenset()), 10) == []
