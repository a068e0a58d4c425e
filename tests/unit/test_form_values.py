"""Values of forms and addresses: what counts as a number, a confirmation, and one line of text."""

from __future__ import annotations

import pytest

from integration.web.form_values import confirms_number, one_line, whole_number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("007", 7),
        ("123456", 123456),
        *((bad, None) for bad in ("", "-1", "1.5", "٣", "1234567", "x")),
    ],
)
def test_a_number_has_ascii_digits_only_and_not_too_many(text, number):
    assert whole_number(text, 6) == number


@pytest.mark.parametrize("typed", ["1234", "1,234", "1.234", "1\u00a0234", "1\u202f234", "1 234"])
def test_a_number_is_confirmed_with_the_separators_of_any_language(typed):
    assert confirms_number(typed, "1234")


@pytest.mark.parametrize(
    ("typed", "number"), [("", ""), ("", "5"), ("0", ""), ("12345", "1234"), ("x", "x"), ("0", "x")]
)
def test_another_number_or_none_confirms_nothing(typed, number):
    assert not confirms_number(typed, number)


def test_a_reason_is_one_line_of_printable_characters():
    assert one_line("  the\n campaign\t changes \u202e\x07 ", 60) == "the campaign changes "
    assert one_line("abcdef", 3) == "abc"
