"""Dates in a format that the template names."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from integration.domain.dates import format_fault, parse_format
from integration.domain.errors import UnmappableError


@pytest.mark.parametrize(
    ("value", "form", "made"),
    [
        ("02/03/2026 10:00", "%d/%m/%Y %H:%M", datetime(2026, 3, 2, 10)),
        ("2/3/26", "%d/%m/%y", date(2026, 3, 2)),
        ("02/03/2026 10:00 p. m.", "%d/%m/%Y %I:%M %p", datetime(2026, 3, 2, 22)),
        ("02/03/2026 10:00 a.m.", "%d/%m/%Y %I:%M %p", datetime(2026, 3, 2, 10)),
        ("02/03/2026 10:00PM", "%d/%m/%Y %I:%M%p", datetime(2026, 3, 2, 22)),
        ("02/03/2026 10:00pm", "%d/%m/%Y %I:%M %p", datetime(2026, 3, 2, 22)),
        ("02/03/2026 10:00 +0000", "%d/%m/%Y %H:%M %z", datetime(2026, 3, 2, 10, tzinfo=UTC)),
        ("061 2026", "%j %Y", date(2026, 3, 2)),
        ("02032026 1000", "%d%m%Y %H%M", datetime(2026, 3, 2, 10)),
        ("02/03/2026 10:00:00.1234567", "%d/%m/%Y %H:%M:%S.%f", datetime(2026, 3, 2, 10, 0, 0, 123456)),
        ("02/03/2026 100 %", "%d/%m/%Y 100 %%", date(2026, 3, 2)),
        ("2.3.2026", "%d.%m.%Y", date(2026, 3, 2)),
        (datetime(2026, 3, 2, 10), "%d/%m/%Y", datetime(2026, 3, 2, 10)),
    ],
)
def test_a_format_says_how_a_date_is_read(value, form, made):
    assert parse_format(value, form) == made
    assert type(parse_format(value, form)) is type(made)
    assert format_fault(form) is None


@pytest.mark.parametrize("value", ["03-02-2026", "31/02/2026", "", "02/03/1999", True, None, []])
def test_a_date_that_does_not_fit_its_format_is_unmappable(value):
    with pytest.raises(UnmappableError):
        parse_format(value, "%d/%m/%Y")


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ("%d/%m/%Y %Q", "directive"),
        ("%d/%m/%Y %", "directive"),
        ("%d/%m/%Y %I:%M", "%I"),
        ("%d/%m/%Y %H:%M %p", "%p and no %I"),
        ("%d/%m/%Y %p", "%p and no %I"),
        ("%H:%M:%S%p %d-%m-%Y", "%p and no %I"),
        ("%x", "%x"),
        ("%c", "%c"),
        ("%d/%m/%Y %X", "%X"),
        ("%Y %W %w", "directive"),
        ("%G %V %u", "directive"),
        ("%d/%m/%Y %-d", "directive"),
        ("%e/%m/%Y", "directive"),
        ("%d/%m/%Y %d", "twice"),
        ("%d %b %B %Y", "twice"),
        ("%d/%m/%y %Y", "twice"),
        ("%d/%m/%Y %M", "no hour"),
        ("%d/%m/%Y %z", "no hour"),
        ("%d/%m/%Y" + " " * 200, "characters"),
        ("%d/%m/%Y %H:%M %Z", "%Z"),
        ("%d/%m", "year"),
        ("%m/%Y", "day"),
        ("%d/%Y", "month"),
        ("%%d/%%m/%%Y", "year"),
    ],
)
def test_a_format_that_would_have_to_guess_is_a_fault(form, words):
    assert words in (format_fault(form) or "")


AFTERNOON = datetime(2026, 3, 5, 15, 4)


@pytest.mark.parametrize(
    "half",
    ["p. m.", "p.m.", "p.m", "pm", "PM", "P. M.", "p m", "p.\u00a0m.", "p.\u202fm.", "\u202fPM"],
)
@pytest.mark.parametrize("gap", ["", " ", "\u00a0"])
def test_every_spelling_of_the_afternoon_is_read(half, gap):
    assert parse_format(f"05/03/2026 3:04{gap}{half}", "%d/%m/%Y %I:%M %p") == AFTERNOON


@pytest.mark.parametrize(
    ("text", "hour"),
    [
        ("12:00 m.", 12),
        ("12:00 m", 12),
        ("12 m", 12),
        ("12:00 M.", 12),
        ("12:00 p. m.", 12),
        ("12:00 a. m.", 0),
        ("1:00 a. m.", 1),
        ("3 pm", 15),
        ("3 p. m.", 15),
    ],
)
def test_noon_and_midnight_are_read(text, hour):
    """RAE: "m." is noon. 12:00 a. m. is the beginning of the day."""
    assert parse_format(f"05/03/2026 {text}", "%d/%m/%Y %I:%M %p") == datetime(2026, 3, 5, hour)


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("05/03/2026 15h04", "%d/%m/%Y %Hh%M"),
        ("05/03/2026 15:04 hs", "%d/%m/%Y %H:%M"),
        ("05/03/2026 15:04hs.", "%d/%m/%Y %H:%M"),
        ("05/03/2026 15:04 hrs.", "%d/%m/%Y %H:%M"),
        ("05/03/2026 15:04:00 hrs", "%d/%m/%Y %H:%M:%S"),
        ("15:04 h 05/03/2026", "%H:%M %d/%m/%Y"),
        ("05/03/2026 15:04 hs", "%d/%m/%Y %H:%M hs"),
        ("5 de marzo de 2026 a las 15:04", "%d de %B de %Y a las %H:%M"),
    ],
)
def test_a_word_for_hours_after_the_time_is_read(text, form):
    assert parse_format(text, form) == AFTERNOON


def test_full_hours_may_lack_the_minutes_after_an_h():
    assert parse_format("05/03/2026 15h", "%d/%m/%Y %Hh%M") == datetime(2026, 3, 5, 15)


SPANISH = [
    "enero",
    "febrero",
    "marzo",
    "abril",
    "mayo",
    "junio",
    "julio",
    "agosto",
    "septiembre",
    "octubre",
    "noviembre",
    "diciembre",
]
SHORT_SPANISH = ["ene", "feb", "mar", "abr", "may", "jun", "jul", "ago", "sept", "oct", "nov", "dic"]
PORTUGUESE = [
    "janeiro",
    "fevereiro",
    "março",
    "abril",
    "maio",
    "junho",
    "julho",
    "agosto",
    "setembro",
    "outubro",
    "novembro",
    "dezembro",
]
SHORT_PORTUGUESE = ["jan", "fev", "mar", "abr", "mai", "jun", "jul", "ago", "set", "out", "nov", "dez"]
ENGLISH = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
SHORT_ENGLISH = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


@pytest.mark.parametrize("directive", ["%B", "%b"])
@pytest.mark.parametrize(
    "names", [SPANISH, SHORT_SPANISH, PORTUGUESE, SHORT_PORTUGUESE, ENGLISH, SHORT_ENGLISH]
)
def test_every_month_of_the_three_languages_is_read(names, directive):
    for number, name in enumerate(names, start=1):
        for written in (name, name.upper(), f"{name}.", name.replace("ç", "c"), name.replace("ç", "c\u0327")):
            assert parse_format(f"5-{written}-2026", f"%d-{directive}-%Y") == date(2026, number, 5), written


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("5 de marzo de 2026", "%d de %B de %Y"),
        ("5 mar. 2026", "%d %b %Y"),
        ("5 mar 2026", "%d %b. %Y"),
        ("5-mar-26", "%d-%b-%y"),
        ("05mar2026", "%d%b%Y"),
        ("jue., 5 mar. 2026", "%a, %d %b %Y"),
        ("Jueves 5 de Marzo de 2026", "%A %d de %B de %Y"),
        ("quinta-feira, 5 de março de 2026", "%A, %d de %B de %Y"),
        ("qui, 5 mar 2026", "%a, %d %b %Y"),
        ("Thursday, March 5, 2026", "%A, %B %d, %Y"),
    ],
)
def test_names_are_read_in_spanish_portuguese_and_english(text, form):
    assert parse_format(text, form) == date(2026, 3, 5)


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("junio 4, 2030 3:30 pm", datetime(2030, 6, 4, 15, 30)),
        ("setiembre 4, 2030 3:30 p. m.", datetime(2030, 9, 4, 15, 30)),
        ("diciembre 31, 2030 12:00 m.", datetime(2030, 12, 31, 12)),
        ("dezembro 1, 2030 11:59 PM", datetime(2030, 12, 1, 23, 59)),
    ],
)
def test_a_long_date_with_a_time_is_read(text, made):
    assert parse_format(text, "%B %d, %Y %I:%M %p") == made


def test_a_short_name_is_a_month_or_a_weekday_by_its_place():
    assert parse_format("mar., 3 mar. 2026", "%a, %d %b %Y") == date(2026, 3, 3)


def test_an_ordinal_day_is_read():
    assert parse_format("1º de março de 2026", "%d de %B de %Y") == date(2026, 3, 1)


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("vie., 5 mar. 2026", "%a, %d %b %Y"),  # it is a Thursday
        ("11:00 m. 05/03/2026", "%I:%M %p %d/%m/%Y"),
        ("1:00 m. 05/03/2026", "%I:%M %p %d/%m/%Y"),
        ("13:00 p. m. 05/03/2026", "%I:%M %p %d/%m/%Y"),
        ("0:30 a. m. 05/03/2026", "%I:%M %p %d/%m/%Y"),
        ("3 de la tarde 05/03/2026", "%I:%M %p %d/%m/%Y"),
        ("05/03/2026 3:04", "%d/%m/%Y %I:%M %p"),
        ("05/03/2026 24:00", "%d/%m/%Y %H:%M"),
        ("05032026 2400", "%d%m%Y %H%M"),
        ("05/03/2026 15:04:60", "%d/%m/%Y %H:%M:%S"),
        ("05/03/2026 15:4", "%d/%m/%Y %H:%M"),
        ("1112026", "%d%m%Y"),
        ("05/03/2026 03:04pm", "%d/%m/%Y %I%M%p"),
        ("05/03/2026 1304pm", "%d/%m/%Y %I%M%p"),
        ("31 de junio de 2026", "%d de %B de %Y"),
        ("5 de marzobre de 2026", "%d de %B de %Y"),
        ("26/03/05", "%d/%m/%y"),  # year first: as day first it would be a day of 2005
        ("30/12/99", "%d/%m/%y"),
        ("05/03/2026", "%d/%m/%y"),
        ("05/03/2026 9:00 - 12:00", "%d/%m/%Y %H:%M"),
        ("05/03/2026 15:04 +9900", "%d/%m/%Y %H:%M %z"),
        ("064 2026 2", "%j %Y %m"),
        ("366 2026", "%j %Y"),
        ("000 2026", "%j %Y"),
        ("0001-03-05", "%Y-%m-%d"),
    ],
)
def test_a_text_that_contradicts_its_format_or_itself_is_unmappable(text, form):
    with pytest.raises(UnmappableError):
        parse_format(text, form)


@pytest.mark.parametrize("form", ["%d%d%m%Y", "%d/%m/%Y %H:%M %p", "%q", "x" * 201, ""])
def test_a_format_of_the_event_with_a_fault_is_unmappable(form):
    with pytest.raises(UnmappableError, match="a format"):
        parse_format("05/03/2026", form)
