from __future__ import annotations

from datetime import UTC, datetime

import pytest

from integration.config.models import Config, Route
from integration.config.source_models import HubspotLookup, HubspotSource, JsonSource
from integration.domain.account import Account
from integration.domain.delivery import Delivery
from integration.domain.errors import ConfigError, UnmappableError
from integration.mapping.event_context import DeliveryContext, EventContext, Headers
from integration.mapping.expressions import NOT_LOOKED_UP, LookupNeeded
from integration.mapping.routes import (
    LONGEST_FIELD,
    CompiledRoutes,
    faults,
    fill,
    match,
    read_field,
)

ACCOUNT = Account(name="bogota", server="0003", token="t", timezone="America/Bogota")
NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
FIELDS = {
    "campaign_id": "12345",
    "customer_id": "{{ event.id }}",
    "recall_telephone": "{{ event.phone }}",
    "recall_date": "{{ event.at }}",
}
EVENT = {"id": 77, "phone": "+57 300 111 2233", "at": "2026-03-02T15:00:00"}


def route(**changes):
    return Route(**{"name": "callback", "source": "forms", "account": "bogota", **FIELDS, **changes})


def json_source(**changes):
    return JsonSource(name="forms", kind="json", verify="bearer", secrets=("s" * 20,), **changes)


def hubspot(*, lookup):
    reads = HubspotLookup(token="t" * 20, properties=("phone",)) if lookup else None
    return HubspotSource(name="hubspot", kind="hubspot", secrets=("s" * 20,), lookup=reads)


def config(*routes, sources=None, **changes):
    sources = sources or {"forms": json_source()}
    return Config(accounts={"bogota": ACCOUNT}, sources=sources, routes=routes, **changes)


def context(data, source="forms", **changes):
    delivery = Delivery(
        id="d", source=source, method="POST", url="https://x/", headers={}, body=b"", received_at=NOW
    )
    return EventContext(DeliveryContext(config(**changes), delivery, NOW), data, NOT_LOOKED_UP)


def found(book, event, source="forms"):
    return match(book, source, context(event, source))


def filled(event=EVENT, **changes):
    book = CompiledRoutes.of(config(route(**changes)))
    return {field.name: field for field in fill(book.routes["forms"][0], context(event)).fields}


# --- faults ----------------------------------------------------------------------------------


def test_a_good_configuration_has_no_faults():
    assert faults(config(route(), route(action="cancel", recall_telephone=None, recall_date=None)), "f") == ()


@pytest.mark.parametrize("key", ["when", "campaign_id", "customer_id", "recall_telephone", "recall_date"])
def test_each_template_that_does_not_compile_is_named(key):
    broken = "event.x ==" if key == "when" else "{{ event.x"
    (fault,) = faults(config(route(), route(name="second", **{key: broken})), "ringback.toml")
    assert (fault.file, fault.key) == ("ringback.toml", f'routes[2] ("second").{key}')
    assert "line 1" in fault.found


def test_all_faults_are_named_at_once():
    made = config(route(when="nope", customer_id="{{ nope }}"), route(recall_date="{{ }}"))
    assert [fault.key for fault in faults(made, "f")] == [
        'routes[1] ("callback").when',
        'routes[1] ("callback").customer_id',
        'routes[2] ("callback").recall_date',
    ]


def test_a_word_that_is_not_in_vars_is_named_before_it_parks_an_event():
    made = config(route(campaign_id="{{ vars.vntas }}", when="vars.x | default(false)"), vars={"ventas": "1"})
    (fault,) = faults(made, "f")
    assert (fault.key, fault.found) == (
        'routes[1] ("callback").campaign_id',
        "vars.vntas, which is not in [vars]",
    )
    assert "ventas" in fault.allowed


@pytest.mark.parametrize("key", ["recall_telephone", "recall_date"])
def test_a_recall_route_needs_a_number_and_a_date(key):
    (fault,) = faults(config(route(**{key: None})), "f")
    assert (fault.key, fault.found) == (f'routes[1] ("callback").{key}', "missing")


