"""Reading telephone numbers: what people and spreadsheets write, and what is not dialled."""

from __future__ import annotations

from types import SimpleNamespace

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from integration.domain.errors import UnmappableError
from integration.domain.phone_numbers import endings as endings_of
from integration.domain.phone_numbers import read, write
from support.phone_countries import ALL_COUNTRIES

COUNTRIES = ["CO", "MX", "AR", "BR", "PE", "EC", "CL", "US", "ES"]


def e164(number, country="CO", **rules):
    return write("{e164}", read(number, country, **rules))


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
        "300\u202f111\u202f2233\u200b\ufeff",
        "٣٠٠١١١٢٢٣٣",
    ],
)
def test_one_number_is_read_however_it_is_written(written):
    assert e164(written) == "573001112233"


@pytest.mark.parametrize(
    "written",
    [
        "3001112233.0",
        "573001112233.0",
        "+573001112233.0",
        '"3001112233.0"',
        "'3001112233",
        '="3001112233"',
        "=+573001112233",
        "TEL://3001112233",
        "whatsapp:+573001112233",
        "p:+573001112233",
        "Phone: 300 111 2233",
        "callto:3001112233",
        "(+57) 300 111 2233",
        "tel:(+57)3001112233",
        "+(57) 300 111 2233",
        "3001112233 / 300 111 2233",
        "3001112233; +57 300 111 2233",
        "300 111 2233 o 3001112233",
    ],
)
def test_decoration_is_cut_before_anything_is_tried(written):
    assert e164(written) == "573001112233"


@pytest.mark.parametrize(
    ("written", "country", "dialled"),
    [
        ("011 15 1234 5678", "AR", "5491112345678"),
        ("+5491112345678", "CO", "5491112345678"),
        ("5512345678", "MX", "525512345678"),
        ("0 15 11 91234-5678", "BR", "5511912345678"),
        ("0xx11 91234-5678", "BR", "5511912345678"),
        ("+55 (0xx11) 2345-6789", "CO", "551123456789"),
        ("0991234567", "EC", "593991234567"),
        ("011 57 300 1112233", "US", "573001112233"),
        ("011 57 300 1112233", "DO", "573001112233"),
        ("00 57 300 1112233", "MX", "573001112233"),
        ("0055 73 98812-3456", "CO", "5573988123456"),
        ("(601) 555 1234", "CO", "576015551234"),
        ("+44 (0)20 7946 0958", "CO", "442079460958"),
        ("+39 06 1234 5678", "CO", "390612345678"),
        ("+1 202 555 0143", "CO", "12025550143"),
    ],
)
def test_a_number_is_read_by_the_rules_of_its_country(written, country, dialled):
    assert e164(written, country) == dialled


@pytest.mark.parametrize(
    ("written", "country", "dialled"),
    [
        ("+57 (0) 300 111 2233", "CO", "573001112233"),
        ("+57 0 601 743 2100", "MX", "576017432100"),
        ("+52 (0) 55 1234 5678", "CO", "525512345678"),
        ("+34 (0) 612 345 678", "ES", "34612345678"),
        ("0573001112233", "CO", "573001112233"),
        ("052 55 1234 5678", "MX", "525512345678"),
        ("056 987654321", "CL", "56987654321"),
        ("57573001112233", "CO", "573001112233"),
        ("+57+573001112233", "MX", "573001112233"),
        ("+52 +52 55 1234 5678", "MX", "525512345678"),
        ("0057 (0)300 111 2233", "CO", "573001112233"),
    ],
)
def test_a_country_code_too_many_and_a_trunk_zero_after_it_are_cut(written, country, dialled):
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
        ("3001112233 ext 5", "with an extension,"),
        ("3001112233 x5", "with an extension,"),
        ("3001112233;5", "with an extension,"),
        ("3001112233,5", "with an extension,"),
        ("3001112233#5", "with an extension,"),
        ("3001112233 anexo 5", "with an extension,"),
        ("3001112233 int. 5", "with an extension,"),
        ("3001112233 ramal 5", "with an extension,"),
        ("601 743 2100 - 5", "extension or one digit too many"),
        ("6017432100-1", "extension or one digit too many"),
        ("6017432100 12", "extension or one digit too many"),
        ("+57 601 743 2100 - 1234", "extension or one digit too many"),
        ("6017432100 (5)", "extension or one digit too many"),
        ("3001112233.00", "extension or one digit too many"),
        ("-3001112233", "negative"),
        (-3001112176, "negative"),
        ("=-3001112176", "negative"),
        ("\uff0d3001112233", "negative"),
        ("3001112233, 3102223344", "several"),
        ("3001112233 / 3102223344", "several"),
        ("3001112233 - 3102223344", "several"),
        ("3001112233 y 3102223344", "several"),
        ("3001112233\n3102223344", "several"),
        ("3001112233 / 1234567", "several"),
        ("+573001112233+573102223344", "several"),
        ("+57+523001112233", "two different country codes"),
        ("1 800 FLOWERS", "letters"),
        ("300111223O", "letters"),
        ("300l112233", "letters"),
        ("3.00111E9", "scientific"),
        ("3,00111E+09", "scientific"),
        ("N/A", "without a number"),
        ("no tiene", "without a number"),
        ("-", "without a number"),
        ("+", "without a number"),
        ("0", "without a number"),
        ("sip:+573001112233@example.com", "not part of"),
        ("3001112233\x00", "not part of"),
        ("1" * 500, "characters"),
        (True, "bool"),
        (3001112233.0, "float"),
        (None, "NoneType"),
    ],
)
def test_a_text_that_is_not_one_number_is_parked_with_its_reason(written, found):
    with pytest.raises(UnmappableError, match=found) as caught:
        read(written, "CO")
    assert caught.value.field == "recall_telephone"


