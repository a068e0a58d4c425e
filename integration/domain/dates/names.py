"""Names of months and weekdays in English, Spanish and Portuguese: lower case, without accents.

They do not depend on the locale of the process. "mar" is a month and a weekday; the directive of the
format distinguishes them.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# "setiembre" and "set" are usual in Peru, Uruguay and Costa Rica.
_MONTHS: Final = (
    "january jan enero ene janeiro",
    "february feb febrero fevereiro fev",
    "march mar marzo marco",
    "april apr abril abr",
    "may mayo maio mai",
    "june jun junio junho",
    "july jul julio julho",
    "august aug agosto ago",
    "september sept sep septiembre setiembre setembro set",
    "october oct octubre outubro out",
    "november nov noviembre novembro",
    "december dec diciembre dic dezembro dez",
)
_WEEKDAYS: Final = (
    "monday mon lunes lun segunda-feira segunda seg",
    "tuesday tue martes mar terca-feira terca ter",
    "wednesday wed miercoles mie quarta-feira quarta qua",
    "thursday thu jueves jue quinta-feira quinta qui",
    "friday fri viernes vie sexta-feira sexta sex",
    "saturday sat sabado sab",
    "sunday sun domingo dom",
)


def _numbered(names: Iterable[str], first: int) -> Mapping[str, int]:
    return MappingProxyType(
        {name: number for number, same in enumerate(names, start=first) for name in same.split()}
    )


MONTHS: Final = _numbered(_MONTHS, 1)  # January is 1
WEEKDAYS: Final = _numbered(_WEEKDAYS, 0)  # Monday is 0, as in date.weekday()
