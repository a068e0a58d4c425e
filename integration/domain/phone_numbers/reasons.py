"""The reasons why a number is not dialled. They are stored with the parked event.

`integration.dashboard.presenting.labels` lists the texts for translation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from phonenumbers import PhoneNumberType, ValidationResult

from integration.domain.errors import UnmappableError

if TYPE_CHECKING:
    from collections.abc import Mapping

NUMBER_WORDS: Final = (
    "a telephone number that exists: digits, of the account's country or with + and a country code"
)
_FIELD: Final = "recall_telephone"
_WHOLE_NUMBER: Final = "the whole number, with its area code"
_NUMBER_OF_TODAY: Final = "the number as it is dialled today, with + and its country code"
_SUBSCRIBER: Final = "a fixed, mobile or VoIP number of a customer"


@dataclass(frozen=True, slots=True)
class Reason:
    """The reason why a number is not dialled: a description of the text, and what is allowed instead."""

    found: str
    allowed: str = NUMBER_WORDS


def unmappable(reason: Reason) -> UnmappableError:
    """Return the UnmappableError of `recall_telephone` for a reason."""
    return UnmappableError(_FIELD, reason.found, reason.allowed)


# --- the text ----------------------------------------------------------------------------------

BLANK: Final = Reason("a blank text")
NO_NUMBER: Final = Reason("a text without a number")
LETTERS: Final = Reason("a number with letters in it", "digits instead of letters")
CHARACTERS: Final = Reason("a text with characters that are not part of a telephone number")
SCIENTIFIC: Final = Reason(
    "a number in scientific notation, which has lost digits",
    "all digits; export the column as text from the spreadsheet",
)
# A spreadsheet computes -3001112176 from the text +57-3001112233.
NEGATIVE: Final = Reason(
    "a negative number, which a spreadsheet computes from a number with dashes",
    "all digits; export the column as text from the spreadsheet",
)
EXTENSION: Final = Reason(
    "a number with an extension, which is not dialled",
    "the number alone; put the extension into a separate field",
)
EXTRA_DIGITS: Final = Reason(
    "a number with an extension or one digit too many",
    "the number alone; put the extension into a separate field",
)
SEVERAL: Final = Reason("several numbers", "one number; put the others into separate fields")
TWO_COUNTRY_CODES: Final = Reason("a number with two different country codes", "one country code")

# --- the number --------------------------------------------------------------------------------

NO_COUNTRY_CODE: Final = Reason("a number that is incomplete or has no country code")
NO_AREA_CODE: Final = Reason("a number without its area code", _WHOLE_NUMBER)
TOO_LONG: Final = Reason("a number with too many digits")
OLD_OR_INCOMPLETE: Final = Reason(
    "a number of an earlier numbering plan, or one with a digit missing", _NUMBER_OF_TODAY
)
TWO_READINGS: Final = Reason("a number that can be read as two different numbers", _NUMBER_OF_TODAY)
MEXICAN_1: Final = Reason(
    "a 1 before ten digits: the country code 1, or a prefix that Mexico abolished in 2019",
    "the ten digits alone, or the number with + and its country code",
)
BY_POSSIBILITY: Final[Mapping[int, Reason]] = {
    ValidationResult.TOO_SHORT: Reason("a number with too few digits"),
    ValidationResult.TOO_LONG: TOO_LONG,
    ValidationResult.INVALID_LENGTH: Reason("a number with a length that does not exist in its country"),
    ValidationResult.INVALID_COUNTRY_CODE: Reason("a number with a country code that does not exist"),
    ValidationResult.IS_POSSIBLE_LOCAL_ONLY: NO_AREA_CODE,
}


def nonexistent(country: str) -> Reason:
    """Return the reason for a number that is in no range of the numbering plan of `country`."""
    return Reason(f"a number that does not exist in the numbering plan of {country}")


def foreign(country: str) -> Reason:
    """Return the reason for a number of a country that the account does not dial."""
    return Reason(
        f"a number of {country}, a country that the account does not dial",
        "a number of the account's country; to dial numbers of other countries, add the countries "
        "to `countries` and write {e164} in dial_format",
    )


# --- its type ----------------------------------------------------------------------------------

_SERVICE: Final = Reason(
    "a number of a service, such as a pager, a personal number or voicemail", _SUBSCRIBER
)
BY_TYPE: Final[Mapping[int, Reason]] = {
    PhoneNumberType.PREMIUM_RATE: Reason("a premium-rate number, which costs the caller extra", _SUBSCRIBER),
    PhoneNumberType.SHARED_COST: Reason("a shared-cost number, which costs the caller extra", _SUBSCRIBER),
    PhoneNumberType.TOLL_FREE: Reason(
        "a toll-free number, which does not belong to a customer",
        "a fixed, mobile or VoIP number of a customer; to dial toll-free numbers, set toll_free = true in "
        "the account",
    ),
    PhoneNumberType.PERSONAL_NUMBER: _SERVICE,
    PhoneNumberType.PAGER: _SERVICE,
    PhoneNumberType.UAN: _SERVICE,
    PhoneNumberType.VOICEMAIL: _SERVICE,
}
"""The reasons by the types of libphonenumber. A type without an entry is dialled."""
