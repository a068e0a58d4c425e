"""Verifiers and readers against whatever strangers can send: refused, unreadable or read, and in bounded time."""

from __future__ import annotations

import base64
import binascii
import json
import re
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from urllib.parse import parse_qsl, urlencode

import orjson
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from integration.domain.delivery import Answer, ErrorAnswer
from integration.domain.errors import NotVerifiedError, UnreadableError
from integration.domain.limits import MAX_EVENTS, MAX_FIELD_DEPTH, MAX_JSON_DEPTH
from integration.mapping.charsets import utf8
from integration.webhooks.providers.bodies import (
    FORM_TYPE,
    read_body,
    read_json,
)
from integration.webhooks.providers.hubspot import signed_uri
from integration.webhooks.providers.salesforce import read as read_salesforce
from support.fuzzing import bounded, examples, gone_bad
from support.source_cases import CASES, NOW, URL_KEY

SESSION = b"00D5f000000AbCd!AQcAQH0dMHZfz972Szmp"
BY_ID = {case.id: case for case in CASES}
XML = BY_ID["salesforce-two-leads"]
FORM = BY_ID["json-kommo"]
TYPED = BY_ID["hubspot-subscriptions"]

each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
each_body_proof = pytest.mark.parametrize(
    "case", [case for case in CASES if case.covers_body], ids=lambda case: case.id
)
each_v3 = pytest.mark.parametrize(
    "case",
    [case for case in CASES if case.settings.kind == "hubspot" and "v3" in case.settings.signatures],
    ids=lambda case: case.id,
)


def passes(case, delivery):
    try:
        case.kind.verify(delivery, case.settings, NOW)
    except (NotVerifiedError, UnreadableError):
        return False
    return True


# --- what a proof covers ---------------------------------------------------------------------


@each_body_proof
@examples(40)
@given(data=st.data())
def test_a_body_that_went_bad_on_its_way_is_refused(case, data):
    body = data.draw(gone_bad(case.body))
    with pytest.raises(NotVerifiedError):
        case.kind.verify(case.delivery(body=body, headers=case.signed()), case.settings, NOW)


def credential(case, name, value):
    """What a header of the proof says, whatever its spelling: case, blanks, spare bits of base64."""
    if name in {"authorization", "webhook-signature"}:
        parts = value.split(" ")
        decoded = set()
        for part in parts:
            with suppress(binascii.Error, ValueError):
                decoded.add(base64.b64decode(part.rpartition(",")[2], validate=True))
        return decoded
    value = value.strip()
    prefix = getattr(case.settings, "prefix", "")
    if getattr(case.settings, "encoding", "") == "hex" and value.startswith(prefix):
        return prefix + value.removeprefix(prefix).lower()
    return value


@pytest.mark.parametrize("case", [case for case in CASES if case.proof_headers], ids=lambda case: case.id)
@examples(40)
@given(data=st.data())
def test_a_proof_that_went_bad_passes_only_where_it_says_the_same(case, data):
    name = data.draw(st.sampled_from(case.proof_headers))
    right = case.signed()
    wrong = data.draw(gone_bad(right[name].encode())).decode("latin-1")
    assume(wrong.strip() != right[name])
    if passes(case, case.delivery(headers={**case.delivery().headers, name: wrong})):
        said, says = credential(case, name, right[name]), credential(case, name, wrong)
        assert says == said or (isinstance(says, set) and said <= says)


@each_v3
@examples(40)
@given(data=st.data())
def test_an_address_that_went_bad_is_refused(case, data):
    url = data.draw(gone_bad(case.url.encode())).decode("latin-1")
    assume(signed_uri(case.url) not in (signed_uri(url), url))
    assert not passes(case, case.delivery(url=url))


@each_v3
@given(method=st.text(max_size=8).filter(lambda method: method != "POST"))
def test_another_method_is_refused(case, method):
    assert not passes(case, case.delivery(method=method))


@pytest.mark.parametrize("case", [case for case in CASES if case.covers_time], ids=lambda case: case.id)
@examples(50)
@given(seconds=st.floats(-400_000_000, 400_000_000))
def test_a_delivery_kept_and_sent_again_later_is_refused(case, seconds):
    """Replay: what was captured is good for five minutes, and for those the events are known already."""
    delivery = case.delivery(headers=case.signed())
    later = NOW + timedelta(seconds=seconds)
    fresh = True
    try:
        case.kind.verify(delivery, case.settings, later)
    except NotVerifiedError:
        fresh = False
    if abs(seconds) > 301:
        assert not fresh
    if abs(seconds) < 299:
        assert fresh