@pytest.mark.parametrize(
    ("written", "country"),
    [
        ("30011122330", "CO"),
        ("601743210.0", "CO"),
        ("0000000000", "CO"),
        ("9999999999", "CO"),
        ("1234567890", "CO"),
        ("9 300 111 2233", "CO"),
        ("13055550123", "CO"),
        ("51987654321", "CO"),
        ("011 57 300 1112233", "CO"),
        ("573001112233", "MX"),
        ("9999999999", "AR"),
        ("11111111111", "BR"),
        ("0999999", "EC"),
    ],
)
def test_a_number_that_cannot_exist_is_parked(written, country):
    with pytest.raises(UnmappableError):
        read(written, country)


@pytest.mark.parametrize(
    ("written", "country"),
    [
        ("009 57 3001112233", "CO"),
        ("005 57 3001112233", "CO"),
        ("007 1 202 555 0143", "CO"),
        ("00444 57 3001112233", "CO"),
        ("011 57 3001112233", "MX"),
        ("0014 57 3001112233", "BR"),
        ("19 12 00 57 3001112233", "PE"),
        ("1880 57 3001112233", "CL"),
    ],
)
@pytest.mark.parametrize("phone_check", ["valid", "possible"])
def test_an_international_prefix_of_a_carrier_is_parked(written, country, phone_check):
    with pytest.raises(UnmappableError):
        read(written, country, phone_check=phone_check)


def test_a_last_digit_apart_is_not_joined_to_a_number_that_is_whole_without_it():
    assert e164("021 234 567", "PY") == "59521234567"
    assert e164("021 234 5678", "PY") == "595212345678"
    with pytest.raises(UnmappableError, match="digit too many"):
        read("021 234 567 - 8", "PY")
    assert e164("300 111 223 3") == "573001112233"


@pytest.mark.parametrize(
    ("country", "written"),
    [
        ("PY", "021 234 567 (8)"),
        ("PY", "7192764 12"),
        ("PY", "7192764.12"),
        ("BR", "1191234567.5"),
        ("BR", "119123456.00"),
        ("BR", "(55) 5446-1037 12"),
        ("AR", "3815732093 12"),
        ("AR", "(0381) 573-2093-12"),
        ("PE", "(01) 9257294 12"),
        ("PE", "19257294 - 12"),
        ("GT", "5025 2612-123"),
    ],
)
def test_digits_after_a_whole_number_make_no_longer_number(country, written):
    """All digits together are a valid number, or an old form of one."""
    with pytest.raises(UnmappableError, match="extension or one digit too many"):
        read(written, country)


def test_a_last_group_as_long_as_the_one_before_it_belongs_to_the_number():
    assert e164("021 234 56 78", "PY") == "595212345678"
    assert e164("0 2 1 2 3 4 5 6 7 8", "PY") == "595212345678"
    assert e164("- 300 111 22 33") == "573001112233"


NEVER_DIALLED = {
    "a premium-rate number": phonenumbers.PhoneNumberType.PREMIUM_RATE,
    "a shared-cost number": phonenumbers.PhoneNumberType.SHARED_COST,
    "a toll-free number": phonenumbers.PhoneNumberType.TOLL_FREE,
    "a number of a service": phonenumbers.PhoneNumberType.PERSONAL_NUMBER,
    "a number of a service,": phonenumbers.PhoneNumberType.UAN,
    "a number of a service, such": phonenumbers.PhoneNumberType.VOICEMAIL,
}


