"""Digit suffixes and whole numbers for a search by telephone number. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import phonenumbers

from integration.domain.errors import UnmappableError
from integration.domain.phone_numbers.dialling import write
from integration.domain.phone_numbers.reading import read
from integration.domain.phone_numbers.texts import digits_of, split_numbers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from phonenumbers import PhoneNumber

    from integration.domain.account import Account

SHORTEST_ENDING: Final = 4
FULL_NUMBER_PREFIX: Final = "|"
"""The first character of a suffix that matches only a whole number."""


def endings(text: str, accounts: Iterable[Account]) -> tuple[str, ...]:
    """Return the digit suffixes to search for when a user types a telephone number.

    The result has the digits of `text`. If `text` is a complete number in the country of an account, the
    result also has the national number and the number as the accounts dial it. A suffix that ends with
    another one is omitted. Return an empty tuple for a text with fewer than four digits, with several
    numbers, or with characters that numbers do not have.
    """
    digits = _digits(text)
    if digits is None:
        return ()
    suffixes = {digits}
    for country, dial_format in sorted({(account.country, account.dial_format) for account in accounts}):
        for number in _numbers(text, country):
            suffixes.add(phonenumbers.national_significant_number(number))
            suffixes.add(digits_of(write(dial_format, number)))
    return tuple(sorted(suffix for suffix in suffixes if not _is_redundant(suffix, suffixes)))


def whole_numbers(text: str, accounts: Iterable[Account]) -> tuple[str, ...]:
    """Return the numbers to search for when a user types one, each after `FULL_NUMBER_PREFIX`.

    A stored number matches if it is the typed number as an account dials it, as it is dialled inside its
    country, with its country code, or digit by digit. A part of a number matches nothing. Return an empty
    tuple for a text with fewer than four digits, with several numbers, or with characters that numbers do
    not have.
    """
    digits = _digits(text)
    if digits is None:
        return ()
    wholes = {digits}
    for country, dial_format in sorted({(account.country, account.dial_format) for account in accounts}):
        for number in _numbers(text, country):
            formats = (dial_format, "{national}", "{e164}", "{dial}")
            wholes |= {digits_of(write(each, number)) for each in formats}
    return tuple(sorted(f"{FULL_NUMBER_PREFIX}{whole}" for whole in wholes))


def _digits(text: str) -> str | None:
    """Return the digits of a text if it can be the end of a number, else None."""
    try:
        texts = split_numbers(text, "ZZ")
    except UnmappableError:
        return None
    digits = digits_of(texts[0])
    return digits if len(texts) == 1 and len(digits) >= SHORTEST_ENDING else None


def _numbers(text: str, country: str) -> Iterator[PhoneNumber]:
    """Yield the number of a text: a valid number, else a number of a possible length."""
    try:
        yield read(text, country, toll_free=True)
    except UnmappableError:
        try:
            yield read(text, country, phone_check="possible")
        except UnmappableError:
            return


def _is_redundant(suffix: str, others: Iterable[str]) -> bool:
    """Return True if `suffix` ends with another of the suffixes, which matches all its numbers."""
    return any(suffix != other and suffix.endswith(other) for other in others)
