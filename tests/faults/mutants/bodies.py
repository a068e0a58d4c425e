"""Guards of reading what strangers send: size, depth, number, time."""

from __future__ import annotations

from .mutant import mutant

_BODY = "integration/request_body.py"
_BODIES = "integration/sources/bodies.py"
_SOAP = "integration/sources/soap.py"
_GATE = "integration/asgi.py"
_DIRECT = "integration/direct.py"
_LEFT = "test_direct.py::test_what_is_not_plain_is_left_to_the_application"

GUARDS = (
    mutant(
        "size limit by the announced length",
        "a body that announces more than 1 MiB is read",
        "test_request_body.py::test_what_announces_too_much_is_refused_unread",
        file=_BODY,
        before="    if announced is not None and announced > most_bytes:\n        raise RequestEntityTooLarge\n",
    ),
    mutant(
        "size limit by what comes",
        "a body without a length may be of any size",
        "test_request_body.py::test_what_announces_nothing_is_read_to_one_byte_too_many",
        file=_BODY,
        before="        if len(body) > most_bytes:\n            raise RequestEntityTooLarge\n",
    ),
    mutant(
        "a body cut short",
        "half a body is taken for a whole one",
        "test_request_body.py::test_what_was_cut_short_is_refused",
        file=_BODY,
        before="if announced is not None and len(body) < announced:",
        after="if False:",
    ),
    mutant(
        "a chunked body cut short",
        "one that breaks off is taken for a whole one",
        "test_asgi.py::test_a_body_that_was_cut_short_reaches_nobody",
        file=_GATE,
        before='            raise _Refused(problem(400, detail="the body ended before it was complete"))\n',
        after="            return False\n",
    ),
    mutant(
        "a packed body",
        "a few bytes may unpack to any number",
        "test_request_body.py::test_a_packed_body_is_refused_unread",
        file=_BODY,
        before='    if request.headers.get("Content-Encoding", "identity").strip().lower() not in {"", "identity"}:\n',
        after="    if False:\n",
    ),
    mutant(
        "a body is bounded in time",
        "one byte a second holds a connection for days",
        "test_asgi.py::test_a_body_that_does_not_come_is_given_up_on",
        file=_GATE,
        before="limit = self._gathering[id(body)] = _Limit(self._body_seconds)",
        after="limit = self._gathering[id(body)] = _Limit(3600)",
    ),
    mutant(
        "bodies on the way are bounded together",
        "a thousand slow ones fill the memory",
        "test_asgi.py::test_when_all_bodies_together_hold_too_much_the_slowest_gives_way",
        file=_GATE,
        before="if self._held > self._most_held and self._gathering:",
        after="if False:",
    ),
    mutant(
        "requests that two servers read in two ways",
        "two lengths, or a length and chunks, pass",
        "test_asgi.py::test_what_can_be_read_in_two_ways_reaches_nobody",
        file=_GATE,
        before="    if fault is not None:\n",
        after="    if False:\n",
    ),
    mutant(
        "depth of JSON",
        "a hundred thousand brackets reach the templates",
        "test_sources.py::test_json_of_64_levels_is_read_and_deeper_is_not",
        file=_BODIES,
        before="    if _deeper_than(value, MAX_DEPTH, body):\n",
        after="    if False:\n",
    ),
    mutant(
        "long numbers stay exact",
        "a customer id beyond 64 bits becomes another customer's",
        "test_sources.py::test_a_number_too_long_to_store_keeps_all_its_digits_as_text",
        file=_BODIES,
        before="    if _LONG_NUMBER.search(body):\n",
        after="    if False:\n",
    ),
    mutant(
        "events in one delivery",
        "a hundred thousand are planned and stored in one step",
        "test_sources.py::test_more_than_a_thousand_events_are_unreadable",
        file=_BODIES,
        before="    if events > MAX_EVENTS:\n",
        after="    if False:\n",
    ),
    mutant(
        "fields of a form",
        "any number is read",
        "test_sources.py::test_a_form_that_is_a_bomb_or_no_form_is_unreadable",
        file=_BODIES,
        before="    if fields > MAX_FORM_FIELDS:\n",
        after="    if fields > 10**9:\n",
    ),
    mutant(
        "brackets of a form",
        "any depth is read",
        "test_sources.py::test_a_form_that_is_a_bomb_or_no_form_is_unreadable",
        file=_BODIES,
        before='        if len(_OPENING_BRACKET.findall(field.partition("=")[0])) > MAX_FORM_DEPTH:\n',
        after="        if False:\n",
    ),
    mutant(
        "no DTD",
        "a document may bring its own",
        "test_sources.py::test_xml_that_is_dangerous_or_no_message_is_unreadable",
        file=_SOAP,
        before="forbid_dtd=True",
        after="forbid_dtd=False",
    ),
    mutant(
        "no entities",
        "a kilobyte may grow to a gigabyte",
        "test_sources.py::test_xml_that_is_dangerous_or_no_message_is_unreadable",
        file=_SOAP,
        before="forbid_dtd=True)",
        after="forbid_dtd=False, forbid_entities=False, forbid_external=False)",
    ),
    mutant(
        "depth of XML",
        "any depth is built",
        "test_sources.py::test_xml_that_is_dangerous_or_no_message_is_unreadable",
        file=_SOAP,
        before="        if len(self._open) > MAX_DEPTH:\n",
        after="        if False:\n",
    ),
    mutant(
        "a SessionId goes nowhere",
        "a live credential of the customer's Salesforce is kept",
        "test_sources.py::test_the_session_id_is_kept_nowhere",
        file="integration/sources/salesforce.py",
        before='_CREDENTIALS = frozenset({"SessionId"})',
        after='_CREDENTIALS = frozenset({"NoSuchElement"})',
    ),
    mutant(
        "a packed body is left to the application",
        "it is read as it is where deliveries are answered without the application",
        _LEFT,
        file=_DIRECT,
        before='        if headers.get("content-encoding", "").strip().lower() not in _UNPACKED:\n',
        after="        if False:\n",
    ),
    mutant(
        "a body that is not as long as announced is left to the application",
        "a part of it is taken for the whole",
        _LEFT,
        file=_DIRECT,
        before=' or headers.get("content-length", str(len(body))) != str(len(body)):\n',
        after=":\n",
    ),
    mutant(
        "a body over the limit is left to the application",
        "it is taken where deliveries are answered without the application",
        _LEFT,
        file=_DIRECT,
        before="if len(body) > MAX_BODY_BYTES or headers",
        after="if headers",
    ),
    mutant(
        "a limit is asked for before a delivery is taken",
        "a source sends as often as it likes where deliveries are answered without the application",
        "test_direct.py::test_a_source_with_a_limit_is_asked_about_where_that_may_wait",
        file="integration/intake.py",
        before="return self._desk.at_hand and settings.rate_per_minute is None",
        after="return self._desk.at_hand",
    ),
    mutant(
        "a connection that may hold replies still is left",
        "the next who asks gets the reply of the one before",
        "test_together.py::test_a_connection_on_which_something_went_wrong_is_left",
        file="workers/together.py",
        before="            await line.leave()\n",
    ),
)
