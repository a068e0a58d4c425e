"""Who may do what on the dashboard: the roles, the person who is signed in, and the marks on views.

A view carries its least role as a mark; the blueprint enforces it and refuses a view without one.
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
    """Knows who sends the present request."""

    def present(self) -> SignedInUser | None:
        """Give the person, None when nobody is signed in. Raises StoreAwayError."""

    def entrance(self) -> ResponseReturnValue:
        """Answer somebody who is not signed in: the way to sign in, or how to make the first user."""


class ForbiddenError(Exception):
    """The person's role is not enough; `least` would be."""

    def __init__(self, least: Role) -> None:
        super().__init__(least)
        self.least = least


def signed_in(view: Callable[_P, _R]) -> Callable[_P, _R]:
    """Mark a view as one for everybody who is signed in."""
    return role(Role.VIEWER)(view)


def role(least: str) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Mark a view as one for this role and those above it: `@role("operator")`."""
    return _mark(Role(least))


def anybody(view: Callable[_P, _R]) -> Callable[_P, _R]:
    """Mark a view that needs no sign-in, such as the sign-in page itself."""
    return _mark(_ANYBODY)(view)


def _mark(least: str) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    def mark(view: Callable[_P, _R]) -> Callable[_P, _R]:
        setattr(view, _MARK, least)
        return view

    return mark


def least_role(view: Callable[..., object]) -> Role | None:
    """Give the least role of a view, None for anybody. Raises TypeError for a view without a mark."""
    marked = getattr(view, _MARK, None)
    if marked is None:
        raise TypeError(f"{view} says not who may see it: mark it @signed_in, @role(…) or @anybody")
    return None if marked == _ANYBODY else Role(marked)
