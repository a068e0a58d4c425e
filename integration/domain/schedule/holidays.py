"""Public holidays of countries, from the package `holidays` with corrections."""

from __future__ import annotations

from datetime import date, timedelta
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from holidays import country_holidays

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_OBSERVED: Final = " (observado)"
_LONGEST_MOVE: Final = 4  # days between a holiday and the day on which it is observed
_NOVEMBER, _TUESDAY = 11, 1

_Names = dict[date, list[str]]  # the holidays of each day


@lru_cache(maxsize=1024)
def closed_days(country: str, year: int) -> frozenset[date]:
    """Return the public holidays of a year. `country` is a country code of the package `holidays`."""
    correct = _CORRECTIONS.get(country)
    if correct is None:
        return frozenset(country_holidays(country, years=year))
    # A holiday may be observed in the year before.
    names = _names(country, range(year - 1, year + 2))
    correct(names)
    return frozenset(day for day, present in names.items() if present and day.year == year)


def _names(country: str, years: range) -> _Names:
    listed = country_holidays(country, years=years, language="es")
    return {day: together.split("; ") for day, together in listed.items()}


def _correct_argentina(names: _Names) -> None:
    """Remove the days on which each employer decides: Maundy Thursday and the bridge days.

    Law 27.399, article 6 and resolution 164/2025 call them "días no laborables", not holidays.
    """
    optional = {"Jueves Santo", "Feriado con fines turísticos"}
    for present in names.values():
        present[:] = [name for name in present if name not in optional]


def _correct_ecuador(names: _Names) -> None:
    """Remove the original day of each moved holiday, which becomes a working day.

    The law of 20 December 2016 reforms article 65 of the Código del Trabajo. The package lists both days.
    """
    moves = [
        (day, name.removesuffix(_OBSERVED))
        for day, present in names.items()
        for name in present
        if name.endswith(_OBSERVED)
    ]
    for observed, name in moves:
        for day, present in names.items():
            if abs((day - observed).days) <= _LONGEST_MOVE and name in present:
                _moved_day(names, day).clear()
                break


def _moved_day(names: _Names, original: date) -> list[str]:
    """Return the holidays of the day that becomes a working day after a holiday was moved.

    This is the holiday's original day, except for one pair. The 2nd and the 3rd of November are both
    holidays. If they are a Tuesday and a Wednesday, Monday and Tuesday are free, and the Wednesday is
    not.
    """
    is_pair = original.month == _NOVEMBER and original.weekday() == _TUESDAY
    return names[original + timedelta(days=1) if is_pair else original]


_CORRECTIONS: Final[Mapping[str, Callable[[_Names], None]]] = MappingProxyType(
    {"AR": _correct_argentina, "EC": _correct_ecuador}
)
