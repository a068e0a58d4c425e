"""Parse telephone numbers as people write them, and format them as an operation dials them. Pure.

A number that cannot be dialled raises an error and is never repaired by a guess. Error messages do not
contain the number, because it is customer data.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumber, ValidationResult

from integration.domain.errors import UnmappableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from integration.domain.account import Account

ALLOWED = "a possible telephone number: digits, with a country code or of the account's country"
_FIELD = "recall_telephone"
SHORTEST_ENDING = 4
_LONGEST = 64  # characters, more than any number with brackets and spaces has
_WRITTEN = re.compile(r"(?:tel:)?[ ]*[+\uff0b]?[\d ().\-\u2010-\u2015\uff08\uff09]+", re.IGNORECASE)
_EXTENSION = re.compile(r"\d.*?(?:ext|x|#|,|;|int|anexo)\.?\W*\d", re.IGNORECASE)
# Mexico changed its numbering plan on 3 August 2019. The 1 after +52 and the trunk prefixes 01, 044 and
# 045 no longer exist, but address books still have them (IFT, "Nueva marcación").
_MEXICO = 52
_MEXICO_BEFORE_2019 = re.compile(r"(?:1|01|044|045)(\d{10})")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_PLACEHOLDERS = frozenset({"national", "e164"})
_LONGEST_FORMAT = 64
_WHY = {
    ValidationResult.TOO_SHORT: "a number with too few digits",
    ValidationResult.TOO_LONG: "a number with too many digits",
    ValidationResult.INVALID_LENGTH: "a number with a length that does not exist in its country",
    ValidationResult.INVALID_COUNTRY_CODE: "a number with a country code that does not exist",
    ValidationResult.IS_POSSIBLE_LOCAL_ONLY: "a number without its area code",
}


def read(number: str | int, country: str) -> PhoneNumber:
    """Return the parsed number. A number without a country code belongs to `country` (two letters, ISO 3166).

    A leading 00 is read as + if that makes a valid number, else by the rules of `country`. The prefixes
    that Mexico used before 2019 are removed. Raise UnmappableError for extensions, letters, several numbers
    in one text, and numbers without an area code. The error never quotes the number.
    """
    text = _readable(number)
    candidates = list(_readings(text, country))
    if len(candidates) == 1 and _possibility(candidates[0]) == ValidationResult.IS_POSSIBLE:
        return candidates[0]
    for candidate in candidates:
        if phonenumbers.is_valid_number(candidate):
            return candidate
    for candidate in candidates:
        if _possibility(candidate) == ValidationResult.IS_POSSIBLE:
            return candidate
    if not candidates:
        raise _unmappable("a number that is incomplete or has no country code")
    raise _unmappable(_WHY.get(_possibility(candidates[-1]), "a number that is not possible"))


def write(dial_format: str, number: PhoneNumber) -> str:
    """Return the digits that the operation dials: `{national}` 3001112233, `{e164}` 573001112233."""
    national = phonenumbers.national_significant_number(number)
    values = {"national": national, "e164": f"{number.country_code}{national}"}
    return _PLACEHOLDER.sub(lambda match: values[match[1]], dial_format)


def endings(text: str, accounts: Iterable[Account]) -> tuple[str, ...]:
    """Return the digit suffixes to search for when a user types a telephone number.

    If `text` is a complete number in the country of one of the accounts, the result has that number as the
    accounts dial it. Otherwise the digits are taken as the last digits of a number. Return an empty tuple
    for a text with fewer than four digits or with characters that numbers do not have.
    """
    typed = " ".join("".join(c for c in text[: _LONGEST * 2] if unicodedata.category(c) != "Cf").split())
    digits = "".join(str(int(c)) for c in typed if c.isdecimal())
    if len(digits) < SHORTEST_ENDING or not _WRITTEN.fullmatch(typed):
        return ()
    suffixes = {digits}
    for country, dial_format in {(account.country, account.dial_format) for account in accounts}:
        try:
            number = read(typed, country)
        except UnmappableError:
            continue
        suffixes.add(phonenumbers.national_significant_number(number))
        suffixes.add("".join(c for c in write(dial_format, number) if c.isdecimal()))
    return tuple(sorted(suffix for suffix in suffixes if not _is_redundant(suffix, suffixes)))


def _is_redundant(suffix: str, others: Iterable[str]) -> bool:
    """Return True if `suffix` itself ends with one of the others, which then matches all its numbers."""
    return any(suffix != other and suffix.endswith(other) for other in others)


def dial_format_fault(dial_format: str) -> str | None:
    """Return a description of the error in a `dial_format`, or None."""
    placeholders = _PLACEHOLDER.findall(dial_format)
    unknown = sorted(set(placeholders) - _PLACEHOLDERS)
    if unknown:
        return f"an unknown placeholder {{{unknown[0]}}}"
    if not placeholders:
        return "no placeholder, so that every callback would dial the same number"
    if "{" in _PLACEHOLDER.sub("", dial_format) or "}" in _PLACEHOLDER.sub("", dial_format):
        return "a brace that is not part of a placeholder"
    if len(dial_format) > _LONGEST_FORMAT or not dial_format.isprintable():
        return f"more than {_LONGEST_FORMAT} characters, or characters that cannot be printed"
    return None


def _readable(number: str | int) -> str:
    if isinstance(number, bool) or not isinstance(number, str | int):
        raise _unmappable(f"a {type(number).__name__}")
    # Numbers copied from a telephone's contacts contain invisible direction marks.
    text = str(number)[: _LONGEST * 2]
    if not text.isascii():
        text = "".join(c for c in text if unicodedata.category(c) != "Cf")
    text = " ".join(text.split())
    if not text:
        raise _unmappable("a blank text")
    if len(text) > _LONGEST:
        raise _unmappable(f"more than {_LONGEST} characters")
    if _WRITTEN.fullmatch(text):
        return text
    if _EXTENSION.search(text):
        raise _unmappable("a number with an extension, or several numbers")
    raise _unmappable("characters that are not part of a telephone number")


def _readings(text: str, country: str) -> Iterator[PhoneNumber]:
    digits = "".join(c if c.isascii() else str(int(c)) for c in text if c.isdecimal())
    plus = "+" in text or "\uff0b" in text
    spelled = [f"+{digits}"] if plus else [digits]
    if digits.startswith("00") and not plus:
        spelled.insert(0, f"+{digits.removeprefix('00')}")
    for spelling in spelled:
        try:
            yield _without_retired_prefix(phonenumbers.parse(spelling, country))
        except NumberParseException:
            continue


def _without_retired_prefix(number: PhoneNumber) -> PhoneNumber:
    if number.country_code != _MEXICO:
        return number
    retired = _MEXICO_BEFORE_2019.fullmatch(phonenumbers.national_significant_number(number))
    if retired is None:
        return number
    return PhoneNumber(country_code=_MEXICO, national_number=int(retired[1]))


def _possibility(number: PhoneNumber) -> int:
    return phonenumbers.is_possible_number_with_reason(number)


def _unmappable(found: str) -> UnmappableError:
    return UnmappableError(_FIELD, found, ALLOWED)
