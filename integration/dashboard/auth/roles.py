"""Roles of the dashboard, and the decorators that set a view's required role.

The blueprint enforces the role, and fails at startup for a view without one of the decorators.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, ParamSpec, Protocol, TypeVar

from integration.domain.roles import Role, SignedInUser

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask.typing import ResponseReturnValue

_P = ParamSpec("_P")
_R = TypeVar("_R")
_MARK: Final = "least_role"
_ANYBODY: Final = "anybody"


class Access(Protocol):
    """Protocol of the session check: identifies the user of the current request."""

    def present(self) -> SignedInUser | None:
        """Return the user, or None if nobody is signed in. Raise StoreAwayError."""

    def redirect_to_sign_in(self) -> ResponseReturnValue:
        """Return a redirect to the sign-in page, or a page on how to create the first user."""


class ForbiddenError(Exception):
    """The user's role is too low. `least` is the required role."""

    def __init__(self, least: Role) -> None:
        super().__init__(least)
        self.least = least


def signed_in(view: Callable[_P, _R]) -> Callable[_P, _R]:
    """Mark a view for signed-in users of any role."""
    return role(Role.VIEWER)(view)


def role(least: str) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Mark a view for the role `least` and higher roles, as in `@role("operator")`."""
    return _mark(Role(least))


def anybody(view: Callable[_P, _R]) -> Callable[_P, _R]:
    """Mark a view that requires no sign-in."""
    return _mark(_ANYBODY)(view)


def _mark(least: str) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    def mark(view: Callable[_P, _R]) -> Callable[_P, _R]:
        setattr(view, _MARK, least)
        return view

    return mark


def least_role(view: Callable[..., object]) -> Role | None:
    """Return the required role of a view, None for `@anybody`. Raise TypeError if no decorator set one."""
    marked = getattr(view, _MARK, None)
    if marked is None:
        raise TypeError(f"{view} declares no role: decorate it with @signed_in, @role(…) or @anybody")
    return None if marked == _ANYBODY else Role(marked)
