"""Previews and remaps in the fork server have the results of the web process, within its limits."""

from __future__ import annotations

import html
import re
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial

import pytest

from integration.domain.delivery import Delivery, Event
from integration.domain.errors import TooMuchWorkError, WorkOverranError
from integration.mapping.planner import (
    CancelWanted,
    Expired,
    Ignored,
    Parked,
    Pending,
    RecallWanted,
    plan_event,
)
from integration.mapping.route_draft import NEW, Draft
from integration.mapping.routes import CompiledRoutes
from integration.services.parked import ParkedFilter
from integration.store.deliveries import StoredEvents
from integration.telemetry.redaction import secrets_of
from integration.web.isolation.fork_server import Limits
from integration.web.isolation.frames import frame_of
from integration.web.isolation.user_queue import MOST_OF_A_USER, Caller
from integration.webhooks.isolated_work.client import SIMPLER, TOO_MUCH, IsolatedWork
from integration.webhooks.isolated_work.plain_values import (
    config_of,
    delivery_of,
    event_of,
    plain_config,
    plain_delivery,
    plain_event,
    plain_plan,
    plan_from_plain,
)
from support import SOURCES_AND_ROUTES, account, hubspot_event, make_services, parked_events, two_accounts
from support.dashboard_client import Pages
from support.hook_client import AT, HookClient
from support.isolated_work_client import HEAVY, HEAVY_SAMPLE, ISOLATED_WORK

NOW = datetime(2026, 11, 30, 15, tzinfo=UTC)
VARS = """
[vars]
sales = "12345"
since = 2026-01-02
until = 2026-01-02T03:04:05-05:00
at = 08:30:00
nested = { numbers = [1, 2.5, true], "odd name" = "ñ" }
"""
MORE_ROUTES = """
[sources.contacts]
kind = "hubspot"
secrets = ["a-secret-of-contacts-1"]
[sources.contacts.lookup]
token = "a-token-of-contacts-1"
properties = ["phone"]

[sources.lists]
kind = "json"
verify = "url-key"
url_key = "a-url-key-of-lists-0123456789"
events = "body.items"

[[routes]]
name = "looked up"
source = "contacts"
account = "bogota"
campaign_id = "10"
customer_id = "{{ event.objectId }}"
recall_telephone = "{{ contact.properties.phone }}"
recall_date = "{{ event.propertyValue }}"
"""
LATE = account("late", token="a-token-of-late-1", more='late = "drop"')
LATE_ROUTE = """
[[routes]]
name = "late"
source = "lists"
account = "late"
campaign_id = "{{ vars.sales }}"
customer_id = "{{ event.customer }}"
recall_telephone = "{{ event.phone }}"
recall_date = "{{ event.at }}"
"""
TEXT = VARS + two_accounts() + LATE + SOURCES_AND_ROUTES + MORE_ROUTES + LATE_ROUTE
HEAVY_ROUTE = SOURCES_AND_ROUTES.replace(
    'customer_id = "{{ event.customer }}"', f'customer_id = "{{{{ event.customer }}}} {HEAVY}"'
)
FORM = {
    "source": "forms",
    "route": "3",
    "name": "form",
    "account": "bogota",
    "action": "recall",
    "campaign_id": "10",
    "customer_id": HEAVY,
    "recall_telephone": "3001112233",
    "recall_date": AT,
    "sample": HEAVY_SAMPLE,
}


@pytest.fixture
def quick():
    """Return previews with a time limit that only heavy templates exceed."""
    previews = IsolatedWork(Limits(seconds=4.0, memory_bytes=256 * 1024 * 1024), plan_seconds=60.0)
    yield previews
    previews.stop()


# --- values ----------------------------------------------------------------------------------


def test_a_configuration_maps_alike_in_the_fork_server(tmp_path, store):
    config = make_services(tmp_path, store, TEXT).config
    copy = config_of(plain_config(config))
    assert copy.vars == config.vars
    assert copy.routes == config.routes
    assert {name: source.kind for name, source in copy.sources.items()} == {
        name: source.kind for name, source in config.sources.items()
    }
    for name, one in config.accounts.items():
        assert copy.accounts[name].model_copy(update={"token": one.token}) == one


