"""Forms of numbers of earlier numbering plans, which address books still contain, and today's numbers.

A form is listed only if exactly one number of today can be meant. After a plan added a digit, an old
number looks like a number of today with a digit missing; such forms are listed only if the first digit
excludes that. The rules are applied to numbers that do not exist as they are written. Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import phonenumbers

from integration.domain.phone_numbers import reasons

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from phonenumbers import PhoneNumber

_COLOMBIA, _PERU, _MEXICO, _ARGENTINA, _BRAZIL, _CHILE, _ECUADOR = 57, 51, 52, 54, 55, 56, 593
_GUATEMALA, _COSTA_RICA, _PANAMA = 502, 506, 507


@dataclass(frozen=True, slots=True)
class OldForm:
    """An earlier form of national numbers, and the number of today that replaces it.

    With `needs_code`, the form exists only after a written country code.
    """

    pattern: re.Pattern[str]
    today: str
    needs_code: bool = False


def _form(pattern: str, today: str, *, needs_code: bool = False) -> OldForm:
    return OldForm(re.compile(pattern), today, needs_code)


# Long-distance carriers of the two countries, as libphonenumber lists them.
_COLOMBIAN_CARRIERS = r"0(?:[3579]|4(?:[14]4|56))"
_BRAZILIAN_CARRIERS = r"(?:0(?:1[245]|2[1-35]|31|4[13]|[56]5|99)?|90(?:1[245]|2[1-35]|31|4[13]|[56]5|99)?)"
# https://www.wtng.info/wtng-51-pe.html
_PERUVIAN_AREAS = r"(?:1|4[1-4]|5[1-46]|6[1-7]|7[2346]|8[234])"

OLD_FORMS: Final[Mapping[int, Sequence[OldForm]]] = {
    # Since 1 September 2021 fixed numbers start with 60, and mobile numbers are dialled without 03 (CRC,
    # Resolución 5826 de 2019). An old 46xxxxxx of Medellín is left out, see `has_two_readings`. So is 0 2
    # xxxxxxx without a carrier: a mobile number 302 xxxxxxx without its first digit looks the same.
    _COLOMBIA: (
        _form(r"03?(\d{10})", r"\1"),
        _form(rf"(?:{_COLOMBIAN_CARRIERS})?((?!46)[1245678]\d{{7}})", r"60\1"),
    ),
    # Since 3 August 2019 the prefixes 01, 044 and 045 and the 1 after +52 no longer exist (IFT, "Nueva
    # marcación"). The 1 was never dialled without +52.
    _MEXICO: (
        _form(r"(?:01|044|045)(\d{10})", r"\1"),
        _form(r"1(\d{10})", r"\1", needs_code=True),
    ),
    # Since 2016 all numbers have nine digits, without the trunk prefix 0 (Subtel).
    _CHILE: (_form(r"0(\d{9})", r"\1"),),
    # Since 4 September 2010 mobile numbers are dialled without an area code.
    _PERU: (_form(rf"0?{_PERUVIAN_AREAS}(9\d{{8}})", r"\1"),),
    # On 30 September 2012 mobile numbers got a 9 after the 0. An old 09 xxxxxxx is left out: a number of
    # today with a digit missing looks the same.
    _ECUADOR: (
        _form(r"0(8\d{7})", r"9\1"),
        _form(r"(8\d{7})", r"9\1", needs_code=True),
    ),
    # From 2012 to 2016 mobile numbers got a 9 after the area code (Anatel). An old number with 9 is left
    # out: a number of today with a digit missing looks the same.
    _BRAZIL: (_form(rf"{_BRAZILIAN_CARRIERS}?([1-9][1-9])([68]\d{{7}})", r"\g<1>9\2"),),
    # Inside Argentina mobile numbers have 15 after the area code, from abroad 9 before it, never both.
    # libphonenumber reads a fixed number 0 11 15xx-xxxx as a mobile number that is too short.
    _ARGENTINA: (
        *(_form(rf"0?(\d{{{n}}})15(\d{{{10 - n}}})", r"9\1\2") for n in (2, 3, 4)),
        *(_form(rf"9(\d{{{n}}})15(\d{{{10 - n}}})", r"9\1\2", needs_code=True) for n in (2, 3, 4)),
        _form(r"0(\d{10})", r"\1"),
    ),
}

_TWO_READINGS: Final[Mapping[int, re.Pattern[str]]] = {
    # A number of Medellín before 2021. The plan of today has ten digits only.
    _COLOMBIA: re.compile(r"46\d{6}"),
    # A number of trunked radio, or a mobile number without its 9:
    # https://github.com/google/libphonenumber/issues/1618
    _BRAZIL: re.compile(r"\d\d7\d{7}"),
}

# Forms that are old numbers, or numbers of today with a digit missing. They are never completed.
_REASONS: Final[Mapping[int, Sequence[tuple[re.Pattern[str], reasons.Reason]]]] = {
    _COLOMBIA: ((re.compile(r"0[1-8]\d{7}"), reasons.OLD_OR_INCOMPLETE),),
    _BRAZIL: (
        (re.compile(r"0?\d\d9\d{7}"), reasons.OLD_OR_INCOMPLETE),
        (re.compile(r"\d{8,9}"), reasons.NO_AREA_CODE),
    ),
    _ECUADOR: ((re.compile(r"0?9\d{7}"), reasons.OLD_OR_INCOMPLETE),),
    _CHILE: ((re.compile(r"0?\d{8}"), reasons.OLD_OR_INCOMPLETE),),
    _PERU: ((re.compile(r"9\d{7}"), reasons.OLD_OR_INCOMPLETE),),
    _COSTA_RICA: ((re.compile(r"\d{7}"), reasons.OLD_OR_INCOMPLETE),),
    _GUATEMALA: ((re.compile(r"\d{7}"), reasons.OLD_OR_INCOMPLETE),),
    _PANAMA: ((re.compile(r"6\d{6}"), reasons.OLD_OR_INCOMPLETE),),
    _ARGENTINA: ((re.compile(r"15\d{6,8}"), reasons.NO_AREA_CODE),),
    _MEXICO: ((re.compile(r"1\d{10}"), reasons.MEXICAN_1),),
}


def todays_numbers(country_code: int, after_code: str, *, code_written: bool) -> Iterator[str]:
    """Yield the digits after a country code and the numbers of today that replace old forms.

    The results need not be valid. A 0 after a written country code may be the trunk prefix, so the digits
    without the 0 are tried too.
    """
    spellings = [after_code]
    if code_written and after_code.startswith("0"):
        spellings.append(after_code.removeprefix("0"))
    for spelling in spellings:
        yield spelling
        for form in OLD_FORMS.get(country_code, ()):
            found = form.pattern.fullmatch(spelling) if code_written or not form.needs_code else None
            if found:
                yield found.expand(form.today)


def has_two_readings(number: PhoneNumber) -> bool:
    """Return True if a number can also be an earlier or incomplete form of another number."""
    pattern = _TWO_READINGS.get(number.country_code or 0)
    return pattern is not None and bool(pattern.fullmatch(phonenumbers.national_significant_number(number)))


def reason_of(country_code: int, after_code: str) -> reasons.Reason | None:
    """Return the reason if the digits have the form of an incomplete or old number, else None."""
    for pattern, reason in _REASONS.get(country_code, ()):
        if pattern.fullmatch(after_code):
            return reason
    return None
