"""The answers that most senders get: what follows from a delivery as JSON, a refusal as RFC 9457.

An answer never says which check a delivery failed, and never repeats anything that was sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from integration.domain.delivery import Answer, Refusal, Reply

if TYPE_CHECKING:
    from collections.abc import Mapping

JSON = "application/json"
PROBLEM = "application/problem+json"


def reply(outcome: Answer | Refusal, *, with_pending: bool = False) -> Reply:
    """Answer 202 with ids and counts, or the refusal with its own status.

    `pending` is counted when the source looks contacts up (`with_pending`) or when there is any.
    """
    if isinstance(outcome, Refusal):
        return problem(outcome)
    return as_json(202, summary(outcome, with_pending=with_pending))


def summary(answer: Answer, *, with_pending: bool) -> dict[str, Any]:
    """Give an answer as the mapping that is sent; what does not concern the sender is left out."""
    told: dict[str, Any] = {
        "delivery": answer.delivery,
        "recalls": list(answer.recalls),
        "ignored": answer.ignored,
        "parked": answer.parked,
    }
    if with_pending or answer.pending:
        told["pending"] = answer.pending
    if answer.cancelled:
        told["cancelled"] = list(answer.cancelled)
    if answer.too_late:
        told["too_late"] = list(answer.too_late)
    return told


def problem(refusal: Refusal, headers: Mapping[str, str] | None = None) -> Reply:
    """Give a refusal as problem details (RFC 9457), with `Retry-After` in seconds where it is known."""
    told: dict[str, Any] = {"type": "about:blank", "title": refusal.title, "status": refusal.status}
    if refusal.detail:
        told["detail"] = refusal.detail
    return Reply(
        status=refusal.status,
        body=orjson.dumps(told),
        content_type=PROBLEM,
        headers={**retry_after(refusal), **(headers or {})},
    )


def retry_after(refusal: Refusal) -> dict[str, str]:
    """Give the header `Retry-After` in seconds (RFC 9110), or none."""
    if refusal.retry_after_seconds is None:
        return {}
    return {"Retry-After": str(refusal.retry_after_seconds)}


def as_json(status: int, value: Mapping[str, Any]) -> Reply:
    """Give a JSON reply."""
    return Reply(status=status, body=orjson.dumps(value), content_type=JSON)