def test_no_secret_is_handed_to_the_fork_server(tmp_path, store):
    config = make_services(tmp_path, store, TEXT).config
    handed = frame_of(plain_config(config))[4:].decode()
    assert len(secrets_of(config)) >= 8
    assert [secret for secret in secrets_of(config) if secret in handed] == []


def delivery(source):
    headers = {"x-team": "norte", "content-type": "application/json"}
    return Delivery(
        id="dl_1", source=source, method="POST", url="", headers=headers, body=b"", received_at=NOW
    )


def form(at, **fields):
    return Event(
        data={"customer": "c1", "phone": "3001112233", "at": at, **fields}, dedup_key="key:1", place=2
    )


@pytest.mark.parametrize(
    ("source", "event", "kind"),
    [
        ("forms", form("2026-12-24T10:00:00-05:00", odd="ñ\ud800"), RecallWanted),
        ("hubspot", Event(data=hubspot_event(1, ""), occurred_at=NOW, record_id="1"), CancelWanted),
        ("lists", form("2026-11-01T10:00:00-05:00"), Expired),
        ("forms", form("2026-12-24", phone="ignore me"), Ignored),
        ("forms", form("soon"), Parked),
        ("contacts", Event(data=hubspot_event(1, AT), lookup_id="1"), Pending),
    ],
)
def test_every_outcome_is_the_same_when_it_comes_from_the_fork_server(tmp_path, store, source, event, kind):
    config = make_services(tmp_path, store, TEXT).config
    sent = delivery(source)
    assert delivery_of(plain_delivery(sent)) == sent
    assert event_of(plain_event(event)) == event
    plan = plan_event(CompiledRoutes.of(config), sent, event, NOW)
    assert type(plan) is kind
    assert plan_from_plain(plain_plan(plan), event, config) == plan
    stored = [StoredEvents(id="pk_1", delivery=sent, events=(event,), seen=())]
    assert ISOLATED_WORK.plan(config, Caller("ana"), stored, NOW) == [plan]


# --- limits ----------------------------------------------------------------------------------


def pages_of(services, previews, language="en"):
    pages = Pages(services, "viewer", language=language, isolated=previews)
    pages.get("/studio?source=forms")  # starts the fork server
    return pages


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", ("The preview takes too long", "It was ended after 4 seconds.", "Use simpler templates")),
        (
            "es",
            ("La vista previa tarda demasiado", "Se detuvo a los 4 segundos.", "plantillas más sencillas"),
        ),
    ],
)
def test_a_draft_that_takes_too_long_is_ended_and_the_page_says_so(services, quick, language, words):
    answer = pages_of(services, quick, language).post("/studio/try", FORM, htmx=True)
    assert answer.status_code == 422
    text = html.unescape(re.sub(r"\s+", " ", answer.text))
    assert [each for each in words if each not in text] == []


def test_the_same_templates_in_a_smaller_sample_are_tried(services, quick):
    answer = pages_of(services, quick).post("/studio/try", FORM | {"sample": '{"list": [1, 2]}'}, htmx=True)
    assert answer.status_code == 200


def test_a_comparison_that_takes_too_long_is_ended(services, quick):
    HookClient(services).post(
        "forms", {"customer": "c", "phone": "3001112233", "at": AT, "list": list(range(10_000))}
    )
    answer = Pages(services, "operator", isolated=quick).post("/studio/run", FORM, htmx=True)
    assert answer.status_code == 422


def test_a_user_with_too_many_previews_gets_429_and_others_do_not(services, monkeypatch):
    class Busy(IsolatedWork):
        def try_draft(self, config, caller, draft, value):
            raise TooMuchWorkError("too many")

    answer = Pages(services, "viewer", isolated=Busy()).post("/studio/try", FORM, htmx=True)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "5")
    assert "Too many previews and searches at once" in answer.text
    spanish = Pages(services, "viewer", language="es", isolated=Busy()).post("/studio/try", FORM, htmx=True)
    assert "Demasiadas vistas previas y búsquedas a la vez" in spanish.text


def test_previews_of_a_user_take_turns(services, quick):
    draft = Draft("forms", NEW, {})
    caller = Caller("ana")
    with ExitStack() as stack:
        for _ in range(MOST_OF_A_USER):
            stack.enter_context(quick._server.place(caller))
        with pytest.raises(TooMuchWorkError):
            quick.try_draft(services.config, caller, draft, {})