@pytest.mark.parametrize("case", [case for case in CASES if case.url_key], ids=lambda case: case.id)
@given(url_key=st.text(max_size=30).filter(lambda key: key != URL_KEY) | st.none())
def test_another_url_key_is_refused_before_the_body_is_looked_at(case, url_key):
    delivery = replace(case.delivery(url_key=url_key), body=None)
    with pytest.raises(NotVerifiedError):
        case.kind.verify(delivery, case.settings, NOW)


# --- what is read ----------------------------------------------------------------------------

CHARSETS = ("utf-16", "utf-16-le", "utf-32", "latin-1", "cp037", "utf-8-sig")


def levels(value):
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(levels, inner), default=0)


def read_as_promised(case, delivery):
    """Read it; only the documented errors come out, and what is read is bounded and can be stored."""
    try:
        events = case.kind.read(delivery, case.settings)
    except UnreadableError:
        return ()
    assert len(events) <= MAX_EVENTS
    for event in events:
        orjson.dumps(event.data)
        assert levels(event.data) <= MAX_JSON_DEPTH
        assert event.dedup_key is None or event.dedup_key.encode("utf-8", "strict") is not None
    return events


@each_case
@examples(50)
@given(data=st.data())
def test_a_signed_body_of_any_kind_is_read_or_unreadable(case, data):
    body = data.draw(gone_bad(case.body) | st.binary(max_size=100))
    delivery = case.delivery(body=body, headers={**case.signed(body=body), **case.extra_headers})
    with bounded():
        events = read_as_promised(case, delivery)
        kept = case.kind.stored_body(delivery, case.settings)
    if events:
        again = case.kind.read(replace(delivery, body=kept), case.settings)
        assert [event.data for event in again] == [event.data for event in events]
    for outcome in (Answer(delivery="dl_1"), ErrorAnswer(status=400, title="Unreadable")):
        assert case.kind.acknowledge(delivery, case.settings, outcome).status in {200, 202, 400}


@each_case
@pytest.mark.parametrize("charset", CHARSETS)
def test_another_encoding_than_utf_8_is_read_right_or_not_at_all(case, charset):
    text = case.body.decode()
    with suppress(UnicodeEncodeError):
        body = text.encode(charset)
        told = "text/xml" if case.settings.kind == "salesforce" else case.signed()["content-type"]
        for content_type in (told.split(";")[0], f"{told.split(';')[0]}; charset={charset}"):
            delivery = case.delivery(
                body=body, headers={**case.signed(body=body), "content-type": content_type}
            )
            events = read_as_promised(case, delivery)
            right = case.kind.read(case.delivery(), case.settings)
            assert events == () or [event.data for event in events] == [event.data for event in right]


@examples(60)
@given(data=st.data())
def test_a_session_id_is_in_nothing_that_is_read_or_kept_however_the_message_is_damaged(data):
    body = data.draw(gone_bad(XML.body.replace(b"<SessionId>", b"<SessionId>" + SESSION, 1)))
    # Whoever tears the word itself apart has made another field of it.
    assume(body.count(SESSION) <= body.count(b"<SessionId>" + SESSION))
    delivery = XML.delivery(body=body)
    told = orjson.dumps([event.data for event in read_as_promised(XML, delivery)])
    assert SESSION not in told
    assert SESSION not in XML.kind.stored_body(delivery, XML.settings)


# --- JSON ------------------------------------------------------------------------------------


def stored(digits):
    return int(digits) if -(2**63) <= int(digits) < 2**64 else digits


@examples(200)
@given(data=st.data())
def test_what_is_read_as_json_is_what_the_standard_librarys_reader_reads(data):
    body = data.draw(gone_bad(data.draw(st.sampled_from(CASES)).body))
    try:
        read = read_json(body)
    except UnreadableError:
        return
    assert read == as_promised(utf8(body, "utf-8"))


def as_promised(body):
    """Return what the standard library reads, with digits for long integers and U+FFFD for lone surrogates."""
    return replaced(
        json.loads(
            body,
            parse_int=stored,
            object_pairs_hook=lambda pairs: {replaced(key): value for key, value in pairs},
        )
    )


def replaced(value):
    if isinstance(value, str):
        return re.sub("[\ud800-\udfff]", "\ufffd", value)
    if isinstance(value, dict):
        return {key: replaced(item) for key, item in value.items()}
    return [replaced(item) for item in value] if isinstance(value, list) else value


