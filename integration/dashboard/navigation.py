"""The pages that everybody finds in the navigation, in its order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flask import current_app
from flask_babel import lazy_gettext as _l

from integration.domain.roles import Person, Role

if TYPE_CHECKING:
    from flask_babel.speaklater import LazyString


@dataclass(frozen=True, slots=True)
class Entry:
    """A page of the navigation. `page` names its view and its icon; a phone shows what is `main` at once."""

    page: str
    label: LazyString
    main: bool = False
    least: Role = Role.VIEWER


ENTRIES = (
    Entry("now", _l("Now"), main=True),
    Entry("recalls", _l("Recalls"), main=True),
    Entry("deliveries", _l("Deliveries")),
    Entry("parked", _l("Parked"), main=True),
    Entry("calendar", _l("Calendar")),
    Entry("accounts", _l("Accounts"), main=True),
    Entry("sources", _l("Sources")),
    Entry("studio", _l("Mapping studio")),
    Entry("alerts", _l("Alerts")),
    Entry("one_person", _l("One person"), least=Role.ADMIN),
    Entry("audit", _l("Audit log"), least=Role.ADMIN),
)


def entries_for(person: Person | None) -> tuple[Entry, ...]:
    """Give the entries that a person may see."""
    if person is None:
        return ()
    views = current_app.view_functions
    return tuple(e for e in ENTRIES if person.may(e.least) and f"dashboard.{e.page}" in views)
