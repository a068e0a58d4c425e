"""HubSpot: signatures, events and responses."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest

from integration.domain.delivery import Answer, Delivery, ErrorAnswer
from integration.domain.errors import NotVerifiedError, UnreadableError
from integration.webhooks.providers import SOURCES
from support.provider_deliveries import ANSWER, hubspot_delivery, read_hubspot
from support.source_cases import (
    CASES,
    LOOKUP,
    NOW,
    hubspot,
)


def hubspot_refuses(delivery: Delivery, **kind_settings) -> NotVerifiedError:
    with pytest.raises(NotVerifiedError) as caught:
        SOURCES["hubspot"].verify(delivery, hubspot(**kind_settings), NOW)
    return caught.value


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_an_older_hubspot_signature_is_refused_unless_it_is_named(version):
    delivery = hubspot_delivery(b"[]", hubspot(signatures=(version,)))
    assert hubspot_refuses(delivery).check == "signature v3"
    other = {"v1": "v2", "v2": "v1"}[version]
    assert "not in `signatures`" in hubspot_refuses(delivery, signatures=(other,)).why
    SOURCES["hubspot"].verify(delivery, hubspot(signatures=(version,)), NOW)


def test_an_older_hubspot_signature_is_ignored_if_v3_is_present():
    everything = ("v1", "v2", "v3")
    for version in ("v1", "v2"):
        good = hubspot_delivery(b"[]", hubspot(signatures=(version,)))
        forged = {
            **good.headers,
            "x-hubspot-signature-v3": "AAAA",
            "x-hubspot-request-timestamp": "1772374530250",
        }
        assert hubspot_refuses(replace(good, headers=forged), signatures=everything).check == "signature v3"
        empty = {**good.headers, "x-hubspot-signature-v3": ""}
        assert hubspot_refuses(replace(good, headers=empty), signatures=everything).check == "signature v3"


def test_hubspots_v3_is_accepted_if_only_older_versions_are_in_signatures():
    SOURCES["hubspot"].verify(hubspot_delivery(b"[]"), hubspot(signatures=("v2",)), NOW)


def test_hubspots_v3_covers_method_and_address():
    delivery = hubspot_delivery(b"[]")
    hubspot_refuses(replace(delivery, method="PUT"))
    hubspot_refuses(replace(delivery, url=delivery.url + "?a=1"))
    hubspot_refuses(replace(delivery, url=delivery.url.replace("https", "http")))


@pytest.mark.parametrize(
    "timestamp",
    ["", "soon", "-1", "1.5", "١٢٣", "9" * 15, "9" * 16, "9" * 5000, "1772374530", "0"],
    ids=ascii,
)
def test_an_invalid_hubspot_timestamp_is_refused(timestamp):
    delivery = hubspot_delivery(b"[]")
    headers = {**delivery.headers, "x-hubspot-request-timestamp": timestamp}
    hubspot_refuses(replace(delivery, headers=headers))


def test_hubspot_fields_are_kept_as_sent_and_the_type_gets_its_other_name():
    (event,) = read_hubspot(b'[{"eventId":1,"subscriptionType":"contact.creation","anything":{"a":[1]}}]')
    assert event.data == {
        "eventId": 1,
        "subscriptionType": "contact.creation",
        "eventType": "contact.creation",
        "anything": {"a": [1]},
    }


def test_hubspots_two_type_fields_are_unchanged_if_both_are_sent():
    (event,) = read_hubspot(b'[{"subscriptionType":"contact.creation","eventType":"x"}]')
    assert event.data["eventType"] == "x"


def test_the_number_of_attempts_does_not_make_another_hubspot_event():
    body = b'[{"eventId":1,"occurredAt":2,"objectId":3,"attemptNumber":%d}]'
    assert read_hubspot(body % 0)[0].dedup_key == read_hubspot(body % 7)[0].dedup_key


@pytest.mark.parametrize(
    "name",
    [
        "appId",
        "portalId",
        "subscriptionId",
        "eventId",
        "objectId",
        "propertyName",
        "occurredAt",
        "toObjectId",
    ],
)
def test_each_part_of_a_hubspot_events_identity_counts(name):
    event = dict.fromkeys(("appId", "portalId", "subscriptionId", "eventId", "objectId", "propertyName"), 1)
    event |= {"occurredAt": 1, "toObjectId": 1}
    keys = {read_hubspot(orjson.dumps([e]))[0].dedup_key for e in (event, {**event, name: 2})}
    assert len(keys) == 2


@pytest.mark.parametrize("event_id", ["null", '""', "true", "{}", "[1]"])
def test_a_hubspot_event_without_an_id_has_no_key(event_id):
    assert read_hubspot(b'[{"eventId":%s,"objectId":1}]' % event_id.encode())[0].dedup_key is None


@pytest.mark.parametrize("at", ["null", "true", '"1772374500000"', "1e300", "99999999999999999", "{}"])
def test_an_invalid_hubspot_time_is_left_out(at):
    assert read_hubspot(b'[{"eventId":1,"occurredAt":%s}]' % at.encode())[0].occurred_at is None


@pytest.mark.parametrize(
    ("event", "lookup_id"),
    [
        ({"subscriptionType": "contact.propertyChange", "objectId": 7}, "7"),
        ({"eventType": "contact.creation", "objectId": "7"}, "7"),
        ({"subscriptionType": "object.creation", "objectTypeId": "0-1", "objectId": 7}, "7"),
        ({"subscriptionType": "object.creation", "objectTypeId": "0-2", "objectId": 7}, "companies/7"),
        ({"subscriptionType": "object.creation", "objectTypeId": "2-345", "objectId": 7}, "2-345/7"),
        ({"subscriptionType": "object.creation", "objectId": 7}, None),
        ({"subscriptionType": "deal.creation", "objectTypeId": "0-1", "objectId": 7}, "deals/7"),
        ({"subscriptionType": "object.creation", "objectTypeId": "../2-345", "objectId": 7}, None),
        ({"subscriptionType": "object.creation", "objectTypeId": "2-345\n", "objectId": 7}, None),
        ({"subscriptionType": "ticket.propertyChange", "objectId": 7}, "tickets/7"),
        ({"subscriptionType": "conversation.creation", "objectId": 7}, None),
        ({"subscriptionType": "contacts.creation", "objectId": 7}, None),
        ({"subscriptionType": "contact.creation"}, None),
        ({"subscriptionType": ["contact.creation"], "objectId": 7}, None),
        ({"objectId": 7}, None),
    ],
)
def test_an_event_names_its_record_to_look_up(event, lookup_id):
    assert read_hubspot(orjson.dumps([event]), lookup=LOOKUP)[0].lookup_id == lookup_id
    assert read_hubspot(orjson.dumps([event]))[0].lookup_id is None


@pytest.mark.parametrize("name", ["deal", "deals", "0-3"])
def test_a_lookup_of_one_object_leaves_events_of_others(name):
    lookup = {**LOOKUP, "object": name}
    events = [{"subscriptionType": f"{kind}.creation", "objectId": 7} for kind in ("deal", "contact")]
    read = read_hubspot(orjson.dumps(events), lookup=lookup)
    assert [event.lookup_id for event in read] == ["deals/7", None]


@pytest.mark.parametrize("body", [b'"text"', b"7", b"null", b"true"])
def test_a_hubspot_body_that_is_a_single_value_is_unreadable(body):
    with pytest.raises(UnreadableError):
        read_hubspot(body)


@pytest.mark.parametrize("callback_id", ['""', "null", "false", "[]"])
def test_a_hubspot_object_without_a_usable_callback_id_is_a_workflow_body(callback_id):
    (event,) = read_hubspot(b'{"callbackId":%s}' % callback_id.encode())
    assert event.dedup_key is None


ACKNOWLEDGED = {"delivery": "d-1", "recalls": ["r-1", "r-2"], "ignored": 3, "parked": 1}


def acknowledged(case_id: str, answer: Answer):
    case = next(case for case in CASES if case.id == case_id)
    reply = case.kind.acknowledge(case.delivery(), case.settings, answer)
    return reply.status, reply.content_type, orjson.loads(reply.body)


def test_a_refusal_without_detail_has_none():
    case = next(case for case in CASES if case.id == "json-typeform")
    reply = case.kind.acknowledge(case.delivery(), case.settings, ErrorAnswer(status=404, title="Unknown"))
    assert orjson.loads(reply.body) == {"type": "about:blank", "title": "Unknown", "status": 404}
    assert (reply.content_type, reply.headers) == ("application/problem+json", {})


def test_an_answer_is_202_with_ids_and_counts():
    assert acknowledged("json-typeform", ANSWER) == (202, "application/json", ACKNOWLEDGED)


def test_an_answer_counts_pending_events_if_there_is_a_lookup_or_one_is_pending():
    assert acknowledged("hubspot-subscriptions", ANSWER) == (
        202,
        "application/json",
        {**ACKNOWLEDGED, "pending": 0},
    )
    pending = replace(ANSWER, pending=2)
    assert acknowledged("hubspot-event-type", pending) == (
        202,
        "application/json",
        {**ACKNOWLEDGED, "pending": 2},
    )
    assert acknowledged("hubspot-event-type", ANSWER) == (202, "application/json", ACKNOWLEDGED)


def test_an_answer_lists_cancelled_recalls_only_if_there_are_any():
    answer = replace(ANSWER, cancelled=("r-8",), too_late=("r-9",))
    assert acknowledged("json-typeform", answer)[2] == {
        **ACKNOWLEDGED,
        "cancelled": ["r-8"],
        "too_late": ["r-9"],
    }


@pytest.mark.parametrize(
    ("answer", "fields"),
    [
        (Answer(delivery="d", recalls=("r-1",)), {"recall_id": "r-1", "outcome": "recall"}),
        (Answer(delivery="d", ignored=1), {"recall_id": "", "outcome": "ignored"}),
        (Answer(delivery="d", cancelled=("r-2",)), {"recall_id": "", "outcome": "cancelled"}),
        (Answer(delivery="d", too_late=("r-3",)), {"recall_id": "", "outcome": "too_late"}),
        (Answer(delivery="d", parked=1), {"recall_id": "", "outcome": "parked"}),
    ],
)
def test_a_custom_action_is_answered_with_output_fields(answer, fields):
    state = "FAIL_CONTINUE" if answer.parked else "SUCCESS"
    expected = {"outputFields": {"delivery": "d", **fields, "hs_execution_state": state}}
    assert acknowledged("hubspot-custom-action", answer) == (200, "application/json", expected)


def test_a_workflow_value_that_mentions_a_callback_id_does_not_make_a_custom_action():
    delivery = hubspot_delivery(b'{"note":"\\"callbackId\\"", "x": {"callbackId": "1"}}')
    assert SOURCES["hubspot"].acknowledge(delivery, hubspot(), ANSWER).status == 202
    broken = replace(delivery, body=b'{"callbackId"')
    assert SOURCES["hubspot"].acknowledge(broken, hubspot(), ANSWER).status == 202


def test_retry_after_for_a_workflow_is_in_milliseconds():
    refusal = ErrorAnswer(status=429, title="Too many", retry_after_seconds=30)
    workflow = hubspot_delivery(b"{}", hubspot(signatures=("v2",)))
    assert SOURCES["hubspot"].acknowledge(workflow, hubspot(), refusal).headers["Retry-After"] == "30000"
    app = hubspot_delivery(b"[]")
    assert SOURCES["hubspot"].acknowledge(app, hubspot(), refusal).headers["Retry-After"] == "30"
    unknown = replace(refusal, retry_after_seconds=None)
    assert "Retry-After" not in SOURCES["hubspot"].acknowledge(workflow, hubspot(), unknown).headers