@pytest.mark.parametrize("country", ALL_COUNTRIES)
@pytest.mark.parametrize("found", sorted(NEVER_DIALLED))
def test_only_numbers_of_subscribers_are_dialled(country, found):
    number = phonenumbers.example_number_for_type(country, NEVER_DIALLED[found])
    if number is None:
        return
    for written in (phonenumbers.national_significant_number(number), f"+{write('{e164}', number)}"):
        with pytest.raises(UnmappableError, match=found):
            read(written, country)


@pytest.mark.parametrize("country", ALL_COUNTRIES)
def test_fixed_mobile_and_voip_numbers_are_dialled(country):
    kinds = phonenumbers.PhoneNumberType
    for kind in (kinds.FIXED_LINE, kinds.MOBILE, kinds.VOIP):
        number = phonenumbers.example_number_for_type(country, kind)
        if number is not None:
            assert read(phonenumbers.national_significant_number(number), country) == number


def test_toll_free_numbers_are_dialled_where_the_account_says_so():
    assert e164("01 8000 123456", toll_free=True) == "5718000123456"
    with pytest.raises(UnmappableError, match="premium"):
        read("+57 1 900 123 4567", "CO", toll_free=True)


@pytest.mark.parametrize("written", ["123", "911", "190", "112", "21123", "2112"])
def test_emergency_and_short_numbers_are_never_dialled(written):
    for country in ALL_COUNTRIES:
        with pytest.raises(UnmappableError):
            read(written, country)
        with pytest.raises(UnmappableError):
            read(f"+{phonenumbers.country_code_for_region(country)} {written}", country)


@pytest.mark.parametrize(
    ("written", "country", "dialled"),
    [
        ("12345678", "CO", "5712345678"),
        ("+57 1 411 1899", "CO", "5714111899"),
        ("9001112233", "CO", "579001112233"),
        ("3001112233.0", "CO", "573001112233"),
        ("11 7123-4567", "BR", "551171234567"),
        ("044 55 1234 5678", "MX", "525512345678"),
    ],
)
def test_a_private_plan_has_numbers_of_any_possible_length(written, country, dialled):
    assert e164(written, country, phone_check="possible") == dialled


@pytest.mark.parametrize("written", ["123", "300111223344556", "N/A", "3001112233 ext 5", "15512345678"])
def test_a_private_plan_has_no_number_of_an_impossible_length(written):
    with pytest.raises(UnmappableError):
        read(written, "MX", phone_check="possible")


@pytest.mark.parametrize(
    ("written", "country"), [("5551234", "CO"), ("2018598", "PE"), ("2188236", "AR"), ("5512 3456", "MX")]
)
def test_a_private_plan_has_no_number_without_its_area_code(written, country):
    with pytest.raises(UnmappableError):
        read(written, country, phone_check="possible")


def test_a_number_without_a_country_code_needs_a_known_country():
    with pytest.raises(UnmappableError, match="country code"):
        read("3001112233", "ZZ")
    assert e164("+573001112233", "ZZ") == "573001112233"


@given(
    written=st.text(alphabet="0123456789+ ()-.x/,", max_size=40) | st.text(max_size=80),
    country=st.sampled_from(COUNTRIES),
    phone_check=st.sampled_from(["valid", "possible"]),
)
def test_every_text_is_a_number_that_passes_the_check_or_refused_without_quoting_it(
    written, country, phone_check
):
    try:
        number = read(written, country, phone_check=phone_check)
    except UnmappableError as error:
        digits = "".join(c for c in written if c.isdecimal())
        quoted = len(digits) > 3 and digits in str(error)
        assert not quoted
        return
    assert phonenumbers.is_possible_number_with_reason(number) == phonenumbers.ValidationResult.IS_POSSIBLE
    assert phone_check == "possible" or phonenumbers.is_valid_number(number)
    assert write("{e164}", number).isascii()
    assert write("{e164}", number).isdigit()


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
        ("+57 (0) 300 111 2233", {"3001112233"}),
        ("(55) 1234 5678", {"5512345678"}),
        ("+52 1 55 1234 5678", {"5512345678"}),
        ("2233", {"2233"}),
        ("112 233", {"112233"}),
        ("223", set()),
        ("rc_00000001a1b2", set()),
        ("80123456 or so", set()),
        ("3001112233 / 3102223344", set()),
        ("", set()),
    ],
)
def test_a_number_is_looked_for_by_its_end_however_it_is_written(typed, endings):
    assert set(endings_of(typed, CO_MX)) == endings


def test_an_argentine_mobile_is_looked_for_as_each_format_writes_it():
    accounts = [SimpleNamespace(country="AR", dial_format=form) for form in ("{national}", "{dial}")]
    assert set(endings_of("(011) 15 5744-7700", accounts)) == {"1157447700", "0111557447700"}
