"""Converts the decision on a push to the fields that the store records. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from integration.domain.timestamps import epoch_ms
from workers.retry import (
    Accept,
    Refuse,
    RetryIn,
    SetAside,
    StopQueue,
    WaitUntil,
)

if TYPE_CHECKING:
    from workers.retry import Decision


def push_result(decision: Decision, date: str) -> dict[str, Any]:
    """Return the fields of a `PushResult` for a decision. `date` is the recall_date sent (ISO 8601)."""
    fields = _ending(decision, date)
    fields["quiet"] = getattr(decision, "quiet", False)
    seconds = getattr(decision, "seconds", 0.0)
    if seconds:
        fields["wait_ms"] = round(seconds * 1000)
    return fields


def _ending(decision: Decision, date: str) -> dict[str, Any]:
    match decision:
        case Accept():
            reason = "wolkvox answered 202: recorded, not yet called"
            return {"kind": "ended", "state": "accepted", "reason": reason, "passed": True, "date": date}
        case Refuse():
            # A poisoned recall got no clear answer, so it does not show that the queue works.
            passed = decision.seconds == 0
            return {
                "kind": "ended",
                "state": "dead",
                "reason": decision.reason,
                "passed": passed,
                "date": date,
            }
        case RetryIn():
            return {
                "kind": "again",
                "reason": decision.reason,
                "counts_against_recall": decision.counts_against_recall,
            }
        case SetAside():
            return {"kind": "aside", "reason": decision.reason}
        case WaitUntil():
            until = epoch_ms(decision.moment)
            return {"kind": "again", "reason": decision.reason, "wait_until": until}
        case StopQueue(recall_dead=True):
            dead = {"kind": "ended", "state": "dead", "reason": decision.reason, "passed": True}
            return {**dead, "date": date, "stop": decision.reason}
        case StopQueue():
            return {"kind": "again", "reason": decision.reason, "stop": decision.reason}
