"""The filter `fromjson`: JSON inside a text."""

from __future__ import annotations

import json

import pytest

from integration.domain.errors import UnmappableError
from integration.mapping.expressions import expression
from integration.mapping.expressions import text as template


def opened(text):
    return expression("event.payload | fromjson").evaluate(event={"payload": text})


def rendered(source, event):
    return template(source).render(event=event)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"documento": "80123456"}', {"documento": "80123456"}),
        (' [1, {"a": null}] \n', [1, {"a": None}]),
        ('"a"', "a"),
        ("12", 12),
        ("12345678901234567890123", "12345678901234567890123"),
        ('{"name": "Jos\\u00e9 \\ud83d"}', {"name": "José \ufffd"}),
        ('{"a": 1, "a": 2}', {"a": 2}),
    ],
)
def test_the_value_of_a_json_text_is_read(text, value):
    assert opened(text) == value


@pytest.mark.parametrize("text", [None, "null"])
def test_an_absent_or_null_json_is_absent(text):
    assert opened(text) is None
    assert expression("(event.missing | fromjson).a is defined").evaluate(event={}) is False


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "{",
        "{'a': 1}",
        "a=1",
        "NaN",
        "1e999",
        '{"a": 1} {"b": 2}',
        "[" * 65 + "]" * 65,
        "[" * 100_000,
        '"' + "x" * (1024 * 1024) + '"',
        json.dumps(list(range(10_001))),
        {"a": 1},
        ["{}"],
        True,
        12,
    ],
)
def test_what_is_no_json_text_is_unmappable_and_not_quoted(text):
    with pytest.raises(UnmappableError) as caught:
        opened(text)
    assert len(str(caught.value)) < 200


def test_fields_of_a_json_text_fill_a_template():
    event = {"payload": '{"doc": 80123456, "items": [{"phone": "300 111 2233"}]}'}
    assert rendered("{{ (event.payload | fromjson).doc }}", event) == "80123456"
    assert rendered("{{ (event.payload | fromjson)['items'][0].phone | digits }}", event) == "3001112233"
    with pytest.raises(UnmappableError, match="does not have"):
        rendered("{{ (event.payload | fromjson).phone }}", event)


def test_json_inside_json_is_read_twice():
    event = {"payload": json.dumps({"inner": json.dumps({"at": "2030-06-04"})})}
    assert rendered("{{ ((event.payload | fromjson).inner | fromjson).at }}", event) == "2030-06-04"


def test_json_texts_of_a_list_are_read_one_by_one():
    body = {"rows": ['{"id": 1}', '{"id": 2}']}
    assert expression("body.rows | map('fromjson') | list").evaluate(body=body) == [{"id": 1}, {"id": 2}]
