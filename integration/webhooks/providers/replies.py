"""Responses for most senders: a result as JSON, an error as problem details (RFC 9457).

A response to a delivery contains neither the failed check nor text of the body.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from integration.domain.delivery import Answer, ErrorAnswer, Reply

if TYPE_CHECKING:
    from collections.abc import Mapping

JSON = "application/json"
PROBLEM = "application/problem+json"
TEXT = "text/plain; charset=utf-8"


def reply(outcome: Answer | ErrorAnswer, *, with_pending: bool = False) -> Reply:
    """Return a 202 response with ids and counts, or the response to an error.

    The response has `pending` if `with_pending` is True (the source has a lookup) or if `pending` is not 0.
    """
    if isinstance(outcome, ErrorAnswer):
        return problem(outcome)
    return as_json(202, summary(outcome, with_pending=with_pending))


def summary(answer: Answer, *, with_pending: bool) -> dict[str, Any]:
    """Return an answer as the JSON object of the response.

    Empty `cancelled` and `too_late` are left out. `pending` is included as in `reply`.
    """
    members: dict[str, Any] = {
        "delivery": answer.delivery,
        "recalls": list(answer.recalls),
        "ignored": answer.ignored,
        "parked": answer.parked,
    }
    if with_pending or answer.pending:
        members["pending"] = answer.pending
    if answer.cancelled:
        members["cancelled"] = list(answer.cancelled)
    if answer.too_late:
        members["too_late"] = list(answer.too_late)
    return members


def problem(error: ErrorAnswer, headers: Mapping[str, str] | None = None) -> Reply:
    """Return an error as problem details (RFC 9457). `Retry-After` is included if it is known."""
    members: dict[str, Any] = {"type": "about:blank", "title": error.title, "status": error.status}
    if error.detail:
        members["detail"] = error.detail
    return Reply(
        status=error.status,
        body=orjson.dumps(members),
        content_type=PROBLEM,
        headers={**retry_after(error), **(headers or {})},
    )


def retry_after(error: ErrorAnswer) -> dict[str, str]:
    """Return the header `Retry-After` in seconds (RFC 9110), an empty dict if the error has no time."""
    if error.retry_after_seconds is None:
        return {}
    return {"Retry-After": str(error.retry_after_seconds)}


def as_json(status: int, value: Mapping[str, Any]) -> Reply:
    """Return a response with a JSON body."""
    return Reply(status=status, body=orjson.dumps(value), content_type=JSON)