def test_map_again_keeps_an_event_that_takes_too_long_and_maps_the_others(services, tmp_path, store, quick):
    """One slow event must not keep the others of its step from being mapped."""
    hooks = HookClient(services)
    hooks.post("forms", {"customer": "c1", "telephone": "3001112233", "at": AT, "list": [1]})
    hooks.post("forms", {"customer": "c2", "telephone": "3001112233", "at": AT, "list": list(range(10_000))})
    hooks.post("forms", {"customer": "c3", "telephone": "3001112233", "at": AT, "list": [2]})
    mended = make_services(
        tmp_path,
        store,
        two_accounts()
        + HEAVY_ROUTE.replace("event.phone }}", "event.telephone }}").replace(
            "event.phone !=", "event.telephone !="
        ),
    )
    plan = partial(quick.plan_in_time, mended.config, Caller("ana"))
    remapped = mended.parked.remap(ParkedFilter(), datetime.now(UTC), plan=plan)
    assert (remapped.settled, remapped.still_parked) == (2, 1)
    (parked,) = parked_events(mended)
    assert (parked["field"], parked["found"], parked["allowed"]) == ("route", TOO_MUCH, SIMPLER)


class Overrun(IsolatedWork):
    """Previews that exceed the time limit for every event."""

    tried = 0

    def _planned(self, place, config, stored, now):
        self.tried += 1
        raise WorkOverranError(3.0)


def test_planning_begins_no_event_after_its_time(tmp_path, store):
    config = make_services(tmp_path, store, TEXT).config
    stored = [StoredEvents(id="pk_1", delivery=delivery("forms"), events=(form("soon"),), seen=())] * 9
    previews = Overrun(plan_seconds=0.0)
    first, *rest = previews.plan_in_time(config, Caller("ana"), stored, NOW)
    assert (first.found, rest) == (TOO_MUCH, [None] * 8)
    assert previews.tried == 2, "all at once, then the first one"
    parked = previews.plan(config, Caller("ana"), stored, NOW)
    assert [each.found for each in parked] == [TOO_MUCH] * 9


class SlowEvents(IsolatedWork):
    """Plans in the process of the test. Events of the customer `slow` exceed the time limit."""

    def _planned(self, place, config, stored, now):
        if any(each.events[0].data["customer"] == "slow" for each in stored):
            raise WorkOverranError(3.0)
        routes = CompiledRoutes.of(config)
        return [plan_event(routes, each.delivery, each.events[0], now) for each in stored]


def slow_at_the_head(services, tmp_path, store):
    """Park three slow events and then two others. Return the services that map them, and their `plan`."""
    for customer in ("slow", "slow", "slow", "c4", "c5"):
        HookClient(services).post("forms", {"customer": customer, "telephone": "3001112233", "at": AT})
    mended = make_services(
        tmp_path, store, two_accounts() + SOURCES_AND_ROUTES.replace("event.phone", "event.telephone")
    )
    return mended, partial(SlowEvents(plan_seconds=0.0).plan_in_time, mended.config, Caller("ana"))


def test_a_remap_goes_past_slow_events_which_stay_with_the_reason(services, tmp_path, store):
    mended, plan = slow_at_the_head(services, tmp_path, store)
    remapped = mended.parked.remap(ParkedFilter(), NOW, plan=plan)
    assert (remapped.looked_at, remapped.settled, remapped.still_parked) == (5, 2, 3)
    assert remapped.complete
    assert [each["found"] for each in parked_events(mended)] == [TOO_MUCH] * 3


def test_a_remap_is_not_complete_while_an_event_was_not_looked_at(services, tmp_path, store):
    mended, plan = slow_at_the_head(services, tmp_path, store)
    before = {each["id"]: each["found"] for each in parked_events(mended)}
    step = mended.parked.remap(ParkedFilter(), NOW, seconds=0.0, plan=plan)
    assert (step.looked_at, step.settled, step.still_parked, step.complete) == (1, 0, 1, False)
    after = {each["id"]: each["found"] for each in parked_events(mended)}
    assert [after[id_] for id_ in after if after[id_] != before[id_]] == [TOO_MUCH]
    looked_at = step.looked_at
    while not step.complete:
        step = mended.parked.remap(ParkedFilter(), NOW, cursor=step.next, seconds=0.0, plan=plan)
        looked_at += step.looked_at
    assert looked_at == 5
    assert len(parked_events(mended)) == 3
