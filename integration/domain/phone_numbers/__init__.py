"""Parse telephone numbers as people write them, and format them as an operation dials them. Pure.

A number that cannot be dialled raises an error and is never corrected by a guess. Error messages do not
contain the number, because it is customer data.

- `texts`: from a field's text to the digits of one number
- `plans`: forms of earlier numbering plans and the numbers of today that replace them
- `reading`: from the digits to a number that exists
- `dialling`: the account's rules, and the number as its operation dials it
- `search`: digit suffixes and whole numbers for a search by telephone
- `reasons`: why a number is not dialled, and what to do
"""

from integration.domain.phone_numbers.dialling import dial_format_fault, dialled, write
from integration.domain.phone_numbers.reading import read
from integration.domain.phone_numbers.search import FULL_NUMBER_PREFIX, endings, whole_numbers

__all__ = ["FULL_NUMBER_PREFIX", "dial_format_fault", "dialled", "endings", "read", "whole_numbers", "write"]
