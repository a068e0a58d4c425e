from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integration.config.models import Config, Route
from integration.config.source_models import HubspotLookup, HubspotSource, JsonSource
from integration.domain.account import Account
from integration.domain.delivery import Delivery, Event
from integration.domain.errors import UnmappableError
from integration.domain.recall import RecallRequest
from integration.mapping.planner import (
    BadFieldsError,
    CancelWanted,
    Expired,
    Ignored,
    Parked,
    Pending,
    RecallWanted,
    explain_event,
    plan_delivery,
    plan_event,
    request_from_fields,
)
from integration.mapping.routes import CompiledRoutes

ACCOUNT = Account(name="bogota", server="0003", token="t", timezone="America/Bogota")
NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)  # 10:00 in Bogotá, a Monday
GOOD = {"id": 77, "phone": "+57 300 111 2233", "at": "2026-03-02T15:00:00"}


def route(**changes):
    fields = {
        "name": "callback",
        "source": "crm",
        "account": "bogota",
        "when": "event.at",
        "campaign_id": "{{ vars.sales }}",
        "customer_id": "{{ event.id }}",
        "recall_telephone": "{{ event.phone }}",
        "recall_date": "{{ event.at }}",
        **changes,
    }
    return Route(**fields)


CANCEL = route(name="cancel", when="event.gone", action="cancel", recall_telephone=None, recall_date=None)


def compiled_routes(*routes, account=ACCOUNT, event_time=None):
    source = JsonSource(name="crm", kind="json", verify="bearer", secrets=("s" * 20,), event_time=event_time)
    return CompiledRoutes.of(
        Config(
            accounts={"bogota": account},
            vars={"sales": "12345"},
            sources={"crm": source},
            routes=routes or (route(), CANCEL),
        )
    )


def hubspot_routes(**changes):
    lookup = HubspotLookup(token="t" * 20, properties=("phone",))
    source = HubspotSource(name="crm", kind="hubspot", secrets=("s" * 20,), lookup=lookup)
    routes = (route(recall_telephone="{{ contact.properties.phone }}", **changes), CANCEL)
    return CompiledRoutes.of(
        Config(accounts={"bogota": ACCOUNT}, vars={"sales": "1"}, sources={"crm": source}, routes=routes)
    )


def delivery(**changes):
    fields = {
        "id": "d1",
        "source": "crm",
        "method": "POST",
        "url": "https://hooks.example.com/hooks/crm",
        "headers": {"authorization": "Bearer s", "x-team": "red"},
        "body": b"",
        "received_at": NOW,
        **changes,
    }
    return Delivery(**fields)


def plan(data, *, with_routes=None, now=NOW, contact=None, **event):
    told = {} if contact is None else {"looked_up": {"contact": contact}}
    return plan_event(with_routes or compiled_routes(), delivery(), Event(data=data, **event), now, **told)


# --- outcomes --------------------------------------------------------------------------------


def test_an_event_that_a_route_takes_is_a_recall():
    outcome = plan(GOOD)
    assert isinstance(outcome, RecallWanted)
    request = outcome.request
    assert (request.account, request.source, request.route) == ("bogota", "crm", "callback")
    assert (request.campaign_id, request.customer_id, request.recall_telephone) == (
        "12345",
        "77",
        "3001112233",
    )
    assert (
        request.recall_date.isoformat() == request.requested_date.isoformat() == "2026-03-02T15:00:00-05:00"
    )
    assert outcome.notes == ()


def test_the_asked_date_is_kept_beside_the_one_that_is_sent():
    outcome = plan({**GOOD, "at": "2026-03-02T10:05:00"})
    assert outcome.request.requested_date.isoformat() == "2026-03-02T10:05:00-05:00"
    assert outcome.request.recall_date.isoformat() == "2026-03-02T10:30:00-05:00"
    assert outcome.notes


