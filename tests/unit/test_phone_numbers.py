from __future__ import annotations

from types import SimpleNamespace

import phonenumbers
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from integration.domain.errors import UnmappableError
from integration.domain.phone_numbers import dial_format_fault, read, write
from integration.domain.phone_numbers import endings as endings_of

COUNTRIES = ["CO", "MX", "AR", "BR", "PE", "EC", "CL", "US", "ES"]


def e164(number, country="CO"):
    return write("{e164}", read(number, country))


@pytest.mark.parametrize(
    "written",
    [
        "3001112233",
        3001112233,
        "300 111 2233",
        "(300) 111-2233",
        "300.111.2233",
        "573001112233",
        "+573001112233",
        "+57 (300) 111-2233",
        "tel:+57-300-111-2233",
        "00573001112233",
        "0057 300 1112233",
        "  +57 300 111 2233\n",
        "300–111–2233",
        "３００１１１２２３３",
        "＋573001112233",
        "\u202a+57 300 111 2233\u202c",
        "300\u00a0111\u00a02233",
    ],
)
def test_one_number_is_read_however_it_is_written(written):
    assert e164(written) == "573001112233"


@pytest.mark.parametrize(
    ("written", "country", "dialled"),
    [
        ("011 15 1234 5678", "AR", "5491112345678"),
        ("+5491112345678", "CO", "5491112345678"),
        ("5512345678", "MX", "525512345678"),
        ("+52 1 55 1234 5678", "CO", "525512345678"),
        ("5215512345678", "MX", "525512345678"),
        ("044 55 1234 5678", "MX", "525512345678"),
        ("0 15 11 91234-5678", "BR", "5511912345678"),
        ("0991234567", "EC", "593991234567"),
        ("011 57 300 1112233", "US", "573001112233"),
        ("009 57 3001112233", "CO", "573001112233"),
        ("005 57 3001112233", "CO", "573001112233"),
        ("(601) 555 1234", "CO", "576015551234"),
        ("+44 (0)20 7946 0958", "CO", "442079460958"),
        ("+39 06 1234 5678", "CO", "390612345678"),
        ("+1 202 555 0143", "CO", "12025550143"),
    ],
)
def test_a_number_is_read_by_the_rules_of_its_country(written, country, dialled):
    assert e164(written, country) == dialled


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("", "blank"),
        (" \t", "blank"),
        ("123", "too few"),
        ("+57 123", "too few"),
        ("30011122334455", "too many"),
        ("5551234", "area code"),
        ("+999123456789", "country code"),
        ("3001112233 ext 5", "extension"),
        ("3001112233 x5", "extension"),
        ("3001112233;5", "extension"),
        ("3001112233, 3102223344", "extension"),
        ("3001112233 / 3102223344", "not part of"),
        ("+573001112233+573102223344", "not part of"),
        ("1 800 FLOWERS", "not part of"),
        ("no number", "not part of"),
        ("300111223O", "not part of"),
        ("3001112233\x00", "not part of"),
        ("1" * 500, "characters"),
        ("+", "not part of"),
        (True, "bool"),
        (3001112233.0, "float"),
        (None, "NoneType"),
    ],
)
def test_what_could_not_be_dialled_is_refused(written, found):
    with pytest.raises(UnmappableError, match=found) as caught:
        read(written, "CO")
    assert caught.value.field == "recall_telephone"


def test_a_number_without_a_country_code_needs_a_known_country():
    with pytest.raises(UnmappableError, match="country code"):
        read("3001112233", "ZZ")
    assert e164("+573001112233", "ZZ") == "573001112233"


@pytest.mark.parametrize(
    ("dial_format", "dialled"),
    [
        ("{national}", "3001112233"),
        ("{e164}", "573001112233"),
        ("9{national}", "93001112233"),
        ("00{e164}#", "00573001112233#"),
    ],
)
def test_a_number_is_written_as_the_operation_dials_it(dial_format, dialled):
    assert write(dial_format, read("+573001112233", "CO")) == dialled


@pytest.mark.parametrize("dial_format", ["{national}", "{e164}", "9{national}", "p{e164}w"])
def test_a_dial_format_with_a_known_placeholder_is_accepted(dial_format):
    assert dial_format_fault(dial_format) is None


@pytest.mark.parametrize(
    ("dial_format", "words"),
    [
        ("", "no placeholder"),
        ("3001112233", "no placeholder"),
        ("{nacional}", "nacional"),
        ("{}", "unknown placeholder"),
        ("{national", "no placeholder"),
        ("}{national}", "brace"),
        ("{national}\n", "printed"),
        ("{national}" + "9" * 99, "characters"),
    ],
)
def test_an_invalid_dial_format_is_a_fault(dial_format, words):
    assert words in (dial_format_fault(dial_format) or "")


@given(
    written=st.text(alphabet="0123456789+ ()-.x/,", max_size=40) | st.text(max_size=80),
    country=st.sampled_from(COUNTRIES),
)
def test_every_text_is_a_possible_number_or_refused_without_quoting_it(written, country):
    try:
        number = read(written, country)
    except UnmappableError as error:
        digits = "".join(c for c in written if c.isdecimal())
        quoted = len(digits) > 3 and digits in str(error)
        assert not quoted
        return
    assert phonenumbers.is_possible_number(number)
    assert write("{e164}", number).isascii()
    assert write("{e164}", number).isdigit()


@given(country=st.sampled_from(COUNTRIES), national=st.integers(10**7, 10**11 - 1))
def test_reading_what_was_written_gives_the_same_number(country, national):
    try:
        number = read(str(national), country)
    except UnmappableError:
        assume(False)
    assert write("{e164}", read("+" + write("{e164}", number), "US")) == write("{e164}", number)


CO_MX = [
    SimpleNamespace(country=country, dial_format=dial_format)
    for country, dial_format in (("CO", "{national}"), ("CO", "9{national}"), ("MX", "{e164}"))
]


@pytest.mark.parametrize(
    ("typed", "endings"),
    [
        ("+57 300 111 2233", {"3001112233"}),
        ("573001112233", {"3001112233"}),
        ("0057-300-111-22-33", {"3001112233"}),
        ("300 111 2233", {"3001112233"}),
        ("(55) 1234 5678", {"5512345678"}),
        ("+52 1 55 1234 5678", {"5512345678"}),
        ("2233", {"2233"}),
        ("112 233", {"112233"}),
        ("223", set()),
        ("rc_00000001a1b2", set()),
        ("80123456 or so", set()),
        ("", set()),
    ],
)
def test_a_number_is_looked_for_by_its_end_however_it_is_written(typed, endings):
    assert set(endings_of(typed, CO_MX)) == endings
