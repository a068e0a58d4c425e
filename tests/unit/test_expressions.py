from __future__ import annotations

import contextlib
import tracemalloc
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integration.domain.errors import UnmappableError
from integration.mapping.expressions import (
    FILTERS,
    MAX_SOURCE,
    MAX_TEXT,
    NOT_LOOKED_UP,
    LookupNeeded,
    TemplateContext,
    TemplateFaultError,
    expression,
    text,
)
from integration.mapping.expressions.environment import ENVIRONMENT

EVENT = {
    "a": "x",
    "null": None,
    "blank": " \t",
    "zero": 0,
    "yes": True,
    "number": 12345,
    "float": 12345.0,
    "items": ["first", "second"],
    "keys": "the field",
    "nested": {"deep": {"value": "found"}},
    "rows": [{"p": "1"}, {"p": "2"}],
    "holed": [{"p": "1"}, {"p": None}],
    "padded": "  Ana María  ",
}
NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abn"), inner, max_size=3),
    max_leaves=12,
)


def evaluate(source: str, **names):
    return expression(source).evaluate(event=EVENT, **names)


def render(source: str, **names):
    return text(source).render(event=EVENT, **names)


# --- reading the event -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("event.a", "x"),
        ("event['a']", "x"),
        ("event.items", ["first", "second"]),
        ("event.items[0]", "first"),
        ("event.items.1", "second"),
        ("event.items[-1]", "second"),
        ("event.keys", "the field"),
        ("event.nested.deep.value", "found"),
        ("event.a[0:1]", "x"),
        ("event.items[1:]", ["second"]),
        ("{'x': 'sales'}[event.a]", "sales"),
        ("vars.team", "red"),
        ("now.year", 2026),
    ],
)
def test_a_dot_reads_the_events_own_field(source, value):
    assert evaluate(source, vars={"team": "red"}, now=NOW) == value


@pytest.mark.parametrize(
    "source",
    [
        "event.values",
        "event.get",
        "event.update",
        "event.a.upper",
        "event.items.append",
        "event.missing",
        "event.missing.far.down",
        "event.missing['x'][0]",
        "event.items[9]",
        "event.null.x",
        "event.a.x",
        "event.number.real",
        "event.a if event.missing",
        "{'y': 1}[event.a]",
        "event.items[event.missing]",
        "now.tzinfo",
        "now.__class__",
    ],
)
def test_what_is_not_a_field_is_absent(source):
    assert evaluate(source, now=NOW) is None


# --- absent in expressions -------------------------------------------------------------------


@pytest.mark.parametrize(
    "source",
    [
        "event.missing",
        "event.a == 'x' and event.missing",
        "event.missing == event.missing2",
        "event.missing == event.missing",
        "event.missing == none",
        "event.missing == ''",
        "event.missing == false",
        "event.missing < 5",
        "event.missing > 5",
        "5 <= event.missing",
        "event.null < 5",
        "5 >= event.null",
        "event.missing < event.missing2",
        "event.missing in ['x', event.missing]",
        "'x' in event.missing",
        "'x' in event.null",
        "event.missing in event.a",
        "event.missing | length > 0",
        "event.missing + 1 > 0",
        "event.missing ~ 'a' == 'a'",
        "event.missing.strip() == ''",
        "event.missing | upper == ''",
        "event.missing is string",
        "event.missing is odd",
        "event.missing is defined",
        "event.missing is none",
        "event.null == 0",
        "event.null == event.missing",
        "event.items | select('eq', event.missing) | list",
        "-event.missing > 0 or -event.missing < 0",
    ],
)
def test_an_absent_field_is_falsy_and_equals_nothing(source):
    assert not evaluate(source)


