"""Salesforce: organisation, XML and responses."""

from __future__ import annotations

import pytest
from defusedxml.ElementTree import fromstring

from integration.domain.delivery import ErrorAnswer
from integration.domain.errors import NotVerifiedError, UnreadableError
from integration.webhooks.providers import SOURCES
from support.provider_deliveries import ANSWER, SALESFORCE, refused
from support.source_cases import (
    NOW,
    salesforce,
)


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
    why = "not the `organization_id`" if organization.strip() else "has no OrganizationId"
    assert why in salesforce_refuses(body, NotVerifiedError)


def test_an_organisation_is_compared_over_its_first_fifteen_characters():
    body = SALESFORCE.body.replace(b"00D5f000000AbCdEAK", b" 00D5f000000AbCd ")
    SOURCES["salesforce"].verify(SALESFORCE.delivery(body=body), salesforce(), NOW)


def test_nothing_is_parsed_before_the_url_key_is_verified():
    delivery = SALESFORCE.delivery(url_key="wrong", body=b"not XML")
    assert refused(SALESFORCE, delivery).check == "url_key"


def test_the_session_id_is_in_no_event_and_no_stored_body():
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
        assert secret not in SOURCES["salesforce"].stored_body(delivery, salesforce())
        assert secret not in repr(delivery).encode()


def test_an_unreadable_body_is_stored_as_empty():
    delivery = SALESFORCE.delivery(body=SALESFORCE.body[:-5])
    assert SOURCES["salesforce"].stored_body(delivery, salesforce()) == b""


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "a DTD or an entity"),
        (b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', "a DTD or an entity"),
        (b"<!DOCTYPE a><a/>", "a DTD or an entity"),
        (b"<a>&undefined;</a>", "not well-formed XML"),
        (b"<a>" * 40 + b"</a>" * 40, "more than 32 nested elements"),
        (b"<a>" * 300_000, "more than 32 nested elements"),
        ("<a>é</a>".encode("latin-1"), "not UTF-8"),
        ("<a>é</a>".encode("utf-16"), "XML without an outbound message"),
        (b"<a xmlns='urn:" + b"x" * 253 + b"'>" + b"<b/>" * 9 + b"</a>", "a namespace of 257 characters"),
        (b"<p:a xmlns:p='" + b"x" * 500_000 + b"'/>", "a namespace of 500000 characters"),
        (b"<a><b xmlns='" + b"x" * 257 + b"'/></a>", "a namespace of 257 characters"),
        (b"<" + b"a" * 257 + b"/>", "a name of 257 characters"),
        (b"<a " + b"b" * 257 + b"='1'/>", "a name of 257 characters"),
        (b"<a>" + b"<b/>" * 40_000 + b"</a>", "more than 40000 elements and attributes"),
        (b"<a " + b" ".join(b"b%d='1'" % n for n in range(40_000)) + b"/>", "more than 40000 elements"),
        (b"<a>\x00</a>", "not well-formed XML"),
        (b"{}", "not well-formed XML"),
        (b"<a/>", "XML without an outbound message"),
        (
            b"<notifications xmlns='http://soap.sforce.com/2005/09/outbound'/>",
            "XML without an outbound message",
        ),
    ],
    ids=range(19),
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
    with pytest.raises(UnreadableError, match="without Notification"):
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
    refusal = ErrorAnswer(status=status, title="No\x00 & no")
    reply = SOURCES["salesforce"].acknowledge(SALESFORCE.delivery(), salesforce(), refusal)
    fault = fromstring(reply.body).find(
        "{http://schemas.xmlsoap.org/soap/envelope/}Body/{http://schemas.xmlsoap.org/soap/envelope/}Fault"
    )
    assert reply.status == status
    assert reply.content_type == "text/xml; charset=utf-8"
    assert (fault.findtext("faultcode"), fault.findtext("faultstring")) == (code, "No\ufffd & no")
