"""The list of deliveries: all that came, newest first, bounded, and what became of their events."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from integration.domain.errors import NotFoundError
from integration.domain.rejection import Rejection
from integration.services.parked import ParkedFilter
from integration.store import delivery_log
from integration.store.client import Store, connect
from support import NoRates, as_bytes, hubspot_event, make_services, parked_events
from support.hook_client import AT, HookClient
from support.installation import Installation


def listed(web, **which):
    return web.services.delivery_log.page(web.services.config.sources, **which).items


def refused(source="hubspot", status=401, **more):
    given = {
        "at": datetime.now(UTC),
        "source": source,
        "status": status,
        "method": "POST",
        "size": 12,
        "content_type": "application/json",
        "headers": ("host",),
        "sender": "203.0.113.x",
    }
    return Rejection(**given | more)


def test_every_delivery_is_listed_with_what_its_events_came_to(web):
    mixed = [hubspot_event(1, AT), hubspot_event(2, "soon"), hubspot_event(3, "x", name="email")]
    told = web.post("hubspot", mixed).json
    web.post("forms", {"customer": "c", "phone": "ignore me", "at": AT})
    newest, oldest = listed(web)
    assert (newest.source, dict(newest.counts)["ignored"]) == ("forms", 1)
    assert oldest.delivery == told["delivery"]
    assert {name: oldest.counts[name] for name in ("recalls", "parked", "ignored")} == {
        "recalls": 1, "parked": 1, "ignored": 1,
    }  # fmt: skip


HOUR_MS = 3600 * 1000


@pytest.mark.parametrize("off_ms", [-2 * HOUR_MS, HOUR_MS, None], ids=["short", "long", "for ever"])
def test_a_list_lives_on_from_its_latest_delivery(web, off_ms):
    client, key = web.services.store.client, "{ringback}:arrivals:forms"
    web.post("forms", {"customer": "c1", "phone": "3001112233", "at": AT})
    whole = web.services.admission.retention("forms").listed_days * 24 * HOUR_MS
    assert whole - 60_000 < client.pttl(key) <= whole
    client.persist(key) if off_ms is None else client.pexpire(key, whole + off_ms)
    web.post("forms", {"customer": "c2", "phone": "3001112233", "at": AT})
    assert whole - 60_000 < client.pttl(key) <= whole


def test_the_same_delivery_again_is_listed_as_again(web):
    events = [hubspot_event(1, AT)]
    first, second = web.post("hubspot", events).json, web.post("hubspot", events).json
    assert first == second
    newest, oldest = listed(web)
    assert (newest.again, oldest.again) == (True, False)
    assert newest.delivery == oldest.delivery == first["delivery"]


def test_an_ignored_delivery_is_listed_under_the_id_that_its_sender_was_told(web):
    answer = web.post("hubspot", [hubspot_event(3, "x", name="email")]).json
    assert [one.delivery for one in listed(web)] == [answer["delivery"]]


def test_a_request_by_the_api_is_no_delivery(web):
    Installation(web.services).ask()
    assert web.services.store.client.keys("*arrivals*") == []


def test_what_was_refused_stands_in_the_list_at_its_time(web):
    web.post("hubspot", [hubspot_event(1, AT)])
    web.services.delivery_log.add_rejections(
        [refused(findings=(("stale", {"seconds": "400"}),), proved=True)], days=7
    )
    web.post("forms", {"customer": "c", "phone": "3001112233", "at": AT})
    assert [one.delivery is None for one in listed(web)] == [False, True, False]
    told = listed(web, result="refused")[0]
    assert told.rejection.findings == (("stale", {"seconds": "400"}),)
    assert web.services.delivery_log.rejected(told.place).rejection == told.rejection
    assert web.services.store.client.ttl("{ringback}:refused:hubspot") > 6 * 24 * 3600


@pytest.mark.parametrize(
    "place", ["", "1-1.refused:hubspot", "x.refused:hubspot", "1-1.arrivals:hubspot", "1-1.seen:x"]
)
def test_a_place_where_nothing_was_refused_is_unknown(web, place):
    with pytest.raises(NotFoundError):
        web.services.delivery_log.rejected(place)


def test_pages_give_every_line_once_in_order(web):
    for number in range(7):
        web.post(("hubspot", "forms")[number % 2], _one(number))
        web.services.delivery_log.add_rejections([refused(("forms", "hubspot")[number % 2])], days=1)
    seen, cursor = [], None
    while True:
        page = web.services.delivery_log.page(web.services.config.sources, limit=3, cursor=cursor)
        seen += page.items
        cursor = page.next
        if cursor is None:
            break
    assert [one.place for one in seen] == [one.place for one in listed(web)]
    assert len({one.place for one in seen}) == 14


def _one(number):
    if number % 2 == 0:
        return [hubspot_event(number, AT)]
    return {"customer": str(number), "phone": "3001112233", "at": AT}


def test_lines_of_the_same_moment_in_two_lists_are_given_once(web):
    client = web.services.store.client
    for source in ("forms", "hubspot", "salesforce"):
        for number in range(3):
            client.xadd(
                f"{{ringback}}:arrivals:{source}",
                {"d": f"{source}{number}", "w": "new;1;0;0;0;0;0"},
                id=f"5-{number}",
            )
    seen, cursor = [], None
    for _ in range(9):
        page = web.services.delivery_log.page(web.services.config.sources, limit=1, cursor=cursor)
        seen += [one.delivery for one in page.items]
        cursor = page.next
    assert cursor is None
    assert len(set(seen)) == len(seen) == 9


def test_a_filter_that_fits_nothing_stops_after_a_bounded_look(web, monkeypatch):
    monkeypatch.setattr(delivery_log, "MOST_LOOKED_AT", 3)
    for number in range(6):
        web.post("hubspot", [hubspot_event(number, AT)])
    page = web.services.delivery_log.page(["hubspot"], result="parked")
    assert page.items == ()
    assert page.searched_back_to is not None
    rest = web.services.delivery_log.page(["hubspot"], result="parked", cursor=page.next)
    assert rest.next is None


def test_until_leaves_out_what_came_later(web):
    web.post("hubspot", [hubspot_event(1, AT)])
    assert listed(web, until=datetime.now(UTC) - timedelta(seconds=5)) == ()
    assert len(listed(web, until=datetime.now(UTC) + timedelta(seconds=5))) == 1


def test_old_lines_go_and_the_newest_are_kept_in_bounds(web):
    web.post("hubspot", [hubspot_event(1, AT)])
    for _ in range(delivery_log.REJECTIONS_KEPT + 300):
        web.services.delivery_log.add_rejections([refused()], days=1)
    assert web.services.store.client.xlen("{ringback}:refused:hubspot") <= delivery_log.REJECTIONS_KEPT + 100
    web.services.delivery_log.trim(["hubspot"], before=datetime.now(UTC) + timedelta(minutes=1))
    assert web.services.store.client.xlen("{ringback}:refused:hubspot") < 200


def test_a_kept_delivery_tells_what_became_of_each_event(web):
    events = [hubspot_event(1, AT), hubspot_event(2, "x", name="email"), hubspot_event(3, "soon")]
    told = web.post("hubspot", events).json
    kept = web.services.delivery_log.delivery(told["delivery"])
    assert kept.body == as_bytes(events)
    recall, ignored, parked = kept.results
    assert (recall, ignored) == (told["recalls"][0], "ignored")
    assert parked == parked_events(web.services)[0]["id"]
    assert [one.id for one in web.services.delivery_log.kept_of("hubspot", limit=5)] == [kept.id]


def test_a_kept_delivery_tells_what_a_parked_event_became_later(web, tmp_path, store):
    from support import SOURCES_AND_ROUTES, two_accounts

    told = web.post("forms", {"customer": "c1", "telephone": "3001112233", "at": AT}).json
    assert told["parked"] == 1
    mended = SOURCES_AND_ROUTES.replace("event.phone }}", "event.telephone }}").replace(
        "event.phone !=", "event.telephone !="
    )
    services = make_services(tmp_path, store, two_accounts() + mended)
    remapped = services.parked.remap(ParkedFilter(), datetime.now(UTC))
    assert services.delivery_log.delivery(told["delivery"]).results == remapped.recalls
    assert len(remapped.recalls) == 1


def test_a_delivery_that_is_not_kept_is_unknown(web):
    with pytest.raises(NotFoundError):
        web.services.delivery_log.delivery("dl_0000000000000000")


def test_a_full_store_still_gives_old_answers_though_they_cannot_be_listed(tmp_path, start_valkey):
    server = start_valkey(
        "--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction"
    )
    with server.client() as client:
        web = HookClient(make_services(tmp_path, client), NoRates())
        events = [hubspot_event(1, AT)]
        first = web.post("hubspot", events)
        client.config_set("maxmemory", "1mb")
        again = web.post("hubspot", events)
        assert (again.status_code, again.json) == (202, first.json)
        assert len(listed(web)) == 1
        assert web.post("hubspot", [hubspot_event(2, AT)]).status_code == 503


def test_a_store_that_is_away_is_said_so(tmp_path):
    from integration.domain.errors import StoreAwayError

    away = delivery_log.DeliveryLog(Store(connect("redis://127.0.0.1:9/0", timeout_seconds=0.2)))
    with pytest.raises(StoreAwayError):
        away.add_rejections([refused()], days=1)