@pytest.mark.parametrize(
    "source",
    [
        "not event.missing",
        "not event.null",
        "not ''",
        "event.missing != 'x'",
        "event.missing != event.missing",
        "event.missing not in ['x']",
        "event.missing is undefined",
        "event.null is none",
        "event.null == none",
        "event.null is eq none",
        "event.null is defined",
        "event.missing | default('y') == 'y'",
        "event.null | default('y') == 'y'",
        "event.blank | default('y') == 'y'",
        "event.zero | default('y') == 0",
        "event.zero | default('y', true) == 'y'",
        "event.items | length == 2",
        "'x' in event.a",
        "'first' in event.items",
        "1 < 2 < 3",
        "event.padded.strip().lower() == 'ana maría'",
        "event.a.startswith('x') and not event.a.endswith('y')",
        "event.rows | map(attribute='p') | join('-') == '1-2'",
        "event.rows | selectattr('p', 'eq', '2') | first == {'p': '2'}",
        "[[1, 2], 3] | flatten == [1, 2, 3]",
        "event.holed | map(attribute='p') | select | list == ['1']",
        "'a,b'.split(',')[1] == 'b'",
        "'7' | int + 1 == 8",
        "event.number % 10 == 5 and event.number // 2 == 6172",
        "[1] + [2] == [1, 2]",
        "[event.null] | join | default('y') == 'y'",
        "2.567 | round(1) == 2.6",
        "2.5 | round(99) == 2.5",
    ],
)
def test_expressions_that_are_true(source):
    assert evaluate(source)


def test_a_chain_of_comparisons_needs_all_of_them():
    assert not evaluate("1 < 3 < 2")


def test_a_list_from_a_filter_is_a_list_and_not_an_iterator():
    assert evaluate("event.rows | map(attribute='p')") == ["1", "2"]


@pytest.mark.parametrize(
    "source", ["event.a < 5", "1 / 0", "event.items + 'x'", "'abc' | int", "event.a in 5"]
)
def test_what_cannot_be_worked_out_is_unmappable(source):
    with pytest.raises(UnmappableError) as caught:
        evaluate(source)
    assert caught.value.field == "expression"


# --- holes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "made"),
    [
        ("12345", "12345"),
        ("{{ event.a }}", "x"),
        (" {{ event.a }} ", "x"),
        ("{{ event.number }}", "12345"),
        ("{{ event.float }}", "12345"),
        ("{{ event.zero }}", "0"),
        ("57{{ event.number }}-{{ event.a }}", "5712345-x"),
        ("{{ event.missing | default('y') }}", "y"),
        ("{{ '+57 (300) 111-2233' | digits }}", "573001112233"),
        ("{{ '٣٠٠' | digits }}", "300"),
        ("{% if event.a %}{{ event.a }}{% else %}{{ event.missing }}{% endif %}", "x"),
        ("{{ event.nested.deep.value | upper }}", "FOUND"),
        ("{{ event.a ~ '-' ~ event.number }}", "x-12345"),
        ("{{ 1.5 }}", "1.5"),
        ("{{ now | plus(hours=2) }}", "2026-03-02T17:00:00+00:00"),
        ("{{ now.strftime('%d/%m') }}", "02/03"),
        ("{{ 'a-b' | replace('-', '+') }}", "a+b"),
        ("{{ '7' | zfill(3) }}", "007"),
    ],
)
def test_holes_are_filled(source, made):
    assert render(source, now=NOW) == made


@pytest.mark.parametrize(
    "hole",
    [
        "event.missing",
        "event.null",
        "event.blank",
        "''",
        "none",
        "event.items",
        "event.nested",
        "event.yes",
        "event.missing | upper",
        "event.null | upper",
        "event.null | string",
        "event.items | upper",
        "'x' ~ event.null",
        "'x' ~ event.missing",
        "event.holed | map(attribute='p') | join",
        "[event.null] | join",
        "event.missing | int",
        "event.missing | default",
        "'no digits' | digits",
        "event.a if event.missing",
        "1e300 * 1e300",
        "9007199254740993.0",
        "event.get",
        "event.a.upper",
    ],
)
@pytest.mark.parametrize("form", ["{{ %s }}", "before {{ event.a }} {{ %s }} after"])
def test_one_hole_that_is_absent_null_blank_or_no_text_makes_the_text_unmappable(hole, form):
    with pytest.raises(UnmappableError):
        render(form % hole)


