"""Now: is anything waiting, stopped or lost, and since when."""

from __future__ import annotations

from typing import TYPE_CHECKING

from integration.dashboard.pages import page
from integration.dashboard.roles import signed_in

if TYPE_CHECKING:
    from flask import Response

    from workers.desk import Desk


@signed_in
def now(desk: Desk) -> Response:
    """Show how things stand."""
    return page("now.html", counts=desk.counts())


VIEWS = (("GET /", now),)
