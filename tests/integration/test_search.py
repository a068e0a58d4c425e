"""Search on a real store: it finds what looking at every recall would find, in short steps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integration.domain.recall import Filter, State
from integration.store.client import Store
from integration.store.recalls import RecallStore
from integration.store.search import recalls as searching
from support.seeded import ACCOUNTS, CAMPAIGNS, SOURCES, fill
from support.valkey import ValkeyServer

ENDING = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
COUNT = 600


@pytest.fixture(scope="module")
def seeded(tmp_path_factory):
    """A store of its own with recalls of 30 days; they are only looked at."""
    server = ValkeyServer(tmp_path_factory.mktemp("seeded"), ())
    server.start()
    with server.client() as client:
        store = Store(client)
        fill(store, COUNT, ending=ENDING)
        # One that is being pushed is no longer in its queue, and in no index but one.
        recalls = RecallStore(store)
        queued = next(recall for recall in recalls.every(Filter(state=State.QUEUED)))
        client.hset(store.key(f"recall:{queued.id}"), "state", "pushing")
        client.zadd(store.key("in:pushing"), {queued.id: 0})
        everything = list(recalls.every(Filter()))
        assert len(everything) == COUNT
        yield SimpleNamespace(recalls=recalls, all=everything, search=recalls.search, store=store)
    server.kill()


def fits(which: Filter, recall) -> bool:
    """What a filter means, said the slow way."""
    wanted = [
        which.state is None or recall.state is which.state,
        which.accounts is None or recall.account in which.accounts,
        which.customer_id is None or recall.customer_id == which.customer_id,
        which.campaign_id is None or recall.campaign_id == which.campaign_id,
        which.source is None or recall.source == which.source,
        which.route is None or recall.route == which.route,
        which.record is None or recall.record == which.record,
        which.about is None
        or which.about in {recall.customer_id, recall.record}
        or any(recall.recall_telephone.endswith(end) for end in which.telephones or ()),
        which.prefix is None or recall.id.startswith(which.prefix),
        which.about is not None
        or which.telephones is None
        or any(recall.recall_telephone.endswith(end) for end in which.telephones),
        which.created_from is None or recall.created_at >= which.created_from,
        which.created_until is None or recall.created_at < which.created_until,
        which.date_from is None or recall.recall_date >= which.date_from,
        which.date_until is None or recall.recall_date < which.date_until,
    ]
    return all(wanted)


def sometimes(strategy):
    return st.one_of(st.none(), st.none(), strategy)


MOMENTS = st.integers(-31 * 24, 6 * 24).map(lambda hours: ENDING + timedelta(hours=hours))


@st.composite
def filters(draw, recalls):
    about = draw(st.sampled_from(recalls))
    phone = about.recall_telephone
    return Filter(
        state=draw(sometimes(st.sampled_from(State))),
        accounts=draw(sometimes(st.frozensets(st.sampled_from((*ACCOUNTS, "nobody")), max_size=3))),
        customer_id=draw(sometimes(st.sampled_from([about.customer_id, "nobody"]))),
        campaign_id=draw(sometimes(st.sampled_from([*CAMPAIGNS, "99"]))),
        source=draw(sometimes(st.sampled_from([name for name, _ in SOURCES]))),
        route=draw(sometimes(st.sampled_from([about.route, "no route"]))),
        record=draw(sometimes(st.sampled_from([about.record, "no record"]))),
        telephones=draw(
            sometimes(st.sampled_from([(phone,), (phone[-4:],), (phone[-6:], "0000"), ("123",)]))
        ),
        about=draw(sometimes(st.sampled_from([about.customer_id, about.record, phone, "nobody"]))),
        prefix=draw(sometimes(st.sampled_from([about.id, about.id[:10], about.id[:9], "rc_z"]))),
        created_from=draw(sometimes(MOMENTS)),
        created_until=draw(sometimes(MOMENTS)),
        date_from=draw(sometimes(MOMENTS)),
        date_until=draw(sometimes(MOMENTS)),
    )


@given(
    data=st.data(),
    step=st.sampled_from([3, 40, 500]),
    limit=st.sampled_from([1, 7, 1000]),
    oldest_first=st.booleans(),
)
def test_pages_hold_what_fits_once_and_in_order(seeded, data, step, limit, oldest_first):
    which = data.draw(filters(seeded.all))
    expected = [recall.id for recall in seeded.all if fits(which, recall)]
    expected = expected[::-1] if oldest_first else expected
    found, cursor = [], None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(searching, "STEP", step)
        while True:
            page = seeded.search.find(
                which, limit=limit, cursor=cursor, oldest_first=oldest_first, budget_seconds=None
            )
            assert len(page.ids) <= limit
            found += page.ids
            cursor = page.next
            if cursor is None:
                break
        assert seeded.search.count(which, budget_seconds=None) == searching.SearchCount(
            number=len(expected), next=None
        )
    assert found == expected


def test_the_end_of_a_number_that_very_many_have_is_found_all_the_same(store):
    fill(Store(store), 50, states=(State.DEAD,))
    recalls = RecallStore(Store(store))
    for recall in recalls.every(Filter()):
        store.zadd("{ringback}:find:t:0000", {f"{n}|{recall.id}": 0 for n in range(101)})
    ends = {recall.recall_telephone[-4:] for recall in recalls.every(Filter())} | {"0000"}
    assert len(list(recalls.search.every(Filter(telephones=tuple(ends))))) == 50


def test_a_search_whose_budget_is_used_up_says_how_far_it_got_and_goes_on(seeded, monkeypatch):
    monkeypatch.setattr(searching, "STEP", 50)
    seconds = iter(range(1000))
    search = searching.RecallSearch(seeded.store, clock=lambda: float(next(seconds)))
    rare = Filter(route="no route")
    first = search.find(rare, limit=10, budget_seconds=2)
    assert (first.ids, first.next, first.back_to) == ((), seeded.all[99].id, seeded.all[99].created_at)
    rounds, cursor = 1, first.next
    while cursor is not None:
        cursor = search.find(rare, limit=10, cursor=cursor, budget_seconds=2).next
        rounds += 1
    assert rounds == COUNT / 100 + 1


def test_a_count_whose_budget_is_used_up_goes_on_and_is_exact_at_the_end(seeded, monkeypatch):
    monkeypatch.setattr(searching, "STEP", 50)
    seconds = iter(range(1000))
    search = searching.RecallSearch(seeded.store, clock=lambda: float(next(seconds)))
    which = Filter(campaign_id="10")
    counted = search.count(which, budget_seconds=2)
    total, rounds = counted.number, 1
    while counted.next is not None:
        counted = search.count(which, cursor=counted.next, budget_seconds=2)
        total, rounds = total + counted.number, rounds + 1
    assert total == sum(recall.campaign_id == "10" for recall in seeded.all)
    assert rounds > 2


def test_what_indexes_can_tell_is_counted_without_looking_at_recalls(seeded, monkeypatch):
    monkeypatch.setattr(searching.RecallSearch, "_step", lambda *_: pytest.fail("looked at recalls"))
    for state in (None, *State):
        for accounts in (None, frozenset({"lima"}), frozenset({"lima", "bogota"})):
            which = Filter(state=state, accounts=accounts)
            expected = sum(fits(which, recall) for recall in seeded.all)
            assert seeded.search.count(which).number == expected
