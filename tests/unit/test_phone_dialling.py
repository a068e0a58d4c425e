"""Numbers as an operation dials them: `dial_format`, `countries`, and what `ringback check` says of them."""

from __future__ import annotations

import pytest

from integration.domain.account import Account
from integration.domain.errors import UnmappableError
from integration.domain.phone_numbers import dial_format_fault, dialled, read, write
from integration.domain.phone_numbers.dialling import needs_carrier, undialled_types


def with_rules(country="CO", **rules):
    return Account(
        name="a", server="0003", token="t" * 20, timezone="America/Bogota", country=country, **rules
    )


@pytest.mark.parametrize(
    ("dial_format", "expected"),
    [
        ("{national}", "3001112233"),
        ("{e164}", "573001112233"),
        ("{dial}", "3001112233"),
        ("9{national}", "93001112233"),
        ("00{e164}#", "00573001112233#"),
    ],
)
def test_a_number_is_written_as_the_operation_dials_it(dial_format, expected):
    assert write(dial_format, read("+573001112233", "CO")) == expected


@pytest.mark.parametrize(
    ("number", "national", "dial"),
    [
        ("+593991234567", "991234567", "0991234567"),
        ("+59322123456", "22123456", "022123456"),
        ("+5112345678", "12345678", "012345678"),
        ("+51987654321", "987654321", "987654321"),
        ("+584121234567", "4121234567", "04121234567"),
        ("+595961456789", "961456789", "0961456789"),
        ("+59894231234", "94231234", "094231234"),
        ("+59821231234", "21231234", "21231234"),
        ("+541157447700", "1157447700", "01157447700"),
        ("+5491157447700", "1157447700", "0111557447700"),
        ("+5493515123456", "3515123456", "0351155123456"),
        ("+5511912345678", "11912345678", "11912345678"),
        ("+525512345678", "5512345678", "5512345678"),
        ("+56987654321", "987654321", "987654321"),
        ("+12025550143", "2025550143", "2025550143"),
    ],
)
def test_dial_has_the_trunk_prefix_and_no_argentine_9(number, national, dial):
    assert write("{national} {dial}", read(number, "CO")) == f"{national} {dial}"


@pytest.mark.parametrize("dial_format", ["{national}", "{e164}", "{dial}", "9{national}", "p{e164}w"])
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


@pytest.mark.parametrize("dial_format", ["{national}", "{dial}", "9{national}", "{national}{e164}"])
@pytest.mark.parametrize("number", ["+51987654321", "+1 202 555 0143", "0051 1 2345678"])
def test_a_foreign_number_is_parked_where_no_country_code_is_dialled(dial_format, number):
    with pytest.raises(UnmappableError, match="a country that the account does not dial") as caught:
        dialled(number, with_rules(dial_format=dial_format))
    assert "countries" in caught.value.allowed


@pytest.mark.parametrize("number", ["+51987654321", "+1 202 555 0143", "0051 1 2345678"])
def test_with_e164_every_country_is_dialled_unless_countries_are_named(number):
    assert dialled(number, with_rules(dial_format="00{e164}")).startswith(("0051", "001"))
    with pytest.raises(UnmappableError, match="does not dial"):
        dialled(number, with_rules(dial_format="00{e164}", countries=("CO", "MX")))


def test_the_named_countries_and_the_accounts_own_are_dialled():
    rules = with_rules(dial_format="{e164}", countries=("PE", "DO"))
    assert dialled("+51987654321", rules) == "51987654321"
    assert dialled("+1 809 234 5678", rules) == "18092345678"
    assert dialled("300 111 2233", rules) == "573001112233"
    with pytest.raises(UnmappableError, match="of US"):
        dialled("+1 202 555 0143", rules)
    assert dialled("+51987654321", with_rules(countries=("PE",))) == "987654321"


def test_a_private_plan_dials_its_own_country_too():
    rules = with_rules("US", phone_check="possible")
    assert dialled("555 123 4567", rules) == "5551234567"
    with pytest.raises(UnmappableError, match="does not dial"):
        dialled("+57 12345678", rules)


@pytest.mark.parametrize(
    ("country", "dial_format", "types"),
    [
        ("CO", "{national}", ()),
        ("MX", "9{national}", ()),
        ("CL", "{national}", ()),
        ("PE", "{national}", ("fixed",)),
        ("UY", "{national}", ("mobile",)),
        ("EC", "{national}", ("fixed", "mobile")),
        ("AR", "9{national}", ("fixed", "mobile")),
        ("VE", "{national}", ("fixed", "mobile")),
        ("PY", "{national}", ("fixed", "mobile")),
        ("EC", "0{national}", ()),
        ("EC", "{dial}", ()),
        ("AR", "9{dial}", ()),
        ("AR", "{e164}", ()),
        ("GT", "{national}", ()),
    ],
)
def test_types_of_numbers_that_a_format_does_not_dial_are_known(country, dial_format, types):
    assert undialled_types(dial_format, country) == types


@pytest.mark.parametrize(
    ("country", "dial_format", "needed"),
    [
        ("BR", "{national}", True),
        ("BR", "{dial}", True),
        ("BO", "{national}", True),
        ("BR", "015{national}", False),
        ("BR", "{e164}", False),
        ("CO", "{national}", False),
    ],
)
def test_a_format_without_the_carrier_of_long_distance_calls_is_known(country, dial_format, needed):
    assert needs_carrier(dial_format, country) is needed
