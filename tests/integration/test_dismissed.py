"""Parked events are dismissed with a reason; they stay findable, and can be parked again."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from support import SOURCES_AND_ROUTES, make_services, two_accounts
from support.dashboard_client import Pages, text_of
from support.hook_client import HookClient


@pytest.fixture
def services(tmp_path, store):
    services = make_services(tmp_path, store, two_accounts() + SOURCES_AND_ROUTES)
    services.binding.bind()
    return services


def park(services, number=3):
    for customer in range(number):
        answer = HookClient(services).post(
            "forms", {"customer": f"c{customer}", "phone": "none", "at": "none"}
        )
        assert answer.json["parked"] == 1
    (group,) = services.parked.records.groups()
    assert group.count == number
    return group.id


def test_a_group_is_dismissed_with_a_reason_and_leaves_the_list(services):
    group, pages = park(services), Pages(services)
    answer = pages.post("/parked/dismiss", {"group": group, "reason": " a test\n of the form "})
    assert "3 events were dismissed." in text_of(answer)
    assert "Nothing is parked" in answer.text
    assert (services.parked.records.count(), services.parked.records.groups()) == (0, [])
    text = text_of(pages.get("/parked/dismissed"))
    assert text.count("a test of the form") == 3
    assert text.count("by ana") == 3
    assert '<a href="/parked/dismissed">3 dismissed events</a>' in pages.get("/parked").text


@pytest.mark.parametrize("reason", ["", " \n "])
def test_nothing_is_dismissed_without_a_reason(services, reason):
    group = park(services)
    assert "the reason is missing" in text_of(
        Pages(services).post("/parked/dismiss", {"group": group, "reason": reason})
    )
    assert services.parked.records.count() == 3


def test_a_dismissed_event_is_parked_again_in_its_group(services):
    group, pages = park(services, 1), Pages(services)
    pages.post("/parked/dismiss", {"group": group, "reason": "x"})
    (address,) = re.findall(r'action="(/parked/[^"]+/put-back)"', pages.get("/parked/dismissed").text)
    assert "The event is parked again." in text_of(pages.post(address))
    (found,) = services.parked.records.groups()
    assert (found.id, found.count) == (group, 1)
    assert services.parked.records.dismissed_count() == 0
    assert "Nothing was changed" in text_of(pages.post(address))


def test_a_copy_of_a_dismissed_event_is_known(services):
    form, client = {"customer": "c0", "phone": "none", "at": "none"}, HookClient(services)
    client.post("forms", form, message_id="msg_1")
    (group,) = services.parked.records.groups()
    services.parked.dismiss(group.id, who="ana", reason="x")
    assert client.post("forms", form, message_id="msg_1").json["parked"] == 1
    assert (services.parked.records.count(), services.parked.records.dismissed_count()) == (0, 1)


def test_dismissed_events_are_purged_as_parked_ones_are(services):
    services.parked.dismiss(park(services), who="ana", reason="x")
    assert services.deliveries.purge(before=datetime.now(UTC) - timedelta(hours=1)) == 0
    assert services.deliveries.purge(before=datetime.now(UTC) + timedelta(hours=1)) == 3
    assert services.parked.records.dismissed_count() == 0
    assert not services.store.client.keys("*parked*")


def test_only_operators_dismiss_and_each_dismissal_is_audited(services):
    group, viewer = park(services), Pages(services, "viewer")
    assert "/parked/dismiss" not in viewer.get("/parked").text.replace("/parked/dismissed", "")
    assert viewer.post("/parked/dismiss", {"group": group, "reason": "x"}).status_code == 403
    Pages(services).post("/parked/dismiss", {"group": group, "reason": "x"})
    entries, _ = services.audit.page(limit=1)
    assert (entries[0].who, entries[0].what, entries[0].about) == ("ana", "dismiss parked", (group,))
