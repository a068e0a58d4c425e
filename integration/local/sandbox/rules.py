"""Fault rules of the sandbox, and their matching to calls. The server carries out the faults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from integration.local.sandbox.calls import fingerprint

if TYPE_CHECKING:
    from integration.local.sandbox.calls import ReceivedCall


class Rule(BaseModel):
    """A fault, and conditions for the calls that it affects.

    The conditions are `token`, `token_prefix`, `customer_id` and `campaign_id`; a call must meet those
    that are given. The rule applies from the `nth` matching call on, `times` times (None: without limit).
    If several rules apply to a call, the first is used.
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
    """The duration of the simulated work, in addition to the latency. hang: 0 means 60 seconds."""
    interval: float = Field(default=1.0, ge=0, le=3600)
    """drip: seconds between two bytes of the answer."""
    when: Literal["before", "after"] = "after"
    """drop, reset: "before" does no work; "after" does the work after the connection is closed."""
    after_bytes: int = Field(default=0, ge=0)
    """drop, reset: the number of bytes of the answer that are sent first."""
    status: int | None = Field(default=None, ge=200, le=599)
    """answer (default 200), html (502), redirect (302): the HTTP status."""
    code: int | str | None = None
    """answer: the `code` in the body; default is the HTTP status."""
    msg: str = ""
    error: str | None = None
    retry_after: str | None = None
    size: int = Field(default=1024 * 1024, ge=1, le=64 * 1024 * 1024)
    """huge: the size of the body in bytes."""

    def matches(self, call: ReceivedCall) -> bool:
        """Return True if the call meets the conditions, regardless of `nth` and `times`."""
        return (
            (self.token is None or self.token == call.token)
            and (self.token_prefix is None or call.token.startswith(self.token_prefix))
            and (self.customer_id is None or self.customer_id == call.customer_id)
            and (self.campaign_id is None or self.campaign_id == call.campaign_id)
        )


@dataclass(slots=True)
class PlacedRule:
    """An active rule, with the numbers of calls that it matched (`seen`) and affected (`used`)."""

    id: int
    rule: Rule
    seen: int = 0
    used: int = 0

    def takes(self, call: ReceivedCall) -> bool:
        """Count a matching call. Return True if the rule applies to the call."""
        if not self.rule.matches(call):
            return False
        self.seen += 1
        if self.seen < self.rule.nth or (self.rule.times is not None and self.used >= self.rule.times):
            return False
        self.used += 1
        return True

    def to_json(self) -> dict[str, Any]:
        """Return the rule as a JSON object, with a fingerprint instead of the token."""
        fields = self.rule.model_dump(exclude_defaults=True, exclude={"token", "token_prefix"})
        if self.rule.token is not None:
            fields["token"] = fingerprint(self.rule.token)
        if self.rule.token_prefix is not None:
            fields["token_prefix"] = "(set)"  # noqa: S105  (a placeholder)
        return {"id": self.id, **fields, "seen": self.seen, "used": self.used}