def test_the_error_of_a_hole_names_its_path_and_never_quotes_a_value():
    with pytest.raises(UnmappableError) as caught:
        render("{{ event.nested['deep'].phone | digits }}")
    assert "event.nested['deep'].phone, which is absent" in caught.value.found


def test_a_text_that_comes_out_empty_is_unmappable():
    with pytest.raises(UnmappableError):
        render("{% if event.missing %}x{% endif %}")


def test_a_text_of_one_hole_keeps_the_type_of_its_value():
    day = text("{{ '01/03/2026' | date('%d/%m/%Y') }}").value(TemplateContext({}))
    assert (day, type(day)) == (date(2026, 3, 1), date)
    assert text("{{ '2026-03-01T10:00:00Z' | date }}").value(TemplateContext({})) == datetime(
        2026, 3, 1, 10, tzinfo=UTC
    )


# --- dates -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "made"),
    [
        ("{{ '03/01/2026 10:30 PM' | date('%d/%m/%Y %I:%M %p') }}", "2026-01-03T22:30:00"),
        ("{{ '03/01/2026 10:30 p. m.' | date('%d/%m/%Y %I:%M %p') }}", "2026-01-03T22:30:00"),
        ("{{ '03/01/2026 10:30a.m.' | date('%d/%m/%Y %I:%M %p') }}", "2026-01-03T10:30:00"),
        ("{{ 20260301 | date('%Y%m%d') }}", "2026-03-01"),
        ("{{ '1772323200000' | day }}", "2026-03-01"),
        ("{{ '2026-03-01T00:00:00Z' | day }}", "2026-03-01"),
        ("{{ '2026-03-01' | day }}", "2026-03-01"),
        ("{{ '2026-03-01T10:00:00Z' | zone('America/Bogota') }}", "2026-03-01T05:00:00-05:00"),
        ("{{ '2026-03-01 10:00' | zone('America/Bogota') }}", "2026-03-01T10:00:00-05:00"),
        (
            "{{ '2026-03-07T12:00:00-05:00' | zone('America/New_York') | plus(days=1) }}",
            "2026-03-08T12:00:00-04:00",
        ),
        ("{{ '2026-03-08 01:30' | zone('America/New_York') | plus(hours=1) }}", "2026-03-08T03:30:00-04:00"),
        ("{{ '2026-03-01' | plus(days=2) }}", "2026-03-03"),
    ],
)
def test_date_filters(source, made):
    assert render(source) == made


@pytest.mark.parametrize(
    "hole",
    [
        "'31/02/2026' | date('%d/%m/%Y')",
        "'2026-03-01' | date('%d/%m/%Y')",
        "'2026-03-01T05:00:00Z' | day",
        "'1772323200001' | day",
        "'soon' | day",
        "'2026-03-01' | zone('UTC')",
        "'2026-03-01' | plus(hours=1)",
        "'x' | date(event.a)",
        "'10/03/2026 10:00' | date('%d/%m/%Y ' ~ '%I:%M')",
        "now | zone('Amer' ~ 'ica')",
        "now | zone(event.a)",
        "event.missing | date('%d/%m/%Y')",
        "true | day",
    ],
)
def test_dates_that_cannot_be_read_are_unmappable(hole):
    with pytest.raises(UnmappableError):
        render(f"{{{{ {hole} }}}}", now=NOW)


@pytest.mark.parametrize("form", ["%d/%m", "%q", "%", "%d/%m/%Y %I:%M", "%d/%m/%Y %Z", "%Y-%d", "text"])
def test_a_format_that_cannot_be_used_is_a_fault_of_the_configuration(form):
    with pytest.raises(TemplateFaultError, match="a format"):
        text(f"{{{{ event.when | date('{form}') }}}}")


