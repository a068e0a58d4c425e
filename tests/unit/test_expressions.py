"""What expressions and texts read of an event, and what they make of absent fields."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from integration.domain.errors import UnmappableError
from integration.mapping.expressions import (
    NOT_LOOKED_UP,
    LookupNeeded,
    TemplateContext,
    expression,
    text,
)
from support.expression_cases import EVENT, NOW, evaluate, render


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
    assert "event.nested['deep'].phone, which this event does not have" in caught.value.found
    assert caught.value.allowed.startswith("a field that is in the stored delivery")


def test_a_text_that_comes_out_empty_is_unmappable():
    with pytest.raises(UnmappableError):
        render("{% if event.missing %}x{% endif %}")


def test_a_text_of_one_hole_keeps_the_type_of_its_value():
    day = text("{{ '01/03/2026' | date('%d/%m/%Y') }}").value(TemplateContext({}))
    assert (day, type(day)) == (date(2026, 3, 1), date)
    assert text("{{ '2026-03-01T10:00:00Z' | date }}").value(TemplateContext({})) == datetime(
        2026, 3, 1, 10, tzinfo=UTC
    )


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
