"""Guards of reading what strangers send: size, depth, number, time."""

from __future__ import annotations

from .mutant import mutant

_BODY = "integration/request_body.py"
_BODIES = "integration/sources/bodies.py"
_SOAP = "integration/sources/soap.py"
_GATE = "integration/asgi.py"

GUARDS = (
    mutant(
        "size limit by the announced length",
        "a body that announces more than 1 MiB is read",
        "test_receiver.py",
        file=_BODY,
        before="    if announced is not None and announced > most_bytes:\n        raise RequestEntityTooLarge\n",
    ),
    mutant(
        "size limit by what comes",
        "a body without a length may be of any size",
        "test_receiver.py",
        file=_BODY,
        before="        if len(body) > most_bytes:\n            raise RequestEntityTooLarge\n",
    ),
    mutant(
        "a body cut short",
        "half a body is taken for a whole one",
        "test_receiver.py",
        file=_BODY,
        before="if announced is not None and len(body) < announced:",
        after="if False:",
    ),
    mutant(
        "a chunked body cut short",
        "one that breaks off is taken for a whole one",
        "test_asgi.py",
        file=_GATE,
        before='            raise _Refused(problem(400, detail="the body ended before it was complete"))\n',
        after="            return False\n",
    ),
    mutant(
        "a packed body",
        "a few bytes may unpack to any number",
        "test_receiver.py",
        file=_BODY,
        before='    if request.headers.get("Content-Encoding", "identity").strip().lower() not in {"", "identity"}:\n',
        after="    if False:\n",
    ),
    mutant(
        "a body is bounded in time",
        "one byte a second holds a connection for days",
        "test_asgi.py",
        file=_GATE,
        before="async with asyncio.timeout(self._body_seconds) as limit:",
        after="async with asyncio.timeout(None) as limit:",
    ),
    mutant(
        "bodies on the way are bounded together",
        "a thousand slow ones fill the memory",
        "test_asgi.py",
        file=_GATE,
        before="if self._held > self._most_held and self._gathering:",
        after="if False:",
    ),
    mutant(
        "requests that two servers read in two ways",
        "two lengths, or a length and chunks, pass",
        "test_one_reading.py",
        "test_asgi.py",
        file=_GATE,
        before="    if fault is not None:\n",
        after="    if False:\n",
    ),
    mutant(
        "depth of JSON",
        "a hundred thousand brackets reach the templates",
        "test_sources.py",
        file=_BODIES,
        before="    if _deeper_than(value, MAX_DEPTH, body):\n",
        after="    if False:\n",
    ),
    mutant(
        "long numbers stay exact",
        "a customer id beyond 64 bits becomes another customer's",
        "test_sources.py",
        file=_BODIES,
        before="    if _LONG_NUMBER.search(body):\n",
        after="    if False:\n",
    ),
    mutant(
        "events in one delivery",
        "a hundred thousand are planned and stored in one step",
        "test_sources.py",
        file=_BODIES,
        before="    if events > MAX_EVENTS:\n",
        after="    if False:\n",
    ),
    mutant(
        "fields of a form",
        "any number is read",
        "test_sources.py",
        file=_BODIES,
        before="    if fields > MAX_FORM_FIELDS:\n",
        after="    if fields > 10**9:\n",
    ),
    mutant(
        "brackets of a form",
        "any depth is read",
        "test_sources.py",
        file=_BODIES,
        before='        if len(_OPENING_BRACKET.findall(field.partition("=")[0])) > MAX_FORM_DEPTH:\n',
        after="        if False:\n",
    ),
    mutant(
        "no DTD",
        "a document may bring its own",
        "test_sources.py",
        file=_SOAP,
        before="forbid_dtd=True",
        after="forbid_dtd=False",
    ),
    mutant(
        "no entities",
        "a kilobyte may grow to a gigabyte",
        "test_sources.py",
        file=_SOAP,
        before="forbid_dtd=True)",
        after="forbid_dtd=False, forbid_entities=False, forbid_external=False)",
    ),
    mutant(
        "depth of XML",
        "any depth is built",
        "test_sources.py",
        file=_SOAP,
        before="        if len(self._open) > MAX_DEPTH:\n",
        after="        if False:\n",
    ),
    mutant(
        "a SessionId goes nowhere",
        "a live credential of the customer's Salesforce is kept",
        "test_sources.py",
        file="integration/sources/salesforce.py",
        before='_CREDENTIALS = frozenset({"SessionId"})',
        after='_CREDENTIALS = frozenset({"NoSuchElement"})',
    ),
)