def test_a_zone_that_does_not_exist_is_a_fault_of_the_configuration():
    with pytest.raises(TemplateFaultError, match="IANA"):
        text("{{ event.when | zone('America/Bogotá') }}")


# --- a contact that is not looked up ---------------------------------------------------------


@pytest.mark.parametrize(
    "source",
    [
        "contact.properties.phone",
        "contact['x']",
        "contact",
        "not contact",
        "contact == none",
        "none == contact",
        "contact != 'x'",
        "contact is defined",
        "contact is none",
        "contact | default('x')",
        "contact | length",
        "contact < 5",
        "'x' in contact",
        "contact in ['x']",
        "contact ~ 'x'",
        "[contact] | join",
        "contact + 1",
        "-contact",
        "contact[0:1]",
        "event.a if contact",
        "contact and event.a",
    ],
)
def test_touching_a_contact_that_is_not_looked_up_asks_for_it(source):
    with pytest.raises(LookupNeeded):
        text(f"{{{{ {source} }}}}").render(event=EVENT, contact=NOT_LOOKED_UP)
    with pytest.raises(LookupNeeded):
        bool(expression(source).evaluate(event=EVENT, contact=NOT_LOOKED_UP))


def test_a_contact_that_is_not_touched_is_not_asked_for():
    assert expression("event.missing and contact.x").evaluate(event=EVENT, contact=NOT_LOOKED_UP) is None


def test_a_contact_that_does_not_exist_is_absent():
    assert not expression("contact.properties.phone == none").evaluate(contact=None)


# --- faults of the configuration -------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("evnt.a", "'evnt'"),
        ("event.a ==", "line 1"),
        ("event.a event.b", "more than one"),
        ("", "empty"),
        ("   ", "empty"),
        ("event.a | uper", "'uper'"),
        ("event.a is text", "'text'"),
        ("event.a.frobnicate()", "'frobnicate'"),
        ("x" * (MAX_SOURCE + 1), "characters"),
        ("(" * 1500 + "event.a" + ")" * 1500, "nested"),
        ("not " * 900 + "event.a", "nested"),
    ],
)
def test_an_expression_that_does_not_compile_says_why(source, words):
    with pytest.raises(TemplateFaultError, match=words):
        expression(source)


@pytest.mark.parametrize("source", ["{{ event.a", "{{ event.a }} {% endif %}", "{{ }}", "", "{{ nope }}"])
def test_a_text_that_does_not_compile_is_a_value_error(source):
    with pytest.raises(ValueError, match="allowed"):
        text(source)


def test_a_misspelt_name_is_told_the_nearest():
    with pytest.raises(TemplateFaultError) as caught:
        text("{{ evento.a }}")
    assert caught.value.allowed.startswith("event (nearest)")


def test_only_the_names_that_are_allowed_may_be_read():
    with pytest.raises(TemplateFaultError):
        expression("contact.x", frozenset({"event"}))


def test_a_name_that_is_not_given_is_an_error_of_the_caller():
    with pytest.raises(ValueError, match="not given: contact"):
        expression("contact.x").evaluate(event={})


def test_the_words_of_vars_that_have_no_default_are_known():
    made = text(
        "{{ vars.a }}{{ vars['b'] }}{{ vars.c | default('x') }}{% if vars.d is defined %}{{ vars.d }}{% endif %}"
    )
    assert made.words == {"a", "b"}
    assert expression("event.vars.x == vars.y and vars[event.z]").words == {"y"}


def test_the_same_source_is_compiled_once():
    assert text("{{ event.once }}") is text("{{ event.once }}")
    assert expression("event.once") is expression("event.once")


# --- the sandbox -----------------------------------------------------------------------------

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
        "{{ event.items | map('hole', 'a') | first }}",
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


@pytest.mark.parametrize("source", ["event.long | replace('x', event.long)", "'x' | zfill(300000000)"])
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
