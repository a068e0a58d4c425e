"""Accounts: each with its lane; what keeps it, and what an operator can do about that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from integration.dashboard.pages import page
from integration.dashboard.roles import signed_in
from integration.dashboard.times import zone_of

if TYPE_CHECKING:
    from flask import Response

    from workers.desk import Desk


@signed_in
def accounts(desk: Desk) -> Response:
    """List the accounts."""
    views = desk.accounts()
    zones = {view.name: zone_of(desk.config, view.name) for view in views}
    return page("accounts.html", accounts=views, zones=zones)


VIEWS = (("GET /accounts", accounts),)
