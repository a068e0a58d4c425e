"""What every source promises: it takes what its sender signed, refuses what anybody changed, reads the rest."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import orjson
import pytest
from defusedxml.ElementTree import fromstring
from hypothesis import given, settings
from hypothesis import strategies as st

from integration.domain.delivery import Answer, Delivery, Refusal
from integration.domain.errors import NotVerifiedError, UnreadableError, UnsupportedTypeError
from integration.webhooks.providers import SOURCES, bodies
from integration.webhooks.signature import TOLERANCE
from support.source_cases import (
    CASES,
    FORM,
    LOOKUP,
    NOW,
    SECRET,
    URL_KEY,
    Expected,
    SourceCase,
    forms,
    hubspot,
    salesforce,
)

cases = pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
signed = pytest.mark.parametrize("case", [c for c in CASES if c.covers_body], ids=lambda case: case.id)
dated = pytest.mark.parametrize("case", [c for c in CASES if c.covers_time], ids=lambda case: case.id)
keyed = pytest.mark.parametrize("case", [c for c in CASES if c.url_key], ids=lambda case: case.id)
proofs = pytest.mark.parametrize(
    ("case", "header"),
    [pytest.param(c, h, id=f"{c.id}-{h}") for c in CASES for h in c.proof_headers],
)


def refused(case: SourceCase, delivery: Delivery, now=NOW) -> NotVerifiedError:
    with pytest.raises(NotVerifiedError) as caught:
        case.kind.verify(delivery, case.settings, now)
    assert SECRET not in str(caught.value)
    assert URL_KEY not in str(caught.value)
    return caught.value


def with_header(case: SourceCase, name: str, value: str | None) -> Delivery:
    delivery = case.delivery()
    headers = {key: kept for key, kept in delivery.headers.items() if key != name}
    return replace(delivery, headers=headers if value is None else {**headers, name: value})


# --- the contract of every source ------------------------------------------------------------------


def test_every_kind_of_source_has_a_case():
    assert {case.settings.kind for case in CASES} == set(SOURCES)


def test_every_sample_file_has_a_case():
    from support.source_cases import SAMPLES

    files = {f"{path.parent.name}/{path.name}" for kind in SOURCES for path in (SAMPLES / kind).iterdir()}
    assert files == {f"{case.settings.kind}/{case.file}" for case in CASES}


@cases
def test_what_the_sender_signed_is_verified(case):
    case.kind.verify(case.delivery(), case.settings, NOW)


@cases
def test_each_event_is_read_in_its_order(case):
    events = case.kind.read(case.delivery(), case.settings)

    assert len(events) == len(case.events)
    for event, expected in zip(events, case.events, strict=True):
        seen = event.data
        if isinstance(expected.data, dict):
            seen = {name: event.data[name] for name in expected.data}
        assert Expected(seen, event.dedup_key, event.occurred_at, event.lookup_id) == expected


@cases
def test_what_is_read_is_json(case):
    for event in case.kind.read(case.delivery(), case.settings):
        assert orjson.loads(orjson.dumps(event.data)) == event.data


@cases
def test_the_body_that_may_be_stored_reads_into_the_same_events(case):
    delivery = case.delivery()
    kept = replace(delivery, body=case.kind.keep(delivery, case.settings))
    assert case.kind.read(kept, case.settings) == case.kind.read(delivery, case.settings)


@signed
def test_a_body_changed_by_one_byte_is_refused(case):
    for place in (0, len(case.body) // 2, len(case.body) - 1):
        changed = bytearray(case.body)
        changed[place] ^= 1
        refused(case, case.delivery(body=bytes(changed)))


@signed
def test_an_empty_body_is_refused_where_the_proof_covers_it(case):
    refused(case, case.delivery(body=b""))


@pytest.mark.parametrize("case", [c for c in CASES if c.proof_headers], ids=lambda case: case.id)
def test_a_proof_made_with_another_secret_is_refused(case):
    other = case.settings.model_validate(case.settings.model_dump() | {"secrets": ("whsec_YW5vdGhlcg==",)})
    made = case.signed(settings=other)
    refused(case, case.delivery(headers=made))


@pytest.mark.parametrize("case", [c for c in CASES if c.proof_headers], ids=lambda case: case.id)
def test_any_of_several_secrets_will_do(case):
    rotated = case.settings.model_validate(
        case.settings.model_dump() | {"secrets": ("whsec_YW5vdGhlcg==", *case.settings.secrets)}
    )
    case.kind.verify(case.delivery(), rotated, NOW)


@proofs
def test_a_proof_that_is_absent_is_refused(case, header):
    refused(case, with_header(case, header, None))


@proofs
@pytest.mark.parametrize("value", ["", " ", "é", "\x00", "x\u2028y", "ﬀ" * 44], ids=ascii)
def test_a_proof_that_is_empty_or_no_ascii_is_refused(case, header, value):
    refused(case, with_header(case, header, value))


@proofs
def test_a_proof_sent_twice_is_refused(case, header):
    value = case.delivery().headers[header]
    refused(case, with_header(case, header, f"{value},{value}"))


@proofs
def test_a_proof_cut_short_is_refused(case, header):
    # The version of an old HubSpot signature cut to `v` names no version.
    refused(case, with_header(case, header, case.delivery().headers[header][:-1]))


@dated
@pytest.mark.parametrize("side", [1, -1], ids=["stale", "future"])
def test_a_timestamp_more_than_five_minutes_off_is_refused(case, side):
    assert (
        refused(case, case.delivery(), NOW + side * (TOLERANCE + timedelta(seconds=2))).check == "timestamp"
    )


@dated
@pytest.mark.parametrize("side", [1, -1], ids=["past", "future"])
def test_a_timestamp_exactly_five_minutes_off_passes(case, side):
    on_the_second = NOW.replace(microsecond=0)
    delivery = case.delivery(headers=case.signed(now=on_the_second))
    case.kind.verify(delivery, case.settings, on_the_second + side * TOLERANCE)


@keyed
@pytest.mark.parametrize(
    "url_key", [None, "", URL_KEY[:-1], URL_KEY + "x", URL_KEY.upper(), "é", "\ud800"], ids=ascii
)
def test_another_url_key_is_refused(case, url_key):
    assert refused(case, case.delivery(url_key=url_key)).check == "url_key"


@pytest.mark.parametrize("case", [c for c in CASES if not c.url_key], ids=lambda case: case.id)
def test_a_url_key_is_checked_wherever_one_is_configured(case):
    keyed_settings = case.settings.model_validate(case.settings.model_dump() | {"url_key": URL_KEY})
    case.kind.verify(case.delivery(url_key=URL_KEY), keyed_settings, NOW)
    refused(replace(case, settings=keyed_settings), case.delivery())


@pytest.mark.parametrize("case", [c for c in CASES if not c.url_key], ids=lambda case: case.id)
def test_a_url_key_that_nobody_configured_is_refused(case):
    assert refused(case, case.delivery(url_key=URL_KEY)).check == "url_key"


@cases
def test_a_content_type_the_source_does_not_read_is_unsupported(case):
    for wrong in (
        "text/plain",
        "multipart/form-data; boundary=x",
        "application/octet-stream",
        "application/jsonp",
    ):
        delivery = with_header(case, "content-type", wrong)
        with pytest.raises(UnsupportedTypeError):
            case.kind.read(delivery, case.settings)


@cases
def test_a_charset_other_than_utf_8_is_unsupported(case):
    bare = case.delivery().content_type
    with pytest.raises(UnsupportedTypeError):
        case.kind.read(with_header(case, "content-type", f'{bare}; charset="ISO-8859-1"'), case.settings)
    case.kind.read(with_header(case, "content-type", f'{bare}; charset="UTF-8"'), case.settings)


@cases
def test_a_body_cut_short_or_empty_is_unreadable_or_reads_without_a_crash(case):
    for body in (b"", b" ", b"\xff\xfe", b"{"):
        with pytest.raises(UnreadableError):
            case.kind.read(case.delivery(body=body), case.settings)
    try:
        case.kind.read(case.delivery(body=case.body[: len(case.body) // 2]), case.settings)
    except UnreadableError:
        assert not case.file.endswith(".form")


@cases
def test_a_refusal_keeps_its_status_and_tells_when_to_try_again(case):
    for status in (400, 401, 404, 413, 415, 503):
        refusal = Refusal(status=status, title="Not taken", detail="Say <why> & how", retry_after_seconds=5)
        answer = case.kind.acknowledge(case.delivery(), case.settings, refusal)
        assert answer.status == status
        assert answer.headers["Retry-After"] == "5"
        assert (b"&lt;why&gt;" in answer.body) or orjson.loads(answer.body) == {
            "type": "about:blank",
            "title": "Not taken",
            "status": status,
            "detail": "Say <why> & how",
        }


# --- hubspot ---------------------------------------------------------------------------------------


def hubspot_delivery(body: bytes, kind_settings=None, **changes) -> Delivery:
    given = kind_settings or hubspot()
    url = changes.pop("url", "https://hooks.example.com/hooks/hubspot")
    headers = SOURCES["hubspot"].sign(body, given, url=url, method="POST", message_id="", now=NOW)
    made = Delivery(
        id="d-1",
        source="hubspot",
        method="POST",
        url=url,
        headers={name.lower(): value for name, value in headers.items()},
        body=body,
        received_at=NOW,
    )
    return replace(made, **changes)


def read_hubspot(body: bytes, **kind_settings):
    return SOURCES["hubspot"].read(hubspot_delivery(body), hubspot(**kind_settings))


def hubspot_refuses(delivery: Delivery, **kind_settings) -> NotVerifiedError:
    with pytest.raises(NotVerifiedError) as caught:
        SOURCES["hubspot"].verify(delivery, hubspot(**kind_settings), NOW)
    return caught.value


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_an_older_hubspot_signature_is_refused_unless_it_is_named(version):
    delivery = hubspot_delivery(b"[]", hubspot(signatures=(version,)))
    assert hubspot_refuses(delivery).check == "signature v3"
    other = {"v1": "v2", "v2": "v1"}[version]
    assert "does not name" in hubspot_refuses(delivery, signatures=(other,)).why
    SOURCES["hubspot"].verify(delivery, hubspot(signatures=(version,)), NOW)


def test_where_hubspots_v3_is_present_a_good_older_signature_does_not_help():
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


def test_hubspots_v3_is_taken_also_where_only_an_older_one_is_named():
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
def test_a_hubspot_timestamp_that_is_no_plausible_moment_is_refused(timestamp):
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


def test_hubspots_two_type_names_are_left_alone_where_both_were_sent():
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
def test_a_hubspot_moment_that_is_none_is_left_out(at):
    assert read_hubspot(b'[{"eventId":1,"occurredAt":%s}]' % at.encode())[0].occurred_at is None


@pytest.mark.parametrize(
    ("event", "lookup_id"),
    [
        ({"subscriptionType": "contact.propertyChange", "objectId": 7}, "7"),
        ({"eventType": "contact.creation", "objectId": "7"}, "7"),
        ({"subscriptionType": "object.creation", "objectTypeId": "0-1", "objectId": 7}, "7"),
        ({"subscriptionType": "object.creation", "objectTypeId": "0-2", "objectId": 7}, None),
        ({"subscriptionType": "deal.creation", "objectTypeId": "0-1", "objectId": 7}, None),
        ({"subscriptionType": "contacts.creation", "objectId": 7}, None),
        ({"subscriptionType": "contact.creation"}, None),
        ({"subscriptionType": ["contact.creation"], "objectId": 7}, None),
        ({"objectId": 7}, None),
    ],
)
def test_only_contact_events_name_a_contact_to_look_up(event, lookup_id):
    assert read_hubspot(orjson.dumps([event]), lookup=LOOKUP)[0].lookup_id == lookup_id
    assert read_hubspot(orjson.dumps([event]))[0].lookup_id is None


@pytest.mark.parametrize("body", [b'"text"', b"7", b"null", b"true"])
def test_a_hubspot_body_that_is_a_single_value_is_unreadable(body):
    with pytest.raises(UnreadableError):
        read_hubspot(body)


@pytest.mark.parametrize("callback_id", ['""', "null", "false", "[]"])
def test_a_hubspot_object_without_a_usable_callback_id_is_a_workflow_body(callback_id):
    (event,) = read_hubspot(b'{"callbackId":%s}' % callback_id.encode())
    assert event.dedup_key is None


# --- hubspot's answers -----------------------------------------------------------------------------

ANSWER = Answer(delivery="d-1", recalls=("r-1", "r-2"), ignored=3, parked=1)
TOLD = {"delivery": "d-1", "recalls": ["r-1", "r-2"], "ignored": 3, "parked": 1}


def told(case_id: str, answer: Answer):
    case = next(case for case in CASES if case.id == case_id)
    reply = case.kind.acknowledge(case.delivery(), case.settings, answer)
    return reply.status, reply.content_type, orjson.loads(reply.body)


def test_a_refusal_without_detail_has_none():
    case = next(case for case in CASES if case.id == "json-typeform")
    reply = case.kind.acknowledge(case.delivery(), case.settings, Refusal(status=404, title="Unknown"))
    assert orjson.loads(reply.body) == {"type": "about:blank", "title": "Unknown", "status": 404}
    assert (reply.content_type, reply.headers) == ("application/problem+json", {})


def test_an_answer_is_202_with_ids_and_counts():
    assert told("json-typeform", ANSWER) == (202, "application/json", TOLD)


def test_an_answer_counts_what_is_pending_where_there_is_a_lookup_or_any():
    assert told("hubspot-subscriptions", ANSWER) == (202, "application/json", {**TOLD, "pending": 0})
    pending = replace(ANSWER, pending=2)
    assert told("hubspot-event-type", pending) == (202, "application/json", {**TOLD, "pending": 2})
    assert told("hubspot-event-type", ANSWER) == (202, "application/json", TOLD)


def test_an_answer_lists_what_was_taken_back_only_where_something_was():
    answer = replace(ANSWER, cancelled=("r-8",), too_late=("r-9",))
    assert told("json-typeform", answer)[2] == {**TOLD, "cancelled": ["r-8"], "too_late": ["r-9"]}


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
    assert told("hubspot-custom-action", answer) == (200, "application/json", expected)


def test_a_workflow_value_that_mentions_a_callback_id_does_not_make_a_custom_action():
    delivery = hubspot_delivery(b'{"note":"\\"callbackId\\"", "x": {"callbackId": "1"}}')
    assert SOURCES["hubspot"].acknowledge(delivery, hubspot(), ANSWER).status == 202
    broken = replace(delivery, body=b'{"callbackId"')
    assert SOURCES["hubspot"].acknowledge(broken, hubspot(), ANSWER).status == 202


def test_a_workflow_is_told_to_wait_in_milliseconds_as_it_reads_them():
    refusal = Refusal(status=429, title="Too many", retry_after_seconds=30)
    workflow = hubspot_delivery(b"{}", hubspot(signatures=("v2",)))
    assert SOURCES["hubspot"].acknowledge(workflow, hubspot(), refusal).headers["Retry-After"] == "30000"
    app = hubspot_delivery(b"[]")
    assert SOURCES["hubspot"].acknowledge(app, hubspot(), refusal).headers["Retry-After"] == "30"
    unknown = replace(refusal, retry_after_seconds=None)
    assert "Retry-After" not in SOURCES["hubspot"].acknowledge(workflow, hubspot(), unknown).headers


# --- salesforce ------------------------------------------------------------------------------------

SALESFORCE = next(case for case in CASES if case.id == "salesforce-two-leads")


def salesforce_refuses(body: bytes, error=UnreadableError) -> str:
    with pytest.raises(error) as caught:
        SOURCES["salesforce"].verify(SALESFORCE.delivery(body=body), salesforce(), NOW)
    return str(caught.value)


@pytest.mark.parametrize(
    "organization",
    ["00D5f000000AbCeEAK", "00D5f000000abcdEAK", "00D5f000000AbC", "", " ", "é", "x" * 1000],
    ids=ascii,
)
def test_another_organisation_is_refused(organization):
    body = SALESFORCE.body.replace(b"00D5f000000AbCdEAK", organization.encode())
    why = "another organisation" if organization.strip() else "names none"
    assert why in salesforce_refuses(body, NotVerifiedError)


def test_an_organisation_is_compared_over_its_first_fifteen_characters():
    body = SALESFORCE.body.replace(b"00D5f000000AbCdEAK", b" 00D5f000000AbCd ")
    SOURCES["salesforce"].verify(SALESFORCE.delivery(body=body), salesforce(), NOW)


def test_nothing_is_parsed_before_the_url_key_has_passed():
    delivery = SALESFORCE.delivery(url_key="wrong", body=b"not XML")
    assert refused(SALESFORCE, delivery).check == "url_key"


def test_the_session_id_is_kept_nowhere():
    secret = b"AQEAQLiveSessionOfTheCustomer"
    assert secret in SALESFORCE.body
    for name in (b"SessionId", b"x:SessionId", b"Other><SessionId>b</SessionId></Other><SessionId"):
        close = b"</SessionId>" if name.endswith(b"><SessionId") else b"</" + name + b">"
        body = SALESFORCE.body.replace(b"<SessionId>", b"<" + name + b" a='AQEAQLiveSessionOfTheCustomer'>")
        nested = b"<c d='AQEAQLiveSessionOfTheCustomer'/>AQEAQLiveSessionOfTheCustomer"
        body = body.replace(b"</SessionId>\n", nested + close + b"\n")
        body = body.replace(b"<notifications ", b"<notifications xmlns:x='urn:x' ")
        delivery = SALESFORCE.delivery(body=body)
        events = SOURCES["salesforce"].read(delivery, salesforce())
        assert [event.data["Id"] for event in events] == ["00Q5f00000bbbbBEAQ", "00Q5f00000bbbbCEAQ"]
        assert secret not in repr([event.data for event in events]).encode()
        assert secret not in SOURCES["salesforce"].keep(delivery, salesforce())
        assert secret not in repr(delivery).encode()


def test_of_a_body_that_cannot_be_read_nothing_is_kept():
    delivery = SALESFORCE.delivery(body=SALESFORCE.body[:-5])
    assert SOURCES["salesforce"].keep(delivery, salesforce()) == b""


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "a DTD or an entity"),
        (b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', "a DTD or an entity"),
        (b"<!DOCTYPE a><a/>", "a DTD or an entity"),
        (b"<a>&undefined;</a>", "not XML"),
        (b"<a>" * 40 + b"</a>" * 40, "more than 32 levels"),
        (b"<a>" * 300_000, "more than 32 levels"),
        ("<a>é</a>".encode("latin-1"), "not UTF-8"),
        ("<a>é</a>".encode("utf-16"), "not UTF-8"),
        (b"<a>\x00</a>", "not XML"),
        (b"{}", "not XML"),
        (b"<a/>", "XML of another kind"),
        (b"<notifications xmlns='http://soap.sforce.com/2005/09/outbound'/>", "XML of another kind"),
    ],
    ids=range(12),
)
def test_xml_that_is_dangerous_or_no_message_is_unreadable(body, found):
    assert found in salesforce_refuses(body)


def test_a_message_in_other_namespaces_or_another_envelope_is_unreadable():
    salesforce_refuses(SALESFORCE.body.replace(b"2005/09/outbound", b"2005/09/inbound"))
    salesforce_refuses(SALESFORCE.body.replace(b"soapenv:Envelope", b"soapenv:Letter"))


@pytest.mark.parametrize("declared", [b"ISO-8859-1", b"UTF-16", b"no-such-encoding"])
def test_xml_is_read_as_the_utf_8_that_it_is_whatever_it_declares(declared):
    delivery = SALESFORCE.delivery(body=SALESFORCE.body.replace(b"UTF-8", declared, 1))
    event = SOURCES["salesforce"].read(delivery, salesforce())[0]
    assert event.data["MailingAddress"]["city"] == "Bogotá"


@pytest.mark.parametrize("nil", [b"true", b"1"])
def test_a_field_that_is_nil_is_null(nil):
    body = SALESFORCE.body.replace(b'<sf:Email xsi:nil="true"/>', b'<sf:Email xsi:nil="%s"/>' % nil)
    assert SOURCES["salesforce"].read(SALESFORCE.delivery(body=body), salesforce())[0].data["Email"] is None


def test_a_message_without_notifications_is_unreadable():
    start, end = SALESFORCE.body.index(b"<Notification>"), SALESFORCE.body.rindex(b"</Notification>")
    body = SALESFORCE.body[:start] + SALESFORCE.body[end + len(b"</Notification>") :]
    with pytest.raises(UnreadableError, match="no Notification"):
        SOURCES["salesforce"].read(SALESFORCE.delivery(body=body), salesforce())


def test_a_notification_without_an_id_or_record_is_still_an_event():
    start, end = SALESFORCE.body.index(b"<Notification>"), SALESFORCE.body.rindex(b"</Notification>")
    body = SALESFORCE.body[:start] + b"<Notification>" + SALESFORCE.body[end:]
    (event,) = SOURCES["salesforce"].read(SALESFORCE.delivery(body=body), salesforce())
    assert event.data == {
        "notification_id": None,
        "object_type": None,
        "organization_id": "00D5f000000AbCdEAK",
    }
    assert event.dedup_key is None


def test_salesforce_is_answered_with_the_ack_of_its_wsdl():
    reply = SOURCES["salesforce"].acknowledge(SALESFORCE.delivery(), salesforce(), ANSWER)
    assert (reply.status, reply.content_type) == (200, "text/xml; charset=utf-8")
    ack = fromstring(reply.body).find(
        "{http://schemas.xmlsoap.org/soap/envelope/}Body/"
        "{http://soap.sforce.com/2005/09/outbound}notificationsResponse/"
        "{http://soap.sforce.com/2005/09/outbound}Ack"
    )
    assert ack.text == "true"


@pytest.mark.parametrize(("status", "code"), [(401, "soapenv:Client"), (503, "soapenv:Server")])
def test_salesforce_is_refused_with_a_soap_fault(status, code):
    refusal = Refusal(status=status, title="No\x00 & no")
    reply = SOURCES["salesforce"].acknowledge(SALESFORCE.delivery(), salesforce(), refusal)
    fault = fromstring(reply.body).find(
        "{http://schemas.xmlsoap.org/soap/envelope/}Body/{http://schemas.xmlsoap.org/soap/envelope/}Fault"
    )
    assert reply.status == status
    assert reply.content_type == "text/xml; charset=utf-8"
    assert (fault.findtext("faultcode"), fault.findtext("faultstring")) == (code, "No\ufffd & no")


# --- json ------------------------------------------------------------------------------------------


def json_delivery(body: bytes, content_type: str | None = "application/json", **headers: str) -> Delivery:
    given_headers = {name.replace("_", "-"): value for name, value in headers.items()}
    if content_type is not None:
        given_headers["content-type"] = content_type
    return Delivery(
        id="d-1",
        source="forms",
        method="POST",
        url="https://hooks.example.com/hooks/forms",
        headers=given_headers,
        body=body,
        received_at=NOW,
    )


def read_json(body: bytes, content_type: str | None = "application/json", **kind_settings):
    return SOURCES["json"].read(json_delivery(body, content_type), forms(**kind_settings))


@pytest.mark.parametrize(
    "content_type",
    [None, "", "application/json", "text/json", "APPLICATION/JSON; charset=utf-8", "application/ld+json"],
)
def test_json_comes_under_several_names_or_none(content_type):
    assert read_json(b'{"a":1}', content_type)[0].data == {"a": 1}


@pytest.mark.parametrize("body", [b"", b" \n", b"\xef\xbb\xbf"])
def test_an_empty_body_is_named_as_such(body):
    with pytest.raises(UnreadableError, match="found nothing"):
        read_json(body)


def test_a_byte_order_mark_before_json_passes():
    assert read_json(b'\xef\xbb\xbf{"a":1}')[0].data == {"a": 1}


@pytest.mark.parametrize(
    "body",
    [b"NaN", b"[Infinity]", b"1e400", b"{'a':1}", b'"\xff"', b'"\\ud800"', b"{}{}", b"[1,]", b'{"a":1'],
    ids=ascii,
)
def test_what_is_not_json_is_unreadable_and_the_place_is_named(body):
    with pytest.raises(UnreadableError) as caught:
        read_json(body)
    assert caught.value.where.startswith("body, line 1, column ")


def test_json_of_64_levels_is_read_and_deeper_is_not():
    assert read_json(b"[" * 64 + b"]" * 64)
    for depth in (65, 1000, 500_000):
        with pytest.raises(UnreadableError):
            read_json(b"[" * depth + b"]" * depth)
    with pytest.raises(UnreadableError, match="64"):
        read_json(b'{"a":' * 65 + b"1" + b"}" * 65)


def test_wide_json_is_not_deep():
    assert read_json(b"[" + b",".join([b"[]"] * 500) + b"]")


def test_of_a_json_key_sent_twice_the_last_counts():
    assert read_json(b'{"a":1,"a":2}')[0].data == {"a": 2}


@pytest.mark.parametrize(
    ("number", "value"),
    [
        ("9007199254740993", 9007199254740993),
        ("18446744073709551615", 18446744073709551615),
        ("-9223372036854775808", -9223372036854775808),
        ("18446744073709551616", "18446744073709551616"),
        ("-9223372036854775809", "-9223372036854775809"),
        ("1" * 300, "1" * 300),
        ("0.12345678901234567890", 0.12345678901234568),
    ],
)
def test_a_number_too_long_to_store_keeps_all_its_digits_as_text(number, value):
    assert read_json(b'{"id":%s}' % number.encode())[0].data == {"id": value}


def test_nul_in_json_text_is_read_as_sent():
    assert read_json(b'{"a":"x\\u0000y"}')[0].data == {"a": "x\x00y"}


@pytest.mark.parametrize(
    ("body", "data"),
    [
        (b"a[b][0]=c", {"a": {"b": ["c"]}}),
        (b"a%5Bb%5D%5B0%5D=c", {"a": {"b": ["c"]}}),
        (b"a[]=1&a[]=2", {"a": ["1", "2"]}),
        (b"a=1&a=2", {"a": ["1", "2"]}),
        (b"a[2]=x&a[5]=y", {"a": ["x", "y"]}),
        (b"a[661001]=x", {"a": {"661001": "x"}}),
        (b"a.b=c&__proto__[x]=1", {"a.b": "c", "__proto__": {"x": "1"}}),
        (b"a=1%2B2+3&b=%5Bx%5D&c&d=", {"a": "1+2 3", "b": "[x]", "c": "", "d": ""}),
        ("ñ=%C3%B1".encode(), {"ñ": "ñ"}),
        (b"a=x%00y\n", {"a": "x\x00y"}),
    ],
    ids=ascii,
)
def test_a_form_with_brackets_becomes_mappings_and_lists(body, data):
    assert read_json(body, FORM)[0].data == data


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"&&&",
        b"=x",
        b'{"a":1}',
        b"[1]",
        b"a=%FF",
        b"a=\xff",
        b"&".join([b"a=1"] * 2001),
        b"a" + b"[b]" * 11 + b"=1",
        b"a" + b"[" * 500_000 + b"=1",
        b"a" + b"%5b" * 300_000 + b"=1",
        b"a" + b"%5Bb%5D" * 11 + b"=1",
        b"&" * 1_000_000,
        "a=1".encode("utf-16-le"),
    ],
    ids=range(14),
)
def test_a_form_that_is_a_bomb_or_no_form_is_unreadable(body):
    with pytest.raises(UnreadableError):
        read_json(body, FORM)


def test_a_byte_order_mark_before_a_form_passes():
    assert read_json(b"\xef\xbb\xbfa=1", FORM)[0].data == {"a": "1"}


def test_a_form_at_its_limits_is_read():
    body = b"&".join(
        b"a%d" % n + b"[249]" * bodies.MAX_FORM_DEPTH + b"=x" for n in range(bodies.MAX_FORM_FIELDS)
    )
    assert len(read_json(body, FORM)[0].data) == bodies.MAX_FORM_FIELDS


@pytest.mark.parametrize(
    ("body", "datas"),
    [
        (b'{"items":[]}', []),
        (b'{"items":[1,{"a":2}]}', [1, {"a": 2}]),
        (b'{"items":{"a":1}}', [{"a": 1}]),
        (b'{"items":{"0":{"a":1},"7":{"a":2}}}', [{"a": 1}, {"a": 2}]),
        (b'{"items":{}}', [{}]),
        (b'{"items":null}', [None]),
        (b"{}", [None]),
        (b"[]", [None]),
        (b'{"items":"x"}', ["x"]),
    ],
)
def test_events_are_found_where_the_configuration_says(body, datas):
    assert [event.data for event in read_json(body, events="body.items")] == datas


def test_a_long_list_in_a_form_is_a_list_of_events_too():
    body = b"&".join(b"lead[%d][id]=%d" % (n, n) for n in range(400))
    assert [event.data["id"] for event in read_json(body, FORM, events="body.lead")] == [
        str(n) for n in range(400)
    ]


def test_events_may_be_joined_and_filtered():
    body = b'{"new":[{"id":1}],"changed":[{"id":2},{"id":3,"spam":true}]}'
    events = read_json(body, events="(body.new + body.changed) | rejectattr('spam') | list")
    assert [event.data["id"] for event in events] == [1, 2]


@pytest.mark.parametrize(
    "expression", ["body.a + 1", "event.x", "body.when | date", "[body.a, body.missing]"]
)
def test_an_events_expression_that_fails_leaves_one_event_to_be_parked(expression):
    assert [event.data for event in read_json(b'{"a":"x","when":"soon"}', events=expression)] == [None]


def test_more_than_a_thousand_events_are_unreadable():
    many = orjson.dumps([{}] * 1001)
    with pytest.raises(UnreadableError, match="1001 events"):
        read_json(many, events="body")
    with pytest.raises(UnreadableError, match="1001 events"):
        read_hubspot(many)
    assert len(read_hubspot(orjson.dumps([{}] * 1000))) == 1000
    body = SALESFORCE.body.replace(b"<Notification>", b"<Notification/>" * 999 + b"<Notification>", 1)
    with pytest.raises(UnreadableError, match="1001 events"):
        SOURCES["salesforce"].read(SALESFORCE.delivery(body=body), salesforce())


def keys(delivery: Delivery, **kind_settings):
    return [event.dedup_key for event in SOURCES["json"].read(delivery, forms(**kind_settings))]


def test_the_senders_message_id_is_the_key_and_each_event_of_a_list_has_its_place():
    assert keys(json_delivery(b"{}", idempotency_key=" k-1 ")) == ["id:k-1"]
    assert keys(json_delivery(b"[{},{}]", idempotency_key="k-1"), events="body") == ["id:k-1:0", "id:k-1:1"]
    assert keys(json_delivery(b"{}")) == [None]
    assert keys(json_delivery(b"{}", idempotency_key=" ")) == [None]


def test_a_webhook_id_counts_only_where_it_is_signed():
    delivery = json_delivery(b"{}", webhook_id="msg_1", idempotency_key="k-1")
    assert keys(delivery, verify="standard-webhooks") == ["id:msg_1"]
    assert keys(delivery, verify="bearer") == ["id:k-1"]


def test_a_dedup_key_that_cannot_be_rendered_gives_way_to_the_message_id():
    body = b'[{"id":7},{"id":null},{},5]'
    found = keys(json_delivery(body, idempotency_key="k"), events="body", dedup_key="lead-{{ event.id }}")
    assert found == ["key:lead-7", "id:k:1", "id:k:2", "id:k:3"]


def test_a_dedup_key_may_be_made_from_a_header():
    delivery = json_delivery(b"{}", x_zendesk_webhook_invocation_id="01HT")
    source = "{{ delivery.headers['x-zendesk-webhook-invocation-id'] }}"
    assert keys(delivery, dedup_key=source) == ["key:01HT"]


def test_a_header_that_holds_a_secret_makes_no_dedup_key():
    delivery = json_delivery(b"{}", authorization="Bearer s", idempotency_key="k", x_api_key=SECRET)
    assert keys(delivery, dedup_key="{{ delivery.headers.authorization }}") == ["id:k"]
    own = {"verify": "header", "header": "X-Api-Key", "dedup_key": "{{ delivery.headers['x-api-key'] }}"}
    assert keys(delivery, **own) == ["id:k"]


def test_a_rendered_key_never_equals_a_message_id():
    rendered = keys(json_delivery(b'{"id":"k"}'), dedup_key="{{ event.id }}")
    assert rendered != keys(json_delivery(b"{}", idempotency_key="k"))


@pytest.mark.parametrize(
    ("verify", "challenge"), [("basic", 'Basic realm="ringback", charset="UTF-8"'), ("bearer", "Bearer")]
)
def test_a_sender_with_credentials_is_challenged_for_them(verify, challenge):
    delivery = json_delivery(b"{}")
    refusal = Refusal(status=401, title="Not verified")
    reply = SOURCES["json"].acknowledge(delivery, forms(verify), refusal)
    assert reply.headers == {"WWW-Authenticate": challenge}
    reply = SOURCES["json"].acknowledge(delivery, forms("standard-webhooks"), refusal)
    assert reply.headers == {}
    reply = SOURCES["json"].acknowledge(delivery, forms(verify), Refusal(status=400, title="Unreadable"))
    assert reply.headers == {}


# --- whatever comes --------------------------------------------------------------------------------

ANY_HEADERS = st.dictionaries(
    st.sampled_from(
        [
            "content-type", "authorization", "webhook-id", "webhook-timestamp", "webhook-signature", "x-api-key",
            "x-hubspot-signature", "x-hubspot-signature-v3", "x-hubspot-signature-version", "idempotency-key",
            "x-hubspot-request-timestamp", "typeform-signature", "x-hub-signature-256",
        ]
    ),
    st.one_of(
        st.text(max_size=80),
        st.sampled_from(
            [
                "application/json", FORM, "text/xml", "v1", "v2", "Basic é", "Basic =", "Bearer", "sha256=zz",
                "v1,A v1, ,v1 v1a,x v1,é", "1772374530", "1772374530250", "application/json; charset=latin-1",
            ]
        ),
    ),
)  # fmt: skip
ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["eventId", "objectId", "occurredAt", "callbackId", "items", "subscriptionType"])
            | st.text(max_size=5),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)
ANY_FORM = st.lists(st.text(alphabet="ab[]0=&%+5Dé\x00", max_size=12), max_size=8).map(
    lambda parts: "&".join(parts).encode()
)
ANY_XML = st.lists(
    st.sampled_from(
        ["<a>", "</a>", "<SessionId>", "</SessionId>", "<![CDATA[", "]]>", "<!--", "-->", "&amp;", "&x;", "é", "\x00", "<!DOCTYPE a>", "<?p?>", "<Notification/>"]
    ),
    max_size=12,
).map(lambda parts: SALESFORCE.body.replace(b"<Notification>", "".join(parts).encode() + b"<Notification>", 1))  # fmt: skip
ANY_BODY = st.binary(max_size=200) | ANY_JSON.map(orjson.dumps) | ANY_FORM | ANY_XML


@cases
@settings(max_examples=40)
@given(
    headers=ANY_HEADERS,
    body=ANY_BODY,
    url=st.text(max_size=30),
    url_key=st.none() | st.text(max_size=10) | st.just(URL_KEY),
    keep_proof=st.booleans(),
)
def test_whatever_comes_only_the_documented_errors_come_out(case, headers, body, url, url_key, keep_proof):
    if keep_proof:
        headers = {**case.signed(body=body), **headers}
    delivery = case.delivery(headers=headers, body=body, url=url, url_key=url_key)
    with suppress(NotVerifiedError, UnreadableError):
        case.kind.verify(delivery, case.settings, NOW)
    with suppress(UnreadableError):
        orjson.dumps([event.data for event in case.kind.read(delivery, case.settings)])
    case.kind.keep(delivery, case.settings)
    for outcome in (ANSWER, Refusal(status=401, title="Not verified")):
        assert case.kind.acknowledge(delivery, case.settings, outcome).status in {200, 202, 401}
