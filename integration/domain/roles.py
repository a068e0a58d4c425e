"""TODO."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """A role; each may do what those before it may.

    A viewer reads with numbers masked; an operator also reveals, retries, cancels, pauses, resumes, maps
    again and tests; an admin also sees the audit log, exports and forgets.
    """

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    def allows(self, least: Role) -> bool:
        """Tell whether this role is enough where `least` is asked for."""
        order = list(Role)
        return order.index(self) >= order.index(least)


@dataclass(frozen=True, slots=True)
class SignedInUser:
    """Who is signed in."""

    name: str
    role: Role

    def may(self, least: str) -> bool:
        """Tell whether the person's role is enough; templates ask so before they show a button."""
        return self.role.allows(Role(least))
