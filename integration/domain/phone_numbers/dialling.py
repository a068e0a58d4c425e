"""Apply an account's rules to telephone numbers, and format them as its operation dials them. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import phonenumbers
from phonenumbers import PhoneNumber, PhoneNumberFormat, PhoneNumberType

from integration.domain.phone_numbers import reasons
from integration.domain.phone_numbers.reading import read
from integration.domain.phone_numbers.reasons import unmappable
from integration.domain.phone_numbers.texts import digits_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from integration.domain.account import Account

_PLACEHOLDER: Final = re.compile(r"\{([^{}]*)\}")
_LONGEST_FORMAT: Final = 64
_ARGENTINA: Final = 54
_ARGENTINE_MOBILE_DIGITS: Final = 11
# Calls to another area code are dialled with 0 and a carrier's two digits, which libphonenumber leaves out.
_CARRIER_COUNTRIES: Final = frozenset({"BR", "BO"})


def dialled(number: object, account: Account) -> str:
    """Return a telephone field as the account's operation dials it.

    Raise UnmappableError for a field that is not one number as `read` requires it, and for a number of a
    country that the account does not dial.
    """
    found = read(number, account.country, phone_check=account.phone_check, toll_free=account.toll_free)
    country = _country_of(found, account.country)
    if country != account.country and not _dials(account, country):
        raise unmappable(reasons.foreign(country))
    return write(account.dial_format, found)


def write(dial_format: str, number: PhoneNumber) -> str:
    """Return a valid `dial_format` with its placeholders replaced by the digits of the number.

    `{national}` is 3001112233, `{e164}` is 573001112233. `{dial}` is libphonenumber's national format,
    which has the trunk prefix of most countries that use one: 0991234567 in Ecuador. Argentine mobile
    numbers have a 9 after +54 only: `{national}` omits it, and `{dial}` has 15 after the area code
    instead.
    """
    return _PLACEHOLDER.sub(lambda match: _WRITERS[match[1]](number), dial_format)


def _national(number: PhoneNumber) -> str:
    national = phonenumbers.national_significant_number(number)
    return national[1:] if _is_argentine_mobile(number, national) else national


def _e164(number: PhoneNumber) -> str:
    return f"{number.country_code}{phonenumbers.national_significant_number(number)}"


def _dial(number: PhoneNumber) -> str:
    return digits_of(phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL))


_WRITERS: Final[Mapping[str, Callable[[PhoneNumber], str]]] = {
    "national": _national,
    "e164": _e164,
    "dial": _dial,
}


def dial_format_fault(dial_format: str) -> str | None:
    """Return a description of the fault in a `dial_format`, or None if it is valid."""
    placeholders = _PLACEHOLDER.findall(dial_format)
    unknown = sorted(set(placeholders) - _WRITERS.keys())
    if unknown:
        return f"an unknown placeholder {{{unknown[0]}}}"
    if not placeholders:
        return "no placeholder, so that every callback would dial the same number"
    if "{" in _PLACEHOLDER.sub("", dial_format) or "}" in _PLACEHOLDER.sub("", dial_format):
        return "a brace that is not part of a placeholder"
    if len(dial_format) > _LONGEST_FORMAT or not dial_format.isprintable():
        return f"more than {_LONGEST_FORMAT} characters, or characters that cannot be printed"
    return None


def has_country_code(dial_format: str) -> bool:
    """Return True if all placeholders of a `dial_format` write the country code."""
    return set(_PLACEHOLDER.findall(dial_format)) == {"e164"}


def undialled_types(dial_format: str, country: str) -> tuple[str, ...]:
    """Return which of `fixed` and `mobile` cannot be dialled in `country` with this `dial_format`.

    The result contains a type if the format does not write the digits of `{dial}` for its example number,
    for instance without a trunk prefix. Text before a placeholder, as in `0{national}`, counts.
    """
    if has_country_code(dial_format):
        return ()
    types = {"fixed": PhoneNumberType.FIXED_LINE, "mobile": PhoneNumberType.MOBILE}
    examples = {name: phonenumbers.example_number_for_type(country, kind) for name, kind in types.items()}
    return tuple(
        name
        for name, number in examples.items()
        if number and write("{dial}", number) not in write(dial_format, number)
    )


def needs_carrier(dial_format: str, country: str) -> bool:
    """Return True if long-distance calls in `country` need a carrier's digits that the format lacks."""
    before = dial_format[: dial_format.index("{")]
    return country in _CARRIER_COUNTRIES and not has_country_code(dial_format) and not digits_of(before)


def _is_argentine_mobile(number: PhoneNumber, national: str) -> bool:
    return (
        number.country_code == _ARGENTINA
        and len(national) == _ARGENTINE_MOBILE_DIGITS
        and national.startswith("9")
    )


def _country_of(number: PhoneNumber, country: str) -> str:
    """Return the country of a number.

    For a number that libphonenumber assigns to no country, return `country` if it has the number's
    country code, else the main country of that code.
    """
    region = phonenumbers.region_code_for_number(number)
    if region is None and number.country_code == phonenumbers.country_code_for_region(country):
        return country
    return region or phonenumbers.region_code_for_country_code(number.country_code or 0)


def _dials(account: Account, country: str) -> bool:
    """Return True if the account's settings allow numbers of this foreign country."""
    if account.countries is None:
        return has_country_code(account.dial_format)
    return country in account.countries
