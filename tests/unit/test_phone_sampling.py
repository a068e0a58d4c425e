"""Valid numbers of many countries, each written in ten ways: none is read as another number.

`PHONE_SAMPLES` is the number of numbers of each country, `SEED` repeats a run.
"""

from __future__ import annotations

import os
import random
import re

import phonenumbers
import pytest
from phonenumbers import PhoneMetadata, PhoneNumberFormat, PhoneNumberType

from integration.domain.errors import UnmappableError
from integration.domain.phone_numbers import read, write
from support.phone_countries import ALL_COUNTRIES

SAMPLES = int(os.environ.get("PHONE_SAMPLES", "60"))
MOBILE_SHARE = 0.6
TRUNK = {"MX": "01", "US": "1", "DO": "1", "CR": "", "PA": "", "GT": "", "ES": ""}
TO_FULL_WIDTH = str.maketrans("0123456789+", "０１２３４５６７８９＋")
# Valid in libphonenumber's data, and an earlier form of another number: parked however they are written.
PARKED = {"CO": r"46\d{6}", "BR": r"\d\d7\d{7}"}
# Ways that people do not use in these countries; a number so written may be parked.
MAY_BE_PARKED = {"trunk prefix": ("UY", "BO"), "country code, (0)": (), "country code, no plus": ()}


@pytest.fixture(scope="module")
def chance():
    seed = int(os.environ.get("SEED") or random.randrange(10**6))
    print(f"SEED={seed} PHONE_SAMPLES={SAMPLES}")  # noqa: T201  (pytest shows it when the test fails)
    return random.Random(seed)


def numbers_of(country, chance):
    """Draw numbers at random from the published ranges, mobile and fixed."""
    metadata = PhoneMetadata.metadata_for_region(country)
    for _ in range(SAMPLES):
        ranges = metadata.mobile if chance.random() < MOBILE_SHARE else metadata.fixed_line
        lengths = ranges.possible_length or metadata.general_desc.possible_length
        pattern = re.compile(ranges.national_number_pattern)
        while True:
            digits = "".join(chance.choices("0123456789", k=chance.choice(lengths)))
            if pattern.fullmatch(digits):
                break
        yield phonenumbers.parse(f"+{metadata.country_code}{digits}")


def spellings(number, country):
    code, national = str(number.country_code), phonenumbers.national_significant_number(number)
    return {
        "plus": f"+{code}{national}",
        "country code, no plus": f"{code}{national}",
        "00": f"00{code}{national}",
        "digits alone": national,
        "national": phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL),
        "international": phonenumbers.format_number(number, PhoneNumberFormat.INTERNATIONAL),
        "trunk prefix": TRUNK.get(country, "0") + national,
        "country code, (0)": f"+{code} (0) {national}",
        "spreadsheet": f"{national}.0",
        "full width": f"\u200b+{code}\u00a0{national}".translate(TO_FULL_WIDTH),
    }


def dialled(written, country):
    try:
        return write("{e164}", read(written, country))
    except UnmappableError:
        return None


@pytest.mark.parametrize("country", ALL_COUNTRIES)
def test_a_valid_number_is_read_as_itself_or_parked_in_each_of_ten_ways(country, chance):
    for number in numbers_of(country, chance):
        dialable = phonenumbers.number_type(number) in {
            PhoneNumberType.FIXED_LINE,
            PhoneNumberType.MOBILE,
            PhoneNumberType.FIXED_LINE_OR_MOBILE,
        }
        national = phonenumbers.national_significant_number(number)
        parks = not dialable or re.fullmatch(PARKED.get(country, "(?!)"), national)
        for way, written in spellings(number, country).items():
            found = dialled(written, country)
            if parks or (found is None and country in MAY_BE_PARKED.get(way, ())):
                assert found is None, (way, written)
            else:
                assert found == write("{e164}", number), (way, written)


@pytest.mark.parametrize("country", ALL_COUNTRIES)
def test_an_extension_or_decimals_after_a_valid_number_make_no_other_number(country, chance):
    for number in numbers_of(country, chance):
        national = phonenumbers.national_significant_number(number)
        for whole in (national, write("+{e164}", number)):
            for end in (" 12", "-5", "-123", " (5)", "(12)", ".00", ".5", " - 1234", " ext. 12", ";12"):
                assert dialled(whole + end, country) in {None, write("{e164}", number)}, whole + end


@pytest.mark.parametrize("country", ["CL", "CO", "MX"])
def test_a_digit_that_was_lost_or_typed_twice_makes_no_other_number(country, chance):
    """In other countries some numbers with a digit missing are valid: no rule finds those."""
    for number in numbers_of(country, chance):
        national = phonenumbers.national_significant_number(number)
        place = chance.randrange(len(national))
        for written in (
            national[:place] + national[place + 1 :],
            national[:place] + national[place] + national[place:],
        ):
            assert dialled(written, country) in {None, write("{e164}", number)}, (number, written)