def test_an_event_of_a_cancel_route_takes_back():
    outcome = plan({"id": 77, "gone": True})
    assert isinstance(outcome, CancelWanted)
    assert (outcome.request.campaign_id, outcome.request.customer_id) == ("12345", "77")
    assert (outcome.request.account, outcome.request.route) == ("bogota", "cancel")


def test_an_event_that_no_route_takes_is_ignored():
    assert isinstance(plan({"id": 77}), Ignored)


def test_an_event_that_cannot_be_mapped_is_parked_with_its_place():
    outcome = plan({**GOOD, "phone": None})
    assert isinstance(outcome, Parked)
    assert (outcome.route, outcome.account, outcome.field) == ("callback", "bogota", "recall_telephone")
    assert outcome.found == "event.phone, which is null"
    assert outcome.allowed


@pytest.mark.parametrize("data", [None, 5, "text", [], True])
def test_an_event_that_is_no_object_is_parked(data):
    outcome = plan(data)
    assert isinstance(outcome, Parked)
    assert (outcome.route, outcome.field, outcome.allowed) == (None, "event", "an object")


def test_a_when_that_fails_parks_the_event():
    outcome = plan({"at": "x"}, with_routes=compiled_routes(route(when="event.at < 5")))
    assert isinstance(outcome, Parked)
    assert (outcome.field, outcome.route) == ("when", "callback")


def test_a_past_date_that_is_dropped_is_expired_and_keeps_the_asked_date():
    account = ACCOUNT.model_copy(update={"late": "drop"})
    outcome = plan({**GOOD, "at": "2026-03-01T10:00:00"}, with_routes=compiled_routes(account=account))
    assert isinstance(outcome, Expired)
    assert outcome.request.recall_date == outcome.request.requested_date
    assert "late" in outcome.reason


def test_one_bad_event_harms_none_of_the_others():
    events = [Event(data=GOOD)] * 50 + [Event(data=5)] + [Event(data=GOOD)] * 49
    outcomes = plan_delivery(compiled_routes(), delivery(), events, NOW)
    assert [type(outcome) for outcome in outcomes] == [RecallWanted] * 50 + [Parked] + [RecallWanted] * 49
    assert all(outcome.event is event for outcome, event in zip(outcomes, events, strict=True))


def test_outcomes_hold_no_customer_data_in_their_repr():
    outcome = plan(GOOD)
    assert "300" not in repr(outcome)
    assert "300" not in repr(plan({**GOOD, "at": "Call 3001112233"}))


# --- lookups ---------------------------------------------------------------------------------

CONTACT = {"properties": {"phone": "3001112233"}}


def test_an_event_whose_mapping_reads_the_contact_waits_for_it():
    assert isinstance(plan(GOOD, with_routes=hubspot_routes(), lookup_id="77"), Pending)


def test_an_event_with_its_contact_is_a_recall():
    outcome = plan(GOOD, with_routes=hubspot_routes(), lookup_id="77", contact=CONTACT)
    assert outcome.request.recall_telephone == "3001112233"


def test_a_route_that_does_not_read_the_contact_does_not_wait():
    outcome = plan({"id": 77, "gone": 1}, with_routes=hubspot_routes(), lookup_id="77")
    assert isinstance(outcome, CancelWanted)


def test_a_when_that_reads_the_contact_waits_for_it():
    assert isinstance(plan(GOOD, with_routes=hubspot_routes(when="contact.vip"), lookup_id="77"), Pending)


def test_an_event_without_a_record_to_look_up_never_waits():
    outcome = plan(GOOD, with_routes=hubspot_routes())
    assert isinstance(outcome, Parked)
    assert outcome.field == "recall_telephone"


def test_a_contact_that_does_not_exist_parks_the_event():
    outcome = plan_event(hubspot_routes(), delivery(), Event(data=GOOD, lookup_id="77"), NOW, {})
    assert isinstance(outcome, Parked)


