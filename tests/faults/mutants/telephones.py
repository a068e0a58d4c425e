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
        "a number exists",
        "any number of a possible length is dialled",
        _READING.value(
            "_read_one", "valid", to="next(filter(phonenumbers.is_possible_number, as_written), None)"
        ),
        "test_phone_numbers.py::test_a_number_that_cannot_exist_is_parked",
    ),
    mutant(
        "a number is a subscriber's",
        "premium-rate and toll-free numbers are dialled",
        _READING.condition("_dialable", "BY_TYPE"),
        "test_phone_numbers.py::test_only_numbers_of_subscribers_are_dialled",
    ),
    mutant(
        "a valid number that may be an old form of another one",
        "trunked radio and Medellín's old numbers are dialled",
        _READING.condition("_read_one", "has_two_readings"),
        "test_phone_plans.py::test_a_form_with_two_meanings_is_parked",
    ),
    mutant(
        "a last digit apart",
        "an extension is dialled as the last digit of a longer number",
        _READING.condition("_read_one", "_UNUSUAL_LAST_GROUP"),
        "test_phone_numbers.py::test_a_last_digit_apart_is_not_joined_to_a_number_that_is_whole_without_it",
    ),
    mutant(
        "an old form has one number of today",
        "the first of two is dialled",
        _READING.condition("_only_number_of_today", "len", to="found"),
        "test_phone_plans.py::test_a_form_of_which_two_numbers_follow_is_parked",
    ),
    mutant(
        "a prefix that exists only after its country code",
        "a number of the United States is dialled as one of Mexico",
        _PLANS.condition("todays_numbers", "needs_code", to="True"),
        "test_phone_plans.py::test_a_form_with_two_meanings_is_parked",
    ),
    mutant(
        "several numbers in a field",
        "the first is dialled, whoever it belongs to",
        _READING.condition("read", "numbers", "other"),
        "test_phone_numbers.py::test_a_text_that_is_not_one_number_is_parked_with_its_reason",
    ),
    mutant(
        "a spreadsheet's .0",
        "its zero is the last digit of the number",
        _TEXTS.result("_undecorated", "decimal", to="text"),
        "test_phone_numbers.py::test_decoration_is_cut_before_anything_is_tried",
    ),
    mutant(
        "characters of a telephone number",
        "letters and extensions are read as digits or dropped",
        _TEXTS.condition("_checked", "_WRITTEN", to="True"),
        "test_phone_numbers.py::test_a_text_that_is_not_one_number_is_parked_with_its_reason",
    ),
    mutant(
        "numbers of other countries",
        "they are dialled as numbers of the account's country",
        _DIALLING.condition("dialled", "_dials"),
        "test_phone_dialling.py::test_a_foreign_number_is_parked_where_no_country_code_is_dialled",
    ),
    mutant(
        "the countries that an account names",
        "with {e164} all are dialled",
        _DIALLING.condition("_dials", "countries", to="True"),
        "test_phone_dialling.py::test_with_e164_every_country_is_dialled_unless_countries_are_named",
    ),
    mutant(
        "the 9 of Argentine mobile numbers",
        "it is dialled inside the country, where no number starts with it",
        _DIALLING.condition("_national", "_is_argentine_mobile"),
        "test_phone_dialling.py::test_dial_has_the_trunk_prefix_and_no_argentine_9",
    ),
)
