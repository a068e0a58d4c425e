"""Split the text of a field into the texts of its telephone numbers, and remove decoration.

A text that may have another meaning raises UnmappableError. libphonenumber itself would skip words before
a number, convert letters to digits and drop an extension.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from integration.domain.errors import UnmappableError
from integration.domain.phone_numbers import reasons
from integration.domain.phone_numbers.reasons import unmappable

LONGEST: Final = 64  # characters, more than any number with brackets and spaces has
MOST_DIGITS: Final = 15  # of an international number, by ITU-T E.164
FEWEST_DIGITS: Final = 7  # of a whole number; shorter ones are emergency and service numbers
_SCHEME: Final = re.compile(r"(?:tel|whatsapp|phone|callto|p):(?://)?", re.IGNORECASE)
_QUOTES: Final = ('"', "'")
# Spreadsheets write a whole number that was read as a decimal number with ".0" at its end.
_SPREADSHEET_DECIMAL: Final = re.compile(r"(\+?\d+)\.0")
# "6017432100.00": removing the dot would append digits to the number.
_DECIMAL: Final = re.compile(r"\+?\d{8,}\.\d{1,2}")
_NEGATIVE: Final = re.compile(r"-\d[\d ().-]*")
_CODE_IN_BRACKETS: Final = re.compile(r"^\( ?\+ ?(\d{1,3}) ?\)")
_SCIENTIFIC: Final = re.compile(r"[+-]?\d+(?:[.,]\d+)?e[+-]?\d+", re.IGNORECASE)
# Brazilian long-distance numbers are printed as 0xx11…, with xx for any carrier's two digits.
_CARRIER_PLACEHOLDER: Final = re.compile(r"((?:\+?55)?[ (]*0) ?xx", re.IGNORECASE)
_BETWEEN_NUMBERS: Final = re.compile(
    r"[/;,|&\n]|(?<= )(?:o|u|y|e|ou|or|and)(?= )|(?<=\d{7})(?: ?- ?| )(?=\+?\d{7})|(?<=\d) ?(?=\+)",
    re.IGNORECASE,
)
_EXTENSION: Final = re.compile(
    r"\d[^\w#+]*(?:e?xt\w*|x|#|int\w*|anexo|ramal|opci[oó]n|,|;|/)[^\w+]*\d", re.IGNORECASE
)
_CODE_TWICE: Final = re.compile(r"\+ ?\(?(\d{1,3})\)?[ -]*\+ ?\(?\1[\d ().-]+")
_CODES_DIFFER: Final = re.compile(r"\+ ?\(?\d{1,3}\)?[ -]*\+[\d ().-]+")
_WRITTEN: Final = re.compile(r"\+?[\d ().-]*\d[\d ().-]*")
_LOOKALIKES: Final = {
    "\uff0b": "+",
    "\uff08": "(",
    "\uff09": ")",
    "\uff0e": ".",
    "\u2212": "-",
    "\uff0d": "-",
}


def split_numbers(number: object, country: str) -> tuple[str, ...]:
    """Return the texts of the numbers in a field: an optional +, then digits and separators.

    `country` is the country of a number without a country code (two letters, ISO 3166). Raise
    UnmappableError if the field has other content.
    """
    if isinstance(number, bool) or not isinstance(number, str | int):
        raise unmappable(reasons.Reason(f"a {type(number).__name__}"))
    text = _plain(str(number)[: LONGEST * 2])
    if not text:
        raise unmappable(reasons.BLANK)
    if len(text) > LONGEST:
        raise UnmappableError("recall_telephone", f"{len(text)} characters", f"at most {LONGEST}")
    text = _undecorated(text)
    if country == "BR" or text.startswith("+55"):
        text = _CARRIER_PLACEHOLDER.sub(r"\1", text)
    parts = [part.strip() for part in _BETWEEN_NUMBERS.split(text)]
    whole = [part for part in parts if len(digits_of(part)) >= FEWEST_DIGITS]
    if len(whole) > 1:
        return tuple(_checked(_undecorated(part)) for part in whole)
    return (_checked(text),)


def digits_of(text: str) -> str:
    """Return the ASCII digits of a text."""
    return "".join(c for c in text if c in "0123456789")


def _plain(text: str) -> str:
    """Return the lines of a text with ASCII digits, signs and single spaces, without format characters.

    Numbers that were copied from a telephone's contacts have invisible direction marks.
    """
    if not text.isascii():
        text = "".join(_ascii(c) for c in text if unicodedata.category(c) != "Cf")
    return "\n".join(line for part in text.splitlines() if (line := " ".join(part.split())))


def _ascii(character: str) -> str:
    if character.isdecimal():
        return str(int(character))
    if unicodedata.category(character) == "Pd":
        return "-"
    return _LOOKALIKES.get(character, character)


def _undecorated(text: str) -> str:
    """Return the text without a formula's =, quotes, a URL scheme and the `.0` of a spreadsheet.

    Brackets around a country code, as in (+57), are removed.
    """
    text = text.removeprefix("=").strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in _QUOTES:
        text = text[1:-1].strip()
    text = text.removeprefix("'").strip()
    scheme = _SCHEME.match(text)
    if scheme:
        text = text[scheme.end() :].strip()
    text = _CODE_IN_BRACKETS.sub(r"+\1 ", text)
    decimal = _SPREADSHEET_DECIMAL.fullmatch(text)
    return decimal[1] if decimal else text


def _checked(text: str) -> str:
    """Return the text of one number, without a repeated country code. Raise UnmappableError otherwise."""
    twice = _CODE_TWICE.fullmatch(text)
    if twice:
        return "+" + text[text.index("+", 1) + 1 :].strip()
    if _NEGATIVE.fullmatch(text):
        raise unmappable(reasons.NEGATIVE)
    if _DECIMAL.fullmatch(text):
        raise unmappable(reasons.EXTRA_DIGITS)
    if _WRITTEN.fullmatch(text):
        digits = digits_of(text)
        if len(digits) < FEWEST_DIGITS and not digits.strip("0"):
            raise unmappable(reasons.NO_NUMBER)
        return text
    raise unmappable(_reason_of_text(text))


def _reason_of_text(text: str) -> reasons.Reason:
    if not digits_of(text):
        return reasons.NO_NUMBER
    if _SCIENTIFIC.fullmatch(text):
        return reasons.SCIENTIFIC
    if _EXTENSION.search(text):
        return reasons.EXTENSION
    if _CODES_DIFFER.fullmatch(text):
        return reasons.TWO_COUNTRY_CODES if len(digits_of(text)) <= MOST_DIGITS + 2 else reasons.SEVERAL
    if any(c.isalpha() for c in text) and "@" not in text and ":" not in text:
        return reasons.LETTERS
    return reasons.CHARACTERS
