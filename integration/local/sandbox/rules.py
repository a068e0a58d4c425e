"""Faults on demand: what a rule says, and which calls it befalls.

Decides only; acting on it is the server's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from integration.local.sandbox.calls import fingerprint

if TYPE_CHECKING:
    from integration.local.sandbox.calls import ReceivedCall


class Rule(BaseModel):
    """A fault, and the calls that it befalls: all that match every one of the fields given.

    It begins with the `nth` matching call and befalls `times` of them (None: all that follow). The
    first rule that matches decides. `seconds` is the work wolkvox seems to do before it answers.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)

    action: Literal["answer", "delay", "drop", "reset", "drip", "hang", "html", "redirect", "huge"]
    token: str | None = None
    token_prefix: str | None = None
    customer_id: str | None = None
    campaign_id: str | None = None
    nth: int = Field(default=1, ge=1)
    times: int | None = Field(default=None, ge=1)

    seconds: float = Field(default=0.0, ge=0, le=3600)
    """delay, hang: how long. Every other action: before it."""
    interval: float = Field(default=1.0, ge=0, le=3600)
    """drip: seconds between two bytes of the answer."""
    when: Literal["before", "after"] = "after"
    """drop, reset: before anything is done, or while the work goes on without the client."""
    after_bytes: int = Field(default=0, ge=0)
    """drop, reset: how much of the answer is sent before."""
    status: int | None = Field(default=None, ge=200, le=599)
    """answer (200), html (502), redirect (302): the HTTP status."""
    code: int | str | None = None
    """answer: the body's `code`; left out, the HTTP status."""
    msg: str = ""
    error: str | None = None
    retry_after: str | None = None
    size: int = Field(default=1024 * 1024, ge=1, le=64 * 1024 * 1024)
    """huge: bytes of the answer's body."""

    def matches(self, call: ReceivedCall) -> bool:
        """Tell whether it could befall this call, its count left aside."""
        return (
            (self.token is None or self.token == call.token)
            and (self.token_prefix is None or call.token.startswith(self.token_prefix))
            and (self.customer_id is None or self.customer_id == call.customer_id)
            and (self.campaign_id is None or self.campaign_id == call.campaign_id)
        )


@dataclass(slots=True)
class PlacedRule:
    """A rule in its place, with the calls that it has seen and befallen."""

    id: int
    rule: Rule
    seen: int = 0
    used: int = 0

    def takes(self, call: ReceivedCall) -> bool:
        """Count a call that matches; tell whether the rule befalls it."""
        if not self.rule.matches(call):
            return False
        self.seen += 1
        if self.seen < self.rule.nth or (self.rule.times is not None and self.used >= self.rule.times):
            return False
        self.used += 1
        return True

    def shown(self) -> dict[str, Any]:
        """Give the rule as JSON, without its token."""
        shown = self.rule.model_dump(exclude_defaults=True, exclude={"token", "token_prefix"})
        if self.rule.token is not None:
            shown["token"] = fingerprint(self.rule.token)
        if self.rule.token_prefix is not None:
            shown["token_prefix"] = "(set)"  # noqa: S105  (says only that there is one)
        return {"id": self.id, **shown, "seen": self.seen, "used": self.used}
