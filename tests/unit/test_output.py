"""What is printed cannot steer a terminal, and numbers are masked."""

from __future__ import annotations

import json
import unicodedata
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from integration.cli import output
from integration.telemetry.logging import printable
from integration.telemetry.redaction import mask_but_end, mask_numbers


@given(st.text())
@example("\x1b[2J\x1b]0;title\x07")
@example("a\u202eb\u2028c\rd\ne")
def test_nothing_that_steers_a_terminal_comes_through(text):
    shown = printable(text)
    assert len(shown) == len(text)
    assert not any(unicodedata.category(sign) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for sign in shown)


def test_absent_is_empty():
    assert printable(None) == ""
    assert output.moment(None) == ""


@given(st.text("0123456789", min_size=7, max_size=15))
def test_a_masked_number_shows_two_digits(number):
    assert mask_but_end(number) == f"•••• {number[-2:]}"


@pytest.mark.parametrize(
    "number", ["3001112233", "573001112233", "+57 300 111 2233", "300-111-2233", "(300) 111.2233"]
)
def test_a_number_inside_a_text_is_masked(number):
    masked = mask_numbers(f"call back to phone {number}, soon")
    assert masked.startswith("call back to phone ")
    assert sum(sign.isdigit() for sign in masked) == 2


@pytest.mark.parametrize(
    "date", ["20301126100026", "2030-11-26", "2030-11-26 10:00:26", "2030-11-26T10:00:26-05:00"]
)
def test_a_date_in_a_text_stays_and_the_number_behind_it_does_not(date):
    masked = mask_numbers(f"will be call back on {date} to phone 3001112233", ["3001112233"])
    assert masked == f"will be call back on {date} to phone •••• 33"


@pytest.mark.parametrize("number", ["20309926100026", "+20301126100026", "203011261000", "120301126100026"])
def test_a_number_that_is_no_date_is_masked(number):
    assert number.lstrip("+") not in mask_numbers(f"call back to phone {number}")


@pytest.mark.parametrize(
    ("name", "masked"),
    [("80123456", "•••• 56"), ("ana@example.com", "•••• om"), ("C17", "••••"), ("7", "••••")],
)
def test_a_customer_in_a_text_has_the_mask_of_a_number(name, masked):
    text = f"customer_id {name} has been updated, 3001112233"
    assert mask_numbers(text, [name]) == f"customer_id {masked} has been updated, •••• 33"


def test_short_numbers_in_a_text_stay():
    assert mask_numbers("HTTP 403 after 20 s") == "HTTP 403 after 20 s"


def test_a_moment_is_told_in_the_zone_that_is_asked_for():
    when = datetime(2030, 6, 3, 20, 0, tzinfo=UTC)
    assert output.moment(when, ZoneInfo("America/Bogota")) == "2030-06-03 15:00:00-05:00"


def test_a_table_for_a_pipe_is_tab_separated_and_never_cut(capsys):
    long = "x" * 500
    output.table(("a", "b"), [(1, long), (None, "t\tab")])
    assert capsys.readouterr().out == f"a\tb\n1\t{long}\n\tt ab\n"


def test_a_table_on_a_terminal_reads_no_markup_in_values(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    output.table(("name", "state"), [("[red]x[/red]", "dead")])
    assert "[red]x[/red]" in capsys.readouterr().out


def test_bytes_that_are_no_text_still_make_json(capsys):
    value = {"id": b"rc_\xff".decode("utf-8", "surrogateescape")}
    output.as_json(value)
    assert json.loads(capsys.readouterr().out) == value


def test_an_id_of_ours_inside_a_text_is_no_number():
    assert mask_numbers("a newer request: rc_00000001a1b2") == "a newer request: rc_00000001a1b2"
    assert "3001112233" not in mask_numbers("phone rc_3001112233")
