"""Reads values of the dashboard's forms and addresses. Pure."""

from __future__ import annotations

from typing import Final

# Thousands separators of the languages of the dashboard, among them two kinds of no-break space.
_SEPARATORS: Final = "., \u00a0\u202f"


def one_line(text: str, longest: int) -> str:
    """Return at most `longest` characters of a text, on one line and without unprintable characters."""
    return "".join(sign for sign in " ".join(text.split()) if sign.isprintable())[:longest]


def whole_number(text: str, most_digits: int) -> int | None:
    """Return the number, or None unless the text has 1 to `most_digits` ASCII digits and nothing else."""
    is_number = text.isascii() and text.isdecimal() and len(text) <= most_digits
    return int(text) if is_number else None


def confirms_number(typed: str, number: str) -> bool:
    """Return True if a user typed a number, with or without thousands separators."""
    digits = "".join(sign for sign in typed if sign not in _SEPARATORS)
    return number.isdecimal() and digits == number