def test_a_lone_surrogate_in_a_key_or_a_value_becomes_the_replacement_character():
    body = b'{"a": ["\\ud800", {"\\udfffk": 1, "\\ud800k": 2}], "b": {}, "c": "\\ud83d\\ude00"}'
    assert read_json(body) == {"a": ["\ufffd", {"\ufffdk": 2}], "b": {}, "c": "\U0001f600"}
    assert as_promised(body) == read_json(body)


@given(text=st.text(), number=st.integers(-(10**300), 10**300))
def test_any_text_and_any_whole_number_keep_their_every_character(text, number):
    assume(not any("\ud800" <= character <= "\udfff" for character in text))
    read = read_json(json.dumps({"text": text, "number": number}).encode())
    assert read["text"] == text
    assert str(read["number"]) == str(number)


# --- forms -----------------------------------------------------------------------------------

PLAIN = st.text(
    alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="[]\0"), min_size=1, max_size=12
)


def form(body):
    return read_body(FORM.delivery(body=body, headers={"content-type": FORM_TYPE}))


@examples(150)
@given(
    fields=st.dictionaries(PLAIN, st.text(st.characters(exclude_categories=["Cs"]), max_size=12), max_size=6)
)
def test_a_plain_form_reads_as_the_standard_library_reads_it(fields):
    body = urlencode(fields).encode()
    try:
        read = form(body)
    except UnreadableError:
        assert not fields
        return
    assert read == dict(parse_qsl(body.decode(), keep_blank_values=True)) == fields


@examples(150)
@given(
    body=st.lists(
        st.text(alphabet="abx0129[]=%.5Dd;+ é\0", max_size=20)
        | st.sampled_from(["__proto__[a]=1", "a[__class__]=1"]),
        max_size=30,
    ).map(lambda parts: "&".join(parts).encode())
)
def test_a_form_of_any_brackets_is_of_texts_and_never_deep(body):
    with bounded():
        try:
            read = form(body)
        except UnreadableError:
            return
    assert levels(read) <= MAX_FIELD_DEPTH + 2
    stack = [read]
    while stack:
        value = stack.pop()
        stack += value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        assert isinstance(value, str | dict | list)


# --- XML -------------------------------------------------------------------------------------

ENVELOPE = XML.body.decode()
MARKUP = st.lists(
    st.sampled_from(
        [
            *(
                "<a>",
                "</a>",
                "<b x='1'>",
                "</b>",
                "<c/>",
                "text",
                "&lt;",
                "&#65;",
                "&#x1F600;",
                "&#0;",
                "&#xD800;",
            ),
            *(
                "<![CDATA[<a>]]>",
                "<!--x-->",
                "<?php evil ?>",
                "<?xml version='1.1'?>",
                "&nbsp;",
                "&xxe;",
                "\0",
                "\x0b",
            ),
            *(
                "<!DOCTYPE a SYSTEM 'file:///etc/passwd'>",
                "<!ENTITY x 'y'>",
                "<xi:include href='file:///etc/passwd'/>",
            ),
            *(
                "<a xmlns='urn:x'>",
                "<a:b xmlns:a='urn:y'/>",
                "<sf:Id>1</sf:Id>",
                "<SessionId>s3cr3t</SessionId>",
            ),
        ]
    ),
    max_size=15,
).map("".join)


@examples(150)
@given(
    markup=MARKUP,
    place=st.sampled_from(["<Notification>", "<sObject", "</Notification>", "<OrganizationId>"]),
)
def test_markup_of_any_kind_in_a_message_is_read_or_unreadable(markup, place):
    body = ENVELOPE.replace(place, markup + place, 1).encode()
    events = read_as_promised(XML, XML.delivery(body=body))
    told = orjson.dumps([event.data for event in events])
    assert b"root:" not in told
    assert b"s3cr3t" not in told


# --- too much --------------------------------------------------------------------------------

