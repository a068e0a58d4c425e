"""Parse a telephone field as the one number that it can mean. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import phonenumbers
from phonenumbers import (
    CountryCodeSource,
    NumberParseException,
    PhoneNumber,
    PhoneNumberType,
    ValidationResult,
)

from integration.domain.errors import UnmappableError
from integration.domain.phone_numbers import plans, reasons
from integration.domain.phone_numbers.reasons import unmappable
from integration.domain.phone_numbers.texts import MOST_DIGITS, digits_of, split_numbers

if TYPE_CHECKING:
    from collections.abc import Iterator

PhoneCheck = Literal["valid", "possible"]

_NORTH_AMERICA: Final = 1

_LAST_GROUP: Final = re.compile(r"(.*?(\d+))([ .()-]+)(\d{1,5})[ .()-]*")


@dataclass(frozen=True, slots=True)
class _Spelling:
    """The digits that follow a country code, and whether the code was written."""

    country_code: int
    after_code: str
    code_written: bool


def read(
    number: object, country: str, *, phone_check: PhoneCheck = "valid", toll_free: bool = False
) -> PhoneNumber:
    """Return the number of a telephone field. A number without a country code belongs to `country`.

    `country` has two letters (ISO 3166). With `phone_check="valid"` the number must be in a published
    range of fixed, mobile or VoIP numbers, or of toll-free numbers with `toll_free`. A text that is not
    valid as it is written is replaced if the forms of earlier numbering plans (`plans`) give exactly one
    valid number. With `"possible"`, for private numbering plans, a number of a possible length is enough.

    Raise UnmappableError for a text without such a number, with several different numbers, or with digits
    that can be read as two numbers. The error never quotes the number.
    """
    texts = split_numbers(number, country)
    if len(texts) == 1:
        return _read_one(texts[0], country, phone_check, toll_free=toll_free)
    try:
        numbers = [_read_one(text, country, phone_check, toll_free=toll_free) for text in texts]
    except UnmappableError as error:
        raise unmappable(reasons.SEVERAL) from error
    if any(other != numbers[0] for other in numbers):
        raise unmappable(reasons.SEVERAL)
    return numbers[0]


def _is_possible(number: PhoneNumber) -> bool:
    # `is_possible_number` also accepts a number without its area code, which other areas cannot dial.
    return phonenumbers.is_possible_number_with_reason(number) == ValidationResult.IS_POSSIBLE


def _read_one(text: str, country: str, phone_check: PhoneCheck, *, toll_free: bool) -> PhoneNumber:
    as_written = _as_written(text, country)
    valid = next(filter(phonenumbers.is_valid_number, as_written), None)
    if phone_check == "possible":
        possible = valid or next(filter(_is_possible, as_written), None)
        return possible or _only_number_of_today(text, country, as_written)
    if valid is None:
        return _dialable(_only_number_of_today(text, country, as_written), toll_free=toll_free)
    if plans.has_two_readings(valid):
        raise unmappable(reasons.TWO_READINGS)
    if _is_valid_without_last_group(text, country, unusual_only=True):
        raise unmappable(reasons.EXTRA_DIGITS)
    return _dialable(valid, toll_free=toll_free)


def _as_written(text: str, country: str) -> tuple[PhoneNumber, ...]:
    """Return the numbers as which libphonenumber parses a text: up to two, as a leading 00 can mean +.

    Raise UnmappableError if a number is valid only after an international prefix that may name a carrier.
    """
    digits = digits_of(text)
    plus = text.startswith("+")
    spelled = [f"+{digits}"] if plus else [digits]
    if digits.startswith("00") and not plus:
        spelled.insert(0, f"+{digits.removeprefix('00')}")
    numbers: list[PhoneNumber] = []
    for spelling in spelled:
        try:
            number = phonenumbers.parse(spelling, country, keep_raw_input=True)
        except NumberParseException:
            continue
        by_carrier = _has_carrier_prefix(number, country)
        number.raw_input = number.preferred_domestic_carrier_code = None
        number.country_code_source = CountryCodeSource.UNSPECIFIED
        if not by_carrier:
            numbers.append(number)
        elif phonenumbers.is_valid_number(number) and not any(map(phonenumbers.is_valid_number, numbers)):
            raise unmappable(reasons.TWO_READINGS)
    return tuple(numbers)


def _has_carrier_prefix(number: PhoneNumber, country: str) -> bool:
    """Return True if libphonenumber removed an international prefix, except in North America.

    Some countries have one prefix for each carrier. In Colombia, 005 57… can be +57… through a carrier,
    or 00 and +55 7….
    """
    with_prefix = number.country_code_source == CountryCodeSource.FROM_NUMBER_WITH_IDD
    return with_prefix and phonenumbers.country_code_for_region(country) != _NORTH_AMERICA


def _only_number_of_today(text: str, country: str, as_written: tuple[PhoneNumber, ...]) -> PhoneNumber:
    """Return the one valid number that a text can mean. Raise UnmappableError for none or several."""
    spellings = tuple(_spellings(text, country))
    found: list[PhoneNumber] = []
    for spelling in spellings:
        for national in plans.todays_numbers(
            spelling.country_code, spelling.after_code, code_written=spelling.code_written
        ):
            number = _parsed(f"+{spelling.country_code}{national}")
            if number and number not in found and phonenumbers.is_valid_number(number):
                found.append(number)
    if len(found) == 1 and not plans.has_two_readings(found[0]):
        if _is_valid_without_last_group(text, country):
            raise unmappable(reasons.EXTRA_DIGITS)
        return found[0]
    raise unmappable(reasons.TWO_READINGS if found else _reason(text, country, spellings, as_written))


def _spellings(text: str, country: str) -> Iterator[_Spelling]:
    """Yield the ways to divide the digits into a country code and the rest."""
    digits = digits_of(text)
    international = digits if text.startswith("+") else digits.removeprefix("00")
    if text.startswith("+") or digits.startswith("00"):
        number = _parsed(f"+{international}")
        if number is not None:
            yield from _after_code(number.country_code or 0, international)
        return
    code = phonenumbers.country_code_for_region(country)
    if code:
        yield _Spelling(code, digits, code_written=False)
        yield from _after_code(code, digits)
        yield from _after_code(code, digits.removeprefix("0"))


def _after_code(code: int, digits: str) -> Iterator[_Spelling]:
    """Yield the digits after one country code, and after two if the code is written twice."""
    if digits.startswith(str(code)):
        after = digits.removeprefix(str(code))
        yield _Spelling(code, after, code_written=True)
        if after.startswith(str(code)):
            yield _Spelling(code, after.removeprefix(str(code)), code_written=True)


def _parsed(text: str) -> PhoneNumber | None:
    try:
        return phonenumbers.parse(text)
    except NumberParseException:
        return None


def _is_valid_without_last_group(text: str, country: str, *, unusual_only: bool = False) -> bool:
    """Return True if the text without its last group of digits is a valid number too.

    With `unusual_only`, this is False for a group that is at least as long as the group before it, as in
    300 111 2233, unless it is in brackets or follows a dash between spaces.
    """
    found = _LAST_GROUP.fullmatch(text)
    if found is None:
        return False
    rest, before, separator, last = found.groups()
    usual = len(last) >= len(before) and separator != " - " and "(" not in separator
    if unusual_only and usual:
        return False
    return any(map(phonenumbers.is_valid_number, _as_written(rest, country)))


def _dialable(number: PhoneNumber, *, toll_free: bool) -> PhoneNumber:
    """Return the number. Raise UnmappableError if numbers of its type are not dialled."""
    kind = phonenumbers.number_type(number)
    allowed = toll_free and kind == PhoneNumberType.TOLL_FREE
    if kind in reasons.BY_TYPE and not allowed:
        raise unmappable(reasons.BY_TYPE[kind])
    return number


def _reason(
    text: str, country: str, spellings: tuple[_Spelling, ...], as_written: tuple[PhoneNumber, ...]
) -> reasons.Reason:
    """Return the reason why a text is no valid number."""
    if len(digits_of(text)) > MOST_DIGITS + 2:
        return reasons.SEVERAL
    if _is_valid_without_last_group(text, country):
        return reasons.EXTRA_DIGITS
    for spelling in spellings:
        reason = plans.reason_of(spelling.country_code, spelling.after_code)
        if reason:
            return reason
    if not as_written:
        return reasons.NO_COUNTRY_CODE
    possibility = phonenumbers.is_possible_number_with_reason(as_written[-1])
    if possibility in reasons.BY_POSSIBILITY and possibility != ValidationResult.IS_POSSIBLE:
        return reasons.BY_POSSIBILITY[possibility]
    return reasons.nonexistent(phonenumbers.region_code_for_country_code(as_written[-1].country_code or 0))
