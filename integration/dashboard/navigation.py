"""Entries of the navigation, in display order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flask import current_app
from flask_babel import lazy_gettext as _l

from integration.domain.roles import Role, SignedInUser

if TYPE_CHECKING:
    from flask_babel.speaklater import LazyString


@dataclass(frozen=True, slots=True)
class NavigationEntry:
    """A navigation entry.

    `page` is the name of the view and of the icon. `least` is the lowest role that sees the entry. A
    phone shows the `main` entries; the others are in a menu.
    """

    page: str
    label: LazyString
    main: bool = False
    least: Role = Role.VIEWER


ENTRIES = (
    NavigationEntry("now", _l("Now"), main=True),
    NavigationEntry("attention", _l("Requires attention")),
    NavigationEntry("recalls", _l("Recalls"), main=True),
    NavigationEntry("deliveries", _l("Deliveries")),
    NavigationEntry("parked", _l("Parked"), main=True),
    NavigationEntry("calendar", _l("Calendar")),
    NavigationEntry("accounts", _l("Accounts"), main=True),
    NavigationEntry("sources", _l("Sources")),
    NavigationEntry("studio", _l("Mapping studio")),
    NavigationEntry("alerts", _l("Alerts")),
    NavigationEntry("personal_data", _l("Personal data"), least=Role.ADMIN),
    NavigationEntry("audit", _l("Audit log"), least=Role.ADMIN),
)


def entries_for(person: SignedInUser | None) -> tuple[NavigationEntry, ...]:
    """Return the entries of registered views that a user may see; () if nobody is signed in."""
    if person is None:
        return ()
    views = current_app.view_functions
    return tuple(e for e in ENTRIES if person.may(e.least) and f"dashboard.{e.page}" in views)
