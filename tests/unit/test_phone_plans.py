"""Numbers of earlier numbering plans: which are replaced by today's, and which are parked."""

from __future__ import annotations

import re

import pytest

from integration.domain.errors import UnmappableError
from integration.domain.phone_numbers import plans, read, write


@pytest.mark.parametrize(
    ("country", "old", "today"),
    [
        ("CO", "+57 1 411 1899", "576014111899"),
        ("CO", "57 1 411 1899", "576014111899"),
        ("CO", "(1) 411 1899", "576014111899"),
        ("CO", "(091) 411 1899", "576014111899"),
        ("CO", "03 4 411 1899", "576044111899"),
        ("CO", "0456 5 3601234", "576053601234"),
        ("CO", "+57 (0)2 6601234", "576026601234"),
        ("MX", "+57 7 6701234", "576076701234"),
        ("CO", "0 300 111 2233", "573001112233"),
        ("CO", "03 300 111 2233", "573001112233"),
        ("MX", "01 55 1234 5678", "525512345678"),
        ("MX", "044 55 1234 5678", "525512345678"),
        ("MX", "045 33 1234 5678", "523312345678"),
        ("CO", "+52 1 55 1234 5678", "525512345678"),
        ("MX", "5215512345678", "525512345678"),
        ("MX", "0052 1 55 1234 5678", "525512345678"),
        ("MX", "+52 01 55 1234 5678", "525512345678"),
        ("MX", "+52 044 55 1234 5678", "525512345678"),
        ("CL", "09 8765 4321", "56987654321"),
        ("CL", "0 9 6123 4567", "56961234567"),
        ("CL", "02 2123 4567", "56221234567"),
        ("PE", "01 987 654 321", "51987654321"),
        ("PE", "(054) 987654321", "51987654321"),
        ("PE", "1 987654321", "51987654321"),
        ("PE", "+51 1 987654321", "51987654321"),
        ("EC", "08 123 4567", "593981234567"),
        ("EC", "+593 8 123 4567", "593981234567"),
        ("EC", "593 (0)8 765 4321", "593987654321"),
        ("BR", "11 8123-4567", "5511981234567"),
        ("BR", "(21) 6123-4567", "5521961234567"),
        ("BR", "0xx11 8123-4567", "5511981234567"),
        ("BR", "0 15 11 8123-4567", "5511981234567"),
        ("CO", "+55 11 8123-4567", "5511981234567"),
        ("AR", "(011) 15 5744-7700", "5491157447700"),
        ("AR", "11 15 5744 7700", "5491157447700"),
        ("AR", "+54 11 15 5744 7700", "5491157447700"),
        ("AR", "+54 9 11 15 5744 7700", "5491157447700"),
        ("AR", "0351 15 512 3456", "5493515123456"),
        ("AR", "011 1544-7700", "541115447700"),
        ("AR", "11 5744 7700", "541157447700"),
    ],
)
def test_an_old_form_with_one_meaning_becomes_the_number_of_today(country, old, today):
    assert write("{e164}", read(old, country)) == today


@pytest.mark.parametrize(
    ("country", "written", "found"),
    [
        ("CO", "46123456", "two different numbers"),
        ("CO", "(4) 612 3456", "two different numbers"),
        ("CO", "+57 4 612 3456", "two different numbers"),
        ("CO", "3 1234567", "does not exist"),
        ("CO", "(02) 934 5668", "digit missing"),
        ("CO", "05 360 1234", "digit missing"),
        ("MX", "15512345678", "country code 1"),
        ("MX", "1 305 555 0123", "country code 1"),
        ("MX", "01 800 123 4567", "toll-free"),
        ("BR", "11 9123-4567", "digit missing"),
        ("BR", "11 7123-4567", "two different numbers"),
        ("BR", "0 11 7123-4567", "two different numbers"),
        ("BR", "912345678", "area code"),
        ("BR", "2345-6789", "area code"),
        ("CL", "98765432", "digit missing"),
        ("CL", "2 212 3456", "digit missing"),
        ("CL", "09 876 5432", "digit missing"),
        ("AR", "15 5744 7700", "area code"),
        ("AR", "5744 7700", "area code"),
        ("EC", "09 123 4567", "digit missing"),
        ("EC", "+593 9 123 4567", "digit missing"),
        ("EC", "212 3456", "area code"),
        ("PE", "98765432", "digit missing"),
        ("CR", "223 4567", "digit missing"),
        ("GT", "234 5678", "digit missing"),
        ("PA", "612 3456", "digit missing"),
        ("UY", "234 5678", "area code|does not exist"),
    ],
)
def test_a_form_with_two_meanings_is_parked(country, written, found):
    with pytest.raises(UnmappableError, match=found):
        read(written, country)


def test_a_form_of_which_two_numbers_follow_is_parked(monkeypatch):
    """No two of the listed forms do today."""
    other = plans.OldForm(re.compile(r"1(\d{7})"), r"602\1")
    monkeypatch.setitem(plans.OLD_FORMS, 57, (*plans.OLD_FORMS[57], other))
    with pytest.raises(UnmappableError, match="two different numbers"):
        read("1 411 1899", "CO")
    assert write("{e164}", read("2 411 1899", "CO")) == "576024111899"


@pytest.mark.parametrize(
    ("country", "written"),
    [("EC", "06 212 3456"), ("EC", "07 212 3456"), ("PE", "064 212345"), ("PE", "044 212345")],
)
def test_a_number_that_is_valid_as_it_is_written_is_not_touched(country, written):
    dialled = write("{dial}", read(written, country))
    assert dialled == written.replace(" ", "")
