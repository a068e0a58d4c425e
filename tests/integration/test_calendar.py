"""The calendar counts what is set in wolkvox and what is queued, by the hour at which wolkvox calls."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from integration.domain.timestamps import iso_seconds
from integration.store.token_queue import PushResult
from support import SOURCES_AND_ROUTES, make_services, two_accounts
from support.dashboard_client import Pages
from support.installation import Installation

NOW = datetime.now(UTC)
REFUSED = PushResult(
    kind="ended",
    state="dead",
    reason="wolkvox rejected the callback; its answer gives the reason",
    passed=True,
)


def accepted(date: datetime | None = None) -> PushResult:
    return PushResult(
        kind="ended",
        state="accepted",
        reason="wolkvox answered 202",
        passed=True,
        date=None if date is None else iso_seconds(date),
    )


@pytest.fixture
def installation(tmp_path, store):
    return Installation(
        make_services(tmp_path, store, two_accounts(more="min_lead_minutes = 0") + SOURCES_AND_ROUTES)
    )


def counts(installation, account="bogota") -> dict[int, tuple[int, int]]:
    """Return queued and accepted recalls by half hour."""
    slots = installation.services.schedule.of([account])
    return {slot.half_hour: (slot.queued, slot.accepted) for slot in slots}


def half_hour(installation, recall_id: str) -> int:
    return int(installation.recall(recall_id).recall_date.timestamp() // 1800)


def test_an_accepted_recall_moves_from_queued_to_set_in_wolkvox(installation):
    slot = half_hour(installation, installation.ask(hours=24))
    assert counts(installation) == {slot: (1, 0)}
    installation.push(accepted())
    assert counts(installation) == {slot: (0, 1)}


def test_a_recall_is_counted_at_the_date_that_wolkvox_was_sent(installation):
    installation.ask(hours=24)
    moved = NOW + timedelta(hours=48)
    recall = installation.push(accepted(moved))
    assert counts(installation) == {int(moved.timestamp() // 1800): (0, 1)}
    day = moved.date().isoformat()
    text = Pages(installation.services).get(f"/calendar?account=bogota&day={day}").text
    address = re.search(r'<a class="accepted" href="(/recalls\?[^"]*)"', text)[1].replace("&amp;", "&")
    assert recall in Pages(installation.services).get(address).text


def test_a_newer_recall_replaces_the_one_that_wolkvox_has(installation):
    installation.ask(hours=24)
    installation.push(accepted())
    later = half_hour(installation, installation.ask(hours=48))
    installation.push(accepted())
    assert counts(installation) == {later: (0, 1)}


def test_wolkvox_keeps_the_earlier_recall_when_it_refuses_the_newer_one(installation):
    first = half_hour(installation, installation.ask(hours=24))
    installation.push(accepted())
    installation.ask(hours=48)
    installation.push(REFUSED)
    assert counts(installation) == {first: (0, 1)}
    third = half_hour(installation, installation.ask(hours=72))
    installation.push(accepted())
    assert counts(installation) == {third: (0, 1)}


def test_a_recall_that_is_admitted_during_the_push_of_an_earlier_one_replaces_it(installation):
    installation.ask(hours=24)
    claim = installation.claim()
    later = half_hour(installation, installation.ask(hours=48))
    installation.finish(claim, accepted())
    installation.push(accepted())
    assert counts(installation) == {later: (0, 1)}


@pytest.mark.parametrize("cancels", [1, 2])
def test_a_recall_after_a_cancellation_that_came_too_late_replaces_the_one_that_wolkvox_has(
    installation, cancels
):
    other = half_hour(installation, installation.ask("c2", hours=96))
    installation.push(accepted())
    first = half_hour(installation, installation.ask(hours=24))
    installation.push(accepted())
    for _ in range(cancels):
        installation.take_back()
    assert counts(installation) == {first: (0, 1), other: (0, 1)}
    again = half_hour(installation, installation.ask(hours=48))
    assert counts(installation) == {first: (0, 1), again: (1, 0), other: (0, 1)}
    installation.push(accepted())
    assert counts(installation) == {again: (0, 1), other: (0, 1)}


def test_a_cancellation_between_takes_back_what_is_queued_and_not_what_wolkvox_has(installation):
    installation.ask(hours=24)
    installation.push(accepted())
    installation.ask(hours=48)
    installation.take_back()
    third = half_hour(installation, installation.ask(hours=72))
    installation.push(accepted())
    assert counts(installation) == {third: (0, 1)}


def test_the_counts_of_past_days_are_removed(installation):
    key = installation.services.store.key("accepted_calendar:bogota")
    old, yesterday = (int((NOW - timedelta(days=days)).timestamp() // 1800) for days in (3, 1))
    installation.services.store.client.hset(key, mapping={f"{old}\x0010": 5, f"{yesterday}\x0010": 4})
    slot = half_hour(installation, installation.ask(hours=24))
    installation.push(accepted())
    assert counts(installation) == {yesterday: (0, 4), slot: (0, 1)}
    assert (
        timedelta(days=2)
        < timedelta(milliseconds=installation.services.store.client.pttl(key))
        < timedelta(days=4)
    )


def test_hours_are_closed_by_the_clock_of_the_account(tmp_path, store):
    """Lima and Bogotá have one clock, Madrid another: open 08:00 there is 02:00 or 01:00 in Bogotá."""
    hours = 'calling_hours = { every_day = ["08:00-09:00"] }\nmin_lead_minutes = 0'
    text = two_accounts(more=hours).replace("America/Lima", "Europe/Madrid").replace("America/Bogota", "UTC")
    services = make_services(tmp_path, store, text)
    first_day = re.search(
        r"<tbody>\s*<tr>.*?</tr>", Pages(services).get("/calendar?account=lima").text, re.DOTALL
    )
    cells = re.findall(r'<td class="heat heat-0([^"]*)"', first_day[0])
    assert [hour for hour, marks in enumerate(cells) if "closed" not in marks] == [8]
    both = re.search(r"<tbody>\s*<tr>.*?</tr>", Pages(services).get("/calendar").text, re.DOTALL)[0]
    open_hours = {
        h
        for h, marks in enumerate(re.findall(r'<td class="heat heat-0([^"]*)"', both))
        if "closed" not in marks
    }
    assert len(open_hours) == 2
    assert 8 in open_hours
