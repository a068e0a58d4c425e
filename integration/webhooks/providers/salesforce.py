"""Salesforce: outbound messages of workflow rules and flows (SOAP, up to 100 notifications at once). Pure.

Salesforce does not sign. So the URL contains a `url_key`, and the message must have the configured
OrganizationId. The SessionId is a valid credential for the customer's Salesforce. It is dropped while the XML
is parsed, so no event, stored body or error contains it. Source:
https://developer.salesforce.com/docs/atlas.en-us.api.meta/api/sforce_api_om_outboundmessaging.htm
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from integration.domain.delivery import Answer, Delivery, ErrorAnswer, Event, Reply
from integration.domain.errors import NotVerifiedError, UnreadableError
from integration.mapping.charsets import charset_of
from integration.webhooks.providers.bodies import require_few, require_xml_type
from integration.webhooks.providers.replies import retry_after
from integration.webhooks.providers.soap import (
    CONTENT_TYPE,
    ENVELOPE,
    INSTANCE,
    accepted,
    fault,
    local_name,
    read_xml,
    write_xml,
)
from integration.webhooks.verification import matches_any, require_url_key

if TYPE_CHECKING:
    from datetime import datetime
    from xml.etree.ElementTree import Element

    from integration.config.source_models import SalesforceSource

_OUTBOUND = "http://soap.sforce.com/2005/09/outbound"
_CREDENTIALS = frozenset({"SessionId"})

# The 18-character form of an id is the 15-character form with a suffix that encodes its letter case.
ID_LENGTH = 15

# The WSDL defines `notificationsResponse`. With `notifications`, which some samples use, Salesforce retries
# for a day.
_ACK = f'<notificationsResponse xmlns="{_OUTBOUND}"><Ack>true</Ack></notificationsResponse>'


def verify(delivery: Delivery, settings: SalesforceSource, now: datetime) -> str:  # noqa: ARG001  (nothing is dated)
    """Return the proof. Raise NotVerifiedError for a wrong `url_key` or another organisation.

    The organisation is in the body, so a body that cannot be parsed raises UnsupportedTypeError or
    UnreadableError.
    """
    require_url_key(delivery, settings.url_key)
    organization = _organization_id(_message(delivery))
    if not organization:
        raise NotVerifiedError("organization_id", "the message has no OrganizationId")
    expected = settings.organization_id[:ID_LENGTH].encode()
    if not matches_any(organization[:ID_LENGTH].encode(), (expected,)):
        raise NotVerifiedError(
            "organization_id", "the OrganizationId of the message is not the `organization_id` of the source"
        )
    return "url_key and organization_id"


def read(delivery: Delivery, settings: SalesforceSource) -> tuple[Event, ...]:  # noqa: ARG001  (one shape for all)
    """Return one event per notification. Raise UnsupportedTypeError or UnreadableError.

    The data has the record's fields by local name, and `notification_id`, `object_type` and
    `organization_id`. nil becomes None, and compound fields become mappings. A record that was deleted before
    Salesforce sent the message may be empty.
    """
    message = _message(delivery)
    notifications = message.findall(f"{{{_OUTBOUND}}}Notification")
    if not notifications:
        raise UnreadableError(
            "notifications", "an element without Notification", "1 to 100 Notification elements"
        )
    require_few(len(notifications))
    organization_id = _organization_id(message)
    return tuple(_event(notification, organization_id) for notification in notifications)


def _message(delivery: Delivery) -> Element:
    require_xml_type(delivery)
    root = read_xml(delivery.body, _CREDENTIALS, _charset(delivery))
    message = root.find(f"{{{ENVELOPE}}}Body/{{{_OUTBOUND}}}notifications")
    if root.tag != f"{{{ENVELOPE}}}Envelope" or message is None:
        raise UnreadableError(
            "body", "XML without an outbound message", "a SOAP envelope with outbound notifications"
        )
    return message


def _charset(delivery: Delivery) -> str:
    return charset_of(delivery.headers.get("content-type", ""))


def _organization_id(message: Element) -> str:
    return (message.findtext(f"{{{_OUTBOUND}}}OrganizationId") or "").strip()


def organization_of(delivery: Delivery) -> str:
    """Return the OrganizationId of a message, or an empty text if the message has none.

    Raise UnsupportedTypeError or UnreadableError.
    """
    return _organization_id(_message(delivery))


def _event(notification: Element, organization_id: str) -> Event:
    record = notification.find(f"{{{_OUTBOUND}}}sObject")
    notification_id = (notification.findtext(f"{{{_OUTBOUND}}}Id") or "").strip() or None
    fields = _value(record) if record is not None and len(record) else {}
    data = {
        **fields,
        "notification_id": notification_id,
        "object_type": _object_type(record),
        "organization_id": organization_id,
    }
    record_id = fields.get("Id")
    return Event(
        data=data,
        dedup_key=f"sf:{notification_id}" if notification_id else None,
        record_id=record_id if isinstance(record_id, str) and record_id else None,
    )


def _object_type(record: Element | None) -> str | None:
    # xsi:type="sf:Lead": a namespace prefix, then the object's API name.
    declared = record.get(f"{{{INSTANCE}}}type", "") if record is not None else ""
    return declared.rpartition(":")[2].strip() or None


def _value(field: Element) -> Any:
    if field.get(f"{{{INSTANCE}}}nil") in {"true", "1"}:
        return None
    if len(field):
        return {local_name(child.tag): _value(child) for child in field}
    return field.text or ""


def acknowledge(delivery: Delivery, settings: SalesforceSource, outcome: Answer | ErrorAnswer) -> Reply:  # noqa: ARG001  (one shape for all)
    """Return one Ack for all notifications, or a SOAP Fault.

    Salesforce ignores the status and the text. Without an Ack it retries for 24 hours.
    """
    if isinstance(outcome, ErrorAnswer):
        return fault(outcome, retry_after(outcome))
    return accepted(_ACK)


def sign(
    body: bytes,  # noqa: ARG001  (Salesforce signs nothing: the proof is in the URL and in the body)
    settings: SalesforceSource,  # noqa: ARG001
    *,
    url: str,  # noqa: ARG001
    method: str,  # noqa: ARG001
    message_id: str,  # noqa: ARG001
    now: datetime,  # noqa: ARG001
) -> dict[str, str]:
    """Return the headers that Salesforce would send. They contain no proof."""
    return {"Content-Type": CONTENT_TYPE, "SOAPAction": '""'}


def stored_body(delivery: Delivery, settings: SalesforceSource) -> bytes:  # noqa: ARG001  (one shape for all sources)
    """Return the body without the SessionId, written from the parsed XML.

    Return an empty body if the XML cannot be parsed.
    """
    try:
        return write_xml(read_xml(delivery.body, _CREDENTIALS, _charset(delivery)), _charset(delivery))
    except UnreadableError:
        return b""
