"""Roles of dashboard users, and the user who is signed in."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """A role of dashboard users. Each role has the permissions of the roles before it.

    A viewer reads, with masked numbers. An operator also reveals numbers, retries, cancels, pauses,
    resumes, remaps and tests. An admin also reads the audit log, and exports and erases personal data.
    """

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    def allows(self, least: Role) -> bool:
        """Return True if this role has the permissions of `least`."""
        order = list(Role)
        return order.index(self) >= order.index(least)


@dataclass(frozen=True, slots=True)
class SignedInUser:
    """A user with a session in the dashboard."""

    name: str
    role: Role

    def may(self, least: str) -> bool:
        """Return True if the user's role has the permissions of `least`, the value of a role."""
        return self.role.allows(Role(least))