MIB = 1024 * 1024
LEAD, REST = XML.body.split(b"<Notification>", 1)
TOO_MUCH = {
    "json, deep lists": (TYPED, b"[" * (MIB // 2) + b"]" * (MIB // 2)),
    "json, deep objects": (TYPED, b'{"a":' * (MIB // 6) + b"1" + b"}" * (MIB // 6)),
    "json, wide and just deep enough": (TYPED, b"[" * 60 + b"[]," * (MIB // 4) + b"[]" + b"]" * 60),
    "json, many numbers": (TYPED, b"[" + b"1," * (MIB // 2 - 2) + b"1]"),
    "json, long numbers": (TYPED, b"[" + (b"9" * 300 + b",") * 3400 + b"1]"),
    "json, one number": (TYPED, b"[" + b"9" * MIB + b"]"),
    "json, many keys": (TYPED, json.dumps({f"k{n}": "" for n in range(70_000)}).encode()),
    "json, one key many times": (TYPED, b"{" + b'"a":1,' * (MIB // 7) + b'"a":1}'),
    "json, escapes": (TYPED, b'{"a":"' + b"\\u0041" * (MIB // 7) + b'"}'),
    "form, fields": (FORM, b"&".join(b"a[%d]=1" % n for n in range(2000))),
    "form, indexes after ids": (
        FORM,
        b"&".join([*(b"a[%d]=1" % n for n in range(1000, 2000)), *[b"a[]=1"] * 1000]),
    ),
    "form, escapes of surrogates": (FORM, b"a=" + b"%ED%A0%BD" * (MIB // 9 - 1)),
    "json, lone surrogates": (TYPED, b'{"a":"' + b"\\ud83d" * (MIB // 6 - 2) + b'"}'),
    "form, one name": (FORM, b"&".join(b"a[]=%d" % n for n in range(2000))),
    "form, more fields": (FORM, b"a=1&" * (MIB // 4)),
    "form, deep names": (FORM, b"&".join(b"a" + b"[%d]" % (n % 7) * 10 + b"=x" for n in range(2000))),
    "form, brackets": (FORM, b"a" + b"[" * (MIB - 3) + b"=1"),
    "form, escaped brackets": (FORM, b"a" + b"%5B%5D" * (MIB // 6 - 1) + b"=1"),
    "form, one value": (FORM, b"a=" + b"%41" * (MIB // 3 - 1)),
    "form, one name of a mebibyte": (FORM, b"a" * (MIB - 2) + b"=1"),
    "xml, deep": (XML, LEAD + b"<a>" * (MIB // 3)),
    "xml, wide": (XML, LEAD + b"<a/>" * (MIB // 5) + b"<Notification>" + REST),
    "xml, attributes": (XML, b"<a " + b" ".join(b'a%d="x"' % n for n in range(80_000)) + b"/>"),
    "xml, a long namespace on many elements": (
        XML,
        b"<a:a xmlns:a='" + b"x" * 500_000 + b"'>" + b"<a:b/>" * 60_000 + b"</a:a>",
    ),
    "xml, a namespace of the longest": (
        XML,
        LEAD + b"<a:a xmlns:a='" + b"x" * 256 + b"'>" + b"<a:b/>" * 39_000 + b"</a:a><Notification>" + REST,
    ),
    "xml, a namespace for each element": (
        XML,
        LEAD + b"".join(b"<a xmlns='%d'/>" % n for n in range(39_000)) + b"<Notification>" + REST,
    ),
    "xml, namespaces": (XML, b"<a " + b" ".join(b'xmlns:a%d="x%d"' % (n, n) for n in range(40_000)) + b"/>"),
    "xml, a token without end": (XML, b"<a " + b"x" * MIB),
    "xml, a comment without end": (XML, b"<!--" + b"-a" * (MIB // 2)),
    "xml, character references": (XML, LEAD + b"&#65;" * (MIB // 6) + b"<Notification>" + REST),
    "xml, laughs": (
        XML,
        b"<!DOCTYPE l [<!ENTITY a 'lol'>"
        + b"".join(b"<!ENTITY %c '%s'>" % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(9))
        + b"]><l>&j;</l>",
    ),
    "xml, one entity many times": (
        XML,
        b"<!DOCTYPE l [<!ENTITY a '" + b"x" * 50_000 + b"'>]><l>" + b"&a;" * 200_000 + b"</l>",
    ),
}


@pytest.mark.parametrize("name", TOO_MUCH)
def test_a_mebibyte_of_the_worst_takes_little_time(name):
    case, body = TOO_MUCH[name]
    delivery = case.delivery(body=body, headers={**case.signed(body=body), **case.extra_headers})
    with bounded(5.0):
        with suppress(NotVerifiedError, UnreadableError):
            case.kind.verify(delivery, case.settings, NOW)
        read_as_promised(case, delivery)
        case.kind.stored_body(delivery, case.settings)


def test_salesforce_reads_no_file_that_a_message_names(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("the words of the file", "utf-8")
    for declared in (f"SYSTEM '{secret.as_uri()}'", f"[<!ENTITY x SYSTEM '{secret.as_uri()}'>]"):
        with pytest.raises(UnreadableError):
            read_salesforce(XML.delivery(body=f"<!DOCTYPE a {declared}>".encode() + XML.body), XML.settings)
