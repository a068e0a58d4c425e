"""The error tree, sorted by who must act: the operator, the sender, or time.

Errors carry data, and their messages never hold a secret, a token or a customer's number:
`found` is described (its type, its length), never quoted, where it came from a customer.
"""

from __future__ import annotations

from dataclasses import dataclass


class RingbackError(Exception):
    """Anything Ringback itself reports."""


# --- the operator must act -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong in the configuration: where, what was found, what is allowed."""

    file: str
    key: str
    found: str
    allowed: str

    def __str__(self) -> str:
        """Give the fault as one line."""
        return f"{self.file}: {self.key}: found {self.found}; allowed: {self.allowed}"


class ConfigError(RingbackError):
    """The configuration is refused whole; `faults` names every reason at once."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        super().__init__("\n".join(str(fault) for fault in faults))
        self.faults = faults


class StoreUnsafeError(RingbackError):
    """The store may lose what it acknowledged, and `[store] accept_loss` does not allow that."""


class UnmappableError(RingbackError):
    """An event cannot become a recall; it is parked until the configuration is mended.

    `field` is the recall's field (or `when`, `events`), `found` describes what was there, `allowed`
    says what would do. `found` may be kept with the parked event, but is never logged.
    """

    def __init__(self, field: str, found: str, allowed: str) -> None:
        super().__init__(f"{field}: found {found}; allowed: {allowed}")
        self.field = field
        self.found = found
        self.allowed = allowed


class ConflictError(RingbackError):
    """An action does not fit the state that the recall is in; `state` names it."""

    def __init__(self, state: str, message: str) -> None:
        super().__init__(message)
        self.state = state


class UnknownError(RingbackError):
    """There is no such recall, account, source or parked event."""


# --- the sender must act ---------------------------------------------------------------------


class NotVerifiedError(RingbackError):
    """The delivery is not proved to come from its source: 401.

    `check` is the verification that failed (`signature v3`, `timestamp`, `url_key` …) and `why` the
    reason. Both go to the log, neither into the answer.
    """

    def __init__(self, check: str, why: str) -> None:
        super().__init__(f"{check}: {why}")
        self.check = check
        self.why = why


class UnreadableError(RingbackError):
    """The body is verified but cannot be read: 400. `where` is a place in it, never its text."""

    def __init__(self, where: str, found: str, allowed: str) -> None:
        super().__init__(f"{where}: found {found}; allowed: {allowed}")
        self.where = where
        self.found = found
        self.allowed = allowed


class UnsupportedTypeError(UnreadableError):
    """The body's content type is not one that the source reads: 415."""


# --- time must pass --------------------------------------------------------------------------


class StoreAwayError(RingbackError):
    """The store cannot be reached, is full or does not answer in time: 503 with `Retry-After`."""

    retry_after_seconds = 5


class UnboundError(StoreAwayError):
    """The store does not know the queue of an account of the configuration yet."""
