"""Guards of reading untrusted requests and bodies: limits of size, depth, number and time."""

from __future__ import annotations

from .code import Code
from .mutant import mutant

_ASGI = Code("integration/asgi.py")
_BATCHING = Code("integration/store/scripting/batching.py")
_REQUEST_BODY = Code("integration/web/request_body.py")
_FORMS = Code("integration/mapping/forms.py")
_MULTIPART = Code("integration/webhooks/providers/multipart.py")
_BOUNDED_REQUEST = Code("integration/web/bounded_request.py")
_REQUEST_CHECKS = Code("integration/web/request_checks.py")
_JSON_CODEC = Code("integration/domain/json_codec.py")
_SOURCES_BODIES = Code("integration/webhooks/providers/bodies.py")
_SOURCES_SALESFORCE = Code("integration/webhooks/providers/salesforce.py")
_SOURCES_SOAP = Code("integration/webhooks/providers/soap.py")

GUARDS = (
    mutant(
        "size limit by `Content-Length`",
        "a body that declares more than 1 MiB is read",
        _REQUEST_BODY.condition("read_body", "announced", "MAX_BODY_BYTES"),
        "test_request_body.py::test_what_announces_too_much_is_refused_unread",
    ),
    mutant(
        "size limit by the bytes received",
        "a body without `Content-Length` may have any size",
        _REQUEST_BODY.condition("read_body", "len", "MAX_BODY_BYTES", "-stream"),
        "test_request_body.py::test_what_announces_nothing_is_read_to_one_byte_too_many",
    ),
    mutant(
        "a truncated body is rejected",
        "half a body is accepted as a complete one",
        _REQUEST_BODY.condition("read_body", "announced", "len"),
        "test_request_body.py::test_what_was_cut_short_is_refused",
    ),
    mutant(
        "a truncated chunked body is rejected",
        "a chunked body that breaks off is accepted as complete",
        _ASGI.statement("_more", "the body ended before it was complete", to="return False"),
        "test_asgi.py::test_a_body_that_was_cut_short_reaches_nobody",
    ),
    mutant(
        "a compressed body is rejected",
        "a few bytes can expand to any size",
        _REQUEST_BODY.condition("read_body", "_COMPRESSIONS"),
        "test_request_body.py::test_a_packed_body_is_refused_unread",
    ),
    mutant(
        "a body has a time limit",
        "a client that sends one byte a second holds a connection for days",
        _ASGI.argument("_read", "timeout", 0, to="3600"),
        "test_asgi.py::test_a_body_that_does_not_come_is_given_up_on",
    ),
    mutant(
        "all bodies in transit together have a size limit",
        "a thousand slow bodies fill the memory",
        _ASGI.condition("_make_room", "_most_held", "_held"),
        "test_asgi.py::test_when_all_bodies_together_hold_too_much_the_slowest_gives_way",
    ),
    mutant(
        "ambiguous requests are rejected",
        "a request with two hosts or two transfer codings is accepted",
        _ASGI.condition("_require_one_reading", "fault"),
        "test_asgi.py::test_what_can_be_read_in_two_ways_reaches_nobody",
    ),
    mutant(
        "depth limit of JSON",
        "JSON of a hundred thousand brackets reaches the templates",
        _JSON_CODEC.condition("parse_json", "_deeper_than"),
        "test_providers_json.py::test_json_of_64_levels_is_read_and_deeper_is_not",
    ),
    mutant(
        "long JSON numbers are kept as text",
        "a customer id of more than 64 bits becomes the id of another customer",
        _JSON_CODEC.condition("parse_json", "_LONG_NUMBER"),
        "test_providers_json.py::test_a_number_too_long_to_store_keeps_all_its_digits_as_text",
    ),
    mutant(
        "limit of events per delivery",
        "a hundred thousand events are planned and stored in one step",
        _SOURCES_BODIES.condition("require_few", "MAX_EVENTS"),
        "test_providers_json.py::test_more_than_a_thousand_events_are_unreadable",
    ),
    mutant(
        "limit of fields per form",
        "any number of fields is read",
        _FORMS.condition("fields_of", "MAX_FIELDS"),
        "test_providers_json.py::test_an_oversized_or_malformed_form_is_unreadable",
    ),
    mutant(
        "depth limit of bracketed form fields",
        "brackets may be nested to any depth",
        _FORMS.condition("nested", "MAX_FIELD_DEPTH"),
        "test_providers_json.py::test_an_oversized_or_malformed_form_is_unreadable",
    ),
    mutant(
        "XML with a DTD is rejected",
        "a document can bring its own DTD",
        _SOURCES_SOAP.argument("read_xml", "DefusedXMLParser", "forbid_dtd", to="False"),
        "test_providers_salesforce.py::test_xml_that_is_dangerous_or_no_message_is_unreadable",
    ),
    mutant(
        "XML with entities is rejected",
        "a document of a kilobyte can expand to a gigabyte",
        _SOURCES_SOAP.call(
            "read_xml",
            "DefusedXMLParser",
            to="{name}(forbid_dtd=False, forbid_entities=False, forbid_external=False)",
        ),
        "test_providers_salesforce.py::test_xml_that_is_dangerous_or_no_message_is_unreadable",
    ),
    mutant(
        "depth limit of XML",
        "a tree of any depth is built",
        _SOURCES_SOAP.condition("start", "MAX_XML_DEPTH"),
        "test_providers_salesforce.py::test_xml_that_is_dangerous_or_no_message_is_unreadable",
    ),
    mutant(
        "length limit of XML names",
        "the parser prefixes each of sixty thousand names with a namespace of half a megabyte",
        _SOURCES_SOAP.condition("_require_short", "MAX_XML_NAME"),
        "test_providers_salesforce.py::test_xml_that_is_dangerous_or_no_message_is_unreadable",
    ),
    mutant(
        "limit of XML elements and attributes",
        "a mebibyte of empty elements takes seconds to parse",
        _SOURCES_SOAP.condition("_count", "MAX_XML_NODES"),
        "test_providers_salesforce.py::test_xml_that_is_dangerous_or_no_message_is_unreadable",
    ),
    mutant(
        "limit of parts per multipart body",
        "any number of parts is read",
        _MULTIPART.argument("_parts", "_Decoder", "max_parts", to="None"),
        "test_sender_bodies.py::test_a_multipart_body_that_is_incomplete_or_too_large_is_unreadable",
    ),
    mutant(
        "size limit of the headers of a part",
        "a header of a megabyte is parsed in quadratic time",
        _MULTIPART.condition("_parse_headers", "MAX_PART_HEAD_BYTES"),
        "test_sender_bodies.py::test_a_multipart_body_that_is_incomplete_or_too_large_is_unreadable",
    ),
    mutant(
        "limit of fields per dashboard form",
        "half a million fields are read before anybody has signed in",
        _BOUNDED_REQUEST.condition("parse", "MAX_FIELDS"),
        "test_bounded_request.py::test_a_form_of_too_many_fields_is_rejected",
    ),
    mutant(
        "limit of query parameters",
        "any number of parameters is read",
        _REQUEST_CHECKS.condition("excess_of_head", "MAX_FIELDS"),
        "test_request_checks.py::test_a_head_over_a_limit_is_answered_with_its_status",
    ),
    mutant(
        "size limit of the request headers",
        "a header of 400 kB is parsed in quadratic time",
        _REQUEST_CHECKS.condition("excess_of_head", "MAX_HEAD_BYTES"),
        "test_request_checks.py::test_a_head_over_a_limit_is_answered_with_its_status",
    ),
    mutant(
        "a Salesforce `SessionId` is never stored",
        "a live credential of the customer's Salesforce is kept",
        _SOURCES_SALESFORCE.value("", "_CREDENTIALS", to="frozenset()"),
        "test_providers_salesforce.py::test_the_session_id_is_in_no_event_and_no_stored_body",
    ),
    mutant(
        "a connection with pending replies is closed",
        "the next call gets the reply of the previous one",
        _BATCHING.call("_lead", "close", to="None"),
        "test_batching.py::test_an_interrupted_round_trip_leaves_no_reply_for_the_next_call",
    ),
)
