"""The sandbox of expressions: nothing but data is reached, and no bomb grows."""

from __future__ import annotations

import contextlib
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integration.domain.errors import UnmappableError
from integration.mapping.expressions import (
    FILTERS,
    MAX_TEXT,
    TemplateFaultError,
    expression,
    text,
)
from integration.mapping.expressions.environment import ENVIRONMENT
from support.expression_cases import EVENT, NOW, json_values

ESCAPES = [
    "''.__class__.__mro__",
    "''['__class__']['__mro__']",
    "event.__class__.__base__.__subclasses__()",
    "event['__class__']",
    "event | attr('__class__')",
    "event | map(attribute='__class__') | list",
    "[event] | map(attribute='__class__') | first",
    "['{0.__class__}'] | map('format', event) | first",
    "'{0.__class__}'.format(event)",
    "'{x.__class__}'.format_map(event)",
    "('{0.__class__}' | format)(event)",
    "'%s' | format(event)",
    "'%s' % event.a",
    "'%999999999d' % 1",
    "cycler.__init__.__globals__",
    "joiner",
    "namespace()",
    "lipsum.__globals__['os']",
    "range(10)",
    "dict()",
    "self",
    "self.__init__",
    "loop",
    "caller()",
    "event.a.__len__()",
    "event.a.encode()",
    "event.a.translate({})",
    "event.a.join(event.items)",
    "event.items.append(1)",
    "event.clear()",
    "event.pop('a')",
    "now.tzinfo",
    "now.replace(year=1)",
    "(event.a).strip.__self__",
    "[1, 2] | map('attr', '__class__') | list",
    "event.items | map(event.a) | list",
    "event.a.strip(*event.items)",
    "event.a | replace(**event)",
    "_",
    "true.__class__",
    "(1).__class__",
    "event.a | tojson",
    "event | xmlattr",
    "event | pprint",
    "event | random",
]


@pytest.mark.parametrize("source", ESCAPES)
def test_nothing_but_data_is_ever_reached(source):
    try:
        made = expression(source).evaluate(event=EVENT, now=NOW)
    except (TemplateFaultError, UnmappableError):
        return
    assert made is None or set(made) <= {None}


@pytest.mark.parametrize(
    "source",
    [
        "{% for x in event.items %}{{ x }}{% endfor %}",
        "{% set a = event.a %}{{ a }}",
        "{% macro m() %}x{% endmacro %}{{ m() }}",
        "{% include 'x' %}",
        "{% import 'os' as os %}{{ os }}",
        "{% from 'os' import system %}",
        "{% extends 'x' %}",
        "{% block x %}y{% endblock %}",
        "{% filter upper %}x{% endfilter %}",
        "{% call event.a() %}{% endcall %}",
        "{% with a = 1 %}{{ a }}{% endwith %}",
        "{% autoescape true %}{{ event.a }}{% endautoescape %}",
        "{{ 2 ** 99999999 }}",
        "{{ event.a.b.c() }}",
        "{{ (event.a)() }}",
        "{{ event.a.strip(*event.items) }}",
        "{{ event.items.first() }}",
        "{{ event.a.digits() }}",
        "{{ event.a | replace(**event) }}",
        "{{ event.items is eq(*event.items) }}",
        "{{ event.items | map('attr', 'a') | first }}",
        "{{ event.items | map(event.a) | first }}",
        "{{ event.items | map('placeholder', 'a') | first }}",
    ],
)
def test_statements_and_calls_that_a_mapping_does_not_need_are_faults(source):
    with pytest.raises(TemplateFaultError):
        text(source)


@pytest.mark.parametrize(
    "source",
    [
        "{{ 'a' * 1000000000 }}",
        "{{ 1.5 | round(1000000000, 'ceil') }}",
        "{{ event.items * 1000000000 }}",
        "{{ event.long ~ event.long }}",
        "{{ event.long + event.long }}",
        "{{ event.long }}{{ event.long }}",
        "{{ [event.long, event.long] | join }}",
        "{{ event.long | replace('x', event.long) }}",
        "{{ event.long.replace('', event.long) }}",
        "{{ event.huge }}",
        "{{ event.huge | upper }}",
        "{{ event.wide }}",
        "{{ 'x'.zfill(1000000000) ~ 'x' }}",
        "{{ '%999999999d' % 1 }}",
        "{{ 'x' | center(1000000000) if false }}",
    ],
)
def test_a_bomb_is_refused_before_it_grows(source):
    event = {"long": "x" * (MAX_TEXT - 1), "huge": "x" * 1_000_000, "wide": 10**5000, "items": [1]}
    with pytest.raises((UnmappableError, TemplateFaultError)):
        text(source).render(event=event)


