"""Dates and JSON of public bug reports, from the body to the field of the recall.

Each report names its page. The other inputs of a test are of the same kind.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from urllib.parse import urlencode

import pytest

from integration.config.models import Config, Route
from integration.config.source_models import JsonSource
from integration.domain.account import Account
from integration.domain.delivery import Delivery
from integration.domain.errors import ConfigError
from integration.mapping.planner import Parked, RecallWanted, plan_delivery
from integration.mapping.routes import CompiledRoutes
from integration.webhooks.providers import json as json_provider

NOW = datetime(2030, 6, 1, tzinfo=UTC)
EVENT = {"documento": "80123456", "celular": "3001112233"}


def compiled(recall_date="{{ event.fecha }}", base="event", **source):
    account = Account(name="bogota", server="0003", token="t", timezone="America/Bogota")
    settings = JsonSource(name="s", kind="json", verify="url-key", url_key="u" * 20, **source)
    route = Route(
        name="r",
        source="s",
        account="bogota",
        campaign_id="12345",
        customer_id=f"{{{{ {base}.documento }}}}",
        recall_telephone=f"{{{{ {base}.celular }}}}",
        recall_date=recall_date,
    )
    return CompiledRoutes.of(Config(accounts={"bogota": account}, sources={"s": settings}, routes=(route,)))


def outcomes(book, body, content_type="application/json"):
    delivery = Delivery(
        id="d",
        source="s",
        method="POST",
        url="https://x/",
        headers={"content-type": content_type},
        body=body.encode(),
        received_at=NOW,
    )
    return plan_delivery(book, delivery, json_provider.read(delivery, book.config.sources["s"]), NOW)


def requested(outcome):
    assert isinstance(outcome, RecallWanted), outcome
    return outcome.request.requested_date.isoformat()


@pytest.mark.parametrize(
    "form", ["%d/%m/%Y %H:%M %p", "%m/%d/%Y %H:%M:%S%p", "%Y-%m-%d %p", "%H %p %d/%m/%Y"]
)
def test_a_format_with_a_half_day_and_no_hour_of_twelve_is_a_fault(form):
    """https://github.com/python/cpython/issues/94073: 03:30 PM was read as 03:30."""
    with pytest.raises(ConfigError) as caught:
        compiled(f"{{{{ event.fecha | date('{form}') }}}}")
    assert "%p" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "form", "date"),
    [
        ("junio 4, 2030 3:30 pm", "%B %d, %Y %I:%M %p", "2030-06-04T15:30:00-05:00"),
        ("4 de agosto de 2030, 3:30 p. m.", "%d de %B de %Y, %I:%M %p", "2030-08-04T15:30:00-05:00"),
        ("mié., 4-dic-30 15:30 hs", "%a, %d-%b-%y %H:%M", "2030-12-04T15:30:00-05:00"),
        ("4 de setembro de 2030 15h30", "%d de %B de %Y %Hh%M", "2030-09-04T15:30:00-05:00"),
    ],
)
def test_months_are_read_by_their_spanish_and_portuguese_names(text, form, date):
    """https://github.com/scrapinghub/dateparser/issues/433."""
    book = compiled(f"{{{{ event.fecha | date('{form}') }}}}")
    (outcome,) = outcomes(book, json.dumps({**EVENT, "fecha": text}))
    assert requested(outcome) == date


@pytest.mark.parametrize("date", ["3001112233", 3001112233, "2031-06-03T00:00:00Z", "4102444799000"])
def test_a_date_more_than_a_year_ahead_is_parked(date):
    (outcome,) = outcomes(compiled(), json.dumps({**EVENT, "fecha": date}))
    assert isinstance(outcome, Parked)
    assert (outcome.field, outcome.found) == ("recall_date", "a date more than 365 days ahead")


@pytest.mark.parametrize("time", ["15:30:00.000Z", "15:30:00", "15:30"])
def test_a_day_and_a_time_field_of_salesforce_are_on_the_accounts_clock(time):
    book = compiled("{{ event.Dia__c | at(event.Hora__c) }}")
    (outcome,) = outcomes(book, json.dumps({**EVENT, "Dia__c": "2030-06-04", "Hora__c": time}))
    assert requested(outcome) == "2030-06-04T15:30:00-05:00"


FULL = {**EVENT, "fecha": "2030-06-04T15:30:00"}
FORM = "application/x-www-form-urlencoded"


def test_json_in_a_form_field_is_read_by_a_filter():
    """https://github.com/camunda/connectors/pull/4896: Slack posts `payload=…`."""
    book = compiled("{{ (event.payload | fromjson).fecha }}", base="(event.payload | fromjson)")
    (outcome,) = outcomes(book, urlencode({"payload": json.dumps(FULL)}), FORM)
    assert requested(outcome) == "2030-06-04T15:30:00-05:00"


@pytest.mark.parametrize(
    ("events", "body", "content_type", "count"),
    [
        ("body.payload | fromjson", urlencode({"payload": json.dumps(FULL)}), FORM, 1),
        ("body.payload | fromjson", urlencode({"payload": json.dumps([FULL, FULL])}), FORM, 2),
        ("body.rawRequest | fromjson", urlencode({"formID": "1", "rawRequest": json.dumps(FULL)}), FORM, 1),
        ("(body.data | fromjson).rows", json.dumps({"data": json.dumps({"rows": [FULL]})}), "text/json", 1),
    ],
)
def test_events_are_read_of_json_inside_a_text(events, body, content_type, count):
    made = outcomes(compiled(events=events), body, content_type)
    assert [requested(outcome) for outcome in made] == ["2030-06-04T15:30:00-05:00"] * count


def test_events_of_a_text_that_is_no_json_are_parked():
    (outcome,) = outcomes(compiled(events="body.payload | fromjson"), "payload=x", FORM)
    assert isinstance(outcome, Parked)
    assert outcome.field == "event"