# --- versions --------------------------------------------------------------------------------


def version(*, event_time=None, data=GOOD, **event):
    return plan(data, with_routes=compiled_routes(event_time=event_time), **event).request.version


def test_the_version_is_the_crms_own_time():
    occurred = NOW - timedelta(hours=3, microseconds=-5)
    assert version(occurred_at=occurred, event_time="{{ event.at }}") == occurred


def test_without_it_the_version_is_the_sources_event_time_to_the_millisecond():
    made = version(event_time="{{ event.t }}", data={**GOOD, "t": 1772460000123})
    assert made == datetime(2026, 3, 2, 14, 0, 0, 123000, tzinfo=UTC)


def test_an_event_time_without_a_zone_is_on_the_accounts_clock():
    made = version(event_time="{{ event.t }}", data={**GOOD, "t": "2026-03-02 09:00:00"})
    assert made == datetime(2026, 3, 2, 14, 0, tzinfo=UTC)


def test_an_event_time_that_is_a_day_is_its_midnight():
    made = version(event_time="{{ event.t }}", data={**GOOD, "t": "2026-03-02"})
    assert made == datetime(2026, 3, 2, 5, 0, tzinfo=UTC)


@pytest.mark.parametrize("told", ["soon", None, "", [], 5])
def test_an_event_time_that_cannot_be_read_is_the_arrival(told):
    assert version(event_time="{{ event.t }}", data={**GOOD, "t": told}) == NOW


def test_without_any_time_the_version_is_the_arrival():
    assert version() == NOW


def test_a_version_is_never_later_than_arrival_and_five_minutes():
    latest = NOW + timedelta(minutes=5)
    assert version(occurred_at=latest) == latest
    assert version(occurred_at=latest + timedelta(seconds=1)) == latest
    assert version(event_time="{{ event.t }}", data={**GOOD, "t": "2099-01-01T00:00:00Z"}) == latest


def test_a_version_is_in_utc():
    assert version(occurred_at=NOW.astimezone(ACCOUNT.timezone)).tzinfo is UTC


# --- what templates see ----------------------------------------------------------------------


def test_templates_see_headers_but_none_that_prove_the_sender():
    taken = compiled_routes(route(customer_id="{{ delivery.headers['X-Team'] }}-{{ delivery.source }}"))
    assert plan(GOOD, with_routes=taken).request.customer_id == "red-crm"
    refused = compiled_routes(route(customer_id="{{ delivery.headers.authorization }}"))
    assert plan(GOOD, with_routes=refused).field == "customer_id"


def test_now_may_be_the_start_of_a_date():
    outcome = plan(GOOD, with_routes=compiled_routes(route(recall_date="{{ now | plus(hours=2) }}")))
    assert outcome.request.recall_date.isoformat() == "2026-03-02T12:00:00-05:00"


# --- explaining ------------------------------------------------------------------------------


def explain(data, with_routes=None, **event):
    return explain_event(with_routes or compiled_routes(), delivery(), Event(data=data, **event), NOW)


def test_every_route_of_the_source_says_why_it_took_the_event_or_not():
    routes = (route(name="a", when="event.x"), route(name="b"), route(name="c"))
    explained = explain(GOOD, compiled_routes(*routes))
    assert [(each.route, each.matched, each.why) for each in explained.considered] == [
        ("a", False, "its `when` is false"),
        ("b", True, "its `when` is true"),
        ("c", False, "not reached: an earlier route decided"),
    ]


def test_each_field_is_shown_before_and_after():
    shown = {each.name: each for each in explain(GOOD).fields}
    telephone = shown["recall_telephone"]
    assert (telephone.template, telephone.rendered, telephone.value) == (
        "{{ event.phone }}",
        "+57 300 111 2233",
        "3001112233",
    )


def test_a_parked_event_shows_all_its_bad_fields():
    explained = explain({**GOOD, "phone": "1", "id": None})
    assert {each.name for each in explained.fields if each.fault} == {"customer_id", "recall_telephone"}
    assert explained.plan.field == "customer_id"