@pytest.mark.parametrize(
    "source",
    [
        "event.long + event.long",
        "event.long ~ event.long",
        "event.sharp.upper()",
        "[event.long, event.long] | join",
    ],
)
def test_no_step_on_the_way_makes_a_longer_text_than_a_template_may(source):
    with pytest.raises(UnmappableError):
        expression(source).evaluate(event={"long": "x" * (MAX_TEXT - 1), "sharp": "ß" * (MAX_TEXT - 1)})


@pytest.mark.parametrize(
    "source",
    [
        "event.long | replace('x', event.long)",
        "'x' | zfill(300000000)",
        "'2026-03-02' | strftime('%20000000d')",
        "['2026-03-02', '2026-03-02'] | map('strftime', '%^9000000B') | join",
        "event.long | list | join(event.long)",
    ],
)
def test_a_bomb_takes_no_memory(source):
    event = {"long": "x" * (MAX_TEXT - 1)}
    compiled = expression(source)
    tracemalloc.start()
    try:
        with contextlib.suppress(UnmappableError):
            compiled.evaluate(event=event)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "form", ["%20000000d", "%-99999999Y", "%^5000000B", "%020d", "%", "%d" * 101, "%Y" * 20 + "%1000d"]
)
def test_a_strftime_format_with_a_width_or_too_long_is_unmappable(form):
    with pytest.raises(UnmappableError, match="strftime format"):
        expression("'2026-03-02T10:00:00' | strftime(event.form)").evaluate(event={"form": form})


@pytest.mark.parametrize(
    ("form", "written"),
    [("%d/%m/%Y %H:%M", "02/03/2026 10:00"), ("%-d %^b 100%%", "2 MAR 100%"), ("no date", "no date")],
)
def test_a_strftime_format_without_a_width_is_written(form, written):
    found = expression("'2026-03-02T10:00:00' | strftime(event.form)").evaluate(event={"form": form})
    assert found == written


def test_rounding_does_not_raise_ten_to_a_power_that_the_sender_chose():
    assert expression("5 | round(event.places)").evaluate(event={"places": -1_000_000_000}) == 5


def test_no_global_name_is_there_to_be_found():
    assert ENVIRONMENT.globals == {}


def test_templates_change_nothing_that_they_are_given():
    event = {"rows": [3, 1, 2]}
    assert expression("event.rows | sort").evaluate(event=event) == [1, 2, 3]
    assert expression("event.rows | reverse").evaluate(event=event) == [2, 1, 3]
    assert event == {"rows": [3, 1, 2]}


OPERATORS = [
    "==",
    "!=",
    "<",
    ">",
    "<=",
    ">=",
    "in",
    "not in",
    "and",
    "or",
    "~",
    "+",
    "-",
    "*",
    "/",
    "//",
    "%",
]


atoms = st.sampled_from(
    ["event.a", "event.b", "event.n.a", "event['b']", "event.missing", "1", "'x'", "none", "[]"]
)


filters = st.sampled_from(sorted(set(FILTERS) - {"map", "zone", "strftime"}))


methods = st.sampled_from([".strip()", ".lower()", ".split()", "[0]", "[0:2]", ".a"])


terms = st.one_of(
    atoms,
    st.tuples(atoms, filters).map(lambda pair: f"({pair[0]} | {pair[1]})"),
    st.tuples(atoms, methods).map("".join),
)


expressions = st.tuples(terms, st.sampled_from(OPERATORS), terms).map(" ".join)


@given(source=expressions, event=st.dictionaries(st.sampled_from("abn"), json_values, max_size=3))
def test_whatever_the_event_holds_an_expression_gives_a_value_or_is_unmappable(source, event):
    with contextlib.suppress(UnmappableError):
        expression(source).evaluate(event=event)


@given(source=expressions, event=st.dictionaries(st.sampled_from("abn"), json_values, max_size=3))
def test_whatever_the_event_holds_a_text_is_never_blank_and_never_none(source, event):
    try:
        made = text(f"{{{{ {source} }}}}").render(event=event)
    except UnmappableError:
        return
    assert made.strip()
    assert isinstance(made, str)
    assert len(made) <= MAX_TEXT


@given(value=json_values)
def test_only_a_text_number_or_date_stands_in_a_hole(value):
    try:
        made = text("{{ event.a }}").render(event={"a": value})
    except UnmappableError:
        return
    assert isinstance(value, str | int | float)
    assert not isinstance(value, bool)
    assert made
