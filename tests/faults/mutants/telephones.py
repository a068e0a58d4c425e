"""Guards against calls to numbers that do not exist, or that are not the customer's."""

from __future__ import annotations

from .code import Code
from .mutant import mutant

_DIALLING = Code("integration/domain/phone_numbers/dialling.py")
_PLANS = Code("integration/domain/phone_numbers/plans.py")
_READING = Code("integration/domain/phone_numbers/reading.py")
_TEXTS = Code("integration/domain/phone_numbers/texts.py")

GUARDS = (
    mutant(
        "a telephone number must be valid in its country's numbering plan",
        "any number of a possible length is dialled",
        _READING.value(
            "_read_one", "valid", to="next(filter(phonenumbers.is_possible_number, as_written), None)"
        ),
        "test_phone_numbers.py::test_a_number_that_cannot_exist_is_parked",
    ),
    mutant(
        "only subscriber numbers are dialled",
        "premium-rate and toll-free numbers are dialled",
        _READING.condition("_dialable", "BY_TYPE"),
        "test_phone_numbers.py::test_only_numbers_of_subscribers_are_dialled",
    ),
    mutant(
        "a valid number that could be the old form of another number is parked",
        "trunked radio numbers and old numbers of Medellín are dialled",
        _READING.condition("_read_one", "has_two_readings"),
        "test_phone_plans.py::test_a_form_with_two_meanings_is_parked",
    ),
    mutant(
        "a number followed by a separate last digit is parked",
        "an extension is dialled as the last digit of a longer number",
        _READING.condition("_read_one", "_is_valid_without_last_group"),
        "test_phone_numbers.py::test_a_last_digit_apart_is_not_joined_to_a_number_that_is_whole_without_it",
    ),
    mutant(
        "a text that is an old form is parked if it is a valid number without its last digits",
        "an extension is dialled as part of another number",
        _READING.condition("_only_number_of_today", "_is_valid_without_last_group"),
        "test_phone_numbers.py::test_digits_after_a_whole_number_make_no_longer_number",
    ),
    mutant(
        "a negative number is parked",
        "the result of a spreadsheet's subtraction is dialled",
        _TEXTS.condition("_checked", "_NEGATIVE"),
        "test_phone_numbers.py::test_a_text_that_is_not_one_number_is_parked_with_its_reason",
    ),
    mutant(
        "a number with decimals is parked",
        "its decimals become the last digits of the number",
        _TEXTS.condition("_checked", "_DECIMAL"),
        "test_phone_numbers.py::test_digits_after_a_whole_number_make_no_longer_number",
    ),
    mutant(
        "an old form must correspond to exactly one current number",
        "the first of two possible numbers is dialled",
        _READING.condition("_only_number_of_today", "len", to="found"),
        "test_phone_plans.py::test_a_form_of_which_two_numbers_follow_is_parked",
    ),
    mutant(
        "some old prefixes are recognized only after a country code",
        "a number of the United States is dialled as a Mexican number",
        _PLANS.condition("todays_numbers", "needs_code", to="True"),
        "test_phone_plans.py::test_a_form_with_two_meanings_is_parked",
    ),
    mutant(
        "a field must contain only one telephone number",
        "the first of several numbers is dialled, although it may belong to another person",
        _READING.condition("read", "numbers", "other"),
        "test_phone_numbers.py::test_a_text_that_is_not_one_number_is_parked_with_its_reason",
    ),
    mutant(
        "the suffix `.0` of spreadsheets is removed",
        "its zero becomes the last digit of the number",
        _TEXTS.result("_undecorated", "decimal", to="text"),
        "test_phone_numbers.py::test_decoration_is_cut_before_anything_is_tried",
    ),
    mutant(
        "only characters of telephone numbers are accepted",
        "letters and extensions are dropped or read as digits",
        _TEXTS.condition("_checked", "_WRITTEN", to="True"),
        "test_phone_numbers.py::test_a_text_that_is_not_one_number_is_parked_with_its_reason",
    ),
    mutant(
        "foreign numbers are parked where no country code is dialled",
        "they are dialled as numbers of the account's country",
        _DIALLING.condition("dialled", "_dials"),
        "test_phone_dialling.py::test_a_foreign_number_is_parked_where_no_country_code_is_dialled",
    ),
    mutant(
        "only the configured `countries` of an account are dialled",
        "with `{e164}`, numbers of all countries are dialled",
        _DIALLING.condition("_dials", "countries", to="True"),
        "test_phone_dialling.py::test_with_e164_every_country_is_dialled_unless_countries_are_named",
    ),
    mutant(
        "the 9 of Argentine mobile numbers is omitted in national format",
        "the 9 is dialled inside Argentina, where no number starts with it",
        _DIALLING.condition("_national", "_is_argentine_mobile"),
        "test_phone_dialling.py::test_dial_has_the_trunk_prefix_and_no_argentine_9",
    ),
)