@pytest.mark.parametrize(
    ("key", "template"),
    [
        ("events", "body.items +"),
        ("events", "event.items"),
        ("dedup_key", "{{ event.id"),
        ("dedup_key", "{{ vars.x }}"),
        ("event_time", "{{ body.at }}"),
    ],
)
def test_the_templates_of_a_source_are_compiled_too(key, template):
    (fault,) = faults(config(sources={"forms": json_source(**{key: template})}), "f")
    assert fault.key == f"sources.forms.{key}"


def test_a_contact_may_be_named_only_where_the_source_looks_it_up():
    uses = route(source="hubspot", customer_id="{{ contact.properties.id }}")
    assert faults(config(uses, sources={"hubspot": hubspot(lookup=True)}), "f") == ()
    (fault,) = faults(config(uses, sources={"hubspot": hubspot(lookup=False)}), "f")
    assert "'contact'" in fault.found


def test_a_book_is_not_made_of_a_faulty_configuration():
    with pytest.raises(ConfigError) as caught:
        CompiledRoutes.of(config(route(when="nope")))
    assert len(caught.value.faults) == 1


# --- which route -----------------------------------------------------------------------------


def test_the_first_route_that_matches_takes_the_event():
    book = CompiledRoutes.of(
        config(route(name="a", when="event.kind == 'a'"), route(name="b"), route(name="c"))
    )
    assert found(book, {"kind": "a"}).route.route.name == "a"
    assert found(book, {"kind": "z"}).route.route.name == "b"


def test_each_route_that_was_looked_at_says_why():
    book = CompiledRoutes.of(config(route(name="a", when="event.x"), route(name="b", when="not event.x")))
    assert [(each.route, each.matched, each.why) for each in found(book, {}).considered] == [
        ("a", False, "its `when` is false"),
        ("b", True, "its `when` is true"),
    ]


def test_no_route_takes_an_event_that_none_wants():
    book = CompiledRoutes.of(config(route(when="event.x")))
    assert found(book, {}).route is None
    assert found(book, {}, source="unknown").route is None


def test_routes_of_another_source_are_not_looked_at():
    sources = {"forms": json_source(), "hubspot": hubspot(lookup=False)}
    book = CompiledRoutes.of(config(route(source="hubspot"), sources=sources))
    assert found(book, {}).considered == ()


def test_a_when_that_fails_ends_the_search_with_its_fault():
    book = CompiledRoutes.of(config(route(name="a", when="event.x < 5"), route(name="b")))
    result = found(book, {"x": "seven"})
    assert (result.route.route.name, result.fault.field) == ("a", "when")
    assert "seven" not in str(result.fault)


def test_a_when_that_reads_the_contact_asks_for_it():
    made = config(route(source="hubspot", when="contact.vip"), sources={"hubspot": hubspot(lookup=True)})
    with pytest.raises(LookupNeeded):
        found(CompiledRoutes.of(made), {}, source="hubspot")


# --- fields ----------------------------------------------------------------------------------


def test_fields_are_rendered_and_read():
    made = filled()
    assert {name: field.value for name, field in made.items() if name != "recall_date"} == {
        "campaign_id": "12345",
        "customer_id": "77",
        "recall_telephone": "3001112233",
    }
    assert made["recall_date"].value.isoformat() == "2026-03-02T15:00:00-05:00"
    assert (made["recall_telephone"].template, made["recall_telephone"].rendered) == (
        "{{ event.phone }}",
        "+57 300 111 2233",
    )


def test_every_bad_field_holds_its_own_fault():
    made = filled({"id": " ", "phone": "123", "at": "soon"})
    assert {name: field.fault.field for name, field in made.items() if field.fault} == {
        "customer_id": "customer_id",
        "recall_telephone": "recall_telephone",
        "recall_date": "recall_date",
    }
    assert made["recall_telephone"].rendered == "123"
    assert made["customer_id"].rendered is None


