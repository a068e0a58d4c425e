"""The exceptions of Ringback, grouped by who must act: the operator, the sender, a user, or nobody.

Messages never contain a secret, a token or a customer's number. `found` describes a value from a customer
by its type, length or shape and does not quote the value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


class RingbackError(Exception):
    """Base class of the exceptions in this module and of most other errors of Ringback."""


# --- the operator must act -------------------------------------------------------------------


_INSTRUCTIONS: Final = ("Add ", "Move ", "Remove ", "Set ")


def invalid_value(subject: str, found: str, allowed: str) -> str:
    """Return two sentences: the fault of `subject`, and the remedy.

    `found` completes the sentence "… is FOUND". `allowed` completes the sentence "Use ALLOWED", or is a
    sentence that begins with one of `_INSTRUCTIONS`. Both forms may be followed by another sentence, such
    as a suggestion.
    """
    remedy = allowed if allowed.startswith(_INSTRUCTIONS) else f"Use {allowed}"
    return f"{subject} is {found}. {remedy}{'' if remedy.endswith(('.', '?')) else '.'}"


ENVIRONMENT: Final = "environment"
"""The `file` of a fault in an environment variable."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault in the configuration: its file and key, the value found, and the values allowed."""

    file: str
    key: str
    found: str
    allowed: str

    def __str__(self) -> str:
        """Return the fault on one line."""
        return f"{self.file}: {invalid_value(self.key, self.found, self.allowed)}"


class ConfigError(RingbackError):
    """The configuration is invalid and not used. `faults` has one or more faults."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        super().__init__("\n".join(str(fault) for fault in faults))
        self.faults = faults


class StoreUnsafeError(RingbackError):
    """The store may lose acknowledged data, and `[store] accept_loss` is not true."""


class UnmappableError(RingbackError):
    """An event, or the fields of a request to `/v1`, cannot be mapped to a recall.

    `field` is a field of the recall, or another place such as `account`, `when` or `events`. `found`
    describes the value, `allowed` the values that are accepted. Both may be stored with a parked event.
    """

    def __init__(self, field: str, found: str, allowed: str) -> None:
        super().__init__(invalid_value(field, found, allowed))
        self.field = field
        self.found = found
        self.allowed = allowed


class ConflictError(RingbackError):
    """An action is not possible for the recall in its state `state`.

    `reason` says why, and is "" if the state itself is the reason.
    """

    def __init__(self, state: str, reason: str = "") -> None:
        super().__init__(reason or f"the recall is {state}")
        self.state = state
        self.reason = reason


class CannotSignError(RingbackError):
    """A sample cannot be signed as its sender would sign it."""


class NotFoundError(RingbackError):
    """A recall, an account, a source or another object with the given name or id does not exist."""


# --- the sender must act ---------------------------------------------------------------------


class NotVerifiedError(RingbackError):
    """The delivery could not be verified (status 401).

    `check` is the verification that failed (`signature v3`, `timestamp`, `url_key` …), `why` the reason.
    Both are logged and not sent to the sender.
    """

    def __init__(self, check: str, why: str) -> None:
        super().__init__(f"{check}: {why}")
        self.check = check
        self.why = why


class UnreadableError(RingbackError):
    """The body of a request cannot be parsed (status 400).

    `where` is the place of the fault in the body, such as "body, line 2, column 5". It quotes no text.
    """

    def __init__(self, where: str, found: str, allowed: str) -> None:
        super().__init__(invalid_value(where, found, allowed))
        self.where = where
        self.found = found
        self.allowed = allowed


class UnsupportedTypeError(UnreadableError):
    """The source does not read bodies of this content type (status 415)."""


# --- the user of a page must act -------------------------------------------------------------


class TooMuchWorkError(RingbackError):
    """Too many previews, searches or remaps are running or waiting (status 429 with `Retry-After`)."""

    retry_after_seconds = 5


class WorkOverranError(RingbackError):
    """A task such as a preview or a search was stopped after `seconds` (status 422)."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the work took longer than {seconds:g} s")
        self.seconds = seconds


class WorkFailedError(RingbackError):
    """A task such as a preview or a search failed, for example for lack of memory (status 422)."""


class ClientLeftError(RingbackError):
    """The client closed its connection before the answer. No response is sent."""


# --- nobody must act: retry later ------------------------------------------------------------


class StoreAwayError(RingbackError):
    """The store is unreachable, full or too slow (status 503 with `Retry-After`)."""

    retry_after_seconds = 5


class ForkServerFailedError(RingbackError):
    """The process that runs previews and searches failed (status 503). The next task starts a new one."""

    retry_after_seconds = 5


class UnboundError(StoreAwayError):
    """The store does not have the queue of a configured account yet."""