def test_the_schedule_says_why_the_dates_differ():
    assert "min_lead_minutes" in explain({**GOOD, "at": "2026-03-02T10:00:00"}).notes[0]


@pytest.mark.parametrize("data", [GOOD, {}, 5, {"at": "x"}, {"gone": 1}, {**GOOD, "phone": []}])
def test_explaining_and_planning_come_to_the_same_outcome(data):
    assert explain(data).plan == plan(data)


# --- requests of /v1 -------------------------------------------------------------------------

GIVEN = {
    "campaign_id": "12345",
    "customer_id": 77,
    "recall_telephone": "300 111 2233",
    "recall_date": "2026-03-02T15:00:00",
}


def requested(account=ACCOUNT, **changes):
    return request_from_fields(account, **{**GIVEN, **changes}, now=NOW, source="api:zapier")


def test_fields_of_a_caller_make_the_same_request():
    assert requested() == RecallRequest(
        account="bogota",
        campaign_id="12345",
        customer_id="77",
        recall_telephone="3001112233",
        recall_date=datetime(2026, 3, 2, 20, tzinfo=UTC),
        requested_date=datetime(2026, 3, 2, 20, tzinfo=UTC),
        version=NOW,
        source="api:zapier",
        route=None,
    )


@pytest.mark.parametrize("name", list(GIVEN))
@pytest.mark.parametrize("value", [None, "", " ", [], {}, True, "\x00"])
def test_each_bad_field_is_named(name, value):
    with pytest.raises(UnmappableError) as caught:
        requested(**{name: value})
    assert caught.value.field == name


def test_all_bad_fields_are_named_at_once():
    with pytest.raises(BadFieldsError) as caught:
        requested(customer_id=None, recall_telephone="1", recall_date="soon")
    assert [error.field for error in caught.value.errors] == [
        "customer_id",
        "recall_telephone",
        "recall_date",
    ]


def test_a_request_that_the_schedule_drops_is_expired():
    account = ACCOUNT.model_copy(update={"late": "drop"})
    outcome = requested(account, recall_date="2026-03-01T10:00:00")
    assert isinstance(outcome, Expired)
    assert (outcome.event, outcome.request.customer_id) == (None, "77")


# --- whatever comes --------------------------------------------------------------------------

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
json_values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "at", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)
events = st.dictionaries(
    st.sampled_from(["id", "phone", "at", "gone"]), json_values | st.just("+573001112233")
)
BUSY = compiled_routes(
    route(when="event.at and event.x != 'n'", recall_date="{{ event.at | default(now) }}"),
    route(name="typed", when="event.id > 3", recall_date="{{ event.at | date('%d/%m/%Y') }}"),
    CANCEL,
    event_time="{{ event.at }}",
)


@given(data=events | json_values)
def test_every_event_has_exactly_one_outcome_and_never_raises(data):
    outcome = plan_event(BUSY, delivery(), Event(data=data), NOW)
    assert isinstance(outcome, RecallWanted | CancelWanted | Ignored | Parked | Expired)
    if isinstance(outcome, RecallWanted):
        sent = outcome.request
        assert sent.customer_id.strip()
        assert sent.recall_telephone.isdigit()
        assert sent.recall_date.astimezone(UTC) >= NOW + timedelta(minutes=30)
        assert sent.version <= NOW + timedelta(minutes=5)


@given(values=st.fixed_dictionaries({name: json_values | st.just(value) for name, value in GIVEN.items()}))
def test_every_request_is_made_or_its_bad_fields_are_named(values):
    try:
        made = requested(**values)
    except BadFieldsError as error:
        assert {each.field for each in error.errors} <= set(GIVEN)  # noqa: PT017  (half of the rule)
        return
    assert isinstance(made, RecallRequest)