def test_a_cancel_route_has_no_number_and_no_date():
    assert set(filled(action="cancel", recall_telephone=None, recall_date=None)) == {
        "campaign_id",
        "customer_id",
    }


def test_a_date_keeps_the_type_that_a_filter_gave_it():
    made = filled(
        {**EVENT, "at": "03/02/2026 09:30 PM"}, recall_date="{{ event.at | date('%m/%d/%Y %I:%M %p') }}"
    )
    assert made["recall_date"].value.isoformat() == "2026-03-02T21:30:00-05:00"


def test_a_date_may_be_put_together_of_several_holes():
    event = {**EVENT, "day": "1772409600000", "time": "09:30"}
    made = filled(event, recall_date="{{ event.day | day }} {{ event.time }}")
    assert made["recall_date"].value.isoformat() == "2026-03-02T09:30:00-05:00"


def test_a_date_further_than_the_account_allows_is_a_fault():
    assert "365 days ahead" in filled({**EVENT, "at": 3001112233})["recall_date"].fault.found


def test_a_fields_repr_holds_no_customer_data():
    assert "300" not in repr(filled()["recall_telephone"])


@pytest.mark.parametrize("name", ["campaign_id", "customer_id"])
@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("", "blank"),
        (" \t ", "blank"),
        (None, "null"),
        (True, "true or false"),
        ([], "a list"),
        ({}, "an object"),
        ("x" * (LONGEST_FIELD + 1), "257 characters"),
        ("a\x00b", "control"),
        ("a\nb", "control"),
        ("a\u2028b", "control"),
        ("a\ud800b", "control"),
        (1e300, "too large"),
        (10**60, "too many digits"),
    ],
)
def test_an_id_is_one_line_of_text_that_is_not_blank(name, value, words):
    with pytest.raises(UnmappableError, match=words) as caught:
        read_field(name, value, ACCOUNT, NOW)
    assert caught.value.field == name


@pytest.mark.parametrize(
    ("value", "text"),
    [(" a b ", "a b"), (77, "77"), (77.0, "77"), ("x" * LONGEST_FIELD, "x" * LONGEST_FIELD)],
)
def test_an_id_is_stripped_and_a_number_is_a_text(value, text):
    assert read_field("customer_id", value, ACCOUNT, NOW) == text


def test_a_number_is_written_in_the_accounts_dial_format():
    account = ACCOUNT.model_copy(update={"dial_format": "9{e164}"})
    assert read_field("recall_telephone", 3001112233, account, NOW) == "9573001112233"


# --- what templates are told -----------------------------------------------------------------

SECRET = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "x-hubspot-signature",
    "x-hubspot-signature-v3",
    "webhook-signature",
    "x-hub-signature-256",
    "x-api-key",
    "x-auth-token",
    "x-shop-secret",
]


@pytest.mark.parametrize("name", SECRET)
def test_a_header_that_proves_the_sender_is_not_told(name):
    headers = Headers({name: "x", "user-agent": "crm"})
    assert dict(headers) == {"user-agent": "crm"}
    assert headers.get(name.title()) is None


def test_the_header_that_the_source_names_as_its_secret_is_not_told():
    source = JsonSource(name="forms", kind="json", verify="header", header="X-Partner", secrets=("s" * 20,))
    assert "x-partner" not in Headers({"x-partner": "s"}, source)


def test_headers_are_found_in_any_case():
    headers = Headers({"x-team": "red"})
    assert headers["X-Team"] == "red"
    assert "X-TEAM" in headers
    assert len(headers) == 1


def test_times_are_told_on_the_accounts_clock():
    names = context({}, vars={"a": 1}).of(ACCOUNT).names
    assert names["now"].hour == names["delivery"]["received_at"].hour == 10
    assert (names["vars"], names["delivery"]["source"]) == ({"a": 1}, "forms")
