"""JSON and form bodies of any sender: parsing, lists of events, and dedup keys."""

from __future__ import annotations

import orjson
import pytest

from integration.domain import limits
from integration.domain.delivery import Delivery, ErrorAnswer
from integration.domain.errors import UnreadableError
from integration.mapping.expressions import text
from integration.webhooks.providers import SOURCES
from support.provider_deliveries import SALESFORCE, read_hubspot
from support.source_cases import (
    FORM,
    NOW,
    SECRET,
    forms,
    salesforce,
)


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
def test_json_is_read_under_several_content_types_or_none(content_type):
    assert read_json(b'{"a":1}', content_type)[0].data == {"a": 1}


@pytest.mark.parametrize("body", [b"", b" \n", b"\xef\xbb\xbf"])
def test_an_empty_body_is_reported_as_empty(body):
    with pytest.raises(UnreadableError, match="body is empty"):
        read_json(body)


def test_a_byte_order_mark_before_json_passes():
    assert read_json(b'\xef\xbb\xbf{"a":1}')[0].data == {"a": 1}


@pytest.mark.parametrize(
    "body",
    [b"NaN", b"[Infinity]", b"1e400", b"{'a':1}", b'"\\ud80"', b"{}{}", b"[1,]", b'{"a":1'],
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
        (b"a[1]=y&a[0]=x", {"a": ["x", "y"]}),
        (b"a[b]=1&a[b]=2&a[b][c]=3", {"a": {"b": {"0": ["1", "2"], "c": "3"}}}),
        (b"a[b]=1&a=2&[c]=3", {"a": {"b": "1", "1": "2"}, "c": "3"}),
        (b"a[b=1&a]b=2&a[0]b=3", {"a[b": "1", "a]b": "2", "a[0]b": "3"}),
        (b"a%5Bb%5D%5B0%5D=c", {"a": {"b": ["c"]}}),
        (b"a[]=1&a[]=2", {"a": ["1", "2"]}),
        (b"a=1&a=2", {"a": ["1", "2"]}),
        (b"a[2]=x&a[5]=y", {"a": {"2": "x", "5": "y"}}),
        (b"a[00]=x&a[1]=y", {"a": {"00": "x", "1": "y"}}),
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
        b'{"a":1',
        b"[1",
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
def test_an_oversized_or_malformed_form_is_unreadable(body):
    with pytest.raises(UnreadableError):
        read_json(body, FORM)


def test_a_byte_order_mark_before_a_form_passes():
    assert read_json(b"\xef\xbb\xbfa=1", FORM)[0].data == {"a": "1"}


def test_a_form_at_its_limits_is_read():
    body = b"&".join(b"a%d" % n + b"[249]" * limits.MAX_FIELD_DEPTH + b"=x" for n in range(limits.MAX_FIELDS))
    assert len(read_json(body, FORM)[0].data) == limits.MAX_FIELDS


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


@pytest.mark.parametrize("optional", ["", "f[1][k]=B&f[1][v]=2&"])
@pytest.mark.parametrize(
    ("template", "made"),
    [
        ("{{ (event.f | first).v }}", "1"),
        ("{{ (event.f | last).v }}", "11"),
        ("{{ (event.f | selectattr('k', 'eq', 'C') | first).v }}", "3"),
        ("{{ event.f | map(attribute='k') | reject('eq', 'B') | join }}", "ACK"),
        ("{{ event.f | rejectattr('k', 'eq', 'B') | list | length }}", "3"),
        ("{{ (event.f | sort(attribute='k', reverse=true) | first).v }}", "11"),
        ("{{ event.f[:1][0].v }}", "1"),
        ("{{ ([event.f] | flatten | first).v }}", "1"),
        ("{{ ((event.f + event.f) | last).v }}", "11"),
        ("{{ 'found' if 'x' in event.tags else 'not found' }}", "found"),
        ("{{ 'found' if 'x' is in(event.tags) else 'not found' }}", "found"),
        ("{{ ['x', 'w'] | select('in', event.tags) | join }}", "x"),
        ("{{ 'found' if '0' in event.tags else 'not found' }}", "not found"),
        ("{{ 'found' if '2' in event.tags or '2' is in(event.tags) else 'not found' }}", "not found"),
        ("{{ 'found' if '3' in event.choices else 'not found' }}", "found"),
        ("{{ 'found' if '1' in event.choices else 'not found' }}", "not found"),
        ("{{ 'found' if 'note' in event.named else 'not found' }}", "found"),
        ("{{ 'found' if '7' in event.named else 'not found' }}", "not found"),
        ("{{ 'found' if 'seven' in event.named else 'not found' }}", "found"),
        ("{{ 'sent' if event.f['3'] is defined else 'not sent' }}", "sent"),
        ("{{ 'sent' if event.f['12'] is defined else 'not sent' }}", "not sent"),
        ("{{ 'mapping' if event.tags is mapping else 'list' }}", "list"),
        ("{{ 'list' if event.tags is sequence else 'other' }}", "list"),
        ("{{ event.f['3'].v }}{{ event.f[3].v }}", "33"),
    ],
)
def test_a_template_means_the_same_whichever_numbered_fields_of_a_form_are_filled_in(
    optional, template, made
):
    body = f"f[11][k]=K&f[11][v]=11&f[0][k]=A&f[0][v]=1&{optional}f[3][k]=C&f[3][v]=3&tags[0]=y&tags[2]=x"
    body += "&choices[0]=3&choices[2]=5&named[7]=seven&named[note]=n"
    if optional:  # without a gap it is a list
        body += "".join(f"&f[{n}][k]=B" for n in (2, *range(4, 11))) + "&tags[1]=z&choices[1]=4"
    (event,) = read_json(body.encode(), FORM)
    assert text(template).render(event=event.data) == made


@pytest.mark.parametrize("optional", ["", "&topics=loans"])
@pytest.mark.parametrize(
    ("template", "made"),
    [
        ("{{ event.topics | first }}", "cards"),
        ("{{ (event.topics | join(', '))[:5] }}", "cards"),
        ("{{ 'found' if 'cards' in event.topics else 'not found' }}", "found"),
    ],
)
def test_a_template_means_the_same_for_one_and_for_two_chosen_options(optional, template, made):
    (event,) = read_json(f"topics=cards{optional}".encode(), FORM)
    assert text(template).render(event=event.data) == made
    assert text("{{ event.topics | last }}").render(event=event.data) == (optional[8:] or "cards")


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


def test_the_message_id_is_the_key_if_dedup_key_cannot_be_rendered():
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
def test_a_401_of_a_source_with_credentials_has_a_challenge(verify, challenge):
    delivery = json_delivery(b"{}")
    refusal = ErrorAnswer(status=401, title="Not verified")
    reply = SOURCES["json"].acknowledge(delivery, forms(verify), refusal)
    assert reply.headers == {"WWW-Authenticate": challenge}
    reply = SOURCES["json"].acknowledge(delivery, forms("standard-webhooks"), refusal)
    assert reply.headers == {}
    reply = SOURCES["json"].acknowledge(delivery, forms(verify), ErrorAnswer(status=400, title="Unreadable"))
    assert reply.headers == {}
