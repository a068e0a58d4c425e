"""Who is signed in. Nobody can be yet: there are no users."""

from __future__ import annotations

from typing import TYPE_CHECKING

from integration.dashboard.pages import page

if TYPE_CHECKING:
    from flask import Response


class Nobody:
    """The access of a dashboard without users."""

    def present(self) -> None:
        """Give nobody."""

    def entrance(self) -> Response:
        """Say how the first user is made."""
        return page("nobody.html")
