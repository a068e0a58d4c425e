"""The columns and saved views of the list of recalls. Both are stored for each user."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from flask import request, url_for
from flask_babel import gettext as _

from integration.config.models import zone_of
from integration.dashboard.auth.roles import signed_in
from integration.dashboard.responses import back_to, flash_message, person
from integration.domain.recall_filters import read_filters
from integration.store.search.saved_views import MOST_VIEWS, SavedView
from integration.web.form_values import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from flask.typing import ResponseReturnValue

    from integration.services.container import Services

COLUMNS: Final = (
    *("state", "reason", "customer", "telephone", "callback", "campaign", "account", "asked", "source"),
)
OLDEST_FIRST: Final = "oldest"
LONGEST_NAME: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrangement:
    """The order and columns of the list, and the user's saved views by id.

    `view` is the id of the saved view that is open, or "".
    """

    sort: str
    view: str
    columns: Sequence[str]
    views: Mapping[str, SavedView]

    @property
    def texts(self) -> dict[str, str]:
        """Return the query parameters `sort` and `view`, without empty ones."""
        return {name: text for name, text in (("sort", self.sort), ("view", self.view)) if text}


def arrangement(services: Services) -> Arrangement:
    """Return the arrangement of the request: the columns of its view, or those that the user chose."""
    chosen = services.saved_views.of(person().name)
    view_id = request.values.get("view", "")
    view = chosen.views.get(view_id)
    columns = chosen.columns if view is None else view.columns
    return Arrangement(
        sort=sort(),
        view="" if view is None else view_id,
        columns=_known(columns or COLUMNS),
        views=chosen.views,
    )


def sort() -> str:
    """Return the order of the request: OLDEST_FIRST, or "" for newest first."""
    return OLDEST_FIRST if request.values.get("sort") == OLDEST_FIRST else ""


def _known(columns: Iterable[str]) -> list[str]:
    """Return the columns in the order of COLUMNS, without unknown ones."""
    chosen = set(columns)
    return [name for name in COLUMNS if name in chosen]


@signed_in
def choose_columns(services: Services) -> ResponseReturnValue:
    """Store the ticked columns for the user. Without any, all columns are shown."""
    columns = _known(request.form.getlist("column")) or list(COLUMNS)
    services.saved_views.choose_columns(person().name, columns)
    flash_message(_("The list shows these columns from now on."))
    return back_to(_list_address(_filters(services), sort()))


@signed_in
def save_view(services: Services) -> ResponseReturnValue:
    """Save the filters, order and columns of the list under a name."""
    filters, shown = _filters(services), arrangement(services)
    name = one_line(request.form.get("name", ""), LONGEST_NAME)
    if not name:
        flash_message(_("Nothing was saved, because the name is missing. Enter a name."), "refused")
        return back_to(_list_address(filters, shown.sort))
    view = SavedView(name=name, filters=filters, sort=shown.sort, columns=shown.columns)
    view_id = services.saved_views.add(person().name, view)
    if view_id is None:
        words = _("Nothing was saved: a user may have %(number)s views. Delete one first.", number=MOST_VIEWS)
        flash_message(words, "refused")
        return back_to(_list_address(filters, shown.sort))
    flash_message(_("The view is saved."))
    return back_to(_list_address(filters, shown.sort, view_id))


@signed_in
def open_view(services: Services, view_id: str) -> ResponseReturnValue:
    """Open a saved view of the user. Raise NotFoundError."""
    view = services.saved_views.get(person().name, view_id)
    return back_to(_list_address(view.filters, view.sort, view_id))


@signed_in
def delete_view(services: Services, view_id: str) -> ResponseReturnValue:
    """Delete a saved view of the user."""
    if services.saved_views.delete(person().name, view_id):
        flash_message(_("The view is deleted."))
    else:
        flash_message(_("Nothing was changed, because the view does not exist any more."), "note")
    return back_to(url_for("dashboard.recalls"))


def _filters(services: Services) -> dict[str, str]:
    """Return the filters of the request, without a search: a view must store nothing about a person."""
    texts = read_filters(request.values, zone_of(services.config)).texts
    return {name: text for name, text in texts.items() if name != "search"}


def _list_address(filters: Mapping[str, str], sort: str, view_id: str = "") -> str:
    texts: dict[str, Any] = {**filters, "sort": sort or None, "view": view_id or None}
    return url_for("dashboard.recalls", **texts)


VIEWS = (
    ("POST /recalls/columns", choose_columns),
    ("POST /recalls/views", save_view),
    ("GET /recalls/views/<view_id>", open_view),
    ("POST /recalls/views/<view_id>/delete", delete_view),
)
